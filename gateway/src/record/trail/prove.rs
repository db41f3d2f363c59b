//! Proofs that a record is in the log, for people who do not trust us.

use tlog::note::Note;
use tlog::proof::InclusionProof;
use tlog::tree::{Hashes, inclusion_proof};

use super::super::Error;
use super::Trail;
use crate::call::CallId;

impl Trail {
    /// A C2SP tlog-proof of the call's last record (which names its begin record), with the record's
    /// exact bytes as extra data.
    ///
    /// # Errors
    /// [`Error::UnknownCall`]; [`Error::NotCovered`] when no signed head covers the record yet.
    pub fn prove(&self, call: CallId) -> Result<String, Error> {
        let last = self.of_call(call)?.last().copied();
        self.prove_record(last.ok_or(Error::UnknownCall(call))?)
    }

    /// A C2SP tlog-proof of one record.
    ///
    /// # Errors
    /// [`Error::NoRecord`]; [`Error::NotCovered`] when no signed head covers the record yet.
    pub fn prove_record(&self, index: u64) -> Result<String, Error> {
        let head = self.head()?.filter(|head| head.size > index);
        let head = head.ok_or(Error::NotCovered)?;
        if head.size > self.records() {
            return Err(Error::Rewound {
                head: head.size,
                leaves: self.records(),
            });
        }
        let hashes = self.hashes(head.size);
        let proof = InclusionProof {
            extra: Some(self.leaf(index)?),
            index,
            hashes: inclusion_proof(index, head.size, &hashes)?,
            checkpoint: Note::parse(head.note.as_bytes())?,
        };
        Ok(proof.to_string())
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
