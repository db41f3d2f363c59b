//! What stands between the quotes: escapes, one at a time.

use super::JsonErrorKind;

/// One escape of a string, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escape {
    /// The character; a lone surrogate gives U+FFFD and sets `lone_surrogate`.
    pub character: char,
    /// Bytes of source that the escape takes (2, 6 or 12).
    pub source_bytes: usize,
    /// Half of a surrogate pair: allowed by RFC 8259, not by I-JSON.
    pub lone_surrogate: bool,
}

/// Reads the escape at the start of `text`, which begins with a backslash.
///
/// # Errors
/// [`JsonErrorKind::BadEscape`] for anything that RFC 8259 section 7 does not list.
pub fn escape(text: &[u8]) -> Result<Escape, JsonErrorKind> {
    let simple = |character| {
        Ok(Escape {
            character,
            source_bytes: 2,
            lone_surrogate: false,
        })
    };
    match text.get(1) {
        Some(b'"') => simple('"'),
        Some(b'\\') => simple('\\'),
        Some(b'/') => simple('/'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(b'n') => simple('\n'),
        Some(b'r') => simple('\r'),
        Some(b't') => simple('\t'),
        Some(b'u') => unicode_escape(text),
        Some(_) | None => Err(JsonErrorKind::BadEscape),
    }
}

fn unicode_escape(text: &[u8]) -> Result<Escape, JsonErrorKind> {
    let first = hex4(text.get(2..6)).ok_or(JsonErrorKind::BadEscape)?;
    if let Some(character) = char::from_u32(first) {
        return Ok(Escape {
            character,
            source_bytes: 6,
            lone_surrogate: false,
        });
    }
    let lone = Escape {
        character: char::REPLACEMENT_CHARACTER,
        source_bytes: 6,
        lone_surrogate: true,
    };
    if first >= 0xDC00 || text.get(6..8) != Some(br"\u") {
        return Ok(lone);
    }
    match hex4(text.get(8..12)) {
        Some(second @ 0xDC00..=0xDFFF) => {
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            let character = char::from_u32(code).ok_or(JsonErrorKind::BadEscape)?;
            Ok(Escape {
                character,
                source_bytes: 12,
                lone_surrogate: false,
            })
        }
        Some(_) => Ok(lone),
        None => Err(JsonErrorKind::BadEscape),
    }
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, byte| {
        Some(value * 16 + char::from(*byte).to_digit(16)?)
    })
}

/// Checks every escape of `inner` (the bytes between the quotes).
///
/// # Errors
/// The offset in `inner` of the first bad escape.
pub fn check_escapes(inner: &[u8]) -> Result<(), usize> {
    let mut at = 0;
    while let Some(next) = inner.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        at += next;
        let found = escape(inner.get(at..).unwrap_or_default()).map_err(|_| at)?;
        at += found.source_bytes;
    }
    Ok(())
}

/// Appends `inner` (the bytes between the quotes) to `out` with its escapes resolved; a lone
/// surrogate becomes U+FFFD, a bad escape stays as it is written.
pub fn unescape_into(inner: &[u8], out: &mut Vec<u8>) {
    let mut rest = inner;
    while let Some(next) = memchr::memchr(b'\\', rest) {
        let (clean, from_escape) = rest.split_at(next);
        out.extend_from_slice(clean);
        if let Ok(found) = escape(from_escape) {
            let mut utf8 = [0; 4];
            out.extend_from_slice(found.character.encode_utf8(&mut utf8).as_bytes());
            rest = from_escape.get(found.source_bytes..).unwrap_or_default();
        } else {
            out.push(b'\\');
            rest = from_escape.get(1..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
}
