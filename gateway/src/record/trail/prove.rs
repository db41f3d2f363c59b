//! Proofs that a record is in the log, for people who do not trust us.

use serde_json::Value;
use tlog::note::Note;
use tlog::proof::InclusionProof;
use tlog::tile::{Export, File};
use tlog::tree::{Hashes, inclusion_proof};

use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::health::Head;
use super::super::{Error, segment};
use super::Trail;
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
        // That somebody read it, this time among them, is no part of what happened.
        for index in self.of_call(call)?.iter().rev() {
            let leaf = self.leaf(*index)?;
            let fields: Value = serde_json::from_slice(&leaf).unwrap_or(Value::Null);
            if fields.get("kind").and_then(Value::as_str) != Some(READ) {
                return self.prove_record(*index);
            }
        }
        Err(Error::UnknownCall(call))
    }

    /// A C2SP tlog-proof of one record.
    ///
    /// # Errors
    /// [`Error::NoRecord`]; [`Error::NotCovered`] when no signed head covers the record yet.
    pub fn prove_record(&self, index: u64) -> Result<String, Error> {
        let head = self.covering(index)?;
        let hashes = self.hashes(head.size);
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
        hashes: &Hashes,
        index: u64,
    ) -> Result<String, Error> {
        let proof = InclusionProof {
            extra: Some(self.leaf(index)?),
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
        let disk = self.disk.as_ref();
        let mut visit = |_: Position, frame: &Frame<'_>| {
            if frame.kind != Kind::Leaf {
                return Ok(());
            }
            LeafFrame::parse(frame.payload).map_or(Ok(()), |leaf| look(leaf.index, leaf.leaf))
        };
        let to = self.walked.end;
        segment::range(
            disk,
            &self.files,
            &self.chain,
            (Position::default(), to),
            &mut visit,
        )
    }

    /// The hashes of the first `size` records.
    pub(super) fn hashes(&self, size: u64) -> Hashes {
        let mut hashes = Hashes::new();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        for leaf in self.index.leaves.iter().take(size) {
            hashes.push(leaf.hash);
        }
        hashes
    }
}
