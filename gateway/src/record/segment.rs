//! Segments: the files of the write-ahead log, and reading them back.
//!
//! A segment begins with a header of 128 bytes:
//! ```text
//! 0    8  magic "cgwal01\n"
//! 8   16  the log's id
//! 24   8  the segment's number
//! 32   8  sequence number of its first frame
//! 40   8  index of its first leaf
//! 48  16  where the log ended before it: segment number, offset
//! 64   4  CRC-32 over bytes 0..64
//! ```
//! Numbers are little-endian, the rest is zero. The chain of headers, read from the newest, says which
//! bytes are the log: what lies behind a place where a newer segment took over is not.

use std::path::Path;

use super::Error;
use super::files::Files;
use super::frame::{self, Bad, Frame, Kind, LeafFrame, Position, le32, le64};
use super::pruned::Base;
use crate::disk::{Access, Disk};

/// Bytes before the first frame.
pub(super) const HEADER_BYTES: u64 = 128;

const MAGIC: &[u8; 8] = b"cgwal01\n";

/// Largest segment that is read.
const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// A segment's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) log_id: [u8; 16],
    pub(super) number: u64,
    pub(super) first_seq: u64,
    pub(super) first_leaf: u64,
    /// Where the log ended before this segment; segment 0 does not exist.
    pub(super) previous: Position,
}

impl Header {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.log_id);
        for number in [
            self.number,
            self.first_seq,
            self.first_leaf,
            self.previous.segment,
            self.previous.offset,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.resize(128, 0);
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let checked = bytes.get(..64)?;
        let rest = bytes.get(68..128)?;
        if !checked.starts_with(MAGIC)
            || le32(bytes, 64) != Some(crc32fast::hash(checked))
            || rest.iter().any(|b| *b != 0)
        {
            return None;
        }
        Some(Self {
            log_id: bytes.get(8..24)?.try_into().ok()?,
            number: le64(bytes, 24)?,
            first_seq: le64(bytes, 32)?,
            first_leaf: le64(bytes, 40)?,
            previous: Position {
                segment: le64(bytes, 48)?,
                offset: le64(bytes, 56)?,
            },
        })
    }
}

/// One segment of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) header: Header,
    /// Where its part of the log ends; `None` for the newest, which ends where its frames end.
    pub(super) end: Option<u64>,
}

/// The log's segments, oldest first, and the highest number that any file bears.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    pub(super) highest: u64,
    /// What is known of the records before them.
    pub(super) base: Base,
    /// Segments above the newest of the chain: their headers are not good. Mostly there are none, or one that
    /// was never written to; what is in them only [`walk`] and [`search`] look for.
    strays: Vec<u64>,
}

/// Read a whole file.
pub(super) fn read_file(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |doing| move |source| Error::disk(doing, path, source);
    let file = disk.open(path, Access::Read).map_err(failed("open"))?;
    crate::disk::read_all(file.as_ref(), SEGMENT_BYTES_MAX).map_err(failed("read"))
}

pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name
        .strip_suffix(".wal")
        .filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

impl Chain {
    /// Find the chain of segments.
    ///
    /// # Errors
    /// [`Error::Missing`] when a segment that a newer one builds on is not there,
    /// [`Error::Corrupt`] when its header is not what it was.
    pub(super) fn find(disk: &dyn Disk, files: &Files, log_id: &[u8; 16]) -> Result<Self, Error> {
        let listed = disk
            .list(&files.wal)
            .map_err(|source| Error::disk("list", &files.wal, source))?;
        let mut numbers: Vec<u64> = listed
            .iter()
            .filter_map(|file| number_of(&file.name))
            .collect();
        numbers.sort_unstable();
        let mut chain = Self {
            highest: numbers.last().copied().unwrap_or(0),
            // After the list: what is not in it any more is before this.
            base: Base::read(disk, files)?,
            ..Self::default()
        };
        // The newest with a good header; a newer one without was never written to, or this finds out.
        let mut newest = None;
        while let Some(number) = numbers.pop() {
            let good = read_header(disk, files, number)?.filter(|h| fits(h, number, log_id));
            if good.is_some() {
                newest = good;
                break;
            }
            chain.strays.push(number);
        }
        let mut end = None;
        while let Some(header) = newest {
            chain.links.push(Link { header, end });
            end = Some(header.previous.offset);
            let before = header.previous.segment;
            if before == 0 || header.number == chain.base.segment {
                break;
            }
            if before >= header.number || numbers.binary_search(&before).is_err() {
                return Err(Error::Missing(before));
            }
            newest = read_header(disk, files, before)?.filter(|h| fits(h, before, log_id));
            if newest.is_none() {
                return Err(corrupt(
                    Position {
                        segment: before,
                        offset: 0,
                    },
                    "the segment's header is not intact",
                ));
            }
        }
        chain.links.reverse();
        chain.check_base()?;
        Ok(chain)
    }

