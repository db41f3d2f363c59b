//! What is suggested takes all that was seen, writes no value, and does not hang on the order.

use std::collections::BTreeSet;

use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;

use super::{SeenBody, SeenFunctions, SeenRequest, SuggestedDocument};
use crate::call::{Catalogue, FunctionsConfig};

/// A request, owned.
#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

fn sent(method: &'static str, target: &str, body: Option<(&str, &str)>) -> Sent {
    let headers = body.map(|(media, _)| ("content-type".to_owned(), media.to_owned()));
    Sent {
        method,
        target: target.to_owned(),
        headers: headers.into_iter().collect(),
        body: body.map(|(_, body)| body.to_owned()),
    }
}

fn get(target: &str) -> Sent {
    sent("GET", target, None)
}

fn json(target: &str, body: &str) -> Sent {
    sent("POST", target, Some(("application/json", body)))
}

fn suggest(all: &[Sent]) -> SuggestedDocument {
    let mut seen = SeenFunctions::default();
    for one in all {
        let bytes = one.body.as_deref().map(str::as_bytes);
        seen.add(&SeenRequest {
            method: one.method,
            target: &one.target,
            headers: &one.headers,
            body: bytes.map_or(SeenBody::Empty, SeenBody::Bytes),
        });
    }
    seen.document("shop")
}

fn loaded(document: &SuggestedDocument) -> Catalogue {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("shop.yaml"), &document.text).unwrap();
    let config = FunctionsConfig {
        openapi: Some("shop.yaml".into()),
        ..FunctionsConfig::default()
    };
    Catalogue::load(&config, &"shop".parse().unwrap(), folder.path())
        .unwrap_or_else(|faults| panic!("{faults:?}\n{}", document.text))
}

/// The suggested functions take every request that they were made from.
fn takes_all(document: &SuggestedDocument, all: &[Sent]) {
    let catalogue = loaded(document);
    for one in all {
        let head = serde_json::json!({ "method": one.method, "target": one.target, "headers": one.headers });
        let body = one.body.clone().unwrap_or_default();
        let read = catalogue.reread(&head, Some(body.into()));
        assert!(
            read.is_ok(),
            "{one:?}: {}\n{}",
            read.unwrap_err(),
            document.text
        );
    }
}

fn paths(document: &SuggestedDocument) -> Vec<String> {
    let mut paths: Vec<String> = loaded(document)
        .bindings()
        .iter()
        .map(|binding| format!("{} {}", binding.method().as_str(), binding.path()))
        .collect();
    paths.sort();
    paths
}

#[test]
fn numbers_ids_dates_and_tokens_in_paths_become_parameters_and_names_stay() {
    let all = [
        get("/customers/17"),
        get("/customers/4711/orders/ord_8fk2j1"),
        get("/customers/0b1d3c5e-7f90-4a2b-8c6d-1e2f3a4b5c6d"),
        get("/customers/me"),
        get("/reports/2026-01-31/pdf"),
        get("/v1/health"),
        get("/people/a%40example.com"),
    ];
    let document = suggest(&all);
    assert_eq!(
        paths(&document),
        [
            "GET /customers/me",
            "GET /customers/{customerId}",
            "GET /customers/{customerId}/orders/{orderId}",
            "GET /people/{peopleId}",
            "GET /reports/{reportId}/pdf",
            "GET /v1/health",
        ]
    );
    takes_all(&document, &all);
}

#[test]
fn many_names_at_one_place_are_values_but_not_at_the_first() {
    let users: Vec<Sent> = (0..30u8)
        .map(|n| {
            let letter = |n: u8| char::from(b'a' + n);
            get(&format!("/users/{}{}", letter(n / 26), letter(n % 26)))
        })
        .collect();
    assert_eq!(paths(&suggest(&users)), ["GET /users/{userId}"]);
    let first: Vec<Sent> = (0..26u8)
        .map(|n| get(&format!("/{}", char::from(b'a' + n))))
        .collect();
    assert_eq!(suggest(&first).functions, 26);
}

#[test]
fn two_forms_that_would_both_match_become_one_that_loads() {
    let all = [get("/a/1/c"), get("/a/b/2"), get("/a/3/4")];
    let document = suggest(&all);
    takes_all(&document, &all);
}

