//! Masks secrets and personal data in what comes back.

use std::fmt;

/// What a piece of data is: `email`, `payment-card`, `secret.jwt`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DataClass(String);

impl fmt::Display for DataClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
