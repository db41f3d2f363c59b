//! What is made of digits and proves itself by a check digit: payment cards, IBANs. One pass over
//! the text finds the digits for all of them.

use super::super::config::ClassId;
use super::numbers::{self, NumberRule};
use super::{Hit, before, is_word};

/// Fewest and most digits of a payment card number (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// Most groups that a number is looked for in, from each start.
const GROUPS_MAX: usize = 6;

/// The detectors that start from digits.
#[derive(Debug)]
pub(super) struct Digits {
    card: Option<ClassId>,
    iban: Option<ClassId>,
    numbers: Vec<(NumberRule, ClassId)>,
}

/// A run of digits.
#[derive(Clone, Copy, Debug)]
struct Group {
    start: usize,
    end: usize,
}

impl Digits {
    pub(super) fn new(number: &dyn Fn(&str) -> Option<ClassId>) -> Self {
        Self {
            card: number("payment-card"),
            iban: number("iban"),
            numbers: numbers::RULES
                .iter()
                .filter_map(|rule| number(rule.class).map(|class| (*rule, class)))
                .collect(),
        }
    }

    /// Finds all numbers in `text`.
    pub(super) fn scan(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let mut at = 0;
        while let Some(group) = next_group(text, at) {
            at = group.end;
            let length = group.end - group.start;
            if let Some(class) = self.iban
                && length >= 2
                && before(text, group.start).is_some_and(u8::is_ascii_alphabetic)
                && let Some(hit) = iban(text, group, class)
            {
                hits.push(hit);
            }
            let goes_on = matches!(text.get(group.end), Some(b' ' | b'-' | 0xC2));
            if let Some(class) = self.card
                && (length >= *CARD_DIGITS.start() || (length >= 4 && goes_on))
                && let Some(hit) = card(text, group, class)
            {
                hits.push(hit);
            }
            if !self.numbers.is_empty() {
                numbers::find(text, group.start, group.end, &self.numbers, hits);
            }
        }
    }
}

fn next_group(text: &[u8], from: usize) -> Option<Group> {
    let rest = text.get(from..)?;
    let start = from + rest.iter().position(u8::is_ascii_digit)?;
    let length = text
        .get(start..)?
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    Some(Group {
        start,
        end: start + length,
    })
}

/// The group after one separator (blank, hyphen, no-break space), if it follows at once.
fn joined_group(text: &[u8], group: Group) -> Option<Group> {
    let separator = match text.get(group.end..)? {
        [b' ' | b'-', ..] => 1,
        [0xC2, 0xA0, ..] => 2,
        _ => return None,
    };
    let next = next_group(text, group.end + separator)?;
    (next.start == group.end + separator).then_some(next)
}

/// A card number that starts with `first`: in one run, or in groups of at least four digits (the
/// last one may be shorter).
fn card(text: &[u8], first: Group, class: ClassId) -> Option<Hit> {
    if first.end - first.start < 4 || !stands_alone_before(text, first.start) {
        return None;
    }
    let mut digits = [0; *CARD_DIGITS.end()];
    let mut count = 0;
    let mut best = None;
    let mut group = first;
    for _ in 0..GROUPS_MAX {
        let run = text.get(group.start..group.end)?;
        let Some(free) = digits.get_mut(count..count + run.len()) else {
            break;
        };
        free.copy_from_slice(run);
        count += run.len();
        if CARD_DIGITS.contains(&count)
            && stands_alone_after(text, group.end)
            && is_card(digits.get(..count)?)
        {
            best = Some(Hit {
                start: first.start,
                end: group.end,
                class,
            });
        }
        if group.end - group.start < 4 {
            break;
        }
        match joined_group(text, group) {
            Some(next) => group = next,
            None => break,
        }
    }
    best
}

/// A number does not start in the middle of a hexadecimal word or behind a decimal point.
fn stands_alone_before(text: &[u8], start: usize) -> bool {
    match before(text, start) {
        Some(b'.') => !before(text, start - 1).is_some_and(u8::is_ascii_digit),
        Some(byte) if byte.is_ascii_alphabetic() => {
            let word = text.get(start.saturating_sub(8)..start).unwrap_or_default();
            word.iter()
                .rev()
                .take_while(|b| b.is_ascii_alphabetic())
                .any(|b| !b.is_ascii_hexdigit())
        }
        Some(_) | None => true,
    }
}

fn stands_alone_after(text: &[u8], end: usize) -> bool {
    let word = text.get(end..text.len().min(end + 8)).unwrap_or_default();
    let letters = word
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    letters == 0
        || word
            .iter()
            .take(letters)
            .any(|byte| !byte.is_ascii_hexdigit())
}

/// Issuer range, length and Luhn check.
fn is_card(digits: &[u8]) -> bool {
    let leading = |count: usize| {
        digits
            .iter()
            .take(count)
            .fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'))
    };
    let lengths = match (leading(2), leading(3), leading(4)) {
        (40..=49, _, _) => &[13, 16, 19][..],
        (34 | 37, _, _) => &[15],
        (51..=55, _, _) => &[16],
        (_, _, 2200..=2204) => &[16, 17, 18, 19],
        (_, _, 2221..=2720) => &[16],
        (36 | 38 | 39, _, _) | (_, 300..=305 | 309, _) => &[14, 16, 19],
        (_, _, 3528..=3589) => &[16, 17, 18, 19],
        (_, _, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => {
            &[12, 13, 14, 15, 16, 17, 18, 19]
        }
        (60 | 62 | 65 | 81 | 82, _, _) | (_, 508 | 644..=649, _) => &[16, 17, 18, 19],
        _ => &[],
    };
    lengths.contains(&digits.len()) && luhn(digits)
}

/// ISO/IEC 7812-1 annex B.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit) {
                (0, _) => digit,
                (_, 0..=4) => digit * 2,
                _ => digit * 2 - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Countries and lengths of the IBAN registry (ISO 13616).
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// An IBAN whose two check digits start `group`: in any case, in one run or in groups.
fn iban(text: &[u8], group: Group, class: ClassId) -> Option<Hit> {
    let start = group.start.checked_sub(2)?;
    let country = text.get(start..group.start)?.to_ascii_uppercase();
    if group.end - group.start < 2 || is_word(before(text, start)) {
        return None;
    }
    let (_, length) = IBAN_LENGTHS
        .iter()
        .find(|(known, _)| country == known.as_slice())?;
    let mut compact = Vec::with_capacity(*length);
    let mut end = start;
    while compact.len() < *length {
        match text.get(end) {
            Some(byte) if byte.is_ascii_alphanumeric() => compact.push(byte.to_ascii_uppercase()),
            Some(b' ' | b'-') if is_word(text.get(end + 1)) && is_word(before(text, end)) => {}
            Some(0xC2) if text.get(end + 1) == Some(&0xA0) => end += 1,
            Some(_) | None => return None,
        }
        end += 1;
    }
    let whole = !is_word(text.get(end));
    (whole && mod_97(&compact)).then_some(Hit { start, end, class })
}

/// ISO 7064 MOD 97-10 with the first four characters moved to the end.
fn mod_97(compact: &[u8]) -> bool {
    let (head, rest) = compact.split_at(compact.len().min(4));
    let remainder = rest.iter().chain(head).try_fold(0u32, |remainder, byte| {
        let value = char::from(*byte).to_digit(36)?;
        Some(
            if value < 10 {
                remainder * 10 + value
            } else {
                remainder * 100 + value
            } % 97,
        )
    });
    remainder == Some(1)
}
