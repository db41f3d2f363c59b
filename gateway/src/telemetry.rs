//! Logs and metrics. No secret, token, body or path query is ever written to either: callers of this
//! room pass names from the config and numbers, never what a caller sent.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the gateway logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LogConfig")]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `json` (default) for machines, `text` for people.
    #[serde(default)]
    pub format: Format,
    /// `error`, `warn`, `info` (default), `debug` or `trace`.
    #[serde(default)]
    pub level: Level,
}

/// A log line's form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The least severe line that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Failures.
    Error,
    /// Failures and what may become one.
    Warn,
    /// Also what an operator wants to know happened.
    #[default]
    Info,
    /// Also what a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    const fn filter(self) -> tracing::level_filters::LevelFilter {
        use tracing::level_filters::LevelFilter;
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// Write log lines to standard error from now on. A second call changes nothing.
pub fn init(config: &Config) {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(config.level.filter())
        .with_target(false);
    let outcome = match config.format {
        Format::Json => builder.json().flatten_event(true).try_init(),
        Format::Text => builder.compact().try_init(),
    };
    if outcome.is_err() {
        tracing::debug!("logging was set up before");
    }
}

/// Labels of a finished call. All come from config or from a fixed set, so their number is bounded.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CallLabels {
    /// Connection name.
    pub connection: String,
    /// Function name.
    pub function: String,
    /// `ok`, `denied`, `held`, … : the code that the caller saw, or `ok`.
    pub outcome: String,
}

/// Labels of a masked class.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct MaskLabels {
    /// Connection name.
    pub connection: String,
    /// Data class.
    pub class: String,
}

/// Labels of a shadow policy that matched.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ShadowLabels {
    /// The policy.
    pub policy: String,
    /// What would be decided: `allow`, `deny`, `ask`.
    pub decided: String,
}

/// Labels of a call that passed because its connection only observes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ObservedLabels {
    /// The connection.
    pub connection: String,
    /// What would have been decided: `allow`, `deny`, `ask`.
    pub decided: String,
}

/// Labels of a connection.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ConnectionLabels {
    /// The connection.
    pub connection: String,
}

/// Labels of a refusal before a function was known.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RefusalLabels {
    /// The stable code that the caller saw.
    pub code: String,
}

/// Labels of a witness.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WitnessLabels {
    /// The name of its key, from the config.
    pub witness: String,
}

/// Labels of a witness's alarm.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WitnessAlarmLabels {
    /// The name of its key, from the config.
    pub witness: String,
    /// The alarm's word.
    pub kind: String,
}

/// How a witness stands after a round.
#[derive(Clone, Copy, Debug)]
pub struct Witnessed<'w> {
    /// Records that it has cosigned.
    pub size: u64,
    /// Signed records that it has not.
    pub behind: u64,
    /// Since it last cosigned; `None`: never.
    pub age: Option<Duration>,
    /// The word of the alarm that this round raised.
    pub alarm: Option<&'w str>,
}

/// Labels of a place that records go to.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SinkLabels {
    /// Its name, from the config.
    pub sink: String,
}

/// How the places stand that records go to.
#[derive(Clone, Debug, Default)]
pub struct Exported([Family<SinkLabels, Gauge>; 5]);

impl Exported {
    /// Name and meaning of each number, in the order that [`Exported::put`] takes them.
    const NUMBERS: [(&'static str, &'static str); 5] = [
        (
            "audit_export_records",
            "Records that a sink has confirmed or refused for good",
        ),
        (
            "audit_export_behind_records",
            "Signed records that a sink has not confirmed",
        ),
        (
            "audit_export_behind_seconds",
            "Age of the oldest record that a sink has not confirmed",
        ),
        (
            "audit_export_parked_records",
            "Records that a sink refused for good, or that it did not get in time",
        ),
        (
            "audit_export_failures",
            "Deliveries to a sink that failed since the start",
        ),
    ];

    /// How one of them stands: records up to its cursor, records and seconds behind, records refused for
    /// good, failed deliveries.
    pub fn put(&self, sink: &str, numbers: &[u64; 5]) {
        let labels = SinkLabels {
            sink: sink.to_owned(),
        };
        for (family, number) in self.0.iter().zip(numbers) {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            family.get_or_create(&labels).set(number);
        }
    }