    /// The furthest place that a segment without a good header says was durable.
    fn stray(&self, disk: &dyn Disk, files: &Files) -> Result<Position, Error> {
        let mut furthest = Position::default();
        for number in &self.strays {
            let bytes = read_file(disk, &files.segment(*number))?;
            furthest = furthest.max(furthest_mark(&bytes));
        }
        if self.links.is_empty() && furthest > Position::default() {
            return Err(corrupt(furthest, "no segment has an intact header"));
        }
        Ok(furthest)
    }
}

impl Chain {
    /// What the first frame that is here is numbered.
    pub(super) const fn first(&self) -> Expect {
        Expect {
            seq: self.base.seq,
            leaf: self.base.records(),
        }
    }

    /// Whether the log begins where it is said to, after what went.
    fn check_base(&self) -> Result<(), Error> {
        let base = &self.base;
        if base.segment == 0 {
            return Ok(());
        }
        let first = self.links.first().map(|link| link.header);
        let first = first.ok_or(Error::Missing(base.segment))?;
        let begins = (first.number, first.first_seq, first.first_leaf);
        if begins == (base.segment, base.seq, base.records()) {
            return Ok(());
        }
        let at = Position {
            segment: first.number,
            offset: 0,
        };
        Err(corrupt(at, "the log does not begin where it was pruned"))
    }
}

fn fits(header: &Header, number: u64, log_id: &[u8; 16]) -> bool {
    header.number == number && header.log_id == *log_id
}

fn read_header(disk: &dyn Disk, files: &Files, number: u64) -> Result<Option<Header>, Error> {
    let path = files.segment(number);
    let failed = |doing| move |source| Error::disk(doing, &path, source);
    let file = disk
        .open(&files.segment(number), Access::Read)
        .map_err(failed.clone()("open"))?;
    let mut bytes = [0; 128];
    let read = file.read_at(&mut bytes, 0).map_err(failed("read"))?;
    Ok(bytes.get(..read).and_then(Header::parse))
}

pub(super) const fn corrupt(at: Position, what: &'static str) -> Error {
    Error::Corrupt {
        segment: at.segment,
        offset: at.offset,
        what,
    }
}

/// The furthest place that any batch frame in `bytes` says was durable, whole frames or not around it.
fn furthest_mark(bytes: &[u8]) -> Position {
    let marks = memchr::memmem::find_iter(bytes, &frame::MAGIC)
        .filter(|at| at % frame::ALIGN == 0)
        .filter_map(|at| frame::parse(bytes.get(at..)?).ok())
        .filter(|frame| frame.kind == Kind::Batch)
        .filter_map(|frame| frame::batch_mark(frame.payload));
    marks.max().unwrap_or_default()
}

/// What follows from frame to frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Expect {
    pub(super) seq: u64,
    pub(super) leaf: u64,
}

/// Where a walk over the log ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Walked {
    /// The log's end.
    pub(super) end: Position,
    /// What the next frame is numbered.
    pub(super) next: Expect,
    /// Bytes of an unfinished write behind the end.
    pub(super) torn: bool,
}

/// Something that looks at each frame in order.
pub(super) type Visit<'v> = dyn FnMut(Position, &Frame<'_>) -> Result<(), Error> + 'v;

