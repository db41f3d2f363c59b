//! Taking old segments away: judged against a signed head, recorded, and only then removed.
//!
//! A segment goes when all of its records are over their time, all places that must have them have them, no
//! legal hold stands on anybody in it, no call that began in it is still open, and every one before it goes
//! too.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tlog::note::VerifierKey;
use tlog::tree::{Hash, Tree, leaf_hash};

use super::call::Registry;
use super::erase::Holds;
use super::event::Recorded;
use super::files::{Files, Identity};
use super::frame::{Frame, Kind, LeafFrame, Position};
use super::health::Head;
use super::leaf::{Tag, nanos_from_text};
use super::pruned::{self, Base};
use super::recorder::Recorder;
use super::retain::Expired;
use super::segment::{self, Chain, HEADER_BYTES, Link};
use super::{Error, heads, reading};
use crate::call::CallId;
use crate::clock::Timestamp;
use crate::disk::Disk;

/// Kind of the record that earlier records went.
pub(super) const PRUNED: &str = "log.prune";

/// Segments that go in one round at most.
const SEGMENTS_MAX: usize = 64;

/// How long a signed head over the record of it is waited for.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(60);

const HEAD_PAUSE: Duration = Duration::from_millis(20);

/// What a record of it says: how many records went in all, and the root of the tree over them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stated {
    pub(super) records: u64,
    pub(super) root: [u8; 32],
}

impl Stated {
    /// Out of a leaf; `None` when it is of another kind.
    pub(super) fn read(leaf: &[u8]) -> Option<Self> {
        let fields: Value = serde_json::from_slice(leaf).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        Some(Self {
            records: fields
                .get("pruned")
                .and_then(Value::as_u64)
                .filter(|_| text("kind") == Some(PRUNED))?,
            root: text("root").and_then(super::leaf::unhex)?,
        })
    }
}

/// What [`Recorder::prune`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Records that are gone, in all: the log begins with this index now.
    pub records: u64,
    /// Segments that went.
    pub segments: u64,
    /// The record that says so.
    pub record: u64,
}

/// Why nothing more was taken away.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The log could not be read, or its files not be written.
    #[error(transparent)]
    Log(#[from] Error),
    /// It could not be recorded.
    #[error(transparent)]
    Unavailable(#[from] super::Unavailable),
    /// No head was signed over the record of it in time.
    #[error("no head was signed over the record that says so")]
    NotCovered,
}

/// What may go, and what is known of it then.
struct Plan {
    before: Base,
    after: Base,
    hashes: Vec<Hash>,
    segments: u64,
}

/// What a segment is judged by.
struct Limits<'l> {
    /// Records of this time and later stay.
    before: Timestamp,
    /// Records from this index on stay.
    confirmed: u64,
    held: HashSet<String>,
    calls: &'l Registry,
}

impl Recorder {
    /// Take away segments of which all records are older than `before` and have an index below
    /// `confirmed`. Recorded before it is done; `None` when there is nothing to take away.
    ///
    /// # Errors
    /// [`PruneError`]: nothing is taken away, or the rest of it in a later round.
    pub async fn prune(
        &self,
        before: Timestamp,
        confirmed: Option<u64>,
    ) -> Result<Option<Pruned>, PruneError> {
        // Held until it is done, so that no hold is placed meanwhile.
        let holds = self.inner.holds.lock().await;
        let held = holds.all().map(|hold| hold.subject_ref.clone()).collect();
        let place = Place::of(self)?;
        let calls = Arc::clone(&self.inner.calls);
        let head = self.head();
        let Some(head) = head else { return Ok(None) };
        let planned = place.clone();
        let plan = blocking(move || {
            let limits = Limits {
                before,
                confirmed: confirmed.unwrap_or(u64::MAX).min(head.size),
                held,
                calls: &calls,
            };
            planned.plan(&limits)
        });
        let Some(plan) = plan.await? else {
            return Ok(None);
        };
        let (records, segments) = (plan.after.records(), plan.segments);
        let root = *plan.after.tree.root().as_bytes();
        let stated = Stated { records, root };
        let record = self.note_recorded(Recorded::Pruned { stated }).await?;
        self.covered(record).await?;
        blocking(move || place.carry_out(&plan)).await?;
        drop(holds);
        Ok(Some(Pruned {
            records,
            segments,
            record,
        }))
    }

