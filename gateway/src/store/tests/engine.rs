//! The engine that a run of the tests is about: SQLite, or with `CALLGATE_TEST_POSTGRES` (the folder of a
//! server's socket) PostgreSQL. `on_postgres` starts a server and this program again with it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use sqlx::{Connection, Executor};

use crate::clock::SharedClock;
use crate::secret::SecretRef;
use crate::store::{PostgresConfig, SqlStore};

const ENGINE: &str = "CALLGATE_TEST_POSTGRES";
const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../scripts/throwaway-postgres.sh"
);

/// A PostgreSQL server of the test's own; gone with it.
#[derive(Debug)]
pub(crate) struct Cluster {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) socket: PathBuf,
    /// Where it listens for TLS; 0 when it does not.
    pub(crate) port: u16,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::launch(&[])
    }

    /// One that offers TLS, with the certificates in this folder.
    pub(crate) fn start_tls(certificates: &Path) -> Self {
        Self::launch(&["--tls".as_ref(), certificates.as_os_str()])
    }

    fn launch(options: &[&OsStr]) -> Self {
        let mut child = Command::new(SCRIPT)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let mut cluster = Self {
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            commands,
            socket: PathBuf::new(),
            port: 0,
        };
        let ready = cluster.line();
        let mut words = ready.split(' ').skip(1);
        cluster.socket = words.next().unwrap().into();
        cluster.port = words.next().map_or(0, |port| port.parse().unwrap());
        cluster
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// `kill` or `start`.
    pub(crate) fn tell(&mut self, command: &str) {
        let commands = self.commands.as_mut().unwrap();
        writeln!(commands, "{command}").unwrap();
        assert_eq!(self.line(), "done", "{command}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.commands.take());
        self.child.wait().unwrap();
    }
}

/// Run tests of this program again, on a PostgreSQL server.
pub(crate) fn on_postgres(filters: &[&str], at_least: usize) {
    let cluster = Cluster::start();
    let done = Command::new(std::env::current_exe().unwrap())
        .args(filters)
        .env(ENGINE, &cluster.socket)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "on PostgreSQL:\n{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let passed = said
        .lines()
        .filter(|line| line.ends_with(" ... ok"))
        .count();
    assert!(passed >= at_least, "only {passed} tests ran:\n{said}");
}

/// Whether this run is about PostgreSQL.
pub(crate) fn shared() -> bool {
    std::env::var_os(ENGINE).is_some()
}

/// A schema of its own on a server, with the files that a config names, in `dir`.
pub(crate) async fn place(dir: &Path, socket: &Path) -> PostgresConfig {
    let mut bytes = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    let schema = format!("s{}", u64::from_le_bytes(bytes));
    let server = format!(
        "postgres:///postgres?user=callgate&host={}",
        socket.display()
    );
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let text = sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}"));
    connection.execute(text).await.unwrap();
    connection.close().await.unwrap();
    let url = format!("{server}&options[search_path]={schema}");
    for (name, text) in [("postgres-url", url), ("postgres-key", "0a".repeat(32))] {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    config()
}

/// What names the files of [`place`].
pub(crate) fn config() -> PostgresConfig {
    PostgresConfig {
        url: SecretRef::File("postgres-url".into()),
        key: SecretRef::File("postgres-key".into()),
        ca: None,
        connections: 8,
    }
}

/// A state in `dir` that nobody had before; the caller's clock rules.
pub(crate) async fn fresh(dir: &Path) -> SqlStore {
    match std::env::var_os(ENGINE) {
        None => SqlStore::init(dir).await.unwrap(),
        Some(socket) => {
            let config = place(dir, Path::new(&socket)).await;
            SqlStore::shared_for_tests(&config, dir).await
        }
    }
}

/// The state in `dir` again.
pub(crate) async fn again(dir: &Path) -> SqlStore {
    if shared() {
        SqlStore::shared_for_tests(&config(), dir).await
    } else {
        SqlStore::open(dir).await.unwrap()
    }
}

/// An instance on the state of [`place`]; the database's clock rules.
pub(crate) async fn instance(dir: &Path, name: &str, clock: SharedClock) -> SqlStore {
    SqlStore::join(&config(), dir, name, clock).await.unwrap()
}

/// Run a statement that no program of ours would; how many rows it changed. Bytes are written as SQLite
/// does.
pub(crate) async fn meddle(store: &SqlStore, text: &str) -> u64 {
    if shared() {
        let text = text.replace(" x'", " '\\x").replace("AS BLOB", "AS BYTEA");
        let query = sqlx::query(sqlx::AssertSqlSafe(text));
        let done = query.execute(store.postgres_for_tests()).await;
        done.unwrap().rows_affected()
    } else {
        let query = sqlx::query(sqlx::AssertSqlSafe(text.to_owned()));
        let done = query.execute(store.writer_for_tests()).await;
        done.unwrap().rows_affected()
    }
}
