//! The kept answer of an approved call, on its way to the caller it is kept for.

use std::sync::Arc;

use crate::approval::{ApprovalId, Approvals, Error};
use crate::call::CallId;
use crate::identity::Principal;
use crate::record::{Event, Recorder, Unavailable, Who};

/// The masked answer of a call that was executed while its caller was away. It stays kept until
/// [`Self::released`]: whoever crashes before that hands it out again.
#[derive(Debug)]
pub struct Kept {
    approvals: Approvals,
    record: Recorder,
    id: ApprovalId,
    who: Arc<Principal>,
    bytes: Vec<u8>,
}

impl Kept {
    /// What is kept for this caller, if it still is.
    pub(super) async fn fetch(
        (approvals, record): (&Approvals, &Recorder),
        id: &ApprovalId,
        who: Arc<Principal>,
    ) -> Result<Option<Self>, Error> {
        let fetched = approvals.fetch_result(id, &who).await?;
        Ok(fetched.map(|bytes| Self {
            approvals: approvals.clone(),
            record: record.clone(),
            id: id.clone(),
            who,
            bytes,
        }))
    }

    /// The answer as it was encoded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Put on record, and on stable storage, that the caller has the answer of `call` from now on; `by` is
    /// the request that it came back with.
    ///
    /// # Errors
    /// [`Unavailable`]: the answer must not be handed out.
    pub async fn on_record(&self, call: CallId, by: CallId) -> Result<(), Unavailable> {
        let fetched = Event::AnswerFetched {
            approval: self.id.to_string(),
            call,
            by,
            who: Who::from(self.who.as_ref()),
        };
        self.record.note(fetched).await.map(drop)
    }

    /// All of it went out to the caller.
    pub async fn released(self) {
        if let Err(error) = self.approvals.result_released(&self.id, &self.who).await {
            tracing::warn!(approval.id = %self.id, %error,
                "a fetched answer is kept until its time is over: it could not be dropped now");
        }
    }
}
