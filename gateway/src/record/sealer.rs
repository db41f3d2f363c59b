//! The encoder: one thread that turns jobs into leaves and sealed frames, and numbers them.
//!
//! JSON, hashes, compression and encryption of what calls leave behind happen here, away from the
//! calls' own tasks; the order in which jobs come is the order of the log.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use aws_lc_rs::digest::{self, SHA256};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Error;
use super::document::{document, raw};
use super::entry::{Outcome, Who};
use super::event;
use super::frame::{self, Kind, LeafFrame};
use super::health::Shared;
use super::job::{BeginJob, EndJob, EventJob, Job, OrphanJob, PieceJob};
use super::keyring::Keyring;
use super::leaf::{Fields, Stamp, Tag, digest_frame, durability_word, hex};
use super::seal::{self, ContentId, ContentKey, Field, PIECE_BYTES, Part};
use super::segment::Expect;
use super::wal::Item;
use crate::call::CallId;
use crate::clock::{SharedClock, Timestamp};

/// A difference between wall time and the clock that does not step that is worth a record.
const STEP_NANOS_MIN: u64 = 5_000_000_000;

/// Subjects whose quota is counted at one time; beyond, counting starts anew.
const QUOTAS_MAX: usize = 100_000;

const HOUR_SECS: u64 = 3600;

/// What the encoder keeps of a call between its records.
struct Calling {
    begin: u64,
    sealed: digest::Context,
    captured: [u64; 2],
    over_quota: bool,
}

impl Calling {
    fn new(begin: u64) -> Self {
        Self {
            begin,
            sealed: digest::Context::new(&SHA256),
            captured: [0; 2],
            over_quota: false,
        }
    }

    const fn slot(part: Part) -> usize {
        match part {
            Part::Request => 0,
            Part::Key
            | Part::Context
            | Part::Released
            | Part::Ending
            | Part::MovedBegin
            | Part::MovedEnd
            | Part::Times => 1,
        }
    }
}

/// Settings of the encoder.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) instance: String,
    pub(super) capture_bytes_max: usize,
    pub(super) capture_bytes_per_hour: u64,
}

/// The encoder's state. Owned by its thread.
pub(super) struct Sealer {
    settings: Settings,
    keyring: Arc<Keyring>,
    shared: Arc<Shared>,
    clock: SharedClock,
    zstd: zstd::bulk::Compressor<'static>,
    next: Expect,
    calls: HashMap<ContentId, Calling>,
    quota_hour: u64,
    quota: HashMap<[u8; seal::REFERENCE_BYTES], u64>,
    /// Wall time and steady time of the record before.
    last: Option<(Timestamp, u64)>,
}

/// Frames of one item while they are made.
struct Frames {
    bytes: Vec<u8>,
    start: Expect,
    sealed: digest::Context,
}

impl Sealer {
    pub(super) fn new(
        settings: Settings,
        keyring: Arc<Keyring>,
        shared: Arc<Shared>,
        clock: SharedClock,
        next: Expect,
    ) -> Result<Self, Error> {
        Ok(Self {
            settings,
            keyring,
            shared,
            clock,
            zstd: seal::compressor()?,
            next,
            calls: HashMap::new(),
            quota_hour: 0,
            quota: HashMap::new(),
            last: None,
        })
    }

    /// Encode what comes until nobody can send any more.
    pub(super) fn run(mut self, jobs: &mut mpsc::Receiver<Job>, items: &SyncSender<Item>) {
        while let Some(job) = jobs.blocking_recv() {
            if let Some(step) = self.clock_step() {
                let recorded = event::Recorded::ClockStep { step_ms: step };
                let item = self.event(EventJob {
                    event: recorded,
                    ack: None,
                    room: None,
                });
                if items.send(item).is_err() {
                    return;
                }
            }
            let item = match job {
                Job::Begin(job) => self.begin(*job),
                Job::Piece(job) => self.piece(*job),
                Job::End(job) => self.end(*job),
                Job::Event(job) => self.event(*job),
                Job::Orphan(job) => self.orphan(*job),
                Job::Stop => {
                    jobs.close();
                    continue;
                }
            };
            if items.send(item).is_err() {
                return;
            }
        }
    }

