//! Identifiers of letters and digits in one word, proved by a check character or a strict form.

use super::super::config::ClassId;
use super::digits::next_digit;
use super::forms::{self, FormRule};
use super::{Hit, before};

/// One kind of identifier.
#[derive(Clone, Copy, Debug)]
pub(super) struct WordRule {
    /// What it is.
    pub(super) class: &'static str,
    /// How each character looks: `9` a digit, `A` a letter, `X` either; any case.
    form: &'static str,
    /// Whether the word (in upper case) is such an identifier.
    valid: fn(&[u8]) -> bool,
}

impl WordRule {
    /// How it looks.
    pub(super) const fn form(&self) -> &'static str {
        self.form
    }
}

const fn rule(class: &'static str, form: &'static str, valid: fn(&[u8]) -> bool) -> WordRule {
    WordRule { class, form, valid }
}

/// All rules.
pub(super) const RULES: &[WordRule] = &[
    rule("es-dni", "99999999A", |w| es_letter(number(w, 0, 8), w, 8)),
    rule("es-nie", "A9999999A", es_nie),
    rule("uk-nino", "AA999999A", uk_nino),
    rule("it-fiscal-code", "AAAAAAXXAXXAXXXA", it_fiscal_code),
    rule("mx-curp", "AAAA999999AAAAAAX9", mx_curp),
    rule("in-pan", "AAAAA9999A", |w| {
        at(w, 3).is_some_and(|b| b"ABCFGHJLPT".contains(&b))
    }),
    rule("sg-nric", "A9999999A", sg_nric),
    rule("tw-id", "A999999999", tw_id),
    rule("cn-resident-id", "99999999999999999X", cn_resident),
    rule("ie-pps", "9999999A", ie_pps),
    rule("ie-pps", "9999999AA", ie_pps),
    rule("vehicle-number", "XXXXXXXXXXXXXXXXX", vehicle),
    rule("us-dea-number", "AX9999999", us_dea),
    rule("de-health-insurance-number", "A999999999", de_health),
    rule("in-gstin", "99AAAAA9999AXAX", in_gstin),
    rule("uk-driving-licence", "XXXXX999999XX9AA", uk_licence),
];

/// Longest word that is looked at: all forms are shorter.
const WORD_BYTES_MAX: usize = 18;
/// Longest first word of a form that has no digit in it, as in `AA 99 99 99 A`.
const LETTERS_MAX: usize = 2;

