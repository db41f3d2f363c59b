//! A witness: signs heads of logs that it knows, each only if it grew out of the one signed before.
//!
//! Owns the witness's folder (key, and for each log the newest head that was cosigned) and the public
//! protocol towards logs (C2SP tlog-witness, `add-checkpoint`). Refuses unknown logs, smaller and
//! inconsistent heads, and to sign before what it signs is on stable storage. A customer's second
//! account or an auditor runs it, far from the gateway whose log it watches. Called by `app`.

mod http;
mod state;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use http::Service;
pub use state::{Answer, Log, Witness};

/// Logs that one witness watches.
pub const LOGS_MAX: usize = 1024;

/// Contradictions of logs that are kept as evidence; later ones are told in the log only.
pub const EVIDENCE_FILES_MAX: usize = 256;

/// Why a witness cannot be made or opened, or cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {doing} `{path}`: {source}")]
    Disk {
        /// What was done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no witness there.
    #[error("`{0}` holds no witness: run `callgate witness init` once, or correct `--state`")]
    NotInitialised(PathBuf),
    /// There is one already.
    #[error("`{0}` holds a witness already: its key is never made anew over an old one")]
    Exists(PathBuf),
    /// Another process answers with it.
    #[error("`{dir}` is in use by process {holder}: one process signs with a witness's key")]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The other process's id, or `?`.
        holder: String,
    },
    /// The key can be read by others.
    #[error("`{0}` is readable by group or others: run `chmod 600` on it")]
    Permissions(PathBuf),
    /// A file is not what the witness wrote.
    #[error(
        "`{path}` is damaged ({why}): restore it, or give this witness up; it does not start anew from nothing"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The log is known already.
    #[error("the log `{0}` is watched already")]
    KnownLog(String),
    /// Too many logs.
    #[error("a witness watches at most 1024 logs")]
    TooManyLogs,
    /// A key, note or proof was refused.
    #[error(transparent)]
    Log(#[from] tlog::Error),
}
