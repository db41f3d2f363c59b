//! What is kept no longer than the config wants, looked at once an hour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::House;
use crate::clock::Timestamp;
use crate::disk::RealDisk;
use crate::export;

/// How often it is looked whether something is over its time.
const RETAIN_EVERY: Duration = Duration::from_secs(3600);

/// After so many rounds the policies are put on record again, where records go: evidence of a call needs one
/// of before it that is still there.
const POLICIES_EVERY: u64 = 24;

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
    for rounds in 0_u64.. {
        every.tick().await;
        let now = watch();
        if rounds > 0 && rounds.is_multiple_of(POLICIES_EVERY) {
            policies_again(&house).await;
        }
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

async fn policies_again(house: &House) {
    if house.loaded().await.config.audit.keep.log_days.is_none() {
        return;
    }
    let snapshot = house.pipeline.snapshot();
    if let Err(error) = super::house::start_on_record(&house.record, &snapshot).await {
        tracing::error!(%error, "the policies in force could not be put on record again");
    }
}

async fn round(house: &House, now: Timestamp) {
    let loaded = house.loaded().await;
    let keep = loaded.config.audit.keep;
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
    if let Some(before) = keep.log_before(now) {
        let sinks: Vec<&str> = loaded
            .config
            .audit
            .export
            .keys()
            .map(String::as_str)
            .collect();
        let dir = super::audit_dir(&loaded.data());
        // What a sink has not confirmed stays, however old it is.
        let confirmed = export::confirmed(&dir, &RealDisk, sinks);
        match house.record.prune(before, confirmed).await {
            Ok(None) => {}
            Ok(Some(done)) => tracing::info!(
                records = done.records,
                segments = done.segments,
                record = done.record,
                "records over their time are taken away"
            ),
            Err(error) => {
                tracing::error!(%error, "records over their time could not be taken away; it is tried again");
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
