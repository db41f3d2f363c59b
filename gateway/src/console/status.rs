//! How the gateway is: connections, issuers, recording; the log's signed head and its verification.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Serialize;

use super::Parts;
use super::api::{Asker, Problem};
use crate::export::Standing;
use crate::pipeline::Route;
use crate::policy::{PersonAction, PersonResource};
use crate::record::{self, Verdict};

/// One connection.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ConnectionView {
    /// Its name.
    pub(super) name: String,
    /// How callers reach it.
    pub(super) route: String,
    /// The upstream's origin.
    pub(super) origin: String,
    /// How many functions it has.
    pub(super) functions: u64,
    /// How many of them are masked (`on`).
    pub(super) masked: u64,
    /// The credential's name and version, never its value; absent where none is presented.
    pub(super) credential: Option<String>,
    /// How long a caller is held while people decide, in seconds.
    pub(super) hold_s: u64,
    /// The last day (UTC) on which the connection only observes and enforces nothing; absent where it enforces.
    pub(super) observes_until: Option<String>,
}

/// One token issuer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct IssuerView {
    /// Its alias.
    pub(super) alias: String,
    /// Whether its tokens can be verified now.
    pub(super) usable: bool,
    /// Whether the last fetch of its keys worked.
    pub(super) reachable: bool,
    /// Its usable keys.
    pub(super) keys: u64,
    /// How old they are, in seconds.
    pub(super) age_s: Option<u64>,
    /// Why the last fetch failed.
    pub(super) last_error: Option<String>,
}

/// How recording goes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct RecordingView {
    /// Whether calls may begin.
    pub(super) admitting: bool,
    /// Why not, one word.
    pub(super) blocked: Option<String>,
    /// Records so far.
    pub(super) records: u64,
    /// Records that no signed head covers yet.
    pub(super) unsigned: u64,
    /// Calls under way.
    pub(super) open_calls: u64,
    /// What waits to be recorded.
    pub(super) queued: u64,
    /// How long the last sync took, in microseconds.
    pub(super) last_sync_us: u64,
    /// Writes and syncs that failed.
    pub(super) disk_errors: u64,
    /// Events that were counted instead of kept.
    pub(super) lost_events: u64,
    /// Bytes free on the log's file system.
    pub(super) free_bytes: u64,
}

/// One place that records go to while the gateway runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct ExportView {
    /// Its name.
    pub(super) sink: String,
    /// What it is: `https`, `syslog`, `otlp`.
    pub(super) kind: String,
    /// The first record that it has not confirmed.
    pub(super) next: u64,
    /// Signed records that it has not confirmed.
    pub(super) behind: u64,
    /// How old the oldest of them is, in seconds.
    pub(super) age_s: u64,
    /// Records that it refused for good.
    pub(super) parked: u64,
    /// Deliveries that failed since the start.
    pub(super) failures: u64,
    /// Why it does not take anything now; absent while it does.
    pub(super) trouble: Option<String>,
    /// Whether it is further behind than its limit allows.
    pub(super) alarm: bool,
}

/// How the gateway is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct StatusView {
    /// The program's version.
    pub(super) version: String,
    /// This instance's name.
    pub(super) instance: String,
    /// Hash of config and policies.
    pub(super) config_version: String,
    /// Connections by name.
    pub(super) connections: Vec<ConnectionView>,
    /// Issuers.
    pub(super) issuers: Vec<IssuerView>,
    /// Recording.
    pub(super) recording: RecordingView,
    /// Where records go, by name.
    pub(super) exports: Vec<ExportView>,
}

/// A witness: somebody outside who signs that the log only grew.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct WitnessView {
    /// Its name.
    pub(super) name: String,
    /// Records under the newest head that it signed.
    pub(super) size: u64,
    /// Signed records that it has not seen.
    pub(super) behind: u64,
    /// When it last signed, as seconds ago; absent when it never did.
    pub(super) signed_ago_s: Option<u64>,
    /// What is wrong with it now.
    pub(super) alarm: Option<String>,
    /// What was wrong the last time, whether or not it still is.
    pub(super) last_alarm: Option<String>,
    /// How long ago that was, in seconds.
    pub(super) last_alarm_ago_s: Option<u64>,
}

impl From<record::Standing> for WitnessView {
    fn from(standing: record::Standing) -> Self {
        let (last_alarm, ago) = standing.last_alarm.unzip();
        Self {
            name: standing.witness,
            size: standing.size,
            behind: standing.behind,
            signed_ago_s: standing.age.map(|age| age.as_secs()),
            alarm: standing.alarm.map(|(_, text)| text),
            last_alarm,
            last_alarm_ago_s: ago.map(|ago| ago.as_secs()),
        }
    }
}

/// The log's newest signed head.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct HeadView {
    /// The log's name.
    pub(super) origin: String,
    /// Records under the head.
    pub(super) size: u64,
    /// Root of the tree over them, hexadecimal.
    pub(super) root: String,
    /// When it was signed, RFC 3339; absent for a head of before the start.
    pub(super) at: Option<String>,
    /// The signed checkpoint, to keep elsewhere.
    pub(super) checkpoint: String,
    /// The log's public key, to verify it with.
    pub(super) key: String,
    /// Records now.
    pub(super) records: u64,
    /// The witnesses that the config names.
    pub(super) witnesses: Vec<WitnessView>,
}

