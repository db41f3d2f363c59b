//! The compact form of a signed token (RFC 7515 section 7.1), read strictly: one way to write a token,
//! one way to read it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Rejection;
use super::algorithm::Algorithm;

/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest key id, in bytes.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;
/// Nesting of header and payload.
const JSON_DEPTH_MAX: usize = 16;
/// Values in header or payload.
const JSON_VALUES_MAX: usize = 2_000;

/// A token taken apart; nothing of it is believed yet.
#[derive(Debug)]
pub(super) struct Compact<'a> {
    /// The bytes that were signed.
    pub(super) signed: &'a [u8],
    /// `alg`.
    pub(super) algorithm: Algorithm,
    /// `kid`.
    pub(super) key_id: Option<String>,
    /// `typ`.
    pub(super) token_type: Option<String>,
    /// The payload's members.
    pub(super) claims: Map<String, Value>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

/// Take a token apart. Key references in the header (`jwk`, `jku`, `x5u`, `x5c`) are not even looked
/// at: keys come from the issuer's key set only.
pub(super) fn parse(token: &str) -> Result<Compact<'_>, Rejection> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Rejection::Malformed("it is longer than 8 KiB"));
    }
    if token.starts_with('{') {
        return Err(Rejection::Malformed(
            "the JSON serialisation is not accepted",
        ));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Rejection::Malformed(
            "it does not have three parts (encrypted tokens are not accepted)",
        ));
    };
    if signature.is_empty() {
        return Err(Rejection::Malformed("it is not signed"));
    }
    let head = object(&decode(header)?, "its header is not a strict JSON object")?;
    for forbidden in ["crit", "b64", "enc", "zip"] {
        if head.contains_key(forbidden) {
            return Err(Rejection::Malformed(
                "its header has `crit`, `b64`, `enc` or `zip`, which are not accepted",
            ));
        }
    }
    let algorithm = text(&head, "alg")?
        .as_deref()
        .and_then(Algorithm::from_name)
        .ok_or(Rejection::Malformed(
            "its algorithm is missing or not accepted",
        ))?;
    let key_id = text(&head, "kid")?;
    if key_id
        .as_ref()
        .is_some_and(|id| id.is_empty() || id.len() > KEY_ID_BYTES_MAX)
    {
        return Err(Rejection::Malformed(
            "its key id is empty or longer than 256 bytes",
        ));
    }
    Ok(Compact {
        signed: token
            .as_bytes()
            .get(..header.len() + 1 + payload.len())
            .unwrap_or_default(),
        algorithm,
        key_id,
        token_type: text(&head, "typ")?,
        claims: object(&decode(payload)?, "its payload is not a strict JSON object")?,
        signature: decode(signature)?,
    })
}

/// Base64url without padding and with zero trailing bits, so that a token has one spelling.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Rejection::Malformed("a part is not canonical base64url without padding"))
}

fn text(head: &Map<String, Value>, name: &str) -> Result<Option<String>, Rejection> {
    match head.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Rejection::Malformed(
            "a header member that must be a string is none",
        )),
    }
}

fn object(bytes: &[u8], why: &'static str) -> Result<Map<String, Value>, Rejection> {
    strict_object(bytes, JSON_VALUES_MAX).ok_or(Rejection::Malformed(why))
}

/// A JSON object read by the strict reader; `None` when it is anything else.
pub(super) fn strict_object(bytes: &[u8], values_max: usize) -> Option<Map<String, Value>> {
    let limits = wire::json::Limits {
        depth_max: JSON_DEPTH_MAX,
        values_max,
    };
    match convert(wire::json::parse(bytes, &limits).ok()?)? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}

/// `None` for a number beyond what a double can hold.
fn convert(value: wire::json::Value) -> Option<Value> {
    use wire::json::Value as Strict;
    Some(match value {
        Strict::Null => Value::Null,
        Strict::Bool(flag) => Value::Bool(flag),
        Strict::Number(number) => Value::Number(number.as_text().parse().ok()?),
        Strict::String(text) => Value::String(text),
        Strict::Array(items) => {
            Value::Array(items.into_iter().map(convert).collect::<Option<_>>()?)
        }
        Strict::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| Some((name, convert(value)?)))
                .collect::<Option<_>>()?,
        ),
    })
}
