//! The recorder: where other rooms begin, end and note.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::call::{CallState, OpenRecord, Registry, Wait};
use super::entry::{Begin, End, Event, Outcome, Who};
use super::erase::Holds;
use super::event::Recorded;
use super::files::{self, Files};
use super::health::{Anchor, Head, Health, Shared};
use super::job::{BeginJob, EventJob, Job, OrphanJob};
use super::keeper::Keeper;
use super::keyring::Keyring;
use super::lazy::Lazy;
use super::outside::Rememberer;
use super::recovery::{self, Recovery};
use super::seal::ContentKey;
use super::sealer::{Sealer, Settings};
use super::succeed::Predecessor;
use super::wal::Writer;
use super::{
    Config, Error, LAZY_EVENTS_MAX, QUEUE_BYTES_MAX, QUEUE_JOBS_MAX, SYNC_LIMIT, Unavailable, Why,
};
use crate::call::Durability;
use crate::clock::SharedClock;
use crate::disk::{Disk, Lock};
use crate::identity::{Exposed, Principal};

/// Encoded items that wait to be written.
const ITEMS_MAX: usize = 2048;

/// Distinct reasons of refusals before authentication; they are constants of the code.
const REASONS_MAX: usize = 64;

/// How long the shutdown waits until the last head is remembered outside.
const REMEMBER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Name of the keeper's thread.
const KEEPER: &str = "callgate-keeper";

/// Where everything is recorded. Clones share one log.
#[derive(Clone, Debug)]
pub struct Recorder {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) jobs: mpsc::Sender<Job>,
    /// Bytes of content that may wait.
    pub(super) room: Arc<Semaphore>,
    pub(super) calls: Arc<Registry>,
    pub(super) shared: Arc<Shared>,
    pub(super) keyring: Arc<Keyring>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Files,
    /// Legal holds that stand. Held while a key is destroyed, so that none is placed meanwhile.
    pub(super) holds: tokio::sync::Mutex<Holds>,
    clock: SharedClock,
    capture_bytes_max: usize,
    lazy: Arc<Lazy>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    keeper: Arc<AtomicBool>,
    /// Ends the rememberer, once the keeper has signed the last head.
    outside: Arc<AtomicBool>,
    /// Where the newest head is remembered outside.
    pub(super) head_file: Option<PathBuf>,
    /// The thread that does so, and how it says that it has ended.
    rememberer: Mutex<Option<(std::thread::Thread, std::sync::mpsc::Receiver<()>)>>,
}

impl Drop for Inner {
    /// Nobody can record any more: the threads may stop trying when the disk refuses.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.keeper.store(true, Ordering::Release);
        self.outside.store(true, Ordering::Release);
    }
}

impl Recorder {
    /// Make a new log: directories, keys (mode 0600), keyring, identity. Only ever asked for
    /// explicitly.
    ///
    /// # Errors
    /// [`Error::Exists`] where a log is; [`Error::NotPlain`] for links and devices.
    pub fn init(config: &Config, disk: &dyn Disk) -> Result<(), Error> {
        files::create(config, None, disk)
    }

    /// The same with a root key that a transit service has wrapped.
    ///
    /// # Errors
    /// As [`Recorder::init`].
    pub fn init_wrapped(config: &Config, wrapped: &str, disk: &dyn Disk) -> Result<(), Error> {
        files::create(config, Some(wrapped), disk)
    }

