//! Backup and restore; a log that was put back, copied or moved; successors.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually, files};

const PERMIT: &str = r#"@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;

fn setup(double: &Double) -> Setup {
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
    let more = json!({ "functions": functions });
    Setup::new()
        .policy(PERMIT)
        .connection("fn", double.address, &more)
}

fn called_by(gateway: &Gateway, who: &str) -> String {
    let answer = gateway.get("/fn/one", &caller(who, &["staff"]));
    assert_eq!(answer.status, 200, "{}", answer.json());
    gateway.end_of(&answer);
    answer.header("callgate-call").expect("an id").to_owned()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(&file, &target).expect("a copy");
    }
}

/// What a start says that is refused.
fn refused(gateway: &Gateway) -> String {
    let (good, text) = gateway.try_command(&["serve"], &[]);
    assert!(!good, "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

fn first_open(gateway: &Gateway) -> Value {
    let leaves = gateway.leaves();
    let opened = leaves
        .iter()
        .find(|leaf| leaf["kind"] == "log.open" && leaf["seq"] == 0);
    opened.expect("a first record").clone()
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its begin to its end"
)]
fn a_backup_of_a_running_gateway_is_restored_and_goes_on_in_a_successor() {
    let double = Double::start();
    let gateway = setup(&double).start();
    let (gone, kept) = (called_by(&gateway, "alice"), called_by(&gateway, "bob"));
    gateway.command(&["audit", "shred", "--subject", "corp/alice", "--yes"], &[]);
    let held = [
        "audit",
        "hold",
        "--subject",
        "corp/bob",
        "--reason",
        "case 9",
    ];
    let text = gateway.command(&held, &[]);
    let hold = text.split_whitespace().nth(1).expect("its id").to_owned();
    let folder = tempfile::tempdir().expect("a folder");
    let backup = folder.path().join("backup");
    let name = backup.to_string_lossy().into_owned();
    let text = gateway.command(&["backup", "-o", &name], &[]);
    assert!(text.starts_with("backed up "), "{text}");
    let (good, text) = gateway.try_command(&["backup", "-o", &name], &[]);
    assert!(!good && text.contains("is not an empty folder"), "{text}");
    let later = called_by(&gateway, "bob");

    // Never over data, and nothing that was changed.
    let (good, text) = gateway.try_command(&["restore", &name], &[]);
    assert!(
        !good && text.contains("nothing is written over what is there"),
        "{text}"
    );
    let mut restored = gateway.elsewhere();
    let state = backup.join("data/state/state.db");
    let bytes = fs::read(&state).expect("the state");
    fs::write(&state, &bytes[1..]).expect("a change");
    let (good, text) = restored.try_command(&["restore", &name], &[]);
    assert!(
        !good && text.contains("state.db` is missing or not what was backed up"),
        "{text}"
    );
    assert!(!restored.data().exists());
    fs::write(&state, &bytes).expect("as it was");

    let text = restored.command(&["restore", &name], &[]);
    assert!(text.contains("audit succeed"), "{text}");
    assert!(
        restored
            .command(&["audit", "verify"], &[])
            .starts_with("intact")
    );
    // One name has one log: the restored one does not go on, but a successor does.
    let said = refused(&restored);
    assert!(
        said.contains("was copied or restored") && said.contains("audit succeed"),
        "{said}"
    );
    restored.command(&["audit", "succeed"], &[]);
    let (good, text) = restored.try_command(&["audit", "succeed"], &[]);
    assert!(!good && text.contains("nothing to succeed"), "{text}");
    restored.spawn();
    restored.await_ready();
    let anew = called_by(&restored, "bob");
    let opened = first_open(&restored);
    let old = fs::read(gateway.data().join("audit/log.json")).expect("the log's name");
    let old: Value = serde_json::from_slice(&old).expect("the log's name");
    assert_eq!(opened["predecessor"]["origin"], old["origin"]);
    assert_eq!(opened["predecessor"]["verifier_key"], old["verifier_key"]);
    assert!(
        opened["predecessor"]["records"].as_u64() >= Some(5),
        "{opened}"
    );

    // The old log is read beside the new one; who was erased stays erased; who is kept is the same pseudonym.
    let before = restored
        .data()
        .join("audit.1")
        .to_string_lossy()
        .into_owned();
    let text = restored.command(&["calls", "replay", &kept, "--log", &before], &[]);
    assert!(
        text.contains("what is shown matches its commitments"),
        "{text}"
    );
    let (good, text) = restored.try_command(&["calls", "replay", &gone, "--log", &before], &[]);
    assert!(!good && text.contains("is erased"), "{text}");
    assert!(
        !restored
            .try_command(&["calls", "show", &later, "--log", &before], &[])
            .0
    );
    let begin =
        |gateway: &Gateway, call: &str| gateway.leaf("call.begin", call).expect("its begin");
    assert_eq!(
        begin(&restored, &anew)["subject_ref"],
        begin(&gateway, &kept)["subject_ref"]
    );
    // Who was kept from being erased is kept by the successor too, until that is released in it.
    let shred = ["audit", "shred", "--subject", "corp/bob", "--yes"];
    let (good, text) = restored.try_command(&shred, &[]);
    assert!(!good && text.contains(&hold), "{text}");
    assert!(
        restored
            .command(&["audit", "holds"], &[])
            .starts_with(&hold)
    );
    restored.command(&["audit", "release", &hold, "--reason", "closed"], &[]);
    restored.restart();
    restored.command(&shred, &[]);
    assert!(
        !restored
            .try_command(&["calls", "replay", &kept, "--log", &before], &[])
            .0
    );
    assert!(
        restored
            .command(&["audit", "verify"], &[])
            .starts_with("intact")
    );
    let verified = restored.command(&["audit", "verify", &before], &[]);
    assert!(verified.starts_with("intact"), "{verified}");
}

#[test]
fn a_log_that_was_put_back_is_noticed_by_the_head_outside() {
    let double = Double::start();
    let volume = tempfile::tempdir().expect("another volume");
    let head_file = volume.path().join("head");
    let outside = json!({ "head_file": head_file });
    let mut gateway = setup(&double).with("audit", outside).start();
    called_by(&gateway, "alice");
    assert!(gateway.child.terminate().success());
    let snapshot = tempfile::tempdir().expect("a folder");
    copy(&gateway.data(), snapshot.path());
    let old_head = fs::read(&head_file).expect("a head");

    gateway.spawn();
    gateway.await_ready();
    gateway.command(&["audit", "shred", "--subject", "corp/alice", "--yes"], &[]);
    called_by(&gateway, "bob");
    assert!(gateway.child.terminate().success());
    assert_ne!(fs::read(&head_file).expect("a head"), old_head);

    // The snapshot is put back in the same place.
    for folder in ["audit/wal", "audit/heads", "audit/keys"] {
        for file in files(&gateway.data().join(folder)) {
            fs::remove_file(file).expect("removed");
        }
    }
    copy(snapshot.path(), &gateway.data());
    let said = refused(&gateway);
    assert!(
        said.contains("this is an older copy") && said.contains("audit succeed"),
        "{said}"
    );
    let (good, text) = gateway.try_command(&["audit", "adopt"], &[]);
    assert!(!good && text.contains("this is an older copy"), "{text}");
    // A volume that is not mounted is not taken for an empty one.
    let newest = fs::read(&head_file).expect("a head");
    fs::remove_file(&head_file).expect("not mounted");
    let said = refused(&gateway);
    assert!(said.contains("mount its volume"), "{said}");
    let (_, doctor) = gateway.try_command(&["doctor"], &[]);
    assert!(doctor.contains("BAD   `audit.head_file`"), "{doctor}");
    fs::write(&head_file, newest).expect("mounted");

    let text = gateway.command(&["audit", "succeed"], &[]);
    assert!(text.contains("are lost"), "{text}");
    gateway.read_anew();
    gateway.spawn();
    gateway.await_ready();
    let predecessor = first_open(&gateway)["predecessor"].clone();
    assert!(predecessor["lost"].as_u64() > Some(0), "{predecessor}");
    assert!(
        predecessor["head"]
            .as_str()
            .is_some_and(|head| head.contains('\u{2014}'))
    );
    // The erasure in the lost records is not undone: it is remembered outside too.
    let again = called_by(&gateway, "alice");
    let leaf = gateway.leaf("call.begin", &again).expect("its begin");
    let leaves = leaves_of(&snapshot.path().join("audit"));
    let before = leaves
        .iter()
        .find(|leaf| leaf["kind"] == "call.begin")
        .expect("her call");
    assert_ne!(leaf["subject_ref"], before["subject_ref"]);
}

/// All leaves in a folder, by their text.
fn leaves_of(folder: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    for file in files(folder) {
        let bytes = fs::read(file).expect("a file");
        let mut at = 0;
        while let Some(start) = bytes[at..].windows(5).position(|part| part == b"{\"v\":") {
            let text = &bytes[at + start..];
            let mut values = serde_json::Deserializer::from_slice(text).into_iter();
            found.extend(values.next().and_then(Result::ok));
            at += start + 5;
        }
    }
    found
}

#[test]
fn a_copy_of_a_log_is_refused_and_two_that_run_stop_each_other() {
    let double = Double::start();
    let volume = tempfile::tempdir().expect("another volume");
    let outside = json!({ "head_file": volume.path().join("head") });
    let mut gateway = setup(&double).with("audit", outside).start();
    called_by(&gateway, "alice");
    assert!(gateway.child.terminate().success());
    let mut twin = gateway.elsewhere();
    copy(&gateway.data(), &twin.data());
    let said = refused(&twin);
    assert!(said.contains("was copied or restored"), "{said}");
    // Its operator says that it was only moved, and is wrong: the original runs too.
    twin.command(&["audit", "adopt"], &[]);
    for one in [&mut gateway, &mut twin] {
        one.spawn();
        one.await_ready();
    }
    let token = caller("bob", &["staff"]);
    // A slow disk refuses a call in the same words: the one that stops for good also says why.
    eventually("one of the two to stop and to say why", || {
        [&gateway, &twin]
            .iter()
            .any(|one| {
                let answer = one.get("/fn/one", &token);
                let said = one.child.output();
                answer.status == 503
                    && answer.json()["code"] == "audit_unavailable"
                    && said.contains("a copy of this log is written elsewhere")
            })
            .then_some(())
    });
}
