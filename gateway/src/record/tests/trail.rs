use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::{
    End, EraseError, Error, Event, Filter, Held, Outcome, Trail, Verdict, VerifyOptions,
};
use super::support::{begin, begin_job, call, config, fresh, noise, open, who};
use crate::call::Durability;
use crate::clock::Timestamp;
use crate::disk::RealDisk;

fn trail(config: &super::super::Config) -> Trail {
    Trail::open(&config.dir, Arc::new(RealDisk)).unwrap()
}

#[tokio::test]
async fn replay_shows_the_bytes_that_went_up_and_came_down() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let body: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let mut record = begin(&recorder, id, &body).await.unwrap();
    let mut down = Vec::new();
    for n in 0..40_u8 {
        let chunk = vec![n; 5000];
        record.released(&chunk).await.unwrap();
        down.extend(chunk);
    }
    let end = End {
        status: Some(200),
        response_head: Some(json!({"status": 200, "headers": [["a", "b"]]})),
        trailers: Some(json!([["t", "1"]])),
        masked: [("email".to_owned(), 2)].into(),
        ..End::new(Outcome::Ok)
    };
    record.close(end).await.unwrap();
    let trail = trail(&config);
    let replayed = trail.replay(id).unwrap();
    assert_eq!(replayed.request_body.bytes, body);
    assert_eq!(replayed.released_body.bytes, down);
    assert_eq!(replayed.released_body.verified, Some(true));
    assert_eq!(replayed.request_body.verified, Some(true));
    assert_eq!(replayed.request_head.verified, Some(true));
    assert_eq!(replayed.context.verified, Some(true));
    assert_eq!(
        replayed.released_head.bytes,
        br#"{"status":200,"headers":[["a","b"]]}"#
    );
    assert_eq!(replayed.released_head.verified, Some(true));
    assert_eq!(replayed.trailers.verified, Some(true));
    assert!(replayed.verified() && !replayed.truncated());
    let story = trail.show(id).unwrap();
    assert_eq!(story.summary.outcome, "ok");
    assert_eq!(story.summary.subject.as_deref(), Some("alice"));
    assert_eq!(story.summary.masked["email"], 2);
    let content = story.entry("call.begin").unwrap().content.as_ref().unwrap();
    assert_eq!(content["source"], "192.0.2.7");
    assert_eq!(content["request"]["target"], "/refunds?to=secret-path");
    assert_eq!(
        story.entry("call.end").unwrap().content.as_ref().unwrap()["trailers"][0][0],
        "t"
    );
}

#[tokio::test]
async fn a_stream_is_known_by_the_times_of_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let (stream, plain) = (call(), call());
    let mut record = begin(&recorder, stream, b"").await.unwrap();
    let parts = [&b"data: one\n\n"[..], b"data: two\n\n", &noise(1, 200_000)];
    for part in parts {
        record.released(part).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let mut record = begin(&recorder, plain, b"").await.unwrap();
    record.released(b"all of it").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    let trail = trail(&config);
    let replayed = trail.replay(stream).unwrap();
    assert_eq!(replayed.released_body.verified, Some(true));
    // The pauses are at least those that were made; a slow machine may have put more between.
    let times = &replayed.times;
    assert_eq!((times[0].bytes, times[1].bytes), (11, 11));
    assert!(times[1].at_ms >= times[0].at_ms + 29, "{times:?}");
    assert!(times[2].at_ms >= times[1].at_ms + 29, "{times:?}");
    let all: u64 = times.iter().map(|group| group.bytes).sum();
    assert_eq!(all, replayed.released_body.bytes.len() as u64);
    assert!(trail.replay(plain).unwrap().times.is_empty());
    let checked = Trail::check(&config.dir, &RealDisk, &VerifyOptions::default()).unwrap();
    assert_eq!(checked.verdict, Verdict::Intact);
}

#[tokio::test]
async fn streamed_request_is_committed_to_in_the_end_record() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let job = begin_job(&recorder, id, "alice", None, Durability::Both);
    let record = recorder.begin_job(job).await.unwrap();
    let tap = record.request_tap();
    for _ in 0..30 {
        tap.push(&[7; 10_000]);
    }
    assert_eq!(tap.bytes(), 300_000);
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let replayed = trail(&config).replay(id).unwrap();
    assert_eq!(replayed.request_body.bytes, vec![7; 300_000]);
    assert_eq!(replayed.request_body.verified, Some(true));
}

#[tokio::test]
async fn content_beyond_the_limit_is_cut_with_a_mark_and_still_committed_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.capture_bytes_max = 100_000;
    super::super::Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    let id = call();
    let mut record = begin(&recorder, id, &[1; 150_000]).await.unwrap();
    record.released(&[2; 250_000]).await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let trail = trail(&config);
    let replayed = trail.replay(id).unwrap();
    assert_eq!(replayed.request_body.bytes.len(), 100_000);
    assert_eq!(replayed.released_body.bytes, vec![2; 100_000]);
    assert_eq!(replayed.released_body.total, Some(250_000));
    assert_eq!(replayed.released_body.cut.as_deref(), Some("limit"));
    assert_eq!(replayed.released_body.verified, None);
    let end = trail
        .show(id)
        .unwrap()
        .entry("call.end")
        .unwrap()
        .fields
        .clone();
    assert_eq!(end["released"]["captured"], 100_000);
}

