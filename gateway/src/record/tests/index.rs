//! The index of calls says what the log says: compared with the log read whole, for every filter and page.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::entry::{Observed, Who};
use super::super::{
    ApprovalRef, CallIndex, CallSummary, Config, Decided, End, Error, Event, Filter, Outcome,
    Recorder, RootKey, SharedTrail, Trail, Vote, WouldFilter,
};
use super::support::{begin_job, call, config as support_config, fresh, open, who};
use crate::call::{CallId, Durability};
use crate::clock::{Clock as _, ManualClock, Timestamp};
use crate::disk::{Disk, RealDisk};
use crate::policy::Shadowed;

fn index(config: &Config) -> CallIndex {
    CallIndex::open(&config.dir, Arc::new(RealDisk)).unwrap()
}

fn trail(config: &Config) -> Trail {
    Trail::open(&config.dir, Arc::new(RealDisk)).unwrap()
}

fn acting(subject: &str, actor: &str) -> Who {
    Who {
        actor: Some(("corp".to_owned(), actor.to_owned())),
        ..who(subject)
    }
}

fn shadowed(decided: &'static str) -> Shadowed {
    Shadowed {
        decided,
        policies: vec!["watched".to_owned()],
    }
}

async fn run(recorder: &Recorder, n: usize, approval: Option<&str>, id: CallId) {
    let subject = ["alice", "bob", "carol"][n % 3];
    let body = vec![b'x'; if n.is_multiple_of(17) { 70_000 } else { n }];
    let mut job = begin_job(recorder, id, subject, Some(&body), Durability::Both);
    if n.is_multiple_of(4) {
        job.who = acting(subject, "robot");
        job.principal = json!({ "issuer": "corp", "subject": subject,
            "actors": [{ "issuer": "corp", "subject": "robot" }] });
    }
    job.function =
        ["payments/createRefund", "payments/readRefund", "crm/read"][n % 5 % 3].to_owned();
    job.shadowed = n
        .is_multiple_of(2)
        .then(|| shadowed(["ask", "deny"][n / 2 % 2]));
    job.observed = n.is_multiple_of(3).then(|| Observed {
        decided: ["ask", "deny", "allow"][n / 3 % 3],
        reason: n.is_multiple_of(2).then_some("denied"),
        policies: vec!["wall".to_owned()],
        detail: Some("why".to_owned()),
    });
    job.approval = approval.map(|id| ApprovalRef {
        id: id.to_owned(),
        rules: vec!["leads".to_owned()],
        fence: 1,
        grants: Vec::new(),
        broke_glass: false,
    });
    let mut record = recorder.begin_job(job).await.unwrap();
    record.released(b"answer").await.unwrap();
    let outcome = [Outcome::Ok, Outcome::UpstreamError, Outcome::Cut][n % 7 % 3];
    let end = End {
        status: Some(u16::try_from(200 + 101 * (n % 4)).unwrap()),
        total_ms: n as u64,
        masked: [("email".to_owned(), 1)].into(),
        ..End::new(outcome)
    };
    record.close(end).await.unwrap();
}

fn denied(n: usize, id: CallId) -> Event {
    Event::Denied {
        call: id,
        who: acting("mallory", "robot"),
        connection: Some("payments".parse().unwrap()),
        function: (n.is_multiple_of(2)).then(|| "payments/createRefund".parse().unwrap()),
        reason: if n.is_multiple_of(2) {
            "denied"
        } else {
            "not_found"
        },
        policies: Vec::new(),
        config_version: "c".to_owned(),
        policy_version: "p".to_owned(),
        shadowed: n.is_multiple_of(4).then(|| shadowed("allow")),
        content: json!({ "method": "GET", "target": format!("/{n}") }),
    }
}

/// One question, and what becomes of it.
async fn asked(recorder: &Recorder, n: usize) {
    let (id, approval) = (call(), format!("team/approval-{n}"));
    let ask = Event::ApprovalAsked {
        approval: approval.clone(),
        call: id,
        who: who("alice"),
        function: "payments/createRefund".parse().unwrap(),
        rules: vec!["leads".to_owned()],
        binding: "b".to_owned(),
        expires: Timestamp::from_secs(1_900_000_000),
        shadowed: n.is_multiple_of(3).then(|| shadowed("deny")),
        grants: Vec::new(),
        content: json!({ "amount": n }),
    };
    recorder.note(ask).await.unwrap();
    let vote = Event::ApprovalVoted {
        approval: approval.clone(),
        call: id,
        rule: "leads".to_owned(),
        binding: "b".to_owned(),
        who: who("bob"),
        vote: Vote::Allow,
        grant: None,
        content: json!({}),
    };
    recorder.note(vote).await.unwrap();
    match n % 4 {
        0 => run(recorder, n, Some(&approval), id).await,
        1 => {
            let expired = Event::ApprovalExpired { approval, call: id };
            recorder.note(expired).await.unwrap();
        }
        2 => {
            recorder.note(denied(0, id)).await.unwrap();
            let over = Event::ApprovalCancelled {
                approval,
                call: id,
                who: None,
                reason: "superseded",
            };
            recorder.note(over).await.unwrap();
        }
        _ => {}
    }
}

