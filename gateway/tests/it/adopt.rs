//! An API that exists is taken in without breaking it: `docs/guide/adopt-an-existing-api.md` as it is written, and what is
//! suggested for a busier one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::observe::day;
use super::support::function::Double;
use super::support::gateway::{Gateway, PROGRAM, Setup, caller, mint};
use super::support::raw::Answer;
use super::support::root;
use super::support::servers::Httpbin;

/// The shell blocks of the guide, in their order.
fn blocks() -> Vec<String> {
    let guide = root().join("docs/guide/adopt-an-existing-api.md");
    let text = fs::read_to_string(guide).expect("the guide");
    let blocks = text.split("```sh\n").skip(1).map(|rest| {
        let (block, _) = rest.split_once("```").expect("an end of the block");
        block.to_owned()
    });
    blocks.collect()
}

fn folder(gateway: &Gateway) -> PathBuf {
    gateway.data().parent().expect("a folder").to_path_buf()
}

/// Follow some of the guide in the folder of the config; what was said.
fn follow(gateway: &Gateway, bin: &Path, blocks: &[String]) -> String {
    let call = blocks_with_call(blocks);
    let path = std::env::var("PATH").expect("a path");
    let done = Command::new("bash")
        .args([
            "-c",
            &format!("set -euo pipefail\n{call}{}", blocks.concat()),
        ])
        .current_dir(folder(gateway))
        .env("GATEWAY", format!("http://{}", gateway.address))
        .env("TOKEN", caller("billing", &["programs"]))
        .env("CALLGATE_CONFIG", folder(gateway).join("callgate.yaml"))
        .env("PATH", format!("{}:{path}", bin.display()))
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{}\n{text}", blocks.concat());
    text
}

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` was not said:\n{said}");
    }
}

/// A reader has one shell, the test one for each step: what the first defines is there for all.
fn blocks_with_call(of: &[String]) -> String {
    let all = blocks();
    let define = all[0].lines().next().expect("a line");
    assert!(define.starts_with("call() {"), "{define}");
    match of.first().is_some_and(|first| first.starts_with(define)) {
        true => String::new(),
        false => format!("{define}\n"),
    }
}

#[test]
fn the_guide_works_as_it_is_written() {
    let httpbin = Httpbin::start();
    let connection = |functions: Value, mode: &str| {
        let more = json!({ "functions": functions, "mode": mode });
        move |setup: Setup| setup.connection("shop", httpbin.address, &more)
    };
    let observe = format!("observe until {}", day(30));
    let gateway = connection(json!({}), &observe)(Setup::new()).start();
    let bin = tempfile::tempdir().expect("a folder");
    std::os::unix::fs::symlink(PROGRAM, bin.path().join("callgate")).expect("a link");
    let guide = blocks();
    assert_eq!(guide.len(), 11, "a step was added: place it here");
    let step = |from: usize, to: usize| follow(&gateway, bin.path(), &guide[from..to]);
    let said = step(0, 2);
    assert_eq!(
        said.matches("observed deny (not_found)").count(),
        6,
        "{said}"
    );
    says(&step(2, 3), &["4 functions"]);
    // The config is written as the guide says.
    let declared = json!({ "openapi": "./shop.openapi.yaml" });
    gateway.rewritten(connection(declared.clone(), &observe));
    let said = step(3, 4);
    says(
        &said,
        &[
            "shop/getAnythingCustomersByCustomerId  read",
            "+ function shop/",
        ],
    );
    says(&step(4, 5), &["1 permits; 0 calls are permitted already"]);
    let draft = fs::read_to_string(folder(&gateway).join("draft/shop.cedar")).expect("the draft");
    says(
        &draft,
        &[
            r#"principal == Caller::"corp/billing""#,
            "// 6 calls by 1 callers.",
        ],
    );
    says(
        &step(5, 6),
        &["6 calls evaluated, 0 would be decided differently, 6 the same"],
    );
    says(&step(6, 7), &["+ policy suggested-1"]);
    says(&step(7, 8), &["observed allow"]);
    let said = step(8, 9);
    says(
        &said,
        &["nothing-removed-by-programs", "allow → deny  1 calls"],
    );

    gateway.rewritten(connection(declared, "enforce"));
    says(
        &step(9, 10),
        &["~ connection shop: mode enforce", "\"code\":\"not_found\""],
    );
    says(
        &step(10, 11),
        &[
            "~ policy nothing-removed-by-programs",
            "\"code\":\"denied\"",
        ],
    );
    let reads = gateway.leaves();
    let reads = reads
        .iter()
        .filter(|leaf| leaf["what"] == "suggest")
        .count();
    assert_eq!(reads, 2, "each reading is on record");
}

/// What callers of a busier API do.
fn traffic(gateway: &Gateway) -> Vec<Answer> {
    let mut answers = Vec::new();
    let billing: Vec<String> = (1..4)
        .map(|n| caller(&format!("billing-{n}"), &["billing", "everybody"]))
        .collect();
    let others: Vec<String> = (1..9)
        .map(|n| caller(&format!("other-{n}"), &["everybody"]))
        .collect();
    for (n, token) in billing.iter().enumerate() {
        answers.push(gateway.get(&format!("/shop/invoices/{n}4?open=true"), token));
        let body = json!({ "amount": n, "lines": [{ "sku": "a", "price": 1.25 }], "meta": null });
        answers.push(gateway.post("/shop/invoices", token, &body));
    }
    for token in &others {
        answers.push(gateway.get("/shop/catalogue?page=3", token));
    }
    let agent = mint(&json!({ "sub": "agent-1", "groups": ["everybody"] }));
    answers.push(gateway.get("/shop/catalogue", &agent));
    // One of the others does what only billing does, and in another form.
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-tenant", "north"),
    ];
    answers.push(gateway.send(
        "PUT",
        "/shop/invoices/7/note",
        &others[0],
        &form,
        b"text=late&tag=a&tag=b",
    ));
    let text = [("content-type", "text/plain")];
    answers.push(gateway.send(
        "PUT",
        "/shop/files/readme.txt",
        &others[0],
        &text,
        b"readme of ours",
    ));
    answers
}

/// The document is written once, the same each time, and without values.
fn suggest_functions(gateway: &Gateway) {
    let suggest = ["functions", "suggest", "--connection", "shop"];
    let (good, text) = gateway.try_command(&suggest, &[]);
    assert!(good, "{text}");
    let out = folder(gateway).join("shop.yaml");
    let write = [&suggest[..], &["--out", out.to_str().expect("a path")]].concat();
    gateway.command(&write, &[]);
    let document = fs::read_to_string(&out).expect("the document");
    assert!(
        text.starts_with(document.trim_end()),
        "the same each time: {text}"
    );
    let again = gateway.try_command(&write, &[]);
    assert!(
        !again.0 && again.1.contains("is not written"),
        "nothing is written over: {}",
        again.1
    );
    for value in ["north", "late", "readme of ours", "1.25"] {
        assert!(!document.contains(value), "{value}: {document}");
    }
}

#[test]
fn what_is_suggested_loads_allows_what_was_seen_and_no_more() {
    let double = Double::start();
    let connection = |functions: Value, mode: &str| {
        let more = json!({ "functions": functions, "mode": mode });
        move |setup: Setup| setup.connection("shop", double.address, &more)
    };
    let observe = format!("observe until {}", day(30));
    let gateway = connection(json!({}), &observe)(Setup::new()).start();
    let seen = traffic(&gateway);
    assert!(seen.iter().all(|answer| answer.status == 200));
    seen.iter().for_each(|answer| {
        gateway.end_of(answer);
    });

    suggest_functions(&gateway);
    let declared = json!({ "openapi": "./shop.yaml" });
    gateway.reload(connection(declared.clone(), &observe), &[]);

    let drafts = folder(&gateway).join("draft");
    fs::create_dir(&drafts).expect("a folder");
    let draft = drafts.join("shop.cedar");
    let suggest = [
        "policy",
        "suggest",
        "--out",
        draft.to_str().expect("a path"),
    ];
    let said = gateway.command(&suggest, &[]);
    assert!(said.contains("0 calls are permitted already"), "{said}");
    let policies = fs::read_to_string(&draft).expect("the draft");
    let scopes: BTreeSet<&str> = policies
        .lines()
        .filter_map(|line| line.trim().strip_prefix("principal "))
        .collect();
    // The agent is of its own kind, so everybody's permit says both; what one did is that one's.
    let expected = [
        r#"in Group::"corp/billing","#,
        r#"in Group::"corp/everybody","#,
        r#"== Caller::"corp/other-1","#,
    ];
    assert_eq!(scopes, expected.into(), "{policies}");
    assert!(
        policies.contains(r#"when { principal.kind == "agent" || principal.kind == "workload" };"#)
    );
    let simulate = [
        "policy",
        "simulate",
        "--with",
        drafts.to_str().expect("a path"),
        "--output",
        "json",
    ];
    let (code, report) = gateway.exit_code(&simulate, &[]);
    let report: Value = serde_json::from_str(&report).expect("a report");
    let all = seen.len();
    assert_eq!((code, &report["same"]), (Some(0), &json!(all)), "{report}");

    // Enforced, what was seen passes, and nothing beside it.
    fs::copy(&draft, folder(&gateway).join("policies/shop.cedar")).expect("a copy");
    gateway.reload(connection(declared, "enforce"), &[]);
    for (before, now) in seen.iter().zip(traffic(&gateway)) {
        assert_eq!((before.status, now.status), (200, 200), "{}", now.text());
    }
    let other = caller("other-1", &["everybody"]);
    assert_eq!(
        gateway.get("/shop/invoices/14?open=true", &other).status,
        403
    );
    assert_eq!(gateway.get("/shop/secrets", &other).status, 404);
    assert_eq!(gateway.get("/shop/catalogue?pages=3", &other).status, 400);
}
