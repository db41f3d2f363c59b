//! What stands in place of a finding, by class or by field rule: a marker, a marker that keeps a part or
//! tells equal values, a token, asterisks, nothing; or the whole answer is withheld.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::catalogue;
use super::class::DataClass;
use super::config::{ClassId, Fault};
use super::detect::is_iban;
use super::marker::{PART_BYTES_MAX, marker, marker_with};
use super::tokens::token;
use super::vault::{Form, Owner, Scope, Vault};
use super::view::RUN_BYTES_MIN;

/// What stands in place of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Instead {
    /// A marker with the class, as in `[masked:email]` (default).
    #[default]
    Redact,
    /// A marker that keeps a part: the last four digits of a payment card, an IBAN, an account, a
    /// telephone or social security number, as in `[masked:payment-card:1111]`; the domain of an e-mail
    /// address. Where a value is encoded or touches another, nothing is kept.
    Partial,
    /// Eight asterisks, whatever the length. A request that carries them is not recognised.
    Fixed,
    /// The whole answer is withheld.
    Block,
    /// A marker with a name that is the same for the same value, as in
    /// `[masked:email:p-3f9c0a1b2d4e5f607182]`: rows can be joined and counted, the value stays hidden.
    /// Needs `mask_keys`; refused for classes of few values.
    Pseudonym,
    /// A token that carries the value encrypted, as in `cgtok~email~…~`: sent back to a function for which
    /// policy permits `detokenise`, it becomes the value again. Needs `mask_keys`.
    Token,
    /// Only for a rule under `fields`: the member, item, element or attribute is left out, a cell emptied.
    Drop,
}

/// What a field rule does at its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    /// What stands there.
    pub(super) class: ClassId,
    /// What is put in its place.
    pub(super) instead: Instead,
    /// Which rule; [`BY_VALUE`] for what is no rule's.
    pub(super) rule: u16,
}

/// In place of a rule's number: found by value or by name.
pub(super) const BY_VALUE: u16 = u16::MAX;

/// A value that is replaced, as far as it is in memory.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// Text, as it stands in the answer and decoded.
    Text { source: &'a [u8], text: &'a [u8] },
    /// A number, `true` or `false` of JSON.
    Scalar(&'a [u8]),
    /// An object, a list, or what is replaced before it is there.
    Beyond,
}

/// Classes of so few values that equal names or tokens would tell them, and last words of names of the
/// operator's own that mean such a class.
const FEW: &[&str] = &[
    "date-of-birth",
    "postal-code",
    "card-verification-code",
    "uk-sort-code",
    "us-routing-number",
    "bic",
];
const FEW_WORDS: &[&str] = &[
    "age",
    "birth",
    "birthday",
    "birthdate",
    "date",
    "day",
    "month",
    "year",
    "gender",
    "sex",
    "pin",
    "cvc",
    "cvv",
    "zip",
    "postcode",
    "grade",
    "score",
    "flag",
    "status",
    "country",
    "language",
];
/// What `fixed` writes.
const FIXED: &str = "********";
/// Classes of which a part can be kept.
const PARTIAL: &[&str] = &[
    "payment-card",
    "iban",
    "bank-account",
    "phone",
    "us-ssn",
    "email",
];
/// How many of the last characters are kept, and how many must be hidden at least beside them.
const KEPT_BYTES: usize = 4;
const HIDDEN_BYTES_MIN: usize = 4;

impl Instead {
    /// Whether keys are needed.
    pub(super) const fn is_keyed(self) -> bool {
        matches!(self, Self::Pseudonym | Self::Token)
    }

    /// What stands in place of a finding of `class`. `Block` writes a marker as well: what was released
    /// before the answer is cut must not hold the value. So does whatever cannot be done with this value.
    pub(super) fn text(
        self,
        class: &DataClass,
        value: Found<'_>,
        keys: Option<&Keys<'_>>,
    ) -> String {
        match self {
            Self::Redact | Self::Block | Self::Drop => None,
            Self::Fixed => Some(FIXED.to_owned()),
            Self::Partial => match value {
                Found::Text { source, .. } | Found::Scalar(source) => part(class.as_str(), source),
                Found::Beyond => None,
            }
            .map(|part| marker_with(class, &part)),
            Self::Pseudonym => keys.and_then(|keys| keys.pseudonym(class, value)),
            Self::Token => keys.and_then(|keys| keys.token(class, value)),
        }
        .unwrap_or_else(|| marker(class))
    }
}

/// The keys of one call.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    pub(super) vault: &'a Vault,
    pub(super) scope: Scope,
    pub(super) owner: Owner<'a>,
}

