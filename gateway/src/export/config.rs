//! The sinks' settings, checked and made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Sink;
use super::https::{Https, Post};
use super::otlp::Otlp;
use super::syslog::Syslog;
use crate::egress::{self, ClientIdentity, Egress, Target};
use crate::record::Format;
use crate::secret::SecretRef;

/// Most sinks.
pub const SINKS_MAX: usize = 16;
/// Most further headers of one sink.
const HEADERS_MAX: usize = 16;
/// Longest name of a sink.
const NAME_BYTES_MAX: usize = 64;
/// How far behind a sink may be, by default, in seconds.
const ALARM_AFTER_S: u64 = 300;
/// How far behind a sink may be, in seconds.
const ALARM_AFTER_S_RANGE: std::ops::RangeInclusive<u64> = 10..=604_800;
/// Headers that the gateway sets itself.
const OWN_HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::ACCEPT_ENCODING,
];

/// Sinks by a name of your own.
pub type Config = BTreeMap<String, SinkConfig>;

/// One place that records go to while the gateway runs: exactly one of `https`, `syslog` and `otlp`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Lines posted over HTTPS.
    #[serde(default)]
    pub https: Option<HttpsConfig>,
    /// Syslog over TLS (RFC 5424, RFC 5425).
    #[serde(default)]
    pub syslog: Option<SyslogConfig>,
    /// OpenTelemetry logs (OTLP over HTTP, JSON encoding).
    #[serde(default)]
    pub otlp: Option<OtlpConfig>,
    /// Where a sink of a new name begins. Default: `oldest`.
    #[serde(default)]
    pub begin: Begin,
    /// How old records may become that the sink has not confirmed before that is an alarm, in seconds.
    /// Default: 300.
    #[serde(default)]
    #[schemars(range(min = 10, max = 604_800))]
    pub alarm_after_s: Option<u64>,
}

/// Where a sink of a new name begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Begin {
    /// With the log's first record.
    #[default]
    Oldest,
    /// With what is recorded from now on.
    Newest,
}

/// The form of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Every record, its exact bytes in a line.
    #[default]
    JsonLines,
    /// Every call that ended or was denied, as an OCSF API Activity event (class 6003).
    Ocsf,
    /// The same calls as CEF.
    Cef,
}

/// A receiver of lines over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpsConfig {
    /// Where to: `https`, or `http` on loopback.
    pub url: String,
    /// The form of lines. Default: `json-lines`.
    #[serde(default)]
    pub format: Form,
    /// Further headers by name, each with a reference to its whole value: `Authorization: file:token`.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretRef>,
    /// TLS towards it.
    #[serde(default)]
    pub tls: SinkTls,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogConfig {
    /// `tls://host[:port]` (port 6514 by default), or `tcp://host:port` on loopback.
    pub server: String,
    /// The form of messages. Default: `json-lines`.
    #[serde(default)]
    pub format: Form,
    /// TLS towards it.
    #[serde(default)]
    pub tls: SinkTls,
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// The collector's address, such as `https://collector.example.com:4318`; `/v1/logs` is added.
    pub url: String,
    /// Further headers by name, each with a reference to its whole value.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretRef>,
    /// TLS towards it.
    #[serde(default)]
    pub tls: SinkTls,
}

/// TLS towards a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkTls {
    /// PEM file with certificate authorities to trust, beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM file with the gateway's own certificate, where the sink asks for one.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// PEM file with its key; only its owner may read it.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// A fault: where in the settings, and what to do.
type Fault = (String, String);
/// A fault of one sink: its field, and what to do.
type SinkFault = (&'static str, String);

/// A sink that is ready.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) sink: Box<dyn Sink>,
    pub(super) begin: Begin,
    pub(super) alarm_after: Duration,
}

/// The sinks of a config.
#[derive(Debug)]
pub struct Sinks(pub(super) Vec<Opened>);

impl Sinks {
    /// Their names, and how old records that they have not confirmed may become.
    pub fn names(&self) -> impl Iterator<Item = (&str, Duration)> {
        let each = self.0.iter();
        each.map(|opened| (opened.name.as_str(), opened.alarm_after))
    }

    /// Whether this receiver can be had, without sending it anything.
    ///
    /// # Errors
    /// [`egress::Error`].
    pub async fn reach(&self, name: &str) -> Result<(), egress::Error> {
        match self.0.iter().find(|opened| opened.name == name) {
            Some(opened) => opened.sink.reach().await,
            None => Ok(()),
        }
    }
}

/// Make the sinks.
///
/// # Errors
/// Every fault, each with its place in the settings.
pub fn sinks(config: &Config, base: &Path, egress: &Egress) -> Result<Sinks, Vec<Fault>> {
    let (mut made, mut faults) = (Vec::new(), Vec::new());
    if config.len() > SINKS_MAX {
        faults.push((
            String::new(),
            format!("there are more than {SINKS_MAX} sinks"),
        ));
    }
    for (name, settings) in config {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
            let text = "a sink's name has letters, digits, `-` and `_`, at most 64";
            faults.push((format!(".{name}"), text.to_owned()));
        }
        match settings.open(base, egress) {
            Ok((sink, alarm_after)) => made.push(Opened {
                name: name.clone(),
                sink,
                begin: settings.begin,
                alarm_after,
            }),
            Err((field, text)) => {
                let dot = if field.is_empty() { "" } else { "." };
                faults.push((format!(".{name}{dot}{field}"), text));
            }
        }
    }
    if faults.is_empty() {
        Ok(Sinks(made))
    } else {
        Err(faults)
    }
}

