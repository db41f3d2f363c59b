//! Reading the log beside its writer: up to the written end, or around one place. What was allocated ahead is
//! neither read nor searched; who must know that nothing is lost walks over the whole log instead
//! ([`super::segment::walk`]).

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::Error;
use super::files::Files;
use super::frame::{self, Bad, Frame, Position};
use super::segment::{
    Chain, Expect, HEADER_BYTES, Link, Visit, Walked, continues, corrupt, out_of_order,
};
use crate::disk::{Access, Disk, File};

/// Bytes that are read at one time: they stay in the processor's cache while they are looked at. A longer frame
/// makes it more.
const WINDOW_BYTES: usize = 256 * 1024;

/// A part of one file, in memory that is used again for the next.
struct Window {
    path: PathBuf,
    file: Box<dyn File>,
    bytes: Vec<u8>,
}

impl Window {
    fn open(disk: &dyn Disk, path: PathBuf) -> Result<Self, Error> {
        let file = disk.open(&path, Access::Read);
        let file = file.map_err(|source| Error::disk("open", &path, source))?;
        let bytes = Vec::new();
        Ok(Self { path, file, bytes })
    }

    /// What stands from an offset on, at most `most` bytes; less only at the file's end.
    fn read(&mut self, offset: u64, most: usize) -> Result<&[u8], Error> {
        if self.bytes.len() < most {
            self.bytes.resize(most, 0);
        }
        let into = self.bytes.get_mut(..most).unwrap_or_default();
        let read = self.file.read_at(into, offset);
        let read = read.map_err(|source| Error::disk("read", &self.path, source))?;
        Ok(self.bytes.get(..read).unwrap_or_default())
    }
}

/// Ordinary reading of one segment, from where an earlier one ended up to the written end: what was allocated
/// ahead is neither read nor searched. So it cannot tell a log that ends from one whose rest is lost: whoever
/// knows of a head beyond the end asks [`super::segment::search`].
///
/// # Errors
/// [`Error::Corrupt`] when a segment that is complete is not a good log; what `visit` says.
pub(super) fn follow(
    disk: &dyn Disk,
    files: &Files,
    link: &Link,
    start: Walked,
    visit: &mut Visit<'_>,
) -> Result<Walked, Error> {
    let mut expect = start.next;
    let mut place = Position {
        segment: link.header.number,
        offset: HEADER_BYTES,
    };
    if start.end.segment == place.segment {
        place = start.end;
    } else {
        continues(link, expect)?;
    }
    let mut window = Window::open(disk, files.segment(place.segment))?;
    let mut most = WINDOW_BYTES;
    let bad = loop {
        let left = link
            .end
            .map_or(u64::MAX, |end| end.saturating_sub(place.offset));
        if left == 0 {
            break None;
        }
        let asked = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let bytes = window.read(place.offset, asked)?;
        let (at, bad) = frames(bytes, &mut place, &mut expect, visit)?;
        let rest = bytes.len().saturating_sub(at);
        let what = match bad {
            Stop::Order(what) => break Some(what),
            Stop::Frame(Bad::Empty) if rest >= frame::HEADER_BYTES => {
                break Some("nothing where a frame was");
            }
            Stop::Frame(Bad::Empty | Bad::Broken) => "a frame is not intact",
        };
        // Only a frame that this window holds in part is worth another look.
        if at == 0 && (bytes.len() < most || most > 2 * frame::PAYLOAD_BYTES_MAX) {
            break Some(what);
        }
        most = if at == 0 { most * 8 } else { WINDOW_BYTES };
    };
    match (link.end, bad) {
        (Some(_), Some(what)) => Err(corrupt(place, what)),
        // It is being written, or a crash tore it.
        (None, Some(_)) | (_, None) => Ok(Walked {
            end: place,
            next: expect,
            torn: false,
        }),
    }
}

