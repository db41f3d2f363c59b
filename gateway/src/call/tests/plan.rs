use wire::http::BodyLength;

use super::decode::REFUNDS;
use super::{JSON, bad, catalogue, facts, head, id, send};
use crate::call::{BODY_BYTES_MAX, BodyPlan, CallFault, Found, RequestBody};

#[test]
fn undeclared_media_types_and_codings_are_refused() {
    let catalogue = catalogue(REFUNDS);
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("content-type", "text/plain")],
        &[("content-type", "application/json; charset=utf-16")],
        &[(
            "content-type",
            "application/json; charset=utf-8; charset=utf-8",
        )],
        &[("content-type", "application/json; profile=x")],
        &[("content-type", "application/json, text/plain")],
        &[("content-type", "application/problem+json")],
        &[JSON, ("content-encoding", "gzip")],
        &[JSON, ("content-encoding", "identity, gzip")],
    ];
    for headers in cases {
        let mut all = vec![("x-reason", "a")];
        all.extend_from_slice(headers);
        let result = send(
            &catalogue,
            "POST",
            "/customers/7/refunds",
            &all,
            br#"{"amount":1}"#,
        );
        assert!(
            matches!(result, Err(CallFault::UnsupportedMediaType(_))),
            "{headers:?}"
        );
    }
    let charset = [
        ("content-type", "Application/JSON; charset=\"UTF-8\""),
        ("x-reason", "a"),
    ];
    let result = send(
        &catalogue,
        "POST",
        "/customers/7/refunds",
        &charset,
        br#"{"amount":1}"#,
    );
    assert!(result.is_ok());
    let text = [("content-type", "text/html")];
    let result = send(&catalogue, "PUT", "/blob", &text, b"x");
    assert!(matches!(result, Err(CallFault::UnsupportedMediaType(_))));
}

#[test]
fn the_body_plan_is_made_from_the_head_alone() {
    let catalogue = catalogue(REFUNDS);
    let plan = |method: &str, target: &str, headers: &[(&str, &str)], length| {
        let head = head(method, target, headers);
        let found = catalogue.find(&head.method, &head.target, &head.headers);
        found.body_plan(&head.headers, length)
    };
    let refund = "/customers/7/refunds";
    let full = Ok(BodyPlan::Buffer {
        bytes_max: BODY_BYTES_MAX,
    });
    assert_eq!(plan("POST", refund, &[JSON], BodyLength::Chunked), full);
    assert_eq!(
        plan(
            "POST",
            refund,
            &[JSON],
            BodyLength::Known(BODY_BYTES_MAX as u64)
        ),
        full
    );
    let over = plan(
        "POST",
        refund,
        &[JSON],
        BodyLength::Known(BODY_BYTES_MAX as u64 + 1),
    );
    assert!(matches!(over, Err(CallFault::TooLarge(_))));
    let media = plan("POST", refund, &[], BodyLength::Known(1));
    assert!(matches!(media, Err(CallFault::UnsupportedMediaType(_))));
    assert_eq!(
        plan("GET", "/customers/7", &[], BodyLength::Unsaid),
        Ok(BodyPlan::None)
    );
    // X1: 0.CL and CL.0 gadgets need a body where none is expected.
    for length in [BodyLength::Known(5), BodyLength::Chunked] {
        let result = plan("GET", "/customers/7", &[JSON], length);
        assert!(matches!(result, Err(CallFault::BadRequest(_))));
    }
    assert_eq!(
        plan("POST", "/export", &[], BodyLength::Chunked),
        Ok(BodyPlan::Stream)
    );
    assert_eq!(
        plan("POST", "/export", &[], BodyLength::Known(1 << 40)),
        Ok(BodyPlan::Stream)
    );
    let unknown = plan("POST", "/nothing", &[], BodyLength::Unsaid);
    assert!(matches!(unknown, Err(CallFault::NotFound(_))));
}

#[test]
fn a_body_that_comes_where_none_is_expected_is_refused() {
    let catalogue = catalogue(REFUNDS);
    let head = head("GET", "/customers/7", &[]);
    let found = catalogue.find(&head.method, &head.target, &head.headers);
    let body = RequestBody::Bytes("x".into());
    let result = catalogue.decode(&found, head, body, id(), facts("GET"));
    assert_eq!(bad(result), "the function takes no body");
}

#[test]
fn methods_that_a_path_has_not_are_not_found_and_listed() {
    let catalogue = catalogue(REFUNDS);
    let find = |method: &str, target: &str| -> Vec<&str> {
        let head = head(method, target, &[]);
        match catalogue.find(&head.method, &head.target, &head.headers) {
            Found::Unknown { allowed } => allowed.iter().map(|method| method.as_str()).collect(),
            Found::One(_) | Found::ByBody(_) => vec!["found"],
        }
    };
    let none: Vec<&str> = Vec::new();
    assert_eq!(find("DELETE", "/customers/7"), ["GET"]);
    assert_eq!(find("GET", "/customers/7/"), none);
    assert_eq!(find("GET", "/Customers/7"), none);
    assert_eq!(find("GET", "/"), none);
    assert_eq!(find("PURGE", "/customers/7"), none);
    // HEAD asks for GET's head.
    let head = head("HEAD", "/customers/7", &[]);
    assert!(matches!(
        catalogue.find(&head.method, &head.target, &head.headers),
        Found::One(_)
    ));
}
