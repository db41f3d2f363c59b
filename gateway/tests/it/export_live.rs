//! Records leave the house while the gateway runs: to receivers that nobody here wrote, and to one that fails in all
//! the ways that receivers do.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::http_tls::Authority;
use super::support::child::Child;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually, person};
use super::support::{free_address, peers, raw, wait_for};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("auditors") permit (principal in Group::"corp/audit", action == Action::"audit.read", resource);
"#;

fn setup(double: &Double, sinks: &Value) -> Setup {
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
    let setup = Setup::new().policy(POLICIES);
    let setup = setup.connection("fn", double.address, &json!({ "functions": functions }));
    setup.with("audit", json!({ "export": sinks }))
}

fn calls(gateway: &Gateway, count: usize) {
    for _ in 0..count {
        let answer = gateway.get("/fn/one", &caller("alice", &["staff"]));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// What a receiver does with the batches that come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Take,
    /// It has the batch, and resets the connection in place of an answer.
    LoseAnswer,
    Status(u16),
    /// It resets after some bytes.
    Reset,
    Hang,
}

/// A receiver of lines.
#[derive(Clone, Debug)]
struct Receiver {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    heads: Arc<Mutex<Vec<String>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let receiver = Self {
            address: listener.local_addr().expect("its address"),
            mode: Arc::new(Mutex::new(Mode::Take)),
            heads: Arc::default(),
            lines: Arc::default(),
        };
        let shared = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A sender that is killed meanwhile is no fault of this place.
                thread::spawn(move || shared.serve(stream).ok());
            }
        });
        receiver
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().expect("the mode") = mode;
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mode = *self.mode.lock().expect("the mode");
        if mode == Mode::Reset {
            let mut some = [0; 64];
            let _read = stream.read(&mut some)?;
            // Hung up on with bytes unread: the kernel resets the connection.
            return Ok(());
        }
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        self.heads.lock().expect("the heads").push(head);
        if matches!(mode, Mode::Take | Mode::LoseAnswer) {
            let text = String::from_utf8(body).expect("text");
            assert!(text.ends_with('\n'), "lines end");
            let mut lines = self.lines.lock().expect("the lines");
            lines.extend(text.lines().map(str::to_owned));
        }
        let status = match mode {
            Mode::Take => 200,
            Mode::Status(status) => status,
            Mode::LoseAnswer | Mode::Reset => return Ok(()),
            Mode::Hang => {
                // Until the sender is gone.
                let _read = reader.read(&mut [0])?;
                return Ok(());
            }
        };
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 2\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes())
    }

    fn records(&self) -> Vec<Value> {
        let lines = self.lines.lock().expect("the lines");
        let each = lines.iter();
        each.map(|line| serde_json::from_str(line).expect("a record"))
            .collect()
    }

    fn indexes(&self) -> BTreeSet<u64> {
        let records = self.records();
        records
            .iter()
            .map(|record| record["seq"].as_u64().expect("an index"))
            .collect()
    }
}

/// Every record that was on the disk at the start of this is at the receiver.
fn all_arrive(gateway: &Gateway, what: &str, indexes: impl Fn() -> BTreeSet<u64>) {
    let records = gateway.leaves();
    let last = records.last().expect("a record")["seq"].as_u64();
    let wanted: BTreeSet<u64> = (0..=last.expect("its index")).collect();
    eventually(what, || indexes().is_superset(&wanted).then_some(()));
}

/// A number of a sink, once its worker has told it for the first time.
fn metric(gateway: &Gateway, name: &str, sink: &str) -> u64 {
    let start = format!("callgate_audit_export_{name}{{sink=\"{sink}\"}} ");
    eventually(&start, || {
        let text = raw::get(gateway.console, "/metrics", None).text();
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|number| number.parse().ok())
    })
}

