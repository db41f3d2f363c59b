//! Tests of messages. Round trips through a real gateway are `notify` in the integration tests.

use std::path::Path;

use serde_json::{Value, json};

use super::webhook::Key;
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::egress::{Egress, Policy};
use crate::secret::Secret;

fn message(requester: &str, reason: &str) -> Message {
    let delivery = Delivery {
        id: "msg_apr_1_7_ops".to_owned(),
        channel: "ops".to_owned(),
        approval: "apr_1".to_owned(),
        event: "approval.asked".to_owned(),
        created: Timestamp::from_secs(1_700_000_000),
        attempts: 0,
        due: Timestamp::from_secs(1_700_000_000),
        dead: None,
        failure: String::new(),
    };
    let view = crate::approval::ApprovalView {
        head: crate::approval::ApprovalHead {
            id: "apr_1".to_owned(),
            state: State::Pending,
            cause: "asked".to_owned(),
            requester: crate::approval::RequesterView {
                issuer: "corp".to_owned(),
                subject: requester.to_owned(),
                kind: crate::identity::Kind::Agent,
                actors: vec!["corp/bot".to_owned()],
            },
            function: "payments/createRefund".to_owned(),
            effect: "write".to_owned(),
            rules: vec!["large".to_owned()],
            asked_at: "2023-11-14T22:13:20Z".to_owned(),
            expires_at: "2023-11-14T22:28:20Z".to_owned(),
            ended_at: None,
        },
        digest: "00".repeat(32),
        call: "call".to_owned(),
        summary: Some(json!({ "body": { "text": "card 4111111111111111" } })),
        frozen_bytes: 10,
        rules: vec![crate::approval::RuleView {
            id: "large".to_owned(),
            hash: "00".repeat(32),
            any_of: vec![vec!["corp/leads".to_owned()]],
            quorum: 1,
            reason: Some(reason.to_owned()),
            acr: Vec::new(),
            max_age_s: None,
            grant_uses_max: None,
            grant_within_max_s: None,
            break_glass_any_of: Vec::new(),
            break_glass_within_s: None,
            open: false,
            votes: Vec::new(),
        }],
        taken: 0,
        successor: None,
        result_kept: false,
        shown: None,
        since_last: None,
        recent: Vec::new(),
    };
    Message::new(
        &delivery,
        Happened::Asked,
        &view,
        Some("https://console.example.com"),
    )
}

/// The vector that the specification's own libraries publish.
#[test]
fn webhooks_are_signed_as_the_published_vector_says() {
    let secret = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
    let key = Key::parse(&secret).unwrap();
    let signature = key.sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for bad in [
        &b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..],
        b"whsec_!",
        b"whsec_AAAA",
        b"whsec_\xff",
    ] {
        assert!(Key::parse(&Secret::new(bad.to_vec())).is_err(), "{bad:?}");
    }
}

#[test]
fn a_message_carries_nothing_of_the_call() {
    let message = message("robot", "two people");
    let all = [
        message.json().to_string(),
        super::slack::body(&message, true).to_string(),
        super::teams::body(&message).to_string(),
        format!("{:?}", message.lines()),
    ];
    for text in all {
        assert!(!text.contains("4111"), "{text}");
        assert!(
            text.contains("payments/createRefund") && text.contains("two people"),
            "{text}"
        );
    }
}

