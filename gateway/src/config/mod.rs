//! The configuration: one strict YAML file, policies beside it, secrets as references.
//!
//! Owns the file's form, the cross-checks between rooms' own settings, and the making of a snapshot.
//! Refuses unknown keys and everything that would only be noticed at the first call; tells every
//! fault at once. Called by `app` and `cli`.

mod build;
mod console_site;
mod fault;
mod load;
mod masks;
mod witnesses;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use build::{Context, build, catalogue_report};
pub use console_site::{client, site};
pub use fault::Fault;
pub use load::{Loaded, load, policies_in, schema};
pub use witnesses::{WitnessConfig, witnesses};

use crate::approval;
use crate::call::{ConnectionName, FunctionsConfig};
use crate::console;
use crate::credential;
use crate::export;
use crate::gate::{LimitsConfig, ModeConfig};
use crate::identity;
use crate::listener::{self, TlsFiles};
use crate::mask;
use crate::notify;
use crate::pipeline::{PresentIn, RouteConfig};
use crate::record;
use crate::store;
use crate::telemetry;
use crate::upstream::{Cookies, Timeouts, TlsConfig};

/// The whole configuration. Paths are relative to the file's folder.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where callers connect.
    pub listen: Vec<listener::Config>,
    /// Where people and the API connect. Default: no console.
    #[serde(default)]
    pub console: Option<ConsoleConfig>,
    /// The data folder; made by `callgate init`, owned by one process at a time.
    pub data: PathBuf,
    /// Who may call: token issuers.
    #[serde(default)]
    pub identity: identity::Config,
    /// Folder with the policies (`*.cedar`).
    pub policies: PathBuf,
    /// Upstreams and their functions, by name.
    #[serde(default)]
    pub connections: BTreeMap<ConnectionName, ConnectionConfig>,
    /// How calls wait for people.
    #[serde(default)]
    pub approvals: approval::Config,
    /// How people are told that calls wait for them.
    #[serde(default)]
    pub notify: notify::Config,
    /// The keys of pseudonyms and reversible tokens. Default: none, and neither can be asked for.
    #[serde(default)]
    pub mask_keys: Option<mask::KeysConfig>,
    /// Where the state of decisions is kept.
    #[serde(default)]
    pub store: store::Config,
    /// The audit log.
    #[serde(default)]
    pub audit: AuditConfig,
    /// Log lines.
    #[serde(default)]
    pub log: telemetry::Config,
    /// How long calls under way may take to end at shutdown, in seconds. Default: 30.
    #[serde(default)]
    pub drain_s: Option<u64>,
}

/// The console's listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Address and port, for example `127.0.0.1:8081`.
    pub address: SocketAddr,
    /// Audience that people's tokens must carry; never one of the data path's. Votes need it.
    #[serde(default)]
    pub audience: Option<String>,
    /// Where people's browsers reach the console: scheme, host and port, such as
    /// `https://callgate.example.com`. The redirect URI of the login and all links begin so.
    /// Default: the first of `hosts` or the address, with `https` where `tls` is given.
    #[serde(default)]
    pub url: Option<String>,
    /// How people sign in. Default: not at all; the API takes bearer tokens.
    #[serde(default)]
    pub login: Option<console::LoginConfig>,
    /// Certificate and key; plaintext is for loopback only.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Host names that requests may carry. Default: the address itself and, on loopback, `localhost`.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// The audit log's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// The log's name in its checkpoints, a schema-less URL such as `callgate.example.com/eu-1`.
    /// Default: the one that `init` made.
    #[serde(default)]
    pub origin: Option<String>,
    /// Bytes of request and of answer that are kept for replay, each. Default: 1048576.
    #[serde(default)]
    pub capture_bytes: Option<usize>,
    /// A file on another volume that remembers the newest signed head, so that a log which was put back to
    /// an older state is noticed at the next start. A log has one of its own. Default: none.
    #[serde(default)]
    pub head_file: Option<PathBuf>,
    /// Where the root key of the recorded content is kept. Default: in a file beside the keyring.
    #[serde(default)]
    pub root_key: Option<record::RootKeyConfig>,
    /// How long what is recorded is kept. Default: for ever.
    #[serde(default)]
    pub keep: record::KeepConfig,
    /// Who cosigns the log's heads, outside of this machine. Default: nobody, so that whoever owns the
    /// machine could rewind the log unseen. Takes effect at a restart.
    #[serde(default)]
    pub witnesses: Vec<WitnessConfig>,
    /// File that says which of the witnesses make a head a witnessed one (C2SP tlog-policy). Default:
    /// any one of them.
    #[serde(default)]
    pub policy: Option<PathBuf>,
    /// How often the witnesses are asked, in seconds. Default: 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3600))]
    pub witness_every_s: Option<u64>,
    /// Where records go while the gateway runs, by a name of your own. Default: nowhere. Takes effect at a
    /// restart.
    #[serde(default)]
    pub export: export::Config,
}

