//! What values look like whose name tells what they are. Each function gives the length of the value
//! at the start of a text.

use super::digits::luhn;
use super::{is_country, is_word};

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It is the whole value of a member.
    Whole,
    /// It stands in text, and ends somewhere.
    Text,
}

/// Most digits that a value of one run has (ten), and one more.
const DIGITS_MAX: usize = 11;
/// Longest word of a date, and more.
const MONTH_BYTES_MAX: usize = 16;

/// Length of the run at the start of `text` whose bytes `has` accepts, looked at up to `most` bytes: a
/// name may stand at every few bytes of long text, and what is behind each is looked at again.
fn run(text: &[u8], most: usize, has: impl Fn(u8) -> bool) -> usize {
    let near = text.iter().take(most);
    near.take_while(|byte| has(**byte)).count()
}

fn digits(text: &[u8]) -> usize {
    run(text, DIGITS_MAX, |byte| byte.is_ascii_digit())
}

fn number(text: &[u8]) -> u32 {
    text.iter().take(9).fold(0, |value, byte| {
        value * 10 + u32::from(byte.wrapping_sub(b'0') % 10)
    })
}

/// A calendar date in the usual orders, with numbers or English month names; in a member also with a
/// time behind it.
pub(super) fn date(text: &[u8], place: Place) -> Option<usize> {
    let length = numeric_date(text).or_else(|| named_date(text))?;
    if place == Place::Whole
        && let Some([b'T' | b' ', time @ ..]) = text.get(length..)
        && time.len() <= 32
        && time
            .iter()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'Z' | b'+' | b'-'))
    {
        return Some(text.len());
    }
    (!is_word(text.get(length))).then_some(length)
}

fn numeric_date(text: &[u8]) -> Option<usize> {
    let first = digits(text);
    let separator = *text.get(first)?;
    if !matches!(separator, b'-' | b'/' | b'.') {
        let compact = first == 8 && year(text.get(..4)?);
        let fits = compact && month_day(number(text.get(4..6)?), number(text.get(6..8)?));
        return fits.then_some(8);
    }
    let middle_at = first + 1;
    let middle = digits(text.get(middle_at..)?);
    let last_at = middle_at + middle + 1;
    if text.get(last_at - 1) != Some(&separator) {
        return None;
    }
    let last = digits(text.get(last_at..)?);
    let part = |from: usize, length: usize| text.get(from..from + length);
    let (a, b, c) = (
        part(0, first)?,
        part(middle_at, middle)?,
        part(last_at, last)?,
    );
    let fits = match (first, middle, last) {
        (4, 1..=2, 1..=2) => year(a) && month_day(number(b), number(c)),
        (1..=2, 1..=2, 4) => year(c) && either_order(number(a), number(b)),
        (1..=2, 1..=2, 2) => either_order(number(a), number(b)),
        _ => false,
    };
    fits.then_some(last_at + last)
}

fn either_order(a: u32, b: u32) -> bool {
    month_day(a, b) || month_day(b, a)
}

