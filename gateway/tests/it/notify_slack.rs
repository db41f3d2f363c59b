//! Answers by a button in Slack, against a stand-in of what Slack documents: signed, once, in time, by somebody who may.

use std::sync::Arc;

use serde_json::{Value, json};

use super::calls_approvals::{lead, staff, told};
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, eventually, now, person};
use super::support::raw::{self, Answer};
use super::support::recorder::{Recorder, Seen};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const TEAM: &str = "T0CALLGATE";

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("corp/leads") @reason("writes wait for a lead")
forbid (principal, action == Action::"brief/post", resource);
@id("two-leads") @approval("corp/leads") @quorum("2")
forbid (principal, action == Action::"brief/two", resource);
@id("careful") @approval("corp/leads") @max_age("5m")
forbid (principal, action == Action::"brief/careful", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

#[derive(Debug)]
struct World {
    gateway: Gateway,
    double: Double,
    slack: Recorder,
}

static WORLD: Shared<World> = Shared::new();

/// Accounts in the config: two leads, somebody who leads nothing, and a lead who calls as well.
fn people() -> Value {
    let person = |subject: &str, groups: &[&str]| json!({ "issuer": "corp", "claims": { "sub": subject, "groups": groups, "account_type": "person" } });
    json!({
        "U0LENA": person("lena", &["leads"]),
        "U0LARS": person("lars", &["leads"]),
        "U0NORA": person("nora", &["staff"]),
        "U0CARL": person("carl", &["leads", "staff"]),
    })
}

fn world() -> Arc<World> {
    WORLD.get(|| {
        let (double, slack) = (Double::start(), Recorder::ok());
        let function = |path: &str| {
            json!({ "method": "POST", "path": path, "body": { "schema": {
                "type": "object", "properties": { "card": { "type": "string" } },
            } } })
        };
        let functions = json!({ "inline": {
            "post": function("/post/{case}"), "two": function("/two/{case}"), "careful": function("/careful/{case}"),
        } });
        let gateway = Setup::new()
            .policy(POLICIES)
            .with("approvals", json!({ "cooldown_s": 0 }))
            .with(
                "notify",
                json!({ "link": "https://console.test/", "channels": { "team": { "slack": {
                    "url": "file:slack",
                    "buttons": { "signing_secret": "file:signing", "team": TEAM, "people": people() },
                } } } }),
            )
            .connection("brief", double.address, &json!({ "functions": functions, "hold_s": 0 }))
            .file("slack", &format!("http://{}/services/T1/B1/x", slack.address))
            .file("signing", SECRET)
            .start();
        World {
            gateway,
            double,
            slack,
        }
    })
}

/// A press as Slack describes it, before it is sent.
#[derive(Clone, Debug)]
struct Press {
    payload: Value,
    secret: &'static str,
    at: u64,
}

fn form(payload: &Value) -> String {
    let text = payload.to_string();
    let encoded: String = text
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("payload={encoded}")
}

fn signature(secret: &str, at: &str, body: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let mac = aws_lc_rs::hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
    let hex: String = mac
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("v0={hex}")
}

impl World {
    fn press(&self, user: &str, action: &str, approval: &str) -> Press {
        let payload = json!({
            "type": "block_actions", "api_app_id": "A0CALLGATE", "token": "verification-token-of-old",
            "team": { "id": TEAM, "domain": "callgate" }, "user": { "id": user, "username": "x", "team_id": TEAM },
            "container": { "type": "message", "message_ts": "1.2", "channel_id": "C1" }, "trigger_id": "1.2.3",
            "channel": { "id": "C1", "name": "gate" }, "message": { "type": "message", "text": "Approval needed" },
            "response_url": format!("http://{}/actions/{user}/{action}/{approval}", self.slack.address),
            "actions": [{ "type": "button", "action_id": action, "block_id": "b", "value": approval,
                "action_ts": "1548426417.840180" }],
        });
        Press {
            payload,
            secret: SECRET,
            at: now(),
        }
    }

    fn send(&self, press: &Press) -> Answer {
        let (at, body) = (press.at.to_string(), form(&press.payload));
        let signature = signature(press.secret, &at, &body);
        self.raw(
            &[
                ("X-Slack-Request-Timestamp", &at),
                ("X-Slack-Signature", &signature),
            ],
            &body,
        )
    }

    fn raw(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        let headers = [&kind, headers].concat();
        raw::request(
            self.gateway.console,
            "POST",
            "/slack/team",
            &headers,
            body.as_bytes(),
        )
    }

    /// Press it, which Slack is told was taken; what Slack then got to show.
    fn told(&self, press: &Press) -> Value {
        let target = press.payload["response_url"].as_str().expect("a URL");
        let path = target.split_once("/actions").expect("a path").1;
        let line = format!("POST /actions{path} HTTP/1.1");
        let answers = |seen: &[Seen]| -> Vec<Value> {
            let of_it = seen.iter().filter(|seen| seen.line() == line);
            of_it
                .map(|seen| serde_json::from_slice(&seen.body).expect("JSON"))
                .collect()
        };
        let before = answers(&self.slack.seen()).len();
        let answer = self.send(press);
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
        eventually("an answer to Slack", || {
            answers(&self.slack.seen()).get(before).cloned()
        })
    }

    fn ask(&self, function: &str, subject: &str) -> String {
        let body = json!({ "card": "4111111111111111" });
        let answer = self.gateway.post(
            &format!("/brief/{function}/{subject}"),
            &staff(subject),
            &body,
        );
        let said = told(&answer, 429, "approval_pending", "no");
        said["approval"]["id"].as_str().expect("an id").to_owned()
    }

    /// State and votes, as people see them.
    fn standing(&self, id: &str) -> (String, Vec<String>) {
        let shown = raw::get(
            self.gateway.console,
            &format!("/api/v1/approvals/{id}"),
            Some(&lead()),
        )
        .json();
        let rules = shown["rules"].as_array().expect("rules").iter();
        let votes = rules.flat_map(|rule| rule["votes"].as_array().cloned().unwrap_or_default());
        let vote = |vote: Value| {
            format!(
                "{} {}",
                vote["subject"].as_str().unwrap_or(""),
                vote["verdict"].as_str().unwrap_or("")
            )
        };
        let state = shown["head"]["state"].as_str().expect("a state").to_owned();
        (state, votes.map(vote).collect())
    }
}

#[test]
fn a_button_counts_as_the_vote_of_the_person_whose_account_it_is() {
    let world = world();
    let id = world.ask("post", "wanda");
    let message = eventually("a message", || {
        let seen = world.slack.seen();
        let of_it = |seen: &&Seen| String::from_utf8_lossy(&seen.body).contains(&id);
        seen.iter().find(of_it).cloned()
    });
    let message: Value = serde_json::from_slice(&message.body).expect("JSON");
    let elements = message["blocks"][2]["elements"]
        .as_array()
        .expect("buttons");
    let carried: Vec<_> = elements
        .iter()
        .map(|one| (one["action_id"].as_str(), one["value"].as_str()))
        .collect();
    assert_eq!(
        carried,
        [
            (Some("open"), None),
            (Some("approve"), Some(id.as_str())),
            (Some("deny"), Some(id.as_str()))
        ]
    );
    assert!(!message.to_string().contains("4111"), "{message}");
    // Slack tells of the link's button as well; it decides nothing.
    let mut open = world.press("U0LENA", "open", &id);
    open.payload["actions"][0]
        .as_object_mut()
        .expect("an action")
        .remove("value");
    assert_eq!(world.send(&open).status, 200);
    assert_eq!(world.standing(&id), ("pending".to_owned(), vec![]));

    let said = world.told(&world.press("U0LENA", "approve", &id));
    assert_eq!(said["replace_original"], true);
    assert_eq!(said["text"], "brief/post: approved, at last by corp/lena.");
    assert_eq!(
        world.standing(&id),
        ("approved".to_owned(), vec!["lena yes".to_owned()])
    );
    let body = json!({ "card": "4111111111111111" });
    let answer = world
        .gateway
        .post("/brief/post/wanda", &staff("wanda"), &body);
    assert_eq!((answer.status, world.double.hits("/post/wanda")), (200, 1));
    let leaves = world.gateway.leaves();
    let vote = leaves
        .iter()
        .find(|leaf| leaf["kind"] == "approval.vote" && leaf["approval"] == id.as_str());
    assert!(vote.is_some(), "the vote is on the record");

    // A no, and a press that comes when all is over.
    let id = world.ask("post", "walter");
    let said = world.told(&world.press("U0LARS", "deny", &id));
    assert_eq!(
        (&said["replace_original"], &said["text"]),
        (&json!(true), &json!("brief/post: denied by corp/lars."))
    );
    let said = world.told(&world.press("U0LENA", "approve", &id));
    assert_eq!(said["text"], "brief/post: denied.");
    assert_eq!(
        world.standing(&id),
        ("denied".to_owned(), vec!["lars no".to_owned()])
    );
    assert_eq!(world.double.hits("/post/walter"), 0);
}

#[track_caller]
fn refused(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.text().contains(text), "{}", answer.text());
}

