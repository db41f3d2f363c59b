//! The credential scrubber: takes the secrets that were sent up out of whatever comes back, on every
//! connection, masked or not. A match is overwritten with `*`, so no length changes.
//!
//! Found are: the exact bytes, all lower and all upper case; base64 and base64url at each of the three
//! alignments; hexadecimal; and any of these under JSON, percent or HTML escapes. Not found: a secret
//! inside an archive or image, encrypted, or encoded twice.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::view;

/// Shorter secrets would be found where they are not.
pub const NEEDLE_BYTES_MIN: usize = 8;
/// Longer ones would hold back too much.
pub const NEEDLE_BYTES_MAX: usize = 64 * 1024;
/// Entries of the shift table.
const SHIFTS: usize = 4096;
/// Bits of the table of beginnings, as a power of two.
const HEADS_BITS: u32 = 16;
/// Bytes of a beginning.
const HEAD_BYTES: usize = 4;
/// Longest escape that is held back until it is complete.
const ESCAPE_BYTES_MAX: usize = 10;
const FILL: u8 = b'*';

/// Why a secret cannot be scrubbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NeedleError {
    /// It would be found by chance.
    #[error("a secret shorter than 8 bytes cannot be kept out of answers: use a longer one")]
    TooShort,
    /// It is no credential.
    #[error("a secret longer than 64 KiB cannot be kept out of answers")]
    TooLong,
}

/// The secrets of one call, in every form that is looked for. Wiped on drop, shows nothing.
pub struct Needles {
    /// INVARIANT: sorted, none twice.
    forms: Vec<Zeroizing<Vec<u8>>>,
    /// For each form the longest other one that it begins with.
    parents: Vec<Option<usize>>,
    /// Hashes of what forms begin with, one bit each: of thousands of forms few begin like a given text.
    heads: Zeroizing<Vec<u64>>,
    longest: usize,
    /// Length of the shortest form: how much of each form the shift table knows.
    window: usize,
    /// How far a search may move, by the last two bytes of its window (Wu and Manber).
    shifts: Zeroizing<Vec<u8>>,
    /// Whether a form starts with the byte.
    starts: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Needles([secret])")
    }
}

impl Needles {
    /// Prepares secrets.
    ///
    /// # Errors
    /// A secret under 8 bytes or over 64 KiB.
    pub fn new(secrets: &[&[u8]]) -> Result<Self, NeedleError> {
        let mut forms = Vec::new();
        for secret in secrets {
            if secret.len() < NEEDLE_BYTES_MIN {
                return Err(NeedleError::TooShort);
            }
            if secret.len() > NEEDLE_BYTES_MAX {
                return Err(NeedleError::TooLong);
            }
            add_forms(secret, &mut forms);
        }
        Ok(Self::index(sorted(forms)))
    }

    /// These, and more secrets.
    ///
    /// # Errors
    /// One under 8 bytes or over 64 KiB.
    pub(super) fn and(&self, secrets: &[String]) -> Result<Self, NeedleError> {
        let secrets: Vec<&[u8]> = secrets.iter().map(String::as_bytes).collect();
        let mut forms = Self::new(&secrets)?.forms;
        forms.extend(self.forms.iter().cloned());
        Ok(Self::index(sorted(forms)))
    }

    /// Of forms that are sorted, none twice: they are known by their places.
    pub(super) fn of_sorted(forms: Vec<Zeroizing<Vec<u8>>>) -> Self {
        Self::index(forms)
    }

    /// No secrets: nothing is looked for.
    #[must_use]
    pub fn none() -> Self {
        Self::index(Vec::new())
    }

