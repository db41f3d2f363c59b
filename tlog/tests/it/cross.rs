//! Cross-checks with the public crates `tlog_tiles` and `signed_note`, which share no code with us.

use signed_note::{Note as TheirNote, StandardSigner, StandardVerifier, VerifierList};
use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer};
use tlog::proof::{verify_consistency, verify_inclusion};
use tlog::tree::{
    Hash, Hashes, Head, Tree, consistency_proof, inclusion_proof, leaf_hash, node_hash, root_at,
};
use tlog_tiles::{Hash as Theirs, HashReader as _, stored_hash_index};

/// A checkpoint that a public log of certificates signed in May 2026, with four witnesses: made by
/// programs that are none of ours. Its first line is of a signature type that we do not know.
pub(crate) const PUBLIC_CHECKPOINT: &str = "\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";
pub(crate) const PUBLIC_LOG: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
pub(crate) const PUBLIC_WITNESS: &str =
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

const SIZES: [u64; 9] = [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000];

fn entry(index: u64) -> Vec<u8> {
    format!("{{\"kind\":\"call.begin\",\"seq\":{index}}}").into_bytes()
}

/// Our store under their numbering of hashes, so that their prover can read it.
struct Adapter<'a>(&'a Hashes);

impl tlog_tiles::HashReader for Adapter<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Theirs>, tlog_tiles::Error> {
        let read = |index: &u64| {
            let (level, n) = tlog_tiles::split_stored_hash_index(*index);
            assert_eq!(stored_hash_index(level, n), *index);
            theirs(&tlog::tree::HashReader::read(self.0, level, n).unwrap())
        };
        Ok(indexes.iter().map(read).collect())
    }
}

fn theirs(hash: &Hash) -> Theirs {
    Theirs(*hash.as_bytes())
}

fn filled(size: u64) -> Hashes {
    let mut hashes = Hashes::new();
    hashes.extend((0..size).map(|index| leaf_hash(&entry(index))));
    hashes
}

#[test]
fn leaf_and_node_hashes_agree() {
    for index in 0..100 {
        let (left, right) = (leaf_hash(&entry(index)), leaf_hash(&entry(index + 1)));
        assert_eq!(theirs(&left), tlog_tiles::record_hash(&entry(index)));
        let node = tlog_tiles::node_hash(theirs(&left), theirs(&right));
        assert_eq!(theirs(&node_hash(&left, &right)), node);
        assert_eq!(left.to_string(), theirs(&left).to_string());
    }
}

// A14
#[test]
fn roots_agree_at_the_sizes_around_tile_borders() {
    let hashes = filled(70_000);
    let mut tree = Tree::new();
    for size in SIZES {
        let grow = tree.size()..size;
        tree.extend(grow.map(|index| leaf_hash(&entry(index))));
        let expected = tlog_tiles::tree_hash(size, &Adapter(&hashes)).unwrap();
        assert_eq!(theirs(&tree.root()), expected, "incremental, size {size}");
        assert_eq!(
            theirs(&root_at(size, &hashes).unwrap()),
            expected,
            "from the store, size {size}"
        );
    }
    assert!(Adapter(&hashes).read_hashes(&[0]).is_ok());
}

// A14
#[test]
fn inclusion_proofs_agree_and_verify_both_ways() {
    let hashes = filled(70_000);
    for size in SIZES {
        let head = Head {
            size,
            root: root_at(size, &hashes).unwrap(),
        };
        for index in [0, 1, 254, 255, 256, 257, 65_534, 65_535, 65_536, 69_999] {
            if index >= size {
                continue;
            }
            let leaf = leaf_hash(&entry(index));
            let ours = inclusion_proof(index, size, &hashes).unwrap();
            let expected = tlog_tiles::prove_record(size, index, &Adapter(&hashes)).unwrap();
            assert_eq!(
                ours.iter().map(theirs).collect::<Vec<_>>(),
                expected,
                "{index} of {size}"
            );
            verify_inclusion(leaf, index, &head, &ours).unwrap();
            tlog_tiles::check_record(&expected, size, theirs(&head.root), index, theirs(&leaf))
                .unwrap();
        }
    }
}

