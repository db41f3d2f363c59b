//! Where the keyring's root key comes from: a file beside the keyring, or a transit service (Vault, OpenBao)
//! that keeps the key which the root key is wrapped under.
//!
//! With a transit service `keys/root.wrapped` stands in place of `keys/root.key`. It is unwrapped once, at
//! the start; a gateway that runs needs the service no more. Refuses to start without it.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Error;
use super::files::{self, Files};
use super::seal::random;
use crate::disk::Disk;
use crate::egress::{self, Egress, Limits, Target};
use crate::secret::{Secret, SecretError, SecretRef};

/// Limits of one exchange with the transit service.
const EXCHANGE: Limits = Limits {
    bytes_max: 64 * 1024,
    total: Duration::from_secs(10),
};

/// Longest wrapped key, in bytes.
const WRAPPED_BYTES_MAX: usize = 8 * 1024;

/// Where the root key of the audit log's content is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RootKeyConfig {
    /// A transit service (Vault, OpenBao) whose key wraps the root key.
    pub transit: TransitConfig,
}

/// A transit service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitConfig {
    /// Where it is: `https://vault.internal:8200`; plaintext on loopback only.
    pub url: String,
    /// Where its transit engine is mounted. Default: `transit`.
    #[serde(default)]
    pub mount: Option<String>,
    /// The name of the key there.
    pub key: String,
    /// A token that may encrypt, decrypt and rewrap with that key; renewed while the gateway runs.
    pub token: SecretRef,
    /// The namespace, where the service has them. Default: none.
    #[serde(default)]
    pub namespace: Option<String>,
}

impl TransitConfig {
    /// What is wrong with it: the field, and what to do.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Err(error) = Target::from_config(&self.url) {
            faults.push(("url", error.to_string()));
        }
        let plain = |text: &str| {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            !text.is_empty() && text.len() <= 128 && text.chars().all(good) && !text.contains("..")
        };
        let mount = self.mount.as_deref().map(|mount| ("mount", mount));
        let space = self.namespace.as_deref().map(|space| ("namespace", space));
        for (field, text) in [("key", self.key.as_str())]
            .into_iter()
            .chain(mount)
            .chain(space)
        {
            if !plain(text) || (field == "key" && text.contains('/')) {
                let text = format!("`{text}` is not a name: letters, digits, `-`, `_` and `.`");
                faults.push((field, text));
            }
        }
        faults
    }
}

/// The root key, as opening a log takes it.
#[derive(Clone, Debug, Default)]
pub enum RootKey {
    /// Read it from `keys/root.key`.
    #[default]
    File,
    /// It was unwrapped already.
    Unwrapped(Secret<[u8; 32]>),
}

/// Why the transit service does not help. No text repeats what it sent.
#[derive(Debug, thiserror::Error)]
pub enum TransitError {
    /// It was not reached.
    #[error("the transit service at `{url}` cannot be used: {source}")]
    Egress {
        /// Where it should be.
        url: String,
        /// Why not.
        source: egress::Error,
    },
    /// The token.
    #[error("`audit.root_key.transit.token`: {0}")]
    Token(#[from] SecretError),
    /// It refused.
    #[error("the transit service at `{url}` refused to {doing} (status {status}): {help}")]
    Refused {
        /// Where it is.
        url: String,
        /// What was asked.
        doing: &'static str,
        /// Its answer's status.
        status: u16,
        /// What that means.
        help: &'static str,
    },
    /// It said something else.
    #[error("the transit service at `{0}` gave an answer that is not one of its kind")]
    Answer(String),
    /// The wrapped key was unwrapped to something else than a key.
    #[error("what the transit service unwrapped is not a root key of this log")]
    NotTheKey,
}

/// How long a token lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenLife {
    /// Seconds that it has left; `None` when it does not end.
    pub left: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// A client of a transit service.
#[derive(Clone, Debug)]
pub struct Transit {
    config: TransitConfig,
    /// The config's folder, for references to files.
    base: std::path::PathBuf,
    egress: Egress,
}

impl Transit {
    /// For these settings.
    pub fn new(config: &TransitConfig, base: &Path, egress: Egress) -> Self {
        Self {
            config: config.clone(),
            base: base.to_owned(),
            egress,
        }
    }

    /// The name of the key, for records.
    pub fn name(&self) -> &str {
        &self.config.key
    }

