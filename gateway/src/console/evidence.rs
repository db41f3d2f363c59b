//! The audit log as people read it: opened beside the recorder, one reader at a time, each reading on
//! the record before anything is shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tlog::note::VerifierKey;
use tokio::sync::Semaphore;

use super::Parts;
use super::api::{Asker, Problem};
use crate::call::CallId;
use crate::clock::Timestamp;
use crate::disk::RealDisk;
use crate::policy::{PersonAction, PersonResource};
use crate::record::{
    self, CallIndex, Cursor, Event, Filter, Page, Reading, Report, SharedTrail, Standing, Trail,
    VerifyOptions, Who,
};

/// Requests that wait for the log at one time; more are refused.
const READERS_MAX: usize = 32;
/// A list or a call that somebody has open is read again and again: it is recorded once in this time.
const SAME_READING: Duration = Duration::from_secs(600);
/// Readings that are remembered for that.
const READINGS_MAX: usize = 10_000;

/// The audit log.
#[derive(Debug)]
pub(super) struct Evidence {
    trail: SharedTrail,
    readers: Arc<Semaphore>,
    /// One verification at a time: it reads everything.
    verifying: Arc<Semaphore>,
    recorded: Mutex<HashMap<(String, String), Timestamp>>,
}

/// What of a list is wanted.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: usize,
}

impl Evidence {
    pub(super) fn new(trail: SharedTrail) -> Self {
        Self {
            trail,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            verifying: Arc::new(Semaphore::new(1)),
            recorded: Mutex::default(),
        }
    }

    /// Read the log as it is now.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        parts: &Parts,
        look: impl Fn(&mut Trail) -> Result<T, record::Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || {
            Problem::new(
                503,
                "busy",
                "too many people read the audit log now: try again",
            )
        };
        let readers = Arc::clone(&self.readers);
        let place = readers.try_acquire_owned().map_err(|_| busy())?;
        let trail = self.trail.clone();
        let records = parts.pipeline.parts().record.health().records;
        let read = tokio::task::spawn_blocking(move || {
            // Held by the work and not by the request: who hangs up frees nothing.
            let _place = place;
            trail.read(records, look)
        });
        let read = read.await.map_err(|error| Problem::internal(&error))?;
        read.map_err(|error| match error {
            record::Error::UnknownCall(_) => unknown(),
            gone @ (record::Error::PrunedCall { .. } | record::Error::Pruned { .. }) => {
                Problem::new(404, "pruned", gone.to_string())
            }
            record::Error::NotCovered => {
                let text = "no signed head covers the record yet: try again in a second";
                Problem::new(409, "not_covered", text)
            }
            record::Error::Unreadable(_) | record::Error::Erased(..) => {
                let text = "the content cannot be opened: its key was destroyed, or is not here";
                Problem::new(410, "erased", text)
            }
            other => Problem::internal(&other),
        })
    }

    /// A page of calls that this person may read. The one place that lists calls.
    pub(super) async fn list(
        &self,
        parts: &Parts,
        wanted: Wanted,
        may: May,
    ) -> Result<Page, Problem> {
        self.read(parts, move |trail| {
            let may = |function: Option<&str>| may.read(function);
            let mut all = trail.page(&wanted.filter, &may, wanted.cursor, wanted.limit)?;
            while let Some(next) = all.next.filter(|_| all.calls.len() < wanted.limit) {
                let left = wanted.limit - all.calls.len();
                let page = trail.page(&wanted.filter, &may, Some(next), left)?;
                all.calls.extend(page.calls);
                all.next = page.next;
            }
            Ok(all)
        })
        .await
    }

    /// What opens an index of the log for one long reading, beside those who list: it reads files.
    pub(super) fn index(&self) -> impl FnOnce() -> Result<CallIndex, record::Error> + Send + use<> {
        let dir = self.trail.dir().to_owned();
        move || CallIndex::open(&dir, Arc::new(RealDisk))
    }

    /// How these witnesses stand.
    pub(super) async fn witnesses(
        &self,
        keys: Vec<VerifierKey>,
        (signed, now): (u64, Timestamp),
    ) -> Result<Vec<Standing>, Problem> {
        let dir = self.trail.dir().to_owned();
        let read = move || Standing::read(&dir, &RealDisk, &keys, (signed, now));
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| Problem::internal(&error))
    }

    /// Check the whole log.
    pub(super) async fn verify(&self) -> Result<Report, Problem> {
        let verifying = Arc::clone(&self.verifying);
        let one = verifying.try_acquire_owned().map_err(|_| {
            let text = "the log is being verified already: wait for that, then try again";
            Problem::new(409, "conflict", text)
        })?;
        let dir = self.trail.dir().to_owned();
        let check = move || {
            let _one = one;
            Trail::check(&dir, &RealDisk, &VerifyOptions::default())
        };
        let checked = tokio::task::spawn_blocking(check).await;
        let checked = checked.map_err(|error| Problem::internal(&error))?;
        checked.map_err(|error| Problem::internal(&error))
    }

    /// Put on record who is about to read what. What is open on somebody's screen is recorded once in a
    /// while; a replay and an export each time.
    pub(super) async fn on_record(
        &self,
        parts: &Parts,
        asker: &Asker,
        what: Reading,
        call: Option<CallId>,
        content: serde_json::Value,
    ) -> Result<(), Problem> {
        let now = parts.pipeline.parts().clock.now();
        let call_text = call.map_or_else(String::new, |call| call.to_string());
        let key = (
            asker.who.key().to_string(),
            format!("{} {call_text} {content}", what.as_str()),
        );
        // What is handed out goes on record each time, like a replay.
        let each = matches!(what, Reading::Replay | Reading::Export);
        if !each && self.was_recorded(&key, now) {
            return Ok(());
        }
        let who = Who::from(asker.who.as_ref());
        let event = Event::AuditRead {
            who,
            what,
            call,
            content,
        };
        let noted = parts.pipeline.parts().record.note(event).await;
        noted.map_err(|error| Problem::new(503, "audit_unavailable", error.to_string()))?;
        self.remember(key, now);
        Ok(())
    }

    fn was_recorded(&self, key: &(String, String), now: Timestamp) -> bool {
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recorded.get(key);
        at.is_some_and(|at| now >= *at && now.since(*at) < SAME_READING)
    }

    fn remember(&self, key: (String, String), now: Timestamp) {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() >= READINGS_MAX {
            recorded.retain(|_, at| now.since(*at) < SAME_READING);
        }
        // With more readers than that, everything is recorded each time.
        if recorded.len() < READINGS_MAX {
            recorded.insert(key, now);
        }
    }
}

