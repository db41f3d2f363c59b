//! Recorded calls are found by what is asked for, and judged again under a draft of the policies: what would be decided
//! differently is told, and what cannot be judged again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually};

const STAFF: &str = r#"@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;
const LARGE: &str = r#"@id("large") forbid (principal, action == Action::"fn/pay", resource)
    when { context.input.body.amount > 100 };"#;

struct World {
    gateway: Gateway,
    _double: Double,
    drafts: tempfile::TempDir,
}

/// Three refunds by alice (one too large), one by bob, one by somebody without rights.
fn world() -> World {
    let double = Double::start();
    let body = json!({ "type": "object", "required": ["amount"], "properties": { "amount": { "type": "integer" } } });
    let functions = json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}" },
        "pay": { "method": "POST", "path": "/{case}", "body": { "schema": body, "required": true } },
    } });
    let more = json!({ "functions": functions });
    let setup = Setup::new().policy(STAFF).policy(LARGE);
    let gateway = setup.connection("fn", double.address, &more).start();
    for (who, group, amount) in [
        ("alice", "staff", 10),
        ("alice", "staff", 60),
        ("alice", "staff", 500),
        ("bob", "staff", 70),
        ("mallory", "guests", 1),
    ] {
        let token = caller(who, &[group]);
        gateway.post("/fn/one", &token, &json!({ "amount": amount }));
    }
    // Denials are recorded lazily.
    eventually("five decisions", || {
        let told = gateway.leaves().into_iter();
        let told = told.filter(|leaf| leaf["kind"] == "call.end" || leaf["kind"] == "call.deny");
        (told.count() == 5).then_some(())
    });
    World {
        gateway,
        _double: double,
        drafts: tempfile::tempdir().unwrap(),
    }
}

impl World {
    fn draft(&self, name: &str, policies: &[&str]) -> PathBuf {
        let folder = self.drafts.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("all.cedar"), policies.join("\n")).unwrap();
        folder
    }

    fn simulate(&self, draft: &Path, more: &[&str]) -> (Option<i32>, String) {
        let with = draft.to_str().unwrap();
        let command = ["policy", "simulate", "--against", "1h", "--with", with];
        self.gateway.exit_code(&[&command[..], more].concat(), &[])
    }

    fn report(&self, draft: &Path) -> (Option<i32>, Value) {
        let (code, text) = self.simulate(draft, &["--output", "json"]);
        let report = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        (code, report)
    }

    fn list(&self, filter: &[&str]) -> Vec<Value> {
        let command = [&["calls", "list", "--output", "json"][..], filter].concat();
        let lines = self.gateway.command(&command, &[]);
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines.collect()
    }
}

#[test]
fn draft_that_changes_nothing_says_so_and_one_that_does_names_the_calls() {
    let world = world();
    let same = world.draft("same", &[STAFF, LARGE]);
    let (code, report) = world.report(&same);
    assert_eq!(
        (code, &report["evaluated"], &report["changed"]),
        (Some(0), &json!(5), &json!(0))
    );
    // Stricter for one, looser for another.
    let smaller = LARGE.replace("100", "50").replace("large", "smaller");
    let guests = r#"@id("guests") permit (principal in Group::"corp/guests", action == Action::"fn/pay", resource);"#;
    let draft = world.draft("draft", &[STAFF, &smaller, guests]);
    let (code, report) = world.report(&draft);
    assert_eq!(
        (code, &report["evaluated"], &report["changed"]),
        (Some(2), &json!(5), &json!(3))
    );
    let changes = report["changes"].as_array().unwrap();
    let change = |from: &str| {
        changes
            .iter()
            .find(|change| change["from"] == from)
            .unwrap()
    };
    assert_eq!(change("allow")["calls"], 2);
    assert_eq!(change("allow")["to"], "deny");
    assert_eq!(change("allow")["draft_decided_by"], json!(["smaller"]));
    assert_eq!(change("deny")["calls"], 1);
    assert_eq!(change("deny")["draft_decided_by"], json!(["guests"]));
    let mallory = &world.list(&["--principal", "corp/mallory"])[0]["call"];
    assert_eq!(&change("deny")["examples"][0], mallory);
    let (_, text) = world.simulate(&draft, &["--threads", "1"]);
    assert!(
        text.contains("fn/pay: allow → deny  2 calls; decided by staff, in the draft by smaller"),
        "{text}"
    );
    // An approval rule in place of a wall.
    let asks = LARGE.replace("@id(\"large\")", "@id(\"large\") @approval(\"corp/leads\")");
    let (code, report) = world.report(&world.draft("asks", &[STAFF, &asks]));
    assert_eq!(code, Some(2));
    assert_eq!(report["changes"][0]["to"], "ask");
    // The reading is on record.
    let read = world.gateway.leaves().into_iter();
    let read = read.filter(|leaf| leaf["kind"] == "audit.read" && leaf["what"] == "simulate");
    assert_eq!(read.count(), 4);
}

#[test]
fn what_cannot_be_judged_again_is_told() {
    let world = world();
    let same = world.draft("same", &[STAFF, LARGE]);
    world
        .gateway
        .command(&["audit", "shred", "--subject", "corp/alice", "--yes"], &[]);
    let (code, report) = world.report(&same);
    assert_eq!((code, &report["evaluated"]), (Some(3), &json!(2)));
    let why = report["not_evaluated"].as_object().unwrap();
    assert!(
        why.iter()
            .any(|(why, count)| why.starts_with("erased") && *count == 3),
        "{report}"
    );
    // A draft that does not load, and one that is not there.
    let broken = world.draft("broken", &["permit ("]);
    let (code, text) = world.simulate(&broken, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("all.cedar:1:"), "{text}");
    let (code, text) = world.simulate(Path::new("/nowhere"), &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("/nowhere"), "{text}");
}

#[test]
fn calls_are_found_by_what_is_asked_for_and_page_by_page() {
    let world = world();
    let all = world.list(&[]);
    assert_eq!(all.len(), 5);
    assert_eq!(world.list(&["--principal", "corp/alice"]).len(), 3);
    assert_eq!(
        world
            .list(&["--function", "fn/*", "--decision", "deny"])
            .len(),
        2
    );
    assert_eq!(world.list(&["--function", "fn/get"]), Vec::<Value>::new());
    assert_eq!(world.list(&["--status", "2xx", "--since", "1h"]).len(), 3);
    assert_eq!(world.list(&["--until", "1h"]), Vec::<Value>::new());
    let first = world.list(&["--limit", "3"]);
    assert_eq!((first.len(), &first[..3]), (4, &all[..3]));
    let next = first[3]["next"].as_str().unwrap();
    assert_eq!(world.list(&["--limit", "3", "--cursor", next]), all[3..]);
    for (bad, told) in [
        (
            ["--function", "pay"],
            "write `connection/function` or `connection/*`",
        ),
        (["--status", "4x"], "write `404`, `4xx` or `400-404`"),
        (["--since", "soon"], "or how long ago"),
        (["--cursor", "x"], "take `next` of the page before"),
    ] {
        let (code, text) = world
            .gateway
            .exit_code(&[&["calls", "list"], &bad[..]].concat(), &[]);
        assert!(code != Some(0) && text.contains(told), "{bad:?}: {text}");
    }
}