    fn register(&self, registry: &mut Registry) {
        for (family, (name, help)) in self.0.iter().zip(Self::NUMBERS) {
            registry.register(name, help, family.clone());
        }
    }
}

/// The gateway's metrics, in OpenMetrics form.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    calls: Family<CallLabels, Counter>,
    seconds: Histogram,
    own_seconds: Histogram,
    masked: Family<MaskLabels, Counter>,
    replaced: Family<MaskLabels, Counter>,
    budget_refusals: Family<ConnectionLabels, Counter>,
    shadows: Family<ShadowLabels, Counter>,
    observed: Family<ObservedLabels, Counter>,
    glass: Family<ConnectionLabels, Counter>,
    observing: Family<ConnectionLabels, Gauge>,
    refusals: Family<RefusalLabels, Counter>,
    witness_records: Family<WitnessLabels, Gauge>,
    witness_behind: Family<WitnessLabels, Gauge>,
    witness_age: Family<WitnessLabels, Gauge>,
    witness_alarms: Family<WitnessAlarmLabels, Counter>,
    /// Where records go.
    pub export: Exported,
    /// Client connections that are open.
    pub connections: Gauge,
    /// Calls under way.
    pub under_way: Gauge,
    /// Whether the record admits calls: 1 or 0.
    pub admitting: Gauge,
    /// Free bytes on the record's file system.
    pub free_bytes: Gauge,
    /// Reloads that were refused.
    pub reload_failures: Counter,
}

impl Metrics {
    /// Fresh metrics, all zero.
    pub fn new() -> Self {
        let buckets = [
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
        ];
        let mut registry = Registry::with_prefix("callgate");
        let this = Self {
            calls: Family::default(),
            seconds: Histogram::new(buckets),
            own_seconds: Histogram::new(buckets),
            masked: Family::default(),
            replaced: Family::default(),
            budget_refusals: Family::default(),
            shadows: Family::default(),
            observed: Family::default(),
            glass: Family::default(),
            observing: Family::default(),
            refusals: Family::default(),
            witness_records: Family::default(),
            witness_behind: Family::default(),
            witness_age: Family::default(),
            witness_alarms: Family::default(),
            export: Exported::default(),
            connections: Gauge::default(),
            under_way: Gauge::default(),
            admitting: Gauge::default(),
            free_bytes: Gauge::default(),
            reload_failures: Counter::default(),
            registry: Arc::new(Registry::default()),
        };
        this.register(&mut registry);
        this.register_witnesses(&mut registry);
        this.export.register(&mut registry);
        Self {
            registry: Arc::new(registry),
            ..this
        }
    }