pub(super) async fn fill(recorder: &Recorder, calls: usize) {
    for n in 0..calls {
        run(recorder, n, None, call()).await;
        if n.is_multiple_of(6) {
            recorder.note(denied(n / 6, call())).await.unwrap();
        }
        if n.is_multiple_of(5) {
            asked(recorder, n / 5).await;
        }
    }
}

fn filters() -> Vec<Filter> {
    let word = |text: &str| Some(text.to_owned());
    let who = |name: &str| Some(("corp".to_owned(), name.to_owned()));
    let mut filters = vec![Filter::default()];
    for name in ["alice", "mallory", "nobody", "robot"] {
        filters.push(Filter {
            principal: who(name),
            ..Filter::default()
        });
        filters.push(Filter {
            actor: who(name),
            ..Filter::default()
        });
    }
    for name in ["payments/createRefund", "crm/read", "crm/nothing"] {
        filters.push(Filter {
            function: word(name),
            ..Filter::default()
        });
    }
    for name in ["payments", "crm", "none"] {
        filters.push(Filter {
            connection: word(name),
            ..Filter::default()
        });
    }
    for name in [
        "ok",
        "cut",
        "denied",
        "pending",
        "expired",
        "superseded",
        "open",
        "nothing",
    ] {
        filters.push(Filter {
            outcome: word(name),
            ..Filter::default()
        });
    }
    for decided in [Decided::Allow, Decided::Deny, Decided::Ask] {
        filters.push(Filter {
            decided: Some(decided),
            ..Filter::default()
        });
        filters.push(Filter {
            decided: Some(decided),
            principal: who("alice"),
            ..Filter::default()
        });
    }
    for status in [(200, 200), (300, 499), (999, 999)] {
        filters.push(Filter {
            status: Some(status),
            ..Filter::default()
        });
    }
    for id in ["team/approval-4", "team/approval-999"] {
        filters.push(Filter {
            approval: word(id),
            ..Filter::default()
        });
    }
    filters.extend(would_filters());
    filters.push(Filter {
        unknown: true,
        ..Filter::default()
    });
    filters
}

fn would_filters() -> impl Iterator<Item = Filter> {
    let would = [Decided::Allow, Decided::Deny, Decided::Ask].map(WouldFilter::Would);
    let all = would.into_iter().chain([WouldFilter::Any]);
    all.flat_map(|wanted| {
        [
            Filter {
                shadow: Some(wanted),
                ..Filter::default()
            },
            Filter {
                observed: Some(wanted),
                ..Filter::default()
            },
        ]
    })
}

/// Every call that the index lists, page by page.
fn pages(index: &mut CallIndex, filter: &Filter, limit: usize) -> Vec<CallSummary> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = index.page(filter, cursor, limit).unwrap();
        assert!(page.calls.len() <= limit);
        all.extend(page.calls);
        // The cursor comes back from its text, as a caller of an API gives it.
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if cursor.is_none() {
            return all;
        }
    }
}

fn assert_calls(found: &[CallSummary], expected: &[CallSummary], filter: &Filter) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{filter:?}");
    }
    assert_eq!(found.len(), expected.len(), "{filter:?}");
}

fn assert_same(config: &Config, index: &mut CallIndex) {
    let trail = trail(config);
    for filter in filters() {
        let expected: Vec<_> = trail.calls(filter.clone()).map(Result::unwrap).collect();
        for limit in [7, 1000] {
            assert_calls(&pages(index, &filter, limit), &expected, &filter);
        }
    }
    let all: Vec<_> = trail.calls(Filter::default()).map(Result::unwrap).collect();
    let middle = all[all.len() / 2].at;
    for filter in [
        Filter {
            since: Some(middle),
            ..Filter::default()
        },
        Filter {
            until: Some(middle),
            ..Filter::default()
        },
        Filter {
            since: Some(middle),
            until: Some(middle),
            ..Filter::default()
        },
    ] {
        let expected: Vec<_> = trail.calls(filter.clone()).map(Result::unwrap).collect();
        assert_calls(&pages(index, &filter, 1000), &expected, &filter);
    }
}