/// Walk over one segment's bytes, which begin at the offset `base` of it.
///
/// # Errors
/// [`Error::Corrupt`] when bytes that are known to be durable are not a good log; what `visit` says.
pub(super) fn walk_segment(
    link: &Link,
    (base, bytes): (u64, &[u8]),
    stray: Position,
    expect: &mut Expect,
    visit: &mut Visit<'_>,
) -> Result<Walked, Error> {
    let place = |offset: usize| Position {
        segment: link.header.number,
        offset: base + offset as u64,
    };
    let mut at = 0;
    let stop = match link.end {
        Some(end) => usize::try_from(end.saturating_sub(base)).unwrap_or(usize::MAX),
        None => usize::MAX,
    };
    let bad = loop {
        if at >= stop {
            break None;
        }
        let rest = bytes.get(at..stop.min(bytes.len())).unwrap_or_default();
        match frame::parse(rest) {
            Ok(frame) => {
                if let Some(what) = out_of_order(&frame, expect) {
                    break Some(what);
                }
                visit(place(at), &frame)?;
                at += frame.len;
            }
            Err(Bad::Empty) => break Some("nothing where a frame was"),
            Err(Bad::Broken) => break Some("a frame is not intact"),
        }
    };
    let end = place(at);
    let mut torn = false;
    if let Some(what) = bad {
        let tail = bytes.get(at..).unwrap_or_default();
        // A bad frame below a later mark was durable once; above every mark it is a torn tail.
        if link.end.is_some() || furthest_mark(tail).max(stray) > end {
            return Err(corrupt(end, what));
        }
        torn = tail.iter().any(|b| *b != 0);
    }
    Ok(Walked {
        end,
        next: *expect,
        torn,
    })
}

/// Checks numbering and counts on; says what is wrong.
pub(super) fn out_of_order(frame: &Frame<'_>, expect: &mut Expect) -> Option<&'static str> {
    if frame.seq != expect.seq {
        return Some("a frame is out of order");
    }
    // A batch frame bears the number of the frame that follows it.
    if frame.kind != Kind::Batch {
        expect.seq += 1;
    }
    if frame.kind == Kind::Leaf {
        match LeafFrame::parse(frame.payload) {
            Some(leaf) if leaf.index == expect.leaf => expect.leaf += 1,
            Some(_) | None => return Some("a record is out of order"),
        }
    }
    None
}

/// Walk over the whole log, for those who must know that nothing of it is lost: what lies behind its end is
/// searched for marks that say that it once went further.
///
/// # Errors
/// As [`walk_segment`].
pub(super) fn walk(
    disk: &dyn Disk,
    files: &Files,
    chain: &Chain,
    visit: &mut Visit<'_>,
) -> Result<Walked, Error> {
    let stray = chain.stray(disk, files)?;
    let mut expect = chain.first();
    let mut walked = Walked {
        next: expect,
        ..Walked::default()
    };
    for link in &chain.links {
        if link.end.is_some() {
            walked = super::reading::follow(disk, files, link, walked, visit)?;
            expect = walked.next;
            continue;
        }
        continues(link, expect)?;
        let path = files.segment(link.header.number);
        let bytes = read_from(disk, &path, HEADER_BYTES)?;
        walked = walk_segment(link, (HEADER_BYTES, &bytes), stray, &mut expect, visit)?;
    }
    Ok(walked)
}

/// Whether a segment goes on where the one before it ended.
pub(super) fn continues(link: &Link, expect: Expect) -> Result<(), Error> {
    if (link.header.first_seq, link.header.first_leaf) == (expect.seq, expect.leaf) {
        return Ok(());
    }
    let at = Position {
        segment: link.header.number,
        offset: 0,
    };
    Err(corrupt(at, "the segment does not continue the one before"))
}

/// Whether what lies behind an end says that the log once went further.
///
/// # Errors
/// [`Error::Corrupt`] when it does.
pub(super) fn search(
    disk: &dyn Disk,
    files: &Files,
    chain: &Chain,
    end: Position,
) -> Result<(), Error> {
    let mut furthest = chain.stray(disk, files)?;
    if let Some(link) = chain.links.last() {
        let number = link.header.number;
        let base = if number == end.segment {
            end.offset
        } else {
            HEADER_BYTES
        };
        let bytes = read_from(disk, &files.segment(number), base)?;
        furthest = furthest.max(furthest_mark(&bytes));
    }
    if furthest > end {
        return Err(corrupt(end, "a frame is not intact"));
    }
    Ok(())
}

/// Read a file from an offset to its end.
fn read_from(disk: &dyn Disk, path: &Path, base: u64) -> Result<Vec<u8>, Error> {
    let failed = |doing| move |source| Error::disk(doing, path, source);
    let file = disk.open(path, Access::Read).map_err(failed("open"))?;
    let len = file.len_bytes().map_err(failed("read"))?;
    let len = len.min(SEGMENT_BYTES_MAX).saturating_sub(base);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = file.read_at(&mut bytes, base).map_err(failed("read"))?;
    bytes.truncate(read);
    Ok(bytes)
}
