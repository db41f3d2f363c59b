//! A connection that only observes: calls pass, and what would have become of them is recorded.

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually};
use super::support::raw::{self, Answer};

const STAFF: &str = r#"@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;
const LARGE: &str = r#"@id("large") @approval("corp/leads") forbid (principal, action == Action::"fn/pay", resource)
    when { context.input.body.amount > 100 };"#;
const CARD: &str = "4111111111111111";

/// A day from now on, as configs write it.
pub(crate) fn day(from_now: i64) -> String {
    let day = time::OffsetDateTime::now_utc() + time::Duration::days(from_now);
    let format = time::macros::format_description!("[year]-[month]-[day]");
    day.format(&format).expect("a day")
}

fn functions() -> Value {
    let body = json!({ "type": "object", "required": ["amount"], "properties": { "amount": { "type": "integer" } } });
    json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}" },
        "pay": { "method": "POST", "path": "/{case}", "body": { "schema": body, "required": true } },
    } })
}

fn setup(double: &Double, mode: &str) -> Setup {
    let more = json!({ "functions": functions(), "mode": mode });
    Setup::new()
        .policy(STAFF)
        .policy(LARGE)
        .connection("fn", double.address, &more)
}

fn list(gateway: &Gateway, filter: &[&str]) -> Vec<Value> {
    let command = [&["calls", "list", "--output", "json"][..], filter].concat();
    let lines = gateway.command(&command, &[]);
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a call"));
    lines.collect()
}

