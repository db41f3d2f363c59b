//! The hashes of records, read from the log's files: beside the writer, up to what is on the disk.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use tlog::tree::{Growth, leaf_hash};

use super::super::Error;
use super::super::files::Files;
use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::reading;
use super::super::segment::{self, Chain, HEADER_BYTES};
use crate::disk::Disk;

/// A record's index, and a place in the log at or before it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    at: Position,
}

/// Where the records are.
#[derive(Debug)]
pub(super) struct Leaves {
    disk: Arc<dyn Disk>,
    files: Files,
    log_id: [u8; 16],
    /// Where the last reading ended: the next one mostly goes on there.
    mark: Mutex<Option<Mark>>,
}

impl Leaves {
    pub(super) fn new(disk: Arc<dyn Disk>, files: Files, log_id: [u8; 16]) -> Self {
        Self {
            disk,
            files,
            log_id,
            mark: Mutex::new(None),
        }
    }

    /// Feed the records up to `size`, all of which are known to be on the disk.
    pub(super) fn feed(&self, growth: &mut Growth, size: u64) -> Result<(), Error> {
        match self.feed_once(growth, size) {
            // Old segments went while they were read: their hashes are kept.
            Err(Error::Disk { .. } | Error::Missing(_)) => self.feed_once(growth, size),
            fed => fed,
        }
    }

    fn feed_once(&self, growth: &mut Growth, size: u64) -> Result<(), Error> {
        let Some(first) = growth.next() else {
            return Ok(());
        };
        let chain = Chain::find(self.disk.as_ref(), &self.files, &self.log_id)?;
        let disk = self.disk.as_ref();
        chain.base.hashes(disk, &self.files, first, &mut |hash| {
            if growth.next().is_some_and(|next| next < size) {
                growth.push(hash);
            }
            Ok(())
        })?;
        let Some(first) = growth.next() else {
            return Ok(());
        };
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = mark.filter(|mark| mark.index <= first);
        let mut links = chain.links.iter().rev();
        let Some(link) = links.find(|link| link.header.first_leaf <= first) else {
            return Ok(());
        };
        let beginning = Position {
            segment: link.header.number,
            offset: HEADER_BYTES,
        };
        let from = mark.map_or(beginning, |mark| mark.at.max(beginning));
        let mut wrong = None;
        let mut visit = |place: Position, frame: &Frame<'_>| {
            if frame.kind != Kind::Leaf {
                return ControlFlow::Continue(());
            }
            let Some(leaf) = LeafFrame::parse(frame.payload) else {
                wrong = Some(place);
                return ControlFlow::Break(());
            };
            if Some(leaf.index) == growth.next() {
                growth.push(leaf_hash(leaf.leaf));
            }
            if growth.next().is_some_and(|next| next < size) {
                return ControlFlow::Continue(());
            }
            let mark = Mark {
                index: leaf.index,
                at: place,
            };
            *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
            ControlFlow::Break(())
        };
        if first < size {
            reading::scan(self.disk.as_ref(), &self.files, &chain, from, &mut visit)?;
        }
        if let Some(place) = wrong {
            return Err(segment::corrupt(place, "a record's frame is malformed"));
        }
        Ok(())
    }
}
