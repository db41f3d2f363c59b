//! The masked answer of an approved call whose caller went away, kept for that caller.

use base64::Engine as _;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::reply::{MaskedReply, ReplyBody};
use crate::call::CallId;
use crate::upstream::MaskedHead;

/// Largest kept answer, in bytes of body.
pub(super) const KEPT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Kept {
    call: CallId,
    receipt: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

/// As bytes, to be sealed.
pub(super) fn encode(
    call: CallId,
    receipt: &str,
    head: &MaskedHead,
    body: &[u8],
) -> Option<Vec<u8>> {
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), BASE64.encode(value.as_bytes())))
        .collect();
    let kept = Kept {
        call,
        receipt: receipt.to_owned(),
        status: head.status.as_u16(),
        headers,
        body: BASE64.encode(body),
    };
    serde_json::to_vec(&kept).ok()
}

/// The answer again.
pub(super) fn decode(bytes: &[u8]) -> Option<MaskedReply> {
    let kept: Kept = serde_json::from_slice(bytes).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in kept.headers {
        let name = HeaderName::try_from(name).ok()?;
        headers.append(
            name,
            HeaderValue::from_bytes(&BASE64.decode(value).ok()?).ok()?,
        );
    }
    let body: Bytes = BASE64.decode(kept.body).ok()?.into();
    Some(MaskedReply {
        call: kept.call,
        receipt: kept.receipt,
        status: http::StatusCode::from_u16(kept.status).ok()?,
        headers,
        body: if body.is_empty() {
            ReplyBody::Empty { length: None }
        } else {
            ReplyBody::Full(body)
        },
    })
}
