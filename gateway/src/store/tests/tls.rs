//! TLS to a real PostgreSQL server, and to whoever sits in between, with an authority of the tests.
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand in for servers and for whoever is in between"
)]

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use sqlx::{Connection, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::secret::SecretRef;
use crate::store::{Error, PostgresConfig, SqlStore};

use super::engine::Cluster;

const PASSWORD: &str = "hunter2-hunter2-hunter2";
/// How a client asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// The start of a TLS handshake.
const CLIENT_HELLO: [u8; 2] = [0x16, 0x03];

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate and its key for a name, until this year.
    fn vouch(&self, name: &str, until: i32) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server that goes by `localhost`, its authority, and a role for each way of proving oneself.
struct Server {
    cluster: Cluster,
    authority: Authority,
}

impl Server {
    async fn shared() -> Arc<Self> {
        static SERVER: OnceLock<tokio::sync::Mutex<Weak<Server>>> = OnceLock::new();
        let mut shared = SERVER.get_or_init(Default::default).lock().await;
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&server);
        server
    }

    async fn start() -> Self {
        let authority = Authority::new("authority of the tests");
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.vouch("localhost", 2090);
        for (name, text) in [
            ("server.pem", &certificate),
            ("server.key", &key),
            ("ca.pem", &authority.pem),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let start = move || Cluster::start_tls(dir.path());
        let cluster = tokio::task::spawn_blocking(start).await.unwrap();
        let server = Self { cluster, authority };
        let mut own = server.own().await;
        for how in ["scram", "plain", "certified"] {
            let text = format!(
                "CREATE ROLE {how}; CREATE ROLE by_{how} LOGIN PASSWORD '{PASSWORD}' IN ROLE {how}; \
                 CREATE SCHEMA AUTHORIZATION by_{how};"
            );
            own.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
        }
        own.close().await.unwrap();
        server
    }

    /// As its owner, over the socket.
    async fn own(&self) -> sqlx::PgConnection {
        let (port, host) = (self.cluster.port, self.cluster.socket.display());
        let url = format!("postgres:///postgres?user=callgate&port={port}&host={host}");
        sqlx::PgConnection::connect(&url).await.unwrap()
    }
}

/// A config in `dir` for this role at this place, and the authority that it trusts.
fn config(dir: &Path, role: &str, place: &str, authority: Option<&str>) -> PostgresConfig {
    use std::os::unix::fs::PermissionsExt;
    let url = format!("postgres://by_{role}:{PASSWORD}@{place}");
    for (name, text) in [("url", url), ("key", "0a".repeat(32))] {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    if let Some(pem) = authority {
        std::fs::write(dir.join("ca.pem"), pem).unwrap();
    }
    PostgresConfig {
        url: SecretRef::File("url".into()),
        key: SecretRef::File("key".into()),
        ca: authority.map(|_| "ca.pem".into()),
        connections: 2,
    }
}

/// Try to make the state there: what came of it.
async fn attempt(role: &str, place: &str, authority: Option<&str>) -> Result<bool, Error> {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), role, place, authority);
    SqlStore::init_shared(&config, dir.path()).await
}

/// What a client of ours said before it was let in or gave up.
type Heard = Arc<Mutex<Vec<u8>>>;

/// Somebody in between, who hears everything and takes the client to the server.
async fn listener_in_between(port: u16) -> (u16, Heard) {
    let heard = Heard::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let said = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let said = Arc::clone(&said);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(
                    async move { tokio::io::copy(&mut from_server, &mut to_client).await },
                );
                let mut piece = [0; 4096];
                while let Ok(n @ 1..) = from_client.read(&mut piece).await {
                    said.lock().unwrap().extend_from_slice(&piece[..n]);
                    to_server.write_all(&piece[..n]).await.unwrap();
                }
            });
        }
    });
    (own, heard)
}

/// Somebody who answers what a client says first with `answer`, and hears what it says to that.
async fn impostor(answer: &'static [u8]) -> (u16, Heard) {
    let heard = Heard::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let said = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut piece = [0; 4096];
            let mut answered = false;
            while let Ok(n @ 1..) = client.read(&mut piece).await {
                said.lock().unwrap().extend_from_slice(&piece[..n]);
                if !answered {
                    client.write_all(answer).await.unwrap();
                    answered = true;
                }
            }
        }
    });
    (own, heard)
}

/// The server's socket, which does not do TLS, behind a port: a real server with TLS switched off.
async fn without_tls(cluster: &Cluster) -> u16 {
    let socket = cluster.socket.join(format!(".s.PGSQL.{}", cluster.port));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut client, &mut server).await },
            );
        }
    });
    own
}

fn said(heard: &Heard) -> Vec<u8> {
    heard.lock().unwrap().clone()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|at| at == text.as_bytes())
}

