//! The index of calls while it is built: leaves go in, in order.

use std::collections::HashMap;
use std::sync::Arc;

use tlog::tree::{Hash, Tree};

use super::super::Error;
use super::super::frame::Position;
use super::super::retain::Expired;
use super::super::seal::ContentId;
use super::super::segment::{Chain, Walked};
use super::columns::{Chunk, Column, Packed, Start};
use super::seen::{Decided, Facts, Seen, Standing, What, outcome_number};

/// How long, by the log's own time, a call with an approval may still be told of after it came to an
/// end: the records of the approval are written beside those of the call.
const SETTLED_MS: u64 = 3_600_000;

/// Leaves of one block, of which the index keeps the root alone; as many as a full tile of C2SP has.
pub(super) const BLOCK_LEAVES: u64 = 1 << BLOCK_LEVEL;
pub(super) const BLOCK_LEVEL: u8 = 8;

/// Where a chunk's bytes are.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// In the file of this name.
    File(String),
    /// In memory; no file has them.
    Packed(Arc<Packed>),
    /// Being changed.
    Open(Box<Chunk>),
}

/// One chunk, and what can be said of it without unpacking it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) rows: u64,
    pub(super) first_leaf: u64,
    /// Earliest and latest first record, in milliseconds.
    pub(super) span_ms: (u64, u64),
    pub(super) held: Held,
}

/// A call that more records may come for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pending {
    pub(super) slot: usize,
    pub(super) row: usize,
    pub(super) approval: bool,
    /// When it came to an end, if it did.
    pub(super) ended_ms: Option<u64>,
}

/// The last leaf that was read: the log must still have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LastLeaf {
    pub(super) index: u64,
    pub(super) at: Position,
    pub(super) hash: [u8; 32],
}

/// What was read so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Built {
    pub(super) slots: Vec<Slot>,
    pub(super) pending: HashMap<ContentId, Pending>,
    /// Destroyed keys, by pseudonym: the record of it.
    pub(super) erased: HashMap<ContentId, u64>,
    /// Records of legal holds, and of the config: they are few.
    pub(super) holds: Vec<Position>,
    pub(super) changes: Vec<Position>,
    /// The tree over all leaves, and the roots of each full [`BLOCK_LEAVES`] of them.
    pub(super) tree: Tree,
    pub(super) blocks: Arc<Vec<Hash>>,
    /// Up to which day content is destroyed because its time was over.
    pub(super) expired: Option<Expired>,
    pub(super) walked: Walked,
    /// Behind the last leaf.
    pub(super) behind: Position,
    pub(super) last: Option<LastLeaf>,
    pub(super) now_ms: u64,
    /// Calls whose first record is older than this are not listed, in milliseconds.
    pub(super) floor_ms: u64,
    /// Chunks were dropped that the files still have.
    pub(super) changed: bool,
}

/// A chunk could not be read again: the index is to be made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lost;

/// Reads a chunk's file.
pub(super) type Load<'l> = &'l dyn Fn(&str) -> Option<Packed>;

impl Built {
    /// Nothing of records that went; what is read next is numbered as the first that is here. Their hashes are
    /// read with `hashes` where the tree does not have them yet.
    pub(super) fn begin(
        &mut self,
        chain: &Chain,
        hashes: &dyn Fn() -> Result<Vec<Hash>, Error>,
    ) -> Result<(), Error> {
        let base = &chain.base;
        let first = base.records();
        if self.walked.next.leaf < first {
            // Records went that were never read.
            *self = self.anew();
        }
        if self.walked.end == Position::default() && first > 0 {
            self.walked.next = chain.first();
            self.erased.extend(base.erased.iter().copied());
            self.expired = base.expired;
            self.grow(&hashes()?);
            if self.tree != base.tree {
                // What is read behind them is right all the same; proofs are checked against a head.
                self.tree = base.tree.clone();
                let blocks = usize::try_from(first / BLOCK_LEAVES).unwrap_or(usize::MAX);
                self.blocks = Arc::new(vec![base.tree.root(); blocks]);
            }
        }
        let here = |at: &Position| at.segment >= base.segment;
        self.holds.retain(here);
        self.changes.retain(here);
        let gone = self.slots.iter().skip(1);
        let gone = gone.take_while(|next| next.first_leaf <= first).count();
        self.drop_slots(gone);
        Ok(())
    }

    /// To read the log anew, with the same calls forgotten.
    pub(super) fn anew(&self) -> Self {
        Self {
            floor_ms: self.floor_ms,
            ..Self::default()
        }
    }

    /// Nothing of calls before a time any more.
    pub(super) fn forget_before(&mut self, floor_ms: u64) {
        self.floor_ms = self.floor_ms.max(floor_ms);
        let floor = self.floor_ms;
        let old = self.slots.iter().take_while(|slot| slot.span_ms.1 < floor);
        let old = old.count();
        self.drop_slots(old);
    }

