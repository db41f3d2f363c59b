//! The witness against logs that lie, race and rewrite.

use std::path::Path;
use std::sync::Arc;

use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer};
use tlog::proof::ConsistencyProof;
use tlog::tree::{Hashes, consistency_proof, leaf_hash, root_at};

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::disk::RealDisk;

const ORIGIN: &str = "log.example/gate-1";

fn log() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

/// A log whose entries from `edited` on are others than those of an honest one.
fn filled(size: u64, edited: u64) -> Hashes {
    let mut hashes = Hashes::new();
    hashes.extend((0..size).map(|index| {
        let edit = if index >= edited { "edited" } else { "entry" };
        leaf_hash(format!("{edit} {index}").as_bytes())
    }));
    hashes
}

fn body(old: u64, new: u64, hashes: &Hashes) -> Vec<u8> {
    let checkpoint = Checkpoint::new(ORIGIN, new, root_at(new, hashes).unwrap()).unwrap();
    let proof = ConsistencyProof {
        old_size: old,
        hashes: consistency_proof(old, new, hashes).unwrap(),
        checkpoint: checkpoint.sign(&log()).unwrap(),
    };
    proof.to_string().into_bytes()
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Witness::init(folder.path(), "witness.example/w1", &RealDisk).unwrap();
        let place = Self(folder);
        let key = log().verifier_key().clone();
        Witness::add_log(place.path(), &key, Arc::new(RealDisk), clock()).unwrap();
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self) -> Witness {
        Witness::open(self.path(), Arc::new(RealDisk), clock()).unwrap()
    }

    fn evidence(&self) -> usize {
        std::fs::read_dir(self.path().join("evidence"))
            .unwrap()
            .count()
    }
}

fn clock() -> crate::clock::SharedClock {
    Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)))
}

/// The answer is a good cosignature of the head that was asked for.
fn cosigned(witness: &Witness, body: &[u8]) {
    let Answer::Cosigned(line) = witness.add_checkpoint(body).unwrap() else {
        panic!("not cosigned")
    };
    let asked = ConsistencyProof::parse(body).unwrap().checkpoint;
    let note = Note::parse(format!("{asked}{line}").as_bytes()).unwrap();
    let (key, own) = (log(), witness.key().clone());
    let verified = VerifiedCheckpoint::verify(&note, key.verifier_key(), &[own]).unwrap();
    assert_eq!(verified.cosignatures()[0].time(), Some(1_700_000_000));
    assert_eq!(witness.logs()[0].head, *verified.checkpoint().head());
}

#[test]
fn growing_heads_are_cosigned_across_restarts() {
    let place = Place::new();
    let hashes = filled(700, 700);
    let mut old = 0;
    for new in [0, 1, 5, 5, 256, 257, 700] {
        let witness = place.open();
        cosigned(&witness, &body(old, new, &hashes));
        old = new;
    }
    assert_eq!(place.open().logs()[0].head.size, 700);
}

#[test]
fn a_head_of_another_history_is_never_cosigned() {
    let place = Place::new();
    let witness = place.open();
    let (good, edited) = (filled(300, 300), filled(300, 50));
    cosigned(&witness, &body(0, 100, &good));
    // The same size, another root.
    let same = witness.add_checkpoint(&body(100, 100, &edited)).unwrap();
    assert_eq!(same, Answer::Conflict(100));
    // Grown, signed with the real key, and a proof of another history.
    let grown = witness.add_checkpoint(&body(100, 300, &edited)).unwrap();
    assert_eq!(grown, Answer::Inconsistent);
    // Smaller, or as if nothing had been.
    for (old, new) in [(0, 50), (0, 300), (50, 80), (99, 300), (101, 300)] {
        let answer = witness.add_checkpoint(&body(old, new, &good)).unwrap();
        assert_eq!(answer, Answer::Conflict(100), "{old} to {new}");
    }
    // A head that the log did sign, and a stranger's junk for a proof, over and over.
    let honest = String::from_utf8(body(100, 300, &good)).unwrap();
    let (_, note) = honest.split_once("\n\n").unwrap();
    for junk in 0..5 {
        let hash = leaf_hash(&[junk]);
        let text = format!("old 100\n{hash}\n\n{note}");
        let answer = witness.add_checkpoint(text.as_bytes()).unwrap();
        assert_eq!(answer, Answer::Inconsistent);
    }
    assert_eq!(
        place.evidence(),
        1,
        "what proves itself is kept, nothing else"
    );
    cosigned(&witness, &body(100, 300, &good));
}

