//! Who may open a call: judged when they vote, and again when it runs.

use serde_json::{Value, json};

use super::calls_approvals::{lead, staff, start, told};
use super::support::gateway::{CONSOLE, eventually, mint, now, person};
use super::support::raw;

#[test]
fn an_approver_who_may_not_approve_any_more_at_the_run_does_not_count() {
    // P12
    let world = start();
    let token = staff("vera");
    let id = world.ask("/brief/left", &token, 2);
    world.approve(&id);
    let gone = "@id(\"lena-left\") forbid (principal == Caller::\"corp/lena\", action == Action::\"approve\", resource);\n\
        @id(\"backups-approve\") permit (principal in Group::\"corp/leads\", action == Action::\"approve\", resource);";
    world.gateway.reload(|setup| setup.policy(gone), &[]);
    let answer = world.own("POST", &id, "/run", &token);
    told(&answer, 429, "approval_pending", "no");
    assert_eq!(world.state(&id, &token), "pending");
    let (good, text) = world
        .gateway
        .approvals(&person("liam", &["leads"]), &["approve", &id]);
    assert!(good, "{text}");
    assert_eq!(world.send("/brief/left", &token, 2).status, 200);
    assert_eq!(world.double.hits("/left"), 1);
    // The record tells it, and joins question, votes and execution by one value.
    let leaves = eventually("the record of the second run", || {
        let leaves = world.gateway.leaves();
        let of = |kind: &str| -> Vec<Value> {
            let of = leaves
                .iter()
                .filter(|leaf| leaf["kind"] == kind && leaf["approval"] == id);
            of.cloned().collect()
        };
        let all = [
            "approval.ask",
            "approval.vote",
            "approval.reopen",
            "approval.execute",
        ]
        .map(of);
        (all[3].len() == 2).then_some(all)
    });
    let [asked, voted, reopened, executed] = &leaves;
    assert_eq!((asked.len(), voted.len(), reopened.len()), (1, 2, 1));
    let binding = asked[0]["binding"].as_str().expect("a binding");
    assert_eq!(binding.len(), 64);
    for leaf in voted.iter().chain(executed) {
        assert_eq!(leaf["binding"], binding, "{leaf}");
    }
}

