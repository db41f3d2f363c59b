//! One sink at work: read, deliver, move the cursor; try again, halve or park what is not taken.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::config::Opened;
use super::state::Kept;
use super::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Batch, Begin, Board, EVERY, Failure, Line, Origin,
    PARKED_MAX, PAUSE_FIRST, PAUSE_MAX, Sinks, Standing, Taken,
};
use crate::clock::{SharedClock, Timestamp};
use crate::disk::Disk;
use crate::record::{self, Fed, Feed, FeedLimits, Formatter, Recorder};

/// What of a record can be searched for, where a receiver has a place for it.
const WORDS: [&str; 10] = [
    "call",
    "function",
    "connection",
    "effect",
    "outcome",
    "reason",
    "status",
    "subject_ref",
    "issuer",
    "begin",
];

/// What the workers have in common.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: SharedClock,
    pub(super) board: Board,
}

/// Hands records to one sink.
#[derive(Debug)]
pub struct Worker {
    opened: Opened,
    place: Place,
    origin: Origin,
    feed: Arc<Mutex<Feed>>,
    formatter: Formatter,
    /// The next record to read.
    read: u64,
    /// What was read and not confirmed; more than one where a batch was halved.
    waiting: VecDeque<Batch>,
    /// The oldest record that lines of what waits are made of.
    waiting_back: u64,
    /// When the last confirmed record was written.
    reached: Option<Timestamp>,
    state: Kept,
    /// The state in memory is newer than the one on the disk.
    unsaved: bool,
    failures: u64,
    attempts: u32,
    alarm: bool,
}

/// How a turn ended.
#[derive(Clone, Debug)]
pub struct Turn {
    /// How long to wait before the next one.
    pub wait: Duration,
    /// How the sink stands.
    pub standing: Standing,
}

/// What a step led to.
enum Step {
    /// There is more to do.
    More,
    /// The sink has everything.
    Done,
}

/// A worker for each sink of the log in `dir`; `disk` is where their cursors are kept.
///
/// # Errors
/// When the log's identity cannot be read.
pub fn workers(
    sinks: Sinks,
    recorder: &Recorder,
    (dir, instance): (&Path, &str),
    disk: &Arc<dyn Disk>,
    clock: &SharedClock,
    board: &Board,
) -> Result<Vec<Worker>, record::Error> {
    let place = Place {
        dir: dir.to_owned(),
        disk: Arc::clone(disk),
        clock: Arc::clone(clock),
        board: board.clone(),
    };
    let each = sinks.0.into_iter();
    each.map(|opened| {
        let feed = Feed::new(recorder.clone(), dir)?;
        Ok(Worker::new(opened, feed, instance, place.clone()))
    })
    .collect()
}

impl Worker {
    pub(super) fn new(opened: Opened, feed: Feed, instance: &str, place: Place) -> Self {
        let origin = Origin {
            log: feed.origin().to_owned(),
            log_id: feed.log_id(),
            instance: instance.to_owned(),
        };
        let (state, fresh) = begin(&opened, &feed, &origin, &place);
        // A sink that takes nothing from the start on is late since then.
        let (confirmed, place_now) = (state.confirmed_s, place.clock.now());
        let mut worker = Self {
            formatter: Formatter::new(opened.sink.format(), &origin.log),
            opened,
            place,
            origin,
            feed: Arc::new(Mutex::new(feed)),
            read: state.look_back.min(state.next),
            waiting: VecDeque::new(),
            waiting_back: state.look_back,
            reached: Some(confirmed.map_or_else(|| place_now, Timestamp::from_secs)),
            state,
            unsaved: false,
            failures: 0,
            attempts: 0,
            alarm: false,
        };
        if fresh {
            // Kept before anything else happens: a sink that begins with the newest begins there once.
            worker.keep_now();
        }
        worker.place.board.put(worker.standing());
        worker
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.opened.name
    }