/// One upstream and its functions.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectionConfig {
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is: `http(s)://host[:port][/base]`.
    pub upstream: String,
    /// How callers reach it.
    pub route: RouteConfig,
    /// What can be called there.
    pub functions: FunctionsConfig,
    /// What is presented there. Default: nothing.
    #[serde(default)]
    pub credential: credential::Config,
    /// Masking of answers. Default: on, for secrets and checksummed classes.
    #[serde(default)]
    pub mask: mask::Config,
    /// Where callers put their token. Default: `authorization`.
    #[serde(default)]
    pub present_in: PresentIn,
    /// Labels for policies.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How long to wait for it.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// TLS towards it.
    #[serde(default)]
    pub tls: TlsConfig,
    /// Speak HTTP/2 without negotiation to a plaintext upstream. Default: false.
    #[serde(default)]
    pub http2: bool,
    /// Rate and concurrency per principal and function. Default: none.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// `enforce`, or `observe until 2026-12-31`: until the end of that day (UTC) nothing is refused for
    /// what it calls, every call passes, and what would have been decided is recorded. Default: `enforce`.
    #[serde(default)]
    pub mode: ModeConfig,
    /// Whether cookies pass. Default: `drop`.
    #[serde(default)]
    pub cookies: Cookies,
    /// Audience of a short signed assertion (header `Callgate-Caller`) that tells the function who
    /// calls. Default: none is sent.
    #[serde(default)]
    pub assert_caller: Option<String>,
    /// How long a caller is held while people decide, in seconds. Default: `approvals.hold_s`.
    #[serde(default)]
    #[schemars(range(max = 300))]
    pub hold_s: Option<u64>,
    /// Status of `approval_pending`. Default: 429, which stock clients repeat.
    #[serde(default)]
    pub pending_status: Option<PendingStatus>,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2.
    Http,
}

/// Statuses that `approval_pending` may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PendingStatus {
    /// 429 Too Many Requests.
    #[serde(rename = "429")]
    TooManyRequests,
    /// 503 Service Unavailable.
    #[serde(rename = "503")]
    Unavailable,
    /// 202 Accepted: stock clients take it for success.
    #[serde(rename = "202")]
    Accepted,
}

impl ConnectionConfig {
    /// How long this connection's callers are held.
    fn hold(&self, general: &approval::Config, place: &str) -> Result<Duration, Fault> {
        let (seconds, most) = (self.hold_s.unwrap_or(general.hold_s), approval::HOLD_S_MAX);
        if seconds > most {
            let text = format!("{seconds} s is longer than a caller may be held");
            let help = format!(
                "at most {most}: a caller that waits longer gets 429 or 202 and asks again"
            );
            return Err(Fault::new(place, text).help(help));
        }
        Ok(Duration::from_secs(seconds))
    }
}

impl PendingStatus {
    /// As a number.
    pub const fn code(self) -> u16 {
        match self {
            Self::TooManyRequests => 429,
            Self::Unavailable => 503,
            Self::Accepted => 202,
        }
    }
}
