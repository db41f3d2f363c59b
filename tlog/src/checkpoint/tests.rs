//! Checkpoints: three lines and nothing else, under the log's own key.

use super::*;
use crate::tree::leaf_hash;

const ORIGIN: &str = "log.example/gate-1";

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 20_852_163, leaf_hash(b"root")).unwrap()
}

fn signed_text(text: &str, signer: &Signer) -> Note {
    let mut note = Note::new(text).unwrap();
    note.add(signer.sign(text).unwrap()).unwrap();
    note
}

#[test]
fn checkpoint_of_the_specification_is_read() {
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint = Checkpoint::parse(text).unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.size(), 20_852_163);
    assert_eq!(checkpoint.to_string(), text);
}

#[test]
fn signed_checkpoint_verifies() {
    let note = checkpoint().sign(&signer()).unwrap();
    let again = Note::parse(note.to_string().as_bytes()).unwrap();
    let verified = VerifiedCheckpoint::verify(&again, signer().verifier_key(), &[]).unwrap();
    assert_eq!(verified.checkpoint(), &checkpoint());
    assert!(verified.cosignatures().is_empty());
}

// A16
#[test]
fn checkpoint_has_one_spelling() {
    let good = checkpoint().to_string();
    let root = checkpoint().root().to_string();
    let wrong = [
        String::new(),
        "\n".to_owned(),
        good.trim_end().to_owned(),
        format!("{good}extension\n"),
        format!("{good}\n"),
        format!("\n{good}"),
        good.replacen("20852163", "020852163", 1),
        good.replacen("20852163", "+20852163", 1),
        good.replacen("20852163", "-1", 1),
        good.replacen("20852163", " 20852163", 1),
        good.replacen("20852163", "0x13e2fc3", 1),
        good.replacen("20852163", "18446744073709551616", 1),
        good.replacen("20852163", "4611686018427387905", 1),
        good.replacen("20852163", "٢", 1),
        good.replacen("20852163", "0", 1),
        good.replacen("20852163", "", 1),
        good.replacen(ORIGIN, "", 1),
        good.replacen(ORIGIN, "log example", 1),
        good.replacen(&root, root.trim_end_matches('='), 1),
        good.replacen(&root, &format!("{root} "), 1),
        good.replacen(&root, "AAAA", 1),
        good.replace('\n', "\r\n"),
        good.replacen(ORIGIN, &"o".repeat(600), 1),
    ];
    for text in wrong {
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
    }
    assert!(Checkpoint::parse(&good).is_ok());
}

// A16
#[test]
fn signed_extension_line_is_refused() {
    let note = signed_text(&format!("{}more\n", checkpoint()), &signer());
    let refused = VerifiedCheckpoint::verify(&note, signer().verifier_key(), &[]);
    assert!(matches!(
        refused,
        Err(Error::Malformed {
            what: "checkpoint",
            at: 3,
            ..
        })
    ));
}

#[test]
fn empty_tree_has_one_root() {
    let empty = Checkpoint::new(ORIGIN, 0, Hash::EMPTY).unwrap();
    assert_eq!(Checkpoint::parse(&empty.to_string()), Ok(empty));
    assert!(Checkpoint::new(ORIGIN, 0, leaf_hash(b"")).is_err());
}

#[test]
fn checkpoint_without_the_logs_signature_is_refused() {
    let witness = Signer::from_seed("witness.example", &[9; 32]).unwrap();
    let text = checkpoint().to_string();
    let mut note = Note::new(&text).unwrap();
    note.add(witness.cosign(&text, 5).unwrap()).unwrap();
    let witnesses = [witness.witness_key().clone()];
    let refused = VerifiedCheckpoint::verify(&note, signer().verifier_key(), &witnesses);
    assert!(matches!(refused, Err(Error::Unsigned { name, .. }) if name == ORIGIN));

    note.add(signer().sign(&text).unwrap()).unwrap();
    let verified = VerifiedCheckpoint::verify(&note, signer().verifier_key(), &witnesses).unwrap();
    assert_eq!(verified.cosignatures().len(), 1);
    assert_eq!(verified.cosignatures()[0].time(), Some(5));
}

#[test]
fn checkpoint_of_another_log_is_refused() {
    let other = Signer::from_seed("log.example/gate-2", &[3; 32]).unwrap();
    assert!(matches!(
        checkpoint().sign(&other),
        Err(Error::Origin { .. })
    ));
    let note = signed_text(&checkpoint().to_string(), &other);
    let refused = VerifiedCheckpoint::verify(&note, other.verifier_key(), &[]);
    assert!(matches!(refused, Err(Error::Origin { .. })));
}

#[test]
fn log_and_witness_keys_do_not_stand_for_each_other() {
    let note = checkpoint().sign(&signer()).unwrap();
    let as_log = VerifiedCheckpoint::verify(&note, signer().witness_key(), &[]);
    assert!(matches!(as_log, Err(Error::KeyUse { needed: 1, .. })));
    let own = signer();
    let as_witness =
        VerifiedCheckpoint::verify(&note, own.verifier_key(), &[own.verifier_key().clone()]);
    assert!(matches!(as_witness, Err(Error::KeyUse { needed: 4, .. })));
}
