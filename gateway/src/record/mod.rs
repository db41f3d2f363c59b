//! The record: what was called, by whom, under which decision, and what came back.
//!
//! Owns the entries, the write-ahead log and its recovery, the keyring, the signed heads, and reading
//! all of it back ([`Trail`]). Refuses to say that something is recorded before it is on stable
//! storage, and to go on when it cannot write. Called by `gate` (begin), `pipeline` (released, close),
//! `approval` and `console` (events), `export` (feed), `cli` (trail). The database is never on its path.
//!
//! The format is public: `docs/audit-log-format.md`.

mod call;
mod cosign;
mod disclosed;
mod document;
mod entry;
mod erase;
mod error;
mod event;
mod feed;
mod files;
mod frame;
mod heads;
mod health;
mod job;
mod keeper;
mod keyring;
mod lazy;
mod leaf;
mod outside;
mod prune;
mod pruned;
mod reading;
mod recorder;
mod recovery;
mod retain;
mod root;
mod seal;
mod sealer;
mod segment;
mod succeed;
#[cfg(test)]
pub(crate) mod tests;
mod times;
mod trail;
mod wal;

use std::path::PathBuf;
use std::time::Duration;

pub use call::{OpenRecord, RequestTap};
pub use cosign::{Alarm, CosignSettings, Cosigner, Standing, WITNESSES_MAX, WitnessTarget};
pub use disclosed::{Opened, committed_words, digest_text, read_hex, write_hex};
pub use entry::{
    ApprovalRef, Begin, Closed, CredentialRef, End, Event, Observed, Outcome, Reading, Vote, Who,
};
pub use erase::{EraseError, HOLDS_MAX, Held, Hold};
pub use error::{Error, Unavailable, Why};
pub use feed::{Fed, Feed, FeedLimits};
pub use files::folders;
pub use health::{Head, Health};
pub use keyring::SUBJECTS_MAX;
pub use leaf::{LEAF_BYTES_MAX, TEXT_BYTES_MAX};
pub use prune::{PruneError, Pruned};
pub use recorder::{Recorder, principal_json};
pub use recovery::Recovery;
pub use retain::{ContentExpired, KeepConfig};
pub use root::{
    RootKey, RootKeyConfig, TokenLife, Transit, TransitConfig, TransitError, make_root,
    read_clear_root, read_wrapped_root, wrapped_version, write_wrapped_root,
};
pub use seal::PIECE_BYTES;
pub use succeed::{Predecessor, adopt, adopt_newest, predecessor, remember, succeed};
pub use times::Group;
pub use trail::{
    CallIndex, CallSummary, Cursor, Decided, Disclose, Disclosed, Entry, Filter, Format, Formatter,
    Gathered, GatheredRecord, Judged, JudgedContent, May, Opener, PAGE_CALLS_MAX, Page, Progress,
    PutFile, Replayed, ReplayedPart, Report, SealedDecision, SharedTrail, Story, Trail, Tried,
    TriedBody, TriedRequest, Unopened, Verdict, VerifyOptions, Would, WouldFilter,
};

/// Jobs that wait to be encoded; more make a begin wait, and then be refused.
pub const QUEUE_JOBS_MAX: usize = 2048;

/// Bytes of content that wait to be encoded or written, all calls together.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Denials and other lazily recorded events that wait at one time; more are counted, not kept.
pub const LAZY_EVENTS_MAX: usize = 1024;

/// Bytes of what they hold, apart from what calls may have waiting: whoever is refused takes nothing of that.
pub const LAZY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A sync that takes longer stops admission, and so does a begin that waits longer.
pub const SYNC_LIMIT: Duration = Duration::from_secs(2);

/// How long an open record waits to be closed, or for room in the queue.
pub const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a released stream goes without a progress commitment while bytes are pending.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Smallest segment: a few of the largest frames must fit.
pub const SEGMENT_BYTES_MIN: u64 = 256 * 1024;

/// Where and how the evidence is kept.
#[derive(Clone, Debug)]
pub struct Config {
    /// The audit directory.
    pub dir: PathBuf,
    /// The log's origin: its name in checkpoints, for ever (`gateway.example.com/audit`).
    pub origin: String,
    /// This instance's name in records.
    pub instance: String,
    /// Bytes of content kept of a call, each way. Commitments cover all bytes.
    pub capture_bytes_max: usize,
    /// Bytes of content kept of one principal in one hour; beyond it content is cut, with a mark.
    pub capture_bytes_per_hour: u64,
    /// Bytes of one segment of the log, allocated ahead.
    pub segment_bytes: u64,
    /// Admission stops while fewer bytes are free on the file system.
    pub free_bytes_min: u64,
    /// How often a head is signed, if something is new.
    pub head_every: Duration,
    /// How often refusals before authentication are recorded, as one record of counts.
    pub refusals_every: Duration,
    /// The root key of the content.
    pub root: RootKey,
    /// A file on another volume that remembers the newest head.
    pub head_file: Option<PathBuf>,
}

impl Config {
    /// The defaults for this directory and origin.
    pub fn new(dir: PathBuf, origin: String, instance: String) -> Self {
        Self {
            dir,
            origin,
            instance,
            capture_bytes_max: 1024 * 1024,
            capture_bytes_per_hour: 4 * 1024 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            free_bytes_min: 256 * 1024 * 1024,
            head_every: Duration::from_secs(1),
            refusals_every: Duration::from_secs(60),
            root: RootKey::File,
            head_file: None,
        }
    }
}
