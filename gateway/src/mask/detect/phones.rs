//! Telephone numbers: international ones by their country's code and lengths, those of a country by the
//! way in which they are written.

use super::super::config::ClassId;
use super::digits::next_digit;
use super::{Hit, before, is_word};

/// Most digits of a number, country code included (ITU-T E.164).
const DIGITS_MAX: usize = 15;
/// Most marks between two digits, as in `) (`.
const MARKS_MAX: usize = 3;
/// Most digits of an extension.
const EXTENSION_DIGITS_MAX: usize = 6;

/// Words before an extension, longer ones first.
const EXTENSIONS: [&[u8]; 5] = [b"ext. ", b"ext ", b"ext.", b"ext", b"x"];

/// Country code, fewest and most digits of the national number: ITU-T E.164's list of codes, lengths as
/// the metadata of libphonenumber has them (9.0; without short numbers).
#[rustfmt::skip]
const COUNTRIES: &[(u16, u8, u8)] = &[
    (1, 10, 10), (7, 10, 14), (20, 8, 10), (27, 6, 10), (30, 10, 12), (31, 6, 11), (32, 8, 9),
    (33, 9, 9), (34, 9, 9), (36, 8, 9), (39, 6, 12), (40, 6, 9), (41, 9, 9), (43, 6, 13),
    (44, 7, 10), (45, 8, 8), (46, 6, 10), (47, 6, 8), (48, 7, 10), (49, 6, 13), (51, 8, 9),
    (52, 10, 10), (53, 6, 10), (54, 10, 11), (55, 8, 11), (56, 9, 11), (57, 8, 11), (58, 10, 10),
    (60, 8, 10), (61, 6, 12), (62, 7, 13), (63, 6, 13), (64, 6, 10), (65, 8, 11), (66, 8, 13),
    (81, 8, 13), (82, 6, 13), (84, 7, 10), (86, 7, 12), (90, 7, 13), (91, 8, 13), (92, 8, 12),
    (93, 9, 9), (94, 9, 9), (95, 6, 10), (98, 6, 10), (211, 9, 9), (212, 9, 9), (213, 8, 9),
    (216, 8, 8), (218, 9, 9), (220, 7, 9), (221, 9, 9), (222, 8, 8), (223, 8, 8), (224, 8, 9),
    (225, 10, 10), (226, 8, 8), (227, 8, 8), (228, 8, 8), (229, 10, 10), (230, 7, 10),
    (231, 7, 9), (232, 8, 8), (233, 8, 9), (234, 10, 12), (235, 8, 8), (236, 8, 8), (237, 8, 9),
    (238, 7, 7), (239, 7, 7), (240, 9, 9), (241, 7, 8), (242, 9, 9), (243, 7, 10), (244, 9, 9),
    (245, 7, 9), (246, 7, 7), (247, 5, 6), (248, 7, 7), (249, 9, 9), (250, 8, 9), (251, 9, 9),
    (252, 6, 9), (253, 8, 8), (254, 7, 10), (255, 9, 9), (256, 9, 9), (257, 8, 8), (258, 8, 9),
    (260, 9, 9), (261, 9, 9), (262, 9, 9), (263, 7, 10), (264, 8, 9), (265, 7, 9), (266, 8, 8),
    (267, 7, 10), (268, 8, 9), (269, 7, 7), (290, 5, 5), (291, 7, 7), (297, 7, 7), (298, 6, 6),
    (299, 6, 6), (350, 8, 8), (351, 9, 9), (352, 5, 11), (353, 7, 10), (354, 7, 9), (355, 6, 9),
    (356, 8, 8), (357, 8, 8), (358, 5, 12), (359, 6, 12), (370, 8, 8), (371, 8, 8), (372, 7, 10),
    (373, 8, 8), (374, 8, 8), (375, 6, 11), (376, 6, 9), (377, 8, 9), (378, 8, 10), (380, 9, 10),
    (381, 6, 12), (382, 8, 9), (383, 8, 12), (385, 7, 9), (386, 5, 8), (387, 8, 9), (389, 8, 8),
    (420, 9, 9), (421, 6, 9), (423, 7, 9), (500, 5, 5), (501, 7, 11), (502, 8, 11), (503, 7, 11),
    (504, 8, 11), (505, 8, 8), (506, 8, 10), (507, 7, 11), (508, 6, 9), (509, 8, 8), (590, 9, 9),
    (591, 8, 9), (592, 7, 7), (593, 8, 11), (594, 9, 9), (595, 6, 11), (596, 9, 9), (597, 6, 7),
    (598, 5, 12), (599, 7, 8), (670, 7, 8), (672, 6, 6), (673, 7, 7), (674, 7, 7), (675, 7, 8),
    (676, 5, 7), (677, 5, 7), (678, 5, 7), (679, 7, 11), (680, 7, 7), (681, 6, 9), (682, 5, 5),
    (683, 5, 7), (685, 5, 10), (686, 5, 8), (687, 6, 6), (688, 5, 7), (689, 6, 9), (690, 5, 7),
    (691, 7, 7), (692, 7, 7), (800, 8, 8), (808, 8, 8), (850, 8, 10), (852, 5, 11), (853, 7, 8),
    (855, 8, 10), (856, 8, 10), (870, 9, 12), (878, 12, 12), (880, 6, 10), (881, 9, 10),
    (882, 7, 12), (883, 8, 12), (886, 7, 11), (888, 11, 11), (960, 7, 10), (961, 7, 8),
    (962, 8, 9), (963, 8, 9), (964, 8, 10), (965, 7, 8), (966, 9, 10), (967, 7, 9), (968, 7, 9),
    (970, 8, 10), (971, 5, 12), (972, 7, 12), (973, 8, 8), (974, 7, 11), (975, 7, 8),
    (976, 8, 10), (977, 8, 11), (979, 9, 9), (992, 9, 9), (993, 8, 8), (994, 9, 9), (995, 9, 9),
    (996, 9, 10), (998, 9, 9),
];

