//! Verification of proofs, and the two files.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::note::Signer;
use crate::tree::{Hashes, consistency_proof, inclusion_proof, root_at};

const ORIGIN: &str = "log.example/gate-1";

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn log(size: u64) -> Hashes {
    let mut hashes = Hashes::new();
    hashes.extend((0..size).map(|index| leaf_hash(&entry(index))));
    hashes
}

fn head(size: u64, hashes: &Hashes) -> Head {
    Head {
        size,
        root: root_at(size, hashes).unwrap(),
    }
}

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

fn checkpoint(size: u64, hashes: &Hashes) -> Note {
    Checkpoint::new(ORIGIN, size, root_at(size, hashes).unwrap())
        .unwrap()
        .sign(&signer())
        .unwrap()
}

fn verified(note: &Note) -> VerifiedCheckpoint {
    VerifiedCheckpoint::verify(note, signer().verifier_key(), &[]).unwrap()
}

fn flip(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::new(bytes)
}

#[test]
fn every_leaf_of_every_small_tree_is_proven() {
    let hashes = log(130);
    for size in 1..=130 {
        let head = head(size, &hashes);
        for index in 0..size {
            let proof = inclusion_proof(index, size, &hashes).unwrap();
            let leaf = leaf_hash(&entry(index));
            assert_eq!(
                verify_inclusion(leaf, index, &head, &proof),
                Ok(()),
                "{index} of {size}"
            );
        }
    }
}

#[test]
fn every_pair_of_small_trees_is_consistent() {
    let hashes = log(130);
    for new in 0..=130 {
        for old in 0..=new {
            let proof = consistency_proof(old, new, &hashes).unwrap();
            let (from, to) = (head(old, &hashes), head(new, &hashes));
            assert_eq!(
                verify_consistency(&from, &to, &proof),
                Ok(()),
                "{old} to {new}"
            );
        }
    }
}

// A10
#[test]
fn inclusion_with_anything_changed_is_refused() {
    let hashes = log(23);
    for size in 1..=23 {
        let good = head(size, &hashes);
        for index in 0..size {
            let leaf = leaf_hash(&entry(index));
            let proof = inclusion_proof(index, size, &hashes).unwrap();
            let other_leaf = leaf_hash(b"other");
            assert!(verify_inclusion(other_leaf, index, &good, &proof).is_err());
            for wrong in 0..size + 2 {
                let refused = verify_inclusion(leaf, wrong, &good, &proof).is_err();
                assert_eq!(refused, wrong != index, "{index} of {size} as {wrong}");
            }
            let root = flip(good.root, 77);
            assert!(verify_inclusion(leaf, index, &Head { size, root }, &proof).is_err());
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at] = flip(changed[at], 200);
                assert!(verify_inclusion(leaf, index, &good, &changed).is_err());
                changed.remove(at);
                let short = verify_inclusion(leaf, index, &good, &changed);
                assert!(matches!(short, Err(Error::ProofLength { .. })));
            }
            let longer = [proof.as_slice(), &[leaf]].concat();
            assert!(verify_inclusion(leaf, index, &good, &longer).is_err());
        }
    }
}

// A10
#[test]
fn consistency_with_anything_changed_is_refused() {
    let hashes = log(23);
    for new in 2..=23 {
        let to = head(new, &hashes);
        for old in 1..new {
            let from = head(old, &hashes);
            let proof = consistency_proof(old, new, &hashes).unwrap();
            let older = Head {
                size: old,
                root: flip(from.root, 0),
            };
            let newer = Head {
                size: new,
                root: flip(to.root, 255),
            };
            assert!(matches!(
                verify_consistency(&older, &to, &proof),
                Err(Error::Inconsistent { .. })
            ));
            let refused = verify_consistency(&from, &newer, &proof);
            assert!(matches!(
                refused,
                Err(Error::Inconsistent { which: "newer", .. })
            ));
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at] = flip(changed[at], 9);
                assert!(verify_consistency(&from, &to, &changed).is_err());
                changed.remove(at);
                assert!(verify_consistency(&from, &to, &changed).is_err());
            }
            let longer = [proof.as_slice(), &[to.root]].concat();
            assert!(verify_consistency(&from, &to, &longer).is_err());
            assert_eq!(
                verify_consistency(&to, &from, &proof),
                Err(Error::Shrunk { old: new, new: old })
            );
        }
    }
}

