//! Canaries: secrets made for one run are looked for in everything that the gateway leaves behind.

use std::fs;

use base64::Engine;
use serde_json::json;

use super::support::function::Double;
use super::support::gateway::{Setup, files, mint, person, rand};
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

// A17
#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one story, told from its beginning to its end"
)]
fn fresh_secrets_are_found_nowhere() {
    let double = Double::start();
    let (credential, key) = (
        format!("credential-{:032x}", rand()),
        format!("key-{:032x}", rand()),
    );
    let (content, shown) = (
        format!("content-{:032x}", rand()),
        format!("shown-{:032x}", rand()),
    );
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
    let functions = json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}", "additional": "allow" },
        "post": { "method": "POST", "path": "/{case}", "additional": "allow", "body": {} },
        "put": { "method": "PUT", "path": "/{case}", "additional": "allow", "body": { "stream": true } },
        "delete": { "method": "DELETE", "path": "/{case}" },
    } });
    let mut gateway = Setup::new()
        .with("log", json!({ "level": "trace" }))
        .file("credential", &credential)
        .env("CALLGATE_TEST_KEY", &key)
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
        .start();
    let claims = json!({ "sub": "canary", "groups": ["staff"], "account_type": "workload", "x_claim": content });
    let (token, lead) = (mint(&claims), person("lena", &["leads"]));
    let body = json!({ "a": content });
    for target in ["/file/echo", "/wait/echo", "/file/breaks"] {
        gateway.get(&format!("{target}?q={content}"), &token);
        gateway.send(
            "PUT",
            target,
            &token,
            &[("Content-Type", "text/plain"), ("X-Content", &content)],
            content.as_bytes(),
        );
    }
    gateway.send("DELETE", "/file/x", &token, &[], b"");
    gateway.get(&format!("/nowhere/{content}"), &token);
    gateway.get("/file/x", &format!("{token}x"));
    raw::request(
        gateway.address,
        "GET",
        "/file/x",
        &[("Authorization", &format!("Basic {token}"))],
        b"",
    );
    let asked = gateway.post("/wait/echo", &token, &body);
    let id = asked.json()["approval"]["id"]
        .as_str()
        .expect("an approval")
        .to_owned();
    let (good, text) = gateway.approvals(&lead, &["approve", &id, "--reason", &shown]);
    // Who may approve sees the content; nobody sees the credential.
    assert!(
        good && text.contains(&content) && !text.contains(&key),
        "{text}"
    );
    let answer = gateway.post("/wait/echo", &token, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!holds(answer.text().as_bytes(), &key), "{}", answer.text());
    gateway.post("/wait/left", &token, &body);
    let metrics = raw::get(gateway.console, "/metrics", None).text();
    assert!(metrics.contains("callgate_calls_total"), "{metrics}");
    let cmdline =
        fs::read(format!("/proc/{}/cmdline", gateway.child.id())).expect("its command line");
    gateway.child.signal("HUP");
    gateway.child.terminate();
    let log = gateway.child.output();
    let signature = token.rsplit('.').next().expect("a signature");
    let secrets = [
        credential.as_str(),
        &key,
        &token,
        signature,
        &lead,
        lead.rsplit('.').next().expect("one"),
    ];
    let mut places = vec![
        ("metrics".to_owned(), metrics.into_bytes()),
        ("cmdline".to_owned(), cmdline),
    ];
    let kept = files(&gateway.data());
    assert!(kept.len() > 5, "{kept:?}");
    places.extend(kept.iter().map(|path| {
        let mut bytes = fs::read(path).expect("a file");
        // Segments are allocated ahead.
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        bytes.truncate(end);
        (path.display().to_string(), bytes)
    }));
    places.push(("log".to_owned(), log.clone().into_bytes()));
    for (place, bytes) in &places {
        for (index, secret) in secrets.iter().enumerate() {
            assert!(!holds(bytes, secret), "secret {index} is in {place}");
        }
        // Content is sealed wherever it is kept, and no log or metric has it.
        for (index, text) in [&content, &shown].into_iter().enumerate() {
            assert!(!holds(bytes, text), "content {index} is in {place}");
        }
    }
    // The search itself finds what is there.
    assert!(holds(log.as_bytes(), "callgate is ready"), "{log}");
    let named = base64::engine::general_purpose::STANDARD.encode(format!("..{credential}.."));
    assert!(holds(named.as_bytes(), &credential));
}
