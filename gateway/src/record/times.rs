//! When parts of an answer were released: groups of bytes with the gap before each, so that a stream can
//! be played back as its caller saw it.
//!
//! A group is two numbers (LEB128, little-endian, seven bits a byte): milliseconds from the beginning of
//! the group before it (of the first: from when the call began), and bytes of the captured body. What is
//! released within [`APART`] of a group's beginning belongs to it. They are sealed like the body: how long
//! the words of an answer are says something of the words.

use std::time::{Duration, Instant};

/// What comes sooner after the beginning of a group belongs to it.
pub(super) const APART: Duration = Duration::from_millis(10);

/// Most groups of one call; what comes after belongs to the last one.
pub(super) const GROUPS_MAX: u32 = 16_384;

/// A group of bytes that was released at one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// Milliseconds from the call's begin.
    pub at_ms: u64,
    /// Bytes of the captured body.
    pub bytes: u64,
}

/// The groups of one answer, while it is released.
#[derive(Debug)]
pub(super) struct Times {
    began: Instant,
    groups: u32,
    /// The group that may still grow, and the beginning of the one before it.
    open: Option<Group>,
    before_ms: u64,
    encoded: Vec<u8>,
    /// Pieces of it that were handed on.
    pieces: u32,
}

impl Times {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            groups: 0,
            open: None,
            before_ms: 0,
            encoded: Vec::new(),
            pieces: 0,
        }
    }

    /// So many bytes are released now.
    pub(super) fn push(&mut self, bytes: usize) {
        if bytes > 0 {
            self.push_at(self.began.elapsed(), bytes as u64);
        }
    }

    fn push_at(&mut self, at: Duration, bytes: u64) {
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let apart = u64::try_from(APART.as_millis()).unwrap_or(0);
        match &mut self.open {
            Some(open) if at_ms < open.at_ms.saturating_add(apart) || self.groups >= GROUPS_MAX => {
                open.bytes = open.bytes.saturating_add(bytes);
            }
            _ => {
                self.close();
                self.groups += 1;
                self.open = Some(Group { at_ms, bytes });
            }
        }
    }

    fn close(&mut self) {
        if let Some(group) = self.open.take() {
            put(
                &mut self.encoded,
                group.at_ms.saturating_sub(self.before_ms),
            );
            put(&mut self.encoded, group.bytes);
            self.before_ms = group.at_ms;
        }
    }

    /// A piece of what is known and was not handed on yet.
    pub(super) fn piece(&mut self) -> Option<(u32, Vec<u8>)> {
        if self.encoded.is_empty() {
            return None;
        }
        let piece = (self.pieces, std::mem::take(&mut self.encoded));
        self.pieces += 1;
        Some(piece)
    }

    /// The last piece. An answer that came in one go needs none.
    pub(super) fn last(&mut self) -> Option<(u32, Vec<u8>)> {
        if self.groups < 2 {
            return None;
        }
        self.close();
        self.piece()
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The groups that these bytes are; `None` when they are not in form.
pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<Group>> {
    let (mut groups, mut at_ms) = (Vec::new(), 0_u64);
    while !bytes.is_empty() {
        at_ms = at_ms.checked_add(take(&mut bytes)?)?;
        let bytes = take(&mut bytes)?;
        groups.push(Group { at_ms, bytes });
    }
    Some(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(times: &mut Times) -> Vec<u8> {
        let mut bytes = times.piece().map(|(_, bytes)| bytes).unwrap_or_default();
        bytes.extend(times.last().map(|(_, bytes)| bytes).unwrap_or_default());
        bytes
    }

    #[test]
    fn what_comes_at_one_time_is_one_group_and_gaps_are_kept() {
        let mut times = Times::new();
        let ms = Duration::from_millis;
        for (at, bytes) in [(3, 10), (5, 20), (12, 5), (13, 300), (70_000, 1)] {
            times.push_at(ms(at), bytes);
        }
        let expected =
            [(3, 35), (13, 300), (70_000, 1)].map(|(at_ms, bytes)| Group { at_ms, bytes });
        assert_eq!(read(&all(&mut times)).unwrap(), expected);
    }

    #[test]
    fn an_answer_in_one_go_takes_no_room() {
        let mut times = Times::new();
        times.push(0);
        times.push_at(Duration::from_millis(1), 7);
        times.push_at(Duration::from_millis(2), 7);
        assert_eq!((times.piece(), times.last()), (None, None));
    }

    #[test]
    fn a_call_has_so_many_groups_and_all_its_bytes() {
        let mut times = Times::new();
        for at in 0..u64::from(GROUPS_MAX) + 100 {
            times.push_at(Duration::from_millis(at * 20), 3);
        }
        let groups = read(&all(&mut times)).unwrap();
        assert_eq!(groups.len(), GROUPS_MAX as usize);
        let bytes: u64 = groups.iter().map(|group| group.bytes).sum();
        assert_eq!(bytes, (u64::from(GROUPS_MAX) + 100) * 3);
    }

    #[test]
    fn bytes_that_are_not_groups_are_refused() {
        for bad in [&[0x80][..], &[1], &[0xff; 11], &[1, 0x80]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(read(&[]), Some(Vec::new()));
    }
}
