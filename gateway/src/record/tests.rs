mod crash;
mod faults;
mod index;
mod measure;
mod outside;
mod prune;
mod read;
mod retain;
mod sim;
mod succeed;
pub(crate) mod support;
mod tamper;
mod trail;
mod writers;

use super::{End, Outcome};
use support::{begin, call, fresh, open};

#[tokio::test]
async fn closed_call_survives_a_restart_and_an_open_one_is_indeterminate() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let (done, left) = (call(), call());
    let mut record = begin(&recorder, done, b"up").await.unwrap();
    // `log.open` is record 0.
    assert_eq!(record.index(), Some(1));
    record.released(b"down").await.unwrap();
    let closed = record.close(End::new(Outcome::Ok)).await.unwrap();
    assert_eq!((closed.index, closed.released_bytes), (Some(2), 4));
    let open_record = begin(&recorder, left, b"up").await.unwrap();
    drop((open_record, recorder));
    let (recorder, recovery) = open(&config).unwrap();
    assert_eq!(recovery.calls, vec![left]);
    assert_eq!(recovery.records, 4);
    assert!(!recovery.torn);
    recorder.shutdown().await;
    let (_recorder, recovery) = open(&config).unwrap();
    assert_eq!(recovery.indeterminate, 0);
    assert_eq!(recovery.head, recovery.records);
}
