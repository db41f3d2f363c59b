//! HTTP request heads, read once and strictly.
//!
//! Owned here: the request target ([`Target`]), hosts ([`Authority`]), media types ([`MediaType`]),
//! the rules that every request head must keep ([`check`]), the header lists behind them
//! ([`fields`]), and a [`Framer`] that holds raw HTTP/1 bytes to those rules before an HTTP library
//! reads them. Refused here: everything that two readers could understand differently (RFC 9112
//! section 11.2, RFC 3986 section 6). Callers: the listener and the HTTP protocol room.
//!
//! No error repeats a value that the caller sent; header names are repeated, cut to 64 bytes.

mod authority;
pub mod fields;
mod framer;
mod head;
mod media;
mod query;
mod target;

pub use authority::{Authority, AuthorityError};
pub use framer::{FrameError, Framer, Phase};
pub use head::{
    BodyLength, CheckedHead, HEAD_BYTES_MAX, HEADER_VALUE_BYTES_MAX, HEADERS_MAX, HeadError,
    METHODS, RequestLine, Version, check,
};
pub use media::{MEDIA_TYPE_BYTES_MAX, MediaType, MediaTypeError};
pub use query::{FormError, Pair, QUERY_PAIRS_MAX, QueryError, form};
pub use target::{SEGMENTS_MAX, TARGET_BYTES_MAX, Target, TargetError};

#[cfg(test)]
mod tests;