fn month_day(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

fn year(text: &[u8]) -> bool {
    text.len() == 4 && (1850..=2100).contains(&number(text))
}

const MONTHS: [&[u8]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];

/// `5 January 1980`, `5th of Jan. 1980`, `January 5 1980`. A comma ends the value.
fn named_date(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut day = false;
    let mut month = false;
    for _ in 0..5 {
        let rest = text.get(at..)?;
        let numbers = digits(rest);
        let letters = run(rest, MONTH_BYTES_MAX, |byte| byte.is_ascii_alphabetic());
        if numbers == 4 && day && month && year(rest.get(..4)?) {
            return Some(at + 4);
        }
        if (1..=2).contains(&numbers) && !day {
            day = (1..=31).contains(&number(rest.get(..numbers)?));
            at += numbers;
            let ordinal = rest.get(numbers..numbers + 2).unwrap_or_default();
            let ordinals = [b"st", b"nd", b"rd", b"th"];
            if ordinals
                .iter()
                .any(|known| ordinal.eq_ignore_ascii_case(*known))
            {
                at += 2;
            }
        } else if letters >= 3 && !month {
            let short = rest.get(..3)?;
            month = MONTHS.iter().any(|known| short.eq_ignore_ascii_case(known));
            if !month {
                return None;
            }
            at += letters;
        } else if letters == 2
            && rest
                .get(..2)
                .is_some_and(|of| of.eq_ignore_ascii_case(b"of"))
        {
            at += 2;
        } else {
            break;
        }
        at += run(text.get(at..)?, 2, |byte| {
            matches!(byte, b' ' | b'.' | b'-')
        });
    }
    // Day and month alone are kept from view where the year stands behind a comma.
    let end = text.get(..at)?.trim_ascii_end().len();
    (day && month && text.get(at) == Some(&b',')).then_some(end)
}

/// Postal codes: four to six digits (with the United States' extension), those of Britain, Canada and
/// the Netherlands.
pub(super) fn postal_code(text: &[u8], _: Place) -> Option<usize> {
    let length = digits(text);
    let rest = text.get(length..).unwrap_or_default();
    if (4..=6).contains(&length) {
        if length == 5
            && rest.first() == Some(&b'-')
            && digits(rest.get(1..)?) == 4
            && !is_word(rest.get(5))
        {
            return Some(10);
        }
        if length == 4
            && let [b' ', a, b, after @ ..] = rest
            && a.is_ascii_uppercase()
            && b.is_ascii_uppercase()
            && !is_word(after.first())
        {
            return Some(7);
        }
        return (!is_word(rest.first())).then_some(length);
    }
    // Outward and inward part of a British code, or the two halves of a Canadian one.
    let first = run(text, 8, |byte| byte.is_ascii_alphanumeric());
    let forms = [
        "A9 9AA", "A99 9AA", "A9A 9AA", "AA9 9AA", "AA99 9AA", "AA9A 9AA", "A9A 9A9",
    ];
    forms
        .iter()
        .flat_map(|form| [(*form).to_owned(), form.replace(' ', "")])
        .filter(|form| form.len() == first || form.find(' ') == Some(first))
        .find(|form| has_form(text, form) && !is_word(text.get(form.len())))
        .map(|form| form.len())
}

/// Whether `text` begins with `form`: `9` a digit, `A` a letter, `X` either, others themselves.
pub(super) fn has_form(text: &[u8], form: &str) -> bool {
    text.len() >= form.len()
        && text
            .iter()
            .zip(form.bytes())
            .all(|(byte, kind)| match kind {
                b'9' => byte.is_ascii_digit(),
                b'A' => byte.is_ascii_alphabetic(),
                b'X' => byte.is_ascii_alphanumeric(),
                _ => *byte == kind,
            })
}

/// ISO 9362: bank, country, place, and branch.
pub(super) fn bic(text: &[u8], _: Place) -> Option<usize> {
    let length = run(text, 12, |byte| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit()
    });
    let letters = text.get(..6)?.iter().all(u8::is_ascii_uppercase);
    let country = text.get(4..6).is_some_and(is_country);
    (matches!(length, 8 | 11) && letters && country).then_some(length)
}

/// Seven to fifteen digits with the marks of telephone numbers.
pub(super) fn phone(text: &[u8], _: Place) -> Option<usize> {
    let plus = usize::from(text.first() == Some(&b'+'));
    let length = grouped(text.get(plus..)?, b" -.()/", 7..=15)?;
    Some(plus + length)
}

/// Six to seventeen digits, in groups or not.
pub(super) fn account(text: &[u8], _: Place) -> Option<usize> {
    grouped(text, b" -", 6..=17)
}

/// Three pairs of digits.
pub(super) fn sort_code(text: &[u8], _: Place) -> Option<usize> {
    grouped(text, b"- ", 6..=6)
}

/// Nine digits, in groups or not.
pub(super) fn nine_digits(text: &[u8], _: Place) -> Option<usize> {
    grouped(text, b" -", 9..=9)
}

