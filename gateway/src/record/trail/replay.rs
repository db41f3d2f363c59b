//! Playback: what went up and what was released, out of the sealed frames. Nothing runs again.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::Error;
use super::super::frame::{Frame, Kind, Position};
use super::super::keyring::day_of;
use super::super::leaf::{nanos_from_text, unhex};
use super::super::reading;
use super::super::seal::{ContentId, ContentKey, Field, KeyParts, Part as Sealed, SealedHead};
use super::super::segment::Visit;
use super::super::times::{self, Group};
use super::Trail;
use crate::call::CallId;
use crate::secret::Secret;

/// One thing that was committed to, played back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Part {
    /// The bytes that were kept.
    pub bytes: Vec<u8>,
    /// How many there were; `None` when the record does not say (the call has no end).
    pub total: Option<u64>,
    /// Why not all were kept: `limit` or `quota`.
    pub cut: Option<String>,
    /// Whether the bytes match the commitment in the record; `None` when it cannot be told because not
    /// all are here.
    pub verified: Option<bool>,
}

/// A call, played back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Replayed {
    /// The request's head as it went up, JSON.
    pub request_head: Part,
    /// The request's body.
    pub request_body: Part,
    /// The policy request, JSON.
    pub context: Part,
    /// Status and headers as released, JSON.
    pub released_head: Part,
    /// The body as released.
    pub released_body: Part,
    /// Trailers as released, JSON.
    pub trailers: Part,
    /// When parts of the released body were released; empty for an answer in one go, and where it was
    /// not recorded.
    pub times: Vec<Group>,
}

impl Replayed {
    /// Whether everything that can be checked matches its commitment.
    pub fn verified(&self) -> bool {
        self.parts().iter().all(|part| part.verified != Some(false))
    }

    /// Whether content is missing.
    pub fn truncated(&self) -> bool {
        self.parts().iter().any(|part| part.cut.is_some())
    }

    const fn parts(&self) -> [&Part; 6] {
        [
            &self.request_head,
            &self.request_body,
            &self.context,
            &self.released_head,
            &self.released_body,
            &self.trailers,
        ]
    }
}

/// Sealed frames of one content, by part and piece.
pub(super) type Pieces = BTreeMap<(Sealed, u32), Vec<u8>>;

