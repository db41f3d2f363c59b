//! Asking, taking, running, ending.

use super::*;

#[tokio::test]
async fn approved_bytes_run_once_for_their_caller() {
    let bench = Bench::new().await;
    let id = bench.approved("refund 10").await;
    let execution = bench.approvals.take(&id, &caller(), "i1").await.unwrap();
    assert_eq!(execution.frozen(), b"refund 10");
    assert_eq!(execution.fence(), 1);
    assert_eq!(execution.opened().len(), 1);
    assert_eq!(execution.voters()[0].key.subject, "lea");
    let outcome = Outcome::Done {
        result: Some(b"ok".to_vec()),
    };
    bench.approvals.finish(execution, outcome).await.unwrap();
    assert!(matches!(
        bench.approvals.take(&id, &caller(), "i1").await,
        Err(TakeError::NotApproved(State::Done))
    ));
    // The same call again finds the result instead of asking again.
    let again = bench.ask(&caller(), "refund 10").await;
    assert_eq!(
        (&again.id, again.state, again.joined),
        (&id, State::Done, true)
    );
}
