//! What the disk does to us while we run, and what callers do.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::files::Files;
use super::super::{
    Config, End, Error, Event, Filter, LEAF_BYTES_MAX, Outcome, Recorder, SYNC_LIMIT, Trail,
    Verdict, VerifyOptions, Why,
};
use super::sim::SimDisk;
use super::support::{begin, begin_job, call, config, fresh, noise, open, open_on, who};
use crate::call::Durability;
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::disk::{Disk, RealDisk};

fn simulated() -> (Config, SimDisk, Recorder) {
    let config = config(Path::new("/"));
    let disk = SimDisk::new();
    Recorder::init(&config, &disk).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (recorder, _) = open_on(&config, &shared).unwrap();
    (config, disk, recorder)
}

async fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

fn intact(config: &Config, disk: &SimDisk) {
    let report = Trail::check_once(&config.dir, disk, &VerifyOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Intact);
}

// A5
#[tokio::test(flavor = "multi_thread")]
async fn full_disk_stops_admission_and_open_calls_still_close() {
    let (config, disk, recorder) = simulated();
    let mut open_calls = Vec::new();
    for n in 0..4 {
        open_calls.push(begin(&recorder, call(), &noise(n, 20_000)).await.unwrap());
    }
    disk.faults(|faults| faults.no_space = true);
    // Fill the segment, the spare, and into the reserve.
    let mut refused = None;
    for n in 0..200 {
        match begin(&recorder, call(), &noise(n, 20_000)).await {
            Ok(record) => {
                record.close(End::new(Outcome::Ok)).await.unwrap();
            }
            Err(error) => {
                refused = Some(error.why());
                break;
            }
        }
    }
    assert_eq!(refused, Some(Why::Space));
    for mut record in open_calls {
        record.released(&noise(7, 30_000)).await.unwrap();
        let closed = record.close(End::new(Outcome::Ok)).await.unwrap();
        assert!(closed.index.is_some());
    }
    disk.faults(|faults| faults.no_space = false);
    until("admission comes back with the space", || {
        recorder.health().blocked.is_none()
    })
    .await;
    begin(&recorder, call(), b"x")
        .await
        .unwrap()
        .close(End::new(Outcome::Ok))
        .await
        .unwrap();
    recorder.shutdown().await;
    intact(&config, &disk);
}

// A5
#[tokio::test(flavor = "multi_thread")]
async fn too_little_free_space_stops_admission() {
    let mut config = config(Path::new("/"));
    config.free_bytes_min = 1_000_000;
    let disk = SimDisk::new();
    Recorder::init(&config, &disk).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (recorder, _) = open_on(&config, &shared).unwrap();
    disk.set_free(999_999);
    until("too little space is noticed", || {
        recorder.health().blocked == Some(Why::Space)
    })
    .await;
    assert_eq!(
        begin(&recorder, call(), b"x").await.unwrap_err().why(),
        Why::Space
    );
}

// A6
#[tokio::test(flavor = "multi_thread")]
async fn hanging_sync_stops_admission_within_two_seconds_and_does_not_pile_up() {
    let (config, disk, recorder) = simulated();
    let record = begin(&recorder, call(), b"x").await.unwrap();
    disk.faults(|faults| faults.hang = true);
    // The one that meets the hang waits for it no longer than the limit, which alone says `Slow`: the hang
    // itself has no end. Then nobody is admitted.
    assert_eq!(SYNC_LIMIT, Duration::from_secs(2));
    let first = begin(&recorder, call(), b"x").await.unwrap_err();
    assert!(matches!(first.why(), Why::Slow), "{first:?}");
    let refused = async {
        for _ in 0..10_000 {
            let refused = begin(&recorder, call(), &[0; 1000]).await.unwrap_err();
            assert!(matches!(refused.why(), Why::Slow), "{refused:?}");
        }
    };
    // If each waited for the limit, it would be five hours.
    let at_once = tokio::time::timeout(SYNC_LIMIT * 60, refused).await;
    assert!(at_once.is_ok(), "refused at once");
    assert!(recorder.health().queued < 10, "nothing piles up");
    disk.faults(|faults| faults.hang = false);
    until("admission comes back", || {
        recorder.health().blocked.is_none()
    })
    .await;
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    intact(&config, &disk);
    // The refused call's record says that nothing was executed.
    let trail = Trail::open(&config.dir, Arc::new(disk)).unwrap();
    let failed = Filter {
        outcome: Some("failed".to_owned()),
        ..Filter::default()
    };
    let failed: Vec<_> = trail.calls(failed).map(Result::unwrap).collect();
    assert_eq!(failed.len(), 1);
}