fn index_files(config: &Config) -> BTreeSet<String> {
    let dir = std::fs::read_dir(config.dir.join("index")).unwrap();
    let names = dir.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[tokio::test]
async fn index_lists_what_the_log_holds_for_every_filter_and_page() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    fill(&recorder, 60).await;
    let mut index = index(&config);
    assert_same(&config, &mut index);
    // What came since is found by reading the tail only, also for calls that were open or pending.
    let half = begin_job(&recorder, call(), "alice", Some(b"x"), Durability::Both);
    let half = recorder.begin_job(half).await.unwrap();
    index.refresh().unwrap();
    assert_same(&config, &mut index);
    half.close(End::new(Outcome::Withheld)).await.unwrap();
    fill(&recorder, 30).await;
    index.refresh().unwrap();
    assert_same(&config, &mut index);
}

#[tokio::test]
async fn saved_index_is_read_again_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let half = begin_job(&recorder, call(), "alice", Some(b"x"), Durability::Both);
    let half = recorder.begin_job(half).await.unwrap();
    fill(&recorder, 20).await;
    let mut first = index(&config);
    first.save().unwrap();
    let files = index_files(&config);
    assert_eq!(files.len(), 3, "{files:?}");
    half.close(End::new(Outcome::Cut)).await.unwrap();
    fill(&recorder, 20).await;
    // Another reader takes the files and the tail.
    assert_same(&config, &mut index(&config));
    first.refresh().unwrap();
    first.save().unwrap();
    let newer = index_files(&config);
    assert_eq!(newer.len(), 3, "the chunk before is removed: {newer:?}");
    assert_ne!(newer, files);
    assert_same(&config, &mut index(&config));
}

fn each_file(config: &Config, mut change: impl FnMut(&Path)) {
    for name in index_files(config) {
        change(&config.dir.join("index").join(name));
    }
}

#[tokio::test]
async fn index_that_is_damaged_or_of_another_log_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    fill(&recorder, 20).await;
    index(&config).save().unwrap();
    let good: Vec<_> = index_files(&config)
        .into_iter()
        .map(|name| {
            let path = config.dir.join("index").join(name);
            (path.clone(), std::fs::read(path).unwrap())
        })
        .collect();
    for (path, bytes) in &good {
        for at in (0..bytes.len()).step_by(bytes.len() / 9 + 1) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            std::fs::write(path, bad).unwrap();
            // Found when the column is read: never a call too many, and after a rebuild none too few.
            let mut found = CallIndex::open(&config.dir, Arc::new(RealDisk)).unwrap();
            assert_eq!(
                pages(&mut found, &Filter::default(), 1000).len(),
                usize::try_from(found.calls()).unwrap()
            );
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert_same(&config, &mut index(&config));
    // The files of this log beside another one.
    let other_dir = tempfile::tempdir().unwrap();
    let (other, other_recorder) = fresh(other_dir.path());
    fill(&other_recorder, 5).await;
    std::fs::create_dir(other.dir.join("index")).unwrap();
    for (path, bytes) in &good {
        std::fs::write(
            other.dir.join("index").join(path.file_name().unwrap()),
            bytes,
        )
        .unwrap();
    }
    assert_same(&other, &mut index(&other));
    // Chunks that are gone.
    each_file(&config, |path| {
        if path.extension().is_some() {
            std::fs::remove_file(path).unwrap();
        }
    });
    assert_same(&config, &mut index(&config));
}

#[tokio::test]
async fn index_of_records_that_the_log_lost_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    fill(&recorder, 5).await;
    recorder.shutdown().await;
    // A snapshot put back in the same place: the log is older than the index beside it.
    let snapshot = tempfile::tempdir().unwrap();
    let kept = snapshot.path().join("audit");
    copy_dir(&config.dir, &kept);
    let (recorder, _) = open(&config).unwrap();
    fill(&recorder, 9).await;
    index(&config).save().unwrap();
    recorder.shutdown().await;
    let newer = snapshot.path().join("index");
    copy_dir(&config.dir.join("index"), &newer);
    empty_dir(&config.dir);
    copy_into(&kept, &config.dir);
    copy_into(&newer, &config.dir.join("index"));
    let (recorder, _) = open(&config).unwrap();
    fill(&recorder, 30).await;
    assert_same(&config, &mut index(&config));
}

fn empty_dir(dir: &Path) {
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            // The directory stays: a log lies where it was made.
            empty_dir(&path);
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    copy_into(from, to);
}

