//! A chunk of the index of calls: up to [`ROWS_MAX`] calls, a column for each thing that is asked for; and
//! where further records of calls lie that were written in the same time.
//!
//! ```text
//! 0    8  magic "cgix02\n" and a zero
//! 8    4  rows
//! 12   4  further records
//! 16   8  milliseconds since 1970 that column 0 counts from
//! 24   8  index of the leaf that column 1 counts from
//! 32   8  segment that column 2 counts from
//! 40   …  for each column and the two dictionaries: length (4), CRC-32 (4)
//! 184  4  CRC-32 over what stands before
//! 188  …  the columns, then functions, then pseudonyms
//! ```
//! Little-endian. A column is zstd over one byte (how many byte planes it has) and the planes: first
//! the lowest byte of every value, then the next. Columns that mostly grow hold differences. A chunk
//! stands alone: its dictionaries are its own.

use super::super::frame::{Position, le32, le64};
use super::super::seal::ContentId;

/// Rows of one chunk: caller and actor of each find a number of 16 bits.
pub(super) const ROWS_MAX: usize = 32_767;

const MAGIC: &[u8; 8] = b"cgix02\n\0";
const COLUMNS: usize = 16;
const PARTS: usize = COLUMNS + 2;
const TABLE: usize = 40;
const HEADER_BYTES: usize = TABLE + 8 * PARTS + 4;
const ZSTD_LEVEL: i32 = 3;
/// Longest dictionary: pseudonyms of every caller and actor, or as many function ids.
const DICTIONARY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(super) enum Column {
    /// Milliseconds of its first record, from the chunk's base.
    Time,
    /// Its first leaf, from the chunk's base.
    Leaf,
    /// Segment behind the leaf before its first, from the chunk's base.
    Segment,
    /// Offset there, in units of 8 bytes.
    Offset,
    /// Segment of the leaf that says how it stands, from that of [`Column::Segment`].
    LastSegment,
    /// Offset of it, in units of 8 bytes, from that of [`Column::Offset`].
    LastOffset,
    /// Number in the dictionary of functions; 0 is none.
    Function,
    /// Number in the dictionary of pseudonyms; 0 is none.
    Subject,
    /// The same, of who acts.
    Actor,
    /// Outcome, decision and marks.
    State,
    /// Status that was released; 0 is none.
    Status,
    /// First four bytes of the SHA-256 of the approval's id; 0 is none.
    Approval,
    /// The lower half of the CRC-32 of the call's id.
    Call,
    /// Of a further record: the CRC-32 of its call's id.
    FurtherCall,
    /// Segment behind the leaf before it, from the chunk's base.
    FurtherSegment,
    /// Offset there, in units of 8 bytes.
    FurtherOffset,
}

impl Column {
    const fn grows(self) -> bool {
        matches!(
            self,
            Self::Time
                | Self::Leaf
                | Self::Segment
                | Self::Offset
                | Self::FurtherSegment
                | Self::FurtherOffset
        )
    }

    /// Whether it has a value for each further record, and not for each call.
    const fn is_further(self) -> bool {
        matches!(
            self,
            Self::FurtherCall | Self::FurtherSegment | Self::FurtherOffset
        )
    }
}

/// What calls are found by: few others have the same.
pub(super) fn fingerprint(call: &ContentId) -> u32 {
    crc32fast::hash(call)
}

/// The half of it that a row has.
pub(super) const fn half(fingerprint: u32) -> u32 {
    fingerprint & 0xffff
}

const ALL: [Column; COLUMNS] = [
    Column::Time,
    Column::Leaf,
    Column::Segment,
    Column::Offset,
    Column::LastSegment,
    Column::LastOffset,
    Column::Function,
    Column::Subject,
    Column::Actor,
    Column::State,
    Column::Status,
    Column::Approval,
    Column::Call,
    Column::FurtherCall,
    Column::FurtherSegment,
    Column::FurtherOffset,
];

/// What the first columns count from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Base {
    pub(super) ms: u64,
    pub(super) leaf: u64,
    pub(super) segment: u64,
}

/// A chunk in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    pub(super) base: Base,
    columns: [Vec<u32>; COLUMNS],
    functions: Vec<String>,
    subjects: Vec<[u8; 16]>,
    /// Number by value, only while rows are put in.
    function_numbers: std::collections::HashMap<String, u32>,
    subject_numbers: std::collections::HashMap<[u8; 16], u32>,
}