    /// Forget the oldest chunks.
    fn drop_slots(&mut self, count: usize) {
        if count == 0 {
            return;
        }
        self.slots.drain(..count.min(self.slots.len()));
        self.pending.retain(|_, pending| pending.slot >= count);
        for pending in self.pending.values_mut() {
            pending.slot -= count;
        }
        self.changed = true;
    }

    /// Calls so far.
    pub(super) fn rows(&self) -> u64 {
        self.slots.iter().map(|slot| slot.rows).sum()
    }

    /// Put the hashes of all leaves in, in their order.
    pub(super) fn grow(&mut self, hashes: &[Hash]) {
        let blocks = Arc::make_mut(&mut self.blocks);
        for hash in hashes {
            self.tree.push_with(*hash, |level, _, hash| {
                if level == BLOCK_LEVEL {
                    blocks.push(hash);
                }
            });
        }
    }

    /// Put leaves in.
    pub(super) fn apply(&mut self, seen: Vec<Seen>, load: Load<'_>) -> Result<(), Lost> {
        for leaf in seen {
            self.now_ms = self.now_ms.max(leaf.ms);
            self.leaf(&leaf, load)?;
        }
        let settled = self.now_ms.saturating_sub(SETTLED_MS);
        self.pending
            .retain(|_, pending| pending.ended_ms.is_none_or(|ended| ended > settled));
        self.pack(load)
    }

    fn leaf(&mut self, leaf: &Seen, load: Load<'_>) -> Result<(), Lost> {
        let pending = self.pending.get(&leaf.id).copied();
        match (&leaf.what, pending) {
            (What::Erase, _) => {
                self.erased.insert(leaf.id, leaf.index);
                self.forget(&leaf.id, load)
            }
            (What::Begin(facts) | What::Ask(facts) | What::Deny(facts), None) => {
                if leaf.ms >= self.floor_ms {
                    self.first(leaf, facts);
                }
                Ok(())
            }
            (What::Change, _) => {
                self.changes.push(leaf.at);
                Ok(())
            }
            // A call that is told of and was never begun: its end says nothing.
            (What::End { .. } | What::Over(_), None) | (What::Further, _) => {
                self.note(leaf);
                Ok(())
            }
            (What::End { .. }, Some(pending)) => self.further(leaf, pending, load),
            (_, Some(pending)) => {
                // One that comes later may take its place in the row.
                self.note(leaf);
                self.further(leaf, pending, load)
            }
        }
    }

    /// The chunk that takes a leaf in, which is the newest, and its number.
    fn newest(&mut self, start: &Start) -> Option<(usize, &mut Slot)> {
        let fits = self
            .slots
            .last()
            .is_some_and(|slot| matches!(&slot.held, Held::Open(chunk) if chunk.takes(start)));
        if !fits {
            self.slots.push(Slot {
                rows: 0,
                first_leaf: start.leaf,
                span_ms: (start.ms, start.ms),
                held: Held::Open(Box::default()),
            });
        }
        let number = self.slots.len() - 1;
        Some((number, self.slots.last_mut()?))
    }

    /// Keep where a record lies that is neither the first of its call nor its end.
    fn note(&mut self, leaf: &Seen) {
        let start = leaf.begins();
        let newest = self.newest(&start);
        if let Some(Held::Open(chunk)) = newest.map(|(_, slot)| &mut slot.held) {
            chunk.note(&leaf.id, &start);
        }
    }

    fn first(&mut self, leaf: &Seen, facts: &Facts) {
        let start = leaf.begins();
        let Some((number, slot)) = self.newest(&start) else {
            return;
        };
        slot.rows += 1;
        slot.span_ms = (slot.span_ms.0.min(leaf.ms), slot.span_ms.1.max(leaf.ms));
        let Held::Open(chunk) = &mut slot.held else {
            return;
        };
        let row = chunk.push(&leaf.id, &start);
        let function = facts.function.as_deref().map_or(0, |id| chunk.function(id));
        let subject = facts.subject.map_or(0, |known| chunk.subject(known));
        let actor = facts.actor.map_or(0, |known| chunk.subject(known));
        chunk.set(Column::Function, row, function);
        chunk.set(Column::Subject, row, subject);
        chunk.set(Column::Actor, row, actor);
        // What would have been made of it is told of a call as it came.
        let standing = Standing::came(facts.shadow, facts.observed);
        chunk.set(Column::State, row, standing.0);
        let pending = Pending {
            slot: number,
            row,
            approval: false,
            ended_ms: None,
        };
        let pending = tell(chunk, pending, leaf);
        if pending.approval || pending.ended_ms.is_none() {
            self.pending.insert(leaf.id, pending);
        }
    }

