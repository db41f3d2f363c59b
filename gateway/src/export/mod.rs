//! Records that leave the house while the gateway runs: to a collector, a log server, a SIEM.
//!
//! **Owns** the sinks (a file each, one interface), the cursor of each, and what is done when one is away,
//! slow or refuses: a sink is given records in their order and without a gap, each at least once, and its
//! cursor moves only behind what it confirmed. It reads the log's files beside the writer, so that no call
//! ever waits for a sink.
//!
//! **Refuses** to hand out what no signed head covers, and what is sealed: a sink gets what stands in clear
//! in the records, as `callgate audit export` does. What a sink refuses for good is parked on a list by
//! its index, with an alarm; when that list is full, the sink stands still rather than lose more.
//!
//! Called by `app` (the workers), `config` (settings), `console` and `cli` (how sinks stand).

mod board;
mod config;
mod https;
mod otlp;
mod state;
mod syslog;
mod worker;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::clock::Timestamp;
use crate::egress;
use crate::record::Format;

pub use board::{Board, Standing};
pub use config::{Begin, Config, Form, HttpsConfig, OtlpConfig, SinkConfig, SinkTls, SyslogConfig};
pub use config::{SINKS_MAX, Sinks, sinks};
pub use state::{Kept, Parked, confirmed};
pub use worker::{Turn, Worker, workers};

/// Most records of one delivery.
pub const BATCH_RECORDS_MAX: usize = 1000;
/// Most bytes of records of one delivery.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// How long one delivery may take.
pub const DELIVERY_MAX: Duration = Duration::from_secs(30);
/// How often a sink that has everything looks for new records.
pub const EVERY: Duration = Duration::from_secs(1);
/// First pause after a failure; doubles with each, up to [`PAUSE_MAX`].
pub const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause between two tries, also when the receiver asks for more.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Refusals for good that are kept on a sink's list; with so many of them it stands still.
pub const PARKED_MAX: usize = 100;

/// One record, as a line.
#[derive(Clone, Debug)]
struct Line {
    /// Its index in the log.
    index: u64,
    /// When it was written.
    at: Timestamp,
    /// Its kind (`call.end`).
    kind: String,
    /// Whether it tells of something that did not go well.
    adverse: bool,
    /// What is sent; without line ends.
    text: String,
    /// What can be searched for, where the receiver has a place for it.
    words: Vec<(&'static str, serde_json::Value)>,
}

/// Records that go out together.
#[derive(Clone, Debug)]
struct Batch {
    /// The first record that it covers.
    first: u64,
    /// The record behind the last one that it covers.
    next: u64,
    /// When the first one was written.
    oldest: Timestamp,
    /// When the last one was written.
    newest: Timestamp,
    /// Fewer than the records that it covers, where not each of them makes a line.
    lines: Vec<Line>,
}

/// Where the records come from.
#[derive(Clone, Debug)]
struct Origin {
    /// The log's name.
    log: String,
    /// The log's id.
    log_id: String,
    /// The gateway's name.
    instance: String,
}

/// What a receiver did with a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Taken {
    /// It has all of it.
    All,
    /// It has it, and says that it dropped so many records: sending again is not allowed.
    Without {
        /// How many.
        count: u64,
    },
}

/// Why a batch was not taken. Never holds an address or anything that the far side sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Failure {
    /// It may work later, and not before a time that the receiver asked for.
    #[error("{why}")]
    Later {
        /// For the operator.
        why: String,
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
    },
    /// This batch, as it is, will never be taken; a smaller one may be.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// It may work later.
    fn later(why: impl fmt::Display) -> Self {
        Self::Later {
            why: why.to_string(),
            after: None,
        }
    }
}

/// One way out.
trait Sink: Send + Sync + fmt::Debug + 'static {
    /// Its word in messages: `https`, `syslog`, `otlp`.
    fn kind(&self) -> &'static str;

    /// The form that its lines have.
    fn format(&self) -> Format;

    /// Deliver a batch that has at least one line. It may come twice: each record's index tells.
    fn deliver<'a>(
        &'a self,
        origin: &'a Origin,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Taken, Failure>>;

    /// Whether the receiver can be had, without sending it anything.
    fn reach(&self) -> BoxFuture<'_, Result<(), egress::Error>>;
}