#[test]
fn bodies_are_joined_to_what_takes_them_all() {
    let all = [
        json(
            "/orders",
            r#"{"amount":1,"note":"x","lines":[{"sku":"a","n":1}],"at":null}"#,
        ),
        json(
            "/orders",
            r#"{"amount":2.5,"lines":[],"at":"2026-01-01","place":{"lat":52.123456789}}"#,
        ),
        json(
            "/orders",
            r#"{"amount":3,"lines":[{"sku":"b","n":2,"gift":true}],"at":null,"place":{"lat":1e3}}"#,
        ),
        json("/any", r#"[1,"two",{"three":3}]"#),
        json("/any", "null"),
        sent(
            "POST",
            "/form",
            Some(("application/x-www-form-urlencoded", "a=1&b=x&b=y")),
        ),
        sent(
            "POST",
            "/form",
            Some(("application/x-www-form-urlencoded", "a=2&b=z")),
        ),
        sent("PUT", "/blob/1", Some(("image/png", "not looked at"))),
        sent("PUT", "/blob/2", None),
    ];
    let document = suggest(&all);
    takes_all(&document, &all);
    assert!(document.notes.is_empty(), "{:?}", document.notes);
    let catalogue = loaded(&document);
    let orders = catalogue
        .functions()
        .iter()
        .find(|one| one.id.name() == "postOrders")
        .unwrap();
    let shape = format!("{:?}", orders.input.members["body"]);
    // What policies can name, of what was always there and what was not.
    assert!(
        shape.contains(r#""amount": Member { shape: Decimal, required: true }"#),
        "{shape}"
    );
    assert!(
        shape.contains(r#""note": Member { shape: String, required: false }"#),
        "{shape}"
    );
}

#[test]
fn queries_and_headers_are_declared_and_no_value_is_written() {
    let mut with = get("/search?q=secretword&page=2&tag=a&tag=b&deep=true");
    with.headers = vec![
        ("x-tenant".to_owned(), "secretheader".to_owned()),
        ("user-agent".to_owned(), "curl".to_owned()),
        ("sec-fetch-mode".to_owned(), "cors".to_owned()),
    ];
    let all = [with, get("/search?q=other&page=3")];
    let document = suggest(&all);
    takes_all(&document, &all);
    let declared: BTreeSet<&str> = document
        .text
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("name: "))
        .collect();
    let expected = ["\"q\"", "\"page\"", "\"tag\"", "\"deep\"", "\"x-tenant\""];
    assert_eq!(declared, expected.into());
    assert!(
        !document.text.contains("secret") && !document.text.contains("other"),
        "{}",
        document.text
    );
}

#[test]
fn names_that_callers_sent_cannot_leave_their_quotes() {
    let all = [
        get("/a?%22%20%20evil%3A=1&%5C%F0%9F%98%80=2"),
        json("/b", "{\"x\\\"\\n  y\":1,\"\u{1f600}\":2}"),
    ];
    let document = suggest(&all);
    assert!(document.text.is_ascii());
    assert!(
        !document
            .text
            .lines()
            .any(|line| line.trim().starts_with("evil")),
        "{}",
        document.text
    );
    takes_all(&document, &all);
}

#[test]
fn what_cannot_be_covered_is_told() {
    let all = [
        json("/a", r#"{"x":1,"x":2}"#),
        json("/b", "{}"),
        sent("POST", "/b", Some(("text/plain", "x"))),
        sent("PROPFIND", "/c", None),
        get("/d?a+b=1"),
    ];
    let told = suggest(&all).notes.join("\n");
    for part in [
        "POST /b: 1 bodies text/plain, beside application/json",
        "1 requests are not covered: a method that no function can have",
        "1 requests are not covered: a query that no function can declare",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
}

fn request() -> impl Strategy<Value = Sent> {
    let segment = select(vec![
        "users",
        "me",
        "a",
        "b",
        "17",
        "007",
        "42",
        "ord_12345",
        "deadbeef",
        "cafe1234",
        "x%20y",
        "v1",
    ]);
    let path = proptest::collection::vec(segment, 1..5);
    let query = proptest::collection::vec(
        (
            select(vec!["q", "page", "Q2", "t"]),
            select(vec!["1", "x", "true", "2.5", "", "01", "1e3"]),
        ),
        0..4,
    );
    let value = select(vec![
        "1",
        "-7",
        "2.5",
        "1e9",
        "0.123456789",
        "99999999999999999999",
        "\"x\"",
        "true",
        "null",
        "[]",
        "[1,2]",
        "[1,\"a\",null]",
        "{}",
        "{\"a\":1}",
        "{\"a\":{\"b\":[{\"c\":2}]}}",
    ]);
    let member = (select(vec!["a", "b", "A", "c"]), value);
    let members = proptest::collection::btree_map(member.0, member.1, 0..4);
    let parts = (
        path,
        query,
        members,
        any::<bool>(),
        select(vec!["POST", "PUT", "PATCH", "GET", "HEAD"]),
    );
    parts.prop_map(|(path, query, members, has_body, method)| {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut target = format!("/{}", path.join("/"));
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        // Members that differ in case only are refused in one document, whatever is declared.
        let folded: BTreeSet<String> = members.keys().map(|name| name.to_lowercase()).collect();
        let members: Vec<String> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        let body = format!("{{{}}}", members.join(","));
        let body = (has_body && !matches!(method, "GET" | "HEAD") && folded.len() == members.len())
            .then_some(("application/json", body.as_str()));
        sent(method, &target, body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever was seen: the document loads, takes each of the requests, and is the same in another order.
    #[test]
    fn the_document_loads_and_takes_what_it_was_made_from(
        all in proptest::collection::vec(request(), 1..25),
        turn in 0usize..25,
    ) {
        let document = suggest(&all);
        prop_assert!(document.notes.is_empty(), "{:?}", document.notes);
        takes_all(&document, &all);
        let mut other = all.clone();
        other.rotate_left(turn % all.len());
        prop_assert_eq!(suggest(&other), document);
    }
}
