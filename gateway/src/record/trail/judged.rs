//! What policy was asked about recorded calls, to ask a draft of the policies the same.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::Error;
use super::super::frame::{Frame, Kind, Position};
use super::super::leaf::{Tag, nanos_from_text, unhex};
use super::super::reading;
use super::super::seal::{ContentId, ContentKey, KeyParts, Part, SealedHead};
use super::CallIndex;
use super::build::{Held, Slot};
use super::columns::{Chunk, Column};
use super::index::leaf_of;
use super::replay::{Pieces, open_part};
use super::saved;
use super::seen::Decided;
use super::story::Would;
use crate::call::CallId;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// Subjects' keys that are remembered at one time while records are opened.
const SUBJECTS_REMEMBERED_MAX: usize = 100_000;

/// A record of a decision as it lies in the log, still sealed: to be opened on any thread.
#[derive(Debug)]
pub struct SealedDecision {
    leaf: Vec<u8>,
    call: ContentId,
    pieces: SealedPieces,
}

type SealedPieces = Vec<((Part, u32), ContentId, Vec<u8>)>;

/// What a record of a decision states in clear. Everything else in it is skipped without being kept.
#[derive(Deserialize)]
struct Told<'l> {
    #[serde(borrow)]
    kind: Cow<'l, str>,
    #[serde(borrow)]
    t: Cow<'l, str>,
    seq: u64,
    #[serde(borrow, default)]
    function: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    reason: Option<Cow<'l, str>>,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    rules: Vec<String>,
    #[serde(borrow, default)]
    content_id: Option<Cow<'l, str>>,
    #[serde(default)]
    approval: Option<IgnoredAny>,
    #[serde(borrow, default)]
    observed: Option<&'l RawValue>,
    #[serde(borrow, default)]
    request: Option<&'l RawValue>,
    #[serde(default)]
    tls: Option<bool>,
    #[serde(borrow, default)]
    protocol: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    method: Option<Cow<'l, str>>,
}

/// How a call came, where a begin states it.
struct Clear {
    tls: Option<bool>,
    protocol: Option<String>,
    method: Option<String>,
}

/// What is sealed with a begin.
#[derive(Deserialize)]
struct SealedBegin {
    principal: Value,
    received: String,
    source: String,
    policy: Value,
}

/// Of a denial or a question.
#[derive(Deserialize)]
struct SealedOther {
    content: SealedContent,
}

#[derive(Deserialize)]
struct SealedContent {
    judged: SealedJudged,
    input: Value,
}

#[derive(Deserialize)]
struct SealedJudged {
    principal: Value,
    received: String,
    source: String,
    tls: bool,
    protocol: String,
    method: String,
}

fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok()
}

/// What policy was asked, and what it answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Judged {
    /// The call.
    pub call: CallId,
    /// Index of the record.
    pub index: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The function.
    pub function: String,
    /// The answer.
    pub decided: Decided,
    /// Ids of the policies that decided.
    pub policies: Vec<String>,
    /// What was judged, or why it cannot be had.
    pub content: Result<JudgedContent, Unopened>,
    /// What would have become of it, when its connection only observed.
    pub observed: Option<Would>,
    /// The request itself, of a call that passed without input that could be judged.
    pub request: Option<TriedRequest>,
}

/// A request that no declared function was called by, or that passed because its connection only
/// observed.
#[derive(Clone, PartialEq, Debug)]
pub struct Tried {
    /// Index of the record.
    pub index: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The function; `None` when the call was refused because there is none.
    pub function: Option<String>,
    /// The connection.
    pub connection: String,
    /// What would have become of it; `None` when it was refused.
    pub observed: Option<Would>,
    /// The request, or why it cannot be had.
    pub request: Result<TriedRequest, Unopened>,
}

/// The request, as far as it was kept.
#[derive(Clone, PartialEq, Debug)]
pub struct TriedRequest {
    /// Method, target and headers, as they were sent up. Of a call that was refused, without headers.
    pub head: Value,
    /// The body.
    pub body: TriedBody,
}

/// A body, as far as it was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TriedBody {
    /// All of it; there was none when it is empty.
    Whole(Vec<u8>),
    /// It streamed, or was longer than what is kept.
    Unkept,
    /// The call was refused before it was read.
    Unrecorded,
}

/// What policy saw.
#[derive(Clone, PartialEq, Debug)]
pub struct JudgedContent {
    /// Issuer, subject, kind, method, groups, actors, exposed claims.
    pub principal: Value,
    /// The typed input.
    pub input: Value,
    /// When the call was received.
    pub received: Timestamp,
    /// From where.
    pub source: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// `http/1.1` or `h2`.
    pub protocol: String,
    /// The method.
    pub method: String,
}

