//! JSON, read twice and never trusted: [`parse`] builds a strict value for policy input, and
//! [`stream`] edits a response of any length token by token.
//!
//! Owned here: the grammar (RFC 8259), the stricter rules of I-JSON (RFC 7493), escapes, limits.
//! Refused here: everything that two readers could understand differently, which for policy input
//! means duplicate members, lone surrogates, noncharacters, a byte order mark, trailing data.
//! Callers: protocol rooms (policy input) and the mask room (responses).

mod error;
mod number;
mod parse;
pub mod stream;
pub mod string;

pub use error::{JsonError, JsonErrorKind};
pub use number::Number;
pub use parse::{Limits, parse};

/// A parsed JSON value. Members keep their order; numbers keep their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number with its exact text.
    Number(Number),
    /// A string, escapes resolved.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object; member names are unique.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// The member `name` of an object; `None` for other kinds and absent members.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The text of a string; `None` for other kinds.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// What the value is, as a word for messages: `null`, `boolean`, `number`, `string`, `array`
    /// or `object`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

#[cfg(test)]
mod tests;
