//! Erasing people, and the legal holds that stand against it. Both are records first: a hold stands
//! from its record to the record of its release, and a key is destroyed after the record that says so.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::entry::Who;
use super::event::Recorded;
use super::files::{self, Files};
use super::leaf::{hex, unhex};
use super::outside;
use super::pruned::Base;
use super::recorder::Recorder;
use super::seal::{REFERENCE_BYTES, random};
use super::{Error, Unavailable, Why, segment};
use crate::call::CallId;
use crate::disk::Disk;

/// Most holds that stand at one time.
pub const HOLDS_MAX: usize = 10_000;

/// What a hold keeps from being erased.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Held {
    /// A subject, by issuer alias and name.
    Subject {
        /// The issuer's alias.
        issuer: String,
        /// The subject.
        subject: String,
    },
    /// One call: its subject's key stays.
    Call {
        /// The call.
        call: CallId,
        /// Its subject's pseudonym, as its record states it.
        subject_ref: String,
    },
}

/// A hold that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    /// Its id.
    pub id: String,
    /// The pseudonym that is kept, in hexadecimal.
    pub subject_ref: String,
    /// The call, when it is for one.
    pub call: Option<CallId>,
}

/// Why nothing was erased, held or released.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EraseError {
    /// It cannot be recorded, or the keyring cannot be written.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Nobody of that name has a key.
    #[error(
        "`{issuer}/{subject}` has no key here: never recorded under that name, or erased already"
    )]
    Unknown {
        /// The issuer's alias.
        issuer: String,
        /// The subject.
        subject: String,
    },
    /// The content is kept for a proceeding.
    #[error(
        "a legal hold stands: {}; nothing was erased, and nothing will be until `callgate audit release` ends it",
        .0.join(", ")
    )]
    Held(Vec<String>),
    /// The call's subject has no key any more.
    #[error("the content of call `{0}` is erased already: there is nothing to hold")]
    Gone(CallId),
    /// No such hold.
    #[error("no hold `{0}` stands: `callgate audit holds` lists those that do")]
    NoHold(String),
    /// More than [`HOLDS_MAX`].
    #[error("more than 10000 holds stand: release some first")]
    TooMany,
}

/// The holds that stand, by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds(BTreeMap<String, Hold>);

impl Holds {
    /// Take in a leaf of a hold or of its release.
    pub(super) fn leaf(&mut self, leaf: &[u8]) {
        let fields: Value = serde_json::from_slice(leaf).unwrap_or(Value::Null);
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let Some(id) = text("hold") else { return };
        match (text("kind"), text("held_ref")) {
            (Some("hold.place"), Some(reference)) => {
                self.put(Hold {
                    id: id.to_owned(),
                    subject_ref: reference.to_owned(),
                    call: text("call").and_then(|call| call.parse().ok()),
                });
            }
            _ => {
                self.0.remove(id);
            }
        }
    }

    /// Those that stood in the log before this one: whoever is kept is kept in a successor too.
    /// Those that stood when records went stand as well.
    pub(super) fn carried(disk: &dyn Disk, files: &Files) -> Result<Self, Error> {
        if let Some(holds) = Base::read(disk, files)?.holds() {
            return Ok(holds);
        }
        let path = files.holds();
        if files::stands(disk, &path)? {
            return Ok(Self::of_lines(&segment::read_file(disk, &path)?));
        }
        Ok(Self::default())
    }

    /// Out of [`Self::lines`].
    pub(super) fn of_lines(lines: &[u8]) -> Self {
        let mut holds = Self::default();
        let lines = lines.split(|byte| *byte == b'\n');
        lines.for_each(|line| holds.leaf(line));
        holds
    }

    /// As lines for a successor: what [`Self::leaf`] reads of a record.
    pub(super) fn lines(&self) -> Vec<u8> {
        let line = |hold: &Hold| {
            let call = hold.call.map(|call| call.to_string());
            let fields = json!({
                "kind": "hold.place", "hold": hold.id, "held_ref": hold.subject_ref, "call": call,
            });
            format!("{fields}\n")
        };
        self.all().map(line).collect::<String>().into_bytes()
    }

    fn put(&mut self, hold: Hold) {
        self.0.insert(hold.id.clone(), hold);
    }

    /// Those that stand.
    pub(super) fn all(&self) -> impl Iterator<Item = &Hold> {
        self.0.values()
    }

    /// The pseudonyms that are kept.
    pub(super) fn references(&self) -> HashSet<[u8; REFERENCE_BYTES]> {
        let each = self.all().filter_map(|hold| unhex(&hold.subject_ref));
        each.collect()
    }

    /// Ids of the holds on a pseudonym.
    pub(super) fn on(&self, reference: &str) -> Vec<String> {
        let holds = self.all().filter(|hold| hold.subject_ref == reference);
        holds.map(|hold| hold.id.clone()).collect()
    }
}

