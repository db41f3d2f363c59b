//! Every detector with a value that it finds, and one that only looks like it.

use std::sync::Arc;

use super::super::{Config, Settings};
use super::rules::{RULES, Set, Shape};
use super::{Hit, identifiers};

fn everything() -> Arc<Settings> {
    let detect = ["secret", "payment", "contact", "identity", "device"].map(str::to_owned);
    let config = Config {
        detect: detect.to_vec(),
        ..Config::default()
    };
    Arc::new(Settings::compile(&config).unwrap())
}

/// What is found in a text: class and span.
fn found(settings: &Settings, text: &str) -> Vec<(String, String)> {
    let mut hits: Vec<Hit> = Vec::new();
    settings
        .detectors
        .inspect(text.as_bytes(), |_| true, &mut hits);
    hits.iter()
        .map(|hit| {
            let class = settings.class(hit.class).unwrap().to_string();
            (class, text[hit.start..hit.end].to_owned())
        })
        .collect()
}

fn only(class: &str) -> Settings {
    let config = Config {
        detect: vec![class.to_owned()],
        ..Config::default()
    };
    Settings::compile(&config).unwrap()
}

/// Class, a value, and a look-alike.
const EXAMPLES: &[(&str, &str, &str)] = &[
    ("payment-card", "4111111111111111", "4111111111111112"),
    ("payment-card", "5555-5555-5555-4444", "5555-5555-5555-4445"),
    ("payment-card", "3782 822463 10005", "3782 822463 10006"),
    ("payment-card", "6011000990139424", "9011000990139424"),
    ("payment-card", "30569309025904", "30569309025905"),
    ("payment-card", "3530111333300000", "3530111333300001"),
    ("payment-card", "6759649826438453", "6759649826438454"),
    (
        "iban",
        "GB33 BUKB 2020 1555 5555 55",
        "GB34 BUKB 2020 1555 5555 55",
    ),
    ("iban", "nl91abna0417164300", "nl91abna0417164301"),
    ("iban", "NO9386011117947", "NO938601111794"),
    // Belgian accounts are digits: the check digits are right by chance.
    ("iban", "BE68539007547034", "be76bcaa2d963b53"),
    (
        "iban",
        "FR14 2004 1010 0505 0001 3M02 606",
        "FR14 2004 1010 0505 0001 3M02 60X",
    ),
    ("email", "bob@example.com", "bob@example"),
    ("email", "\"bob smith\"@example.com", "@example.com"),
    ("email", "bob@[192.0.2.1]", "bob@[localhost]"),
    ("email", "b\u{fc}ro@b\u{fc}cher.example", "bob@1.2"),
    ("phone", "+31 20 794 0800", "+31 20 79"),
    ("phone", "+14155552671", "a+14155552671"),
    ("phone", "(212) 555-0123", "(112) 555-0123"),
    ("phone", "212-555-0123", "212-155-0123"),
    ("ip-address", "192.0.2.17", "192.0.2.256"),
    (
        "ip-address",
        "2001:db8::8a2e:370:7334",
        "2001:db8::8a2e::7334",
    ),
    ("hardware-address", "00:1B:44:11:3A:B7", "00:1B:44:11:3A"),
    ("us-ssn", "536-90-4399", "000-90-4399"),
    ("us-itin", "912-70-1234", "912-89-1234"),
    ("us-routing-number", "021000021", "021000022"),
    ("uk-nhs-number", "943 476 5919", "943 476 5918"),
    ("ca-sin", "130 692 544", "130 692 545"),
    ("au-tfn", "123 456 782", "123 456 783"),
    ("au-medicare-number", "2123 45670 1", "2123 45671 1"),
    ("au-business-number", "51 824 753 556", "51 824 753 557"),
    ("de-tax-id", "86095742719", "86095742718"),
    ("nl-bsn", "111222333", "111222334"),
    ("be-national-number", "85.07.30-033.28", "85.07.30-033.29"),
    ("pl-pesel", "44051401359", "44051401358"),
    ("br-cpf", "111.444.777-35", "111.444.777-36"),
    ("br-cnpj", "11.222.333/0001-81", "11.222.333/0001-82"),
    ("in-aadhaar", "2341 2341 2346", "2341 2341 2347"),
    ("se-personal-number", "811228-9874", "811228-9875"),
    ("no-national-id", "15108695088", "15108695089"),
    ("dk-cpr", "211062-5629", "991062-5629"),
    ("ch-ahv-number", "756.9217.0769.85", "756.9217.0769.84"),
    ("za-id", "8001015009087", "8001015009088"),
    ("kr-resident-number", "971013-9019902", "971013-9019903"),
    ("jp-my-number", "6214 9832 0257", "6214 9832 0258"),
    ("tr-id", "10000000146", "10000000147"),
    ("bg-egn", "7523169263", "7523169264"),
    ("ro-cnp", "1630615123457", "1630615123458"),
    ("cz-birth-number", "710319/2745", "710319/2746"),
    ("gr-amka", "01013099997", "01013099998"),
    ("ee-personal-code", "36805280109", "36805280108"),
    ("ar-cuit", "20-05536168-2", "20-05536168-3"),
    ("fr-nir", "2 95 10 99 126 111 93", "2 95 10 99 126 111 94"),
    ("pt-nif", "501964843", "501964842"),
    ("il-id", "039337423", "039337424"),
    ("hr-oib", "33392005961", "33392005962"),
    ("imei", "490154203237518", "490154203237519"),
    ("sim-card", "8991101200003204514", "8991101200003204515"),
    ("es-dni", "54362315K", "54362315A"),
    ("es-nie", "X2482300W", "X2482300A"),
    ("uk-nino", "AB123456C", "BG123456C"),
    ("it-fiscal-code", "RCCMNL83S18D969H", "RCCMNL83S18D969A"),
    ("mx-curp", "BOXW310820HNERXN09", "BOXW310820HNERXN08"),
    ("in-pan", "ACUPA7085R", "ACUXA7085R"),
    ("sg-nric", "S1234567D", "S1234567A"),
    ("tw-id", "A123456789", "A123456788"),
    ("cn-resident-id", "11010519491231002X", "110105194912310021"),
    ("ie-pps", "6433435F", "6433435A"),
    ("ie-pps", "6433435OA", "6433435AA"),
    ("vehicle-number", "1M8GDM9AXKP042788", "1M8GDM9A1KP042788"),
    (
        "secret.jwt",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0",
        "eyJhbGciOiJub25lIn0",
    ),
    ("secret.authorization", "Y2FsbGVyOnBhc3M=", "documentation"),
    (
        "secret.aws-key",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "wJalrXUtnFEMI",
    ),
    (
        "secret.openai-key",
        "sk-abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst",
        "abcdefghijklmnopqrstT3BlbkFJabcdefghijklmnopqrst",
    ),
    (
        "secret.telegram-token",
        "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
        "110201543:AAHdqTcvCH1vGWJ",
    ),
    (
        "secret.mailchimp-key",
        "0123456789abcdef0123456789abcdef-us12",
        "0123456789abcdef0123456789abcdex-us12",
    ),
    (
        "secret.azure-key",
        "kLx5Wv2cJm0oV0b7mXhJm1l0q9f3u0o8V7y6T5r4e3w%3D",
        "kLx5Wv2cJm0",
    ),
    (
        "secret.terraform-token",
        "abcdefghij1234.atlasv1.abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789",
        "abcdefghij1234.atlasv1.abcdefghijk",
    ),
];

