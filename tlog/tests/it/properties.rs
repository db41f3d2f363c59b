//! What must hold for any input.

use proptest::collection::vec;
use proptest::prelude::*;
use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer, VerifierKey};
use tlog::proof::{ConsistencyProof, InclusionProof, verify_consistency, verify_inclusion};
use tlog::tree::{
    Hash, Hashes, Head, Tree, consistency_proof, inclusion_proof, leaf_hash, root_at,
};
use tlog::verify::{Fault, LogCheck};

const ORIGIN: &str = "log.example/gate-1";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

fn filled(size: u64) -> Hashes {
    let mut hashes = Hashes::new();
    hashes.extend((0..size).map(|index| leaf_hash(&index.to_be_bytes())));
    hashes
}

fn head(size: u64, hashes: &Hashes) -> Head {
    Head {
        size,
        root: root_at(size, hashes).unwrap(),
    }
}

fn checkpoint(size: u64, hashes: &Hashes) -> Note {
    Checkpoint::new(ORIGIN, size, root_at(size, hashes).unwrap())
        .unwrap()
        .sign(&signer())
        .unwrap()
}

/// A proof file over an entry that the file carries itself.
fn proof_file(size: u64, index: u64) -> InclusionProof {
    let hashes = filled(size);
    InclusionProof {
        extra: Some(index.to_be_bytes().to_vec()),
        index,
        hashes: inclusion_proof(index, size, &hashes).unwrap(),
        checkpoint: checkpoint(size, &hashes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_leaf_is_proven_and_no_other(size in 1_u64..2_000, a: u64, b: u64) {
        let hashes = filled(size);
        let (index, other) = (a % size, b % size);
        let proof = inclusion_proof(index, size, &hashes).unwrap();
        let leaf = leaf_hash(&index.to_be_bytes());
        prop_assert_eq!(verify_inclusion(leaf, index, &head(size, &hashes), &proof), Ok(()));
        let as_other = verify_inclusion(leaf, other, &head(size, &hashes), &proof);
        prop_assert_eq!(as_other.is_ok(), index == other);
    }

    #[test]
    fn any_two_sizes_are_consistent(new in 0_u64..2_000, a: u64) {
        let hashes = filled(new);
        let old = a % (new + 1);
        let proof = consistency_proof(old, new, &hashes).unwrap();
        let (from, to) = (head(old, &hashes), head(new, &hashes));
        prop_assert_eq!(verify_consistency(&from, &to, &proof), Ok(()));
    }

    #[test]
    fn frontier_round_trips(size in 0_u64..5_000) {
        let hashes = filled(size);
        let again = Tree::from_bytes(&hashes.tree().to_bytes()).unwrap();
        prop_assert_eq!(again.root(), hashes.root());
    }

    #[test]
    fn junk_is_refused_without_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Tree::from_bytes(&bytes);
        prop_assert!(Note::parse(&bytes).is_err());
        prop_assert!(InclusionProof::parse(&bytes).is_err());
        prop_assert!(ConsistencyProof::parse(&bytes).is_err());
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(Checkpoint::parse(&text).is_err());
        prop_assert!(text.parse::<VerifierKey>().is_err());
        prop_assert!(text.parse::<Hash>().is_err());
    }

    #[test]
    fn what_parses_prints_the_same(size in 1_u64..40, a: u64, at: prop::sample::Index, byte in 0x0a_u8..0x7f) {
        let mut bytes = proof_file(size, a % size).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(proof) = InclusionProof::parse(&bytes) {
            prop_assert_eq!(proof.to_string().into_bytes(), bytes);
        }
    }
}

// A10
#[test]
fn any_single_flipped_bit_of_a_proof_file_is_found() {
    let key = signer().verifier_key().clone();
    for (size, index) in [(1, 0), (5, 4), (300, 257)] {
        let good = proof_file(size, index).to_string().into_bytes();
        assert!(
            InclusionProof::parse(&good)
                .unwrap()
                .verify_carried(&key, &[])
                .is_ok()
        );
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let accepted = InclusionProof::parse(&bytes).and_then(|p| p.verify_carried(&key, &[]));
            assert!(accepted.is_err(), "bit {bit} of leaf {index} of {size}");
        }
    }
}

