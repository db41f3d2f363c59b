//! What only its name tells: a date is a date of birth, nine digits are a passport number, a word is a
//! password because it stands beside one. The name is a member of JSON (`"dateOfBirth": …`), what
//! stands before `=` or `:`, or words of a sentence (`born on …`).
//!
//! Names are compared word by word from their end, so `customer_zip` and `customerZip` are names of a
//! postal code and `gzip` is not.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use super::super::config::ClassId;
use super::values::{self, Place};
use super::{Hit, before, is_word};

/// One kind of value, the names that tell of it, and what it looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContextRule {
    /// What it is.
    pub(super) class: &'static str,
    /// The names: lower-case words with one blank between them.
    names: &'static [&'static str],
    /// Gives the length of the value that stands at the start of the text, if there is one.
    value: fn(&[u8], Place) -> Option<usize>,
}

const fn rule(
    class: &'static str,
    names: &'static [&'static str],
    value: fn(&[u8], Place) -> Option<usize>,
) -> ContextRule {
    ContextRule {
        class,
        names,
        value,
    }
}

/// All rules. Where two share a name, the first one has it.
pub(super) const RULES: &[ContextRule] = &[
    rule(
        "date-of-birth",
        &[
            "date of birth",
            "birth date",
            "birthdate",
            "birthday",
            "dob",
            "born",
            "born on",
            "geburtsdatum",
            "geboren am",
            "date de naissance",
            "fecha de nacimiento",
            "data di nascita",
            "geboortedatum",
        ],
        values::date,
    ),
    rule(
        "phone",
        &[
            "phone",
            "telephone",
            "tel",
            "mobile",
            "mobile phone",
            "cell",
            "cell phone",
            "fax",
            "telefon",
        ],
        values::phone,
    ),
    rule(
        "postal-code",
        &[
            "zip",
            "zip code",
            "zipcode",
            "postcode",
            "post code",
            "postal code",
            "plz",
            "postleitzahl",
            "code postal",
            "codigo postal",
        ],
        values::postal_code,
    ),
    rule(
        "bic",
        &[
            "bic",
            "swift",
            "swift code",
            "swift bic",
            "bic swift",
            "bank identifier code",
        ],
        values::bic,
    ),
    rule(
        "bank-account",
        &[
            "account number",
            "account no",
            "acct number",
            "acct no",
            "bank account",
            "bank account number",
            "kontonummer",
        ],
        values::account,
    ),
    rule("uk-sort-code", &["sort code"], values::sort_code),
    rule(
        "card-verification-code",
        &[
            "cvv",
            "cvv2",
            "cvc",
            "cvc2",
            "card verification code",
            "card security code",
        ],
        values::verification_code,
    ),
    rule(
        "passport-number",
        &[
            "passport",
            "passport number",
            "reisepass",
            "reisepassnummer",
            "passeport",
            "pasaporte",
            "passaporto",
            "paspoort",
        ],
        values::document,
    ),
    rule(
        "driving-licence",
        &[
            "driver license",
            "drivers license",
            "driver's license",
            "driver licence",
            "driving licence",
            "driving license",
            "permis de conduire",
            "f\u{fc}hrerschein",
        ],
        values::document,
    ),
    rule(
        "identity-card",
        &[
            "identity card",
            "id card",
            "personalausweis",
            "carte nationale d'identite",
        ],
        values::document,
    ),
    rule(
        "licence-plate",
        &[
            "licence plate",
            "license plate",
            "number plate",
            "plate number",
            "registration plate",
            "kennzeichen",
        ],
        values::plate,
    ),
    rule(
        "medical-record-number",
        &[
            "mrn",
            "medical record",
            "patient id",
            "patient number",
            "hospital number",
        ],
        values::record,
    ),
    rule(
        "health-insurance-number",
        &[
            "health insurance number",
            "insurance member id",
            "health card number",
            "health plan number",
            "versichertennummer",
        ],
        values::record,
    ),
    rule(
        "us-npi",
        &["npi", "national provider identifier"],
        values::npi,
    ),
    // Numbers that prove themselves stand in other tables; under their name they are found all the same
    // when a digit is wrong, or when nothing is written between the groups.
    rule(
        "us-ssn",
        &["ssn", "social security", "social security number"],
        values::nine_digits,
    ),
    rule(
        "ca-sin",
        &["sin", "social insurance number"],
        values::nine_digits,
    ),
    rule(
        "uk-nino",
        &["nino", "national insurance number"],
        values::nino,
    ),
    rule("uk-nhs-number", &["nhs", "nhs number"], values::ten_digits),
    rule("in-aadhaar", &["aadhaar", "aadhar"], values::twelve_digits),
    rule("secret.aws-key", &["secret access key"], values::aws_secret),
    rule(
        "secret.password",
        &[
            "password",
            "passwd",
            "pwd",
            "passphrase",
            "passwort",
            "user pass",
            "db pass",
        ],
        values::password,
    ),
    rule(
        "secret.named",
        &[
            "secret",
            "token",
            "api key",
            "apikey",
            "api secret",
            "access key",
            "auth key",
            "client secret",
            "consumer secret",
            "app secret",
            "secret key",
            "private key",
            "signing key",
            "encryption key",
            "master key",
            "shared key",
            "account key",
            "service key",
            "license key",
        ],
        values::random,
    ),
];