    /// How far wall time has moved against steady time since the record before, when it is much.
    fn clock_step(&mut self) -> Option<i64> {
        let now = (self.clock.now(), self.shared.now_us());
        let before = self.last.replace(now)?;
        let steady = now.1.saturating_sub(before.1).saturating_mul(1000);
        let expected = before.0.nanos().saturating_add(steady);
        let step = now.0.nanos().abs_diff(expected);
        if step < STEP_NANOS_MIN {
            return None;
        }
        let step_ms = i64::try_from(step / 1_000_000).unwrap_or(i64::MAX);
        Some(if now.0.nanos() < expected {
            -step_ms
        } else {
            step_ms
        })
    }

    fn fields(&self, kind: &'static str) -> Fields {
        Fields::new(
            kind,
            &Stamp {
                seq: self.next.leaf,
                at: self.clock.now(),
                mono_us: self.shared.now_us(),
                instance: &self.settings.instance,
            },
        )
    }

    fn frames(&self, sealed: digest::Context) -> Frames {
        Frames {
            bytes: Vec::with_capacity(2048),
            start: self.next,
            sealed,
        }
    }

    fn put(&mut self, frames: &mut Frames, kind: Kind, payload: &[u8]) {
        digest_frame(&mut frames.sealed, kind.byte(), payload);
        frame::put(&mut frames.bytes, kind, self.next.seq, &[payload]);
        self.next.seq += 1;
    }

    /// Seal `bytes` in pieces numbered from `first`; returns what could not be sealed as an error.
    fn seal_all(
        &mut self,
        frames: &mut Frames,
        key: &ContentKey,
        part: Part,
        first: u32,
        bytes: &[u8],
    ) {
        let pieces = bytes.chunks(PIECE_BYTES).count().max(1);
        let mut chunks = bytes.chunks(PIECE_BYTES);
        for (number, at) in (first..).zip(0..pieces) {
            let chunk = chunks.next().unwrap_or_default();
            match key.seal(&mut self.zstd, part, number, at + 1 == pieces, chunk) {
                Ok(payload) => self.put(frames, Kind::Sealed, &payload),
                // The commitment stands in the leaf; the content is missing and replay says so.
                Err(error) => tracing::error!(error = %error, "cannot seal a call's content"),
            }
        }
    }

    /// Close the item with its leaf.
    fn leaf(
        &mut self,
        mut frames: Frames,
        mut fields: Fields,
        id: ContentId,
        tag: Tag,
        moving: Option<(&ContentKey, Part)>,
        ack: Option<oneshot::Sender<u64>>,
    ) -> Item {
        let sealed = frames.sealed.clone();
        fields.hex("sealed", &seal::finish(sealed));
        let text = fields.finish().unwrap_or_else(|long| {
            let (mut fields, moved) = *long;
            if let Some((key, part)) = moving {
                // The moved fields are sealed in frames of their own, so the digest is stated anew.
                let bytes = serde_json::to_vec(&moved).unwrap_or_default();
                self.seal_all(&mut frames, key, part, 0, &bytes);
                fields.hex("sealed", &seal::finish(frames.sealed.clone()));
            }
            fields.text()
        });
        let leaf = LeafFrame {
            index: self.next.leaf,
            tag,
            id,
            leaf: &text,
        };
        leaf.put(&mut frames.bytes, self.next.seq);
        self.next.seq += 1;
        self.next.leaf += 1;
        Item {
            frames: frames.bytes,
            start: frames.start,
            end: self.next,
            leaf: Some(tlog::tree::leaf_hash(&text)),
            ack,
            room: None,
        }
    }

    /// Whether `bytes` more of this subject's content are within its quota.
    fn grant(&mut self, reference: [u8; seal::REFERENCE_BYTES], bytes: usize) -> bool {
        let hour = self.clock.now().secs() / HOUR_SECS;
        if hour != self.quota_hour || self.quota.len() >= QUOTAS_MAX {
            self.quota_hour = hour;
            self.quota.clear();
        }
        let used = self.quota.entry(reference).or_default();
        let after = used.saturating_add(bytes as u64);
        if after > self.settings.capture_bytes_per_hour {
            return false;
        }
        *used = after;
        true
    }

