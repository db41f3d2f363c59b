//! Calls that end without an answer: the record is closed before the caller is told why.

use std::time::{Duration, Instant};

use super::Refused;
use crate::call::HttpCall;
use crate::gate::{Code, Permitted, Refusal};
use crate::upstream::Failed;

/// The credential cannot be had.
pub(super) fn uncredited(operator: &str) -> Refusal {
    let text = "NOT executed: the function's credential cannot be had now";
    Refusal::new(Code::CredentialUnavailable, text)
        .retry_after(Duration::from_secs(10))
        .operator(operator)
}

/// Nothing was sent: the record is closed before the caller is told why.
pub(super) async fn unsent(permitted: Permitted<HttpCall>, refusal: Refusal) -> Refused {
    match permitted.give_up(refusal.code.as_str()).await {
        Ok(_) => refusal,
        Err(error) => Refusal::audit_unavailable(error.to_string()),
    }
    .into()
}

/// The record of a call without a deliverable answer is closed before the caller is told.
pub(super) async fn closed(failed: Failed, received: Instant) -> Refused {
    let receipt = Some(failed.receipt());
    let executed = failed.refusal.executed;
    let why = failed.why();
    let refusal = match failed.close(why, received.elapsed()).await {
        Ok(refusal) => refusal,
        Err(error) => Refusal::audit_unavailable(error.to_string()).executed(executed),
    };
    Refused {
        refusal: Box::new(refusal),
        receipt,
        status: None,
    }
}