/// Every text of a JSON document that is not under one of these names.
fn texts(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, all)),
        Value::Object(members) => members.values().for_each(|value| texts(value, all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

// P15
#[test]
fn text_of_strangers_is_plain_text_in_every_channel() {
    let hostile = "<!channel> <@U1> <https://evil.example|ok> *b* [x](https://evil.example)\u{202e}\nFrom: eve";
    let message = message(hostile, hostile);
    let slack = super::slack::body(&message, true);
    for block in slack["blocks"].as_array().unwrap() {
        let kind = block["text"]["type"].as_str().unwrap_or("plain_text");
        assert_eq!(kind, "plain_text", "{block}");
        assert_ne!(block["text"]["emoji"], true);
    }
    assert!(!slack.to_string().contains("mrkdwn\":true"));
    let preview = slack["text"].as_str().unwrap();
    assert!(!preview.contains('<'), "{preview}");
    // Teams: whatever strangers wrote stands in text runs, which are not read as markup.
    let teams = super::teams::body(&message);
    for block in teams["attachments"][0]["content"]["body"]
        .as_array()
        .unwrap()
    {
        assert_eq!(block["type"], "RichTextBlock");
        for inline in block["inlines"].as_array().unwrap() {
            assert_eq!(inline["type"], "TextRun");
        }
    }
    // One line each, and nothing that turns text around.
    let mut all = Vec::new();
    texts(&teams, &mut all);
    texts(&message.json(), &mut all);
    all.extend(message.lines().into_iter().map(|(_, text)| text));
    all.push(message.title());
    for text in &all {
        assert!(!text.contains(['\n', '\r', '\u{202e}']), "{text:?}");
    }
    // The only link is ours.
    let links: Vec<&String> = all
        .iter()
        .filter(|text| text.starts_with("https://"))
        .collect();
    assert!(
        links
            .iter()
            .all(|link| link.as_str() == "https://console.example.com/approve/apr_1")
    );
    assert_eq!(links.len(), 2);
}

#[test]
fn long_text_is_cut_with_a_mark() {
    let message = message(&"x".repeat(5_000), "r");
    assert!(message.requester.ends_with(" … (cut)") && message.requester.len() < 400);
}

#[test]
fn pauses_grow_to_an_hour_and_differ_between_messages() {
    assert!(pause(1, "a") >= Duration::from_secs(2) && pause(1, "a") < Duration::from_secs(3));
    assert!((0..200).all(|n| pause(n, "msg") <= PAUSE_MAX.mul_f64(1.25)));
    assert!(pause(20, "a") >= PAUSE_MAX);
    assert_ne!(pause(5, "msg_1"), pause(5, "msg_2"));
}

fn faults(config: &Value, folder: &Path) -> Vec<String> {
    let config: Config = serde_json::from_value(config.clone()).unwrap();
    let egress = Egress::new(&Policy::default()).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    config
        .faults(folder, &egress, &clock)
        .into_iter()
        .map(|(place, text)| format!("{place}: {text}"))
        .collect()
}

fn secret(folder: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn every_fault_of_the_channels_is_told_with_its_place_and_never_with_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "short", "whsec_c2hvcnQ=");
    secret(
        folder.path(),
        "key",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    );
    secret(folder.path(), "url", "ftp://hooks.example.com/T0P-S3CRET");
    let told = faults(
        &json!({
            "link": "http://callgate.example.com",
            "channels": {
                "a b": { "slack": { "url": "file:url" } },
                "hook": { "webhook": { "url": "https://x.example.com", "secret": "file:short" } },
                "mail": { "email": { "server": "smtp://mail.example.com:25", "from": "a@example.com", "to": ["b@example.com"] } },
                "mail2": { "email": { "server": "smtps://mail.example.com", "from": "nobody", "to": ["b@example.com"] } },
                "mail3": { "email": { "server": "smtps://mail.example.com", "from": "a@example.com", "to": [] } },
                "mail4": { "email": { "server": "smtps://mail.example.com", "from": "a@example.com", "to": ["b@example.com"], "user": "u" } },
                "teams": { "teams": { "url": "file:none" } },
            },
        }),
        folder.path(),
    );
    let expected = [
        "link: `http://callgate.example.com` cannot be fetched: it must start with https://",
        "channels.a b: a channel's name has letters",
        "channels.a b.slack.url: what it refers to is no URL that can be called",
        "channels.hook.webhook.secret: it must be `whsec_` and the base64 of 24 to 64 random bytes",
        "channels.mail.email.server: `smtp://mail.example.com:25` cannot be fetched: it must be smtps://",
        "channels.mail2.email.from: `nobody` is no address",
        "channels.mail3.email.to: 1 to 50 addresses are needed",
        "channels.mail4.email.password: it is missing beside `user`",
        "channels.teams.teams.url: ",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
        assert!(
            !told.contains("S3CRET") && !told.contains("c2hvcnQ"),
            "{told}"
        );
    }
    let good = json!({ "channels": {
        "hook": { "webhook": { "url": "http://127.0.0.1:9", "secret": "file:key" } },
        "mail": { "email": { "server": "smtp://127.0.0.1:25", "from": "Gate <a@example.com>", "to": ["b@example.com"] } },
    } });
    assert!(faults(&good, folder.path()).is_empty());
}

#[test]
fn only_a_forgotten_approval_ends_its_message_unsent() {
    let id: ApprovalId = format!("apr_{}", "0".repeat(32)).parse().unwrap();
    assert_eq!(unread(&approval::Error::Unknown(id.clone())), None);
    for error in [
        approval::Error::Tampered(id),
        approval::Error::Crypto,
        approval::Error::TooLarge("the call", 1),
        approval::Error::Store(store::Error::Corrupt("state")),
    ] {
        let failure = unread(&error);
        assert!(matches!(failure, Some(Failure::Later(_))), "{error}");
    }
}

#[test]
fn a_callers_long_names_push_neither_the_deadline_nor_the_rules_out_of_slack() {
    let mut message = message(&"\u{1f600}".repeat(5_000), "two people");
    message.actors = (0..40)
        .map(|n| format!("corp/{n}{}", "x".repeat(290)))
        .collect();
    let body = super::slack::body(&message, true);
    let text = body["blocks"][1]["text"]["text"].as_str().unwrap();
    // Slack takes 3000 characters; the widest way to count them is UTF-16.
    assert!(text.encode_utf16().count() < 3_000, "{}", text.len());
    assert!(text.ends_with("… (cut: open it to see all)"), "{text}");
    for kept in [
        "Decide before: 2023-11-14T22:28:20Z",
        "Rule: large: two people",
    ] {
        assert!(text.contains(kept), "{text}");
    }
    // What fits is whole.
    message.actors.truncate(1);
    let body = super::slack::body(&message, true);
    let text = body["blocks"][1]["text"]["text"].as_str().unwrap();
    assert!(!text.contains("(cut: open"), "{text}");
}

#[test]
fn what_slack_refuses_for_good_is_not_tried_again() {
    use http::StatusCode;
    let judged = |status: u16, never: &[StatusCode]| {
        super::webhook::judge(StatusCode::from_u16(status).unwrap(), never)
    };
    for status in [400, 403, 404, 410] {
        let outcome = judged(status, &super::slack::NEVER);
        assert!(matches!(outcome, Err(Failure::Never(_))), "{status}");
    }
    for status in [429, 500, 503] {
        let outcome = judged(status, &super::slack::NEVER);
        assert!(matches!(outcome, Err(Failure::Later(_))), "{status}");
    }
    // A receiver of somebody else's may answer 404 while it is set up.
    assert!(matches!(judged(404, &[]), Err(Failure::Later(_))));
    assert!(judged(200, &super::slack::NEVER).is_ok());
}

const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const SLACK_BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
const SLACK_SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
const SLACK_AT: u64 = 1_531_420_618;

fn buttons(now: u64) -> Buttons {
    let post = super::webhook::Post {
        egress: Egress::new(&Policy::default()).unwrap(),
        target: crate::egress::Target::from_config("https://hooks.slack.com/services/x").unwrap(),
    };
    let person = super::SlackPerson {
        issuer: "corp".to_owned(),
        claims: std::collections::BTreeMap::new(),
    };
    let people = [("U2CERLKJA".to_owned(), person)].into();
    let clock: SharedClock = Arc::new(ManualClock::new(Timestamp::from_secs(now)));
    let secret = Secret::new(SLACK_SECRET.as_bytes().to_vec());
    Buttons::new(&secret, "T1DC2JH3J", &people, &post, &clock).unwrap()
}

// P13: the example that Slack publishes
#[test]
fn slacks_published_example_is_proven_within_five_minutes_and_not_beyond() {
    let said = |now: u64, at: Option<&str>, signature: Option<&str>, body: &str| {
        buttons(now).signed(at, signature, body.as_bytes())
    };
    let at = SLACK_AT.to_string();
    for now in [SLACK_AT, SLACK_AT - 300, SLACK_AT + 300] {
        let proven = said(now, Some(&at), Some(SLACK_SIGNATURE), SLACK_BODY);
        assert_eq!(proven, Ok(Timestamp::from_secs(SLACK_AT)));
    }
    for now in [SLACK_AT - 301, SLACK_AT + 301] {
        let late = said(now, Some(&at), Some(SLACK_SIGNATURE), SLACK_BODY);
        assert_eq!(late, Err(Unproven::Late));
    }
    let upper = SLACK_SIGNATURE.to_uppercase().replace("V0=", "v0=");
    let twice = format!("v0={SLACK_SIGNATURE}");
    let longer = format!("{SLACK_SIGNATURE}00");
    let signatures = [
        "",
        "v0=",
        &SLACK_SIGNATURE[3..],
        &SLACK_SIGNATURE[..66],
        &upper,
        &twice,
        &longer,
        "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    ];
    for signature in signatures {
        let refused = said(SLACK_AT, Some(&at), Some(signature), SLACK_BODY);
        assert_eq!(refused, Err(Unproven::Unsigned), "{signature}");
    }
    for at in [
        "",
        "-1531420618",
        "1531420618.0",
        " 1531420618",
        "99999999999999999999",
    ] {
        let refused = said(SLACK_AT, Some(at), Some(SLACK_SIGNATURE), SLACK_BODY);
        assert_eq!(refused, Err(Unproven::Unsigned), "{at}");
    }
    // Leading zeroes name the same second, and are not what was signed.
    let zero = said(
        SLACK_AT,
        Some("01531420618"),
        Some(SLACK_SIGNATURE),
        SLACK_BODY,
    );
    assert_eq!(zero, Err(Unproven::Forged));
    let other = SLACK_BODY.replace("roadrunner", "coyote");
    let forged = said(SLACK_AT, Some(&at), Some(SLACK_SIGNATURE), &other);
    assert_eq!(forged, Err(Unproven::Forged));
}

#[test]
fn a_press_counts_once_until_its_timestamp_is_too_old() {
    let buttons = buttons(SLACK_AT);
    let payload = json!({
        "type": "block_actions", "team": { "id": "T1DC2JH3J" }, "user": { "id": "U2CERLKJA" },
        "actions": [{ "action_id": "approve", "value": "apr_1" }],
    })
    .to_string();
    let press = |at: u64| buttons.pressed(&payload, payload.as_bytes(), Timestamp::from_secs(at));
    let first = press(SLACK_AT).unwrap();
    assert_eq!(
        (first.choice, first.approval.as_str()),
        (Choice::Approve, "apr_1")
    );
    assert_eq!(press(SLACK_AT).unwrap_err(), Unproven::Replayed);
    buttons.forget(&first);
    assert!(press(SLACK_AT).is_ok() && press(SLACK_AT + 1).is_ok());
}

#[test]
fn a_yes_that_needs_a_sign_in_has_no_button() {
    let mut message = message("robot", "two people");
    let actions = |message: &Message| -> Vec<String> {
        let body = super::slack::body(message, true);
        let elements = body["blocks"][2]["elements"].as_array().unwrap().clone();
        let id = |one: &Value| one["action_id"].as_str().unwrap().to_owned();
        elements.iter().map(id).collect()
    };
    assert_eq!(actions(&message), ["open", "approve", "deny"]);
    message.step_up = true;
    assert_eq!(actions(&message), ["open", "deny"]);
    let text = super::slack::body(&message, true).to_string();
    assert!(text.contains("needs a sign-in"), "{text}");
    // After a broken glass there is only a no left to give.
    let mut broken = message.clone();
    broken.happened = Happened::BrokeGlass;
    for step_up in [true, false] {
        broken.step_up = step_up;
        assert_eq!(actions(&broken), ["open", "deny"]);
        let text = super::slack::body(&broken, true).to_string();
        assert!(
            text.contains("BREAK-GLASS") && !text.contains("needs a sign-in"),
            "{text}"
        );
    }
    // Without buttons in the config there is the link only.
    let text = super::slack::body(&message, false).to_string();
    assert!(
        !text.contains("deny") && !text.contains("needs a sign-in"),
        "{text}"
    );
}
