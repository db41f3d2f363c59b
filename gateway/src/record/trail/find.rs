//! One call out of the index: where its records lie.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::frame::{Frame, Position};
use super::super::leaf::Tag;
use super::super::seal::ContentId;
use super::super::segment::{self, HEADER_BYTES};
use super::super::{Error, reading};
use super::build::{Held, Slot};
use super::columns::{Base, Chunk, Column, Packed, Start, fingerprint, half};
use super::index::leaf_of;
use super::seen::{Seen, What};
use super::{CallIndex, saved};
use crate::call::CallId;

/// Chunks that were unpacked last and are kept, some 2 MB each.
const RECENT_MAX: usize = 4;

/// Chunks by the names of their files.
pub(super) type Recent = Mutex<Vec<(String, Arc<Chunk>)>>;

/// Where one leaf is.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeafAt {
    /// Behind the leaf before it: what is sealed with it begins there.
    pub(super) start: Position,
    pub(super) at: Position,
}

/// A chunk's columns, wherever they are.
pub(super) enum View<'v> {
    Open(&'v Chunk),
    Packed(Arc<Packed>),
}

impl View<'_> {
    pub(super) fn column(&self, column: Column) -> Option<Cow<'_, [u32]>> {
        match self {
            Self::Open(chunk) => Some(chunk.column(column).into()),
            Self::Packed(packed) => packed.column(column).map(Cow::from),
        }
    }

    pub(super) fn functions(&self) -> Option<Cow<'_, [String]>> {
        match self {
            Self::Open(chunk) => Some(chunk.functions().into()),
            Self::Packed(packed) => packed.functions().map(Cow::from),
        }
    }

    pub(super) fn subjects(&self) -> Option<Cow<'_, [[u8; 16]]>> {
        match self {
            Self::Open(chunk) => Some(chunk.subjects().into()),
            Self::Packed(packed) => packed.subjects().map(Cow::from),
        }
    }

    pub(super) fn base(&self) -> Base {
        match self {
            Self::Open(chunk) => chunk.base,
            Self::Packed(packed) => packed.base(),
        }
    }

    fn further(&self) -> usize {
        match self {
            Self::Open(chunk) => chunk.further(),
            Self::Packed(packed) => packed.further(),
        }
    }

    /// Where a row's call begins, and the leaf that says how it stands, if that is another.
    fn place(&self, row: usize) -> Option<(Start, Option<Position>)> {
        match self {
            Self::Open(chunk) => Some((chunk.start(row), chunk.last(row))),
            Self::Packed(packed) => {
                let chunk = packed.place(row)?;
                Some((chunk.start(0), chunk.last(0)))
            }
        }
    }
}

/// A chunk with all its columns.
enum Opened<'c> {
    Here(&'c Chunk),
    Made(Arc<Chunk>),
}

impl std::ops::Deref for Opened<'_> {
    type Target = Chunk;

    fn deref(&self) -> &Chunk {
        match self {
            Self::Here(chunk) => chunk,
            Self::Made(chunk) => chunk,
        }
    }
}

/// How far a time lies outside a span.
const fn distance((from, to): (u64, u64), ms: u64) -> u64 {
    if ms < from {
        from - ms
    } else {
        ms.saturating_sub(to)
    }
}

