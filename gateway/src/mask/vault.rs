//! The keys behind pseudonyms and tokens. Nothing is stored: a pseudonym is a keyed hash, a token carries
//! its value encrypted. Both are bound to a class and a scope (one principal, or one connection), a token to
//! a last day as well, so that what one caller was given says nothing to another and opens nothing for it.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::class::DataClass;
use super::config::Fault;
use crate::clock::SharedClock;
use crate::secret::SecretRef;

/// Shortest key, in bytes.
const KEY_BYTES_MIN: usize = 32;
/// Most former keys.
const FORMER_MAX: usize = 8;
/// Longest value that a token carries, in bytes.
pub(super) const TOKEN_VALUE_BYTES_MAX: usize = 1024;
/// Bytes of a token before its ciphertext: flags, key, last day.
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + 2;
const KEY_ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Longest payload of a token, in characters.
pub(super) const PAYLOAD_BYTES_MAX: usize =
    (HEAD_BYTES + NONCE_BYTES + TOKEN_VALUE_BYTES_MAX + TAG_BYTES).div_ceil(3) * 4;
/// Bytes of a pseudonym: enough that no two values of one scope share one by chance.
const PSEUDONYM_BYTES: usize = 10;
const DAY_SECS: u64 = 24 * 60 * 60;

const SCALAR: u8 = 1;
const RANDOM: u8 = 2;
const CONNECTION: u8 = 4;

/// The keys for pseudonyms and reversible tokens, shared by all instances that serve the same callers.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MaskKeysConfig")]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The key in use: a secret of at least 32 bytes, such as `openssl rand -hex 32` prints.
    pub current: SecretRef,
    /// Keys that were in use before: their tokens are still taken back, nothing new is made with them.
    #[serde(default)]
    pub former: Vec<SecretRef>,
    /// For how many days a token is good at least; at most for twice as many. Default: 7.
    #[serde(default = "token_days")]
    #[schemars(range(min = 1, max = 365))]
    pub token_days: u16,
}

const fn token_days() -> u16 {
    7
}

/// For whom a pseudonym or token is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// For one principal, whichever connection it came from (default).
    #[default]
    Principal,
    /// For one connection, whoever calls.
    Connection,
}

/// The two scopes of one call.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The principal's issuer, by its alias.
    pub issuer: &'a str,
    /// The principal's subject.
    pub subject: &'a str,
    /// The connection of the function.
    pub connection: &'a str,
}

/// Why a token is not taken back. Never holds the token or a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// Not the form of a token.
    #[error("it is not whole")]
    Broken,
    /// Another caller's, of another class, changed, made up, or of a key that is no longer known.
    #[error("it was not made for this caller, was changed, or its key is gone")]
    Foreign,
    /// Its time is over.
    #[error("its time is over: call the function that gave it again")]
    Expired,
}

/// What a token stood for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) value: String,
    /// It was a number, `true` or `false` of JSON.
    pub(super) scalar: bool,
}

/// The keys in memory.
pub struct Vault {
    /// The first one is in use.
    keys: Vec<Key>,
    token_days: u64,
    clock: SharedClock,
}

