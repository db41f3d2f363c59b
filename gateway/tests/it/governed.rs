//! The whole way, with a certified identity provider and a function that nobody here wrote: stock clients change a
//! base URL and show their own token; everything else is the gateway's work.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::child::run;
use super::support::gateway::{Gateway, Setup};
use super::support::peers;
use super::support::raw;
use super::support::recorder::{Recorder, json_answer};
use super::support::servers::{Httpbin, OidcProvider, basic};

/// What httpbin wants, and no caller knows.
const PASSWORD: &str = "hunter2-the-secret-of-the-function";

const POLICY: &str = r#"
@id("builders-call")
permit (principal in Group::"idp/builders", action, resource);
"#;

/// A gateway that knows the provider; its connections are still to come.
fn setup(provider: &OidcProvider) -> Setup {
    let issuer = json!({
        "issuer": provider.issuer, "audience": OidcProvider::AUDIENCE, "groups": "groups", "kind": "workload",
    });
    Setup::new()
        .with("identity", json!({ "issuers": { "idp": issuer } }))
        .policy(POLICY)
}

/// With httpbin behind it; httpbin answers `login` only if it was shown the password.
fn with_httpbin(provider: &OidcProvider, httpbin: &Httpbin) -> Gateway {
    let amount = json!({ "type": "object", "required": ["amount"],
        "properties": { "amount": { "type": "integer" } } });
    let functions = json!({ "inline": {
        "login": { "method": "GET", "path": format!("/basic-auth/svc/{PASSWORD}") },
        "headers": { "method": "GET", "path": "/headers" },
        "post": { "method": "POST", "path": "/post", "body": { "schema": amount } },
    } });
    let credential = json!({ "basic": { "username": "svc", "password": "env:FUNCTION_PASSWORD" } });
    setup(provider)
        .env("FUNCTION_PASSWORD", PASSWORD)
        .connection(
            "httpbin",
            httpbin.address,
            &json!({ "functions": functions, "credential": credential }),
        )
        .start()
}

/// What a client script saw: status, call id, body.
fn script(
    program: &str,
    script: &str,
    gateway: &Gateway,
    token: &str,
    arguments: &[&str],
) -> Value {
    let output = Command::new(program)
        .arg(peers().join(script))
        .args(arguments)
        .env("BASE_URL", format!("http://{}/httpbin", gateway.address))
        .env("TOKEN", token)
        .output()
        .expect("the client starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{program} {script}: {error}"))
}

#[test]
fn stock_clients_change_only_a_base_url() {
    let (provider, httpbin) = (OidcProvider::start(), Httpbin::start());
    let gateway = with_httpbin(&provider, &httpbin);
    let token = provider.token("ci");
    let bearer = format!("Authorization: Bearer {token}");
    // httpbin answers 200 only if it was shown the password, which the client does not have.
    let login = format!(
        "http://{}/httpbin/basic-auth/svc/{PASSWORD}",
        gateway.address
    );
    let curl = run("curl", ["-sS", "-i", "-H", &bearer, &login]);
    assert!(curl.starts_with("HTTP/1.1 200"), "{curl}");
    let lower = curl.to_ascii_lowercase();
    assert!(
        lower.contains("\ncallgate-call: ") && lower.contains("\ncallgate-receipt: "),
        "{curl}"
    );
    let python = peers().join(".venv/bin/python");
    let python = python.to_str().expect("a path");
    for (program, file) in [(python, "client.py"), ("node", "fetch.mjs")] {
        let answer = script(
            program,
            file,
            &gateway,
            &token,
            &["/post", "{\"amount\":5}"],
        );
        assert_eq!(answer["status"], 200, "{answer}");
        assert_eq!(answer["body"]["json"], json!({ "amount": 5 }), "{answer}");
        assert!(answer["call"].is_string(), "{answer}");
    }
}

#[test]
fn the_function_echoes_the_credential_and_the_caller_never_sees_it() {
    let (provider, httpbin) = (OidcProvider::start(), Httpbin::start());
    let gateway = with_httpbin(&provider, &httpbin);
    let answer = raw::get(
        gateway.address,
        "/httpbin/headers",
        Some(&provider.token("ci")),
    );
    let (text, wanted) = (answer.text(), basic("svc", PASSWORD));
    assert_eq!(answer.status, 200, "{text}");
    let shown = answer.json()["headers"]["Authorization"]
        .as_str()
        .map(str::to_owned)
        .expect("it was sent");
    assert_eq!(shown.len(), wanted.len(), "{shown}");
    let secret = wanted.trim_start_matches("Basic ");
    assert!(!text.contains(secret) && !text.contains(PASSWORD), "{text}");
}

#[test]
fn a_vendor_sdk_with_a_header_of_its_own_is_told_by_its_environment() {
    let provider = OidcProvider::start();
    let body =
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hello yourself"}]}}]}"#;
    let vendor = Recorder::start(json_answer(200, body));
    let generate = json!({ "method": "POST", "path": "/v1beta/models/{model}:generateContent" });
    let key = json!({ "header": { "name": "X-Goog-Api-Key", "value": "env:VENDOR_KEY" } });
    let gateway = setup(&provider)
        .env("VENDOR_KEY", "sk-the-real-key-of-the-vendor")
        .connection("vendor", vendor.address, &json!({
            "present_in": "x-goog-api-key", "credential": key, "functions": { "inline": { "generate": generate } },
        }))
        .start();
    let token = provider.token("ci");
    let output = Command::new("node")
        .arg(peers().join("sdk.mjs"))
        .env(
            "GOOGLE_GEMINI_BASE_URL",
            format!("http://{}/vendor", gateway.address),
        )
        .env("GEMINI_API_KEY", &token)
        .output()
        .expect("node starts");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "hello yourself",
        "{error}"
    );
    let seen = vendor.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(
        seen[0].header("x-goog-api-key"),
        ["sk-the-real-key-of-the-vendor"]
    );
    assert!(!seen[0].head.contains(&token) && seen[0].header("authorization").is_empty());
}

/// A key that nobody has seen may wait for the floor between two fetches of an issuer's keys.
const NEW_KEY_MAX: Duration = Duration::from_secs(65);

#[test]
fn keys_are_rotated_while_calls_run() {
    let (provider, function) = (OidcProvider::start(), Recorder::ok());
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/x" } } });
    let gateway = setup(&provider)
        .connection("f", function.address, &json!({ "functions": functions }))
        .start();
    let call = |token: &str| raw::get(gateway.address, "/f/x", Some(token)).status;
    let stop = AtomicBool::new(false);
    let old = provider.token("ci");
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                statuses.push(call(&old));
                thread::sleep(Duration::from_millis(50));
            }
            statuses
        });
        thread::sleep(Duration::from_millis(300));
        provider.rotate();
        let (fresh, begin) = (provider.token("ci"), Instant::now());
        while call(&fresh) != 200 && begin.elapsed() < NEW_KEY_MAX {
            thread::sleep(Duration::from_millis(500));
        }
        let last = call(&fresh);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(
            last, 200,
            "a new key was not accepted within {NEW_KEY_MAX:?}"
        );
        let statuses = caller.join().expect("the caller");
        assert!(
            statuses.len() > 5 && statuses.iter().all(|status| *status == 200),
            "{statuses:?}"
        );
    });
    assert!(provider.fetches() <= 3, "{} fetches", provider.fetches());
}
