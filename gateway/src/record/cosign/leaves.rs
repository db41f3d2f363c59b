//! The hashes of records, read from the log's files: beside the writer, up to what is on the disk.

use std::sync::{Arc, Mutex, PoisonError};

use tlog::tree::{Growth, leaf_hash};

use super::super::Error;
use super::super::files::Files;
use super::super::frame::{self, Kind, LeafFrame, Position};
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
        let Some(first) = growth.next() else {
            return Ok(());
        };
        let chain = Chain::find(self.disk.as_ref(), &self.files, &self.log_id)?;
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = mark.filter(|mark| mark.index <= first);
        let begins_after = |at: usize| {
            let next = chain.links.get(at + 1);
            next.is_some_and(|next| next.header.first_leaf <= first)
        };
        let links = chain.links.iter().enumerate();
        for (_, link) in links.skip_while(|(at, _)| begins_after(*at)) {
            let number = link.header.number;
            let base = match mark {
                Some(mark) if mark.at.segment == number => mark.at.offset,
                Some(_) | None => HEADER_BYTES,
            };
            let path = self.files.segment(number);
            let bytes = segment::read_from(self.disk.as_ref(), &path, base)?;
            let mut at = 0;
            while link.end.is_none_or(|end| base + (at as u64) < end) {
                let place = Position {
                    segment: number,
                    offset: base + at as u64,
                };
                if growth.next().is_none_or(|next| next >= size) {
                    let mark = Mark {
                        index: size,
                        at: place,
                    };
                    *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
                    return Ok(());
                }
                let frame = frame::parse(bytes.get(at..).unwrap_or_default())
                    .map_err(|_| segment::corrupt(place, "a frame is not intact"))?;
                at += frame.len;
                if frame.kind != Kind::Leaf {
                    continue;
                }
                let leaf = LeafFrame::parse(frame.payload)
                    .ok_or_else(|| segment::corrupt(place, "a record's frame is malformed"))?;
                if Some(leaf.index) == growth.next() {
                    growth.push(leaf_hash(leaf.leaf));
                }
            }
        }
        Ok(())
    }
}