/// Where a row's call begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Start {
    pub(super) ms: u64,
    pub(super) leaf: u64,
    pub(super) at: Position,
}

impl Chunk {
    pub(super) fn rows(&self) -> usize {
        self.column(Column::Time).len()
    }

    pub(super) fn column(&self, column: Column) -> &[u32] {
        self.columns.get(column as usize).map_or(&[], Vec::as_slice)
    }

    /// The functions that occur; the first has number 1.
    pub(super) fn functions(&self) -> &[String] {
        &self.functions
    }

    /// The pseudonyms that occur; the first has number 1.
    pub(super) fn subjects(&self) -> &[[u8; 16]] {
        &self.subjects
    }

    pub(super) fn value(&self, column: Column, row: usize) -> u32 {
        self.column(column).get(row).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, column: Column, row: usize, value: u32) {
        let column = self.columns.get_mut(column as usize);
        if let Some(slot) = column.and_then(|column| column.get_mut(row)) {
            *slot = value;
        }
    }

    /// Further records of calls.
    pub(super) fn further(&self) -> usize {
        self.column(Column::FurtherCall).len()
    }

    fn is_empty(&self) -> bool {
        self.rows() == 0 && self.further() == 0
    }

    /// Whether a row, or a further record, that begins there still fits.
    pub(super) fn takes(&self, start: &Start) -> bool {
        let fits = |value: u64, base: u64| {
            value
                .checked_sub(base)
                .is_some_and(|from| u32::try_from(from).is_ok())
        };
        self.is_empty()
            || (self.rows() < ROWS_MAX
                && self.further() < ROWS_MAX
                && fits(start.ms, self.base.ms)
                && fits(start.leaf, self.base.leaf)
                && fits(start.at.segment, self.base.segment))
    }

    fn begin(&mut self, start: &Start) {
        if self.is_empty() {
            self.base = Base {
                ms: start.ms,
                leaf: start.leaf,
                segment: start.at.segment,
            };
        }
    }

    /// Put a further record of a call in, which [`Chunk::takes`].
    pub(super) fn note(&mut self, call: &ContentId, start: &Start) {
        self.begin(start);
        let values = [
            (Column::FurtherCall, fingerprint(call)),
            (
                Column::FurtherSegment,
                from(start.at.segment, self.base.segment),
            ),
            (Column::FurtherOffset, units(start.at.offset)),
        ];
        for (column, value) in values {
            if let Some(values) = self.columns.get_mut(column as usize) {
                values.push(value);
            }
        }
    }

    /// Put a row in, which [`Chunk::takes`]; returns its number.
    pub(super) fn push(&mut self, call: &ContentId, start: &Start) -> usize {
        self.begin(start);
        for column in ALL {
            let value = match column {
                Column::Time => from(start.ms, self.base.ms),
                Column::Leaf => from(start.leaf, self.base.leaf),
                Column::Segment => from(start.at.segment, self.base.segment),
                Column::Offset => units(start.at.offset),
                Column::LastSegment
                | Column::LastOffset
                | Column::Function
                | Column::Subject
                | Column::Actor
                | Column::State
                | Column::Status
                | Column::Approval => 0,
                Column::Call => half(fingerprint(call)),
                Column::FurtherCall | Column::FurtherSegment | Column::FurtherOffset => continue,
            };
            if let Some(values) = self.columns.get_mut(column as usize) {
                values.push(value);
            }
        }
        self.rows() - 1
    }

    /// Where the row's first leaf, and what is sealed with it, lies behind.
    pub(super) fn start(&self, row: usize) -> Start {
        Start {
            ms: self.base.ms + u64::from(self.value(Column::Time, row)),
            leaf: self.base.leaf + u64::from(self.value(Column::Leaf, row)),
            at: Position {
                segment: self.base.segment + u64::from(self.value(Column::Segment, row)),
                offset: u64::from(self.value(Column::Offset, row)) * 8,
            },
        }
    }

