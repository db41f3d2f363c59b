//! Protocol bytes to values and back. No sockets, no async runtime, no clock: what it does depends
//! on nothing but its input, so all of it can be fuzzed.

pub mod http;
pub mod json;
pub mod x509;
