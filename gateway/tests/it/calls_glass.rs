//! Break-glass through the real program: whose call it is, why, who is told, and what stays as it was.

use serde_json::{Value, json};

use super::calls_approvals::{lead, staff, told};
use super::support::function::Double;
use super::support::gateway::{CONSOLE, Gateway, Setup, eventually, mint, now, person};
use super::support::raw;
use super::support::recorder::Recorder;

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") @acr("mfa") @reason("writes wait for a lead")
@break_glass("corp/on-call") @break_glass_within("5m")
forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
@id("on-call-may") permit (principal in Group::"corp/on-call", action == Action::"break-glass", resource);
"#;
const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A person with their own data-path token.
fn on_call(subject: &str) -> String {
    mint(&json!({ "sub": subject, "groups": ["staff", "on-call"], "account_type": "person" }))
}

/// The same person on the console, with a second factor.
fn signed_in(subject: &str) -> String {
    mint(&json!({
        "sub": subject, "groups": ["staff", "on-call"], "account_type": "person", "aud": CONSOLE,
        "auth_time": now() - 5, "acr": "mfa",
    }))
}

fn start(double: &Double, hook: &Recorder, slack: &Recorder) -> Gateway {
    let url = |recorder: &Recorder, path: &str| format!("http://{}{path}", recorder.address);
    let functions = json!({ "inline": {
        "post": { "method": "POST", "path": "/{case}", "body": { "schema": {
            "type": "object", "properties": { "card": { "type": "string" } },
        } } },
    } });
    Setup::new()
        .policy(POLICIES)
        .with("approvals", json!({ "cooldown_s": 0 }))
        .with(
            "notify",
            json!({ "channels": {
                "hook": { "webhook": { "url": url(hook, "/hook"), "secret": "file:key" } },
                "slack": { "slack": { "url": "file:slack" } },
            } }),
        )
        .file("key", KEY)
        .file("slack", &url(slack, "/services/x"))
        .connection(
            "brief",
            double.address,
            &json!({ "functions": functions, "hold_s": 0, "mask": { "detect": ["contact"] } }),
        )
        .start()
}

fn ask(gateway: &Gateway, token: &str) -> String {
    let body = json!({ "card": "4111111111111111" });
    let answer = gateway.post("/brief/restart", token, &body);
    let said = told(&answer, 429, "approval_pending", "no");
    said["approval"]["id"].as_str().expect("an id").to_owned()
}

