use super::*;
use crate::identity::Kind;

fn target() -> RevocationTarget {
    RevocationTarget::Principal(PrincipalKey {
        issuer: "corp".into(),
        subject: "alice".into(),
    })
}

fn entry(target: RevocationTarget, reach: Reach) -> Revocation {
    Revocation {
        target,
        reach,
        at: Timestamp::from_secs(1000),
    }
}

#[test]
fn revoking_a_principal_ends_what_was_issued_and_locking_ends_everything() {
    let shut = |reach| {
        let revocations = Revocations::new();
        revocations.apply(&entry(target(), reach)).unwrap();
        let view = revocations.0.view.load();
        let shut = *view.principals.values().next().unwrap();
        [Some(900), Some(1000), Some(1060), Some(1061), None]
            .map(|issued| shut.holds(issued.map(Timestamp::from_secs)))
    };
    assert_eq!(shut(Reach::Revoke), [true, true, true, false, true]);
    assert_eq!(shut(Reach::Lock), [true; 5]);
}

#[test]
fn a_later_revocation_is_not_shortened_by_an_earlier_one() {
    let revocations = Revocations::new();
    revocations.apply(&entry(target(), Reach::Revoke)).unwrap();
    let earlier = Revocation {
        at: Timestamp::from_secs(5),
        ..entry(target(), Reach::Revoke)
    };
    revocations.apply(&earlier).unwrap();
    assert_eq!(revocations.list()[0].at, Timestamp::from_secs(1000));
}

#[test]
fn others_are_untouched() {
    let revocations = Revocations::new();
    for target in [
        target(),
        RevocationTarget::Issuer("other".into()),
        RevocationTarget::TokenId {
            issuer: "other".into(),
            id: "t".into(),
        },
        RevocationTarget::Connection("payments".into()),
        RevocationTarget::Approval("ap-1".into()),
    ] {
        revocations.apply(&entry(target, Reach::Lock)).unwrap();
    }
    let who = |subject| Principal::for_tests("corp", subject, Kind::Agent, &[]);
    let (alice, bob) = (who("alice"), who("bob"));
    assert!(revocations.is_revoked(&alice, None));
    assert!(!revocations.is_revoked(&bob, None));
    assert!(!revocations.is_revoked(&bob, Some("orders")));
    assert!(revocations.is_revoked(&bob, Some("payments")));
    assert!(revocations.is_approval_revoked("ap-1"));
    assert!(!revocations.is_approval_revoked("ap-2"));
}

#[test]
fn the_version_grows_and_is_told() {
    let revocations = Revocations::new();
    let mut told = revocations.subscribe();
    let clone = revocations.clone();
    clone.apply(&entry(target(), Reach::Lock)).unwrap();
    assert_eq!(revocations.version(), 1);
    assert_eq!(*told.borrow_and_update(), 1);
    clone.replace([]).unwrap();
    assert_eq!((revocations.version(), revocations.list().len()), (2, 0));
    assert!(!clone.lift(&target(), Reach::Lock));
}

#[test]
fn too_many_are_refused_and_change_nothing() {
    let revocations = Revocations::new();
    let many = |count: usize| {
        (0..count).map(|n| entry(RevocationTarget::Approval(n.to_string()), Reach::Lock))
    };
    revocations.replace(many(REVOCATIONS_MAX)).unwrap();
    assert_eq!(
        revocations.apply(&entry(target(), Reach::Lock)),
        Err(RevocationError::Full)
    );
    assert_eq!(revocations.list().len(), REVOCATIONS_MAX);
    assert_eq!(revocations.version(), 1);
}