/// Words that turn a token into something that callers need: a place in a list, a public half.
const HARMLESS: &[&[u8]] = &[
    b"page",
    b"next",
    b"cursor",
    b"continuation",
    b"pagination",
    b"sync",
    b"resume",
    b"public",
    b"publishable",
    b"idempotency",
];

/// What may be appended to a name.
const ENDINGS: &[&str] = &["", "number", "no", "nr", "id", "value"];
/// The longest of them, in bytes.
const ENDING_BYTES_MAX: usize = 6;
/// How words of a name are joined in text.
const JOINTS: &[&str] = &[" ", "_", "-", ""];
/// Longest name that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 48;
/// How far a value may stand behind its name in a sentence, in bytes.
const FILLER_BYTES_MAX: usize = 24;
/// Words that may stand between a name and its value.
const FILLERS: &[&[u8]] = &[
    b"is", b"was", b"no", b"nr", b"number", b"num", b"id", b"code", b"on", b"of", b"the", b"ist",
];

/// The number of a rule that a name announces.
pub(in crate::mask) type Announced = u8;

/// The rules of one [`Settings`](super::super::Settings), compiled.
#[derive(Debug)]
pub(in crate::mask) struct Context {
    rules: Vec<(ContextRule, ClassId)>,
    /// Joined names, in lower case, to rules.
    names: HashMap<Vec<u8>, Announced>,
    /// Which last three letters some name has: rules out nearly every name at one look.
    ends: Box<[u64; 64]>,
    /// The names as they stand in text, and their rules; secrets are found at their separators.
    phrases: Option<(AhoCorasick, Vec<Announced>)>,
    /// Whether some rule is about secrets.
    separators: bool,
}

