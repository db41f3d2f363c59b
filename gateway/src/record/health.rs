//! Whether something can be recorded now, and the numbers that tell how it goes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tlog::tree::{Hash, Tree};

use super::{SYNC_LIMIT, Unavailable, Why};
use crate::clock::Timestamp;
use crate::disk::Identity;

/// The newest signed head of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Records under it.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// The signed checkpoint (C2SP tlog-checkpoint), as text.
    pub note: String,
    /// The log key's signature line content, base64: key id and signature.
    pub signature: String,
    /// When it was signed.
    pub at: Timestamp,
}

/// A head that was signed, and the tree under it.
#[derive(Clone, Debug)]
pub(super) struct Anchor {
    pub(super) head: Head,
    pub(super) tree: Tree,
}

/// How recording goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Health {
    /// Why nothing is admitted; `None` while calls may begin.
    pub blocked: Option<Why>,
    /// Jobs in the queue.
    pub queued: usize,
    /// Calls that have begun and not ended.
    pub open_calls: usize,
    /// How long the last sync took.
    pub last_sync: Duration,
    /// Syncs so far.
    pub syncs: u64,
    /// Records so far, this run's and earlier ones.
    pub records: u64,
    /// Records that the newest signed head does not cover.
    pub unsigned: u64,
    /// Writes and syncs that failed.
    pub disk_errors: u64,
    /// Events that were counted instead of kept.
    pub lost_events: u64,
    /// Bytes free on the log's file system, when last looked.
    pub free_bytes: u64,
}

/// What the recorder's threads tell each other and everybody else.
#[derive(Debug)]
pub(super) struct Shared {
    started: Instant,
    /// Microseconds since `started` at which the write or sync that runs now began, plus one; 0: none runs.
    busy_since: AtomicU64,
    last_sync_us: AtomicU64,
    syncs: AtomicU64,
    disk_errors: AtomicU64,
    pub(super) lost_events: AtomicU64,
    pub(super) free_bytes: AtomicU64,
    /// The last write failed and nothing has succeeded since.
    pub(super) write_failed: AtomicBool,
    /// Not enough space, or the reserve is in use.
    pub(super) no_space: AtomicBool,
    /// The directory or the file was replaced; only a restart heals it.
    pub(super) replaced: AtomicBool,
    /// Durable bytes changed; only a restart and a look heal it.
    pub(super) damaged: AtomicBool,
    /// Another process signs heads under this log's name; only people can tell which of the two is to go on.
    pub(super) forked: AtomicBool,
    pub(super) closed: AtomicBool,
    /// A zeroed segment lies ready.
    pub(super) spare_ready: AtomicBool,
    /// Over the durable leaves, in order.
    pub(super) tree: Mutex<Tree>,
    pub(super) head: ArcSwapOption<Head>,
    /// The newest head of this run, with its tree.
    pub(super) anchor: ArcSwapOption<Anchor>,
    /// The segment that is written now, and which file it is.
    pub(super) current: Mutex<Option<(PathBuf, Identity)>>,
}

impl Shared {
    pub(super) fn new(tree: Tree) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            busy_since: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            disk_errors: AtomicU64::new(0),
            lost_events: AtomicU64::new(0),
            free_bytes: AtomicU64::new(u64::MAX),
            write_failed: AtomicBool::new(false),
            no_space: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            forked: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            spare_ready: AtomicBool::new(false),
            tree: Mutex::new(tree),
            head: ArcSwapOption::empty(),
            anchor: ArcSwapOption::empty(),
            current: Mutex::new(None),
        })
    }

    /// Microseconds since the log was opened.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn busy(&self) {
        self.busy_since.store(self.now_us() + 1, Ordering::Release);
    }

    pub(super) fn done(&self) {
        let since = self.busy_since.swap(0, Ordering::AcqRel);
        let took = (self.now_us() + 1).saturating_sub(since);
        self.last_sync_us.store(took, Ordering::Relaxed);
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.busy_since.store(0, Ordering::Release);
        self.disk_errors.fetch_add(1, Ordering::Relaxed);
        self.write_failed.store(true, Ordering::Release);
    }

    /// Why nothing may begin now.
    pub(super) fn blocked(&self) -> Option<Why> {
        let since = self.busy_since.load(Ordering::Acquire);
        let limit = u64::try_from(SYNC_LIMIT.as_micros()).unwrap_or(u64::MAX);
        let slow = since != 0 && (self.now_us() + 1).saturating_sub(since) > limit;
        [
            (self.closed.load(Ordering::Acquire), Why::Closed),
            (self.replaced.load(Ordering::Acquire), Why::Replaced),
            (self.damaged.load(Ordering::Acquire), Why::Damaged),
            (self.forked.load(Ordering::Acquire), Why::Forked),
            (self.write_failed.load(Ordering::Acquire), Why::Write),
            (self.no_space.load(Ordering::Acquire), Why::Space),
            (slow, Why::Slow),
        ]
        .into_iter()
        .find_map(|(is, why)| is.then_some(why))
    }

    /// Somebody has waited as long as anybody may: the sync that is under way is late for all, also where it
    /// began a moment after the waiting did.
    pub(super) fn late(&self) {
        let limit = u64::try_from(SYNC_LIMIT.as_micros()).unwrap_or(u64::MAX);
        let begun = self.now_us().saturating_sub(limit).max(1);
        // A sync that has ended, or that counts as late already, stays as it is.
        let _same = self
            .busy_since
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |since| {
                (since > begun).then_some(begun)
            });
    }

    pub(super) fn admit(&self) -> Result<(), Unavailable> {
        self.blocked()
            .map_or(Ok(()), |why| Err(Unavailable::new(why)))
    }

    /// Whether what was written still lies where it is looked for.
    pub(super) fn lasts(&self) -> Result<(), Unavailable> {
        if self.replaced.load(Ordering::Acquire) {
            return Err(Unavailable::new(Why::Replaced));
        }
        Ok(())
    }

    pub(super) fn lock_tree(&self) -> std::sync::MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_current(&self) -> std::sync::MutexGuard<'_, Option<(PathBuf, Identity)>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn health(&self, queued: usize, open_calls: usize) -> Health {
        let records = self.lock_tree().size();
        let signed = self.head.load().as_ref().map_or(0, |head| head.size);
        Health {
            blocked: self.blocked(),
            queued,
            open_calls,
            last_sync: Duration::from_micros(self.last_sync_us.load(Ordering::Relaxed)),
            syncs: self.syncs.load(Ordering::Relaxed),
            records,
            unsigned: records.saturating_sub(signed),
            disk_errors: self.disk_errors.load(Ordering::Relaxed),
            lost_events: self.lost_events.load(Ordering::Relaxed),
            free_bytes: self.free_bytes.load(Ordering::Relaxed),
        }
    }
}
