//! E-mail addresses.

use super::super::config::ClassId;
use super::super::text::is_cut;
use super::Hit;

/// How far an address reaches to either side of its `@`, in bytes (RFC 5321 4.5.3.1 allows 64 and
/// 255; longer ones are taken to this length).
const LOCAL_BYTES_MAX: usize = 128;
const DOMAIN_BYTES_MAX: usize = 255;

/// Finds addresses.
pub(super) fn emails(text: &[u8], class: ClassId, hits: &mut Vec<Hit>) {
    for at in memchr::memchr_iter(b'@', text) {
        let start = local_part(text, at);
        let end = domain(text, at + 1);
        if let (Some(start), Some(end)) = (start, end) {
            hits.push(Hit { start, end, class });
        }
    }
}

/// Where the local part before `at` starts.
fn local_part(text: &[u8], at: usize) -> Option<usize> {
    let floor = at.saturating_sub(LOCAL_BYTES_MAX);
    let near = text.get(floor..at)?;
    if let Some(inner) = near.strip_suffix(b"\"") {
        // Text is searched in stretches: what lies before the last place to cut may not be here any more.
        let from = inner.iter().rposition(is_cut).map_or(0, |cut| cut + 1);
        let stretch = inner.get(from..)?;
        let start = match memchr::memrchr(b'"', stretch) {
            Some(open) => open + usize::from(open + 1 == stretch.len()),
            // The quote was opened before it: the last word of the part goes with the rest.
            None => stretch.len() - stretch.iter().rev().take_while(|b| is_local(b)).count(),
        };
        return (start < stretch.len()).then_some(floor + from + start);
    }
    let length = near.iter().rev().take_while(|byte| is_local(byte)).count();
    let mut start = at - length;
    // Quotes and dots around an address are not part of it.
    while start < at && matches!(text.get(start), Some(b'\'' | b'.')) {
        start += 1;
    }
    (start < at).then_some(start)
}

/// `=`, `&`, `?`, `/`, `{`, `|` and `}` are allowed by RFC 5322 but stand around addresses far more
/// often than in them.
fn is_local(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
        || !byte.is_ascii()
        || matches!(
            byte,
            b'.' | b'_'
                | b'-'
                | b'+'
                | b'%'
                | b'!'
                | b'#'
                | b'$'
                | b'*'
                | b'^'
                | b'~'
                | b'\''
                | b'`'
        )
}

/// Where the domain that starts at `start` ends: labels with at least one dot, the last of letters,
/// or an address in brackets.
fn domain(text: &[u8], start: usize) -> Option<usize> {
    let limit = text.len().min(start + DOMAIN_BYTES_MAX);
    let near = text.get(start..limit)?;
    if near.first() == Some(&b'[') {
        let end = memchr::memchr(b']', near)?;
        let inner = near.get(1..end)?;
        let address = !inner.is_empty()
            && inner
                .iter()
                .all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':' | b'I' | b'P' | b'v'))
            && inner.iter().any(u8::is_ascii_digit);
        return address.then_some(start + end + 1);
    }
    let length = near.iter().take_while(|byte| is_domain(byte)).count();
    let mut domain = near.get(..length)?;
    loop {
        // Ends of sentences and dangling hyphens; a last label that is not a name is dropped.
        while let [rest @ .., b'.' | b'-'] = domain {
            domain = rest;
        }
        let dot = memchr::memrchr(b'.', domain)?;
        let last = domain.get(dot + 1..)?;
        if is_top_level(last) {
            return (dot > 0).then_some(start + domain.len());
        }
        domain = domain.get(..dot)?;
    }
}

fn is_domain(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || matches!(byte, b'.' | b'-')
}

fn is_top_level(label: &[u8]) -> bool {
    let letters = label
        .iter()
        .all(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii());
    label.len() >= 2
        && (letters
            || label
                .get(..4)
                .is_some_and(|p| p.eq_ignore_ascii_case(b"xn--")))
}
