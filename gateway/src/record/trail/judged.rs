//! What policy was asked about recorded calls, to ask a draft of the policies the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::super::Error;
use super::super::frame::{Frame, Kind, Position};
use super::super::keyring::Subject;
use super::super::leaf::{Tag, nanos_from_text, unhex};
use super::super::seal::{self, ContentId, ContentKey, Part, SealedHead};
use super::super::segment;
use super::CallIndex;
use super::build::{Held, Slot};
use super::columns::{Chunk, Column};
use super::index::leaf_of;
use super::replay::{Pieces, open_part};
use super::saved;
use super::seen::Decided;
use crate::call::CallId;
use crate::clock::Timestamp;

/// Subjects' keys that are remembered at one time while records are opened.
const SUBJECTS_REMEMBERED_MAX: usize = 100_000;

/// A record of a decision as it lies in the log, still sealed: to be opened on any thread.
#[derive(Debug)]
pub struct SealedDecision {
    leaf: Vec<u8>,
    call: ContentId,
    pieces: Vec<((Part, u32), ContentId, Vec<u8>)>,
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

/// Keys of subjects, found once.
#[derive(Debug, Default)]
pub struct Opener(Mutex<HashMap<[u8; 16], Option<Subject>>>);

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
        let mut going = true;
        let mut each = |_: Position, frame: &Frame<'_>| {
            if let (Kind::Sealed, Some(head)) = (frame.kind, SealedHead::parse(frame.payload))
                && matches!(head.part, Part::Key | Part::Context)
            {
                pieces.push(((head.part, head.piece), head.id, frame.payload.to_vec()));
            }
            let Some(leaf) = leaf_of(frame) else {
                return Ok(());
            };
            let pieces = std::mem::take(&mut pieces);
            let told = matches!(leaf.tag, Tag::Begin | Tag::Other) && leaf.id != [0; 16];
            if going && told {
                going = visit(SealedDecision {
                    leaf: leaf.leaf.to_vec(),
                    call: leaf.id,
                    pieces,
                });
            }
            Ok(())
        };
        let to = self.built.walked.end;
        let disk = self.disk.as_ref();
        segment::range(disk, &self.files, &self.chain, (from, to), &mut each)
    }

    /// Behind which place the first call of that time or later begins.
    fn first_since(&self, since: Option<Timestamp>) -> Option<Position> {
        let since = since.map_or(0, Timestamp::millis);
        let slot = self
            .built
            .slots
            .iter()
            .find(|slot| slot.span_ms.1 >= since)?;
        let chunk = self.unpacked(slot)?;
        let from = since.saturating_sub(chunk.base.ms);
        let times = chunk.column(Column::Time);
        let row = times.iter().position(|ms| u64::from(*ms) >= from)?;
        Some(chunk.start(row).at)
    }

    fn unpacked(&self, slot: &Slot) -> Option<Chunk> {
        match &slot.held {
            Held::Open(chunk) => Some(Chunk::clone(chunk)),
            Held::Packed(packed) => packed.open(),
            Held::File(name) => saved::load(self.disk.as_ref(), &self.files, name)?.open(),
        }
    }

    /// Open a record; `None` when it is of no decision that policy made.
    pub fn open_decision(&self, sealed: &SealedDecision, opener: &Opener) -> Option<Judged> {
        let fields: Value = serde_json::from_slice(&sealed.leaf).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let words = |name: &str| {
            let words = fields.get(name).and_then(Value::as_array);
            let words = words.into_iter().flatten().filter_map(Value::as_str);
            words.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let (decided, policies) = match text("kind")? {
            "call.begin" if fields.get("approval").is_none() => (Decided::Allow, words("policies")),
            "call.deny" if text("reason") == Some("denied") => (Decided::Deny, words("policies")),
            "approval.ask" => (Decided::Ask, words("rules")),
            _ => return None,
        };
        let id = text("content_id").and_then(unhex).unwrap_or(sealed.call);
        let content = match self.sealed_context(id, sealed, opener) {
            None => Err(Unopened::Key),
            Some(content) => judged_content(&fields, &content).ok_or(Unopened::NotKept),
        };
        Some(Judged {
            call: CallId::from_bytes(sealed.call),
            index: fields.get("seq").and_then(Value::as_u64)?,
            at: nanos_from_text(text("t")?)?,
            function: text("function")?.to_owned(),
            decided,
            policies,
            content,
        })
    }

    fn sealed_context(
        &self,
        id: ContentId,
        sealed: &SealedDecision,
        opener: &Opener,
    ) -> Option<Value> {
        let own = sealed.pieces.iter().filter(|(_, of, _)| *of == id);
        let pieces: Pieces = own
            .map(|(place, _, payload)| (*place, payload.clone()))
            .collect();
        let (salt, reference) = seal::key_parts(pieces.get(&(Part::Key, 0))?)?;
        let subject = {
            let mut known = opener.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= SUBJECTS_REMEMBERED_MAX {
                known.clear();
            }
            let find = || self.subject(&reference);
            known.entry(reference).or_insert_with(find).clone()
        };
        let key = ContentKey::derive(id, reference, salt, &subject?.key).ok()?;
        serde_json::from_slice(&open_part(&key, &pieces, Part::Context)?).ok()
    }
}

/// What was judged, out of a begin's sealed part, or out of the `judged` of a denial or a question.
fn judged_content(fields: &Value, content: &Value) -> Option<JudgedContent> {
    if let Some(inner) = content.get("content") {
        let judged = inner.get("judged")?;
        return parsed(judged, judged, inner.get("input")?);
    }
    parsed(content, fields, content.get("policy")?)
}

fn parsed(sealed: &Value, clear: &Value, input: &Value) -> Option<JudgedContent> {
    let text = |of: &Value, name: &str| of.get(name)?.as_str().map(ToOwned::to_owned);
    let principal = sealed.get("principal")?;
    // Older records kept no exposed claims.
    principal.get("exposed")?;
    Some(JudgedContent {
        principal: principal.clone(),
        input: input.clone(),
        received: nanos_from_text(sealed.get("received")?.as_str()?)?,
        source: text(sealed, "source")?,
        tls: clear.get("tls")?.as_bool()?,
        protocol: text(clear, "protocol")?,
        method: text(clear, "method")?,
    })
}
