//! An issuer's public keys (RFC 7517). A key is bound to its algorithms when it is read; the token has
//! no say in that.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self as aws, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::jws;

/// Largest key set, in bytes.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Most keys in a key set.
pub const KEYS_MAX: usize = 100;
/// Values in a key set's JSON.
const JSON_VALUES_MAX: usize = 20_000;
/// Keys with the same id and algorithm that are tried.
const SAME_ID_MAX: usize = 4;
/// Smallest and largest RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key set is unusable as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("the key set is not a strict JSON object with an array `keys`")]
    Form,
    #[error("the key set has more than 100 keys")]
    TooMany,
    #[error("the key set has no usable key (asymmetric, for signatures, RSA of 2048 bits or more)")]
    Empty,
}

/// The usable keys of an issuer.
#[derive(Debug)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    ignored: usize,
    fingerprint: [u8; 32],
}

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    public: ParsedPublicKey,
}

/// What a search for a key found.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Keys to try, at least one.
    Keys(Vec<&'a ParsedPublicKey>),
    /// The id is known, but bound to another algorithm.
    OtherAlgorithm,
    /// Nothing.
    Nothing,
}

impl KeySet {
    /// Read a key set; keys that are unfit are left out.
    ///
    /// # Errors
    /// [`KeySetError`] when nothing usable is left or the document is unfit as a whole.
    pub(super) fn parse(bytes: &[u8], allowed: &[Algorithm]) -> Result<Self, KeySetError> {
        let document = jws::strict_object(bytes, JSON_VALUES_MAX).ok_or(KeySetError::Form)?;
        let Some(Value::Array(listed)) = document.get("keys") else {
            return Err(KeySetError::Form);
        };
        if listed.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut keys = Vec::new();
        let mut ignored = 0;
        for entry in listed {
            let read = entry
                .as_object()
                .and_then(|jwk| read(jwk, allowed))
                .unwrap_or_default();
            ignored += usize::from(read.is_empty());
            keys.extend(read);
        }
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self {
            fingerprint: fingerprint(&keys),
            keys,
            ignored,
        })
    }

    /// The keys that may have signed a token with this key id and algorithm. A token without a key id
    /// can only mean the issuer's one key of that algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let Some(id) = id else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Found::Keys(vec![&only.public]),
                (Some(_), Some(_)) | (None, _) => Found::Nothing,
            };
        };
        let named = || self.keys.iter().filter(|key| key.id.as_deref() == Some(id));
        let fitting: Vec<_> = named()
            .filter(|key| key.algorithm == algorithm)
            .map(|key| &key.public)
            .take(SAME_ID_MAX)
            .collect();
        if !fitting.is_empty() {
            Found::Keys(fitting)
        } else if named().next().is_some() {
            Found::OtherAlgorithm
        } else {
            Found::Nothing
        }
    }

    /// How many keys are usable.
    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many were left out as unfit.
    pub(super) const fn ignored(&self) -> usize {
        self.ignored
    }

    /// Equal for equal sets: when it changes, remembered tokens are forgotten.
    pub(super) const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }
}

fn fingerprint(keys: &[Key]) -> [u8; 32] {
    let mut each: Vec<Vec<u8>> = keys
        .iter()
        .map(|key| {
            let id = key.id.as_deref().unwrap_or("");
            let lengths = [id.len(), key.public.as_ref().len()].map(|n| n as u64);
            [
                &lengths[0].to_be_bytes()[..],
                id.as_bytes(),
                key.algorithm.name().as_bytes(),
                &lengths[1].to_be_bytes(),
                key.public.as_ref(),
            ]
            .concat()
        })
        .collect();
    each.sort_unstable();
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, &each.concat()).as_ref());
    out
}

/// One entry as keys, one for each algorithm that it may be used with; `None` or empty when unfit.
fn read(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Option<Vec<Key>> {
    // A published private key is everybody's.
    if ["d", "p", "k"]
        .iter()
        .any(|private| jwk.contains_key(*private))
    {
        return None;
    }
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops") {
        let operations = operations.as_array()?;
        operations
            .iter()
            .find(|operation| operation.as_str() == Some("verify"))?;
    }
    let id = text(jwk, "kid")?;
    if id.is_some_and(|id| id.is_empty() || id.len() > jws::KEY_ID_BYTES_MAX) {
        return None;
    }
    let named = match text(jwk, "alg")? {
        None => None,
        Some(name) => Some(Algorithm::from_name(name)?),
    };
    let keys = match text(jwk, "kty")?? {
        "RSA" => rsa(jwk, named, allowed)?,
        "EC" => vec![elliptic(jwk)?],
        "OKP" => vec![edwards(jwk)?],
        _ => return None,
    };
    let fit = |algorithm: Algorithm| {
        allowed.contains(&algorithm) && named.is_none_or(|named| named == algorithm)
    };
    Some(
        keys.into_iter()
            .filter(|(algorithm, _)| fit(*algorithm))
            .map(|(algorithm, public)| Key {
                id: id.map(Into::into),
                algorithm,
                public,
            })
            .collect(),
    )
}

/// An RSA key that names no algorithm is for RS256, unless the config narrows the algorithms to others.
fn rsa(
    jwk: &Map<String, Value>,
    named: Option<Algorithm>,
    allowed: &[Algorithm],
) -> Option<Vec<(Algorithm, ParsedPublicKey)>> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let n = trim(&n);
    let e = trim(&e);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let exponent = e.iter().try_fold(0_u64, |sum, byte| {
        sum.checked_mul(256)
            .map(|shifted| shifted + u64::from(*byte))
    })?;
    if !RSA_BITS.contains(&bits) || exponent < 3 || exponent % 2 == 0 || exponent >= 1 << 32 {
        return None;
    }
    let algorithms: Vec<Algorithm> = match named {
        Some(named) => vec![named],
        None if allowed.contains(&Algorithm::RS256) => vec![Algorithm::RS256],
        None => allowed.to_vec(),
    };
    let components = aws::RsaPublicKeyComponents { n, e };
    algorithms
        .into_iter()
        .filter_map(|algorithm| algorithm.rsa().map(|parameters| (algorithm, parameters)))
        .map(|(algorithm, parameters)| {
            Some((algorithm, components.to_parsed_public_key(parameters).ok()?))
        })
        .collect()
}

fn elliptic(jwk: &Map<String, Value>) -> Option<(Algorithm, ParsedPublicKey)> {
    let curve: (_, _, &'static dyn aws::VerificationAlgorithm) = match text(jwk, "crv")?? {
        "P-256" => (Algorithm::ES256, 32, &aws::ECDSA_P256_SHA256_FIXED),
        "P-384" => (Algorithm::ES384, 48, &aws::ECDSA_P384_SHA384_FIXED),
        _ => return None,
    };
    let (algorithm, length, verification) = curve;
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return None;
    }
    // Parsing checks that the point is on the curve.
    let point = [&[4][..], &x, &y].concat();
    Some((algorithm, ParsedPublicKey::new(verification, &point).ok()?))
}

fn edwards(jwk: &Map<String, Value>) -> Option<(Algorithm, ParsedPublicKey)> {
    let x = bytes(jwk, "x")?;
    if text(jwk, "crv")?? != "Ed25519" || x.len() != 32 {
        return None;
    }
    Some((
        Algorithm::EdDSA,
        ParsedPublicKey::new(&aws::ED25519, &x).ok()?,
    ))
}

fn trim(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// `Some(None)` when absent, `None` when it is no string.
fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match jwk.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)??).ok()
}