    /// Take the log's lock, recover what a crash left, close each begin without end as
    /// `indeterminate`, and be ready to record.
    ///
    /// # Errors
    /// [`Error::Locked`] names the process that has it; [`Error::Corrupt`], [`Error::Rewound`] and
    /// their like mean that the evidence was changed: nothing is appended to it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a config is given once, to the log that it describes"
    )]
    pub fn open(
        config: Config,
        disk: Arc<dyn Disk>,
        clock: SharedClock,
    ) -> Result<(Self, Recovery), Error> {
        let files = Files::new(&config.dir);
        let recovered = recovery::recover(&config, &files, disk.as_ref())?;
        let shared = Shared::new(recovered.tree);
        shared.head.store(recovered.head.map(Arc::new));
        let keyring = Arc::new(recovered.keyring);
        let lock: Arc<dyn Lock> = Arc::from(recovered.lock);
        let writer = Writer::new(
            Arc::clone(&disk),
            files.clone(),
            Arc::clone(&keyring),
            Arc::clone(&shared),
            recovered.takeover,
        )
        .map_err(|source| Error::disk("start a segment in", &files.wal, source))?;
        recovery::trim(disk.as_ref(), &files, &recovered.takeover);
        let sealer = Sealer::new(
            settings(&config),
            Arc::clone(&keyring),
            Arc::clone(&shared),
            Arc::clone(&clock),
            recovered.takeover.next,
        )?;
        let (calls, lazy): (Arc<Registry>, Arc<Lazy>) = Default::default();
        let (jobs, incoming) = mpsc::channel(QUEUE_JOBS_MAX);
        let (stop, outside): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let rememberer = config.head_file.as_ref().map(|path| {
            let key = recovered.signer.verifier_key().clone();
            let (disk, shared) = (Arc::clone(&disk), Arc::clone(&shared));
            let (files, last) = (files.clone(), recovered.remembered);
            let rememberer = Rememberer::new(disk, path.clone(), files, key, shared, last);
            start_remembering(rememberer, &outside, Arc::clone(&lock))
        });
        let keeper = Keeper::new(
            &config,
            files.clone(),
            Arc::clone(&disk),
            Arc::clone(&clock),
            Arc::clone(&shared),
            recovered.signer,
        );
        keeper.prepare();
        let threads = start_threads(sealer, writer, incoming, Arc::clone(&lock))?;
        let recorder = Self {
            inner: Arc::new(Inner {
                jobs,
                room: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)),
                calls: Arc::clone(&calls),
                shared,
                keyring,
                disk,
                files,
                holds: tokio::sync::Mutex::new(recovered.holds),
                clock,
                capture_bytes_max: config.capture_bytes_max,
                lazy: Arc::clone(&lazy),
                threads: Mutex::new(threads),
                keeper: Arc::clone(&stop),
                outside,
                head_file: config.head_file.clone(),
                rememberer: Mutex::new(rememberer.transpose()?),
            }),
        };
        recorder.settle(&recovered.report, recovered.orphans, recovered.predecessor)?;
        let jobs = recorder.inner.jobs.downgrade();
        let running = spawn(KEEPER, move || {
            // The lock is held as long as anything may be written.
            keeper.run(&jobs, &calls, &lazy, &stop);
            drop(lock);
        })?;
        recorder.lock_threads().push(running);
        Ok((recorder, recovered.report))
    }

    /// Record what recovery found, synced, before anything else can happen.
    fn settle(
        &self,
        report: &Recovery,
        orphans: Vec<OrphanJob>,
        predecessor: Option<Predecessor>,
    ) -> Result<(), Error> {
        let event = Recorded::LogOpen {
            predecessor: predecessor.map(Box::new),
            indeterminate: report.indeterminate,
            torn: report.torn,
            version: env!("CARGO_PKG_VERSION"),
        };
        let orphans = orphans
            .into_iter()
            .map(|orphan| Job::Orphan(Box::new(orphan)));
        let (ack, acked) = oneshot::channel();
        let opened = Job::Event(Box::new(EventJob {
            event,
            ack: Some(ack),
            room: None,
        }));
        for job in orphans.chain([opened]) {
            let mut job = Some(job);
            // The encoder drains the queue on a thread of its own, and nobody else sends yet.
            while let Some(waiting) = job.take() {
                if let Err(mpsc::error::TrySendError::Full(back)) =
                    self.inner.jobs.try_send(waiting)
                {
                    job = Some(back);
                    std::thread::yield_now();
                }
            }
        }
        let mut acked = acked;
        loop {
            match acked.try_recv() {
                Ok(_) => return Ok(()),
                Err(oneshot::error::TryRecvError::Empty) => {
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(Error::Setting("the audit log's writer ended at its start"));
                }
            }
            if self.inner.shared.blocked() == Some(Why::Write) {
                self.inner.shared.closed.store(true, Ordering::Release);
                return Err(Error::Setting("the audit log cannot be written"));
            }
        }
    }

    /// Record that a call is about to reach its function. When this returns, the record is on stable
    /// storage, unless the durability is `async`.
    ///
    /// # Errors
    /// [`Unavailable`]: the call must not be executed.
    pub async fn begin(&self, begin: Begin<'_>) -> Result<OpenRecord, Unavailable> {
        self.inner.shared.admit()?;
        let who = Who::from(begin.principal);
        let key = self.content_key(&who, *begin.call.as_bytes())?;
        let principal = principal_json(begin.principal);
        self.begin_job(begin_job(begin, who, principal, key)).await
    }

    pub(super) fn content_key(
        &self,
        who: &Who,
        id: [u8; 16],
    ) -> Result<Arc<ContentKey>, Unavailable> {
        let now = self.inner.clock.now();
        let keyring = &self.inner.keyring;
        let material = keyring.material(&who.issuer, &who.subject, now);
        let key = material.and_then(|material| ContentKey::new(id, &material));
        key.map(Arc::new).map_err(|error| {
            tracing::error!(error = %error, "cannot make a content key");
            Unavailable::new(Why::Key)
        })
    }

    pub(super) async fn begin_job(&self, mut job: BeginJob) -> Result<OpenRecord, Unavailable> {
        self.inner.shared.admit()?;
        let (call, durability) = (job.call, job.durability);
        let state = Arc::new(CallState::new(
            call,
            Arc::clone(&job.key),
            durability,
            self.inner.capture_bytes_max,
            job.body.is_none(),
        ));
        let acked = match durability {
            Durability::Both | Durability::Begin => {
                let (ack, acked) = oneshot::channel();
                job.ack = Some(ack);
                Some(acked)
            }
            Durability::Async => None,
        };
        let slot = tokio::time::timeout(SYNC_LIMIT, self.inner.jobs.reserve()).await;
        let slot = slot.map_err(|_| Unavailable::new(Why::Queue))?;
        let slot = slot.map_err(|_| Unavailable::new(Why::Closed))?;
        if !self.inner.calls.insert(&state) {
            return Err(Unavailable::new(Why::Twice));
        }
        slot.send(Job::Begin(Box::new(job)));
        let Some(acked) = acked else {
            return Ok(OpenRecord::new(self.clone(), state, None));
        };
        let why = match tokio::time::timeout(SYNC_LIMIT, acked).await {
            Ok(Ok(index)) => return Ok(OpenRecord::new(self.clone(), state, Some(index))),
            Ok(Err(_)) => Why::Closed,
            Err(_) => {
                self.inner.shared.late();
                self.inner.shared.blocked().unwrap_or(Why::Slow)
            }
        };
        self.refuse(&state).await;
        Err(Unavailable::new(why))
    }

    /// The begin may become stable later: the end that follows it says that nothing was executed.
    async fn refuse(&self, state: &Arc<CallState>) {
        let end = End {
            error: Some("audit_unavailable"),
            ..End::new(Outcome::Failed)
        };
        let why = Some("not executed: the begin record was not stable in time");
        if let Ok(slot) = self.inner.jobs.try_reserve() {
            if self.inner.calls.take(state.call).is_some() {
                slot.send(Job::End(Box::new(state.end_job(end, why, None))));
            }
            return;
        }
        let (recorder, state) = (self.clone(), Arc::clone(state));
        tokio::spawn(async move {
            let ended = recorder.end(&state, end, why, Wait::Queued).await;
            if let Err(error) = ended {
                tracing::error!(call.id = %state.call, error = %error, "cannot end a refused record");
            }
        });
    }

    /// Record an event; it is on stable storage when this returns, and this is its index.
    ///
    /// # Errors
    /// [`Unavailable`]: what was to be recorded must not happen.
    pub async fn note(&self, event: Event) -> Result<u64, Unavailable> {
        self.note_recorded(Recorded::Public(Box::new(event))).await
    }

    pub(super) async fn note_recorded(&self, event: Recorded) -> Result<u64, Unavailable> {
        let (ack, acked) = oneshot::channel();
        let job = Job::Event(Box::new(EventJob {
            event,
            ack: Some(ack),
            room: None,
        }));
        let sent = async {
            let closed = |_| Unavailable::new(Why::Closed);
            self.inner
                .jobs
                .send(job)
                .await
                .map_err(|_| Unavailable::new(Why::Closed))?;
            acked.await.map_err(closed)
        };
        let waited = tokio::time::timeout(SYNC_LIMIT, sent).await;
        waited.unwrap_or_else(|_| {
            Err(Unavailable::new(
                self.inner.shared.blocked().unwrap_or(Why::Slow),
            ))
        })
    }

    /// Record an event soon, without waiting: denials. What finds no room is counted, and the count is
    /// recorded.
    pub fn note_lazily(&self, event: Event) {
        let lazy = &self.inner.lazy;
        let waiting = QUEUE_JOBS_MAX.saturating_sub(self.inner.jobs.capacity());
        let sent = waiting < LAZY_EVENTS_MAX
            && lazy
                .job(event)
                .is_some_and(|job| self.inner.jobs.try_send(job).is_ok());
        if !sent {
            lazy.lost.fetch_add(1, Ordering::Relaxed);
            self.inner
                .shared
                .lost_events
                .fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Count a refusal of somebody who did not prove who they are. Recorded as counts, once a period.
    pub fn refused_before_authentication(&self, reason: &'static str) {
        let mut counts = self.inner.lazy.lock_refusals();
        if counts.len() < REASONS_MAX || counts.contains_key(reason) {
            *counts.entry(reason).or_default() += 1;
        } else {
            *counts.entry("other").or_default() += 1;
        }
    }

    /// The newest signed head.
    pub fn head(&self) -> Option<Arc<Head>> {
        self.inner.shared.head.load_full()
    }

    /// The newest head of this run, with its tree.
    pub(super) fn anchor(&self) -> Option<Arc<Anchor>> {
        self.inner.shared.anchor.load_full()
    }

    /// Where the log is.
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.disk
    }

    /// Whether calls are admitted, or why not, and how it goes.
    pub fn health(&self) -> Health {
        let queued = QUEUE_JOBS_MAX.saturating_sub(self.inner.jobs.capacity());
        self.inner.shared.health(queued, self.inner.calls.len())
    }

    /// Stop admitting, write what waits, sign the last head.
    pub async fn shutdown(self) {
        // Counts are recorded before the log is closed.
        for event in super::keeper::take_counts(&self.inner.lazy) {
            if let Err(error) = self.note_recorded(event).await {
                tracing::error!(error = %error, "cannot record counts at the end");
            }
        }
        if let Err(error) = self.note_recorded(Recorded::LogClose).await {
            tracing::error!(error = %error, "cannot record the end of the audit log");
        }
        self.inner.shared.closed.store(true, Ordering::Release);
        // Other clones may live on: the queue is closed by a job, not by the last sender.
        if self.inner.jobs.send(Job::Stop).await.is_err() {
            tracing::warn!("the audit log was closed already");
        }
        let threads = std::mem::take(&mut *self.lock_threads());
        let stop = Arc::clone(&self.inner.keeper);
        let joined = tokio::task::spawn_blocking(move || {
            let (keeper, others): (Vec<_>, Vec<_>) = threads
                .into_iter()
                .partition(|thread| thread.thread().name() == Some(KEEPER));
            let mut whole = others.into_iter().all(|thread| thread.join().is_ok());
            // The last head is signed over everything that was written.
            stop.store(true, Ordering::Release);
            for thread in keeper {
                thread.thread().unpark();
                whole &= thread.join().is_ok();
            }
            whole
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a thread of the audit log panicked");
        }
        // The last head is remembered outside too, if that volume answers.
        let remembering = self
            .inner
            .rememberer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.inner.outside.store(true, Ordering::Release);
        if let Some((thread, done)) = remembering {
            let waited = tokio::task::spawn_blocking(move || {
                thread.unpark();
                done.recv_timeout(REMEMBER_WAIT_MAX).is_ok()
            });
            if !waited.await.unwrap_or(false) {
                tracing::error!("the last head could not be remembered outside");
            }
        }
    }

    fn lock_threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.inner
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|source| Error::disk("start", name.as_ref(), source))
}

