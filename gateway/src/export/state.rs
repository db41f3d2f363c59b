//! What is kept of a sink over restarts, in `export/<name>.json` beside the log: its cursor, what it
//! refused, and how it goes. Replaced as a whole, so that a crash leaves the old state or the new one.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PARKED_MAX;
use crate::disk::{Access, Disk, read_all};

/// Folder of the states, in the log's own.
const FOLDER: &str = "export";
/// Largest state, in bytes.
const STATE_BYTES_MAX: u64 = 256 * 1024;
/// Longest reason that is kept, in bytes.
const WHY_BYTES_MAX: usize = 300;

/// Records that a sink refused for good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parked {
    /// The first record's index.
    pub first: u64,
    /// The last one's.
    pub last: u64,
    /// How many of them.
    pub count: u64,
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// What the receiver said.
    pub why: String,
    /// The folder of the log that they are of, when it is one that was succeeded (`audit.1`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// What is kept of one sink.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The log that the indexes are of, by its id.
    pub log: String,
    /// The first record that is not confirmed.
    pub next: u64,
    /// The oldest record that a line of a later one may still be made of.
    pub look_back: u64,
    /// When it last confirmed something, in seconds since 1970.
    pub confirmed_s: Option<u64>,
    /// Why it does not take what it is given; none while it does.
    pub trouble: Option<String>,
    /// What it refused for good.
    pub parked: Vec<Parked>,
}

impl Kept {
    /// What was kept of a sink of the log in `dir`; `None` when nothing was.
    ///
    /// # Errors
    /// When there is something and it cannot be read.
    pub fn read(disk: &dyn Disk, dir: &Path, sink: &str) -> io::Result<Option<Self>> {
        let path = path(dir, sink);
        if disk.identity(&path)?.is_none() {
            return Ok(None);
        }
        let file = disk.open(&path, Access::Read)?;
        let bytes = read_all(file.as_ref(), STATE_BYTES_MAX)?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(io::Error::other)
    }

    /// Keep it; stable when this returns.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path, sink: &str) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        disk.create_dir(&dir.join(FOLDER))?;
        disk.write_atomic(&path(dir, sink), text.as_bytes())
    }

    /// How many records it refused for good.
    pub fn parked_records(&self) -> u64 {
        self.parked.iter().map(|parked| parked.count).sum()
    }

    /// Put records on the list.
    pub(super) fn park(&mut self, (first, last): (u64, u64), count: u64, at_s: u64, why: &str) {
        self.parked.push(Parked {
            first,
            last,
            count,
            at_s,
            why: shortened(why),
            of: None,
        });
    }

    /// The state of a sink of a log that succeeds another, in which it had come so far: it begins with the
    /// first record, and what it never got of the other, of so many records, is on its list.
    pub(super) fn after(self, records: u64, at_s: u64, (folder, log): (&str, &str)) -> Self {
        let mut old = self;
        let first = old.next;
        // What was signed counts: nothing else would have been sent.
        if let Some(last) = records.checked_sub(1).filter(|last| *last >= first) {
            // A list that is full ends with this instead: how many there were stands with the old log.
            old.parked.truncate(PARKED_MAX - 1);
            let why = "the log was succeeded before the sink had taken them";
            old.park((first, last), records - first, at_s, why);
        }
        for parked in &mut old.parked {
            parked.of.get_or_insert_with(|| folder.to_owned());
        }
        Self {
            log: log.to_owned(),
            parked: old.parked,
            ..Self::default()
        }
    }

    /// Note why it does not take anything, or that it does again; whether that is news.
    pub(super) fn tell(&mut self, trouble: Option<&str>) -> bool {
        let news = self.trouble.is_some() != trouble.is_some();
        self.trouble = trouble.map(shortened);
        news
    }
}

fn path(dir: &Path, sink: &str) -> PathBuf {
    dir.join(FOLDER).join(format!("{sink}.json"))
}

fn shortened(text: &str) -> String {
    text.chars().take(WHY_BYTES_MAX / 4).collect()
}

/// The first record that not all of these sinks have confirmed, of the log in `dir`, or that a line which one of
/// them does not have yet is made of: what lies before it may go. A sink of which nothing is kept has confirmed
/// nothing.
pub fn confirmed<'s>(
    dir: &Path,
    disk: &dyn Disk,
    sinks: impl IntoIterator<Item = &'s str>,
) -> Option<u64> {
    let each = sinks.into_iter().map(|sink| {
        let state = Kept::read(disk, dir, sink).ok().flatten();
        state.map_or(0, |state| state.next.min(state.look_back))
    });
    each.min()
}
