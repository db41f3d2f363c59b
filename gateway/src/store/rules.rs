//! What [`super::Store::ask`] decides, from facts that the engine collected in its transaction.

use std::time::Duration;

use crate::clock::Timestamp;

use super::rows::{AskLimits, Full};

/// How far back a no counts for the cool-down, and questions for the rate.
pub(super) const WINDOW: Duration = Duration::from_secs(3_600);
/// Longest cool-down, however many times people said no.
const COOLDOWN_MAX: Duration = Duration::from_secs(900);
/// How long an idempotency key stands for one request.
pub(super) const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(86_400);

/// Counts at the moment of a new question.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Open approvals of the principal, without those that grants alone opened.
    pub(super) open_of_principal: i64,
    /// Open approvals in all.
    pub(super) open: i64,
    /// Sealed bytes of open approvals in all, the new one included.
    pub(super) bytes: i64,
    /// Approvals of the principal within [`WINDOW`], without those that grants alone opened.
    pub(super) asked: i64,
    /// Changes not taken over.
    pub(super) changes: i64,
}

impl Counts {
    /// The first bound that a new question would break.
    pub(super) const fn full(self, limits: &AskLimits) -> Option<Full> {
        if self.open_of_principal >= limits.open_per_principal_max {
            Some(Full::Principal)
        } else if self.asked >= limits.asks_per_hour_max {
            Some(Full::Rate)
        } else if self.open >= limits.open_max {
            Some(Full::Total)
        } else if self.bytes > limits.bytes_max {
            Some(Full::Bytes)
        } else if self.changes >= limits.changes_max {
            Some(Full::Changes)
        } else {
            None
        }
    }
}

/// Until when a principal waits that was told no `denials` times within [`WINDOW`], last at `last`.
pub(super) fn cools_until(denials: i64, last: Timestamp, cooldown: Duration) -> Option<Timestamp> {
    if denials <= 0 || cooldown.is_zero() {
        return None;
    }
    let doublings = u32::try_from(denials - 1).unwrap_or(u32::MAX).min(16);
    let wait = cooldown
        .saturating_mul(1 << doublings)
        .min(COOLDOWN_MAX.max(cooldown));
    Some(last.plus(wait))
}

/// `now` minus a duration, not before the epoch.
pub(super) fn ago(now: Timestamp, by: Duration) -> Timestamp {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(now.nanos().saturating_sub(nanos))
}
