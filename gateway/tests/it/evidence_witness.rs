//! Witnesses: ours against ours over real sockets, with crashes and lies between.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::support::child::Child;
use super::support::function::Double;
use super::support::gateway::{Gateway, PROGRAM, Setup, address, caller, eventually};
use super::support::{raw, root};

const PERMIT: &str = r#"@id("staff-calls") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;

/// A witness's process, on a folder of its own.
struct Witness {
    folder: tempfile::TempDir,
    key: String,
    child: Child,
    address: SocketAddr,
}

impl Witness {
    fn start(name: &str, log: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("witness").display().to_string();
        let key = witness(&["init", "--state", &state, "--name", name]);
        witness(&["add-log", "--state", &state, log]);
        let (child, address) = serve(&state);
        Self {
            folder,
            key: key.trim().to_owned(),
            child,
            address,
        }
    }

    fn state(&self) -> String {
        self.folder.path().join("witness").display().to_string()
    }

    /// `kill -9`, and start it again, on another port.
    fn crash(&mut self) {
        self.child.kill();
        (self.child, self.address) = serve(&self.state());
    }

    /// How many contradictions it has seen.
    fn evidence(&self) -> usize {
        fs::read_dir(self.folder.path().join("witness/evidence"))
            .expect("a folder")
            .count()
    }
}

fn witness(arguments: &[&str]) -> String {
    let done = Command::new(PROGRAM)
        .arg("witness")
        .args(arguments)
        .output();
    let done = done.expect("the program");
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(done.stdout).expect("text")
}

fn serve(state: &str) -> (Child, SocketAddr) {
    let mut command = Command::new(PROGRAM);
    command.args([
        "witness",
        "serve",
        "--state",
        state,
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut child = Child::start(&mut command);
    let address = eventually("a witness", || {
        assert!(child.is_running(), "{}", child.output());
        let output = child.output();
        output
            .contains("listening for logs")
            .then(|| address(&output, "listening for logs"))
    });
    (child, address)
}

/// What stands between the gateway and its witness does.
#[derive(Clone, Debug)]
enum Mode {
    /// Pass question and answer on.
    Forward(SocketAddr),
    /// Pass the question on, and lose the answer.
    LoseAnswer(SocketAddr),
    /// Answer this instead.
    Lie(u16, String),
    /// Answer with the cosignature of another time: what the witness says is kept and said again.
    Replay(Arc<Mutex<Option<Vec<u8>>>>, SocketAddr),
    /// Hang up.
    Down,
    /// Take the question and say nothing, until whoever asks hangs up. How many questions began so, and
    /// how many are over.
    Hang(Arc<[AtomicU64; 2]>),
}

/// The place that the gateway takes for its witness.
struct Relay {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
}

impl Relay {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let mode = Arc::new(Mutex::new(Mode::Down));
        let shared = Arc::clone(&mode);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mode = shared.lock().expect("the mode").clone();
                // A caller that hangs up is no fault of this place.
                let _ = answer(stream, &mode);
            }
        });
        Self { address, mode }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().expect("the mode") = mode;
    }
}

