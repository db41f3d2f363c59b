//! Many writers at once: what they were told is in the log, whatever the durability. `make bench` runs the same
//! for longer, beside a raw group commit of as many bytes on the same disk, and reads what it prints:
//! `CALLGATE_BENCH_WRITERS` (how many, separated by commas), `CALLGATE_BENCH_SECONDS` (a row),
//! `CALLGATE_BENCH_DIR` (where).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::{Config, End, Outcome, Recorder, Trail, VerifyOptions};
use super::support::{begin_job, call, config, open};
use crate::call::Durability;
use crate::disk::{Disk, RealDisk};

/// Bytes of the probe's file, which is written round and round.
const PROBE_BYTES: u64 = 64 * 1024 * 1024;
/// Records that wait for the probe's next sync, at most.
const PROBE_WAITING: usize = 2048;

fn writers() -> Vec<usize> {
    let text = std::env::var("CALLGATE_BENCH_WRITERS").unwrap_or_else(|_| "1,16".to_owned());
    let counts = text
        .split(',')
        .map(|count| count.parse().expect("a number"));
    counts.collect()
}

/// How long a row is measured; a test only wants some calls.
fn length() -> Duration {
    let seconds = std::env::var("CALLGATE_BENCH_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("a number"));
    seconds.map_or(Duration::from_millis(200), Duration::from_secs_f64)
}

/// Records a second, and microseconds that one was waited for.
#[derive(Debug)]
struct Row {
    records: u64,
    per_second: f64,
    p50_us: u128,
    p99_us: u128,
}

fn row(records: u64, took: Duration, mut waits: Vec<Duration>) -> Row {
    waits.sort_unstable();
    let at = |share: usize| {
        let last = waits.len().saturating_sub(1);
        waits.get(last * share / 100).map_or(0, Duration::as_micros)
    };
    Row {
        records,
        per_second: records as f64 / took.as_secs_f64(),
        p50_us: at(50),
        p99_us: at(99),
    }
}

/// `count` writers at once, each beginning and closing one call after the other.
async fn calls(recorder: &Recorder, durability: Durability, count: usize) -> Row {
    let begun = Instant::now();
    let end = begun + length();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let recorder = recorder.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while Instant::now() < end || waits.is_empty() {
                    let job = begin_job(&recorder, call(), "alice", Some(b"{}"), durability);
                    let asked = Instant::now();
                    // A disk that hangs refuses: such a call is none.
                    let Ok(mut record) = recorder.begin_job(job).await else {
                        continue;
                    };
                    let waited = asked.elapsed();
                    record.released(b"{}").await.unwrap();
                    let asked = Instant::now();
                    if record.close(End::new(Outcome::Ok)).await.is_ok() {
                        waits.push(waited + asked.elapsed());
                    }
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    row(2 * waits.len() as u64, begun.elapsed(), waits)
}

type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// The cheapest that promises the same: everything that waits is written and synced at once, in a file that was
/// allocated ahead.
fn commit(path: &Path, waiting: &Receiver<Waiting>) {
    let file = RealDisk.create_zeroed(path, PROBE_BYTES).unwrap();
    let mut at = 0;
    while let Ok((mut bytes, ack)) = waiting.recv() {
        let mut acks = vec![ack];
        while let Ok((more, ack)) = waiting.try_recv() {
            bytes.extend_from_slice(&more);
            acks.push(ack);
        }
        if at + bytes.len() as u64 > PROBE_BYTES {
            at = 0;
        }
        file.write_at(&bytes, at).unwrap();
        file.sync().unwrap();
        at += bytes.len() as u64;
        for ack in acks {
            let _ = ack.send(());
        }
    }
}

/// `count` writers, each of whose records waits for its sync, two a call.
async fn probe(dir: &Path, bytes: usize, count: usize) -> Row {
    let (sender, waiting): (SyncSender<Waiting>, _) = sync_channel(PROBE_WAITING);
    let path = dir.join("group-commit-probe");
    let file = path.clone();
    let committer = std::thread::spawn(move || commit(&file, &waiting));
    let begun = Instant::now();
    let end = begun + length();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while Instant::now() < end {
                    let asked = Instant::now();
                    for _ in 0..2 {
                        let (ack, acked) = oneshot::channel();
                        sender.send((vec![b'x'; bytes], ack)).unwrap();
                        acked.await.unwrap();
                    }
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    drop(sender);
    let row = row(2 * waits.len() as u64, begun.elapsed(), waits);
    committer.join().unwrap();
    std::fs::remove_file(path).unwrap();
    row
}

fn print(what: &str, count: usize, row: &Row) {
    println!(
        "{{\"what\":\"{what}\",\"writers\":{count},\"records_s\":{:.0},\"p50_us\":{},\"p99_us\":{}}}",
        row.per_second, row.p50_us, row.p99_us
    );
}

fn fresh_in(dir: &Path) -> (Config, Recorder) {
    let config = Config {
        segment_bytes: PROBE_BYTES,
        head_every: Duration::from_secs(1),
        ..config(dir)
    };
    Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    (config, recorder)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_that_many_writers_were_told_of_is_in_the_log() {
    let root = std::env::var_os("CALLGATE_BENCH_DIR").map(PathBuf::from);
    let dir = root.map_or_else(tempfile::tempdir, tempfile::tempdir_in);
    let dir = dir.unwrap();
    let mut bytes = 0;
    for (name, durability) in [
        ("async", Durability::Async),
        ("begin", Durability::Begin),
        ("both", Durability::Both),
    ] {
        for count in writers() {
            let place = dir.path().join(format!("{name}-{count}"));
            std::fs::create_dir(&place).unwrap();
            let (config, recorder) = fresh_in(&place);
            let row = calls(&recorder, durability, count).await;
            recorder.shutdown().await;
            let report = Trail::check(&config.dir, &RealDisk, &VerifyOptions::default()).unwrap();
            assert!(row.records > 0);
            // Opened and closed are two more.
            assert!(
                report.records >= row.records + 2,
                "{name}, {count} writers: {} of {}",
                report.records,
                row.records
            );
            let trail = Trail::open(&config.dir, Arc::new(RealDisk)).unwrap();
            bytes = usize::try_from(trail.log_bytes() / report.records).unwrap();
            print(name, count, &row);
            std::fs::remove_dir_all(&place).unwrap();
        }
    }
    for count in writers() {
        let row = probe(dir.path(), bytes, count).await;
        assert!(row.records > 0);
        print("probe", count, &row);
    }
    println!("{{\"what\":\"bytes\",\"bytes\":{bytes}}}");
}
