//! ID tokens that end a login, and those that must not.

use std::time::Duration;

use serde_json::{Value, json};

use super::idp::Answer;
use super::{AUDIENCE, World, merge};
use crate::clock::Clock;
use crate::identity::{Login, Plane, Rejection};

const CLIENT: &str = "console-client";

fn login() -> Login<'static> {
    Login {
        client: CLIENT,
        nonce: "n-1",
        fresh: None,
    }
}

fn id_token(world: &World, more: Value) -> String {
    let now = world.clock.now().secs();
    let claims = merge(
        world.claims(),
        json!({ "aud": CLIENT, "nonce": "n-1", "auth_time": now - 10 }),
    );
    world.signer.token(&merge(claims, more))
}

async fn outcome(world: &World, more: Value) -> Result<(), String> {
    let token = id_token(world, more);
    let verified = world.verifier.verify_login(&token, "corp", &login()).await;
    verified
        .map(|_| ())
        .map_err(|rejection| rejection.to_string())
}

#[tokio::test]
async fn an_id_token_of_this_login_proves_the_person() {
    let world = World::new().await;
    let token = id_token(&world, json!({}));
    let who = world
        .verifier
        .verify_login(&token, "corp", &login())
        .await
        .unwrap();
    assert_eq!(who.key().subject, "alice");
    assert!(who.token().authenticated.is_some());
    outcome(&world, json!({ "aud": [CLIENT] })).await.unwrap();
    outcome(&world, json!({ "aud": [CLIENT, "other"], "azp": CLIENT }))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_id_token_for_another_login_client_or_issuer_proves_nobody() {
    let world = World::new().await;
    for (more, told) in [
        (json!({ "nonce": "n-2" }), "nonce"),
        (json!({ "nonce": null }), "nonce"),
        (json!({ "nonce": 1 }), "nonce"),
        (json!({ "aud": "another-client" }), "audience"),
        (json!({ "aud": AUDIENCE }), "audience"),
        (json!({ "aud": [CLIENT, "other"] }), "audience"),
        (json!({ "aud": [CLIENT, "other"], "azp": "other" }), "azp"),
        (json!({ "azp": "other" }), "azp"),
        (json!({ "events": {} }), "logout"),
        (json!({ "exp": world.clock.now().secs() - 61 }), "expired"),
    ] {
        let error = outcome(&world, more.clone()).await.unwrap_err();
        assert!(error.contains(told), "{more}: {error}");
    }
    let good = id_token(&world, json!({}));
    let mixed = world.verifier.verify_login(&good, "other", &login()).await;
    assert_eq!(mixed.unwrap_err(), Rejection::UnknownIssuer);
    let access = world.signer.token_with(
        &merge(world.signer.header(), json!({ "typ": "at+jwt" })),
        &merge(world.claims(), json!({ "aud": CLIENT, "nonce": "n-1" })),
    );
    assert!(
        world
            .verifier
            .verify_login(&access, "corp", &login())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_id_token_opens_neither_calls_nor_the_api() {
    let world = World::new().await;
    let token = id_token(&world, json!({}));
    for plane in [Plane::Data, Plane::Console] {
        assert!(
            world.verifier.verify(&token, plane).await.is_err(),
            "{plane:?}"
        );
    }
}

#[tokio::test]
async fn who_was_to_sign_in_anew_must_have_done_so() {
    let world = World::new().await;
    let fresh = Login {
        fresh: Some(Duration::from_secs(600)),
        ..login()
    };
    let now = world.clock.now().secs();
    for (more, good) in [
        (json!({ "auth_time": now - 5 }), true),
        (json!({ "auth_time": now - 661 }), false),
        (json!({ "auth_time": null }), false),
    ] {
        let token = id_token(&world, more.clone());
        let verified = world.verifier.verify_login(&token, "corp", &fresh).await;
        assert_eq!(verified.is_ok(), good, "{more}");
    }
}

#[tokio::test]
async fn the_time_of_issue_does_not_stand_in_for_a_sign_in() {
    let world = World::new().await;
    let token = id_token(&world, json!({ "auth_time": null }));
    let who = world
        .verifier
        .verify_login(&token, "corp", &login())
        .await
        .unwrap();
    assert_eq!(
        (who.token().authenticated, who.token().issued),
        (None, None)
    );
}

#[tokio::test]
async fn a_revoked_person_does_not_sign_in() {
    let world = World::new().await;
    let token = id_token(&world, json!({}));
    let who = world
        .verifier
        .verify_login(&token, "corp", &login())
        .await
        .unwrap();
    let target = crate::identity::RevocationTarget::Principal(who.key().clone());
    let revocation = crate::identity::Revocation {
        target,
        reach: crate::identity::Reach::Lock,
        at: world.clock.now(),
    };
    world.revocations.apply(&revocation).unwrap();
    let again = world.verifier.verify_login(&token, "corp", &login()).await;
    assert_eq!(again.unwrap_err(), Rejection::Revoked);
    assert_eq!(world.verifier.still_counts(&who), Err(Rejection::Revoked));
}

#[tokio::test]
async fn an_issuer_without_s256_or_with_another_name_is_not_signed_in_at() {
    let world = World::new().await;
    let provider = world.verifier.provider("corp").unwrap();
    let url = world.idp.url();
    let good = json!({
        "issuer": provider.issuer, "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"), "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    });
    let say = |document: Value| {
        let path = "/.well-known/openid-configuration";
        world.idp.answer(path, Answer::Json(document, ""));
    };
    say(good.clone());
    let endpoints = provider.discover().await.unwrap();
    assert_eq!(endpoints.authorization, format!("{url}/authorize"));
    for (more, told) in [
        (
            json!({ "code_challenge_methods_supported": ["plain"] }),
            "S256",
        ),
        (
            json!({ "response_types_supported": ["id_token"] }),
            "code flow",
        ),
        (json!({ "issuer": "https://evil.example" }), "issuer"),
        (json!({ "token_endpoint": null }), "token_endpoint"),
        (
            json!({ "authorization_endpoint": "http://evil.example/a" }),
            "https",
        ),
        (
            json!({ "token_endpoint": "http://169.254.169.254/token" }),
            "https",
        ),
    ] {
        say(merge(good.clone(), more.clone()));
        let error = provider.discover().await.unwrap_err().to_string();
        assert!(error.contains(told), "{more}: {error}");
    }
}
