//! What the records tell of calls.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::super::Error;
use super::super::entry::Outcome;
use super::super::keyring::Keyring;
use super::super::leaf::{hex, nanos_from_text};
use super::super::seal::{ContentId, Part};
use super::Trail;
use super::seen::Decided;
use crate::call::CallId;
use crate::clock::Timestamp;

/// Which calls.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Exactly this function.
    pub function: Option<String>,
    /// Functions of this connection.
    pub connection: Option<String>,
    /// Issuer alias and subject.
    pub principal: Option<(String, String)>,
    /// Issuer alias and subject of who acts for the caller.
    pub actor: Option<(String, String)>,
    /// What was decided.
    pub decided: Option<Decided>,
    /// The status that was released: from, to (both included).
    pub status: Option<(u16, u16)>,
    /// The approval that it waited for.
    pub approval: Option<String>,
    /// This outcome (`ok`, `denied`, `indeterminate`, …); a call without an end is `open`.
    pub outcome: Option<String>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Only calls of functions that nobody declared.
    pub unknown: bool,
    /// Only calls that shadow policies matched.
    pub shadow: Option<WouldFilter>,
    /// Only calls that passed because their connection only observes.
    pub observed: Option<WouldFilter>,
    /// Only calls that ran because their caller broke the glass.
    pub break_glass: bool,
}

/// Which calls, by what would have been decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WouldFilter {
    /// Whatever would be decided.
    Any,
    /// Those about which this would be decided.
    Would(Decided),
}

/// What would have been decided about a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Would {
    /// What.
    pub decided: Decided,
    /// The code of the refusal, or `approval_pending`, where it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By which policies.
    pub policies: Vec<String>,
}

impl WouldFilter {
    /// Whether a number of the index will do: 0, or one more than that of what would be decided.
    pub(super) const fn meets(self, number: u32) -> bool {
        match self {
            Self::Any => number != 0,
            Self::Would(decided) => number == decided.number() + 1,
        }
    }

    fn holds(self, would: Option<&Would>) -> bool {
        self.meets(would.map_or(0, |would| would.decided.number() + 1))
    }
}

impl Would {
    /// Whether it would have been refused before any policy was asked.
    pub fn is_unjudged(&self) -> bool {
        let judged = ["denied", "approval_pending"];
        let reason = self.reason.as_deref();
        reason.is_some_and(|reason| !judged.contains(&reason))
    }

    pub(super) fn read(json: &Value) -> Option<Self> {
        let policies = json.get("policies")?.as_array()?.iter();
        let policies = policies.filter_map(Value::as_str).map(ToOwned::to_owned);
        Some(Self {
            decided: Decided::from_word(json.get("decided")?.as_str()?)?,
            reason: text(json, "reason"),
            policies: policies.collect(),
        })
    }
}

/// One call in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallSummary {
    /// The call.
    #[serde(serialize_with = "as_text")]
    pub call: CallId,
    /// Index of its first record.
    pub index: u64,
    /// When that was recorded.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// The function; `None` when it is unknown.
    pub function: Option<String>,
    /// Issuer alias of the caller.
    pub issuer: String,
    /// The caller's pseudonym.
    pub subject_ref: String,
    /// The caller, when the keys to know it are here.
    pub subject: Option<String>,
    /// The record that destroyed the caller's key: who it was and the content are gone for good.
    pub erased: Option<u64>,
    /// `human`, `workload`, `agent`.
    pub principal_kind: String,
    /// The pseudonym of who acts for the caller.
    pub actor_ref: Option<String>,
    /// Who acts for the caller, `alias/subject`, when the keys to know it are here.
    pub actor: Option<String>,
    /// What was decided.
    pub decided: Decided,
    /// The word for how it ended: an [`Outcome`], `denied`, `pending` (waits for people) or `open`.
    pub outcome: String,
    /// The refusal's code, of a denied call.
    pub reason: Option<String>,
    /// Status released to the caller.
    pub status: Option<u64>,
    /// The approval that it waited for.
    pub approval: Option<String>,
    /// What would have been decided with the shadow policies that matched, when it came.
    pub shadow: Option<Would>,
    /// What would have become of it, when its connection only observed.
    pub observed: Option<Would>,
    /// Whether it ran because its caller broke the glass.
    pub break_glass: bool,
    /// Masked values by data class.
    pub masked: BTreeMap<String, u64>,
    /// Milliseconds from receipt to the end.
    pub total_ms: Option<u64>,
    /// What was tried, of an unknown function: method and target, when the keys are here.
    pub tried: Option<Value>,
}

impl CallSummary {
    /// The outcome of a call that ran and ended.
    pub fn ended(&self) -> Option<Outcome> {
        Outcome::from_word(&self.outcome)
    }
}

/// One record of a call.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its kind (`call.begin`, `approval.vote`, …).
    pub kind: String,
    /// Its exact text.
    pub text: String,
    /// The same, parsed.
    pub fields: Value,
    /// What is sealed with it, when the keys are here: for a begin the principal, the request's head
    /// and the policy request.
    pub content: Option<Value>,
    /// The record that destroyed the key of the sealed content.
    pub erased: Option<u64>,
}

