//! What the encoder is given: everything owned, so that whoever hands it in is free at once.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::entry::{ApprovalRef, CredentialRef, End, Observed, Who};
use super::event;
use super::recovery::Progress;
use super::seal::{ContentId, ContentKey, Part};
use crate::call::{CallId, Durability};
use crate::clock::Timestamp;
use crate::policy::Shadowed;

/// The begin of a call, owned.
#[derive(Debug)]
pub(super) struct BeginJob {
    pub(super) call: CallId,
    pub(super) key: Arc<ContentKey>,
    pub(super) who: Who,
    /// The principal as the record seals it.
    pub(super) principal: Value,
    pub(super) function: String,
    pub(super) effect: &'static str,
    pub(super) received: Timestamp,
    pub(super) source: String,
    pub(super) tls: bool,
    pub(super) protocol: &'static str,
    pub(super) method: String,
    pub(super) policies: Vec<String>,
    pub(super) shadowed: Option<Shadowed>,
    pub(super) observed: Option<Observed>,
    pub(super) approval: Option<ApprovalRef>,
    pub(super) credential: Option<CredentialRef>,
    pub(super) upstream: String,
    pub(super) head: Value,
    pub(super) body: Option<Bytes>,
    pub(super) config_version: String,
    pub(super) policy_version: String,
    pub(super) mask: &'static str,
    pub(super) durability: Durability,
    pub(super) context: Value,
    pub(super) ack: Option<oneshot::Sender<u64>>,
}

impl BeginJob {
    /// What is sealed with it, beside the request's head and the policy request.
    pub(super) fn about(&self) -> Value {
        let mut about = serde_json::json!({
            "principal": self.principal,
            "source": self.source,
            "received": super::leaf::nanos_text(self.received),
        });
        let detail = self.observed.as_ref().and_then(|one| one.detail.as_deref());
        if let (Some(members), Some(detail)) = (about.as_object_mut(), detail) {
            members.insert("observed".to_owned(), detail.into());
        }
        about
    }
}

/// A piece of content on its way, or a progress commitment, or both.
#[derive(Debug)]
pub(super) struct PieceJob {
    pub(super) key: Arc<ContentKey>,
    pub(super) part: Part,
    pub(super) piece: u32,
    pub(super) bytes: Vec<u8>,
    /// Bytes so far and the commitment to them.
    pub(super) progress: Option<(u64, [u8; 32])>,
    /// A piece of the times at which it was released.
    pub(super) times: Option<(u32, Vec<u8>)>,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// What went one way, in the end.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) bytes: u64,
    pub(super) commitment: [u8; 32],
    /// The last piece of content, with its number.
    pub(super) tail: Vec<u8>,
    pub(super) piece: u32,
    /// The last piece of times.
    pub(super) times: Option<(u32, Vec<u8>)>,
}

/// The end of a call, owned.
#[derive(Debug)]
pub(super) struct EndJob {
    pub(super) key: Arc<ContentKey>,
    pub(super) end: End,
    /// What streamed up; `None` when the begin record has all of it.
    pub(super) request: Option<Flow>,
    pub(super) released: Flow,
    pub(super) why: Option<&'static str>,
    pub(super) ack: Option<oneshot::Sender<u64>>,
}

/// A call that an earlier run began and did not end.
pub(super) struct OrphanJob {
    pub(super) id: ContentId,
    pub(super) begin: u64,
    /// Over the sealed frames since its begin.
    pub(super) sealed: digest::Context,
    /// The last commitment of each way.
    pub(super) progress: Vec<Progress>,
}

impl fmt::Debug for OrphanJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OrphanJob")
            .field("begin", &self.begin)
            .finish_non_exhaustive()
    }
}

/// An event, with who is behind it.
#[derive(Debug)]
pub(super) struct EventJob {
    pub(super) event: event::Recorded,
    pub(super) ack: Option<oneshot::Sender<u64>>,
    /// What its content takes of the queue's bytes.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// One thing to encode.
#[derive(Debug)]
pub(super) enum Job {
    Begin(Box<BeginJob>),
    Piece(Box<PieceJob>),
    End(Box<EndJob>),
    Event(Box<EventJob>),
    Orphan(Box<OrphanJob>),
    /// Take nothing more, encode what is queued, end.
    Stop,
}