    async fn exchange(
        &self,
        doing: &'static str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, TransitError> {
        let url = self.config.url.trim_end_matches('/');
        let unusable = |source| TransitError::Egress {
            url: url.to_owned(),
            source,
        };
        let target = Target::from_config(&format!("{url}/v1/{path}")).map_err(unusable)?;
        let token = self.config.token.resolve(&self.base)?;
        let strange = |_| TransitError::Answer(url.to_owned());
        let mut headers = HeaderMap::new();
        let mut value = HeaderValue::from_bytes(token.expose()).map_err(strange)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-vault-token"), value);
        headers.insert(
            HeaderName::from_static("x-vault-request"),
            HeaderValue::from_static("true"),
        );
        if let Some(space) = &self.config.namespace {
            let value = HeaderValue::from_str(space).map_err(strange)?;
            headers.insert(HeaderName::from_static("x-vault-namespace"), value);
        }
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let sent = self.egress.send(method, &target, &headers, body, EXCHANGE);
        let answer = sent.await.map_err(unusable)?;
        if !answer.status.is_success() {
            return Err(TransitError::Refused {
                url: url.to_owned(),
                doing,
                status: answer.status.as_u16(),
                help: meaning(answer.status),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|_| TransitError::Answer(url.to_owned()))
    }

    async fn crypt(
        &self,
        doing: &'static str,
        what: &str,
        field: &str,
        value: &str,
    ) -> Result<Secret<String>, TransitError> {
        let mount = self.config.mount.as_deref().unwrap_or("transit");
        let path = format!("{}/{what}/{}", mount.trim_matches('/'), self.config.key);
        let body = json!({ field: value });
        let mut answer = self.exchange(doing, Method::POST, &path, &body).await?;
        let wanted = if what == "decrypt" {
            "/data/plaintext"
        } else {
            "/data/ciphertext"
        };
        match answer.pointer_mut(wanted).map(Value::take) {
            Some(Value::String(text)) if text.len() <= WRAPPED_BYTES_MAX => Ok(Secret::new(text)),
            _ => Err(TransitError::Answer(self.config.url.clone())),
        }
    }

    /// Wrap a root key under the newest version of the service's key.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn wrap(&self, key: &Secret<[u8; 32]>) -> Result<String, TransitError> {
        let plain = Secret::new(BASE64.encode(key.expose()));
        let wrapped = self
            .crypt("wrap a key", "encrypt", "plaintext", plain.expose())
            .await?;
        Ok(wrapped.expose().clone())
    }

    /// Unwrap it.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn unwrap(&self, wrapped: &str) -> Result<Secret<[u8; 32]>, TransitError> {
        let plain = self
            .crypt("unwrap the root key", "decrypt", "ciphertext", wrapped)
            .await?;
        let bytes = BASE64.decode(plain.expose()).map(Secret::new);
        let bytes = bytes.map_err(|_| TransitError::NotTheKey)?;
        let key = <[u8; 32]>::try_from(bytes.expose().as_slice());
        key.map(Secret::new).map_err(|_| TransitError::NotTheKey)
    }

    /// Wrap it under the newest version of the service's key, without unwrapping it here.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn rewrap(&self, wrapped: &str) -> Result<String, TransitError> {
        let anew = self
            .crypt("wrap the root key anew", "rewrap", "ciphertext", wrapped)
            .await?;
        Ok(anew.expose().clone())
    }

    /// How long the token lives.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn token(&self) -> Result<TokenLife, TransitError> {
        let path = "auth/token/lookup-self";
        let answer = self.exchange("look at its token", Method::GET, path, &Value::Null);
        let answer = answer.await?;
        let ttl = answer.pointer("/data/ttl").and_then(Value::as_u64);
        let ttl = ttl.ok_or_else(|| TransitError::Answer(self.config.url.clone()))?;
        Ok(TokenLife {
            left: (ttl > 0).then(|| Duration::from_secs(ttl)),
            renewable: answer
                .pointer("/data/renewable")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
    }

    /// Renew the token.
    ///
    /// # Errors
    /// [`TransitError`].
    pub async fn renew(&self) -> Result<(), TransitError> {
        let path = "auth/token/renew-self";
        self.exchange("renew its token", Method::POST, path, &json!({}))
            .await
            .map(drop)
    }
}

const fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => {
            "it does not accept the wrapped key: another key, or a version that was taken out of use"
        }
        403 => "the token is not valid or may not do that: replace `audit.root_key.transit.token`",
        404 => "it has no transit engine or no key of that name: see `mount` and `key`",
        429 | 503 => "it is sealed, in standby or overloaded: unseal it, or wait",
        _ => "see its own log",
    }
}

/// Make a new root key: in the clear for [`super::Recorder::init`], and wrapped.
///
/// # Errors
/// [`TransitError`]; [`Error::Crypto`] as [`TransitError::NotTheKey`].
pub async fn make_root(transit: &Transit) -> Result<(Secret<[u8; 32]>, String), TransitError> {
    let key = random::<32>()
        .map(Secret::new)
        .map_err(|_| TransitError::NotTheKey)?;
    let wrapped = transit.wrap(&key).await?;
    Ok((key, wrapped))
}

/// The wrapped root key of the log in `dir`.
///
/// # Errors
/// [`Error::RootInFile`] when it is not wrapped; what the disk says.
pub fn read_wrapped_root(disk: &dyn Disk, dir: &Path) -> Result<String, Error> {
    let files = Files::new(dir);
    let path = files.root_wrapped();
    if !files::stands(disk, &path)? {
        return Err(if files::stands(disk, &files.root_key())? {
            Error::RootInFile(files.root_key())
        } else {
            Error::NotInitialised(dir.to_owned())
        });
    }
    let bytes = files::read_small(disk, &path)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Damaged(path))?;
    Ok(text.trim().to_owned())
}

/// Put a wrapped root key in place of what is there: the file with the old one is replaced as a whole, and
/// a root key in the clear is removed.
///
/// # Errors
/// What the disk says.
pub fn write_wrapped_root(disk: &dyn Disk, dir: &Path, wrapped: &str) -> Result<(), Error> {
    let files = Files::new(dir);
    let path = files.root_wrapped();
    disk.write_atomic(&path, format!("{wrapped}\n").as_bytes())
        .map_err(|source| Error::disk("write", &path, source))?;
    let clear = files.root_key();
    if files::stands(disk, &clear)? {
        disk.remove(&clear)
            .and_then(|()| disk.sync_dir(&files.keys))
            .map_err(|source| Error::disk("remove", &clear, source))?;
    }
    Ok(())
}

/// The root key in the clear, out of the file that a wrapped one is about to replace.
///
/// # Errors
/// What is wrong with the file.
pub fn read_clear_root(disk: &dyn Disk, dir: &Path) -> Result<Secret<[u8; 32]>, Error> {
    files::read_root(disk, &Files::new(dir), &RootKey::File)
}

/// The version of the service's key in a wrapped key (`vault:v3:…`), for people.
pub fn wrapped_version(wrapped: &str) -> &str {
    wrapped.split(':').nth(1).unwrap_or("?")
}
