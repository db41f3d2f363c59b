//! Content that was handed out: sealed frames with the one key that opens them, read by people who have
//! neither the log nor its keys. Nothing here reads a file or knows a secret of ours.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{self, SHA256};

use super::frame::{Kind, le64};
use super::leaf::unhex;
use super::seal::{self, KeyParts, Part, SealedHead};

/// Bytes before a frame's payload: its kind and its length.
const HEAD_BYTES: usize = 9;

/// What disclosed frames hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    pieces: BTreeMap<(Part, u32), Vec<u8>>,
    /// A frame among them states this key.
    bound: bool,
}

impl Opened {
    /// Open frames of content `id` with its key; `None` when one of them is not in form, of another
    /// content, states another key, or does not open. What was opened is taken off `left`, in bytes; when it does not suffice,
    /// it is 0 and nothing is opened: whoever made the frames chose what they grow to.
    pub fn read(frames: &[u8], id: &[u8; 16], key: &[u8; 32], left: &mut usize) -> Option<Self> {
        let seal = seal::aes(key).ok()?;
        let mut opened = Self::default();
        let mut rest = frames;
        while !rest.is_empty() {
            let (head, behind) = rest.split_at_checked(HEAD_BYTES)?;
            let len = usize::try_from(le64(head, 1)?).ok()?;
            let (payload, behind) = behind.split_at_checked(len)?;
            rest = behind;
            if !payload.starts_with(id) {
                return None;
            }
            match head.first().copied() {
                Some(kind) if kind == Kind::Sealed.byte() => {
                    let place = SealedHead::parse(payload)?;
                    if place.part == Part::Key {
                        if !KeyParts::parse(payload)?.fits(key) {
                            return None;
                        }
                        opened.bound = true;
                    } else {
                        let bytes = seal::open(&seal, payload)?;
                        let Some(rest) = left.checked_sub(bytes.len()) else {
                            *left = 0;
                            return None;
                        };
                        *left = rest;
                        opened.pieces.insert((place.part, place.piece), bytes);
                    }
                }
                Some(kind) if kind == Kind::Progress.byte() => {}
                Some(_) | None => return None,
            }
        }
        Some(opened)
    }

    /// Put in what stands in the frames of another record of the same content.
    pub fn add(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
        self.bound |= other.bound;
    }

    /// Whether the frames state the key that opened them: AES-GCM alone would let whoever sealed them choose
    /// among two keys, and two contents, later.
    pub const fn bound(&self) -> bool {
        self.bound
    }

    fn part(&self, part: Part) -> Option<Vec<u8>> {
        let pieces: Vec<&[u8]> = self
            .pieces
            .range((part, 0)..=(part, u32::MAX))
            .map(|(_, bytes)| bytes.as_slice())
            .collect();
        (!pieces.is_empty()).then(|| pieces.concat())
    }

    /// The document of a begin or an event (JSON).
    pub fn context(&self) -> Option<Vec<u8>> {
        self.part(Part::Context)
    }

    /// The document of an end (JSON).
    pub fn ending(&self) -> Option<Vec<u8>> {
        self.part(Part::Ending)
    }

    /// Fields that were too long for the record (JSON).
    pub fn moved(&self) -> Option<Vec<u8>> {
        self.part(Part::MovedBegin)
            .or_else(|| self.part(Part::MovedEnd))
    }

    /// What was committed to under this word; `None` when nothing of it is here.
    pub fn committed(&self, word: &str) -> Option<Vec<u8>> {
        let of = |document: Option<Vec<u8>>, name| super::trail::member(document.as_deref(), name);
        match word {
            "request.head" => of(self.context(), "request"),
            "context" => of(self.context(), "policy"),
            "request.body" => self.part(Part::Request),
            "released.head" => of(self.ending(), "head"),
            "released.trailers" => of(self.ending(), "trailers"),
            "released.body" => self.part(Part::Released),
            _ => None,
        }
    }
}

/// SHA-256, in hexadecimal as records state it.
pub fn digest_text(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    super::leaf::hex(&seal::finish(context))
}

/// A content's id or key as records and bundles write it: lower-case hexadecimal.
pub fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text).filter(|bytes| super::leaf::hex(bytes) == text)
}

/// The words of what records commit to.
pub fn committed_words() -> [&'static str; 6] {
    seal::Field::ALL.map(seal::Field::word)
}

/// Bytes in lower-case hexadecimal.
pub fn write_hex(bytes: &[u8]) -> String {
    super::leaf::hex(bytes)
}
