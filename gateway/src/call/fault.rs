//! What can be wrong: with declared functions, at load; with a request, at decode.

use std::fmt;

/// How much of a caller's name (of a member, of a parameter) an error repeats, in characters.
const NAME_SHOWN_CHARS: usize = 64;

/// One thing wrong with the declared functions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// Where: a place in the config, or `file#/json/pointer`.
    pub place: String,
    /// What is wrong there.
    pub what: String,
    /// How to mend it.
    pub hint: String,
}

impl Fault {
    pub(super) fn new(
        place: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.what, self.hint)
    }
}

/// Why a request is not a call of the function: always the caller's fault, nothing was executed.
/// The text is one plain sentence for the caller; it names members and parameters, never values.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallFault {
    /// No such function (404 `not_found`).
    #[error("{0}")]
    NotFound(String),
    /// The request is not what the function declares (400 `bad_request`).
    #[error("{0}")]
    BadRequest(String),
    /// A body of an undeclared media type or coding (415 `unsupported_media_type`).
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A body that is too large to be judged (413 `too_large`).
    #[error("{0}")]
    TooLarge(String),
    /// A stored call that the present configuration reads otherwise (409 `superseded`).
    #[error("{0}")]
    Superseded(String),
}

impl CallFault {
    /// The stable code of the problem.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::BadRequest(_) => "bad_request",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::TooLarge(_) => "too_large",
            Self::Superseded(_) => "superseded",
        }
    }

    /// The HTTP status of the problem.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound(_) => 404,
            Self::BadRequest(_) => 400,
            Self::UnsupportedMediaType(_) => 415,
            Self::TooLarge(_) => 413,
            Self::Superseded(_) => 409,
        }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::BadRequest(text.into())
    }

    pub(super) fn media(text: impl Into<String>) -> Self {
        Self::UnsupportedMediaType(text.into())
    }
}

/// A name that the caller sent, for an error: cut, with controls and directional marks made visible.
pub(super) fn shown(name: &str) -> String {
    let mut out: String = name
        .chars()
        .take(NAME_SHOWN_CHARS)
        .flat_map(|char| match char {
            ' '..='~' => char.to_string().chars().collect::<Vec<_>>(),
            _ => char.escape_unicode().collect(),
        })
        .collect();
    if name.chars().nth(NAME_SHOWN_CHARS).is_some() {
        out.push('…');
    }
    out
}