/// What must stand before a value for it to be one.
fn context(class: &str) -> &'static str {
    match class {
        "secret.authorization" => "Authorization: Basic ",
        "secret.aws-key" => "aws_secret_access_key = ",
        "secret.azure-key" => "https://x.example/y?sv=1&sig=",
        _ => "value: ",
    }
}

/// A text for every detector that holds its value where it is found.
pub(in crate::mask) fn detected() -> impl Iterator<Item = (&'static str, String)> {
    EXAMPLES
        .iter()
        .map(|(class, value, _)| match context(class) {
            "value: " => (*class, (*value).to_owned()),
            before => (*class, format!("{before}{value}")),
        })
}

#[test]
fn every_detector_finds_its_value_and_not_the_look_alike() {
    let mut wrong = Vec::new();
    for (class, value, other) in EXAMPLES {
        let settings = only(class);
        for (before, after) in [("", ""), (context(class), " and more"), ("(", ")")] {
            let needs_context = context(class) != "value: " && before != context(class);
            if needs_context || (before == "(" && class == &"phone") {
                continue;
            }
            let text = format!("{before}{value}{after}");
            let hits = found(&settings, &text);
            if !hits.contains(&((*class).to_owned(), (*value).to_owned())) {
                wrong.push(format!("{class} in `{text}` gave {hits:?}"));
            }
        }
        let text = format!("{}{other} and more", context(class));
        let hits = found(&settings, &text);
        if hits.iter().any(|(found, _)| found == class) {
            wrong.push(format!("{class} in `{text}` gave {hits:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_marked_credential_is_found_whole_and_not_when_cut() {
    let settings = everything();
    let mut count = 0;
    for rule in RULES {
        let Shape::Run(set, min, _) = rule.shape else {
            continue;
        };
        let alphabet = match set {
            Set::Hex => "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
            Set::Upper => "Q7W3E5R2T6YUAPSDFGH4JKLZXCV",
            Set::Alnum | Set::Url | Set::Dotted | Set::Base64 => "q7W3e5R2t6YuAPsdFgH4jkLzXcV",
        };
        let body: String = alphabet.chars().cycle().take(min).collect();
        let value = format!("{}{body}", rule.literal);
        let text = format!("token {value}\nnext");
        let hits = found(&settings, &text);
        assert!(
            hits.iter()
                .any(|(class, span)| class == rule.class && span.contains(value.as_str())),
            "{} gave {hits:?}",
            rule.literal
        );
        let cut = format!("token {}\nnext", &value[..value.len() - 1]);
        let hits = found(&only(rule.class), &cut);
        let cut_found = hits.iter().any(|(class, _)| class == rule.class);
        let also_shorter = RULES
            .iter()
            .any(|other| other.literal != rule.literal && rule.literal.starts_with(other.literal));
        assert!(
            !cut_found || also_shorter || min == 36,
            "{} cut gave {hits:?}",
            rule.literal
        );
        let inside = format!("x{value}");
        assert!(
            found(&only(rule.class), &inside)
                .iter()
                .all(|(class, _)| class != rule.class)
        );
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[test]
fn at_least_ninety_classes_can_be_found() {
    let settings = everything();
    assert!(
        settings.classes().len() >= 90,
        "{}",
        settings.classes().len()
    );
    for class in identifiers() {
        assert!(
            EXAMPLES.iter().any(|(example, _, _)| *example == class),
            "no example of {class}"
        );
    }
}

#[test]
fn ordinary_identifiers_are_left_alone_by_default() {
    let settings = Settings::compile(&Config::default()).unwrap();
    for text in [
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "2026-11-23T06:19:27.123456789Z",
        "1700000000000",
        "0.4532015112830366",
        "arn:aws:iam::123456789012:user/bob",
        "order 4000 of 2026, 12 items, total 1234.56",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "https://example.com/a/b?c=d&e=%20f",
        "the risk-free skill of asking: right, light, task_force sk_1",
        "AKIA",
        "eyJ",
        "-----BEGIN CERTIFICATE-----",
        "Bearer authentication is required here",
        "Basic knowledge of things",
        "/usr/share/doc/packages/README",
        "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=",
    ] {
        assert_eq!(found(&settings, text), [], "{text}");
    }
}

#[test]
fn a_masked_span_takes_the_class_of_the_longest_finding() {
    let settings = everything();
    let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.";
    assert_eq!(
        found(&settings, &format!("Bearer {jwt}"))[0].0,
        "secret.jwt"
    );
}