    /// Whether there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    fn index(forms: Vec<Zeroizing<Vec<u8>>>) -> Self {
        if forms.is_empty() {
            return Self {
                forms,
                parents: Vec::new(),
                heads: Zeroizing::new(Vec::new()),
                longest: 0,
                window: 0,
                shifts: Zeroizing::new(Vec::new()),
                starts: Zeroizing::new(Vec::new()),
            };
        }
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or(0);
        let window = forms
            .iter()
            .map(|form| form.len())
            .min()
            .unwrap_or(0)
            .min(255);
        let far = u8::try_from(window.saturating_sub(1)).unwrap_or(u8::MAX);
        let mut shifts = Zeroizing::new(vec![far; SHIFTS]);
        let mut starts = Zeroizing::new(vec![0; 256]);
        let mut heads = Zeroizing::new(vec![0_u64; 1 << (HEADS_BITS - 6)]);
        for form in &forms {
            let (word, bit) = head(form);
            if let Some(word) = heads.get_mut(word) {
                *word |= bit;
            }
            for (at, pair) in form
                .iter()
                .take(window)
                .zip(form.iter().skip(1))
                .enumerate()
            {
                let Some(distance) = window.checked_sub(at + 2) else {
                    break;
                };
                let distance = u8::try_from(distance).unwrap_or(u8::MAX);
                if let Some(shift) = shifts.get_mut(slot(*pair.0, *pair.1)) {
                    *shift = distance.min(*shift);
                }
            }
            if let Some(start) = form
                .first()
                .and_then(|byte| starts.get_mut(usize::from(*byte)))
            {
                *start = 1;
            }
        }
        Self {
            parents: parents(&forms),
            heads,
            forms,
            longest,
            window,
            shifts,
            starts,
        }
    }

    /// Calls `found` with each span of `text` that is a form.
    fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize)) {
        self.find_forms(text, &mut |start, end, _| found(start, end));
    }

    /// The same, with the place of the form among the sorted ones. Of forms that start at one place the longest.
    pub(super) fn find_forms(&self, text: &[u8], found: &mut dyn FnMut(usize, usize, usize)) {
        let mut end = self.window;
        while end <= text.len() && end > 1 {
            let (Some(first), Some(second)) = (text.get(end - 2), text.get(end - 1)) else {
                return;
            };
            let shift = self.shifts.get(slot(*first, *second)).copied().unwrap_or(0);
            if shift > 0 {
                end += usize::from(shift);
                continue;
            }
            let start = end - self.window;
            let rest = text.get(start..).unwrap_or_default();
            if let Some((form, length)) = self.longest_at(rest) {
                found(start, start + length, form);
            }
            end += 1;
        }
    }

    /// The longest form that `rest` begins with, and its length.
    fn longest_at(&self, rest: &[u8]) -> Option<(usize, usize)> {
        let (word, bit) = head(rest);
        if self.window >= HEAD_BYTES && self.heads.get(word)? & bit == 0 {
            return None;
        }
        // What `rest` begins with is the last form that is not behind it, or one that this form begins with.
        let behind = self.forms.partition_point(|form| form.as_slice() <= rest);
        let mut at = behind.checked_sub(1);
        while let Some(index) = at {
            let form = self.forms.get(index)?;
            if rest.starts_with(form) {
                return Some((index, form.len()));
            }
            at = *self.parents.get(index)?;
        }
        None
    }

    /// Where the longest end of `text` starts that could grow into a form.
    fn unfinished(&self, text: &[u8]) -> usize {
        let from = text.len().saturating_sub(self.longest.saturating_sub(1));
        (from..text.len())
            .find(|start| {
                let rest = text.get(*start..).unwrap_or_default();
                let begins = rest
                    .first()
                    .and_then(|byte| self.starts.get(usize::from(*byte)))
                    .is_some_and(|known| *known == 1);
                begins && {
                    let next = self.forms.partition_point(|form| form.as_slice() <= rest);
                    let next = self.forms.get(next);
                    next.is_some_and(|form| form.starts_with(rest))
                }
            })
            .unwrap_or(text.len())
    }
}

fn sorted(mut forms: Vec<Zeroizing<Vec<u8>>>) -> Vec<Zeroizing<Vec<u8>>> {
    forms.sort_unstable_by(|a, b| a.as_slice().cmp(b.as_slice()));
    forms.dedup_by(|a, b| a.as_slice() == b.as_slice());
    forms
}

/// For each of the sorted forms the longest other one that it begins with.
fn parents(forms: &[Zeroizing<Vec<u8>>]) -> Vec<Option<usize>> {
    let mut open: Vec<usize> = Vec::new();
    let begins = |form: &[u8], other: usize| {
        let other = forms.get(other);
        other.is_some_and(|other| form.starts_with(other))
    };
    let parent = |(at, form): (usize, &Zeroizing<Vec<u8>>)| {
        while open.pop_if(|last| !begins(form, *last)).is_some() {}
        let parent = open.last().copied();
        open.push(at);
        parent
    };
    forms.iter().enumerate().map(parent).collect()
}

/// The word and the bit of what a text begins with.
fn head(text: &[u8]) -> (usize, u64) {
    let number = text.first_chunk::<HEAD_BYTES>().map_or(0, |bytes| {
        u32::from_le_bytes(*bytes).wrapping_mul(0x9E37_79B1) >> (32 - HEADS_BITS)
    });
    (number as usize / 64, 1 << (number % 64))
}

fn slot(first: u8, second: u8) -> usize {
    (usize::from(first) << 4 ^ usize::from(second)) % SHIFTS
}

/// A secret in every form that is looked for.
pub(super) fn forms(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = Vec::new();
    add_forms(secret, &mut forms);
    forms
}