#[tokio::test]
async fn content_beyond_a_principals_quota_is_cut_and_records_are_still_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.capture_bytes_per_hour = 50_000;
    super::super::Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    let (first, second) = (call(), call());
    for id in [first, second] {
        let record = begin(&recorder, id, &[1; 30_000]).await.unwrap();
        record.close(End::new(Outcome::Ok)).await.unwrap();
    }
    let trail = trail(&config);
    assert_eq!(
        trail.replay(first).unwrap().request_body.bytes.len(),
        30_000
    );
    let cut = trail.replay(second).unwrap().request_body;
    assert_eq!((cut.bytes.len(), cut.cut.as_deref()), (0, Some("quota")));
    assert_eq!(trail.show(second).unwrap().summary.outcome, "ok");
}

#[tokio::test]
async fn what_a_refused_caller_sent_counts_against_its_quota_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.capture_bytes_per_hour = 50_000;
    super::super::Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    let input = json!({ "input": "x".repeat(30_000) });
    let mut told = Vec::new();
    for _ in 0..2 {
        let event = denied_with("denied", "mallory", input.clone());
        let Event::Denied { call: id, .. } = &event else {
            panic!("{event:?}");
        };
        let id = *id;
        recorder.note(event).await.unwrap();
        let entry = trail(&config).show(id).unwrap().entries.remove(0);
        told.push((
            entry.fields["cut"].clone(),
            entry.content.unwrap().to_string().len() > 30_000,
        ));
    }
    assert_eq!(told, [(json!(null), true), (json!("quota"), false)]);
}

fn denied(reason: &'static str, subject: &str) -> Event {
    denied_with(
        reason,
        subject,
        json!({"method": "GET", "target": "/admin"}),
    )
}

fn denied_with(reason: &'static str, subject: &str, content: serde_json::Value) -> Event {
    Event::Denied {
        call: call(),
        who: who(subject),
        connection: Some("payments".parse().unwrap()),
        function: None,
        reason,
        policies: vec!["no-refunds".to_owned()],
        config_version: "c".to_owned(),
        policy_version: "p".to_owned(),
        shadowed: None,
        content,
    }
}

#[tokio::test]
async fn calls_are_listed_newest_first_and_by_filter() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let done = call();
    let record = begin(&recorder, done, b"x").await.unwrap();
    record
        .close(End::new(Outcome::UpstreamError))
        .await
        .unwrap();
    recorder.note(denied("not_found", "mallory")).await.unwrap();
    recorder.note(denied("denied", "mallory")).await.unwrap();
    let trail = trail(&config);
    let list = |filter: Filter| -> Vec<_> { trail.calls(filter).map(Result::unwrap).collect() };
    let all = list(Filter::default());
    let outcomes: Vec<_> = all.iter().map(|c| c.outcome.as_str()).collect();
    assert_eq!(outcomes, ["denied", "denied", "upstream_error"]);
    let unknown = list(Filter {
        unknown: true,
        ..Filter::default()
    });
    assert_eq!(unknown.len(), 1);
    assert_eq!(unknown[0].tried.as_ref().unwrap()["target"], "/admin");
    let principal = Some(("corp".to_owned(), "mallory".to_owned()));
    assert_eq!(
        list(Filter {
            principal,
            ..Filter::default()
        })
        .len(),
        2
    );
    let principal = Some(("corp".to_owned(), "nobody".to_owned()));
    assert!(
        list(Filter {
            principal,
            ..Filter::default()
        })
        .is_empty()
    );
    let connection = Some("payments".to_owned());
    assert_eq!(
        list(Filter {
            connection,
            ..Filter::default()
        })
        .len(),
        1
    );
    assert!(
        list(Filter {
            until: Some(Timestamp::from_secs(1)),
            ..Filter::default()
        })
        .is_empty()
    );
}

#[tokio::test]
async fn proof_verifies_with_the_logs_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let mut record = begin(&recorder, id, b"x").await.unwrap();
    record.released(b"y").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    let trail = trail(&config);
    let text = trail.prove(id).unwrap();
    let proof = tlog::proof::InclusionProof::parse(text.as_bytes()).unwrap();
    proof.verify_carried(trail.verifier_key(), &[]).unwrap();
    let leaf: serde_json::Value = serde_json::from_slice(proof.extra.as_ref().unwrap()).unwrap();
    assert_eq!(leaf["call"], id.to_string());
    assert_eq!(leaf["kind"], "call.end");
    assert!(matches!(trail.prove(call()), Err(Error::UnknownCall(_))));
}

