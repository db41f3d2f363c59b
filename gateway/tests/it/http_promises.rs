//! What callers are promised, asked of a real gateway: refusals say what was executed, nothing undeclared reaches a
//! function, credentials and masked data do not come back, and every answer names its call and receipt.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, caller, mint, now, rand};
use super::support::raw::{self, Answer};
use super::support::recorder::json_answer;

/// A gateway before a double, with one connection per promise.
#[derive(Debug)]
struct World {
    gateway: Gateway,
    double: Double,
    credential: String,
}

static WORLD: Shared<World> = Shared::new();

const POLICIES: &str = r#"
@id("staff-calls") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("nobody-deletes") forbid (principal, action in Action::"destructive", resource);
@id("auditors-see-mail")
permit (principal in Group::"corp/auditors", action == Action::"unmask", resource == DataClass::"email");
"#;

fn world() -> Arc<World> {
    WORLD.get(|| {
        let double = Double::start();
        let credential = format!("upstream-credential-{:032x}", rand());
        let any = json!({ "inline": {
            "get": { "method": "GET", "path": "/{case}", "additional": "allow" },
            "post": { "method": "POST", "path": "/{case}", "additional": "allow", "body": {} },
        } });
        let typed = json!({ "inline": {
            "createRefund": { "method": "POST", "path": "/refunds", "query": { "dry": { "schema": { "type": "boolean" } } },
                "body": { "schema": { "type": "object", "properties": {
                    "order": { "type": "string" }, "amount": { "type": "integer" },
                }, "required": ["order"] } } },
            "getRefund": { "method": "GET", "path": "/refunds/{id}" },
            "deleteRefund": { "method": "DELETE", "path": "/refunds/{id}" },
        } });
        let bearer = json!({ "bearer": "file:credential" });
        let gateway = Setup::new()
            .policy(POLICIES)
            .file("credential", &credential)
            .connection("any", double.address, &json!({
                "functions": any, "credential": bearer, "mask": { "mode": "off" },
            }))
            .connection("masked", double.address, &json!({
                "functions": any, "credential": bearer, "mask": { "fields": { "$.mail": "email" }, "detect": ["contact"] },
            }))
            .connection("guarded", double.address, &json!({
                "functions": any, "credential": bearer,
                "mask": { "mode": "off", "requests": { "block": ["secret", "payment-card"] } },
            }))
            .connection("typed", double.address, &json!({ "functions": typed, "credential": bearer }))
            .connection("key", double.address, &json!({
                "functions": any, "present_in": "x-api-key",
                "credential": { "header": { "name": "X-Function-Key", "value": "file:credential" } },
                "mask": { "mode": "off" },
            }))
            .start();
        World { gateway, double, credential }
    })
}

fn staff() -> String {
    caller("alice", &["staff"])
}

/// The members that every problem has, and that it is one.
#[track_caller]
fn problem(answer: &Answer, status: u16, code: &str, executed: &str) -> Value {
    let said = answer.json();
    let told = (
        answer.status,
        said["code"].as_str(),
        said["executed"].as_str(),
    );
    assert_eq!(
        told,
        (status, Some(code), Some(executed)),
        "{}",
        answer.text()
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(said["type"], format!("urn:callgate:error:{code}"));
    assert_eq!(said["status"], status);
    assert_eq!(said["call"].as_str(), answer.header("callgate-call"));
    assert!(
        said["title"].is_string() && said["detail"].is_string(),
        "{said}"
    );
    let detail = said["detail"].as_str().expect("a sentence");
    assert_eq!(
        executed == "no",
        detail.starts_with("NOT executed"),
        "{detail}"
    );
    said
}

#[test]
fn an_answer_names_its_call_and_receipt() {
    let world = world();
    let answer = world.gateway.get("/any/named", &staff());
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "{\"ok\":true}")
    );
    let call = answer.header("callgate-call").expect("a call");
    let begin = world
        .gateway
        .leaf("call.begin", call)
        .expect("a begin record");
    let receipt = answer.header("callgate-receipt").expect("a receipt");
    assert!(
        receipt.contains(&begin["seq"].to_string()),
        "{receipt} {begin}"
    );
    let end = world.gateway.end_of(&answer);
    assert_eq!(
        (&end["outcome"], &end["status"]),
        (&json!("ok"), &json!(200))
    );
    assert_eq!(begin["function"], "any/get");
}

