//! Keys of subjects and days, and what is left of them.

use super::*;
use crate::disk::RealDisk;

fn root() -> Secret<[u8; 32]> {
    Secret::new([7; 32])
}

fn ring(path: &Path) -> Keyring {
    Keyring::open(&RealDisk, path, &root()).unwrap()
}

fn empty() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("subjects");
    std::fs::write(&path, b"").unwrap();
    (dir, path)
}

#[test]
fn keys_come_back_after_a_restart() {
    let (_dir, path) = empty();
    let first = ring(&path);
    let now = Timestamp::from_secs(1);
    let a = first.subject("corp", "a", now).unwrap();
    let b = first.subject("corp", "b", now).unwrap();
    assert_ne!(a.reference, b.reference);
    first.persist(&RealDisk).unwrap();
    let again = ring(&path);
    let back = again.subject("corp", "a", now).unwrap();
    assert_eq!(back.reference, a.reference);
    assert_eq!(back.key.expose(), a.key.expose());
    assert!(again.knows(&b.reference));
    assert!(Keyring::open(&RealDisk, &path, &Secret::new([8; 32])).is_err());
}

#[test]
fn torn_last_entry_is_dropped_and_a_bad_middle_one_is_refused() {
    let (_dir, path) = empty();
    let first = ring(&path);
    for name in ["a", "b", "c"] {
        first
            .subject("corp", name, Timestamp::from_secs(1))
            .unwrap();
    }
    first.persist(&RealDisk).unwrap();
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() - 20]).unwrap();
    assert!(ring(&path).reference("corp", "b").is_some());
    assert!(ring(&path).reference("corp", "c").is_none());
    let mut hole = good.clone();
    hole[..ENTRY_BYTES].fill(0);
    std::fs::write(&path, &hole).unwrap();
    assert!(ring(&path).reference("corp", "a").is_none());
    assert!(
        ring(&path).reference("corp", "c").is_some(),
        "whole entries are kept"
    );
    let mut bad = good;
    bad[ENTRY_BYTES + 70] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    assert!(matches!(
        Keyring::open(&RealDisk, &path, &root()),
        Err(Error::Keyring(_))
    ));
}

// A19
#[test]
fn destroyed_key_is_gone_from_the_file_and_others_stay() {
    let (_dir, path) = empty();
    let first = ring(&path);
    let now = Timestamp::from_secs(1);
    let a = first.subject("corp", "a", now).unwrap();
    let b = first.subject("corp", "b", now).unwrap();
    first.persist(&RealDisk).unwrap();
    assert_eq!(first.destroy(&RealDisk, &|r| *r == a.reference).unwrap(), 1);
    let again = ring(&path);
    assert!(!again.knows(&a.reference));
    assert!(again.knows(&b.reference));
    let anew = first.subject("corp", "a", now).unwrap();
    assert_ne!(anew.reference, a.reference);
    first.persist(&RealDisk).unwrap();
    assert!(ring(&path).knows(&anew.reference));
}

/// What a content of `name` on this day says of its key, and what that is made of.
fn content(ring: &Keyring, name: &str, day: u64) -> (KeyParts, Secret<[u8; 32]>) {
    let at = Timestamp::from_secs(day * DAY_SECS + 5);
    let material = ring.material("corp", name, at).unwrap();
    let key = super::super::seal::ContentKey::new([1; 16], &material).unwrap();
    (KeyParts::parse(&key.key_payload()).unwrap(), material.key)
}

fn same(found: Option<Secret<[u8; 32]>>, made: &Secret<[u8; 32]>) -> bool {
    found.is_some_and(|found| found.expose() == made.expose())
}

#[test]
fn contents_go_with_their_day_and_those_of_held_subjects_with_their_hold() {
    let (_dir, path) = empty();
    let first = ring(&path);
    let (old, old_key) = content(&first, "a", 10);
    let (held, held_key) = content(&first, "b", 10);
    let (young, young_key) = content(&first, "a", 11);
    first.persist(&RealDisk).unwrap();
    assert!(same(ring(&path).opens(&old, 0), &old_key));
    let holds = HashSet::from([held.reference]);
    assert_eq!(first.expire(&RealDisk, 10, &holds).unwrap(), 0);
    assert_eq!(first.expirable(11, &holds), 1);
    assert_eq!(first.expire(&RealDisk, 11, &holds).unwrap(), 1);
    for ring in [&first, &ring(&path)] {
        assert!(ring.opens(&old, 0).is_none(), "its day is over");
        assert!(same(ring.opens(&held, 0), &held_key), "a hold stands");
        assert!(same(ring.opens(&young, 0), &young_key));
        assert_eq!(ring.expirable(11, &holds), 0);
    }
    assert!(
        first.opens(&young, 12).is_none(),
        "the log says that it is over"
    );
    assert!(same(first.opens(&held, 12), &held_key));
    // The same day again, as after a clock that was put back: another key, which opens nothing old.
    content(&first, "a", 10);
    first.persist(&RealDisk).unwrap();
    assert!(!same(ring(&path).opens(&old, 0), &old_key));
    let none = HashSet::new();
    assert_eq!(first.expirable(11, &none), 2);
    assert_eq!(first.expire(&RealDisk, 11, &none).unwrap(), 2);
    assert!(
        ring(&path).opens(&held, 0).is_none(),
        "the hold was released"
    );
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 3 * ENTRY_BYTES, "two subjects and a day");
}

// A19
#[test]
fn erased_subject_is_gone_from_what_was_kept_too() {
    let (_dir, path) = empty();
    let first = ring(&path);
    let (held, _) = content(&first, "b", 10);
    let holds = HashSet::from([held.reference]);
    first.expire(&RealDisk, 11, &holds).unwrap();
    let gone = |reference: &Reference| *reference == held.reference;
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(without(&bytes, &gone), b"");
    first.destroy(&RealDisk, &gone).unwrap();
    assert!(ring(&path).opens(&held, 0).is_none());
    assert_eq!(std::fs::read(&path).unwrap(), b"");
}
