use super::*;
use crate::checkpoint::Checkpoint;
use crate::note::Signer;
use crate::tree::leaf_hash;

const ORIGIN: &str = "log.example/gate-1";

fn log() -> Signer {
    Signer::from_seed(ORIGIN, &[3; 32]).unwrap()
}

fn witness(number: u8) -> Signer {
    Signer::from_seed(&format!("witness.example/w{number}"), &[100 + number; 32]).unwrap()
}

/// The example of the specification: two of X1 to X3, and one of Y1 to Y3.
fn example() -> String {
    let key = |number| witness(number).witness_key().to_string();
    format!(
        "# who may say so\nlog {} https://log.example/\n\nwitness X1 {} https://w1.example/\n\twitness  X2\t{}\n\
         witness X3 {}\ngroup X 2 X1 X2 X3\nwitness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\n\
         group Y any Y1 Y2 Y3\ngroup X-and-Y all X Y\nquorum X-and-Y\n",
        log().verifier_key(),
        key(1),
        key(2),
        key(3),
        key(4),
        key(5),
        key(6),
    )
}

/// A checkpoint that these witnesses have cosigned.
fn cosigned(witnesses: impl IntoIterator<Item = u8>) -> Note {
    let checkpoint = Checkpoint::new(ORIGIN, 5, leaf_hash(b"root")).unwrap();
    let mut note = checkpoint.sign(&log()).unwrap();
    for number in witnesses {
        let line = witness(number).cosign(note.text(), 1_700_000_000).unwrap();
        note.add(line).unwrap();
    }
    note
}

#[test]
fn quorum_is_met_exactly_by_the_sets_that_it_names() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(policy.logs().len(), 1);
    let urls: Vec<_> = policy.witnesses().iter().map(|w| w.url.clone()).collect();
    assert_eq!(urls[0].as_deref(), Some("https://w1.example/"));
    assert_eq!(urls[1..], [None, None, None, None, None]);
    for set in 0_u8..64 {
        let members = (1..=6).filter(|number| set & (1 << (number - 1)) != 0);
        let due = (set & 7).count_ones() >= 2 && set >> 3 != 0;
        let verdict = policy.verify(&cosigned(members));
        match verdict {
            Ok(verified) => assert!(due && verified.checkpoint().size() == 5, "{set:b}"),
            Err(error) => assert!(!due && matches!(error, Error::Quorum { .. }), "{error}"),
        }
    }
}

#[test]
fn a_bad_cosignature_of_a_named_witness_is_never_passed_over() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    let good = cosigned([1, 2, 4, 6]).to_string();
    assert!(
        policy
            .verify(&Note::parse(good.as_bytes()).unwrap())
            .is_ok()
    );
    // Without the bad one the quorum would stand all the same.
    let line = good.lines().last().unwrap();
    let (name, bytes) = line.rsplit_once(' ').unwrap();
    let mut forged = crate::text::base64_decode(bytes).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let forged = format!("{name} {}", crate::text::base64_encode(&forged));
    let note = Note::parse(good.replace(line, &forged).as_bytes()).unwrap();
    let error = policy.verify(&note).unwrap_err();
    assert!(matches!(error, Error::BadSignature { .. }), "{error}");
}

#[test]
fn strangers_and_other_logs_do_not_count() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert!(matches!(
        policy.verify(&cosigned([1, 7, 8, 9])),
        Err(Error::Quorum { .. })
    ));
    let other = Signer::from_seed("log.example/other", &[3; 32]).unwrap();
    let note = Checkpoint::new("log.example/other", 5, leaf_hash(b"root")).unwrap();
    let error = policy.verify(&note.sign(&other).unwrap()).unwrap_err();
    assert!(matches!(error, Error::UnknownLog { .. }), "{error}");
    // The log's name without its key.
    let forger = Signer::from_seed(ORIGIN, &[4; 32]).unwrap();
    let note = Checkpoint::new(ORIGIN, 5, leaf_hash(b"root")).unwrap();
    let error = policy.verify(&note.sign(&forger).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "{error}");
}

