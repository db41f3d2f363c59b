//! Evidence of one call for people outside: a bundle of files that verifies offline, and the story that
//! it tells. Everything here is a function of bytes: nothing is read, nothing is asked, nothing is kept.
//!
//! A bundle holds what was signed, what is committed to, and what can be made from both. What can be made
//! again is made again when it is verified, and compared: no file of a bundle is taken on trust.
//! Called by `cli` and by `console`.

mod archive;
mod check;
mod make;
mod page;
mod read;
mod story;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use check::Checked;
pub use story::{Fact, Section, sections};

/// The form of a bundle: the files, and how the page is made. Whoever changes either counts on, and says in
/// `docs/audit-log-format.md` what is new.
pub const FORMAT: &str = "callgate-evidence/1";

/// Largest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Most files of a bundle.
pub const FILES_MAX: usize = 10_000;

/// The file that names all others.
pub const MANIFEST: &str = "bundle.json";

/// The signed head that all proofs lead to.
const CHECKPOINT: &str = "checkpoint";

/// The story, for people.
const PAGE: &str = "index.html";

/// The policies that were in force.
const POLICIES: &str = "policies.json";

/// Files by their paths.
type Files = BTreeMap<String, Vec<u8>>;

/// The evidence of one call, as files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    files: Files,
}

/// Why a bundle is not believed, with the first bad part.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// Something is not what was signed, or not in form.
    #[error("`{file}`: {what}")]
    Tampered {
        /// Which file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// Something that belongs to it is not there.
    #[error("`{file}` is not there")]
    Incomplete {
        /// Which file.
        file: String,
    },
    /// It cannot be told.
    #[error("{0}")]
    Unusable(String),
}

impl Fault {
    fn tampered(file: &str, what: &(impl std::fmt::Display + ?Sized)) -> Self {
        Self::Tampered {
            file: file.to_owned(),
            what: what.to_string(),
        }
    }

    fn missing(file: &str) -> Self {
        Self::Incomplete {
            file: file.to_owned(),
        }
    }
}

impl Bundle {
    /// The files, by their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }
}
