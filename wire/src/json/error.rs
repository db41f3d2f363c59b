//! What can be wrong with JSON text, and where.

/// A fault in JSON text. The text says what is wrong in plain words; it never repeats a value,
/// only (shortened) member names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct JsonError {
    kind: JsonErrorKind,
    offset: usize,
}

impl JsonError {
    pub(super) fn new(kind: JsonErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// Where the fault is, in bytes from the start of the input (for a stream: of all input).
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &JsonErrorKind {
        &self.kind
    }
}

/// The faults that the readers tell apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// Bytes that are not UTF-8.
    #[error("text is not valid UTF-8")]
    NotUtf8,
    /// A byte order mark at the start.
    #[error("byte order mark before the document")]
    ByteOrderMark,
    /// The input ended inside the document.
    #[error("document ends early")]
    EndsEarly,
    /// Something else was expected here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A word that is no JSON literal, or a number outside the grammar.
    #[error("not a JSON number or literal")]
    BadScalar,
    /// A control character inside a string.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// A backslash that starts no JSON escape.
    #[error("unknown escape in a string")]
    BadEscape,
    /// Half of a surrogate pair.
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    /// A code point that I-JSON excludes (RFC 7493 2.1).
    #[error("noncharacter in a string")]
    Noncharacter,
    /// NUL inside a member name.
    #[error("NUL in a member name")]
    NulInName,
    /// Two members of one object with the same name.
    #[error("duplicate member `{0}`")]
    DuplicateMember(String),
    /// More bytes after the document.
    #[error("data after the document")]
    TrailingData,
    /// Nested deeper than the limit.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// More values than the limit.
    #[error("more than {0} values")]
    TooManyValues(usize),
    /// A string or number longer than the limit.
    #[error("token too large (limit {0} bytes)")]
    TokenTooLarge(usize),
    /// The visitor refused the token.
    #[error("refused: {0}")]
    Refused(&'static str),
}
