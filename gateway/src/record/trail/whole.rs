//! The log read whole, without an index: what the index must agree with.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::seal::ContentId;
use super::super::segment;
use super::build::{Held, Slot};
use super::story::{CallSummary, Filter, Wanted};
use super::{CallIndex, Error, Trail};
use crate::call::CallId;

/// Leaves of each call in order, and calls in the order of their first leaf.
#[derive(Debug, Default)]
pub(in super::super) struct Whole {
    pub(in super::super) calls: HashMap<ContentId, Vec<u64>>,
    order: Vec<ContentId>,
}

impl Trail {
    /// What the log says of which leaves are of which call.
    pub(in super::super) fn whole(&self) -> Whole {
        let mut whole = Whole::default();
        let mut visit = |_: Position, frame: &Frame<'_>| {
            if frame.kind != Kind::Leaf {
                return Ok(());
            }
            let leaf = LeafFrame::parse(frame.payload).unwrap();
            if leaf.id != [0; 16] && leaf.tag != super::super::leaf::Tag::Erase {
                let of_call = whole.calls.entry(leaf.id).or_default();
                if of_call.is_empty() {
                    whole.order.push(leaf.id);
                }
                of_call.push(leaf.index);
            }
            Ok(())
        };
        let index = &self.index;
        segment::walk(index.disk.as_ref(), &index.files, &index.chain, &mut visit).unwrap();
        whole
    }

    /// Calls that match, newest first, each read from the log.
    pub(in super::super) fn calls(
        &self,
        filter: Filter,
    ) -> impl Iterator<Item = Result<CallSummary, Error>> {
        let mut wanted: Wanted = self.index.wanted(&filter);
        wanted.filter = filter;
        let order = self.whole().order;
        order.into_iter().rev().filter_map(move |id| {
            let summary = match self.summary(id) {
                Ok(summary) => summary?,
                Err(error) => return Some(Err(error)),
            };
            let holds = wanted.holds(&summary);
            holds.then(|| self.with_names(summary))
        })
    }

    /// The records of a call, by the index.
    pub(in super::super) fn records_of(&self, call: CallId) -> Vec<u64> {
        self.of_call(call).unwrap()
    }

    /// Bytes that the log's frames take.
    pub(in super::super) fn log_bytes(&self) -> u64 {
        let end = self.index.built.walked.end;
        let links = self.index.chain.links.iter();
        let ends = links.map(|link| link.end.unwrap_or(end.offset));
        ends.map(|end| end - segment::HEADER_BYTES).sum()
    }

    /// Its index.
    pub(in super::super) fn index(&self) -> &CallIndex {
        &self.index
    }

    pub(in super::super) fn log_id(&self) -> [u8; 16] {
        self.index.identity.log_id
    }

    /// Make the index wrong about the tree.
    pub(in super::super) fn spoil_blocks(&mut self) {
        let blocks = Arc::make_mut(&mut self.index.built.blocks);
        blocks.reverse();
    }

    /// Go on in a new chunk, and save: the one before is in its file alone.
    pub(in super::super) fn close_chunk(&mut self) {
        let built = &mut self.index.built;
        built.slots.push(Slot {
            rows: 0,
            first_leaf: built.walked.next.leaf,
            span_ms: (built.now_ms, built.now_ms),
            held: Held::Open(Box::default()),
        });
        built.pack(&|_| None).unwrap();
        self.index.saved = Position::default();
        self.index.save().unwrap();
    }

    /// Read chunks from their files again.
    pub(in super::super) fn forget_recent(&self) {
        self.index.recent.lock().unwrap().clear();
    }
}
