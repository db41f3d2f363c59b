//! The credential that a function wants and a caller never sees.
//!
//! Issued only against a [`Permitted`] call, together with the needles by which it is found again in
//! an answer. Refuses secrets that are too short to be recognised. Called by `pipeline`.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::gate::Permitted;
use crate::mask::Needles;
use crate::record::CredentialRef;
use crate::secret::{Secret, SecretError, SecretRef};

/// What a connection presents to its function. Exactly one member, or none for a function that wants
/// no credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CredentialConfig")]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `Authorization: Bearer <secret>` (RFC 6750).
    #[serde(default)]
    pub bearer: Option<SecretRef>,
    /// `Authorization: Basic <user:password>` (RFC 7617).
    #[serde(default)]
    pub basic: Option<Basic>,
    /// A header of the function's own, such as `X-Api-Key`.
    #[serde(default)]
    pub header: Option<Header>,
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: SecretRef,
}

/// A header and its secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// The secret.
    pub value: SecretRef,
}

/// Why a credential is unusable as configured.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// More than one kind.
    #[error("`credential` takes one of `bearer`, `basic`, `header`, not several")]
    Several,
    /// The secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The scrubber cannot recognise it.
    #[error(
        "`{reference}`: a secret of under 8 bytes cannot be recognised in an answer; use a longer one"
    )]
    Short {
        /// The reference, not the value.
        reference: SecretRef,
    },
    /// Not a header.
    #[error("`{0}` is not a header name that a credential may stand in")]
    HeaderName(String),
    /// Not a header value.
    #[error("`{reference}`: the secret has characters that cannot stand in a header")]
    HeaderValue {
        /// The reference, not the value.
        reference: SecretRef,
    },
    /// The user name has a colon.
    #[error("a user name cannot contain `:` (RFC 7617)")]
    Username,
}

/// A connection's credential, resolved from config.
#[derive(Debug)]
pub struct Source {
    slot: Option<(HeaderName, Secret<Vec<u8>>)>,
    reference: Option<CredentialRef>,
    needles: Arc<Needles>,
}

/// A credential for one permitted call. Spent by the upstream.
#[derive(Debug)]
pub struct Credential {
    slot: Option<(HeaderName, HeaderValue)>,
    pool: String,
    needles: Arc<Needles>,
}

/// Headers that carry meaning of their own and cannot be a credential's slot.
const NOT_A_SLOT: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "via",
];

impl Source {
    /// Resolve the secret. `version_key` (random per process) keys the version that records name, so
    /// that a version tells nothing about the secret.
    ///
    /// # Errors
    /// [`Fault`] that names the reference and the mend.
    pub fn new(config: &Config, base: &Path, version_key: &[u8]) -> Result<Self, Fault> {
        let given = usize::from(config.bearer.is_some())
            + usize::from(config.basic.is_some())
            + usize::from(config.header.is_some());
        if given > 1 {
            return Err(Fault::Several);
        }
        if let Some(reference) = &config.bearer {
            let secret = reference.resolve(base)?;
            let value = [b"Bearer ", secret.expose().as_slice()].concat();
            return Self::build(
                AUTHORIZATION,
                value,
                &[secret.expose()],
                reference,
                version_key,
            );
        }
        if let Some(basic) = &config.basic {
            if basic.username.contains(':') {
                return Err(Fault::Username);
            }
            let password = basic.password.resolve(base)?;
            let pair = [basic.username.as_bytes(), b":", password.expose()].concat();
            let encoded = base64::engine::general_purpose::STANDARD.encode(&pair);
            let value = format!("Basic {encoded}").into_bytes();
            let needles: [&[u8]; 3] = [password.expose(), &pair, encoded.as_bytes()];
            return Self::build(AUTHORIZATION, value, &needles, &basic.password, version_key);
        }
        if let Some(header) = &config.header {
            let name: HeaderName = header
                .name
                .parse()
                .map_err(|_| Fault::HeaderName(header.name.clone()))?;
            if NOT_A_SLOT.contains(&name.as_str()) {
                return Err(Fault::HeaderName(header.name.clone()));
            }
            let secret = header.value.resolve(base)?;
            let value = secret.expose().clone();
            return Self::build(name, value, &[secret.expose()], &header.value, version_key);
        }
        Ok(Self {
            slot: None,
            reference: None,
            needles: Arc::new(Needles::none()),
        })
    }

    fn build(
        name: HeaderName,
        value: Vec<u8>,
        secrets: &[&[u8]],
        reference: &SecretRef,
        version_key: &[u8],
    ) -> Result<Self, Fault> {
        if HeaderValue::from_bytes(&value).is_err() {
            return Err(Fault::HeaderValue {
                reference: reference.clone(),
            });
        }
        let needles = Needles::new(secrets).map_err(|_| Fault::Short {
            reference: reference.clone(),
        })?;
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, version_key);
        let tag = aws_lc_rs::hmac::sign(&key, &value);
        let version = tag
            .as_ref()
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            slot: Some((name, Secret::new(value))),
            reference: Some(CredentialRef {
                name: reference.to_string(),
                version,
            }),
            needles: Arc::new(needles),
        })
    }

    /// What the record says of it: where it comes from and which version, never the value.
    pub const fn reference(&self) -> Option<&CredentialRef> {
        self.reference.as_ref()
    }

    /// The header it stands in; a caller's own header of that name never travels on.
    pub fn header(&self) -> Option<&HeaderName> {
        self.slot.as_ref().map(|(name, _)| name)
    }

    /// The credential for one permitted call.
    ///
    /// # Errors
    /// [`Fault`] when the secret cannot stand in its header any more.
    pub fn issue<C: Call>(&self, _permit: &Permitted<C>) -> Result<Credential, Fault> {
        let slot = match &self.slot {
            None => None,
            Some((name, value)) => {
                let mut value = HeaderValue::from_bytes(value.expose())
                    .map_err(|_| Fault::HeaderName(name.to_string()))?;
                value.set_sensitive(true);
                Some((name.clone(), value))
            }
        };
        let pool = self
            .reference
            .as_ref()
            .map_or_else(String::new, |reference| {
                format!("{}@{}", reference.name, reference.version)
            });
        Ok(Credential {
            slot,
            pool,
            needles: Arc::clone(&self.needles),
        })
    }
}

impl Credential {
    /// Header, pool key and needles: the upstream's alone (a test reads the sources for that).
    pub(crate) fn spend(self) -> (Option<(HeaderName, HeaderValue)>, String, Arc<Needles>) {
        (self.slot, self.pool, self.needles)
    }
}