/// The time that a call's id begins with (UUIDv7), in milliseconds.
fn made_ms(id: &ContentId) -> u64 {
    let ms = id.first_chunk::<6>().copied().unwrap_or_default();
    ms.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl CallIndex {
    fn lost(&self) -> Error {
        Error::IndexUnreadable(self.files.index())
    }

    pub(super) fn view<'v>(&self, slot: &'v Slot) -> Result<View<'v>, Error> {
        Ok(match &slot.held {
            Held::Open(chunk) => View::Open(chunk),
            Held::Packed(packed) => View::Packed(Arc::clone(packed)),
            Held::File(name) => {
                let packed = saved::load(self.disk.as_ref(), &self.files, name);
                View::Packed(Arc::new(packed.ok_or_else(|| self.lost())?))
            }
        })
    }

    /// A chunk with all its columns; those out of files are kept for a while.
    fn chunk<'c>(&self, slot: &'c Slot) -> Result<Opened<'c>, Error> {
        let name = match &slot.held {
            Held::Open(chunk) => return Ok(Opened::Here(chunk)),
            Held::Packed(packed) => {
                let chunk = packed.open().ok_or_else(|| self.lost())?;
                return Ok(Opened::Made(Arc::new(chunk)));
            }
            Held::File(name) => name,
        };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, chunk)) = recent.iter().find(|(known, _)| known == name) {
            return Ok(Opened::Made(Arc::clone(chunk)));
        }
        let packed = saved::load(self.disk.as_ref(), &self.files, name);
        let chunk = packed.and_then(|packed| packed.open());
        let chunk = Arc::new(chunk.ok_or_else(|| self.lost())?);
        if recent.len() >= RECENT_MAX {
            recent.remove(0);
        }
        recent.push((name.clone(), Arc::clone(&chunk)));
        Ok(Opened::Made(chunk))
    }

    /// The records of a call, in order. Each was looked at in the log: a wrong index can leave one out, never
    /// make one up.
    ///
    /// # Errors
    /// [`Error::UnknownCall`]; [`Error::IndexUnreadable`]; as [`CallIndex::open`].
    pub(super) fn of_call(&self, call: CallId) -> Result<Vec<u64>, Error> {
        let id = *call.as_bytes();
        let Some((number, start, last)) = self.row_of(&id)? else {
            return self.of_call_unlisted(call);
        };
        let mut indexes = BTreeSet::from([start.leaf]);
        let places = last.into_iter();
        for slot in self.built.slots.iter().skip(number) {
            self.further_of(slot, &id, &mut indexes)?;
        }
        for place in places {
            let (index, found) = self.first_leaf(place)?;
            if found == id {
                indexes.insert(index);
            }
        }
        Ok(indexes.into_iter().collect())
    }

    /// The records of a call that the index does not list: it is too old for it, its first record went, or there
    /// is no such call. Then the log itself is asked.
    fn of_call_unlisted(&self, call: CallId) -> Result<Vec<u64>, Error> {
        let id = call.as_bytes();
        let mut indexes = Vec::new();
        // Who only read of a call, or held it, left records of it too.
        let mut begins = false;
        if self.built.floor_ms > 0 {
            let mut visit = |at: Position, frame: &Frame<'_>| {
                let leaf = leaf_of(frame).filter(|leaf| leaf.id == *id && leaf.tag != Tag::Erase);
                if let Some(leaf) = leaf {
                    let seen = Seen::parse(at, at, &leaf).map(|seen| seen.what);
                    begins |= matches!(seen, Some(What::Begin(_) | What::Ask(_) | What::Deny(_)));
                    indexes.push(leaf.index);
                }
                Ok(())
            };
            let places = (Position::default(), self.built.walked.end);
            let disk = self.disk.as_ref();
            reading::range(disk, &self.files, &self.chain, places, &mut visit)?;
        }
        match (begins, self.chain.base.records()) {
            (true, _) => Ok(indexes),
            (false, 0) => Err(Error::UnknownCall(call)),
            (false, first) => Err(Error::PrunedCall { call, first }),
        }
    }

    /// The chunk and the place of a call's row. Its id tells about when it came: chunks of that time first.
    fn row_of(&self, id: &ContentId) -> Result<Option<(usize, Start, Option<Position>)>, Error> {
        let ms = made_ms(id);
        let mut order: Vec<(usize, &Slot)> = self.built.slots.iter().enumerate().collect();
        order.sort_by_key(|(_, slot)| distance(slot.span_ms, ms));
        let wanted = half(fingerprint(id));
        for (number, slot) in order {
            let view = self.view(slot)?;
            let column = view.column(Column::Call).ok_or_else(|| self.lost())?;
            let rows = column.iter().enumerate();
            for (row, _) in rows.filter(|(_, value)| **value == wanted) {
                let (start, last) = view.place(row).ok_or_else(|| self.lost())?;
                if start.leaf < self.chain.base.records() {
                    continue;
                }
                let (index, found) = self.first_leaf(start.at)?;
                if index == start.leaf && found == *id {
                    return Ok(Some((number, start, last)));
                }
            }
        }
        Ok(None)
    }

    /// Records of the call that are noted in a chunk.
    fn further_of(
        &self,
        slot: &Slot,
        id: &ContentId,
        indexes: &mut BTreeSet<u64>,
    ) -> Result<(), Error> {
        let view = self.view(slot)?;
        if view.further() == 0 {
            return Ok(());
        }
        let column = |column| view.column(column).ok_or_else(|| self.lost());
        let (calls, segments, offsets) = (
            column(Column::FurtherCall)?,
            column(Column::FurtherSegment)?,
            column(Column::FurtherOffset)?,
        );
        let wanted = fingerprint(id);
        for ((call, segment), offset) in calls.iter().zip(&*segments).zip(&*offsets) {
            if *call != wanted {
                continue;
            }
            let place = Position {
                segment: view.base().segment + u64::from(*segment),
                offset: u64::from(*offset) * 8,
            };
            let (index, found) = self.first_leaf(place)?;
            if found == *id {
                indexes.insert(index);
            }
        }
        Ok(())
    }

    /// Index and id of the first leaf from a place on.
    fn first_leaf(&self, from: Position) -> Result<(u64, ContentId), Error> {
        let mut found = None;
        let mut visit = |_: Position, frame: &Frame<'_>| match leaf_of(frame) {
            Some(leaf) => {
                found = Some((leaf.index, leaf.id));
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        };
        let disk = self.disk.as_ref();
        reading::scan(disk, &self.files, &self.chain, from, &mut visit)?;
        found.ok_or_else(|| segment::corrupt(from, "a record is not where it was"))
    }

    /// Where a record is: found from the nearest place before it that is known, which the rows of calls are.
    ///
    /// # Errors
    /// [`Error::NoRecord`]; [`Error::IndexUnreadable`]; as [`CallIndex::open`].
    pub(super) fn locate(&self, index: u64) -> Result<LeafAt, Error> {
        if index >= self.records() {
            return Err(Error::NoRecord(index));
        }
        let first = self.chain.base.records();
        if index < first {
            return Err(Error::Pruned { index, first });
        }
        // A segment begins with a leaf, or with what is sealed with its first: the rest of that lies before it.
        let mut links = self.chain.links.iter().rev();
        let before = links.find(|link| link.header.first_leaf < index);
        let link = before.or(self.chain.links.first());
        let link = link.filter(|link| link.header.first_leaf <= index);
        let link = link.ok_or(Error::NoRecord(index))?;
        let mut behind = Position {
            segment: link.header.number,
            offset: HEADER_BYTES,
        };
        if let Some(start) = self.row_before(index)?
            && start.leaf >= link.header.first_leaf
        {
            behind = start.at;
        }
        let from = behind;
        let mut found = None;
        let mut visit = |at: Position, frame: &Frame<'_>| {
            let Some(leaf) = leaf_of(frame) else {
                return ControlFlow::Continue(());
            };
            if leaf.index >= index {
                found = (leaf.index == index).then_some(LeafAt { start: behind, at });
                return ControlFlow::Break(());
            }
            behind = Position {
                segment: at.segment,
                offset: at.offset + frame.len as u64,
            };
            ControlFlow::Continue(())
        };
        let disk = self.disk.as_ref();
        reading::scan(disk, &self.files, &self.chain, from, &mut visit)?;
        found.ok_or_else(|| segment::corrupt(from, "a record is not where it was"))
    }

    /// Where the last call begins whose first record is not behind `index`.
    fn row_before(&self, index: u64) -> Result<Option<Start>, Error> {
        let slots = &self.built.slots;
        let upto = slots.partition_point(|slot| slot.first_leaf <= index);
        for slot in slots.iter().take(upto).rev().filter(|slot| slot.rows > 0) {
            let chunk = self.chunk(slot)?;
            let leaves = chunk.column(Column::Leaf);
            let rows = leaves.partition_point(|leaf| chunk.base.leaf + u64::from(*leaf) <= index);
            if let Some(row) = rows.checked_sub(1) {
                return Ok(Some(chunk.start(row)));
            }
        }
        Ok(None)
    }
}