fn add_forms(secret: &[u8], forms: &mut Vec<Zeroizing<Vec<u8>>>) {
    let mut add = |form: Vec<u8>| forms.push(Zeroizing::new(form));
    add(secret.to_vec());
    add(secret.to_ascii_lowercase());
    add(secret.to_ascii_uppercase());
    let hex = |digits: &[u8; 16]| {
        let digit = |value: u8| digits.get(usize::from(value)).copied().unwrap_or(b'0');
        secret
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect::<Vec<u8>>()
    };
    add(hex(b"0123456789abcdef"));
    add(hex(b"0123456789ABCDEF"));
    for ahead in 0..3usize {
        // Whole characters only: up to four bits at either end are shared with the neighbours and
        // stay. Nothing can be made of them.
        let mut padded = Zeroizing::new(vec![0; ahead]);
        padded.extend_from_slice(secret);
        let from = (ahead * 8).div_ceil(6);
        let to = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = Zeroizing::new(engine.encode(&*padded));
            add(encoded
                .as_bytes()
                .get(from..to)
                .unwrap_or_default()
                .to_vec());
        }
    }
}

/// Overwrites secrets in a stream. What could be the start of one is held back.
#[derive(Debug)]
pub(super) struct Scrubber {
    needles: Arc<Needles>,
    held: Zeroizing<Vec<u8>>,
    /// Bytes at the start of `held` that belong to a match whose start was released.
    covered: usize,
    count: u64,
}

impl Scrubber {
    pub(super) fn new(needles: Arc<Needles>) -> Self {
        Self {
            needles,
            held: Zeroizing::new(Vec::new()),
            covered: 0,
            count: 0,
        }
    }

    /// Whether there is anything to look for.
    pub(super) fn is_idle(&self) -> bool {
        self.needles.is_empty()
    }

    /// How many matches were overwritten.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next bytes and appends to `out` what is safe.
    pub(super) fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        if self.is_idle() {
            out.extend_from_slice(chunk);
            return;
        }
        self.held.extend_from_slice(chunk);
        let mut spans = Vec::new();
        let safe = self.search(&mut spans);
        self.release(safe, &mut spans, out);
    }

    /// Appends the rest to `out`.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let mut spans = Vec::new();
        self.search(&mut spans);
        self.release(self.held.len(), &mut spans, out);
    }

    /// Overwrites secrets in a whole value; `None` if there are none.
    pub(super) fn whole(&mut self, value: &[u8]) -> Option<Vec<u8>> {
        if self.is_idle() {
            return None;
        }
        let before = self.count;
        let mut other = Self::new(Arc::clone(&self.needles));
        let mut out = Vec::with_capacity(value.len());
        other.push(value, &mut out);
        other.finish(&mut out);
        self.count += other.count;
        (self.count > before).then_some(out)
    }

    /// Finds the matches in `held`; gives the length of what cannot be part of a later match.
    fn search(&self, spans: &mut Vec<(usize, usize)>) -> usize {
        self.needles
            .find(&self.held, &mut |start, end| spans.push((start, end)));
        let mut safe = self.needles.unfinished(&self.held);
        if memchr::memchr3(b'\\', b'%', b'&', &self.held).is_none() {
            return safe;
        }
        let whole = unfinished_escape(&self.held);
        safe = safe.min(whole);
        let complete = self.held.get(..whole).unwrap_or_default();
        match view::unescape(complete) {
            Some(view) => {
                let text = view.text();
                self.needles
                    .find(text, &mut |start, end| spans.push(view.source(start, end)));
                let open = self.needles.unfinished(text);
                safe.min(view.source(open, open).0)
            }
            None if whole < self.held.len() => safe.min(self.needles.unfinished(complete)),
            None => safe,
        }
    }

    /// Appends the first `safe` bytes to `out`, matches overwritten. What stays held is left as it
    /// came: it may also be the start of an overlapping match.
    fn release(&mut self, safe: usize, spans: &mut [(usize, usize)], out: &mut Vec<u8>) {
        let base = out.len();
        out.extend_from_slice(self.held.get(..safe).unwrap_or_default());
        spans.sort_unstable();
        let mut covered = self.covered;
        fill(out, base, 0, covered.min(safe));
        for (start, end) in spans.iter().copied().filter(|(start, _)| *start < safe) {
            fill(out, base, start, end.min(safe));
            self.count += u64::from(start >= covered);
            covered = covered.max(end);
        }
        self.covered = covered.saturating_sub(safe);
        self.held.drain(..safe);
    }
}

fn fill(out: &mut [u8], base: usize, start: usize, end: usize) {
    if let Some(span) = out.get_mut(base + start..base + end) {
        span.fill(FILL);
    }
}

/// Where an escape starts that is cut off by the end of `text`; its length if there is none.
fn unfinished_escape(text: &[u8]) -> usize {
    let from = text.len().saturating_sub(ESCAPE_BYTES_MAX);
    let near = text.get(from..).unwrap_or_default();
    let Some(at) = memchr::memrchr3(b'\\', b'%', b'&', near) else {
        return text.len();
    };
    let cut = match near.get(at..).unwrap_or_default() {
        [b'\\'] => true,
        [b'\\', b'u', digits @ ..] => digits.len() < 4,
        [b'\\', b'x', digits @ ..] => digits.len() < 2,
        [b'%', digits @ ..] => digits.len() < 2,
        [b'&', name @ ..] => name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'#'),
        _ => false,
    };
    if cut { from + at } else { text.len() }
}
