//! The open house: everything that one gateway process owns.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::difference::{difference, tell_unenforced};
use super::export::Exports;
use super::{DRAIN, Error, state};
use crate::approval::{ApprovalId, Approvals};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{self, Context, Loaded};
use crate::console;
use crate::disk::{Disk, RealDisk};
use crate::egress::{self, Egress};
use crate::identity::Revocations;
use crate::identity::assertion::Signer;
use crate::listener::{Certificate, Renewed};
use crate::notify::Notifier;
use crate::pipeline::{Parts, Pipeline, Snapshot};
use crate::policy::{Policies, PolicyTexts};
use crate::record::{self, Cosigner, Event, Recorder, SharedTrail, Transit, Who};
use crate::store::{self, Change, Outbox, State, Store};
use crate::telemetry::Metrics;

/// File with the key under which held requests are sealed.
pub(super) const STATE_KEY_FILE: &str = "state.key";
/// File with the key that signs caller assertions.
pub(super) const ASSERTION_KEY_FILE: &str = "assertion.pem";
/// File that names the instance and the log's origin.
pub(super) const NAME_FILE: &str = "name.json";

/// Longest text of all policies that is put on record with a change of the config, in bytes.
const POLICIES_RECORDED_MAX: usize = 1024 * 1024;

/// Everything that one gateway process owns.
#[derive(Debug)]
pub struct House {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) approvals: Approvals,
    pub(super) record: Recorder,
    /// The audit log, to read.
    pub(super) trail: SharedTrail,
    pub(super) store: Arc<dyn Store>,
    pub(super) notifier: Notifier,
    pub(super) revocations: Revocations,
    /// When the revocations were read that are in force.
    pub(super) seen: Mutex<Instant>,
    /// Wraps the root key, where the config names one.
    pub(super) transit: Option<Transit>,
    egress: Egress,
    pub(super) clock: SharedClock,
    own: Vec<SocketAddr>,
    version_key: [u8; 32],
    /// What is in force; held while a reload is under way.
    loaded: Mutex<Loaded>,
    /// Asks the witnesses; taken by the task that does it.
    pub(super) cosigner: Mutex<Option<Cosigner>>,
    pub(super) exports: Exports,
    path: PathBuf,
    data: PathBuf,
    drain: Duration,
    /// Of the listeners; a reload reads them again.
    certificates: Vec<Certificate>,
}

/// Names that `init` gives an instance, once.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    instance: String,
    origin: String,
}

/// Where the audit log lies in a data folder.
pub fn audit_dir(data: &Path) -> PathBuf {
    data.join("audit")
}

/// Where the decisions' state lies in a data folder.
pub fn store_dir(data: &Path) -> PathBuf {
    data.join("state")
}

/// The instance's id.
///
/// # Errors
/// [`Error::NoData`] when `init` never ran.
pub fn instance(data: &Path) -> Result<String, Error> {
    names(data).map(|names| names.instance)
}

/// How the audit log in a data folder is opened.
///
/// # Errors
/// [`Error::NoData`] when `init` never ran.
pub fn audit_config(loaded: &Loaded) -> Result<record::Config, Error> {
    let data = loaded.data();
    let names = names(&data)?;
    let audit = &loaded.config.audit;
    let origin = audit.origin.clone().unwrap_or(names.origin);
    let mut config = record::Config::new(audit_dir(&data), origin, names.instance);
    config.head_file = audit.head_file.as_ref().map(|path| loaded.base.join(path));
    if let Some(bytes) = audit.capture_bytes {
        config.capture_bytes_max = bytes;
    }
    Ok(config)
}

fn names(data: &Path) -> Result<Names, Error> {
    let bytes = std::fs::read(data.join(NAME_FILE)).map_err(|_| Error::NoData(data.to_owned()))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::NoData(data.to_owned()))
}

