//! The evidence of one call, handed out and checked by somebody who has nothing but the archive and the key: with our
//! program, with `tools/verify.py`, with tar and sha256sum.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::calls_approvals::staff;
use super::support::function::Double;
use super::support::gateway::{Gateway, PROGRAM, Setup, eventually, person};
use super::support::{raw, root};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") @reason("writes wait for a lead")
forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
@id("auditors-read") permit (principal in Group::"corp/auditors", action == Action::"audit.read", resource);
@id("seniors-replay") permit (principal in Group::"corp/seniors", action in
    [Action::"audit.read", Action::"audit.replay", Action::"policy.read"], resource);
"#;

const BODY: &str = "<b>7</b>\u{202e}";

/// A gateway, and a call on it that a person had to agree to.
fn approved() -> (Gateway, String) {
    let double = Double::start();
    let functions = json!({ "inline": { "post": { "method": "POST", "path": "/{case}", "body": { "schema": {
        "type": "object", "properties": { "note": { "type": "string" } },
    } } } } });
    let more = json!({ "functions": functions, "hold_s": 0 });
    let setup = Setup::new().policy(POLICIES);
    let gateway = setup.connection("fn", double.address, &more).start();
    let send = || gateway.post("/fn/one", &staff("alice"), &json!({ "note": BODY }));
    let asked = send().json();
    let id = asked["approval"]["id"]
        .as_str()
        .expect("an approval")
        .to_owned();
    let lead = person("lena", &["leads"]);
    let (good, text) = gateway.approvals(&lead, &["approve", &id, "--reason", "seen it"]);
    assert!(good, "{text}");
    let answer = send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let call = answer.header("callgate-call").expect("an id").to_owned();
    gateway.await_end(&call);
    eventually("a head over the call", || {
        gateway
            .try_command(&["audit", "prove", &call], &[])
            .0
            .then_some(())
    });
    (gateway, call)
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    let done = command.args(arguments).current_dir(folder).output();
    let done = done.expect("the program");
    let text = [done.stdout, done.stderr].concat();
    (
        done.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn verify(folder: &Path, what: &str, key: &str) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(["audit", "verify", what, "--key", key]);
    let done = command.current_dir(folder).output().expect("the program");
    let text = [done.stdout, done.stderr].concat();
    (
        done.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn an_outsider_checks_a_call_with_the_archive_and_the_key_alone() {
    let (gateway, call) = approved();
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let key = gateway.command(&["audit", "key"], &[]).trim().to_owned();
    let export = ["audit", "export", "--evidence", &call];
    let said = gateway.command(
        &[
            &export[..],
            &["--with-content", "--output", &place("all.tar")],
        ]
        .concat(),
        &[],
    );
    assert!(
        said.contains(&format!("files of call {call} in ")),
        "{said}"
    );
    gateway.command(
        &[&export[..], &["--output", &place("bare.tar")]].concat(),
        &[],
    );
    let read = gateway.leaf("audit.read", &call).expect("a reading");
    assert_eq!(
        gateway
            .leaves()
            .iter()
            .filter(|l| l["what"] == "export")
            .count(),
        2,
        "{read}"
    );

    // From here on nothing of the gateway is asked.
    drop(gateway);
    let (code, text) = verify(folder.path(), "all.tar", &key);
    assert_eq!(code, Some(0), "{text}");
    // Question, vote, execution, begin, end, and the policies in force; some were asked twice.
    assert!(
        text.starts_with(&format!("intact: call {call}: ")),
        "{text}"
    );
    assert!(
        text.contains("with the policies in force; content disclosed"),
        "{text}"
    );
    let (code, text) = verify(folder.path(), "bare.tar", &key);
    assert!(
        code == Some(0) && text.contains("no content disclosed"),
        "{text}"
    );
    let bare = fs::read(folder.path().join("bare.tar")).expect("an archive");
    let bare = String::from_utf8_lossy(&bare).into_owned();
    assert!(!bare.contains("alice") && !bare.contains("lena") && !bare.contains("seen it"));

    assert!(run(folder.path(), "tar", &["-xf", "all.tar"]).0);
    let name = format!("evidence-{call}");
    let inside = folder.path().join(&name);
    let (code, text) = verify(folder.path(), &name, &key);
    assert_eq!(code, Some(0), "{text}");
    by_other_tools(&inside, &key);
    for told in [
        "corp/alice",
        "corp/lena",
        "seen it",
        "writes-need-a-lead",
        "&lt;b&gt;7",
    ] {
        let page = fs::read_to_string(inside.join("index.html")).expect("a page");
        assert!(page.contains(told), "{told}");
        assert!(!page.contains("<b>7") && !page.contains('\u{202e}'));
    }
    tampered(&inside, &name, &key);
}

/// What an auditor does without our program.
fn by_other_tools(inside: &Path, key: &str) {
    let script = root().join("tools/verify.py").display().to_string();
    let mut records = String::new();
    for proof in fs::read_dir(inside.join("records")).expect("records") {
        let path = proof.expect("a proof").path().display().to_string();
        let (good, text) = run(inside, "python3", &[&script, "proof", &path, "--key", key]);
        assert!(good && text.starts_with("OK: entry "), "{path}: {text}");
        let decode = format!("sed -n 's/^extra //p' '{path}' | base64 -d");
        records += &run(inside, "bash", &["-c", &decode]).1;
    }
    for word in [
        "request.head",
        "request.body",
        "context",
        "released.head",
        "released.body",
    ] {
        let sum = format!("cat content/{word}.salt content/{word} | sha256sum | cut -c1-64");
        let (_, digest) = run(inside, "bash", &["-c", &sum]);
        assert!(records.contains(digest.trim()), "{word}: {digest}");
    }
    let frames = "for f in sealed/*.frames; do sha256sum < $f | cut -c1-64; done";
    for digest in run(inside, "bash", &["-c", frames]).1.lines() {
        assert!(
            records.contains(&format!("\"sealed\":\"{digest}\"")),
            "{digest}"
        );
    }
    // The version of the policies, out of their texts.
    let version = r#"
import hashlib, json
p = json.load(open("policies.json"))
hashes = {hashlib.sha256(b"callgate-rule/1\n" + t.encode()).digest() for t in p["policies"]}
print(hashlib.sha256(b"callgate-policies/1\n" + bytes.fromhex(p["schema_sha256"]) + b"".join(sorted(hashes))).hexdigest())"#;
    let (_, version) = run(inside, "python3", &["-c", version]);
    assert!(
        records.contains(&format!("\"policy_version\":\"{}\"", version.trim())),
        "{version}"
    );
}

/// A copy that somebody had a hand in.
fn tampered(inside: &Path, name: &str, key: &str) {
    let folder = inside.parent().expect("a folder");
    let body = fs::read(inside.join("content/released.body")).expect("a body");
    fs::write(inside.join("content/released.body"), b"something else").expect("written");
    let (code, text) = verify(folder, name, key);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.starts_with("TAMPERED: `content/released.body`: "),
        "{text}"
    );
    fs::write(inside.join("content/released.body"), body).expect("written");
    fs::write(inside.join("notes.txt"), b"mine").expect("written");
    let (code, text) = verify(folder, name, key);
    assert!(
        code == Some(1) && text.contains("`notes.txt`: it does not belong"),
        "{text}"
    );
    fs::remove_file(inside.join("notes.txt")).expect("removed");
    fs::remove_file(inside.join("index.html")).expect("removed");
    let (code, text) = verify(folder, name, key);
    assert_eq!(
        (code, text.as_str()),
        (Some(2), "INCOMPLETE: `index.html` is not there\n")
    );
    let (code, text) = verify(
        folder,
        "all.tar",
        "log.example/other+cc5c3c7e+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    );
    assert_eq!(code, Some(64), "{text}");
    let archive = fs::read(folder.join("all.tar")).expect("an archive");
    fs::write(folder.join("short.tar"), &archive[..archive.len() / 2]).expect("written");
    let (code, text) = verify(folder, "short.tar", key);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn people_get_from_the_console_what_policy_lets_them_have() {
    let (gateway, call) = approved();
    let ask = |groups: &[&str], query: &str| {
        let target = format!("/api/v1/calls/{call}/evidence{query}");
        raw::get(gateway.console, &target, Some(&person("aud", groups)))
    };
    assert_eq!(ask(&["leads"], "").status, 404);
    let plain = ask(&["auditors"], "");
    assert_eq!(plain.status, 200, "{}", plain.text());
    let attachment = format!("attachment; filename=\"evidence-{call}.tar\"");
    assert_eq!(
        plain.header("content-disposition"),
        Some(attachment.as_str())
    );
    assert_eq!(plain.header("content-type"), Some("application/x-tar"));
    // Who may not read policies does not get them this way.
    assert!(!plain.text().contains("policies.json\0"));
    assert_eq!(ask(&["auditors"], "?content=true").status, 403);
    let all = ask(&["seniors"], "?content=true");
    assert_eq!(all.status, 200, "{}", all.text());
    assert!(
        all.text().contains("policies.json\0") && all.text().contains("content/request.body\0")
    );
    let folder = tempfile::tempdir().expect("a folder");
    let key = gateway.command(&["audit", "key"], &[]).trim().to_owned();
    for (name, answer) in [("plain.tar", plain), ("all.tar", all)] {
        fs::write(folder.path().join(name), &answer.body).expect("written");
        let (code, text) = verify(folder.path(), name, &key);
        assert_eq!(code, Some(0), "{text}");
    }
    // Each time on record, before.
    let readings = || {
        gateway
            .leaves()
            .iter()
            .filter(|leaf| leaf["what"] == "export")
            .count()
    };
    assert_eq!(readings(), 2);
    ask(&["auditors"], "");
    assert_eq!(readings(), 3);
}

#[test]
fn what_cannot_be_handed_out_is_told_in_one_line() {
    let (gateway, call) = approved();
    let refused = |arguments: &[&str]| {
        let (good, text) = gateway.try_command(&[&["audit", "export"], arguments].concat(), &[]);
        assert!(!good, "{text}");
        text
    };
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    let text = refused(&["--evidence", unknown, "--output", "x.tar"]);
    assert_eq!(text, format!("callgate: no record of call `{unknown}`\n"));
    let text = refused(&["--with-content", "--jsonl"]);
    assert!(text.contains("cannot be used with '--jsonl'"), "{text}");
    gateway.command(&["audit", "shred", "--subject", "corp/alice", "--yes"], &[]);
    let text = refused(&["--evidence", &call, "--with-content"]);
    assert!(text.contains("is erased: record "), "{text}");
    // The proofs stand, and so does the page.
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("after.tar");
    let archive = archive.to_str().expect("a path");
    eventually("a head over the erasure", || {
        let export = ["audit", "export", "--evidence", &call, "--output", archive];
        gateway.try_command(&export, &[]).0.then_some(())
    });
    let key = gateway.command(&["audit", "key"], &[]).trim().to_owned();
    let (code, text) = verify(folder.path(), "after.tar", &key);
    assert_eq!(code, Some(0), "{text}");
}
