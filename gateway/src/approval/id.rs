//! An approval's id.

use std::fmt;
use std::str::FromStr;

use super::seal::{Broken, random_hex};

const PREFIX: &str = "apr_";
const HEX_CHARS: usize = 32;

/// An approval's id: opaque and unguessable (128 random bits), `apr_` and 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ApprovalId(String);

impl ApprovalId {
    pub(super) fn random() -> Result<Self, Broken> {
        Ok(Self(format!("{PREFIX}{}", random_hex::<16>()?)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no approval id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an approval id: it is `apr_` and 32 hexadecimal digits")]
pub struct NotAnId;

impl FromStr for ApprovalId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let digits = text.strip_prefix(PREFIX).ok_or(NotAnId)?;
        let good = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == HEX_CHARS && digits.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnId)
        }
    }
}

impl ApprovalId {
    /// The id in a row of ours.
    pub(super) fn of(text: &str) -> Result<Self, crate::store::Error> {
        text.parse()
            .map_err(|_| crate::store::Error::Corrupt("approvals.id"))
    }
}
