//! Notes, checkpoints and keys: what is accepted prints as it was read, and nothing verifies but
//! the text that the key has signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer, VerifierKey};

/// The log key of the corpus has signed the checkpoints of these sizes; see the format's vectors.
const SIGNED: [u64; 2] = [3, 7];

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        let log = Signer::from_seed("log.example/gate-1", &[3; 32]).expect("a good name and seed");
        let witness = Signer::from_seed("witness.example/w1", &[9; 32]).expect("a good name and seed");
        let witnesses = [witness.witness_key().clone()];
        if let Ok(verified) = VerifiedCheckpoint::verify(&note, log.verifier_key(), &witnesses) {
            assert!(SIGNED.contains(&verified.checkpoint().size()), "a forged checkpoint verifies");
            assert!(verified.cosignatures().iter().all(|c| c.time() == Some(1_700_000_000)));
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
});