/// All that is recorded of one call.
#[derive(Clone, PartialEq, Debug)]
pub struct Story {
    /// In short.
    pub summary: CallSummary,
    /// In full, in order.
    pub entries: Vec<Entry>,
}

impl Story {
    /// The first record of this kind.
    pub fn entry(&self, kind: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.kind == kind)
    }
}

/// Destroyed keys, by pseudonym: the record of it.
pub(super) type Erased = HashMap<ContentId, u64>;

/// A filter, with pseudonyms in place of people.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) subject: Option<String>,
    pub(super) actor: Option<String>,
}

impl Wanted {
    pub(super) fn new(filter: Filter, keyring: Option<&Keyring>, erased: &Erased) -> Self {
        let reference = |who: &Option<(String, String)>| {
            let (issuer, subject) = who.as_ref()?;
            let known = keyring
                .and_then(|ring| ring.reference(issuer, subject))
                .filter(|reference| !erased.contains_key(reference));
            // Nobody has this one: a subject that was never seen, or was erased, has no calls.
            Some(known.map_or_else(|| "unknown".to_owned(), |known| hex(&known)))
        };
        Self {
            subject: reference(&filter.principal),
            actor: reference(&filter.actor),
            filter,
        }
    }

    pub(super) fn holds(&self, call: &CallSummary) -> bool {
        let filter = &self.filter;
        let function = call.function.as_deref();
        let connection = function.and_then(|f| f.split_once('/')).map(|(c, _)| c);
        let is = |want: &Option<String>, have: Option<&str>| {
            want.as_deref().is_none_or(|want| have == Some(want))
        };
        let status = call.status.and_then(|status| u16::try_from(status).ok());
        is(&filter.function, function)
            && is(&filter.connection, connection)
            && is(&filter.outcome, Some(&call.outcome))
            && is(&filter.approval, call.approval.as_deref())
            && is(&self.subject, Some(&call.subject_ref))
            && is(&self.actor, call.actor_ref.as_deref())
            && filter.decided.is_none_or(|decided| decided == call.decided)
            && filter
                .status
                .is_none_or(|(from, to)| status.is_some_and(|status| (from..=to).contains(&status)))
            && filter.since.is_none_or(|since| call.at >= since)
            && filter.until.is_none_or(|until| call.at < until)
            && filter
                .shadow
                .is_none_or(|wanted| wanted.holds(call.shadow.as_ref()))
            && filter
                .observed
                .is_none_or(|wanted| wanted.holds(call.observed.as_ref()))
            && (!filter.break_glass || call.break_glass)
            && (!filter.unknown || call.reason.as_deref() == Some("not_found"))
    }
}

fn as_text<T: ToString, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn text(fields: &Value, name: &str) -> Option<String> {
    fields.get(name)?.as_str().map(ToOwned::to_owned)
}

impl Trail {
    /// Everything about one call.
    ///
    /// # Errors
    /// [`Error::UnknownCall`]; [`Error::Corrupt`] when its records do not read back.
    pub fn show(&self, call: CallId) -> Result<Story, Error> {
        self.asked(|trail| trail.story(call))
    }

    fn story(&self, call: CallId) -> Result<Story, Error> {
        let entries = self
            .of_call(call)?
            .into_iter()
            .map(|index| self.opened(index))
            .collect::<Result<Vec<_>, _>>()?;
        let summary = self
            .summary(*call.as_bytes())?
            .ok_or(Error::UnknownCall(call))?;
        Ok(Story {
            summary: self.with_names(summary)?,
            entries,
        })
    }

    /// One record, parsed and opened.
    ///
    /// # Errors
    /// [`Error::NoRecord`] beyond the end.
    pub fn entry(&self, index: u64) -> Result<Entry, Error> {
        self.asked(|trail| trail.opened(index))
    }

    fn opened(&self, index: u64) -> Result<Entry, Error> {
        let bytes = self.bytes(index)?;
        let fields: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let content = self.content_of(index, &fields)?;
        Ok(Entry {
            index,
            kind: text(&fields, "kind").unwrap_or_default(),
            erased: if content.is_some() {
                None
            } else {
                self.erased_of(&fields)?
            },
            content,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            fields,
        })
    }

    /// An end bears no pseudonym of its own: it is its begin's.
    fn erased_of(&self, fields: &Value) -> Result<Option<u64>, Error> {
        let begin = fields.get("begin").and_then(Value::as_u64);
        match begin.map(|begin| self.bytes(begin)) {
            Some(Err(error @ Error::IndexUnreadable(_))) => Err(error),
            Some(Ok(begin)) => {
                let begin = serde_json::from_slice(&begin).ok();
                Ok(begin.and_then(|begin| self.erased_by(&begin)))
            }
            Some(Err(_)) | None => Ok(self.erased_by(fields)),
        }
    }

