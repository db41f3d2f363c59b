//! Tokens through a real gateway: what one function's answer hid, another function receives, if policy says so; the
//! caller never sees it, nor do the people who are asked.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::calls_approvals::told;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, caller, eventually, person};
use super::support::raw::Answer;

const MAIL: &str = "bob.o-neil@customers.example";
const CARD: u64 = 4_111_111_111_111_111;

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("mailer-gets-addresses") permit (principal in Group::"corp/staff", action == Action::"detokenise",
    resource == DataClass::"email") when { context.function in Connection::"mailer" || context.function in Connection::"unmasked" };
@id("books-get-cards") permit (principal in Group::"corp/staff", action == Action::"detokenise",
    resource == DataClass::"payment-card") when { context.function == Function::"mailer/charge" };
@id("no-mail-to-rivals") forbid (principal, action == Action::"mailer/send", resource)
    when { context.input has body && context.input.body has to && context.input.body.to like "*@rival.example" };
@id("charges-need-a-lead") @approval("corp/leads") @reason("charges wait")
forbid (principal, action == Action::"mailer/charge", resource);
@id("bulk-needs-a-lead") @approval("corp/leads") @reason("bulk waits")
forbid (principal, action == Action::"mailer/bulk", resource);
@id("analysts-see") permit (principal in Group::"corp/analysts", action == Action::"unmask",
    resource == DataClass::"email") when { context.function in Connection::"crm" };
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
        let text = |format: Option<&str>| match format {
            Some(format) => json!({ "type": "string", "format": format }),
            None => json!({ "type": "string" }),
        };
        let post = |properties: Value| {
            json!({ "schema": { "type": "object", "additionalProperties": false, "properties": properties } })
        };
        let mailer = json!({ "inline": {
            "send": { "method": "POST", "path": "/send", "body": post(json!({ "to": text(Some("email")), "text": text(None) })) },
            "charge": { "method": "POST", "path": "/charge",
                "body": post(json!({ "card": { "type": "integer" }, "to": text(None) })) },
            "alone": { "method": "POST", "path": "/alone", "body": post(json!({ "to": text(Some("email")) })) },
            "show": { "method": "GET", "path": "/show/{who}" },
            "raw": { "method": "POST", "path": "/raw", "additional": "allow", "body": {} },
            "echo": { "method": "POST", "path": "/echo/{how}", "additional": "allow", "body": {} },
            "bulk": { "method": "POST", "path": "/bulk", "additional": "allow", "body": {} },
            "unnamed": { "method": "POST", "path": "/unnamed", "additional": "allow", "body": {} },
        } });
        let echo = json!({ "inline": {
            "echo": { "method": "POST", "path": "/echo/{how}", "additional": "allow", "body": {} },
        } });
        let crm = json!({ "inline": {
            "get": { "method": "GET", "path": "/{case}" },
            "find": { "method": "GET", "path": "/find", "classes": { "query.mail": "email" },
                "query": { "mail": {}, "limit": {} } },
            "note": { "method": "POST", "path": "/note", "additional": "allow", "body": {} },
        } });
        let mask = json!({ "detect": ["contact"], "instead": { "email": "token", "payment-card": "token" } });
        let gateway = Setup::new()
            .policy(POLICIES)
            .env("MASK_KEY", "0123456789abcdef0123456789abcdef")
            .with("mask_keys", json!({ "current": "env:MASK_KEY" }))
            .with("approvals", json!({ "cooldown_s": 0 }))
            .connection("crm", double.address, &json!({ "functions": crm, "mask": mask }))
            .connection("mailer", double.address, &json!({ "functions": mailer, "hold_s": 0 }))
            .connection("unmasked", double.address, &json!({ "functions": echo, "mask": { "mode": "off" } }))
            .start();
        let body = json!({ "mail": MAIL, "card": CARD, "rival": "eve@rival.example" }).to_string();
        double.on("/customer", move |exchange| {
            let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            exchange.head(200, &head);
            exchange.write(&body);
        });
        let many: Vec<String> = (0..101).map(|n| format!("customer-{n}@customers.example")).collect();
        let many = json!(many).to_string();
        double.on("/many", move |exchange| {
            exchange.head(200, &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", many.len()));
            exchange.write(&many);
        });
        echoes(&double);
        for path in ["/send", "/charge", "/raw", "/note"] {
            double.on(path, |exchange| {
                exchange.body();
                exchange.head(204, "");
            });
        }
        World { gateway, double }
    })
}