    /// Hand out one batch, if there is one.
    pub async fn turn(&mut self) -> Turn {
        let wait = match self.step().await {
            Ok(step) => {
                self.attempts = 0;
                if self.state.tell(None) {
                    tracing::info!(sink = self.name(), "the sink takes records again");
                    self.keep().await;
                }
                match step {
                    Step::More => Duration::ZERO,
                    Step::Done => EVERY,
                }
            }
            Err(failure) => self.put_off(&failure).await,
        };
        let standing = self.standing();
        if standing.alarm && !self.alarm {
            tracing::error!(
                sink = self.name(),
                records = standing.behind,
                seconds = standing.age.as_secs(),
                "a sink of the audit log is behind; calls go on, and nothing is lost while the log is kept"
            );
        }
        self.alarm = standing.alarm;
        self.place.board.put(standing.clone());
        Turn { wait, standing }
    }

    async fn step(&mut self) -> Result<Step, Failure> {
        if self.unsaved && !self.keep().await {
            return Err(Failure::later("its cursor could not be stored"));
        }
        if self.waiting.is_empty() {
            let Some(batch) = self.fetch().await? else {
                return Ok(Step::Done);
            };
            self.waiting.push_back(batch);
        }
        let Some(batch) = self.waiting.front() else {
            return Ok(Step::Done);
        };
        let taken = if batch.lines.is_empty() {
            Ok(Taken::All)
        } else {
            self.opened.sink.deliver(&self.origin, batch).await
        };
        match taken {
            Ok(Taken::All) => self.confirmed().await,
            Ok(Taken::Without { count }) => {
                let why = "the receiver says that it dropped some of these";
                self.room(why)?;
                self.park(count, why);
                self.confirmed().await;
            }
            Err(Failure::Refused(why)) => self.refused(&why).await?,
            Err(later) => return Err(later),
        }
        Ok(Step::More)
    }

    /// The first of what waits has arrived.
    async fn confirmed(&mut self) {
        if let Some(batch) = self.waiting.pop_front() {
            self.state.next = self.state.next.max(batch.next);
            self.reached = Some(batch.newest);
        }
        let back = if self.waiting.is_empty() {
            self.formatter.oldest_open()
        } else {
            Some(self.waiting_back)
        };
        self.state.look_back = back.map_or(self.state.next, |back| back.min(self.state.next));
        self.state.confirmed_s = Some(self.place.clock.now().secs());
        self.keep().await;
    }

    /// The first of what waits will never be taken as it is: in halves perhaps, and alone on the list.
    async fn refused(&mut self, why: &str) -> Result<(), Failure> {
        let Some(batch) = self.waiting.pop_front() else {
            return Ok(());
        };
        if let Some((first, second)) = halves(&batch) {
            self.waiting.push_front(second);
            self.waiting.push_front(first);
            return Ok(());
        }
        self.waiting.push_front(batch);
        self.room(why)?;
        self.park(1, why);
        self.confirmed().await;
        Ok(())
    }

    /// Whether something more can be listed; if not, it is not left out but tried again.
    fn room(&self, why: &str) -> Result<(), Failure> {
        if self.state.parked.len() < PARKED_MAX {
            return Ok(());
        }
        Err(Failure::Later {
            why: format!("its list of refused records is full, nothing more is sent: {why}"),
            after: None,
        })
    }

    /// Put the first of what waits on the list.
    fn park(&mut self, count: u64, why: &str) {
        let Some(batch) = self.waiting.front() else {
            return;
        };
        let ends = batch.lines.first().zip(batch.lines.last());
        let (first, last) = ends.map_or((batch.first, batch.first), |(a, b)| (a.index, b.index));
        self.list((first, last), count, why);
    }

    fn list(&mut self, (first, last): (u64, u64), count: u64, why: &str) {
        tracing::error!(
            sink = self.name(),
            first,
            last,
            count,
            "records are not exported, and stand on the sink's list: {why}"
        );
        let full = self.state.parked.len() >= PARKED_MAX;
        match self.state.parked.last_mut() {
            // Nothing is left out of a list that is full: its last entry tells of more.
            Some(parked) if full => {
                parked.last = last;
                parked.count += count;
            }
            Some(_) | None => {
                let at_s = self.place.clock.now().secs();
                self.state.park((first, last), count, at_s, why);
            }
        }
    }

