//! Proof files: what is accepted prints as it was read, and what verifies is what was in the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::checkpoint::VerifiedCheckpoint;
use tlog::note::{Note, Signer};
use tlog::proof::{ConsistencyProof, InclusionProof};

/// The checkpoint of 3 entries of the format's vectors, which the consistency proofs start from.
const HELD: &[u8] = include_bytes!("../corpus/tlog_note/checkpoint-3");

fuzz_target!(|bytes: &[u8]| {
    let log = Signer::from_seed("log.example/gate-1", &[3; 32]).expect("a good name and seed");
    let key = log.verifier_key();
    if let Ok(proof) = InclusionProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        if proof.verify_carried(key, &[]).is_ok() {
            let entry = format!("entry {}", proof.index).into_bytes();
            assert_eq!(proof.extra, Some(entry), "an entry is proven that was never logged");
        }
    }
    if let Ok(proof) = ConsistencyProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        let held = Note::parse(HELD).and_then(|note| VerifiedCheckpoint::verify(&note, key, &[]));
        if proof.verify(&held.expect("the corpus is good"), key, &[]).is_ok() {
            assert!(proof.old_size == 3 && proof.hashes.len() <= 4);
        }
    }
});