/// Make a data folder: keys, audit log, state. Never over an existing one. Answers what to tell of a state
/// that is elsewhere.
///
/// # Errors
/// What cannot be made, and why.
pub async fn init(
    data: &Path,
    origin: Option<&str>,
    transit: Option<&Transit>,
    (settings, base): (&store::Config, &Path),
) -> Result<Option<&'static str>, Error> {
    use std::os::unix::fs::PermissionsExt;
    let system = |what| move |source| Error::System { what, source };
    if data.join(NAME_FILE).exists() {
        return Err(Error::Exists(data.to_owned()));
    }
    std::fs::create_dir_all(data).map_err(system("data folder"))?;
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700))
        .map_err(system("data folder"))?;
    let instance = random_hex(8)?;
    let origin = origin.map_or_else(|| format!("callgate.invalid/{instance}"), str::to_owned);
    let disk = RealDisk;
    let config = record::Config::new(audit_dir(data), origin.clone(), instance.clone());
    match transit {
        None => Recorder::init(&config, &disk)?,
        Some(transit) => {
            let (_, wrapped) = record::make_root(transit).await?;
            Recorder::init_wrapped(&config, &wrapped, &disk)?;
        }
    }
    std::fs::create_dir_all(store_dir(data)).map_err(system("data folder"))?;
    let told = state::init(settings, base, data).await?;
    Signer::init(&data.join(ASSERTION_KEY_FILE), &assertion_issuer(&instance))?;
    if settings.postgres.is_none() {
        let key = random_hex(32)?;
        write_private(&disk, &data.join(STATE_KEY_FILE), key.as_bytes())?;
    }
    let names = serde_json::to_vec_pretty(&Names { instance, origin }).unwrap_or_default();
    // The last file: without it the folder does not count as made.
    write_private(&disk, &data.join(NAME_FILE), &names)?;
    Ok(told)
}

/// The state of decisions, and what stands on it.
async fn decisions(
    loaded: &Loaded,
    egress: &Egress,
    (clock, instance): (&SharedClock, &str),
) -> Result<(Arc<dyn Store>, Notifier, Approvals), Error> {
    let key = state::key(loaded)?;
    let sql = Arc::new(state::join(loaded, instance, clock).await?);
    // Instances that share decisions set deadlines by one clock.
    let shared = sql.clock();
    let store: Arc<dyn Store> = Arc::clone(&sql) as _;
    let notifier = notifier(loaded, egress, clock, sql)?;
    let settings = loaded.config.approvals.clone();
    let clock = shared.unwrap_or_else(|| Arc::clone(clock));
    let approvals = Approvals::new(Arc::clone(&store), &key, clock, settings)?;
    Ok((store, notifier, approvals))
}

fn notifier(
    loaded: &Loaded,
    egress: &Egress,
    clock: &SharedClock,
    outbox: Arc<dyn Outbox>,
) -> Result<Notifier, Error> {
    Notifier::open(&loaded.config.notify, &loaded.base, egress, clock, outbox).map_err(|faults| {
        let each = faults.iter();
        Error::Config(
            each.map(|(place, text)| config::Fault::new(format!("notify.{place}"), text))
                .collect(),
        )
    })
}

/// `iss` of caller assertions.
fn assertion_issuer(instance: &str) -> String {
    format!("urn:callgate:{instance}")
}

fn write_private(disk: &RealDisk, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    disk.write_atomic(path, bytes)
        .map_err(|source| Error::System {
            what: "data folder",
            source,
        })
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::System {
        what: "randomness",
        source: std::io::ErrorKind::Other.into(),
    })?;
    Ok(bytes)
}

