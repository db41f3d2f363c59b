//! Reading finds what is asked for by the index, and reads that alone.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::entry::Who;
use super::super::files::Files;
use super::super::{
    CallIndex, Config, Disclose, End, Error, Event, Filter, Held, Outcome, Reading, Recorder,
    Trail, segment,
};
use super::index::fill;
use super::sim::SimDisk;
use super::support::{asked_and_answered, begin_job, call, config, fresh, noise, open_on, who};
use crate::call::{CallId, Durability};
use crate::disk::{Access, Disk, File, Identity, Listed, Lock, LockError, RealDisk};

/// The real disk, and how many bytes were read from it.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicU64>);

impl Counting {
    /// Bytes that were read since the last question.
    fn taken(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct CountedFile(Box<dyn File>, Arc<AtomicU64>);

impl File for CountedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let read = self.0.read_at(into, offset)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn len_bytes(&self) -> std::io::Result<u64> {
        self.0.len_bytes()
    }

    fn truncate(&self, len: u64) -> std::io::Result<()> {
        self.0.truncate(len)
    }

    fn identity(&self) -> std::io::Result<Identity> {
        self.0.identity()
    }

    fn forget_cached(&self) {
        self.0.forget_cached();
    }
}

impl Disk for Counting {
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn create_zeroed(&self, path: &Path, len: u64) -> std::io::Result<Box<dyn File>> {
        RealDisk.create_zeroed(path, len)
    }

    fn open(&self, path: &Path, access: Access) -> std::io::Result<Box<dyn File>> {
        let file = RealDisk.open(path, access)?;
        Ok(Box::new(CountedFile(file, Arc::clone(&self.0))))
    }

    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> std::io::Result<Vec<Listed>> {
        RealDisk.list(dir)
    }

    fn identity(&self, path: &Path) -> std::io::Result<Option<Identity>> {
        RealDisk.identity(path)
    }

    fn free_bytes(&self, dir: &Path) -> std::io::Result<u64> {
        RealDisk.free_bytes(dir)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        RealDisk.lock(path)
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        RealDisk.write_atomic(path, bytes)
    }
}

async fn run(recorder: &Recorder, id: CallId, body: &[u8]) {
    let job = begin_job(recorder, id, "alice", Some(body), Durability::Both);
    let mut record = recorder.begin_job(job).await.unwrap();
    record.released(b"answer").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
}

async fn read_on_record(recorder: &Recorder, id: CallId) {
    let event = Event::AuditRead {
        who: who("auditor"),
        what: Reading::Show,
        call: Some(id),
        content: serde_json::Value::Null,
    };
    recorder.note(event).await.unwrap();
}

fn trail(config: &Config) -> Trail {
    Trail::open(&config.dir, Arc::new(RealDisk)).unwrap()
}

fn save(config: &Config) {
    CallIndex::open(&config.dir, Arc::new(RealDisk))
        .unwrap()
        .save()
        .unwrap();
}

#[tokio::test]
async fn all_records_of_each_call_are_found_whether_the_index_was_saved_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    fill(&recorder, 25).await;
    let early = *trail(&config).whole().calls.keys().next().unwrap();
    save(&config);
    fill(&recorder, 10).await;
    // Records of calls that ended long before.
    for _ in 0..3 {
        read_on_record(&recorder, CallId::from_bytes(early)).await;
    }
    let subject_ref = trail(&config)
        .show(CallId::from_bytes(early))
        .unwrap()
        .summary
        .subject_ref;
    let held = Held::Call {
        call: CallId::from_bytes(early),
        subject_ref,
    };
    let hold = recorder.hold(held, "case 7", who("officer")).await.unwrap();
    // One that ended was saved with the first half, its readings with neither.
    for saved in [false, true] {
        if saved {
            save(&config);
        }
        let trail = trail(&config);
        let whole = trail.whole();
        assert!(whole.calls.len() > 40);
        for (id, indexes) in &whole.calls {
            assert_eq!(&trail.records_of(CallId::from_bytes(*id)), indexes);
        }
        let standing = trail.holds().unwrap();
        assert_eq!(
            standing.iter().map(|hold| &hold.id).collect::<Vec<_>>(),
            [&hold]
        );
        assert!(matches!(trail.show(call()), Err(Error::UnknownCall(_))));
    }
}

