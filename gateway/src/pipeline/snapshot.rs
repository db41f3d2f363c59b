//! One immutable snapshot of everything a call is judged and sent by; a call pins the one it began
//! under.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::http::Target;

use crate::call::{Catalogue, ConnectionName};
use crate::credential::Source;
use crate::gate::{Limits, ObserveUntil};
use crate::identity::Verifier;
use crate::mask::{Ledger, Vault};
use crate::policy::Policies;
use crate::upstream::{Cookies, Upstream};

/// Where a connection is reached: by path prefix (stripped) or by host. Exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Path prefix such as `/payments`; it is stripped, and the longest match by segment wins.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Host name such as `payments.example.com`; the whole path belongs to the function.
    #[serde(default)]
    pub host: Option<String>,
}

/// Where a caller puts its token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PresentIn {
    /// `Authorization: Bearer <token>` (the default).
    #[default]
    Authorization,
    /// `Proxy-Authorization: Bearer <token>`.
    ProxyAuthorization,
    /// `Authorization: Basic …` with the token as password, any user name.
    BasicPassword,
    /// A header of its own, such as `x-api-key`, for client libraries that own it.
    #[serde(untagged)]
    Header(String),
}

/// How a connection is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// By path prefix, normalised, without a slash at its end (empty: everything).
    Prefix(String),
    /// By host, lower case.
    Host(String),
}

/// One connection of a snapshot.
#[derive(Debug)]
pub struct Connection {
    /// Its name.
    pub name: ConnectionName,
    /// How it is found.
    pub route: Route,
    /// Its functions.
    pub catalogue: Catalogue,
    /// The way to them.
    pub upstream: Upstream,
    /// The function's origin, as records name it.
    pub origin: String,
    /// What is presented there.
    pub credential: Source,
    /// Rate and concurrency.
    pub limits: Limits,
    /// Where callers put their token.
    pub present_in: PresentIn,
    /// Header of [`PresentIn::Header`].
    pub present_header: Option<HeaderName>,
    /// How long a caller is held while people decide.
    pub hold: Duration,
    /// Status of `approval_pending` (429 by default).
    pub pending_status: u16,
    /// Until when it only observes; `None`: it enforces.
    pub observe: Option<ObserveUntil>,
    /// Whether cookies pass.
    pub cookies: Cookies,
    /// Audience of the assertion that tells the function who calls; `None` = none is sent.
    pub assert_caller: Option<String>,
}

/// Everything a call is judged and sent by.
#[derive(Debug)]
pub struct Snapshot {
    /// Hash of config and policies, in hex.
    pub version: String,
    /// Connections by name.
    pub connections: BTreeMap<ConnectionName, Arc<Connection>>,
    /// The policies.
    pub policies: Policies,
    /// Who may speak for whom.
    pub identity: Verifier,
    /// Hosts that requests may name, lower case, with the port where it is not the default.
    pub hosts: Vec<String>,
    /// The keys of pseudonyms and tokens.
    pub vault: Option<Arc<Vault>>,
    /// What callers drew out, where a budget counts it.
    pub ledger: Arc<Ledger>,
}

impl Snapshot {
    /// The connection that a request is for, and its target on that connection's side.
    pub fn route(&self, host: &str, target: &Target) -> Option<(Arc<Connection>, Target)> {
        let by_host = self
            .connections
            .values()
            .find(|connection| match &connection.route {
                Route::Host(name) => name == host,
                Route::Prefix(_) => false,
            });
        if let Some(connection) = by_host {
            return Some((Arc::clone(connection), target.clone()));
        }
        self.connections
            .values()
            .filter_map(|connection| match &connection.route {
                Route::Prefix(prefix) => {
                    let rest = target.strip_prefix(prefix)?;
                    Some((prefix.len(), connection, rest))
                }
                Route::Host(_) => None,
            })
            .max_by_key(|(length, _, _)| *length)
            .map(|(_, connection, rest)| (Arc::clone(connection), rest))
    }
}
