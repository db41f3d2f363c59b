//! What proves a value of a class, in words: from the tables that the detectors themselves use.

use super::{context, forms, numbers, rules, words};

/// Most literals that are named.
const LITERALS_MAX: usize = 4;

/// Of a class that only its name tells.
const NAMED: &str = "its name says so, and it looks like one";

/// Whether a class is told by words in front of the value, and by nothing else.
pub(in crate::mask) fn told_by_name(class: &str) -> bool {
    proof(class) == NAMED
}

/// What proves a value of `class`.
pub(in crate::mask) fn proof(class: &str) -> String {
    let fixed = match class {
        "payment-card" => "12 to 19 digits in the range of an issuer, check digit (Luhn)",
        "iban" => "form and length of its country, check digits (mod 97)",
        "email" => "an address whose domain can exist",
        "phone" => "country code and length, or the groups of its country",
        "ip-address" => "an address of IP version 4 or 6",
        "hardware-address" => "six or eight groups of hexadecimal digits",
        "postal-address" => "house number, street and a word for a street",
        "bitcoin-address" | "ethereum-address" => "its alphabet, length and checksum",
        _ => "",
    };
    if !fixed.is_empty() {
        return fixed.to_owned();
    }
    if let Some(rule) = numbers::RULES.iter().find(|rule| rule.class == class) {
        return format!(
            "digits as {}, and the checks of such a number",
            rule.layout()
        );
    }
    let forms = words::RULES
        .iter()
        .filter(|rule| rule.class == class)
        .map(words::WordRule::form)
        .chain(
            forms::RULES
                .iter()
                .filter(|rule| rule.class == class)
                .flat_map(|rule| rule.forms().iter().copied()),
        );
    let forms: Vec<_> = forms.collect();
    if !forms.is_empty() {
        return format!(
            "form {} (9 a digit, A a letter, X either), and the checks of such a number",
            forms.join(" or ")
        );
    }
    let literals: Vec<_> = rules::RULES
        .iter()
        .filter(|rule| rule.class == class)
        .map(|rule| format!("`{}`", rule.literal))
        .take(LITERALS_MAX)
        .collect();
    if !literals.is_empty() {
        return format!(
            "begins with or holds {}, and what must follow it",
            literals.join(", ")
        );
    }
    if context::RULES.iter().any(|rule| rule.class == class) {
        return NAMED.to_owned();
    }
    "a detector of your own".to_owned()
}
