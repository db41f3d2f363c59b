//! The files of the index of calls: `state`, a file for each chunk, and one of the roots of all full blocks of
//! leaves; those are named by their checksums.
//!
//! `state` names the files that belong together and is replaced as a whole, so a reader has the old
//! set or the new one; a chunk that a newer `state` does not name any more is removed after it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tlog::tree::{Hash, Tree};

use super::super::Error;
use super::super::files::{Files, Identity};
use super::super::frame::Position;
use super::super::leaf::{hex, unhex};
use super::super::retain::Expired;
use super::super::segment::{Expect, Walked};
use super::build::{BLOCK_LEAVES, Built, Held, LastLeaf, Pending, Slot};
use super::columns::Packed;
use crate::disk::{Access, Disk, read_all};

/// Another version is made anew.
const VERSION: u64 = 3;
const STATE: &str = "state";
/// What the names of chunks end with, and that of the file of blocks' roots.
const CHUNK: &str = ".calls";
const BLOCKS: &str = ".tree";
const STATE_BYTES_MAX: u64 = 256 * 1024 * 1024;
const CHUNK_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u64,
    log_id: String,
    origin: String,
    chunks: Vec<SavedChunk>,
    pending: Vec<SavedPending>,
    erased: Vec<(String, u64)>,
    holds: Vec<(u64, u64)>,
    changes: Vec<(u64, u64)>,
    tree: String,
    blocks: String,
    expired: Option<(u64, u64)>,
    floor_ms: u64,
    end: (u64, u64),
    next: (u64, u64),
    behind: (u64, u64),
    last: SavedLeaf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedChunk {
    name: String,
    rows: u64,
    first_leaf: u64,
    span_ms: (u64, u64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedPending {
    id: String,
    slot: usize,
    row: usize,
    approval: bool,
    ended_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedLeaf {
    index: u64,
    at: (u64, u64),
    hash: String,
}

const fn pair(at: Position) -> (u64, u64) {
    (at.segment, at.offset)
}

const fn position((segment, offset): (u64, u64)) -> Position {
    Position { segment, offset }
}

fn checksum(text: &[u8]) -> String {
    hex(digest(&SHA256, text).as_ref())
}

fn load_bytes(disk: &dyn Disk, files: &Files, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&files.index().join(name), Access::Read).ok()?;
    read_all(file.as_ref(), CHUNK_BYTES_MAX).ok()
}

/// A chunk's file.
pub(super) fn load(disk: &dyn Disk, files: &Files, name: &str) -> Option<Packed> {
    Packed::parse(load_bytes(disk, files, name)?)
}

fn blocks_bytes(blocks: &[Hash]) -> Vec<u8> {
    let bytes = blocks.iter().flat_map(|hash| hash.as_bytes());
    bytes.copied().collect()
}

fn blocks_name(blocks: &[Hash]) -> String {
    let sum: String = checksum(&blocks_bytes(blocks)).chars().take(16).collect();
    format!("{sum}{BLOCKS}")
}

/// What was saved; `None` when nothing was, or nothing that fits this log.
pub(super) fn read(disk: &dyn Disk, files: &Files, identity: &Identity) -> Option<Built> {
    let file = disk.open(&files.index().join(STATE), Access::Read).ok()?;
    let bytes = read_all(file.as_ref(), STATE_BYTES_MAX).ok()?;
    let (sum, text) = bytes.split_at_checked(64)?;
    let text = text.strip_prefix(b"\n")?;
    if sum != checksum(text).as_bytes() {
        return None;
    }
    let saved: Saved = serde_json::from_slice(text).ok()?;
    let fits = saved.version == VERSION
        && saved.log_id == hex(&identity.log_id)
        && saved.origin == identity.origin;
    if !fits {
        return None;
    }
    let mut built = Built {
        walked: Walked {
            end: position(saved.end),
            next: Expect {
                seq: saved.next.0,
                leaf: saved.next.1,
            },
            torn: false,
        },
        behind: position(saved.behind),
        last: Some(LastLeaf {
            index: saved.last.index,
            at: position(saved.last.at),
            hash: unhex(&saved.last.hash)?,
        }),
        expired: saved
            .expired
            .map(|(before, record)| Expired { before, record }),
        floor_ms: saved.floor_ms,
        ..Built::default()
    };
    for chunk in saved.chunks {
        built.slots.push(Slot {
            rows: chunk.rows,
            first_leaf: chunk.first_leaf,
            span_ms: chunk.span_ms,
            held: Held::File(chunk.name),
        });
    }
    built.holds = saved.holds.into_iter().map(position).collect();
    built.changes = saved.changes.into_iter().map(position).collect();
    built.tree = Tree::from_bytes(&BASE64.decode(&saved.tree).ok()?).ok()?;
    let blocks = load_bytes(disk, files, &saved.blocks)?;
    let (blocks, rest) = blocks.as_chunks::<{ Hash::BYTES }>();
    let hashes = blocks.iter().filter_map(|hash| Hash::from_slice(hash));
    built.blocks = Arc::new(hashes.collect());
    // It grows with each leaf that was read, and a block is kept of each full one.
    let whole = built.tree.size() == saved.next.1
        && built.blocks.len() as u64 == saved.next.1 / BLOCK_LEAVES;
    if !whole || !rest.is_empty() || saved.blocks != blocks_name(built.blocks.as_slice()) {
        return None;
    }
    for (reference, index) in saved.erased {
        built.erased.insert(unhex(&reference)?, index);
    }
    for pending in saved.pending {
        built.pending.insert(
            unhex(&pending.id)?,
            Pending {
                slot: pending.slot,
                row: pending.row,
                approval: pending.approval,
                ended_ms: pending.ended_ms,
            },
        );
    }
    Some(built)
}

/// Write what is newer than the files.
pub(super) fn write(
    disk: &dyn Disk,
    files: &Files,
    identity: &Identity,
    built: &mut Built,
) -> Result<(), Error> {
    let Some(last) = built.last else {
        return Ok(());
    };
    let dir = files.index();
    disk.create_dir(&dir)
        .map_err(|source| Error::disk("make", &dir, source))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        disk.write_atomic(&path, bytes)
            .map_err(|source| Error::disk("write", &path, source))
    };
    let mut chunks = Vec::with_capacity(built.slots.len());
    for slot in &mut built.slots {
        let name = match &slot.held {
            Held::File(name) => name.clone(),
            Held::Packed(packed) => {
                let name = name_of(slot.first_leaf, packed.bytes());
                put(&name, packed.bytes())?;
                slot.held = Held::File(name.clone());
                name
            }
            // The newest: it stays as it is, and is written as it is now.
            Held::Open(chunk) => {
                let bytes = chunk
                    .encode()
                    .map_err(|source| Error::disk("pack", &dir, source))?;
                let name = name_of(slot.first_leaf, &bytes);
                put(&name, &bytes)?;
                name
            }
        };
        chunks.push(SavedChunk {
            name,
            rows: slot.rows,
            first_leaf: slot.first_leaf,
            span_ms: slot.span_ms,
        });
    }
    let mut named: HashSet<String> = chunks.iter().map(|chunk| chunk.name.clone()).collect();
    let blocks = blocks_name(&built.blocks);
    put(&blocks, &blocks_bytes(&built.blocks))?;
    named.insert(blocks.clone());
    let saved = Saved {
        version: VERSION,
        log_id: hex(&identity.log_id),
        origin: identity.origin.clone(),
        chunks,
        pending: built.pending.iter().map(saved_pending).collect(),
        erased: built
            .erased
            .iter()
            .map(|(reference, index)| (hex(reference), *index))
            .collect(),
        holds: built.holds.iter().copied().map(pair).collect(),
        changes: built.changes.iter().copied().map(pair).collect(),
        tree: BASE64.encode(built.tree.to_bytes()),
        blocks,
        expired: built.expired.map(|of| (of.before, of.record)),
        floor_ms: built.floor_ms,
        end: pair(built.walked.end),
        next: (built.walked.next.seq, built.walked.next.leaf),
        behind: pair(built.behind),
        last: SavedLeaf {
            index: last.index,
            at: pair(last.at),
            hash: hex(&last.hash),
        },
    };
    put(STATE, &state_bytes(&saved))?;
    remove_others(disk, &dir, &named)
}

/// The file behind its own checksum.
fn state_bytes(saved: &Saved) -> Vec<u8> {
    let text = serde_json::to_vec(saved).unwrap_or_default();
    let mut bytes = checksum(&text).into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(&text);
    bytes
}

fn saved_pending((id, pending): (&[u8; 16], &Pending)) -> SavedPending {
    SavedPending {
        id: hex(id),
        slot: pending.slot,
        row: pending.row,
        approval: pending.approval,
        ended_ms: pending.ended_ms,
    }
}

fn name_of(first_leaf: u64, bytes: &[u8]) -> String {
    let sum: String = checksum(bytes).chars().take(16).collect();
    format!("{first_leaf:016x}-{sum}{CHUNK}")
}

fn remove_others(disk: &dyn Disk, dir: &Path, named: &HashSet<String>) -> Result<(), Error> {
    let listed = disk
        .list(dir)
        .map_err(|source| Error::disk("list", dir, source))?;
    for file in listed {
        let ours = [CHUNK, BLOCKS].iter().any(|end| file.name.ends_with(end));
        if ours && !named.contains(&file.name) {
            let path = dir.join(&file.name);
            disk.remove(&path)
                .map_err(|source| Error::disk("remove", &path, source))?;
        }
    }
    Ok(())
}