/// The rules that are on, by the length of the word that they begin with.
#[derive(Debug)]
pub(super) struct Words {
    words: [Vec<(WordRule, ClassId)>; WORD_BYTES_MAX + 1],
    forms: [Vec<(FormRule, &'static str, ClassId)>; WORD_BYTES_MAX + 1],
}

impl Words {
    /// Those of which `number` gives the class; `None` if there is none.
    pub(super) fn new(number: &dyn Fn(&str) -> Option<ClassId>) -> Option<Self> {
        let words: [Vec<_>; _] = std::array::from_fn(|length| {
            let rules = RULES.iter().filter(|rule| rule.form.len() == length);
            rules
                .filter_map(|rule| number(rule.class).map(|class| (*rule, class)))
                .collect()
        });
        let forms: [Vec<_>; _] = std::array::from_fn(|length| {
            let forms = forms::RULES
                .iter()
                .flat_map(|rule| rule.forms().iter().map(move |form| (*rule, *form)));
            forms
                .filter(|(_, form)| first_word(form) == length)
                .filter_map(|(rule, form)| number(rule.class).map(|class| (rule, form, class)))
                .collect()
        });
        let none = words.iter().all(Vec::is_empty) && forms.iter().all(Vec::is_empty);
        (!none).then_some(Self { words, forms })
    }

    /// Finds identifiers. All hold digits, so only words with digits are looked at, and the one before.
    pub(super) fn scan(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let mut at = 0;
        while let Some(digit) = next_digit(text, at) {
            let ahead = text.get(at..digit).unwrap_or_default();
            let behind = text.get(digit..).unwrap_or_default();
            let is_word = |byte: &&u8| byte.is_ascii_alphanumeric();
            let start = digit - ahead.iter().rev().take_while(is_word).count();
            at = digit + behind.iter().take_while(is_word).count();
            if before(text, start) == Some(&b' ') {
                self.marked(text, letters_before(text, start - 1), start - 1, hits);
            }
            self.marked(text, start, at, hits);
            self.plain(text, start, at, hits);
        }
    }

    /// Identifiers with marks in them that begin with a word.
    fn marked(&self, text: &[u8], start: usize, end: usize, hits: &mut Vec<Hit>) {
        let rules = self.forms.get(end - start).into_iter().flatten();
        for (rule, form, class) in rules {
            if rule.begins(text.get(start..).unwrap_or_default(), form) {
                hits.push(Hit {
                    start,
                    end: start + form.len(),
                    class: *class,
                });
            }
        }
    }

    /// An identifier that is a word.
    fn plain(&self, text: &[u8], start: usize, end: usize, hits: &mut Vec<Hit>) {
        let Some(rules) = self
            .words
            .get(end - start)
            .filter(|rules| !rules.is_empty())
        else {
            return;
        };
        let mut upper = [0; WORD_BYTES_MAX];
        let Some(word) = upper.get_mut(..end - start) else {
            return;
        };
        word.copy_from_slice(text.get(start..end).unwrap_or_default());
        word.make_ascii_uppercase();
        let found = rules
            .iter()
            .find(|(rule, _)| has_form(word, rule.form) && (rule.valid)(word));
        hits.extend(found.map(|(_, class)| Hit {
            start,
            end,
            class: *class,
        }));
    }
}

/// Length of the word that a form begins with.
fn first_word(form: &str) -> usize {
    form.bytes().take_while(u8::is_ascii_alphanumeric).count()
}

/// Where the word of few letters that ends at `end` begins; `end` if there is none.
fn letters_before(text: &[u8], end: usize) -> usize {
    let ahead = text.get(..end).unwrap_or_default().iter().rev();
    let letters = ahead
        .take(LETTERS_MAX + 1)
        .take_while(|byte| byte.is_ascii_alphabetic());
    let length = letters.count();
    let start = end - length;
    let whole =
        length <= LETTERS_MAX && !before(text, start).is_some_and(u8::is_ascii_alphanumeric);
    if whole { start } else { end }
}

fn has_form(word: &[u8], form: &str) -> bool {
    word.len() == form.len()
        && word
            .iter()
            .zip(form.bytes())
            .all(|(byte, kind)| match kind {
                b'9' => byte.is_ascii_digit(),
                b'A' => byte.is_ascii_uppercase(),
                _ => true,
            })
}

fn at(word: &[u8], place: usize) -> Option<u8> {
    word.get(place).copied()
}

fn value(byte: u8) -> u32 {
    char::from(byte).to_digit(36).unwrap_or(0)
}

fn number(word: &[u8], from: usize, to: usize) -> u64 {
    let digits = word.get(from..to).unwrap_or_default();
    digits.iter().fold(0, |number, byte| {
        number * 10 + u64::from(byte.wrapping_sub(b'0'))
    })
}

fn weighted(word: &[u8], weights: &[u32]) -> u32 {
    word.iter()
        .zip(weights)
        .map(|(byte, weight)| value(*byte) * weight)
        .sum()
}

fn letter(alphabet: &[u8], index: u64) -> Option<u8> {
    usize::try_from(index)
        .ok()
        .and_then(|index| alphabet.get(index))
        .copied()
}

fn es_letter(number: u64, word: &[u8], place: usize) -> bool {
    letter(b"TRWAGMYFPDXBNJZSQVHLCKE", number % 23) == at(word, place)
}

fn es_nie(word: &[u8]) -> bool {
    let first = match at(word, 0) {
        Some(b'X') => 0,
        Some(b'Y') => 1,
        Some(b'Z') => 2,
        _ => return false,
    };
    es_letter(first * 10_000_000 + number(word, 1, 8), word, 8)
}

pub(super) fn uk_nino(word: &[u8]) -> bool {
    let [first, second, .., last] = word else {
        return false;
    };
    let barred = [*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"];
    !b"DFIQUV".contains(first)
        && !b"DFIQUVO".contains(second)
        && !barred.contains(&[*first, *second])
        && (b'A'..=b'D').contains(last)
}

/// Letters in odd places have values of their own (decree of 23 December 1976).
fn it_fiscal_code(word: &[u8]) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let Some((check, rest)) = word.split_last() else {
        return false;
    };
    let sum: u32 = rest
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let even = if byte.is_ascii_digit() {
                value(*byte)
            } else {
                value(*byte) - 10
            };
            if place % 2 == 1 {
                even
            } else {
                ODD.get(even as usize).copied().unwrap_or(0)
            }
        })
        .sum();
    letter(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", u64::from(sum % 26)) == Some(*check)
}

/// Character values follow the Spanish alphabet, in which the letter after N moves the rest by one.
fn mx_curp(word: &[u8]) -> bool {
    let Some((check, rest)) = word.split_last() else {
        return false;
    };
    let sum: u32 = rest
        .iter()
        .zip((2..=18).rev())
        .map(|(byte, weight)| {
            (value(*byte) + u32::from(*byte > b'N' && byte.is_ascii_uppercase())) * weight
        })
        .sum();
    let sex = matches!(at(word, 10), Some(b'H' | b'M' | b'X'));
    sex && (10 - sum % 10) % 10 == value(*check)
}

fn sg_nric(word: &[u8]) -> bool {
    let digits = word.get(1..8).unwrap_or_default();
    let sum = weighted(digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters): (u32, &[u8]) = match at(word, 0) {
        Some(b'S') => (0, b"JZIHGFEDCBA"),
        Some(b'T') => (4, b"JZIHGFEDCBA"),
        Some(b'F') => (0, b"XWUTRQPNMLK"),
        Some(b'G') => (4, b"XWUTRQPNMLK"),
        _ => return false,
    };
    letter(letters, u64::from((sum + offset) % 11)) == at(word, 8)
}

fn tw_id(word: &[u8]) -> bool {
    const REGIONS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let Some(region) = REGIONS.iter().position(|known| Some(*known) == at(word, 0)) else {
        return false;
    };
    let Ok(region) = u32::try_from(region + 10) else {
        return false;
    };
    let digits = word.get(1..).unwrap_or_default();
    let sum = region / 10 + region % 10 * 9 + weighted(digits, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    matches!(at(word, 1), Some(b'1' | b'2' | b'8' | b'9')) && sum.is_multiple_of(10)
}

/// ISO 7064 MOD 11-2.
fn cn_resident(word: &[u8]) -> bool {
    let Some((check, rest)) = word.split_last() else {
        return false;
    };
    let sum = weighted(rest, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let date = (1800..2200).contains(&number(word, 6, 10))
        && (1..=12).contains(&number(word, 10, 12))
        && (1..=31).contains(&number(word, 12, 14));
    date && letter(b"10X98765432", u64::from(sum % 11)) == Some(*check)
}

fn ie_pps(word: &[u8]) -> bool {
    let second = at(word, 8).map_or(0, |byte| value(byte) - 9);
    let sum = weighted(word, &[8, 7, 6, 5, 4, 3, 2]) + second * 9;
    letter(b"WABCDEFGHIJKLMNOPQRSTUV", u64::from(sum % 23)) == at(word, 7)
}

/// Digits in odd places, and twice those in even ones.
fn us_dea(word: &[u8]) -> bool {
    let registrant = at(word, 0).is_some_and(|b| b"ABCDEFGHJKLMPRSTUX".contains(&b));
    let second = at(word, 1).is_some_and(|b| b.is_ascii_uppercase() || b == b'9');
    let sum = weighted(word.get(2..).unwrap_or_default(), &[1, 2, 1, 2, 1, 2]);
    registrant && second && Some(sum % 10) == at(word, 8).map(value)
}

/// The letter as two digits, weights 1 and 2, sums of digits (\u{a7} 290 SGB V).
fn de_health(word: &[u8]) -> bool {
    let Some(letter) = at(word, 0).map(|byte| value(byte).wrapping_sub(9)) else {
        return false;
    };
    let digits = word
        .get(1..9)
        .unwrap_or_default()
        .iter()
        .map(|byte| value(*byte));
    let sum: u32 = [letter / 10, letter % 10]
        .into_iter()
        .chain(digits)
        .zip([1, 2].into_iter().cycle())
        .map(|(digit, weight)| digit * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    Some(sum % 10) == at(word, 9).map(value)
}

/// State, permanent account number, and a check character (weights 1 and 2 to the base 36).
fn in_gstin(word: &[u8]) -> bool {
    let Some((check, rest)) = word.split_last() else {
        return false;
    };
    let sum: u32 = rest
        .iter()
        .zip([1, 2].into_iter().cycle())
        .map(|(byte, weight)| value(*byte) * weight)
        .map(|product| product / 36 + product % 36)
        .sum();
    let state = (1..=38).contains(&number(word, 0, 2)) || matches!(number(word, 0, 2), 97 | 99);
    state && (36 - sum % 36) % 36 == value(*check)
}

/// Name padded with nines, then the date of birth in a scattered order.
fn uk_licence(word: &[u8]) -> bool {
    let name = word.get(..5).unwrap_or_default();
    let letters = name
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    let padded = name.iter().skip(letters).all(|byte| *byte == b'9');
    let month = number(word, 6, 8) % 50;
    letters > 0
        && padded
        && (1..=12).contains(&month)
        && (1..=31).contains(&number(word, 8, 10))
        && matches!(at(word, 11), Some(b'A'..=b'Z' | b'9'))
}

/// The check digit of ISO 3779 as North America uses it.
fn vehicle(word: &[u8]) -> bool {
    let letters = word.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    if letters == 0 || word.iter().any(|byte| matches!(byte, b'I' | b'O' | b'Q')) {
        return false;
    }
    let worth = |byte: u8| match byte {
        b'A'..=b'I' => u32::from(byte - b'A') + 1,
        b'J'..=b'R' => u32::from(byte - b'J') + 1,
        b'S'..=b'Z' => u32::from(byte - b'S') + 2,
        _ => value(byte),
    };
    let weights = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let sum: u32 = word
        .iter()
        .zip(weights)
        .map(|(byte, weight)| worth(*byte) * weight)
        .sum();
    letter(b"0123456789X", u64::from(sum % 11)) == at(word, 8)
}

#[cfg(test)]
mod tests {
    use super::{LETTERS_MAX, RULES, WORD_BYTES_MAX, first_word, forms};

    #[test]
    fn every_form_begins_with_a_digit_in_its_first_word_or_behind_a_short_one() {
        let digit = |form: &str| form.contains('9');
        for rule in RULES {
            let form = rule.form();
            // `X` may be a digit or a letter: what such a form finds proves itself by one.
            let fits = digit(form) || form.contains('X');
            assert!(fits && form.len() <= WORD_BYTES_MAX, "{form}");
        }
        for form in forms::RULES.iter().flat_map(|rule| rule.forms()) {
            let first = first_word(form);
            let (word, rest) = form.split_at(first);
            let after = rest.starts_with(" 9") && first <= LETTERS_MAX;
            assert!((digit(word) || after) && first <= WORD_BYTES_MAX, "{form}");
        }
    }
}