    /// Where the leaf lies that says how the row's call stands; `None` when that is its first.
    pub(super) fn last(&self, row: usize) -> Option<Position> {
        let (segment, offset) = (
            self.value(Column::LastSegment, row),
            self.value(Column::LastOffset, row),
        );
        if (segment, offset) == (0, 0) {
            return None;
        }
        let start = self.start(row).at;
        let offset = self.value(Column::Offset, row).wrapping_add(offset);
        Some(Position {
            segment: start.segment + u64::from(segment),
            offset: u64::from(offset) * 8,
        })
    }

    pub(super) fn set_last(&mut self, row: usize, at: Position) {
        let start = self.start(row).at;
        let segment = from(at.segment, start.segment);
        let offset = units(at.offset).wrapping_sub(self.value(Column::Offset, row));
        self.set(Column::LastSegment, row, segment);
        self.set(Column::LastOffset, row, offset);
    }

    /// The number of a function in this chunk's dictionary, with a new one made for it.
    pub(super) fn function(&mut self, id: &str) -> u32 {
        if self.function_numbers.is_empty() {
            let known = self.functions.iter().cloned().zip(1..);
            self.function_numbers = known.collect();
        }
        if let Some(number) = self.function_numbers.get(id) {
            return *number;
        }
        self.functions.push(id.to_owned());
        let number = u32::try_from(self.functions.len()).unwrap_or(0);
        self.function_numbers.insert(id.to_owned(), number);
        number
    }

    /// The number of a pseudonym in this chunk's dictionary, with a new one made for it.
    pub(super) fn subject(&mut self, reference: [u8; 16]) -> u32 {
        if self.subject_numbers.is_empty() {
            let known = self.subjects.iter().copied().zip(1..);
            self.subject_numbers = known.collect();
        }
        if let Some(number) = self.subject_numbers.get(&reference) {
            return *number;
        }
        self.subjects.push(reference);
        let number = u32::try_from(self.subjects.len()).unwrap_or(0);
        self.subject_numbers.insert(reference, number);
        number
    }

    /// Take a pseudonym out of the dictionary: its rows stay, of nobody. Whether it was there.
    pub(super) fn forget(&mut self, reference: &[u8; 16]) -> bool {
        self.subject_numbers.clear();
        let found = self.subjects.iter_mut().find(|known| *known == reference);
        found.map(|slot| *slot = [0; 16]).is_some()
    }

    /// The chunk as a file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut parts = Vec::with_capacity(PARTS);
        for column in ALL {
            parts.push(pack(self.column(column), column.grows())?);
        }
        parts.push(zstd::bulk::compress(
            self.functions.join("\n").as_bytes(),
            ZSTD_LEVEL,
        )?);
        parts.push(zstd::bulk::compress(
            self.subjects.as_flattened(),
            ZSTD_LEVEL,
        )?);
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        for count in [self.rows(), self.further()] {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            out.extend_from_slice(&count.to_le_bytes());
        }
        for number in [self.base.ms, self.base.leaf, self.base.segment] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for part in &parts {
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&crc32fast::hash(part).to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(part));
        Ok(out)
    }
}

/// A chunk's file: columns are unpacked when they are asked for.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Vec<u8>,
    rows: usize,
    further: usize,
    base: Base,
}