#[test]
fn quorum_none_and_single_witnesses_are_quorums_too() {
    let log = log().verifier_key().clone();
    let plain = Policy::parse(format!("log {log}\nquorum none\n").as_bytes()).unwrap();
    assert!(plain.verify(&cosigned([])).is_ok() && !plain.asks_witnesses());
    assert_eq!(plain, Policy::of_log(log.clone()).unwrap());
    let key = witness(1).witness_key().to_string();
    let one = format!("witness w {key}\nquorum w\nlog {log}\n");
    let one = Policy::parse(one.as_bytes()).unwrap();
    assert!(one.verify(&cosigned([1])).is_ok());
    assert!(one.verify(&cosigned([2])).is_err());
}

#[test]
fn a_log_whose_key_was_replaced_is_known_by_both() {
    let old = Signer::from_seed(ORIGIN, &[5; 32]).unwrap();
    let text = format!(
        "log {}\nlog {}\nquorum none\n",
        old.verifier_key(),
        log().verifier_key()
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, 5, leaf_hash(b"root")).unwrap();
    assert!(policy.verify(&checkpoint.sign(&old).unwrap()).is_ok());
    assert!(policy.verify(&checkpoint.sign(&log()).unwrap()).is_ok());
}

/// Each of these texts is refused, for the reason that stands beside it.
fn refused<'a>(cases: impl IntoIterator<Item = (&'a str, &'a str)>) {
    for (text, why) in cases {
        let error = Policy::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn what_is_not_in_form_is_refused_with_its_line() {
    let (a, log) = (witness(1), log());
    let (a, log) = (a.witness_key(), log.verifier_key());
    refused([
        ("", "line 1: the last line is unfinished"),
        ("\nquorum none", "line 2: the last line is unfinished"),
        ("\n", "no `quorum`"),
        (
            "quorum none\nquorum none\n",
            "line 2: there is a `quorum` line already",
        ),
        (&format!("log {log}\nlog {log}\nquorum none\n"), "before"),
        (&format!("log {a}\nquorum none\n"), "0x01 is needed"),
        (&format!("witness a {log}\nquorum a\n"), "0x04 is needed"),
        (&format!("witness a {a} u v\nquorum a\n"), "write `witness"),
        ("logs\nquorum none\n", "a line begins with"),
        ("quorum none\r\n", "control character"),
        ("quorum\u{b}none\n", "control character"),
        ("quorum\u{a0}none\n", "a line begins with"),
    ]);
}

#[test]
fn names_are_defined_once_and_before_they_are_used() {
    let (a, b) = (witness(1), witness(2));
    let (a, b) = (a.witness_key(), b.witness_key());
    let group = |rest: &str| format!("witness a {a}\ngroup g {rest}\nquorum g\n");
    refused([
        ("quorum nobody\n", "no line before"),
        (&format!("quorum a\nwitness a {a}\n"), "no line before"),
        (&format!("witness none {a}\nquorum none\n"), "taken"),
        (
            &format!("witness a {a}\nwitness a {b}\nquorum a\n"),
            "taken",
        ),
        (
            &format!("witness a {a}\nwitness b {a}\nquorum a\n"),
            "before",
        ),
        (&group("0 a"), "at least one"),
        (&group("2 a"), "at least one"),
        (&group("01 a"), "decimal"),
        (&group("+1 a"), "decimal"),
        (&group("most a"), "decimal"),
        (&group("any"), "at least one"),
        (&group("any g"), "no line before"),
        (&group("any none"), "no line before"),
        (&group("any a a"), "once"),
        (&group("any a\ngroup h any a"), "once"),
    ]);
    // Names are octets: a Kelvin sign is no K, and what is no UTF-8 is a name all the same.
    let key = a.to_string();
    let octets = [
        b"witness \xff ".as_slice(),
        key.as_bytes(),
        b"\nquorum \xff\n",
    ];
    assert!(Policy::parse(&octets.concat()).is_ok());
    let kelvin = format!("witness \u{212a} {a}\nquorum K\n");
    assert!(Policy::parse(kelvin.as_bytes()).is_err());
}