/// A number as it stands in text.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// One past the last digit.
    end: usize,
    digits: [u8; DIGITS_MAX + 3],
    count: usize,
    /// Groups of digits.
    groups: usize,
    /// Digits of the first, second and last group.
    first: usize,
    second: usize,
    last: usize,
    /// A mark other than a blank stands between groups, or brackets around one.
    bracket: bool,
    hyphen: bool,
    blank: bool,
    other: bool,
}

/// Finds telephone numbers.
pub(super) fn find(text: &[u8], class: ClassId, hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(digit) = next_digit(text, at) {
        let run = read(text, digit);
        at = run.end;
        let (start, opened) = opening(text, digit);
        let glued = match before(text, start) {
            Some(byte) if byte.is_ascii_alphanumeric() => true,
            Some(b'-' | b'.' | b'/' | b'_' | b'=' | b'%' | b'#' | b'$') => opened != Opening::Plus,
            Some(_) | None => false,
        };
        if glued {
            continue;
        }
        let number = match opened {
            Opening::Plus => international(&run, 0),
            Opening::Bracket | Opening::None => national(text, &run, opened).or_else(|| {
                let prefixed = run.digits.starts_with(b"00") && run.groups > 1;
                prefixed.then(|| international(&run, 2)).flatten()
            }),
        };
        if let Some(end) = number.filter(|_| ends(text, run.end)) {
            let end = extension(text, end);
            at = at.max(end);
            hits.push(Hit { start, end, class });
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opening {
    Plus,
    Bracket,
    None,
}

/// Where a number starts whose first digit is at `digit`.
fn opening(text: &[u8], digit: usize) -> (usize, Opening) {
    match before(text, digit) {
        Some(b'+') => (digit - 1, Opening::Plus),
        Some(b'(') if before(text, digit - 1) == Some(&b'+') => (digit - 2, Opening::Plus),
        // A bracket that is closed behind the first group.
        Some(b'(') if closes(text, digit) => (digit - 1, Opening::Bracket),
        Some(_) | None => (digit, Opening::None),
    }
}

fn closes(text: &[u8], digit: usize) -> bool {
    let rest = text.get(digit..).unwrap_or_default();
    rest.iter().find(|byte| !byte.is_ascii_digit()) == Some(&b')')
}

/// Digits with few marks between them, from the digit at `start`.
fn read(text: &[u8], start: usize) -> Run {
    let mut run = Run {
        end: start,
        digits: [0; DIGITS_MAX + 3],
        count: 0,
        groups: 0,
        first: 0,
        second: 0,
        last: 0,
        bracket: false,
        hyphen: false,
        blank: false,
        other: false,
    };
    let mut marks = MARKS_MAX;
    for (at, byte) in text.iter().enumerate().skip(start) {
        if byte.is_ascii_digit() {
            if marks > 0 {
                run.groups += 1;
                run.last = 0;
                for mark in text.get(run.end..at).unwrap_or_default() {
                    match mark {
                        b'-' => run.hyphen = true,
                        b'(' | b')' => run.bracket = true,
                        b' ' => run.blank = true,
                        _ => run.other = true,
                    }
                }
            }
            marks = 0;
            if let Some(place) = run.digits.get_mut(run.count) {
                *place = *byte;
            }
            run.count += 1;
            run.last += 1;
            match run.groups {
                1 => run.first += 1,
                2 => run.second += 1,
                _ => {}
            }
            run.end = at + 1;
        } else if matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/') && marks < MARKS_MAX {
            marks += 1;
        } else {
            break;
        }
        if run.count > DIGITS_MAX + 2 {
            break;
        }
    }
    run
}

/// A country's code at `from`, and as many digits as its numbers have; `(0)` behind it does not count.
fn international(run: &Run, from: usize) -> Option<usize> {
    let digits = run.digits.get(from..run.count.min(run.digits.len()))?;
    let value = |count: usize| {
        let code = digits.get(..count)?;
        Some(
            code.iter()
                .fold(0u16, |code, digit| code * 10 + u16::from(digit - b'0')),
        )
    };
    let (code, (_, least, most)) = (1..=3).find_map(|count| {
        let code = value(count)?;
        let country = COUNTRIES.iter().find(|(known, _, _)| *known == code)?;
        Some((count, country))
    })?;
    let length = digits.len() - code;
    let trunk = usize::from(digits.get(code) == Some(&b'0'));
    let fits = |length: usize| (usize::from(*least)..=usize::from(*most)).contains(&length);
    (fits(length) || fits(length - trunk)).then_some(run.end)
}

/// `(212) 555-0123`, `1-212-555-0123`, `020 7946 0958`, `(030) 123456`.
fn national(text: &[u8], run: &Run, opened: Opening) -> Option<usize> {
    let digits = run.digits.get(..run.count.min(run.digits.len()))?;
    let marked = usize::from(run.hyphen) + usize::from(run.blank) + usize::from(run.other);
    let local = digits
        .get(digits.len().checked_sub(10)?..)
        .unwrap_or_default();
    let possible =
        matches!(local.first(), Some(b'2'..=b'9')) && matches!(local.get(3), Some(b'2'..=b'9'));
    let long_distance = digits.len() == 11 && digits.first() == Some(&b'1') && run.first == 1;
    let grouped = match (digits.len(), run.groups) {
        (10, 3) => run.first == 3 && run.second == 3,
        (10, 2) => run.first == 3 && run.second == 7 && run.bracket,
        (11, 4) => long_distance && run.second == 3 && run.last == 4,
        _ => false,
    };
    if possible && grouped && (marked <= 1 || run.bracket) {
        return Some(run.end);
    }
    let trunk = digits.first() == Some(&b'0') && digits.get(1) != Some(&b'0');
    let european = trunk
        && (9..=12).contains(&digits.len())
        && (run.groups >= 2 && run.last >= 2)
        && (2..=6).contains(&run.first)
        && !is_date(run)
        && !matches!(text.get(run.end), Some(b':'))
        && (run.blank || run.bracket || opened == Opening::Bracket || run.other || run.hyphen);
    european.then_some(run.end)
}

/// `01-02-2020 …`: two short groups, then a year.
fn is_date(run: &Run) -> bool {
    run.first == 2 && run.second == 2 && !run.blank && run.groups == 3
        || (run.first == 2 && run.second == 2 && (run.hyphen || run.other) && run.blank)
}

/// Nothing goes on behind the number.
fn ends(text: &[u8], end: usize) -> bool {
    match text.get(end) {
        Some(b'x' | b'X') => text.get(end + 1).is_some_and(u8::is_ascii_digit),
        Some(b'-' | b'.' | b'/' | b':') => !is_word(text.get(end + 1)),
        byte => !is_word(byte) && byte != Some(&b'_'),
    }
}

/// The end of `x123`, ` ext. 123` behind a number.
fn extension(text: &[u8], end: usize) -> usize {
    let rest = text.get(end..).unwrap_or_default();
    let blank = usize::from(rest.first() == Some(&b' '));
    let rest = rest.get(blank..).unwrap_or_default();
    let Some(word) = EXTENSIONS.iter().find(|word| {
        rest.get(..word.len())
            .is_some_and(|r| r.eq_ignore_ascii_case(word))
    }) else {
        return end;
    };
    let behind = rest.get(word.len()..).unwrap_or_default();
    let digits = behind
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if (1..=EXTENSION_DIGITS_MAX).contains(&digits) && !is_word(behind.get(digits)) {
        end + blank + word.len() + digits
    } else {
        end
    }
}
