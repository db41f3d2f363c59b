//! A page of calls out of the index: the columns say which, the log says what they are.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::super::Error;
use super::super::frame::{Frame, Kind, Position};
use super::super::leaf::unhex;
use super::super::seal::{ContentId, ContentKey, KeyParts, Part, SealedHead};
use super::super::{reading, segment};
use super::CallIndex;
use super::build::Slot;
use super::columns::{Chunk, Column, Start};
use super::find::View;
use super::index::leaf_of;
use super::replay::{Pieces, open_part};
use super::seen::{Standing, approval_number, outcome_number};
use super::story::{CallSummary, Filter, Wanted, WouldFilter, first, tell};
use crate::call::CallId;

/// Most calls of one page.
pub const PAGE_CALLS_MAX: usize = 1000;

/// Where the next page goes on: behind the call whose first record has this index. It stays good while
/// the log grows, and when the index is made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor(u64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        let index = plain.then(|| text.parse().ok()).flatten();
        index
            .map(Self)
            .ok_or_else(|| Error::Cursor(text.to_owned()))
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Calls, newest first, and where it goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Page {
    /// The calls.
    pub calls: Vec<CallSummary>,
    /// To be given for the next page; `None` when there is no further call.
    pub next: Option<Cursor>,
}

/// What is asked of one column: its values, and which of them will do.
struct Test<'v> {
    values: Cow<'v, [u32]>,
    good: Good,
}

enum Good {
    Between(u32, u32),
    /// By number: whether it will do.
    Among(Vec<bool>),
    Standing {
        outcome: Option<u32>,
        decided: Option<u32>,
        unknown: bool,
        shadow: Option<WouldFilter>,
        observed: Option<WouldFilter>,
        glass: bool,
    },
}

impl Test<'_> {
    fn holds(&self, row: usize) -> bool {
        let value = self.values.get(row).copied().unwrap_or(0);
        match &self.good {
            Good::Between(from, to) => (*from..=*to).contains(&value),
            Good::Among(good) => good.get(value as usize).copied().unwrap_or(false),
            Good::Standing {
                outcome,
                decided,
                unknown,
                shadow,
                observed,
                glass,
            } => {
                let standing = Standing(value);
                outcome.is_none_or(|outcome| standing.outcome() == outcome)
                    && decided.is_none_or(|decided| standing.decided() == decided)
                    && (!unknown || standing.unknown())
                    && (!glass || standing.glass())
                    && shadow.is_none_or(|wanted| wanted.meets(standing.shadow()))
                    && observed.is_none_or(|wanted| wanted.meets(standing.observed()))
            }
        }
    }
}

/// Which functions' calls may be seen; `None` is what no function was declared for.
pub type May<'m> = dyn Fn(Option<&str>) -> bool + 'm;

impl CallIndex {
    /// The newest calls that match, at most `limit` (and [`PAGE_CALLS_MAX`]), behind `cursor` if there
    /// is one. What came since the last [`CallIndex::refresh`] is not in it.
    ///
    /// Every call of the page was read from the log: a wrong index can leave a call out, never make one
    /// up.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Missing`], [`Error::Disk`] when the log cannot be read where a call
    /// of the page is.
    pub fn page(
        &mut self,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.page_of(filter, &|_| true, cursor, limit)
    }

