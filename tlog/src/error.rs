//! What can be wrong with a log, a note or a proof. Messages name the part and how it differs.

use crate::tree::Hash;

/// Why a value was refused. Every variant is a refusal: there are no warnings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A text or a byte string is over its named limit.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLong {
        /// What was measured.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A text or a byte string is not in the form that its specification demands.
    #[error("{what}, {place} {at}: {problem}")]
    Malformed {
        /// The format that was being read.
        what: &'static str,
        /// The unit of `at`: `line` (from 1) or `byte` (from 0).
        place: &'static str,
        /// Where.
        at: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A key name is empty, over 255 bytes, or contains a space, a plus or a control character.
    #[error(
        "key name `{name}` is not a name: 1 to 255 bytes without spaces, plus or control characters"
    )]
    KeyName {
        /// The name, escaped.
        name: String,
    },
    /// The id written in a verifier key is not the hash of its name and key.
    #[error("verifier key `{name}`: the key id is {computed:08x}, the text says {stated:08x}")]
    KeyId {
        /// The key's name.
        name: String,
        /// The id in the text.
        stated: u32,
        /// The id that name and key give.
        computed: u32,
    },
    /// The signature type is none that this crate verifies.
    #[error("verifier key `{name}`: signature type {kind:#04x} is not supported, use 0x01 or 0x04")]
    KeyKind {
        /// The key's name.
        name: String,
        /// The type byte.
        kind: u8,
    },
    /// A log key was given where a witness key is needed, or the reverse.
    #[error("key `{name}` has signature type {kind:#04x}, {needed:#04x} is needed here")]
    KeyUse {
        /// The key's name.
        name: String,
        /// The type byte that the key has.
        kind: u8,
        /// The type byte that the place needs.
        needed: u8,
    },
    /// The private key is not a usable Ed25519 key.
    #[error("the signing key is not a usable Ed25519 key")]
    SigningKey,
    /// The cryptographic library could not sign.
    #[error("signing failed")]
    Signing,
    /// More signatures than a note may carry.
    #[error("the note has over {limit} signatures")]
    TooManySignatures {
        /// The limit.
        limit: usize,
    },
    /// A signature by a known key does not verify.
    #[error("the signature of `{name}` (key id {key_id:08x}) does not verify")]
    BadSignature {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: u32,
    },
    /// A known key signed the same note twice.
    #[error("`{name}` (key id {key_id:08x}) signed the note twice")]
    RepeatedSignature {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: u32,
    },
    /// There is no signature by the key that must have signed.
    #[error("there is no signature of `{name}` (key id {key_id:08x})")]
    Unsigned {
        /// The key's name.
        name: String,
        /// The key's id.
        key_id: u32,
    },
    /// A cosignature's time is over 2^63 - 1 seconds.
    #[error("the cosignature of `{name}` carries an impossible time")]
    CosignatureTime {
        /// The witness's name.
        name: String,
    },
    /// The checkpoint is of another log than the key.
    #[error("the checkpoint is of log `{origin}`, the key is of `{key}`")]
    Origin {
        /// The checkpoint's origin.
        origin: String,
        /// The key's name.
        key: String,
    },
    /// The checkpoint is of a log that the policy does not name.
    #[error("the checkpoint is of log `{origin}`, which the policy does not name")]
    UnknownLog {
        /// The checkpoint's origin, escaped.
        origin: String,
    },
    /// Too few witnesses, or the wrong ones, have cosigned.
    #[error("the policy's quorum has not cosigned; good cosignatures: {}", if .have.is_empty() { "none" } else { .have })]
    Quorum {
        /// The names of those that have.
        have: String,
    },
    /// A tree of that size cannot be.
    #[error("tree size {size} is over the limit of 2^62")]
    TreeSize {
        /// The size.
        size: u64,
    },
    /// There is no such leaf in the tree.
    #[error("leaf {index} is not in a tree of size {size}")]
    Index {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("the older tree has size {old}, the newer one only {new}")]
    Shrunk {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// The reader has no hash for a subtree that the proof needs.
    #[error("the hash of subtree {index} at level {level} is missing")]
    MissingHash {
        /// The level: the subtree has 2^level leaves.
        level: u8,
        /// The subtree's place among those of its level.
        index: u64,
    },
    /// The proof has fewer or more hashes than index and size demand.
    #[error("the proof has {got} hashes, {needed} are needed")]
    ProofLength {
        /// How many hashes the proof has.
        got: usize,
        /// How many the tree's shape demands.
        needed: usize,
    },
    /// The hashes of an inclusion proof do not lead to the root: entry, index, proof or root was changed.
    #[error(
        "leaf {index} is not what the tree of size {size} holds: the root is {root}, entry and proof give {computed}"
    )]
    NotIncluded {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
        /// The root that was stated.
        root: Hash,
        /// The root that entry and proof give.
        computed: Hash,
    },
    /// A consistency proof does not lead to one of the two roots.
    #[error(
        "the {which} tree of size {size} is not what the proof says: its root is {root}, the proof gives {computed}"
    )]
    Inconsistent {
        /// `older` or `newer`.
        which: &'static str,
        /// That tree's size.
        size: u64,
        /// The root that was stated.
        root: Hash,
        /// The root that the proof gives.
        computed: Hash,
    },
    /// Two heads of one size have different roots: the log was forked.
    #[error("two trees of size {size} have different roots, {one} and {other}: the log was forked")]
    Forked {
        /// The size of both.
        size: u64,
        /// One root.
        one: Hash,
        /// The other root.
        other: Hash,
    },
    /// A proof starts from another tree size than the head it is checked against.
    #[error("the proof starts at size {proof}, the held checkpoint has size {held}")]
    OldSize {
        /// The size in the proof.
        proof: u64,
        /// The size of the checkpoint that is held.
        held: u64,
    },
    /// The proof carries no entry and none was given.
    #[error("the proof carries no entry: give the entry's bytes")]
    NoEntry,
}
