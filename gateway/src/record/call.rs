//! One call's open record: what goes up and what is released are counted, committed to and captured.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::sync::oneshot;

use super::entry::{Closed, End, Outcome};
use super::job::{EndJob, Flow, Job, PieceJob};
use super::recorder::Recorder;
use super::seal::{self, ContentKey, Field, PIECE_BYTES, Part};
use super::times::Times;
use super::{CLOSE_WAIT_MAX, PROGRESS_EVERY, Unavailable, Why};
use crate::call::{CallId, Durability};

/// What goes one way.
struct Stream {
    part: Part,
    commitment: digest::Context,
    bytes: u64,
    captured: usize,
    /// Captured and not handed on yet; shorter than a piece between calls.
    pending: Vec<u8>,
    piece: u32,
    /// Bytes at the last progress commitment, and when it was.
    told: u64,
    told_at: Instant,
    /// When what is kept of an answer was released.
    times: Option<Times>,
}

impl Stream {
    fn new(key: &ContentKey, part: Part, field: Field) -> Self {
        Self {
            part,
            commitment: key.commitment(field),
            bytes: 0,
            captured: 0,
            pending: Vec::new(),
            piece: 0,
            told: 0,
            told_at: Instant::now(),
            times: (part == Part::Released).then(Times::new),
        }
    }

    fn push(&mut self, chunk: &[u8], capture_bytes_max: usize) {
        self.commitment.update(chunk);
        self.bytes = self.bytes.saturating_add(chunk.len() as u64);
        let room = capture_bytes_max.saturating_sub(self.captured);
        let kept = chunk.get(..room.min(chunk.len())).unwrap_or_default();
        self.pending.extend_from_slice(kept);
        self.captured += kept.len();
        if let Some(times) = &mut self.times {
            times.push(kept.len());
        }
    }

    /// A whole piece, if one is pending.
    fn whole_piece(&mut self, key: &Arc<ContentKey>) -> Option<PieceJob> {
        if self.pending.len() < PIECE_BYTES {
            return None;
        }
        let rest = self.pending.split_off(PIECE_BYTES);
        let bytes = std::mem::replace(&mut self.pending, rest);
        Some(self.piece(key, bytes))
    }

    /// A progress commitment with what is pending, when it is time for one.
    fn progress(&mut self, key: &Arc<ContentKey>) -> Option<PieceJob> {
        let untold = self.bytes - self.told;
        let late = untold > 0 && self.told_at.elapsed() >= PROGRESS_EVERY;
        if untold < PIECE_BYTES as u64 && !late {
            return None;
        }
        let bytes = std::mem::take(&mut self.pending);
        Some(self.piece(key, bytes))
    }

    fn piece(&mut self, key: &Arc<ContentKey>, bytes: Vec<u8>) -> PieceJob {
        let piece = self.piece;
        if !bytes.is_empty() {
            self.piece += 1;
        }
        // A piece that leaves some pending would commit to bytes that are not on their way yet.
        let progress = self.pending.is_empty().then(|| {
            self.told = self.bytes;
            self.told_at = Instant::now();
            (self.bytes, seal::finish(self.commitment.clone()))
        });
        PieceJob {
            key: Arc::clone(key),
            part: self.part,
            piece,
            bytes,
            progress,
            times: self.times.as_mut().and_then(Times::piece),
            room: None,
        }
    }

    fn flow(&mut self) -> Flow {
        Flow {
            bytes: self.bytes,
            commitment: seal::finish(self.commitment.clone()),
            tail: std::mem::take(&mut self.pending),
            piece: self.piece,
            times: self.times.as_mut().and_then(Times::last),
        }
    }
}

/// What is shared about one open call: its record, the tap, and whoever must close it after a panic.
pub(super) struct CallState {
    pub(super) call: CallId,
    pub(super) key: Arc<ContentKey>,
    pub(super) durability: Durability,
    capture_bytes_max: usize,
    streams_up: bool,
    request: Mutex<Stream>,
    released: Mutex<Stream>,
}

