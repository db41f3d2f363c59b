//! Event streams.

use super::{Case, typed};

fn events() -> Case {
    typed("text/event-stream")
}

fn check(case: &Case, body: &str, expected: &str) {
    assert_eq!(case.masked(body), expected);
    for at in 0..=body.len() {
        let (left, right) = body.as_bytes().split_at(at);
        let (out, _) = case.chunks(&[left, right]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected, "split at {at}");
    }
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(case.chunks(&bytes).unwrap().0, expected.as_bytes());
}

// M1, M15
#[test]
fn json_in_events_is_masked_by_place_and_by_value() {
    let case = events().field("$.params.ssn", "us-ssn");
    check(
        &case,
        "event: message\nid: 1\ndata: {\"params\":{\"ssn\":1,\"m\":\"bob@example.com\"}}\n\n:hi\n\ndata:[1,2]\n\n",
        "event: message\nid: 1\ndata: {\"params\":{\"ssn\":\"[masked:us-ssn]\",\"m\":\"[masked:email]\"}}\n\n:hi\n\ndata:[1,2]\n\n",
    );
}

// M15
#[test]
fn data_over_several_lines_is_read_as_one() {
    let case = events().field("$.ssn", "us-ssn");
    check(
        &case,
        "data: {\"ssn\":\ndata: 123,\ndata:  \"m\": \"x\"}\nid: 7\n\n",
        "data: {\"ssn\":\ndata: \"[masked:us-ssn]\",\ndata:  \"m\": \"x\"}\nid: 7\n\n",
    );
    check(
        &events(),
        "data: a\ndata: \ndata: bob@example.com\n\n",
        "data: a\ndata: \ndata: [masked:email]\n\n",
    );
}

// M15
#[test]
fn other_lines_are_masked_as_text() {
    check(
        &events(),
        "event: for bob@example.com\nid: AKIAIOSFODNN7EXAMPLE\n: to amy@example.com\nretry: 10\nx: bob@example.com\n\n",
        "event: for [masked:email]\nid: [masked:secret.aws-key]\n: to [masked:email]\nretry: 10\nx: [masked:email]\n\n",
    );
}

// M15
#[test]
fn every_line_end_is_understood() {
    for end in ["\n", "\r", "\r\n"] {
        let body = "data: {\"a\":\"bob@example.com\"}\nid: 1\n\ndata: 2\n\n\ndata: bob@example.com"
            .replace('\n', end);
        let expected = body.replace("bob@example.com", "[masked:email]");
        check(&events(), &body, &expected);
    }
    let mixed = "data: a\r\ndata: bob@example.com\r\rdata: x\n\r\n\ndata: y\r\n\r\n";
    let masked = "data: a\r\ndata: [masked:email]\r\rdata: x\n\r\n\ndata: y\r\n\r\n";
    check(&events(), mixed, masked);
}

// M15: no blank line at the end
#[test]
fn the_last_event_is_masked_even_if_it_is_not_complete() {
    check(&events(), "data: bob@example.com", "data: [masked:email]");
}

#[test]
fn an_event_comes_out_with_its_blank_line() {
    let mut masker = events().masker().unwrap();
    let mut out = Vec::new();
    masker
        .push(b"data: {\"a\":1}\n\ndata: {", &mut out)
        .unwrap();
    assert_eq!(out, b"data: {\"a\":1}\n\n");
}

#[test]
fn data_that_field_rules_cannot_read_is_withheld() {
    let case = events().field("$.ssn", "us-ssn");
    assert_eq!(case.withheld(b"data: {\"ssn\":1\n\n"), "json");
    check(&case, "data: [DONE]\n\n", "data: [DONE]\n\n");
    check(
        &events(),
        "data: {bob@example.com\n\n",
        "data: {[masked:email]\n\n",
    );
}

// M19
#[test]
fn an_endless_event_is_withheld() {
    let body = "data: a\n".repeat(200_000);
    assert_eq!(events().withheld(body.as_bytes()), "too-long");
}
