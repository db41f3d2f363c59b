//! The test vectors of `docs/audit-log-format.md`: made here, compared with the page.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tlog::checkpoint::Checkpoint;
use tlog::note::{Note, Signer};
use tlog::policy::Policy;
use tlog::proof::{ConsistencyProof, InclusionProof};
use tlog::tile::{encode_bundle, tiles};
use tlog::tree::{Hashes, consistency_proof, inclusion_proof, leaf_hash, root_at};

const BEGIN: &str = "<!-- vectors: begin (written by `UPDATE_VECTORS=1 cargo test -p tlog --test it vectors`) -->\n";
const END: &str = "<!-- vectors: end -->\n";
const SIZE: u64 = 7;

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn checkpoint(size: u64, hashes: &Hashes, log: &Signer, witness: &Signer) -> Note {
    let root = root_at(size, hashes).unwrap();
    let mut note = Checkpoint::new(log.name(), size, root)
        .unwrap()
        .sign(log)
        .unwrap();
    note.add(witness.cosign(note.text(), 1_700_000_000).unwrap())
        .unwrap();
    note
}

fn block(page: &mut String, title: &str, text: &str) {
    write!(page, "\n{title}\n\n```text\n{}\n```\n", text.trim_end()).unwrap();
}

/// A policy that the checkpoint meets.
fn policy(log: &Signer, witness: &Signer, newest: &Note) -> String {
    let policy = format!(
        "log {}\nwitness w1 {}\ngroup all-of-them all w1\nquorum all-of-them\n",
        log.verifier_key(),
        witness.witness_key()
    );
    let read = Policy::parse(policy.as_bytes()).unwrap();
    assert!(read.verify(newest).is_ok() && read.asks_witnesses());
    policy
}

/// The vectors as the page shows them.
fn vectors() -> String {
    let mut hashes = Hashes::new();
    hashes.extend((0..SIZE).map(|index| leaf_hash(&entry(index))));
    let log = Signer::from_seed("log.example/gate-1", &[3; 32]).unwrap();
    let witness = Signer::from_seed("witness.example/w1", &[9; 32]).unwrap();
    let newest = checkpoint(SIZE, &hashes, &log, &witness);
    let mut page = String::new();

    let keys = format!("{}\n{}", log.verifier_key(), witness.witness_key());
    block(&mut page, "The keys, of log and witness:", &keys);
    let policy = policy(&log, &witness, &newest);
    block(
        &mut page,
        "A policy that all checkpoints below meet:",
        &policy,
    );
    let leaves: String = (0..3)
        .map(|index| format!("entry {index} {:x}\n", leaf_hash(&entry(index))))
        .collect();
    block(
        &mut page,
        "Leaves:",
        &format!("{leaves}(empty) {:x}", leaf_hash(b"")),
    );
    let roots: String = (0..=SIZE)
        .map(|size| format!("{size} {:x}\n", root_at(size, &hashes).unwrap()))
        .collect();
    block(&mut page, "Roots of the first 0 to 7 entries:", &roots);
    let proof = InclusionProof {
        extra: Some(entry(4)),
        index: 4,
        hashes: inclusion_proof(4, SIZE, &hashes).unwrap(),
        checkpoint: newest.clone(),
    };
    block(
        &mut page,
        "Entry 4 is in the log of 7 entries:",
        &proof.to_string(),
    );
    let held = checkpoint(3, &hashes, &log, &witness).to_string();
    block(&mut page, "The checkpoint of 3 entries:", &held);
    let grown = ConsistencyProof {
        old_size: 3,
        hashes: consistency_proof(3, SIZE, &hashes).unwrap(),
        checkpoint: newest,
    };
    block(
        &mut page,
        "The log of 7 entries begins with those 3:",
        &grown.to_string(),
    );
    let bundle = encode_bundle([entry(0).as_slice(), b"", &entry(1)]).unwrap();
    let hex: String = bundle.iter().map(|byte| format!("{byte:02x}")).collect();
    block(
        &mut page,
        "A bundle of `entry 0`, an empty entry and `entry 1`:",
        &hex,
    );
    let mut paths: Vec<String> = tiles(70_000).map(|tile| tile.to_string()).collect();
    paths.retain(|path| path.contains(".p/"));
    block(
        &mut page,
        "The partial files of a log of 70000 entries:",
        &paths.join("\n"),
    );
    page.push('\n');
    page
}

#[test]
fn vectors_on_the_page_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/audit-log-format.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page
        .split_once(BEGIN)
        .expect("the page has the first marker");
    let (shown, after) = rest
        .split_once(END)
        .expect("the page has the second marker");
    let made = vectors();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, made, "write them anew with UPDATE_VECTORS=1");
    }
}
