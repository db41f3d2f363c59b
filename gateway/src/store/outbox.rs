//! Messages that have to go out: written with the change that they tell of, kept until they are delivered.

use crate::clock::Timestamp;

use super::{Answer, Error};

/// Most messages that wait, dead ones included.
pub const OUTBOX_MAX: i64 = 100_000;
/// Most messages in one answer.
pub const OUTBOX_BATCH_MAX: u32 = 100;
/// How long a dead message stays in the list.
pub const DEAD_KEPT: std::time::Duration = std::time::Duration::from_secs(30 * 86_400);
/// Longest text of a failure that is kept, in bytes.
pub const FAILURE_BYTES_MAX: usize = 500;

/// A message on its way to one channel. What it says is made when it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Its id: the same change and channel always have the same one.
    pub id: String,
    /// The channel's name.
    pub channel: String,
    /// The approval that it is about.
    pub approval: String,
    /// The word for what happened.
    pub event: String,
    /// When it happened.
    pub created: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub due: Timestamp,
    /// Since when nobody tries any more.
    pub dead: Option<Timestamp>,
    /// What went wrong the last time.
    pub failure: String,
}

/// What became of a try that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Try again then.
    At(Timestamp),
    /// Give up: it waits for a person.
    Never(Timestamp),
}

/// The messages that have to go out.
pub trait Outbox: Send + Sync + std::fmt::Debug + 'static {
    /// Write messages; one that is there already stays as it is.
    fn enqueue(&self, deliveries: Vec<Delivery>) -> Answer<'_, ()>;

    /// The messages of a channel that are due, the longest waiting first.
    fn due(&self, channel: &str, now: Timestamp) -> Answer<'_, Vec<Delivery>>;

    /// It has gone out, or there is nothing left to say.
    fn delivered(&self, id: &str) -> Answer<'_, ()>;

    /// A try failed.
    fn failed(&self, id: &str, retry: Retry, failure: &str) -> Answer<'_, ()>;

    /// The dead messages, newest first.
    fn dead(&self) -> Answer<'_, Vec<Delivery>>;

    /// Try a dead message again; `false` when there is none such.
    fn revive(&self, id: &str, now: Timestamp) -> Answer<'_, bool>;

    /// Take a dead message off the list; `false` when there is none such.
    fn discard(&self, id: &str) -> Answer<'_, bool>;

    /// Forget messages that died before.
    fn forget_dead(&self, before: Timestamp) -> Answer<'_, u64>;
}

/// At most [`FAILURE_BYTES_MAX`], cut between characters.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(FAILURE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

pub(super) const fn full() -> Error {
    Error::Full("messages that wait to go out")
}
