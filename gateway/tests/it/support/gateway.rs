//! A real gateway process on free ports, with a config that is made for it, an issuer that signs in this process, and
//! its audit log to read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::START_MAX;
use super::child::{self, Child};
use super::raw::{self, Answer};
use super::recorder::{Recorder, json_answer};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_callgate");
/// What tokens for calls carry in `aud`.
pub(crate) const CALLS: &str = "https://gateway.test";
/// What tokens for the console carry in `aud`.
pub(crate) const CONSOLE: &str = "https://console.test";
/// `iss` of all tokens.
const ISSUER: &str = "https://idp.test";
/// Longest wait for something that has to come to pass.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Signs tokens with ES256, and publishes its key.
#[derive(Debug)]
struct Issuer {
    key: rcgen::KeyPair,
    keys: Recorder,
}

impl Issuer {
    fn shared() -> &'static Self {
        static SHARED: OnceLock<Issuer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let point = key.public_key_raw();
            let set = json!({ "keys": [{
                "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "test",
                "x": base64url(&point[1..33]), "y": base64url(&point[33..65]),
            }] });
            let keys = Recorder::start(json_answer(200, &set.to_string()));
            Self { key, keys }
        })
    }
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_secs()
}

/// A token with these claims; the rest is filled in.
pub(crate) fn mint(claims: &Value) -> String {
    let issuer = Issuer::shared();
    let mut all = json!({
        "iss": ISSUER, "aud": CALLS, "iat": now() - 5, "exp": now() + 3600,
        "jti": format!("{:x}", rand()),
    });
    let members = all.as_object_mut().expect("an object");
    members.extend(claims.as_object().cloned().unwrap_or_default());
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some("test".to_owned());
    let key = jsonwebtoken::EncodingKey::from_ec_pem(issuer.key.serialize_pem().as_bytes());
    jsonwebtoken::encode(&header, &all, &key.expect("a key")).expect("a token")
}

/// 128 bits that nobody had before.
pub(crate) fn rand() -> u128 {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
    u128::from_le_bytes(bytes)
}

/// Somebody of the tests, in these groups.
pub(crate) fn caller(subject: &str, groups: &[&str]) -> String {
    mint(&json!({ "sub": subject, "groups": groups, "account_type": "workload" }))
}

/// A person for the console, freshly authenticated.
pub(crate) fn person(subject: &str, groups: &[&str]) -> String {
    mint(&json!({
        "sub": subject, "groups": groups, "account_type": "person", "aud": CONSOLE, "auth_time": now() - 5,
    }))
}

/// What a gateway is started with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    config: Map<String, Value>,
    policies: String,
    files: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    demo: bool,
}

impl Setup {
    /// A gateway without connections that permits nothing.
    pub(crate) fn new() -> Self {
        let keys = format!("http://{}/keys", Issuer::shared().keys.address);
        let config = json!({
            "listen": [{ "address": "127.0.0.1:0" }],
            "console": { "address": "127.0.0.1:0", "audience": CONSOLE },
            "data": "./data",
            "policies": "./policies",
            "identity": { "issuers": { "corp": {
                "issuer": ISSUER, "audience": CALLS, "jwks": keys, "groups": "groups",
                "kind": [
                    { "when": { "account_type": "person" }, "kind": "human" },
                    { "when": { "account_type": "workload" }, "kind": "workload" },
                ],
            } } },
            "connections": {},
        });
        let Value::Object(config) = config else {
            panic!("the config is an object")
        };
        Self {
            config,
            policies: String::new(),
            files: BTreeMap::new(),
            environment: BTreeMap::new(),
            demo: false,
        }
    }

