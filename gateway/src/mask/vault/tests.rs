//! What a key's pseudonyms and tokens say, and to whom.

use std::sync::Arc;

use super::{Form, KeysConfig, Opened, Owner, Scope, TokenError, Vault};
use crate::clock::{ManualClock, Timestamp};
use crate::mask::DataClass;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const OTHER: &[u8] = b"fedcba9876543210fedcba9876543210";
const DAY: u64 = 24 * 60 * 60;
const ANN: Owner<'_> = Owner {
    issuer: "corp",
    subject: "ann",
    connection: "crm",
};

fn class(name: &str) -> DataClass {
    name.parse().unwrap()
}

fn vault(keys: &[&[u8]], day: u64) -> (Vault, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(day * DAY)));
    (Vault::of(keys, 7, Arc::clone(&clock) as _), clock)
}

fn seal(vault: &Vault, scope: Scope, value: &str) -> String {
    let form = Form::default();
    let sealed = vault.seal(scope, &ANN, &class("email"), value.as_bytes(), form);
    sealed.unwrap()
}

fn opened(
    vault: &Vault,
    owner: &Owner<'_>,
    name: &str,
    payload: &str,
) -> Result<String, TokenError> {
    let opened = vault.open(owner, &class(name), payload.as_bytes());
    opened.map(|Opened { value, .. }| value)
}

#[test]
fn a_pseudonym_is_the_same_for_one_value_of_one_class_and_owner() {
    let (vault, clock) = vault(&[KEY], 700);
    let of = |scope, owner: &Owner<'_>, name: &str, value: &str| {
        vault.pseudonym(scope, owner, &class(name), value.as_bytes())
    };
    let first = of(Scope::Principal, &ANN, "email", "bob@example.com").unwrap();
    assert_eq!(first.len(), 20);
    clock.set(Timestamp::from_secs(900 * DAY));
    for written in ["bob@example.com", "Bob@Example.com", " bob@example.com "] {
        let again = of(Scope::Principal, &ANN, "email", written);
        assert_eq!(again.as_ref(), Some(&first), "{written}");
    }
    assert_eq!(
        of(
            Scope::Principal,
            &ANN,
            "payment-card",
            "4111 1111 1111 1111"
        ),
        of(
            Scope::Principal,
            &ANN,
            "payment-card",
            "4111-1111-1111-1111"
        ),
    );
    let eve = Owner {
        subject: "eve",
        ..ANN
    };
    let elsewhere = Owner {
        connection: "shop",
        ..ANN
    };
    let first = Some(first);
    assert_ne!(
        of(Scope::Principal, &eve, "email", "bob@example.com"),
        first
    );
    assert_ne!(
        of(Scope::Connection, &ANN, "email", "bob@example.com"),
        first
    );
    assert_ne!(
        of(Scope::Principal, &ANN, "customer", "bob@example.com"),
        first
    );
    assert_ne!(of(Scope::Principal, &ANN, "email", "bo@example.com"), first);
    assert_eq!(
        of(Scope::Principal, &elsewhere, "email", "bob@example.com"),
        first
    );
    assert_eq!(
        of(Scope::Connection, &eve, "email", "bob@example.com"),
        of(Scope::Connection, &ANN, "email", "bob@example.com"),
    );
}

#[test]
fn a_token_opens_for_whom_it_was_made_and_for_nobody_else() {
    let (vault, _) = vault(&[KEY], 700);
    let eve = Owner {
        subject: "eve",
        ..ANN
    };
    let namesake = Owner {
        issuer: "ci",
        ..ANN
    };
    // Where one part ends and the next begins cannot be moved.
    let shifted = Owner {
        issuer: "corpa",
        subject: "nn",
        ..ANN
    };
    let shop = Owner {
        connection: "shop",
        ..ANN
    };
    let mine = seal(&vault, Scope::Principal, "bob@example.com");
    let value = Ok("bob@example.com".to_owned());
    assert_eq!(opened(&vault, &ANN, "email", &mine), value);
    assert_eq!(opened(&vault, &shop, "email", &mine), value);
    for other in [eve, namesake, shifted] {
        assert_eq!(
            opened(&vault, &other, "email", &mine),
            Err(TokenError::Foreign)
        );
    }
    assert_eq!(
        opened(&vault, &ANN, "phone", &mine),
        Err(TokenError::Foreign)
    );
    let shared = seal(&vault, Scope::Connection, "bob@example.com");
    assert_eq!(opened(&vault, &eve, "email", &shared), value);
    assert_eq!(
        opened(&vault, &shop, "email", &shared),
        Err(TokenError::Foreign)
    );
}