// P13
#[test]
fn what_slack_did_not_sign_just_now_for_this_workspace_does_nothing() {
    let world = world();
    let id = world.ask("post", "will");
    let good = world.press("U0LENA", "approve", &id);
    let with = |change: &dyn Fn(&mut Press)| {
        let mut press = good.clone();
        change(&mut press);
        world.send(&press)
    };
    refused(
        &with(&|press| press.secret = "another secret of another app"),
        401,
        "signature",
    );
    refused(&with(&|press| press.at -= 360), 401, "five minutes");
    refused(&with(&|press| press.at += 360), 401, "five minutes");
    refused(
        &with(&|press| press.payload["team"]["id"] = json!("T0OTHER")),
        403,
        "another workspace",
    );
    refused(
        &with(&|press| press.payload["user"]["team_id"] = json!("T0OTHER")),
        403,
        "another workspace",
    );
    refused(
        &with(&|press| press.payload["type"] = json!("view_submission")),
        400,
        "no press",
    );
    refused(
        &with(&|press| press.payload["actions"][0]["action_id"] = json!("approve_all")),
        400,
        "no press",
    );
    refused(
        &with(&|press| {
            let again = press.payload["actions"][0].clone();
            press.payload["actions"]
                .as_array_mut()
                .expect("actions")
                .push(again);
        }),
        400,
        "no press",
    );
    assert_eq!(world.standing(&id), ("pending".to_owned(), vec![]));
    // It was good all the time.
    assert_eq!(
        world.told(&good)["text"],
        "brief/post: approved, at last by corp/lena."
    );
}