    /// Once a signed head covers this record: without one nobody could be shown it.
    async fn covered(&self, record: u64) -> Result<(), PruneError> {
        let until = tokio::time::Instant::now() + HEAD_WAIT_MAX;
        while self.head().is_none_or(|head| head.size <= record) {
            if tokio::time::Instant::now() >= until {
                return Err(PruneError::NotCovered);
            }
            tokio::time::sleep(HEAD_PAUSE).await;
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, PruneError> {
    let ran = tokio::task::spawn_blocking(run).await;
    let ran = ran.map_err(|_| Error::Setting("taking old segments away broke off"))?;
    Ok(ran?)
}

/// Where the log is.
#[derive(Clone)]
struct Place {
    disk: Arc<dyn Disk>,
    files: Files,
    log_id: [u8; 16],
    key: VerifierKey,
}

impl Place {
    fn of(recorder: &Recorder) -> Result<Self, Error> {
        let (disk, files) = (Arc::clone(recorder.disk()), recorder.inner.files.clone());
        let identity = Identity::read(disk.as_ref(), &files)?;
        Ok(Self {
            disk,
            files,
            log_id: identity.log_id,
            key: identity.verifier,
        })
    }

    fn plan(&self, limits: &Limits<'_>) -> Result<Option<Plan>, Error> {
        let disk = self.disk.as_ref();
        let chain = Chain::find(disk, &self.files, &self.log_id)?;
        let before = chain.base.clone();
        let mut seen = Seen::new(&before, Holds::carried(disk, &self.files)?);
        let mut segments = 0;
        let mut cut = None;
        for pair in chain.links.windows(2).take(SEGMENTS_MAX) {
            let [link, next] = pair else { break };
            if next.header.first_leaf > limits.confirmed {
                break;
            }
            let mut further = seen.clone();
            let mut goes = true;
            self.each_leaf(&chain, *link, &mut |leaf| {
                goes &= further.leaf(leaf, limits);
                Ok(())
            })?;
            if !goes {
                break;
            }
            (seen, segments, cut) = (further, segments + 1, Some(*next));
        }
        let Some(next) = cut else { return Ok(None) };
        let after = Base {
            segment: next.header.number,
            seq: next.header.first_seq,
            tree: seen.tree,
            erased: seen.erased,
            expired: seen.expired,
            holds: seen.holds.lines(),
        };
        self.judge(&chain, &after)?;
        Ok(Some(Plan {
            before,
            after,
            hashes: seen.hashes,
            segments,
        }))
    }

    fn each_leaf(
        &self,
        chain: &Chain,
        link: Link,
        look: &mut dyn FnMut(&LeafFrame<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let at = |offset| Position {
            segment: link.header.number,
            offset,
        };
        let to = link.end.unwrap_or(u64::MAX);
        let mut visit = |at: Position, frame: &Frame<'_>| match frame.kind {
            Kind::Leaf => match LeafFrame::parse(frame.payload) {
                Some(leaf) => look(&leaf),
                None => Err(segment::corrupt(at, "a record's frame is malformed")),
            },
            Kind::Batch | Kind::Sealed | Kind::Progress => Ok(()),
        };
        let disk = self.disk.as_ref();
        let range = (at(HEADER_BYTES), at(to));
        reading::range(disk, &self.files, chain, range, &mut visit)
    }

    /// What goes must be what was signed: the first signed head behind it has its root.
    fn judge(&self, chain: &Chain, after: &Base) -> Result<(), Error> {
        let head = self.first_head(after.records())?;
        let mut tree: Tree = after.tree.clone();
        let from = Position {
            segment: after.segment,
            offset: HEADER_BYTES,
        };
        let mut visit = |_: Position, frame: &Frame<'_>| {
            let leaf = Some(frame).filter(|frame| frame.kind == Kind::Leaf);
            if let Some(leaf) = leaf.and_then(|frame| LeafFrame::parse(frame.payload)) {
                tree.push(leaf_hash(leaf.leaf));
            }
            if tree.size() < head.size {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        if after.records() < head.size {
            reading::scan(self.disk.as_ref(), &self.files, chain, from, &mut visit)?;
        }
        if tree.size() == head.size && tree.root() == head.root {
            Ok(())
        } else {
            Err(Error::HeadMismatch { size: head.size })
        }
    }

    /// The first signed head of at least so many records.
    fn first_head(&self, records: u64) -> Result<Head, Error> {
        let disk = self.disk.as_ref();
        let names = heads::files(disk, &self.files)?;
        let begins = |name: &String| name.split('.').next().and_then(|size| size.parse().ok());
        // The last file that begins before it may have it, and the one behind surely.
        let from = names
            .iter()
            .rposition(|name| begins(name).is_some_and(|size: u64| size <= records));
        for name in names.get(from.unwrap_or(0)..).unwrap_or_default() {
            let (notes, _) = heads::notes(&heads::read(disk, &self.files, name)?);
            for note in notes {
                let head = heads::verify(&note, &self.key)
                    .map_err(|_| Error::BadHead(self.files.heads.join(name)))?;
                if head.size >= records {
                    return Ok(head);
                }
            }
        }
        Err(Error::NotCovered)
    }

    /// The hashes first, then where the log begins, then the segments go: a crash leaves more than is
    /// needed, never less.
    fn carry_out(&self, plan: &Plan) -> Result<(), Error> {
        let disk = self.disk.as_ref();
        pruned::keep_hashes(disk, &self.files, plan.before.records(), &plan.hashes)?;
        plan.after.write(disk, &self.files)?;
        pruned::remove_segments(disk, &self.files, &plan.after)
    }
}

/// What the records that may go say.
#[derive(Clone)]
struct Seen {
    tree: Tree,
    hashes: Vec<Hash>,
    erased: Vec<([u8; 16], u64)>,
    expired: Option<Expired>,
    holds: Holds,
}

impl Seen {
    fn new(base: &Base, holds: Holds) -> Self {
        Self {
            tree: base.tree.clone(),
            hashes: Vec::new(),
            erased: base.erased.clone(),
            expired: base.expired,
            holds,
        }
    }

    /// Take a record in; whether it may go.
    fn leaf(&mut self, leaf: &LeafFrame<'_>, limits: &Limits<'_>) -> bool {
        let hash = leaf_hash(leaf.leaf);
        self.tree.push(hash);
        self.hashes.push(hash);
        match leaf.tag {
            Tag::Erase => self.erased.push((leaf.id, leaf.index)),
            Tag::Hold => self.holds.leaf(leaf.leaf),
            Tag::Retain => {
                if let Some(expired) = Expired::read(leaf.index, leaf.leaf) {
                    self.expired = Some(expired.or_later(self.expired));
                }
            }
            Tag::Begin => {
                if limits.calls.has(CallId::from_bytes(leaf.id)) {
                    return false;
                }
            }
            Tag::End | Tag::Other => {}
        }
        let Ok(fields) = serde_json::from_slice::<Value>(leaf.leaf) else {
            return false;
        };
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let over = text("t").and_then(nanos_from_text);
        let mut people = ["subject_ref", "actor_ref"].into_iter().filter_map(text);
        over.is_some_and(|at| at < limits.before) && !people.any(|who| limits.held.contains(who))
    }
}