    fn begin(&mut self, job: BeginJob) -> Item {
        let key = Arc::clone(&job.key);
        let mut calling = Calling::new(self.next.leaf);
        let mut frames = self.frames(calling.sealed.clone());
        self.put(&mut frames, Kind::Sealed, &key.key_payload());
        let head = raw(&job.head);
        let context = raw(&job.context);
        let document = document(&job.about(), &[("request", &head), ("policy", &context)]);
        self.seal_all(&mut frames, &key, Part::Context, 0, document.as_bytes());
        if let Some(body) = job.body.as_deref().filter(|body| !body.is_empty()) {
            let kept = body.get(..self.settings.capture_bytes_max).unwrap_or(body);
            if self.grant(key.reference(), kept.len()) {
                self.seal_all(&mut frames, &key, Part::Request, 0, kept);
                calling.captured = [kept.len() as u64, 0];
            } else {
                calling.over_quota = true;
            }
        }
        let fields = self.begin_fields(&job, &key, &head, &context, &calling);
        let moving = Some((key.as_ref(), Part::MovedBegin));
        self.calls.insert(key.id(), calling);
        self.leaf(frames, fields, key.id(), Tag::Begin, moving, job.ack)
    }

    /// Who acts for the caller, as a pseudonym of their own.
    fn actor(&self, leaf: &mut Fields, who: &Who) {
        let Some((issuer, subject)) = &who.actor else {
            return;
        };
        match self.keyring.subject(issuer, subject, self.clock.now()) {
            Ok(actor) => leaf.hex("actor_ref", &actor.reference),
            // The actor stands in the sealed part all the same.
            Err(error) => tracing::error!(error = %error, "no pseudonym for an actor"),
        }
    }

    fn begin_fields(
        &self,
        job: &BeginJob,
        key: &ContentKey,
        head: &RawValue,
        context: &RawValue,
        calling: &Calling,
    ) -> Fields {
        let mut leaf = self.fields("call.begin");
        leaf.word("call", &job.call.to_string());
        leaf.who(&job.who, &key.reference());
        self.actor(&mut leaf, &job.who);
        leaf.word("function", &job.function);
        leaf.word("effect", job.effect);
        leaf.word("upstream", &job.upstream);
        leaf.word("protocol", job.protocol);
        leaf.word("method", &job.method);
        leaf.truth("tls", job.tls);
        leaf.words("policies", &job.policies);
        leaf.shadowed(job.shadowed.as_ref());
        leaf.observed(job.observed.as_ref());
        if let Some(approval) = &job.approval {
            let rules = approval.rules.as_slice();
            let mut members = vec![
                ("id", approval.id.as_str().into()),
                ("rules", rules.into()),
                ("fence", approval.fence.into()),
            ];
            if !approval.grants.is_empty() {
                members.push(("grants", approval.grants.as_slice().into()));
            }
            if approval.broke_glass {
                members.push(("break_glass", true.into()));
            }
            leaf.object("approval", members);
        }
        if let Some(credential) = &job.credential {
            let version = credential.version.as_str();
            leaf.object(
                "credential",
                vec![
                    ("name", credential.name.as_str().into()),
                    ("version", version.into()),
                ],
            );
        }
        leaf.word("config_version", &job.config_version);
        leaf.word("policy_version", &job.policy_version);
        leaf.word("mask", job.mask);
        leaf.word("durability", durability_word(job.durability));
        let mut request = vec![("head", commit(key, Field::RequestHead, head.get()))];
        if let Some(body) = &job.body {
            let commitment = key.commit(Field::RequestBody, body);
            request.push(("body", hex(&commitment).into()));
            request.push(("bytes", (body.len() as u64).into()));
            request.extend(cut(body.len() as u64, calling.captured[0], calling));
        }
        leaf.object("request", request);
        leaf.hex(
            "context",
            &key.commit(Field::Context, context.get().as_bytes()),
        );
        leaf
    }

