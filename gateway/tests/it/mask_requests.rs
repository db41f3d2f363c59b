//! What callers must not send out, through a real gateway: replaced before anybody reads the request, or refused.

use std::sync::Arc;

use serde_json::json;

use super::calls_approvals::told;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, caller, person};
use super::support::raw::{self, Answer};

const MAIL: &str = "bob.o-neil@customers.example";
const KEY: &str = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("agents-get-addresses") permit (principal in Group::"corp/staff", action == Action::"detokenise",
    resource == DataClass::"email") when { context.function == Function::"mailer/send" };
@id("no-names") forbid (principal, action == Action::"model/ask", resource)
    when { context.input has body && context.input.body has prompt && context.input.body.prompt like "*bob*" };
@id("plans-need-a-lead") @approval("corp/leads") @reason("plans wait")
forbid (principal, action == Action::"model/plan", resource);
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

#[derive(Debug)]
struct World {
    gateway: Gateway,
    double: Double,
}

static WORLD: Shared<World> = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(|| {
        let double = Double::start();
        let text = json!({ "type": "string" });
        let prompt = json!({ "schema": { "type": "object", "additionalProperties": false,
            "properties": { "prompt": text, "card": { "type": "integer" } } } });
        let model = json!({ "inline": {
            "ask": { "method": "POST", "path": "/ask", "body": prompt },
            "plan": { "method": "POST", "path": "/plan", "body": prompt },
            "raw": { "method": "POST", "path": "/raw", "additional": "allow", "body": {} },
            "about": { "method": "GET", "path": "/about/{who}", "query": { "note": {} } },
        } });
        let mask = json!({ "requests": { "block": ["secret"],
            "instead": { "email": "token", "payment-card": "redact" } } });
        let gateway = Setup::new()
            .policy(POLICIES)
            .env("MASK_KEY", "0123456789abcdef0123456789abcdef")
            .with("mask_keys", json!({ "current": "env:MASK_KEY" }))
            .with("approvals", json!({ "cooldown_s": 0 }))
            .connection("model", double.address, &json!({ "functions": model, "mask": mask, "hold_s": 0 }))
            .connection(
                "mailer",
                double.address,
                &json!({ "functions": { "inline": {
                    "send": { "method": "POST", "path": "/send", "additional": "allow", "body": {} } } } }),
            )
            .start();
        for path in ["/ask", "/plan", "/raw", "/send"] {
            double.on(path, |exchange| {
                exchange.body();
                exchange.head(204, "");
            });
        }
        World { gateway, double }
    })
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, words: &str) {
    let text = told(answer, status, code, "no").to_string();
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("bob") && !text.contains("ghp_"), "{text}");
}

#[test]
fn the_function_never_receives_what_is_replaced_and_a_token_of_it_is_worth_the_value_elsewhere() {
    let world = world();
    let ann = caller("ann", &["staff"]);
    let sent = json!({ "prompt": format!("write to {MAIL} please") });
    let answer = world.gateway.post("/model/ask", &ann, &sent);
    // Policy reads what is forwarded: its rule about `bob` does not hold.
    assert_eq!(answer.status, 204, "{}", answer.text());
    let got = world.double.last_json("/ask")["prompt"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        got.starts_with("write to cgtok~email~") && got.ends_with("~ please"),
        "{got}"
    );
    let token = &got["write to ".len()..got.len() - " please".len()];
    let answer = world
        .gateway
        .post("/mailer/send", &ann, &json!({ "to": token }));
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(world.double.last_json("/send"), json!({ "to": MAIL }));
    let metrics = raw::get(world.gateway.console, "/metrics", None).text();
    let line = r#"callgate_replaced_values_total{connection="model",class="email"}"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn schema_and_people_read_what_stands_instead() {
    let world = world();
    let eve = caller("eve", &["staff"]);
    // A marker is no integer, and the schema says so.
    let sent = json!({ "prompt": "pay", "card": 4_111_111_111_111_111_u64 });
    let answer = world.gateway.post("/model/ask", &eve, &sent);
    refused(&answer, 400, "bad_request", "card");
    let sent = json!({ "prompt": "card 4111 1111 1111 1111" });
    let answer = world.gateway.post("/model/plan", &eve, &sent);
    assert_eq!(answer.status, 429, "{}", answer.text());
    let id = answer.json()["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let lead = person("lena", &["leads"]);
    let (good, shown) = world.gateway.approvals(&lead, &["show", &id]);
    assert!(
        good && shown.contains("card [masked:payment-card]"),
        "{shown}"
    );
    let (good, text) = world
        .gateway
        .approvals(&lead, &["approve", &id, "--reason", "seen"]);
    assert!(good, "{text}");
    // Sent again it is the same call, and what runs is what was shown.
    let answer = world.gateway.post("/model/plan", &eve, &sent);
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(
        world.double.last_json("/plan"),
        json!({ "prompt": "card [masked:payment-card]" })
    );
}

#[test]
fn a_place_in_which_nothing_can_stand_refuses_the_request() {
    let world = world();
    let dan = caller("dan", &["staff"]);
    let code = "data_not_allowed";
    let answer = world.gateway.post("/model/raw", &dan, &json!({ MAIL: 1 }));
    refused(
        &answer,
        422,
        code,
        "it stands in the name of a member or field",
    );
    let answer = world.gateway.post("/model/raw", &dan, &json!({ "a": KEY }));
    refused(&answer, 422, code, "may not be sent to this function");
    let xml = format!("<to>{MAIL}</to>");
    let answer = world.gateway.send(
        "POST",
        "/model/raw",
        &dan,
        &[("Content-Type", "application/xml")],
        xml.as_bytes(),
    );
    refused(
        &answer,
        422,
        code,
        "only JSON, forms and text are rewritten",
    );
    assert_eq!(world.double.hits("/raw"), 0);
    // A path and a query can hold it: the function is asked about a marker.
    let answer = world
        .gateway
        .get("/model/about/4111111111111111?note=5555555555554444", &dan);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let marker = "%5Bmasked:payment-card%5D";
    let seen = world.double.seen(&format!("/about/{marker}"));
    let line = seen.first().expect("the request").line().to_owned();
    assert!(line.contains(&format!("?note={marker} ")), "{line}");
}
