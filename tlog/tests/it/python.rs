//! `tools/verify.py`, which shares no line with this crate, must come to the same verdicts.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer};
use tlog::policy::Policy;
use tlog::proof::{ConsistencyProof, InclusionProof};
use tlog::tile::{CHECKPOINT_PATH, Export};
use tlog::tree::{Hashes, consistency_proof, inclusion_proof, leaf_hash, root_at};
use tlog::verify::{Verdict, check_files};

use crate::cross::{PUBLIC_CHECKPOINT, PUBLIC_LOG, PUBLIC_WITNESS};

const ORIGIN: &str = "log.example/gate-1";
const OK: u8 = 0;
const TAMPERED: u8 = 1;
const INCOMPLETE: u8 = 2;
const UNUSABLE: u8 = 64;

/// The files of a log by their paths.
type Files = Vec<(String, Vec<u8>)>;

/// Runs the script's `main` on each line of arguments, in one interpreter: its start costs more
/// than most checks. A crash of the script counts as 99.
const DRIVER: &str = r"
import contextlib, io, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import verify
for line in sys.stdin:
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = verify.main(line.rstrip('\n').split('\t'))
    except Exception as error:
        code, out = 99, io.StringIO(repr(error))
    print(code, out.getvalue().strip().replace('\n', ' '))
";

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools")
}

fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

fn witness() -> Signer {
    Signer::from_seed("witness.example/w1", &[9; 32]).unwrap()
}

/// Cases for one interpreter: the arguments, the exit code that is due, and what was done.
struct Cases {
    dir: PathBuf,
    files: usize,
    lines: Vec<(String, u8, String)>,
}

impl Cases {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("verify-py")
            .join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self {
            dir,
            files: 0,
            lines: Vec::new(),
        }
    }

    fn file(&mut self, bytes: &[u8]) -> String {
        self.files += 1;
        let path = self.dir.join(self.files.to_string());
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn expect(&mut self, code: u8, what: String, args: &[&str]) {
        let key = signer().verifier_key().to_string();
        self.lines
            .push((format!("{}\t--key\t{key}\n", args.join("\t")), code, what));
    }

    fn run(self) {
        let mut child = Command::new("python3")
            .args(["-c", DRIVER])
            .arg(tools())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut stdin = child.stdin.take().unwrap();
        let lines: String = self.lines.iter().map(|(line, ..)| line.as_str()).collect();
        let feed = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        assert!(output.status.success());
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.lines().count(), self.lines.len());
        for ((line, due, what), answer) in self.lines.iter().zip(output.lines()) {
            let (code, message) = answer.split_once(' ').unwrap();
            assert_eq!(code, due.to_string(), "{what}: {message}\n{line}");
        }
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("{{\"kind\":\"call.end\",\"seq\":{index},\"outcome\":\"ok\"}}").into_bytes()
}

fn filled(size: u64) -> Hashes {
    let mut hashes = Hashes::new();
    hashes.extend((0..size).map(|index| leaf_hash(&entry(index))));
    hashes
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

fn inclusion(size: u64, index: u64, hashes: &Hashes) -> InclusionProof {
    InclusionProof {
        extra: Some(entry(index)),
        index,
        hashes: inclusion_proof(index, size, hashes).unwrap(),
        checkpoint: checkpoint(size, hashes),
    }
}

fn consistency(old: u64, new: u64, hashes: &Hashes) -> ConsistencyProof {
    ConsistencyProof {
        old_size: old,
        hashes: consistency_proof(old, new, hashes).unwrap(),
        checkpoint: checkpoint(new, hashes),
    }
}

/// The files of a log, its checkpoint among them.
fn log_files(size: u64, hashes: &Hashes) -> Files {
    let mut export = Export::new();
    let mut files = Vec::new();
    for index in 0..size {
        files.extend(export.push(&entry(index)).unwrap());
    }
    files.extend(export.finish());
    let head = (
        CHECKPOINT_PATH.to_owned(),
        checkpoint(size, hashes).to_string().into_bytes(),
    );
    files
        .into_iter()
        .map(|file| (file.tile.to_string(), file.bytes))
        .chain([head])
        .collect()
}

fn write_log(cases: &mut Cases, files: &[(String, Vec<u8>)]) -> String {
    cases.files += 1;
    let dir = cases.dir.join(cases.files.to_string());
    fs::create_dir_all(&dir).unwrap();
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    dir.to_str().unwrap().to_owned()
}

/// One bit in each `step` flipped, every byte dropped or doubled at the same distance, and cuts.
fn mutations(good: &[u8], step: usize) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for bit in (0..good.len() * 8).step_by(step) {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        all.push((format!("bit {bit} flipped"), bytes));
    }
    for at in (0..good.len()).step_by(step) {
        all.push((
            format!("byte {at} dropped"),
            [&good[..at], &good[at + 1..]].concat(),
        ));
        let doubled = [&good[..=at], &good[at..]].concat();
        all.push((format!("byte {at} doubled"), doubled));
        all.push((format!("cut at {at}"), good[..at].to_vec()));
    }
    all
}

