//! Records to hand on while the gateway runs: in their order, without a gap, and none that no signed head
//! covers. Reads the log's files beside the writer, a bounded piece at a time.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::files::{Files, Identity};
use super::frame::{Kind, LeafFrame, Position};
use super::leaf::{hex, nanos_from_text};
use super::segment::{self, Chain, HEADER_BYTES};
use super::{Error, Recorder, reading};
use crate::clock::Timestamp;

/// One record of a feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fed {
    /// Its index in the log, which its `seq` repeats.
    pub index: u64,
    /// Its exact bytes: one line of JSON.
    pub leaf: Vec<u8>,
    /// The same, parsed.
    pub fields: Value,
}

impl Fed {
    /// A text of the record.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// When it was written.
    pub fn at(&self) -> Option<Timestamp> {
        nanos_from_text(self.word("t")?)
    }
}

/// How much is read at a time.
#[derive(Clone, Copy, Debug)]
pub struct FeedLimits {
    /// Most records.
    pub records: usize,
    /// Most bytes of records; one is read also when it alone has more.
    pub bytes: usize,
}

/// A record's index, and where its frame begins.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: u64,
    at: Position,
}

/// Reads records in their order.
#[derive(Debug)]
pub struct Feed {
    recorder: Recorder,
    files: Files,
    identity: Identity,
    /// Where the last reading ended: the next one mostly goes on there.
    mark: Option<Mark>,
    chain: Option<Chain>,
}

impl Feed {
    /// Over the log in `dir`, which this recorder writes.
    ///
    /// # Errors
    /// When the log's identity cannot be read.
    pub fn new(recorder: Recorder, dir: &Path) -> Result<Self, Error> {
        let files = Files::new(dir);
        let identity = Identity::read(recorder.disk().as_ref(), &files)?;
        Ok(Self {
            recorder,
            files,
            identity,
            mark: None,
            chain: None,
        })
    }

    /// The log's id, as text.
    pub fn log_id(&self) -> String {
        hex(&self.identity.log_id)
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.identity.origin
    }

    /// How many records the newest signed head covers.
    pub fn signed(&self) -> u64 {
        self.recorder.head().map_or(0, |head| head.size)
    }

    /// The oldest record that is still in the log's files.
    ///
    /// # Errors
    /// As [`Feed::read`].
    pub fn oldest(&self) -> Result<u64, Error> {
        let links = self.find()?.links;
        Ok(links.first().map_or(0, |link| link.header.first_leaf))
    }

    /// The records from index `from` on that a signed head covers, as many as fit; none when there are none.
    ///
    /// # Errors
    /// [`Error::NoRecord`] when the log's files begin behind it; [`Error::Corrupt`], [`Error::Missing`].
    pub fn read(&mut self, from: u64, limits: FeedLimits) -> Result<Vec<Fed>, Error> {
        // The head first: whatever it covers, the chain that is found afterwards holds.
        let signed = self.signed();
        if from >= signed {
            return Ok(Vec::new());
        }
        let known = self.chain.take().filter(|chain| self.stays(chain));
        if let Some(chain) = known {
            match self.read_in(chain, from, signed, limits) {
                // What is read goes on beyond what was the newest segment then, or was written again in
                // another one: that says nothing of the log before its chain is found anew.
                Err(Error::Corrupt { .. } | Error::Missing(_) | Error::Disk { .. }) => {}
                read => return read,
            }
        }
        let chain = self.find()?;
        self.read_in(chain, from, signed, limits)
    }

    fn read_in(
        &mut self,
        chain: Chain,
        from: u64,
        signed: u64,
        limits: FeedLimits,
    ) -> Result<Vec<Fed>, Error> {
        let disk = Arc::clone(self.recorder.disk());
        let mut found = Vec::new();
        let start = self.start(&chain, from)?;
        let mut mark = self.mark;
        let (mut bytes, mut wrong) = (0, None);
        let visit = &mut |at: Position, frame: &super::frame::Frame<'_>| {
            if frame.kind != Kind::Leaf {
                return ControlFlow::Continue(());
            }
            let leaf = LeafFrame::parse(frame.payload).filter(|leaf| leaf.leaf.is_ascii());
            let fed = leaf.and_then(|leaf| {
                Some(Fed {
                    index: leaf.index,
                    leaf: leaf.leaf.to_vec(),
                    fields: serde_json::from_slice(leaf.leaf).ok()?,
                })
            });
            let Some(fed) = fed else {
                wrong = Some((at, "a record's frame is malformed"));
                return ControlFlow::Break(());
            };
            if fed.index < from {
                return ControlFlow::Continue(());
            }
            if fed.index != from + found.len() as u64 {
                wrong = Some((at, "a record is out of order"));
                return ControlFlow::Break(());
            }
            if bytes + fed.leaf.len() > limits.bytes && !found.is_empty() {
                return ControlFlow::Break(());
            }
            bytes += fed.leaf.len();
            mark = Some(Mark {
                index: fed.index,
                at,
            });
            let last = fed.index + 1 >= signed;
            found.push(fed);
            if last || found.len() >= limits.records {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        reading::scan(disk.as_ref(), &self.files, &chain, start, visit)?;
        if let Some((at, what)) = wrong {
            return Err(segment::corrupt(at, what));
        }
        self.chain = Some(chain);
        self.mark = mark;
        Ok(found)
    }

    fn find(&self) -> Result<Chain, Error> {
        let disk = self.recorder.disk().as_ref();
        Chain::find(disk, &self.files, &self.identity.log_id)
    }

    /// Whether a chain that was found before is still right where it is read next: the end of its newest
    /// segment is not known until another one took over.
    fn stays(&self, chain: &Chain) -> bool {
        let newest = chain.links.last().map(|link| link.header.number);
        let next = self.mark.map(|mark| mark.at.segment);
        matches!((next, newest), (Some(next), Some(newest)) if next + 1 < newest)
    }

    fn start(&self, chain: &Chain, from: u64) -> Result<Position, Error> {
        let mut links = chain.links.iter().rev();
        let link = links.find(|link| link.header.first_leaf <= from);
        let link = link.ok_or(Error::NoRecord(from))?;
        let beginning = Position {
            segment: link.header.number,
            offset: HEADER_BYTES,
        };
        let mark = self.mark.filter(|mark| mark.index <= from);
        Ok(mark.map_or(beginning, |mark| mark.at.max(beginning)))
    }
}
