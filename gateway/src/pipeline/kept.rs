//! The masked answer of an approved call whose caller went away, kept for that caller until it has it.

use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::reply::{Answer, KeptBody, MaskedReply, ReplyBody};
use super::{Ending, Refused};
use crate::call::CallId;
use crate::gate::{Code, Executed, Kept as KeptAnswer, Refusal};
use crate::mask::Summary;
use crate::upstream::MaskedHead;

/// Largest kept answer, in bytes of body.
pub(super) const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// How long a caller may take to read a kept answer before it counts as not read.
const TAKEN_WITHIN_MAX: Duration = Duration::from_secs(60);

/// Hand a kept answer out, and drop it only when the caller's connection has taken its last byte: a
/// process that dies before hands it out again, and nobody is asked a second time for what has run. The
/// record of the call says that its caller was gone: that the caller came back for the answer is on record
/// before a byte of it goes.
pub(super) async fn release(kept: KeptAnswer, answer: &mut Answer) -> Result<Ending, Refused> {
    let (taken, mut went) = oneshot::channel();
    let Some(reply) = decode(kept.bytes(), taken) else {
        let refusal = Refusal::new(Code::Internal, "the kept answer cannot be read");
        return Err(refusal.executed(Executed::Yes).into());
    };
    if let Err(error) = kept.on_record(reply.call, answer.call).await {
        let text = "EXECUTED, and the answer is kept: the audit log cannot record now that it is handed out";
        let refusal = Refusal::new(Code::AuditUnavailable, text)
            .executed(Executed::Yes)
            .retry_after(Duration::from_secs(5))
            .operator(error.to_string());
        return Err(refusal.into());
    }
    let bodiless = matches!(reply.body, ReplyBody::Empty { .. });
    let there = answer.kept(reply);
    let went = match bodiless {
        // A head without a body goes out in one piece.
        true => there,
        false => matches!(
            tokio::time::timeout(TAKEN_WITHIN_MAX, &mut went).await,
            Ok(Ok(()))
        ),
    };
    if went {
        kept.released().await;
    }
    let outcome = if went { "kept" } else { "cut" };
    Ok(Ending::answered(
        outcome,
        Summary::default(),
        Duration::ZERO,
    ))
}

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

/// The answer again; `taken` is told when its last byte has gone out.
fn decode(bytes: &[u8], taken: oneshot::Sender<()>) -> Option<MaskedReply> {
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
            ReplyBody::Kept(KeptBody::new(body, taken))
        },
    })
}
