//! Callgate: a zero-trust gateway for function calls.
//!
//! Rooms stand on floors and import lower floors only (`ARCHITECTURE.md`); the order of a call's steps
//! stands once, in `pipeline`.

pub mod app;
pub mod approval;
pub mod call;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod credential;
#[cfg(feature = "demo")]
pub mod demo;
pub mod disk;
pub mod egress;
pub mod evidence;
pub mod export;
pub mod gate;
pub mod identity;
pub mod listener;
pub mod mask;
pub mod notify;
pub mod pipeline;
pub mod policy;
pub mod protocol;
pub mod record;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod witness;
