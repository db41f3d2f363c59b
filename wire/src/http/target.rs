//! The request target in origin form (RFC 9112 section 3.2.1): normalised once, then the same bytes
//! are matched, judged, recorded and forwarded.

use std::borrow::Cow;
use std::fmt;

use super::query::{Pair, QueryError, pairs};

/// Longest request target, in bytes.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Most path segments.
pub const SEGMENTS_MAX: usize = 64;

/// Why a request target is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Longer than [`TARGET_BYTES_MAX`].
    #[error("the request target is longer than 8192 bytes")]
    TooLong,
    /// Not origin form.
    #[error("the request target does not start with `/`")]
    Form,
    /// A `#`.
    #[error("the request target has a fragment: leave out `#` and what follows it")]
    Fragment,
    /// More than [`SEGMENTS_MAX`].
    #[error("the path has more than 64 segments")]
    TooManySegments,
    /// `//`.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `.`, `..`, `...`, or a segment that ends in a dot or begins or ends in a space.
    #[error("the path has a dot segment, or a segment that ends in a dot or a space")]
    DotSegment,
    /// A `%` without two hexadecimal digits.
    #[error("a `%` in the request target is not followed by two hexadecimal digits")]
    Escape,
    /// What is escaped is not UTF-8.
    #[error("the request target is not UTF-8 once its escapes are decoded")]
    Utf8,
    /// A decoded `%` that starts another escape.
    #[error("the request target is escaped twice (`%25` before two hexadecimal digits)")]
    DoubleEscape,
    /// `/`, `\`, `;`, `?` or `#` within a segment, escaped or not, or a character that folds to one.
    #[error("the path has a slash, backslash, `;`, `?` or `#` inside a segment, or a look-alike")]
    Delimiter,
    /// A control, format or bidirectional character, escaped or not.
    #[error("the request target has a control character")]
    Control,
    /// A byte that must be escaped and is not.
    #[error("the request target has a character that must be percent-encoded")]
    Character,
}

/// A normalised request target: path and query, exactly as they are forwarded.
///
/// Unreserved characters are decoded, other escapes have upper-case digits, and an empty query is
/// dropped. Normalising again changes nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    text: String,
    path_bytes: usize,
}

impl Target {
    /// Normalise a target in origin form.
    ///
    /// # Errors
    /// [`TargetError`] for every form that two readers could understand differently.
    pub fn parse(raw: &str) -> Result<Self, TargetError> {
        if raw.len() > TARGET_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        let rest = raw.strip_prefix('/').ok_or(TargetError::Form)?;
        if rest.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query).filter(|query| !query.is_empty())),
            None => (rest, None),
        };
        let mut text = String::with_capacity(raw.len());
        normalise_path(path, &mut text)?;
        let path_bytes = text.len();
        if let Some(query) = query {
            text.push('?');
            normalise(query.as_bytes(), Part::Query, &mut text)?;
        }
        // Escaping brackets makes a query longer.
        if text.len() > TARGET_BYTES_MAX {
            return Err(TargetError::TooLong);
        }
        Ok(Self { text, path_bytes })
    }

    /// Path and query as they are forwarded.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path as it is forwarded; starts with `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.text[..self.path_bytes]
    }

    /// The query as it is forwarded, without the `?`; never empty.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_bytes + 1..)
    }

    /// The path's segments, decoded. `/` has one empty segment; a trailing slash is a last empty one.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.path()[1..].split('/').map(decode)
    }

    /// The query's name-value pairs, decoded, in order.
    ///
    /// # Errors
    /// [`QueryError`] for a `+`, an empty name, an empty pair or too many pairs.
    pub fn pairs(&self) -> Result<Vec<Pair<'_>>, QueryError> {
        self.query().map_or_else(|| Ok(Vec::new()), pairs)
    }

    /// The target below `prefix` (a normalised path without a trailing slash, or `/`), compared by
    /// whole segments; `None` when it is not below it.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let rest = self.path().strip_prefix(prefix)?;
        if !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        let mut text = String::with_capacity(self.text.len() - prefix.len() + 1);
        text.push_str(if rest.is_empty() { "/" } else { rest });
        let path_bytes = text.len();
        text.push_str(&self.text[self.path_bytes..]);
        Some(Self { text, path_bytes })
    }

    /// The target put below another path: the inverse of [`Target::strip_prefix`], for upstreams
    /// whose functions live below a base path.
    #[must_use]
    pub fn below(&self, base: &Self) -> Self {
        let base = base.path().trim_end_matches('/');
        let text = format!("{base}{}", self.text);
        Self {
            path_bytes: base.len() + self.path_bytes,
            text,
        }
    }

    /// The target with every `+` of its query written `%20`: how form-encoding clients mean it.
    #[must_use]
    pub fn with_plus_as_space(&self) -> Self {
        let text = match self.query() {
            Some(query) if query.contains('+') => {
                format!("{}?{}", self.path(), query.replace('+', "%20"))
            }
            Some(_) | None => self.text.clone(),
        };
        Self {
            text,
            path_bytes: self.path_bytes,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Decode a part of an already normalised target.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, escape(bytes, at)) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    // A normalised target decodes to UTF-8: `normalise` has checked it.
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Segment,
    Query,
}