/// Ten digits, in groups or not.
pub(super) fn ten_digits(text: &[u8], _: Place) -> Option<usize> {
    grouped(text, b" -", 10..=10)
}

/// Twelve digits, in groups or not.
pub(super) fn twelve_digits(text: &[u8], _: Place) -> Option<usize> {
    grouped(text, b" -", 12..=12)
}

/// Two letters, six digits, a letter, as British national insurance numbers are written.
pub(super) fn nino(text: &[u8], _: Place) -> Option<usize> {
    ["AA999999A", "AA 99 99 99 A", "AA 999999 A", "AA-99-99-99-A"]
        .iter()
        .find(|form| has_form(text, form) && !is_word(text.get(form.len())))
        .map(|form| form.len())
}

/// Three or four digits.
pub(super) fn verification_code(text: &[u8], _: Place) -> Option<usize> {
    grouped(text, b"", 3..=4)
}

fn grouped(
    text: &[u8],
    separators: &[u8],
    lengths: std::ops::RangeInclusive<usize>,
) -> Option<usize> {
    let mut count = 0;
    let mut end = 0;
    for (at, byte) in text.iter().enumerate() {
        if byte.is_ascii_digit() {
            count += 1;
            end = at + 1;
        } else if !separators.contains(byte) || at - end > 1 {
            break;
        }
        if count > *lengths.end() {
            return None;
        }
    }
    (lengths.contains(&count) && !is_word(text.get(end))).then_some(end)
}

/// One word of upper-case letters and digits, mostly digits, as passports and licences have it.
pub(super) fn document(text: &[u8], _: Place) -> Option<usize> {
    const BYTES: std::ops::RangeInclusive<usize> = 6..=20;
    let length = run(text, BYTES.end() + 1, |byte| {
        byte.is_ascii_alphanumeric() || byte == b'-'
    });
    let word = text.get(..length)?;
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let upper = !word.iter().any(u8::is_ascii_lowercase);
    (BYTES.contains(&length) && digits >= 4 && upper && word.last() != Some(&b'-'))
        .then_some(length)
}

/// A word of four to fourteen letters and digits with at least three digits.
pub(super) fn record(text: &[u8], _: Place) -> Option<usize> {
    const BYTES: std::ops::RangeInclusive<usize> = 4..=16;
    let length = run(text, BYTES.end() + 1, |byte| {
        byte.is_ascii_alphanumeric() || byte == b'-'
    });
    let word = text.get(..length)?;
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    (BYTES.contains(&length) && digits >= 3 && word.last() != Some(&b'-')).then_some(length)
}

/// A licence plate: letters and digits in up to three groups, in upper case.
pub(super) fn plate(text: &[u8], _: Place) -> Option<usize> {
    const BYTES: std::ops::RangeInclusive<usize> = 4..=12;
    let mut end = 0;
    let mut groups = 0;
    while groups < 3 {
        let length = run(text.get(end..)?, BYTES.end() + 1, |byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit()
        });
        if length > *BYTES.end() {
            return None;
        }
        if length == 0 || is_word(text.get(end + length)) {
            break;
        }
        end += length;
        groups += 1;
        if !matches!(text.get(end), Some(b' ' | b'-')) {
            break;
        }
        end += 1;
    }
    while end > 0 && matches!(text.get(end - 1), Some(b' ' | b'-')) {
        end -= 1;
    }
    let word = text.get(..end)?;
    let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_uppercase);
    (BYTES.contains(&end) && mixed).then_some(end)
}

/// National provider identifier: ten digits that pass Luhn behind `80840`.
pub(super) fn npi(text: &[u8], _: Place) -> Option<usize> {
    let length = digits(text);
    let mut whole = *b"808400000000000";
    whole.get_mut(5..)?.copy_from_slice(text.get(..10)?);
    let first = matches!(text.first(), Some(b'1' | b'2'));
    (length == 10 && first && luhn(&whole)).then_some(10)
}

