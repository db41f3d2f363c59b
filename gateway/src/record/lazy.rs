//! What is counted or queued without anybody waiting for it: refusals, denials.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::LAZY_BYTES_MAX;
use super::entry::Event;
use super::event::Recorded;
use super::job::{EventJob, Job};

/// What is counted instead of waited for.
#[derive(Debug)]
pub(super) struct Lazy {
    /// Refusals before authentication since the last record of them.
    pub(super) refusals: Mutex<BTreeMap<&'static str, u64>>,
    /// Events that found no room since the last record of that.
    pub(super) lost: AtomicU64,
    /// Bytes that events which nobody waits for may hold.
    room: Arc<Semaphore>,
}

impl Default for Lazy {
    fn default() -> Self {
        Self {
            refusals: Mutex::default(),
            lost: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(LAZY_BYTES_MAX)),
        }
    }
}

impl Lazy {
    pub(super) fn lock_refusals(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event with the room that its content takes; `None` where there is none.
    pub(super) fn job(&self, event: Event) -> Option<Job> {
        let event = Recorded::Public(Box::new(event));
        // A caller that is refused may have sent as much as one that is not. What is larger than all takes all.
        let weight = u32::try_from(event.weight().min(LAZY_BYTES_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(weight);
        Some(Job::Event(Box::new(EventJob {
            event,
            ack: None,
            room: Some(room.ok()?),
        })))
    }
}