#[test]
fn a_rule_that_asks_for_a_step_up_is_opened_by_one_only() {
    let world = start();
    let strict = "@id(\"strong\") @approval(\"corp/security\") @acr(\"phr\") @max_age(\"5m\")\n\
        forbid (principal, action == Action::\"brief/post\", resource);\n\
        @id(\"security-approves\") permit (principal in Group::\"corp/security\", action == Action::\"approve\", resource);";
    world.gateway.reload(|setup| setup.policy(strict), &[]);
    let token = staff("stan");
    let id = world.ask("/brief/strong", &token, 2);
    world.approve(&id);
    let sid = person("sid", &["security"]);
    let (good, text) = world.gateway.approvals(&sid, &["approve", &id]);
    assert!(
        !good && text.contains("401") && text.contains("`acr` one of `phr`"),
        "{text}"
    );
    let view = raw::get(
        world.gateway.console,
        &format!("/api/v1/approvals/{id}"),
        Some(&sid),
    )
    .json();
    let rule = view["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .find(|rule| rule["id"] == "strong");
    let rule = rule.expect("the rule");
    // The other rule is the leads': a page offers its buttons to them only.
    assert_eq!(view["may_decide"], json!([rule["hash"]]));
    assert!(view["rules"].as_array().is_some_and(|all| all.len() == 2));
    assert_eq!(
        (&rule["acr"], &rule["max_age_s"]),
        (&json!(["phr"]), &json!(300))
    );
    let body = json!({ "rule": rule["hash"], "verdict": "yes", "digest": view["digest"] });
    let path = format!("/api/v1/approvals/{id}/votes");
    let refused = raw::post(world.gateway.console, &path, Some(&sid), &body);
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").expect("a challenge");
    assert!(
        challenge.contains("error=\"insufficient_user_authentication\""),
        "{challenge}"
    );
    let strong = mint(&json!({
        "sub": "sid", "groups": ["security"], "account_type": "person", "aud": CONSOLE,
        "auth_time": now() - 5, "acr": "phr",
    }));
    let (good, text) = world.gateway.approvals(&strong, &["approve", &id]);
    assert!(good, "{text}");
    assert_eq!(world.send("/brief/strong", &token, 2).status, 200);
}

#[test]
fn an_approver_reads_the_exact_call_and_what_differs_from_the_last_one() {
    let world = start();
    let token = staff("rita");
    let first = world.ask("/brief/seen", &token, 5);
    let (good, text) = world.gateway.approvals(&lead(), &["show", &first]);
    assert!(
        good && text.contains("has not asked about this function before"),
        "{text}"
    );
    let (good, text) = world
        .gateway
        .approvals(&lead(), &["deny", &first, "--reason", "why 5?"]);
    assert!(good, "{text}");
    let second = world.ask("/brief/seen", &token, 5000);
    let (good, text) = world.gateway.approvals(&lead(), &["show", &second]);
    assert!(good, "{text}");
    for line in [
        "caller    corp/rita (workload)",
        "which is denied",
        "  ~ body.amount: 5 -> 5000",
        "call      POST /seen",
        "input     body.amount = 5000",
        "body      15 bytes",
        "  {\"amount\":5000}",
        "rule      writes-need-a-lead [closed] writes wait for a lead",
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    assert!(
        text.contains("recently ") && !text.contains("beware"),
        "{text}"
    );
}

#[test]
fn figures_are_for_who_may_read_the_audit_log() {
    let world = start();
    let auditors = "@id(\"auditors\") permit (principal in Group::\"corp/audit\", action == Action::\"audit.read\", resource);";
    world.gateway.reload(|setup| setup.policy(auditors), &[]);
    let id = world.ask("/brief/figures", &staff("fred"), 5);
    let (good, text) = world.gateway.approvals(&lead(), &["deny", &id]);
    assert!(good, "{text}");
    let auditor = person("ada", &["audit"]);
    let (good, text) = world.gateway.approvals(&auditor, &["figures"]);
    let line = "brief/post  1 asked, 0 approved, 1 denied, 0 expired, 0 by grants alone; half decided within ";
    assert!(good && text.contains(line), "{text}");
    let (good, text) = world.gateway.approvals(&lead(), &["figures"]);
    assert!(!good && text.contains("403"), "{text}");
}

#[test]
fn what_a_known_person_is_refused_on_the_console_stands_on_the_record() {
    let world = start();
    let id = world.ask("/brief/doors", &staff("dora"), 5);
    let lead = lead();
    let of = |path: &str| format!("/api/v1/approvals/{id}{path}");
    let view = raw::get(world.gateway.console, &of(""), Some(&lead)).json();
    let vote =
        json!({ "rule": view["rules"][0]["hash"], "verdict": "yes", "digest": view["digest"] });
    let stale =
        json!({ "rule": view["rules"][0]["hash"], "verdict": "yes", "digest": "00".repeat(32) });
    let mallory = person("mallory", &["nobody"]);
    let (console, secret) = (world.gateway.console, "/api/v1/calls/a-guess");
    let locks = json!({
        "target": { "kind": "principal", "issuer": "corp", "subject": "dora" }, "reason": "mine now",
    });
    let refused = [
        raw::post(console, &of("/votes"), Some(&mallory), &vote),
        raw::get(console, secret, Some(&mallory)),
        raw::post(console, "/api/v1/revocations", Some(&mallory), &locks),
        raw::post(console, &of("/votes"), Some(&lead), &stale),
        // Nobody, and nothing refused: neither is a record of its own.
        raw::post(console, &of("/votes"), None, &vote),
        raw::get(console, "/api/v1/me", Some(&mallory)),
    ];
    let told: Vec<_> = refused[..4]
        .iter()
        .map(|answer| (answer.json()["code"].clone(), json!(answer.status)))
        .collect();
    world.approve(&id);
    let noted = eventually("the record of four refusals", || {
        let leaves = world.gateway.leaves();
        let noted: Vec<_> = leaves
            .into_iter()
            .filter(|leaf| leaf["kind"] == "console.deny")
            .collect();
        (noted.len() >= told.len()).then_some(noted)
    });
    let recorded: Vec<_> = noted
        .iter()
        .map(|leaf| (leaf["reason"].clone(), leaf["status"].clone()))
        .collect();
    assert_eq!(recorded, told);
    assert_eq!(noted[0]["subject_ref"], noted[2]["subject_ref"]);
    assert_ne!(noted[0]["subject_ref"], noted[3]["subject_ref"]);
    // Where they tried is sealed.
    assert!(!format!("{noted:?}").contains("guess"), "{noted:?}");
}
