//! What stands in place of masked data, and how a request that carries it is recognised: a program
//! that reads, edits and writes back must not store `[masked:email]` over the real address.

use super::class::{CLASS_BYTES_MAX, DataClass, is_class_name};

/// The word every marker holds.
const WORD: &[u8] = b"masked";
/// Bytes before the word that belong to a marker in its longest encoding (`[` as `\u005b`), and
/// after it (`:`, a class and `]`, with every other character escaped).
const BEFORE_BYTES_MAX: usize = 8;
const AFTER_BYTES_MAX: usize = 6 + 6 * (CLASS_BYTES_MAX + 1 + PART_BYTES_MAX) + 6;
/// Longest part of a value that a marker keeps, in bytes.
pub(super) const PART_BYTES_MAX: usize = 64;

/// The marker for a class. ASCII without quotes or backslashes: it can stand in any string.
pub(super) fn marker(class: &DataClass) -> String {
    format!("[masked:{class}]")
}

/// The marker for a class that keeps a part of the value: ASCII letters, digits, dots and hyphens.
pub(super) fn marker_with(class: &DataClass, part: &str) -> String {
    format!("[masked:{class}:{part}]")
}

/// Looks for markers in what a caller sends, in chunks: plain, percent-encoded, escaped as in JSON or
/// HTML.
#[derive(Debug, Default)]
pub struct MarkerGuard {
    tail: Vec<u8>,
}

impl MarkerGuard {
    /// A guard at the start of a request's body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `bytes` hold a marker.
    #[must_use]
    pub fn contains_marker(bytes: &[u8]) -> bool {
        memchr::memmem::find_iter(bytes, WORD).any(|at| is_marker(bytes, at))
    }

    /// Takes the next chunk; `true` as soon as a marker is complete, which may have begun in an
    /// earlier one.
    pub fn push(&mut self, chunk: &[u8]) -> bool {
        self.tail.extend_from_slice(chunk);
        let found = Self::contains_marker(&self.tail);
        let keep = BEFORE_BYTES_MAX + WORD.len() + AFTER_BYTES_MAX;
        let surplus = self.tail.len().saturating_sub(keep);
        self.tail.drain(..surplus);
        found
    }
}

/// Whether the `masked` at `at` is a marker's.
fn is_marker(bytes: &[u8], at: usize) -> bool {
    let ahead = bytes.get(..at).unwrap_or_default();
    let opens = [
        &b"["[..],
        b"%5B",
        b"%5b",
        b"\\u005B",
        b"\\u005b",
        b"&#91;",
        b"&#x5B;",
        b"&#x5b;",
    ];
    if !opens.iter().any(|open| ahead.ends_with(open)) {
        return false;
    }
    let mut rest = bytes.get(at + WORD.len()..).unwrap_or_default();
    let Some(after) = strip(
        rest,
        &[b":", b"%3A", b"%3a", b"\\u003A", b"\\u003a", b"&#58;"],
    ) else {
        return false;
    };
    rest = after;
    let mut class = Vec::new();
    while class.len() <= CLASS_BYTES_MAX + 1 + PART_BYTES_MAX {
        if strip(
            rest,
            &[b"]", b"%5D", b"%5d", b"\\u005D", b"\\u005d", b"&#93;"],
        )
        .is_some()
        {
            return is_name(&class);
        }
        let Some((byte, after)) = class_byte(rest) else {
            return false;
        };
        class.push(byte);
        rest = after;
    }
    false
}

/// What stands in a marker: a class, or a class and a part.
fn is_name(name: &[u8]) -> bool {
    let mut words = name.split(|byte| *byte == b':');
    let class = words.next().is_some_and(is_class_name);
    let part = words.next().is_none_or(|part| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        !part.is_empty() && part.iter().all(plain)
    });
    class && part && words.next().is_none()
}

fn strip<'a>(bytes: &'a [u8], prefixes: &[&[u8]]) -> Option<&'a [u8]> {
    prefixes
        .iter()
        .find_map(|prefix| bytes.strip_prefix(*prefix))
}

fn class_byte(bytes: &[u8]) -> Option<(u8, &[u8])> {
    if let Some(after) = strip(bytes, &[b"%2D", b"%2d", b"\\u002D", b"\\u002d"]) {
        return Some((b'-', after));
    }
    if let Some(after) = strip(bytes, &[b"%2E", b"%2e", b"\\u002E", b"\\u002e"]) {
        return Some((b'.', after));
    }
    if let Some(after) = strip(
        bytes,
        &[b":", b"%3A", b"%3a", b"\\u003A", b"\\u003a", b"&#58;"],
    ) {
        return Some((b':', after));
    }
    bytes.split_first().map(|(byte, after)| (*byte, after))
}
