//! Whether a caller that was let in may still be served, for as long as its call is under way.

use tokio::sync::watch;

use crate::gate::{Code, Executed, Refusal};
use crate::identity::{Principal, Revocations};

/// A look at the revocations that misses no change: whatever is shut out after [`Standing::of`] is noticed
/// by the next [`Standing::lost`], however long nobody looked.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    revocations: &'a Revocations,
    changes: watch::Receiver<u64>,
}

impl<'a> Standing<'a> {
    /// From now on.
    pub(super) fn of(revocations: &'a Revocations) -> Self {
        Self {
            revocations,
            changes: revocations.subscribe(),
        }
    }

    /// Why the caller may not be served any more, if so by now.
    pub(super) fn look(
        &self,
        who: &Principal,
        connection: &str,
        executed: Executed,
    ) -> Option<Refusal> {
        if !self.revocations.cuts(who, connection) {
            return None;
        }
        let (code, why) = if self.revocations.is_stale() {
            let why = "whether the caller was revoked meanwhile cannot be told";
            (Code::StateUnavailable, why)
        } else {
            (Code::Revoked, "the caller was revoked meanwhile")
        };
        let text = match executed {
            Executed::No => format!("NOT executed: {why}"),
            Executed::Yes => format!("EXECUTED, but {why}: the answer is withheld"),
            Executed::Unknown => format!("{why}: it may have been executed"),
        };
        Some(Refusal::new(code, text).executed(executed))
    }

    /// Resolves when the caller may not be served any more. Nothing is lost when it is dropped before.
    pub(super) async fn lost(
        &mut self,
        who: &Principal,
        connection: &str,
        executed: Executed,
    ) -> Refusal {
        while self.changes.changed().await.is_ok() {
            if let Some(refusal) = self.look(who, connection, executed) {
                return refusal;
            }
        }
        // The view is gone, and the gateway with it.
        std::future::pending().await
    }
}
