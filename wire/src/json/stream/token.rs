//! What passes between the scanner and its visitor.

/// Limits of one stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Arrays and objects inside each other. Default 512.
    pub depth_max: usize,
    /// Bytes of one string, with quotes, or number. Default 64 KiB.
    pub token_bytes_max: usize,
    /// One document, or any number of them.
    pub documents: Documents,
    /// Whether the visitor may drop items: a comma is then held back until it is known whether the item
    /// behind it stays. Default no.
    pub drops: bool,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            depth_max: 512,
            token_bytes_max: 64 * 1024,
            documents: Documents::One,
            drops: false,
        }
    }
}

/// How many documents a stream may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Documents {
    /// One, as in `application/json`. An empty stream is accepted: it holds nothing.
    One,
    /// Any number with white space or RS (RFC 7464) between them, as in NDJSON.
    Many,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// A member name, with its quotes.
    Key,
    /// A string value, with its quotes.
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

/// One whole token.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its bytes as they came, quotes included.
    pub raw: &'a [u8],
    /// A string with at least one backslash.
    pub escaped: bool,
}

impl<'a> Token<'a> {
    /// The bytes between the quotes of a key or string; all bytes of other kinds.
    #[must_use]
    #[inline]
    pub fn inner(&self) -> &'a [u8] {
        match self.kind {
            Kind::Key | Kind::String => match self.raw {
                [b'"', inner @ .., b'"'] => inner,
                raw => raw,
            },
            Kind::ObjectStart
            | Kind::ObjectEnd
            | Kind::ArrayStart
            | Kind::ArrayEnd
            | Kind::Number
            | Kind::Literal => self.raw,
        }
    }
}

/// What becomes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its bytes are copied.
    Keep,
    /// These bytes stand in its place. For a container's start: in place of the whole container,
    /// whose content is checked for form but, like its end, not shown. Ignored for ends.
    Replace(Vec<u8>),
    /// Left out, with one of the commas beside it: for a key the whole member, whose value is checked for
    /// form but not shown; for an item of an array that item. Nothing else can be dropped, and nothing
    /// unless [`StreamLimits::drops`] says so.
    Drop,
    /// The stream is refused, for the reason given.
    Refuse(&'static str),
}

/// Looks at tokens in document order.
pub trait Visitor {
    /// Decides about one token.
    fn token(&mut self, token: &Token<'_>) -> Verdict;
}
