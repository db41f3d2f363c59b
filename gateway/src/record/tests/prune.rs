//! Records whose time is over, taken away; and power cuts while they are.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tlog::proof::InclusionProof;

use super::super::files::Files;
use super::super::heads;
use super::super::prune::PRUNED;
use super::super::pruned::Base;
use super::super::recovery::recover;
use super::super::{
    CallIndex, Config, Disclose, End, Error, Event, Filter, Head, Held, Outcome, Pruned, Reading,
    Recorder, Trail, Verdict, VerifyOptions,
};
use super::sim::SimDisk;
use super::support::{begin_job, call, config, fresh, noise, open, open_on, who};
use crate::call::{CallId, Durability};
use crate::clock::Timestamp;
use crate::disk::{Disk, RealDisk};

/// Later than everything.
fn later() -> Timestamp {
    Timestamp::from_secs(9_000_000_000)
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

async fn called(recorder: &Recorder, subject: &str, bytes: usize) -> CallId {
    let id = call();
    let body = noise(7, bytes);
    let job = begin_job(recorder, id, subject, Some(&body), Durability::Both);
    let record = recorder.begin_job(job).await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    id
}

/// Enough calls to fill some segments.
async fn many(recorder: &Recorder, subject: &str) -> Vec<CallId> {
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(called(recorder, subject, 60_000).await);
    }
    calls
}

async fn signed(recorder: &Recorder) -> Arc<Head> {
    while recorder.health().unsigned > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    recorder.head().unwrap()
}

/// Take away what may go; only what is signed may.
async fn pruned(recorder: &Recorder) -> Pruned {
    signed(recorder).await;
    recorder.prune(later(), None).await.unwrap().unwrap()
}

fn verify(config: &Config, since: &[&Head]) -> super::super::Report {
    let options = VerifyOptions {
        since: since.iter().map(|head| head.note.clone()).collect(),
        ..VerifyOptions::default()
    };
    Trail::check(&config.dir, &RealDisk, &options).unwrap()
}

fn segments(dir: &Path) -> usize {
    let files = std::fs::read_dir(dir.join("wal")).unwrap();
    let names = files.map(|file| file.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|kind| kind == "wal"))
        .count()
}

#[tokio::test]
async fn records_over_their_time_go_on_record_and_the_rest_verifies_against_every_old_head() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    many(&recorder, "alice").await;
    let early = signed(&recorder).await;
    many(&recorder, "bob").await;
    // In the segment that is left.
    let last = &called(&recorder, "bob", 10).await;
    let before = segments(&config.dir);
    let mut trail = Trail::open(&config.dir, disk()).unwrap();
    assert_eq!(
        recorder.prune(Timestamp::from_secs(1), None).await.unwrap(),
        None
    );
    assert_eq!(
        recorder.prune(later(), Some(0)).await.unwrap(),
        None,
        "a sink has not all"
    );
    let done = pruned(&recorder).await;
    assert!(done.records > early.size && done.segments > 3, "{done:?}");
    assert!(segments(&config.dir) <= before - 3);
    // A log with a record of it in front of what is left is whole.
    let newest = signed(&recorder).await;
    let report = verify(&config, &[&early, &newest]);
    assert_eq!(
        (report.verdict, report.pruned),
        (Verdict::Intact, done.records)
    );
    trail.refresh().unwrap();
    let entry = trail.entry(done.record).unwrap();
    assert_eq!(
        (entry.kind.as_str(), &entry.fields["pruned"]),
        (PRUNED, &done.records.into())
    );
    assert!(
        matches!(trail.leaf(3), Err(Error::Pruned { index: 3, first }) if first == done.records)
    );
    // What is left reads, replays and is proven as before.
    assert!(trail.replay(*last).unwrap().verified());
    trail.gather(*last, Disclose::Content).unwrap();
    let proof = InclusionProof::parse(trail.prove(*last).unwrap().as_bytes()).unwrap();
    proof.verify_carried(trail.verifier_key(), &[]).unwrap();
    let mut index = CallIndex::open(&config.dir, disk()).unwrap();
    let listed = index.page(&Filter::default(), None, 100).unwrap().calls;
    assert!(listed.iter().any(|listed| listed.call == *last));
    assert!(listed.iter().all(|listed| listed.index >= done.records));
    // And goes on over a restart, and once more.
    recorder.shutdown().await;
    let (recorder, recovery) = open(&config).unwrap();
    assert_eq!(recovery.head, recovery.records);
    many(&recorder, "carol").await;
    let again = pruned(&recorder).await;
    assert!(again.records > done.records);
    signed(&recorder).await;
    let report = verify(&config, &[&early, &newest]);
    assert_eq!(
        (report.verdict, report.pruned),
        (Verdict::Intact, again.records)
    );
    recorder.shutdown().await;
    copies(&config, again.records);
}

