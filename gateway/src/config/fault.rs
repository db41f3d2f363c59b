//! One thing that is wrong with the configuration.

use std::fmt;

/// Where, what, and how to mend it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// File and line, or the path of keys (`connections.payments.upstream`).
    pub place: String,
    /// What is wrong: lower case, no full stop.
    pub text: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Fault {
    /// A fault at a place.
    pub fn new(place: impl Into<String>, text: impl fmt::Display) -> Self {
        Self {
            place: place.into(),
            text: text.to_string(),
            help: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}
