//! The Merkle tree of RFC 6962 section 2.1: hashes, the growing tree, and proofs out of it.
//!
//! A subtree is *complete* when it has exactly 2^level leaves; only complete subtrees have a hash
//! that never changes, so only those are stored, at `(level, index)`.

mod growth;
mod hash;

pub use self::growth::Growth;
pub use self::hash::{Hash, leaf_hash, node_hash};
use crate::Error;

/// The largest tree. It keeps every sum of sizes within 64 bits and every proof within 63 hashes.
pub const TREE_SIZE_MAX: u64 = 1 << 62;

/// A tree head: how many leaves, and the root over them. Unsigned; see `checkpoint` for signed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of leaves.
    pub size: u64,
    /// The root over exactly those leaves.
    pub root: Hash,
}

/// A growing tree that keeps only its *frontier*: the root of each complete subtree of which it
/// consists, largest first, one for each bit set in its size. At most 62 hashes, whatever the size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    // INVARIANT: one hash for each bit set in `size`, that of the highest bit first.
    frontier: Vec<Hash>,
}

impl Tree {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and returns its index. Amortised two hashes.
    pub fn push(&mut self, leaf: Hash) -> u64 {
        self.push_with(leaf, |_, _, _| {})
    }

    /// Appends a leaf, returns its index, and hands over each subtree that this leaf completes, as
    /// `(level, index, hash)`, the leaf itself first. For whoever stores hashes to prove from them.
    pub fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(u8, u64, Hash)) -> u64 {
        let index = self.size;
        let mut hash = leaf;
        let mut level = 0;
        completed(level, index, hash);
        // Each low bit that is set is a complete subtree to the left, of the same size as ours.
        while (index >> level) & 1 == 1 {
            let Some(left) = self.frontier.pop() else {
                break;
            };
            hash = node_hash(&left, &hash);
            level += 1;
            completed(level, index >> level, hash);
        }
        self.frontier.push(hash);
        self.size += 1;
        index
    }

    /// The root over all leaves so far (RFC 6962 section 2.1). At most 61 hashes.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut parts = self.frontier.iter().rev();
        let Some(last) = parts.next() else {
            return Hash::EMPTY;
        };
        parts.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            size: self.size,
            root: self.root(),
        }
    }

    /// The complete subtrees that it consists of, largest first, as `(level, index)` and hash.
    fn complete(&self) -> impl Iterator<Item = ((u8, u64), Hash)> {
        let mut before = 0;
        let levels = (0_u8..64)
            .rev()
            .filter(|level| (self.size >> level) & 1 == 1);
        levels.zip(&self.frontier).map(move |(level, hash)| {
            let place = (level, before >> level);
            before += 1 << level;
            (place, *hash)
        })
    }

    /// The frontier as bytes: the size (64 bits, big-endian), then its hashes, largest subtree
    /// first. Enough to go on appending after a restart.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + self.frontier.len() * Hash::BYTES);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        self.frontier
            .iter()
            .for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
        bytes
    }

    /// Reads [`Tree::to_bytes`]. Nothing here proves that the hashes are right: compare the root
    /// with a signed head.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the length does not fit the size, [`Error::TreeSize`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |problem| Error::Malformed {
            what: "frontier",
            place: "byte",
            at: 0,
            problem,
        };
        let (size, hashes) = bytes
            .split_first_chunk()
            .ok_or_else(|| malformed("shorter than a size"))?;
        let size = u64::from_be_bytes(*size);
        if size > TREE_SIZE_MAX {
            return Err(Error::TreeSize { size });
        }
        let frontier: Vec<Hash> = hashes
            .chunks(Hash::BYTES)
            .filter_map(Hash::from_slice)
            .collect();
        if frontier.len() * Hash::BYTES != hashes.len()
            || frontier.len() != size.count_ones() as usize
        {
            return Err(malformed("not one hash for each bit set in the size"));
        }
        Ok(Self { size, frontier })
    }
}

impl Extend<Hash> for Tree {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| {
            self.push(leaf);
        });
    }
}

/// Gives the hashes of complete subtrees, out of memory, files or tiles.
pub trait HashReader {
    /// The hash of the subtree over leaves `index << level` to `(index + 1) << level`; `None` if
    /// it is not complete or not stored.
    fn read(&self, level: u8, index: u64) -> Option<Hash>;
}