struct Key {
    id: [u8; KEY_ID_BYTES],
    secret: hmac::Key,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Fetches the keys; files are relative to `base`.
    ///
    /// # Errors
    /// Every key that cannot be had or is too short.
    pub fn new(config: &KeysConfig, base: &Path, clock: SharedClock) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut keys: Vec<Key> = Vec::new();
        let mut fault = |place: String, message: String| faults.push(Fault { place, message });
        if config.former.len() > FORMER_MAX {
            let message = format!("more than {FORMER_MAX} keys: take the oldest away");
            fault("former".to_owned(), message);
        }
        if !(1..=365).contains(&config.token_days) {
            let message = "a token is good for 1 to 365 days".to_owned();
            fault("token_days".to_owned(), message);
        }
        for (at, reference) in [&config.current]
            .into_iter()
            .chain(&config.former)
            .enumerate()
        {
            let place = match at.checked_sub(1) {
                None => "current".to_owned(),
                Some(at) => format!("former[{at}]"),
            };
            match reference.resolve(base) {
                Ok(secret) if secret.expose().len() < KEY_BYTES_MIN => fault(
                    place,
                    format!(
                        "the key has {} bytes and needs {KEY_BYTES_MIN} at least: `openssl rand -hex 32` makes one",
                        secret.expose().len()
                    ),
                ),
                Ok(secret) => keys.push(Key::new(secret.expose())),
                Err(error) => fault(place, error.to_string()),
            }
        }
        if faults.is_empty() {
            let token_days = u64::from(config.token_days);
            Ok(Self {
                keys,
                token_days,
                clock,
            })
        } else {
            Err(faults)
        }
    }

    /// With keys at hand.
    #[cfg(test)]
    pub(super) fn of(keys: &[&[u8]], token_days: u64, clock: SharedClock) -> Self {
        Self {
            keys: keys.iter().map(|key| Key::new(key)).collect(),
            token_days,
            clock,
        }
    }

    /// A name for a value that says nothing of it, the same for the same value as long as the key in use
    /// is the same: ten bytes in hexadecimal. How the value is written does not matter.
    pub(super) fn pseudonym(
        &self,
        scope: Scope,
        owner: &Owner<'_>,
        class: &DataClass,
        value: &[u8],
    ) -> Option<String> {
        let value = plain(class, value);
        let parts = [&b"pseudonym/1"[..], class.as_str().as_bytes(), &value];
        let tag = self.keys.first()?.derive(scope, owner, &parts);
        let name = tag.as_ref().get(..PSEUDONYM_BYTES)?;
        Some(name.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// A token's payload, which carries `value`. The same value has the same token for the same scope until
    /// the day changes on which it ends, unless `random` asks for a new one each time. `None` for what no
    /// token can carry.
    pub(super) fn seal(
        &self,
        scope: Scope,
        owner: &Owner<'_>,
        class: &DataClass,
        value: &[u8],
        form: Form,
    ) -> Option<String> {
        if value.len() > TOKEN_VALUE_BYTES_MAX || std::str::from_utf8(value).is_err() {
            return None;
        }
        let key = self.keys.first()?;
        let period = self.today() / self.token_days;
        let last = u16::try_from((period + 2) * self.token_days).ok()?;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(form.scalar, SCALAR)
            | flag(form.random, RANDOM)
            | flag(scope == Scope::Connection, CONNECTION);
        let mut payload = vec![flags];
        payload.extend_from_slice(&key.id);
        payload.extend_from_slice(&last.to_be_bytes());
        // INVARIANT: what is encrypted under a repeated nonce of AES-GCM-SIV (RFC 8452) shows no more than
        // which values are equal; that is what a token that keeps a join is for.
        let mut nonce = [0; NONCE_BYTES];
        if form.random {
            rand::fill(&mut nonce).ok()?;
        }
        let cipher = key.cipher(scope, owner, class, last)?;
        let associated = payload.clone();
        let mut sealed = value.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        cipher
            .seal_in_place_append_tag(nonce_used, Aad::from(associated), &mut sealed)
            .ok()?;
        if form.random {
            payload.extend_from_slice(&nonce);
        }
        payload.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(payload))
    }

    /// What a token of `class` stands for, if it was made for this call's principal or connection.
    ///
    /// # Errors
    /// [`TokenError`]: nothing of it may be used.
    pub(super) fn open(
        &self,
        owner: &Owner<'_>,
        class: &DataClass,
        payload: &[u8],
    ) -> Result<Opened, TokenError> {
        let payload = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| TokenError::Broken)?;
        let (head, rest) = payload
            .split_at_checked(HEAD_BYTES)
            .ok_or(TokenError::Broken)?;
        let [flags, id @ .., last_high, last_low] = head else {
            return Err(TokenError::Broken);
        };
        if flags & !(SCALAR | RANDOM | CONNECTION) != 0 {
            return Err(TokenError::Broken);
        }
        let last = u16::from_be_bytes([*last_high, *last_low]);
        let (nonce, sealed) = if flags & RANDOM == 0 {
            ([0; NONCE_BYTES], rest)
        } else {
            let (nonce, sealed) = rest.split_first_chunk().ok_or(TokenError::Broken)?;
            (*nonce, sealed)
        };
        let scope = if flags & CONNECTION == 0 {
            Scope::Principal
        } else {
            Scope::Connection
        };
        let key = self.keys.iter().find(|key| key.id == *id);
        let cipher = key
            .and_then(|key| key.cipher(scope, owner, class, last))
            .ok_or(TokenError::Foreign)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let value = cipher
            .open_in_place(nonce, Aad::from(head), &mut sealed)
            .map_err(|_| TokenError::Foreign)?;
        // After it proved to be ours: what somebody made up has no time.
        if self.today() >= u64::from(last) {
            return Err(TokenError::Expired);
        }
        Ok(Opened {
            value: String::from_utf8(value.to_vec()).map_err(|_| TokenError::Foreign)?,
            scalar: flags & SCALAR != 0,
        })
    }

    fn today(&self) -> u64 {
        self.clock.now().secs() / DAY_SECS
    }
}

/// How a value is carried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// It is a number, `true` or `false` of JSON.
    pub(super) scalar: bool,
    /// Equal values get different tokens.
    pub(super) random: bool,
}

impl Key {
    fn new(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&secret, b"callgate/mask/key-id/1");
        let mut id = [0; KEY_ID_BYTES];
        id.copy_from_slice(
            tag.as_ref()
                .get(..KEY_ID_BYTES)
                .unwrap_or(&[0; KEY_ID_BYTES]),
        );
        Self { id, secret }
    }

    fn derive(&self, scope: Scope, owner: &Owner<'_>, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.secret);
        // Each part with its length in front: no two lists of parts are the same bytes.
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        part(b"callgate/mask/1");
        match scope {
            Scope::Principal => {
                part(b"principal");
                part(owner.issuer.as_bytes());
                part(owner.subject.as_bytes());
            }
            Scope::Connection => {
                part(b"connection");
                part(owner.connection.as_bytes());
            }
        }
        parts.iter().for_each(|bytes| part(bytes));
        context.sign()
    }

    fn cipher(
        &self,
        scope: Scope,
        owner: &Owner<'_>,
        class: &DataClass,
        last: u16,
    ) -> Option<LessSafeKey> {
        let parts = [
            &b"token/1"[..],
            class.as_str().as_bytes(),
            &last.to_be_bytes(),
        ];
        let key = self.derive(scope, owner, &parts);
        let key = UnboundKey::new(&AES_256_GCM_SIV, key.as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

/// A value without what people write differently: letters of an address in either case, groups of digits.
pub(super) fn plain(class: &DataClass, value: &[u8]) -> Vec<u8> {
    match class.group() {
        _ if class.as_str() == "email" => value.trim_ascii().to_ascii_lowercase(),
        "custom" | "secret" | "wallet" => value.trim_ascii().to_vec(),
        _ => value
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
            .map(u8::to_ascii_lowercase)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
