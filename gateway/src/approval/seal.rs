//! Keys and what is done with them: sealing at rest, bindings, seals on votes.
//!
//! From the one key of the config come three by HMAC-SHA-256 over a label: for AES-256-GCM (random
//! nonces), for bindings and lookups, and for votes. Lookups are keyed too, so that nobody who reads the
//! database can try likely bodies against a plain digest.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

use crate::secret::Secret;

/// The format of sealed bytes: this byte, the nonce, ciphertext and tag.
const FORMAT: u8 = 1;

/// Something could not be sealed, or does not open: changed, or under another key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Broken;

/// What is sealed; part of the authenticated data, so that one cannot stand in for the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The frozen call.
    Frozen,
    /// The summary for approvers.
    Summary,
    /// The reason of a vote.
    Reason,
    /// A kept result.
    Result,
    /// The voter behind a vote.
    Voter,
    /// The typed input, for comparison.
    Input,
    /// The arguments that a grant covers.
    Pattern,
    /// The answer to a request that is done once.
    Answer,
}

impl Part {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Frozen => b"frozen",
            Self::Summary => b"summary",
            Self::Reason => b"reason",
            Self::Result => b"result",
            Self::Voter => b"voter",
            Self::Input => b"input",
            Self::Pattern => b"pattern",
            Self::Answer => b"answer",
        }
    }
}

pub(super) struct Keys {
    seal: RandomizedNonceKey,
    bind: hmac::Key,
    vote: hmac::Key,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[keys]")
    }
}

impl Keys {
    pub(super) fn new(key: &Secret<[u8; 32]>) -> Result<Self, Broken> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let derive = |label: &str| hmac::sign(&root, label.as_bytes());
        let seal = derive("callgate approval: seal, v1");
        Ok(Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, seal.as_ref()).map_err(|_| Broken)?,
            bind: hmac::Key::new(
                hmac::HMAC_SHA256,
                derive("callgate approval: bind, v1").as_ref(),
            ),
            vote: hmac::Key::new(
                hmac::HMAC_SHA256,
                derive("callgate approval: vote, v1").as_ref(),
            ),
        })
    }

    pub(super) fn seal(&self, part: Part, id: &str, plain: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut bytes = plain.to_vec();
        let nonce = self
            .seal
            .seal_in_place_append_tag(Aad::from(aad(part, id)), &mut bytes)
            .map_err(|_| Broken)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + bytes.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut bytes);
        Ok(sealed)
    }

    pub(super) fn open(&self, part: Part, id: &str, sealed: &[u8]) -> Result<Vec<u8>, Broken> {
        let (format, rest) = sealed.split_first().ok_or(Broken)?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Broken)?;
        if *format != FORMAT {
            return Err(Broken);
        }
        let mut bytes = rest.to_vec();
        let plain = self
            .seal
            .open_in_place(Nonce::from(nonce), Aad::from(aad(part, id)), &mut bytes)
            .map_err(|_| Broken)?
            .len();
        bytes.truncate(plain);
        Ok(bytes)
    }

    /// A keyed hash for lookups and bindings.
    pub(super) fn hash(&self, fields: &Fields) -> Vec<u8> {
        hmac::sign(&self.bind, &fields.0).as_ref().to_vec()
    }

    /// Whether `hash` is [`Self::hash`] of the fields; in constant time.
    pub(super) fn check(&self, fields: &Fields, hash: &[u8]) -> Result<(), Broken> {
        hmac::verify(&self.bind, &fields.0, hash).map_err(|_| Broken)
    }

    /// The seal on a vote.
    pub(super) fn sign_vote(&self, fields: &Fields) -> Vec<u8> {
        hmac::sign(&self.vote, &fields.0).as_ref().to_vec()
    }

    /// Whether `mac` is [`Self::sign_vote`] of the fields; in constant time.
    pub(super) fn check_vote(&self, fields: &Fields, mac: &[u8]) -> Result<(), Broken> {
        hmac::verify(&self.vote, &fields.0, mac).map_err(|_| Broken)
    }
}

fn aad(part: Part, id: &str) -> Vec<u8> {
    Fields::new(b"callgate-approval/1 sealed")
        .add(part.label())
        .add(id.as_bytes())
        .0
}

/// A list of byte strings, each behind its length: no two lists have the same bytes.
#[derive(Clone, Debug)]
pub(super) struct Fields(Vec<u8>);

impl Fields {
    pub(super) fn new(label: &[u8]) -> Self {
        Self(Vec::new()).add(label)
    }

    pub(super) fn add(mut self, field: &[u8]) -> Self {
        let length = u64::try_from(field.len()).unwrap_or(u64::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(field);
        self
    }

    pub(super) fn add_optional(self, field: Option<&[u8]>) -> Self {
        match field {
            Some(field) => self.add(&[1]).add(field),
            None => self.add(&[0]),
        }
    }
}

/// `bytes` random bytes as lower-case hexadecimal.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, Broken> {
    let mut bytes = [0_u8; BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Broken)?;
    Ok(hex(&bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| {
            [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]
        })
        .map(char::from)
        .collect()
}
