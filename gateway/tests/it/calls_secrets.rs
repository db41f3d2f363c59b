//! Canaries: secrets made for one run are looked for in everything that the gateway leaves behind.

use std::fs;

use base64::Engine;
use serde_json::json;

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, files, mint, person, rand};
use super::support::raw;

/// A value, and the forms in which it could be left behind.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let base64 = base64::engine::general_purpose::STANDARD;
    let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut forms = vec![value.to_owned()];
    // Within a longer text base64 depends on where the value begins: what stays is the middle.
    for shift in 0..3 {
        let text = format!("{}{value}", "x".repeat(shift));
        for coded in [base64.encode(&text), url.encode(&text)] {
            forms.push(coded[8..coded.len() - 8].to_owned());
        }
    }
    forms.push(value.bytes().map(|byte| format!("{byte:02x}")).collect());
    forms.push(value.bytes().map(|byte| format!("{byte:02X}")).collect());
    forms.into_iter().map(String::into_bytes).collect()
}

fn holds(haystack: &[u8], value: &str) -> bool {
    let forms = forms(value);
    forms
        .iter()
        .any(|form| memchr::memmem::find(haystack, form).is_some())
}

/// Everything that a gateway uses and sees in the test, made for one run.
struct Canaries {
    credential: String,
    key: String,
    content: String,
    reason: String,
}

/// Functions that give back what they got, in order and out of order.
fn functions() -> Double {
    let double = Double::start();
    double.on("/echo", |exchange| {
        let body = exchange.body();
        let head = exchange.head.head.clone();
        let text = json!({ "head": head, "body": String::from_utf8_lossy(&body) }).to_string();
        exchange.head(
            200,
            &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                text.len()
            ),
        );
        exchange.write(text);
    });
    double.on("/breaks", |exchange| {
        exchange.write(format!(
            "HTTP/1.1 200 {}\r\nnonsense",
            exchange.head.header("authorization").join("")
        ));
        exchange.close();
    });
    double
}

fn start(double: &Double, canaries: &Canaries) -> Gateway {
    let Canaries {
        credential, key, ..
    } = canaries;
    let functions = json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}", "additional": "allow" },
        "post": { "method": "POST", "path": "/{case}", "additional": "allow", "body": {} },
        "put": { "method": "PUT", "path": "/{case}", "additional": "allow", "body": { "stream": true } },
        "delete": { "method": "DELETE", "path": "/{case}" },
    } });
    Setup::new()
        .with("log", json!({ "level": "trace" }))
        .file("credential", credential)
        .env("CALLGATE_TEST_KEY", key)
        .policy(r#"
            @id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
            @id("posts-wait") @approval("corp/leads") forbid (principal, action == Action::"wait/post", resource);
            @id("no-deletes") forbid (principal, action in Action::"destructive", resource);
            @id("leads") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
        "#)
        .connection("file", double.address, &json!({
            "functions": functions, "credential": { "bearer": "file:credential" }, "mask": { "mode": "off" },
        }))
        .connection("wait", double.address, &json!({
            "functions": functions, "hold_s": 0, "credential": { "basic": { "username": "gate", "password": "env:CALLGATE_TEST_KEY" } },
        }))
        .start()
}

/// Calls of all kinds, most of them refused or broken off.
fn call(gateway: &Gateway, token: &str, content: &str) {
    for target in ["/file/echo", "/wait/echo", "/file/breaks"] {
        gateway.get(&format!("{target}?q={content}"), token);
        gateway.send(
            "PUT",
            target,
            token,
            &[("Content-Type", "text/plain"), ("X-Content", content)],
            content.as_bytes(),
        );
    }
    gateway.send("DELETE", "/file/x", token, &[], b"");
    gateway.get(&format!("/nowhere/{content}"), token);
    gateway.get("/file/x", &format!("{token}x"));
    raw::request(
        gateway.address,
        "GET",
        "/file/x",
        &[("Authorization", &format!("Basic {token}"))],
        b"",
    );
}

/// All places that a gateway leaves something in, after its end.
fn places(gateway: &mut Gateway) -> Vec<(String, Vec<u8>)> {
    let metrics = raw::get(gateway.console, "/metrics", None).text();
    assert!(metrics.contains("callgate_calls_total"), "{metrics}");
    let cmdline = fs::read(format!("/proc/{}/cmdline", gateway.child.id()));
    gateway.child.signal("HUP");
    gateway.child.terminate();
    let mut places = vec![
        ("metrics".to_owned(), metrics.into_bytes()),
        ("cmdline".to_owned(), cmdline.expect("its command line")),
        ("log".to_owned(), gateway.child.output().into_bytes()),
    ];
    let kept = files(&gateway.data());
    assert!(kept.len() > 5, "{kept:?}");
    places.extend(kept.iter().map(|path| {
        let mut bytes = fs::read(path).expect("a file");
        // Segments are allocated ahead.
        let end = bytes.iter().rposition(|byte| *byte != 0);
        bytes.truncate(end.map_or(0, |at| at + 1));
        (path.display().to_string(), bytes)
    }));
    places
}

// A17
#[test]
fn fresh_secrets_are_found_nowhere() {
    let fresh = |name: &str| format!("{name}-{:032x}", rand());
    let canaries = Canaries {
        credential: fresh("credential"),
        key: fresh("key"),
        content: fresh("content"),
        reason: fresh("reason"),
    };
    let Canaries {
        credential,
        key,
        content,
        reason,
    } = &canaries;
    let double = functions();
    let mut gateway = start(&double, &canaries);
    let claims = json!({ "sub": "canary", "groups": ["staff"], "account_type": "workload", "x_claim": content });
    let (token, lead) = (mint(&claims), person("lena", &["leads"]));
    let body = json!({ "a": content });
    call(&gateway, &token, content);
    let asked = gateway.post("/wait/echo", &token, &body).json();
    let id = asked["approval"]["id"].as_str().expect("an approval");
    let (good, text) = gateway.approvals(&lead, &["approve", id, "--reason", reason]);
    // Who may approve sees the content; nobody sees the credential.
    assert!(
        good && text.contains(content) && !text.contains(key),
        "{text}"
    );
    let answer = gateway.post("/wait/echo", &token, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!holds(answer.text().as_bytes(), key), "{}", answer.text());
    gateway.post("/wait/left", &token, &body);
    let signature = |token: &str| token.rsplit('.').next().expect("a signature").to_owned();
    let (signed, led) = (signature(&token), signature(&lead));
    // Content is sealed wherever it is kept, and no log or metric has it.
    let secrets = [
        credential, key, &token, &signed, &lead, &led, content, reason,
    ];
    for (place, bytes) in places(&mut gateway) {
        for (index, secret) in secrets.iter().enumerate() {
            assert!(!holds(&bytes, secret), "canary {index} is in {place}");
        }
        // The search itself finds what is there.
        assert!(place != "log" || holds(&bytes, "callgate is ready"));
    }
    let coded = base64::engine::general_purpose::STANDARD.encode(format!("..{credential}.."));
    assert!(holds(coded.as_bytes(), credential));
}
