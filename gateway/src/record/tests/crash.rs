//! Power cuts. `CALLGATE_CRASH_CUTS` sets how many there are at least in each of the two tests (each log
//! that is written is cut at dozens of places); `CALLGATE_CRASH_SEED` where the seeds begin.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::super::files::Files;
use super::super::recovery::recover;
use super::super::{Config, End, Outcome, Recorder, Trail, Verdict, VerifyOptions};
use super::sim::{Dice, SimDisk};
use super::support::{begin_job, call, config, noise, open_on};
use crate::call::{CallId, Durability};
use crate::disk::Disk;

/// How many cuts of a long run are between two lines that say where it is.
const PROGRESS_CUTS: u64 = 2000;

fn env(name: &str, default: u64) -> u64 {
    // Read through std: tests only.
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Records that somebody was told are stable: call, kind, index.
type Acked = Arc<Mutex<Vec<(CallId, &'static str, u64)>>>;

/// What the cuts of all runs came to.
#[derive(Default)]
struct Tally {
    cuts: AtomicU64,
    torn: AtomicU64,
    orphans: AtomicU64,
    confirmed: AtomicU64,
    states: Mutex<HashSet<u64>>,
}

/// The invariant: what was confirmed is there, in its place; what is there holds together; nothing that
/// a crash can do looks like tampering.
fn check(config: &Config, disk: &SimDisk, acked: &[(CallId, &str, u64)], seed: u64, tally: &Tally) {
    let files = Files::new(&config.dir);
    let recovered = recover(config, &files, disk)
        .unwrap_or_else(|error| panic!("seed {seed}: recovery refuses: {error}"));
    tally.cuts.fetch_add(1, Ordering::Relaxed);
    tally
        .torn
        .fetch_add(u64::from(recovered.report.torn), Ordering::Relaxed);
    tally
        .orphans
        .fetch_add(recovered.report.indeterminate, Ordering::Relaxed);
    drop(recovered);
    let report = Trail::check_once(&config.dir, disk, &VerifyOptions::default()).unwrap();
    assert_eq!(report.verdict, Verdict::Intact, "seed {seed}");
    let trail = Trail::open(&config.dir, Arc::new(disk.clone())).unwrap();
    for (call, kind, index) in acked {
        let leaf = trail
            .leaf(*index)
            .unwrap_or_else(|error| panic!("seed {seed}: a confirmed {kind} is lost: {error}"));
        let leaf: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
        assert_eq!(leaf["kind"], *kind, "seed {seed}");
        assert_eq!(leaf["call"], call.to_string(), "seed {seed}");
    }
    // The last confirmed begin plays back: its key was stable before it.
    if let Some((call, ..)) = acked.iter().rfind(|(_, kind, _)| *kind == "call.begin") {
        let replayed = trail.replay(*call);
        let replayed = replayed.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(replayed.verified(), "seed {seed}");
        assert_eq!(replayed.request_body.verified, Some(true), "seed {seed}");
    }
}

/// One caller: some calls, some left open.
async fn work(recorder: Recorder, seed: u64, calls: u64, acked: Acked) {
    let mut dice = Dice::new(seed);
    for number in 0..calls {
        let id = call();
        let body = noise(seed + number, usize::try_from(dice.roll(30_000)).unwrap());
        let subject = format!("s{}", dice.roll(5));
        let job = begin_job(&recorder, id, &subject, Some(&body), Durability::Both);
        let Ok(mut record) = recorder.begin_job(job).await else {
            continue;
        };
        acked
            .lock()
            .unwrap()
            .push((id, "call.begin", record.index().unwrap()));
        let down = noise(seed, usize::try_from(dice.roll(90_000)).unwrap());
        for chunk in down.chunks(20_000) {
            if record.released(chunk).await.is_err() {
                break;
            }
        }
        if dice.roll(4) == 0 {
            continue;
        }
        if let Ok(closed) = record.close(End::new(Outcome::Ok)).await {
            acked
                .lock()
                .unwrap()
                .push((id, "call.end", closed.index.unwrap()));
        }
    }
}

fn new_disk(config: &Config) -> SimDisk {
    let disk = SimDisk::new();
    Recorder::init(config, &disk).unwrap();
    disk
}

fn test_config() -> Config {
    config(Path::new("/"))
}

/// Write a log and cut the power before about every `every`-th operation.
async fn run(seed: u64, every: u64, faults: bool, tally: &Arc<Tally>) {
    let config = test_config();
    let disk = new_disk(&config);
    let acked: Acked = Arc::default();
    let (told, counts, cfg) = (Arc::clone(&acked), Arc::clone(tally), config.clone());
    let mut dice = Dice::new(seed);
    disk.before_each(move |number, disk| {
        if faults && dice.roll(25) == 0 {
            let which = dice.roll(3);
            disk.faults(|faults| match which {
                0 => faults.sync_errors = 1,
                1 => faults.short_writes = 1,
                _ => faults.sync_errors = 2,
            });
        }
        if dice.roll(every) != 0 {
            return;
        }
        // Before the copy is taken: whatever is told by now must be in it.
        let confirmed = told.lock().unwrap().clone();
        let (image, state) = disk.cut(seed.wrapping_mul(1_000_003) + number);
        if counts.states.lock().unwrap().insert(state) {
            check(&cfg, &image, &confirmed, seed, &counts);
        }
    });
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    // A fault may hit the start itself: then it is tried again, as an operator would.
    let (recorder, _) = loop {
        if let Ok(opened) = open_on(&config, &shared) {
            break opened;
        }
    };
    let callers =
        (0..3).map(|n| tokio::spawn(work(recorder.clone(), seed * 10 + n, 6, Arc::clone(&acked))));
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let count = acked.lock().unwrap().len() as u64;
    tally.confirmed.fetch_add(count, Ordering::Relaxed);
    disk.no_hook();
    disk.faults(|faults| *faults = super::sim::Faults::default());
    // A cut, a start on what is left, more work, and a cut again.
    let confirmed = acked.lock().unwrap().clone();
    let (second, _) = disk.cut(seed);
    check(&config, &second, &confirmed, seed, tally);
    drop(recorder);
    let shared: Arc<dyn Disk> = Arc::new(second.clone());
    let (recorder, _) = open_on(&config, &shared).unwrap();
    work(recorder.clone(), seed * 10 + 9, 3, Arc::clone(&acked)).await;
    let confirmed = acked.lock().unwrap().clone();
    let (third, _) = second.cut(seed + 1);
    check(&config, &third, &confirmed, seed, tally);
    recorder.shutdown().await;
}

async fn runs(name: &str, runs: u64, every: u64, faults: bool) {
    let tally = Arc::new(Tally::default());
    let first = env("CALLGATE_CRASH_SEED", 1);
    let wanted = env("CALLGATE_CRASH_CUTS", 0);
    let cuts = || tally.cuts.load(Ordering::Relaxed);
    let (mut seed, mut told) = (first, 0);
    while seed < first + runs || cuts() < wanted {
        run(seed, every, faults, &tally).await;
        seed += 1;
        // A long run says where it is, and where it began if it is broken off.
        if wanted > 0 && cuts() >= told + PROGRESS_CUTS {
            told = cuts();
            println!("{name}: seeds {first}..{seed}: {told} of {wanted} power cuts, none lost");
        }
    }
    let (confirmed, states) = (
        tally.confirmed.load(Ordering::Relaxed),
        tally.states.lock().unwrap().len(),
    );
    println!(
        "{name}: seeds {first}..{seed}: {} power cuts, {states} distinct disks, {} with a torn tail, {} calls left open, \
         {confirmed} records confirmed, none lost",
        cuts(),
        tally.torn.load(Ordering::Relaxed),
        tally.orphans.load(Ordering::Relaxed),
    );
    // On a machine so slow that some run confirms nothing, the others still do.
    assert!(confirmed > 0 && states > 0, "nothing was put to the test");
}

// A3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_power_cut_loses_a_confirmed_record_or_leaves_garbage() {
    runs("power cuts", 12, 1, false).await;
}

// A3, A5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_power_cut_among_failing_writes_and_syncs_loses_a_confirmed_record() {
    runs("power cuts among faults", 8, 2, true).await;
}
