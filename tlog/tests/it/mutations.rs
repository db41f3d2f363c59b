//! A10 in bulk: every way in which a small log can be changed, and none of them passes.
//!
//! Small logs, because a check is repeated for each change; what is special about large ones (tile
//! borders) has a log of its own. `python` gives a share of the same kinds of changes to the script.

use std::collections::HashSet;

use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer};
use tlog::proof::{ConsistencyProof, InclusionProof};
use tlog::tile::{CHECKPOINT_PATH, Export};
use tlog::tree::{Hashes, consistency_proof, inclusion_proof, leaf_hash, root_at};
use tlog::verify::{LogCheck, check_files};

const ORIGIN: &str = "log.example/gate-1";
/// How many changes all tests of this file together must have made.
const CHANGES_MIN: usize = 50_000;

type Entries = Vec<Vec<u8>>;
type Files = Vec<(String, Vec<u8>)>;

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

fn entries(size: usize) -> Entries {
    let entry = |index| format!("{{\"kind\":\"call.end\",\"seq\":{index}}}").into_bytes();
    (0..size).map(entry).collect()
}

fn hashes(entries: &[Vec<u8>]) -> Hashes {
    let mut hashes = Hashes::new();
    hashes.extend(entries.iter().map(|entry| leaf_hash(entry)));
    hashes
}

fn sign(size: usize, hashes: &Hashes) -> Note {
    let size = size as u64;
    let checkpoint = Checkpoint::new(ORIGIN, size, root_at(size, hashes).unwrap());
    checkpoint.unwrap().sign(&signer()).unwrap()
}

fn verified(note: &Note) -> VerifiedCheckpoint {
    VerifiedCheckpoint::verify(note, signer().verifier_key(), &[]).unwrap()
}

fn files(entries: &[Vec<u8>], note: &Note) -> Files {
    let mut export = Export::new();
    let mut files = Vec::new();
    for entry in entries {
        files.extend(export.push(entry).unwrap());
    }
    files.extend(export.finish());
    let mut files: Files = files
        .into_iter()
        .map(|file| (file.tile.to_string(), file.bytes))
        .collect();
    files.push((CHECKPOINT_PATH.to_owned(), note.to_string().into_bytes()));
    files
}

/// Whether the files pass, with their own checkpoint and the one that is held.
fn pass(files: &Files, held: Option<&VerifiedCheckpoint>) -> bool {
    let read = |path: &str| {
        let found = files.iter().find(|(stored, _)| stored == path);
        found.map(|(_, bytes)| bytes.clone())
    };
    let Some(note) = read(CHECKPOINT_PATH) else {
        return false;
    };
    let signed = Note::parse(&note)
        .and_then(|note| VerifiedCheckpoint::verify(&note, signer().verifier_key(), &[]));
    let held: Vec<_> = held.cloned().into_iter().collect();
    signed.is_ok_and(|signed| check_files(&signed, &held, read).is_ok())
}

/// Changes that were made, each once.
#[derive(Default)]
struct Changes(HashSet<u64>);

impl Changes {
    /// A change of `good` into `bad` must be found; one that changes nothing does not count.
    fn must_fail<T: std::hash::Hash + PartialEq>(
        &mut self,
        good: &T,
        bad: &T,
        what: &str,
        passes: bool,
    ) {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        if good == bad {
            return;
        }
        assert!(!passes, "{what}");
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        self.0.insert(hasher.hash_one((what, bad)));
    }
}

