//! Notes and keys: the published vector, one spelling only, and every refusal.

use super::key::cosigned;
use super::*;

const SEED: [u8; 32] = [7; 32];
const TEXT: &str = "log.example/a\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

fn signer() -> Signer {
    Signer::from_seed("log.example/a", &SEED).unwrap()
}

fn signed() -> Note {
    let mut note = Note::new(TEXT).unwrap();
    note.add(signer().sign(TEXT).unwrap()).unwrap();
    note
}

fn witnessed(time: u64) -> Note {
    let mut note = signed();
    let witness = Signer::from_seed("witness.example", &[9; 32]).unwrap();
    note.add(witness.cosign(TEXT, time).unwrap()).unwrap();
    note
}

fn problem(text: &str) -> Error {
    Note::parse(text.as_bytes()).unwrap_err()
}

/// The example of golang.org/x/mod/sumdb/note.
#[test]
fn published_note_verifies_and_is_made_again() {
    let text = "If you think cryptography is the answer to your problem,\n\
                then you don't know what your problem is.\n";
    let published = format!(
        "{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    );
    let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let seed = base64_decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz").unwrap();

    let key: VerifierKey = vkey.parse().unwrap();
    assert_eq!(key.to_string(), vkey);
    let note = Note::parse(published.as_bytes()).unwrap();
    assert_eq!(note.text(), text);
    assert_eq!(note.to_string(), published);
    assert_eq!(note.verify(&[&key]).unwrap().len(), 1);

    let signer = Signer::from_seed("PeterNeumann", seed[1..].try_into().unwrap()).unwrap();
    assert_eq!(signer.verifier_key(), &key);
    assert_eq!(signer.sign(text).unwrap(), note.signatures()[0]);
}

#[test]
fn private_key_survives_pkcs8() {
    let made = Signer::generate("log.example/a").unwrap();
    let again = Signer::from_pkcs8("log.example/a", made.to_pkcs8().unwrap().as_ref()).unwrap();
    assert_eq!(made.verifier_key(), again.verifier_key());
    assert!(matches!(
        Signer::from_pkcs8("a", b"junk"),
        Err(Error::SigningKey)
    ));
    let shown = format!("{made:?}");
    assert!(
        shown.contains(&made.verifier_key().to_string()) && shown.len() < 120,
        "{shown}"
    );
}

#[test]
fn verifier_key_has_one_spelling() {
    for key in [signer().verifier_key(), signer().witness_key()] {
        assert_eq!(key.to_string().parse::<VerifierKey>().as_ref(), Ok(key));
    }
    let good = signer().verifier_key().to_string();
    let (name, rest) = good.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    let wrong = [
        String::new(),
        name.to_owned(),
        format!("{name}+{id}"),
        format!("{name}+{}+{key}", id.to_uppercase()),
        format!("{name}+0{id}+{key}"),
        format!("{name}++{}+{key}", &id[1..]),
        format!("{name}+{id}+{}", &key[..43]),
        format!("{name}+{id}+{key}\n"),
        format!("x{name}+{id}+{key}"),
        format!("+{id}+{key}"),
        format!("a b+{id}+{key}"),
        "a".repeat(600),
    ];
    for text in wrong {
        assert!(text.parse::<VerifierKey>().is_err(), "{text}");
    }
    let kind_two = format!("{name}+{id}+{}", base64_encode(&[2; 33]));
    assert!(matches!(
        kind_two.parse::<VerifierKey>(),
        Err(Error::KeyKind { kind: 2, .. })
    ));
    let other = format!("{name}+00000000+{key}");
    assert!(matches!(
        other.parse::<VerifierKey>(),
        Err(Error::KeyId { stated: 0, .. })
    ));
}

#[test]
fn key_name_with_space_plus_or_control_is_refused() {
    let long = "n".repeat(256);
    for name in [
        "",
        " ",
        "a b",
        "a+b",
        "a\u{2003}b",
        "a\nb",
        "a\u{7f}",
        "a\u{85}",
        long.as_str(),
    ] {
        assert!(
            matches!(Signer::from_seed(name, &SEED), Err(Error::KeyName { .. })),
            "{name:?}"
        );
    }
    assert!(Signer::from_seed(&"n".repeat(255), &SEED).is_ok());
    assert!(Signer::from_seed("журнал.example/é", &SEED).is_ok());
}

#[test]
fn text_may_contain_empty_lines() {
    let text = "a\n\nb\n\n";
    let mut note = Note::new(text).unwrap();
    note.add(signer().sign(text).unwrap()).unwrap();
    let again = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(again, note);
    assert_eq!(again.verify(&[signer().verifier_key()]).unwrap().len(), 1);
}

// A16
#[test]
fn carriage_returns_and_control_characters_are_refused() {
    let good = signed().to_string();
    for bad in ['\r', '\0', '\t', '\u{1b}', '\u{7f}', '\u{9f}'] {
        for at in [0, 5, good.len() - 1] {
            let mut text = good.clone();
            text.insert(at, bad);
            assert!(
                matches!(problem(&text), Error::Malformed { place: "byte", .. }),
                "{bad:?} at {at}"
            );
        }
    }
    assert!(Note::parse(good.replace('\n', "\r\n").as_bytes()).is_err());
    assert!(Note::parse(b"a\xff\n\n").is_err());
    // Line separators of Unicode are text here; nothing may take them for a line's end.
    assert!(Note::new("a\u{2028}b\n").is_ok());
}

// A16
#[test]
fn seventeenth_signature_is_refused() {
    let mut note = Note::new(TEXT).unwrap();
    for i in 0..16 {
        let other = Signer::from_seed(&format!("w{i}"), &[i; 32]).unwrap();
        note.add(other.sign(TEXT).unwrap()).unwrap();
    }
    let sixteen = note.to_string();
    assert_eq!(Note::parse(sixteen.as_bytes()).unwrap(), note);
    let one_more = signer().sign(TEXT).unwrap();
    let seventeen = format!("{sixteen}{one_more}\n");
    assert_eq!(problem(&seventeen), Error::TooManySignatures { limit: 16 });
    assert_eq!(
        note.add(one_more),
        Err(Error::TooManySignatures { limit: 16 })
    );
}

#[test]
fn unfinished_and_unsigned_notes_are_refused() {
    let good = signed().to_string();
    for end in 0..good.len() {
        if good.is_char_boundary(end) {
            assert!(
                Note::parse(&good.as_bytes()[..end]).is_err(),
                "cut at {end}"
            );
        }
    }
    for text in [
        format!("{TEXT}\n"),
        format!("{good}\n"),
        format!("{good}x"),
        format!("{good}x\n"),
    ] {
        assert!(Note::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(Note::new("a").is_err());
    assert!(Note::new("").is_err());
    let long = "a".repeat(NOTE_BYTES_MAX + 1);
    assert!(matches!(problem(&long), Error::TooLong { .. }));
}

#[test]
fn signature_line_has_one_spelling() {
    let good = signed().to_string();
    let line = good.lines().last().unwrap();
    let wrong = [
        line.replacen('—', "-", 1),
        line.replacen("— ", "—  ", 1),
        format!("{line} "),
        line.trim_end_matches('=').to_owned(),
        "— log.example/a AAAAAA==".to_owned(),
        "— log.example/a ".to_owned(),
        "— log.example/a".to_owned(),
    ];
    for bad in wrong {
        assert!(
            Note::parse(format!("{TEXT}\n{bad}\n").as_bytes()).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn signatures_of_unknown_keys_are_ignored() {
    let note = witnessed(1);
    let stranger = Signer::from_seed("log.example/a", &[1; 32]).unwrap();
    assert_eq!(note.verify(&[stranger.verifier_key()]), Ok(vec![]));
    assert_eq!(note.verify(&[]), Ok(vec![]));
    let both = note
        .verify(&[signer().verifier_key(), stranger.verifier_key()])
        .unwrap();
    assert_eq!(both.len(), 1);
}

#[test]
fn changed_text_is_refused() {
    let mut note = signed();
    note.text = note.text.replace("\n1\n", "\n2\n");
    assert!(matches!(
        note.verify(&[signer().verifier_key()]),
        Err(Error::BadSignature { .. })
    ));
}

#[test]
fn bad_signature_of_a_known_key_refuses_the_note() {
    let witness = Signer::from_seed("witness.example", &[9; 32]).unwrap();
    let mut note = witnessed(1_700_000_000);
    note.signatures[1].bytes[20] ^= 1;
    let keys = [
        signer().verifier_key().clone(),
        witness.witness_key().clone(),
    ];
    assert!(
        matches!(note.verify(&keys.each_ref()), Err(Error::BadSignature { name, .. }) if name == "witness.example")
    );
    note.signatures[1].bytes.truncate(7);
    assert!(matches!(
        note.verify(&keys.each_ref()),
        Err(Error::BadSignature { .. })
    ));
}

#[test]
fn repeated_signature_of_a_known_key_is_refused() {
    let mut note = signed();
    note.add(note.signatures[0].clone()).unwrap();
    assert!(matches!(
        note.verify(&[signer().verifier_key()]),
        Err(Error::RepeatedSignature { .. })
    ));
    assert_eq!(note.verify(&[]), Ok(vec![]));
}

// A15
#[test]
fn cosignature_binds_its_time() {
    let witness = Signer::from_seed("witness.example", &[9; 32]).unwrap();
    let mut note = witnessed(1_700_000_000);
    let verified = note.verify(&[witness.witness_key()]).unwrap();
    assert_eq!(verified[0].time(), Some(1_700_000_000));
    assert_eq!(verified[0].name(), "witness.example");
    // The same witness's plain signature key does not cover the line, nor the reverse.
    assert_eq!(note.verify(&[witness.verifier_key()]), Ok(vec![]));
    note.signatures[1].bytes[7] ^= 1;
    assert!(matches!(
        note.verify(&[witness.witness_key()]),
        Err(Error::BadSignature { .. })
    ));
}

// A15
#[test]
fn cosignature_of_an_impossible_time_is_refused() {
    let witness = Signer::from_seed("witness.example", &[9; 32]).unwrap();
    assert!(matches!(
        witness.cosign(TEXT, 1 << 63),
        Err(Error::CosignatureTime { .. })
    ));
    let forged = witness
        .signature(
            witness.witness_key(),
            &cosigned(TEXT, 1 << 63),
            &(1_u64 << 63).to_be_bytes(),
        )
        .unwrap();
    let mut note = signed();
    note.add(forged).unwrap();
    assert!(matches!(
        note.verify(&[witness.witness_key()]),
        Err(Error::CosignatureTime { .. })
    ));
}