// P13
#[test]
fn bytes_that_are_not_those_that_slack_signed_do_nothing() {
    let world = world();
    let id = world.ask("post", "wes");
    let good = world.press("U0LENA", "approve", &id);
    // The same bytes in another order, another second, twice the header, or none; too many bytes.
    let (at, body) = (good.at.to_string(), form(&good.payload));
    let signed = signature(SECRET, &at, &body);
    let stamp = ("X-Slack-Request-Timestamp", at.as_str());
    let headers = [stamp, ("X-Slack-Signature", signed.as_str())];
    let changed = format!("{body}&x=1");
    refused(
        &world.raw(&[stamp, ("X-Slack-Signature", &signed)], &changed),
        401,
        "signature",
    );
    let other = (good.at + 1).to_string();
    let moved = [
        ("X-Slack-Request-Timestamp", other.as_str()),
        ("X-Slack-Signature", &signed),
    ];
    refused(&world.raw(&moved, &body), 401, "signature");
    let twice = [
        stamp,
        ("X-Slack-Signature", "v0=0"),
        ("X-Slack-Signature", &signed),
    ];
    refused(&world.raw(&twice, &body), 401, "does not carry");
    refused(&world.raw(&[], &body), 401, "does not carry");
    refused(
        &world.raw(&[("X-Slack-Signature", &signed)], &body),
        401,
        "does not carry",
    );
    let large = format!("{body}&x={}", "x".repeat(64 * 1024));
    refused(&world.raw(&headers, &large), 413, "too_large");
    // Another channel, and a token of a person in place of Slack's signature.
    let bearer = format!("Bearer {}", lead());
    refused(
        &world.raw(&[("Authorization", &bearer)], &body),
        401,
        "does not carry",
    );
    let elsewhere = raw::request(
        world.gateway.console,
        "POST",
        "/slack/other",
        &headers,
        body.as_bytes(),
    );
    refused(&elsewhere, 404, "no channel");
    assert_eq!(
        raw::get(world.gateway.console, "/slack/team", None).status,
        405
    );
    assert_eq!(world.standing(&id), ("pending".to_owned(), vec![]));
    // It was good all the time.
    assert_eq!(
        world.told(&good)["text"],
        "brief/post: approved, at last by corp/lena."
    );
}

