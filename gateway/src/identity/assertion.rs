//! Telling a function who calls: a short-lived JWT of our own, signed with ES256 by a key that only
//! this gateway has. The function checks it against the key set that the gateway publishes.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Actor, Principal};
use crate::clock::Timestamp;
use crate::secret::{SecretError, read_private};

/// How long an assertion is good.
pub const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);
/// Base64 characters in a line of the key file.
const PEM_LINE: usize = 64;

/// Why the assertion key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// The file cannot be read, or others may read it.
    #[error("assertion key: {0}")]
    Read(#[from] SecretError),
    /// The file cannot be made.
    #[error("assertion key `{path}` cannot be made: {source}")]
    Make {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its content is no key.
    #[error(
        "assertion key `{0}` is not a PKCS#8 PEM file with a P-256 key: make a new one with `callgate init`"
    )]
    Content(PathBuf),
    /// The cryptographic library failed.
    #[error("the cryptographic library could not make or use the assertion key")]
    Crypto,
}

/// What an assertion says beside who calls.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The function's audience: the upstream's origin, or what the connection configures.
    pub audience: &'a str,
    /// The call's id.
    pub call: &'a str,
    /// The function's id.
    pub function: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Signs assertions.
pub struct Signer {
    pair: EcdsaKeyPair,
    issuer: String,
    /// The encoded header, the same for every assertion.
    header: String,
    jwks: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    issuer: &'a str,
    kind: &'a str,
    groups: &'a BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Act<'a>>,
    callgate_call: &'a str,
    callgate_function: &'a str,
    jti: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// The actor chain, nested as RFC 8693 section 4.1 has it.
#[derive(Serialize)]
struct Act<'a> {
    sub: &'a str,
    issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<Self>>,
}

impl Signer {
    /// Make a new key at `path`, readable by its owner only. An existing file is never replaced.
    ///
    /// # Errors
    /// [`AssertionError::Make`] when the file exists or cannot be written.
    pub fn init(path: &Path, issuer: &str) -> Result<Self, AssertionError> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |source| AssertionError::Make {
            path: path.to_owned(),
            source,
        };
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| AssertionError::Crypto)?;
        let document = pair.to_pkcs8v1().map_err(|_| AssertionError::Crypto)?;
        let body = Zeroizing::new(STANDARD.encode(document.as_ref()));
        let mut pem = Zeroizing::new(String::from("-----BEGIN PRIVATE KEY-----\n"));
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.write_all(pem.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        Self::new(pair, issuer)
    }

    /// Load the key at `path`. `issuer` is how the gateway names itself in `iss`.
    ///
    /// # Errors
    /// [`AssertionError::Read`] or [`AssertionError::Content`].
    pub fn load(path: &Path, issuer: &str) -> Result<Self, AssertionError> {
        use rustls::pki_types::PrivatePkcs8KeyDer;
        use rustls::pki_types::pem::PemObject;
        let pem = Zeroizing::new(read_private(path)?);
        let bad = || AssertionError::Content(path.to_owned());
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| bad())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der());
        Self::new(pair.map_err(|_| bad())?, issuer)
    }

    fn new(pair: EcdsaKeyPair, issuer: &str) -> Result<Self, AssertionError> {
        let point = pair.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
            return Err(AssertionError::Crypto);
        };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the required members in this order, without spaces.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"{id}"}}"#);
        let jwks = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","kid":"{id}","alg":"ES256","use":"sig"}}]}}"#
        );
        let header = URL_SAFE_NO_PAD.encode(header);
        Ok(Self {
            pair,
            issuer: issuer.to_owned(),
            header,
            jwks,
        })
    }

    /// The public key as a JSON Web Key Set.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The assertion that `principal` makes the call of `statement`.
    ///
    /// # Errors
    /// [`AssertionError::Crypto`] when signing fails; the call must not go on without its assertion.
    pub fn sign(
        &self,
        principal: &Principal,
        statement: &Statement<'_>,
    ) -> Result<String, AssertionError> {
        let now = statement.now.secs();
        let claims = Claims {
            iss: &self.issuer,
            aud: statement.audience,
            sub: &principal.key().subject,
            issuer: &principal.key().issuer,
            kind: principal.kind().as_str(),
            groups: principal.groups(),
            act: nest(principal.actors()),
            callgate_call: statement.call,
            callgate_function: statement.function,
            jti: statement.call,
            iat: now,
            nbf: now,
            exp: statement.now.plus(ASSERTION_LIFETIME).secs(),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| AssertionError::Crypto)?;
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| AssertionError::Crypto)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

fn nest(actors: &[Actor]) -> Option<Act<'_>> {
    actors.iter().rev().fold(None, |inner, actor| {
        let act = inner.map(Box::new);
        Some(Act {
            sub: &actor.subject,
            issuer: &actor.issuer,
            act,
        })
    })
}