/// Why what was judged cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unopened {
    /// The subject was erased, or the keys are not here.
    Key,
    /// The record is of a version that did not keep it.
    NotKept,
}

impl Unopened {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "erased, or sealed under a key that is not here",
            Self::NotKept => "recorded by a version that did not keep what was judged",
        }
    }
}

/// By day and subject; none where it was destroyed.
type Materials = HashMap<(u64, [u8; 16]), Option<Secret<[u8; 32]>>>;

/// What contents' keys are made of, found once.
#[derive(Debug, Default)]
pub struct Opener(Mutex<Materials>);

impl CallIndex {
    /// Every record of a decision from a time on, oldest first, until `visit` says false. Begins of
    /// approved calls are left out: the question before them is the decision.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Missing`], [`Error::Disk`] when the log does not read back.
    pub fn decisions(
        &self,
        since: Option<Timestamp>,
        visit: &mut dyn FnMut(SealedDecision) -> bool,
    ) -> Result<(), Error> {
        let Some(from) = self.first_since(since) else {
            return Ok(());
        };
        let mut pieces = Vec::new();
        let mut each = |_: Position, frame: &Frame<'_>| {
            if let (Kind::Sealed, Some(head)) = (frame.kind, SealedHead::parse(frame.payload))
                && matches!(head.part, Part::Key | Part::Context | Part::Request)
            {
                pieces.push(((head.part, head.piece), head.id, frame.payload.to_vec()));
            }
            let Some(leaf) = leaf_of(frame) else {
                return Ok(ControlFlow::Continue(()));
            };
            let pieces = std::mem::take(&mut pieces);
            let told = matches!(leaf.tag, Tag::Begin | Tag::Other) && leaf.id != [0; 16];
            let going = !told
                || visit(SealedDecision {
                    leaf: leaf.leaf.to_vec(),
                    call: leaf.id,
                    pieces,
                });
            Ok(if going {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        };
        let to = self.built.walked.end;
        let disk = self.disk.as_ref();
        reading::range_until(disk, &self.files, &self.chain, (from, to), &mut each)
    }

    /// Behind which place the first call of that time or later begins.
    fn first_since(&self, since: Option<Timestamp>) -> Option<Position> {
        let since = since.map_or(0, Timestamp::millis);
        if since < self.built.floor_ms {
            // The index does not list calls of then any more.
            return Some(Position::default());
        }
        let slots = self.built.slots.iter();
        slots
            .filter(|slot| slot.span_ms.1 >= since)
            .find_map(|slot| {
                let chunk = self.unpacked(slot)?;
                let from = since.saturating_sub(chunk.base.ms);
                let times = chunk.column(Column::Time);
                let row = times.iter().position(|ms| u64::from(*ms) >= from)?;
                Some(chunk.start(row).at)
            })
    }

    fn unpacked(&self, slot: &Slot) -> Option<Chunk> {
        match &slot.held {
            Held::Open(chunk) => Some(Chunk::clone(chunk)),
            Held::Packed(packed) => packed.open(),
            Held::File(name) => saved::load(self.disk.as_ref(), &self.files, name)?.open(),
        }
    }

    /// Open a record; `None` when it is of no decision that policy made, or not one that is meant. What is
    /// not meant, by function and time, is not opened.
    pub fn open_decision(
        &self,
        sealed: SealedDecision,
        opener: &Opener,
        meant: &dyn Fn(&str, Timestamp) -> bool,
    ) -> Option<Judged> {
        let told: Told<'_> = serde_json::from_slice(&sealed.leaf).ok()?;
        let (decided, policies) = match told.kind.as_ref() {
            "call.begin" if told.approval.is_none() => (Decided::Allow, told.policies),
            "call.deny" if told.reason.as_deref() == Some("denied") => {
                (Decided::Deny, told.policies)
            }
            "approval.ask" => (Decided::Ask, told.rules),
            _ => return None,
        };
        let (at, function) = (nanos_from_text(&told.t)?, told.function?.into_owned());
        if !meant(&function, at) {
            return None;
        }
        let id = told.content_id.as_deref().and_then(unhex);
        let opened = self.opened(id.unwrap_or(sealed.call), sealed.pieces, opener);
        let observed = told.observed.and_then(value).as_ref().and_then(Would::read);
        let context = opened.as_ref().and_then(Opened::bytes);
        let clear = Clear {
            tls: told.tls,
            protocol: told.protocol.map(Cow::into_owned),
            method: told.method.map(Cow::into_owned),
        };
        let content = match context {
            None => Err(Unopened::Key),
            Some(bytes) => judged_content(clear, &bytes).ok_or(Unopened::NotKept),
        };
        let unjudged = observed.as_ref().is_some_and(Would::is_unjudged);
        let opened = opened.filter(|_| unjudged);
        let request = opened.and_then(|opened| opened.tried(told.request.and_then(value)));
        Some(Judged {
            call: CallId::from_bytes(sealed.call),
            index: told.seq,
            at,
            function,
            decided,
            policies,
            content,
            observed,
            request,
        })
    }

    /// Open a record; `None` when it is of no call that passed because its connection only observed, and of
    /// none that was refused because nobody declared it.
    pub fn open_tried(&self, sealed: SealedDecision, opener: &Opener) -> Option<Tried> {
        let fields: Value = serde_json::from_slice(&sealed.leaf).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let observed = fields.get("observed").and_then(Would::read);
        let function = text("function").map(ToOwned::to_owned);
        let connection = match (text("kind")?, &observed, &function) {
            ("call.begin", Some(_), Some(function)) => function.split_once('/')?.0.to_owned(),
            ("call.deny", None, None) if text("reason") == Some("not_found") => {
                text("connection")?.to_owned()
            }
            _ => return None,
        };
        let id = text("content_id").and_then(unhex).unwrap_or(sealed.call);
        let request = self
            .opened(id, sealed.pieces, opener)
            .ok_or(Unopened::Key)
            .and_then(|opened| {
                let told = fields.get("request").cloned();
                opened.tried(told).ok_or(Unopened::NotKept)
            });
        Some(Tried {
            index: fields.get("seq").and_then(Value::as_u64)?,
            at: nanos_from_text(text("t")?)?,
            function,
            connection,
            observed,
            request,
        })
    }

    fn opened(&self, id: ContentId, pieces: SealedPieces, opener: &Opener) -> Option<Opened> {
        let own = pieces.into_iter().filter(|(_, of, _)| *of == id);
        let pieces: Pieces = own.map(|(place, _, payload)| (place, payload)).collect();
        let parts = KeyParts::parse(pieces.get(&(Part::Key, 0))?)?;
        let material = {
            let mut known = opener.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= SUBJECTS_REMEMBERED_MAX {
                known.clear();
            }
            let find = || self.material(&parts);
            let known = known.entry((parts.day, parts.reference));
            known.or_insert_with(find).clone()
        };
        let key = ContentKey::derive(id, &parts, &material?).ok()?;
        Some(Opened { key, pieces })
    }
}

/// A record's sealed pieces, and the key to them.
struct Opened {
    key: ContentKey,
    pieces: Pieces,
}

impl Opened {
    fn bytes(&self) -> Option<Vec<u8>> {
        open_part(&self.key, &self.pieces, Part::Context)
    }