impl Packed {
    /// `None` when the bytes are no such file.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let covered = bytes.get(..HEADER_BYTES - 4)?;
        if !covered.starts_with(MAGIC)
            || le32(&bytes, HEADER_BYTES - 4)? != crc32fast::hash(covered)
        {
            return None;
        }
        let rows = usize::try_from(le32(covered, 8)?).ok()?;
        let further = usize::try_from(le32(covered, 12)?).ok()?;
        let base = Base {
            ms: le64(covered, 16)?,
            leaf: le64(covered, 24)?,
            segment: le64(covered, 32)?,
        };
        (rows <= ROWS_MAX && further <= ROWS_MAX).then_some(Self {
            bytes,
            rows,
            further,
            base,
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn base(&self) -> Base {
        self.base
    }

    fn part(&self, number: usize) -> Option<&[u8]> {
        let mut at = HEADER_BYTES;
        for before in 0..number {
            at = at.checked_add(usize::try_from(le32(&self.bytes, TABLE + 8 * before)?).ok()?)?;
        }
        let entry = TABLE + 8 * number;
        let len = usize::try_from(le32(&self.bytes, entry)?).ok()?;
        let part = self.bytes.get(at..at.checked_add(len)?)?;
        (le32(&self.bytes, entry + 4)? == crc32fast::hash(part)).then_some(part)
    }

    /// A column's values; `None` when the file is damaged.
    pub(super) fn column(&self, column: Column) -> Option<Vec<u32>> {
        let count = if column.is_further() {
            self.further
        } else {
            self.rows
        };
        unpack(self.part(column as usize)?, count, column.grows())
    }

    /// The functions that occur; the first has number 1.
    pub(super) fn functions(&self) -> Option<Vec<String>> {
        let bytes = zstd::bulk::decompress(self.part(COLUMNS)?, DICTIONARY_BYTES_MAX).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let lines = text.split('\n').filter(|line| !line.is_empty());
        Some(lines.map(ToOwned::to_owned).collect())
    }

    /// The pseudonyms that occur; the first has number 1.
    pub(super) fn subjects(&self) -> Option<Vec<[u8; 16]>> {
        let bytes = zstd::bulk::decompress(self.part(COLUMNS + 1)?, DICTIONARY_BYTES_MAX).ok()?;
        let (whole, rest) = bytes.as_chunks::<16>();
        rest.is_empty().then(|| whole.to_vec())
    }

    pub(super) const fn further(&self) -> usize {
        self.further
    }

    /// A chunk of one row alone, with the columns that say where its call is. `None` when the file is damaged.
    pub(super) fn place(&self, row: usize) -> Option<Chunk> {
        let mut chunk = Chunk {
            base: self.base,
            ..Chunk::default()
        };
        for column in [
            Column::Time,
            Column::Leaf,
            Column::Segment,
            Column::Offset,
            Column::LastSegment,
            Column::LastOffset,
        ] {
            let value = *self.column(column)?.get(row)?;
            chunk.columns.get_mut(column as usize)?.push(value);
        }
        Some(chunk)
    }

    /// The whole chunk.
    pub(super) fn open(&self) -> Option<Chunk> {
        let mut chunk = Chunk {
            base: self.base,
            functions: self.functions()?,
            subjects: self.subjects()?,
            ..Chunk::default()
        };
        for column in ALL {
            *chunk.columns.get_mut(column as usize)? = self.column(column)?;
        }
        Some(chunk)
    }
}

fn from(value: u64, base: u64) -> u32 {
    u32::try_from(value.saturating_sub(base)).unwrap_or(u32::MAX)
}

fn units(offset: u64) -> u32 {
    u32::try_from(offset / 8).unwrap_or(u32::MAX)
}

fn pack(values: &[u32], grows: bool) -> Result<Vec<u8>, std::io::Error> {
    let mut before = 0;
    let stored: Vec<[u8; 4]> = values
        .iter()
        .map(|value| {
            let stored = if grows {
                value.wrapping_sub(std::mem::replace(&mut before, *value))
            } else {
                *value
            };
            stored.to_le_bytes()
        })
        .collect();
    let planes = (0..4)
        .rev()
        .find(|plane| {
            stored
                .iter()
                .any(|bytes| bytes.get(*plane).is_some_and(|byte| *byte != 0))
        })
        .map_or(0, |highest| highest + 1);
    let mut out = Vec::with_capacity(1 + planes * stored.len());
    out.push(u8::try_from(planes).unwrap_or(4));
    for plane in 0..planes {
        out.extend(stored.iter().filter_map(|bytes| bytes.get(plane)));
    }
    zstd::bulk::compress(&out, ZSTD_LEVEL)
}

fn unpack(part: &[u8], rows: usize, grows: bool) -> Option<Vec<u32>> {
    let bytes = zstd::bulk::decompress(part, 1 + 4 * ROWS_MAX).ok()?;
    let (planes, bytes) = bytes.split_first()?;
    let planes = usize::from(*planes);
    if planes > 4 || bytes.len() != planes * rows {
        return None;
    }
    let mut values = vec![0_u32; rows];
    for (plane, bytes) in bytes.chunks_exact(rows.max(1)).enumerate() {
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value |= u32::from(*byte) << (8 * plane);
        }
    }
    if grows {
        let mut sum = 0_u32;
        for value in &mut values {
            sum = sum.wrapping_add(*value);
            *value = sum;
        }
    }
    Some(values)
}