impl Trail {
    /// Frames of content `id` between two places.
    pub(super) fn pieces(
        &self,
        id: ContentId,
        from: Position,
        to: Position,
    ) -> Result<Pieces, Error> {
        let mut pieces = Pieces::new();
        let mut visit = |_: Position, frame: &Frame<'_>| {
            let head = SealedHead::parse(frame.payload).filter(|head| head.id == id);
            if let (Kind::Sealed, Some(head)) = (frame.kind, head) {
                pieces.insert((head.part, head.piece), frame.payload.to_vec());
            }
            Ok(())
        };
        self.range((from, to), &mut visit)?;
        Ok(pieces)
    }

    /// Every frame from one place up to another.
    pub(super) fn range(
        &self,
        places: (Position, Position),
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let index = &self.index;
        reading::range(
            index.disk.as_ref(),
            &index.files,
            &index.chain,
            places,
            visit,
        )
    }

    /// Behind which place what is sealed with `index` lies.
    pub(super) fn place_before(&self, index: u64) -> Result<Position, Error> {
        Ok(self.leaf_at(index)?.start)
    }

    fn key(&self, id: ContentId, pieces: &Pieces) -> Option<ContentKey> {
        let parts = KeyParts::parse(pieces.get(&(Sealed::Key, 0))?)?;
        ContentKey::derive(id, &parts, &self.material(&parts)?).ok()
    }

    /// What the key of a content is made of; none when that was destroyed.
    pub(super) fn material(&self, parts: &KeyParts) -> Option<Secret<[u8; 32]>> {
        self.index.material(parts)
    }

    /// One part of what is sealed with record `index`; `None` when it cannot be opened.
    pub(super) fn part_before(
        &self,
        index: u64,
        fields: &Value,
        part: Sealed,
    ) -> Result<Option<Vec<u8>>, Error> {
        let own = fields
            .get("content_id")
            .and_then(Value::as_str)
            .and_then(unhex);
        let call = fields.get("call").and_then(Value::as_str);
        let call = call.and_then(|call| call.parse::<CallId>().ok());
        let Some(id) = own.or_else(|| call.map(|call| *call.as_bytes())) else {
            return Ok(None);
        };
        // The key of a call stands with its begin.
        let begin = fields.get("begin").and_then(Value::as_u64).unwrap_or(index);
        let to = self.leaf_at(index)?.at;
        let mut pieces = self.pieces(id, self.place_before(begin)?, self.leaf_at(begin)?.at)?;
        let Some(key) = self.key(id, &pieces) else {
            return Ok(None);
        };
        if begin != index {
            pieces = self.pieces(id, self.place_before(index)?, to)?;
        }
        Ok(open_part(&key, &pieces, part))
    }

    /// The record that destroyed a key of what is sealed with a record of these fields: its subject's, or
    /// its day's.
    pub(super) fn erased_by(&self, fields: &Value) -> Option<u64> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let reference = text("subject_ref").and_then(unhex)?;
        let erased = self.index.built.erased.get(&reference).copied();
        let day = text("t").and_then(nanos_from_text).map(day_of);
        let expired = self.index.built.expired;
        let expired = expired.filter(|expired| day.is_some_and(|day| day < expired.before));
        // What is kept for a legal hold is there. A key may have been made before midnight, and its record
        // after.
        let kept = |day| {
            let ring = self.index.keyring();
            ring.is_some_and(|ring| ring.keeps(day, &reference))
        };
        let expired = expired.filter(|_| {
            day.is_none_or(|day| !kept(day) && day.checked_sub(1).is_none_or(|day| !kept(day)))
        });
        erased.or(expired.map(|expired| expired.record))
    }

    /// Play a call back.
    ///
    /// # Errors
    /// [`Error::UnknownCall`] for a call that never began; [`Error::Erased`] when its key was
    /// destroyed, [`Error::Unreadable`] when it is not here.
    pub fn replay(&self, call: CallId) -> Result<Replayed, Error> {
        self.asked(|trail| trail.played(call))
    }

    fn played(&self, call: CallId) -> Result<Replayed, Error> {
        let id = *call.as_bytes();
        let mut begin = None;
        let mut end = None;
        for index in self.of_call(call)? {
            let fields: Value = serde_json::from_slice(&self.bytes(index)?).unwrap_or(Value::Null);
            match fields.get("kind").and_then(Value::as_str) {
                Some("call.begin") => begin = Some((index, fields)),
                Some("call.end") => end = Some((index, fields)),
                Some(_) | None => {}
            }
        }
        let (first, begin) = begin.ok_or(Error::UnknownCall(call))?;
        let to = match &end {
            Some((index, _)) => self.leaf_at(*index)?.at,
            None => self.index.built.walked.end,
        };
        let pieces = self.pieces(id, self.place_before(first)?, to)?;
        let gone = || match self.erased_by(&begin) {
            Some(record) => Error::Erased(call, record),
            None => Error::Unreadable(call),
        };
        let key = self.key(id, &pieces).ok_or_else(gone)?;
        let end = end.map_or(Value::Null, |(_, fields)| fields);
        Ok(assemble(&key, &pieces, &begin, &end))
    }
}

/// All pieces of a part, joined; `None` when one does not open or none is there.
pub(super) fn open_part(key: &ContentKey, pieces: &Pieces, part: Sealed) -> Option<Vec<u8>> {
    let range = pieces.range((part, 0)..=(part, u32::MAX));
    let opened: Option<Vec<Vec<u8>>> = range.map(|(_, payload)| key.open(payload)).collect();
    opened
        .filter(|pieces| !pieces.is_empty())
        .map(|pieces| pieces.concat())
}

