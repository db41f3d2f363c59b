//! Proofs that a record is in the log, for people who do not trust us.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use serde_json::Value;
use tlog::note::Note;
use tlog::proof::InclusionProof;
use tlog::tile::{Export, File};
use tlog::tree::{Hash, HashReader, Hashes, Tree, inclusion_proof, leaf_hash, root_at};

use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::health::Head;
use super::super::{Error, reading};
use super::Trail;
use super::build::{BLOCK_LEAVES, BLOCK_LEVEL};
use super::index::leaf_of;
use crate::call::CallId;

/// The kind of a record that somebody read the evidence.
const READ: &str = "audit.read";

/// Looks at a record: its index and its exact bytes.
type Look<'l> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'l;

/// Takes a file's path, relative to a log's root, and its bytes.
pub type PutFile<'p> = dyn FnMut(&str, &[u8]) -> std::io::Result<()> + 'p;

impl Trail {
    /// A C2SP tlog-proof of the call's last record (which names its begin record), with the record's
    /// exact bytes as extra data.
    ///
    /// # Errors
    /// [`Error::UnknownCall`]; [`Error::NotCovered`] when no signed head covers the record yet.
    pub fn prove(&self, call: CallId) -> Result<String, Error> {
        self.asked(|trail| trail.proven(call))
    }

    fn proven(&self, call: CallId) -> Result<String, Error> {
        // That somebody read it, this time among them, is no part of what happened.
        for index in self.of_call(call)?.into_iter().rev() {
            let leaf = self.bytes(index)?;
            let fields: Value = serde_json::from_slice(&leaf).unwrap_or(Value::Null);
            if fields.get("kind").and_then(Value::as_str) != Some(READ) {
                return self.record_proven(index);
            }
        }
        Err(Error::UnknownCall(call))
    }

    /// A C2SP tlog-proof of one record.
    ///
    /// # Errors
    /// [`Error::NoRecord`]; [`Error::NotCovered`] when no signed head covers the record yet.
    pub fn prove_record(&self, index: u64) -> Result<String, Error> {
        self.asked(|trail| trail.record_proven(index))
    }

    fn record_proven(&self, index: u64) -> Result<String, Error> {
        let head = self.covering(index)?;
        let hashes = self.hashes(&head, &[index])?;
        self.prove_under(&head, &hashes, index)
    }

    /// A signed head that covers a record.
    pub(super) fn covering(&self, index: u64) -> Result<Head, Error> {
        // A head that people outside have signed as well says more than the newest one.
        let cosigned = self.cosigned_head();
        let covers = |head: &Head| head.size > index;
        let head = match cosigned.filter(covers) {
            Some(head) => Some(head),
            None => self.head()?.filter(covers),
        };
        let head = head.ok_or(Error::NotCovered)?;
        if head.size > self.records() {
            return Err(Error::Rewound {
                head: head.size,
                leaves: self.records(),
            });
        }
        Ok(head)
    }

    /// The proof of one record under a head, of whose records these are the hashes.
    pub(super) fn prove_under(
        &self,
        head: &Head,
        hashes: &Parts,
        index: u64,
    ) -> Result<String, Error> {
        let proof = InclusionProof {
            extra: Some(self.bytes(index)?),
            index,
            hashes: inclusion_proof(index, head.size, hashes)?,
            checkpoint: Note::parse(head.note.as_bytes())?,
        };
        Ok(proof.to_string())
    }

    /// The static files (C2SP tlog-tiles) of the first `size` records, without the checkpoint.
    ///
    /// # Errors
    /// [`Error::NoRecord`] when there are fewer; what `put` says, as [`Error::Disk`].
    pub fn tiles(&self, size: u64, put: &mut PutFile<'_>) -> Result<(), Error> {
        if self.first() > 0 {
            let (index, first) = (0, self.first());
            return Err(Error::Pruned { index, first });
        }
        let mut export = Export::new();
        let mut write = |files: Vec<File>| {
            files.into_iter().try_for_each(|file| {
                let path = file.tile.to_string();
                put(&path, &file.bytes)
                    .map_err(|source| Error::disk("write", path.as_ref(), source))
            })
        };
        self.each_leaf(&mut |index, leaf| {
            if index < size {
                write(export.push(leaf)?)?;
            }
            Ok(())
        })?;
        if export.tree().size() < size {
            return Err(Error::NoRecord(export.tree().size()));
        }
        write(export.finish())
    }

