//! A budget of values through a real gateway: a caller that copies a list is stopped, told until when, and it is on
//! record.

use serde_json::{Value, json};

use super::calls_approvals::told;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually};
use super::support::raw::{self, Answer};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("analysts-see") permit (principal in Group::"corp/analysts", action == Action::"unmask",
    resource == DataClass::"email");
"#;

fn list(from: u32, to: u32) -> String {
    let people: Vec<Value> = (from..to)
        .map(|n| json!({ "mail": format!("m{n}@example.com") }))
        .collect();
    json!(people).to_string()
}

/// A gateway in front of lists of six, four and eleven addresses, of which a caller may draw out ten.
fn world() -> (Gateway, Double) {
    let double = Double::start();
    for (path, from, to) in [("/one", 0, 6), ("/two", 6, 10), ("/many", 0, 11)] {
        let body = list(from, to);
        double.on(path, move |exchange| {
            let head = format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
            exchange.head(200, &head);
            exchange.write(&body);
        });
    }
    let functions = json!({ "inline": { "list": { "method": "GET", "path": "/{page}" } } });
    let mask = json!({ "detect": ["contact"], "budget": { "values": 10, "classes": ["email"] } });
    let gateway = Setup::new()
        .policy(POLICIES)
        .connection(
            "crm",
            double.address,
            &json!({ "functions": functions, "mask": mask }),
        )
        .start();
    (gateway, double)
}

/// The answer is a refusal that says how many values there were.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, executed: &str) {
    let said = told(answer, status, code, executed);
    let detail = said["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("held 10 different values"), "{said}");
}

#[test]
fn a_caller_that_copies_a_list_is_stopped_and_others_go_on() {
    let (mut gateway, double) = world();
    // Whoever sees the values and whoever does not: both draw out ten, and no more.
    for (subject, groups) in [("ann", &["staff"][..]), ("anton", &["staff", "analysts"])] {
        let token = caller(subject, groups);
        let answer = gateway.get("/crm/one", &token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text().contains("m1@example.com"), subject == "anton");
        assert_eq!(gateway.get("/crm/one", &token).status, 200);
        // Eleven different ones: some are new, the last is one too many.
        let answer = gateway.get("/crm/many", &token);
        refused(&answer, 424, "response_withheld", "yes");
        let end = gateway.end_of(&answer);
        assert_eq!(end["outcome"], "withheld", "{end}");
        let hits = double.hits("/two");
        let answer = gateway.get("/crm/two", &token);
        refused(&answer, 429, "rate_limited", "no");
        let wait = answer
            .header("retry-after")
            .and_then(|wait| wait.parse::<u64>().ok());
        assert!(
            wait.is_some_and(|wait| wait > 23 * 3600 && wait <= 24 * 3600),
            "{wait:?}"
        );
        assert_eq!(double.hits("/two"), hits);
        let call = answer.header("callgate-call").expect("a call").to_owned();
        let denied = eventually("the refusal on record", || gateway.leaf("call.deny", &call));
        assert_eq!(denied["reason"], "rate_limited", "{denied}");
    }
    assert_eq!(
        gateway.get("/crm/two", &caller("eve", &["staff"])).status,
        200
    );
    let metrics = raw::get(gateway.console, "/metrics", None).text();
    assert!(
        metrics.contains(r#"callgate_budget_refusals_total{connection="crm"} 2"#),
        "{metrics}"
    );
    // A config that is read anew does not begin anew; a process does.
    gateway.reload(|setup| setup.policy("@id(\"more\") permit (principal in Group::\"corp/more\", action in Action::\"call\", resource);"), &[]);
    let ann = caller("ann", &["staff"]);
    assert_eq!(gateway.get("/crm/two", &ann).status, 429);
    gateway.restart();
    assert_eq!(gateway.get("/crm/two", &ann).status, 200);
}
