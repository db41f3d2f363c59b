//! A push tokenizer that edits JSON while it passes: fed by chunks of any size, it shows every
//! token to a [`Visitor`] and copies all bytes that the visitor keeps, unchanged.
//!
//! Memory is bounded by one token (whole tokens are shown, never parts) and one bit a level. What
//! it lets through is one well-formed document (or many, if asked for); an error means that no
//! further byte may be used.

use super::{JsonError, JsonErrorKind, parse::is_scalar, parse::is_scalar_byte, string};

mod items;
mod run;
mod token;

use run::clean_run;
pub use token::{Documents, Kind, StreamLimits, Token, Verdict, Visitor};

const NOT_AN_ITEM: JsonErrorKind =
    JsonErrorKind::Refused("only a member or an item of an array can be left out");

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrArrayEnd,
    Key,
    KeyOrObjectEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// The unfinished token at the end of the last chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partial {
    None,
    String { after_backslash: bool },
    Scalar,
}

/// The tokenizer's state between chunks.
#[derive(Debug)]
pub struct Scanner {
    limits: StreamLimits,
    expect: Expect,
    /// One entry a level.
    stack: Vec<Level>,
    /// Depth at which a value began that is replaced or dropped: its content is not shown, not copied.
    hidden: Option<usize>,
    /// A comma and the white space behind it, until it is known whether their item stays.
    held: Option<Vec<u8>>,
    partial: Partial,
    escaped: bool,
    ascii: bool,
    carry: Vec<u8>,
    /// Bytes consumed before the current chunk.
    offset: usize,
    begun: bool,
    failed: bool,
}

/// An open container.
#[derive(Clone, Copy, Debug)]
struct Level {
    object: bool,
    /// An item was written, so that the next one needs a comma in front.
    kept: bool,
}

/// What becomes of a whole token.
enum Fate {
    Kept,
    Hidden,
    Replaced(Vec<u8>),
    Dropped,
}

/// Where we are in one chunk: `chunk[copied..at]` is clean and not yet written.
struct Cursor<'a> {
    chunk: &'a [u8],
    at: usize,
    copied: usize,
}

