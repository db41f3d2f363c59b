//! Proofs that a record is in the log, for people who do not trust us.

use serde_json::Value;
use tlog::note::Note;
use tlog::proof::InclusionProof;
use tlog::tree::{Hashes, inclusion_proof};

use super::super::Error;
use super::super::health::Head;
use super::Trail;
use crate::call::CallId;

/// The kind of a record that somebody read the evidence.
const READ: &str = "audit.read";

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