// A7
#[tokio::test(flavor = "multi_thread")]
async fn read_only_volume_stops_admission_at_the_first_write() {
    let (config, disk, recorder) = simulated();
    let record = begin(&recorder, call(), b"x").await.unwrap();
    disk.faults(|faults| faults.read_only = true);
    // Not the limit for what is slow: the failed write itself refuses it.
    assert_eq!(
        begin(&recorder, call(), b"x").await.unwrap_err().why(),
        Why::Write
    );
    assert_eq!(recorder.health().blocked, Some(Why::Write));
    assert!(recorder.health().disk_errors > 0);
    disk.faults(|faults| faults.read_only = false);
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    intact(&config, &disk);
}

// A8
#[tokio::test(flavor = "multi_thread")]
async fn replaced_segment_is_noticed() {
    let (config, disk, recorder) = simulated();
    disk.replace(&Files::new(&config.dir).segment(1));
    let took = until("the replaced file is noticed", || {
        recorder.health().blocked == Some(Why::Replaced)
    })
    .await;
    assert!(took < Duration::from_secs(2));
    assert_eq!(
        begin(&recorder, call(), b"x").await.unwrap_err().why(),
        Why::Replaced
    );
}

// A8
#[tokio::test(flavor = "multi_thread")]
async fn removed_directory_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let record = begin(&recorder, call(), b"x").await.unwrap();
    std::fs::rename(config.dir.join("wal"), dir.path().join("gone")).unwrap();
    std::fs::create_dir(config.dir.join("wal")).unwrap();
    let took = until("the replaced directory is noticed", || {
        recorder.health().blocked == Some(Why::Replaced)
    })
    .await;
    assert!(took < Duration::from_secs(2));
    // What is synced into a file that was taken away is not on the record.
    let closed = record.close(End::new(Outcome::Ok)).await;
    assert_eq!(closed.unwrap_err().why(), Why::Replaced);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_sync_poisons_the_segment_and_nothing_confirmed_is_lost() {
    let (config, disk, recorder) = simulated();
    let replaced = || {
        let files = disk.list(&config.dir.join("wal")).unwrap();
        files.iter().any(|file| file.name.ends_with("2.wal"))
    };
    // A head that is signed just then may take the fault instead: then once more.
    for _ in 0..50 {
        let record = begin(&recorder, call(), b"x").await.unwrap();
        disk.faults(|faults| faults.sync_errors = 1);
        record.close(End::new(Outcome::Ok)).await.unwrap();
        assert_eq!(recorder.health().blocked, None);
        if replaced() {
            break;
        }
    }
    // What a cut leaves now has both records, though the first segment's later pages are gone.
    let (after, _) = disk.cut(3);
    let trail = Trail::open(&config.dir, Arc::new(after)).unwrap();
    assert_eq!(
        trail
            .calls(Filter::default())
            .next()
            .unwrap()
            .unwrap()
            .outcome,
        "ok"
    );
    assert!(replaced());
}

// A13
#[tokio::test]
async fn ten_megabyte_header_and_hostile_text_stay_out_of_the_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.segment_bytes = 4 * 1024 * 1024;
    Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    let id = call();
    // Nobody waits for it: how long ten megabytes take to be sealed and synced is not what this is about.
    let mut job = begin_job(
        &recorder,
        id,
        "a\nlice\u{2028}",
        Some(b"x"),
        Durability::Async,
    );
    let long = "h".repeat(10 * 1024 * 1024);
    job.head = json!({"headers": [["x-long", long]], "target": "/\r\n\0"});
    job.policies = vec!["p\n\u{2028}".repeat(300); 200];
    job.upstream = "up\nstream\"}".to_owned();
    let record = recorder.begin_job(job).await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    for index in 0..trail.records() {
        let leaf = trail.leaf(index).unwrap();
        assert!(leaf.len() <= LEAF_BYTES_MAX);
        assert!(leaf.iter().all(|b| (0x20..0x7f).contains(b)));
    }
    let replayed = trail.replay(id).unwrap();
    assert!(replayed.request_head.bytes.len() > 10 * 1024 * 1024);
    assert_eq!(replayed.request_head.verified, Some(true));
    let story = trail.show(id).unwrap();
    assert_eq!(
        story.entry("call.begin").unwrap().fields["moved"],
        json!(["policies"])
    );
    assert_eq!(story.summary.subject.as_deref(), Some("a\nlice\u{2028}"));
}

