//! Whole logs, good and broken; every fault says where it is.

use std::collections::BTreeMap;

use super::*;
use crate::note::Signer;
use crate::tree::{Hashes, root_at};

const ORIGIN: &str = "log.example/gate-1";

fn entries(count: u64) -> Vec<Vec<u8>> {
    (0..count)
        .map(|index| format!("entry {index}").into_bytes())
        .collect()
}

fn sign(origin: &str, size: u64, root: Hash) -> VerifiedCheckpoint {
    let signer = Signer::from_seed(origin, &[3; 32]).unwrap();
    let note = Checkpoint::new(origin, size, root)
        .unwrap()
        .sign(&signer)
        .unwrap();
    VerifiedCheckpoint::verify(&note, signer.verifier_key(), &[]).unwrap()
}

fn checkpoints(entries: &[Vec<u8>], sizes: &[u64]) -> Vec<VerifiedCheckpoint> {
    let mut hashes = Hashes::new();
    hashes.extend(entries.iter().map(|entry| leaf_hash(entry)));
    sizes
        .iter()
        .map(|size| sign(ORIGIN, *size, root_at(*size, &hashes).unwrap()))
        .collect()
}

fn check(entries: &[Vec<u8>], held: &[VerifiedCheckpoint]) -> Result<Report, Fault> {
    let mut check = LogCheck::new(held)?;
    for entry in entries {
        check.entry(entry)?;
    }
    check.finish()
}

fn files(entries: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let mut export = Export::new();
    let mut files: Vec<File> = entries
        .iter()
        .flat_map(|e| export.push(e).unwrap())
        .collect();
    files.extend(export.finish());
    files
        .into_iter()
        .map(|file| (file.tile.to_string(), file.bytes))
        .collect()
}

fn check_map(
    held: &VerifiedCheckpoint,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Report, Fault> {
    check_files(held, &[], |path| files.get(path).cloned())
}

#[test]
fn whole_log_fits_its_checkpoints() {
    let log = entries(600);
    let held = checkpoints(&log, &[600, 0, 1, 256, 300, 300]);
    let report = check(&log, &held).unwrap();
    assert_eq!(
        (report.head.size, report.covered, report.checkpoints),
        (600, 600, 5)
    );
    let report = check(&log, &held[1..3]).unwrap();
    assert_eq!(
        (report.head.size, report.covered, report.checkpoints),
        (600, 1, 2)
    );
    assert_eq!(
        check(&[], &[]).unwrap().head,
        Head {
            size: 0,
            root: Hash::EMPTY
        }
    );
}

// A10
#[test]
fn changed_moved_doubled_and_removed_entries_are_found() {
    let log = entries(600);
    let held = checkpoints(&log, &[100, 300, 600]);
    let between = |broken: &[Vec<u8>], good: u64, size: u64| {
        let fault = check(broken, &held).unwrap_err();
        assert!(
            matches!(fault, Fault::Root { size: at, good: before, .. } if (before, at) == (good, size)),
            "{fault}"
        );
    };
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut broken = log.clone();
        change(&mut broken);
        broken
    };
    between(&with(&|log| log[0][0] ^= 1), 0, 100);
    between(&with(&|log| log[299].push(b' ')), 100, 300);
    between(&with(&|log| log.swap(100, 101)), 100, 300);
    between(&with(&|log| log.insert(301, log[300].clone())), 300, 600);
    between(&with(&|log| drop(log.remove(50))), 0, 100);
    let cut = check(&log[..500], &held);
    assert_eq!(
        cut,
        Err(Fault::Short {
            have: 500,
            size: 600
        })
    );
    assert_eq!(cut.unwrap_err().verdict(), Verdict::Incomplete);
}

#[test]
fn fork_is_seen_without_entries() {
    let (one, other) = (leaf_hash(b"one"), leaf_hash(b"other"));
    let held = [
        sign(ORIGIN, 7, one),
        sign(ORIGIN, 9, one),
        sign(ORIGIN, 7, other),
    ];
    assert!(matches!(
        LogCheck::new(&held),
        Err(Fault::Forked { size: 7, .. })
    ));
    let two = [sign(ORIGIN, 7, one), sign("log.example/gate-2", 7, one)];
    assert!(matches!(LogCheck::new(&two), Err(Fault::TwoLogs { .. })));
}

