//! The crate against others' implementations of the same formats, and against its own rules.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod cross;
mod mutations;
mod properties;
mod python;
mod vectors;