/// Calls that would each end in another way, with their function and what is recorded of that.
fn passed(gateway: &Gateway, alice: &str, mallory: &str) -> [(Answer, &'static str, Value); 6] {
    [
        (
            gateway.get("/fn/card", alice),
            "fn/get",
            json!({ "decided": "allow", "policies": [] }),
        ),
        (
            gateway.get("/fn/one", mallory),
            "fn/get",
            json!({ "decided": "deny", "reason": "denied", "policies": [] }),
        ),
        (
            gateway.post("/fn/two", alice, &json!({ "amount": 500 })),
            "fn/pay",
            json!({ "decided": "ask", "reason": "approval_pending", "policies": ["large"] }),
        ),
        (
            gateway.post("/fn/three", alice, &json!({ "amount": "much" })),
            "fn/pay",
            json!({ "decided": "deny", "reason": "bad_request", "policies": [] }),
        ),
        (
            gateway.post(
                "/fn/four/five?six=7",
                alice,
                &json!({ "deep": [1, { "er": null }] }),
            ),
            "fn/_undeclared",
            json!({ "decided": "deny", "reason": "not_found", "policies": [] }),
        ),
        (
            gateway.post("/fn/big", alice, &big()),
            "fn/pay",
            json!({ "decided": "deny", "reason": "too_large", "policies": [] }),
        ),
    ]
}

fn big() -> Value {
    json!({ "amount": "9".repeat(1024 * 1024) })
}

#[test]
fn calls_pass_and_what_would_have_become_of_them_is_recorded() {
    let double = Double::start();
    let gateway = setup(&double, &format!("observe until {}", day(30))).start();
    let (alice, mallory) = (caller("alice", &["staff"]), caller("mallory", &["guests"]));
    double.answer(
        "/card",
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{{\"card\":\"{CARD}\"}}",
            11 + CARD.len()
        ),
    );
    let cases = passed(&gateway, &alice, &mallory);
    for (answer, function, observed) in &cases {
        assert_eq!(answer.status, 200, "{function}: {}", answer.text());
        let call = answer.header("callgate-call").expect("an id");
        let begin = gateway.leaf("call.begin", call).expect("a begin record");
        assert_eq!(
            (&begin["function"], &begin["observed"]),
            (&json!(function), observed)
        );
        assert!(answer.header("callgate-receipt").is_some());
        assert_eq!(gateway.await_end(call)["outcome"], "ok");
    }
    // What is found in an answer is counted and left.
    assert!(cases[0].0.text().contains(CARD));
    assert_eq!(
        gateway.end_of(&cases[0].0)["found"],
        json!({ "payment-card": 1 })
    );
    // What passed is what came.
    let sent = |path: &str| double.seen(path).remove(0);
    assert_eq!(sent("/three").body, br#"{"amount":"much"}"#);
    assert_eq!(sent("/four/five").body, br#"{"deep":[1,{"er":null}]}"#);
    assert!(sent("/four/five").head.contains("/four/five?six=7"));
    assert_eq!(sent("/big").body, big().to_string().as_bytes());
    // The whole story is found by what would have become of it.
    let would = |what: &str| list(&gateway, &["--observed", what]).len();
    assert_eq!(
        [would("any"), would("allow"), would("ask"), would("deny")],
        [6, 1, 1, 4]
    );
    let shown = gateway.command(
        &[
            "calls",
            "show",
            cases[3].0.header("callgate-call").expect("an id"),
        ],
        &[],
    );
    assert!(shown.contains("observed deny (bad_request)"), "{shown}");
    assert!(shown.contains(r#""observed":"`body.amount`"#), "{shown}");
    tells_of_it(&gateway);
    nothing_else_is_let_through(&gateway, &double, &alice);
}

/// Whoever looks after the gateway is told.
fn tells_of_it(gateway: &Gateway) {
    let (code, said) = gateway.exit_code(&["doctor"], &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("BAD   connection fn only observes until"),
        "{said}"
    );
    let (good, said) = gateway.try_command(&["check"], &[]);
    assert!(
        good && said.contains("note: connection fn only observes until"),
        "{said}"
    );
    let metrics = eventually("the metric", || {
        let text = raw::get(gateway.console, "/metrics", None).text();
        text.contains(r#"callgate_connection_observing{connection="fn"} 1"#)
            .then_some(text)
    });
    let counted = r#"callgate_observed_calls_total{connection="fn",decided="deny"} 4"#;
    assert!(metrics.contains(counted), "{metrics}");
}

/// What is no judgement of a call holds as ever.
fn nothing_else_is_let_through(gateway: &Gateway, double: &Double, alice: &str) {
    assert_eq!(raw::get(gateway.address, "/fn/unknown", None).status, 401);
    let mangled = alice.replace('.', "x.");
    assert_eq!(gateway.get("/fn/unknown", &mangled).status, 401);
    let masked = gateway.post("/fn/unknown", alice, &json!({ "mail": "[masked:email]" }));
    assert_eq!(
        (masked.status, masked.json()["executed"].as_str()),
        (422, Some("no"))
    );
    let smuggled = format!(
        "POST /fn/unknown HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {alice}\r\ncontent-length: 3\r\ntransfer-encoding: \
         chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        gateway.address
    );
    let (bytes, end) = raw::exchange(
        gateway.address,
        smuggled.as_bytes(),
        std::time::Duration::from_secs(20),
    );
    let answer = raw::parse(&bytes, end, "POST").expect("an answer");
    assert_eq!(answer.status, 400);
    assert_eq!(double.hits("/unknown"), 0);
}

#[test]
fn a_connection_enforces_from_the_day_on_that_follows_and_its_time_is_bounded() {
    let double = Double::start();
    let gateway = setup(&double, &format!("observe until {}", day(-1))).start();
    let (alice, mallory) = (caller("alice", &["staff"]), caller("mallory", &["guests"]));
    assert_eq!(gateway.get("/fn/one", &alice).status, 200);
    assert_eq!(gateway.get("/fn/one", &mallory).status, 403);
    assert_eq!(gateway.get("/fn/one/two", &alice).status, 404);
    let (good, said) = gateway.try_command(&["check"], &[]);
    assert!(
        !good && said.contains("connections.fn.mode: the time to observe was over with"),
        "{said}"
    );
    // To observe (again) takes enforcement away: somebody has to mean it.
    let again = format!("observe until {}", day(10));
    let mode = |mode: &str| {
        let more = json!({ "functions": functions(), "mode": mode });
        move |setup: Setup| setup.connection("fn", double.address, &more)
    };
    let (good, said) = gateway.try_reload(mode(&again));
    assert!(
        !good && said.contains("this takes away: enforcement on connection fn"),
        "{said}"
    );
    assert_eq!(gateway.get("/fn/one", &mallory).status, 403);
    let (good, said) = gateway.try_reload(mode(&format!("observe until {}", day(92))));
    assert!(
        !good && said.contains("is more than 90 days from now"),
        "{said}"
    );
    let said = gateway.reload(mode(&again), &["--accept-removal"]);
    assert!(
        said.contains("~ connection fn: mode observe until"),
        "{said}"
    );
    assert_eq!(gateway.get("/fn/one", &mallory).status, 200);
    // And back, at once.
    gateway.reload(mode("enforce"), &[]);
    assert_eq!(gateway.get("/fn/one", &mallory).status, 403);
}
