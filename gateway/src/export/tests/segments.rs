//! Where a log's files are not those of a moment ago: it was succeeded, or went on in new segments.

use super::super::{BATCH_BYTES_MAX, Begin};
use super::{Does, Peer, calls, kept, signed, turns, worker};
use crate::disk::RealDisk;
use crate::record::tests::support::{begin, call, fresh, noise, open};
use crate::record::{End, Feed, FeedLimits, Outcome};

#[tokio::test]
async fn what_a_sink_never_got_of_a_log_that_was_succeeded_is_listed_and_the_successor_arrives_whole()
 {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let taken = calls(&recorder, 2).await;
    let peer = Peer::new(&[]);
    turns(
        &mut worker(&recorder, &config.dir, &peer, Begin::Newest),
        10,
    )
    .await;
    let peer = Peer::new(&[Does::Take, Does::Fail]);
    let mut old = worker(&recorder, &config.dir, &peer, Begin::Newest);
    calls(&recorder, 3).await;
    old.turn().await;
    let sent = kept(&config.dir).next;
    assert!(sent > taken, "some of it arrived");
    calls(&recorder, 2).await;
    old.turn().await;
    drop(old);
    recorder.shutdown().await;
    std::fs::remove_file(config.dir.join("place")).unwrap();
    let (before, aside) = crate::record::succeed(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    let records = calls(&recorder, 1).await;
    let peer = Peer::new(&[]);
    let mut new = worker(&recorder, &config.dir, &peer, Begin::Newest);
    let stands = turns(&mut new, 10).await.standing;
    assert_eq!(peer.indexes(), (0..records).collect::<Vec<_>>());
    let listed = kept(&config.dir).parked;
    assert_eq!((listed.len(), stands.parked), (1, before.records - sent));
    assert_eq!(
        (listed[0].first, listed[0].last),
        (sent, before.records - 1)
    );
    let name = aside.file_name().unwrap().to_str();
    assert_eq!(listed[0].of.as_deref(), name);
    drop(new);
    // Said once.
    let again = worker(&recorder, &config.dir, &peer, Begin::Newest);
    assert_eq!(
        (again.standing().parked, kept(&config.dir).parked),
        (stands.parked, listed)
    );
}

#[tokio::test]
async fn a_reading_that_goes_beyond_the_segments_that_were_known_finds_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let content = noise(7, 60_000);
    let grow = async || {
        for _ in 0..12 {
            let record = begin(&recorder, call(), &content).await.unwrap();
            record.close(End::new(Outcome::Ok)).await.unwrap();
        }
        signed(&recorder).await
    };
    grow().await;
    let mut feed = Feed::new(recorder.clone(), &config.dir).unwrap();
    let limits = |records| FeedLimits {
        records,
        bytes: BATCH_BYTES_MAX,
    };
    let first = feed.read(0, limits(3)).unwrap();
    let records = grow().await;
    let rest = feed.read(3, limits(1000)).unwrap();
    let indexes = first.iter().chain(&rest).map(|fed| fed.index);
    assert_eq!(
        indexes.collect::<Vec<_>>(),
        (0..records).collect::<Vec<_>>()
    );
}
