//! `callgate doctor`: what would go wrong, and what weakens a promise.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;

use super::check::snapshot;
use super::{load, print};
use crate::app;
use crate::call::Durability;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Loaded};
use crate::disk::RealDisk;
use crate::egress::{Egress, Policy};
use crate::gate::ObserveStands;
use crate::listener;
use crate::mask::Mode;
use crate::pipeline::{Connection, Snapshot};
use crate::policy::ShadowStands;
use crate::record::{Standing, Trail};

/// How long issuers may take to answer.
const ISSUERS_WAIT: Duration = Duration::from_secs(6);

/// A witness that has not cosigned for so long while records waited is late.
const WITNESS_LATE: Duration = Duration::from_secs(120);
/// How long an alarm that is over is told.
const WITNESS_ALARM_TOLD: Duration = Duration::from_secs(24 * 3600);
/// Functions' servers that are tried at a time.
const PROBES_AT_A_TIME: usize = 8;
/// A certificate that ends within so many days is told.
const CERTIFICATE_DAYS_MIN: i64 = 30;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    Good,
    Weak,
    Bad,
}

/// Findings, printed as they come.
#[derive(Default)]
pub(super) struct Findings {
    bad: usize,
}

impl Findings {
    pub(super) fn tell(&mut self, grade: Grade, text: &str) {
        let mark = match grade {
            Grade::Good => "ok  ",
            Grade::Weak => "weak",
            Grade::Bad => "BAD ",
        };
        self.bad += usize::from(grade == Grade::Bad);
        print(&format!("{mark}  {text}"));
    }
}

