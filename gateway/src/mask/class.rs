//! What a piece of data is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalogue;

/// Longest name of a class, in bytes. It bounds the marker, and so what a request is searched for.
pub(super) const CLASS_BYTES_MAX: usize = 64;

/// What a piece of data is: `email`, `payment-card`, `secret.jwt`, or a name of the operator's own
/// (for field rules). Lower-case letters and digits in words joined by `-` or `.`, at most 64 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DataClass(Arc<str>);

/// A name that is no data class.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is not a data class: write words of lower-case letters and digits joined by `-` or `.`, \
     at most 64 bytes"
)]
pub struct ClassError(String);

impl DataClass {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group that the class belongs to, as `detect` names it: `secret`, `payment`, `contact`,
    /// `identity`, `health`, `device`, `wallet`; `custom` for names that no detector finds.
    #[must_use]
    pub fn group(&self) -> &'static str {
        catalogue::group_of(self.as_str())
    }
}

impl FromStr for DataClass {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        if is_class_name(text.as_bytes()) {
            Ok(Self(text.into()))
        } else {
            Err(ClassError(text.chars().take(CLASS_BYTES_MAX).collect()))
        }
    }
}

impl TryFrom<String> for DataClass {
    type Error = ClassError;

    fn try_from(text: String) -> Result<Self, ClassError> {
        text.parse()
    }
}

impl From<DataClass> for String {
    fn from(class: DataClass) -> Self {
        class.as_str().to_owned()
    }
}

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` has the form of a class name.
pub(super) fn is_class_name(name: &[u8]) -> bool {
    name.len() <= CLASS_BYTES_MAX
        && name
            .split(|byte| matches!(byte, b'-' | b'.'))
            .all(|word| !word.is_empty() && word.iter().all(is_word_byte))
}

fn is_word_byte(byte: &u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}
