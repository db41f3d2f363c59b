//! Why a value was found, for whoever tries masking on a file.

use super::class::DataClass;
use super::detect;

/// Bytes of text in front of a value that are told.
const BEFORE_BYTES: usize = 24;
/// Longest value that is told whole, in characters.
const VALUE_CHARS: usize = 60;

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Why {
    /// What it is.
    pub class: DataClass,
    /// The value, cut if it is long.
    pub value: String,
    /// What told it.
    pub how: How,
}

/// What told a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// Its own form.
    Value {
        /// How it was encoded, if it was.
        encoded: Option<&'static str>,
        /// The text in front of it.
        before: String,
    },
    /// The name of its member, column, field or element.
    Name(String),
    /// A field rule: its path.
    Rule(String),
}

impl Why {
    /// In words: the detector, and what proved the value.
    #[must_use]
    pub fn text(&self) -> String {
        let class = self.class.as_str();
        match &self.how {
            How::Rule(path) => format!("by place: field rule `{path}`"),
            How::Name(name) => format!("by name: `{name}`; {}", detect::proof(class)),
            How::Value { encoded, before } => {
                let encoded = encoded.map_or_else(String::new, |how| format!(", {how}"));
                let context = if detect::told_by_name(class) && !before.is_empty() {
                    format!(" behind `{before}`")
                } else {
                    String::new()
                };
                format!("by value{encoded}{context}: {}", detect::proof(class))
            }
        }
    }
}

/// A value as it is told.
pub(super) fn value(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut told: String = text.chars().take(VALUE_CHARS).collect();
    if told.len() < text.len() {
        told.push('…');
    }
    told
}

/// The text in front of a value, from the beginning of its line.
pub(super) fn before(text: &[u8], start: usize) -> String {
    let ahead = text.get(start.saturating_sub(BEFORE_BYTES)..start);
    let ahead = String::from_utf8_lossy(ahead.unwrap_or_default());
    let line = ahead.rsplit(['\n', '\r', '\t']).next().unwrap_or_default();
    line.trim_start_matches('\u{fffd}').trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::{Config, Masker, Needles, ResponseFacts, Settings, Summary};

    fn explained(media_type: &str, body: &str) -> Summary {
        let config = Config {
            detect: ["contact", "identity", "health"]
                .map(str::to_owned)
                .to_vec(),
            fields: [("$..nick".to_owned(), "name".into())].into(),
            ..Config::default()
        };
        let settings = Arc::new(Settings::compile(&config).unwrap());
        let facts = ResponseFacts {
            status: 200,
            content_type: Some(media_type),
            ..ResponseFacts::default()
        };
        let plan = settings.plan(&BTreeSet::new());
        let masker = Masker::new(plan, Arc::new(Needles::none()), &facts).unwrap();
        let mut masker = masker.explained();
        let mut out = Vec::new();
        masker.push(body.as_bytes(), &mut out).unwrap();
        masker.finish(&mut out).unwrap()
    }

    fn lines(summary: &Summary) -> Vec<String> {
        let line = |why: &super::Why| format!("{} `{}` {}", why.class, why.value, why.text());
        summary.whys.iter().map(line).collect()
    }

    #[test]
    fn every_finding_says_what_told_it() {
        let body = r#"{"mail":"to bob@example.com","born":"x","t":"call +31 20 794 0800","dateOfBirth":"1980-02-29","card":4111111111111111,
            "b":"Ym9iQGV4YW1wbGUuY29t","e":"bob%40example.com","nick":"Bo","n":"born on 5 January 1980","s":"536-90-4399"}"#;
        assert_eq!(
            lines(&explained("application/json", body)),
            [
                "email `bob@example.com` by value: an address whose domain can exist",
                "phone `+31 20 794 0800` by value: country code and length, or the groups of its country",
                "date-of-birth `1980-02-29` by name: `dateOfBirth`; its name says so, and it looks like one",
                "payment-card `4111111111111111` by value: 12 to 19 digits in the range of an issuer, check digit (Luhn)",
                "email `Ym9iQGV4YW1wbGUuY29t` by value, inside base64 or hexadecimal: an address whose domain can exist",
                "email `bob%40example.com` by value, behind escapes: an address whose domain can exist",
                "name `Bo` by place: field rule `$..nick`",
                "date-of-birth `5 January 1980` by value behind `born on`: its name says so, and it looks like one",
                "us-ssn `536-90-4399` by value: digits as 3-2-4, and the checks of such a number",
            ]
        );
    }

    #[test]
    fn the_names_under_which_values_stand_are_kept_and_no_others() {
        let body = r#"{"contact":"bob@example.com","list":["bob@example.com",{"a":1},"eve@example.com"],
            "bob@example.com":"eve@example.com","id 12345":"eve@example.com","nick":"x","contact":"eve@example.com"}"#;
        let places = explained("application/json", body).places;
        let told: Vec<_> = places
            .iter()
            .flat_map(|(class, names)| {
                names
                    .iter()
                    .map(move |(name, n)| format!("{class} {name} {n}"))
            })
            .collect();
        // Not of what a rule finds, nor names that may be data.
        assert_eq!(told, ["email $.contact 2", "email $.list[*] 2"]);
        let body = r#"{"orders":[{"to":{"first-mail":"bob@example.com"}},{"to":{"first-mail":"eve@example.com"}}],
            "by id":{"bob@example.com":{"mail":"bob@example.com"}},"deep":[[["bob@example.com"]]]}"#;
        let email: super::super::DataClass = "email".parse().unwrap();
        let places = explained("application/json", body).places;
        let paths: Vec<_> = places[&email]
            .iter()
            .map(|(path, n)| format!("{path} {n}"))
            .collect();
        assert_eq!(
            paths,
            [
                "$.*.*.mail 1",
                "$.deep[*][*][*] 1",
                "$.orders[*].to['first-mail'] 2"
            ]
        );
        // Each is a place that a field rule can name.
        assert!(
            places[&email]
                .keys()
                .all(|path| path.parse::<super::super::path::Path>().is_ok())
        );
        let form = explained(
            "application/x-www-form-urlencoded",
            "mail=bob%40example.com",
        )
        .places;
        assert!(form[&email].contains_key("mail"));
        let many: Vec<_> = (0..100)
            .map(|n| format!("\"k{n}\":\"bob@example.com\""))
            .collect();
        let places = explained("application/json", &format!("{{{}}}", many.join(","))).places;
        assert_eq!(
            places
                .values()
                .map(std::collections::BTreeMap::len)
                .sum::<usize>(),
            32
        );
    }
}
