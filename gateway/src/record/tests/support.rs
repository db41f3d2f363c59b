//! A log in a temporary directory, and calls to put into it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::entry::{Event, Vote, Who};
use super::super::job::BeginJob;
use super::super::{
    ApprovalRef, Config, End, Error, OpenRecord, Outcome, Recorder, Recovery, Unavailable,
};
use crate::call::{CallId, Durability};
use crate::clock::{SystemClock, Timestamp};
use crate::disk::{Disk, RealDisk};

/// A config for tests: small segments, heads at once, no demand on free space.
pub(crate) fn config(dir: &Path) -> Config {
    Config {
        segment_bytes: 256 * 1024,
        free_bytes_min: 0,
        head_every: Duration::from_millis(10),
        ..Config::new(
            dir.join("audit"),
            "example.com/log".to_owned(),
            "a".to_owned(),
        )
    }
}

pub(crate) fn who(subject: &str) -> Who {
    Who {
        issuer: "corp".to_owned(),
        subject: subject.to_owned(),
        kind: "agent",
        method: "jwt",
        key_id: Some("k1".to_owned()),
        algorithm: Some("ES256"),
        actor: None,
    }
}

/// Open the log; the one before it may still be giving up its lock.
pub(crate) fn open_on(
    config: &Config,
    disk: &Arc<dyn Disk>,
) -> Result<(Recorder, Recovery), Error> {
    for _ in 0..500 {
        match Recorder::open(config.clone(), Arc::clone(disk), Arc::new(SystemClock)) {
            Err(Error::Locked { .. }) => std::thread::sleep(Duration::from_millis(5)),
            other => return other,
        }
    }
    panic!("the lock is not given up")
}

pub(crate) fn open(config: &Config) -> Result<(Recorder, Recovery), Error> {
    open_on(config, &(Arc::new(RealDisk) as Arc<dyn Disk>))
}

/// A new log in `dir`, opened.
pub(crate) fn fresh(dir: &Path) -> (Config, Recorder) {
    let config = config(dir);
    Recorder::init(&config, &RealDisk).unwrap();
    let (recorder, _) = open(&config).unwrap();
    (config, recorder)
}

pub(crate) fn call() -> CallId {
    CallId::new(Timestamp::from_secs(1_800_000_000))
}

/// A begin of `subject` with this body (`None`: it streams).
pub(in super::super) fn begin_job(
    recorder: &Recorder,
    call: CallId,
    subject: &str,
    body: Option<&[u8]>,
    durability: Durability,
) -> BeginJob {
    let who = who(subject);
    let key = recorder.content_key(&who, *call.as_bytes()).unwrap();
    BeginJob {
        call,
        key,
        principal: json!({"issuer": who.issuer, "subject": who.subject}),
        who,
        function: "payments/createRefund".to_owned(),
        effect: "write",
        received: Timestamp::from_secs(1_800_000_000),
        source: "192.0.2.7".to_owned(),
        tls: true,
        protocol: "http/1.1",
        method: "POST".to_owned(),
        policies: vec!["allow-refunds".to_owned()],
        shadowed: None,
        observed: None,
        approval: None,
        credential: None,
        upstream: "payments.internal:8443".to_owned(),
        head: json!({"method": "POST", "target": "/refunds?to=secret-path", "headers": [["x-a", "1"]]}),
        body: body.map(bytes::Bytes::copy_from_slice),
        config_version: "c1".to_owned(),
        policy_version: "p1".to_owned(),
        mask: "on",
        durability,
        context: json!({"action": "payments/createRefund", "ratio": 0.1}),
        ack: None,
    }
}

pub(crate) async fn begin(
    recorder: &Recorder,
    call: CallId,
    body: &[u8],
) -> Result<OpenRecord, Unavailable> {
    let job = begin_job(recorder, call, "alice", Some(body), Durability::Both);
    recorder.begin_job(job).await
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// A call that people were asked about, with everything that is recorded of it, under policies of this
/// version and text.
pub(crate) async fn asked_and_answered(
    recorder: &Recorder,
    bodies: (&[u8], &[u8]),
    policies: (&str, &serde_json::Value),
) -> CallId {
    let id = call();
    let approval = "apr-1".to_owned();
    let (version, texts) = policies;
    let mut events = vec![
        Event::ConfigChange {
            config_version: "c1".to_owned(),
            policy_version: version.to_owned(),
            who: Who::operator(),
            removed: Vec::new(),
            content: json!({ "start": true, "policies": texts }),
        },
        Event::ApprovalAsked {
            approval: approval.clone(),
            call: id,
            who: who("alice"),
            function: "payments/createRefund".parse().unwrap(),
            rules: vec!["large-refunds".to_owned()],
            binding: "b1".to_owned(),
            shadowed: None,
            expires: Timestamp::from_secs(1_800_000_900),
            grants: Vec::new(),
            content: json!({ "input": { "amount": 7 } }),
        },
        Event::ApprovalVoted {
            approval: approval.clone(),
            call: id,
            rule: "large-refunds".to_owned(),
            who: who("bob"),
            vote: Vote::Allow,
            binding: "b1".to_owned(),
            grant: None,
            content: json!({ "reason": "looks \u{202e}right" }),
        },
        Event::ApprovalExecuted {
            approval: approval.clone(),
            call: id,
            fence: 1,
            binding: "b1".to_owned(),
        },
    ];
    for event in events.drain(..) {
        recorder.note(event).await.unwrap();
    }
    let mut job = begin_job(recorder, id, "alice", Some(bodies.0), Durability::Both);
    version.clone_into(&mut job.policy_version);
    job.approval = Some(ApprovalRef {
        id: approval,
        rules: vec!["large-refunds".to_owned()],
        fence: 1,
        grants: Vec::new(),
        broke_glass: false,
    });
    let mut record = recorder.begin_job(job).await.unwrap();
    record.released(bodies.1).await.unwrap();
    let end = End {
        status: Some(200),
        response_head: Some(json!({ "status": 200, "headers": [["a", "<b>"]] })),
        masked: [("email".to_owned(), 2)].into(),
        ..End::new(Outcome::Ok)
    };
    record.close(end).await.unwrap();
    id
}
