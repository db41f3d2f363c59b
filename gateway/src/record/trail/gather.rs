//! What is handed out of one call, for people who have nothing of ours: proofs of its records, and its
//! content with the keys that open that content alone.

use serde_json::Value;

use super::super::Error;
use super::super::frame::{Frame, Kind, Position};
use super::super::leaf::unhex;
use super::super::seal::{self, ContentId, ContentKey, Field, KeyParts, Part, SealedHead};
use super::replay::{Pieces, member};
use super::story::Filter;
use super::{PAGE_CALLS_MAX, Trail};
use crate::call::CallId;

/// Whether content is handed out too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disclose {
    /// Proofs, which tell nothing of people and content.
    Nothing,
    /// What was sealed with the records, and the keys of it.
    Content,
}

/// Everything that is handed out of a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gathered {
    /// The call.
    pub call: CallId,
    /// The signed head that the proofs lead to.
    pub checkpoint: String,
    /// The records of the call, of what was asked about it, and of the policies that were in force; in
    /// order.
    pub records: Vec<GatheredRecord>,
    /// The policies in force, as they were recorded (JSON); `None` where only their version was.
    pub policies: Option<Vec<u8>>,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatheredRecord {
    /// Its index.
    pub index: u64,
    /// Its proof (C2SP tlog-proof), with its exact bytes.
    pub proof: String,
    /// Its content.
    pub disclosed: Option<Disclosed>,
}

/// The content of one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disclosed {
    /// Whose frames they are: a call's id, or an event's own.
    pub id: [u8; 16],
    /// What the record's `sealed` is the digest of: of each frame the kind, the payload's length and the
    /// payload.
    pub frames: Vec<u8>,
    /// The key that opens these frames, and nothing else.
    pub key: [u8; 32],
    /// What the commitments of the record begin with, by the field's word.
    pub salts: Vec<(&'static str, [u8; 32])>,
}

/// What the records of a call lead to.
#[derive(Debug, Default)]
struct Leads {
    approval: Option<String>,
    /// The version of the policies, and the record that states it.
    policies: Option<(String, u64)>,
    subject_ref: Option<String>,
}

fn word<'f>(fields: &'f Value, name: &str) -> Option<&'f str> {
    fields.get(name).and_then(Value::as_str)
}

/// The approval that a record is about.
fn approval_of(fields: &Value) -> Option<&str> {
    let of_begin = fields.pointer("/approval/id").and_then(Value::as_str);
    of_begin.or_else(|| word(fields, "approval"))
}

impl Leads {
    fn follow(&mut self, index: u64, fields: &Value) {
        let put = |slot: &mut Option<String>, found: Option<&str>| {
            if slot.is_none() {
                *slot = found.map(ToOwned::to_owned);
            }
        };
        put(&mut self.approval, approval_of(fields));
        put(&mut self.subject_ref, word(fields, "subject_ref"));
        if let (None, Some(version)) = (&self.policies, word(fields, "policy_version")) {
            self.policies = Some((version.to_owned(), index));
        }
    }
}

impl Trail {
    /// Everything that is handed out of one call.
    ///
    /// # Errors
    /// [`Error::UnknownCall`]; [`Error::NotCovered`] when no signed head covers all records yet;
    /// [`Error::Erased`], [`Error::Unreadable`] when content is asked for that cannot be opened.
    pub fn gather(&self, call: CallId, disclose: Disclose) -> Result<Gathered, Error> {
        self.asked(|trail| trail.gathered(call, disclose))
    }