    fn context(&self) -> Option<Value> {
        serde_json::from_slice(&self.bytes()?).ok()
    }

    fn tried(&self, told: Option<Value>) -> Option<TriedRequest> {
        let context = self.context()?;
        if let Some(refused) = context.get("content") {
            return Some(TriedRequest {
                head: refused.clone(),
                body: TriedBody::Unrecorded,
            });
        }
        let told = told?;
        let number = |name: &str| told.get(name).and_then(Value::as_u64);
        let body = match (told.get("body"), number("bytes"), number("captured")) {
            (None, ..) | (Some(_), _, Some(_)) => TriedBody::Unkept,
            (Some(_), None | Some(0), None) => TriedBody::Whole(Vec::new()),
            (Some(_), Some(_), None) => {
                let bytes = open_part(&self.key, &self.pieces, Part::Request);
                bytes.map_or(TriedBody::Unkept, TriedBody::Whole)
            }
        };
        Some(TriedRequest {
            head: context.get("request")?.clone(),
            body,
        })
    }
}

/// What was judged, out of a begin's sealed part, or out of the `judged` of a denial or a question.
fn judged_content(clear: Clear, context: &[u8]) -> Option<JudgedContent> {
    let content = if let Ok(begin) = serde_json::from_slice::<SealedBegin>(context) {
        JudgedContent {
            principal: begin.principal,
            input: begin.policy,
            received: nanos_from_text(&begin.received)?,
            source: begin.source,
            tls: clear.tls?,
            protocol: clear.protocol?,
            method: clear.method?,
        }
    } else {
        let other: SealedOther = serde_json::from_slice(context).ok()?;
        let SealedContent { judged, input } = other.content;
        JudgedContent {
            principal: judged.principal,
            input,
            received: nanos_from_text(&judged.received)?,
            source: judged.source,
            tls: judged.tls,
            protocol: judged.protocol,
            method: judged.method,
        }
    };
    // Older records kept no exposed claims.
    content.principal.get("exposed")?;
    Some(content)
}
