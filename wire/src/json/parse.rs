//! The strict reader for policy input.

use super::{JsonError, JsonErrorKind, Number, Value, number, string};

/// Nesting that [`parse`] never exceeds, whatever the caller allows: it recurses.
const DEPTH_CEILING: usize = 256;
/// How much of a duplicate member's name an error repeats, in characters.
const NAME_IN_ERROR_CHARS: usize = 64;

/// Limits of one [`parse`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Arrays and objects inside each other; at most 256 are ever accepted. Default 64.
    pub depth_max: usize,
    /// Values in the whole document, containers included. Default 100 000.
    pub values_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            values_max: 100_000,
        }
    }
}

/// Reads one document by RFC 8259 and I-JSON (RFC 7493).
///
/// # Errors
/// Anything that two readers could take differently: text that is not UTF-8, a byte order mark,
/// duplicate member names (compared after resolving escapes), lone surrogates, noncharacters, NUL
/// in a member name, data after the document; and documents beyond `limits`.
pub fn parse(text: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    if text.starts_with(b"\xEF\xBB\xBF") {
        return Err(JsonError::new(JsonErrorKind::ByteOrderMark, 0));
    }
    let text = std::str::from_utf8(text)
        .map_err(|fault| JsonError::new(JsonErrorKind::NotUtf8, fault.valid_up_to()))?;
    let mut reader = Reader {
        text,
        at: 0,
        values: 0,
        limits: *limits,
    };
    reader.skip_whitespace();
    let value = reader.value(0)?;
    reader.skip_whitespace();
    if reader.at < text.len() {
        return Err(reader.fault(JsonErrorKind::TrailingData));
    }
    Ok(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
    limits: Limits,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > self.limits.values_max {
            return Err(self.fault(JsonErrorKind::TooManyValues(self.limits.values_max)));
        }
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.array(self.deeper(depth)?),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9' | b'a'..=b'z') => self.scalar(),
            Some(_) => Err(self.fault(JsonErrorKind::Expected("a value"))),
            None => Err(self.fault(JsonErrorKind::EndsEarly)),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, JsonError> {
        let limit = self.limits.depth_max.min(DEPTH_CEILING);
        if depth >= limit {
            return Err(self.fault(JsonErrorKind::TooDeep(limit)));
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut members: Vec<(String, Value)> = Vec::new();
        let mut offsets = Vec::new();
        self.at += 1;
        self.skip_whitespace();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_whitespace();
            let offset = self.at;
            if self.peek().is_some_and(|byte| byte != b'"') {
                return Err(self.fault(JsonErrorKind::Expected("a member name")));
            }
            let name = self.string()?;
            if name.contains('\0') {
                return Err(JsonError::new(JsonErrorKind::NulInName, offset));
            }
            self.skip_whitespace();
            self.expect(b':', "`:`")?;
            self.skip_whitespace();
            let value = self.value(depth)?;
            members.push((name, value));
            offsets.push(offset);
            self.skip_whitespace();
            if self.take(b'}') {
                refuse_duplicates(&members, &offsets)?;
                return Ok(Value::Object(members));
            }
            self.expect(b',', "`,` or `}`")?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_whitespace();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_whitespace();
            items.push(self.value(depth)?);
            self.skip_whitespace();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    fn scalar(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        while self.peek().is_some_and(is_scalar_byte) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        match text {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => match Number::new(text) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(JsonError::new(JsonErrorKind::BadScalar, start)),
            },
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"', "`\"`")?;
        let mut text = String::new();
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let clean = rest
                .bytes()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))
                .ok_or_else(|| JsonError::new(JsonErrorKind::EndsEarly, self.text.len()))?;
            let (run, stop) = rest.split_at(clean);
            if let Some(fault) = run.char_indices().find(|(_, c)| is_noncharacter(*c)) {
                return Err(JsonError::new(
                    JsonErrorKind::Noncharacter,
                    self.at + fault.0,
                ));
            }
            text.push_str(run);
            self.at += clean;
            match stop.as_bytes().first() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape(stop)?),
                Some(_) | None => return Err(self.fault(JsonErrorKind::ControlCharacter)),
            }
        }
    }

    fn escape(&mut self, stop: &str) -> Result<char, JsonError> {
        let found = string::escape(stop.as_bytes()).map_err(|kind| self.fault(kind))?;
        if found.lone_surrogate {
            return Err(self.fault(JsonErrorKind::LoneSurrogate));
        }
        if is_noncharacter(found.character) {
            return Err(self.fault(JsonErrorKind::Noncharacter));
        }
        self.at += found.source_bytes;
        Ok(found.character)
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.fault(match self.peek() {
            Some(_) => JsonErrorKind::Expected(what),
            None => JsonErrorKind::EndsEarly,
        }))
    }

    fn fault(&self, kind: JsonErrorKind) -> JsonError {
        JsonError::new(kind, self.at)
    }
}

/// Bytes that can stand in a number or a literal.
pub(super) fn is_scalar_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Whether `text` is `true`, `false`, `null` or a number.
pub(super) fn is_scalar(text: &[u8]) -> bool {
    matches!(text, b"true" | b"false" | b"null") || number::is_number(text)
}

fn is_noncharacter(character: char) -> bool {
    let code = u32::from(character);
    (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// Sorting instead of a hash table: no keyed state, and a million members cost n log n.
fn refuse_duplicates(members: &[(String, Value)], offsets: &[usize]) -> Result<(), JsonError> {
    let mut names: Vec<(&str, usize)> = members
        .iter()
        .map(|(name, _)| name.as_str())
        .zip(offsets.iter().copied())
        .collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        if let [(first, _), (second, offset)] = pair
            && first == second
        {
            let name = second.chars().take(NAME_IN_ERROR_CHARS).collect();
            return Err(JsonError::new(
                JsonErrorKind::DuplicateMember(name),
                *offset,
            ));
        }
    }
    Ok(())
}
