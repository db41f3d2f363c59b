//! Keys: who may sign, under which name and for what.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{Signature, VerifiedSignature};
use crate::Error;
use crate::text::{base64_decode, base64_encode, malformed};

/// The longest key name, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 255;
/// The longest verifier key text that is read, in bytes.
const VERIFIER_KEY_BYTES_MAX: usize = 512;
/// The largest time of a cosignature, in seconds.
const TIME_MAX: u64 = i64::MAX as u64;

const PUBLIC_KEY_BYTES: usize = 32;

/// What a key signs: the assigned signature type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `0x01`: Ed25519 over the note's text; what a log signs with.
    Log,
    /// `0x04`: Ed25519 over a time and the note's text; what a witness signs with.
    Witness,
}

impl Kind {
    /// The byte that stands for it in key ids and verifier keys.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// A public key under a name; its text form is the *vkey*, `name+id+base64(type ‖ key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    id: u32,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl VerifierKey {
    /// The key with this name, type and Ed25519 public key.
    ///
    /// # Errors
    /// [`Error::KeyName`].
    pub fn new(name: &str, kind: Kind, public: [u8; PUBLIC_KEY_BYTES]) -> Result<Self, Error> {
        check_name(name)?;
        // Key id = SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4], big-endian.
        let named = [name.as_bytes(), &[b'\n', kind.byte()], &public].concat();
        let id = digest(&SHA256, &named)
            .as_ref()
            .first_chunk()
            .copied()
            .map_or(0, u32::from_be_bytes);
        Ok(Self {
            name: name.to_owned(),
            kind,
            id,
            public,
        })
    }

    /// Its name; for a log's key the log's origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The id that signature lines carry.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// Refuses a key of another kind than the place needs.
    pub(crate) fn must_be(&self, kind: Kind) -> Result<(), Error> {
        if self.kind == kind {
            return Ok(());
        }
        Err(Error::KeyUse {
            name: self.name.clone(),
            kind: self.kind.byte(),
            needed: kind.byte(),
        })
    }

    /// Checks a signature by this key over a note's text.
    pub(super) fn check(
        &self,
        text: &str,
        signature: &Signature,
    ) -> Result<VerifiedSignature, Error> {
        let bad = || Error::BadSignature {
            name: self.name.clone(),
            key_id: self.id,
        };
        let public = UnparsedPublicKey::new(&ED25519, &self.public);
        let time = match self.kind {
            Kind::Log => {
                public
                    .verify(text.as_bytes(), &signature.bytes)
                    .map_err(|_| bad())?;
                None
            }
            Kind::Witness => {
                let (time, bytes) = signature.bytes.split_first_chunk().ok_or_else(bad)?;
                let time = u64::from_be_bytes(*time);
                if time > TIME_MAX {
                    return Err(Error::CosignatureTime {
                        name: self.name.clone(),
                    });
                }
                public
                    .verify(cosigned(text, time).as_bytes(), bytes)
                    .map_err(|_| bad())?;
                Some(time)
            }
        };
        Ok(VerifiedSignature {
            name: self.name.clone(),
            key_id: self.id,
            time,
        })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()], self.public.as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, base64_encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "verifier key";
        if text.len() > VERIFIER_KEY_BYTES_MAX {
            return Err(Error::TooLong {
                what: WHAT,
                bytes: text.len(),
                limit: VERIFIER_KEY_BYTES_MAX,
            });
        }
        let form = || malformed(WHAT, 1, "not of the form `name+id+key`");
        let (name, rest) = text.split_once('+').ok_or_else(form)?;
        let (id, key) = rest.split_once('+').ok_or_else(form)?;
        check_name(name)?;
        let stated = u32::from_str_radix(id, 16)
            .map_err(|_| malformed(WHAT, 1, "the id is not hexadecimal"))?;
        if format!("{stated:08x}") != id {
            return Err(malformed(
                WHAT,
                1,
                "the id is not 8 lower-case hexadecimal digits",
            ));
        }
        let key = base64_decode(key).ok_or_else(|| malformed(WHAT, 1, "the key is not base64"))?;
        let (kind, public) = key
            .split_first()
            .ok_or_else(|| malformed(WHAT, 1, "the key is empty"))?;
        let kind = [Kind::Log, Kind::Witness]
            .into_iter()
            .find(|k| k.byte() == *kind)
            .ok_or_else(|| Error::KeyKind {
                name: name.to_owned(),
                kind: *kind,
            })?;
        let public = public
            .try_into()
            .map_err(|_| malformed(WHAT, 1, "the key has not 32 bytes"))?;
        let key = Self::new(name, kind, public)?;
        if key.id != stated {
            return Err(Error::KeyId {
                name: key.name,
                stated,
                computed: key.id,
            });
        }
        Ok(key)
    }
}

