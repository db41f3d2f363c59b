//! A yes that stands for later calls, from the command line of the approver to the function and the record.

use serde_json::json;

use super::calls_approvals::{World, lead, staff, told};
use super::support::function::Double;
use super::support::gateway::{Setup, person};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") @grant_uses("3") @grant_within("1h")
forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

fn start() -> World {
    let double = Double::start();
    let body = json!({ "type": "object", "properties": {
        "amount": { "type": "integer" }, "note": { "type": "string" },
    } });
    let connection = json!({ "hold_s": 0, "functions": { "inline": {
        "post": { "method": "POST", "path": "/{case}", "body": { "schema": body } },
        "pay": { "method": "POST", "path": "/accounts/{account}/{case}", "opaque": ["path.account"],
            "body": { "schema": body } },
    } } });
    let gateway = Setup::new()
        .policy(POLICIES)
        .with(
            "approvals",
            json!({ "cooldown_s": 0, "pending_per_principal_max": 20 }),
        )
        .connection("brief", double.address, &connection)
        .start();
    World { gateway, double }
}

fn grant(world: &World, id: &str, more: &[&str]) -> (bool, String) {
    let mut arguments = vec!["approve", id, "--grant-uses", "2", "--grant-for", "30m"];
    arguments.extend(more);
    world.gateway.approvals(&lead(), &arguments)
}

#[test]
fn a_yes_with_a_grant_lets_later_calls_within_it_through_and_no_others() {
    let mut world = start();
    let token = staff("gina");
    let send = |world: &World, amount: u32, note: &str| {
        let body = json!({ "amount": amount, "note": note });
        world.gateway.post("/brief/refund", &token, &body)
    };
    let first = send(&world, 10, "broken");
    let id = told(&first, 429, "approval_pending", "no")["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    // Wider than the rule offers, or of an argument that is not there: no vote and no grant.
    let (good, text) = grant(&world, &id, &["--any", "body.nope"]);
    assert!(!good && text.contains("body.nope"), "{text}");
    let wide = ["approve", &id, "--grant-uses", "4", "--grant-for", "30m"];
    let (good, text) = world.gateway.approvals(&lead(), &wide);
    assert!(!good && text.contains("1 to 3 calls"), "{text}");
    let (good, text) = grant(
        &world,
        &id,
        &["--any", "body.note", "--at-most", "body.amount=50"],
    );
    assert!(good && text.contains("body.amount is at most 50"), "{text}");
    assert!(text.contains("body.note is anything, or missing"), "{text}");
    assert!(text.contains("granted   grt_"), "{text}");
    assert_eq!(send(&world, 10, "broken").status, 200);
    // Within it: at once. Also after a crash the count stands.
    let second = send(&world, 50, "late");
    assert_eq!(second.status, 200, "{}", second.text());
    world.gateway.crash();
    world.gateway.spawn();
    world.gateway.await_ready();
    told(&send(&world, 51, "late"), 429, "approval_pending", "no");
    assert_eq!(send(&world, 1, "").status, 200);
    told(&send(&world, 2, ""), 429, "approval_pending", "no");
    let other = staff("otto");
    let body = json!({ "amount": 1, "note": "" });
    told(
        &world.gateway.post("/brief/refund", &other, &body),
        429,
        "approval_pending",
        "no",
    );
    assert_eq!(world.double.hits("/refund"), 3);
    let (good, text) = world.gateway.approvals(&lead(), &["grants", "--all"]);
    assert!(good && text.contains("2 of 2 calls; used up"), "{text}");
    // The record says who granted what, and which calls ran by it.
    let leaves = world.gateway.leaves();
    let vote = leaves
        .iter()
        .find(|leaf| leaf["kind"] == "approval.vote" && leaf["grant"].is_string());
    let name = vote.expect("a vote that grants")["grant"].clone();
    let begin = world.gateway.leaf(
        "call.begin",
        second.header("callgate-call").expect("a call"),
    );
    assert_eq!(begin.expect("a begin")["approval"]["grants"], json!([name]));
}

#[test]
fn who_granted_may_end_it_and_a_stranger_may_not() {
    let world = start();
    let token = staff("gina");
    let send = |amount: u32| {
        let body = json!({ "amount": amount, "note": "" });
        world.gateway.post("/brief/refund", &token, &body)
    };
    let id = told(&send(10), 429, "approval_pending", "no")["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (good, text) = grant(&world, &id, &["--at-most", "body.amount=50"]);
    assert!(good, "{text}");
    let name = text
        .split_whitespace()
        .find(|word| word.starts_with("grt_"));
    let name = name.expect("a grant").trim_end_matches(';').to_owned();
    let stranger = person("eve", &["leads"]);
    let (good, text) = world
        .gateway
        .approvals(&stranger, &["grants", "--end", &name]);
    assert!(!good && text.contains("no such grant"), "{text}");
    assert_eq!(send(20).status, 200);
    let (good, text) = world
        .gateway
        .approvals(&lead(), &["grants", "--end", &name]);
    assert!(good && text.contains("it has ended"), "{text}");
    told(&send(30), 429, "approval_pending", "no");
    let leaves = world.gateway.leaves();
    let ended = leaves
        .iter()
        .any(|leaf| leaf["kind"] == "revoke" && leaf["target"] == "grant");
    assert!(ended, "the end is on the record");
}

/// What policies need not see goes up all the same.
#[test]
fn a_grant_covers_no_other_path_than_the_one_that_was_shown() {
    let world = start();
    let token = staff("gina");
    let send = |target: &str| {
        let body = json!({ "amount": 10, "note": "" });
        world.gateway.post(target, &token, &body)
    };
    let first = send("/brief/accounts/7/refund");
    let id = told(&first, 429, "approval_pending", "no")["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (good, text) = grant(&world, &id, &["--any", "path.case"]);
    assert!(good, "{text}");
    assert!(text.contains(r#"target is "/accounts/7/{case}""#), "{text}");
    assert_eq!(send("/brief/accounts/7/payout").status, 200);
    let other = send("/brief/accounts/8/payout");
    told(&other, 429, "approval_pending", "no");
    assert_eq!(world.double.hits("/accounts/8/payout"), 0);
}

/// A call that waits already when its grant is given.
#[test]
fn each_use_of_a_grant_is_on_the_record_also_of_a_question_that_was_there_before() {
    let world = start();
    let token = staff("gina");
    let send = |amount: u32| {
        let body = json!({ "amount": amount, "note": "" });
        world.gateway.post("/brief/refund", &token, &body)
    };
    let asked = |answer| {
        told(&answer, 429, "approval_pending", "no")["approval"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let waiting = asked(send(20));
    let first = asked(send(10));
    let (good, text) = grant(&world, &first, &["--at-most", "body.amount=50"]);
    assert!(good, "{text}");
    assert_eq!(send(20).status, 200);
    let leaves = world.gateway.leaves();
    let asked = leaves
        .iter()
        .filter(|leaf| leaf["kind"] == "approval.ask" && leaf["approval"] == waiting.as_str());
    let grants: Vec<_> = asked.map(|leaf| leaf["grants"].is_array()).collect();
    assert_eq!(grants, [false, true], "without the grant, then with it");
}
