//! `docs/guide/approvals.md`, followed to the letter: its policies, its settings, its commands.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{CONSOLE, Gateway, PROGRAM, Setup, caller, mint, now};
use super::support::recorder::Recorder;
use super::support::root;

/// The blocks of a language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/guide/approvals.md")).expect("the guide");
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").expect("an end of the block");
        block.to_owned()
    });
    blocks.collect()
}

/// Somebody of the leads, signed in as the guide's rule asks.
pub(super) fn lead(subject: &str) -> String {
    mint(
        &json!({ "sub": subject, "groups": ["payments-leads"], "account_type": "person", "aud": CONSOLE,
        "auth_time": now() - 5, "acr": "phr" }),
    )
}

/// Who is on call, with what else a token says.
fn on_call(more: &Value) -> Value {
    let mut claims = json!({ "sub": "olga", "groups": ["on-call"], "account_type": "person" });
    let members = claims.as_object_mut().expect("an object");
    members.extend(more.as_object().cloned().expect("an object"));
    claims
}

pub(super) fn setup(double: &Double, policies: &[&String]) -> Setup {
    let refund = json!({ "method": "POST", "path": "/refunds", "body": { "schema": {
        "type": "object", "required": ["order", "amount"], "properties": {
            "order": { "type": "string" }, "amount": { "type": "integer" }, "note": { "type": "string" },
        },
    } } });
    let functions = json!({ "inline": { "createRefund": refund } });
    policies
        .iter()
        .fold(Setup::new(), |setup, policy| setup.policy(policy))
        .with("approvals", json!({ "cooldown_s": 0 }))
        .connection(
            "payments",
            double.address,
            &json!({ "functions": functions }),
        )
}

/// Run some blocks in one shell, as somebody who has `callgate` in their path.
fn follow(gateway: &Gateway, folder: &Path, blocks: &[&String]) -> String {
    let script = blocks
        .iter()
        .fold("set -euo pipefail\n".to_owned(), |all, block| all + block);
    let path = std::env::var("PATH").expect("a path");
    let done = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .env("GATEWAY", format!("http://{}", gateway.address))
        .env("CALLGATE_CONSOLE", format!("http://{}", gateway.console))
        .env("TOKEN", caller("desk-7", &["support"]))
        .env("LENA", lead("lena"))
        .env("LARS", lead("lars"))
        .env("OLGA", mint(&on_call(&json!({}))))
        .env(
            "OLGA_SIGNED_IN",
            mint(&on_call(
                &json!({ "aud": CONSOLE, "auth_time": now() - 5, "acr": "mfa" }),
            )),
        )
        .env("PATH", format!("{}:{path}", folder.display()))
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{text}");
    text
}

/// Every part is said, in this order.
fn says(said: &str, parts: &[&str]) {
    parts.iter().fold(said, |rest, part| {
        let found = rest.split_once(part);
        found
            .unwrap_or_else(|| panic!("`{part}` was not said, or not there:\n{said}"))
            .1
    });
}

#[test]
fn the_guide_works_as_it_is_written() {
    let double = Double::start();
    let (policies, shell) = (blocks("cedar"), blocks("sh"));
    assert_eq!(
        (policies.len(), shell.len()),
        (5, 6),
        "a step was added: place it here"
    );
    let gateway = setup(&double, &[&policies[0], &policies[1]]).start();
    let bin = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, bin.path().join("callgate")).expect("a link");

    let steps: Vec<&String> = shell[..4].iter().collect();
    let said = follow(&gateway, bin.path(), &steps);
    says(
        &said,
        &[
            "\"code\":\"approval_pending\"",
            "function  payments/createRefund (write)",
            "caller    corp/desk-7 (workload)",
            "rule      large-refunds [closed] refunds above 100 are looked at by two people",
            "body.amount = 250",
            "voted yes",
            "a person votes once",
            "voted yes",
            "{\"ok\":true}",
            "\"code\":\"approval_pending\"",
            "voted no",
            "NOT executed: people denied this call: o-3 was refunded on Monday",
        ],
    );
    assert_eq!(double.hits("/refunds"), 1);

    // The grants' rule in place of the other.
    gateway.reload(
        |_| setup(&double, &[&policies[3], &policies[1]]),
        &["--accept-removal"],
    );
    let said = follow(
        &gateway,
        bin.path(),
        &[
            &shell[0],
            &format!("{}\n", waiting(&shell[1])),
            &run(&shell[2]),
            &shell[4],
        ],
    );
    says(
        &said,
        &[
            "\"code\":\"approval_pending\"",
            "body.amount is at most 100",
            "voted yes",
            "{\"ok\":true}",
            "{\"ok\":true}",
            "grt_",
        ],
    );
    assert_eq!(double.hits("/refunds"), 3);
}

