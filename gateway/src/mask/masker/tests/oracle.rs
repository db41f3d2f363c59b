//! The leak oracle: whatever the chunks, the answer is that of the whole body, and holds nothing of
//! what was to be hidden.

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::super::super::detect::tests::detected;
use super::{Case, Mode, gzip, json, text, typed};

/// Values, their class, and a part that must not be seen.
const VALUES: &[(&str, &str, &str)] = &[
    ("bob.o-neil+x@mail.example.co.uk", "email", "neil"),
    ("4111 1111 1111 1111", "payment-card", "1111"),
    ("378282246310005", "payment-card", "82246"),
    ("DE89 3704 0044 0532 0130 00", "iban", "0532"),
    ("GB33BUKB20201555555555", "iban", "2020"),
    (
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "secret.jwt",
        "OiIxMj",
    ),
    ("AKIAIOSFODNN7EXAMPLE", "secret.aws-key", "IOSF"),
    (
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "secret.stripe-key",
        "HqLy",
    ),
    (
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "secret.github-token",
        "mnop",
    ),
    (
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY\n\
            -----END EC PRIVATE KEY-----",
        "secret.private-key",
        "YSSN",
    ),
];

fn check_splits(case: &Case, body: &[u8], expected: &[u8]) {
    for at in 0..=body.len() {
        let (left, right) = body.split_at(at);
        let (out, _) = case.chunks(&[left, right]).unwrap();
        assert_eq!(out, expected, "split at {at}");
    }
    let bytes: Vec<&[u8]> = body.chunks(1).collect();
    assert_eq!(case.chunks(&bytes).unwrap().0, expected);
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..200 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let a = usize::try_from(seed >> 33).unwrap() % (body.len() + 1);
        let b = usize::try_from(seed >> 13 & 0xFFFF).unwrap() % (body.len() + 1);
        let (a, b) = (a.min(b), a.max(b));
        let (out, _) = case.chunks(&[&body[..a], &body[a..b], &body[b..]]).unwrap();
        assert_eq!(out, expected, "split at {a} and {b}");
    }
}

// M1
#[test]
fn no_split_of_json_leaks_a_value() {
    for (value, class, part) in VALUES {
        let quoted = serde_json::to_string(value).unwrap();
        let body = format!("{{\"k\":[{quoted},\"x\"],\"v\":{quoted}}}");
        let masked = json().masked(&body);
        let marker = format!("\"[masked:{class}]\"");
        assert_eq!(masked, format!("{{\"k\":[{marker},\"x\"],\"v\":{marker}}}"));
        assert!(!masked.contains(part));
        check_splits(&json(), body.as_bytes(), masked.as_bytes());
        let packed = gzip(body.as_bytes());
        check_splits(&json().coding("gzip"), &packed, masked.as_bytes());
    }
}

// M1
#[test]
fn no_split_of_text_leaks_a_value() {
    for (value, class, part) in VALUES {
        let body = format!("first line, then {value}\nand <b>{value}</b>\tend {value}");
        let masked = text().masked(&body);
        let marker = format!("[masked:{class}]");
        assert_eq!(
            masked,
            format!("first line, then {marker}\nand <b>{marker}</b>\tend {marker}")
        );
        assert!(!masked.contains(part));
        check_splits(&text(), body.as_bytes(), masked.as_bytes());
        let packed = gzip(body.as_bytes());
        check_splits(&text().coding("gzip"), &packed, masked.as_bytes());
    }
}

// M1
#[test]
fn no_split_leaks_past_a_field_rule() {
    let case = json().field("$.a.b", "x").field("$..c[1:]", "y");
    let body =
        r#"{"a":{"b":{"q":[1,"hid\u0064en"]},"B":"hidden","z":1},"c":[0,"hidden",{"c":[1]}]}"#;
    let masked = case.masked(body);
    assert!(!masked.contains("hid"));
    check_splits(&case, body.as_bytes(), masked.as_bytes());
}

/// A masker that looks for everything.
fn everything(content_type: &'static str) -> Case {
    let mut case = typed(content_type);
    case.config.detect = [
        "secret", "payment", "contact", "identity", "health", "device", "wallet",
    ]
    .map(str::to_owned)
    .to_vec();
    case
}

// M1: every detector, every two-way split, JSON, text and events
#[test]
fn no_split_leaks_what_any_detector_finds() {
    let (json, text) = (everything("application/json"), everything("text/plain"));
    let events = everything("text/event-stream");
    for (class, value) in detected() {
        let quoted = serde_json::to_string(&value).unwrap();
        for (case, body) in [
            (&json, format!("[{quoted},{{{quoted}:1}}]")),
            (&text, format!("a\n{value}\nb")),
            (
                &events,
                format!("data: {{\"a\":{quoted}}}\n\n: {value}\n\n"),
            ),
        ] {
            let masked = case.masked(&body);
            assert!(masked.contains("[masked:"), "{class}: {masked}");
            assert!(!masked.contains(&value), "{class}: {masked}");
            for at in 0..=body.len() {
                let (left, right) = body.as_bytes().split_at(at);
                let (out, _) = case.chunks(&[left, right]).unwrap();
                assert_eq!(out, masked.as_bytes(), "{class} split at {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn masking_twice_is_masking_once(
        body in r#"[a-z0-9@. :/"\\u4-]{0,80}"#, value in 0..VALUES.len(),
    ) {
        let body = format!("{body} {} {body}", VALUES[value].0);
        let quoted = serde_json::to_string(&body).unwrap();
        for (case, body) in [(json(), &quoted), (text(), &body)] {
            let once = case.masked(body);
            prop_assert_eq!(case.masked(&once), once);
        }
    }

    #[test]
    fn any_text_comes_out_the_same_from_any_chunks(
        body in r#"[a-c@.%\\u0-46n \n,"&#;:/=-]{0,120}"#, at in any::<u16>(),
    ) {
        let at = usize::from(at) % (body.len() + 1);
        let whole = text().masked(&body);
        let (left, right) = body.as_bytes().split_at(at);
        prop_assert_eq!(text().chunks(&[left, right]).unwrap().0, whole.as_bytes());
    }

    #[test]
    fn the_credential_never_comes_out(
        secret in proptest::collection::vec(any::<u8>(), 8..40),
        before in any::<Vec<u8>>(), after in any::<Vec<u8>>(), at in any::<u16>(),
    ) {
        let leaked: &'static [u8] = Box::leak(secret.clone().into_boxed_slice());
        let case = typed("image/png").mode(Mode::Off).secret(leaked);
        let body = [before, secret.clone(), after].concat();
        let at = usize::from(at) % (body.len() + 1);
        let (out, _) = case.chunks(&[&body[..at], &body[at..]]).unwrap();
        prop_assert_eq!(out.len(), body.len());
        let stars = secret.iter().all(|byte| *byte == b'*');
        prop_assert!(stars || !out.windows(secret.len()).any(|run| run == secret));
    }
}