fn staff(subject: &str) -> String {
    caller(subject, &["staff"])
}

impl World {
    /// The customer, as `token` sees it.
    fn customer(&self, token: &str) -> Value {
        let answer = self.gateway.get("/crm/customer", token);
        let shown = answer.text();
        assert!(!shown.contains("bob") && !shown.contains("4111"), "{shown}");
        answer.json()
    }
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, words: &str) {
    let text = told(answer, status, code, "no").to_string();
    assert!(text.contains(words), "{text}");
    assert!(!text.contains("cgtok~") && !text.contains("bob"), "{text}");
}

#[test]
fn a_value_that_was_hidden_reaches_the_function_that_policy_gives_it_to() {
    let world = world();
    let ann = staff("ann");
    let mail = world.customer(&ann)["mail"].clone();
    let sent = json!({ "to": mail, "text": "hello" });
    let answer = world.gateway.post("/mailer/send", &ann, &sent);
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(
        world.double.last_json("/send"),
        json!({ "to": MAIL, "text": "hello" })
    );
    // In a path, which the function's own template matches.
    let target = format!("/mailer/show/{}", mail.as_str().expect("a token"));
    world.double.answer(
        "/show/bob.o-neil%40customers.example",
        "HTTP/1.1 204 No Content\r\n\r\n",
    );
    let answer = world.gateway.get(&target, &ann);
    assert_eq!(answer.status, 204, "{}", answer.text());
    // Also where the body has no schema and would stream.
    let answer = world.gateway.post("/mailer/raw", &ann, &json!([mail]));
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(world.double.last_json("/raw"), json!([MAIL]));
}

#[test]
fn policy_judges_the_value_and_not_the_token() {
    let world = world();
    let ann = staff("ann");
    let rival = world.customer(&ann)["rival"].clone();
    let answer = world
        .gateway
        .post("/mailer/send", &ann, &json!({ "to": rival, "text": "x" }));
    refused(&answer, 403, "denied", "policy does not allow");
}

#[test]
fn a_token_is_worth_nothing_to_another_caller_or_function_or_when_changed() {
    let world = world();
    let (ann, eve) = (staff("ann"), staff("eve"));
    let mail = world.customer(&ann)["mail"]
        .as_str()
        .expect("a token")
        .to_owned();
    let send = |token: &str, to: &str| {
        world
            .gateway
            .post("/mailer/alone", token, &json!({ "to": to }))
    };
    let code = "masked_value_in_request";
    refused(&send(&eve, &mail), 422, code, "not made for this caller");
    let mut forged = mail.clone().into_bytes();
    let at = forged.len() - 10;
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("ASCII");
    refused(&send(&ann, &forged), 422, code, "was changed");
    refused(&send(&ann, &mail[..mail.len() - 1]), 422, code, "not whole");
    // Of a function that policy does not give addresses to.
    let answer = world.gateway.post("/crm/note", &ann, &json!({ "a": mail }));
    refused(&answer, 403, "denied", "may not be given the value");
    let call = answer.header("callgate-call").expect("a call").to_owned();
    let denied = eventually("the refusal on record", || {
        world.gateway.leaf("call.deny", &call)
    });
    assert_eq!(denied["reason"], "denied", "{denied}");
    let name = json!({ mail.as_str(): 1 });
    let answer = world.gateway.post("/mailer/unnamed", &ann, &name);
    refused(&answer, 422, code, "none is taken back");
    let paths = ["/alone", "/note", "/unnamed"];
    assert_eq!(paths.map(|path| world.double.hits(path)), [0, 0, 0]);
}