// P13
#[test]
fn who_may_not_answer_is_told_so_and_nothing_counts() {
    let world = world();
    let id = world.ask("post", "carl");
    let alone = |press: &Press, text: &str| {
        let said = world.told(press);
        assert_eq!(
            (&said["replace_original"], &said["response_type"]),
            (&json!(false), &json!("ephemeral"))
        );
        assert!(
            said["text"]
                .as_str()
                .is_some_and(|told| told.contains(text)),
            "{said}"
        );
    };
    // Nobody here; a member who may not see it; the requester; no such approval.
    alone(
        &world.press("U0NOBODY", "approve", &id),
        "does not know whose account",
    );
    alone(
        &world.press("U0NORA", "approve", &id),
        "no such approval that you may see",
    );
    alone(
        &world.press("U0CARL", "approve", &id),
        "cannot vote on its call",
    );
    alone(
        &world.press("U0LENA", "approve", "apr_00000000000000000000000000000000"),
        "no such approval",
    );
    assert_eq!(world.standing(&id), ("pending".to_owned(), vec![]));

    // A rule that asks for a sign-in takes a yes elsewhere only, and a no also here.
    let id = world.ask("careful", "cora");
    let link = format!("https://console.test/approve/{id}");
    alone(&world.press("U0LENA", "approve", &id), &link);
    assert_eq!(world.standing(&id), ("pending".to_owned(), vec![]));
    assert_eq!(
        world.told(&world.press("U0LENA", "deny", &id))["text"],
        "brief/careful: denied by corp/lena."
    );
    // Whoever is known and was refused stands on the record: Nora, Carl, and Lena twice.
    eventually("the refusals on record", || {
        let leaves = world.gateway.leaves();
        let refused = leaves.iter().filter(|leaf| leaf["kind"] == "console.deny");
        (refused.count() >= 4).then_some(())
    });
}

// P13: the same button again and again is one vote
#[test]
fn a_button_pressed_again_or_sent_again_is_one_vote() {
    let world = world();
    let id = world.ask("two", "tina");
    let press = world.press("U0LENA", "approve", &id);
    assert!(
        world.told(&press)["text"]
            .as_str()
            .is_some_and(|text| text.contains("More people"))
    );
    // Slack's own repetition: the same bytes, with what it says of the try.
    for _ in 0..3 {
        let (at, body) = (press.at.to_string(), form(&press.payload));
        let signed = signature(SECRET, &at, &body);
        let headers = [
            ("X-Slack-Request-Timestamp", at.as_str()),
            ("X-Slack-Signature", &signed),
            ("X-Slack-Retry-Num", "1"),
        ];
        assert_eq!(world.raw(&headers, &body).status, 200);
    }
    let mut again = press.clone();
    again.at += 1;
    let said = world.told(&again);
    assert!(
        said["text"]
            .as_str()
            .is_some_and(|text| text.contains("voted on this rule already")),
        "{said}"
    );
    assert_eq!(
        world.standing(&id),
        ("pending".to_owned(), vec!["lena yes".to_owned()])
    );
    // The other lead answers at the console: one quorum over both ways.
    let (good, text) = world
        .gateway
        .approvals(&person("lars", &["leads"]), &["approve", &id]);
    assert!(good, "{text}");
    assert_eq!(world.standing(&id).0, "approved");
}

#[test]
fn accounts_that_the_issuer_would_not_vouch_for_are_faults_of_the_config() {
    let double = Double::start();
    let functions =
        json!({ "functions": { "inline": { "get": { "method": "GET", "path": "/{case}" } } } });
    let setup = |people: Value, link: Value| {
        Setup::new()
            .with("notify", json!({ "link": link, "channels": { "team": { "slack": {
                "url": "file:slack", "buttons": { "signing_secret": "file:signing", "team": TEAM, "people": people },
            } } } }))
            .connection("brief", double.address, &functions)
            .file("slack", "https://hooks.slack.com/services/x")
            .file("signing", SECRET)
    };
    let gateway = Setup::new()
        .connection("brief", double.address, &functions)
        .start();
    let check = |people: Value, link: Value| {
        gateway.rewritten(|_| setup(people, link));
        gateway.try_command(&["check"], &[])
    };
    let account = |claims: Value| json!({ "U0LENA": { "issuer": "corp", "claims": claims } });
    let link = json!("https://console.test");
    let person = json!({ "sub": "lena", "account_type": "person" });
    assert!(check(account(person.clone()), link.clone()).0);
    let place = "notify.channels.team.slack.buttons.people";
    for (people, link, told) in [
        (
            account(json!({ "sub": "lena" })),
            link.clone(),
            "makes a human",
        ),
        (
            account(json!({ "sub": "lena", "account_type": "person", "acr": "phr" })),
            link.clone(),
            "told by a token only",
        ),
        (
            json!({ "U0LENA": { "issuer": "other", "claims": person } }),
            link.clone(),
            "is not configured",
        ),
        (
            json!({ "lena@corp.test": { "issuer": "corp", "claims": person } }),
            link.clone(),
            "no member's id",
        ),
        (json!({}), link, "nobody else's button counts"),
    ] {
        let (good, text) = check(people, link);
        assert!(
            !good && text.contains(place) && text.contains(told),
            "{told}: {text}"
        );
    }
    let (good, text) = check(account(person), Value::Null);
    assert!(
        !good && text.contains("notify.link") && text.contains("beside a channel with buttons"),
        "{text}"
    );
}
