//! Proofs: their verification, and the two files that carry them.
//!
//! [`InclusionProof`] is the one-file [C2SP tlog-proof]: that an entry is in the log.
//! [`ConsistencyProof`] is the body that witnesses take ([C2SP tlog-witness], `add-checkpoint`):
//! that a newer head only appended to an older one.
//!
//! [C2SP tlog-proof]: https://c2sp.org/tlog-proof
//! [C2SP tlog-witness]: https://c2sp.org/tlog-witness

use std::fmt;

use crate::Error;
use crate::checkpoint::{Checkpoint, VerifiedCheckpoint};
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::text::{Lines, base64_decode, base64_encode};
use crate::tree::{Hash, Head, leaf_hash, node_hash};

/// The most hashes that a proof can have.
pub const PROOF_HASHES_MAX: usize = 63;
/// The most opaque bytes that a tlog-proof may carry: one entry.
pub const EXTRA_BYTES_MAX: usize = 65_535;
/// The largest proof file that is read, in bytes.
pub const PROOF_FILE_BYTES_MAX: usize = 96 * 1024 + PROOF_HASHES_MAX * 45 + NOTE_BYTES_MAX;

/// Checks that the leaf with this hash is at `index` of the tree with this head (RFC 9162 section
/// 2.1.3.2, the same tree as RFC 6962).
///
/// # Errors
/// [`Error::Index`], [`Error::ProofLength`], [`Error::NotIncluded`].
pub fn verify_inclusion(leaf: Hash, index: u64, head: &Head, proof: &[Hash]) -> Result<(), Error> {
    let size = head.size;
    if index >= size {
        return Err(Error::Index { index, size });
    }
    let needed = inclusion_length(index, size);
    if proof.len() != needed {
        return Err(Error::ProofLength {
            got: proof.len(),
            needed,
        });
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            let rise = rise(node);
            node >>= rise;
            last >>= rise;
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if hash != head.root {
        return Err(Error::NotIncluded {
            index,
            size,
            root: head.root,
            computed: hash,
        });
    }
    Ok(())
}

/// Checks that the tree of head `new` begins with the tree of head `old` (RFC 9162 section
/// 2.1.4.2). From the empty tree, and between equal sizes, the proof is empty.
///
/// # Errors
/// [`Error::Shrunk`], [`Error::Forked`], [`Error::ProofLength`], [`Error::Inconsistent`].
pub fn verify_consistency(old: &Head, new: &Head, proof: &[Hash]) -> Result<(), Error> {
    if old.size > new.size {
        return Err(Error::Shrunk {
            old: old.size,
            new: new.size,
        });
    }
    let needed = consistency_length(old.size, new.size);
    if proof.len() != needed {
        return Err(Error::ProofLength {
            got: proof.len(),
            needed,
        });
    }
    if old.size == 0 && old.root != Hash::EMPTY {
        return Err(Error::Forked {
            size: 0,
            one: Hash::EMPTY,
            other: old.root,
        });
    }
    if old.size == new.size && old.root != new.root {
        return Err(Error::Forked {
            size: old.size,
            one: old.root,
            other: new.root,
        });
    }
    if old.size == 0 || old.size == new.size {
        return Ok(());
    }
    let whole_levels = (old.size - 1).trailing_ones();
    let (mut node, mut last) = (
        (old.size - 1) >> whole_levels,
        (new.size - 1) >> whole_levels,
    );
    // A complete old tree is itself the first node of the path.
    let whole = old.size.is_power_of_two().then_some(&old.root);
    let mut path = whole.into_iter().chain(proof);
    let Some(first) = path.next() else {
        return Err(Error::ProofLength { got: 0, needed });
    };
    let (mut older, mut newer) = (*first, *first);
    for hash in path {
        if node & 1 == 1 || node == last {
            older = node_hash(hash, &older);
            newer = node_hash(hash, &newer);
            let rise = rise(node);
            node >>= rise;
            last >>= rise;
        } else {
            newer = node_hash(&newer, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    let differs = |which, head: &Head, computed| {
        Err(Error::Inconsistent {
            which,
            size: head.size,
            root: head.root,
            computed,
        })
    };
    if older != old.root {
        return differs("older", old, older);
    }
    if newer != new.root {
        return differs("newer", new, newer);
    }
    Ok(())
}

/// How many levels the last node of a level, which has no sibling, rises until it is a right child.
const fn rise(node: u64) -> u32 {
    // Node 0 never becomes one: the levels above are a single node.
    if node == 0 { 0 } else { node.trailing_zeros() }
}

/// How many hashes prove leaf `index` of `size` leaves.
const fn inclusion_length(index: u64, size: u64) -> usize {
    // Below the point where the paths of this leaf and the last one part, every level has a
    // sibling; above it only those where the path is a right child.
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = match index.checked_shr(inner) {
        Some(rest) => rest.count_ones(),
        None => 0,
    };
    (inner + border) as usize
}

/// How many hashes prove that `old` leaves are the beginning of `new`.
const fn consistency_length(old: u64, new: u64) -> usize {
    if old == 0 || old == new {
        return 0;
    }
    // The path of the old tree's last complete subtree, plus that subtree unless it is the whole.
    let rise = old.trailing_zeros();
    let path = inclusion_length((old - 1) >> rise, ((new - 1) >> rise) + 1);
    path + !old.is_power_of_two() as usize
}

/// That an entry is in a log, in one file that verifies offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// Opaque and unauthenticated; Callgate puts the entry's exact bytes here.
    pub extra: Option<Vec<u8>>,
    /// The entry's index in the log.
    pub index: u64,
    /// The hashes from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, as the log gave it out.
    pub checkpoint: Note,
}

impl InclusionProof {
    const HEADER: &str = "c2sp.org/tlog-proof@v1";

    /// Reads a tlog-proof. Accepts exactly what [`fmt::Display`] prints.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Malformed`], and those of [`Note::parse`] and [`Checkpoint::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut lines = Lines::new("tlog-proof", bytes, PROOF_FILE_BYTES_MAX)?;
        if lines.next()? != Self::HEADER {
            return Err(lines.wrong("the first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let mut line = lines.next()?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            let bytes = base64_decode(encoded)
                .ok_or_else(|| lines.wrong("the extra data are not base64"))?;
            if bytes.len() > EXTRA_BYTES_MAX {
                return Err(Error::TooLong {
                    what: "extra data",
                    bytes: bytes.len(),
                    limit: EXTRA_BYTES_MAX,
                });
            }
            extra = Some(bytes);
            line = lines.next()?;
        }
        let index = line
            .strip_prefix("index ")
            .ok_or_else(|| lines.wrong("no `index` line"))?;
        let index = lines.decimal(index)?;
        let hashes = lines.hashes()?;
        let checkpoint = checkpoint_note(lines.rest())?;
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint,
        })
    }

    /// Checks the checkpoint's signatures and that `entry` is at the index that the proof says.
    /// What the entry says, and whether its index is plausible, is for the caller to look at.
    ///
    /// # Errors
    /// Those of [`VerifiedCheckpoint::verify`] and [`verify_inclusion`].
    pub fn verify(
        &self,
        entry: &[u8],
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, Error> {
        let checkpoint = VerifiedCheckpoint::verify(&self.checkpoint, log, witnesses)?;
        verify_inclusion(
            leaf_hash(entry),
            self.index,
            checkpoint.checkpoint().head(),
            &self.hashes,
        )?;
        Ok(checkpoint)
    }

    /// As [`InclusionProof::verify`], with the entry that the file itself carries.
    ///
    /// # Errors
    /// [`Error::NoEntry`], and those of [`InclusionProof::verify`].
    pub fn verify_carried(
        &self,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, Error> {
        self.verify(self.extra.as_deref().ok_or(Error::NoEntry)?, log, witnesses)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", Self::HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64_encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// That a newer checkpoint only appended to an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The older tree's size.
    pub old_size: u64,
    /// The hashes in the order of RFC 6962 section 2.1.2.
    pub hashes: Vec<Hash>,
    /// The newer signed checkpoint, as the log gave it out.
    pub checkpoint: Note,
}

impl ConsistencyProof {
    /// Reads the body of an `add-checkpoint` request. Accepts exactly what [`fmt::Display`] prints.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Malformed`], and those of [`Note::parse`] and [`Checkpoint::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut lines = Lines::new("consistency proof", bytes, PROOF_FILE_BYTES_MAX)?;
        let old = lines.next()?;
        let old = old
            .strip_prefix("old ")
            .ok_or_else(|| lines.wrong("no `old` line"))?;
        let old_size = lines.decimal(old)?;
        let hashes = lines.hashes()?;
        let checkpoint = checkpoint_note(lines.rest())?;
        Ok(Self {
            old_size,
            hashes,
            checkpoint,
        })
    }

    /// Checks the newer checkpoint's signatures and that it only appended to the one that is held.
    ///
    /// # Errors
    /// [`Error::OldSize`], those of [`VerifiedCheckpoint::verify`] and [`verify_consistency`].
    pub fn verify(
        &self,
        held: &VerifiedCheckpoint,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<VerifiedCheckpoint, Error> {
        let newer = VerifiedCheckpoint::verify(&self.checkpoint, log, witnesses)?;
        let (from, to) = (held.checkpoint(), newer.checkpoint());
        if from.origin() != to.origin() {
            let (origin, key) = (from.origin().to_owned(), to.origin().to_owned());
            return Err(Error::Origin { origin, key });
        }
        if self.old_size != from.size() {
            return Err(Error::OldSize {
                proof: self.old_size,
                held: from.size(),
            });
        }
        verify_consistency(from.head(), to.head(), &self.hashes)?;
        Ok(newer)
    }
}

impl fmt::Display for ConsistencyProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.hashes
            .iter()
            .try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// The rest of a proof file: a note whose text has the form of a checkpoint. Not verified.
fn checkpoint_note(rest: &str) -> Result<Note, Error> {
    let note = Note::parse(rest.as_bytes())?;
    Checkpoint::parse(note.text())?;
    Ok(note)
}

#[cfg(test)]
mod tests;
