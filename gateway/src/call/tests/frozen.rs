use super::decode::REFUNDS;
use super::{JSON, bad, catalogue, facts, head, id, send};
use crate::call::{Call, CallFault, Catalogue, RequestBody};

// P1: any change makes another call; the same bytes make the same one.
#[test]
fn sameness_covers_what_is_executed() {
    let catalogue = catalogue(REFUNDS);
    let digest = |target: &str, headers: &[(&str, &str)], body: &str| {
        let mut all = vec![("x-reason", "late")];
        all.extend_from_slice(headers);
        let call = send(&catalogue, "POST", target, &all, body.as_bytes());
        call.unwrap().sameness().digest
    };
    let target = "/customers/7/refunds";
    let one = digest(target, &[JSON], r#"{"amount":1}"#);
    assert_eq!(
        one,
        digest(target, &[JSON, ("x-request-id", "2")], r#"{"amount":1}"#)
    );
    let others = [
        digest("/customers/8/refunds", &[JSON], r#"{"amount":1}"#),
        digest(
            "/customers/7/refunds?dry_run=true",
            &[JSON],
            r#"{"amount":1}"#,
        ),
        digest(
            target,
            &[("content-type", "application/json; charset=utf-8")],
            r#"{"amount":1}"#,
        ),
        digest(target, &[JSON, ("idempotency-key", "k")], r#"{"amount":1}"#),
        digest(target, &[JSON, ("if-match", "k")], r#"{"amount":1}"#),
        digest(target, &[JSON], r#"{"amount":2}"#),
        digest(target, &[JSON], r#"{"amount":1 }"#),
    ];
    assert!(others.iter().all(|other| *other != one));
    // A declared header is input.
    let early = send(
        &catalogue,
        "POST",
        target,
        &[JSON, ("x-reason", "early")],
        br#"{"amount":1}"#,
    );
    assert_ne!(early.unwrap().sameness().digest, one);
}

#[test]
fn a_frozen_call_thaws_to_the_same_call() {
    let catalogue = catalogue(REFUNDS);
    let headers = [
        JSON,
        ("x-reason", "late"),
        ("accept", "a/b"),
        ("accept", "c/d"),
    ];
    let target = "/customers/7/refunds?tag=b&tag=a";
    let call = send(&catalogue, "POST", target, &headers, br#"{"amount":12}"#).unwrap();
    let frozen = call.freeze().unwrap();
    let thawed = catalogue.thaw(&frozen, id(), facts("POST")).unwrap();
    assert_eq!(thawed.freeze().unwrap(), frozen);
    assert_eq!(thawed.input(), call.input());
    assert_eq!(thawed.sameness(), call.sameness());
    let (method, target, headers, body) = thawed.into_request();
    assert_eq!(
        (method.as_str(), target.as_str()),
        ("POST", "/customers/7/refunds?tag=b&tag=a")
    );
    assert_eq!(headers.get_all("accept").iter().count(), 2);
    assert_eq!(body.bytes().unwrap(), r#"{"amount":12}"#);
}

// P1
#[test]
fn a_frozen_call_that_is_read_differently_now_is_superseded() {
    let before = catalogue(REFUNDS);
    let headers = [JSON, ("x-reason", "late")];
    let call = send(
        &before,
        "POST",
        "/customers/7/refunds",
        &headers,
        br#"{"amount":12}"#,
    );
    let frozen = call.unwrap().freeze().unwrap();
    let thaw = |catalogue: &Catalogue, frozen: &[u8]| catalogue.thaw(frozen, id(), facts("POST"));
    let stricter = catalogue(&REFUNDS.replace("minimum: 1", "minimum: 100"));
    assert_eq!(bad(thaw(&stricter, &frozen)), "`body.amount` is too small");
    let renamed = catalogue(&REFUNDS.replace("createRefund", "makeRefund"));
    assert!(matches!(
        thaw(&renamed, &frozen),
        Err(CallFault::Superseded(_))
    ));
    for at in 0..frozen.len() {
        let mut broken = frozen.clone();
        broken[at] ^= 1;
        if let Ok(call) = thaw(&before, &broken) {
            assert_eq!(call.freeze().unwrap(), broken, "byte {at}");
        }
    }
    assert!(thaw(&before, b"").is_err());
}

#[test]
fn what_streams_cannot_be_frozen() {
    use http_body_util::BodyExt;
    let catalogue = catalogue(REFUNDS);
    let stream = || {
        let head = head("POST", "/export", &[]);
        let found = catalogue.find(&head.method, &head.target, &head.headers);
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"x"));
        let body = RequestBody::Stream(body.map_err(|never| match never {}).boxed_unsync());
        catalogue
            .decode(&found, head, body, id(), facts("POST"))
            .unwrap()
    };
    assert!(stream().freeze().is_none());
    assert!(stream().content().body.is_none());
}