    /// With a member of the config in place of what is there.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.config.insert(name.to_owned(), value);
        self
    }

    /// With a further issuer.
    pub(crate) fn issuer(mut self, alias: &str, settings: &Value) -> Self {
        self.config["identity"]["issuers"][alias] = settings.clone();
        self
    }

    /// With a connection, routed by its name as prefix.
    pub(crate) fn connection(mut self, name: &str, upstream: SocketAddr, more: &Value) -> Self {
        let mut connection = json!({
            "protocol": "http", "upstream": format!("http://{upstream}"), "route": { "prefix": format!("/{name}") },
        });
        let members = connection.as_object_mut().expect("an object");
        members.extend(more.as_object().cloned().expect("an object"));
        self.config["connections"][name] = connection;
        self
    }

    /// With these policies beside the others.
    pub(crate) fn policy(mut self, text: &str) -> Self {
        self.policies.push_str(text);
        self.policies.push('\n');
        self
    }

    /// With other words in the policies, which must be there.
    pub(crate) fn reworded(mut self, from: &str, to: &str) -> Self {
        assert!(self.policies.contains(from), "no `{from}` in the policies");
        self.policies = self.policies.replace(from, to);
        self
    }

    /// With a file of the config's folder that only its owner may read.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.insert(name.to_owned(), text.to_owned());
        self
    }

    /// With an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Started as the demo starts it: it may then believe the demo's issuer.
    pub(crate) fn of_the_demo(mut self) -> Self {
        self.demo = true;
        self
    }

    /// Start it, and wait until it is ready.
    pub(crate) fn start(self) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(folder.path());
        let config = folder.path().join("callgate.yaml");
        let mut init = Command::new(PROGRAM);
        init.envs(&self.environment);
        let done = init.arg("--config").arg(&config).arg("init").output();
        let done = done.expect("the program");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let child = serve(&config, &self);
        let mut gateway = Gateway {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            console: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
            setup: Mutex::new(self),
            folder,
            read: Mutex::default(),
        };
        gateway.await_ready();
        gateway
    }

    fn write(&self, folder: &Path) {
        let config = serde_json::to_string_pretty(&self.config).expect("a config");
        fs::write(folder.join("callgate.yaml"), config).expect("its config");
        fs::create_dir_all(folder.join("policies")).expect("a folder");
        fs::write(folder.join("policies/test.cedar"), &self.policies).expect("its policies");
        for (name, text) in &self.files {
            let path = folder.join(name);
            fs::write(&path, text).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        }
    }
}

fn serve(config: &Path, setup: &Setup) -> Child {
    let mut command = Command::new(PROGRAM);
    command.envs(&setup.environment);
    if setup.demo {
        let folder = config.parent().expect("a folder");
        return Child::start(
            command
                .args(["demo", "--folder"])
                .arg(folder)
                .arg("gateway"),
        );
    }
    Child::start(command.arg("--config").arg(config).arg("serve"))
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where callers connect.
    pub(crate) address: SocketAddr,
    /// Where people connect.
    pub(crate) console: SocketAddr,
    /// The process.
    pub(crate) child: Child,
    /// What the files say now; locked while they are written.
    setup: Mutex<Setup>,
    folder: tempfile::TempDir,
    read: Mutex<BTreeMap<PathBuf, Read>>,
}

impl Gateway {
    fn setup(&self) -> Setup {
        self.setup.lock().expect("the setup").clone()
    }

    /// `kill -9`: from here on nothing of it runs.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }

    /// Start the process again on the same config and data; it need not be ready yet.
    pub(crate) fn spawn(&mut self) {
        let config = self.folder.path().join("callgate.yaml");
        self.child = serve(&config, &self.setup());
    }