#[test]
fn a_token_that_was_changed_in_any_character_opens_nothing() {
    let (vault, _) = vault(&[KEY], 700);
    let token = seal(&vault, Scope::Principal, "bob@example.com");
    for at in 0..token.len() {
        for other in ['A', 'B', '-', '~'] {
            let mut changed: Vec<char> = token.chars().collect();
            if changed[at] == other {
                continue;
            }
            changed[at] = other;
            let changed: String = changed.into_iter().collect();
            assert!(
                opened(&vault, &ANN, "email", &changed).is_err(),
                "{changed}"
            );
        }
        assert!(opened(&vault, &ANN, "email", &token[..at]).is_err());
    }
    assert!(opened(&vault, &ANN, "email", &format!("{token}A")).is_err());
    assert!(opened(&vault, &ANN, "email", &format!("{token}AAAA")).is_err());
}

#[test]
fn a_token_is_good_for_its_days_and_at_most_for_twice_as_many() {
    for day in 700..707 {
        let (vault, clock) = vault(&[KEY], day);
        let token = seal(&vault, Scope::Principal, "x@example.com");
        clock.set(Timestamp::from_secs((day + 7) * DAY));
        assert!(opened(&vault, &ANN, "email", &token).is_ok(), "{day}");
        clock.set(Timestamp::from_secs((day + 14) * DAY));
        assert_eq!(
            opened(&vault, &ANN, "email", &token),
            Err(TokenError::Expired)
        );
    }
}

#[test]
fn a_former_key_still_opens_and_makes_nothing_new() {
    let (before, _) = vault(&[KEY], 700);
    let token = seal(&before, Scope::Principal, "bob@example.com");
    let (rotated, _) = vault(&[OTHER, KEY], 700);
    assert!(opened(&rotated, &ANN, "email", &token).is_ok());
    let fresh = seal(&rotated, Scope::Principal, "bob@example.com");
    assert_ne!(fresh, token);
    let (gone, _) = vault(&[OTHER], 700);
    assert!(opened(&gone, &ANN, "email", &fresh).is_ok());
    assert_eq!(
        opened(&gone, &ANN, "email", &token),
        Err(TokenError::Foreign)
    );
}

#[test]
fn equal_values_have_equal_tokens_unless_chance_is_asked_for() {
    let (vault, _) = vault(&[KEY], 700);
    let of = |random| {
        let form = Form {
            scalar: true,
            random,
        };
        let sealed = vault.seal(Scope::Principal, &ANN, &class("year"), b"1980", form);
        sealed.unwrap()
    };
    assert_eq!(of(false), of(false));
    let (one, two) = (of(true), of(true));
    assert_ne!(one, two);
    for token in [of(false), one, two] {
        let opened = vault.open(&ANN, &class("year"), token.as_bytes()).unwrap();
        assert!(opened.scalar && opened.value == "1980");
    }
}

#[test]
fn what_no_token_can_carry_has_none() {
    let (vault, _) = vault(&[KEY], 700);
    let of = |value: &[u8]| {
        let form = Form::default();
        vault.seal(Scope::Principal, &ANN, &class("email"), value, form)
    };
    assert!(of(&[b'a'; 1024]).is_some());
    assert!(of(&[b'a'; 1025]).is_none());
    assert!(of(b"bob\xe9").is_none());
}

#[test]
fn a_key_that_cannot_be_had_or_is_short_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = KeysConfig {
        current: "env:CALLGATE_NO_SUCH_KEY".to_owned().try_into().unwrap(),
        former: vec!["file:short".to_owned().try_into().unwrap()],
        token_days: 0,
    };
    let short = dir.path().join("short");
    std::fs::write(&short, "too short").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&short, mode).unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(0)));
    let faults = Vault::new(&config, dir.path(), clock).unwrap_err();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "`token_days`: a token is good for 1 to 365 days",
            "`current`: environment variable `CALLGATE_NO_SUCH_KEY` is not set",
            "`former[0]`: the key has 9 bytes and needs 32 at least: `openssl rand -hex 32` makes one",
        ]
    );
}