impl Keys<'_> {
    fn pseudonym(&self, class: &DataClass, value: Found<'_>) -> Option<String> {
        let (Found::Text { text, .. } | Found::Scalar(text)) = value else {
            return None;
        };
        let name = self.vault.pseudonym(self.scope, &self.owner, class, text)?;
        Some(marker_with(class, &format!("p-{name}")))
    }

    fn token(&self, class: &DataClass, value: Found<'_>) -> Option<String> {
        let (text, scalar) = match value {
            Found::Text { text, .. } => (text, false),
            Found::Scalar(text) => (text, true),
            Found::Beyond => return None,
        };
        let form = Form {
            scalar,
            random: is_few(class.as_str()),
        };
        let sealed = self
            .vault
            .seal(self.scope, &self.owner, class, text, form)?;
        Some(token(class, &sealed))
    }
}

/// Whether a class has so few values that equal stand-ins would tell them.
pub(super) fn is_few(class: &str) -> bool {
    let last = class.rsplit(['-', '.']).next().unwrap_or(class);
    FEW.contains(&class) || FEW_WORDS.contains(&last)
}

/// What is wrong with `instead` for a class, if something is.
pub(super) fn unfit(class: &str, instead: Instead) -> Option<String> {
    match instead {
        Instead::Pseudonym if is_few(class) => Some(format!(
            "`{class}` has so few values that whoever sees enough pseudonyms learns which is which: write \
             `redact`, or `token`, which is different each time"
        )),
        Instead::Partial if !PARTIAL.contains(&class) => Some(format!(
            "no part of `{class}` can be kept: `partial` is for {}",
            PARTIAL.join(", ")
        )),
        Instead::Redact
        | Instead::Partial
        | Instead::Fixed
        | Instead::Block
        | Instead::Pseudonym
        | Instead::Token
        | Instead::Drop => None,
    }
}

/// The part of a value that is kept.
fn part(class: &str, value: &[u8]) -> Option<String> {
    if class == "email" {
        let mut halves = value.split(|byte| *byte == b'@');
        let (_, domain, none) = (halves.next()?, halves.next()?, halves.next());
        let plain = domain
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let fits = plain && none.is_none() && (1..=PART_BYTES_MAX).contains(&domain.len());
        return fits.then(|| String::from_utf8_lossy(domain).into_owned());
    }
    // INVARIANT: only what the class is made of, so that nothing of a value that touches it is kept.
    let letters = class == "iban";
    let of_class = |byte: &u8| {
        byte.is_ascii_digit()
            || matches!(byte, b' ' | b'-' | b'+' | b'(' | b')' | b'.')
            || (letters && byte.is_ascii_alphanumeric())
    };
    if !PARTIAL.contains(&class) || !value.iter().all(of_class) {
        return None;
    }
    let compact: Vec<u8> = value
        .iter()
        .copied()
        .filter(u8::is_ascii_alphanumeric)
        .collect();
    let length = compact.len();
    let longest = if letters { 34 } else { 19 };
    // INVARIANT: nothing is kept of an encoding either. base64 of an IBAN is letters and digits too, hex of
    // digits is digits.
    if (letters && !is_iban(&compact)) || is_hex_of_digits(value) {
        return None;
    }
    let kept = compact.get(length.checked_sub(KEPT_BYTES)?..)?;
    (length >= KEPT_BYTES + HIDDEN_BYTES_MIN && length <= longest)
        .then(|| String::from_utf8_lossy(kept).into_owned())
}

/// Whether digits can be the hex of shorter digits: `3` before each, and as long as a run that is decoded.
fn is_hex_of_digits(value: &[u8]) -> bool {
    let is_digit = |pair: &[u8]| matches!(pair, [b'3', b'0'..=b'9']);
    value.len() >= RUN_BYTES_MIN
        && value.len().is_multiple_of(2)
        && value.chunks_exact(2).all(is_digit)
}

/// What stands in place of each of `classes`: by its own name, else by its group.
pub(super) fn compile(
    config: &BTreeMap<String, Instead>,
    classes: &[DataClass],
    faults: &mut Vec<Fault>,
) -> Vec<Instead> {
    for (name, instead) in config {
        let known = classes
            .iter()
            .any(|class| class.as_str() == name || class.group() == name);
        let mut fault = |message: String| {
            faults.push(Fault {
                place: format!("instead.{name}"),
                message,
            });
        };
        if !known {
            let groups = catalogue::groups().join(", ");
            fault(format!(
                "nothing finds `{name}` here: name a class that `fields`, `detect` or `detectors` has, or \
                 one of the groups {groups}, custom"
            ));
        } else if *instead == Instead::Drop {
            fault(
                "`drop` is for places: write it at a rule, as in `fields: { \"$.email\": { class: email, \
                 instead: drop } }`"
                    .to_owned(),
            );
        } else if *instead == Instead::Pseudonym {
            let named = classes
                .iter()
                .filter(|class| class.as_str() == name || class.group() == name);
            let own =
                |class: &&DataClass| class.as_str() == name || !config.contains_key(class.as_str());
            named
                .filter(own)
                .filter_map(|class| unfit(class.as_str(), *instead))
                .for_each(fault);
        } else if let Some(message) = unfit(name, *instead) {
            fault(message);
        }
    }
    classes
        .iter()
        .map(|class| {
            config
                .get(class.as_str())
                .or_else(|| config.get(class.group()))
                .copied()
                .unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests;