impl Context {
    /// Compiles what is switched on; `None` if nothing is.
    pub(super) fn new(number: &dyn Fn(&str) -> Option<ClassId>) -> Option<Self> {
        let rules: Vec<_> = RULES
            .iter()
            .filter_map(|rule| number(rule.class).map(|class| (*rule, class)))
            .collect();
        if rules.is_empty() {
            return None;
        }
        let mut names = HashMap::new();
        let mut ends = Box::new([0; 64]);
        let mut patterns = Vec::new();
        let mut owners = Vec::new();
        for (at, (rule, _)) in rules.iter().enumerate() {
            let at = Announced::try_from(at).ok()?;
            for (name, ending) in rule
                .names
                .iter()
                .flat_map(|name| ENDINGS.iter().map(move |ending| (name, ending)))
            {
                let joined = format!("{}{ending}", name.replace([' ', '\''], ""));
                let end = last_three(joined.as_bytes())?;
                set(&mut ends, end);
                names.entry(joined.into_bytes()).or_insert(at);
            }
            if is_secret(rule) {
                continue;
            }
            for (name, joint) in rule
                .names
                .iter()
                .flat_map(|name| JOINTS.iter().map(move |joint| (name, joint)))
            {
                patterns.push(name.replace(' ', joint));
                owners.push(at);
            }
        }
        let separators = rules.iter().any(|(rule, _)| is_secret(rule));
        let phrases = if patterns.is_empty() {
            None
        } else {
            let searcher = AhoCorasickBuilder::new()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::LeftmostLongest)
                .build(&patterns)
                .ok()?;
            Some((searcher, owners))
        };
        Some(Self {
            rules,
            names,
            ends,
            phrases,
            separators,
        })
    }

    /// The rule that a name announces.
    pub(in crate::mask) fn announced(&self, name: &[u8]) -> Option<Announced> {
        let quick = tail(name).is_none_or(|end| is_set(&self.ends, end));
        if name.len() < 3 || !quick {
            return None;
        }
        let name = name.get(name.len().saturating_sub(NAME_BYTES_MAX)..)?;
        let mut joined = [0u8; NAME_BYTES_MAX];
        let mut length = 0;
        let mut starts = [0usize; NAME_BYTES_MAX];
        let mut words = 0;
        let mut last = b'_';
        for byte in name {
            if !byte.is_ascii_alphanumeric() {
                if !matches!(byte, b'\'' | 0x80..) {
                    last = b'_';
                    continue;
                }
                if *byte == b'\'' {
                    continue;
                }
            }
            let begins = last == b'_' || (last.is_ascii_lowercase() && byte.is_ascii_uppercase());
            if begins {
                *starts.get_mut(words)? = length;
                words += 1;
            }
            *joined.get_mut(length)? = byte.to_ascii_lowercase();
            length += 1;
            last = *byte;
        }
        let joined = joined.get(..length)?;
        let starts = starts.get(..words)?;
        let (first, rule) = starts.iter().enumerate().find_map(|(at, start)| {
            let rule = self.names.get(joined.get(*start..)?)?;
            Some((at, *rule))
        })?;
        let named = self.rules.get(usize::from(rule)).map(|(rule, _)| rule)?;
        let harmless = named.class == "secret.named"
            && starts.iter().take(first).enumerate().any(|(at, start)| {
                let end = starts.get(at + 1).copied().unwrap_or(length);
                joined
                    .get(*start..end)
                    .is_some_and(|word| HARMLESS.contains(&word))
            });
        (!harmless).then_some(rule)
    }

    /// What a whole value is that a name announced.
    pub(in crate::mask) fn value(&self, rule: Announced, value: &[u8]) -> Option<ClassId> {
        let (rule, class) = self.rules.get(usize::from(rule))?;
        ((rule.value)(value, Place::Whole) == Some(value.len())).then_some(*class)
    }

    /// Finds values beside their names in text.
    pub(super) fn scan(&self, text: &[u8], hits: &mut Vec<Hit>) {
        if self.separators {
            for at in memchr::memchr2_iter(b'=', b':', text) {
                hits.extend(self.behind_separator(text, at));
            }
        }
        let Some((searcher, owners)) = &self.phrases else {
            return;
        };
        for found in searcher.find_iter(text) {
            let owner = owners.get(found.pattern().as_usize());
            let rule = owner.and_then(|rule| self.rules.get(usize::from(*rule)));
            if let Some((rule, class)) = rule {
                hits.extend(behind_name(text, found.start(), found.end(), rule, *class));
            }
        }
    }

    /// The secret after `name=` or `name:` whose separator stands at `at`.
    fn behind_separator(&self, text: &[u8], at: usize) -> Option<Hit> {
        const QUOTES_MAX: usize = 4;
        let quotes = |byte: &&u8| matches!(**byte, b' ' | b'"' | b'\'' | b'\\');
        let ahead = text.get(at.saturating_sub(NAME_BYTES_MAX)..at)?;
        let skipped = ahead
            .iter()
            .rev()
            .take(QUOTES_MAX)
            .take_while(quotes)
            .count();
        let ahead = ahead.get(..ahead.len() - skipped)?;
        if !tail(ahead).is_some_and(|end| is_set(&self.ends, end)) {
            return None;
        }
        let length = ahead
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            .count();
        let rule = self.announced(ahead.get(ahead.len() - length..)?)?;
        let (rule, class) = self.rules.get(usize::from(rule))?;
        if !is_secret(rule) {
            return None;
        }
        let rest = text.get(at + 1..)?;
        let between = rest
            .iter()
            .take(QUOTES_MAX)
            .take_while(|byte| quotes(byte) || **byte == b'=');
        let start = at + 1 + between.count();
        let length = (rule.value)(text.get(start..)?, Place::Text)?;
        Some(Hit {
            start,
            end: start + length,
            class: *class,
        })
    }
}

