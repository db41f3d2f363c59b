//! Checks a whole log: that its entries give the roots that were signed.
//!
//! [`LogCheck`] takes a stream of entries and the checkpoints that are held; [`check_files`] takes
//! the static files of a log. Both stop at the first fault and say where it is, as narrowly as the
//! evidence allows.

use crate::Error;
use crate::checkpoint::{Checkpoint, VerifiedCheckpoint};
use crate::tile::{Export, File, Layer, TILE_WIDTH, Tile, decode_bundle, tiles};
use crate::tree::{Hash, Head, Tree, leaf_hash};

/// What a fault means for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Something that was signed was changed.
    Tampered,
    /// Something that was signed is not there; what is there may be good.
    Incomplete,
}

/// What is wrong with a log. A log without a fault is good up to its last held checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The entries do not give a signed root.
    #[error(
        "the first {size} entries give the root {computed}, the signed checkpoint has {stated}: \
         the first {good} are good, between entry {good} and entry {size} one was changed, moved, \
         added or removed"
    )]
    Root {
        /// The size of the checkpoint that does not fit.
        size: u64,
        /// How many entries an earlier checkpoint has shown to be good.
        good: u64,
        /// The signed root.
        stated: Hash,
        /// The root that the entries give.
        computed: Hash,
    },
    /// Two signed checkpoints contradict each other; no entry is needed to see it.
    #[error(
        "two signed checkpoints of size {size} have the roots {one} and {other}: the log was forked"
    )]
    Forked {
        /// The size of both.
        size: u64,
        /// One root.
        one: Hash,
        /// The other.
        other: Hash,
    },
    /// The checkpoints are of different logs.
    #[error("checkpoints of two logs, `{one}` and `{other}`: check one log at a time")]
    TwoLogs {
        /// One origin.
        one: String,
        /// The other.
        other: String,
    },
    /// The log ends before a signed checkpoint does.
    #[error(
        "the log ends after {have} entries, a signed checkpoint covers {size}: entries are missing"
    )]
    Short {
        /// How many entries there are.
        have: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// A file of the log is not there.
    #[error("`{path}` is missing")]
    Missing {
        /// Its path.
        path: String,
    },
    /// A file is not in form.
    #[error("`{path}`: {error}")]
    Form {
        /// Its path.
        path: String,
        /// What is wrong.
        error: Error,
    },
    /// A hash tile is not what the entries give.
    #[error(
        "`{path}` does not fit the entries, first at entry {index}: the entry or the tile was changed"
    )]
    Tile {
        /// The tile's path.
        path: String,
        /// The first entry under the first hash that differs.
        index: u64,
    },
}

impl Fault {
    /// Whether the log was changed or is only not whole.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Short { .. } | Self::Missing { .. } => Verdict::Incomplete,
            Self::Root { .. }
            | Self::Forked { .. }
            | Self::TwoLogs { .. }
            | Self::Form { .. }
            | Self::Tile { .. } => Verdict::Tampered,
        }
    }
}

/// What a check without a fault has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// How many entries there are, and their root.
    pub head: Head,
    /// How many of them a held checkpoint covers. Those after are in order, but could still be
    /// rewritten by whoever has the log's key.
    pub covered: u64,
    /// How many checkpoints were compared.
    pub checkpoints: usize,
}

/// The heads that a log must have passed through.
#[derive(Debug, Clone)]
struct Heads {
    // INVARIANT: ascending sizes, all different; those before `next` have been compared.
    heads: Vec<Head>,
    next: usize,
}

impl Heads {
    fn new<'c>(
        checkpoints: impl IntoIterator<Item = &'c VerifiedCheckpoint>,
    ) -> Result<Self, Fault> {
        let claims = checkpoints.into_iter().map(VerifiedCheckpoint::checkpoint);
        let claims: Vec<&Checkpoint> = claims.collect();
        if let Some(pair) = claims
            .windows(2)
            .find(|pair| pair[0].origin() != pair[1].origin())
        {
            let (one, other) = (pair[0].origin().to_owned(), pair[1].origin().to_owned());
            return Err(Fault::TwoLogs { one, other });
        }
        let mut heads: Vec<Head> = claims.iter().map(|claim| *claim.head()).collect();
        heads.sort_by_key(|head| (head.size, head.root));
        heads.dedup();
        if let Some(pair) = heads.windows(2).find(|pair| pair[0].size == pair[1].size) {
            let (size, one, other) = (pair[0].size, pair[0].root, pair[1].root);
            return Err(Fault::Forked { size, one, other });
        }
        let mut heads = Self { heads, next: 0 };
        heads.compare(&Tree::new())?;
        Ok(heads)
    }

    /// Compares the root where a checkpoint is held; a look at a number everywhere else.
    fn compare(&mut self, tree: &Tree) -> Result<(), Fault> {
        let Some(head) = self
            .heads
            .get(self.next)
            .filter(|head| head.size == tree.size())
        else {
            return Ok(());
        };
        let computed = tree.root();
        if computed != head.root {
            let earlier = self.next.checked_sub(1).and_then(|at| self.heads.get(at));
            let good = earlier.map_or(0, |head| head.size);
            return Err(Fault::Root {
                size: head.size,
                good,
                stated: head.root,
                computed,
            });
        }
        self.next += 1;
        Ok(())
    }

    /// The log ends with this tree.
    fn finish(&self, tree: &Tree) -> Result<Report, Fault> {
        let last = self.heads.last().map_or(0, |head| head.size);
        if self.next < self.heads.len() {
            return Err(Fault::Short {
                have: tree.size(),
                size: last,
            });
        }
        Ok(Report {
            head: tree.head(),
            covered: last,
            checkpoints: self.heads.len(),
        })
    }
}