fn answer(mut stream: TcpStream, mode: &Mode) -> std::io::Result<()> {
    let question = message(&mut stream)?;
    let ask = |address: &SocketAddr| -> std::io::Result<Vec<u8>> {
        let mut witness = TcpStream::connect(address)?;
        witness.write_all(&question)?;
        message(&mut witness)
    };
    match mode {
        Mode::Forward(witness) => stream.write_all(&ask(witness)?),
        Mode::LoseAnswer(witness) => ask(witness).map(|_| ()),
        Mode::Lie(status, body) => {
            let head = format!(
                "HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes())
        }
        Mode::Replay(kept, witness) => {
            let mut kept = kept.lock().expect("what was kept");
            if kept.is_none() {
                *kept = Some(ask(witness)?);
            }
            stream.write_all(kept.as_deref().unwrap_or_default())
        }
        Mode::Down => Ok(()),
        Mode::Hang(questions) => {
            questions[0].fetch_add(1, Ordering::SeqCst);
            let read = stream.read(&mut [0]);
            questions[1].fetch_add(1, Ordering::SeqCst);
            read.map(drop)
        }
    }
}

/// A whole HTTP message with a length.
fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut whole = Vec::new();
    let mut length = 0;
    loop {
        let before = whole.len();
        if reader.read_until(b'\n', &mut whole)? == 0 {
            return Ok(whole);
        }
        let line = String::from_utf8_lossy(&whole[before..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    whole.extend(body);
    Ok(whole)
}

/// A gateway, its witness, and what stands between.
struct World {
    gateway: Gateway,
    witness: Witness,
    relay: Relay,
    double: Double,
}

impl World {
    fn start() -> Self {
        let double = Double::start();
        let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
        let setup = Setup::new().policy(PERMIT);
        let setup = setup.connection("fn", double.address, &json!({ "functions": functions }));
        let mut gateway = setup.start();
        let (good, text) = gateway.try_command(&["doctor"], &[]);
        assert!(
            good && text.contains("no head of the log is held outside"),
            "{text}"
        );
        let log = gateway.command(&["audit", "key"], &[]);
        let witness = Witness::start("witness.test/w1", log.trim());
        let relay = Relay::start();
        relay.set(Mode::Forward(witness.address));
        let audit = json!({
            "witnesses": [{ "key": witness.key, "url": format!("http://{}/", relay.address) }],
            "policy": "witnesses.policy",
            "witness_every_s": 1,
        });
        let policy = format!(
            "log {}\nwitness w1 {}\nquorum w1\n",
            log.trim(),
            witness.key
        );
        gateway.restart_with(|setup| setup.with("audit", audit).file("witnesses.policy", &policy));
        Self {
            gateway,
            witness,
            relay,
            double,
        }
    }

    /// A call that passes, whatever the witness does. Its id.
    fn call(&self) -> String {
        let answer = self.gateway.get("/fn/one", &caller("alice", &["staff"]));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
            .header("callgate-call")
            .expect("a call id")
            .to_owned()
    }

    /// Once a cosigned head covers a call's last record: the proof, with the witness's signature.
    fn proof(&self, call: &str) -> String {
        eventually("a cosigned proof", || {
            let (good, proof) = self.gateway.try_command(&["audit", "prove", call], &[]);
            (good && proof.contains("— witness.test/w1 ")).then_some(proof)
        })
    }

    /// How often an alarm of this kind was raised.
    fn alarms(&self, kind: &str) -> u64 {
        let text = raw::get(self.gateway.console, "/metrics", None).text();
        let label = format!("kind=\"{kind}\"");
        let line = text.lines().find(|line| {
            line.starts_with("callgate_audit_witness_alarms_total") && line.contains(&label)
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0)
    }
}

#[test]
fn a_proof_carries_the_witness_and_verifies_with_tools_that_are_not_ours() {
    let world = World::start();
    let proof = world.proof(&world.call());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("call.tlog-proof");
    fs::write(&file, &proof).expect("a file");
    let policy = world.gateway.data().with_file_name("witnesses.policy");
    let verify = |file: &PathBuf| {
        let done = Command::new("python3")
            .arg("-B")
            .arg(root().join("tools/verify.py"))
            .arg("proof")
            .arg(file)
            .arg("--policy")
            .arg(&policy)
            .output()
            .expect("python3");
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned(),
        )
    };
    let (code, said) = verify(&file);
    assert!(
        code == Some(0) && said.contains("is in the log of"),
        "{said}"
    );
    // Without the witness's line the log's own signature is not enough.
    let (alone, _) = proof.trim_end().rsplit_once('\n').expect("two signatures");
    fs::write(&file, format!("{alone}\n")).expect("a file");
    let (code, said) = verify(&file);
    assert!(code == Some(1) && said.contains("quorum"), "{said}");
    let head = world.gateway.command(&["audit", "head", "--cosigned"], &[]);
    assert!(head.contains("— witness.test/w1 "), "{head}");
    let (good, text) = world.gateway.try_command(&["doctor"], &[]);
    assert!(
        good && text.contains("witness witness.test/w1: has cosigned"),
        "{text}"
    );
    let show = Command::new(PROGRAM)
        .args(["witness", "show", "--state", &world.witness.state()])
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&show.stderr).into_owned();
    assert!(
        !show.status.success() && said.contains("in use by process"),
        "{said}"
    );
}

/// A15, and a crash between what is stored and what is answered, on both sides.
#[test]
fn a_witness_that_is_away_or_crashes_is_caught_up_with_without_a_gap() {
    let mut world = World::start();
    world.proof(&world.call());
    // It stored and signed, and its answer never came.
    world.relay.set(Mode::LoseAnswer(world.witness.address));
    world.call();
    eventually("an alarm", || {
        (world.alarms("unreachable") > 0).then_some(())
    });
    world.witness.crash();
    world.relay.set(Mode::Forward(world.witness.address));
    let call = world.call();
    world.proof(&call);
    // Nobody is there, then the gateway dies as well.
    world.relay.set(Mode::Down);
    let calls: Vec<String> = (0..20).map(|_| world.call()).collect();
    world.witness.crash();
    world.gateway.crash();
    world.relay.set(Mode::Forward(world.witness.address));
    for call in &calls[18..] {
        world.proof(call);
    }
    assert_eq!(world.witness.evidence(), 0, "the witness saw one history");
    assert_eq!(world.double.hits("/one"), 23, "every call was made");
    let verdict = world.gateway.command(&["audit", "verify"], &[]);
    assert!(verdict.contains("intact"), "{verdict}");
}

#[test]
fn a_witness_that_says_nothing_keeps_no_other_waiting() {
    let mut world = World::start();
    let log = world.gateway.command(&["audit", "key"], &[]);
    let silent = Witness::start("witness.test/silent", log.trim());
    let (relay, questions) = (Relay::start(), Arc::new([const { AtomicU64::new(0) }; 2]));
    relay.set(Mode::Hang(Arc::clone(&questions)));
    let [begun, over] = [0, 1].map(|which: usize| {
        let questions = Arc::clone(&questions);
        move || questions[which].load(Ordering::SeqCst)
    });
    let witness = |witness: &Witness, at: SocketAddr| json!({ "key": witness.key, "url": format!("http://{at}/") });
    let audit = json!({
        "witnesses": [
            witness(&silent, relay.address),
            witness(&world.witness, world.witness.address),
        ],
        "policy": "witnesses.policy",
        "witness_every_s": 1,
    });
    world
        .gateway
        .restart_with(|setup| setup.with("audit", audit));
    // Somebody calls while the silent one is asked, and has the other's cosignature before that is over.
    eventually("a cosignature beside an open question", || {
        let question = begun();
        if question == over() {
            return None;
        }
        let call = world.call();
        loop {
            let (good, proof) = world.gateway.try_command(&["audit", "prove", &call], &[]);
            let cosigned = good && proof.contains("— witness.test/w1 ");
            match (over() < question, cosigned) {
                (true, true) => return Some(()),
                (true, false) => thread::sleep(Duration::from_millis(50)),
                // Too slow this time: with the next question.
                (false, _) => return None,
            }
        }
    });
    // And the silent one is an alarm, once its time is over.
    eventually("an alarm", || {
        (world.alarms("unreachable") > 0).then_some(())
    });
}

/// A15
#[test]
fn a_lying_witness_raises_an_alarm_and_stops_nothing() {
    let world = World::start();
    world.proof(&world.call());
    let other = "— witness.test/w1 AAAAAAAAAABlU/EAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
    let kept = Arc::default();
    let lies = [
        ("ahead", Mode::Lie(409, "99999999\n".to_owned())),
        ("went_back", Mode::Lie(409, "1\n".to_owned())),
        ("malformed", Mode::Lie(409, "many\n".to_owned())),
        ("unknown_key", Mode::Lie(200, other.to_owned())),
        ("malformed", Mode::Lie(200, "<html>".to_owned())),
        ("refused", Mode::Lie(422, String::new())),
        ("refused", Mode::Lie(500, String::new())),
        ("bad_signature", Mode::Replay(kept, world.witness.address)),
    ];
    for (kind, lie) in lies {
        let before = world.alarms(kind);
        let told = format!("{lie:?}");
        world.relay.set(lie);
        eventually(&told, || {
            world.call();
            (world.alarms(kind) > before).then_some(())
        });
    }
    let (good, text) = world.gateway.try_command(&["doctor"], &[]);
    assert!(
        !good && text.contains("BAD   witness witness.test/w1: "),
        "{text}"
    );
    // The truth again, from where the witness really is.
    world.relay.set(Mode::Forward(world.witness.address));
    world.proof(&world.call());
    assert_eq!(world.witness.evidence(), 0);
    let (good, text) = world.gateway.try_command(&["doctor"], &[]);
    assert!(
        good && text.contains("weak  witness witness.test/w1: cosigns, but "),
        "{text}"
    );
}