// P20
#[test]
fn a_broken_glass_is_on_the_record_and_told_and_its_call_is_masked_as_ever() {
    let (double, hook, slack) = (Double::start(), Recorder::ok(), Recorder::ok());
    let gateway = start(&double, &hook, &slack);
    let token = on_call("olga");
    double.answer(
        "/restart",
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n\
         {\"mail\":\"ann@example.org\",\"n\":1}",
    );
    let id = ask(&gateway, &token);
    nothing_else_breaks_it(&gateway, &double, &id);
    let broken = |reason: &str| {
        gateway.approvals(
            &signed_in("olga"),
            &["break-glass", &id, "--reason", reason],
        )
    };
    let (good, text) = broken("checkout is down, nobody answers");
    assert!(
        good && text.contains("the approval is now approved"),
        "{text}"
    );
    let (good, text) = broken("once more");
    assert!(!good && text.contains("no closed rule"), "{text}");
    // Everybody is told, and nobody of the content.
    for recorder in [&hook, &slack] {
        let message = eventually("the message", || {
            let seen = recorder.seen().into_iter();
            let mut texts = seen.map(|seen| String::from_utf8_lossy(&seen.body).into_owned());
            texts.find(|text| text.contains("break-glass") || text.contains("BREAK-GLASS"))
        });
        assert!(
            message.contains("corp/olga") && message.contains("brief/post"),
            "{message}"
        );
        assert!(!message.contains("4111"), "{message}");
    }
    let answer = gateway.post(
        "/brief/restart",
        &token,
        &json!({ "card": "4111111111111111" }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("[masked:email]"),
        "{}",
        answer.text()
    );
    // Once.
    ask(&gateway, &token);
    assert_eq!(double.hits("/restart"), 1);
    found_by_auditors(
        &gateway,
        &id,
        answer.header("callgate-call").expect("a call"),
    );
}

#[test]
fn whoever_is_told_of_a_broken_glass_can_stop_it() {
    let (double, hook, slack) = (Double::start(), Recorder::ok(), Recorder::ok());
    let gateway = start(&double, &hook, &slack);
    let token = on_call("olga");
    let id = ask(&gateway, &token);
    let answer = ["break-glass", &id, "--reason", "checkout is down"];
    let (good, text) = gateway.approvals(&signed_in("olga"), &answer);
    assert!(good, "{text}");
    let answer = ["deny", &id, "--reason", "it is being mended"];
    let (good, text) = gateway.approvals(&lead(), &answer);
    assert!(
        good && text.contains("the approval is now denied"),
        "{text}"
    );
    let run = format!("/.well-known/callgate/approvals/{id}/run");
    let refused = gateway.post(&run, &token, &json!({}));
    let said = told(&refused, 403, "approval_denied", "no");
    assert!(said.to_string().contains("it is being mended"), "{said}");
    assert_eq!(double.hits("/restart"), 0);
}

/// Without a reason, by somebody else, without a second factor.
fn nothing_else_breaks_it(gateway: &Gateway, double: &Double, id: &str) {
    let broken =
        |who: &str, reason: &str| gateway.approvals(who, &["break-glass", id, "--reason", reason]);
    let (good, text) = gateway.approvals(&signed_in("olga"), &["break-glass", id]);
    assert!(!good && text.contains("--reason"), "{text}");
    let (good, text) = broken(&signed_in("olga"), " ");
    assert!(!good && text.contains("needs a reason"), "{text}");
    let (good, text) = broken(&signed_in("otto"), "urgent");
    assert!(!good && text.contains("no such approval"), "{text}");
    let (good, text) = broken(&lead(), "urgent");
    assert!(
        !good && text.contains("a call that you made yourself"),
        "{text}"
    );
    let (good, text) = broken(&person("olga", &["staff", "on-call"]), "urgent");
    assert!(!good && text.contains("another sign-in"), "{text}");
    told(
        &gateway.post(
            "/brief/restart",
            &on_call("olga"),
            &json!({ "card": "4111111111111111" }),
        ),
        429,
        "approval_pending",
        "no",
    );
    assert_eq!(double.hits("/restart"), 0);
}

fn found_by_auditors(gateway: &Gateway, id: &str, call: &str) {
    let leaves = gateway.leaves();
    let votes: Vec<&Value> = leaves
        .iter()
        .filter(|leaf| leaf["kind"] == "approval.vote" && leaf["approval"] == id)
        .map(|leaf| &leaf["vote"])
        .collect();
    assert_eq!(votes, ["break-glass"], "what was refused is no vote");
    let begin = leaves.iter().find(|leaf| leaf["kind"] == "call.begin");
    assert_eq!(
        begin.expect("a begin")["approval"]["break_glass"],
        json!(true)
    );
    let list = gateway.command(&["calls", "list", "--break-glass"], &[]);
    assert!(list.contains("BREAK-GLASS"), "{list}");
    assert_eq!(list.matches("brief/post").count(), 1, "{list}");
    assert!(
        gateway
            .command(&["calls", "list"], &[])
            .matches("brief/post")
            .count()
            > 1
    );
    assert!(list.contains(call), "{list}");
    let metrics = raw::get(gateway.console, "/metrics", None).text();
    let counted = r#"callgate_broken_glass_total{connection="brief"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_rule_whose_broken_glass_nobody_would_hear_of_does_not_load() {
    let (double, hook, slack) = (Double::start(), Recorder::ok(), Recorder::ok());
    let gateway = start(&double, &hook, &slack);
    gateway.rewritten(|setup| setup.with("notify", json!({})));
    let (good, text) = gateway.try_command(&["check"], &[]);
    assert!(
        !good && text.contains("nobody would be told of it"),
        "{text}"
    );
    assert!(text.contains("writes-need-a-lead"), "{text}");
    // Somebody who only works there asks as before.
    ask(&gateway, &staff("gina"));
}