impl std::fmt::Debug for CallState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallState")
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CallState {
    pub(super) fn new(
        call: CallId,
        key: Arc<ContentKey>,
        durability: Durability,
        capture_bytes_max: usize,
        streams_up: bool,
    ) -> Self {
        let request = Stream::new(&key, Part::Request, Field::RequestBody);
        let released = Stream::new(&key, Part::Released, Field::ReleasedBody);
        Self {
            call,
            key,
            durability,
            capture_bytes_max,
            streams_up,
            request: Mutex::new(request),
            released: Mutex::new(released),
        }
    }

    /// Progress of both ways that is due; asked every second, so that a quiet stream is told of too.
    pub(super) fn due(&self) -> Vec<PieceJob> {
        let ways = [&self.request, &self.released];
        ways.iter()
            .filter_map(|way| lock(way).progress(&self.key))
            .collect()
    }

    /// The job that ends this call's record.
    pub(super) fn end_job(
        &self,
        end: End,
        why: Option<&'static str>,
        ack: Option<oneshot::Sender<u64>>,
    ) -> EndJob {
        EndJob {
            key: Arc::clone(&self.key),
            end,
            request: self.streams_up.then(|| lock(&self.request).flow()),
            released: lock(&self.released).flow(),
            why,
            ack,
        }
    }
}

/// All calls that have begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<HashMap<CallId, Arc<CallState>>>);

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Arc<CallState>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when the call is there already.
    pub(super) fn insert(&self, state: &Arc<CallState>) -> bool {
        let mut calls = self.lock();
        if calls.contains_key(&state.call) {
            return false;
        }
        calls.insert(state.call, Arc::clone(state));
        true
    }

    /// Take the call out; who gets it, and nobody else, ends its record.
    pub(super) fn take(&self, call: CallId) -> Option<Arc<CallState>> {
        self.lock().remove(&call)
    }

    pub(super) fn has(&self, call: CallId) -> bool {
        self.lock().contains_key(&call)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn all(&self) -> Vec<Arc<CallState>> {
        self.lock().values().cloned().collect()
    }
}

/// A call's record between its begin and its end. It must be closed; a call whose task panicked is
/// closed by [`Recorder::abandon`].
#[derive(Debug)]
#[must_use = "an open record must be closed"]
pub struct OpenRecord {
    recorder: Recorder,
    state: Arc<CallState>,
    index: Option<u64>,
}

impl OpenRecord {
    pub(super) const fn new(recorder: Recorder, state: Arc<CallState>, index: Option<u64>) -> Self {
        Self {
            recorder,
            state,
            index,
        }
    }

    /// The call.
    pub fn call(&self) -> CallId {
        self.state.call
    }

    /// Index of the begin record; `None` when it was not waited for.
    pub const fn index(&self) -> Option<u64> {
        self.index
    }

    /// The value of the `Callgate-Receipt` header: a Dictionary (RFC 9651) with the begin record's
    /// `index`, and `size`, `root` and `sig` of the newest signed head. Whoever keeps it can hold the
    /// log to it later.
    pub fn receipt(&self) -> String {
        let mut out = String::with_capacity(224);
        let separate = |out: &mut String| {
            if !out.is_empty() {
                out.push_str(", ");
            }
        };
        // Writing to a string does not fail.
        if let Some(index) = self.index {
            let _ = write!(out, "index={index}");
        }
        if let Some(head) = self.recorder.head() {
            separate(&mut out);
            let root = BASE64.encode(head.root.as_bytes());
            let _ = write!(
                out,
                "size={}, root=:{root}:, sig=:{}:",
                head.size, head.signature
            );
        }
        out
    }

    /// Where the request's body is told of while it streams up.
    pub fn request_tap(&self) -> RequestTap {
        RequestTap {
            recorder: self.recorder.clone(),
            state: Arc::clone(&self.state),
        }
    }

    /// These bytes are released to the transport.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no room for them within [`CLOSE_WAIT_MAX`]: release nothing more.
    pub async fn released(&mut self, chunk: &[u8]) -> Result<(), Unavailable> {
        // Large chunks in parts, so that what is pending stays small.
        for part in chunk.chunks(PIECE_BYTES) {
            let jobs = {
                let mut stream = lock(&self.state.released);
                stream.push(part, self.state.capture_bytes_max);
                let whole = stream.whole_piece(&self.state.key);
                [whole, stream.progress(&self.state.key)]
            };
            for job in jobs.into_iter().flatten() {
                self.recorder.send_piece(job).await?;
            }
        }
        Ok(())
    }