// A18
#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one call with everything in it, and the list of its fields"
)]
async fn nothing_that_a_caller_writes_stands_in_clear_and_no_field_is_unlisted() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let mut job = begin_job(
        &recorder,
        id,
        "needle-subject",
        Some(b"needle-body"),
        Durability::Both,
    );
    job.head =
        json!({"target": "/needle-path", "new_field": "needle-new", "headers": ["needle-header"]});
    job.context = json!({"needle-member": "needle-context"});
    job.principal = json!({"subject": "needle-subject", "claims": {"email": "needle-claim"}});
    job.source = "needle-source".to_owned();
    let mut record = recorder.begin_job(job).await.unwrap();
    record.released(b"needle-released").await.unwrap();
    let end = End {
        response_head: Some(json!({"set-cookie": "needle-cookie"})),
        ..End::new(Outcome::Ok)
    };
    record.close(end).await.unwrap();
    let denied = Event::Denied {
        call: call(),
        who: who("needle-subject"),
        connection: None,
        function: None,
        reason: "not_found",
        policies: Vec::new(),
        config_version: "c".to_owned(),
        policy_version: "p".to_owned(),
        shadowed: None,
        content: json!({"target": "needle-tried"}),
    };
    recorder.note(denied).await.unwrap();
    recorder.shutdown().await;
    let on_disk: Vec<u8> = std::fs::read_dir(config.dir.join("wal"))
        .unwrap()
        .chain(std::fs::read_dir(config.dir.join("keys")).unwrap())
        .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(memchr::memmem::find(&on_disk, b"needle").is_none());
    let listed = [
        "v",
        "kind",
        "seq",
        "t",
        "mono_us",
        "instance",
        "call",
        "subject_ref",
        "issuer",
        "principal_kind",
        "auth",
        "key_id",
        "algorithm",
        "function",
        "effect",
        "upstream",
        "protocol",
        "method",
        "tls",
        "policies",
        "config_version",
        "policy_version",
        "mask",
        "durability",
        "request",
        "context",
        "sealed",
        "begin",
        "outcome",
        "scrubbed",
        "total_ms",
        "released",
        "content_id",
        "reason",
        "indeterminate",
        "torn",
        "version",
    ];
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    for index in 0..trail.records() {
        let fields = trail.entry(index).unwrap().fields;
        for name in fields.as_object().unwrap().keys() {
            assert!(listed.contains(&name.as_str()), "`{name}` is not listed");
        }
    }
}

// A22
#[tokio::test]
async fn clock_steps_are_recorded_and_order_stays() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    Recorder::init(&config, &RealDisk).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
    let shared: Arc<ManualClock> = Arc::clone(&clock);
    let (recorder, _) = Recorder::open(config.clone(), Arc::new(RealDisk), shared).unwrap();
    for step in [0_i64, 3600, -7200, 1] {
        let now = i64::try_from(clock.now().secs()).unwrap();
        clock.set(Timestamp::from_secs(u64::try_from(now + step).unwrap()));
        let record = begin(&recorder, call(), b"x").await.unwrap();
        record.close(End::new(Outcome::Ok)).await.unwrap();
    }
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    let mut steps = Vec::new();
    for index in 0..trail.records() {
        let entry = trail.entry(index).unwrap();
        assert_eq!(entry.fields["seq"], index);
        if entry.kind == "log.clock" {
            steps.push(entry.fields["step_ms"].as_i64().unwrap() / 100_000);
        }
    }
    assert_eq!(steps, [35, -72]);
    let report = trail.verify(&VerifyOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Intact);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

