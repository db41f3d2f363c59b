//! Whoever can write into the database still runs nothing else.

use super::*;

async fn sql(bench: &Bench, text: &str) -> u64 {
    engine::meddle(&bench.sql, text).await
}

#[tokio::test]
async fn a_row_that_was_changed_in_the_database_runs_nothing() {
    let changes = [
        "UPDATE approvals SET frozen = CAST(substr(frozen, 1, length(frozen) - 1) || x'00' AS BLOB)",
        "UPDATE approvals SET summary = frozen",
        "UPDATE approvals SET function = 'payments/deleteAll'",
        "UPDATE approvals SET issuer = 'partner'",
        "UPDATE approvals SET terms = replace(terms, '\"quorum\":1', '\"quorum\":0')",
        "UPDATE approvals SET apart = '{\"principals\":[],\"people\":[]}'",
        "UPDATE approvals SET call = '00000000-0000-0000-0000-000000000000'",
        "UPDATE approvals SET binding = x'00'",
        "UPDATE approvals SET decide_by_ms = decide_by_ms + 1",
        "UPDATE votes SET subject = 'bob'",
        "UPDATE votes SET groups = '[\"corp/admins\"]'",
        "UPDATE votes SET verdict = 'no'",
        "UPDATE votes SET mac = x'00'",
        "UPDATE votes SET glass = 1",
        "DELETE FROM votes",
        "UPDATE votes SET voided_ms = 1",
    ];
    for change in changes {
        let bench = Bench::new().await;
        let id = bench.approved("refund 10").await;
        assert_eq!(sql(&bench, change).await, 1, "{change}");
        let take = bench.approvals.take(&id, &caller(), "i1").await;
        assert!(
            matches!(take, Err(TakeError::Failed(Error::Tampered(_)))),
            "{change}: {take:?}"
        );
        assert_eq!(bench.approvals.state(&id).await.unwrap(), State::Approved);
    }
}

#[tokio::test]
async fn a_state_that_was_written_into_the_database_runs_nothing() {
    let bench = Bench::new().await;
    let id = bench.ask(&caller(), "refund").await.id;
    assert_eq!(
        sql(&bench, "UPDATE approvals SET state = 'approved'").await,
        1
    );
    let take = bench.approvals.take(&id, &caller(), "i1").await;
    assert!(matches!(take, Err(TakeError::Failed(Error::Tampered(_)))));
}

#[tokio::test]
async fn bytes_of_one_approval_do_not_open_in_another() {
    let bench = Bench::new().await;
    let id = bench.approved("refund 10").await;
    bench.ask(&caller(), "refund 99").await;
    let swap = "UPDATE approvals SET frozen = (SELECT frozen FROM approvals WHERE state = 'pending'), \
         summary = (SELECT summary FROM approvals WHERE state = 'pending'), \
         binding = (SELECT binding FROM approvals WHERE state = 'pending') WHERE state = 'approved'";
    assert_eq!(sql(&bench, swap).await, 1);
    let take = bench.approvals.take(&id, &caller(), "i1").await;
    assert!(matches!(take, Err(TakeError::Failed(Error::Tampered(_)))));
}

#[tokio::test]
async fn the_database_does_not_show_the_call() {
    let bench = Bench::new().await;
    let id = bench.approved("card 4111111111111111").await;
    done(&bench, &id, Some(b"answer 4111111111111111")).await;
    bench.ask(&caller(), "other card 4111111111111111").await;
    for entry in std::fs::read_dir(bench.dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let found = bytes.windows(16).any(|w| w == b"4111111111111111");
        assert!(!found);
    }
}