/// Length of an AWS secret access key.
const AWS_SECRET_BYTES: usize = 40;

/// Forty characters of base64.
pub(super) fn aws_secret(text: &[u8], _: Place) -> Option<usize> {
    let length = run(text, AWS_SECRET_BYTES + 1, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
    });
    (length == AWS_SECRET_BYTES).then_some(length)
}

/// Something that was thought up as a password: no blank in it, and not only letters. In text also
/// not what a programming language would put there.
pub(super) fn password(text: &[u8], place: Place) -> Option<usize> {
    const BYTES: std::ops::RangeInclusive<usize> = 6..=128;
    let ends = |byte: u8| {
        byte.is_ascii_whitespace()
            || matches!(
                byte,
                b'"' | b'\'' | b';' | b'&' | b',' | b'<' | b'>' | b'|' | b'\\' | b'`' | b')'
            )
    };
    let length = match place {
        Place::Whole if text.iter().any(u8::is_ascii_whitespace) => return None,
        Place::Whole => text.len(),
        Place::Text => run(text, BYTES.end() + 1, |byte| !ends(byte)),
    };
    let word = text.get(..length)?;
    let placeholder = word
        .iter()
        .all(|byte| matches!(byte, b'*' | b'.' | b'x' | b'X' | b'-'))
        || matches!(
            word.first(),
            Some(b'[' | b'{' | b'$' | b'%' | b'(' | b'@' | b'/' | b':' | b'=')
        );
    if !BYTES.contains(&length) || placeholder {
        return None;
    }
    let letters = word
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let other = length - letters - digits;
    let thought_up = match place {
        Place::Whole => letters < length,
        Place::Text => {
            let code = word.iter().any(|byte| matches!(byte, b'(' | b')' | b'[' | b'{' | b'}' | b'/'))
                || word.windows(2).any(|pair| matches!(pair, [a, b] if matches!(a, b'.' | b':' | b'-' | b'_') && b.is_ascii_alphabetic()));
            !code && letters > 0 && digits > 0 && (other > 0 || length >= 6)
        }
    };
    thought_up.then_some(length)
}

/// What no person thought up: a run of letters and digits mixed by chance, or a UUID.
pub(super) fn random(text: &[u8], place: Place) -> Option<usize> {
    const BYTES: std::ops::RangeInclusive<usize> = 16..=512;
    let in_run = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.' | b'~')
    };
    let mut length = run(text, BYTES.end() + 1, in_run);
    while place == Place::Text && length > 0 && matches!(text.get(length - 1), Some(b'.' | b'-')) {
        length -= 1;
    }
    let word = text.get(..length)?;
    let token = BYTES.contains(&length)
        && !word.starts_with(b"eyJ")
        && !matches!(text.get(length), Some(b'(' | b':' | b'[' | b'@'));
    if !token {
        return None;
    }
    let uuid = length == 36
        && word.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let by_chance = word
        .split(|byte| matches!(byte, b'-' | b'_' | b'.' | b'/'))
        .any(is_by_chance);
    (uuid || by_chance).then_some(length)
}

/// At least twelve letters and digits, with digits in two places and little repetition.
fn is_by_chance(word: &[u8]) -> bool {
    const WORD_BYTES_MIN: usize = 12;
    const BITS_MIN: f64 = 3.0;
    let groups = word
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if !a.is_ascii_digit() && b.is_ascii_digit()))
        .count();
    let digit = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = word.iter().any(u8::is_ascii_alphabetic);
    word.len() >= WORD_BYTES_MIN
        && letters
        && groups >= 2
        && digit * 16 >= word.len()
        && entropy(word) >= BITS_MIN
}

/// Shannon's entropy of the bytes, in bits a byte.
fn entropy(word: &[u8]) -> f64 {
    let mut counts = [0u16; 256];
    for byte in word {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let length = f64::from(u32::try_from(word.len()).unwrap_or(u32::MAX));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum()
}