/// When the recorder signed the head of this size: the head itself does not say.
pub(super) fn signed_at(parts: &Parts, size: u64) -> Option<String> {
    let head = parts.pipeline.parts().record.head();
    let head = head.filter(|head| head.size == size && head.at.nanos() > 0);
    head.map(|head| head.at.to_string())
}

fn unknown() -> Problem {
    Problem::new(404, "not_found", "no such call that you may see")
}

/// Whose calls a person may read, worked out before the log is opened. Each function is judged by
/// itself: a right on the gateway covers it only as far as no `forbid` takes it away there.
#[derive(Clone, Debug)]
pub(super) struct May {
    gateway: bool,
    connections: BTreeMap<String, bool>,
    functions: BTreeMap<String, bool>,
}

impl May {
    /// What `action` lets this person see.
    pub(super) fn of(parts: &Parts, asker: &Asker, action: PersonAction) -> Self {
        let snapshot = parts.pipeline.snapshot();
        let allowed = |resource| asker.is_allowed(parts, action, resource);
        let (mut connections, mut functions) = (BTreeMap::new(), BTreeMap::new());
        for (name, connection) in &snapshot.connections {
            let may = allowed(PersonResource::Connection(name));
            connections.insert(name.to_string(), may);
            for function in connection.catalogue.functions() {
                let may = allowed(PersonResource::Function(&function.id));
                functions.insert(function.id.to_string(), may);
            }
        }
        Self {
            gateway: allowed(PersonResource::Gateway),
            connections,
            functions,
        }
    }

    /// Whether anything can be seen at all.
    pub(super) fn anything(&self) -> bool {
        self.gateway || self.functions.values().any(|may| *may)
    }

    /// Whether calls of this function can. One that left the config is judged by its connection; what is
    /// in no connection is seen with the right on the gateway only.
    pub(super) fn read(&self, function: Option<&str>) -> bool {
        let Some(function) = function else {
            return self.gateway;
        };
        let connection = function.split_once('/').map_or(function, |(name, _)| name);
        let known = self.functions.get(function);
        *known
            .or_else(|| self.connections.get(connection))
            .unwrap_or(&self.gateway)
    }
}