/// All complete subtrees' hashes in memory, 64 bytes a leaf: every proof without I/O.
#[derive(Debug, Clone, Default)]
pub struct Hashes {
    tree: Tree,
    levels: Vec<Vec<Hash>>,
}

impl Hashes {
    /// The store of a tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a leaf and returns its index.
    pub fn push(&mut self, leaf: Hash) -> u64 {
        let levels = &mut self.levels;
        self.tree.push_with(leaf, |level, _, hash| {
            let level = usize::from(level);
            if levels.len() == level {
                levels.push(Vec::new());
            }
            // Subtrees of one level are completed in their order, so a push lands at `index`.
            if let Some(stored) = levels.get_mut(level) {
                stored.push(hash);
            }
        })
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The tree over all leaves so far.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Extend<Hash> for Hashes {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| {
            self.push(leaf);
        });
    }
}

impl HashReader for Hashes {
    fn read(&self, level: u8, index: u64) -> Option<Hash> {
        self.levels
            .get(usize::from(level))?
            .get(usize::try_from(index).ok()?)
            .copied()
    }
}

/// The root that the log had at an earlier `size`.
///
/// # Errors
/// [`Error::TreeSize`]; [`Error::MissingHash`] if the reader has not all of that tree.
pub fn root_at(size: u64, reader: &impl HashReader) -> Result<Hash, Error> {
    check_size(size)?;
    if size == 0 {
        Ok(Hash::EMPTY)
    } else {
        range_hash(0, size, reader)
    }
}

/// The hashes that lead from leaf `index` to the root of the tree of that `size`, the leaf's
/// sibling first (RFC 6962 section 2.1.1).
///
/// # Errors
/// [`Error::Index`], [`Error::TreeSize`], [`Error::MissingHash`].
pub fn inclusion_proof(
    index: u64,
    size: u64,
    reader: &impl HashReader,
) -> Result<Vec<Hash>, Error> {
    check_size(size)?;
    if index >= size {
        return Err(Error::Index { index, size });
    }
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_hash(middle, high, reader)?);
            high = middle;
        } else {
            proof.push(range_hash(low, middle, reader)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The hashes that show that the tree of size `old` is the beginning of that of size `new`
/// (RFC 6962 section 2.1.2). Empty for equal sizes and for `old` 0.
///
/// # Errors
/// [`Error::Shrunk`], [`Error::TreeSize`], [`Error::MissingHash`].
pub fn consistency_proof(old: u64, new: u64, reader: &impl HashReader) -> Result<Vec<Hash>, Error> {
    check_size(new)?;
    if old > new {
        return Err(Error::Shrunk { old, new });
    }
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, new);
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_hash(middle, high, reader)?);
            high = middle;
        } else {
            proof.push(range_hash(low, middle, reader)?);
            low = middle;
        }
    }
    // A range that starts at 0 is the old tree itself, whose root the verifier has.
    if low > 0 {
        proof.push(range_hash(low, high, reader)?);
    }
    proof.reverse();
    Ok(proof)
}

fn check_size(size: u64) -> Result<(), Error> {
    if size > TREE_SIZE_MAX {
        Err(Error::TreeSize { size })
    } else {
        Ok(())
    }
}

/// The largest power of two smaller than `width`, which is at least 2.
const fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The tree hash of leaves `low..high`, a range that RFC 6962 splits off: `low` is a multiple of
/// the smallest power of two that is not smaller than the width, which is at least 1.
fn range_hash(low: u64, high: u64, reader: &impl HashReader) -> Result<Hash, Error> {
    // Complete subtrees from the right, smallest first: one for each bit set in the width.
    let mut width = high - low;
    let mut result: Option<Hash> = None;
    while width > 0 {
        let bits = width.trailing_zeros();
        width &= width - 1;
        let index = (low + width) >> bits;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a bit's number is under 64"
        )]
        let level = bits as u8;
        let hash = reader
            .read(level, index)
            .ok_or(Error::MissingHash { level, index })?;
        result = Some(match result {
            Some(right) => node_hash(&hash, &right),
            None => hash,
        });
    }
    Ok(result.unwrap_or(Hash::EMPTY))
}

#[cfg(test)]
mod tests;
