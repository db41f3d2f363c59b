//! Proving growth from a frontier: the older tree's frontier and the leaves since are enough.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{Hash, HashReader, Tree, consistency_proof};
use crate::Error;

/// A subtree's place: level and index.
type Place = (u8, u64);

/// The consistency proof from a tree of which only the frontier is held, made while its further
/// leaves pass by once. Keeps no more hashes than two proofs have, however much the log has grown.
#[derive(Debug, Clone)]
pub struct Growth {
    old: u64,
    new: u64,
    tree: Tree,
    wanted: BTreeSet<Place>,
    kept: BTreeMap<Place, Hash>,
}

impl Growth {
    /// From this tree to the one of `new` leaves.
    ///
    /// # Errors
    /// [`Error::Shrunk`], [`Error::TreeSize`].
    pub fn new(old: Tree, new: u64) -> Result<Self, Error> {
        let asked = Asked::default();
        consistency_proof(old.size(), new, &asked)?;
        Ok(Self {
            old: old.size(),
            new,
            wanted: asked.0.into_inner(),
            kept: old.complete().collect(),
            tree: old,
        })
    }

    /// The index of the leaf that is waited for; `None` when all are there.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        Some(self.tree.size()).filter(|size| *size < self.new)
    }

    /// Takes the next leaf. Those beyond the new size are left out.
    pub fn push(&mut self, leaf: Hash) {
        if self.next().is_none() {
            return;
        }
        let (wanted, kept) = (&self.wanted, &mut self.kept);
        self.tree.push_with(leaf, |level, index, hash| {
            if wanted.contains(&(level, index)) {
                kept.insert((level, index), hash);
            }
        });
    }

    /// The tree of the new size, and the proof that it begins with the old one.
    ///
    /// # Errors
    /// [`Error::MissingHash`] when leaves are missing.
    pub fn finish(self) -> Result<(Tree, Vec<Hash>), Error> {
        if let Some(index) = self.next() {
            return Err(Error::MissingHash { level: 0, index });
        }
        let proof = consistency_proof(self.old, self.new, &Kept(&self.kept))?;
        Ok((self.tree, proof))
    }
}

/// Has every hash, and remembers which were asked for.
#[derive(Default)]
struct Asked(RefCell<BTreeSet<Place>>);

impl HashReader for Asked {
    fn read(&self, level: u8, index: u64) -> Option<Hash> {
        self.0.borrow_mut().insert((level, index));
        Some(Hash::EMPTY)
    }
}

struct Kept<'k>(&'k BTreeMap<Place, Hash>);

impl HashReader for Kept<'_> {
    fn read(&self, level: u8, index: u64) -> Option<Hash> {
        self.0.get(&(level, index)).copied()
    }
}
