//! What is made of digits and proves itself by a check digit: payment cards, IBANs. One pass over
//! the text finds the digits for all of them.

use super::super::config::ClassId;
use super::numbers::{self, Numbers};
use super::{Hit, before, is_word, marks};

/// Fewest and most digits of a payment card number (ISO/IEC 7812).
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// Most groups that a number is looked for in, from each start.
const GROUPS_MAX: usize = 6;

/// The detectors that start from digits.
#[derive(Debug)]
pub(super) struct Digits {
    card: Option<ClassId>,
    iban: Option<ClassId>,
    numbers: Numbers,
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
            numbers: Numbers::new(number),
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
            numbers::find(text, group.start, group.end, &self.numbers, hits);
        }
    }
}

/// The place of the first digit at or behind `from`, eight bytes at a time: every detector of numbers starts
/// from here.
pub(super) fn next_digit(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let (eights, last) = rest.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        let digits = marks::digits(u64::from_le_bytes(*eight));
        if digits != 0 {
            return Some(from + at * 8 + digits.trailing_zeros() as usize / 8);
        }
    }
    let seen = rest.len() - last.len();
    let found = last.iter().position(u8::is_ascii_digit)?;
    Some(from + seen + found)
}

fn next_group(text: &[u8], from: usize) -> Option<Group> {
    let start = next_digit(text, from)?;
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
        (34 | 37, _, _) | (_, _, 1800 | 2131) => &[15],
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

/// Parts of an account number: how many characters of which kind.
type Form = &'static [(usize, u8)];

/// Countries of the IBAN registry (ISO 13616), and what their account numbers are made of: so many digits
/// (`n`), letters (`a`), or either (`c`).
const IBAN_FORMS: &[(&[u8; 2], Form)] = &[
    (b"AD", &[(8, b'n'), (12, b'c')]),
    (b"AE", &[(19, b'n')]),
    (b"AL", &[(8, b'n'), (16, b'c')]),
    (b"AT", &[(16, b'n')]),
    (b"AZ", &[(4, b'a'), (20, b'c')]),
    (b"BA", &[(16, b'n')]),
    (b"BE", &[(12, b'n')]),
    (b"BG", &[(4, b'a'), (6, b'n'), (8, b'c')]),
    (b"BH", &[(4, b'a'), (14, b'c')]),
    (b"BI", &[(23, b'n')]),
    (b"BR", &[(23, b'n'), (1, b'a'), (1, b'c')]),
    (b"BY", &[(4, b'c'), (4, b'n'), (16, b'c')]),
    (b"CH", &[(5, b'n'), (12, b'c')]),
    (b"CR", &[(18, b'n')]),
    (b"CY", &[(8, b'n'), (16, b'c')]),
    (b"CZ", &[(20, b'n')]),
    (b"DE", &[(18, b'n')]),
    (b"DJ", &[(23, b'n')]),
    (b"DK", &[(14, b'n')]),
    (b"DO", &[(4, b'c'), (20, b'n')]),
    (b"EE", &[(16, b'n')]),
    (b"EG", &[(25, b'n')]),
    (b"ES", &[(20, b'n')]),
    (b"FI", &[(14, b'n')]),
    (b"FK", &[(2, b'a'), (12, b'n')]),
    (b"FO", &[(14, b'n')]),
    (b"FR", &[(10, b'n'), (11, b'c'), (2, b'n')]),
    (b"GB", &[(4, b'a'), (14, b'n')]),
    (b"GE", &[(2, b'a'), (16, b'n')]),
    (b"GI", &[(4, b'a'), (15, b'c')]),
    (b"GL", &[(14, b'n')]),
    (b"GR", &[(7, b'n'), (16, b'c')]),
    (b"GT", &[(24, b'c')]),
    (b"HN", &[(4, b'a'), (20, b'n')]),
    (b"HR", &[(17, b'n')]),
    (b"HU", &[(24, b'n')]),
    (b"IE", &[(4, b'a'), (14, b'n')]),
    (b"IL", &[(19, b'n')]),
    (b"IQ", &[(4, b'a'), (15, b'n')]),
    (b"IS", &[(22, b'n')]),
    (b"IT", &[(1, b'a'), (10, b'n'), (12, b'c')]),
    (b"JO", &[(4, b'a'), (4, b'n'), (18, b'c')]),
    (b"KW", &[(4, b'a'), (22, b'c')]),
    (b"KZ", &[(3, b'n'), (13, b'c')]),
    (b"LB", &[(4, b'n'), (20, b'c')]),
    (b"LC", &[(4, b'a'), (24, b'c')]),
    (b"LI", &[(5, b'n'), (12, b'c')]),
    (b"LT", &[(16, b'n')]),
    (b"LU", &[(3, b'n'), (13, b'c')]),
    (b"LV", &[(4, b'a'), (13, b'c')]),
    (b"LY", &[(21, b'n')]),
    (b"MC", &[(10, b'n'), (11, b'c'), (2, b'n')]),
    (b"MD", &[(20, b'c')]),
    (b"ME", &[(18, b'n')]),
    (b"MK", &[(3, b'n'), (10, b'c'), (2, b'n')]),
    (b"MN", &[(16, b'n')]),
    (b"MR", &[(23, b'n')]),
    (b"MT", &[(4, b'a'), (5, b'n'), (18, b'c')]),
    (b"MU", &[(4, b'a'), (19, b'n'), (3, b'a')]),
    (b"NI", &[(4, b'a'), (20, b'n')]),
    (b"NL", &[(4, b'a'), (10, b'n')]),
    (b"NO", &[(11, b'n')]),
    (b"OM", &[(3, b'n'), (16, b'c')]),
    (b"PK", &[(4, b'a'), (16, b'c')]),
    (b"PL", &[(24, b'n')]),
    (b"PS", &[(4, b'a'), (21, b'c')]),
    (b"PT", &[(21, b'n')]),
    (b"QA", &[(4, b'a'), (21, b'c')]),
    (b"RO", &[(4, b'a'), (16, b'c')]),
    (b"RS", &[(18, b'n')]),
    (b"RU", &[(14, b'n'), (15, b'c')]),
    (b"SA", &[(2, b'n'), (18, b'c')]),
    (b"SC", &[(4, b'a'), (20, b'n'), (3, b'a')]),
    (b"SD", &[(14, b'n')]),
    (b"SE", &[(20, b'n')]),
    (b"SI", &[(15, b'n')]),
    (b"SK", &[(20, b'n')]),
    (b"SM", &[(1, b'a'), (10, b'n'), (12, b'c')]),
    (b"SO", &[(19, b'n')]),
    (b"ST", &[(21, b'n')]),
    (b"SV", &[(4, b'a'), (20, b'n')]),
    (b"TL", &[(19, b'n')]),
    (b"TN", &[(20, b'n')]),
    (b"TR", &[(6, b'n'), (16, b'c')]),
    (b"UA", &[(6, b'n'), (19, b'c')]),
    (b"VA", &[(18, b'n')]),
    (b"VG", &[(4, b'a'), (16, b'n')]),
    (b"XK", &[(16, b'n')]),
    (b"YE", &[(4, b'a'), (4, b'n'), (18, b'c')]),
];

/// An IBAN whose two check digits start `group`: in any case, in one run or in groups.
fn iban(text: &[u8], group: Group, class: ClassId) -> Option<Hit> {
    let start = group.start.checked_sub(2)?;
    let country = text.get(start..group.start)?.to_ascii_uppercase();
    if group.end - group.start < 2 || is_word(before(text, start)) {
        return None;
    }
    let (_, form) = IBAN_FORMS
        .iter()
        .find(|(known, _)| country == known.as_slice())?;
    let length = 4 + form.iter().map(|(count, _)| count).sum::<usize>();
    let mut compact = Vec::with_capacity(length);
    let mut end = start;
    while compact.len() < length {
        match text.get(end) {
            Some(byte) if byte.is_ascii_alphanumeric() => compact.push(byte.to_ascii_uppercase()),
            Some(b' ' | b'-') if is_word(text.get(end + 1)) && is_word(before(text, end)) => {}
            Some(0xC2) if text.get(end + 1) == Some(&0xA0) => end += 1,
            Some(_) | None => return None,
        }
        end += 1;
    }
    let whole = !is_word(text.get(end));
    let account = compact.get(4..).unwrap_or_default();
    (whole && has_form(account, form) && mod_97(&compact)).then_some(Hit { start, end, class })
}

/// Whether a value is an IBAN, with nothing between its characters.
pub(in super::super) fn is_iban(compact: &[u8]) -> bool {
    let group = Group { start: 2, end: 4 };
    iban(compact, group, 0).is_some_and(|hit| hit.end == compact.len())
}

/// One random word in a hundred passes the check digits; what is left out by its form is no account.
fn has_form(mut account: &[u8], form: Form) -> bool {
    for (count, kind) in form {
        let Some((part, rest)) = account.split_at_checked(*count) else {
            return false;
        };
        let fits = match kind {
            b'n' => part.iter().all(u8::is_ascii_digit),
            b'a' => part.iter().all(u8::is_ascii_alphabetic),
            _ => true,
        };
        if !fits {
            return false;
        }
        account = rest;
    }
    account.is_empty()
}

/// ISO 7064 MOD 97-10 with the first four characters moved to the end. The check digits come out of
/// `98 - remainder`, so they are 02 to 98: 00, 01 and 99 leave the same remainder and are never given.
fn mod_97(compact: &[u8]) -> bool {
    if matches!(compact.get(2..4), Some(b"00" | b"01" | b"99")) {
        return false;
    }
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
