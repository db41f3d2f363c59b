//! Checkpoints ([C2SP tlog-checkpoint]): signed statements of a log's size and root.
//!
//! A [`Checkpoint`] is a claim. A [`VerifiedCheckpoint`] is made only by verification, and is what
//! proofs are checked against. Extension lines are refused: nobody could audit them.
//!
//! [C2SP tlog-checkpoint]: https://c2sp.org/tlog-checkpoint

use std::fmt;

use crate::Error;
use crate::note::{Kind, Note, Signer, VerifiedSignature, VerifierKey, check_name};
use crate::text::Lines;
use crate::tree::{Hash, Head, TREE_SIZE_MAX};

/// The largest checkpoint text, without signatures, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 512;

/// A log's size and root, under the log's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    head: Head,
}

impl Checkpoint {
    /// The checkpoint of the log `origin`, which is also the name of the log's key.
    ///
    /// # Errors
    /// [`Error::KeyName`], [`Error::TreeSize`].
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, Error> {
        check_name(origin)?;
        if size > TREE_SIZE_MAX {
            return Err(Error::TreeSize { size });
        }
        if size == 0 && root != Hash::EMPTY {
            return Err(Error::Forked {
                size,
                one: Hash::EMPTY,
                other: root,
            });
        }
        Ok(Self {
            origin: origin.to_owned(),
            head: Head { size, root },
        })
    }

    /// Reads a note's text. Accepts exactly what [`fmt::Display`] prints: three lines.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Malformed`], and those of [`Checkpoint::new`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = Lines::new("checkpoint", text.as_bytes(), CHECKPOINT_BYTES_MAX)?;
        let origin = lines.next()?;
        let size = lines.next()?;
        let size = lines.decimal(size)?;
        let root = lines.next()?;
        let root = root
            .parse()
            .map_err(|_| lines.wrong("the root is not the base64 form of 32 bytes"))?;
        if !lines.rest().is_empty() {
            return Err(lines.wrong("extension lines after the root are refused"));
        }
        Self::new(origin, size, root)
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves the log had.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.head.size
    }

    /// The root over those leaves.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.head.root
    }

    /// Size and root.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The signed note of this checkpoint.
    ///
    /// # Errors
    /// [`Error::Origin`] if the signer has another name than the log, [`Error::Signing`].
    pub fn sign(&self, signer: &Signer) -> Result<Note, Error> {
        if signer.name() != self.origin {
            return Err(Error::Origin {
                origin: self.origin.clone(),
                key: signer.name().to_owned(),
            });
        }
        let mut note = Note::new(&self.to_string())?;
        note.add(signer.sign(note.text())?)?;
        Ok(note)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n{}\n{}\n",
            self.origin, self.head.size, self.head.root
        )
    }
}

/// A checkpoint that carries a good signature of its log. Made by [`VerifiedCheckpoint::verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    cosignatures: Vec<VerifiedSignature>,
}

impl VerifiedCheckpoint {
    /// Checks that the log with this key signed the checkpoint in `note`, and every cosignature of
    /// these witnesses. How many witnesses are enough, and how old they may be, is the caller's
    /// policy: see [`VerifiedCheckpoint::cosignatures`].
    ///
    /// # Errors
    /// [`Error::KeyUse`], [`Error::Origin`], [`Error::Unsigned`], what [`Checkpoint::parse`] and
    /// [`Note::verify`] say.
    pub fn verify(
        note: &Note,
        log: &VerifierKey,
        witnesses: &[VerifierKey],
    ) -> Result<Self, Error> {
        log.must_be(Kind::Log)?;
        witnesses
            .iter()
            .try_for_each(|witness| witness.must_be(Kind::Witness))?;
        let keys: Vec<&VerifierKey> = std::iter::once(log).chain(witnesses).collect();
        let mut verified = note.verify(&keys)?;
        let Some(own) = verified.iter().position(|signature| signature.by(log)) else {
            return Err(Error::Unsigned {
                name: log.name().to_owned(),
                key_id: log.id(),
            });
        };
        verified.remove(own);
        // Only now: the text of a note that nobody signed is not worth a look.
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != log.name() {
            return Err(Error::Origin {
                origin: checkpoint.origin,
                key: log.name().to_owned(),
            });
        }
        Ok(Self {
            checkpoint,
            cosignatures: verified,
        })
    }

    /// What was signed.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The good signatures of known witnesses, each with its time, in the note's order.
    #[must_use]
    pub fn cosignatures(&self) -> &[VerifiedSignature] {
        &self.cosignatures
    }
}

#[cfg(test)]
mod tests;
