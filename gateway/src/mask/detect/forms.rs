//! Identifiers of letters, digits and marks in one strict form, proved by a check character where one
//! exists.

use super::is_word;
use super::values::has_form;

/// One kind of identifier.
#[derive(Clone, Copy, Debug)]
pub(super) struct FormRule {
    /// What it is.
    pub(super) class: &'static str,
    /// How each character looks: `9` a digit, `A` a letter, `X` either, others themselves.
    forms: &'static [&'static str],
    /// Whether the letters and digits (in upper case) are such an identifier.
    valid: fn(&[u8]) -> bool,
}

impl FormRule {
    /// How it looks.
    pub(super) const fn forms(&self) -> &'static [&'static str] {
        self.forms
    }
}

const fn rule(
    class: &'static str,
    forms: &'static [&'static str],
    valid: fn(&[u8]) -> bool,
) -> FormRule {
    FormRule {
        class,
        forms,
        valid,
    }
}

/// All rules.
pub(super) const RULES: &[FormRule] = &[
    rule(
        "fi-personal-code",
        &["999999-999X", "999999+999X", "999999A999X"],
        fi_personal_code,
    ),
    rule(
        "cl-rut",
        &["99.999.999-X", "9.999.999-X", "99999999-X", "9999999-X"],
        cl_rut,
    ),
    rule(
        "us-medicare-number",
        &["9AX9-AX9-AA99", "9AX9AX9AA99"],
        us_medicare,
    ),
    rule("uk-nino", &["AA 99 99 99 A"], super::words::uk_nino),
    rule("hk-id", &["A999999(X)", "AA999999(X)"], hk_id),
];

/// Longest form.
const FORM_BYTES_MAX: usize = 16;

impl FormRule {
    /// Whether `rest` begins with this form of such an identifier, and nothing goes on behind it.
    pub(super) fn begins(&self, rest: &[u8], form: &str) -> bool {
        if !has_form(rest, form) || is_word(rest.get(form.len())) {
            return false;
        }
        let mut compact = [0; FORM_BYTES_MAX];
        let characters = rest.iter().take(form.len());
        let characters = characters.filter(|byte| byte.is_ascii_alphanumeric());
        let mut count = 0;
        for (place, byte) in compact.iter_mut().zip(characters) {
            *place = byte.to_ascii_uppercase();
            count += 1;
        }
        (self.valid)(compact.get(..count).unwrap_or_default())
    }
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, byte| {
        number * 10 + u64::from(byte.wrapping_sub(b'0'))
    })
}

fn part(word: &[u8], from: usize, to: usize) -> u64 {
    number(word.get(from..to).unwrap_or_default())
}

/// The last character is the number (the century's letter aside) modulo 31.
fn fi_personal_code(word: &[u8]) -> bool {
    const CHECKS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let serial = word.len() - 4;
    let century = serial == 6 || matches!(word.get(6), Some(b'A'..=b'F'));
    let date = (1..=31).contains(&part(word, 0, 2)) && (1..=12).contains(&part(word, 2, 4));
    let all = part(word, 0, 6) * 1000 + part(word, serial, serial + 3);
    let check = usize::try_from(all % 31).ok().and_then(|at| CHECKS.get(at));
    century && date && check == word.last()
}

/// Weights 2 to 7 from the right; ten is written K.
fn cl_rut(word: &[u8]) -> bool {
    let Some((check, digits)) = word.split_last() else {
        return false;
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([2, 3, 4, 5, 6, 7].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit.wrapping_sub(b'0')) * weight)
        .sum();
    let expected = match 11 - sum % 11 {
        11 => b'0',
        10 => b'K',
        rest => u8::try_from(rest).map_or(0, |rest| b'0' + rest),
    };
    *check == expected
}

/// The beneficiary identifier of the Centers for Medicare & Medicaid Services: letters that look like
/// digits are not used, and the first digit is not zero. It has no check digit.
fn us_medicare(word: &[u8]) -> bool {
    let barred = |byte: &u8| matches!(byte, b'S' | b'L' | b'O' | b'I' | b'B' | b'Z');
    word.first() != Some(&b'0') && !word.iter().any(barred)
}

/// Letters count from A = 10, a missing first one 36; weights 9 to 1; the sum is a multiple of 11.
fn hk_id(word: &[u8]) -> bool {
    let value = |byte: u8| char::from(byte).to_digit(36).unwrap_or(0);
    let (letters, rest) = word.split_at(word.len().saturating_sub(7));
    let first = match letters {
        [only] => 36 * 9 + value(*only) * 8,
        [first, second] => value(*first) * 9 + value(*second) * 8,
        _ => return false,
    };
    let check_fits = matches!(rest.last(), Some(b'0'..=b'9' | b'A'));
    let sum: u32 = rest
        .iter()
        .zip((1..=7).rev())
        .map(|(byte, weight)| value(*byte) * weight)
        .sum();
    check_fits && (first + sum).is_multiple_of(11)
}
