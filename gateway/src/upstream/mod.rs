//! The only door out to functions.
//!
//! Forwards a permitted call with its credential and hands back a [`Raw`] answer whose bytes nobody
//! can read but through masking. Refuses link-local and metadata addresses and the gateway itself;
//! follows no redirect; repeats a request only when zero bytes of it were written. Called by
//! `pipeline`.

mod endpoint;
mod forward;
mod pool;
mod raw;
mod tapped;

pub use endpoint::{ConnectError, Endpoint, EndpointFault, Timeouts, TlsConfig};
pub use forward::{Failed, Left, Masks, Upstream};
pub use pool::PoolKey;
pub use raw::{Chunk, Cookies, Masked, MaskedHead, Raw};
