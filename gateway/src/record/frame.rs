//! Frames: the units of the write-ahead log.
//!
//! ```text
//! 0   4  magic "cgf1"
//! 4   4  length of the payload, little-endian
//! 8   1  kind
//! 9   3  zero
//! 12  8  sequence number, little-endian: one more than the frame before
//! 20  4  CRC-32 (IEEE) over bytes 4..20 and the payload
//! 24  …  payload, then zeroes up to a multiple of 8
//! ```
//! The checksum finds accidents; what finds intent is the tree over the leaves and its signed heads.

use super::leaf::Tag;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 24;

/// Longest payload: a sealed frame of one piece of content, with room to spare.
pub(super) const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Frames start at multiples of this.
pub(super) const ALIGN: usize = 8;

/// What every frame begins with.
pub(super) const MAGIC: [u8; 4] = *b"cgf1";

/// What a frame holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Starts a batch; says up to where the log was known durable when it was written.
    Batch,
    /// One leaf: index (8 bytes, little-endian), then its exact bytes.
    Leaf,
    /// Sealed content of one call or event.
    Sealed,
    /// A progress commitment of a stream.
    Progress,
}

impl Kind {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Leaf => 2,
            Self::Sealed => 3,
            Self::Progress => 4,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Batch),
            2 => Some(Self::Leaf),
            3 => Some(Self::Sealed),
            4 => Some(Self::Progress),
            _ => None,
        }
    }
}

/// A place in the log: segment number, then offset within it. Ordered as written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// A frame that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) seq: u64,
    pub(super) payload: &'a [u8],
    /// Bytes that the frame takes, padding included.
    pub(super) len: usize,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    /// Zeroes where a header would be: nothing was written here.
    Empty,
    /// Something was written here that is not a whole frame.
    Broken,
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header);
    crc.update(payload);
    crc.finalize()
}

pub(super) const fn padded(len: usize) -> usize {
    len.div_ceil(ALIGN) * ALIGN
}

/// Append one frame to `out`; the payload comes in parts.
pub(super) fn put(out: &mut Vec<u8>, kind: Kind, seq: u64, parts: &[&[u8]]) {
    let start = out.len();
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&[kind.byte(), 0, 0, 0]);
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let crc = match (
        out.get(start + 4..start + 20),
        out.get(start + HEADER_BYTES..),
    ) {
        (Some(header), Some(payload)) => checksum(header, payload),
        _ => 0,
    };
    if let Some(slot) = out.get_mut(start + 20..start + 24) {
        slot.copy_from_slice(&crc.to_le_bytes());
    }
    out.resize(start + padded(HEADER_BYTES + len), 0);
}

/// Read the frame at the start of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Frame<'_>, Bad> {
    let header = bytes.get(..HEADER_BYTES).ok_or_else(|| {
        if bytes.iter().all(|b| *b == 0) {
            Bad::Empty
        } else {
            Bad::Broken
        }
    })?;
    if header.iter().all(|b| *b == 0) {
        return Err(Bad::Empty);
    }
    if !header.starts_with(&MAGIC) || header.get(9..12) != Some(&[0, 0, 0]) {
        return Err(Bad::Broken);
    }
    let len = le32(header, 4).and_then(|len| usize::try_from(len).ok());
    let len = len
        .filter(|len| *len <= PAYLOAD_BYTES_MAX)
        .ok_or(Bad::Broken)?;
    let kind = header.get(8).and_then(|byte| Kind::from_byte(*byte));
    let kind = kind.ok_or(Bad::Broken)?;
    let seq = le64(header, 12).ok_or(Bad::Broken)?;
    let end = padded(HEADER_BYTES + len);
    let payload = bytes
        .get(HEADER_BYTES..HEADER_BYTES + len)
        .ok_or(Bad::Broken)?;
    let padding = bytes.get(HEADER_BYTES + len..end).ok_or(Bad::Broken)?;
    let covered = header.get(4..20).ok_or(Bad::Broken)?;
    if le32(header, 20) != Some(checksum(covered, payload)) || padding.iter().any(|b| *b != 0) {
        return Err(Bad::Broken);
    }
    Ok(Frame {
        kind,
        seq,
        payload,
        len: end,
    })
}

/// The payload of a batch frame.
pub(super) fn batch_payload(durable: Position) -> [u8; 16] {
    let mut payload = [0; 16];
    let (segment, offset) = payload.split_at_mut(8);
    segment.copy_from_slice(&durable.segment.to_le_bytes());
    offset.copy_from_slice(&durable.offset.to_le_bytes());
    payload
}

/// The position that a batch frame says was durable.
pub(super) fn batch_mark(payload: &[u8]) -> Option<Position> {
    if payload.len() != 16 {
        return None;
    }
    Some(Position {
        segment: le64(payload, 0)?,
        offset: le64(payload, 8)?,
    })
}

/// A leaf frame's payload: index (8), tag (1), zeroes (7), content id (16), then the leaf's exact bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LeafFrame<'a> {
    pub(super) index: u64,
    pub(super) tag: Tag,
    pub(super) id: [u8; 16],
    pub(super) leaf: &'a [u8],
}

impl<'a> LeafFrame<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let (head, leaf) = payload.split_first_chunk::<32>()?;
        if head.get(9..16)?.iter().any(|b| *b != 0) {
            return None;
        }
        Some(Self {
            index: le64(head, 0)?,
            tag: Tag::from_byte(*head.get(8)?)?,
            id: head.get(16..32)?.try_into().ok()?,
            leaf,
        })
    }

    /// Append this as a frame.
    pub(super) fn put(&self, out: &mut Vec<u8>, seq: u64) {
        let tag = [self.tag.byte(), 0, 0, 0, 0, 0, 0, 0];
        let parts = [
            &self.index.to_le_bytes(),
            &tag,
            self.id.as_slice(),
            self.leaf,
        ];
        put(out, Kind::Leaf, seq, &parts);
    }
}

pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    let slice = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(slice.try_into().ok()?))
}

pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    let slice = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(slice.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_frame_comes_back() {
        let mut out = Vec::new();
        let leaf = LeafFrame {
            index: 4,
            tag: Tag::End,
            id: [9; 16],
            leaf: b"{}",
        };
        leaf.put(&mut out, 1);
        assert_eq!(LeafFrame::parse(parse(&out).unwrap().payload), Some(leaf));
    }

    #[test]
    fn frame_comes_back_as_it_was_put() {
        let mut out = Vec::new();
        put(&mut out, Kind::Leaf, 7, &[b"he", b"llo"]);
        assert_eq!(out.len() % ALIGN, 0);
        let frame = parse(&out).unwrap();
        assert_eq!(
            (frame.kind, frame.seq, frame.payload, frame.len),
            (Kind::Leaf, 7, b"hello".as_slice(), out.len())
        );
    }

    // A10
    #[test]
    fn every_flipped_bit_breaks_a_frame() {
        let mut out = Vec::new();
        put(&mut out, Kind::Sealed, 3, &[b"some content"]);
        for at in 0..out.len() {
            for bit in 0..8 {
                let mut bad = out.clone();
                bad[at] ^= 1 << bit;
                assert!(parse(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn truncated_frame_is_broken_and_zeroes_are_empty() {
        let mut out = Vec::new();
        put(&mut out, Kind::Leaf, 1, &[b"x"]);
        for len in 1..out.len() {
            assert_eq!(parse(&out[..len]).unwrap_err(), Bad::Broken, "{len}");
        }
        assert_eq!(parse(&[0; 64]).unwrap_err(), Bad::Empty);
        assert_eq!(parse(&[]).unwrap_err(), Bad::Empty);
    }
}