fn is_secret(rule: &ContextRule) -> bool {
    rule.class.starts_with("secret.")
}

/// The value behind a name in a sentence.
fn behind_name(
    text: &[u8],
    start: usize,
    end: usize,
    rule: &ContextRule,
    class: ClassId,
) -> Option<Hit> {
    let inner = before(text, start).is_some_and(|byte| {
        let camel =
            byte.is_ascii_lowercase() && text.get(start).is_some_and(u8::is_ascii_uppercase);
        byte.is_ascii_alphanumeric() && !camel
    });
    if inner {
        return None;
    }
    let mut at = end;
    // A plural, and a name's ending that is written without a joint (`zipCode`).
    let rest = text.get(at..)?;
    let letters = rest
        .iter()
        .take(ENDING_BYTES_MAX + 1)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let word = rest.get(..letters)?;
    let ending = ENDINGS
        .iter()
        .chain(&["s", "code"])
        .any(|ending| word.eq_ignore_ascii_case(ending.as_bytes()));
    if !ending {
        return None;
    }
    at += letters;
    let from = at;
    loop {
        let rest = text.get(at..)?;
        let length = match rest.first()? {
            b' ' | b'"' | b'\'' | b':' | b'=' | b'#' | b'(' | b')' | b'.' | b'-' | b'_' => 1,
            0xC2 if rest.get(1) == Some(&0xA0) => 2,
            byte if byte.is_ascii_alphabetic() && at > from => {
                let filler = FILLERS.iter().find(|filler| {
                    rest.get(..filler.len())
                        .is_some_and(|word| word.eq_ignore_ascii_case(filler))
                        && !is_word(rest.get(filler.len()))
                });
                filler.map_or(0, |filler| filler.len())
            }
            _ => 0,
        };
        if length == 0 {
            break;
        }
        at += length;
        if at - from > FILLER_BYTES_MAX {
            return None;
        }
    }
    if at == from {
        return None;
    }
    let length = (rule.value)(text.get(at..)?, Place::Text)?;
    (!is_word(text.get(at + length))).then_some(Hit {
        start: at,
        end: at + length,
        class,
    })
}

/// The last three letters of a name, each in five bits.
fn last_three(name: &[u8]) -> Option<usize> {
    let [.., a, b, c] = name else { return None };
    let bits = |byte: &u8| usize::from(byte & 0x1F);
    Some((bits(a) << 10 | bits(b) << 5 | bits(c)) & 0xFFF)
}

/// The same of a name that may have joints in it: `None` if it has one among the last three.
fn tail(name: &[u8]) -> Option<usize> {
    let [.., a, b, c] = name else { return None };
    let plain = [a, b, c].iter().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| last_three(name)).flatten()
}

fn set(ends: &mut [u64; 64], end: usize) {
    if let Some(word) = ends.get_mut(end / 64) {
        *word |= 1 << (end % 64);
    }
}

fn is_set(ends: &[u64; 64], end: usize) -> bool {
    ends.get(end / 64)
        .is_some_and(|word| word >> (end % 64) & 1 == 1)
}