/// Each bit flipped, each byte set, dropped, doubled, and each cut.
fn edits(good: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let bits = (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let bytes = (0..good.len()).flat_map(move |at| {
        let set = |value| [&good[..at], &[value], &good[at + 1..]].concat();
        [
            set(0),
            set(0xff),
            set(b'\n'),
            [&good[..at], &good[at + 1..]].concat(),
            [&good[..=at], &good[at..]].concat(),
            good[..at].to_vec(),
        ]
    });
    bits.chain(bytes)
}

fn edit_files(changes: &mut Changes) {
    let all = entries(24);
    let good = files(&all, &sign(24, &hashes(&all)));
    assert!(pass(&good, None));
    for (at, (path, bytes)) in good.iter().enumerate() {
        for edit in edits(bytes) {
            let mut bad = good.clone();
            bad[at].1 = edit;
            changes.must_fail(&good, &bad, path, pass(&bad, None));
        }
    }
}

fn edit_proofs(changes: &mut Changes) {
    let all = entries(300);
    let hashes = hashes(&all);
    let key = signer().verifier_key().clone();
    for (index, size) in [(257, 300), (0, 256), (255, 256)] {
        let proof = InclusionProof {
            extra: Some(all[index].clone()),
            index: index as u64,
            hashes: inclusion_proof(index as u64, size as u64, &hashes).unwrap(),
            checkpoint: sign(size, &hashes),
        };
        let good = proof.to_string().into_bytes();
        let check = |bytes: &[u8]| InclusionProof::parse(bytes)?.verify_carried(&key, &[]);
        check(&good).unwrap();
        for bad in edits(&good) {
            changes.must_fail(&good, &bad, "inclusion", check(&bad).is_ok());
        }
    }
    for (old, new) in [(100, 300), (256, 300)] {
        let held = verified(&sign(old, &hashes));
        let proof = ConsistencyProof {
            old_size: old as u64,
            hashes: consistency_proof(old as u64, new as u64, &hashes).unwrap(),
            checkpoint: sign(new, &hashes),
        };
        let good = proof.to_string().into_bytes();
        let check = |bytes: &[u8]| ConsistencyProof::parse(bytes)?.verify(&held, &key, &[]);
        check(&good).unwrap();
        for bad in edits(&good) {
            changes.must_fail(&good, &bad, "consistency", check(&bad).is_ok());
        }
    }
}

/// Every record deleted, doubled, moved and swapped, and the log cut, as its records.
fn reorder(good: &Entries) -> impl Iterator<Item = (&'static str, Entries)> + '_ {
    let count = good.len();
    let single = (0..count).flat_map(move |at| {
        let mut deleted = good.clone();
        deleted.remove(at);
        let mut doubled = good.clone();
        doubled.insert(at, good[at].clone());
        [
            ("deleted", deleted),
            ("doubled", doubled),
            ("cut", good[..at].to_vec()),
        ]
    });
    let pairs = (0..count).flat_map(move |one| (0..count).map(move |other| (one, other)));
    let pairs = pairs.flat_map(move |(one, other)| {
        let mut swapped = good.clone();
        swapped.swap(one, other);
        let mut moved = good.clone();
        let entry = moved.remove(one);
        moved.insert(other, entry);
        let mut copied = good.clone();
        copied[one].clone_from(&good[other]);
        let mut inserted = good.clone();
        inserted.insert(one, good[other].clone());
        [
            ("swapped", swapped),
            ("moved", moved),
            ("overwritten", copied),
            ("inserted", inserted),
        ]
    });
    single.chain(pairs)
}

/// The records alone, against the head that was signed over them.
fn edit_records(changes: &mut Changes) {
    let good = entries(48);
    let held = verified(&sign(48, &hashes(&good)));
    let passes = |entries: &Entries| {
        let mut check = LogCheck::new([&held]).unwrap();
        let fed = entries
            .iter()
            .try_for_each(|entry| check.entry(entry).map(|_| ()));
        fed.is_ok() && check.finish().is_ok()
    };
    assert!(passes(&good));
    for (what, bad) in reorder(&good) {
        // More records than were signed are no change of those that were.
        let grown = bad.len() > good.len() && bad[..good.len()] == good[..];
        if !grown {
            changes.must_fail(&good, &bad, what, passes(&bad));
        }
    }
    for at in 0..good.len() {
        for edit in edits(&good[at]) {
            let mut bad = good.clone();
            bad[at] = edit;
            changes.must_fail(&good, &bad, "edited", passes(&bad));
        }
    }
}

/// The whole log made anew after a change and signed with the real key: nothing in it is wrong by
/// itself, and only the checkpoint that somebody kept tells.
fn sign_again(changes: &mut Changes) {
    let good = entries(12);
    let held = verified(&sign(12, &hashes(&good)));
    let mut later = good.clone();
    later.extend(entries(15).into_iter().skip(12));
    for (what, mut bad) in reorder(&good) {
        bad.extend(later[12..].iter().cloned());
        if bad[..12.min(bad.len())] == good[..] || bad.is_empty() {
            continue;
        }
        let note = sign(bad.len(), &hashes(&bad));
        let files = files(&bad, &note);
        assert!(pass(&files, None), "{what}: alone it looks good");
        let told = format!("signed again, {what}");
        changes.must_fail(&good, &bad, &told, pass(&files, Some(&held)));
    }
}

// A10
#[test]
fn fifty_thousand_changes_and_none_passes() {
    let mut changes = Changes::default();
    let mut counted = 0;
    for (name, run) in [
        ("files", edit_files as fn(&mut Changes)),
        ("proofs", edit_proofs),
        ("records", edit_records),
        ("signed again", sign_again),
    ] {
        run(&mut changes);
        println!("{name}: {} changes", changes.0.len() - counted);
        counted = changes.0.len();
    }
    assert!(counted >= CHANGES_MIN, "only {counted} changes");
}