#[test]
fn strangers_and_malformed_requests_are_told_apart() {
    let place = Place::new();
    let witness = place.open();
    let good = String::from_utf8(body(0, 5, &filled(5, 5))).unwrap();
    let ask = |text: &str| witness.add_checkpoint(text.as_bytes()).unwrap();
    let root = filled(5, 5).root();
    let other = Signer::from_seed("log.example/other", &[3; 32]).unwrap();
    let note = Checkpoint::new("log.example/other", 5, root)
        .unwrap()
        .sign(&other);
    assert_eq!(
        ask(&format!("old 0\n\n{}", note.unwrap())),
        Answer::UnknownLog
    );
    let forger = Signer::from_seed(ORIGIN, &[4; 32]).unwrap();
    let note = Checkpoint::new(ORIGIN, 5, root).unwrap().sign(&forger);
    assert_eq!(
        ask(&format!("old 0\n\n{}", note.unwrap())),
        Answer::BadSignature
    );
    assert_eq!(ask(&good.replacen("old 0", "old 6", 1)).clone(), {
        Answer::Malformed("old size 6 is over the checkpoint's".to_owned())
    });
    let hash = "V8efTzGuApxdS9MLBzwnyU35NDiytGl+Hh7vW8A5SkE=";
    let longer = good.replacen("old 0\n", &format!("old 0\n{hash}\n"), 1);
    assert_eq!(
        ask(&longer),
        Answer::Inconsistent,
        "no proof leads from nothing"
    );
    // A16: extension lines, a 17th signature, other line ends, hashes beyond the limit.
    let extended = format!("{ORIGIN}\n5\n{root}\nextension\n");
    let line = log().sign(&extended).unwrap();
    let strangers = "— stranger AAAAAAA=\n".repeat(16);
    for text in [
        format!("old 0\n\n{extended}\n{line}\n"),
        format!("{good}{strangers}"),
        good.replace('\n', "\r\n"),
        good.replacen(
            "old 0\n",
            &format!("old 0\n{}", format!("{hash}\n").repeat(64)),
            1,
        ),
        good.trim_end().to_owned(),
        String::new(),
    ] {
        assert!(matches!(ask(&text), Answer::Malformed(_)), "{text}");
    }
    assert_eq!(witness.logs()[0].head.size, 0, "none of them was taken");
    cosigned(&witness, good.as_bytes());
}

#[test]
fn of_two_requests_at_once_only_one_grows_out_of_a_head() {
    let place = Place::new();
    let witness = place.open();
    let hashes = filled(64, 64);
    cosigned(&witness, &body(0, 10, &hashes));
    let bodies: Vec<_> = (11..=64).map(|new| body(10, new, &hashes)).collect();
    let answers = std::thread::scope(|scope| {
        let asked = |body: &Vec<u8>| {
            let (witness, body) = (&witness, body.clone());
            scope.spawn(move || witness.add_checkpoint(&body).unwrap())
        };
        let threads: Vec<_> = bodies.iter().map(asked).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<_>>()
    });
    let good = answers
        .iter()
        .filter(|answer| matches!(answer, Answer::Cosigned(_)));
    assert_eq!(good.count(), 1);
    let size = witness.logs()[0].head.size;
    let told = |answer: &Answer| matches!(answer, Answer::Conflict(told) if *told == size);
    assert_eq!(answers.iter().filter(|answer| told(answer)).count(), 53);
}

#[test]
fn lost_or_changed_state_is_refused_and_never_begins_anew() {
    let place = Place::new();
    cosigned(&place.open(), &body(0, 9, &filled(9, 9)));
    let folder = place.path().join("logs");
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let good = std::fs::read_to_string(&file).unwrap();
    let open = || Witness::open(place.path(), Arc::new(RealDisk), clock());
    for bad in [
        good.replace("\\n9\\n", "\\n8\\n"),
        good.replacen("— witness", "— another", 1),
        good[..good.len() / 2].to_owned(),
        String::new(),
    ] {
        std::fs::write(&file, &bad).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(
            error.contains("is damaged") && error.contains("does not start anew"),
            "{error}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    let witness = open().unwrap();
    let answer = witness.add_checkpoint(&body(0, 9, &filled(9, 9))).unwrap();
    assert_eq!(answer, Answer::UnknownLog);
    drop(witness);
    std::fs::write(&file, good).unwrap();
    assert_eq!(open().unwrap().logs()[0].head.size, 9);
}

#[test]
fn a_witness_is_made_once_and_runs_once() {
    let place = Place::new();
    let bad = place.path().join("other");
    assert!(Witness::init(&bad, "two words", &RealDisk).is_err() && !bad.exists());
    let again = Witness::init(place.path(), "witness.example/w2", &RealDisk);
    assert!(matches!(again, Err(Error::Exists(_))));
    let twice = Witness::add_log(
        place.path(),
        log().verifier_key(),
        Arc::new(RealDisk),
        clock(),
    );
    assert!(matches!(twice, Err(Error::KnownLog(_))));
    let own = log().witness_key().clone();
    let wrong = Witness::add_log(place.path(), &own, Arc::new(RealDisk), clock());
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .contains("0x01 is needed here")
    );
    let running = place.open();
    let second = Witness::open(place.path(), Arc::new(RealDisk), clock());
    assert!(matches!(second, Err(Error::Locked { .. })));
    drop(running);
    let key = place.path().join("witness.key");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(key, mode).unwrap();
    let open = Witness::open(place.path(), Arc::new(RealDisk), clock());
    assert!(matches!(open, Err(Error::Permissions(_))));
}