    /// The next records, as lines.
    async fn fetch(&mut self) -> Result<Option<Batch>, Failure> {
        let (from, feed) = (self.read, Arc::clone(&self.feed));
        let limits = FeedLimits {
            records: BATCH_RECORDS_MAX,
            bytes: BATCH_BYTES_MAX,
        };
        let reading = tokio::task::spawn_blocking(move || {
            let mut feed = feed.lock().unwrap_or_else(PoisonError::into_inner);
            match feed.read(from, limits) {
                Err(record::Error::NoRecord(_)) => feed.oldest().map(Err),
                other => other.map(Ok),
            }
        });
        let failed = |error: &dyn std::fmt::Display| {
            Failure::later(format!("the log could not be read: {error}"))
        };
        let read = reading.await.map_err(|error| failed(&error))?;
        match read.map_err(|error| failed(&error))? {
            Ok(records) => Ok(self.lines(&records)),
            Err(oldest) => {
                self.gone(oldest).await;
                Ok(None)
            }
        }
    }

    /// The records before this one were taken away before the sink had them.
    async fn gone(&mut self, oldest: u64) {
        let next = self.state.next;
        if next < oldest {
            let why = "they were removed from the log before the sink had taken them";
            self.list((next, oldest - 1), oldest - next, why);
            self.state.next = oldest;
        }
        self.state.look_back = oldest;
        self.read = oldest;
        self.keep().await;
    }

    fn lines(&mut self, records: &[Fed]) -> Option<Batch> {
        let (first, last) = records.first().zip(records.last())?;
        let back = self.formatter.oldest_open();
        self.waiting_back = back.map_or(first.index, |back| back.min(first.index));
        let next = last.index + 1;
        let fresh = self.state.next;
        let mut lines = Vec::new();
        for record in records {
            // Earlier ones are only looked at: a line of a later one may be made of them.
            let text = self.formatter.line(&record.leaf);
            if let Some(text) = text.filter(|_| record.index >= fresh) {
                lines.push(line(record, text));
            }
        }
        self.read = next;
        let oldest = records.iter().find(|record| record.index >= fresh);
        let at = |record: &Fed| record.at().unwrap_or_else(|| self.now());
        Some(Batch {
            first: first.index.max(fresh),
            next: next.max(fresh),
            oldest: at(oldest.unwrap_or(last)),
            newest: at(last),
            lines,
        })
    }

    fn now(&self) -> Timestamp {
        self.place.clock.now()
    }

    /// Note a failure; how long to wait.
    async fn put_off(&mut self, failure: &Failure) -> Duration {
        self.failures += 1;
        self.attempts = self.attempts.saturating_add(1);
        let why = failure.to_string();
        if self.state.tell(Some(&why)) {
            tracing::error!(
                sink = self.name(),
                "a sink of the audit log takes nothing; calls go on, and it is tried again: {why}"
            );
            self.keep().await;
        }
        let asked = match failure {
            Failure::Later { after, .. } => after.unwrap_or_default(),
            Failure::Refused(_) => Duration::ZERO,
        };
        pause(self.attempts).max(asked).min(PAUSE_MAX)
    }

    /// Keep the state, away from the threads that serve calls: a sync may take long, or hang. Whether that
    /// worked.
    async fn keep(&mut self) -> bool {
        let (state, place) = (self.state.clone(), self.place.clone());
        let name = self.opened.name.clone();
        let writing = tokio::task::spawn_blocking(move || {
            state.write(place.disk.as_ref(), &place.dir, &name)
        });
        let kept = writing
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        self.kept(kept)
    }

    /// The same at the start, when nothing is served yet.
    fn keep_now(&mut self) -> bool {
        let place = &self.place;
        let kept = self
            .state
            .write(place.disk.as_ref(), &place.dir, &self.opened.name);
        self.kept(kept)
    }

    fn kept(&mut self, kept: std::io::Result<()>) -> bool {
        self.unsaved = kept.is_err();
        if let Err(error) = kept {
            tracing::error!(sink = self.name(), %error, "a sink's cursor could not be stored: it gets nothing new until it can be");
        }
        !self.unsaved
    }