    fn piece(&mut self, job: PieceJob) -> Item {
        let id = job.key.id();
        let granted = job.bytes.is_empty() || self.grant(job.key.reference(), job.bytes.len());
        let Some(mut calling) = self.calls.remove(&id) else {
            // Its call has ended: nothing may follow the end record.
            return self.nothing(job.room);
        };
        calling.over_quota |= !granted;
        let mut frames = self.frames(calling.sealed.clone());
        if !job.bytes.is_empty() && !calling.over_quota {
            match job
                .key
                .seal(&mut self.zstd, job.part, job.piece, false, &job.bytes)
            {
                Ok(payload) => self.put(&mut frames, Kind::Sealed, &payload),
                Err(error) => tracing::error!(error = %error, "cannot seal a call's content"),
            }
            if let Some(captured) = calling.captured.get_mut(Calling::slot(job.part)) {
                *captured += job.bytes.len() as u64;
            }
        }
        self.times(
            &mut frames,
            &job.key,
            job.times.filter(|_| !calling.over_quota),
        );
        if let Some((bytes, commitment)) = job.progress {
            let payload = seal::progress_payload(id, job.part, bytes, &commitment);
            self.put(&mut frames, Kind::Progress, &payload);
        }
        calling.sealed = frames.sealed.clone();
        self.calls.insert(id, calling);
        Item {
            frames: frames.bytes,
            start: frames.start,
            end: self.next,
            leaf: None,
            ack: None,
            room: job.room,
        }
    }

    fn times(&mut self, frames: &mut Frames, key: &ContentKey, piece: Option<(u32, Vec<u8>)>) {
        if let Some((number, bytes)) = piece {
            self.seal_all(frames, key, Part::Times, number, &bytes);
        }
    }

    fn nothing(&self, room: Option<OwnedSemaphorePermit>) -> Item {
        Item {
            frames: Vec::new(),
            start: self.next,
            end: self.next,
            leaf: None,
            ack: None,
            room,
        }
    }

    fn end(&mut self, job: EndJob) -> Item {
        let key = Arc::clone(&job.key);
        let Some(mut calling) = self.calls.remove(&key.id()) else {
            // The registry lets one end through for each begin; a second one would be a lie.
            return self.nothing(None);
        };
        let mut frames = self.frames(calling.sealed.clone());
        let flows = job.request.iter().map(|flow| (Part::Request, flow));
        let flows: Vec<_> = flows.chain([(Part::Released, &job.released)]).collect();
        for (part, flow) in flows {
            if flow.tail.is_empty() || calling.over_quota {
                continue;
            }
            if self.grant(key.reference(), flow.tail.len()) {
                self.seal_all(&mut frames, &key, part, flow.piece, &flow.tail);
                if let Some(captured) = calling.captured.get_mut(Calling::slot(part)) {
                    *captured += flow.tail.len() as u64;
                }
            } else {
                calling.over_quota = true;
            }
        }
        let times = job.released.times.clone();
        self.times(&mut frames, &key, times.filter(|_| !calling.over_quota));
        let head = job.end.response_head.as_ref().map(raw);
        let trailers = job.end.trailers.as_ref().map(raw);
        let places = job.end.places.as_ref().map(raw);
        if head.is_some() || trailers.is_some() {
            let null = RawValue::NULL.to_owned();
            let or_null =
                |part: &Option<Box<RawValue>>| part.clone().unwrap_or_else(|| null.clone());
            let (head, trailers) = (or_null(&head), or_null(&trailers));
            let mut members = vec![("head", head.as_ref()), ("trailers", trailers.as_ref())];
            members.extend(places.as_deref().map(|places| ("places", places)));
            let ending = document(&serde_json::json!({}), &members);
            self.seal_all(&mut frames, &key, Part::Ending, 0, ending.as_bytes());
        }
        let mut leaf = self.fields("call.end");
        leaf.word("call", &CallId::from_bytes(key.id()).to_string());
        leaf.number("begin", calling.begin);
        self.end_fields(&mut leaf, &job, &calling);
        let part = |field, raw: &Option<Box<RawValue>>| {
            raw.as_ref()
                .map_or(Value::Null, |raw| commit(&key, field, raw.get()))
        };
        let flow = &job.released;
        let mut released = vec![
            ("head", part(Field::ReleasedHead, &head)),
            ("body", hex(&flow.commitment).into()),
            ("trailers", part(Field::ReleasedTrailers, &trailers)),
            ("bytes", flow.bytes.into()),
        ];
        released.extend(cut(flow.bytes, calling.captured[1], &calling));
        leaf.object("released", released);
        let moving = Some((key.as_ref(), Part::MovedEnd));
        self.leaf(frames, leaf, key.id(), Tag::End, moving, job.ack)
    }

