//! The static files of a log ([C2SP tlog-tiles]): hash tiles, entry bundles, their paths.
//!
//! [`Export`] makes all files out of the entries, a bounded piece at a time; [`Tile::bytes`] makes
//! one out of stored hashes. Which directory or store they go to is the caller's business.
//!
//! [C2SP tlog-tiles]: https://c2sp.org/tlog-tiles

use std::fmt;
use std::str::FromStr;

use crate::Error;
use crate::tree::{Hash, HashReader, TREE_SIZE_MAX, Tree, leaf_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// The largest entry, in bytes: bundles give its length in 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// The largest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + ENTRY_BYTES_MAX);
/// The path of the signed checkpoint, beside the tiles.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Tiles are 2^8 wide.
const HEIGHT: u32 = 8;
/// The highest level that the path format knows.
const LEVEL_MAX: u8 = 63;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Hashes of subtrees of 256^level leaves each; level 0 holds the leaves' hashes.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// One static file: a tile of hashes or a bundle of entries. Its text form is its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    layer: Layer,
    index: u64,
    // INVARIANT: 1 to 256.
    width: u16,
}

impl Tile {
    /// The tile at `index` of its layer, with the first `width` of its 256 places filled; `None` if
    /// the width is not 1 to 256, or the level or index beyond what a log can have.
    #[must_use]
    pub const fn new(layer: Layer, index: u64, width: u16) -> Option<Self> {
        let level_fits = match layer {
            Layer::Hashes(level) => level <= LEVEL_MAX,
            Layer::Entries => true,
        };
        if level_fits && index < TREE_SIZE_MAX >> HEIGHT && width >= 1 && width <= TILE_WIDTH {
            return Some(Self {
                layer,
                index,
                width,
            });
        }
        None
    }

    /// What it holds.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        self.layer
    }

    /// Its place in its layer.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it has: 256, or fewer in a partial tile.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The full tile at the same place; it begins with everything that a partial one has.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..*self
        }
    }

    /// The bytes of a hash tile; `None` for a bundle, or if the reader has not all its hashes.
    #[must_use]
    pub fn bytes(&self, reader: &impl HashReader) -> Option<Vec<u8>> {
        let Layer::Hashes(level) = self.layer else {
            return None;
        };
        let level = u8::try_from(HEIGHT).ok()?.checked_mul(level)?;
        let mut bytes = Vec::with_capacity(usize::from(self.width) * Hash::BYTES);
        let first = self.index << HEIGHT;
        for index in first..first + u64::from(self.width) {
            bytes.extend_from_slice(reader.read(level, index)?.as_bytes());
        }
        Some(bytes)
    }
}

impl fmt::Display for Tile {
    /// `tile/<level>/<index>[.p/<width>]`, the index in groups of three digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Layer::Hashes(level) => write!(f, "tile/{level}/")?,
            Layer::Entries => f.write_str("tile/entries/")?,
        }
        let digits = self.index.to_string();
        let padded = format!(
            "{digits:0>width$}",
            width = digits.len().next_multiple_of(3)
        );
        for (at, digit) in padded.char_indices() {
            if at % 3 == 0 {
                f.write_str(if at > 0 { "/" } else { "" })?;
                f.write_str(if at + 3 < padded.len() { "x" } else { "" })?;
            }
            write!(f, "{digit}")?;
        }
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)
        } else {
            Ok(())
        }
    }
}

impl FromStr for Tile {
    type Err = Error;

    /// Reads a path. Accepts exactly what [`fmt::Display`] prints.
    fn from_str(path: &str) -> Result<Self, Error> {
        parse_path(path)
            .filter(|tile| tile.to_string() == path)
            .ok_or(Error::Malformed {
                what: "tile path",
                place: "byte",
                at: 0,
                problem: "not of the form `tile/<level or entries>/<index>[.p/<width>]`",
            })
    }
}