/// What verification found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct VerifiedView {
    /// `intact`, `tampered` or `incomplete`.
    pub(super) verdict: String,
    /// What was found, where it is not intact.
    pub(super) what: Option<String>,
    /// The first record that cannot be trusted.
    pub(super) first_bad: Option<u64>,
    /// Records in all.
    pub(super) records: u64,
    /// Of them, those before this index were pruned, as a signed record says: only their hashes were checked.
    pub(super) pruned: u64,
    /// Signed heads that were checked.
    pub(super) heads: u64,
    /// Records that no signed head covers yet.
    pub(super) unsigned: u64,
    /// How long it took, in milliseconds.
    pub(super) took_ms: u64,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/audit/head", get(head))
        .route("/api/v1/audit/verify", post(verify))
}

async fn status(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<StatusView>, Problem> {
    asker.may(&parts, PersonAction::AuditRead, PersonResource::Gateway)?;
    let snapshot = parts.pipeline.snapshot();
    let now = parts.pipeline.parts().clock.now();
    let connections = snapshot.connections.values().map(|connection| {
        let functions = connection.catalogue.functions();
        let masked = functions.iter().filter(|function| {
            let settings = connection.upstream.mask(&function.id);
            settings.is_some_and(|settings| settings.mode().as_str() == "on")
        });
        let credential = connection.credential.reference();
        ConnectionView {
            name: connection.name.as_str().to_owned(),
            route: match &connection.route {
                Route::Prefix(prefix) => format!("{prefix}/"),
                Route::Host(host) => host.clone(),
            },
            origin: connection.origin.clone(),
            functions: functions.len() as u64,
            masked: masked.count() as u64,
            credential: credential.map(|one| format!("{} {}", one.name, one.version)),
            hold_s: connection.hold.as_secs(),
            observes_until: connection
                .observe
                .as_ref()
                .filter(|until| until.at(now).is_some())
                .map(|until| until.day().to_owned()),
        }
    });
    let issuers = snapshot
        .identity
        .status()
        .into_iter()
        .map(|issuer| IssuerView {
            alias: issuer.alias,
            usable: issuer.usable,
            reachable: issuer.reachable,
            keys: issuer.keys as u64,
            age_s: issuer.age.map(|age| age.as_secs()),
            last_error: issuer.last_error,
        });
    Ok(axum::Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: parts.pipeline.parts().instance.clone(),
        config_version: snapshot.version.clone(),
        connections: connections.collect(),
        issuers: issuers.collect(),
        recording: recording(&parts),
        exports: parts.exports.read().into_iter().map(export).collect(),
    }))
}

fn export(standing: Standing) -> ExportView {
    ExportView {
        kind: standing.kind.to_owned(),
        next: standing.next,
        behind: standing.behind,
        age_s: standing.age.as_secs(),
        parked: standing.parked,
        failures: standing.failures,
        trouble: standing.trouble,
        alarm: standing.alarm,
        sink: standing.sink,
    }
}

fn recording(parts: &Parts) -> RecordingView {
    let health = parts.pipeline.parts().record.health();
    RecordingView {
        admitting: health.blocked.is_none(),
        blocked: health.blocked.map(|why| why.as_str().to_owned()),
        records: health.records,
        unsigned: health.unsigned,
        open_calls: health.open_calls as u64,
        queued: health.queued as u64,
        last_sync_us: u64::try_from(health.last_sync.as_micros()).unwrap_or(u64::MAX),
        disk_errors: health.disk_errors,
        lost_events: health.lost_events,
        free_bytes: health.free_bytes,
    }
}

async fn head(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<HeadView>, Problem> {
    asker.may(&parts, PersonAction::AuditRead, PersonResource::Gateway)?;
    let (origin, key, records, head) = parts
        .evidence
        .read(&parts, |trail| {
            let key = trail.verifier_key().to_string();
            Ok((
                trail.origin().to_owned(),
                key,
                trail.records(),
                trail.head()?,
            ))
        })
        .await?;
    let head = head.ok_or_else(|| {
        let text = "no head is signed yet: the first one comes a second after the first record";
        Problem::new(409, "not_covered", text)
    })?;
    let at = (head.size, parts.pipeline.parts().clock.now());
    let keys = parts.witnesses.clone();
    let witnesses = parts.evidence.witnesses(keys, at).await?;
    Ok(axum::Json(HeadView {
        witnesses: witnesses.into_iter().map(WitnessView::from).collect(),
        origin,
        size: head.size,
        root: head.root.to_string(),
        at: super::evidence::signed_at(&parts, head.size),
        checkpoint: head.note,
        key,
        records,
    }))
}

async fn verify(
    State(parts): State<Arc<Parts>>,
    asker: Asker,
) -> Result<axum::Json<VerifiedView>, Problem> {
    asker.may(&parts, PersonAction::AuditRead, PersonResource::Gateway)?;
    let begun = std::time::Instant::now();
    let report = parts.evidence.verify().await?;
    let (verdict, what, first_bad) = match report.verdict {
        Verdict::Intact => ("intact", None, None),
        Verdict::Tampered { first_bad, what } => ("tampered", Some(what), Some(first_bad)),
        Verdict::Incomplete { what } => ("incomplete", Some(what), None),
    };
    Ok(axum::Json(VerifiedView {
        verdict: verdict.to_owned(),
        what,
        first_bad,
        records: report.records,
        pruned: report.pruned,
        heads: report.heads,
        unsigned: report.unsigned,
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}
