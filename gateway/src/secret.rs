//! Secrets and references to them. A secret is redacted when shown and wiped when dropped; config
//! holds only references (`env:NAME`, `file:path`), never a value.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

/// Longest secret that is read from a file, in bytes.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A value that must not be shown: `Debug` is redacted, memory is wiped on drop, no `Serialize`.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Take a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; every use is a place to look at in review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + Clone> Clone for Secret<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Why a secret could not be had. The text names the reference, never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The reference is not of a known form.
    #[error("`{0}` is not a secret reference: write `env:NAME` or `file:path`")]
    Form(String),
    /// The environment variable is not set.
    #[error("environment variable `{0}` is not set")]
    NotSet(String),
    /// The file could not be read.
    #[error("secret file `{path}`: {source}")]
    File {
        /// The file as configured, resolved against the config's folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error("secret file `{0}` is readable by group or others: run `chmod 600` on it")]
    Permissions(PathBuf),
    /// Nothing in it.
    #[error("secret `{0}` is empty")]
    Empty(String),
    /// More than [`SECRET_BYTES_MAX`].
    #[error("secret file `{0}` is larger than 64 KiB")]
    TooLarge(PathBuf),
}

/// Where a secret is kept: `env:NAME` or `file:path` (relative to the config file's folder).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum SecretRef {
    /// An environment variable of the gateway's process.
    Env(String),
    /// A file that only the gateway's user may read.
    File(PathBuf),
}

impl SecretRef {
    /// Fetch the secret; one trailing line end is not part of it.
    ///
    /// # Errors
    /// [`SecretError`] when it is missing, empty, too large or readable by others.
    pub fn resolve(&self, base: &Path) -> Result<Secret<Vec<u8>>, SecretError> {
        let mut bytes = match self {
            Self::Env(name) => std::env::var_os(name)
                .ok_or_else(|| SecretError::NotSet(name.clone()))
                .map(std::os::unix::ffi::OsStringExt::into_vec)?,
            Self::File(path) => read_private(&base.join(path))?,
        };
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if bytes.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        Ok(Secret::new(bytes))
    }
}

/// Read a file that nobody but its owner may read.
///
/// # Errors
/// [`SecretError`] when it is missing, too large or readable by others.
pub fn read_private(path: &Path) -> Result<Vec<u8>, SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(SecretError::Permissions(path.to_owned()));
    }
    // A pipe or a device would never end, and to open it may be to wait.
    if !meta.is_file() {
        let odd = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file");
        return Err(failed(odd));
    }
    if meta.len() > SECRET_BYTES_MAX {
        return Err(SecretError::TooLarge(path.to_owned()));
    }
    std::fs::read(path).map_err(failed)
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            // A value pasted in place of a reference must not be echoed back.
            Some((scheme, _)) if scheme.len() <= 8 => Err(SecretError::Form(format!("{scheme}:…"))),
            Some(_) | None => Err(SecretError::Form("…".to_owned())),
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        text.parse()
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}
