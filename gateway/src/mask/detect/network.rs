//! Addresses of machines.

use super::super::config::ClassId;
use super::{Hit, TEXT_BYTES_MIN, before, is_word};

/// Finds IP addresses of both versions, and hardware addresses.
pub(super) fn addresses(
    text: &[u8],
    ip: Option<ClassId>,
    hardware: Option<ClassId>,
    hits: &mut Vec<Hit>,
) {
    let mut at = 0;
    // Each has a mark between its parts: what has none is no address.
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| memchr::memchr3(b'.', b':', b'-', rest))
    {
        let mark = at + found;
        let ahead = text.get(at..mark).unwrap_or_default();
        let behind = text.get(mark..).unwrap_or_default();
        let start = mark
            - ahead
                .iter()
                .rev()
                .take_while(|b| is_address_byte(b))
                .count();
        at = mark + behind.iter().take_while(|b| is_address_byte(b)).count();
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
        // Shorter ones (`::1`) are nobody's, and by themselves are too short to be looked at: what is found must not
        // depend on what stands around it.
        let address = text.len() >= TEXT_BYTES_MIN && text.parse::<std::net::Ipv6Addr>().is_ok();
        return address.then_some(text.len());
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