#[test]
fn a_caller_without_an_acceptable_token_is_told_how_to_authenticate() {
    let world = world();
    let strangers = mint(&json!({ "sub": "x", "aud": "https://other.test" }));
    let expired = mint(&json!({ "sub": "x", "iat": now() - 900, "exp": now() - 600 }));
    let forged = format!("{}AAAA", &staff()[..staff().len() - 4]);
    for (token, code) in [
        (None, "unauthenticated"),
        (Some("nonsense"), "token_rejected"),
        (Some(strangers.as_str()), "token_rejected"),
        (Some(expired.as_str()), "token_expired"),
        (Some(forged.as_str()), "token_rejected"),
    ] {
        let answer = raw::get(world.gateway.address, "/any/unauthenticated", token);
        problem(&answer, 401, code, "no");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(
            challenge.starts_with("Bearer realm=\"callgate\""),
            "{challenge}"
        );
        assert!(answer.header("callgate-call").is_some());
    }
    assert_eq!(world.double.hits("/unauthenticated"), 0);
}

#[test]
fn a_denied_call_reaches_nothing_and_is_on_the_record() {
    let world = world();
    for (method, target, token) in [
        ("GET", "/any/denied", caller("eve", &["visitors"])),
        ("DELETE", "/typed/refunds/denied", staff()),
    ] {
        let answer = world.gateway.send(method, target, &token, &[], b"");
        let said = problem(&answer, 403, "denied", "no");
        let text = said.to_string();
        assert!(
            !text.contains("nobody-deletes") && !text.contains("staff"),
            "rule text: {text}"
        );
        let call = answer.header("callgate-call").expect("a call").to_owned();
        let denial = super::support::gateway::eventually("a denial", || {
            world.gateway.leaf("call.deny", &call)
        });
        assert_eq!(denial["reason"], "denied");
    }
    assert_eq!(
        world.double.hits("/denied") + world.double.hits("/refunds/denied"),
        0
    );
}

#[test]
fn what_no_function_declares_is_not_found() {
    let world = world();
    for (method, target) in [
        ("GET", "/typed/other"),
        ("PUT", "/typed/refunds/1"),
        ("GET", "/nowhere"),
        ("GET", "/typed"),
        ("GET", "/"),
        ("GET", "/typedrefunds/1"),
        ("GET", "/.well-known/callgate/nothing"),
    ] {
        let answer = world.gateway.send(method, target, &staff(), &[], b"");
        let said = answer.json();
        assert_eq!(
            (answer.status, &said["code"]),
            (404, &json!("not_found")),
            "{method} {target}"
        );
        assert_eq!(said["executed"], "no", "{method} {target}");
    }
}

