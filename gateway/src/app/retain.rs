//! What is kept no longer than the config wants, looked at once an hour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::House;
use crate::clock::Timestamp;

/// How often it is looked whether something is over its time.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// A clock that moved by more than this against one that does not step is not believed for a round: what is
/// destroyed by a wrong date is gone.
const STEP_MAX: Duration = Duration::from_secs(600);

/// Wall time beside time that does not step.
#[derive(Clone, Copy, Debug)]
struct Watch {
    wall: Timestamp,
    steady: Instant,
}

impl Watch {
    /// Whether both have gone on by the same since.
    fn agrees(self, now: Self) -> bool {
        let expected = self.wall.plus(now.steady.duration_since(self.steady));
        let apart = now.wall.nanos().abs_diff(expected.nanos());
        Duration::from_nanos(apart) <= STEP_MAX
    }
}

/// Destroy what is over its time, for as long as the gateway runs.
pub(super) async fn run(house: Arc<House>) {
    let mut every = tokio::time::interval(RETAIN_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = || Watch {
        wall: house.clock.now(),
        steady: Instant::now(),
    };
    let mut before = watch();
    loop {
        every.tick().await;
        let now = watch();
        if before.agrees(now) {
            round(&house, now.wall).await;
        } else {
            tracing::error!(
                "the clock was moved: nothing that is over its time is destroyed for an hour; set the clock right"
            );
        }
        before = now;
    }
}

async fn round(house: &House, now: Timestamp) {
    let keep = house.loaded().await.config.audit.keep;
    if let Some(before) = keep.content_before(now) {
        match house.record.expire_content(before).await {
            Ok(None) => {}
            Ok(Some(done)) => tracing::info!(
                keys = done.keys,
                record = done.record,
                "content over its time is destroyed"
            ),
            Err(error) => {
                tracing::error!(%error, "content over its time could not be destroyed; it is tried again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_moved_is_not_believed() {
        let steady = Instant::now();
        let at = |secs, steady| Watch {
            wall: Timestamp::from_secs(secs),
            steady,
        };
        let first = at(1_800_000_000, steady);
        let later = steady + Duration::from_secs(3600);
        assert!(first.agrees(at(1_800_003_600, later)));
        assert!(
            first.agrees(at(1_800_003_000, later)),
            "a clock is corrected"
        );
        assert!(
            !first.agrees(at(1_900_000_000, later)),
            "a year that is not"
        );
        assert!(!first.agrees(at(1_700_000_000, later)));
    }
}