#[test]
fn people_who_are_asked_see_a_marker_and_what_runs_is_the_value() {
    let world = world();
    let ann = staff("approved-ann");
    let customer = world.customer(&ann);
    let body = json!({ "card": customer["card"], "to": customer["mail"] });
    let answer = world.gateway.post("/mailer/charge", &ann, &body);
    assert_eq!(answer.status, 429, "{}", answer.text());
    let id = answer.json()["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let lead = person("lena", &["leads"]);
    let (good, shown) = world.gateway.approvals(&lead, &["show", &id]);
    assert!(good, "{shown}");
    assert!(
        shown.contains("[masked:payment-card]") && shown.contains("[masked:email]"),
        "{shown}"
    );
    assert!(!shown.contains("4111") && !shown.contains("bob"), "{shown}");
    let (good, text) = world
        .gateway
        .approvals(&lead, &["approve", &id, "--reason", "seen"]);
    assert!(good, "{text}");
    // The same call again joins its approval, whether the value comes as a token or not.
    let answer = world.gateway.post("/mailer/charge", &ann, &body);
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(
        world.double.last_json("/charge"),
        json!({ "card": CARD, "to": MAIL })
    );
}

#[test]
fn the_report_tells_what_was_returned_under_which_names_and_is_on_record_itself() {
    let world = world();
    for subject in ["reported-ann", "reported-eve"] {
        let token = staff(subject);
        for _ in 0..2 {
            world.customer(&token);
        }
    }
    let report = world.gateway.command(
        &[
            "mask",
            "report",
            "--function",
            "crm/get",
            "--output",
            "json",
        ],
        &[],
    );
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let mail = &report["crm/get"]["email"];
    assert!(
        mail["calls"].as_u64() >= Some(4) && mail["callers"].as_u64() >= Some(2),
        "{report}"
    );
    assert!(mail["names"]["$.rival"].as_u64() >= Some(4), "{report}");
    let text = world.gateway.command(&["mask", "report"], &[]);
    assert!(text.contains("field rule?  \"$.mail\": email"), "{text}");
    assert!(!text.contains("bob"), "{text}");
    let reads = world.gateway.leaves();
    assert!(
        reads.iter().any(|leaf| leaf["kind"] == "audit.read"),
        "{reads:?}"
    );
}

#[test]
fn whoever_may_not_see_an_address_may_not_search_by_it() {
    let world = world();
    let (ann, analyst) = (staff("ann"), caller("ada", &["staff", "analysts"]));
    let found = |token: &str, query: &str| world.gateway.get(&format!("/crm/find?{query}"), token);
    assert_eq!(found(&ann, "limit=3").status, 200);
    refused(
        &found(&ann, "mail=x%40y.example&limit=3"),
        403,
        "denied",
        "policy does not allow",
    );
    assert_eq!(found(&analyst, "mail=x%40y.example").status, 200);
}

/// Echoes what it gets, in its header and body, in several ways.
fn echoes(double: &Double) {
    for how in ["200", "400", "chunked", "gzip", "split"] {
        double.on(&format!("/echo/{how}"), move |exchange| {
            let sent: Value = serde_json::from_slice(&exchange.body()).expect("JSON");
            let to = sent["to"].as_str().unwrap_or_default().to_owned();
            let body = json!({ "to": to, "shouted": to.to_uppercase(), "status": format!("queued for <{to}>"), "n": 1 });
            let body = body.to_string();
            let status = if how == "400" { 400 } else { 200 };
            let head = format!("Content-Type: application/json\r\nX-Queued-For: {to}\r\n");
            let length = |length: usize| format!("{head}Content-Length: {length}\r\n");
            match how {
                "chunked" | "split" => {
                    exchange.head(status, &format!("{head}Transfer-Encoding: chunked\r\n"));
                    let at = if how == "split" { 16 } else { body.len() };
                    exchange.chunk(&body[..at]);
                    if at < body.len() {
                        exchange.chunk(&body[at..]);
                    }
                    exchange.write("0\r\n\r\n");
                }
                "gzip" => {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                    encoder.write_all(body.as_bytes()).expect("memory");
                    let body = encoder.finish().expect("memory");
                    exchange.head(status, &format!("{}Content-Encoding: gzip\r\n", length(body.len())));
                    exchange.write(body);
                }
                _ => {
                    exchange.head(status, &length(body.len()));
                    exchange.write(body);
                }
            }
        });
    }
}

#[test]
fn a_function_that_echoes_a_value_shows_the_caller_a_marker() {
    let world = world();
    let ann = staff("echoed-ann");
    let mail = world.customer(&ann)["mail"].clone();
    for how in ["200", "400", "chunked", "gzip", "split"] {
        // Where nothing is masked it is overwritten, as the credential is.
        for (connection, shown) in [("mailer", "[masked:email]"), ("unmasked", "****")] {
            let target = format!("/{connection}/echo/{how}");
            let answer = world.gateway.post(&target, &ann, &json!({ "to": mail }));
            let status = if how == "400" { 400 } else { 200 };
            assert_eq!(answer.status, status, "{target}: {}", answer.text());
            assert_eq!(
                world.double.last_json(&format!("/echo/{how}")),
                json!({ "to": MAIL })
            );
            let said = answer.json();
            assert!(
                said["to"].as_str().expect("text").contains(shown),
                "{target}: {said}"
            );
            assert_eq!(said["n"], 1, "{target}: {said}");
            let queued = answer.header("x-queued-for").expect("a header");
            assert!(queued.contains(shown), "{target}: {queued}");
            let all = format!("{:?} {said}", answer.headers).to_lowercase();
            assert!(
                !all.contains("bob") && !all.contains("customers"),
                "{target}: {all}"
            );
        }
    }
    let end = eventually("an end that counts it", || {
        let mut leaves = world.gateway.leaves().into_iter().rev();
        leaves
            .find(|leaf| leaf["kind"] == "call.end" && leaf["masked"]["email"].as_u64() >= Some(3))
    });
    assert!(end["outcome"].is_string(), "{end}");
}

#[test]
fn a_token_in_a_header_that_does_not_go_on_hides_nothing_from_who_is_asked() {
    let world = world();
    let ann = staff("aside-ann");
    let customer = world.customer(&ann);
    let text = |name: &str| customer[name].as_str().expect("a token").to_owned();
    let body = json!({ "card": customer["card"], "to": MAIL }).to_string();
    // Not declared, so it is left behind.
    let aside = text("mail");
    let headers = [
        ("Content-Type", "application/json"),
        ("X-Aside", aside.as_str()),
    ];
    let answer = world
        .gateway
        .send("POST", "/mailer/charge", &ann, &headers, body.as_bytes());
    assert_eq!(answer.status, 429, "{}", answer.text());
    let id = answer.json()["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (good, shown) = world
        .gateway
        .approvals(&person("lena", &["leads"]), &["show", &id]);
    assert!(good && shown.contains(MAIL), "{shown}");
    assert!(
        shown.contains("[masked:payment-card]") && !shown.contains("4111"),
        "{shown}"
    );
}

#[test]
fn a_call_that_waits_for_people_may_hold_a_hundred_values_from_tokens() {
    let world = world();
    let ann = staff("bulk-ann");
    let many = world.gateway.get("/crm/many", &ann).json();
    let tokens = many.as_array().expect("a list");
    assert_eq!(tokens.len(), 101);
    let send = |tokens: &[Value]| world.gateway.post("/mailer/bulk", &ann, &json!(tokens));
    refused(
        &send(tokens),
        422,
        "masked_value_in_request",
        "more than 100 different values",
    );
    let answer = send(&tokens[..100]);
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(world.double.hits("/bulk"), 0);
}