/// A copy of a log holds what a copy must.
fn copies(config: &Config, pruned: u64) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let mut trail = Trail::open(&config.dir, disk()).unwrap();
    assert_eq!(trail.copy_to(&copy).unwrap(), trail.records());
    let report = Trail::check(&copy, &RealDisk, &VerifyOptions::default()).unwrap();
    assert_eq!((report.verdict, report.pruned), (Verdict::Intact, pruned));
}

#[tokio::test]
async fn who_asks_for_a_call_that_went_is_told_that_the_log_was_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let old = many(&recorder, "alice").await[0];
    let mut seen = Trail::open(&config.dir, disk()).unwrap();
    signed(&recorder).await;
    let done = pruned(&recorder).await;
    // Who asks for it is on record, under its id.
    let read = Event::AuditRead {
        call: Some(old),
        who: who("carol"),
        what: Reading::Show,
        content: serde_json::json!({}),
    };
    recorder.note(read).await.unwrap();
    seen.refresh().unwrap();
    let anew = Trail::open(&config.dir, disk()).unwrap();
    // With an index that does not list old calls either.
    let mut unlisted = Trail::open(&config.dir, disk()).unwrap();
    unlisted.keep_from(Some(Timestamp::from_secs(1))).unwrap();
    for trail in [&seen, &anew, &unlisted] {
        let gather = trail.gather(old, Disclose::Nothing).err();
        let asked = [trail.show(old).err(), trail.prove(old).err(), gather];
        for gone in asked.into_iter().chain([trail.replay(old).err()]) {
            assert!(
                matches!(gone, Some(Error::PrunedCall { call, first }) if call == old && first == done.records),
                "{gone:?}"
            );
        }
        let record = trail.prove_record(0).err();
        assert!(matches!(record, Some(Error::Pruned { index: 0, first }) if first == done.records));
        let tiles = trail.tiles(done.records, &mut |_, _| Ok(())).err();
        assert!(matches!(tiles, Some(Error::Pruned { .. })), "{tiles:?}");
    }
    recorder.shutdown().await;
}

/// The tree's blocks are of 256 records: of one of them some went, and some did not.
#[tokio::test]
async fn proofs_of_what_is_left_need_the_hashes_of_what_went_in_every_index() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let mut calls = Vec::new();
    for n in 0..400 {
        calls.push(called(&recorder, "alice", if n % 8 == 0 { 60_000 } else { 10 }).await);
    }
    // Saved, when it had read but some.
    let mut early = Trail::open(&config.dir, disk()).unwrap();
    early.save().unwrap();
    for _ in 0..20 {
        calls.push(called(&recorder, "alice", 60_000).await);
    }
    signed(&recorder).await;
    let done = pruned(&recorder).await;
    signed(&recorder).await;
    assert!(done.records > 256 && done.records % 256 != 0, "{done:?}");
    let behind = Trail::open(&config.dir, disk()).unwrap();
    std::fs::remove_dir_all(config.dir.join("index")).unwrap();
    let anew = Trail::open(&config.dir, disk()).unwrap();
    early.refresh().unwrap();
    for index in [done.records, done.records + 1, done.record] {
        let proofs = [&behind, &anew, &early].map(|trail| trail.prove_record(index).unwrap());
        assert!(proofs[0] == proofs[1] && proofs[1] == proofs[2]);
        let proof = InclusionProof::parse(proofs[0].as_bytes()).unwrap();
        proof.verify_carried(anew.verifier_key(), &[]).unwrap();
    }
    // Without the hashes it reads as before, and proves nothing.
    let files = Files::new(&config.dir);
    std::fs::remove_file(files.pruned_leaves()).unwrap();
    std::fs::remove_dir_all(config.dir.join("index")).ok();
    let without = Trail::open(&config.dir, disk()).unwrap();
    assert!(without.replay(*calls.last().unwrap()).unwrap().verified());
    let proof = without.prove_record(done.records);
    assert!(
        matches!(proof, Err(Error::PrunedHashes(first)) if first == done.records),
        "{proof:?}"
    );
    recorder.shutdown().await;
}