    fn further(&mut self, leaf: &Seen, pending: Pending, load: Load<'_>) -> Result<(), Lost> {
        let chunk = self.chunk(pending.slot, load)?;
        let standing = Standing(chunk.value(Column::State, pending.row));
        // What became of the question says nothing of a call that ended, or was denied.
        if matches!(leaf.what, What::Over(_)) && !standing.undecided() {
            return Ok(());
        }
        let pending = tell(chunk, pending, leaf);
        if leaf.at != chunk.start(pending.row).at {
            chunk.set_last(pending.row, leaf.at);
        }
        if pending.approval || pending.ended_ms.is_none() {
            self.pending.insert(leaf.id, pending);
        } else {
            self.pending.remove(&leaf.id);
        }
        Ok(())
    }

    fn chunk(&mut self, number: usize, load: Load<'_>) -> Result<&mut Chunk, Lost> {
        let slot = self.slots.get_mut(number).ok_or(Lost)?;
        let opened = match &slot.held {
            Held::Open(_) => None,
            Held::Packed(packed) => Some(packed.open().ok_or(Lost)?),
            Held::File(name) => Some(load(name).and_then(|packed| packed.open()).ok_or(Lost)?),
        };
        if let Some(chunk) = opened {
            slot.held = Held::Open(Box::new(chunk));
        }
        match &mut slot.held {
            Held::Open(chunk) => Ok(chunk),
            Held::Packed(_) | Held::File(_) => Err(Lost),
        }
    }

    /// Take a pseudonym out of every dictionary.
    fn forget(&mut self, reference: &ContentId, load: Load<'_>) -> Result<(), Lost> {
        for number in 0..self.slots.len() {
            let known = match self.slots.get(number).map(|slot| &slot.held) {
                Some(Held::Open(_)) => true,
                Some(Held::Packed(packed)) => has(packed, reference)?,
                Some(Held::File(name)) => has(&load(name).ok_or(Lost)?, reference)?,
                None => false,
            };
            if known {
                self.chunk(number, load)?.forget(reference);
            }
        }
        Ok(())
    }

    /// Make the newest chunk open again, after it was read from a file, and pack all others.
    pub(super) fn pack(&mut self, load: Load<'_>) -> Result<(), Lost> {
        if let Some(newest) = self.slots.len().checked_sub(1) {
            self.chunk(newest, load)?;
            for slot in self.slots.iter_mut().take(newest) {
                if let Held::Open(chunk) = &slot.held {
                    let bytes = chunk.encode().map_err(|_| Lost)?;
                    slot.held = Held::Packed(Arc::new(Packed::parse(bytes).ok_or(Lost)?));
                }
            }
        }
        Ok(())
    }
}

fn has(packed: &Packed, reference: &ContentId) -> Result<bool, Lost> {
    Ok(packed.subjects().ok_or(Lost)?.contains(reference))
}

/// Write into a row what a leaf says of its call.
fn tell(chunk: &mut Chunk, pending: Pending, leaf: &Seen) -> Pending {
    let row = pending.row;
    let before = Standing(chunk.value(Column::State, row));
    let approval = match &leaf.what {
        What::Begin(facts) | What::Ask(facts) | What::Deny(facts) => facts.approval,
        What::End { .. } | What::Over(_) | What::Erase | What::Further | What::Change => 0,
    };
    if approval != 0 {
        chunk.set(Column::Approval, row, approval);
    }
    let approval = approval != 0 || pending.approval;
    let (standing, ended) = match &leaf.what {
        What::Begin(facts) => {
            let begun = before
                .with_outcome(outcome_number("open"))
                .with_decided(if approval {
                    Decided::Ask
                } else {
                    Decided::Allow
                });
            let begun = match facts.glass {
                true => begun.with_glass(),
                false => begun,
            };
            (begun, false)
        }
        What::Ask(_) => (
            before
                .with_outcome(outcome_number("pending"))
                .with_decided(Decided::Ask),
            false,
        ),
        What::Deny(facts) => {
            let denied = before
                .with_outcome(outcome_number("denied"))
                .with_decided(Decided::Deny);
            (
                if facts.unknown {
                    denied.with_unknown()
                } else {
                    denied
                },
                true,
            )
        }
        What::End { outcome, status } => {
            chunk.set(Column::Status, row, *status);
            (before.with_outcome(*outcome), true)
        }
        What::Over(outcome) => (before.with_outcome(*outcome), true),
        What::Erase | What::Further | What::Change => (before, false),
    };
    chunk.set(Column::State, row, standing.0);
    Pending {
        approval,
        ended_ms: if ended { Some(leaf.ms) } else { None },
        ..pending
    }
}