// A14
#[test]
fn consistency_proofs_agree_and_verify_both_ways() {
    let hashes = filled(70_000);
    let head = |size| Head {
        size,
        root: root_at(size, &hashes).unwrap(),
    };
    for new in SIZES {
        for old in SIZES.into_iter().chain([2, 3, 128, 511, 512, 65_000]) {
            if old > new {
                continue;
            }
            let ours = consistency_proof(old, new, &hashes).unwrap();
            let (from, to) = (head(old), head(new));
            verify_consistency(&from, &to, &ours).unwrap();
            // Their prover does not take the empty tree.
            if old == 0 {
                continue;
            }
            let expected = tlog_tiles::prove_tree(new, old, &Adapter(&hashes)).unwrap();
            assert_eq!(
                ours.iter().map(theirs).collect::<Vec<_>>(),
                expected,
                "{old} to {new}"
            );
            let (to, from) = (theirs(&to.root), theirs(&from.root));
            tlog_tiles::check_tree(&expected, new, to, old, from).unwrap();
        }
    }
}

#[test]
fn notes_verify_both_ways() {
    let seed = [42; 32];
    let ours = Signer::from_seed("log.example/gate-1", &seed).unwrap();
    let private = format!(
        "PRIVATE+KEY+{}+{:08x}+{}",
        ours.name(),
        ours.verifier_key().id(),
        base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            [&[1], seed.as_slice()].concat()
        ),
    );
    let their_signer = StandardSigner::new(&private).unwrap();
    let their_verifier = StandardVerifier::new(&ours.verifier_key().to_string()).unwrap();

    let checkpoint = Checkpoint::new(ours.name(), 70_000, leaf_hash(b"root")).unwrap();
    let note = checkpoint.sign(&ours).unwrap();
    let read = TheirNote::from_bytes(note.to_string().as_bytes()).unwrap();
    let list = VerifierList::new(vec![Box::new(their_verifier)]);
    let (verified, unverified) = read.verify(&list).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let their_checkpoint = tlog_tiles::Checkpoint::from_bytes(read.text()).unwrap();
    assert_eq!(their_checkpoint.origin(), checkpoint.origin());
    assert_eq!(their_checkpoint.size(), checkpoint.size());
    assert_eq!(*their_checkpoint.hash(), theirs(checkpoint.root()));

    let mut made = TheirNote::new(checkpoint.to_string().as_bytes(), &[]).unwrap();
    made.add_sigs(&[&their_signer]).unwrap();
    assert_eq!(made.to_bytes(), note.to_string().as_bytes());
    let read = Note::parse(&made.to_bytes()).unwrap();
    let verified = VerifiedCheckpoint::verify(&read, ours.verifier_key(), &[]).unwrap();
    assert_eq!(verified.checkpoint(), &checkpoint);
}

#[test]
fn checkpoint_of_a_public_log_and_its_witness_verify() {
    let note = Note::parse(PUBLIC_CHECKPOINT.as_bytes()).unwrap();
    assert_eq!(note.to_string(), PUBLIC_CHECKPOINT);
    assert_eq!(note.signatures().len(), 6);
    let (log, witness) = (PUBLIC_LOG.parse().unwrap(), PUBLIC_WITNESS.parse().unwrap());
    let verified = VerifiedCheckpoint::verify(&note, &log, &[witness]).unwrap();
    assert_eq!(verified.checkpoint().size(), 1_432_088_532);
    assert_eq!(verified.cosignatures().len(), 1);
    assert_eq!(verified.cosignatures()[0].name(), "remora.n621.de");
    assert_eq!(verified.cosignatures()[0].time(), Some(0x6a12_2120));
    let changed = PUBLIC_CHECKPOINT.replacen("1432088532", "1432088533", 1);
    let changed = Note::parse(changed.as_bytes()).unwrap();
    assert!(VerifiedCheckpoint::verify(&changed, &log, &[]).is_err());
}