#[tokio::test]
async fn an_open_call_and_a_legal_hold_keep_their_records_and_all_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let (_config, recorder) = fresh(dir.path());
    many(&recorder, "alice").await;
    let job = begin_job(&recorder, call(), "alice", Some(b"x"), Durability::Both);
    let open = recorder.begin_job(job).await.unwrap();
    let begin = open.index().unwrap();
    many(&recorder, "alice").await;
    signed(&recorder).await;
    let done = pruned(&recorder).await;
    assert!(done.records <= begin, "{done:?}, {begin}");
    open.close(End::new(Outcome::Ok)).await.unwrap();
    let held = recorder.health().records;
    called(&recorder, "bob", 10).await;
    let bob = Held::Subject {
        issuer: "corp".to_owned(),
        subject: "bob".to_owned(),
    };
    let hold = recorder.hold(bob, "case 7", who("carol")).await.unwrap();
    many(&recorder, "alice").await;
    signed(&recorder).await;
    let done = pruned(&recorder).await;
    assert!(
        begin < done.records && done.records <= held,
        "{done:?}, {held}"
    );
    // The hold stands over a restart though other records of that time are gone, until it is released.
    recorder
        .release(&hold, "closed", who("carol"))
        .await
        .unwrap();
    signed(&recorder).await;
    let done = pruned(&recorder).await;
    assert!(done.records > held);
}

#[tokio::test]
async fn an_erasure_whose_record_went_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    called(&recorder, "bob", 10).await;
    called(&recorder, "dan", 10).await;
    let subjects = std::fs::read(config.dir.join("keys/subjects")).unwrap();
    let dead = recorder.shred("corp", "dan", None).await.unwrap();
    many(&recorder, "alice").await;
    signed(&recorder).await;
    pruned(&recorder).await;
    recorder.shutdown().await;
    // The keyring of before knows dan; the log's record of the erasure is gone, and what it said is not.
    std::fs::write(config.dir.join("keys/subjects"), subjects).unwrap();
    let (recorder, recovery) = open(&config).unwrap();
    assert_eq!(recovery.erased, 1);
    assert!(!dead.is_empty() && recorder.shred("corp", "dan", None).await.is_err());
    recorder.shutdown().await;
}

#[tokio::test]
async fn what_is_missing_without_a_record_of_it_is_never_taken_for_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    many(&recorder, "alice").await;
    let done = pruned(&recorder).await;
    many(&recorder, "alice").await;
    recorder.shutdown().await;
    let files = Files::new(&config.dir);
    let (state, leaves) = (files.pruned_state(), files.pruned_leaves());
    let good = (
        std::fs::read(&state).unwrap(),
        std::fs::read(&leaves).unwrap(),
    );
    let verdict = || verify(&config, &[]).verdict;
    assert_eq!(verdict(), Verdict::Intact);
    // Another hash.
    let mut bad = good.1.clone();
    bad[40] ^= 1;
    std::fs::write(&leaves, &bad).unwrap();
    assert!(matches!(verdict(), Verdict::Tampered { .. }));
    // Fewer.
    std::fs::write(&leaves, &good.1[..good.1.len() - 32]).unwrap();
    assert!(matches!(verdict(), Verdict::Incomplete { .. }));
    std::fs::write(&leaves, &good.1).unwrap();
    // A file that says nothing of what went.
    std::fs::remove_file(&state).unwrap();
    assert!(matches!(verdict(), Verdict::Incomplete { .. }));
    std::fs::write(&state, &good.0).unwrap();
    // One more segment is taken away, and the files say so, in form: no record does.
    let trail = Trail::open(&config.dir, disk()).unwrap();
    let mut base = Base::read(&RealDisk, &files).unwrap();
    let mut more = good.1.clone();
    let mut index = done.records;
    let next = loop {
        let leaf = tlog::tree::leaf_hash(&trail.leaf(index).unwrap());
        more.extend_from_slice(leaf.as_bytes());
        base.tree.push(leaf);
        index += 1;
        if let Some(next) = header_at(&files, index) {
            break next;
        }
    };
    (base.segment, base.seq) = next;
    base.write(&RealDisk, &files).unwrap();
    std::fs::write(&leaves, &more).unwrap();
    let report = verify(&config, &[]);
    assert_eq!(report.pruned, index);
    assert!(
        matches!(&report.verdict, Verdict::Incomplete { what } if what.contains("no record under a signed head says")),
        "{:?}",
        report.verdict
    );
}