#[test]
fn script_is_short_enough_to_be_read_by_an_auditor() {
    let text = fs::read_to_string(tools().join("verify.py")).unwrap();
    assert!(text.lines().count() <= 250);
    assert!(text.lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn good_proofs_are_good_to_the_script() {
    let mut cases = Cases::new("good");
    let hashes = filled(70_000);
    for size in [1, 2, 3, 255, 256, 257, 1_000, 65_536, 65_537, 70_000] {
        for index in [0, size / 2, size - 1] {
            let proof = inclusion(size, index, &hashes);
            let carried = cases.file(proof.to_string().as_bytes());
            cases.expect(OK, format!("{index} of {size}"), &["proof", &carried]);
            let bare = InclusionProof {
                extra: None,
                ..proof
            };
            let bare = cases.file(bare.to_string().as_bytes());
            cases.expect(
                INCOMPLETE,
                format!("{index} without entry"),
                &["proof", &bare],
            );
            let entry = cases.file(&entry(index));
            let args = ["proof", &bare, "--entry", &entry];
            cases.expect(OK, format!("{index} of {size}, entry apart"), &args);
        }
        for old in [0, 1, 2, 128, 255, 256, 257, 65_536, size] {
            if old <= size {
                let held = cases.file(checkpoint(old, &hashes).to_string().as_bytes());
                let proof = cases.file(consistency(old, size, &hashes).to_string().as_bytes());
                cases.expect(
                    OK,
                    format!("{old} to {size}"),
                    &["consistency", &held, &proof],
                );
            }
        }
    }
    for size in [0, 1, 255, 256, 257, 600, 65_537] {
        let files = log_files(size, &hashes);
        let dir = write_log(&mut cases, &files);
        cases.expect(OK, format!("files of {size}"), &["tiles", &dir]);
        let held = cases.file(checkpoint(size / 3, &hashes).to_string().as_bytes());
        let args = ["tiles", &dir, "--since", &held];
        cases.expect(OK, format!("files of {size} since a third"), &args);
    }
    cases.run();
}

/// What the script must say of a checkpoint under a policy; ours says the same.
fn expect_policy(cases: &mut Cases, what: &str, policy: &[u8], note: &str) {
    let read = Policy::parse(policy);
    let due = match &read {
        Err(_) => UNUSABLE,
        Ok(read) => {
            let good = Note::parse(note.as_bytes()).and_then(|note| read.verify(&note));
            if good.is_ok() { OK } else { TAMPERED }
        }
    };
    let (policy, note) = (cases.file(policy), cases.file(note.as_bytes()));
    let line = format!("checkpoint\t{note}\t--policy\t{policy}\n");
    cases.lines.push((line, due, what.to_owned()));
}

#[test]
fn script_and_ours_agree_on_every_set_of_witnesses() {
    let mut cases = Cases::new("policy");
    let numbered = |number: u8| {
        Signer::from_seed(&format!("witness.example/w{number}"), &[100 + number; 32]).unwrap()
    };
    let mut text = format!(
        "# two legs\nlog {} https://log.example/\n",
        signer().verifier_key()
    );
    for number in 1..=5 {
        text += &format!("witness w{number} {}\n", numbered(number).witness_key());
    }
    text += "group x 2 w1 w2 w3\n group\ty any w4\tw5 \ngroup both all x y\n";
    let quorums = ["both", "x", "w1", "none"];
    for quorum in quorums {
        for set in 0_u8..32 {
            let mut note = checkpoint(5, &filled(5));
            for number in (1..=5).filter(|number| set & (1 << (number - 1)) != 0) {
                let time = 1_700_000_000 + u64::from(number);
                note.add(numbered(number).cosign(note.text(), time).unwrap())
                    .unwrap();
            }
            let policy = format!("{text}quorum {quorum}\n");
            let what = format!("quorum {quorum}, set {set:05b}");
            expect_policy(&mut cases, &what, policy.as_bytes(), &note.to_string());
        }
    }
    let due = |code| {
        cases
            .lines
            .iter()
            .filter(|(_, due, _)| *due == code)
            .count()
    };
    assert_eq!((due(OK), due(TAMPERED)), (12 + 16 + 16 + 32, 20 + 16 + 16));
    // Every change of the policy: both refuse it, or both read the same out of it.
    let mut note = checkpoint(5, &filled(5));
    for number in [1, 2, 4] {
        note.add(numbered(number).cosign(note.text(), 1_700_000_000).unwrap())
            .unwrap();
    }
    let policy = format!("{text}quorum both\n");
    for (what, bytes) in mutations(policy.as_bytes(), 11) {
        // Their key parser knows Unicode white space by another table: names outside ASCII are told
        // apart elsewhere.
        if bytes.is_ascii() {
            expect_policy(&mut cases, &what, &bytes, &note.to_string());
        }
    }
    assert!(cases.lines.len() > 400, "{}", cases.lines.len());
    cases.run();
}

#[test]
fn script_refuses_bad_cosignatures_of_known_witnesses_only() {
    let mut cases = Cases::new("witness");
    let policy = |quorum: &str| {
        let (log, witness) = (signer(), witness());
        let (log, witness) = (log.verifier_key(), witness.witness_key());
        format!("log {log}\nwitness w {witness}\nquorum {quorum}\n")
    };
    let mut note = checkpoint(5, &filled(5));
    let alone = note.to_string();
    note.add(witness().cosign(note.text(), 1_700_000_000).unwrap())
        .unwrap();
    let cosigned = note.to_string();
    let end = cosigned.len() - 10;
    let forged = cosigned[end..].replace(|c| c != '\n' && c != '=', "A");
    let forged = format!("{}{forged}", &cosigned[..end]);
    for (note, quorum) in [
        (&alone, "none"),
        (&alone, "w"),
        (&cosigned, "w"),
        (&forged, "none"),
    ] {
        let what = format!("quorum {quorum}: {note}");
        expect_policy(&mut cases, &what, policy(quorum).as_bytes(), note);
    }
    let due: Vec<u8> = cases.lines.iter().map(|(_, due, _)| *due).collect();
    assert_eq!(due, [OK, TAMPERED, OK, TAMPERED]);
    let forged = cases.file(forged.as_bytes());
    cases.expect(OK, "unknown witness".to_owned(), &["checkpoint", &forged]);
    cases.run();
}

#[test]
fn script_verifies_the_checkpoint_of_a_public_log() {
    let mut cases = Cases::new("public");
    let policy = format!("log {PUBLIC_LOG}\nwitness r {PUBLIC_WITNESS}\nquorum r\n");
    let changed = PUBLIC_CHECKPOINT.replacen("1432088532", "1432088533", 1);
    expect_policy(&mut cases, "good", policy.as_bytes(), PUBLIC_CHECKPOINT);
    expect_policy(&mut cases, "changed", policy.as_bytes(), &changed);
    let due: Vec<u8> = cases.lines.iter().map(|(_, due, _)| *due).collect();
    assert_eq!(due, [OK, TAMPERED]);
    cases.run();
}

// A10
#[test]
fn every_changed_proof_is_refused_by_both() {
    let mut cases = Cases::new("proofs");
    let hashes = filled(300);
    let key = signer().verifier_key().clone();
    let good = inclusion(300, 257, &hashes).to_string().into_bytes();
    for (what, bytes) in mutations(&good, 7) {
        let ours = InclusionProof::parse(&bytes).and_then(|p| p.verify_carried(&key, &[]));
        assert!(ours.is_err(), "{what}");
        let file = cases.file(&bytes);
        cases.expect(TAMPERED, format!("inclusion, {what}"), &["proof", &file]);
    }
    let held = checkpoint(100, &hashes);
    let held_file = cases.file(held.to_string().as_bytes());
    let good = consistency(100, 300, &hashes).to_string().into_bytes();
    for (what, bytes) in mutations(&good, 23) {
        let ours =
            ConsistencyProof::parse(&bytes).and_then(|p| p.verify(&verified(&held), &key, &[]));
        assert!(ours.is_err(), "{what}");
        let file = cases.file(&bytes);
        cases.expect(
            TAMPERED,
            format!("consistency, {what}"),
            &["consistency", &held_file, &file],
        );
    }
    assert!(
        cases.lines.len() >= 1_000,
        "only {} cases",
        cases.lines.len()
    );
    cases.run();
}

// A10
#[test]
fn every_changed_log_gets_the_same_verdict_from_both() {
    let mut cases = Cases::new("tiles");
    let hashes = filled(600);
    let good = log_files(600, &hashes);
    let mut broken: Vec<(String, Files)> = Vec::new();
    for (at, (path, bytes)) in good.iter().enumerate() {
        let with = |bytes: Vec<u8>| {
            let mut files = good.clone();
            files[at].1 = bytes;
            files
        };
        for (what, bytes) in mutations(bytes, bytes.len() * 8 / 12 + 1) {
            broken.push((format!("{path}, {what}"), with(bytes)));
        }
        broken.push((
            format!("{path} longer"),
            with([bytes.as_slice(), b"\n"].concat()),
        ));
        let mut less = good.clone();
        less.remove(at);
        broken.push((format!("{path} missing"), less));
        for other in at + 1..good.len() {
            let mut swapped = good.clone();
            let (one, two) = (swapped[at].1.clone(), swapped[other].1.clone());
            (swapped[at].1, swapped[other].1) = (two, one);
            broken.push((format!("{path} and {} swapped", good[other].0), swapped));
        }
    }
    for (what, files) in broken {
        let read = |path: &str| {
            files
                .iter()
                .find(|(stored, _)| stored == path)
                .map(|(_, bytes)| bytes.clone())
        };
        let due = match read(CHECKPOINT_PATH) {
            None => INCOMPLETE,
            Some(note) => {
                let signed = Note::parse(&note)
                    .and_then(|n| VerifiedCheckpoint::verify(&n, signer().verifier_key(), &[]));
                match signed {
                    Err(_) => TAMPERED,
                    Ok(signed) => match check_files(&signed, &[], read).unwrap_err().verdict() {
                        Verdict::Tampered => TAMPERED,
                        Verdict::Incomplete => INCOMPLETE,
                    },
                }
            }
        };
        let dir = write_log(&mut cases, &files);
        cases.expect(due, what, &["tiles", &dir]);
    }
    cases.run();
}

/// The note of `text`, signed by the log's key as often as asked.
fn signed_text(text: &str, times: usize) -> String {
    let line = signer().sign(text).unwrap().to_string();
    format!("{text}\n{}", format!("{line}\n").repeat(times))
}

/// The same signature with the group order added to its scalar: RFC 8032 section 5.1.7 refuses it.
fn malleated(note: &str) -> String {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let (rest, encoded) = note.trim_end().rsplit_once(' ').unwrap();
    let mut bytes = STANDARD.decode(encoded).unwrap();
    let mut carry = 0;
    for (byte, order) in bytes[36..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    format!("{rest} {}\n", STANDARD.encode(bytes))
}

// A16: signed with the real key, and still refused.
#[test]
fn hostile_checkpoints_are_refused_by_both() {
    let mut cases = Cases::new("hostile");
    let root = filled(5).root().to_string();
    let good = format!("{ORIGIN}\n5\n{root}\n");
    let texts = [
        format!("{ORIGIN}\n5\n{root}\nextension\n"),
        format!("{ORIGIN}\n5\n{root}\n\n"),
        format!("log.example/other\n5\n{root}\n"),
        format!("\n5\n{root}\n"),
        format!("{ORIGIN}\n05\n{root}\n"),
        format!("{ORIGIN}\n+5\n{root}\n"),
        format!("{ORIGIN}\n٥\n{root}\n"),
        format!("{ORIGIN}\n5 \n{root}\n"),
        format!("{ORIGIN}\n4611686018427387905\n{root}\n"),
        format!("{ORIGIN}\n18446744073709551616\n{root}\n"),
        format!("{ORIGIN}\n0\n{root}\n"),
        format!("{ORIGIN}\n5\n{}\n", STANDARD.encode([7; 31])),
        format!("{ORIGIN}\n5\n{}\n", STANDARD.encode([7; 33])),
        format!("{ORIGIN}\n5\n{}\n", &root[..43]),
        format!("{ORIGIN}\n5\n"),
        format!("{ORIGIN}\r\n5\r\n{root}\r\n"),
        format!("{ORIGIN}\n5\n{root}\u{2028}\n"),
    ];
    let mut notes: Vec<String> = texts.iter().map(|text| signed_text(text, 1)).collect();
    let whole = signed_text(&good, 1);
    notes.push(signed_text(&good, 2));
    notes.push(malleated(&whole));
    notes.push(whole.replacen('—', "-", 1));
    notes.push(whole.replacen("— ", "—  ", 1));
    notes.push(whole.replacen("— ", "—\u{a0}", 1));
    notes.push(format!("{whole}— stranger AAAAAA==\n"));
    notes.push(format!("{whole}— a+b AAAAAAA=\n"));
    notes.push(format!("{whole}{}", "— stranger AAAAAAA=\n".repeat(16)));
    notes.push(format!("{whole}— {} AAAAAAA=\n", "n".repeat(256)));
    notes.push(format!("\u{feff}{whole}"));
    for note in notes {
        let ours = Note::parse(note.as_bytes())
            .and_then(|note| VerifiedCheckpoint::verify(&note, signer().verifier_key(), &[]));
        assert!(ours.is_err(), "{note}");
        let file = cases.file(note.as_bytes());
        cases.expect(TAMPERED, note, &["checkpoint", &file]);
    }
    let strangers = format!("{whole}{}", "— stranger AAAAAAA=\n".repeat(15));
    for note in [whole, strangers] {
        verified(&Note::parse(note.as_bytes()).unwrap());
        let file = cases.file(note.as_bytes());
        cases.expect(OK, note, &["checkpoint", &file]);
    }
    cases.run();
}

// A10: entries and all tiles are rewritten alike; only the signature stands against it.
#[test]
fn consistently_rewritten_files_are_refused_by_the_script() {
    let mut cases = Cases::new("rewritten");
    let mut files = log_files(600, &filled(601));
    let mut export = Export::new();
    let mut other = Vec::new();
    (1..601).for_each(|index| other.extend(export.push(&entry(index)).unwrap()));
    other.extend(export.finish());
    for file in other {
        let path = file.tile.to_string();
        files
            .iter_mut()
            .find(|(stored, _)| *stored == path)
            .unwrap()
            .1 = file.bytes;
    }
    let dir = write_log(&mut cases, &files);
    cases.expect(
        TAMPERED,
        "all entries moved by one".to_owned(),
        &["tiles", &dir],
    );
    cases.run();
}

// A10
#[test]
fn log_signed_again_after_an_edit_is_refused_against_the_held_checkpoint() {
    let mut cases = Cases::new("resigned");
    let held = cases.file(checkpoint(100, &filled(100)).to_string().as_bytes());
    let mut edited = Hashes::new();
    let mut export = Export::new();
    let mut files = Vec::new();
    for index in 0..300 {
        let entry = if index == 50 {
            b"never happened".to_vec()
        } else {
            entry(index)
        };
        edited.push(leaf_hash(&entry));
        files.extend(export.push(&entry).unwrap());
    }
    files.extend(export.finish());
    let mut files: Vec<_> = files
        .into_iter()
        .map(|file| (file.tile.to_string(), file.bytes))
        .collect();
    let note = checkpoint(300, &edited);
    files.push((CHECKPOINT_PATH.to_owned(), note.to_string().into_bytes()));
    let dir = write_log(&mut cases, &files);
    cases.expect(
        OK,
        "alone the edited log looks good".to_owned(),
        &["tiles", &dir],
    );
    cases.expect(
        TAMPERED,
        "against the head".to_owned(),
        &["tiles", &dir, "--since", &held],
    );
    let proof = cases.file(consistency(100, 300, &edited).to_string().as_bytes());
    cases.expect(
        TAMPERED,
        "by a proof".to_owned(),
        &["consistency", &held, &proof],
    );
    cases.run();
}

#[test]
fn exit_codes_of_the_script_are_as_documented() {
    let mut cases = Cases::new("exit");
    let hashes = filled(9);
    let good = cases.file(inclusion(9, 4, &hashes).to_string().as_bytes());
    let bad = cases.file(
        inclusion(9, 4, &hashes)
            .to_string()
            .replace("index 4", "index 5")
            .as_bytes(),
    );
    let key = signer().verifier_key().to_string();
    let code = |args: &[&str]| {
        let script = tools().join("verify.py");
        let run = Command::new("python3")
            .arg("-B")
            .arg(script)
            .args(args)
            .output()
            .unwrap();
        (
            run.status.code().unwrap(),
            String::from_utf8(run.stdout).unwrap(),
        )
    };
    let (ok, said) = code(&["proof", &good, "--key", &key]);
    assert_eq!(
        (ok, said.as_str()),
        (0, "OK: entry 4 is in the log of 9 entries\n")
    );
    assert_eq!(code(&["proof", &bad, "--key", &key]).0, 1);
    assert_eq!(code(&["proof", "/nowhere", "--key", &key]).0, 2);
    assert_eq!(code(&["proof", &good]).0, 64);
    assert_eq!(code(&["proof", &good, &good, "--key", &key]).0, 64);
    cases.expect(
        UNUSABLE,
        "a witness's key as the log's".to_owned(),
        &["proof", &good],
    );
    cases.lines[0].0 = format!("proof\t{good}\t--key\t{}\n", signer().witness_key());
    cases.run();
}
