//! The transparency log: its tree, signed heads, proofs and their verification.
//!
//! Owns the public C2SP formats ([tlog-tiles], [tlog-checkpoint], [signed-note], [tlog-cosignature],
//! [tlog-proof]) over the Merkle tree of RFC 6962. It refuses everything that is not exactly in
//! form: one value has one text, so what is parsed prints to the same bytes. It does no I/O, knows
//! no time and spawns nothing; callers bring bytes and take bytes. The gateway's record room writes
//! with it; `audit verify` and outside auditors check with it.
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [signed-note]: https://c2sp.org/signed-note
//! [tlog-cosignature]: https://c2sp.org/tlog-cosignature
//! [tlog-proof]: https://c2sp.org/tlog-proof

pub mod checkpoint;
mod error;
pub mod note;
pub mod proof;
mod text;
pub mod tile;
pub mod tree;
pub mod verify;

pub use error::Error;