    /// End the record.
    ///
    /// # Errors
    /// [`Unavailable`] when the end record is not known to be on stable storage: the end of the answer
    /// must not be released. The record is written all the same as soon as that is possible.
    pub async fn close(self, end: End) -> Result<Closed, Unavailable> {
        let released_bytes = lock(&self.state.released).bytes;
        let wait = match self.state.durability {
            Durability::Both => Wait::Synced,
            Durability::Begin | Durability::Async => Wait::Queued,
        };
        let index = self.recorder.end(&self.state, end, None, wait).await?;
        if wait == Wait::Synced {
            // A sync of a file that was taken away succeeds, and nobody will find what it holds.
            self.recorder.inner.shared.lasts()?;
        }
        Ok(Closed {
            index,
            released_bytes,
        })
    }
}

/// What the one who ends a record waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wait {
    Synced,
    Queued,
}

impl Recorder {
    async fn send_piece(&self, mut job: PieceJob) -> Result<(), Unavailable> {
        let bytes = u32::try_from(job.bytes.len()).unwrap_or(u32::MAX);
        let queued = async {
            let room = Arc::clone(&self.inner.room).acquire_many_owned(bytes).await;
            job.room = Some(room.map_err(|_| Unavailable::new(Why::Closed))?);
            let slot = self.inner.jobs.reserve().await;
            let slot = slot.map_err(|_| Unavailable::new(Why::Closed))?;
            slot.send(Job::Piece(Box::new(job)));
            Ok(())
        };
        let waited = tokio::time::timeout(CLOSE_WAIT_MAX, queued).await;
        waited.unwrap_or(Err(Unavailable::new(Why::Queue)))
    }

    /// End a call's record once: `Ok(None)` also when somebody else has.
    pub(super) async fn end(
        &self,
        state: &CallState,
        end: End,
        why: Option<&'static str>,
        wait: Wait,
    ) -> Result<Option<u64>, Unavailable> {
        let ended = async {
            let slot = self.inner.jobs.reserve().await;
            let slot = slot.map_err(|_| Unavailable::new(Why::Closed))?;
            let (ack, acked) = match wait {
                Wait::Synced => {
                    let (ack, acked) = oneshot::channel();
                    (Some(ack), Some(acked))
                }
                Wait::Queued => (None, None),
            };
            // Taken only when nothing can come between it and the queue: whoever is cut off before
            // leaves the call to `abandon`.
            if self.inner.calls.take(state.call).is_none() {
                return Ok(None);
            }
            slot.send(Job::End(Box::new(state.end_job(end, why, ack))));
            match acked {
                Some(acked) => acked
                    .await
                    .map(Some)
                    .map_err(|_| Unavailable::new(Why::Closed)),
                None => Ok(None),
            }
        };
        let waited = tokio::time::timeout(CLOSE_WAIT_MAX, ended).await;
        waited.unwrap_or(Err(Unavailable::new(Why::Slow)))
    }

    /// Close the record of a call whose task is gone, as indeterminate; nothing happens when it is
    /// closed already.
    pub async fn abandon(&self, call: CallId, why: &'static str) {
        let Some(state) = self.inner.calls.find(call) else {
            return;
        };
        let end = End::new(Outcome::Indeterminate);
        if let Err(error) = self.end(&state, end, Some(why), Wait::Queued).await {
            tracing::error!(call.id = %call, error = %error, "cannot close an abandoned record now");
        }
    }
}

impl Registry {
    fn find(&self, call: CallId) -> Option<Arc<CallState>> {
        self.lock().get(&call).cloned()
    }
}

/// Told of the request's body while it streams up.
#[derive(Clone, Debug)]
pub struct RequestTap {
    recorder: Recorder,
    state: Arc<CallState>,
}

impl RequestTap {
    /// These bytes go up. Content that finds no room in the queue waits in memory, within the capture
    /// limit.
    pub fn push(&self, chunk: &[u8]) {
        let mut stream = lock(&self.state.request);
        stream.push(chunk, self.state.capture_bytes_max);
        loop {
            let due = stream.pending.len() >= PIECE_BYTES
                || stream.bytes - stream.told >= PIECE_BYTES as u64;
            if !due {
                return;
            }
            // The slot is had before the piece is cut, so that a full queue loses nothing.
            let Ok(slot) = self.recorder.inner.jobs.try_reserve() else {
                return;
            };
            let key = &self.state.key;
            let job = stream.whole_piece(key);
            let Some(job) = job.or_else(|| stream.progress(key)) else {
                return;
            };
            slot.send(Job::Piece(Box::new(job)));
        }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        lock(&self.state.request).bytes
    }
}
