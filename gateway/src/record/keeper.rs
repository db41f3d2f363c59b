//! The keeper: one thread that does what must happen every second, away from every call.
//!
//! It signs heads, keeps a zeroed segment and the reserve ready, looks whether the directory and the
//! file are still the ones that were opened and how much space is left, tells of quiet streams, and
//! records the counts of what is not recorded one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tlog::note::Signer;
use tokio::sync::mpsc;

use super::Config;
use super::call::Registry;
use super::event::Recorded;
use super::files::Files;
use super::heads::{self, HeadFile};
use super::health::{Anchor, Shared};
use super::job::{EventJob, Job};
use super::lazy::Lazy;
use crate::clock::SharedClock;
use crate::disk::{Disk, Identity};

/// Longest pause between two looks.
const TICK_MAX: Duration = Duration::from_secs(1);

/// Shortest pause.
const TICK_MIN: Duration = Duration::from_millis(5);

pub(super) struct Keeper {
    disk: Arc<dyn Disk>,
    files: Files,
    clock: SharedClock,
    shared: Arc<Shared>,
    signer: Signer,
    heads: HeadFile,
    segment_bytes: u64,
    free_bytes_min: u64,
    tick: Duration,
    refusals_every: Duration,
    refusals_told: Instant,
    wal: Option<Identity>,
}

impl Keeper {
    pub(super) fn new(
        config: &Config,
        files: Files,
        disk: Arc<dyn Disk>,
        clock: SharedClock,
        shared: Arc<Shared>,
        signer: Signer,
    ) -> Self {
        Self {
            heads: HeadFile::new(Arc::clone(&disk), files.clone()),
            wal: disk.identity(&files.wal).ok().flatten(),
            disk,
            files,
            clock,
            shared,
            signer,
            segment_bytes: config.segment_bytes,
            free_bytes_min: config.free_bytes_min,
            tick: config.head_every.clamp(TICK_MIN, TICK_MAX),
            refusals_every: config.refusals_every,
            refusals_told: Instant::now(),
        }
    }

    /// What must be there before the first call.
    pub(super) fn prepare(&self) {
        self.look_at_space();
    }

    pub(super) fn run(
        mut self,
        jobs: &mpsc::WeakSender<Job>,
        calls: &Registry,
        lazy: &Lazy,
        stop: &AtomicBool,
    ) {
        loop {
            std::thread::park_timeout(self.tick);
            let stopping = stop.load(Ordering::Acquire);
            self.sign();
            let sender = jobs.upgrade();
            if stopping || sender.is_none() {
                return;
            }
            self.look_at_identity();
            self.look_at_space();
            if let Some(sender) = sender {
                tell_progress(&sender, calls);
                self.tell_counts(&sender, lazy);
            }
        }
    }

    fn sign(&mut self) {
        let tree = self.shared.lock_tree().clone();
        let signed = self.shared.head.load().as_ref().map_or(0, |head| head.size);
        if tree.size() <= signed {
            return;
        }
        let head = match heads::sign(&self.signer, &tree.head(), self.clock.now()) {
            Ok(head) => head,
            Err(error) => {
                tracing::error!(error = %error, "cannot sign a head of the audit log");
                return;
            }
        };
        // Only a head that is on disk is given out: whoever has it can hold us to it, and so can we.
        match self.heads.put(&head) {
            Ok(()) => {
                let anchor = Anchor {
                    head: head.clone(),
                    tree,
                };
                self.shared.anchor.store(Some(Arc::new(anchor)));
                self.shared.head.store(Some(Arc::new(head)));
            }
            Err(error) => tracing::error!(error = %error, "cannot store a head of the audit log"),
        }
    }

    /// A directory or file that took the log's name gets none of its records, but neither does the
    /// one that is gone keep them.
    fn look_at_identity(&self) {
        let same_dir = self.disk.identity(&self.files.wal).ok().flatten() == self.wal;
        let current = self.shared.lock_current().clone();
        let same_file = current.as_ref().is_none_or(|(path, identity)| {
            self.disk.identity(path).ok().flatten() == Some(*identity)
                // Unless the writer went on to the next one meanwhile.
                || *self.shared.lock_current() != current
        });
        let same = same_dir && same_file;
        if !same && !self.shared.replaced.swap(true, Ordering::AcqRel) {
            tracing::error!("the audit log's directory or file was replaced; no call is admitted");
        }
    }

    fn look_at_space(&self) {
        let free = self.disk.free_bytes(&self.files.wal).unwrap_or(0);
        self.shared.free_bytes.store(free, Ordering::Relaxed);
        let enough = free >= self.free_bytes_min;
        let ready = enough && self.ready();
        let lacked = self.shared.no_space.swap(!ready, Ordering::AcqRel);
        if !ready && !lacked {
            tracing::error!(
                free_bytes = free,
                "too little space for the audit log; no call is admitted"
            );
        }
    }

    /// The reserve first: without it nothing may be admitted; the spare is only for speed.
    fn ready(&self) -> bool {
        let reserve = self.zeroed(&self.files.reserve());
        if !self.shared.spare_ready.load(Ordering::Acquire) && self.zeroed(&self.files.spare()) {
            self.shared.spare_ready.store(true, Ordering::Release);
        }
        reserve
    }

    fn zeroed(&self, path: &std::path::Path) -> bool {
        if matches!(self.disk.identity(path), Ok(Some(_))) {
            return true;
        }
        let unfinished = self.files.unfinished();
        // Left by a crash, or not there.
        let _ = self.disk.remove(&unfinished);
        let made = self
            .disk
            .create_zeroed(&unfinished, self.segment_bytes)
            .and_then(|_| self.disk.rename(&unfinished, path))
            .and_then(|()| self.disk.sync_dir(&self.files.wal));
        if let Err(error) = &made {
            tracing::warn!(error = %error, "cannot allocate a segment of the audit log ahead");
        }
        made.is_ok()
    }

    fn tell_counts(&mut self, sender: &mpsc::Sender<Job>, lazy: &Lazy) {
        if self.refusals_told.elapsed() < self.refusals_every {
            return;
        }
        self.refusals_told = Instant::now();
        let Ok(slots) = sender.try_reserve_many(2) else {
            return;
        };
        for (slot, event) in slots.zip(take_counts(lazy)) {
            slot.send(Job::Event(Box::new(EventJob {
                event,
                ack: None,
                room: None,
            })));
        }
    }
}

/// The records of what was only counted since the last time.
pub(super) fn take_counts(lazy: &Lazy) -> Vec<Recorded> {
    let counts = std::mem::take(&mut *lazy.lock_refusals());
    let count = lazy.lost.swap(0, Ordering::AcqRel);
    let refusals = (!counts.is_empty()).then_some(Recorded::Refusals { counts });
    let lost = (count > 0).then_some(Recorded::Lost { count });
    refusals.into_iter().chain(lost).collect()
}

fn tell_progress(sender: &mpsc::Sender<Job>, calls: &Registry) {
    for state in calls.all() {
        // Room first: what is cut out of a stream must find its way.
        let Ok(mut slots) = sender.try_reserve_many(2) else {
            return;
        };
        for job in state.due() {
            if let Some(slot) = slots.next() {
                slot.send(Job::Piece(Box::new(job)));
            }
        }
    }
}