#[tokio::test]
async fn trail_follows_a_running_recorder() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let mut trail = trail(&config);
    let rounds = 300;
    for n in 0..rounds {
        let record = begin(&recorder, call(), &noise(n, 3000)).await.unwrap();
        record.close(End::new(Outcome::Ok)).await.unwrap();
        if n % 50 == 0 {
            trail.refresh().unwrap();
            assert_eq!(trail.records(), 3 + 2 * n);
        }
    }
    // Several segments by now.
    assert!(std::fs::read_dir(config.dir.join("wal")).unwrap().count() > 4);
    trail.refresh().unwrap();
    let report = trail.verify(&VerifyOptions::default()).unwrap();
    assert_eq!((report.verdict, report.records), (Verdict::Intact, 601));
}

// A19
#[tokio::test]
async fn shredded_subjects_content_is_gone_and_every_proof_still_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let (gone, kept) = (call(), call());
    let record = begin(&recorder, gone, b"private").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let job = begin_job(&recorder, kept, "bob", Some(b"other"), Durability::Both);
    let record = recorder.begin_job(job).await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let backup = std::fs::read(config.dir.join("keys/subjects")).unwrap();
    let dead = recorder.shred("corp", "alice", None).await.unwrap();
    assert!(matches!(
        recorder.shred("corp", "alice", None).await,
        Err(EraseError::Unknown { .. })
    ));
    recorder.shutdown().await;
    let check = || {
        let trail = trail(&config);
        assert!(matches!(trail.replay(gone), Err(Error::Erased(..))));
        let story = trail.show(gone).unwrap();
        assert_eq!(story.summary.subject_ref, dead);
        for entry in &story.entries {
            assert_eq!((&entry.content, entry.erased.is_some()), (&None, true));
        }
        // Who asks for the name gets nothing: it leads to the pseudonym no more.
        let filter = Filter {
            principal: Some(("corp".to_owned(), "alice".to_owned())),
            ..Filter::default()
        };
        assert!(trail.calls(filter).all(|found| found.unwrap().call != gone));
        assert_eq!(trail.replay(kept).unwrap().request_body.bytes, b"other");
        assert_eq!(trail.show(gone).unwrap().summary.subject, None);
        let report = trail.verify(&VerifyOptions::default()).unwrap();
        assert_eq!(report.verdict, Verdict::Intact);
    };
    check();
    // A backup of the keyring does not bring the key back: not to a reader, not to the next start.
    std::fs::write(config.dir.join("keys/subjects"), backup).unwrap();
    check();
    let (recorder, recovery) = open(&config).unwrap();
    assert_eq!(recovery.erased, 1);
    // The same person is another pseudonym from now on.
    let again = call();
    let record = begin(&recorder, again, b"new").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    check();
    let trail = trail(&config);
    let reference = |id| trail.show(id).unwrap().summary.subject_ref;
    assert_ne!(reference(gone), reference(again));
}

#[tokio::test]
async fn nothing_is_erased_while_a_hold_stands_and_holds_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    let id = call();
    let record = begin(&recorder, id, b"wanted").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    let on_subject = Held::Subject {
        issuer: "corp".to_owned(),
        subject: "alice".to_owned(),
    };
    let first = recorder
        .hold(on_subject, "case 7", who("officer"))
        .await
        .unwrap();
    let on_call = Held::Call {
        call: id,
        subject_ref: trail(&config).show(id).unwrap().summary.subject_ref,
    };
    let second = recorder
        .hold(on_call, "case 8", who("officer"))
        .await
        .unwrap();
    recorder.shutdown().await;
    let (recorder, _) = open(&config).unwrap();
    let shred = async || recorder.shred("corp", "alice", None).await;
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    assert_eq!(shred().await, Err(EraseError::Held(both)));
    recorder
        .release(&first, "closed", who("officer"))
        .await
        .unwrap();
    assert_eq!(
        recorder.release(&first, "again", who("officer")).await,
        Err(EraseError::NoHold(first))
    );
    assert_eq!(shred().await, Err(EraseError::Held(vec![second.clone()])));
    let holds = trail(&config).holds().unwrap();
    let standing: Vec<String> = holds.into_iter().map(|h| h.id).collect();
    assert_eq!(standing, vec![second.clone()]);
    recorder
        .release(&second, "closed", who("officer"))
        .await
        .unwrap();
    assert!(shred().await.is_ok());
    recorder.shutdown().await;
    // The call's story has its hold; the name stands nowhere any more.
    let story = trail(&config).show(id).unwrap();
    let kinds: Vec<&str> = story.entries.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["call.begin", "call.end", "hold.place", "hold.release"]
    );
    assert_eq!(story.summary.outcome, "ok");
    let (recorder, _) = open(&config).unwrap();
    let held = Held::Call {
        call: id,
        subject_ref: story.summary.subject_ref,
    };
    assert_eq!(
        recorder.hold(held, "late", who("officer")).await,
        Err(EraseError::Gone(id))
    );
}