// A10
#[test]
fn any_single_flipped_bit_of_a_consistency_file_is_found() {
    let key = signer().verifier_key().clone();
    let hashes = filled(300);
    let held = VerifiedCheckpoint::verify(&checkpoint(100, &hashes), &key, &[]).unwrap();
    let proof = consistency_proof(100, 300, &hashes).unwrap();
    let file = ConsistencyProof {
        old_size: 100,
        hashes: proof,
        checkpoint: checkpoint(300, &hashes),
    };
    let good = file.to_string().into_bytes();
    assert!(
        ConsistencyProof::parse(&good)
            .unwrap()
            .verify(&held, &key, &[])
            .is_ok()
    );
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let accepted = ConsistencyProof::parse(&bytes).and_then(|p| p.verify(&held, &key, &[]));
        assert!(accepted.is_err(), "bit {bit}");
    }
}

// A10
#[test]
fn any_single_flipped_bit_of_an_entry_is_found() {
    let proof = proof_file(300, 128);
    let key = signer().verifier_key().clone();
    let entry = proof.extra.clone().unwrap();
    for bit in 0..entry.len() * 8 {
        let mut changed = entry.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(proof.verify(&changed, &key, &[]).is_err(), "bit {bit}");
    }
}

/// Whether a log is refused against the checkpoint, and nowhere but there.
fn refused(mut check: LogCheck, rest: impl IntoIterator<Item = Hash>) -> bool {
    for leaf in rest {
        match check.leaf(leaf) {
            Ok(_) => {}
            Err(Fault::Root { good: 0, .. }) => return true,
            Err(other) => panic!("{other}"),
        }
    }
    matches!(check.finish(), Err(Fault::Short { .. }))
}

// A10: over 50 000 changes of one log below a held checkpoint, none of which may pass.
#[test]
fn any_single_change_of_a_log_is_found() {
    let entries: Vec<Vec<u8>> = (0..64_u8)
        .map(|index| format!("{{\"seq\":{index:02},\"pad\":\"{}\"}}", "x".repeat(80)).into_bytes())
        .collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let mut hashes = Hashes::new();
    hashes.extend(leaves.iter().copied());
    let key = signer().verifier_key().clone();
    let held = VerifiedCheckpoint::verify(&checkpoint(64, &hashes), &key, &[]).unwrap();
    let mut before = LogCheck::new([&held]).unwrap();
    let mut changes = 0;
    let mut must_be_refused = |check: &LogCheck, rest: Vec<Hash>, what: &str| {
        changes += 1;
        assert!(refused(check.clone(), rest), "{what}");
    };
    for (at, entry) in entries.iter().enumerate() {
        let after = &leaves[at + 1..];
        for bit in 0..entry.len() * 8 {
            let mut changed = entry.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let rest = [&[leaf_hash(&changed)], after].concat();
            must_be_refused(&before, rest, &format!("entry {at}, bit {bit}"));
        }
        must_be_refused(&before, after.to_vec(), &format!("entry {at} removed"));
        // The last entry twice is an append after the checkpoint, which is allowed.
        if !after.is_empty() {
            let doubled = [&leaves[at..=at], &leaves[at..]].concat();
            must_be_refused(&before, doubled, &format!("entry {at} doubled"));
        }
        must_be_refused(&before, vec![], &format!("cut before entry {at}"));
        for other in at + 1..leaves.len() {
            let mut swapped = leaves.clone();
            swapped.swap(at, other);
            must_be_refused(
                &before,
                swapped[at..].to_vec(),
                &format!("{at} and {other} swapped"),
            );
        }
        before.leaf(leaves[at]).unwrap();
    }
    assert_eq!(before.finish().unwrap().covered, 64);
    assert!(changes >= 50_000, "only {changes}");
}
