//! The console in a real browser: a person decides, reads and verifies, at a desk and on a phone without JavaScript.
//! `make screenshots` runs the same and keeps pictures for the guide.

use std::net::SocketAddr;
use std::thread;

use callgate::demo::{Audience, Person, functions};
use serde_json::{Value, json};

use super::console_login::{issuer, setup};
use super::support::gateway::{Gateway, run};
use super::support::{free_address, peers, raw, root, wait_for};

/// What a first visit may load, compressed, in bytes.
const FIRST_LOAD_BYTES_MAX: u64 = 300 * 1024;

/// Beside the demo's: what needs a stronger sign-in than people have when they come.
const STRONG: &str = r#"
@id("very-large-refunds-need-a-key")
@approval("demo/payments-leads")
@reason("refunds above 10000.00 need a sign-in with a hardware key")
@acr("phr")
@max_age("5m")
forbid (principal, action == Action::"payments/createRefund", resource)
when { context.input.body.amount > 1000000 };
"#;

fn example(name: &str) -> String {
    std::fs::read_to_string(root().join("examples/demo").join(name)).expect("an example")
}

pub(super) fn sample_functions(data: &std::path::Path) -> SocketAddr {
    let (address, folder) = (free_address(), data.to_owned());
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime
            .block_on(functions::serve(address, &folder))
            .expect("the functions serve");
    });
    wait_for(address);
    address
}

pub(super) fn start(issuer: SocketAddr, functions: SocketAddr, data: &std::path::Path) -> Gateway {
    let key = functions::credential(data).expect("the functions' key");
    setup(issuer)
        .policy(&example("policies/payments.cedar"))
        .policy(&example("policies/people.cedar"))
        .policy(STRONG)
        .file("payments.openapi.yaml", &example("payments.openapi.yaml"))
        .file("functions-key", &key)
        .with("approvals", json!({ "cooldown_s": 0 }))
        .connection(
            "payments",
            functions,
            &json!({
                "functions": { "openapi": "./payments.openapi.yaml" }, "hold_s": 300,
                "credential": { "bearer": "file:functions-key" },
                "mask": { "fields": { "$.email": "email" }, "detect": ["contact"] },
            }),
        )
        .of_the_demo()
        .start()
}

#[test]
fn a_person_decides_reads_and_verifies_in_a_browser_and_on_a_phone_without_javascript() {
    let (issuer, data) = issuer();
    let functions = sample_functions(data.path());
    let gateway = start(issuer, functions, data.path());
    let page = raw::get(gateway.console, "/", None).text();
    assert!(
        page.contains("id=\"root\""),
        "the console's pages are not built: run `make console`, then build again"
    );
    let mint =
        |person| callgate::demo::mint(data.path(), person, Audience::Gateway).expect("a token");
    for target in [
        "/payments/customers/c-1001",
        "/payments/orders",
        "/payments/nothing",
    ] {
        gateway.get(target, &mint(Person::Alice));
    }
    gateway.send(
        "DELETE",
        "/payments/customers/c-1001",
        &mint(Person::Alice),
        &[],
        b"",
    );
    let told = json!({
        "console": format!("http://{}", gateway.console), "gateway": format!("http://{}", gateway.address),
        "functions": format!("http://{functions}"), "token": mint(Person::Alice),
        "shots": std::env::var("CALLGATE_SCREENSHOTS").ok(),
    });
    let script = peers().join("console-browser.mjs");
    let said = run(
        "node",
        &[script.to_str().expect("a path"), &told.to_string()],
    );
    let said: Value = serde_json::from_str(said.trim()).expect("its JSON");
    assert_eq!(said["problems"], json!([]), "{said:#}");
    let bytes = said["bytes"].as_u64().expect("a number");
    assert!((1..=FIRST_LOAD_BYTES_MAX).contains(&bytes), "{bytes} bytes");
    let verified = gateway.command(&["audit", "verify"], &[]);
    assert!(verified.contains("intact"), "{verified}");
}