/// The check of a stream of entries, in log order, against checkpoints.
#[derive(Debug, Clone)]
pub struct LogCheck {
    tree: Tree,
    heads: Heads,
}

impl LogCheck {
    /// A check of a log from its first entry against all these checkpoints, in any order.
    ///
    /// # Errors
    /// [`Fault::TwoLogs`], [`Fault::Forked`].
    pub fn new<'c>(
        checkpoints: impl IntoIterator<Item = &'c VerifiedCheckpoint>,
    ) -> Result<Self, Fault> {
        Ok(Self {
            tree: Tree::new(),
            heads: Heads::new(checkpoints)?,
        })
    }

    /// Takes the next entry and returns its index.
    ///
    /// # Errors
    /// [`Fault::Root`] if a checkpoint of this size has another root.
    pub fn entry(&mut self, entry: &[u8]) -> Result<u64, Fault> {
        self.leaf(leaf_hash(entry))
    }

    /// As [`LogCheck::entry`], for whoever has hashed the entry already.
    ///
    /// # Errors
    /// [`Fault::Root`].
    pub fn leaf(&mut self, leaf: Hash) -> Result<u64, Fault> {
        let index = self.tree.push(leaf);
        self.heads.compare(&self.tree)?;
        Ok(index)
    }

    /// The log ends here.
    ///
    /// # Errors
    /// [`Fault::Short`] if a checkpoint covers more.
    pub fn finish(self) -> Result<Report, Fault> {
        self.heads.finish(&self.tree)
    }
}

/// Checks the static files of a log (`tile/…` and `tile/entries/…`) against its checkpoint and the
/// `earlier` ones that are held: every entry, every hash of every level, and the roots. `read` gives
/// the bytes at a path, `None` if there is no such file; a full tile may stand for a partial one.
///
/// # Errors
/// Every [`Fault`].
pub fn check_files(
    checkpoint: &VerifiedCheckpoint,
    earlier: &[VerifiedCheckpoint],
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Report, Fault> {
    let mut heads = Heads::new(earlier.iter().chain([checkpoint]))?;
    let mut export = Export::new();
    let mut root = Ok(());
    let size = checkpoint.checkpoint().size();
    for tile in tiles(size).take_while(|tile| tile.layer() == Layer::Entries) {
        let (path, bundle) = find(tile, &mut read)?;
        let form = |error| Fault::Form {
            path: path.clone(),
            error,
        };
        let stored = if path == tile.to_string() {
            tile.width()
        } else {
            TILE_WIDTH
        };
        let entries = decode_bundle(&bundle, stored).map_err(form)?;
        for entry in entries.into_iter().take(tile.width().into()) {
            let files = export.push(entry).map_err(form)?;
            // A wrong root waits until the tile over it is compared, which names the entry.
            root = root.and_then(|()| heads.compare(export.tree()));
            files
                .iter()
                .try_for_each(|file| compare_tile(file, &mut read))?;
        }
        if tile.width() == TILE_WIDTH {
            root.clone()?;
        }
    }
    let tree = export.tree().clone();
    export
        .finish()
        .iter()
        .try_for_each(|file| compare_tile(file, &mut read))?;
    root?;
    heads.finish(&tree)
}

/// The stored bytes of a tile or of the full tile in its place, and the path they were found at.
fn find(
    tile: Tile,
    read: &mut impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<(String, Vec<u8>), Fault> {
    let wanted = tile.to_string();
    for path in [wanted.clone(), tile.full().to_string()] {
        if let Some(bytes) = read(&path) {
            return Ok((path, bytes));
        }
    }
    Err(Fault::Missing { path: wanted })
}

/// Compares a stored hash tile with the one that the entries give.
fn compare_tile(file: &File, read: &mut impl FnMut(&str) -> Option<Vec<u8>>) -> Result<(), Fault> {
    let Layer::Hashes(level) = file.tile.layer() else {
        return Ok(());
    };
    let (path, mut stored) = find(file.tile, read)?;
    let full = usize::from(TILE_WIDTH) * Hash::BYTES;
    // A full tile that stands for a partial one has more hashes, of which we know nothing.
    if path != file.tile.to_string() && stored.len() == full {
        stored.truncate(file.bytes.len());
    }
    if stored == file.bytes {
        return Ok(());
    }
    let pairs = stored
        .chunks(Hash::BYTES)
        .zip(file.bytes.chunks(Hash::BYTES));
    let same = pairs
        .take_while(|(stored, computed)| stored == computed)
        .count() as u64;
    let first = file.tile.index() * u64::from(TILE_WIDTH) + same;
    Err(Fault::Tile {
        path,
        index: first << (8 * u32::from(level)),
    })
}

#[cfg(test)]
mod tests;