impl Recorder {
    /// Whether [`Recorder::shred`] may erase this subject now.
    ///
    /// # Errors
    /// As [`Recorder::shred`].
    pub async fn may_shred(&self, issuer: &str, subject: &str) -> Result<(), EraseError> {
        let holds = self.inner.holds.lock().await;
        self.erasable(&holds, issuer, subject).map(drop)
    }

    fn erasable(
        &self,
        holds: &Holds,
        issuer: &str,
        subject: &str,
    ) -> Result<[u8; REFERENCE_BYTES], EraseError> {
        let reference = self.reference_of(issuer, subject)?;
        let standing = holds.on(&hex(&reference));
        if standing.is_empty() {
            Ok(reference)
        } else {
            Err(EraseError::Held(standing))
        }
    }

    /// Destroy a subject's key: their content becomes unreadable everywhere, every proof still
    /// verifies. Recorded before it is done; returns the pseudonym that is dead now.
    ///
    /// # Errors
    /// [`EraseError::Held`] while a hold stands; [`EraseError::Unknown`] when there is no key;
    /// [`EraseError::Unavailable`] when it cannot be recorded, and the key is then not destroyed. A key
    /// whose erasure is recorded and that a crash or an error kept is destroyed at the next start.
    pub async fn shred(
        &self,
        issuer: &str,
        subject: &str,
        who: Option<Who>,
    ) -> Result<String, EraseError> {
        let holds = self.inner.holds.lock().await;
        let reference = self.erasable(&holds, issuer, subject)?;
        self.note_recorded(Recorded::Erased { reference, who })
            .await?;
        let (keyring, disk) = (
            Arc::clone(&self.inner.keyring),
            Arc::clone(&self.inner.disk),
        );
        let head_file = self.inner.head_file.clone();
        let destroyed = tokio::task::spawn_blocking(move || {
            if let Some(path) = &head_file
                && let Err(error) = outside::erase(disk.as_ref(), path, [&reference])
            {
                tracing::error!(%error, "the erasure cannot be remembered outside: an older backup could undo it");
            }
            keyring.destroy(disk.as_ref(), &|found| *found == reference)
        });
        match destroyed.await {
            Ok(Ok(_)) => Ok(hex(&reference)),
            Ok(Err(error)) => {
                tracing::error!(error = %error, "cannot rewrite the keyring");
                Err(Unavailable::new(Why::Write).into())
            }
            Err(_) => Err(Unavailable::new(Why::Write).into()),
        }
    }

    /// Keep a subject, or a call's subject, from being erased; returns the hold's id.
    ///
    /// # Errors
    /// [`EraseError`]: nothing is held.
    pub async fn hold(&self, held: Held, reason: &str, who: Who) -> Result<String, EraseError> {
        let mut holds = self.inner.holds.lock().await;
        if holds.0.len() >= HOLDS_MAX {
            return Err(EraseError::TooMany);
        }
        let (reference, call) = match held {
            Held::Subject { issuer, subject } => (self.reference_of(&issuer, &subject)?, None),
            Held::Call { call, subject_ref } => {
                let reference = unhex::<REFERENCE_BYTES>(&subject_ref);
                let known = reference.filter(|r| self.inner.keyring.knows(r));
                (known.ok_or(EraseError::Gone(call))?, Some(call))
            }
        };
        let id = hex(&random::<6>().map_err(|_| Unavailable::new(Why::Key))?);
        self.note_recorded(Recorded::HoldPlaced {
            hold: id.clone(),
            reference,
            call,
            who,
            // Never the subject's name: it would outlive the name's own key.
            content: json!({ "reason": reason }),
        })
        .await?;
        holds.put(Hold {
            id: id.clone(),
            subject_ref: hex(&reference),
            call,
        });
        Ok(id)
    }

    /// End a hold.
    ///
    /// # Errors
    /// [`EraseError::NoHold`]; [`EraseError::Unavailable`] when it cannot be recorded: it stands.
    pub async fn release(&self, hold: &str, reason: &str, who: Who) -> Result<(), EraseError> {
        let mut holds = self.inner.holds.lock().await;
        let standing = holds.0.get(hold);
        let standing = standing.ok_or_else(|| EraseError::NoHold(hold.to_owned()))?;
        self.note_recorded(Recorded::HoldReleased {
            hold: hold.to_owned(),
            call: standing.call,
            who,
            content: json!({ "reason": reason }),
        })
        .await?;
        holds.0.remove(hold);
        Ok(())
    }

    fn reference_of(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<[u8; REFERENCE_BYTES], EraseError> {
        let found = self.inner.keyring.reference(issuer, subject);
        found.ok_or_else(|| EraseError::Unknown {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        })
    }
}