    /// The same of functions that may be seen.
    ///
    /// # Errors
    /// As [`CallIndex::page`].
    pub fn page_of(
        &mut self,
        filter: &Filter,
        may: &May<'_>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        match self.page_once(filter, may, cursor, limit) {
            // Its files were replaced by newer ones, or are damaged.
            Err(Error::IndexUnreadable(_)) => {
                self.reopen()?;
                self.page_once(filter, may, cursor, limit)
            }
            page => page,
        }
    }

    pub(super) fn page_once(
        &self,
        filter: &Filter,
        may: &May<'_>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        let limit = limit.clamp(1, PAGE_CALLS_MAX);
        let wanted = self.wanted(filter);
        let before = cursor.map_or(u64::MAX, |cursor| cursor.0);
        let mut page = Page {
            calls: Vec::new(),
            next: None,
        };
        for slot in self.built.slots.iter().rev() {
            if slot.first_leaf >= before || !spans(slot, filter) {
                continue;
            }
            if self
                .chunk_page(slot, (&wanted, may), (before, limit), &mut page)?
                .is_break()
            {
                break;
            }
        }
        Ok(page)
    }

    fn chunk_page(
        &self,
        slot: &Slot,
        (wanted, may): (&Wanted, &May<'_>),
        (before, limit): (u64, usize),
        page: &mut Page,
    ) -> Result<ControlFlow<()>, Error> {
        let lost = || Error::IndexUnreadable(self.files.index());
        let view = self.view(slot)?;
        let Some(tests) = tests(&view, wanted, may).ok_or_else(lost)? else {
            return Ok(ControlFlow::Continue(()));
        };
        // Unpacked only when a row of this chunk is to be shown.
        let mut whole: Option<Cow<'_, Chunk>> = None;
        let rows = usize::try_from(slot.rows).unwrap_or(0);
        for row in (0..rows).rev() {
            if !tests.iter().all(|test| test.holds(row)) {
                continue;
            }
            if whole.is_none() {
                whole = match &view {
                    View::Open(chunk) => Some(Cow::Borrowed(*chunk)),
                    View::Packed(packed) => packed.open().map(Cow::Owned),
                };
            }
            let chunk = whole.as_deref().ok_or_else(lost)?;
            let start = chunk.start(row);
            let kept = start.leaf >= self.chain.base.records() && start.ms >= self.built.floor_ms;
            if start.leaf >= before || !kept {
                continue;
            }
            let summary = self.read(&start, chunk.last(row))?;
            if !wanted.holds(&summary) || !may(summary.function.as_deref()) {
                continue;
            }
            if page.calls.len() >= limit {
                page.next = page.calls.last().map(|call| Cursor(call.index));
                return Ok(ControlFlow::Break(()));
            }
            page.calls.push(summary);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A call in short, out of its first record and the one that says how it stands.
    fn read(&self, start: &Start, last: Option<Position>) -> Result<CallSummary, Error> {
        let mut pieces: Vec<(ContentId, (Part, u32), Vec<u8>)> = Vec::new();
        let mut found = None;
        let disk = self.disk.as_ref();
        let mut visit = |_: Position, frame: &Frame<'_>| {
            if let (Kind::Sealed, Some(head)) = (frame.kind, SealedHead::parse(frame.payload))
                && matches!(head.part, Part::Key | Part::Context)
            {
                pieces.push((head.id, (head.part, head.piece), frame.payload.to_vec()));
            }
            match leaf_of(frame) {
                Some(leaf) if leaf.index == start.leaf => {
                    let fields = serde_json::from_slice(leaf.leaf).unwrap_or(Value::Null);
                    found = Some((leaf.id, fields));
                    ControlFlow::Break(())
                }
                // Another leaf came first: this is not the place.
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            }
        };
        reading::scan(disk, &self.files, &self.chain, start.at, &mut visit)?;
        let (id, fields) =
            found.ok_or_else(|| segment::corrupt(start.at, "a record is not where it was"))?;
        let mut summary = first(CallId::from_bytes(id), start.leaf, &fields);
        tell(&mut summary, &kind(&fields), &fields);
        if let Some(at) = last {
            let fields = self.leaf_at(at, id)?;
            tell(&mut summary, &kind(&fields), &fields);
        }
        let reference = unhex::<16>(&summary.subject_ref);
        summary.erased = reference.and_then(|known| self.built.erased.get(&known).copied());
        let content = fields.get("content_id").and_then(Value::as_str);
        let content = content.and_then(unhex).unwrap_or(id);
        let own: Pieces = pieces
            .into_iter()
            .filter(|(of, ..)| *of == content)
            .map(|(_, place, payload)| (place, payload))
            .collect();
        if let Some(context) = self.context(content, &own) {
            summary.name(&context);
        }
        Ok(summary)
    }

    fn leaf_at(&self, at: Position, call: ContentId) -> Result<Value, Error> {
        let mut found = None;
        let mut visit = |_: Position, frame: &Frame<'_>| {
            let leaf = leaf_of(frame).filter(|leaf| leaf.id == call);
            found = leaf.and_then(|leaf| serde_json::from_slice(leaf.leaf).ok());
            ControlFlow::Break(())
        };
        reading::scan(self.disk.as_ref(), &self.files, &self.chain, at, &mut visit)?;
        found.ok_or_else(|| segment::corrupt(at, "a record is not where it was"))
    }

    fn context(&self, id: ContentId, pieces: &Pieces) -> Option<Value> {
        let parts = KeyParts::parse(pieces.get(&(Part::Key, 0))?)?;
        let key = ContentKey::derive(id, &parts, &self.material(&parts)?).ok()?;
        serde_json::from_slice(&open_part(&key, pieces, Part::Context)?).ok()
    }
}

