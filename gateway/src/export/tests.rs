//! A worker over a real log, with a sink that does what a test says. Real receivers are `export_live` in the
//! integration tests.

mod segments;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::config::Opened;
use super::worker::Place;
use super::*;
use crate::clock::{Clock as _, ManualClock, SystemClock};
use crate::disk::RealDisk;
use crate::record::tests::support::{begin, call, fresh};
use crate::record::{End, Feed, Outcome, Recorder};

/// What the receiver does with the next batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Does {
    Take,
    /// It has the batch, and its answer is lost.
    LoseAnswer,
    Fail,
    /// It asks to be left alone for an hour.
    Hour,
    /// It takes batches of so few lines only.
    AtMost(usize),
    /// It never takes a batch with this record.
    Not(u64),
    Drop(u64),
}

/// A receiver that a test sees into.
#[derive(Clone, Debug)]
struct Peer(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    format: Format,
    /// What it does in turn; the last one for ever.
    script: VecDeque<Does>,
    seen: Vec<Line>,
}

impl Peer {
    fn new(script: &[Does]) -> Self {
        Self::of(Format::JsonLines, script)
    }

    fn of(format: Format, script: &[Does]) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            format,
            script: script.iter().copied().collect(),
            seen: Vec::new(),
        })))
    }

    fn indexes(&self) -> Vec<u64> {
        let inner = self.0.lock().unwrap();
        inner.seen.iter().map(|line| line.index).collect()
    }

    fn texts(&self) -> Vec<String> {
        let inner = self.0.lock().unwrap();
        inner.seen.iter().map(|line| line.text.clone()).collect()
    }
}

impl Sink for Peer {
    fn kind(&self) -> &'static str {
        "peer"
    }

    fn format(&self) -> Format {
        self.0.lock().unwrap().format
    }

    fn deliver<'a>(
        &'a self,
        _: &'a Origin,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Taken, Failure>> {
        let mut inner = self.0.lock().unwrap();
        let does = match inner.script.len() {
            0 => Does::Take,
            1 => inner.script[0],
            _ => inner.script.pop_front().unwrap(),
        };
        let refused = match does {
            Does::AtMost(lines) => batch.lines.len() > lines,
            Does::Not(index) => batch.lines.iter().any(|line| line.index == index),
            _ => false,
        };
        let outcome = match does {
            Does::Fail => Err(Failure::later("down")),
            Does::Hour => Err(Failure::Later {
                why: "not now".to_owned(),
                after: Some(Duration::from_secs(3600)),
            }),
            Does::Drop(count) => Ok(Taken::Without { count }),
            _ if refused => Err(Failure::Refused("the receiver answered 400".to_owned())),
            _ => {
                inner.seen.extend(batch.lines.iter().cloned());
                if does == Does::LoseAnswer {
                    Err(Failure::later("reset"))
                } else {
                    Ok(Taken::All)
                }
            }
        };
        async { outcome }.boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), egress::Error>> {
        async { Ok(()) }.boxed()
    }
}

fn worker(recorder: &Recorder, dir: &Path, peer: &Peer, begin: Begin) -> Worker {
    let clock: crate::clock::SharedClock = Arc::new(SystemClock);
    worker_at(recorder, dir, peer, begin, clock)
}

fn worker_at(
    recorder: &Recorder,
    dir: &Path,
    peer: &Peer,
    begin: Begin,
    clock: crate::clock::SharedClock,
) -> Worker {
    let place = Place {
        dir: dir.to_owned(),
        disk: Arc::new(RealDisk),
        clock,
        board: Board::default(),
    };
    let opened = Opened {
        name: "peer".to_owned(),
        sink: Box::new(peer.clone()),
        begin,
        alarm_after: Duration::from_secs(60),
    };
    let feed = Feed::new(recorder.clone(), dir).unwrap();
    Worker::new(opened, feed, "a", place)
}

/// So many calls, each of two records, all of them signed; how many records there are then.
async fn calls(recorder: &Recorder, count: usize) -> u64 {
    for _ in 0..count {
        let record = begin(recorder, call(), b"up").await.unwrap();
        record.close(End::new(Outcome::Ok)).await.unwrap();
    }
    signed(recorder).await
}

