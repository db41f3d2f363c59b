//! What an operator lives through with a running gateway: a second process, wrong permissions, an issuer that is away,
//! reloads, a drain, a data folder that goes away, a full disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::caller::Talk;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually};
use super::support::raw::{self, Answer};
use super::support::recorder::json_answer;

const PERMIT: &str = r#"@id("staff-calls") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;
const FORBID: &str =
    r#"@id("never-delete") forbid (principal, action in Action::"destructive", resource);"#;

pub(super) fn setup(double: &Double) -> Setup {
    let functions = json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}" }, "drop": { "method": "DELETE", "path": "/{case}" },
    } });
    Setup::new().policy(PERMIT).policy(FORBID).connection(
        "fn",
        double.address,
        &json!({ "functions": functions }),
    )
}

pub(super) fn staff() -> String {
    caller("alice", &["staff"])
}

/// Until a call is refused with this code, and how long that took.
pub(super) fn refused_soon(gateway: &Gateway, code: &str) -> (Answer, Duration) {
    let begun = Instant::now();
    let answer = eventually(code, || {
        let answer = gateway.get("/fn/probe", &staff());
        // A call that was under way at that moment was executed, and its answer is withheld.
        (!matches!(answer.status, 200 | 424)).then_some(answer)
    });
    let took = begun.elapsed();
    let said = answer.json();
    assert_eq!(
        (&said["code"], &said["executed"]),
        (&json!(code), &json!("no")),
        "{said}"
    );
    (answer, took)
}

#[test]
fn a_second_process_on_the_same_data_says_so_and_leaves() {
    let double = Double::start();
    let gateway = setup(&double).start();
    let (good, text) = gateway.try_command(&["serve"], &[]);
    assert!(!good);
    let last = text.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("callgate: audit log: ") && last.contains("in use"),
        "{text}"
    );
    assert!(last.contains(&gateway.child.id().to_string()), "{text}");
    assert_eq!(gateway.get("/fn/still", &staff()).status, 200);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let double = Double::start();
    let mut gateway = setup(&double).start();
    gateway.kill();
    let mut keys = 0;
    for path in super::support::gateway::files(&gateway.data()) {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !name.ends_with(".key") && !name.ends_with(".pem") {
            continue;
        }
        keys += 1;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its mode");
        let (good, text) = gateway.try_command(&["serve"], &[]);
        let last = text.lines().last().unwrap_or_default();
        assert!(!good && last.contains(&name), "{name}: {text}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
    }
    assert!(keys >= 3, "{keys} keys");
}

#[test]
fn an_issuer_that_is_away_refuses_its_callers_only() {
    let double = Double::start();
    let away = json!({ "issuers": { "corp": {
        "issuer": "https://idp.test", "audience": "https://gateway.test", "groups": "groups",
        "jwks": "http://127.0.0.1:9/keys",
    } } });
    let gateway = setup(&double).with("identity", away).start();
    let answer = gateway.get("/fn/one", &staff());
    let said = answer.json();
    assert_eq!(
        (answer.status, &said["code"], &said["executed"]),
        (503, &json!("issuer_unavailable"), &json!("no"))
    );
    assert!(answer.header("retry-after").is_some());
    eventually("a line about the issuer", || {
        let output = gateway.child.output();
        output
            .lines()
            .any(|line| line.contains("WARN") && line.contains("corp"))
            .then_some(())
    });
    let (good, text) = gateway.try_command(&["doctor"], &[]);
    assert!(!good && text.contains("BAD   issuer corp"), "{text}");
    assert_eq!(double.hits("/one"), 0);
}

#[test]
fn a_bad_reload_changes_nothing_and_says_why() {
    let double = Double::start();
    let mut gateway = setup(&double).start();
    let whole = fs::read(gateway.data().with_file_name("callgate.yaml")).expect("the config");
    fs::write(
        gateway.data().with_file_name("callgate.yaml"),
        [&whole[..whole.len() - 1], b", \"surprise\": 1}"].concat(),
    )
    .expect("the config");
    let (good, text) = gateway.try_command(&["reload"], &[]);
    assert!(!good && text.contains("surprise"), "{text}");
    gateway.child.signal("HUP");
    eventually("a line about the refused reload", || {
        gateway
            .child
            .output()
            .contains("the reload was refused, everything stays as it is")
            .then_some(())
    });
    assert_eq!(gateway.get("/fn/one", &staff()).status, 200);
    fs::write(gateway.data().with_file_name("callgate.yaml"), whole).expect("the config");
    assert!(gateway.command(&["reload"], &[]).contains("no change"));
    assert!(gateway.child.is_running());
}

#[test]
fn a_forbid_goes_away_only_when_that_is_accepted() {
    let double = Double::start();
    let gateway = setup(&double).start();
    let delete = |case: &str| {
        gateway
            .send("DELETE", &format!("/fn/{case}"), &staff(), &[], b"")
            .status
    };
    assert_eq!(delete("one"), 403);
    let policies = gateway.data().with_file_name("policies").join("test.cedar");
    fs::write(&policies, PERMIT).expect("the policies");
    let (good, text) = gateway.try_command(&["reload"], &[]);
    assert!(
        !good && text.contains("never-delete") && text.contains("--accept-removal"),
        "{text}"
    );
    assert_eq!((delete("two"), double.hits("/two")), (403, 0));
    gateway.command(&["reload", "--accept-removal"], &[]);
    assert_eq!(delete("three"), 200);
    let changes: Vec<_> = gateway
        .leaves()
        .into_iter()
        .filter(|leaf| leaf["kind"] == "config.change")
        .collect();
    assert_eq!(
        changes.last().expect("a change")["removed"],
        json!(["never-delete"])
    );
}