#[test]
fn the_guides_way_out_for_emergencies_works_as_it_is_written() {
    let (double, hook) = (Double::start(), Recorder::ok());
    let (policies, shell) = (blocks("cedar"), blocks("sh"));
    let restart = json!({ "method": "POST", "path": "/restarts", "body": { "schema": {
        "type": "object", "properties": { "service": { "type": "string" } },
    } } });
    let channel =
        json!({ "webhook": { "url": format!("http://{}/", hook.address), "secret": "file:key" } });
    let gateway = Setup::new()
        .policy(&policies[4])
        .with("notify", json!({ "channels": { "hook": channel } }))
        .file("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        .connection(
            "cluster",
            double.address,
            &json!({ "functions": { "inline": { "restart": restart } } }),
        )
        .start();
    let bin = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, bin.path().join("callgate")).expect("a link");
    let said = follow(&gateway, bin.path(), &[&shell[5]]);
    says(
        &said,
        &[
            "glass   [[\"corp/on-call\"]], for a call of their own, to run within 300 s",
            "voted break-glass; the approval is now approved",
            "everybody who could have approved is told",
            "{\"ok\":true}",
        ],
    );
    assert_eq!(double.hits("/restarts"), 1);
}

/// A definition of an earlier step, without what that step did.
fn waiting(block: &str) -> String {
    let line = block.lines().next().expect("a line");
    assert!(line.starts_with("waiting() {"), "{line}");
    line.to_owned()
}

fn run(block: &str) -> String {
    let line = block.lines().find(|line| line.starts_with("run() {"));
    format!("{}\n", line.expect("a definition"))
}

#[test]
fn the_guides_settings_load() {
    let double = Double::start();
    let (policies, settings) = (blocks("cedar"), blocks("yaml"));
    let gateway = setup(&double, &[&policies[0], &policies[1]]).start();
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let environment = [
        ("OPS_HOOK_SECRET", key),
        (
            "TEAMS_WORKFLOW_URL",
            "https://teams.example.com/workflows/1",
        ),
        ("MAIL_PASSWORD", "secret"),
    ];
    assert_eq!(settings.len(), 2, "a block was added: load it here");
    for block in &settings {
        let notify = yaml(block);
        gateway.rewritten(|_| {
            // With the policy on how people answer in place of the one without.
            let permits = policies[1]
                .split("@id(\"leads-approve\")")
                .next()
                .expect("the first");
            setup(&double, &[&policies[0], &permits.to_owned(), &policies[2]])
                .with("notify", notify.clone())
                .file(
                    "slack-webhook-url",
                    "https://hooks.slack.com/services/T1/B1/x",
                )
                .file("slack-signing-secret", "8f742231b10e8888abcd99yyyzzz85a5")
        });
        let (good, text) = gateway.try_command(&["check"], &environment);
        assert!(good, "{block}\n{text}");
    }
}

/// What stands under `notify` in a block.
fn yaml(block: &str) -> Value {
    let mut settings: Value = serde_saphyr::from_str(block).expect("YAML");
    settings["notify"].take()
}