fn random_hex(bytes: usize) -> Result<String, Error> {
    let random: [u8; 32] = random()?;
    Ok(random
        .iter()
        .take(bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The audit log, to write and to read.
fn open_log(
    audit: record::Config,
    clock: &SharedClock,
) -> Result<(Recorder, SharedTrail), record::Error> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let trail = SharedTrail::new(audit.dir.clone(), Arc::clone(&disk), audit.root.clone());
    let (record, recovery) = Recorder::open(audit, disk, Arc::clone(clock))?;
    tracing::info!(
        torn = recovery.torn,
        indeterminate = recovery.calls.len(),
        head = recovery.head,
        "audit log is open"
    );
    Ok((record, trail))
}

impl House {
    /// With the listeners' certificates, which a reload reads again.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Vec<Certificate>) -> Self {
        self.certificates = certificates;
        self
    }

    /// Open everything under a loaded config. `own` are the bound listeners, in the config's order.
    ///
    /// # Errors
    /// [`Error`], one clear line.
    pub async fn open(loaded: Loaded, own: Vec<SocketAddr>) -> Result<Self, Error> {
        let clock: SharedClock = Arc::new(SystemClock);
        let data = loaded.data();
        let mut audit = audit_config(&loaded)?;
        let transit = super::transit(&loaded)?;
        let instance = audit.instance.clone();
        let egress = Egress::new(&egress::Policy {
            ca: None,
            own: own.clone(),
        })?;
        let revocations = Revocations::new();
        let version_key = random()?;
        let context = Context {
            egress: egress.clone(),
            clock: Arc::clone(&clock),
            revocations: revocations.clone(),
            own: own.clone(),
            version_key,
            previous: None,
        };
        // The config is judged before anything is opened: a faulty one leaves no trace.
        let snapshot = config::build(&loaded, &context).map_err(Error::Config)?;
        audit.root = super::root_key(&loaded).await?;
        let (record, trail) = open_log(audit, &clock)?;
        let cosigner = super::witness::cosigner(&record, &loaded, &egress, &clock)?;
        let exports = Exports::open(&record, &loaded, &egress, &clock, &instance)?;
        let (store, notifier, approvals) = decisions(&loaded, &egress, (&clock, &instance)).await?;
        recover(&approvals, &instance).await?;
        snapshot.identity.start();
        tell_unenforced(&snapshot, clock.now());
        start_on_record(&record, &snapshot).await?;
        let parts = Parts {
            approvals: approvals.clone(),
            record: record.clone(),
            revocations: revocations.clone(),
            assertions: Arc::new(Signer::load(
                &data.join(ASSERTION_KEY_FILE),
                &assertion_issuer(&instance),
            )?),
            metrics: Metrics::new(),
            clock: Arc::clone(&clock),
            instance,
        };
        let house = Self {
            pipeline: Arc::new(Pipeline::new(snapshot, parts)),
            approvals,
            record,
            trail,
            store,
            notifier,
            revocations,
            seen: Mutex::new(Instant::now()),
            transit,
            egress,
            clock,
            own,
            version_key,
            path: loaded.path.clone(),
            drain: loaded.config.drain_s.map_or(DRAIN, Duration::from_secs),
            loaded: Mutex::new(loaded),
            cosigner,
            exports,
            data,
            certificates: Vec::new(),
        };
        house.refresh_revocations().await?;
        Ok(house)
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The config in force.
    pub(super) async fn loaded(&self) -> Loaded {
        self.loaded.lock().await.clone()
    }

    pub(super) const fn drain_for(&self) -> Duration {
        self.drain
    }

    /// What the console works with, when it listens at `local`.
    pub(super) async fn console_parts(&self, local: SocketAddr) -> Result<console::Parts, Error> {
        let loaded = self.loaded.lock().await;
        let settings = loaded.config.console.as_ref();
        let site = settings.map(|settings| config::site(settings, local));
        let client = settings
            .map(|settings| config::client(settings, &loaded.base))
            .transpose()?;
        let witnesses = super::witness::keys(&loaded, &self.egress)?;
        let parts = console::Parts::new(
            Arc::clone(&self.pipeline),
            Arc::clone(&self.store),
            self.notifier.clone(),
            site.unwrap_or_else(|| console::Site {
                url: format!("http://{local}"),
                hosts: vec![local.to_string()],
            }),
            client.flatten(),
            self.trail.clone(),
            self.exports.board.clone(),
        );
        Ok(parts.watching(witnesses))
    }

    /// Close everything that waits for being closed.
    pub(super) async fn close(&self) {
        self.record.clone().shutdown().await;
        self.store.close().await;
    }

    /// One change of an approval, on the audit record.
    pub(super) async fn record_change(&self, change: &Change) -> Result<(), String> {
        let id: ApprovalId = change
            .approval
            .parse()
            .map_err(|_| "not an approval id".to_owned())?;
        let view = self
            .approvals
            .show(&id)
            .await
            .map_err(|error| error.to_string())?;
        let call = view.call.parse().map_err(|_| "not a call id".to_owned())?;
        let approval = change.approval.clone();
        let cancelled = |reason| Event::ApprovalCancelled {
            approval: approval.clone(),
            call,
            who: None,
            reason,
        };
        let event = match change.state {
            State::Executing => Some(Event::ApprovalExecuted {
                approval: approval.clone(),
                call,
                fence: view.taken,
                binding: view.digest,
            }),
            State::Expired => Some(Event::ApprovalExpired {
                approval: approval.clone(),
                call,
            }),
            State::Cancelled => Some(cancelled("cancelled")),
            State::Superseded => Some(cancelled("superseded")),
            State::Denied => Some(cancelled("denied")),
            State::Indeterminate => Some(cancelled("indeterminate")),
            State::Failed => Some(cancelled("failed")),
            State::Pending if change.cause == store::REOPENED => Some(Event::ApprovalReopened {
                approval: approval.clone(),
                call,
            }),
            // The question and the votes are recorded where they happen; the end is the call's own.
            State::Pending | State::Approved | State::Done => None,
        };
        if let Some(event) = event {
            self.record
                .note(event)
                .await
                .map_err(|error| error.to_string())?;
        }
        // Written before the change is taken off: a crash between the two writes the same messages again.
        self.notifier
            .enqueue(change)
            .await
            .map_err(|error| error.to_string())?;
        self.approvals
            .changes_taken(change.seq)
            .await
            .map_err(|error| error.to_string())
    }

    /// Read the config again and put it in force, or keep everything as it is.
    ///
    /// # Errors
    /// Why nothing changed, for the operator.
    pub async fn reload(&self, accept_removal: bool) -> Result<String, String> {
        let mut in_force = self.loaded.lock().await;
        let outcome = self.reloaded(&in_force, accept_removal).await;
        match outcome {
            Ok((loaded, report)) => {
                *in_force = loaded;
                Ok(report)
            }
            Err(text) => {
                self.pipeline.parts().metrics.reload_failures.inc();
                Err(text)
            }
        }
    }

    async fn reloaded(
        &self,
        in_force: &Loaded,
        accept_removal: bool,
    ) -> Result<(Loaded, String), String> {
        let loaded = config::load(&self.path).map_err(|faults| super::faults(&faults))?;
        if loaded.config.listen != in_force.config.listen
            || loaded.config.console != in_force.config.console
            || loaded.config.data != in_force.config.data
            || loaded.config.audit != in_force.config.audit
            || loaded.config.notify != in_force.config.notify
            || loaded.config.store != in_force.config.store
        {
            return Err(
                "`listen`, `console`, `data`, `audit`, `notify` and `store` take effect at a restart only: nothing was changed"
                    .to_owned(),
            );
        }
        let old = self.pipeline.snapshot();
        let context = Context {
            egress: self.egress.clone(),
            clock: Arc::clone(&self.clock),
            revocations: self.revocations.clone(),
            own: self.own.clone(),
            version_key: self.version_key,
            previous: Some(Arc::clone(&old)),
        };
        let new = config::build(&loaded, &context).map_err(|faults| super::faults(&faults))?;
        let (report, removed) = difference(&old, &new);
        if !removed.is_empty() && !accept_removal {
            return Err(format!(
                "{report}\nthis takes away: {}\nrun `callgate reload --accept-removal` if that is meant",
                removed.join(", ")
            ));
        }
        let renewed = self.certificates.iter().map(Certificate::read);
        let renewed = renewed.collect::<Result<Vec<_>, _>>();
        let renewed = renewed.map_err(|fault| fault.to_string())?;
        let event = Event::ConfigChange {
            config_version: new.version.clone(),
            policy_version: new.policies.version().to_owned(),
            who: Who::operator(),
            removed,
            content: serde_json::json!({ "changes": report, "policies": recorded(&new.policies) }),
        };
        // Recorded before it takes effect.
        self.record
            .note(event)
            .await
            .map_err(|error| format!("the change could not be recorded: {error}"))?;
        new.identity.start();
        tell_unenforced(&new, self.clock.now());
        self.pipeline.replace(new);
        renewed.into_iter().for_each(Renewed::put_in_force);
        Ok((loaded, report))
    }
}

/// Nothing may be taken before what the last run left under way is declared indeterminate.
async fn recover(approvals: &Approvals, instance: &str) -> Result<(), Error> {
    let lost = approvals.recover(instance).await?;
    if !lost.is_empty() {
        let lost = lost.join(" ");
        tracing::warn!(
            approvals = lost,
            "approved calls were under way at the last stop: indeterminate"
        );
    }
    Ok(())
}

/// The policies as they go on record, so that a bundle of evidence can show those that were in force.
fn recorded(policies: &Policies) -> Option<&PolicyTexts> {
    let texts = policies.texts();
    let fits = texts.text_bytes() <= POLICIES_RECORDED_MAX;
    if !fits {
        let bytes = texts.text_bytes();
        tracing::warn!(
            policies.bytes = bytes,
            "the policies are too long to be recorded: their version is, and evidence does not show them"
        );
    }
    fits.then_some(texts)
}

/// The start is a config change too: recorded before the first call.
pub(super) async fn start_on_record(record: &Recorder, snapshot: &Snapshot) -> Result<(), Error> {
    let event = Event::ConfigChange {
        config_version: snapshot.version.clone(),
        policy_version: snapshot.policies.version().to_owned(),
        who: Who::operator(),
        removed: Vec::new(),
        content: serde_json::json!({ "start": true, "policies": recorded(&snapshot.policies) }),
    };
    record
        .note(event)
        .await
        .map(|_| ())
        .map_err(Error::Unrecorded)
}