impl SinkConfig {
    fn open(&self, base: &Path, egress: &Egress) -> Result<(Box<dyn Sink>, Duration), SinkFault> {
        let alarm_after_s = self.alarm_after_s.unwrap_or(ALARM_AFTER_S);
        if !ALARM_AFTER_S_RANGE.contains(&alarm_after_s) {
            return Err(("alarm_after_s", "between 10 and 604800 seconds".to_owned()));
        }
        let sink: Box<dyn Sink> = match (&self.https, &self.syslog, &self.otlp) {
            (Some(settings), None, None) => Box::new(settings.open(base, egress)?),
            (None, Some(settings), None) => Box::new(settings.open(base, egress)?),
            (None, None, Some(settings)) => Box::new(settings.open(base, egress)?),
            _ => {
                let text = "exactly one of `https`, `syslog` and `otlp` says what it is";
                return Err(("", text.to_owned()));
            }
        };
        Ok((sink, Duration::from_secs(alarm_after_s)))
    }
}

impl HttpsConfig {
    fn open(&self, base: &Path, egress: &Egress) -> Result<Https, SinkFault> {
        let target = Target::from_config(&self.url);
        Ok(Https {
            post: Post {
                target: target.map_err(|error| ("https.url", error.to_string()))?,
                headers: headers(&self.headers, base).map_err(|why| ("https.headers", why))?,
                egress: self
                    .tls
                    .client(base, egress)
                    .map_err(|why| ("https.tls", why))?,
            },
            format: self.format.format(),
        })
    }
}

impl SyslogConfig {
    fn open(&self, base: &Path, egress: &Egress) -> Result<Syslog, SinkFault> {
        let target = Target::stream_from_config(&self.server);
        Ok(Syslog {
            target: target.map_err(|error| ("syslog.server", error.to_string()))?,
            egress: self
                .tls
                .client(base, egress)
                .map_err(|why| ("syslog.tls", why))?,
            format: self.format.format(),
        })
    }
}

impl OtlpConfig {
    fn open(&self, base: &Path, egress: &Egress) -> Result<Otlp, SinkFault> {
        let url = self.url.trim_end_matches('/');
        if url.ends_with("/v1/logs") {
            let text = "`/v1/logs` is added: leave it out";
            return Err(("otlp.url", text.to_owned()));
        }
        let target = Target::from_config(&format!("{url}/v1/logs"));
        Ok(Otlp {
            post: Post {
                target: target.map_err(|error| ("otlp.url", error.to_string()))?,
                headers: headers(&self.headers, base).map_err(|why| ("otlp.headers", why))?,
                egress: self
                    .tls
                    .client(base, egress)
                    .map_err(|why| ("otlp.tls", why))?,
            },
        })
    }
}

impl SinkTls {
    fn client(&self, base: &Path, egress: &Egress) -> Result<Egress, String> {
        let identity = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(ClientIdentity {
                certificate: base.join(certificate),
                key: base.join(key),
            }),
            (Some(_), None) => return Err("`key` is missing beside `certificate`".to_owned()),
            (None, Some(_)) => return Err("`certificate` is missing beside `key`".to_owned()),
        };
        let ca = self.ca.as_ref().map(|ca| base.join(ca));
        if ca.is_none() && identity.is_none() {
            return Ok(egress.clone());
        }
        let client = egress.with_tls(ca.as_deref(), identity.as_ref());
        client.map_err(|error| error.to_string())
    }
}

impl Form {
    const fn format(self) -> Format {
        match self {
            Self::JsonLines => Format::JsonLines,
            Self::Ocsf => Format::Ocsf,
            Self::Cef => Format::Cef,
        }
    }
}

/// No text repeats a value, which is a secret.
fn headers(config: &BTreeMap<String, SecretRef>, base: &Path) -> Result<HeaderMap, String> {
    if config.len() > HEADERS_MAX {
        return Err(format!("there are more than {HEADERS_MAX}"));
    }
    let mut headers = HeaderMap::new();
    for (name, secret) in config {
        let parsed: HeaderName = name
            .parse()
            .map_err(|_| format!("`{name}` is no name of a header"))?;
        if OWN_HEADERS.contains(&parsed) {
            return Err(format!("`{name}` is set by the gateway itself"));
        }
        let secret = secret
            .resolve(base)
            .map_err(|error| format!("`{name}`: {error}"))?;
        let mut value = HeaderValue::from_bytes(secret.expose())
            .map_err(|_| format!("`{name}`: what it refers to cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(parsed, value);
    }
    Ok(headers)
}