fn settings(config: &Config) -> Settings {
    Settings {
        instance: config.instance.clone(),
        capture_bytes_max: config.capture_bytes_max,
        capture_bytes_per_hour: config.capture_bytes_per_hour,
    }
}

fn start_remembering(
    rememberer: Rememberer,
    stop: &Arc<AtomicBool>,
    lock: Arc<dyn Lock>,
) -> Result<(std::thread::Thread, std::sync::mpsc::Receiver<()>), Error> {
    let (done, ended) = std::sync::mpsc::channel();
    let stop = Arc::clone(stop);
    let running = spawn("callgate-outside", move || {
        rememberer.run(&stop);
        // Not free before the last write: the next process would find a head that it does not expect.
        drop(lock);
        // Nobody waits for it when the shutdown was impatient.
        let _ = done.send(());
    })?;
    Ok((running.thread().clone(), ended))
}

fn start_threads(
    sealer: Sealer,
    writer: Writer,
    mut incoming: mpsc::Receiver<Job>,
    lock: Arc<dyn Lock>,
) -> Result<Vec<JoinHandle<()>>, Error> {
    let (to_writer, items) = std::sync::mpsc::sync_channel(ITEMS_MAX);
    Ok(vec![
        spawn("callgate-seal", move || {
            sealer.run(&mut incoming, &to_writer);
        })?,
        spawn("callgate-write", move || {
            writer.run(&items);
            drop(lock);
        })?,
    ])
}