fn copy_into(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_into(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

// A19
#[tokio::test]
async fn erased_subjects_pseudonym_goes_out_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    fill(&recorder, 20).await;
    let mut index = index(&config);
    index.save().unwrap();
    let alice = Filter {
        principal: Some(("corp".to_owned(), "alice".to_owned())),
        ..Filter::default()
    };
    let reference = index.page(&alice, None, 1).unwrap().calls[0]
        .subject_ref
        .clone();
    let bytes = |reference: &str| {
        let pairs = reference.as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        <[u8; 16]>::try_from(pairs.map(byte).collect::<Vec<u8>>()).unwrap()
    };
    assert!(index.holds(&bytes(&reference)));
    recorder.shred("corp", "alice", None).await.unwrap();
    index.refresh().unwrap();
    assert_same(&config, &mut index);
    assert!(!index.holds(&bytes(&reference)));
    index.save().unwrap();
    assert!(!super::index::index(&config).holds(&bytes(&reference)));
    assert_eq!(pages(&mut index, &alice, 1000), []);
    // The calls are there all the same, of a pseudonym that leads to nobody.
    let all = pages(&mut index, &Filter::default(), 1000);
    assert!(
        all.iter()
            .any(|call| call.subject_ref == reference && call.subject.is_none())
    );
}

fn chunk_files(config: &Config) -> usize {
    let names = std::fs::read_dir(config.dir.join("index")).unwrap();
    let names = names.map(|name| name.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".calls"))
        .count()
}

/// `audit.keep.index_days`: what is not listed any more is no longer in the index's files either, and stays
/// in the log.
#[tokio::test]
async fn calls_over_the_time_of_the_index_are_listed_no_more_and_stay_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let config = support_config(dir.path());
    Recorder::init(&config, &RealDisk).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let opened = Recorder::open(config.clone(), Arc::clone(&disk), Arc::clone(&clock) as _);
    let (recorder, _) = opened.unwrap();
    let (old, young) = (call(), call());
    run(&recorder, 1, None, old).await;
    let mut first = trail(&config);
    first.close_chunk();
    let day = Duration::from_secs(86_400);
    let floor = clock.now().plus(day);
    clock.set(floor.plus(day));
    run(&recorder, 2, None, young).await;
    let shared = SharedTrail::new(config.dir.clone(), disk, RootKey::File);
    let listed = |trail: &mut Trail| {
        let page = trail.page(&Filter::default(), &|_| true, None, 10);
        page.map(|page| page.calls.iter().map(|call| call.call).collect::<Vec<_>>())
    };
    assert_eq!(shared.read(u64::MAX, listed).unwrap(), [young, old]);
    shared.keep(None).unwrap();
    shared.keep(Some(floor)).unwrap();
    assert_eq!(shared.read(u64::MAX, listed).unwrap(), [young]);
    // Nor for those who read the files, and not after the index was made anew from the log.
    let (mut saved, mut index) = (trail(&config), index(&config));
    assert_eq!(listed(&mut saved).unwrap(), [young]);
    assert_eq!(index.calls(), 1);
    assert_eq!(chunk_files(&config), 1, "the old chunk's file is gone");
    index.reopen().unwrap();
    assert_eq!(
        index
            .page(&Filter::default(), None, 10)
            .unwrap()
            .calls
            .len(),
        1
    );
    // Its records are found in the log itself, and prove what they did.
    for trail in [&saved, &first] {
        assert_eq!(trail.show(old).unwrap().entries.len(), 2);
        assert!(trail.replay(old).unwrap().verified());
    }
    while recorder.health().unsigned > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(
        saved.prove(old).unwrap(),
        trail(&config).prove(old).unwrap()
    );
    let mut judged = 0;
    let count = &mut |_| {
        judged += 1;
        true
    };
    index.decisions(None, count).unwrap();
    assert_eq!(
        judged, 2,
        "a draft of policies is tried on what is recorded"
    );
    assert!(matches!(saved.show(call()), Err(Error::UnknownCall(_))));
    // A setting that was wrong is mended: what the log has is listed again.
    shared
        .keep(Some(Timestamp::from_secs(1_799_999_000)))
        .unwrap();
    assert_eq!(listed(&mut trail(&config)).unwrap(), [young, old]);
    shared.keep(Some(floor)).unwrap();
    shared.keep(None).unwrap();
    assert_eq!(shared.read(u64::MAX, listed).unwrap(), [young, old]);
    assert_eq!(listed(&mut trail(&config)).unwrap(), [young, old]);
    recorder.shutdown().await;
}
