use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use super::super::{Config, DataClass, Mode, Needles, Settings, Vault};
use super::{Masker, ResponseFacts, Summary, Withheld};

mod documents;
mod events;
mod formats;
mod hostile;
mod keyed;
mod oracle;
mod structure;

/// What one test masks with.
struct Case {
    config: Config,
    unmask: Vec<&'static str>,
    secrets: Vec<&'static [u8]>,
    content_type: &'static str,
    coding: Option<&'static str>,
    status: u16,
    /// Makes pseudonyms and tokens, for one caller.
    vault: Option<Arc<Vault>>,
    settings: OnceLock<Arc<Settings>>,
}

fn json() -> Case {
    typed("application/json")
}

fn text() -> Case {
    typed("text/plain; charset=utf-8")
}

fn typed(content_type: &'static str) -> Case {
    Case {
        config: Config {
            detect: vec!["contact".to_owned()],
            ..Config::default()
        },
        unmask: vec![],
        secrets: vec![],
        content_type,
        coding: None,
        status: 200,
        vault: None,
        settings: OnceLock::new(),
    }
}

impl Case {
    fn field(mut self, path: &str, class: &str) -> Self {
        self.config.fields.insert(path.to_owned(), class.into());
        self
    }

    fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode.into();
        self
    }

    fn secret(mut self, secret: &'static [u8]) -> Self {
        self.secrets.push(secret);
        self
    }

    fn coding(mut self, coding: &'static str) -> Self {
        self.coding = Some(coding);
        self
    }

    fn unmask(mut self, class: &'static str) -> Self {
        self.unmask.push(class);
        self
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn masker(&self) -> Result<Masker, Withheld> {
        self.masker_coded(self.coding)
    }

    fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.get_or_init(|| {
            let settings = Settings::compile(&self.config).unwrap();
            Arc::new(settings.with_vault(self.vault.clone(), "crm"))
        });
        Arc::clone(settings)
    }

    fn masker_coded(&self, coding: Option<&str>) -> Result<Masker, Withheld> {
        let settings = self.settings();
        let unmask: BTreeSet<DataClass> = self
            .unmask
            .iter()
            .map(|class| class.parse().unwrap())
            .collect();
        let needles = match self.secrets.is_empty() {
            true => Needles::none(),
            false => Needles::new(&self.secrets).unwrap(),
        };
        let facts = ResponseFacts {
            status: self.status,
            content_type: (!self.content_type.is_empty()).then_some(self.content_type),
            content_encoding: coding,
            head_only: false,
        };
        let plan = settings.plan(&unmask).for_caller("corp", "ann");
        Masker::new(plan, Arc::new(needles), &facts)
    }

    fn chunks(&self, chunks: &[&[u8]]) -> Result<(Vec<u8>, Summary), Withheld> {
        self.chunks_coded(self.coding, chunks)
    }

    fn chunks_coded(
        &self,
        coding: Option<&str>,
        chunks: &[&[u8]],
    ) -> Result<(Vec<u8>, Summary), Withheld> {
        let mut masker = self.masker_coded(coding)?;
        let mut out = Vec::new();
        for chunk in chunks {
            masker.push(chunk, &mut out)?;
        }
        let summary = masker.finish(&mut out)?;
        Ok((out, summary))
    }

    fn run(&self, body: &str) -> Result<String, Withheld> {
        let (out, _) = self.chunks(&[body.as_bytes()])?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn masked(&self, body: &str) -> String {
        self.run(body).unwrap()
    }

    fn withheld(&self, body: &[u8]) -> &'static str {
        self.chunks(&[body]).expect_err("withheld").code()
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: &[u8], zlib: bool) -> Vec<u8> {
    let level = flate2::Compression::fast();
    if zlib {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(body).unwrap();
        return encoder.finish().unwrap();
    }
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(body, 3).unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut packed, 4096, 4, 20);
    encoder.write_all(body).unwrap();
    drop(encoder);
    packed
}

#[test]
fn only_the_finding_is_replaced() {
    let body = r#"{ "id": 7,"note":"ask bob@example.com today", "n":[1.0,-2e3,null,true] }"#;
    let masked = json().masked(body);
    assert_eq!(
        masked,
        r#"{ "id": 7,"note":"ask [masked:email] today", "n":[1.0,-2e3,null,true] }"#
    );
}

#[test]
fn a_field_rule_replaces_whatever_stands_there() {
    let case = json()
        .field("$.customer.email", "email")
        .field("$.items[*].price", "price");
    let body = r#"{"customer":{"email":"none","Email":{"a":[1,{"b":2}]},"age":5},
        "items":[{"price":12.5},{"price":null},{"price":false,"x":"price"}],"email":"keep"}"#;
    let expected = r#"{"customer":{"email":"[masked:email]","Email":"[masked:email]","age":5},
        "items":[{"price":"[masked:price]"},{"price":null},{"price":"[masked:price]","x":"price"}],"email":"keep"}"#;
    assert_eq!(case.masked(body), expected);
}

