use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::super::{Config, Masker, Mode, ModeConfig, Needles, ResponseFacts, Settings};
use super::{Cover, DataClass, Veil};

const MAIL: &str = "bob.o-neil@customers.example";
const STREET: &str = "12 Main Street, Springfield";

fn class(name: &str) -> DataClass {
    name.parse().unwrap()
}

fn cover(values: &[(&str, &str)]) -> Cover {
    let veil = |(name, text): &(&str, &str)| Veil::new(&class(name), text);
    Cover::new(&values.iter().map(veil).collect::<Vec<_>>())
}

/// Compiled once: tests ask for them hundreds of times.
fn settings(mode: Mode) -> Arc<Settings> {
    static ALL: [OnceLock<Arc<Settings>>; 3] = [const { OnceLock::new() }; 3];
    let at = match mode {
        Mode::On => &ALL[0],
        Mode::Observe => &ALL[1],
        Mode::Off => &ALL[2],
    };
    Arc::clone(at.get_or_init(|| {
        let config = Config {
            mode: ModeConfig::from(mode),
            ..Config::default()
        };
        Arc::new(Settings::compile(&config).unwrap())
    }))
}

/// An answer of a function that was given these values, as its caller gets it.
fn answered(
    mode: Mode,
    values: &[(&str, &str)],
    unmask: &[&str],
    answer: (&str, &[&[u8]]),
) -> String {
    answered_by(&settings(mode), values, unmask, answer)
}

fn answered_by(
    settings: &Arc<Settings>,
    values: &[(&str, &str)],
    unmask: &[&str],
    (content_type, chunks): (&str, &[&[u8]]),
) -> String {
    let mode = settings.mode();
    let unmask: BTreeSet<_> = unmask.iter().map(|name| class(name)).collect();
    let cover = Arc::new(cover(values));
    let plan = settings.plan(&unmask).veiled(Arc::clone(&cover));
    let none = Arc::new(Needles::none());
    let needles = cover.needles(&none, mode, &unmask).unwrap();
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(content_type),
        ..ResponseFacts::default()
    };
    let mut masker = Masker::new(plan, needles, &facts).unwrap();
    let mut out = Vec::new();
    for chunk in chunks {
        masker.push(chunk, &mut out).unwrap();
    }
    masker.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn whole(values: &[(&str, &str)], content_type: &str, body: &str) -> String {
    answered(Mode::On, values, &[], (content_type, &[body.as_bytes()]))
}

#[test]
fn a_value_is_found_in_every_form_that_a_secret_is_looked_for_in() {
    let cover = cover(&[("email", MAIL)]);
    let percent: String = MAIL.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let escaped: String = MAIL.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let hex: String = MAIL.bytes().map(|byte| format!("{byte:02x}")).collect();
    for text in [
        MAIL.to_owned(),
        MAIL.to_uppercase(),
        MAIL.replace('@', "&#64;"),
        MAIL.replace('-', ""),
        percent,
        escaped,
        hex.to_uppercase(),
        hex,
    ] {
        let shown = cover.over(&format!("a {text} b"));
        assert_eq!(shown.as_deref(), Some("a [masked:email] b"), "{text}");
    }
    for ahead in ["", "x", "xy"] {
        for coded in [
            STANDARD.encode(format!("{ahead}{MAIL}, and more")),
            URL_SAFE_NO_PAD.encode(format!("{ahead}{MAIL}")),
        ] {
            let shown = cover.over(&coded).expect("a finding");
            assert!(shown.contains("[masked:email]"), "{shown}");
            let middle = &coded[8..coded.len() - 26];
            assert!(!shown.contains(middle), "{shown} holds {middle}");
        }
    }
    assert_eq!(cover.over("bob.o-neil@customers.exampl"), None);
    assert!(!format!("{cover:?}").contains("bob"));
}

#[test]
fn of_values_that_overlap_or_begin_alike_nothing_is_left() {
    let cover = cover(&[
        ("nick", "Bob Smith"),
        ("shop", "Smith & Sons"),
        ("nick", "Bob Smithers"),
    ]);
    let over = |text: &str| cover.over(text).unwrap_or_default();
    assert_eq!(over("by Bob Smith & Sons."), "by [masked:nick].");
    assert_eq!(
        over("Bob Smithers, Bob Smithe"),
        "[masked:nick], [masked:nick]e"
    );
    assert_eq!(over("Smith & Sons"), "[masked:shop]");
}