pub(super) async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let loaded = load(config)?;
    let snapshot = snapshot(&loaded)?;
    let mut findings = Findings::default();
    let version = &snapshot.version;
    findings.tell(
        Grade::Good,
        &format!("config, functions and policies load (version {version})"),
    );
    settings(&loaded, &mut findings);
    for connection in snapshot.connections.values() {
        promises(connection, &mut findings);
    }
    for shadow in snapshot.policies.shadows(SystemClock.now()) {
        let grade = match shadow.stands {
            ShadowStands::Watched => Grade::Weak,
            ShadowStands::Over | ShadowStands::TooLong => Grade::Bad,
        };
        findings.tell(grade, &shadow.to_string());
    }
    root_key(&loaded, &mut findings).await;
    shared_state(&loaded, &mut findings).await;
    kept(&loaded, &mut findings);
    witnesses(&loaded, &mut findings);
    certificates(&loaded, &mut findings);
    head_file(&loaded, &mut findings);
    super::sinks::tell(&loaded, &mut findings).await;
    issuers(&snapshot, &mut findings).await;
    upstreams(&snapshot, &mut findings).await;
    Ok(if findings.bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether the log's heads are held outside, and by whom.
fn witnesses(loaded: &Loaded, findings: &mut Findings) {
    let witnesses = match Egress::new(&Policy::default())
        .map(|egress| config::witnesses(loaded, &egress))
    {
        Ok(Ok(Some(settings))) => settings.witnesses,
        Ok(Ok(None)) if loaded.config.audit.head_file.is_some() => return,
        Ok(Ok(None)) => {
            return findings.tell(
                Grade::Weak,
                "no head of the log is held outside: whoever owns this machine could rewind it unseen; \
                 name `audit.witnesses` or `audit.head_file`, or keep receipts or checkpoints elsewhere",
            );
        }
        // Faults of the config were told before anything else.
        Ok(Err(_)) | Err(_) => return,
    };
    let dir = app::audit_dir(&loaded.data());
    let signed = Trail::newest_head(&dir, &RealDisk)
        .ok()
        .flatten()
        .map_or(0, |head| head.size);
    let keys: Vec<_> = witnesses.into_iter().map(|witness| witness.key).collect();
    for stands in Standing::read(&dir, &RealDisk, &keys, (signed, SystemClock.now())) {
        let name = &stands.witness;
        let late = stands.age.is_none_or(|age| age > WITNESS_LATE) && stands.behind > 0;
        match (stands.alarm, stands.last_alarm) {
            (Some((_, text)), _) => findings.tell(Grade::Bad, &format!("witness {name}: {text}")),
            (None, _) if late => {
                let text = format!(
                    "witness {name}: {} signed records are not cosigned",
                    stands.behind
                );
                findings.tell(Grade::Bad, &text);
            }
            (None, Some((text, ago))) if ago < WITNESS_ALARM_TOLD => {
                let minutes = ago.as_secs() / 60;
                let text = format!("witness {name}: cosigns, but {minutes} min ago: {text}");
                findings.tell(Grade::Weak, &text);
            }
            (None, _) => {
                let text = format!("witness {name}: has cosigned {} records", stands.size);
                findings.tell(Grade::Good, &text);
            }
        }
    }
}

fn settings(loaded: &Loaded, findings: &mut Findings) {
    match app::instance(&loaded.data()) {
        Ok(instance) => findings.tell(Grade::Good, &format!("data folder of instance {instance}")),
        Err(error) => findings.tell(Grade::Bad, &error.to_string()),
    }
    for listen in &loaded.config.listen {
        if listen.tls.is_none() && !listen.address.ip().is_loopback() {
            let text = format!(
                "listener {} speaks plaintext: tokens travel in clear",
                listen.address
            );
            findings.tell(Grade::Weak, &text);
        }
    }
    match &loaded.config.console {
        Some(console) if console.audience.is_none() => {
            findings.tell(Grade::Weak, "the console has no audience: nobody can vote");
        }
        Some(_) => {}
        None => findings.tell(
            Grade::Weak,
            "there is no console: nobody can vote or revoke",
        ),
    }
}

fn head_file(loaded: &Loaded, findings: &mut Findings) {
    match &loaded.config.audit.head_file {
        None => {}
        Some(path) if loaded.base.join(path).exists() || !has_heads(loaded) => {
            let text = format!("the log's head is remembered in {}", path.display());
            findings.tell(Grade::Good, &text);
        }
        Some(path) => {
            let text = format!(
                "`audit.head_file` {} is not there: the log's head is remembered nowhere",
                path.display()
            );
            findings.tell(Grade::Bad, &text);
        }
    }
}

/// Whether any head was signed yet.
fn has_heads(loaded: &Loaded) -> bool {
    let heads = app::audit_dir(&loaded.data()).join("heads");
    std::fs::read_dir(heads).is_ok_and(|mut heads| heads.next().is_some())
}

/// Whether the state that instances share is there.
async fn shared_state(loaded: &Loaded, findings: &mut Findings) {
    match app::probe_state(loaded).await {
        None => {}
        Some(Ok(())) => {
            findings.tell(
                Grade::Good,
                "the shared state in PostgreSQL answers and opens with `store.postgres.key`",
            );
        }
        Some(Err(error)) => findings.tell(
            Grade::Bad,
            &format!("the shared state in PostgreSQL: nothing can be approved or revoked: {error}"),
        ),
    }
}

async fn root_key(loaded: &Loaded, findings: &mut Findings) {
    match (app::root_key(loaded).await, &loaded.config.audit.root_key) {
        (Ok(_), Some(root)) => {
            let text = format!("the root key unwraps at {}", root.transit.url);
            findings.tell(Grade::Good, &text);
        }
        (Ok(_), None) => findings.tell(
            Grade::Weak,
            "the root key of recorded content lies beside it: whoever copies the data folder can read it; \
             `audit.root_key.transit` has it wrapped elsewhere",
        ),
        (Err(error), _) => findings.tell(Grade::Bad, &error.to_string()),
    }
}

/// How long what is recorded is kept.
fn kept(loaded: &Loaded, findings: &mut Findings) {
    let keep = loaded.config.audit.keep;
    if let Some(days) = keep.log_days {
        let text = format!(
            "records are kept for {days} days or more, by whole segments; their hashes for ever"
        );
        findings.tell(Grade::Good, &text);
    }
    match keep.content_days {
        Some(days) => findings.tell(
            Grade::Good,
            &format!("recorded content can be read for {days} days, and longer under a legal hold"),
        ),
        None => findings.tell(
            Grade::Weak,
            "recorded content is kept for ever: `audit.keep.content_days` ends that",
        ),
    }
}

/// What of a connection weakens a promise.
fn promises(connection: &Connection, findings: &mut Findings) {
    if let Some(until) = &connection.observe {
        let name = connection.name.as_str();
        match until.stands(SystemClock.now()) {
            ObserveStands::Observing | ObserveStands::TooLong => {
                findings.tell(Grade::Bad, &super::check::observes(name, until));
            }
            ObserveStands::Over => {
                let text = format!(
                    "connection {name}: the time to observe was over with {}: it enforces; remove its `mode`",
                    until.day()
                );
                findings.tell(Grade::Weak, &text);
            }
        }
    }
    for function in connection.catalogue.functions() {
        let mode = connection
            .upstream
            .mask(&function.id)
            .map_or(Mode::Off, |mask| mask.mode());
        let grade = match mode {
            Mode::On => None,
            Mode::Off => Some(Grade::Weak),
            Mode::Observe => Some(Grade::Bad),
        };
        if let Some(grade) = grade {
            let text = format!(
                "{}: answers are not masked (mode {})",
                function.id,
                mode.as_str()
            );
            findings.tell(grade, &text);
        }
        let settings = connection.upstream.mask(&function.id);
        if let Some(written) = settings.and_then(|mask| mask.observed()) {
            let text = format!(
                "{}: masking is on, as the time of `{written}` is over: write `mode: on`",
                function.id
            );
            findings.tell(Grade::Weak, &text);
        }
        if function.durability != Durability::Both {
            let text = format!(
                "{}: an answer can be out before its record is on disk",
                function.id
            );
            findings.tell(Grade::Weak, &text);
        }
    }
    let host = connection.origin.strip_prefix("http://");
    if host.is_some_and(|host| !host.starts_with("127.") && !host.starts_with("localhost")) {
        let text = format!(
            "{}: the credential travels in clear to {}",
            connection.name, connection.origin
        );
        findings.tell(Grade::Weak, &text);
    }
}

async fn issuers(snapshot: &Snapshot, findings: &mut Findings) {
    snapshot.identity.start();
    let patience = tokio::time::Instant::now() + ISSUERS_WAIT;
    let undecided = || {
        snapshot
            .identity
            .status()
            .iter()
            .any(|issuer| !issuer.usable && issuer.last_error.is_none())
    };
    while tokio::time::Instant::now() < patience && undecided() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for issuer in snapshot.identity.status() {
        match issuer.last_error {
            None if issuer.usable => {
                findings.tell(
                    Grade::Good,
                    &format!("issuer {}: {} keys", issuer.alias, issuer.keys),
                );
            }
            error => {
                let why = error.unwrap_or_else(|| "it has not answered yet".to_owned());
                findings.tell(
                    Grade::Bad,
                    &format!("issuer {}: its callers are refused: {why}", issuer.alias),
                );
            }
        }
    }
}

/// How long the listeners' own certificates are good.
fn certificates(loaded: &Loaded, findings: &mut Findings) {
    let config = &loaded.config;
    let calls = config.listen.iter().map(|one| (one.address, &one.tls));
    let console = config.console.iter().map(|one| (one.address, &one.tls));
    for (address, tls) in calls.chain(console) {
        let Some(files) = tls else { continue };
        match listener::not_after(files, &loaded.base) {
            Ok(end) => {
                let (grade, text) = lasts(end);
                findings.tell(grade, &format!("listener {address}: {text}"));
            }
            Err(fault) => findings.tell(Grade::Bad, &format!("listener {address}: {fault}")),
        }
    }
}

/// How long a certificate is good that ends then, in seconds since 1970.
fn lasts(end: i64) -> (Grade, String) {
    let now = i64::try_from(SystemClock.now().millis() / 1000).unwrap_or(i64::MAX);
    let days = end.saturating_sub(now).div_euclid(86_400);
    match days {
        ..0 => (Grade::Bad, "its certificate has ended".to_owned()),
        0..CERTIFICATE_DAYS_MIN => (
            Grade::Weak,
            format!("its certificate ends in {days} days: renew it, then `callgate reload`"),
        ),
        CERTIFICATE_DAYS_MIN.. => (
            Grade::Good,
            format!("its certificate is good for {days} days"),
        ),
    }
}

/// Whether the functions' servers can be had. Each is connected to, and sent nothing.
async fn upstreams(snapshot: &Snapshot, findings: &mut Findings) {
    let probes = snapshot.connections.values().map(|connection| async move {
        let found = connection.upstream.probe().await;
        (connection, found)
    });
    let mut probes = futures_util::stream::iter(probes).buffered(PROBES_AT_A_TIME);
    while let Some((connection, found)) = probes.next().await {
        let place = format!("{}: {}", connection.name, connection.origin);
        match found {
            Ok(None) => findings.tell(Grade::Good, &format!("{place} takes connections")),
            Ok(Some(end)) => {
                let (grade, text) = lasts(end);
                findings.tell(grade, &format!("{place} takes connections; {text}"));
            }
            Err(error) => findings.tell(
                Grade::Bad,
                &format!("{place}: its calls fail (502, executed: no): {error}"),
            ),
        }
    }
}