    /// Wait until it is ready.
    pub(crate) fn await_ready(&mut self) {
        let begin = Instant::now();
        loop {
            let output = self.child.output();
            if output.contains("callgate is ready") {
                self.address = address(&output, "listening for calls");
                self.console = address(&output, "listening for console");
                return;
            }
            let running = self.child.is_running();
            assert!(
                running && begin.elapsed() < START_MAX,
                "it did not start: {output}"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// End it in order, and start it again with the same folder, on other ports.
    pub(crate) fn restart(&mut self) {
        let status = self.child.terminate();
        assert!(status.success(), "{status}");
        let config = self.folder.path().join("callgate.yaml");
        self.child = serve(&config, &self.setup());
        self.await_ready();
    }

    /// End it in order, and start it again with the same folder and another config.
    pub(crate) fn restart_with(&mut self, change: impl FnOnce(Setup) -> Setup) {
        {
            let mut setup = self.setup.lock().expect("the setup");
            *setup = change(setup.clone());
            setup.write(self.folder.path());
        }
        self.restart();
    }

    /// `kill -9`, and start it again with the same folder, on other ports.
    pub(crate) fn crash(&mut self) {
        self.child.kill();
        let config = self.folder.path().join("callgate.yaml");
        self.child = serve(&config, &self.setup());
        self.await_ready();
    }

    /// A gateway with the same settings in a folder of its own, without data, that does not run.
    pub(crate) fn elsewhere(&self) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = self.setup.lock().expect("the setup").clone();
        setup.write(folder.path());
        Self {
            address: self.address,
            console: self.console,
            child: Child::start(&mut Command::new("true")),
            setup: Mutex::new(setup),
            folder,
            read: Mutex::default(),
        }
    }

    /// Forget what was read of the log: its files are others now.
    pub(crate) fn read_anew(&self) {
        self.read.lock().expect("what was read").clear();
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        let setup = self.setup.lock().expect("the setup");
        let data = setup.config["data"].as_str().expect("a folder");
        self.folder.path().join(data)
    }

    /// Write another config and other policies, and ask for a reload.
    pub(crate) fn reload(&self, change: impl FnOnce(Setup) -> Setup, more: &[&str]) -> String {
        self.rewrite(change);
        let arguments = [&["reload"], more].concat();
        self.command(&arguments, &[])
    }

    /// The same; whether it succeeded, and what was said.
    pub(crate) fn try_reload(&self, change: impl FnOnce(Setup) -> Setup) -> (bool, String) {
        self.rewrite(change);
        self.try_command(&["reload"], &[])
    }

    /// Write another config and other policies, for somebody to reload.
    pub(crate) fn rewritten(&self, change: impl FnOnce(Setup) -> Setup) {
        self.rewrite(change);
    }

    fn rewrite(&self, change: impl FnOnce(Setup) -> Setup) {
        let mut setup = self.setup.lock().expect("the setup");
        *setup = change(setup.clone());
        setup.write(self.folder.path());
    }

    /// Run the command line with this gateway's config, to its end.
    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let (good, text) = self.try_command(arguments, environment);
        assert!(good, "callgate {}: {text}", arguments.join(" "));
        text
    }

    /// The same; whether it succeeded, and all that it wrote.
    pub(crate) fn try_command(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> (bool, String) {
        let (code, text) = self.exit_code(arguments, environment);
        (code == Some(0), text)
    }

    /// The same, with the exit code.
    pub(crate) fn exit_code(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> (Option<i32>, String) {
        let mut command = Command::new(PROGRAM);
        command.envs(self.setup().environment);
        command.envs(environment.iter().copied());
        command
            .arg("--config")
            .arg(self.folder.path().join("callgate.yaml"));
        let done = command.args(arguments).output().expect("the program");
        let text = [done.stdout, done.stderr].concat();
        (
            done.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Run `callgate approvals …` as a person.
    pub(crate) fn approvals(&self, token: &str, arguments: &[&str]) -> (bool, String) {
        let console = format!("http://{}", self.console);
        let environment = [
            ("CALLGATE_TOKEN", token),
            ("CALLGATE_CONSOLE", console.as_str()),
        ];
        self.try_command(&[&["approvals"], arguments].concat(), &environment)
    }

    /// `GET` with a token.
    pub(crate) fn get(&self, target: &str, token: &str) -> Answer {
        raw::get(self.address, target, Some(token))
    }

    /// `POST` of JSON with a token.
    pub(crate) fn post(&self, target: &str, token: &str, body: &Value) -> Answer {
        raw::post(self.address, target, Some(token), body)
    }

    /// A request with a token and further headers.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [&[("Authorization", bearer.as_str())], headers].concat();
        raw::request(self.address, method, target, &headers, body)
    }

    /// All leaves of the audit log that are on the disk now, in their order.
    pub(crate) fn leaves(&self) -> Vec<Value> {
        let mut read = self.read.lock().expect("what was read");
        for path in files(&self.data().join("audit")) {
            let known = read.entry(path.clone()).or_default();
            known.read_on(&path);
        }
        let mut leaves: Vec<Value> = read
            .values()
            .flat_map(|known| known.leaves.iter().cloned())
            .collect();
        leaves.sort_by_key(|leaf| leaf["seq"].as_u64());
        leaves
    }

    /// The leaf of this kind that tells of this call, if it is on the disk now.
    pub(crate) fn leaf(&self, kind: &str, call: &str) -> Option<Value> {
        self.leaves()
            .into_iter()
            .find(|leaf| leaf["kind"] == kind && leaf["call"] == call)
    }

    /// The end record of the call that an answer belongs to.
    pub(crate) fn end_of(&self, answer: &Answer) -> Value {
        self.await_end(answer.header("callgate-call").expect("a call id"))
    }

    /// The end record of a call, once it is there.
    pub(crate) fn await_end(&self, call: &str) -> Value {
        eventually("an end record", || self.leaf("call.end", call))
    }

    /// How many calls have ended.
    pub(crate) fn ends(&self) -> usize {
        let leaves = self.leaves();
        leaves
            .iter()
            .filter(|leaf| leaf["kind"] == "call.end")
            .count()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<usize>().ok())
            .expect("a number")
            * 1024
    }
}

/// The address behind a message of the log.
pub(crate) fn address(output: &str, message: &str) -> SocketAddr {
    output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == message)
        .and_then(|line| line["address"].as_str()?.parse().ok())
        .unwrap_or_else(|| panic!("no `{message}` in {output}"))
}

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// What was read of one file of the log. Leaves stand there as JSON text in clear: no reader of ours is needed to find
/// them.
#[derive(Debug, Default)]
struct Read {
    /// Behind the last leaf.
    offset: u64,
    leaves: Vec<Value>,
}

impl Read {
    /// Read from behind the last leaf to where the file holds nothing but zeroes yet.
    fn read_on(&mut self, path: &Path) {
        let mut bytes = Vec::new();
        let Ok(mut file) = fs::File::open(path) else {
            return;
        };
        file.seek(SeekFrom::Start(self.offset))
            .expect("a place in it");
        let mut block = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = file.read(&mut block) {
            bytes.extend_from_slice(&block[..length]);
            if block[..length].iter().all(|byte| *byte == 0) {
                break;
            }
        }
        let start = b"{\"v\":1,\"kind\":";
        let mut done = 0;
        for at in memchr::memmem::find_iter(&bytes, start) {
            let mut parsed = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter();
            // A leaf that is being written now is read the next time.
            let Some(Ok(leaf)) = parsed.next() else { break };
            done = at + parsed.byte_offset();
            self.leaves.push(leaf);
        }
        self.offset += done as u64;
    }
}

/// Wait for something that has to come to pass.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begin.elapsed() < SOON, "no {what} after {SOON:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// One value for all tests of a group that run at the same time; it ends with the last of them.
#[derive(Debug)]
pub(crate) struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    pub(crate) fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        // A test that failed while it held the lock has made nothing.
        let mut held = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(value) = held.upgrade() {
            return value;
        }
        let value = Arc::new(make());
        *held = Arc::downgrade(&value);
        value
    }
}

/// Run a program that is a peer, to its end.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    child::run(program, arguments)
}
