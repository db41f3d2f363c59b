//! How the sinks stand, for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a sink stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its name.
    pub sink: String,
    /// What it is: `https`, `syslog`, `otlp`.
    pub kind: &'static str,
    /// The first record that it has not confirmed.
    pub next: u64,
    /// Signed records that it has not confirmed.
    pub behind: u64,
    /// How old the oldest of them is.
    pub age: Duration,
    /// Records that it refused for good.
    pub parked: u64,
    /// Deliveries that failed since the start.
    pub failures: u64,
    /// Why the last delivery failed; `None` when it did not.
    pub trouble: Option<String>,
    /// Whether it is further behind than its limit allows, or stands still.
    pub alarm: bool,
}

/// How all sinks stand. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Standing>>>);

impl Board {
    /// How each of them stands, by name.
    pub fn read(&self) -> Vec<Standing> {
        let board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.values().cloned().collect()
    }

    pub(super) fn put(&self, standing: Standing) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        board.insert(standing.sink.clone(), standing);
    }
}
