//! A log in a temporary directory, and calls to put into it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::entry::Who;
use super::super::job::BeginJob;
use super::super::{Config, Error, OpenRecord, Recorder, Recovery, Unavailable};
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
pub(crate) fn begin_job(
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