/// A principal as records seal it: everything that policy may know of it, and its claims.
pub fn principal_json(principal: &Principal) -> Value {
    let exposed = principal.exposed().iter().map(|(name, value)| {
        let value: Value = match value {
            Exposed::String(text) => text.as_str().into(),
            Exposed::Long(number) => (*number).into(),
            Exposed::Bool(flag) => (*flag).into(),
            Exposed::Strings(texts) => texts.iter().map(String::as_str).collect(),
        };
        (name.clone(), value)
    });
    json!({
        "issuer": principal.key().issuer,
        "subject": principal.key().subject,
        "kind": principal.kind().as_str(),
        "method": principal.method().as_str(),
        "groups": principal.groups(),
        "actors": principal.actors(),
        "claims": principal.claims(),
        "exposed": exposed.collect::<serde_json::Map<_, _>>(),
    })
}

fn begin_job(begin: Begin<'_>, who: Who, principal: Value, key: Arc<ContentKey>) -> BeginJob {
    BeginJob {
        call: begin.call,
        key,
        who,
        principal,
        function: begin.function.id.to_string(),
        effect: begin.function.effect.as_str(),
        received: begin.facts.received,
        source: begin.facts.source.to_string(),
        tls: begin.facts.tls,
        protocol: begin.facts.protocol,
        method: begin.facts.method.clone(),
        policies: begin.policies.to_vec(),
        shadowed: begin.shadowed.cloned(),
        observed: begin.observed.cloned(),
        approval: begin.approval,
        credential: begin.credential,
        upstream: begin.upstream.to_owned(),
        head: begin.request.head,
        body: begin.request.body,
        config_version: begin.config_version.to_owned(),
        policy_version: begin.policy_version.to_owned(),
        mask: begin.mask,
        durability: begin.durability,
        context: begin.context,
        ack: None,
    }
}
