//! Erasing a person, beside a running gateway and without one; legal holds; a backup that must not bring anybody back.

use std::fs;

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller};

const PERMIT: &str = r#"@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;

fn start(double: &Double) -> Gateway {
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
    let more = json!({ "functions": functions });
    let setup = Setup::new().policy(PERMIT);
    setup.connection("fn", double.address, &more).start()
}

fn called_by(gateway: &Gateway, who: &str) -> String {
    let answer = gateway.get("/fn/one", &caller(who, &["staff"]));
    assert_eq!(answer.status, 200);
    gateway.end_of(&answer);
    answer.header("callgate-call").expect("an id").to_owned()
}

fn shred(gateway: &Gateway, who: &str) -> (bool, String) {
    gateway.try_command(&["audit", "shred", "--subject", who, "--yes"], &[])
}

/// What everybody sees of somebody who is erased, beside somebody who is not.
fn check(gateway: &Gateway, gone: &str, kept: &str) {
    let (good, text) = gateway.try_command(&["calls", "replay", gone], &[]);
    assert!(!good && text.contains("is erased: record "), "{text}");
    let story = gateway.command(&["calls", "show", gone], &[]);
    assert!(story.contains("corp/[erased]"), "{story}");
    assert!(story.contains("sealed: erased, by record "), "{story}");
    assert!(!story.contains("alice"), "{story}");
    let list = gateway.command(&["calls", "list"], &[]);
    let line = |call: &str| {
        list.lines()
            .find(|line| line.contains(call))
            .map(str::to_owned)
    };
    assert!(
        line(gone).is_some_and(|line| line.contains("corp/[erased]")),
        "{list}"
    );
    assert!(
        line(kept).is_some_and(|line| line.contains("corp/bob")),
        "{list}"
    );
    assert!(
        gateway
            .command(&["calls", "replay", kept], &[])
            .contains("what is shown matches its commitments")
    );
    assert!(
        gateway
            .command(&["audit", "verify"], &[])
            .starts_with("intact")
    );
}

#[test]
fn an_erased_persons_content_is_gone_for_good_and_all_else_stands() {
    let double = Double::start();
    let mut gateway = start(&double);
    let gone = called_by(&gateway, "alice");
    let kept = called_by(&gateway, "bob");
    let keys = gateway.data().join("audit/keys/subjects");
    let backup = fs::read(&keys).expect("the keyring");

    let (good, text) = gateway.try_command(&["audit", "shred", "--subject", "corp/alice"], &[]);
    assert!(
        !good && text.contains("nothing was erased: say `--yes`"),
        "{text}"
    );
    let (good, text) = shred(&gateway, "corp/nobody");
    assert!(
        !good && text.contains("`corp/nobody` has no key here"),
        "{text}"
    );
    let (good, text) = shred(&gateway, "corp/alice");
    assert!(good && text.starts_with("erased: "), "{text}");
    check(&gateway, &gone, &kept);

    // The record names the pseudonym and who did it, nobody else.
    let leaves = gateway.leaves();
    let of = |kind: &str| {
        leaves
            .iter()
            .filter(|leaf| leaf["kind"] == kind)
            .collect::<Vec<_>>()
    };
    let erased = of("erase.subject");
    let begin = leaves
        .iter()
        .find(|leaf| leaf["call"] == json!(gone))
        .expect("its begin");
    assert_eq!(erased.len(), 1);
    assert_eq!(erased[0]["erased_ref"], begin["subject_ref"]);
    assert_eq!(erased[0]["principal_kind"], "operator");

    // Whoever calls again under that name is a new pseudonym.
    let again = called_by(&gateway, "alice");
    let anew = gateway.leaf("call.begin", &again).expect("its begin");
    assert_ne!(anew["subject_ref"], begin["subject_ref"]);

    // An old keyring brings nobody back: not for a reader, not for the next start.
    assert!(gateway.child.terminate().success());
    fs::write(&keys, &backup).expect("the keyring");
    check(&gateway, &gone, &kept);
    assert!(!contains_key_of(&gateway, begin));
    check(&gateway, &gone, &kept);
}

/// Whether the keyring's file has an entry with this record's pseudonym.
fn contains_key_of(gateway: &Gateway, begin: &Value) -> bool {
    let reference = begin["subject_ref"].as_str().expect("a pseudonym");
    let bytes = fs::read(gateway.data().join("audit/keys/subjects")).expect("the keyring");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.contains(reference)
}

#[test]
fn a_legal_hold_stands_against_erasure_until_it_is_released() {
    let double = Double::start();
    let mut gateway = start(&double);
    let call = called_by(&gateway, "alice");
    let text = gateway.command(
        &["audit", "hold", "--call", &call, "--reason", "case 7"],
        &[],
    );
    let hold = text.split_whitespace().nth(1).expect("its id").to_owned();
    let (good, text) = shred(&gateway, "corp/alice");
    assert!(
        !good && text.contains("a legal hold stands") && text.contains(&hold),
        "{text}"
    );
    assert!(gateway.command(&["audit", "holds"], &[]).starts_with(&hold));
    assert!(gateway.child.terminate().success());
    // The same without a gateway, by what the log says.
    let (good, text) = shred(&gateway, "corp/alice");
    assert!(!good && text.contains(&hold), "{text}");
    let (good, text) = gateway.try_command(&["audit", "release", "beef", "--reason", "x"], &[]);
    assert!(!good && text.contains("no hold `beef` stands"), "{text}");
    gateway.command(&["audit", "release", &hold, "--reason", "closed"], &[]);
    assert_eq!(gateway.command(&["audit", "holds"], &[]), "");
    assert!(shred(&gateway, "corp/alice").0);
    let leaves = gateway.leaves();
    let kinds: Vec<&str> = leaves
        .iter()
        .filter(|leaf| leaf["call"] == json!(call))
        .filter_map(|leaf| leaf["kind"].as_str())
        .collect();
    assert_eq!(
        kinds,
        ["call.begin", "call.end", "hold.place", "hold.release"]
    );
}