// A14
#[test]
fn files_of_every_size_fit() {
    for size in [0, 1, 255, 256, 257, 600, 65_536, 65_537] {
        let log = entries(size);
        let held = &checkpoints(&log, &[size])[0];
        let report = check_map(held, &files(&log)).unwrap();
        assert_eq!((report.head.size, report.covered), (size, size));
    }
}

#[test]
fn full_tile_may_stand_for_the_partial_one() {
    let log = entries(600);
    let grown = files(&entries(768));
    let held = &checkpoints(&log, &[600])[0];
    let mut mixed = files(&log);
    for path in ["tile/entries/002", "tile/0/002"] {
        mixed.remove(&format!("{path}.p/88"));
        mixed.insert(path.to_owned(), grown[path].clone());
    }
    assert_eq!(check_map(held, &mixed).unwrap().covered, 600);
    mixed.get_mut("tile/0/002").unwrap()[87 * 32] ^= 1;
    let fault = Fault::Tile {
        path: "tile/0/002".to_owned(),
        index: 599,
    };
    assert_eq!(check_map(held, &mixed), Err(fault));
}

// A10
#[test]
fn every_missing_file_is_named() {
    let log = entries(600);
    let held = &checkpoints(&log, &[600])[0];
    let good = files(&log);
    for path in good.keys() {
        let mut less = good.clone();
        less.remove(path);
        let fault = check_map(held, &less).unwrap_err();
        assert_eq!(fault, Fault::Missing { path: path.clone() });
        assert_eq!(fault.verdict(), Verdict::Incomplete);
    }
}

// A10
#[test]
fn changed_byte_of_any_file_is_found_and_its_entry_named() {
    let log = entries(600);
    let held = &checkpoints(&log, &[600])[0];
    let good = files(&log);
    for (path, bytes) in &good {
        for at in (0..bytes.len()).step_by(41).chain([bytes.len() - 1]) {
            let mut broken = good.clone();
            broken.get_mut(path).unwrap()[at] ^= 0x10;
            let fault = check_map(held, &broken).unwrap_err();
            assert_eq!(fault.verdict(), Verdict::Tampered, "{path} {at}: {fault}");
            let tile: Tile = path.parse().unwrap();
            if let Layer::Hashes(level) = tile.layer() {
                let first = (tile.index() * 256 + at as u64 / 32) << (8 * level);
                assert_eq!(
                    fault,
                    Fault::Tile {
                        path: path.clone(),
                        index: first
                    }
                );
            }
        }
        let mut broken = good.clone();
        broken.get_mut(path).unwrap().push(0);
        assert!(check_map(held, &broken).is_err(), "{path} longer");
        broken.get_mut(path).unwrap().truncate(bytes.len() - 1);
        assert!(check_map(held, &broken).is_err(), "{path} shorter");
    }
}

// A10: the log's owner edits old entries, rebuilds every file and signs with the real key.
#[test]
fn resigned_files_fail_against_an_earlier_checkpoint() {
    let log = entries(600);
    let held = checkpoints(&log, &[100, 300]);
    let check = |log: &[Vec<u8>], earlier: &[VerifiedCheckpoint]| {
        let files = files(log);
        check_files(&checkpoints(log, &[log.len() as u64])[0], earlier, |path| {
            files.get(path).cloned()
        })
    };
    let report = check(&log, &held).unwrap();
    assert_eq!((report.covered, report.checkpoints), (600, 3));
    let mut edited = log.clone();
    edited[170] = b"never happened".to_vec();
    assert!(check(&edited, &[]).is_ok());
    let found = check(&edited, &held);
    assert!(
        matches!(
            found,
            Err(Fault::Root {
                size: 300,
                good: 100,
                ..
            })
        ),
        "{found:?}"
    );
    assert_eq!(
        check(&log[..200], &held),
        Err(Fault::Short {
            have: 200,
            size: 300
        })
    );
}

// A10: entries, tiles and all are rewritten together; only the signature stands against it.
#[test]
fn consistently_rewritten_files_fail_against_the_checkpoint() {
    let log = entries(600);
    let held = &checkpoints(&log, &[600])[0];
    let mut other = log.clone();
    other[17] = b"never happened".to_vec();
    assert!(matches!(
        check_map(held, &files(&other)),
        Err(Fault::Root {
            size: 600,
            good: 0,
            ..
        })
    ));
}