/// A private Ed25519 key under a name. Signs as a log, and as a witness under the witness key id.
pub struct Signer {
    key: Ed25519KeyPair,
    log: VerifierKey,
    witness: VerifierKey,
}

impl Signer {
    /// The signer with this 32-byte seed.
    ///
    /// # Errors
    /// [`Error::KeyName`], [`Error::SigningKey`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        Self::new(
            name,
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Error::SigningKey)?,
        )
    }

    /// The signer with this unencrypted PKCS#8 key (versions 1 and 2).
    ///
    /// # Errors
    /// [`Error::KeyName`], [`Error::SigningKey`].
    pub fn from_pkcs8(name: &str, pkcs8: &[u8]) -> Result<Self, Error> {
        Self::new(
            name,
            Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| Error::SigningKey)?,
        )
    }

    /// A signer with a fresh random key.
    ///
    /// # Errors
    /// [`Error::KeyName`], [`Error::SigningKey`] if the system gives no randomness.
    pub fn generate(name: &str) -> Result<Self, Error> {
        Self::new(
            name,
            Ed25519KeyPair::generate().map_err(|_| Error::SigningKey)?,
        )
    }

    fn new(name: &str, key: Ed25519KeyPair) -> Result<Self, Error> {
        let public = key
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| Error::SigningKey)?;
        let log = VerifierKey::new(name, Kind::Log, public)?;
        let witness = VerifierKey::new(name, Kind::Witness, public)?;
        Ok(Self { key, log, witness })
    }

    /// The private key as PKCS#8 version 1, zeroised when dropped. A secret.
    ///
    /// # Errors
    /// [`Error::SigningKey`].
    pub fn to_pkcs8(&self) -> Result<Document, Error> {
        self.key.to_pkcs8v1().map_err(|_| Error::SigningKey)
    }

    /// The name it signs under.
    #[must_use]
    pub fn name(&self) -> &str {
        self.log.name()
    }

    /// The key that verifies what it signs as a log.
    #[must_use]
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.log
    }

    /// The key that verifies what it signs as a witness.
    #[must_use]
    pub const fn witness_key(&self) -> &VerifierKey {
        &self.witness
    }

    /// A log's signature over a note's text.
    ///
    /// # Errors
    /// [`Error::Signing`].
    pub fn sign(&self, text: &str) -> Result<Signature, Error> {
        self.signature(&self.log, text, &[])
    }

    /// A witness's signature over a note's text: it says that at `time` (seconds since 1970) this
    /// was the largest consistent head that it had seen.
    ///
    /// # Errors
    /// [`Error::Signing`], [`Error::CosignatureTime`] over 2^63 - 1.
    pub fn cosign(&self, text: &str, time: u64) -> Result<Signature, Error> {
        if time > TIME_MAX {
            return Err(Error::CosignatureTime {
                name: self.name().to_owned(),
            });
        }
        self.signature(&self.witness, &cosigned(text, time), &time.to_be_bytes())
    }

    pub(super) fn signature(
        &self,
        key: &VerifierKey,
        message: &str,
        prefix: &[u8],
    ) -> Result<Signature, Error> {
        let signed = self
            .key
            .try_sign(message.as_bytes())
            .map_err(|_| Error::Signing)?;
        Ok(Signature {
            name: key.name.clone(),
            key_id: key.id,
            bytes: [prefix, signed.as_ref()].concat(),
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key", &format_args!("{}", self.log))
            .finish_non_exhaustive()
    }
}

/// What a witness signs.
pub(super) fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// Key names: not empty, bounded, no white space, plus or control characters.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || name.contains(bad) {
        let shown = name.escape_debug().take(KEY_NAME_BYTES_MAX).collect();
        return Err(Error::KeyName { name: shown });
    }
    Ok(())
}