#[test]
fn a_receiver_that_fails_in_every_way_misses_nothing_and_no_call_waits_for_it() {
    let (double, receiver) = (Double::start(), Receiver::start());
    let sinks = json!({ "siem": { "https": {
        "url": format!("http://{}/services/collector/raw", receiver.address), "headers": { "Authorization": "file:hec" },
    } } });
    let mut gateway = setup(&double, &sinks)
        .file("hec", "Splunk of-the-tests\n")
        .start();
    calls(&gateway, 3);
    all_arrive(&gateway, "the first records", || receiver.indexes());
    for mode in [
        Mode::Status(500),
        Mode::Reset,
        Mode::LoseAnswer,
        Mode::Hang,
        Mode::Status(401),
    ] {
        receiver.set(mode);
        let failures = metric(&gateway, "failures", "siem");
        calls(&gateway, 3);
        if mode == Mode::Hang {
            // The process ends in the midst of a delivery.
            let asked = receiver.heads.lock().expect("the heads").len();
            eventually("a delivery that hangs", || {
                (receiver.heads.lock().expect("the heads").len() > asked).then_some(())
            });
            receiver.set(Mode::Take);
            gateway.crash();
            calls(&gateway, 2);
        } else {
            eventually("a failure", || {
                (metric(&gateway, "failures", "siem") > failures).then_some(())
            });
            assert!(metric(&gateway, "behind_records", "siem") > 0, "{mode:?}");
        }
        receiver.set(Mode::Take);
        all_arrive(&gateway, "what came meanwhile", || receiver.indexes());
    }
    // In order: a record comes again after a failure, but none overtakes.
    let mut reached = 0;
    for record in receiver.records() {
        let index = record["seq"].as_u64().expect("an index");
        assert!(index <= reached, "{index} came before {reached}");
        reached = reached.max(index + 1);
    }
    let heads = receiver.heads.lock().expect("the heads").clone();
    for head in &heads {
        for line in [
            "authorization: Splunk of-the-tests",
            "callgate-first: ",
            "callgate-last: ",
            "idempotency-key: ",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
    }
    eventually("a sink that has everything", || {
        (metric(&gateway, "behind_records", "siem") == 0).then_some(())
    });
    assert_eq!(metric(&gateway, "parked_records", "siem"), 0);
    assert!(
        !gateway.child.output().contains("of-the-tests"),
        "a token in the log"
    );
}

#[test]
fn what_is_sealed_never_leaves() {
    let (double, receiver) = (Double::start(), Receiver::start());
    double.answer(
        "/secret-place",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nanswered-xyz",
    );
    let url = format!("http://{}/", receiver.address);
    let sinks = json!({ "siem": { "https": { "url": url } } });
    let gateway = setup(&double, &sinks).start();
    let token = caller("alice-of-the-tests", &["staff"]);
    assert_eq!(gateway.get("/fn/secret-place", &token).status, 200);
    all_arrive(&gateway, "the records", || receiver.indexes());
    let lines = receiver.lines.lock().expect("the lines").join("\n");
    assert!(lines.contains("\"call.end\""));
    for sealed in [
        "alice-of-the-tests",
        "secret-place",
        "answered-xyz",
        token.as_str(),
    ] {
        assert!(!lines.contains(sealed), "{sealed}: {lines}");
    }
}

#[test]
fn a_refused_record_is_told_by_doctor_and_status_and_a_dead_receiver_too() {
    let (double, receiver) = (Double::start(), Receiver::start());
    let sinks = json!({
        "strict": { "https": { "url": format!("http://{}/", receiver.address) } },
        "dead": { "syslog": { "server": format!("tcp://{}", free_address()) }, "alarm_after_s": 10 },
    });
    receiver.set(Mode::Status(400));
    let gateway = setup(&double, &sinks).start();
    eventually("a refused record", || {
        (metric(&gateway, "parked_records", "strict") > 0).then_some(())
    });
    receiver.set(Mode::Take);
    calls(&gateway, 1);
    let status = eventually("a sink in trouble", || {
        let answer = raw::get(
            gateway.console,
            "/api/v1/status",
            Some(&person("audra", &["audit"])),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let exports = answer.json()["exports"].clone();
        exports[0]["trouble"].is_string().then_some(exports)
    });
    assert_eq!(
        (&status[0]["sink"], &status[0]["kind"]),
        (&json!("dead"), &json!("syslog"))
    );
    assert!(status[0]["behind"].as_u64() > Some(0), "{status}");
    assert!(status[1]["parked"].as_u64() > Some(0), "{status}");
    let (all_well, text) = gateway.try_command(&["doctor"], &[]);
    assert!(!all_well, "{text}");
    for told in [
        "BAD   sink dead: its records wait, calls go on: connecting to",
        "the receiver answered 400",
        "callgate audit export --jsonl --from 0",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn faults_of_sinks_say_where_they_are_and_how_to_mend_them() {
    let double = Double::start();
    let gateway = setup(&double, &json!({})).start();
    for (sink, place, text) in [
        (
            json!({}),
            "audit.export.x",
            "exactly one of `https`, `syslog` and `otlp`",
        ),
        (
            json!({ "https": { "url": "http://siem.example.com/" } }),
            "audit.export.x.https.url",
            "must start with https://",
        ),
        (
            json!({ "https": { "url": "https://s.example.com/", "headers": { "Authorization": "file:none" } } }),
            "audit.export.x.https.headers",
            "secret file",
        ),
        (
            json!({ "https": { "url": "https://s.example.com/", "headers": { "Content-Type": "file:none" } } }),
            "audit.export.x.https.headers",
            "set by the gateway itself",
        ),
        (
            json!({ "syslog": { "server": "udp://s.example.com:514" } }),
            "audit.export.x.syslog.server",
            "it must be tls://host[:port]",
        ),
        (
            json!({ "syslog": { "server": "tcp://s.example.com:601" } }),
            "audit.export.x.syslog.server",
            "or tcp://host:port on loopback",
        ),
        (
            json!({ "syslog": { "server": "tls://s.example.com", "tls": { "key": "k.pem" } } }),
            "audit.export.x.syslog.tls",
            "`certificate` is missing beside `key`",
        ),
        (
            json!({ "otlp": { "url": "https://c.example.com/v1/logs" } }),
            "audit.export.x.otlp.url",
            "leave it out",
        ),
        (
            json!({ "otlp": { "url": "https://c.example.com", "tls": { "ca": "no.pem" } } }),
            "audit.export.x.otlp.tls",
            "no.pem",
        ),
        (
            json!({ "otlp": { "url": "https://c.example.com" }, "alarm_after_s": 1 }),
            "audit.export.x.alarm_after_s",
            "between 10 and 604800",
        ),
    ] {
        let audit = json!({ "export": { "x": sink } });
        let (good, said) = gateway.try_reload(|setup| setup.with("audit", audit));
        assert!(!good, "{said}");
        let (good, said) = gateway.try_command(&["check"], &[]);
        assert!(
            !good && said.contains(place) && said.contains(text),
            "{place}: {text}: {said}"
        );
    }
}

/// Debian's rsyslog, with TLS by GnuTLS; it asks for a client's certificate.
struct Rsyslog {
    folder: tempfile::TempDir,
    child: Child,
    port: u16,
}

impl Rsyslog {
    fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = authority.vouch("localhost", (2020, 2120));
        for (name, text) in [
            ("ca.pem", &authority.pem),
            ("cert.pem", &pair.certificate),
            ("key.pem", &pair.key),
        ] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let place = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            r#"global(workDirectory="{}" maxMessageSize="64k" defaultNetstreamDriver="gtls"
              defaultNetstreamDriverCAFile="{}" defaultNetstreamDriverCertFile="{}" defaultNetstreamDriverKeyFile="{}")
            module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
            template(name="whole" type="string" string="%pri%\t%app-name%\t%hostname%\t%msgid%\t%msg%\n")
            input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{}" ruleset="file")
            ruleset(name="file") {{ action(type="omfile" file="{}" template="whole") }}
            "#,
            folder.path().display(),
            place("ca.pem"),
            place("cert.pem"),
            place("key.pem"),
            place("port"),
            place("messages"),
        );
        fs::write(folder.path().join("rsyslog.conf"), config).expect("its config");
        let child = serve(&folder);
        let mut server = Self {
            folder,
            child,
            port: 0,
        };
        server.await_port();
        server
    }

    fn await_port(&mut self) {
        let path = self.folder.path().join("port");
        self.port = eventually("rsyslog", || {
            assert!(self.child.is_running(), "{}", self.child.output());
            fs::read_to_string(&path).ok()?.trim().parse().ok()
        });
    }

    /// `kill -9`, and start it again at the same port.
    fn restart(&mut self) {
        self.child.kill();
        let config = self.folder.path().join("rsyslog.conf");
        let text = fs::read_to_string(&config).expect("its config");
        let text = text.replace("port=\"0\"", &format!("port=\"{}\"", self.port));
        fs::write(&config, text).expect("its config");
        fs::remove_file(self.folder.path().join("pid")).ok();
        self.child = serve(&self.folder);
        wait_for(SocketAddr::from(([127, 0, 0, 1], self.port)));
    }

    /// The messages so far: priority, program, host, kind, text.
    fn messages(&self) -> Vec<[String; 5]> {
        let text = fs::read_to_string(self.folder.path().join("messages")).unwrap_or_default();
        let whole = text.lines().map(|line| {
            let fields: Vec<String> = line.splitn(5, '\t').map(str::to_owned).collect();
            fields
                .try_into()
                .unwrap_or_else(|fields| panic!("{fields:?}"))
        });
        whole.collect()
    }

    fn indexes(&self) -> BTreeSet<u64> {
        let messages = self.messages();
        let seq = |text: &str| serde_json::from_str::<Value>(text).ok()?["seq"].as_u64();
        messages
            .iter()
            .filter_map(|message| seq(message[4].trim()))
            .collect()
    }
}

fn serve(folder: &tempfile::TempDir) -> Child {
    let place = |name: &str| PathBuf::from(folder.path()).join(name);
    let mut command = Command::new("/usr/sbin/rsyslogd");
    command
        .arg("-n")
        .arg("-f")
        .arg(place("rsyslog.conf"))
        .arg("-i")
        .arg(place("pid"));
    Child::start(&mut command)
}

#[test]
fn rsyslog_over_tls_has_every_record_also_when_it_was_away() {
    let (double, authority) = (Double::start(), Authority::new("authority of log servers"));
    let mut server = Rsyslog::start(&authority);
    let pair = authority.vouch("gateway.test", (2020, 2120));
    let sinks = json!({ "logs": { "syslog": {
        "server": format!("tls://localhost:{}", server.port),
        "tls": { "ca": "ca.pem", "certificate": "client.pem", "key": "client.key" },
    } } });
    let mut gateway = setup(&double, &sinks)
        .file("ca.pem", &authority.pem)
        .file("client.pem", &pair.certificate)
        .file("client.key", &pair.key)
        .start();
    calls(&gateway, 3);
    let denied = gateway.get("/fn/one", &caller("mallory", &["nobody"]));
    assert_eq!(denied.status, 403);
    all_arrive(&gateway, "messages", || server.indexes());
    eventually("a confirmation", || {
        (metric(&gateway, "behind_records", "logs") == 0).then_some(())
    });
    assert_eq!(metric(&gateway, "failures", "logs"), 0);
    let messages = server.messages();
    let leaves = gateway.leaves();
    for message in &messages {
        let [priority, program, host, kind, text] = message;
        let record: Value = serde_json::from_str(text.trim()).expect("a whole record");
        assert_eq!(program, "callgate");
        assert_eq!(record["instance"], host.as_str());
        assert_eq!(record["kind"], kind.as_str());
        let wanted = if kind == "call.deny" { "108" } else { "110" };
        assert_eq!(priority, wanted, "{text}");
        let index = usize::try_from(record["seq"].as_u64().expect("an index")).expect("small");
        assert_eq!(record, leaves[index]);
    }
    assert_eq!(messages.len(), server.indexes().len(), "each came once");
    let (_, said) = gateway.try_command(&["doctor"], &[]);
    assert!(said.contains("ok    sink logs: has "), "{said}");
    // Away while calls go on, and the gateway killed meanwhile.
    server.child.kill();
    calls(&gateway, 3);
    eventually("a failure", || {
        (metric(&gateway, "failures", "logs") > 0).then_some(())
    });
    gateway.crash();
    calls(&gateway, 2);
    server.restart();
    all_arrive(&gateway, "messages of meanwhile", || server.indexes());
}

#[test]
fn a_receiver_that_decodes_by_opentelemetrys_own_definitions_has_every_record() {
    let double = Double::start();
    let mut command = Command::new(peers().join(".venv/bin/python"));
    command.arg("-u").arg(peers().join("otlp-collector.py"));
    let mut collector = Child::start(&mut command);
    let lines = |output: &str| -> Vec<Value> {
        output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    let port = eventually("a collector", || {
        assert!(collector.is_running(), "{}", collector.output());
        lines(&collector.output()).first()?["port"].as_u64()
    });
    let sinks = json!({ "otel": { "otlp": {
        "url": format!("http://127.0.0.1:{port}/"), "headers": { "X-Token": "file:token" },
    } } });
    let gateway = setup(&double, &sinks)
        .file("token", "of-the-collector")
        .start();
    calls(&gateway, 3);
    assert_eq!(
        gateway
            .get("/fn/one", &caller("mallory", &["nobody"]))
            .status,
        403
    );
    let told = || lines(&collector.output()).split_off(1);
    all_arrive(&gateway, "log records", || {
        let told = told();
        assert!(told.iter().all(|line| line["error"].is_null()), "{told:?}");
        told.iter()
            .filter_map(|line| line["attributes"]["callgate.seq"].as_u64())
            .collect()
    });
    let leaves = gateway.leaves();
    for line in told() {
        let record: Value =
            serde_json::from_str(line["body"].as_str().expect("a text")).expect("a record");
        let index = usize::try_from(record["seq"].as_u64().expect("an index")).expect("small");
        assert_eq!(record, leaves[index]);
        assert_eq!(line["event"], record["kind"]);
        let severity = if record["kind"] == "call.deny" {
            "WARN"
        } else {
            "INFO"
        };
        assert_eq!(line["severity"], severity);
        assert_eq!(line["resource"]["service.name"], "callgate");
        assert_eq!(line["resource"]["service.instance.id"], record["instance"]);
        assert_eq!(line["attributes"].get("callgate.call"), record.get("call"));
        assert_eq!(line["token"], "of-the-collector");
        assert!(line["time"].as_u64() > Some(1_700_000_000_000_000_000));
    }
}