/// Reads a path leniently; the caller compares with the printed form.
fn parse_path(path: &str) -> Option<Tile> {
    let (layer, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let layer = if layer == "entries" {
        Layer::Entries
    } else {
        Layer::Hashes(layer.parse().ok()?)
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let index = index.replace(['x', '/'], "").parse().ok()?;
    Tile::new(layer, index, width)
}

/// All files that a log of this size has beside its checkpoint: the bundles of entries in order,
/// then the hash tiles from the leaves up. Of each layer the last may be partial.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    let size = size.min(TREE_SIZE_MAX);
    let levels = (0_u8..).map_while(move |level| {
        let width = size >> (HEIGHT * u32::from(level));
        (width > 0).then_some((Layer::Hashes(level), width))
    });
    let entries = (size > 0).then_some((Layer::Entries, size));
    entries
        .into_iter()
        .chain(levels)
        .flat_map(|(layer, count)| row(layer, count))
}

/// The tiles of one layer over `count` hashes or entries.
fn row(layer: Layer, count: u64) -> impl Iterator<Item = Tile> {
    (0..count.div_ceil(TILE_WIDTH.into())).filter_map(move |index| {
        let rest = count - (index << HEIGHT);
        Tile::new(layer, index, rest.min(TILE_WIDTH.into()).try_into().ok()?)
    })
}

/// A bundle of up to 256 entries: each with its length in 16 bits, big-endian, before it.
///
/// # Errors
/// [`Error::TooLong`] for an entry over 65 535 bytes; [`Error::Malformed`] for over 256 entries.
pub fn encode_bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Result<Vec<u8>, Error> {
    let mut bundle = Vec::new();
    for (count, entry) in entries.into_iter().enumerate() {
        if count == usize::from(TILE_WIDTH) {
            return Err(bundle_error(bundle.len(), "more than 256 entries"));
        }
        append_entry(&mut bundle, entry)?;
    }
    Ok(bundle)
}

fn append_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), Error> {
    let too_long = Error::TooLong {
        what: "entry",
        bytes: entry.len(),
        limit: ENTRY_BYTES_MAX,
    };
    let length = u16::try_from(entry.len()).map_err(|_| too_long)?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, which must have exactly `width` of them and nothing after.
///
/// # Errors
/// [`Error::Malformed`], with the byte where the bundle ends too early or goes on.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, Error> {
    let mut entries = Vec::with_capacity(width.into());
    let mut rest = bundle;
    for _ in 0..width {
        let cut = || bundle_error(bundle.len(), "the bundle ends within an entry");
        let (length, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or_else(cut)?;
        entries.push(entry);
        rest = after;
    }
    if !rest.is_empty() {
        return Err(bundle_error(
            bundle.len() - rest.len(),
            "bytes after the last entry",
        ));
    }
    Ok(entries)
}

fn bundle_error(at: usize, problem: &'static str) -> Error {
    Error::Malformed {
        what: "entry bundle",
        place: "byte",
        at,
        problem,
    }
}

/// A file of the exported log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Which one; its text form is the path below the log's directory.
    pub tile: Tile,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Turns entries into the log's static files, in order, keeping no more than one unfinished file
/// a layer (at most 16 MiB of entries and 2 KiB of hashes for each level).
#[derive(Debug, Clone, Default)]
pub struct Export {
    tree: Tree,
    bundle: Vec<u8>,
    levels: Vec<Vec<u8>>,
}

impl Export {
    /// An export of a log from its first entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an entry; returns the files that it completes, none for most entries.
    ///
    /// # Errors
    /// [`Error::TooLong`] for an entry over 65 535 bytes; the export is unchanged.
    pub fn push(&mut self, entry: &[u8]) -> Result<Vec<File>, Error> {
        append_entry(&mut self.bundle, entry)?;
        let levels = &mut self.levels;
        self.tree.push_with(leaf_hash(entry), |height, _, hash| {
            if u32::from(height) % HEIGHT != 0 {
                return;
            }
            let level = usize::from(height) / HEIGHT as usize;
            if levels.len() == level {
                levels.push(Vec::new());
            }
            if let Some(tile) = levels.get_mut(level) {
                tile.extend_from_slice(hash.as_bytes());
            }
        });
        let size = self.tree.size();
        let full = |layer: u32| size.trailing_zeros() >= (layer + 1) * HEIGHT;
        Ok(if full(0) { self.take(full) } else { Vec::new() })
    }

    /// The unfinished files, as partial tiles. The log ends here.
    #[must_use]
    pub fn finish(mut self) -> Vec<File> {
        self.take(|_| true)
    }

    /// The tree over the entries so far.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Takes out what has gathered of the bundle and of each level that is `due`.
    fn take(&mut self, due: impl Fn(u32) -> bool) -> Vec<File> {
        let size = self.tree.size();
        let mut files = Vec::new();
        files.extend(last(Layer::Entries, size, &mut self.bundle));
        for (level, bytes) in (0_u8..).zip(&mut self.levels) {
            if due(level.into()) {
                let count = size >> (HEIGHT * u32::from(level));
                files.extend(last(Layer::Hashes(level), count, bytes));
            }
        }
        files
    }
}

/// The last file of a layer over `count` hashes or entries, if anything has gathered for it.
fn last(layer: Layer, count: u64, bytes: &mut Vec<u8>) -> Option<File> {
    if bytes.is_empty() {
        return None;
    }
    let index = count.checked_sub(1)? >> HEIGHT;
    let tile = Tile::new(layer, index, (count - (index << HEIGHT)).try_into().ok()?)?;
    Some(File {
        tile,
        bytes: std::mem::take(bytes),
    })
}

#[cfg(test)]
mod tests;
