//! What the caller of a held call is told.

use std::time::Duration;

use super::refusal::{Code, Executed, Refusal};
use crate::approval::{self, AskError, State};

/// When a caller that waits for people may ask again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(10);

pub(super) fn not_executable(state: State) -> Refusal {
    match state {
        State::Pending | State::Approved => {
            Refusal::new(Code::ApprovalPending, "NOT executed: waiting for approval")
                .retry_after(RETRY_AFTER)
        }
        State::Denied => Refusal::new(
            Code::ApprovalDenied,
            "NOT executed: people denied this call",
        ),
        State::Expired => Refusal::new(
            Code::ApprovalExpired,
            "NOT executed: the time to decide or to execute is over; send the call again to ask anew",
        ),
        State::Cancelled => Refusal::new(
            Code::ApprovalExpired,
            "NOT executed: the approval was cancelled; send the call again to ask anew",
        ),
        State::Superseded => Refusal::new(
            Code::Superseded,
            "NOT executed: the rules changed after the approval; send the call again to ask anew",
        ),
        State::Executing => Refusal::new(Code::Conflict, "the approved call is under way already")
            .executed(Executed::Unknown)
            .retry_after(Duration::from_secs(2)),
        State::Indeterminate => Refusal::new(
            Code::Indeterminate,
            "the gateway stopped while the approved call was under way: it may have been executed",
        )
        .executed(Executed::Unknown),
        State::Failed => Refusal::new(
            Code::UpstreamFailed,
            "NOT executed: the approved call could not be sent; send it again to ask anew",
        ),
        State::Done => Refusal::new(
            Code::Conflict,
            "the approval was executed, and its answer is not kept any more",
        )
        .executed(Executed::Yes),
    }
}

/// The same, with the words of whoever said no: they are the caller's to read.
pub(super) fn denied_because(mut refusal: Refusal) -> Refusal {
    let reason = refusal.approval.as_ref();
    if let Some(reason) = reason.and_then(|notice| notice.reason.as_ref()) {
        refusal.detail = format!("{}: {reason}", refusal.detail);
    }
    refusal
}

pub(super) fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "no such approval of this caller")
}

/// Why nothing can be done about an approval, as its caller is told.
pub fn failed(error: &approval::Error) -> Refusal {
    match error {
        approval::Error::Unknown(_) => unknown(),
        approval::Error::Closed { state, .. } => not_executable(*state),
        approval::Error::TooLarge(..) => Refusal::new(
            Code::TooLarge,
            "NOT executed: the request is too large to wait for approval",
        ),
        approval::Error::Store(_) => Refusal::new(
            Code::StateUnavailable,
            "NOT executed: the state of the approval cannot be had now",
        )
        .retry_after(Duration::from_secs(5))
        .operator(error.to_string()),
        approval::Error::Tampered(_) | approval::Error::Crypto => Refusal::new(
            Code::Internal,
            "NOT executed: the state of the approval cannot be had now",
        )
        .retry_after(Duration::from_secs(5))
        .operator(error.to_string()),
    }
}

pub(super) fn ask_refused(error: &AskError) -> Refusal {
    match error {
        AskError::Conflict(_) => Refusal::new(
            Code::Conflict,
            "NOT executed: this Idempotency-Key was used with another request; use a new key",
        ),
        AskError::TooManyPending(what) => Refusal::new(
            Code::RateLimited,
            "NOT executed: too many calls wait for approval",
        )
        .retry_after(Duration::from_secs(30))
        .operator(*what),
        AskError::Denied { .. } | AskError::CoolingDown(_) => Refusal::new(
            Code::ApprovalDenied,
            "NOT executed: people denied such a call a short while ago; ask again later",
        ),
        AskError::Indeterminate(_) => not_executable(State::Indeterminate),
        AskError::Failed(error) => failed(error),
    }
}
