//! Real processes on the real database, killed with signal 9 at a random moment.
//!
//! A share of kills in every build; `CALLGATE_KILLS=2000` does more.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::clock::SystemClock;

const KILLS: u64 = 8;
const FOLDER: &str = "CALLGATE_KILL_FOLDER";
const LEDGER: &str = "ledger";

async fn open(dir: &Path) -> (Arc<dyn Store>, Approvals) {
    let store: Arc<dyn Store> = Arc::new(engine::again(dir).await);
    let config = Config {
        asks_per_hour_max: 1_000_000,
        pending_per_principal_max: 1_000,
        ..Config::default()
    };
    let clock: SharedClock = Arc::new(SystemClock);
    let key = Secret::new([9; 32]);
    let approvals = Approvals::new(Arc::clone(&store), &key, clock, config).unwrap();
    (store, approvals)
}

fn approver() -> Principal {
    let now = Timestamp::from_secs(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    );
    lead("lea").signed_in(Some(now), None)
}

/// One call through all its edges; the function is a line in a file.
async fn one(approvals: &Approvals, dir: &Path, n: u64) {
    let body = format!("{}-{n}", std::process::id());
    let ticket = ask(approvals, &caller(), &body, &lead_terms())
        .await
        .unwrap();
    let vote = yes(approvals, &ticket.id, &lead_terms(), &approver()).await;
    assert_eq!(vote.unwrap(), State::Approved);
    let execution = approvals.take(&ticket.id, &caller(), "i1").await.unwrap();
    let mut ledger = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(dir.join(LEDGER))
        .unwrap();
    ledger
        .write_all(format!("{}\n", ticket.id).as_bytes())
        .unwrap();
    let outcome = Outcome::Done { result: None };
    approvals.finish(execution, outcome).await.unwrap();
}

fn lines(dir: &Path) -> usize {
    let ledger = std::fs::read_to_string(dir.join(LEDGER)).unwrap_or_default();
    ledger.lines().count()
}

/// What is killed: started by the test below, does nothing otherwise.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let dir = Path::new(&dir);
    let (_store, approvals) = open(dir).await;
    approvals.recover("i1").await.unwrap();
    for n in 0.. {
        one(&approvals, dir, n).await;
    }
}

// P6
#[tokio::test]
async fn a_killed_process_runs_nothing_twice_and_nothing_silently() {
    let kills = std::env::var("CALLGATE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    engine::fresh(dir.path()).await.close().await;
    for kill in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "approval::tests::kill::the_process_that_is_killed",
            ])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Every other process is killed while it works, the rest wherever it is, also at its start.
        if kill % 2 == 0 {
            let before = lines(dir.path());
            for _ in 0..3_000 {
                if lines(dir.path()) > before {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(kill * 37 % 211)).await;
        let ended = child.try_wait().unwrap();
        assert_eq!(ended, None, "the process runs until it is killed");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (store, approvals) = open(dir.path()).await;
    approvals.recover("i1").await.unwrap();
    let ledger = std::fs::read_to_string(dir.path().join(LEDGER)).unwrap_or_default();
    let mut hits: BTreeMap<&str, usize> = BTreeMap::new();
    for line in ledger.lines() {
        *hits.entry(line).or_default() += 1;
    }
    assert!(!hits.is_empty(), "no process got as far as a call");
    let mut before = None;
    loop {
        let filter = crate::store::Filter {
            limit: 500,
            before: before.clone(),
            ..crate::store::Filter::default()
        };
        let page = approvals.list(filter).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.head.id.clone());
        for head in page.iter().map(|one| &one.head) {
            let ran = hits.remove(head.id.as_str()).unwrap_or(0);
            assert!(ran <= 1, "{} ran {ran} times", head.id);
            let told = match head.state {
                State::Done => ran == 1,
                State::Indeterminate => true,
                State::Pending | State::Approved => ran == 0,
                State::Executing
                | State::Failed
                | State::Denied
                | State::Expired
                | State::Cancelled
                | State::Superseded => false,
            };
            assert!(told, "{} ran {ran} times and says {}", head.id, head.state);
        }
    }
    assert!(hits.is_empty(), "ran without an approval: {hits:?}");
    store.close().await;
}
