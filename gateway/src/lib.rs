//! Callgate: a zero-trust gateway for function calls.
//!
//! Rooms stand on floors and import lower floors only (`ARCHITECTURE.md`); the order of a call's steps
//! stands once, in `pipeline`.

pub mod approval;
pub mod call;
pub mod clock;
#[cfg(feature = "demo")]
pub mod demo;
pub mod disk;
pub mod egress;
pub mod identity;
pub mod listener;
pub mod mask;
pub mod policy;
pub mod record;
pub mod secret;
pub mod store;
pub mod telemetry;