/// Why no further frame was read.
enum Stop {
    Frame(Bad),
    Order(&'static str),
}

/// Look at the frames that stand whole in `bytes`; how many bytes they take, and why there are no more.
fn frames(
    bytes: &[u8],
    place: &mut Position,
    expect: &mut Expect,
    visit: &mut Visit<'_>,
) -> Result<(usize, Stop), Error> {
    let mut at = 0;
    loop {
        let frame = match frame::parse(bytes.get(at..).unwrap_or_default()) {
            Ok(frame) => frame,
            Err(bad) => return Ok((at, Stop::Frame(bad))),
        };
        let before = *expect;
        if let Some(what) = out_of_order(&frame, expect) {
            *expect = before;
            return Ok((at, Stop::Order(what)));
        }
        visit(*place, &frame)?;
        at += frame.len;
        place.offset += frame.len as u64;
    }
}

/// Look at every frame from one place up to another, both starts of frames.
///
/// # Errors
/// [`Error::Corrupt`] when what lies there are not frames.
pub(super) fn range(
    disk: &dyn Disk,
    files: &Files,
    chain: &Chain,
    (from, to): (Position, Position),
    visit: &mut Visit<'_>,
) -> Result<(), Error> {
    let mut each = |at: Position, frame: &Frame<'_>| visit(at, frame).map(ControlFlow::Continue);
    range_until(disk, files, chain, (from, to), &mut each)
}

/// What looks at frames until it has seen enough (`Break`).
pub(super) type VisitUntil<'v> =
    dyn FnMut(Position, &Frame<'_>) -> Result<ControlFlow<()>, Error> + 'v;

/// The same until `visit` has seen enough (`Break`): what lies behind that is not read.
///
/// # Errors
/// As [`range`].
pub(super) fn range_until(
    disk: &dyn Disk,
    files: &Files,
    chain: &Chain,
    (from, to): (Position, Position),
    visit: &mut VisitUntil<'_>,
) -> Result<(), Error> {
    for link in &chain.links {
        let number = link.header.number;
        if number < from.segment || number > to.segment {
            continue;
        }
        let base = if number == from.segment {
            from.offset.max(HEADER_BYTES)
        } else {
            HEADER_BYTES
        };
        let stop = if number == to.segment {
            Some(to.offset)
        } else {
            link.end
        };
        let mut window = Window::open(disk, files.segment(number))?;
        let mut place = Position {
            segment: number,
            offset: base,
        };
        let mut most = WINDOW_BYTES;
        while stop.is_none_or(|stop| place.offset < stop) {
            let left = stop.map_or(u64::MAX, |stop| stop.saturating_sub(place.offset));
            let asked = usize::try_from(left).unwrap_or(usize::MAX).min(most);
            let bytes = window.read(place.offset, asked)?;
            let mut at = 0;
            while let Ok(frame) = frame::parse(bytes.get(at..).unwrap_or_default()) {
                if visit(place, &frame)?.is_break() {
                    return Ok(());
                }
                at += frame.len;
                place.offset += frame.len as u64;
            }
            if at == 0 && (bytes.len() < most || most > 2 * frame::PAYLOAD_BYTES_MAX) {
                return Err(corrupt(place, "a frame is not intact"));
            }
            most = if at == 0 { most * 8 } else { WINDOW_BYTES };
        }
    }
    Ok(())
}

/// Bytes that a scan reads at first; a frame that does not fit makes it read more.
const SCAN_BYTES: usize = 16 * 1024;

/// Look at frame after frame from the start of one, until `visit` has seen enough (`Break`).
///
/// # Errors
/// [`Error::Corrupt`] when the log ends, or is not intact, before that.
pub(super) fn scan(
    disk: &dyn Disk,
    files: &Files,
    chain: &Chain,
    from: Position,
    visit: &mut dyn FnMut(Position, &Frame<'_>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut place = from;
    for link in &chain.links {
        if link.header.number < from.segment {
            continue;
        }
        if link.header.number > from.segment {
            place = Position {
                segment: link.header.number,
                offset: HEADER_BYTES,
            };
        }
        if scan_segment(disk, files, link, &mut place, visit)?.is_break() {
            return Ok(());
        }
    }
    Err(corrupt(place, "the log ends before a record that it had"))
}

fn scan_segment(
    disk: &dyn Disk,
    files: &Files,
    link: &Link,
    place: &mut Position,
    visit: &mut dyn FnMut(Position, &Frame<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let mut window = Window::open(disk, files.segment(link.header.number))?;
    let mut most = SCAN_BYTES;
    while link.end.is_none_or(|end| place.offset < end) {
        let left = link.end.map_or(u64::MAX, |end| end - place.offset);
        let asked = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        let bytes = window.read(place.offset, asked)?;
        let mut at = 0;
        let bad = loop {
            let frame = match frame::parse(bytes.get(at..).unwrap_or_default()) {
                Ok(frame) => frame,
                Err(bad) => break bad,
            };
            if visit(*place, &frame).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            at += frame.len;
            place.offset += frame.len as u64;
        };
        let empty = bad == Bad::Empty && bytes.len() - at >= frame::HEADER_BYTES;
        let whole = bytes.len() < most || most > 2 * frame::PAYLOAD_BYTES_MAX;
        if empty || (at == 0 && whole) {
            if link.end.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
            return Err(corrupt(*place, "a frame is not intact"));
        }
        most = if at == 0 { most * 8 } else { most };
    }
    Ok(ControlFlow::Continue(()))
}