#[tokio::test]
async fn proofs_lead_to_the_head_also_when_the_index_is_wrong_about_the_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    // More than two blocks of 256 records.
    for _ in 0..270 {
        run(&recorder, call(), b"x").await;
    }
    let wanted = call();
    run(&recorder, wanted, b"y").await;
    recorder.shutdown().await;
    save(&config);
    let mut trail = trail(&config);
    let head = trail.head().unwrap().unwrap();
    assert!(head.size > 512 && !head.size.is_multiple_of(256));
    let prove = |trail: &Trail, index| {
        let text = trail.prove_record(index).unwrap();
        let proof = tlog::proof::InclusionProof::parse(text.as_bytes()).unwrap();
        proof.verify_carried(trail.verifier_key(), &[]).unwrap();
    };
    for index in [0, 1, 255, 256, 300, 511, 512, head.size - 1] {
        prove(&trail, index);
    }
    trail.spoil_blocks();
    for index in [0, 300, head.size - 1] {
        prove(&trail, index);
    }
    trail.prove(wanted).unwrap();
}

#[tokio::test]
async fn index_that_cannot_be_read_is_passed_over_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = asked_and_answered(&recorder, (b"up", b"down"), ("p7", &serde_json::json!({}))).await;
    fill(&recorder, 5).await;
    recorder.shutdown().await;
    save(&config);
    // The newest chunk is in memory; what is asked below comes from one that is in its file alone.
    let mut trail = trail(&config);
    trail.close_chunk();
    let calls = trail.index().calls();
    let expected = (
        trail.show(id).unwrap(),
        trail.replay(id).unwrap(),
        trail.prove(id).unwrap(),
        trail.gather(id, Disclose::Content).unwrap(),
    );
    for file in std::fs::read_dir(config.dir.join("index")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        // No block of records is full: its file is empty.
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
    }
    trail.forget_recent();
    let found = (
        trail.show(id).unwrap(),
        trail.replay(id).unwrap(),
        trail.prove(id).unwrap(),
        trail.gather(id, Disclose::Content).unwrap(),
    );
    assert_eq!(expected.0, found.0);
    assert_eq!(expected.1, found.1);
    assert_eq!(expected.2, found.2);
    assert_eq!(expected.3, found.3);
    trail.save().unwrap();
    trail.forget_recent();
    assert!(trail.show(id).unwrap() == expected.0);
    let again = CallIndex::open(&config.dir, Arc::new(RealDisk)).unwrap();
    assert_eq!(again.calls(), calls);
}