    fn register_masking(&self, registry: &mut Registry) {
        registry.register(
            "replaced_values",
            "Values of requests that were replaced before the function saw them, by class",
            self.replaced.clone(),
        );
        registry.register(
            "budget_refusals",
            "Calls that were refused because answers to their caller held as many different values as it may have",
            self.budget_refusals.clone(),
        );
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "calls",
            "Finished calls by function and outcome",
            self.calls.clone(),
        );
        registry.register(
            "call_seconds",
            "Whole duration of calls",
            self.seconds.clone(),
        );
        registry.register(
            "call_own_seconds",
            "Duration of calls without the time spent in the function",
            self.own_seconds.clone(),
        );
        registry.register(
            "masked_values",
            "Masked values by class",
            self.masked.clone(),
        );
        self.register_masking(registry);
        registry.register(
            "shadow_decisions",
            "Calls that a shadow policy matched, by what would be decided with it",
            self.shadows.clone(),
        );
        registry.register(
            "observed_calls",
            "Calls that passed because their connection only observes, by what would have been decided",
            self.observed.clone(),
        );
        registry.register(
            "broken_glass",
            "Calls that who made them let through without the quorum, by breaking the glass",
            self.glass.clone(),
        );
        registry.register(
            "connection_observing",
            "1 while a connection only observes and enforces nothing",
            self.observing.clone(),
        );
        registry.register(
            "refusals",
            "Requests refused before a function was known",
            self.refusals.clone(),
        );
        registry.register(
            "client_connections",
            "Open client connections",
            self.connections.clone(),
        );
        registry.register("calls_under_way", "Calls under way", self.under_way.clone());
        registry.register(
            "audit_admitting",
            "1 when the audit log admits calls",
            self.admitting.clone(),
        );
        registry.register(
            "audit_free_bytes",
            "Free bytes for the audit log",
            self.free_bytes.clone(),
        );
        registry.register(
            "reload_failures",
            "Refused reloads",
            self.reload_failures.clone(),
        );
    }

    fn register_witnesses(&self, registry: &mut Registry) {
        registry.register(
            "audit_witness_records",
            "Records under the newest head that a witness has cosigned",
            self.witness_records.clone(),
        );
        registry.register(
            "audit_witness_behind_records",
            "Signed records that a witness has not cosigned",
            self.witness_behind.clone(),
        );
        registry.register(
            "audit_witness_age_seconds",
            "Time since a witness last cosigned; -1: never",
            self.witness_age.clone(),
        );
        registry.register(
            "audit_witness_alarms",
            "Rounds in which a witness did not answer, refused or lied, by kind",
            self.witness_alarms.clone(),
        );
    }

    /// How a witness stands.
    pub fn witness(&self, witness: &str, stands: &Witnessed<'_>) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let labels = WitnessLabels {
            witness: witness.to_owned(),
        };
        let age = stands.age.map_or(-1, |age| number(age.as_secs()));
        self.witness_records
            .get_or_create(&labels)
            .set(number(stands.size));
        self.witness_behind
            .get_or_create(&labels)
            .set(number(stands.behind));
        self.witness_age.get_or_create(&labels).set(age);
        if let Some(kind) = stands.alarm {
            let labels = WitnessAlarmLabels {
                witness: witness.to_owned(),
                kind: kind.to_owned(),
            };
            self.witness_alarms.get_or_create(&labels).inc();
        }
    }

    /// Count a finished call.
    pub fn call(&self, labels: &CallLabels, whole: Duration, in_function: Duration) {
        self.calls.get_or_create(labels).inc();
        self.seconds.observe(whole.as_secs_f64());
        self.own_seconds
            .observe(whole.saturating_sub(in_function).as_secs_f64());
    }

    /// Count masked values.
    pub fn masked(&self, connection: &str, class: &str, count: u64) {
        let labels = MaskLabels {
            connection: connection.to_owned(),
            class: class.to_owned(),
        };
        self.masked.get_or_create(&labels).inc_by(count);
    }

    /// Count a call that was refused because the caller's budget of values is used up.
    pub fn budget_refusal(&self, connection: &str) {
        let labels = ConnectionLabels {
            connection: connection.to_owned(),
        };
        self.budget_refusals.get_or_create(&labels).inc();
    }

    /// Count values of a request that were replaced.
    pub fn replaced(&self, connection: &str, class: &str, count: u64) {
        let labels = MaskLabels {
            connection: connection.to_owned(),
            class: class.to_owned(),
        };
        self.replaced.get_or_create(&labels).inc_by(count);
    }

    /// Count a call that a shadow policy matched.
    pub fn shadow(&self, policy: &str, decided: &str) {
        let labels = ShadowLabels {
            policy: policy.to_owned(),
            decided: decided.to_owned(),
        };
        self.shadows.get_or_create(&labels).inc();
    }

    /// Count a call that passed because its connection only observes.
    pub fn observed(&self, connection: &str, decided: &str) {
        let labels = ObservedLabels {
            connection: connection.to_owned(),
            decided: decided.to_owned(),
        };
        self.observed.get_or_create(&labels).inc();
    }

    /// Count a call that runs because its caller broke the glass.
    pub fn broke_glass(&self, connection: &str) {
        let connection = connection.to_owned();
        self.glass
            .get_or_create(&ConnectionLabels { connection })
            .inc();
    }

    /// Say of every connection whether it only observes; those that are gone are not told of.
    pub fn observing(&self, connections: impl Iterator<Item = (String, bool)>) {
        self.observing.clear();
        for (connection, observing) in connections {
            let labels = ConnectionLabels { connection };
            self.observing
                .get_or_create(&labels)
                .set(i64::from(observing));
        }
    }

    /// Count a refusal before a function was known.
    pub fn refusal(&self, code: &'static str) {
        self.refusals
            .get_or_create(&RefusalLabels {
                code: code.to_owned(),
            })
            .inc();
    }

    /// All metrics as text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            tracing::warn!("metrics could not be written");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