// A24. `CALLGATE_STREAM_MIB` sets how much is streamed: 64 MiB here, 1024 for the whole case.
#[tokio::test(flavor = "multi_thread")]
async fn long_stream_takes_bounded_memory_and_its_digest_is_right() {
    let mib = std::env::var("CALLGATE_STREAM_MIB")
        .ok()
        .and_then(|text| text.parse().ok());
    let mib: u64 = mib.unwrap_or(64);
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let mut record = begin(&recorder, id, b"x").await.unwrap();
    let chunk = noise(1, 256 * 1024);
    let before = resident_kib();
    for _ in 0..mib * 4 {
        record.released(&chunk).await.unwrap();
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 96 * 1024, "{grown} KiB more");
    let closed = record.close(End::new(Outcome::Ok)).await.unwrap();
    assert_eq!(closed.released_bytes, mib * 1024 * 1024);
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    let body = trail.replay(id).unwrap().released_body;
    assert_eq!(body.total, Some(mib * 1024 * 1024));
    assert_eq!(body.cut.as_deref(), Some("limit"));
    assert_eq!(body.bytes, chunk.repeat(4));
    let commitment = trail.released_commitment(
        id,
        &mut std::iter::repeat_n(&chunk, usize::try_from(mib).unwrap() * 4),
    );
    let end = trail
        .show(id)
        .unwrap()
        .entry("call.end")
        .unwrap()
        .fields
        .clone();
    assert_eq!(end["released"]["body"], commitment);
}

#[tokio::test]
async fn second_process_is_told_who_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _recorder) = fresh(dir.path());
    let clock = Arc::new(crate::clock::SystemClock);
    let error = Recorder::open(config, Arc::new(RealDisk), clock).unwrap_err();
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    assert!(matches!(error, Error::Locked { .. }));
}

// R11
#[tokio::test]
async fn call_whose_task_panicked_is_closed_once_by_its_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let mut record = begin(&recorder, id, b"x").await.unwrap();
    record.released(b"part").await.unwrap();
    let task = tokio::spawn(async move {
        let _record = record;
        panic!("a bug");
    });
    assert!(task.await.is_err());
    recorder.abandon(id, "panic").await;
    recorder.abandon(id, "panic").await;
    let done = call();
    begin(&recorder, done, b"x")
        .await
        .unwrap()
        .close(End::new(Outcome::Ok))
        .await
        .unwrap();
    recorder.abandon(done, "late").await;
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    let story = trail.show(id).unwrap();
    assert_eq!(story.entries.len(), 2);
    assert_eq!(story.summary.outcome, "indeterminate");
    assert_eq!(story.entries[1].fields["why"], "panic");
    assert_eq!(story.entries[1].fields["released"]["bytes"], 4);
    assert_eq!(trail.show(done).unwrap().summary.outcome, "ok");
}

#[tokio::test]
async fn crash_leaves_the_progress_of_a_stream_in_the_indeterminate_record() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let mut record = begin(&recorder, id, b"x").await.unwrap();
    let sent = noise(4, 300_000);
    record.released(&sent).await.unwrap();
    until("the pieces are written", || recorder.health().queued == 0).await;
    begin(&recorder, call(), b"y")
        .await
        .unwrap()
        .close(End::new(Outcome::Ok))
        .await
        .unwrap();
    drop((record, recorder));
    let (recorder, _) = open(&config).unwrap();
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    let story = trail.show(id).unwrap();
    let end = &story.entry("call.end").unwrap().fields;
    assert_eq!(end["outcome"], "indeterminate");
    assert!(
        end["released"]["bytes"].as_u64().unwrap() >= 4 * 65_536,
        "{end}"
    );
    let body = trail.replay(id).unwrap().released_body;
    assert!(sent.starts_with(&body.bytes) && body.bytes.len() >= 4 * 65_536);
    let report = trail.verify(&VerifyOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Intact);
}

