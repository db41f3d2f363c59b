//! What owners of rules see of how deciding goes.

use super::*;
use crate::approval::FunctionFigures;
use crate::clock::Clock;

/// Ask, and let somebody answer after so long.
async fn decided(bench: &Bench, body: &str, after: Duration, verdict: Verdict) -> ApprovalId {
    bench.clock.advance(Duration::from_secs(1));
    let id = bench.ask(&caller(), body).await.id;
    bench.clock.advance(after);
    let hash = lead_terms().rules[0].hash;
    let now = bench.clock.now();
    let voter = lead("lea").signed_in(Some(now), None);
    cast(&bench.approvals, &id, &hash, &voter, verdict)
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn what_nobody_decided_or_ran_in_time_is_no_decision() {
    let config = Config {
        cooldown_s: 0,
        pending_per_principal_max: 100,
        ..Config::default()
    };
    let bench = Bench::with(config).await;
    assert_eq!(bench.approvals.figures().await.unwrap(), []);
    for (n, seconds) in [1, 3, 4, 40, 400].into_iter().enumerate() {
        let verdict = if seconds == 40 {
            Verdict::No
        } else {
            Verdict::Yes
        };
        decided(
            &bench,
            &n.to_string(),
            Duration::from_secs(seconds),
            verdict,
        )
        .await;
    }
    // One is open, one ran out, one was taken back: none of them was decided.
    let expired = bench.ask(&caller(), "expired").await.id;
    bench.clock.advance(Duration::from_secs(901));
    let cancelled = bench.ask(&caller(), "cancelled").await.id;
    bench.approvals.cancel(&cancelled, &caller()).await.unwrap();
    bench.ask(&caller(), "open").await;
    assert_eq!(
        bench.approvals.state(&expired).await.unwrap(),
        State::Expired
    );
    // Approved ones that nobody ran in time count as expired, whatever the sweep has done.
    let figures = bench.approvals.figures().await.unwrap();
    let expected = FunctionFigures {
        function: "payments/createRefund".to_owned(),
        asked: 8,
        approved: 0,
        denied: 1,
        expired: 5,
        median_decision_ms: Some(40_000),
        granted: 0,
        rubber_stamps: 0,
    };
    assert_eq!(figures, [expected]);
}

#[tokio::test]
async fn the_median_and_the_rubber_stamps_are_of_decided_questions() {
    let bench = Bench::with(Config {
        execute_within_s: 86_400,
        cooldown_s: 0,
        pending_per_principal_max: 100,
        ..Config::default()
    })
    .await;
    for (n, seconds) in [1, 3, 4, 40, 400].into_iter().enumerate() {
        let verdict = if seconds == 40 {
            Verdict::No
        } else {
            Verdict::Yes
        };
        decided(
            &bench,
            &n.to_string(),
            Duration::from_secs(seconds),
            verdict,
        )
        .await;
    }
    let figures = bench.approvals.figures().await.unwrap();
    let [figures] = &figures[..] else {
        panic!("{figures:?}")
    };
    assert_eq!((figures.approved, figures.denied, figures.asked), (4, 1, 5));
    assert_eq!(
        (figures.median_decision_ms, figures.rubber_stamps),
        (Some(4_000), 2)
    );
}