/// Whoever can write files could have written such a record.
#[tokio::test]
async fn a_record_of_a_pruning_that_no_signed_head_covers_excuses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    many(&recorder, "alice").await;
    let done = pruned(&recorder).await;
    recorder.shutdown().await;
    assert_eq!(verify(&config, &[]).verdict, Verdict::Intact);
    // The heads that were signed before it.
    let files = Files::new(&config.dir);
    for name in heads::files(&RealDisk, &files).unwrap() {
        let bytes = heads::read(&RealDisk, &files, &name).unwrap();
        let notes = heads::notes(&bytes).0.into_iter();
        let older = notes.filter(|note| {
            let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
            size <= done.record
        });
        let older: String = older.map(|note| note + "\n").collect();
        std::fs::write(files.heads.join(name), older).unwrap();
    }
    let report = verify(&config, &[]);
    assert!(report.heads > 0 && report.unsigned > 0, "{report:?}");
    let found = report.verdict;
    assert!(
        matches!(&found, Verdict::Incomplete { what } if what.contains("no record under a signed head says")),
        "{found:?}"
    );
}

/// Number and first frame of the segment that begins with this record.
fn header_at(files: &Files, record: u64) -> Option<(u64, u64)> {
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let names = std::fs::read_dir(&files.wal).unwrap();
    let names = names.map(|file| file.unwrap().path());
    let mut wals = names.filter(|path| path.extension().is_some_and(|kind| kind == "wal"));
    wals.find_map(|path| {
        let bytes = std::fs::read(path).unwrap();
        (word(&bytes, 40) == record).then(|| (word(&bytes, 24), word(&bytes, 32)))
    })
}

/// After a power cut the log opens and verifies; a confirmed record is there, or a record says that it went.
fn check(config: &Config, disk: &SimDisk, acked: &[(CallId, u64)], seed: u64) -> u64 {
    let files = Files::new(&config.dir);
    let recovered = recover(config, &files, disk);
    drop(recovered.unwrap_or_else(|error| panic!("seed {seed}: recovery refuses: {error}")));
    let report = Trail::check_once(&config.dir, disk, &VerifyOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Intact, "seed {seed}");
    let trail = Trail::open(&config.dir, Arc::new(disk.clone())).unwrap();
    for (call, index) in acked {
        match trail.leaf(*index) {
            Ok(leaf) => assert!(String::from_utf8(leaf).unwrap().contains(&call.to_string())),
            Err(Error::Pruned { first, .. }) => assert!(*index < first && first == report.pruned),
            Err(error) => panic!("seed {seed}: a confirmed record is lost: {error}"),
        }
    }
    report.pruned
}

// A3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_power_cut_while_old_records_go_loses_others_or_looks_like_tampering() {
    for seed in 1..4 {
        let config = config(Path::new("/"));
        let disk = SimDisk::new();
        Recorder::init(&config, &disk).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (recorder, _) = open_on(&config, &shared).unwrap();
        let acked: Arc<Mutex<Vec<(CallId, u64)>>> = Arc::default();
        let (told, cfg) = (Arc::clone(&acked), config.clone());
        let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
        let pruned = Arc::clone(&seen);
        for _ in 0..12 {
            let id = call();
            let body = noise(seed, 60_000);
            let job = begin_job(&recorder, id, "alice", Some(&body), Durability::Both);
            let record = recorder.begin_job(job).await.unwrap();
            let begin = record.index().unwrap();
            let end = record.close(End::new(Outcome::Ok)).await.unwrap();
            let mut acked = acked.lock().unwrap();
            acked.extend([(id, begin), (id, end.index.unwrap())]);
        }
        signed(&recorder).await;
        // Every operation while records go.
        disk.before_each(move |number, disk| {
            let confirmed = told.lock().unwrap().clone();
            let (image, _) = disk.cut(seed.wrapping_mul(1_000_003) + number);
            let found = check(&cfg, &image, &confirmed, seed);
            pruned.lock().unwrap().push(found);
        });
        let done = recorder.prune(later(), None).await.unwrap().unwrap();
        disk.no_hook();
        let confirmed = acked.lock().unwrap().clone();
        assert_eq!(
            check(&config, &disk.cut(seed).0, &confirmed, seed),
            done.records
        );
        let mut seen = seen.lock().unwrap().clone();
        seen.dedup();
        assert_eq!(
            seen,
            [0, done.records],
            "seed {seed}: cuts on both sides of it"
        );
        recorder.shutdown().await;
    }
}
