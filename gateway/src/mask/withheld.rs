//! Why an answer is not delivered.

use super::budget::Spent;
use super::class::DataClass;
use wire::json::JsonError;

/// An answer that cannot be inspected to its end and is therefore not delivered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Withheld {
    reason: Reason,
}

impl Withheld {
    /// The caller's budget of values that is used up, if that is why.
    #[must_use]
    pub fn spent(&self) -> Option<&Spent> {
        if let Reason::Spent(spent) = &self.reason {
            return Some(spent);
        }
        None
    }

    /// A stable word for records and metrics, as in `media-type`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.reason {
            Reason::UnknownCoding(_) => "content-coding",
            Reason::BrokenCoding(_) => "broken-coding",
            Reason::Inflated(_) => "inflated",
            Reason::MediaType(_) | Reason::TellingType => "media-type",
            Reason::Charset(_) => "charset",
            Reason::Partial => "partial",
            Reason::Unexpected => "unexpected-body",
            Reason::Json(_) => "json",
            Reason::Text(_) => "text",
            Reason::Table(_) => "table",
            Reason::Markup(_) => "xml",
            Reason::Parts(_) => "multipart",
            Reason::TooLong(_) => "too-long",
            Reason::Panicked => "detector-failed",
            Reason::Blocked(_) => "blocked-class",
            Reason::Spent(_) => "budget",
            Reason::Failed => "failed-before",
        }
    }
}

impl From<Reason> for Withheld {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

impl From<JsonError> for Withheld {
    fn from(error: JsonError) -> Self {
        // A member's name in the text could be the very thing that is to be hidden.
        Reason::Json(error.offset()).into()
    }
}

/// The reasons. None of the texts repeats anything of the body.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Reason {
    #[error("content coding `{0}` cannot be inspected")]
    UnknownCoding(String),
    #[error("the {0} stream is broken or ends early")]
    BrokenCoding(&'static str),
    #[error("the decoded answer exceeds {0}")]
    Inflated(&'static str),
    #[error("media type `{0}` cannot be inspected")]
    MediaType(String),
    #[error("the media type holds data that is to be masked")]
    TellingType,
    #[error("character set `{0}` cannot be inspected")]
    Charset(String),
    #[error("a part of an answer (206) cannot be inspected")]
    Partial,
    #[error("an answer that has no body came with one")]
    Unexpected,
    #[error("the answer is not the JSON it claims to be, or beyond the limits, at byte {0}")]
    Json(usize),
    #[error("{0}")]
    Text(&'static str),
    #[error("a table to which field rules cannot be applied: {0}")]
    Table(&'static str),
    #[error("XML to which field rules cannot be applied: {0}")]
    Markup(&'static str),
    #[error("a message of several parts that cannot be inspected: {0}")]
    Parts(&'static str),
    #[error("{0} is longer than can be inspected")]
    TooLong(&'static str),
    #[error("a detector failed: this is a fault of the gateway, please report it")]
    Panicked,
    #[error("the answer holds data of class `{0}`, which is set to block it")]
    Blocked(DataClass),
    #[error("the caller's budget is used up: {0}")]
    Spent(Spent),
    #[error("the answer was withheld before")]
    Failed,
}