#[tokio::test]
async fn reading_one_call_reads_that_and_not_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let (first, last) = (call(), call());
    run(&recorder, first, b"first").await;
    for n in 0..250 {
        run(&recorder, call(), &noise(n, 60_000)).await;
    }
    run(&recorder, last, b"last").await;
    let log: u64 = std::fs::read_dir(config.dir.join("wal"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(log > 250 * 60_000);
    save(&config);
    let disk = Counting::default();
    let mut trail = Trail::open(&config.dir, Arc::new(disk.clone())).unwrap();
    // Headers of segments, the index, and a window at the written end.
    let opened = disk.taken();
    assert!(opened < log / 8, "{opened} of {log} bytes to open");
    for id in [first, last] {
        assert_eq!(trail.show(id).unwrap().entries.len(), 2);
        assert!(trail.replay(id).unwrap().verified());
        let read = disk.taken();
        assert!(read < log / 8, "{read} of {log} bytes for one call");
    }
    // And to go on: what was allocated ahead is not read.
    let another = call();
    run(&recorder, another, b"another").await;
    trail.refresh().unwrap();
    let read = disk.taken();
    assert!(read < log / 8, "{read} of {log} bytes to go on");
    let page = trail.page(&Filter::default(), &|_| true, None, 1).unwrap();
    assert_eq!(page.calls[0].call, another);
}

#[tokio::test]
async fn hole_in_what_a_head_covers_is_found_by_who_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    for _ in 0..8 {
        run(&recorder, call(), b"x").await;
    }
    recorder.shutdown().await;
    let chain = segment::Chain::find(
        &RealDisk,
        &Files::new(&config.dir),
        &trail(&config).log_id(),
    )
    .unwrap();
    let number = chain.links.last().unwrap().header.number;
    let path = Files::new(&config.dir).segment(number);
    let good = std::fs::read(&path).unwrap();
    // A frame that became zeroes looks like the written end; what was signed goes further.
    let mut at = usize::try_from(segment::HEADER_BYTES).unwrap();
    for _ in 0..9 {
        at += super::super::frame::parse(&good[at..]).unwrap().len;
    }
    let len = super::super::frame::parse(&good[at..]).unwrap().len;
    let mut bad = good.clone();
    bad[at..at + len].fill(0);
    std::fs::write(&path, &bad).unwrap();
    assert!(matches!(
        Trail::open(&config.dir, Arc::new(RealDisk)),
        Err(Error::Corrupt { .. })
    ));
    // Cut off behind it, so that nothing says how far it went: what is there is shown, and verification tells.
    bad.truncate(at);
    std::fs::write(&path, &bad).unwrap();
    let left = trail(&config);
    assert!(left.records() < 18 && left.records() > 0);
}

#[tokio::test]
async fn somebody_else_reading_does_not_change_who_called() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    run(&recorder, id, b"x").await;
    let before = trail(&config).show(id).unwrap();
    recorder
        .note(Event::AuditRead {
            who: Who {
                actor: Some(("corp".to_owned(), "robot".to_owned())),
                ..who("auditor")
            },
            what: Reading::Replay,
            call: Some(id),
            content: serde_json::Value::Null,
        })
        .await
        .unwrap();
    let after = trail(&config).show(id).unwrap();
    assert_eq!(after.summary, before.summary);
    assert_eq!(after.entries.len(), before.entries.len() + 1);
}

#[tokio::test]
async fn index_is_right_after_a_cut_at_any_point_of_its_saving() {
    let sim = SimDisk::new();
    let config = config(Path::new("/"));
    Recorder::init(&config, &sim).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let on = |disk: &SimDisk| Trail::open(&config.dir, Arc::new(disk.clone())).unwrap();
    let (recorder, _) = open_on(&config, &disk).unwrap();
    fill(&recorder, 6).await;
    on(&sim).save().unwrap();
    fill(&recorder, 6).await;
    recorder.shutdown().await;
    let mut second = on(&sim);
    let expected = second.whole().calls;
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&cuts);
    sim.before_each(move |number, disk| {
        for seed in 0..4 {
            seen.lock().unwrap().push(disk.cut(number * 4 + seed).0);
        }
    });
    second.close_chunk();
    sim.no_hook();
    let mut cuts = std::mem::take(&mut *cuts.lock().unwrap());
    assert!(cuts.len() >= 4 * 4, "{} cuts", cuts.len());
    cuts.push(sim);
    for disk in &cuts {
        // What a reader finds, and what it finds once the gateway has saved again.
        for _ in 0..2 {
            let mut found = on(disk);
            for (id, indexes) in &expected {
                assert_eq!(&found.records_of(CallId::from_bytes(*id)), indexes);
            }
            let page = found
                .page(&Filter::default(), &|_| true, None, 1000)
                .unwrap();
            assert_eq!(page.calls.len(), expected.len());
            found.save().unwrap();
        }
    }
}