impl Scanner {
    /// A scanner at the start of a stream.
    #[must_use]
    pub fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            expect: Expect::Value,
            stack: Vec::new(),
            hidden: None,
            held: None,
            partial: Partial::None,
            escaped: false,
            ascii: true,
            carry: Vec::new(),
            offset: 0,
            begun: false,
            failed: false,
        }
    }

    /// How many containers are open.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.stack.len()
    }

    /// Takes the next bytes, shows their tokens to `visitor` and appends what remains to `out`.
    /// An unfinished token at the end is held back.
    ///
    /// # Errors
    /// Text that is not JSON, beyond the limits, or refused by the visitor. The scanner stays
    /// failed: later calls give an error too.
    pub fn push(
        &mut self,
        chunk: &[u8],
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        if self.failed {
            return Err(JsonError::new(
                JsonErrorKind::Refused("the stream failed before"),
                0,
            ));
        }
        let mut cursor = Cursor {
            chunk,
            at: 0,
            copied: 0,
        };
        let result = self.run(&mut cursor, visitor, out);
        match result {
            Ok(()) => {
                self.offset += chunk.len();
                Ok(())
            }
            Err(kind) => {
                self.failed = true;
                Err(JsonError::new(kind, self.offset + cursor.at))
            }
        }
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// A document that is not complete, or a last token that is refused.
    pub fn finish(
        mut self,
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonError> {
        let offset = self.offset;
        let fault = |kind| JsonError::new(kind, offset);
        if self.failed {
            return Err(fault(JsonErrorKind::Refused("the stream failed before")));
        }
        match self.partial {
            Partial::None => {}
            Partial::String { .. } => return Err(fault(JsonErrorKind::EndsEarly)),
            Partial::Scalar => {
                let mut cursor = Cursor {
                    chunk: &[],
                    at: 0,
                    copied: 0,
                };
                self.end_token(&mut cursor, 0, Kind::Number, visitor, out)
                    .map_err(fault)?;
            }
        }
        if !self.stack.is_empty() || (self.begun && self.expect == Expect::Value) {
            let ended = self.stack.is_empty() && self.limits.documents == Documents::Many;
            if !ended {
                return Err(fault(JsonErrorKind::EndsEarly));
            }
        }
        Ok(())
    }

    fn run(
        &mut self,
        cursor: &mut Cursor<'_>,
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        let chunk = cursor.chunk;
        match self.partial {
            Partial::None => {}
            Partial::String { after_backslash } => {
                self.string(cursor, 0, after_backslash, visitor, out)?;
            }
            Partial::Scalar => self.scalar(cursor, 0, visitor, out)?,
        }
        while let Some(&byte) = chunk.get(cursor.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => cursor.at += 1,
                b'"' => {
                    let start = cursor.at;
                    self.check_string_start()?;
                    cursor.at += 1;
                    self.string(cursor, start, false, visitor, out)?;
                }
                b',' => {
                    self.comma(cursor, out)?;
                    cursor.at += 1;
                }
                b':' if self.expect == Expect::Colon => {
                    self.expect = Expect::Value;
                    cursor.at += 1;
                }
                b'{' | b'[' => self.open(cursor, byte == b'{', visitor, out)?,
                b'}' | b']' => self.close(cursor, byte == b'}', visitor)?,
                0x1E if self.limits.documents == Documents::Many && self.stack.is_empty() => {
                    cursor.at += 1;
                }
                _ if is_scalar_byte(byte) => {
                    let start = cursor.at;
                    self.check_value_start()?;
                    self.scalar(cursor, start, visitor, out)?;
                }
                _ => return Err(self.unexpected()),
            }
        }
        if self.partial == Partial::None {
            self.flush(cursor, chunk.len(), out);
        }
        self.check_length(self.held.as_ref().map_or(0, Vec::len))
    }

    fn open(
        &mut self,
        cursor: &mut Cursor<'_>,
        object: bool,
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        self.check_value_start()?;
        if self.stack.len() >= self.limits.depth_max {
            return Err(JsonErrorKind::TooDeep(self.limits.depth_max));
        }
        if self.hidden.is_none() {
            let raw = cursor.chunk.get(cursor.at..=cursor.at).unwrap_or_default();
            let kind = if object {
                Kind::ObjectStart
            } else {
                Kind::ArrayStart
            };
            let verdict = visitor.token(&Token {
                kind,
                raw,
                escaped: false,
            });
            let item = self.begins_item(kind);
            if item {
                self.settle(cursor, cursor.at, verdict != Verdict::Drop, out);
            }
            match verdict {
                Verdict::Keep => {}
                Verdict::Replace(bytes) => {
                    self.flush(cursor, cursor.at, out);
                    out.extend_from_slice(&bytes);
                    self.hidden = Some(self.stack.len());
                }
                Verdict::Drop if item => self.hidden = Some(self.stack.len()),
                Verdict::Drop => return Err(NOT_AN_ITEM),
                Verdict::Refuse(reason) => return Err(JsonErrorKind::Refused(reason)),
            }
        }
        self.stack.push(Level {
            object,
            kept: false,
        });
        self.expect = if object {
            Expect::KeyOrObjectEnd
        } else {
            Expect::ValueOrArrayEnd
        };
        cursor.at += 1;
        Ok(())
    }

    fn close(
        &mut self,
        cursor: &mut Cursor<'_>,
        object: bool,
        visitor: &mut impl Visitor,
    ) -> Result<(), JsonErrorKind> {
        let allowed = match self.expect {
            Expect::CommaOrEnd => true,
            Expect::KeyOrObjectEnd => object,
            Expect::ValueOrArrayEnd => !object,
            Expect::Value | Expect::Key | Expect::Colon | Expect::Nothing => false,
        };
        if !allowed || self.stack.last().map(|level| level.object) != Some(object) {
            return Err(self.unexpected());
        }
        self.stack.pop();
        let raw = cursor.chunk.get(cursor.at..=cursor.at).unwrap_or_default();
        cursor.at += 1;
        match self.hidden {
            Some(depth) if depth < self.stack.len() => {}
            Some(_) => {
                // The replacement is written; the container's bytes are skipped. The visitor
                // hears of neither end of it.
                cursor.copied = cursor.at;
                self.hidden = None;
            }
            None => {
                let kind = if object {
                    Kind::ObjectEnd
                } else {
                    Kind::ArrayEnd
                };
                if let Verdict::Refuse(reason) = visitor.token(&Token {
                    kind,
                    raw,
                    escaped: false,
                }) {
                    return Err(JsonErrorKind::Refused(reason));
                }
            }
        }
        self.after_value();
        Ok(())
    }

    /// Reads on inside a string. `start` is where the token begins in this chunk.
    fn string(
        &mut self,
        cursor: &mut Cursor<'_>,
        start: usize,
        after_backslash: bool,
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        let chunk = cursor.chunk;
        let mut at = cursor.at + usize::from(after_backslash);
        loop {
            let run = clean_run(chunk.get(at..).unwrap_or_default());
            self.ascii &= run.ascii;
            at += run.bytes;
            match chunk.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.escaped = true;
                    at += 2;
                }
                Some(_) => {
                    cursor.at = at;
                    return Err(JsonErrorKind::ControlCharacter);
                }
                None => {
                    self.partial = Partial::String {
                        after_backslash: at > chunk.len(),
                    };
                    return self.hold_back(cursor, start, out);
                }
            }
        }
        cursor.at = at + 1;
        let key = matches!(self.expect, Expect::Key | Expect::KeyOrObjectEnd);
        let kind = if key { Kind::Key } else { Kind::String };
        self.end_token(cursor, start, kind, visitor, out)
    }

    fn scalar(
        &mut self,
        cursor: &mut Cursor<'_>,
        start: usize,
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        let rest = cursor.chunk.get(cursor.at..).unwrap_or_default();
        match rest.iter().position(|byte| !is_scalar_byte(*byte)) {
            Some(length) => {
                cursor.at += length;
                self.end_token(cursor, start, Kind::Number, visitor, out)
            }
            None => {
                self.partial = Partial::Scalar;
                self.hold_back(cursor, start, out)
            }
        }
    }

    /// The chunk ends inside a token: writes what comes before it and keeps the rest.
    fn hold_back(
        &mut self,
        cursor: &mut Cursor<'_>,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        if self.carry.is_empty() {
            self.flush(cursor, start, out);
        }
        self.carry
            .extend_from_slice(cursor.chunk.get(start..).unwrap_or_default());
        cursor.at = cursor.chunk.len();
        cursor.copied = cursor.at;
        self.check_length(self.carry.len())
    }

    /// A token is complete at `cursor.at`: checks it, shows it, writes what becomes of it.
    fn end_token(
        &mut self,
        cursor: &mut Cursor<'_>,
        start: usize,
        kind: Kind,
        visitor: &mut impl Visitor,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonErrorKind> {
        let here = cursor.chunk.get(start..cursor.at).unwrap_or_default();
        let carried = !self.carry.is_empty();
        let mut carry = Vec::new();
        if carried {
            carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(here);
        }
        let fate = self.judge(kind, if carried { &carry } else { here }, visitor)?;
        let item = self.begins_item(kind);
        if item {
            self.settle(cursor, start, !matches!(fate, Fate::Dropped), out);
        }
        match fate {
            Fate::Kept if !carried => {}
            Fate::Kept => {
                out.extend_from_slice(&carry);
                cursor.copied = cursor.at;
            }
            Fate::Hidden => cursor.copied = cursor.at,
            Fate::Replaced(bytes) => {
                self.flush(cursor, start, out);
                out.extend_from_slice(&bytes);
                cursor.copied = cursor.at;
            }
            Fate::Dropped if item => {
                cursor.copied = cursor.at;
                self.hidden = (kind == Kind::Key).then_some(self.stack.len());
            }
            Fate::Dropped => return Err(NOT_AN_ITEM),
        }
        if carried {
            carry.clear();
            self.carry = carry;
        }
        self.partial = Partial::None;
        self.escaped = false;
        self.ascii = true;
        if kind == Kind::Key {
            self.expect = Expect::Colon;
            return Ok(());
        }
        // The value of a member that was dropped.
        if self.hidden == Some(self.stack.len()) {
            self.hidden = None;
            cursor.copied = cursor.at;
        }
        self.after_value();
        Ok(())
    }

    /// Checks a whole token and asks the visitor.
    #[inline]
    fn judge(
        &self,
        kind: Kind,
        raw: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<Fate, JsonErrorKind> {
        self.check_length(raw.len())?;
        let token = self.check_token(kind, raw)?;
        if self.hidden.is_some() {
            return Ok(Fate::Hidden);
        }
        match visitor.token(&token) {
            Verdict::Keep => Ok(Fate::Kept),
            Verdict::Replace(bytes) => Ok(Fate::Replaced(bytes)),
            Verdict::Drop => Ok(Fate::Dropped),
            Verdict::Refuse(reason) => Err(JsonErrorKind::Refused(reason)),
        }
    }

    #[inline]
    fn check_token<'a>(&self, kind: Kind, raw: &'a [u8]) -> Result<Token<'a>, JsonErrorKind> {
        let token = |kind| Token {
            kind,
            raw,
            escaped: self.escaped,
        };
        if matches!(kind, Kind::Key | Kind::String) {
            if !self.ascii && std::str::from_utf8(raw).is_err() {
                return Err(JsonErrorKind::NotUtf8);
            }
            if self.escaped && string::check_escapes(token(kind).inner()).is_err() {
                return Err(JsonErrorKind::BadEscape);
            }
            return Ok(token(kind));
        }
        if !is_scalar(raw) {
            return Err(JsonErrorKind::BadScalar);
        }
        let literal = raw.first().is_some_and(u8::is_ascii_alphabetic);
        Ok(token(if literal { Kind::Literal } else { Kind::Number }))
    }

    #[inline]
    fn check_length(&self, bytes: usize) -> Result<(), JsonErrorKind> {
        if bytes > self.limits.token_bytes_max {
            return Err(JsonErrorKind::TokenTooLarge(self.limits.token_bytes_max));
        }
        Ok(())
    }

    fn check_string_start(&mut self) -> Result<(), JsonErrorKind> {
        match self.expect {
            Expect::Key | Expect::KeyOrObjectEnd => Ok(()),
            Expect::Value
            | Expect::ValueOrArrayEnd
            | Expect::Colon
            | Expect::CommaOrEnd
            | Expect::Nothing => self.check_value_start(),
        }
    }

    #[inline]
    fn check_value_start(&mut self) -> Result<(), JsonErrorKind> {
        match self.expect {
            Expect::Value | Expect::ValueOrArrayEnd => {
                self.begun = true;
                Ok(())
            }
            Expect::Key
            | Expect::KeyOrObjectEnd
            | Expect::Colon
            | Expect::CommaOrEnd
            | Expect::Nothing => Err(self.unexpected()),
        }
    }

    #[inline]
    fn after_value(&mut self) {
        self.expect = match (self.stack.is_empty(), self.limits.documents) {
            (false, _) => Expect::CommaOrEnd,
            (true, Documents::One) => Expect::Nothing,
            (true, Documents::Many) => Expect::Value,
        };
    }

    fn unexpected(&self) -> JsonErrorKind {
        match self.expect {
            Expect::Value | Expect::ValueOrArrayEnd => JsonErrorKind::Expected("a value"),
            Expect::Key | Expect::KeyOrObjectEnd => JsonErrorKind::Expected("a member name"),
            Expect::Colon => JsonErrorKind::Expected("`:`"),
            Expect::CommaOrEnd => JsonErrorKind::Expected("`,` or the container's end"),
            Expect::Nothing => JsonErrorKind::TrailingData,
        }
    }

    /// Writes the clean bytes up to `until`, unless they lie in a value that is hidden; behind a comma
    /// that is held they are held too.
    #[inline]
    fn flush(&mut self, cursor: &mut Cursor<'_>, until: usize, out: &mut Vec<u8>) {
        if self.hidden.is_none() {
            let clean = cursor.chunk.get(cursor.copied..until).unwrap_or_default();
            self.held.as_mut().unwrap_or(out).extend_from_slice(clean);
        }
        cursor.copied = until;
    }
}

#[cfg(test)]
mod tests;
