use super::{JsonErrorKind, Limits, Number, Value, parse};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

fn fault(text: &str) -> JsonErrorKind {
    parse(text.as_bytes(), &Limits::default())
        .unwrap_err()
        .kind()
        .clone()
}

fn value(text: &str) -> Value {
    parse(text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn members_keep_order_and_numbers_keep_text() {
    let read = value(r#" {"b": 1.50e1, "a": [true, null, "x\u00e9\n"]} "#);
    let Value::Object(members) = &read else {
        panic!("an object")
    };
    assert_eq!(members[0].0, "b");
    assert_eq!(members[0].1, Value::Number(Number::new("1.50e1").unwrap()));
    let items = read.member("a").unwrap();
    assert_eq!(items.kind(), "array");
    let Value::Array(items) = items else {
        panic!("an array")
    };
    assert_eq!(items[2].as_str(), Some("x\u{e9}\n"));
}

// T4
#[test]
fn duplicate_members_are_refused_also_when_escaped_differently() {
    assert_eq!(
        fault(r#"{"a":1,"a":2}"#),
        JsonErrorKind::DuplicateMember("a".into())
    );
    assert_eq!(
        fault(r#"{"a":1,"b":2,"\u0061":3}"#),
        JsonErrorKind::DuplicateMember("a".into())
    );
    let text = r#"{"x":{"k":1,"k":2}}"#;
    let error = parse(text.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "duplicate member `k` at byte 12");
}

#[test]
fn case_variants_are_different_members() {
    assert!(parse(br#"{"a":1,"A":2}"#, &Limits::default()).is_ok());
}

#[test]
fn what_two_readers_could_take_differently_is_refused() {
    assert_eq!(fault("\u{feff}{}"), JsonErrorKind::ByteOrderMark);
    assert_eq!(fault(r#""\ud800""#), JsonErrorKind::LoneSurrogate);
    assert_eq!(fault(r#""\udc00\ud800""#), JsonErrorKind::LoneSurrogate);
    assert_eq!(fault(r#""\uffff""#), JsonErrorKind::Noncharacter);
    assert_eq!(fault("\"\u{fdd0}\""), JsonErrorKind::Noncharacter);
    assert_eq!(fault(r#"{"a\u0000":1}"#), JsonErrorKind::NulInName);
    assert_eq!(fault("{} {}"), JsonErrorKind::TrailingData);
    assert_eq!(fault("\"a\nb\""), JsonErrorKind::ControlCharacter);
    assert_eq!(fault(r#""\x41""#), JsonErrorKind::BadEscape);
    assert_eq!(fault(r#""\u00g0""#), JsonErrorKind::BadEscape);
    assert_eq!(fault("NaN"), JsonErrorKind::Expected("a value"));
    assert_eq!(fault("nul"), JsonErrorKind::BadScalar);
    let kind = parse(b"\"\xff\"", &Limits::default())
        .unwrap_err()
        .kind()
        .clone();
    assert_eq!(kind, JsonErrorKind::NotUtf8);
}

#[test]
fn broken_documents_are_refused() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{,}",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "]",
        "}",
        "[}",
        "{]",
        "01",
        "1.",
        ".1",
        "1e",
        "1e+",
        "-",
        "+1",
        "--1",
        "\"",
        "\"\\",
        "\"\\u12",
        "tru",
        "truefalse",
        "'a'",
        "[1]/**/",
        "0x10",
        "1_0",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        ",",
        ":",
        "{\"a\":}",
        "{1:2}",
        "{null:1}",
    ] {
        assert!(
            parse(text.as_bytes(), &Limits::default()).is_err(),
            "{text}"
        );
    }
}

#[test]
fn limits_hold() {
    let limits = Limits {
        depth_max: 3,
        values_max: 5,
    };
    assert!(parse(b"[[[]]]", &limits).is_ok());
    let kind = parse(b"[[[[]]]]", &limits).unwrap_err().kind().clone();
    assert_eq!(kind, JsonErrorKind::TooDeep(3));
    assert!(parse(b"[1,2,3,4]", &limits).is_ok());
    let kind = parse(b"[1,2,3,4,5]", &limits).unwrap_err().kind().clone();
    assert_eq!(kind, JsonErrorKind::TooManyValues(5));
    let deep = "[".repeat(100_000);
    let limits = Limits {
        depth_max: usize::MAX,
        values_max: usize::MAX,
    };
    assert!(parse(deep.as_bytes(), &limits).is_err());
}

// T5
#[test]
fn numbers_do_not_go_through_a_float() {
    let text = |number: &str| Number::new(number).unwrap().as_decimal_text();
    assert_eq!(
        text("12345678901234567890").as_deref(),
        Some("12345678901234567890.0")
    );
    assert_eq!(text("0.1").as_deref(), Some("0.1"));
    assert_eq!(text("1.50e1").as_deref(), Some("15.0"));
    assert_eq!(text("15e-1").as_deref(), Some("1.5"));
    assert_eq!(text("-0.00120").as_deref(), Some("-0.0012"));
    assert_eq!(text("5e-3").as_deref(), Some("0.005"));
    assert_eq!(text("120e-1").as_deref(), Some("12.0"));
    assert_eq!(
        text("4.111111111111111e15").as_deref(),
        Some("4111111111111111.0")
    );
    assert_eq!(text("-0").as_deref(), Some("0.0"));
    assert_eq!(text("0e999999999999999999999").as_deref(), Some("0.0"));
    assert_eq!(text("1e999999999999999999999"), None);
    assert_eq!(text("1e65"), None);
    assert_eq!(text("1e-65"), None);
    let integer = |number: &str| Number::new(number).unwrap().as_i64();
    assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(integer("9223372036854775808"), None);
    assert_eq!(integer("1.0"), None);
    assert_eq!(integer("1e2"), None);
    assert!(Number::new("01").is_none());
}

proptest! {
    #[test]
    fn whatever_is_accepted_serde_json_accepts_too(text in r#"[\[\]{}",:0-9eE.\\u +a-f-]{0,24}"#) {
        if parse(text.as_bytes(), &Limits::default()).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        }
    }

    #[test]
    fn strings_survive_a_round_trip(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).unwrap();
        if let Ok(read) = parse(quoted.as_bytes(), &Limits::default()) {
            prop_assert_eq!(read, Value::String(text));
        }
    }

    #[test]
    fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes, &Limits::default());
    }
}