    fn gathered(&self, call: CallId, disclose: Disclose) -> Result<Gathered, Error> {
        let (indexes, policies) = self.related(call)?;
        let disclosed = |index: &u64| match disclose {
            Disclose::Content if Some(*index) != policies.as_ref().map(|(at, _)| *at) => {
                self.disclosed(call, *index)
            }
            Disclose::Content | Disclose::Nothing => Ok(None),
        };
        // What stays refused is told before what only takes a second.
        let disclosed: Vec<_> = indexes
            .iter()
            .map(disclosed)
            .collect::<Result<_, Error>>()?;
        let last = indexes.last().copied().ok_or(Error::UnknownCall(call))?;
        let head = self.covering(last)?;
        let hashes = self.hashes(&head, &indexes)?;
        let record = |(index, disclosed): (&u64, Option<Disclosed>)| {
            Ok(GatheredRecord {
                index: *index,
                proof: self.prove_under(&head, &hashes, *index)?,
                disclosed,
            })
        };
        let records = indexes.iter().zip(disclosed).map(record);
        let records = records.collect::<Result<_, Error>>()?;
        Ok(Gathered {
            call,
            checkpoint: head.note,
            records,
            policies: policies.and_then(|(_, text)| text),
        })
    }

    /// Records of the call and of what they lead to, and the record of the policies with their text.
    #[expect(
        clippy::type_complexity,
        reason = "two lists that are found in one look"
    )]
    fn related(&self, call: CallId) -> Result<(Vec<u64>, Option<(u64, Option<Vec<u8>>)>), Error> {
        let mut leads = Leads::default();
        let mut indexes = Vec::new();
        for index in self.of_call(call)? {
            let fields = self.fields(index)?;
            // Who read it is no part of what happened.
            if word(&fields, "kind") != Some("audit.read") {
                leads.follow(index, &fields);
                indexes.push(index);
            }
        }
        let (version, stated) = leads.policies.clone().unwrap_or_default();
        let mut in_force = None;
        for at in self.index.built.changes.iter().rev() {
            let fields: Value =
                serde_json::from_slice(&self.read_leaf(*at)?).unwrap_or(Value::Null);
            let index = fields.get("seq").and_then(Value::as_u64);
            if word(&fields, "policy_version") == Some(&version) && index < Some(stated) {
                in_force = index;
                break;
            }
        }
        let others = match &leads.approval {
            Some(approval) => self.about(approval, call)?,
            None => Vec::new(),
        };
        indexes.extend(others);
        let erased = leads.subject_ref.as_deref().and_then(unhex::<16>);
        indexes.extend(erased.and_then(|known| self.index.built.erased.get(&known)));
        let policies = match in_force {
            Some(index) => {
                indexes.push(index);
                let fields = self.fields(index)?;
                let content = self.part_before(index, &fields, Part::Context)?;
                let content = member(content.as_deref(), "content");
                Some((index, member(content.as_deref(), "policies")))
            }
            None => None,
        };
        indexes.sort_unstable();
        indexes.dedup();
        Ok((indexes, policies))
    }

    /// Records of other calls that are about an approval: what was asked and answered, and what it let run.
    fn about(&self, approval: &str, call: CallId) -> Result<Vec<u64>, Error> {
        let filter = Filter {
            approval: Some(approval.to_owned()),
            ..Filter::default()
        };
        let mut indexes = Vec::new();
        let mut cursor = None;
        loop {
            let page = self
                .index
                .page_once(&filter, &|_| true, cursor, PAGE_CALLS_MAX)?;
            let others = page.calls.iter().map(|summary| summary.call);
            for other in others.filter(|other| *other != call) {
                for index in self.of_call(other)? {
                    let fields = self.fields(index)?;
                    let own = approval_of(&fields) == Some(approval);
                    match word(&fields, "kind") {
                        Some("call.begin") if own => {
                            indexes.push(index);
                            indexes.extend(self.end_of(other)?);
                        }
                        Some(kind) if own && kind.starts_with("approval.") => indexes.push(index),
                        Some(_) | None => {}
                    }
                }
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(indexes);
            }
        }
    }

    fn fields(&self, index: u64) -> Result<Value, Error> {
        Ok(serde_json::from_slice(&self.bytes(index)?).unwrap_or(Value::Null))
    }

    fn end_of(&self, call: CallId) -> Result<Option<u64>, Error> {
        for index in self.of_call(call)?.into_iter().rev() {
            if word(&self.fields(index)?, "kind") == Some("call.end") {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The content of one record; `None` where nothing is sealed with it, or somebody else than the
    /// call's own caller wrote it and was erased.
    fn disclosed(&self, call: CallId, index: u64) -> Result<Option<Disclosed>, Error> {
        let fields = self.fields(index)?;
        let own = word(&fields, "content_id").and_then(unhex::<16>);
        let begin = fields.get("begin").and_then(Value::as_u64);
        let of_call = match word(&fields, "kind") {
            Some("call.begin" | "call.end") => word(&fields, "call"),
            _ => None,
        };
        let of_call = of_call.and_then(|call| call.parse::<CallId>().ok());
        let Some(id) = own.or_else(|| of_call.map(|call| *call.as_bytes())) else {
            return Ok(None);
        };
        // The key of a call stands with its begin.
        let first = begin.unwrap_or(index);
        let at = self.leaf_at(index)?.at;
        let pieces = self.pieces(id, self.place_before(first)?, self.leaf_at(first)?.at)?;
        let frames = self.frames(
            id,
            begin.map_or_else(
                || self.place_before(index),
                |begin| self.leaf_at(begin).map(|leaf| leaf.at),
            )?,
            at,
        )?;
        let Some((key, seal)) = self.keys_of(id, &pieces)? else {
            let caller = of_call == Some(call);
            return match self.erased_by(&self.fields(first)?) {
                Some(record) if caller => Err(Error::Erased(call, record)),
                None if caller => Err(Error::Unreadable(call)),
                Some(_) | None => Ok(None),
            };
        };
        let salts = match of_call {
            Some(_) => stated(&fields),
            None => Vec::new(),
        };
        Ok(Some(Disclosed {
            id,
            frames,
            key: seal,
            salts: salts
                .into_iter()
                .map(|field| (field.word(), key.field_salt(field)))
                .collect(),
        }))
    }

    fn keys_of(
        &self,
        id: ContentId,
        pieces: &Pieces,
    ) -> Result<Option<(ContentKey, [u8; 32])>, Error> {
        let parts = pieces.get(&(Part::Key, 0));
        let Some(parts) = parts.and_then(|payload| KeyParts::parse(payload)) else {
            return Ok(None);
        };
        let Some(material) = self.material(&parts) else {
            return Ok(None);
        };
        let key = ContentKey::derive(id, &parts, &material)?;
        let seal = *seal::seal_key(&id, &parts.salt, &material)?.expose();
        Ok(Some((key, seal)))
    }

    /// The frames of content `id` between two places, as their digest is made.
    fn frames(&self, id: ContentId, from: Position, to: Position) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let mut visit = |_: Position, frame: &Frame<'_>| {
            let own = match frame.kind {
                Kind::Sealed => SealedHead::parse(frame.payload).is_some_and(|head| head.id == id),
                Kind::Progress => frame.payload.starts_with(&id),
                Kind::Batch | Kind::Leaf => false,
            };
            if own {
                out.push(frame.kind.byte());
                out.extend_from_slice(&(frame.payload.len() as u64).to_le_bytes());
                out.extend_from_slice(frame.payload);
            }
            Ok(())
        };
        self.range((from, to), &mut visit)?;
        Ok(out)
    }
}

/// The fields that a record of a call commits to as a whole: what was cut is covered by the frames alone.
fn stated(fields: &Value) -> Vec<Field> {
    let whole = |place: &str| {
        let way = fields.pointer(place);
        way.is_some_and(|way| way.get("cut").is_none() && way.get("at_least").is_none())
    };
    let stands = |place: &str| fields.pointer(place).is_some_and(Value::is_string);
    let of = |field: Field| match field {
        Field::RequestHead => stands("/request/head"),
        Field::RequestBody => stands("/request/body") && whole("/request"),
        Field::Context => stands("/context"),
        Field::ReleasedHead => stands("/released/head"),
        Field::ReleasedBody => stands("/released/body") && whole("/released"),
        Field::ReleasedTrailers => stands("/released/trailers"),
    };
    Field::ALL.into_iter().filter(|field| of(*field)).collect()
}