#[tokio::test]
async fn a_server_that_proves_its_name_is_used_and_the_password_is_never_on_the_wire() {
    let server = Server::shared().await;
    // The second role is asked for its password as it is, which TLS must hide.
    for role in ["scram", "plain"] {
        let (port, heard) = listener_in_between(server.cluster.port).await;
        let dir = tempfile::tempdir().unwrap();
        let place = format!("localhost:{port}/postgres");
        let config = config(dir.path(), role, &place, Some(&server.authority.pem));
        SqlStore::init_shared(&config, dir.path()).await.unwrap();
        let store = SqlStore::visit(&config, dir.path()).await.unwrap();
        let encrypted: bool =
            sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                .fetch_one(store.postgres_for_tests())
                .await
                .unwrap();
        assert!(encrypted, "{role}");
        let said = said(&heard);
        assert_eq!(said[..8], SSL_REQUEST, "{role}");
        assert_eq!(said[8..10], CLIENT_HELLO, "{role}");
        for secret in [PASSWORD, "by_", "SCRAM", "approvals"] {
            assert!(!contains(&said, secret), "{role}: {secret} was readable");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_lets_in_without_a_password() {
    let server = Server::shared().await;
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = server.authority.vouch("by_certified", 2090);
    let (chain_file, key_file) = (dir.path().join("own.pem"), dir.path().join("own.key"));
    std::fs::write(&chain_file, certificate).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let port = server.cluster.port;
    let place = format!(
        "localhost:{port}/postgres?sslcert={}&sslkey={}",
        chain_file.display(),
        key_file.display()
    );
    let config = config(dir.path(), "certified", &place, Some(&server.authority.pem));
    assert!(SqlStore::init_shared(&config, dir.path()).await.unwrap());
    let without = format!("localhost:{port}/postgres");
    let refused = attempt("certified", &without, Some(&server.authority.pem)).await;
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("client certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_for_another_name_is_refused() {
    let server = Server::shared().await;
    let (port, heard) = listener_in_between(server.cluster.port).await;
    let other = Authority::new("another authority");
    let name = format!("localhost:{port}/postgres");
    let address = format!("127.0.0.1:{port}/postgres");
    let full = format!("{name}?sslmode=require");
    let low = format!("{name}?sslmode=disable");
    let ours = server.authority.pem.as_str();
    let unknown = "its certificate is not from an authority that is trusted here: name the authority's \
                   certificate in `store.postgres.ca`";
    for (place, authority, why) in [
        (&name, Some(other.pem.as_str()), unknown),
        // No word in the URL makes less of it.
        (&low, Some(other.pem.as_str()), unknown),
        // The public authorities do not know it either.
        (&full, None, unknown),
        (
            &address,
            Some(ours),
            "connect by a name that the certificate has",
        ),
    ] {
        let error = attempt("plain", place, authority).await.unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
        let text = error.to_string();
        let host = place.split('/').next().unwrap();
        let begins = format!("the server of `store.postgres.url`, `{host}`, is not spoken to: ");
        assert!(text.starts_with(&begins) && text.contains(why), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
    assert!(!contains(&said(&heard), PASSWORD));
}

#[tokio::test]
async fn a_certificate_that_is_over_is_refused() {
    let server = Server::shared().await;
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = server.authority.vouch("localhost", 2021);
    for (name, text) in [
        ("server.pem", &certificate),
        ("server.key", &key),
        ("ca.pem", &server.authority.pem),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let start = move || Cluster::start_tls(dir.path());
    let old = tokio::task::spawn_blocking(start).await.unwrap();
    let place = format!("localhost:{}/postgres", old.port);
    let error = attempt("plain", &place, Some(&server.authority.pem)).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("certificate expired"), "{text}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_nothing() {
    let server = Server::shared().await;
    let ours = server.authority.pem.as_str();
    let behind = without_tls(&server.cluster).await;
    let (port, heard) = listener_in_between(behind).await;
    let place = format!("localhost:{port}/postgres");
    for (place, authority) in [
        (place.clone(), Some(ours)),
        (format!("{place}?sslmode=prefer"), Some(ours)),
        (format!("{place}?sslmode=verify-full"), None),
    ] {
        heard.lock().unwrap().clear();
        let error = attempt("plain", &place, authority).await.unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("it offers no TLS"), "{text}");
        assert_eq!(said(&heard), SSL_REQUEST);
    }
    // It is the real one: asked for nothing, it answers on this machine.
    let own = attempt("plain", &place, None).await;
    assert!(own.is_ok(), "{own:?}");
}

#[tokio::test]
async fn what_somebody_in_between_puts_before_tls_is_not_taken_for_the_servers_word() {
    // A refusal, something that is no answer, and words of their own behind a yes: the last would be read as
    // the server's, had they been kept until TLS stands.
    let asks_for_password: &[u8] = b"SR\0\0\0\x08\0\0\0\x03";
    let refusal: &[u8] = b"E\0\0\0\x1aSFATAL\0C28000\0Mgo away\0\0";
    for answer in [b"N".as_slice(), refusal, b"?", asks_for_password] {
        let (port, heard) = impostor(answer).await;
        let place = format!("localhost:{port}/postgres?sslmode=verify-full");
        attempt("plain", &place, None).await.unwrap_err();
        let said = said(&heard);
        assert_eq!(said[..8], SSL_REQUEST);
        assert!(!contains(&said, PASSWORD), "{answer:?}");
        assert!(!contains(&said, "by_plain"), "{answer:?}");
        if answer[0] != b'S' {
            assert_eq!(said.len(), 8, "{answer:?}");
        }
    }
}