    #[expect(clippy::unused_self, reason = "stands beside its siblings")]
    fn end_fields(&self, leaf: &mut Fields, job: &EndJob, calling: &Calling) {
        let end = &job.end;
        leaf.word("outcome", end.outcome.as_str());
        leaf.maybe_number("status", end.status.map(u64::from));
        leaf.maybe_word("why", job.why);
        leaf.maybe_word("error", end.error);
        for (name, counts) in [("masked", &end.masked), ("found", &end.found)] {
            leaf.counts(name, counts.iter().map(|(k, v)| (k.as_str(), *v)));
        }
        leaf.number("scrubbed", end.scrubbed);
        leaf.maybe_number("upstream_ms", end.upstream_ms);
        leaf.number("total_ms", end.total_ms);
        if let Some(flow) = &job.request {
            let mut request = vec![
                ("body", hex(&flow.commitment).into()),
                ("bytes", flow.bytes.into()),
            ];
            request.extend(cut(flow.bytes, calling.captured[0], calling));
            leaf.object("request", request);
        }
    }

    /// Nobody knows what became of the call; what is known is what was told of its streams.
    fn orphan(&mut self, job: OrphanJob) -> Item {
        let frames = self.frames(job.sealed);
        let mut leaf = self.fields("call.end");
        leaf.word("call", &CallId::from_bytes(job.id).to_string());
        leaf.number("begin", job.begin);
        leaf.word("outcome", Outcome::Indeterminate.as_str());
        leaf.word("why", "the gateway stopped before the call ended");
        for progress in &job.progress {
            let name = match progress.part {
                Part::Request => "request",
                Part::Key
                | Part::Context
                | Part::Released
                | Part::Ending
                | Part::MovedBegin
                | Part::MovedEnd
                | Part::Times => "released",
            };
            let members = vec![
                ("body", hex(&progress.commitment).into()),
                ("bytes", progress.bytes.into()),
                ("at_least", true.into()),
            ];
            leaf.object(name, members);
        }
        self.leaf(frames, leaf, job.id, Tag::End, None, None)
    }

    fn event(&mut self, job: EventJob) -> Item {
        let mut frames = self.frames(digest::Context::new(&SHA256));
        let mut leaf = self.fields(job.event.kind());
        let id = job.event.id();
        let now = self.clock.now();
        let key = job.event.who().and_then(|who| {
            let material = self.keyring.material(&who.issuer, &who.subject, now);
            ContentKey::new(seal::random().ok()?, &material.ok()?).ok()
        });
        if let (Some(key), Some(who)) = (&key, job.event.who()) {
            leaf.who(who, &key.reference());
            self.actor(&mut leaf, who);
            self.put(&mut frames, Kind::Sealed, &key.key_payload());
            let content = job.event.content().cloned().unwrap_or(Value::Null);
            let mut sealed = serde_json::json!({
                "subject": who.subject,
                "content": content,
            });
            if let (Some((issuer, subject)), Some(members)) = (&who.actor, sealed.as_object_mut()) {
                let actor = serde_json::json!({ "issuer": issuer, "subject": subject });
                members.insert("actor".to_owned(), actor);
            }
            let mut bytes = serde_json::to_vec(&sealed).unwrap_or_default();
            // Whoever is refused fills the disk no more than whoever is let through.
            if job.event.is_denial() && !self.grant(key.reference(), bytes.len()) {
                sealed["content"] = Value::Null;
                bytes = serde_json::to_vec(&sealed).unwrap_or_default();
                leaf.word("cut", "quota");
            }
            self.seal_all(&mut frames, key, Part::Context, 0, &bytes);
            leaf.hex("content_id", &key.id());
        }
        job.event.put(&mut leaf);
        let moving = key.as_ref().map(|key| (key, Part::MovedBegin));
        let tag = Tag::of(job.event.kind());
        Item {
            room: job.room,
            ..self.leaf(frames, leaf, id, tag, moving, job.ack)
        }
    }
}

/// What a leaf says when not all content was kept.
fn cut(bytes: u64, captured: u64, calling: &Calling) -> Vec<(&'static str, Value)> {
    if captured >= bytes {
        return Vec::new();
    }
    let why = if calling.over_quota { "quota" } else { "limit" };
    vec![("captured", captured.into()), ("cut", why.into())]
}

fn commit(key: &ContentKey, field: Field, text: &str) -> Value {
    hex(&key.commit(field, text.as_bytes())).into()
}