#[test]
fn empty_and_equal_trees_need_no_proof_but_the_right_root() {
    let hashes = log(9);
    let (empty, nine) = (head(0, &hashes), head(9, &hashes));
    assert_eq!(verify_consistency(&empty, &nine, &[]), Ok(()));
    assert_eq!(verify_consistency(&nine, &nine, &[]), Ok(()));
    assert!(verify_consistency(&empty, &nine, &[nine.root]).is_err());
    assert!(verify_consistency(&nine, &nine, &[nine.root]).is_err());
    let not_empty = Head {
        size: 0,
        root: nine.root,
    };
    assert!(matches!(
        verify_consistency(&not_empty, &nine, &[]),
        Err(Error::Forked { size: 0, .. })
    ));
    let fork = Head {
        size: 9,
        root: flip(nine.root, 1),
    };
    assert!(matches!(
        verify_consistency(&fork, &nine, &[]),
        Err(Error::Forked { size: 9, .. })
    ));
    assert!(verify_inclusion(nine.root, 0, &empty, &[]).is_err());
}

#[test]
fn extreme_sizes_do_not_panic() {
    let root = leaf_hash(b"");
    for size in [1, 2, 1 << 62, u64::MAX - 1, u64::MAX] {
        for index in [0, 1, 2, size / 2, size - 1, size, u64::MAX] {
            for hashes in [0, 1, 62, 63, 64, 65] {
                let proof = vec![root; hashes];
                let head = Head { size, root };
                let _ = verify_inclusion(root, index, &head, &proof);
                let _ = verify_consistency(&Head { size: index, root }, &head, &proof);
            }
        }
    }
}

#[test]
fn proof_file_verifies_what_it_carries() {
    let hashes = log(300);
    let proof = InclusionProof {
        extra: Some(entry(257)),
        index: 257,
        hashes: inclusion_proof(257, 300, &hashes).unwrap(),
        checkpoint: checkpoint(300, &hashes),
    };
    let text = proof.to_string();
    let read = InclusionProof::parse(text.as_bytes()).unwrap();
    assert_eq!(read, proof);
    let key = signer().verifier_key().clone();
    assert_eq!(
        read.verify_carried(&key, &[]).unwrap().checkpoint().size(),
        300
    );
    assert!(matches!(
        read.verify(b"other", &key, &[]),
        Err(Error::NotIncluded { index: 257, .. })
    ));

    let bare = InclusionProof {
        extra: None,
        ..proof
    };
    let read = InclusionProof::parse(bare.to_string().as_bytes()).unwrap();
    assert_eq!(read, bare);
    assert_eq!(read.verify_carried(&key, &[]), Err(Error::NoEntry));
    assert!(read.verify(&entry(257), &key, &[]).is_ok());
}

#[test]
fn proof_file_has_one_spelling() {
    let hashes = log(5);
    let good = InclusionProof {
        extra: Some(entry(1)),
        index: 1,
        hashes: inclusion_proof(1, 5, &hashes).unwrap(),
        checkpoint: checkpoint(5, &hashes),
    }
    .to_string();
    assert!(InclusionProof::parse(good.as_bytes()).is_ok());
    let hash = good.lines().nth(3).unwrap();
    let wrong = [
        good.replacen("@v1", "@v2", 1),
        good.replacen("index 1", "index 01", 1),
        good.replacen("index 1", "index +1", 1),
        good.replacen("index 1", "index", 1),
        good.replacen("index 1", "Index 1", 1),
        good.replacen("index 1\n", "index 1\n\n", 1),
        good.replacen("extra ", "extra  ", 1),
        good.replacen("extra ", "extra =", 1),
        good.replacen("index 1\n", "index 1\nextra AAAA\n", 1),
        good.replacen(hash, &format!("{hash}\nshort"), 1),
        good.replacen(hash, &format!("{hash}\n").repeat(64), 1),
        good.replace('\n', "\r\n"),
        format!("{good}\n"),
        format!("\n{good}"),
        "x".repeat(PROOF_FILE_BYTES_MAX + 1),
    ];
    for text in wrong {
        assert!(
            InclusionProof::parse(text.as_bytes()).is_err(),
            "{text:.200?}"
        );
    }
    for end in 0..good.len() {
        assert!(
            InclusionProof::parse(&good.as_bytes()[..end]).is_err(),
            "cut at {end}"
        );
    }
}