async fn signed(recorder: &Recorder) -> u64 {
    loop {
        let health = recorder.health();
        if health.unsigned == 0 {
            return health.records;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Turn until the sink has everything, or so many turns.
async fn turns(worker: &mut Worker, at_most: usize) -> Turn {
    let mut turn = worker.turn().await;
    for _ in 0..at_most {
        if turn.standing.behind == 0 {
            break;
        }
        turn = worker.turn().await;
    }
    turn
}

fn kept(dir: &Path) -> Kept {
    Kept::read(&RealDisk, dir, "peer").unwrap().unwrap()
}

#[tokio::test]
async fn a_sink_gets_every_record_once_in_order_and_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 20).await;
    let peer = Peer::new(&[]);
    let mut first = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    assert_eq!(turns(&mut first, 100).await.standing.next, records);
    assert_eq!(peer.indexes(), (0..records).collect::<Vec<_>>());
    drop(first);
    let more = calls(&recorder, 5).await;
    let mut second = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    turns(&mut second, 100).await;
    assert_eq!(peer.indexes(), (0..more).collect::<Vec<_>>());
    for (index, text) in peer.texts().iter().enumerate() {
        let record: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(record["seq"], index);
    }
}

#[tokio::test]
async fn a_log_of_many_segments_is_read_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let peer = Peer::new(&[]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let content = crate::record::tests::support::noise(7, 60_000);
    let mut records = 0;
    for _ in 0..6 {
        for _ in 0..4 {
            let record = begin(&recorder, call(), &content).await.unwrap();
            record.close(End::new(Outcome::Ok)).await.unwrap();
        }
        records = signed(&recorder).await;
        turns(&mut worker, 100).await;
    }
    let segments = std::fs::read_dir(config.dir.join("wal")).unwrap().count();
    assert!(segments > 4, "{segments} files are no test of this");
    assert_eq!(peer.indexes(), (0..records).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_no_signed_head_covers_stays_in_the_house() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::record::tests::support::config(folder.path());
    config.head_every = Duration::from_secs(3600);
    Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = crate::record::tests::support::open(&config).unwrap();
    let record = begin(&recorder, call(), b"up").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let (records, head) = (recorder.health().records, recorder.head());
    assert!(records >= 3 && head.is_none_or(|head| head.size < records));
    let peer = Peer::new(&[]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let turn = worker.turn().await;
    assert_eq!((turn.wait, turn.standing.behind), (EVERY, 0));
    assert!(peer.indexes().len() < 3, "{:?}", peer.indexes());
}

#[tokio::test]
async fn a_new_sink_may_begin_with_the_newest_record_and_begins_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let before = calls(&recorder, 3).await;
    let peer = Peer::new(&[]);
    drop(worker(&recorder, &config.dir, &peer, Begin::Newest));
    let after = calls(&recorder, 2).await;
    let mut again = worker(&recorder, &config.dir, &peer, Begin::Newest);
    turns(&mut again, 100).await;
    assert_eq!(peer.indexes(), (before..after).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_not_confirmed_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 4).await;
    let peer = Peer::new(&[Does::LoseAnswer, Does::Fail, Does::Take]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let turn = worker.turn().await;
    assert_eq!(turn.standing.trouble.as_deref(), Some("reset"));
    assert_eq!(kept(&config.dir).next, 0);
    let next = worker.turn().await;
    assert!(next.wait > turn.wait, "the pauses grow");
    assert_eq!(next.standing.failures, 2);
    let turn = turns(&mut worker, 10).await;
    assert_eq!(turn.standing.trouble, None);
    assert_eq!(
        peer.indexes(),
        (0..records).chain(0..records).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved_until_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 20).await;
    let peer = Peer::new(&[Does::AtMost(3)]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let turn = turns(&mut worker, 200).await;
    assert_eq!((turn.standing.parked, turn.standing.behind), (0, 0));
    assert_eq!(peer.indexes(), (0..records).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_record_that_is_refused_for_good_is_listed_and_all_others_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 20).await;
    let peer = Peer::new(&[Does::Not(17)]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let turn = turns(&mut worker, 200).await;
    assert_eq!((turn.standing.parked, turn.standing.behind), (1, 0));
    let expected: Vec<u64> = (0..records).filter(|index| *index != 17).collect();
    assert_eq!(peer.indexes(), expected);
    let parked = &kept(&config.dir).parked;
    assert_eq!(
        (parked[0].first, parked[0].last, parked[0].count),
        (17, 17, 1)
    );
    assert_eq!(parked[0].why, "the receiver answered 400");
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_brings_its_sink_to_a_halt_and_loses_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 80).await;
    assert!(records > PARKED_MAX as u64);
    let peer = Peer::new(&[Does::AtMost(0)]);
    let mut worker_then = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let turn = turns(&mut worker_then, 1000).await;
    assert_eq!(turn.standing.next, PARKED_MAX as u64);
    assert!(
        turn.standing
            .trouble
            .unwrap()
            .contains("list of refused records is full")
    );
    // Whoever mends the receiver has the rest.
    drop(worker_then);
    peer.0.lock().unwrap().script.clear();
    turns(
        &mut worker(&recorder, &config.dir, &peer, Begin::Oldest),
        100,
    )
    .await;
    assert_eq!(
        peer.indexes(),
        (PARKED_MAX as u64..records).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn records_that_a_receiver_says_it_dropped_are_listed_and_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 2).await;
    let peer = Peer::new(&[Does::Drop(2), Does::Take]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    let turn = turns(&mut worker, 10).await;
    assert_eq!((turn.standing.parked, turn.standing.behind), (2, 0));
    let parked = &kept(&config.dir).parked[0];
    assert_eq!((parked.first, parked.last), (0, records - 1));
    assert_eq!(peer.indexes(), Vec::<u64>::new());
}

#[tokio::test]
async fn a_receiver_that_drops_everything_does_not_get_the_whole_log_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 1).await;
    let full = Kept {
        parked: vec![
            Parked {
                first: 0,
                last: 0,
                count: 1,
                at_s: 0,
                why: "dropped".to_owned(),
                of: None,
            };
            PARKED_MAX
        ],
        log: Feed::new(recorder.clone(), &config.dir).unwrap().log_id(),
        ..Kept::default()
    };
    full.write(&RealDisk, &config.dir, "peer").unwrap();
    let peer = Peer::new(&[Does::Drop(1), Does::Drop(1), Does::Take]);
    let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
    for _ in 0..2 {
        let standing = worker.turn().await.standing;
        assert_eq!(standing.behind, records, "nothing is passed over");
        let trouble = standing.trouble.unwrap();
        assert!(trouble.contains("is full"), "{trouble}");
    }
    turns(&mut worker, 5).await;
    assert_eq!(peer.indexes(), (0..records).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_calls_event_is_whole_when_its_begin_was_read_before_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let open = begin(&recorder, call(), b"up").await.unwrap();
    calls(&recorder, 3).await;
    let peer = Peer::of(Format::Ocsf, &[]);
    turns(
        &mut worker(&recorder, &config.dir, &peer, Begin::Oldest),
        10,
    )
    .await;
    assert_eq!(kept(&config.dir).look_back, open.index().unwrap());
    let needed = || confirmed(&config.dir, &RealDisk, ["peer"]);
    assert_eq!(needed(), open.index(), "an event is to be made of it");
    open.close(End::new(Outcome::Ok)).await.unwrap();
    signed(&recorder).await;
    turns(
        &mut worker(&recorder, &config.dir, &peer, Begin::Oldest),
        10,
    )
    .await;
    let texts = peer.texts();
    assert_eq!(texts.len(), 4, "each call once: {texts:?}");
    let event: serde_json::Value = serde_json::from_str(&texts[3]).unwrap();
    assert_eq!(event["api"]["operation"], "payments/createRefund");
    assert_eq!(kept(&config.dir).look_back, kept(&config.dir).next);
    assert_eq!(needed(), Some(kept(&config.dir).next));
}

#[tokio::test]
async fn a_sink_that_is_away_is_an_alarm_after_its_time_and_pauses_have_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    calls(&recorder, 1).await;
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let peer = Peer::new(&[Does::Hour]);
    let shared = Arc::clone(&clock) as crate::clock::SharedClock;
    let mut worker = worker_at(&recorder, &config.dir, &peer, Begin::Oldest, shared);
    let turn = worker.turn().await;
    assert_eq!((turn.wait, turn.standing.alarm), (PAUSE_MAX, false));
    clock.advance(Duration::from_secs(120));
    let turn = worker.turn().await;
    assert!(turn.standing.alarm && turn.standing.age >= Duration::from_secs(100));
    peer.0.lock().unwrap().script.clear();
    let turn = turns(&mut worker, 10).await;
    assert_eq!(
        (turn.standing.alarm, turn.standing.age),
        (false, Duration::ZERO)
    );
}

#[tokio::test]
async fn a_cursor_that_cannot_be_read_or_is_of_another_log_costs_duplicates_and_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 2).await;
    let all: Vec<u64> = (0..records).collect();
    let path = config.dir.join("export/peer.json");
    for damage in ["{ \"log\":", "{}"] {
        let peer = Peer::new(&[]);
        turns(
            &mut worker(&recorder, &config.dir, &peer, Begin::Newest),
            10,
        )
        .await;
        std::fs::write(&path, damage).unwrap();
        turns(
            &mut worker(&recorder, &config.dir, &peer, Begin::Newest),
            10,
        )
        .await;
        assert!(
            peer.indexes().ends_with(&all),
            "{damage}: {:?}",
            peer.indexes()
        );
    }
    let mut other = kept(&config.dir);
    other.log = "00".repeat(16);
    other.write(&RealDisk, &config.dir, "peer").unwrap();
    let peer = Peer::new(&[]);
    turns(
        &mut worker(&recorder, &config.dir, &peer, Begin::Newest),
        10,
    )
    .await;
    assert_eq!(peer.indexes(), all);
}

#[tokio::test]
async fn what_all_sinks_have_confirmed_is_the_least_of_their_cursors() {
    let folder = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(folder.path());
    let records = calls(&recorder, 2).await;
    let peer = Peer::new(&[]);
    turns(
        &mut worker(&recorder, &config.dir, &peer, Begin::Oldest),
        10,
    )
    .await;
    let of = |sinks: &[&str]| confirmed(&config.dir, &RealDisk, sinks.iter().copied());
    assert_eq!(of(&[]), None);
    assert_eq!(of(&["peer"]), Some(records));
    assert_eq!(of(&["peer", "never-started"]), Some(0));
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => Just(Does::Take),
        2 => Just(Does::LoseAnswer),
        2 => Just(Does::Fail),
        2 => (1..5_usize).prop_map(Does::AtMost),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Crashes lose what is in memory only: whatever happens, everything arrives, and nothing overtakes.
    #[test]
    fn no_order_of_failures_and_crashes_leaves_a_gap(
        script in proptest::collection::vec(does(), 0..30),
        crashes in proptest::collection::vec(1..6_usize, 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (records, indexes) = runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (config, recorder) = fresh(folder.path());
            let peer = Peer::new(&[&script[..], &[Does::Take]].concat());
            for turns in crashes {
                calls(&recorder, 3).await;
                let mut worker = worker(&recorder, &config.dir, &peer, Begin::Oldest);
                for _ in 0..turns {
                    worker.turn().await;
                }
            }
            let records = calls(&recorder, 1).await;
            turns(&mut worker(&recorder, &config.dir, &peer, Begin::Oldest), 500).await;
            (records, peer.indexes())
        });
        let mut reached = 0;
        for index in indexes {
            prop_assert!(index <= reached, "{index} before {reached}");
            reached = reached.max(index + 1);
        }
        prop_assert_eq!(reached, records);
    }
}