#[test]
fn thousands_of_values_are_each_found_and_nothing_else() {
    let values: Vec<String> = (1..3000).map(|n| format!("value-{}", n * 7919)).collect();
    let pairs: Vec<_> = values
        .iter()
        .map(|value| ("nick", value.as_str()))
        .collect();
    let cover = cover(&pairs);
    for value in &values {
        assert_eq!(
            cover.over(&format!("<{value}>")).as_deref(),
            Some("<[masked:nick]>")
        );
    }
    assert_eq!(cover.over("value-1 value- alue-7919"), None);
    // Overwritten where nothing inspects.
    let all = values.join("\n");
    let out = answered(Mode::Off, &pairs, &[], ("text/plain", &[all.as_bytes()]));
    assert!(
        out.bytes().all(|byte| matches!(byte, b'*' | b'\n')),
        "{out}"
    );
}

#[test]
fn an_echo_is_masked_wherever_the_chunks_are_cut() {
    let values = [("email", MAIL), ("home", STREET)];
    let bodies = [
        (
            "application/json",
            format!(r#"{{"to":"{MAIL}","at":"{STREET}","n":1.50}}"#),
        ),
        (
            "text/plain",
            format!("sent to {MAIL}, who lives at {STREET}, today\n"),
        ),
        ("text/csv", format!("to,at\r\n{MAIL},\"{STREET}\"\r\n")),
        (
            "application/xml",
            format!("<r to=\"{MAIL}\"><at>{STREET}</at></r>"),
        ),
        (
            "text/event-stream",
            format!("data: {MAIL}\n\ndata: at {STREET}\n\n"),
        ),
        (
            "application/x-www-form-urlencoded",
            "to=bob.o-neil%40customers.example&at=12+Main+Street%2C+Springfield".to_owned(),
        ),
    ];
    for (content_type, body) in &bodies {
        let parts = [MAIL, "customers", STREET, "Main", "Springfield"];
        for mode in [Mode::On, Mode::Observe, Mode::Off] {
            for at in 0..body.len() {
                let (one, two) = body.as_bytes().split_at(at);
                let out = answered(mode, &values, &[], (content_type, &[one, two]));
                let left = parts.iter().find(|part| out.contains(**part));
                assert_eq!(left, None, "{mode:?} {content_type} cut at {at}: {out}");
                assert!(mode != Mode::On || out.contains("[masked:email]"), "{out}");
            }
        }
    }
}

#[test]
fn a_number_is_masked_however_it_is_written() {
    let values = [("account", "12345678.50"), ("member", "12345678901")];
    for (number, class) in [
        ("12345678.50", "account"),
        ("12345678.5", "account"),
        ("1.23456785e7", "account"),
        ("12345678901", "member"),
        ("1.2345678901E10", "member"),
    ] {
        assert_eq!(
            whole(&values, "application/json", &format!("{{\"n\":{number}}}")),
            format!("{{\"n\":\"[masked:{class}]\"}}")
        );
    }
    let other = r#"{"n":1234567,"m":-0.5,"o":12345}"#;
    assert_eq!(whole(&values, "application/json", other), other);
}

/// Settings that know the classes of contact data.
fn contact() -> Arc<Settings> {
    static CONTACT: OnceLock<Arc<Settings>> = OnceLock::new();
    Arc::clone(CONTACT.get_or_init(|| {
        let config = Config {
            detect: vec!["contact".to_owned()],
            ..Config::default()
        };
        Arc::new(Settings::compile(&config).unwrap())
    }))
}

#[test]
fn a_value_of_two_classes_stays_hidden_unless_both_may_be_seen() {
    let values = [("email", MAIL), ("phone", MAIL)];
    for order in [values, [values[1], values[0]]] {
        let echo = |unmask: &[&str]| {
            let chunks: &[&[u8]] = &[MAIL.as_bytes()];
            answered_by(&contact(), &order, unmask, ("text/plain", chunks))
        };
        assert!(!echo(&["email"]).contains("bob"), "{order:?}");
        assert!(!echo(&["phone"]).contains("bob"), "{order:?}");
        assert_eq!(echo(&["email", "phone"]), MAIL);
    }
}

#[test]
fn who_may_see_the_class_sees_the_echo() {
    let body = format!(r#"{{"to":"{MAIL}"}}"#);
    let answer = ("application/json", &[body.as_bytes()][..]);
    let value = [("email", MAIL)];
    assert_eq!(answered_by(&contact(), &value, &["email"], answer), body);
    for mode in [Mode::Observe, Mode::Off] {
        let out = answered(mode, &value, &["email"], answer);
        assert_eq!(out, body, "{mode:?}");
    }
    // Where masking is on and these settings do not know the class, there is no right to see it.
    let out = answered(Mode::On, &value, &["email"], answer);
    assert!(out.contains("[masked:email]"), "{out}");
    assert!(answered(Mode::On, &value, &["phone"], answer).contains("[masked:email]"));
}