#[test]
fn undeclared_input_is_refused_and_reaches_nothing() {
    let world = world();
    let json_type = [("Content-Type", "application/json")];
    let before = world.double.hits("/refunds");
    for (target, body) in [
        ("/typed/refunds", r#"{"order":"o","extra":1}"#),
        ("/typed/refunds", r#"{"Order":"o"}"#),
        ("/typed/refunds", r#"{"order":"o","order":"p"}"#),
        ("/typed/refunds", r#"{"order":"o","amount":"5"}"#),
        ("/typed/refunds", r#"{"amount":5}"#),
        ("/typed/refunds", r#"{"order":"o"} x"#),
        ("/typed/refunds", r#"not json"#),
        ("/typed/refunds", ""),
        ("/typed/refunds?dry=true&more=1", r#"{"order":"o"}"#),
        ("/typed/refunds?dry=true&dry=false", r#"{"order":"o"}"#),
        ("/typed/refunds?Dry=true", r#"{"order":"o"}"#),
        ("/typed/refunds?dry=maybe", r#"{"order":"o"}"#),
    ] {
        let answer = world
            .gateway
            .send("POST", target, &staff(), &json_type, body.as_bytes());
        assert_eq!(answer.status, 400, "{target} {body}: {}", answer.text());
        problem(&answer, 400, "bad_request", "no");
    }
    for media in [
        "text/plain",
        "application/xml",
        "application/json; charset=utf-16",
        "application/json5",
    ] {
        let answer = world.gateway.send(
            "POST",
            "/typed/refunds",
            &staff(),
            &[("Content-Type", media)],
            b"{\"order\":\"o\"}",
        );
        problem(&answer, 415, "unsupported_media_type", "no");
    }
    let large = format!("{{\"order\":\"{}\"}}", "o".repeat(1024 * 1024));
    let answer = world.gateway.send(
        "POST",
        "/typed/refunds",
        &staff(),
        &json_type,
        large.as_bytes(),
    );
    problem(&answer, 413, "too_large", "no");
    let answer = world
        .gateway
        .send("GET", "/typed/refunds/1", &staff(), &[], b"a body");
    problem(&answer, 400, "bad_request", "no");
    assert_eq!(world.double.hits("/refunds"), before);
    let good = world.gateway.send(
        "POST",
        "/typed/refunds?dry=true",
        &staff(),
        &json_type,
        b"{\"order\":\"o\"}",
    );
    assert_eq!(
        (good.status, world.double.hits("/refunds")),
        (200, before + 1)
    );
}

// M (promise 6)
#[test]
fn what_cannot_be_inspected_is_withheld_and_told_as_executed() {
    let world = world();
    for (case, head) in [
        ("octets", "Content-Type: application/octet-stream\r\n"),
        ("none", ""),
        ("image", "Content-Type: image/png\r\n"),
        (
            "coded",
            "Content-Type: application/json\r\nContent-Encoding: snappy\r\n",
        ),
        (
            "liar",
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        ),
        ("broken", "Content-Type: application/json\r\n"),
    ] {
        let path = format!("/withheld-{case}");
        let body = "{\"mail\": \"someone@corp.example\"";
        world.double.answer(
            &path,
            format!(
                "HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        let answer = world.gateway.get(&format!("/masked{path}"), &staff());
        problem(&answer, 424, "response_withheld", "yes");
        assert!(!answer.text().contains("someone"), "{case}");
        assert_eq!(world.double.hits(&path), 1);
        assert_eq!(
            world.gateway.end_of(&answer)["outcome"],
            "withheld",
            "{case}"
        );
        assert!(answer.header("callgate-receipt").is_some(), "{case}");
    }
}

#[test]
fn a_switch_of_protocols_is_withheld() {
    let world = world();
    world.double.answer(
        "/switch",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    );
    for connection in ["any", "masked"] {
        let answer = world
            .gateway
            .get(&format!("/{connection}/switch"), &staff());
        assert!(
            matches!(answer.status, 424 | 502),
            "{} {}",
            answer.status,
            answer.text()
        );
    }
}

#[test]
fn masked_data_is_replaced_unless_policy_unmasks_it() {
    let world = world();
    let body = r#"{"mail":"someone@corp.example","note":"write to other@corp.example","card":"4111 1111 1111 1111"}"#;
    world.double.answer("/customer", json_answer(200, body));
    let answer = world.gateway.get("/masked/customer", &staff());
    let said = answer.json();
    assert_eq!(said["mail"], "[masked:email]");
    assert_eq!(said["note"], "write to [masked:email]");
    assert_eq!(said["card"], "[masked:payment-card]");
    let end = world.gateway.end_of(&answer);
    assert_eq!(end["masked"]["email"], 2, "{end}");
    // M27: what is kept of it, and shown again, is what was released.
    let call = answer.header("callgate-call").expect("the call's id");
    let replayed = world.gateway.command(&["calls", "replay", call], &[]);
    assert!(replayed.contains("[masked:payment-card]"), "{replayed}");
    for hidden in ["someone@corp", "other@corp", "4111 1111"] {
        assert!(!replayed.contains(hidden), "{replayed}");
    }
    let auditor = caller("ann", &["staff", "auditors"]);
    let said = world.gateway.get("/masked/customer", &auditor).json();
    assert_eq!(
        (said["mail"].as_str(), said["card"].as_str()),
        (Some("someone@corp.example"), Some("[masked:payment-card]"))
    );
}

#[test]
fn a_request_that_carries_a_marker_is_refused() {
    let world = world();
    let json_type = [("Content-Type", "application/json")];
    for body in [
        r#"{"order":"[masked:email]"}"#,
        r#"{"order":"\u005bmasked:email]"}"#,
    ] {
        let answer = world.gateway.send(
            "POST",
            "/typed/refunds",
            &staff(),
            &json_type,
            body.as_bytes(),
        );
        problem(&answer, 422, "masked_value_in_request", "no");
    }
    let answer = world
        .gateway
        .get("/any/marker?mail=%5Bmasked:email%5D", &staff());
    problem(&answer, 422, "masked_value_in_request", "no");
    let read_back = [("If-Match", "\"[masked:email]\"")];
    let answer = world
        .gateway
        .send("GET", "/any/marker", &staff(), &read_back, b"");
    problem(&answer, 422, "masked_value_in_request", "no");
    assert_eq!(world.double.hits("/marker"), 0);
}

#[test]
fn a_request_that_holds_what_may_not_be_sent_is_refused_and_nothing_of_it_is_told() {
    let world = world();
    let key = "ghp_abcdefghijklmnopqrstuvwxyz0123456789";
    let send = |path: &str, header: &str, body: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Note", header)];
        let answer = world
            .gateway
            .send("POST", path, &staff(), &headers, body.as_bytes());
        (answer, format!("{path} {header} {body}"))
    };
    for (path, header, body, place) in [
        (
            "/guarded/leak",
            "none",
            format!(r#"{{"note":"{key}"}}"#),
            "the body",
        ),
        ("/guarded/leak", key, "{}".to_owned(), "header `x-note`"),
        (
            "/guarded/leak?card=4111-1111-1111-1111",
            "none",
            "{}".to_owned(),
            "the path or query",
        ),
    ] {
        let (answer, what) = send(path, header, &body);
        problem(&answer, 422, "data_not_allowed", "no");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(place), "{what}: {detail}");
        assert!(
            !detail.contains("ghp_") && !detail.contains("4111"),
            "{what}: {detail}"
        );
    }
    let (answer, _) = send("/guarded/leak", "none", r#"{"note":"#);
    problem(&answer, 422, "data_not_allowed", "no");
    assert_eq!(world.double.hits("/leak"), 0);
    let (answer, _) = send("/guarded/leak", "none", r#"{"note":"bob@example.com"}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(world.double.hits("/leak"), 1);
}

// A18 (promise 7)
#[test]
fn an_echoed_credential_does_not_come_back() {
    use base64::Engine;
    let world = world();
    let secret = world.credential.clone();
    let encodings = [
        secret.clone(),
        base64::engine::general_purpose::STANDARD.encode(&secret),
        base64::engine::general_purpose::STANDARD.encode(format!("Bearer {secret}")),
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&secret),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
    ];
    world.double.on("/echo", move |exchange| {
        let sent = exchange.head.header("authorization").first().copied().unwrap_or_default().to_owned();
        let text = format!("{sent} {}", encodings.join(" "));
        let body = json!({ "got": text }).to_string();
        exchange.head(200, &format!(
            "Content-Type: application/json\r\nX-Echo: {sent}\r\nSet-Cookie: s={sent}\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n"
        ));
        // In pieces, so that the secret lies across them.
        for piece in body.as_bytes().chunks(7) {
            exchange.chunk(piece);
        }
        exchange.write(format!("0\r\nX-End: {sent}\r\n\r\n"));
    });
    for connection in ["any", "masked"] {
        let answer = world.gateway.get(&format!("/{connection}/echo"), &staff());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all = format!("{:?} {}", answer.headers, answer.text());
        assert!(!all.contains(&world.credential), "{connection}: {all}");
        assert!(
            answer.text().contains("********"),
            "{connection}: {}",
            answer.text()
        );
        let tail = &world.credential[world.credential.len() - 16..];
        assert!(!all.contains(tail), "{connection}: {all}");
        let coded = base64::engine::general_purpose::STANDARD.encode(&world.credential);
        assert!(!all.contains(&coded), "{connection}: {all}");
        let hexed: String = world
            .credential
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(!all.contains(&hexed), "{connection}: {all}");
        assert!(world.gateway.end_of(&answer)["scrubbed"].as_u64() >= Some(2));
    }
    let seen = world.double.seen("/echo");
    assert_eq!(
        seen[0].header("authorization"),
        [format!("Bearer {}", world.credential)]
    );
}

#[test]
fn the_token_goes_no_further_wherever_it_is_presented() {
    let world = world();
    let token = staff();
    let answer = raw::request(
        world.gateway.address,
        "GET",
        "/key/presented",
        &[("X-Api-Key", &token)],
        b"",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.gateway.get("/any/presented", &token);
    let seen = world.double.seen("/presented");
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter().all(|one| !one.head.contains(&token)),
        "{seen:?}"
    );
    assert_eq!(
        seen[0].header("x-function-key"),
        [world.credential.as_str()]
    );
    // A token where this connection does not want it is none.
    let answer = raw::get(world.gateway.address, "/key/presented", Some(&token));
    problem(&answer, 401, "unauthenticated", "no");
}
