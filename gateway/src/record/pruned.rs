//! Where the log's files begin, once old segments went: `pruned/state` says up to which record, with what the
//! readers of the rest need of those before; `pruned/leaves` has their hashes, so that every proof and every
//! head that somebody holds can still be checked. Neither is trusted: both lead to signed heads, and a record
//! (`log.prune`) must say that the records went.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tlog::tree::{Hash, Tree};

use super::erase::Holds;
use super::files::{self, Files};
use super::leaf::{hex, unhex};
use super::retain::Expired;
use super::seal::ContentId;
use super::{Error, segment};
use crate::disk::{Access, Disk};

/// Hashes that are read at one time.
const HASHES_AT_A_TIME: usize = 32 * 1024;

/// What is known of the records that are not here any more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Base {
    /// The first segment that is here; 0 when none went.
    pub(super) segment: u64,
    /// The number of its first frame.
    pub(super) seq: u64,
    /// The tree over the records that went.
    pub(super) tree: Tree,
    /// Pseudonyms whose keys were destroyed by them, and the record of it.
    pub(super) erased: Vec<(ContentId, u64)>,
    /// Content of which days was destroyed by them.
    pub(super) expired: Option<Expired>,
    /// The holds that stood behind them, as lines ([`Holds::lines`]).
    pub(super) holds: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    segment: u64,
    seq: u64,
    tree: String,
    erased: Vec<(String, u64)>,
    expired: Option<(u64, u64)>,
    holds: String,
}

impl Base {
    /// How many records went: the index of the first that is here.
    pub(super) const fn records(&self) -> u64 {
        self.tree.size()
    }

    pub(super) fn read(disk: &dyn Disk, files: &Files) -> Result<Self, Error> {
        let path = files.pruned_state();
        if !files::stands(disk, &path)? {
            return Ok(Self::default());
        }
        let bytes = segment::read_file(disk, &path)?;
        Self::parse(&bytes).ok_or(Error::Damaged(path))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let tree = Tree::from_bytes(&BASE64.decode(&stored.tree).ok()?).ok()?;
        let erased = stored.erased.iter();
        let erased = erased.map(|(reference, record)| Some((unhex(reference)?, *record)));
        Some(Self {
            segment: stored.segment,
            seq: stored.seq,
            tree,
            erased: erased.collect::<Option<_>>()?,
            expired: stored
                .expired
                .map(|(before, record)| Expired { before, record }),
            holds: stored.holds.into_bytes(),
        })
    }

    pub(super) fn write(&self, disk: &dyn Disk, files: &Files) -> Result<(), Error> {
        let erased = self.erased.iter();
        let stored = Stored {
            segment: self.segment,
            seq: self.seq,
            tree: BASE64.encode(self.tree.to_bytes()),
            erased: erased
                .map(|(reference, at)| (hex(reference), *at))
                .collect(),
            expired: self.expired.map(|expired| (expired.before, expired.record)),
            holds: String::from_utf8_lossy(&self.holds).into_owned(),
        };
        let path = files.pruned_state();
        let text = serde_json::to_vec_pretty(&stored).unwrap_or_default();
        disk.write_atomic(&path, &text)
            .map_err(|source| Error::disk("write", &path, source))
    }

    /// The holds that stood behind what went; `None` when nothing went.
    pub(super) fn holds(&self) -> Option<Holds> {
        (self.segment > 0).then(|| Holds::of_lines(&self.holds))
    }

    /// All hashes of the records that went; none where they are not all there.
    pub(super) fn leaves(&self, disk: &dyn Disk, files: &Files) -> Result<Vec<Hash>, Error> {
        let mut hashes = Vec::new();
        let read = self.hashes(disk, files, 0, &mut |hash| {
            hashes.push(hash);
            Ok(())
        });
        match read {
            Ok(()) => Ok(hashes),
            // Only proofs need them, and those say so.
            Err(Error::PrunedHashes(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Look at the hashes of the records that went, in order, from one of them on.
    ///
    /// # Errors
    /// [`Error::PrunedHashes`] when they are not all there.
    pub(super) fn hashes(
        &self,
        disk: &dyn Disk,
        files: &Files,
        from: u64,
        look: &mut dyn FnMut(Hash) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let path = files.pruned_leaves();
        let mut left = self.records().saturating_sub(from);
        if left == 0 {
            return Ok(());
        }
        let gone = || Error::PrunedHashes(self.records());
        let file = disk.open(&path, Access::Read).map_err(|_| gone())?;
        let mut at = from * Hash::BYTES as u64;
        let mut buffer = vec![0; HASHES_AT_A_TIME * Hash::BYTES];
        while left > 0 {
            let read = file.read_at(&mut buffer, at);
            let read = read.map_err(|source| Error::disk("read", &path, source))?;
            let whole = buffer
                .get(..read)
                .unwrap_or_default()
                .chunks_exact(Hash::BYTES);
            let here = whole.filter_map(Hash::from_slice);
            let mut count = 0;
            for hash in here.take(usize::try_from(left).unwrap_or(usize::MAX)) {
                look(hash)?;
                count += 1;
            }
            if count == 0 {
                return Err(gone());
            }
            left -= count;
            at += count * Hash::BYTES as u64;
        }
        Ok(())
    }
}

/// Put the hashes of records from the `first` one on behind those that are there, synced.
pub(super) fn keep_hashes(
    disk: &dyn Disk,
    files: &Files,
    first: u64,
    hashes: &[Hash],
) -> Result<(), Error> {
    let (dir, path): (PathBuf, PathBuf) = (files.pruned(), files.pruned_leaves());
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
    let kept = disk.create_dir(&dir).and_then(|()| {
        let file = disk.open(&path, Access::Create)?;
        // What a crash left behind them belongs to nothing.
        file.write_at(&bytes, first * Hash::BYTES as u64)?;
        file.sync()?;
        disk.sync_dir(&dir)?;
        disk.sync_dir(&files.dir)
    });
    kept.map_err(|source| Error::disk("write", &path, source))
}

/// Remove the segments before those that are here. A crash may have left them.
pub(super) fn remove_segments(disk: &dyn Disk, files: &Files, base: &Base) -> Result<(), Error> {
    let listed = disk
        .list(&files.wal)
        .map_err(|source| Error::disk("list", &files.wal, source))?;
    let numbers = listed
        .iter()
        .filter_map(|file| segment::number_of(&file.name));
    let mut removed = false;
    for number in numbers.filter(|number| *number < base.segment) {
        let path = files.segment(number);
        disk.remove(&path)
            .map_err(|source| Error::disk("remove", &path, source))?;
        removed = true;
    }
    if removed {
        disk.sync_dir(&files.wal)
            .map_err(|source| Error::disk("sync", &files.wal, source))?;
    }
    Ok(())
}