#[test]
fn field_rules_follow_descendants_indexes_slices_and_the_root() {
    let body = r#"{"a":{"ssn":1,"b":[{"ssn":2},[{"SSN":3}]]},"l":[0,1,2,3,4,5]}"#;
    let case = json()
        .field("$..ssn", "us-ssn")
        .field("$.l[1:5:2]", "x")
        .field("$['l'][0]", "y");
    assert_eq!(
        case.masked(body),
        r#"{"a":{"ssn":"[masked:us-ssn]","b":[{"ssn":"[masked:us-ssn]"},[{"SSN":"[masked:us-ssn]"}]]},"l":["[masked:y]","[masked:x]",2,"[masked:x]",4,5]}"#
    );
    assert_eq!(
        json().field("$", "all").masked("[1,2]"),
        r#""[masked:all]""#
    );
    assert_eq!(
        json().field("$.*.b", "x").masked(r#"{"a":{"b":1},"b":2}"#),
        r#"{"a":{"b":"[masked:x]"},"b":2}"#
    );
}

#[test]
fn an_unmasked_class_passes_and_others_stay_masked() {
    let case = json().field("$.mail", "email").unmask("email");
    let body = r#"{"mail":"bob@example.com","card":"4111 1111 1111 1111"}"#;
    assert_eq!(
        case.masked(body),
        r#"{"mail":"bob@example.com","card":"[masked:payment-card]"}"#
    );
}

#[test]
fn findings_are_counted() {
    let body = br#"{"a":"bob@example.com","b":["amy@example.com","GB33BUKB20201555555555"]}"#;
    let (_, summary) = json().chunks(&[body]).unwrap();
    let hits: Vec<_> = summary
        .hits
        .iter()
        .map(|(class, count)| (class.as_str(), *count))
        .collect();
    assert_eq!(hits, [("email", 2), ("iban", 1)]);
}

#[test]
fn observing_counts_and_changes_nothing() {
    let case = json().field("$.b", "x").mode(Mode::Observe);
    let body = br#"{"a":"bob@example.com","b":{"c":"amy@example.com"}}"#;
    let (out, summary) = case.chunks(&[body]).unwrap();
    assert_eq!(out, body);
    assert!(summary.hits.is_empty());
    assert_eq!(summary.observed.len(), 2);
    let (out, summary) = case.chunks(&[b"{broken", b" json"]).unwrap();
    assert_eq!(out, b"{broken json");
    assert!(summary.uninspected.is_some());
}

#[test]
fn nothing_is_changed_where_masking_is_off() {
    let case = json().mode(Mode::Off);
    let body = r#"{"a":"bob@example.com" broken"#;
    assert_eq!(case.masked(body), body);
    assert!(!case.masker().unwrap().changes_length());
}

#[test]
fn a_clean_answer_is_byte_identical() {
    let body = " {\"a\\u0062\":\"\\ud83d\\ude00 \u{1f600} \\/ \",\r\n\t\"n\":1E400,\"d\":\"2026-11-23T06:00:00Z\",\
        \"id\":\"3f2504e0-4f89-11d3-9a0c-0305e82c3301\",\"h\":\"da39a3ee5e6b4b0d3255bfef95601890afd80709\"} \n";
    assert_eq!(json().masked(body), body);
    for at in 0..body.len() {
        let (left, right) = body.as_bytes().split_at(at);
        assert_eq!(json().chunks(&[left, right]).unwrap().0, body.as_bytes());
    }
}

#[test]
fn every_fault_of_the_settings_is_reported_at_once() {
    let config = Config {
        detect: vec!["phone-home".to_owned()],
        fields: [
            ("$.a[?@.b]".to_owned(), "email".into()),
            ("$.a[-1]".to_owned(), "email".into()),
            ("a.b".to_owned(), "email".into()),
            ("$.c".to_owned(), "Not A Class".into()),
            ("$.a-b".to_owned(), "x".into()),
        ]
        .into(),
        ..Config::default()
    };
    let faults = Settings::compile(&config).unwrap_err();
    let places: Vec<_> = faults.iter().map(|fault| fault.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "detect",
            "fields.\"$.a-b\"",
            "fields.\"$.a[-1]\"",
            "fields.\"$.a[?@.b]\"",
            "fields.\"$.c\"",
            "fields.\"a.b\""
        ]
    );
}