#[tokio::test]
async fn refusals_before_authentication_become_one_record_of_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    for _ in 0..1000 {
        recorder.refused_before_authentication("token_expired");
    }
    recorder.refused_before_authentication("unauthenticated");
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
    let entry = trail.entry(1).unwrap();
    assert_eq!(entry.kind, "refusals");
    assert_eq!(
        entry.fields["counts"],
        json!({"token_expired": 1000, "unauthenticated": 1})
    );
    assert_eq!(trail.records(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_beyond_the_queue_are_counted_and_the_count_is_recorded() {
    let (config, disk, recorder) = simulated();
    disk.faults(|faults| faults.hang = true);
    let denial = || Event::ApprovalExpired {
        approval: "a".to_owned(),
        call: call(),
    };
    for _ in 0..20_000 {
        recorder.note_lazily(denial());
    }
    let lost = recorder.health().lost_events;
    assert!(lost > 0);
    disk.faults(|faults| faults.hang = false);
    until("the queue drains", || recorder.health().queued == 0).await;
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(disk)).unwrap();
    let mut kept = 0;
    let mut gaps = 0;
    for index in 0..trail.records() {
        let entry = trail.entry(index).unwrap();
        kept += u64::from(entry.kind == "approval.expire");
        gaps += entry.fields["lost"].as_u64().unwrap_or(0);
    }
    assert_eq!(gaps, lost);
    assert_eq!(kept + gaps, 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_wait_within_bytes_too_and_what_finds_no_room_is_counted() {
    let (config, disk, recorder) = simulated();
    disk.faults(|faults| faults.hang = true);
    let mebibyte = "x".repeat(1024 * 1024);
    for _ in 0..100 {
        recorder.note_lazily(Event::Denied {
            call: call(),
            who: who("mallory"),
            connection: None,
            function: None,
            reason: "denied",
            policies: Vec::new(),
            config_version: "c".to_owned(),
            policy_version: "p".to_owned(),
            shadowed: None,
            content: json!({ "input": mebibyte }),
        });
    }
    let lost = recorder.health().lost_events;
    assert!(lost >= 100 - 16, "{lost}");
    disk.faults(|faults| faults.hang = false);
    until("the queue drains", || recorder.health().queued == 0).await;
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(disk)).unwrap();
    let entries = (0..trail.records()).map(|index| trail.entry(index).unwrap());
    let (mut kept, mut gaps) = (0, 0);
    for entry in entries {
        kept += u64::from(entry.kind == "call.deny");
        gaps += entry.fields["lost"].as_u64().unwrap_or(0);
    }
    assert_eq!((gaps, kept + gaps), (lost, 100));
}

#[tokio::test]
async fn receipt_names_the_record_and_a_head_that_the_logs_key_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (_config, recorder) = fresh(dir.path());
    until("a head is signed", || recorder.head().is_some()).await;
    let record = begin(&recorder, call(), b"x").await.unwrap();
    let receipt = record.receipt();
    let head = recorder.head().unwrap();
    assert!(receipt.starts_with("index=1, size="), "{receipt}");
    assert!(
        receipt.contains(&format!("sig=:{}:", head.signature)),
        "{receipt}"
    );
    assert!(head.note.contains(&head.signature));
    assert!(http::HeaderValue::from_str(&receipt).is_ok());
    record.close(End::new(Outcome::Ok)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn async_durability_waits_for_nothing_and_is_written_all_the_same() {
    let (config, disk, recorder) = simulated();
    disk.faults(|faults| faults.hang = true);
    let id = call();
    let job = begin_job(&recorder, id, "alice", Some(b"x"), Durability::Async);
    // Whoever waited would wait for a hang that ends below, and be refused at the limit.
    let record = recorder.begin_job(job).await.unwrap();
    assert_eq!(record.index(), None);
    record.close(End::new(Outcome::Ok)).await.unwrap();
    disk.faults(|faults| faults.hang = false);
    recorder.shutdown().await;
    let trail = Trail::open(&config.dir, Arc::new(disk)).unwrap();
    assert_eq!(trail.show(id).unwrap().summary.outcome, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_at_the_same_time_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (_config, recorder) = fresh(dir.path());
    let before = recorder.health();
    let start = Instant::now();
    let callers = (0..64).map(|_| {
        let recorder = recorder.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                let record = begin(&recorder, call(), b"x").await.unwrap();
                record.close(End::new(Outcome::Ok)).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let after = recorder.health();
    let (records, syncs) = (after.records - before.records, after.syncs - before.syncs);
    println!("{records} records, {syncs} syncs, {:?}", start.elapsed());
    assert_eq!(records, 64 * 20 * 2);
    // How many share one depends on the disk; that they do, does not.
    assert!(syncs < records, "{syncs} syncs for {records} records");
}
