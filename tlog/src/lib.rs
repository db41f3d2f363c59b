//! The transparency log: its tree, signed heads, proofs and their verification.
//!
//! Owns the public C2SP formats ([tlog-tiles], [tlog-checkpoint], [signed-note], [tlog-cosignature],
//! [tlog-proof], [tlog-policy]) over the Merkle tree of RFC 6962. It refuses everything that is not exactly in
//! form: one value has one text, so what is parsed prints to the same bytes. It does no I/O, knows
//! no time and spawns nothing; callers bring bytes and take bytes. The gateway's record room writes
//! with it; `audit verify` and outside auditors check with it.
//!
//! ```
//! use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
//! use tlog::note::Signer;
//! use tlog::proof::verify_inclusion;
//! use tlog::tree::{Hashes, inclusion_proof, leaf_hash};
//!
//! // The log appends, and signs its head.
//! let signer = Signer::generate("log.example/gate-1")?;
//! let mut hashes = Hashes::new();
//! for entry in ["begin", "end", "begin"] {
//!     hashes.push(leaf_hash(entry.as_bytes()));
//! }
//! let note = Checkpoint::new(signer.name(), hashes.size(), hashes.root())?.sign(&signer)?;
//! let proof = inclusion_proof(1, hashes.size(), &hashes)?;
//!
//! // Whoever has the log's public key checks both.
//! let signed = VerifiedCheckpoint::verify(&note, signer.verifier_key(), &[])?;
//! verify_inclusion(leaf_hash(b"end"), 1, signed.checkpoint().head(), &proof)?;
//! # Ok::<(), tlog::Error>(())
//! ```
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [signed-note]: https://c2sp.org/signed-note
//! [tlog-cosignature]: https://c2sp.org/tlog-cosignature
//! [tlog-proof]: https://c2sp.org/tlog-proof
//! [tlog-policy]: https://c2sp.org/tlog-policy

pub mod checkpoint;
mod error;
pub mod note;
pub mod policy;
pub mod proof;
mod text;
pub mod tile;
pub mod tree;
pub mod verify;

pub use error::Error;