fn normalise_path(path: &str, out: &mut String) -> Result<(), TargetError> {
    let mut segments = path.split('/').peekable();
    let mut count = 0;
    while let Some(segment) = segments.next() {
        count += 1;
        if count > SEGMENTS_MAX {
            return Err(TargetError::TooManySegments);
        }
        out.push('/');
        if segment.is_empty() {
            if segments.peek().is_some() {
                return Err(TargetError::EmptySegment);
            }
            continue;
        }
        let decoded = normalise(segment.as_bytes(), Part::Segment, out)?;
        check_segment(&decoded)?;
    }
    Ok(())
}

/// Append the normal form of one part to `out` and return what it decodes to.
fn normalise(raw: &[u8], part: Part, out: &mut String) -> Result<String, TargetError> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        if byte == b'%' {
            let value = escape(raw, at).ok_or(TargetError::Escape)?;
            decoded.push(value);
            push(value, !unreserved(value), out);
            at += 3;
            continue;
        }
        match raw_byte(byte, part) {
            Raw::Keep => push(byte, false, out),
            Raw::Escape => push(byte, true, out),
            Raw::Refuse(error) => return Err(error),
        }
        decoded.push(byte);
        at += 1;
    }
    let decoded = String::from_utf8(decoded).map_err(|_| TargetError::Utf8)?;
    // Looked for in what was decoded, so `%25%32%66` is found as well as `%252f`.
    let bytes = decoded.as_bytes();
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && escape(bytes, at).is_some()) {
        return Err(TargetError::DoubleEscape);
    }
    if decoded.chars().any(char::is_control) {
        return Err(TargetError::Control);
    }
    Ok(decoded)
}

enum Raw {
    Keep,
    Escape,
    Refuse(TargetError),
}

/// What to do with a byte that is not escaped (RFC 3986 section 3.3 and 3.4).
fn raw_byte(byte: u8, part: Part) -> Raw {
    match byte {
        _ if unreserved(byte) => Raw::Keep,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@' => {
            Raw::Keep
        }
        b'/' | b'?' if part == Part::Query => Raw::Keep,
        // Clients leave these unescaped in queries (`filter[name]=x`, `{"a":1}`).
        b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'`' if part == Part::Query => Raw::Escape,
        // Some servers take `;` for a separator of parameters, in paths and in queries.
        b';' | b'\\' => Raw::Refuse(TargetError::Delimiter),
        0..=0x1f | 0x7f => Raw::Refuse(TargetError::Control),
        _ => Raw::Refuse(TargetError::Character),
    }
}

fn check_segment(segment: &str) -> Result<(), TargetError> {
    // Some file systems and servers drop trailing dots and spaces, so `/admin.` is `/admin` to them.
    if segment.ends_with(['.', ' ']) || segment.starts_with(' ') {
        return Err(TargetError::DotSegment);
    }
    if segment.is_ascii() {
        let delimiter = |b| matches!(b, b'/' | b'\\' | b';' | b'?' | b'#');
        return match segment.bytes().any(delimiter) {
            true => Err(TargetError::Delimiter),
            false => Ok(()),
        };
    }
    for char in segment.chars() {
        if folds_to_delimiter(char) {
            return Err(TargetError::Delimiter);
        }
        if invisible(char) {
            return Err(TargetError::Control);
        }
    }
    Ok(())
}

/// Characters that are, or that compatibility normalisation or a legacy code page turns into, one of
/// `/ \ . % ; ? #`.
const fn folds_to_delimiter(char: char) -> bool {
    matches!(
        char,
        '/' | '\\' | ';' | '?' | '#'
            // slashes and backslashes
            | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{ff0f}' | '\u{2216}' | '\u{29f5}'
            | '\u{29f9}' | '\u{fe68}' | '\u{ff3c}' | '\u{2100}' | '\u{2101}' | '\u{2105}'
            | '\u{2106}'
            // dots
            | '\u{2024}' | '\u{2025}' | '\u{2026}' | '\u{fe19}' | '\u{fe30}' | '\u{fe52}'
            | '\u{ff0e}' | '\u{3002}' | '\u{ff61}' | '\u{2488}'
            ..='\u{249b}'
            // percent signs, semicolons, question marks, number signs
            | '\u{fe6a}' | '\u{ff05}' | '\u{037e}' | '\u{fe14}' | '\u{fe54}' | '\u{ff1b}'
            | '\u{2047}' | '\u{2048}' | '\u{2049}' | '\u{fe16}' | '\u{fe56}' | '\u{ff1f}'
            | '\u{fe5f}' | '\u{ff03}'
    )
}

/// Spaces, joiners and directional marks that people do not see in an approval or a log.
const fn invisible(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{a0}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
            | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

const fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The byte that the escape at `at` stands for; `None` when there is none.
pub(super) fn escape(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| -> Option<u8> {
        match *bytes.get(at)? {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
            _ => None,
        }
    };
    if bytes.get(at) != Some(&b'%') {
        return None;
    }
    Some(digit(at + 1)? * 16 + digit(at + 2)?)
}

fn push(byte: u8, escaped: bool, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if escaped {
        out.push('%');
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    } else {
        out.push(char::from(byte));
    }
}