    /// Every record with its index, in order, without holding them all.
    pub(super) fn each_leaf(&self, look: &mut Look<'_>) -> Result<(), Error> {
        let mut visit = |_: Position, frame: &Frame<'_>| {
            if frame.kind != Kind::Leaf {
                return Ok(());
            }
            LeafFrame::parse(frame.payload).map_or(Ok(()), |leaf| look(leaf.index, leaf.leaf))
        };
        let to = self.index.built.walked.end;
        self.range((Position::default(), to), &mut visit)
    }

    /// What proofs of these records under a head are made of: by the index, and where that does not lead to the
    /// head, by the log itself.
    pub(super) fn hashes(&self, head: &Head, indexes: &[u64]) -> Result<Parts, Error> {
        let mut wanted: BTreeSet<u64> = indexes.iter().map(|index| index / BLOCK_LEAVES).collect();
        // The last one is mostly not full.
        wanted.insert(head.size / BLOCK_LEAVES);
        let full = usize::try_from(head.size / BLOCK_LEAVES).unwrap_or(usize::MAX);
        let mut parts = Parts::default();
        let blocks = self.index.built.blocks.iter().take(full);
        parts.above.extend(blocks.copied());
        for block in &wanted {
            let first = block * BLOCK_LEAVES;
            let last = head.size.min(first + BLOCK_LEAVES);
            if first < last {
                let hashes = self.block(first, last)?;
                parts.blocks.insert(*block, hashes);
            }
        }
        if root_at(head.size, &parts).ok() == Some(head.root) {
            return Ok(parts);
        }
        let parts = self.parts(head.size, &wanted)?;
        match root_at(head.size, &parts)? == head.root {
            true => Ok(parts),
            false => Err(Error::HeadMismatch { size: head.size }),
        }
    }

    /// The hashes of the leaves from one index up to another.
    fn block(&self, first: u64, last: u64) -> Result<Hashes, Error> {
        let mut hashes = Hashes::new();
        let (index, pruned) = (&self.index, self.first());
        let (disk, files) = (index.disk.as_ref(), &index.files);
        if first < pruned {
            index.chain.base.hashes(disk, files, first, &mut |hash| {
                if first + hashes.size() < last {
                    hashes.push(hash);
                }
                Ok(())
            })?;
        }
        if first + hashes.size() >= last {
            return Ok(hashes);
        }
        let from = self.leaf_at(first + hashes.size())?.at;
        let mut visit = |_: Position, frame: &Frame<'_>| {
            if let Some(leaf) = leaf_of(frame) {
                hashes.push(leaf_hash(leaf.leaf));
            }
            match first + hashes.size() < last {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        reading::scan(disk, files, &index.chain, from, &mut visit)?;
        Ok(hashes)
    }

    /// The same as [`Trail::hashes`], out of the first `size` records alone.
    fn parts(&self, size: u64, wanted: &BTreeSet<u64>) -> Result<Parts, Error> {
        let mut parts = Parts::default();
        let mut tree = Tree::new();
        let mut put = |index: u64, hash: Hash| {
            if index >= size {
                return;
            }
            let block = index / BLOCK_LEAVES;
            if wanted.contains(&block) {
                parts.blocks.entry(block).or_default().push(hash);
            }
            tree.push_with(hash, |level, _, hash| {
                if level == BLOCK_LEVEL {
                    parts.above.push(hash);
                }
            });
        };
        let base = &self.index.chain.base;
        let (disk, files) = (self.index.disk.as_ref(), &self.index.files);
        let mut pruned = 0..base.records();
        base.hashes(disk, files, 0, &mut |hash| {
            pruned.next().into_iter().for_each(|index| put(index, hash));
            Ok(())
        })?;
        self.each_leaf(&mut |index, leaf| {
            put(index, leaf_hash(leaf));
            Ok(())
        })?;
        Ok(parts)
    }
}

/// Hashes of a tree: those above full blocks of leaves, and those within the blocks that are asked about.
#[derive(Debug, Default)]
pub(super) struct Parts {
    above: Hashes,
    blocks: HashMap<u64, Hashes>,
}

impl HashReader for Parts {
    fn read(&self, level: u8, index: u64) -> Option<Hash> {
        if let Some(above) = level.checked_sub(BLOCK_LEVEL) {
            return self.above.read(above, index);
        }
        let bits = BLOCK_LEVEL - level;
        let block = self.blocks.get(&(index >> bits))?;
        block.read(level, index & ((1 << bits) - 1))
    }
}