/// A member's exact text in a sealed document.
pub(in super::super) fn member(document: Option<&[u8]>, name: &str) -> Option<Vec<u8>> {
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(document?).ok()?;
    let text = members.get(name)?.get();
    (text != "null").then(|| text.as_bytes().to_vec())
}

fn assemble(key: &ContentKey, pieces: &Pieces, begin: &Value, end: &Value) -> Replayed {
    let context = open_part(key, pieces, Sealed::Context);
    let ending = open_part(key, pieces, Sealed::Ending);
    let text = |document: &Option<Vec<u8>>, name, field, commitment: Option<&Value>| {
        let bytes = member(document.as_deref(), name);
        let total = bytes.as_ref().map(|bytes| bytes.len() as u64);
        whole(key, field, bytes.unwrap_or_default(), total, commitment)
    };
    // A body that streamed up is stated with the end.
    let request = end.get("request").or_else(|| begin.get("request"));
    Replayed {
        request_head: text(
            &context,
            "request",
            Field::RequestHead,
            begin.pointer("/request/head"),
        ),
        context: text(&context, "policy", Field::Context, begin.get("context")),
        request_body: body(key, pieces, Sealed::Request, Field::RequestBody, request),
        released_head: text(
            &ending,
            "head",
            Field::ReleasedHead,
            end.pointer("/released/head"),
        ),
        released_body: body(
            key,
            pieces,
            Sealed::Released,
            Field::ReleasedBody,
            end.get("released"),
        ),
        trailers: text(
            &ending,
            "trailers",
            Field::ReleasedTrailers,
            end.pointer("/released/trailers"),
        ),
        times: open_part(key, pieces, Sealed::Times)
            .and_then(|bytes| times::read(&bytes))
            .unwrap_or_default(),
    }
}

fn body(
    key: &ContentKey,
    pieces: &Pieces,
    part: Sealed,
    field: Field,
    stated: Option<&Value>,
) -> Part {
    let bytes = open_part(key, pieces, part).unwrap_or_default();
    let total = stated.and_then(|s| s.get("bytes")).and_then(Value::as_u64);
    let partial = stated.is_some_and(|s| s.get("at_least").is_some());
    let cut = stated.and_then(|s| s.get("cut")).and_then(Value::as_str);
    let total = if partial { None } else { total };
    let mut part = whole(key, field, bytes, total, stated.and_then(|s| s.get("body")));
    part.cut = cut.map(ToOwned::to_owned);
    part
}

fn whole(
    key: &ContentKey,
    field: Field,
    bytes: Vec<u8>,
    total: Option<u64>,
    commitment: Option<&Value>,
) -> Part {
    let stated = commitment.and_then(Value::as_str).and_then(unhex::<32>);
    let complete = total.is_some_and(|total| total == bytes.len() as u64);
    let verified = stated
        .filter(|_| complete)
        .map(|stated| stated == key.commit(field, &bytes));
    Part {
        bytes,
        total,
        cut: None,
        verified,
    }
}

#[cfg(test)]
impl Trail {
    /// The commitment that a call's record must state for these released bytes.
    pub(in super::super) fn released_commitment(
        &self,
        call: CallId,
        chunks: &mut dyn Iterator<Item = &Vec<u8>>,
    ) -> String {
        let id = *call.as_bytes();
        let first = self.of_call(call).unwrap()[0];
        let to = self.leaf_at(first).unwrap().at;
        let pieces = self
            .pieces(id, self.place_before(first).unwrap(), to)
            .unwrap();
        let key = self.key(id, &pieces).unwrap();
        let mut commitment = key.commitment(Field::ReleasedBody);
        chunks.for_each(|chunk| commitment.update(chunk));
        super::super::leaf::hex(&super::super::seal::finish(commitment))
    }
}