    /// What is sealed with a record; none where it does not open, or does not read back.
    fn content_of(&self, index: u64, fields: &Value) -> Result<Option<Value>, Error> {
        let part = match fields.get("kind").and_then(Value::as_str) {
            Some("call.end") => Part::Ending,
            Some(_) => Part::Context,
            None => return Ok(None),
        };
        match self.part_before(index, fields, part) {
            // The index says nothing of the content: the log is asked.
            Err(error @ Error::IndexUnreadable(_)) => Err(error),
            Ok(Some(bytes)) => Ok(serde_json::from_slice(&bytes).ok()),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// A call's records in short; `None` for an id that is no call's (an erased pseudonym).
    pub(super) fn summary(&self, id: ContentId) -> Result<Option<CallSummary>, Error> {
        let call = CallId::from_bytes(id);
        let mut summary: Option<CallSummary> = None;
        for index in self.of_call(call)? {
            let fields: Value = serde_json::from_slice(&self.bytes(index)?).unwrap_or(Value::Null);
            let kind = text(&fields, "kind").unwrap_or_default();
            if text(&fields, "call").is_none() {
                continue;
            }
            // Somebody read it before it was called: not its first record.
            if summary.is_none() && kind == "audit.read" {
                continue;
            }
            let known = summary.get_or_insert_with(|| first(call, index, &fields));
            tell(known, &kind, &fields);
        }
        Ok(summary)
    }

    pub(super) fn with_names(&self, mut summary: CallSummary) -> Result<CallSummary, Error> {
        let entry = self.opened(summary.index)?;
        summary.erased = entry.erased;
        summary.name(&entry.content.unwrap_or(Value::Null));
        Ok(summary)
    }
}

impl CallSummary {
    /// Put in who it was, out of what is sealed with the first record.
    pub(super) fn name(&mut self, content: &Value) {
        let subject = content
            .get("subject")
            .or_else(|| content.pointer("/principal/subject"));
        self.subject = subject.and_then(Value::as_str).map(ToOwned::to_owned);
        let actor = content
            .pointer("/principal/actors/0")
            .or_else(|| content.get("actor"));
        self.actor = actor.and_then(|actor| {
            let part = |name| actor.get(name).and_then(Value::as_str);
            Some(format!("{}/{}", part("issuer")?, part("subject")?))
        });
        if self.reason.as_deref() == Some("not_found") {
            self.tried = content.get("content").cloned();
        }
    }
}

pub(super) fn first(call: CallId, index: u64, fields: &Value) -> CallSummary {
    let at = text(fields, "t").and_then(|t| nanos_from_text(&t));
    CallSummary {
        call,
        index,
        at: at.unwrap_or_else(|| Timestamp::from_nanos(0)),
        function: None,
        issuer: text(fields, "issuer").unwrap_or_default(),
        subject_ref: text(fields, "subject_ref").unwrap_or_default(),
        subject: None,
        erased: None,
        principal_kind: text(fields, "principal_kind").unwrap_or_default(),
        actor_ref: text(fields, "actor_ref"),
        actor: None,
        decided: Decided::Allow,
        outcome: "open".to_owned(),
        reason: None,
        status: None,
        approval: None,
        shadow: fields.get("shadow").and_then(Would::read),
        observed: fields.get("observed").and_then(Would::read),
        break_glass: false,
        masked: BTreeMap::new(),
        total_ms: None,
        tried: None,
    }
}

pub(super) fn tell(summary: &mut CallSummary, kind: &str, fields: &Value) {
    if summary.function.is_none() {
        summary.function = text(fields, "function");
    }
    let approval = fields.pointer("/approval/id").and_then(Value::as_str);
    let approval = approval
        .map(ToOwned::to_owned)
        .or_else(|| text(fields, "approval"));
    summary.approval = approval.or_else(|| summary.approval.take());
    match kind {
        "call.begin" => {
            if summary.approval.is_some() {
                summary.decided = Decided::Ask;
            }
            let glass = fields.pointer("/approval/break_glass");
            summary.break_glass = glass.and_then(Value::as_bool) == Some(true);
            "open".clone_into(&mut summary.outcome);
        }
        "call.end" => {
            summary.outcome = text(fields, "outcome").unwrap_or_default();
            summary.status = fields.get("status").and_then(Value::as_u64);
            summary.total_ms = fields.get("total_ms").and_then(Value::as_u64);
            let masked = fields.get("masked").and_then(Value::as_object);
            summary.masked = masked
                .into_iter()
                .flatten()
                .filter_map(|(class, count)| Some((class.clone(), count.as_u64()?)))
                .collect();
        }
        "call.deny" => {
            "denied".clone_into(&mut summary.outcome);
            summary.decided = Decided::Deny;
            summary.reason = text(fields, "reason");
        }
        "approval.ask" => {
            summary.decided = Decided::Ask;
            "pending".clone_into(&mut summary.outcome);
        }
        // What became of the question says nothing of a call that ended, or was denied.
        "approval.expire" | "approval.cancel"
            if matches!(summary.outcome.as_str(), "pending" | "open") =>
        {
            summary.outcome = match kind {
                "approval.expire" => "expired".to_owned(),
                _ => text(fields, "reason").unwrap_or_default(),
            };
        }
        // Votes, reads and the like do not say how the call stands.
        _ => {}
    }
}
