//! `docs/guide/prove-what-happened.md`, followed to the letter.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::support::function::Double;
use super::support::gateway::{Gateway, PROGRAM, Setup, caller, eventually};
use super::support::{free_address, root};

const PERMIT: &str = r#"@id("staff-calls") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;

fn gateway(double: &Double) -> Gateway {
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
    let setup = Setup::new().policy(PERMIT);
    setup
        .connection("fn", double.address, &json!({ "functions": functions }))
        .start()
}

/// The shell blocks of a guide, in their order, as one script.
fn script(guide: &str) -> String {
    let text = fs::read_to_string(root().join("docs/guide").join(guide)).expect("the guide");
    let mut blocks = text.split("```sh\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").expect("an end of the block");
        block.to_owned()
    });
    let first = blocks.next().expect("a block");
    blocks.fold(format!("set -euo pipefail\n{first}"), |all, block| {
        all + &block
    })
}

/// Run a script as somebody who has `callgate` in their path.
fn run(script: &str, folder: &Path, environment: &[(&str, String)]) -> (bool, String) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, bin.join("callgate")).expect("a link");
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").expect("a path")
    );
    let done = Command::new("bash")
        .args(["-c", script])
        .current_dir(folder)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .env("PATH", path)
        .output()
        .expect("bash");
    let text = [done.stdout, done.stderr].concat();
    (
        done.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn the_auditors_guide_works_as_it_is_written() {
    let double = Double::start();
    let gateway = gateway(&double);
    // The guide begins with a gateway that has signed heads.
    eventually("a head", || {
        gateway.try_command(&["audit", "head"], &[]).0.then_some(())
    });
    let folder = tempfile::tempdir().expect("a folder");
    let environment = [
        ("GATEWAY", format!("http://{}", gateway.address)),
        ("TOKEN", caller("alice", &["staff"])),
        (
            "CALLGATE_CONFIG",
            gateway
                .data()
                .with_file_name("callgate.yaml")
                .display()
                .to_string(),
        ),
        ("CALLGATE_SOURCE", root().display().to_string()),
        ("PORT", free_address().port().to_string()),
    ];
    let (good, said) = run(
        &script("prove-what-happened.md"),
        folder.path(),
        &environment,
    );
    assert!(good, "{said}");
    let due = [
        // Witness and policy.
        "nothing cosigned yet",
        "strict: exit code 1",
        // The proof, by both.
        "OK: entry ",
        "is in the log of",
        "\"kind\":\"call.end\"",
        // The bundle, by both.
        "no content disclosed",
        "TAMPERED: `index.html`: ",
        "page: exit code 1",
        "content: 1",
        // The log itself, and its copy behind a URL.
        "signed heads",
        "new files",
        "the receipt's head is part of it, and its record",
        "fit the signed checkpoint",
        // The forgery, by both.
        "TAMPERED: at record ",
        "forged: exit code 1",
        "TAMPERED: `tile/0/000.p/",
        "script: exit code 1",
    ];
    for part in due {
        assert!(said.contains(part), "`{part}` was not said:\n{said}");
    }
    assert_eq!(
        said.matches("\nintact: ").count() + usize::from(said.starts_with("intact")),
        5,
        "{said}"
    );
    assert_eq!(double.hits("/one"), 1);
    exports(folder.path(), &gateway);
}

/// What the guide's exports hold: every record of before, and the one call in the forms of others.
fn exports(folder: &Path, gateway: &Gateway) {
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect("an export");
    let records = read("records.jsonl");
    let leaves = gateway.leaves();
    for (line, leaf) in records.lines().zip(&leaves) {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        assert_eq!(&record, leaf);
    }
    let count = records.lines().count();
    assert!(
        count > 4 && count <= leaves.len(),
        "{count} of {}",
        leaves.len()
    );
    let reads = leaves
        .iter()
        .filter(|leaf| leaf["kind"] == "audit.read")
        .count();
    assert!(reads >= 5, "exports and proofs are on record: {reads}");
    let events = read("calls.ocsf.jsonl");
    let event: serde_json::Value = serde_json::from_str(events.trim_end()).expect("one event");
    assert_eq!(
        (&event["class_uid"], &event["type_uid"]),
        (&json!(6003), &json!(600_302))
    );
    assert_eq!(
        (&event["status_code"], &event["api"]["operation"]),
        (&json!("200"), &json!("fn/get"))
    );
    assert!(!events.contains("alice"), "{events}");
    let cef = read("calls.cef");
    assert!(
        cef.starts_with("CEF:0|Callgate|Callgate|1|call.ok|fn/get|3|rt="),
        "{cef}"
    );
    assert!(!cef.contains("alice") && cef.lines().count() == 1, "{cef}");
}

/// What `audit verify` says of sources that are not what they should be, and with which code.
#[test]
fn a_check_that_cannot_be_made_is_never_told_as_tampering() {
    let double = Double::start();
    let gateway = gateway(&double);
    gateway.get("/fn/one", &caller("alice", &["staff"]));
    eventually("a head", || {
        gateway.try_command(&["audit", "head"], &[]).0.then_some(())
    });
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let key = gateway.command(&["audit", "key"], &[]);
    gateway.command(&["audit", "export", "--tiles", &place("tiles")], &[]);
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    fs::write(folder.path().join("nonsense"), "nonsense\n").expect("a file");
    let stranger = "log.example/other+cc5c3c7e+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let closed = format!("http://{}", free_address());
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&place("tiles")], 64, "whose log is it?"),
        (&[&place("nowhere"), "--key", key.trim()], 64, "nowhere"),
        (
            &[&place("tiles"), "--policy", &place("nonsense")],
            64,
            "nonsense",
        ),
        (
            &[&place("tiles"), "--key", key.trim(), "--receipt", "index=x"],
            64,
            "Callgate-Receipt",
        ),
        (&[&closed, "--key", key.trim()], 64, "connecting"),
        (&["--config", "nowhere.yaml"], 64, "nowhere.yaml"),
        (
            &[&place("empty"), "--key", key.trim()],
            2,
            "INCOMPLETE: there is no `checkpoint`",
        ),
        (&[&place("nonsense"), "--key", key.trim()], 1, "TAMPERED"),
        (&[&place("tiles"), "--key", key.trim()], 0, "intact"),
        (&[&place("tiles"), "--key", stranger], 64, "the key id is"),
    ];
    for (arguments, code, said) in cases {
        let mut command = Command::new(PROGRAM);
        command.args(["audit", "verify"]).args(*arguments);
        let done = command.output().expect("the program");
        let text = [done.stdout, done.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let good = done.status.code() == Some(*code) && text.contains(said);
        assert!(good, "{arguments:?}: {:?}: {text}", done.status.code());
    }
    // A log whose files were taken away in part, and one that another key signed.
    fs::remove_dir_all(folder.path().join("tiles/tile/entries")).expect("removed");
    let verify = |arguments: &[&str]| {
        let arguments = [&["audit", "verify"], arguments].concat();
        gateway.try_command(&arguments, &[])
    };
    let (good, text) = verify(&[&place("tiles"), "--key", key.trim()]);
    assert!(
        !good && text.contains("INCOMPLETE: `tile/entries/"),
        "{text}"
    );
    let (good, text) = verify(&["--receipt", "index=0"]);
    assert!(
        !good && text.contains("TAMPERED: at record 0: the receipt says"),
        "{text}"
    );
}