#[test]
fn reloads_under_load_drop_no_call() {
    let double = Double::start();
    let gateway = setup(&double).start();
    let over = Arc::new(AtomicBool::new(false));
    let address = gateway.address;
    let callers: Vec<_> = (0..3)
        .map(|number| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let mut count = 0;
                while !over.load(Ordering::Relaxed) {
                    let answer = raw::get(address, &format!("/fn/load-{number}"), Some(&staff()));
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    count += 1;
                }
                count
            })
        })
        .collect();
    for round in 0..6 {
        let more = format!(
            "@id(\"round-{round}\") permit (principal in Group::\"corp/round-{round}\", action, resource);"
        );
        let told = format!("+ policy round-{round}");
        if round % 2 == 0 {
            let text = gateway.reload(|setup| setup.policy(&more), &[]);
            assert!(text.contains(&told), "{text}");
            continue;
        }
        // By signal, as a service manager does it.
        let path = gateway
            .data()
            .with_file_name("policies")
            .join(format!("{round}.cedar"));
        fs::write(path, more).expect("a policy");
        gateway.child.signal("HUP");
        eventually(&told, || {
            gateway.child.output().contains(&told).then_some(())
        });
    }
    over.store(true, Ordering::Relaxed);
    let calls: usize = callers
        .into_iter()
        .map(|caller| caller.join().expect("no call was dropped"))
        .sum();
    assert!(calls >= 15, "{calls} calls");
}

/// R4, in the small: what is under way ends, what comes later finds nobody.
#[test]
fn a_stop_lets_calls_end_and_takes_no_new_ones() {
    let double = Double::start();
    double.on("/slow", |exchange| {
        thread::sleep(Duration::from_millis(1500));
        exchange.write(json_answer(200, "{\"slow\":true}"));
    });
    let mut gateway = setup(&double).start();
    let mut talk = Talk::get(gateway.address, "/fn/slow", &staff());
    eventually("the call at the function", || {
        (double.hits("/slow") == 1).then_some(())
    });
    gateway.child.signal("TERM");
    let address = gateway.address;
    eventually("a closed door", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    let answer = talk.whole("GET");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"slow\":true}")
    );
    eventually("the end of the process", || {
        (!gateway.child.is_running()).then_some(())
    });
    assert!(gateway.child.output().contains("stopped"));
    let kinds: Vec<_> = gateway
        .leaves()
        .into_iter()
        .map(|leaf| leaf["kind"].clone())
        .collect();
    assert_eq!(kinds.last(), Some(&json!("log.close")));
    assert!(kinds.contains(&json!("call.end")));
    assert!(
        gateway
            .command(&["audit", "verify"], &[])
            .contains("intact")
    );
}

/// A8
#[test]
fn calls_are_refused_when_the_audit_folder_goes_away() {
    let double = Double::start();
    let gateway = setup(&double).start();
    assert_eq!(gateway.get("/fn/probe", &staff()).status, 200);
    let aside = gateway.data().join("aside");
    fs::rename(gateway.data().join("audit"), &aside).expect("moved");
    let (answer, took) = refused_soon(&gateway, "audit_unavailable");
    assert_eq!(answer.status, 503);
    assert!(took < Duration::from_secs(4), "noticed after {took:?}");
    let hits = double.hits("/probe");
    assert_eq!(gateway.get("/fn/probe", &staff()).status, 503);
    assert_eq!(double.hits("/probe"), hits);
    assert_eq!(gateway.get("/.well-known/callgate/ready", "").status, 503);
}

/// A file system of its own, and its end.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        mount(
            &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"],
            folder.path(),
        );
        Self(folder)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

pub(super) fn mount(arguments: &[&str], at: &Path) {
    let done = Command::new("mount")
        .args(arguments)
        .arg(at)
        .output()
        .expect("mount starts");
    assert!(
        done.status.success(),
        "this test makes a small file system, for which it must run as root: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A5: admission stops before the disk is full, calls that are under way still end, and it goes on by itself.
#[test]
fn a_full_disk_stops_new_calls_and_ends_open_ones() {
    let place = Mount::new("600m");
    let double = Double::start();
    double.on("/slow", |exchange| {
        thread::sleep(Duration::from_secs(4));
        exchange.write(json_answer(200, "{\"slow\":true}"));
    });
    let data = place.0.path().join("data");
    let gateway = setup(&double)
        .with("data", json!(data.display().to_string()))
        .start();
    assert_eq!(gateway.get("/fn/probe", &staff()).status, 200);
    let mut talk = Talk::get(gateway.address, "/fn/slow", &staff());
    eventually("the call at the function", || {
        (double.hits("/slow") == 1).then_some(())
    });
    // As small as what is in it lets it be.
    let used = Command::new("df")
        .args(["--output=used", "-B1M"])
        .arg(place.0.path())
        .output()
        .expect("df");
    let used: u64 = String::from_utf8_lossy(&used.stdout)
        .lines()
        .last()
        .and_then(|used| used.trim().parse().ok())
        .expect("a size");
    mount(
        &["-o", &format!("remount,size={}m", used + 1)],
        place.0.path(),
    );
    let (answer, _) = refused_soon(&gateway, "audit_unavailable");
    assert_eq!(answer.status, 503);
    let slow = talk.whole("GET");
    assert_eq!(
        (slow.status, slow.text().as_str()),
        (200, "{\"slow\":true}")
    );
    mount(&["-o", "remount,size=600m"], place.0.path());
    eventually("calls again", || {
        (gateway.get("/fn/probe", &staff()).status == 200).then_some(())
    });
    assert!(
        gateway
            .command(&["audit", "verify"], &[])
            .contains("intact")
    );
    drop(gateway);
}
