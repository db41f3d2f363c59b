//! Ways around the checks: paths and methods that could be let pass, text that could split what it is put into, a caller
//! that is shut out while its answer is under way.

use std::time::Duration;

use serde_json::{Value, json};

use super::http_world::{functions, staff};
use super::support::caller::Talk;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually, mint, person};
use super::support::raw::{self, End};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("security") permit (principal in Group::"corp/security", action == Action::"revoke", resource);
"#;

fn start(double: &Double) -> Gateway {
    Setup::new()
        .policy(POLICIES)
        .connection(
            "open",
            double.address,
            &json!({ "functions": functions(), "assert_caller": "https://function.test", "mask": { "mode": "off" } }),
        )
        .start()
}

// I7
#[test]
fn no_path_method_or_header_gets_past_the_token() {
    let double = Double::start();
    let gateway = start(&double);
    let targets = [
        "/open/x",
        "/open/health",
        "/open/.well-known",
        "/open/x?/.well-known/callgate/health",
        "/open/x?health",
        "/open/x%23/.well-known/callgate/health",
        "/open/x%3f/health",
        "/open/x;/.well-known/callgate/health",
        "/.well-known/callgate/health/../../../open/x",
        "/.well-known/callgate/..%2f..%2fopen/x",
        "//open/x",
        "/OPEN/x",
        "/.well-known/callgate/healthy",
        "/.well-known/callgate/approvals/apr_0",
    ];
    let agents = [
        "GoogleHC/1.0",
        "kube-probe/1.30",
        "ELB-HealthChecker/2.0",
        "Prometheus/2",
    ];
    for method in [
        "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE", "CONNECT",
    ] {
        for target in targets {
            let headers = [
                ("User-Agent", agents[target.len() % 4]),
                ("X-Forwarded-Uri", "/health"),
            ];
            let answer = raw::request(gateway.address, method, target, &headers, b"");
            assert!(
                matches!(answer.status, 400 | 401 | 404 | 405),
                "{method} {target}: {}",
                answer.status
            );
        }
    }
    for path in ["/x", "/health", "/.well-known", "/open/x"] {
        assert_eq!(double.hits(path), 0, "{path}");
    }
    // What needs no token says nothing of anybody.
    for path in ["health", "ready"] {
        let answer = raw::get(
            gateway.address,
            &format!("/.well-known/callgate/{path}"),
            None,
        );
        let said = answer.json();
        assert_eq!(
            (answer.status, said.as_object().map(serde_json::Map::len)),
            (200, Some(1))
        );
    }
}

// X7
#[test]
fn line_ends_in_what_is_inserted_split_nothing() {
    let double = Double::start();
    let gateway = start(&double);
    let subject = "eve\r\nX-Smuggled: 1\r\n\r\nGET /smuggled HTTP/1.1\n{\"level\":\"ERROR\",\"message\":\"forged\"}";
    let token = mint(&json!({ "sub": subject, "groups": ["staff"], "account_type": "workload" }));
    let answer = gateway.get("/open/split", &token);
    // A name that no account has may be refused; what must not be is that it acts.
    assert!(
        matches!(answer.status, 200 | 401 | 403),
        "{}",
        answer.text()
    );
    let target = "/open/split?q=a%0d%0aX-Smuggled:%201&r=%0aX-Smuggled:1";
    let answer = gateway.get(target, &staff());
    assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
    let denied =
        mint(&json!({ "sub": subject, "groups": ["other\r\nstaff"], "account_type": "workload" }));
    gateway.get("/open/split", &denied);
    for seen in double.seen("/split") {
        assert!(seen.header("x-smuggled").is_empty(), "{}", seen.head);
        assert!(
            !seen.head.replace("\r\n", "").contains(['\r', '\n']),
            "{}",
            seen.head
        );
    }
    assert_eq!(double.hits("/smuggled"), 0);
    for line in gateway.child.output().lines() {
        let line: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not a log line: {line}"));
        assert_ne!(line["message"], "forged");
    }
    // The log of calls holds it as it came, one leaf a record.
    assert!(
        gateway
            .command(&["audit", "verify"], &[])
            .contains("intact")
    );
}

// I13
#[test]
fn a_revoked_callers_stream_is_cut() {
    let double = Double::start();
    double.on("/stream", |exchange| {
        exchange.head(
            200,
            "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
        );
        exchange.chunk("a first part");
        exchange.sees_close(Duration::from_secs(30));
        exchange.close();
    });
    let gateway = start(&double);
    let (revoked, other) = (caller("rob", &["staff"]), staff());
    let mut cut = Talk::get(gateway.address, "/open/stream", &revoked);
    let mut goes_on = Talk::get(gateway.address, "/open/stream", &other);
    cut.until("a first part");
    goes_on.until("a first part");
    let console = format!("http://{}", gateway.console);
    let token = person("sid", &["security"]);
    let environment = [
        ("CALLGATE_TOKEN", token.as_str()),
        ("CALLGATE_CONSOLE", console.as_str()),
    ];
    let add = [
        "revocations",
        "add",
        "principal",
        "corp/rob",
        "--reason",
        "lost laptop",
    ];
    gateway.command(&add, &environment);
    let end = cut.end();
    let answer = cut.answer(end, "GET");
    assert_eq!(answer.end, End::Cut, "{}", answer.text());
    assert_eq!(gateway.end_of(&answer)["error"], "revoked");
    let refused = gateway.get("/open/after", &revoked);
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (403, &json!("revoked"))
    );
    assert_eq!(double.hits("/after"), 0);
    // Nobody else is touched.
    assert_eq!(gateway.get("/open/beside", &other).status, 200);
    assert!(goes_on.listen(Duration::from_millis(50)).is_none());
    // It can be lifted again.
    let listed = gateway.command(&["revocations", "list"], &environment);
    let row: Value = serde_json::from_str(listed.lines().next().expect("a row")).expect("JSON");
    assert!(
        listed.contains("rob") && listed.contains("lost laptop"),
        "{listed}"
    );
    let id = row["id"].as_str().expect("an id");
    gateway.command(&["revocations", "lift", id], &environment);
    eventually("calls again", || {
        (gateway.get("/open/lifted", &revoked).status == 200).then_some(())
    });
    eventually("a record of it", || {
        let leaves = gateway.leaves();
        leaves
            .iter()
            .any(|leaf| {
                leaf["kind"]
                    .as_str()
                    .is_some_and(|kind| kind.contains("revo"))
            })
            .then_some(())
    });
}
