//! What stands in place of a finding, by class: a marker, a marker that keeps a part, asterisks; or the
//! whole answer is withheld.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::catalogue;
use super::class::DataClass;
use super::config::Fault;
use super::marker::{PART_BYTES_MAX, marker, marker_with};

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
}

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
    /// What stands in place of `value`, a finding of `class`. `Block` writes a marker as well: what was
    /// released before the answer is cut must not hold the value.
    pub(super) fn text(self, class: &DataClass, value: &[u8]) -> String {
        match self {
            Self::Redact | Self::Block => marker(class),
            Self::Fixed => FIXED.to_owned(),
            Self::Partial => match part(class.as_str(), value) {
                Some(part) => marker_with(class, &part),
                None => marker(class),
            },
        }
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
    let kept = compact.get(length.checked_sub(KEPT_BYTES)?..)?;
    (length >= KEPT_BYTES + HIDDEN_BYTES_MIN && length <= longest)
        .then(|| String::from_utf8_lossy(kept).into_owned())
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
        } else if *instead == Instead::Partial && !PARTIAL.contains(&name.as_str()) {
            fault(format!(
                "no part of `{name}` can be kept: `partial` is for {}",
                PARTIAL.join(", ")
            ));
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