fn kind(fields: &Value) -> String {
    let kind = fields.get("kind").and_then(Value::as_str);
    kind.unwrap_or_default().to_owned()
}

/// Whether a chunk can hold calls of the time that is asked for.
fn spans(slot: &Slot, filter: &Filter) -> bool {
    let (from, to) = slot.span_ms;
    filter.since.is_none_or(|since| to >= since.millis())
        && filter.until.is_none_or(|until| from <= until.millis())
}

/// The tests that a row must pass; `Some(None)` when no row of the chunk can, `None` when it cannot be
/// read.
#[expect(
    clippy::option_option,
    reason = "unreadable is not the same as nothing to find"
)]
fn tests<'v>(view: &'v View<'_>, wanted: &Wanted, may: &May<'_>) -> Option<Option<Vec<Test<'v>>>> {
    let filter = &wanted.filter;
    let mut tests = Vec::new();
    let mut put = |column: Column, good: Good| {
        let values = view.column(column)?;
        tests.push(Test { values, good });
        Some(())
    };
    for (column, reference) in [
        (Column::Subject, &wanted.subject),
        (Column::Actor, &wanted.actor),
    ] {
        if let Some(reference) = reference {
            let Some(reference) = unhex::<16>(reference) else {
                return Some(None);
            };
            let subjects = view.subjects()?;
            let Some(good) = among(subjects.iter().map(|known| *known == reference)) else {
                return Some(None);
            };
            put(column, good)?;
        }
    }
    let functions = view.functions()?;
    let fits = |id: &String| {
        let connection = id.split_once('/').map(|(connection, _)| connection);
        filter.function.as_ref().is_none_or(|want| want == id)
            && (filter.connection.is_none() || filter.connection.as_deref() == connection)
            && may(Some(id))
    };
    let none = filter.function.is_none() && filter.connection.is_none() && may(None);
    let good: Vec<bool> = std::iter::once(none)
        .chain(functions.iter().map(fits))
        .collect();
    if !good.contains(&true) {
        return Some(None);
    }
    if good.contains(&false) {
        put(Column::Function, Good::Among(good))?;
    }
    if let Some(id) = &filter.approval {
        let number = approval_number(id);
        put(Column::Approval, Good::Between(number, number))?;
    }
    if let Some((from, to)) = filter.status {
        put(Column::Status, Good::Between(from.into(), to.into()))?;
    }
    if let Some(good) = standing(filter) {
        put(Column::State, good)?;
    }
    if filter.since.is_some() || filter.until.is_some() {
        let base = view.base();
        let from = |ms: u64| u32::try_from(ms.saturating_sub(base.ms)).unwrap_or(u32::MAX);
        let since = filter.since.map_or(0, |since| from(since.millis()));
        let until = filter.until.map_or(u32::MAX, |until| from(until.millis()));
        put(Column::Time, Good::Between(since, until))?;
    }
    Some(Some(tests))
}

/// What is asked of how a call stands; `None` when nothing is.
fn standing(filter: &Filter) -> Option<Good> {
    let asked = filter.outcome.is_some()
        || filter.decided.is_some()
        || filter.unknown
        || filter.shadow.is_some()
        || filter.observed.is_some()
        || filter.break_glass;
    asked.then(|| Good::Standing {
        outcome: filter.outcome.as_deref().map(outcome_number),
        decided: filter.decided.map(super::Decided::number),
        unknown: filter.unknown,
        shadow: filter.shadow,
        observed: filter.observed,
        glass: filter.break_glass,
    })
}

/// Numbers of a dictionary that will do; `None` when none does. Number 0 is "none of it".
fn among(good: impl Iterator<Item = bool>) -> Option<Good> {
    let good: Vec<bool> = std::iter::once(false).chain(good).collect();
    good.contains(&true).then_some(Good::Among(good))
}