// A13
#[test]
fn largest_entry_fits_a_proof_file_and_no_larger_one() {
    let hashes = log(1);
    let mut proof = InclusionProof {
        extra: Some(vec![b'x'; 65_535]),
        index: 0,
        hashes: vec![],
        checkpoint: checkpoint(1, &hashes),
    };
    assert_eq!(
        InclusionProof::parse(proof.to_string().as_bytes()).as_ref(),
        Ok(&proof)
    );
    proof.extra = Some(vec![b'x'; 65_536]);
    assert!(matches!(
        InclusionProof::parse(proof.to_string().as_bytes()),
        Err(Error::TooLong {
            what: "extra data",
            bytes: 65_536,
            ..
        })
    ));
}

#[test]
fn consistency_file_verifies_against_the_held_checkpoint() {
    let hashes = log(300);
    let held = verified(&checkpoint(100, &hashes));
    let proof = ConsistencyProof {
        old_size: 100,
        hashes: consistency_proof(100, 300, &hashes).unwrap(),
        checkpoint: checkpoint(300, &hashes),
    };
    let text = proof.to_string();
    let read = ConsistencyProof::parse(text.as_bytes()).unwrap();
    assert_eq!(read, proof);
    let key = signer().verifier_key().clone();
    assert_eq!(
        read.verify(&held, &key, &[]).unwrap().checkpoint().size(),
        300
    );

    let other = verified(&checkpoint(101, &hashes));
    let refused = read.verify(&other, &key, &[]);
    assert_eq!(
        refused,
        Err(Error::OldSize {
            proof: 100,
            held: 101
        })
    );
    for end in 0..text.len() {
        assert!(
            ConsistencyProof::parse(&text.as_bytes()[..end]).is_err(),
            "cut at {end}"
        );
    }
    for wrong in [
        text.replacen("old 100", "old 0100", 1),
        text.replacen("old ", "new ", 1),
    ] {
        assert!(
            ConsistencyProof::parse(wrong.as_bytes()).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn proof_of_one_log_says_nothing_of_another() {
    let hashes = log(9);
    let other = Signer::from_seed("log.example/gate-2", &[3; 32]).unwrap();
    let note = Checkpoint::new(other.name(), 5, root_at(5, &hashes).unwrap()).unwrap();
    let note = note.sign(&other).unwrap();
    let held = VerifiedCheckpoint::verify(&note, other.verifier_key(), &[]).unwrap();
    let proof = ConsistencyProof {
        old_size: 5,
        hashes: consistency_proof(5, 9, &hashes).unwrap(),
        checkpoint: checkpoint(9, &hashes),
    };
    let refused = proof.verify(&held, signer().verifier_key(), &[]);
    assert!(matches!(refused, Err(Error::Origin { origin, .. }) if origin == "log.example/gate-2"));
}

// A10
#[test]
fn edited_log_signed_with_the_real_key_fails_against_the_older_checkpoint() {
    let honest = log(100);
    let held = verified(&checkpoint(100, &honest));
    let mut edited = Hashes::new();
    edited.extend((0..300).map(|i| leaf_hash(&entry(if i == 50 { 51 } else { i }))));
    let proof = ConsistencyProof {
        old_size: 100,
        hashes: consistency_proof(100, 300, &edited).unwrap(),
        checkpoint: checkpoint(300, &edited),
    };
    let refused = proof.verify(&held, signer().verifier_key(), &[]);
    assert!(matches!(
        refused,
        Err(Error::Inconsistent {
            which: "older",
            size: 100,
            ..
        })
    ));
}
