//! Accounts that the config states for members of a chat.

use std::collections::BTreeMap;

use super::*;
use crate::identity::{Kind, PrincipalKey, Reach, Revocation, RevocationTarget, SlackMember};

fn member(at: Timestamp) -> SlackMember<'static> {
    SlackMember {
        team: "T1",
        user: "U1",
        at,
    }
}

fn claims(value: Value) -> BTreeMap<String, Value> {
    serde_json::from_value(value).unwrap()
}

async fn world() -> World {
    World::with(json!({
        "groups": "groups", "person": "employee",
        "kind": [{ "when": { "account_type": "person" }, "kind": "human" }],
    }))
    .await
}

fn lena() -> Value {
    json!({ "sub": "lena", "groups": ["leads"], "account_type": "person", "employee": "e-1" })
}

#[tokio::test]
async fn the_issuers_rules_read_the_stated_claims() {
    let world = world().await;
    let at = world.clock.now();
    let who = world
        .verifier
        .stated("corp", &claims(lena()), member(at))
        .unwrap();
    assert_eq!(who.key().to_string(), "corp/lena");
    assert_eq!((who.kind(), who.person()), (Kind::Human, Some("e-1")));
    assert!(who.groups().contains("corp/leads"));
    assert_eq!(who.method().as_str(), "slack");
    assert_eq!(who.was_there(), Some(at));
    let token = who.token();
    assert_eq!((token.authenticated, token.issued), (None, None));
    assert_eq!(token.acr, None);
}

#[tokio::test]
async fn what_only_a_token_can_tell_is_not_stated() {
    let world = world().await;
    let at = world.clock.now();
    for name in ["acr", "auth_time", "iat", "act", "jti"] {
        let mut stated = claims(lena());
        stated.insert(name.to_owned(), json!(1));
        let refused = world.verifier.stated("corp", &stated, member(at));
        let text = refused.unwrap_err().to_string();
        assert_eq!(
            text,
            format!("issuer `corp`: claim `{name}` is told by a token only")
        );
    }
    let refused = |issuer: &str, stated: Value| {
        let refused = world.verifier.stated(issuer, &claims(stated), member(at));
        refused.unwrap_err().to_string()
    };
    assert!(refused("other", lena()).contains("not configured"));
    assert!(refused("corp", json!({ "account_type": "person" })).contains("`sub` is missing"));
    let robot = json!({ "sub": "robot", "employee": "e-2" });
    assert!(refused("corp", robot).contains("makes a human"));
    let nobody = json!({ "sub": "lena", "account_type": "person" });
    assert!(refused("corp", nobody).contains("`employee` is missing"));
}

/// Without a token there is no new one either: what is revoked stays so.
#[tokio::test]
async fn a_revocation_of_tokens_until_now_holds_for_later_buttons_too() {
    let world = world().await;
    let before = world.clock.now();
    let lena = claims(lena());
    assert!(world.verifier.stated("corp", &lena, member(before)).is_ok());
    let key = PrincipalKey {
        issuer: "corp".to_owned(),
        subject: "lena".to_owned(),
    };
    let revocation = Revocation {
        target: RevocationTarget::Principal(key),
        reach: Reach::Revoke,
        at: before,
    };
    world.revocations.apply(&revocation).unwrap();
    world.clock.advance(Duration::from_secs(3_600));
    let later = world
        .verifier
        .stated("corp", &lena, member(world.clock.now()));
    assert_eq!(later.unwrap_err(), Rejection::Revoked);
}
