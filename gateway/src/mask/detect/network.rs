//! Telephone numbers and addresses of machines.

use super::super::config::ClassId;
use super::{Hit, before, is_word};

/// Digits of an international number, country code included (ITU-T E.164 allows 15).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// Finds telephone numbers: international ones with `+`, North American ones in their usual groups.
pub(super) fn phones(text: &[u8], class: ClassId, hits: &mut Vec<Hit>) {
    for plus in memchr::memchr_iter(b'+', text) {
        if let Some(end) = international(text, plus) {
            hits.push(Hit {
                start: plus,
                end,
                class,
            });
        }
    }
    let mut at = 0;
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| rest.iter().position(u8::is_ascii_digit))
    {
        let start = at + found;
        let rest = text.get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        at = start + length;
        if length == 3
            && let Some((start, end)) = north_american(text, start)
        {
            hits.push(Hit { start, end, class });
            at = end;
        }
    }
}

fn international(text: &[u8], plus: usize) -> Option<usize> {
    if is_word(before(text, plus)) || !matches!(text.get(plus + 1), Some(b'1'..=b'9')) {
        return None;
    }
    let mut digits = 0;
    let mut end = plus + 1;
    let mut quiet = 0;
    for (at, byte) in text.iter().enumerate().skip(plus + 1) {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                quiet = 0;
                end = at + 1;
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if quiet < 2 => quiet += 1,
            _ => break,
        }
        if digits > *PHONE_DIGITS.end() {
            return None;
        }
    }
    (PHONE_DIGITS.contains(&digits) && !is_word(text.get(end))).then_some(end)
}

/// `212-555-0123`, `(212) 555-0123`, `212.555.0123`, from its area code at `start`.
fn north_american(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let area = text.get(start..start + 3)?;
    let (first, from, separator) = match (before(text, start), text.get(start + 3)?) {
        (Some(b'('), b')') => {
            let blank = usize::from(text.get(start + 4) == Some(&b' '));
            (start - 1, start + 4 + blank, None)
        }
        (_, separator @ (b'-' | b'.' | b' ')) => (start, start + 4, Some(separator)),
        _ => return None,
    };
    let rest = text.get(from..from + 8)?;
    let [exchange @ .., a, b, c, d] = rest else {
        return None;
    };
    let [x, y, z, dash] = exchange else {
        return None;
    };
    let digits = [x, y, z, a, b, c, d]
        .iter()
        .all(|byte| byte.is_ascii_digit());
    let joined =
        separator.is_none_or(|separator| separator == dash) && matches!(dash, b'-' | b'.' | b' ');
    let possible = matches!(area.first(), Some(b'2'..=b'9')) && matches!(x, b'2'..=b'9');
    let alone = !is_word(before(text, first)) && !is_word(text.get(from + 8));
    (digits && joined && possible && alone).then_some((first, from + 8))
}

/// Finds IP addresses of both versions, and hardware addresses.
pub(super) fn addresses(
    text: &[u8],
    ip: Option<ClassId>,
    hardware: Option<ClassId>,
    hits: &mut Vec<Hit>,
) {
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let Some(skipped) = rest.iter().position(is_address_byte) else {
            return;
        };
        let start = at + skipped;
        let length = text
            .get(start..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| is_address_byte(b))
            .count();
        at = start + length;
        // The end of a sentence, and the port of an address, are not part of it.
        let mut word = text.get(start..at).unwrap_or_default();
        while let [inner @ .., b'.' | b':' | b'-'] = word {
            word = inner;
        }
        if is_word(before(text, start)) || is_word(text.get(at)) {
            continue;
        }
        if let Some(class) = hardware
            && is_hardware(word)
        {
            hits.push(Hit {
                start,
                end: start + word.len(),
                class,
            });
        } else if let Some(class) = ip
            && let Some(length) = ip_length(word)
        {
            hits.push(Hit {
                start,
                end: start + length,
                class,
            });
        }
    }
}

fn is_address_byte(byte: &u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'-')
}

fn ip_length(word: &[u8]) -> Option<usize> {
    const ADDRESS_BYTES_MAX: usize = 48;
    let text = std::str::from_utf8(word.get(..word.len().min(ADDRESS_BYTES_MAX))?).ok()?;
    let colons = text.matches(':').count();
    if colons >= 2 {
        return text
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
            .then_some(text.len());
    }
    let host = text.split(':').next()?;
    host.parse::<std::net::Ipv4Addr>()
        .is_ok()
        .then_some(host.len())
}

/// Six pairs of hexadecimal digits with one separator (IEEE 802).
fn is_hardware(word: &[u8]) -> bool {
    let separator = word.get(2).copied();
    word.len() == 17
        && matches!(separator, Some(b':' | b'-'))
        && word.chunks(3).all(|group| match group {
            [a, b, rest @ ..] => {
                a.is_ascii_hexdigit()
                    && b.is_ascii_hexdigit()
                    && (rest.is_empty() || rest.first().copied() == separator)
            }
            _ => false,
        })
}
