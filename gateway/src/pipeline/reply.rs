//! What a caller gets: a masked answer or a refusal, and nothing else.

use bytes::Bytes;
use http::header::HeaderMap;
use http_body::Frame;
use tokio::sync::{mpsc, oneshot};

use crate::call::CallId;
use crate::gate::Refusal;
use crate::upstream::MaskedHead;

/// The answer to a call.
#[derive(Debug)]
pub enum Reply {
    /// A function's answer, masked and recorded.
    Masked(Box<MaskedReply>),
    /// A refusal.
    Refusal(Box<RefusalReply>),
}

/// A masked answer. Made only by the release of a masked, recorded answer.
#[derive(Debug)]
pub struct MaskedReply {
    pub(super) call: CallId,
    pub(super) receipt: String,
    pub(super) status: http::StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ReplyBody,
}

/// A masked body.
#[derive(Debug)]
pub enum ReplyBody {
    /// No body; `length` is what a HEAD answer announces.
    Empty {
        /// Announced length, in bytes.
        length: Option<u64>,
    },
    /// All of it; the end is on the record.
    Full(Bytes),
    /// An answer that was kept; who kept it learns when it has gone out.
    Kept(KeptBody),
    /// It is under way. Only [`Part::End`] ends it cleanly: a channel that closes without it belongs to
    /// a call that was cut, or whose task is gone.
    Stream {
        /// Exact length when it is known.
        length: Option<u64>,
        /// Data, trailers and the end.
        parts: mpsc::Receiver<Part>,
    },
}

/// A body in three pieces, the last two of one byte each. The library asks for a piece ahead: it holds one
/// until the connection has room. When it asks for the last, it got rid of the one before, which goes out
/// behind all the rest, so whoever kept the answer knows that it went out.
#[derive(Debug)]
pub struct KeptBody {
    rest: Bytes,
    ahead: Bytes,
    last: Bytes,
    taken: Option<oneshot::Sender<()>>,
}

impl KeptBody {
    pub(super) fn new(mut body: Bytes, taken: oneshot::Sender<()>) -> Self {
        let last = body.split_off(body.len().saturating_sub(1));
        let ahead = body.split_off(body.len().saturating_sub(1));
        Self {
            rest: body,
            ahead,
            last,
            taken: Some(taken),
        }
    }

    /// Bytes that are still here.
    pub const fn len(&self) -> usize {
        self.rest.len() + self.ahead.len() + self.last.len()
    }

    /// Whether all of it was taken.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next piece, for the connection that asks for it.
    pub fn take(&mut self) -> Option<Bytes> {
        for piece in [&mut self.rest, &mut self.ahead] {
            if !piece.is_empty() {
                return Some(std::mem::take(piece));
            }
        }
        if self.last.is_empty() {
            return None;
        }
        if let Some(taken) = self.taken.take() {
            // Nobody waits any more when the caller took too long.
            let _late = taken.send(());
        }
        Some(std::mem::take(&mut self.last))
    }
}

/// The next part of an answer that is under way.
#[derive(Debug)]
pub enum Part {
    /// Data or trailers.
    Frame(Frame<Bytes>),
    /// The answer is complete, and its end is on the record.
    End,
    /// It must not end cleanly.
    Aborted(Aborted),
}

/// The answer broke off and must not look complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct Aborted(pub &'static str);

/// A refusal and the call it belongs to.
#[derive(Debug)]
pub struct RefusalReply {
    /// The call's id.
    pub call: CallId,
    /// Receipt of the begin record, when there is one.
    pub receipt: Option<String>,
    /// What the caller is told.
    pub refusal: Refusal,
    /// Status in place of the code's own (`approval_pending` only).
    pub status: Option<u16>,
}

impl MaskedReply {
    /// The parts, for the protocol that renders them: call id, receipt, status, headers, body.
    pub fn into_parts(self) -> (CallId, String, http::StatusCode, HeaderMap, ReplyBody) {
        (
            self.call,
            self.receipt,
            self.status,
            self.headers,
            self.body,
        )
    }
}

/// Where the one reply to a call goes.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) call: CallId,
    sender: Option<oneshot::Sender<Reply>>,
}

impl Answer {
    pub(super) const fn new(call: CallId, sender: oneshot::Sender<Reply>) -> Self {
        Self {
            call,
            sender: Some(sender),
        }
    }

    /// Whether the caller went away before any answer.
    pub(super) fn is_gone(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Resolves when the caller goes away; never when an answer was sent.
    pub(super) async fn gone(&mut self) {
        match self.sender.as_mut() {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn refuse(
        &mut self,
        refusal: Refusal,
        receipt: Option<String>,
        status: Option<u16>,
    ) {
        let reply = RefusalReply {
            call: self.call,
            receipt,
            refusal,
            status,
        };
        self.send(Reply::Refusal(Box::new(reply)));
    }

    /// False when the caller is gone.
    pub(super) fn masked(&mut self, receipt: String, head: &MaskedHead, body: ReplyBody) -> bool {
        let reply = MaskedReply {
            call: self.call,
            receipt,
            status: head.status,
            headers: head.headers.clone(),
            body,
        };
        self.send(Reply::Masked(Box::new(reply)))
    }

    /// False when the caller is gone.
    pub(super) fn kept(&mut self, reply: MaskedReply) -> bool {
        self.send(Reply::Masked(Box::new(reply)))
    }

    fn send(&mut self, reply: Reply) -> bool {
        self.sender
            .take()
            .is_some_and(|sender| sender.send(reply).is_ok())
    }
}