    pub(super) fn standing(&self) -> Standing {
        let feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        let behind = feed.signed().saturating_sub(self.state.next);
        let waiting = self.waiting.front().map(|batch| batch.oldest);
        let oldest = waiting.or(self.reached).filter(|_| behind > 0);
        let age = oldest.map_or(Duration::ZERO, |oldest| self.now().since(oldest));
        Standing {
            sink: self.opened.name.clone(),
            kind: self.opened.sink.kind(),
            next: self.state.next,
            behind,
            age,
            parked: self.state.parked_records(),
            failures: self.failures,
            trouble: self.state.trouble.clone(),
            alarm: age > self.opened.alarm_after,
        }
    }
}

/// Where a sink goes on, and whether it begins.
fn begin(opened: &Opened, feed: &Feed, origin: &Origin, place: &Place) -> (Kept, bool) {
    let name = opened.name.as_str();
    let fresh = |next| Kept {
        log: origin.log_id.clone(),
        next,
        look_back: next,
        ..Kept::default()
    };
    match Kept::read(place.disk.as_ref(), &place.dir, name) {
        Ok(Some(state)) if state.log == origin.log_id => (state, false),
        Ok(Some(_)) => {
            tracing::warn!(
                sink = name,
                "the sink's cursor is of another log: it begins with the first record"
            );
            (fresh(0), true)
        }
        Ok(None) => {
            let begun = || match opened.begin {
                Begin::Oldest => fresh(0),
                Begin::Newest => fresh(feed.signed()),
            };
            (succeeding(name, origin, place).unwrap_or_else(begun), true)
        }
        Err(error) => {
            tracing::error!(sink = name, %error, "the sink's cursor cannot be read: it begins with the first record, again");
            (fresh(0), true)
        }
    }
}

/// Where a sink goes on that had a cursor in the log before this one.
fn succeeding(name: &str, origin: &Origin, place: &Place) -> Option<Kept> {
    let disk = place.disk.as_ref();
    let found = record::predecessor(&place.dir, disk).unwrap_or_else(|error| {
        tracing::error!(sink = name, %error, "what the log succeeds cannot be read");
        None
    });
    let (before, dir) = found?;
    let old = Kept::read(disk, &dir, name).unwrap_or_else(|error| {
        tracing::error!(sink = name, %error, "the sink's cursor in the log before this one cannot be read");
        None
    })?;
    let (next, records) = (old.next, before.records);
    if next < records {
        tracing::error!(
            sink = name,
            first = next,
            last = records - 1,
            "records of the log before this one were not exported, and stand on the sink's list"
        );
    }
    let folder = dir.file_name().unwrap_or_default().to_string_lossy();
    let at_s = place.clock.now().secs();
    Some(old.after(records, at_s, (&folder, &origin.log_id)))
}

fn line(record: &Fed, text: String) -> Line {
    let kind = record.word("kind").unwrap_or_default();
    let outcome = record.word("outcome");
    let words = WORDS.iter().filter_map(|name| {
        let value = record.fields.get(*name)?;
        let simple = matches!(value, Value::String(_) | Value::Number(_));
        simple.then(|| (*name, value.clone()))
    });
    Line {
        index: record.index,
        at: record.at().unwrap_or_else(|| Timestamp::from_nanos(0)),
        adverse: matches!(kind, "call.deny" | "console.deny")
            || outcome.is_some_and(|outcome| outcome != "ok"),
        words: words.collect(),
        kind: kind.to_owned(),
        text,
    }
}

/// The two halves of a batch of more than one line.
fn halves(batch: &Batch) -> Option<(Batch, Batch)> {
    if batch.lines.len() < 2 {
        return None;
    }
    let (first, second) = batch.lines.split_at(batch.lines.len() / 2);
    let middle = second.first()?;
    Some((
        Batch {
            next: middle.index,
            newest: middle.at,
            lines: first.to_vec(),
            ..*batch
        },
        Batch {
            first: middle.index,
            oldest: middle.at,
            lines: second.to_vec(),
            ..*batch
        },
    ))
}

fn pause(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX)
}
