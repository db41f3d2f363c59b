//! How answers and refusals look in HTTP. Rendering stands here only.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use super::guard::BusyPlace;
use crate::gate::{Code, Executed, Refusal};
use crate::pipeline::{Aborted, MaskedReply, Part, RefusalReply, Reply, ReplyBody};

/// The call's id, on every answer.
pub const CALL: HeaderName = HeaderName::from_static("callgate-call");
/// The receipt, on every answer of a recorded call.
pub const RECEIPT: HeaderName = HeaderName::from_static("callgate-receipt");
/// What some SDKs ask before they repeat a request by themselves.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Media type of RFC 9457 problem details.
pub(super) const PROBLEM: &str = "application/problem+json";

/// A body on its way to the caller.
#[derive(Debug)]
pub struct OutBody {
    body: ReplyBody,
    /// Held until the answer is out.
    _busy: Option<BusyPlace>,
}

impl OutBody {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self {
            body: ReplyBody::Full(bytes.into()),
            _busy: None,
        }
    }

    pub(super) const fn empty() -> Self {
        Self {
            body: ReplyBody::Empty { length: None },
            _busy: None,
        }
    }

    pub(super) fn busy(mut self, busy: BusyPlace) -> Self {
        self._busy = Some(busy);
        self
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match &mut self.body {
            ReplyBody::Empty { .. } => Poll::Ready(None),
            ReplyBody::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            ReplyBody::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            ReplyBody::Kept(kept) => Poll::Ready(kept.take().map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Stream { parts, .. } => match ready!(parts.poll_recv(cx)) {
                Some(Part::Frame(frame)) => Poll::Ready(Some(Ok(frame))),
                Some(Part::End) => {
                    self.body = ReplyBody::Empty { length: None };
                    Poll::Ready(None)
                }
                Some(Part::Aborted(aborted)) => Poll::Ready(Some(Err(aborted))),
                // An end that nobody has said is none: the caller must not take the rest for all.
                None => Poll::Ready(Some(Err(Aborted("its call is gone")))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            ReplyBody::Empty { .. } => true,
            ReplyBody::Full(bytes) => bytes.is_empty(),
            ReplyBody::Kept(kept) => kept.is_empty(),
            ReplyBody::Stream { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            ReplyBody::Empty { .. } => SizeHint::with_exact(0),
            ReplyBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            ReplyBody::Kept(kept) => SizeHint::with_exact(kept.len() as u64),
            ReplyBody::Stream {
                length: Some(length),
                ..
            } => SizeHint::with_exact(*length),
            ReplyBody::Stream { length: None, .. } => SizeHint::default(),
        }
    }
}

/// A reply as an HTTP response.
pub(super) fn render(reply: Reply) -> http::Response<OutBody> {
    match reply {
        Reply::Masked(reply) => masked(*reply),
        Reply::Refusal(reply) => refusal(&reply),
    }
}

fn masked(reply: MaskedReply) -> http::Response<OutBody> {
    let (call, receipt, status, headers, body) = reply.into_parts();
    let announced = match &body {
        ReplyBody::Empty { length } => *length,
        ReplyBody::Full(_) | ReplyBody::Kept(_) | ReplyBody::Stream { .. } => None,
    };
    let mut response = http::Response::new(OutBody { body, _busy: None });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(length) = announced {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    insert(response.headers_mut(), CALL, &call.to_string());
    insert(response.headers_mut(), RECEIPT, &receipt);
    response
}

/// A refusal as RFC 9457 problem details.
pub(super) fn refusal(reply: &RefusalReply) -> http::Response<OutBody> {
    let Refusal {
        code,
        detail,
        executed,
        retry_after,
        approval,
        ..
    } = &reply.refusal;
    let status = reply.status.unwrap_or_else(|| code.status());
    let mut problem = serde_json::json!({
        "type": format!("urn:callgate:error:{}", code.as_str()),
        "title": code.title(),
        "status": status,
        "code": code.as_str(),
        "detail": detail,
        "executed": executed.as_str(),
        "call": reply.call.to_string(),
        // Where SDKs of model APIs look: some of them show nothing else of a refusal.
        "error": { "code": code.as_str(), "message": detail },
    });
    let path = approval
        .as_ref()
        .map(|approval| format!("{}/approvals/{}", super::own::BASE, approval.id));
    if let (Some(approval), Some(path), Some(problem)) = (approval, &path, problem.as_object_mut())
    {
        let mut notice = serde_json::json!({
            "id": approval.id, "status": path, "run": format!("{path}/run"), "expires": approval.expires,
        });
        if let Some(reason) = &approval.reason {
            notice["reason"] = reason.as_str().into();
        }
        problem.insert("approval".to_owned(), notice);
    }
    let mut response = http::Response::new(OutBody::full(problem.to_string()));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = retry_after {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(wait.as_secs().max(1)),
        );
    }
    if *executed != Executed::No {
        // Clients that repeat a status by themselves ask here first; running it twice is nobody's wish.
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(challenge) = challenge(*code) {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
    }
    if let Some(path) = path.filter(|_| *code == Code::ApprovalPending) {
        insert(headers, header::LOCATION, &path);
    }
    insert(headers, CALL, &reply.call.to_string());
    if let Some(receipt) = &reply.receipt {
        insert(headers, RECEIPT, receipt);
    }
    response
}

/// RFC 6750 section 3: what a caller without an acceptable token is told to present.
const fn challenge(code: Code) -> Option<&'static str> {
    match code {
        Code::Unauthenticated => Some("Bearer realm=\"callgate\""),
        Code::TokenExpired => Some(
            "Bearer realm=\"callgate\", error=\"invalid_token\", error_description=\"the token has expired\"",
        ),
        Code::TokenRejected => Some("Bearer realm=\"callgate\", error=\"invalid_token\""),
        _ => None,
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use super::*;

    async fn ends_cleanly(parts: Vec<Part>) -> bool {
        let (sender, receiver) = mpsc::channel(8);
        for part in parts {
            sender.try_send(part).unwrap();
        }
        drop(sender);
        let body = OutBody {
            body: ReplyBody::Stream {
                length: None,
                parts: receiver,
            },
            _busy: None,
        };
        body.collect().await.is_ok()
    }

    // R11
    #[tokio::test]
    async fn an_answer_ends_cleanly_only_when_its_end_was_said() {
        let data = || Part::Frame(Frame::data(Bytes::from_static(b"x")));
        assert!(ends_cleanly(vec![data(), Part::End]).await);
        assert!(ends_cleanly(vec![Part::End]).await);
        assert!(!ends_cleanly(vec![data()]).await);
        assert!(!ends_cleanly(vec![]).await);
        assert!(!ends_cleanly(vec![data(), Part::Aborted(Aborted("why")), Part::End]).await);
    }
}
