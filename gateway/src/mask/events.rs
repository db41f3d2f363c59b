//! `text/event-stream` (HTML, 9.2): an event is held until it is complete, its data is read as JSON if
//! it looks like it, and as text otherwise. All other lines are text.
//!
//! A value that a function spreads over several events (a token at a time) is not found: each event is
//! a message of its own.

use wire::json::stream::Documents;

use super::inspector::Inspector;
use super::json::JsonCodec;
use super::media::Charset;
use super::text;
use super::withheld::{Reason, Withheld};

/// Longest event, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// The state of one event stream.
#[derive(Debug, Default)]
pub(super) struct EventCodec {
    /// The event that is not complete yet.
    pending: Vec<u8>,
    /// Where its last line starts.
    line_start: usize,
    /// How far it has been looked through for line ends.
    searched: usize,
    /// The last event ended in CR: an LF that follows belongs to it.
    after_return: bool,
}

impl EventCodec {
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let mut chunk = chunk;
        if self.after_return && !chunk.is_empty() {
            self.after_return = false;
            if let Some(rest) = chunk.strip_prefix(b"\n") {
                out.push(b'\n');
                chunk = rest;
            }
        }
        self.pending.extend_from_slice(chunk);
        let mut done = 0;
        while let Some(end) = self.event_end(done) {
            let event = self.pending.get(done..end).unwrap_or_default();
            event_masked(event, inspector, out)?;
            done = end;
        }
        self.after_return = done == self.pending.len() && self.pending.last() == Some(&b'\r');
        self.pending.drain(..done);
        self.line_start -= done;
        self.searched -= done;
        if self.pending.len() > EVENT_BYTES_MAX {
            return Err(Reason::TooLong("an event").into());
        }
        Ok(())
    }

    pub(super) fn finish(
        self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        event_masked(&self.pending, inspector, out)
    }

    /// Where the event that starts at `start` ends, its empty line included.
    fn event_end(&mut self, start: usize) -> Option<usize> {
        loop {
            let found = memchr::memchr2(b'\n', b'\r', self.pending.get(self.searched..)?);
            let Some(end) = found.map(|at| self.searched + at) else {
                self.searched = self.pending.len();
                return None;
            };
            let byte = self.pending.get(end);
            // The LF of a CR LF whose parts came in different chunks.
            let second = byte == Some(&b'\n')
                && end == self.line_start
                && end > start
                && self.pending.get(end - 1) == Some(&b'\r');
            let pair = byte == Some(&b'\r') && self.pending.get(end + 1) == Some(&b'\n');
            let empty = end == self.line_start && !second;
            self.searched = end + if pair { 2 } else { 1 };
            self.line_start = self.searched;
            if empty {
                return Some(self.searched);
            }
        }
    }
}

/// One line of an event: its text, and its end of line.
struct Line<'a> {
    text: &'a [u8],
    end: &'a [u8],
}

impl<'a> Line<'a> {
    /// The value of a `data` line, and what stands before it.
    fn data(&self) -> Option<(&'a [u8], &'a [u8])> {
        match self.text {
            [b'd', b'a', b't', b'a'] => Some((self.text, b"")),
            [b'd', b'a', b't', b'a', b':', b' ', value @ ..] => Some((self.text.get(..6)?, value)),
            [b'd', b'a', b't', b'a', b':', value @ ..] => Some((self.text.get(..5)?, value)),
            _ => None,
        }
    }
}

fn lines(event: &[u8]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = event;
    while !rest.is_empty() {
        let at = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (text, from_end) = rest.split_at(at);
        let length = if from_end.starts_with(b"\r\n") {
            2
        } else {
            from_end.len().min(1)
        };
        let (end, after) = from_end.split_at(length);
        lines.push(Line { text, end });
        rest = after;
    }
    lines
}

fn event_masked(
    event: &[u8],
    inspector: &mut Inspector,
    out: &mut Vec<u8>,
) -> Result<(), Withheld> {
    text::check(event, Charset::Utf8)?;
    let lines = lines(event);
    let values: Vec<_> = lines
        .iter()
        .filter_map(|line| line.data().map(|(_, v)| v))
        .collect();
    let joined = values.join(&b'\n');
    let masked = data_masked(&joined, inspector)?;
    let data_lines = lines.iter().filter(|line| line.data().is_some());
    let ends: Vec<_> = data_lines.map(|line| line.end).collect();
    let mut written = false;
    for line in &lines {
        match (line.data(), masked.as_deref()) {
            (None, _) => text::mask(line.text, inspector, out),
            (Some(_), None) => out.extend_from_slice(line.text),
            (Some(_), Some(_)) if written => continue,
            (Some((prefix, _)), Some(masked)) => {
                written = true;
                write_data(prefix, masked, &ends, out);
                continue;
            }
        }
        out.extend_from_slice(line.end);
    }
    Ok(())
}

/// Writes changed data with the line ends that it came with. A finding can take line ends away, as a
/// private key does, but never adds one.
fn write_data(prefix: &[u8], masked: &[u8], ends: &[&[u8]], out: &mut Vec<u8>) {
    let count = masked.split(|byte| *byte == b'\n').count();
    for (at, part) in masked.split(|byte| *byte == b'\n').enumerate() {
        out.extend_from_slice(prefix);
        out.extend_from_slice(part);
        let end = if at + 1 == count {
            ends.last()
        } else {
            ends.get(at)
        };
        out.extend_from_slice(end.copied().unwrap_or_default());
    }
}

/// An event's data, masked; `None` if it is clean.
fn data_masked(data: &[u8], inspector: &mut Inspector) -> Result<Option<Vec<u8>>, Withheld> {
    let mut out = Vec::with_capacity(data.len());
    let first = data.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[' | b'"')) {
        let before = inspector.snapshot();
        let drops = inspector.plan().settings.fields.drops();
        let mut codec = JsonCodec::new(Documents::One, drops);
        let read = codec
            .push(data, inspector, &mut out)
            .and_then(|()| codec.finish(inspector, &mut out));
        match read {
            Ok(()) => return Ok((out != data).then_some(out)),
            // Words in brackets such as `[DONE]` have no members that a rule could mean.
            Err(withheld) if inspector.has_fields() && may_have_members(data) => {
                return Err(withheld);
            }
            Err(_) => inspector.restore(before),
        }
        out.clear();
    }
    text::mask(data, inspector, &mut out);
    Ok((out != data).then_some(out))
}

fn may_have_members(data: &[u8]) -> bool {
    memchr::memchr3(b'{', b':', b'"', data).is_some()
}
