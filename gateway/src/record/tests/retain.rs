//! Content whose time is over, and legal holds on it.

use std::path::Path;
use std::sync::Arc;

use super::super::retain::EXPIRED;
use super::super::{
    CallIndex, Config, End, Error, Filter, Held, KeepConfig, Outcome, Recorder, Trail, Verdict,
    VerifyOptions,
};
use super::support::{begin_job, call, config, who};
use crate::call::{CallId, Durability};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::disk::{Disk, RealDisk};

const DAY: u64 = 86_400;

/// A day in the year 2027, at ten in the morning.
fn day(number: u64) -> Timestamp {
    Timestamp::from_secs((20_800 + number) * DAY + 36_000)
}

struct World {
    _dir: tempfile::TempDir,
    config: Config,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> (Self, Recorder) {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        Recorder::init(&config, &RealDisk).unwrap();
        let world = Self {
            _dir: dir,
            config,
            clock: Arc::new(ManualClock::new(day(0))),
        };
        let recorder = world.open();
        (world, recorder)
    }

    fn disk() -> Arc<dyn Disk> {
        Arc::new(RealDisk)
    }

    fn open(&self) -> Recorder {
        loop {
            match Recorder::open(
                self.config.clone(),
                Self::disk(),
                Arc::clone(&self.clock) as _,
            ) {
                Err(Error::Locked { .. }) => std::thread::yield_now(),
                opened => return opened.unwrap().0,
            }
        }
    }

    fn trail(&self) -> Trail {
        Trail::open(&self.config.dir, Self::disk()).unwrap()
    }

    fn subjects(&self) -> std::path::PathBuf {
        self.config.dir.join("keys/subjects")
    }

    /// Who is named in the list of calls.
    fn named(&self) -> Vec<String> {
        let mut index = CallIndex::open(&self.config.dir, Self::disk()).unwrap();
        let page = index.page(&Filter::default(), None, 100).unwrap();
        let mut named: Vec<_> = page
            .calls
            .into_iter()
            .filter_map(|call| call.subject)
            .collect();
        named.sort();
        named
    }
}

async fn called(recorder: &Recorder, subject: &str) -> CallId {
    let id = call();
    let job = begin_job(recorder, id, subject, Some(b"private"), Durability::Both);
    let record = recorder.begin_job(job).await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    id
}

fn expired(trail: &Trail, id: CallId) -> bool {
    match trail.replay(id) {
        Err(Error::Erased(_, record)) => {
            let entry = trail.entry(record).unwrap();
            assert_eq!(entry.kind, EXPIRED);
            let story = trail.show(id).unwrap();
            assert!(story.entries.iter().all(|entry| entry.content.is_none()));
            assert_eq!(story.entries[0].erased, Some(record));
            true
        }
        replayed => {
            assert!(replayed.unwrap().verified());
            let story = trail.show(id).unwrap();
            assert!(story.entries.iter().all(|entry| entry.erased.is_none()));
            false
        }
    }
}

fn verify(dir: &Path) {
    let report = Trail::check(dir, &RealDisk, &VerifyOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Intact);
}

#[tokio::test]
async fn content_over_its_time_is_destroyed_on_record_and_a_legal_hold_wins() {
    let (world, recorder) = World::new();
    let old = called(&recorder, "alice").await;
    let held = called(&recorder, "bob").await;
    let bob = Held::Subject {
        issuer: "corp".to_owned(),
        subject: "bob".to_owned(),
    };
    let hold = recorder.hold(bob, "case 7", who("carol")).await.unwrap();
    world.clock.set(day(1));
    let young = called(&recorder, "alice").await;
    let backup = std::fs::read(world.subjects()).unwrap();
    let before = recorder.expire_content(day(0)).await.unwrap();
    assert_eq!(before, None, "a day is destroyed when all of it is over");
    let done = recorder.expire_content(day(1)).await.unwrap().unwrap();
    assert_eq!((done.before.secs() / DAY, done.keys), (20_801, 1));
    assert_eq!(recorder.expire_content(day(1)).await.unwrap(), None);
    let check = |world: &World| {
        let trail = world.trail();
        let each = [old, held, young].map(|id| expired(&trail, id));
        assert_eq!(each, [true, false, false]);
        assert_eq!(world.named(), ["alice", "bob"]);
        verify(&world.config.dir);
    };
    check(&world);
    recorder.shutdown().await;
    check(&world);
    // An older keyring brings nothing back that nobody holds: not to readers, not at the next start. It has
    // not what was kept for the hold either, but the key of the day, which that is made of.
    let kept = std::fs::read(world.subjects()).unwrap();
    std::fs::write(world.subjects(), backup).unwrap();
    let trail = world.trail();
    assert!(expired(&trail, old) && expired(&trail, held));
    let recorder = world.open();
    check(&world);
    assert_eq!(std::fs::read(world.subjects()).unwrap().len(), kept.len());
    // When the hold ends, so does what was kept for it.
    recorder
        .release(&hold, "closed", who("carol"))
        .await
        .unwrap();
    let done = recorder.expire_content(day(1)).await.unwrap().unwrap();
    assert_eq!(done.keys, 1);
    assert!(expired(&world.trail(), held));
    assert_eq!(world.named(), ["alice"]);
    recorder.shutdown().await;
    verify(&world.config.dir);
}

#[tokio::test]
async fn a_crash_between_record_and_destruction_is_made_good_at_the_next_start() {
    let (world, recorder) = World::new();
    let old = called(&recorder, "alice").await;
    world.clock.set(day(3));
    let before = std::fs::read(world.subjects()).unwrap();
    recorder.expire_content(world.clock.now()).await.unwrap();
    recorder.shutdown().await;
    std::fs::write(world.subjects(), &before).unwrap();
    let recorder = world.open();
    recorder.shutdown().await;
    assert!(expired(&world.trail(), old));
    // Only the subject is left: nothing was recorded of anybody since.
    let ring = std::fs::read(world.subjects()).unwrap();
    assert_eq!(ring.len(), 128);
}

#[test]
fn what_is_over_its_time_is_older_than_so_many_days() {
    let keep = KeepConfig {
        content_days: Some(2),
        index_days: Some(3),
        log_days: Some(5),
    };
    let at = |number: u64| Some(day(number));
    let now = day(10);
    assert_eq!(keep.content_before(now), at(8));
    assert_eq!(keep.index_before(now), at(7));
    assert_eq!(keep.log_before(now), at(5));
    let never = KeepConfig::default();
    let of = |keep: KeepConfig, now| {
        [
            keep.content_before(now),
            keep.index_before(now),
            keep.log_before(now),
        ]
    };
    assert_eq!(of(never, now), [None; 3]);
    // A machine that does not know the time.
    assert_eq!(of(keep, Timestamp::from_secs(86_400)), [None; 3]);
    assert!(keep.faults().is_empty() && never.faults().is_empty());
    let bad = KeepConfig {
        content_days: Some(0),
        index_days: Some(6),
        log_days: Some(5),
    };
    let fields: Vec<_> = bad.faults().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["content_days", "index_days"]);
}
