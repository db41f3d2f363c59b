//! What claims become, and which are refused.

use serde_json::{Value, json};

use super::{NOW_S, World};
use crate::identity::{Exposed, Rejection};

/// The refusal of a good token with a change.
async fn refusal(world: &World, change: Value) -> Rejection {
    world.verify(&world.token(change)).await.unwrap_err()
}

#[tokio::test]
async fn times_are_strict_within_the_skew() {
    let world = World::new().await;
    let good = [
        json!({ "exp": NOW_S - 59 }),
        json!({ "nbf": NOW_S + 60, "iat": NOW_S + 60 }),
        json!({ "nbf": null, "iat": null }),
        json!({ "exp": 1_800_000_600.75 }),
        json!({ "exp": NOW_S + 86_400 }),
    ];
    for change in good {
        world
            .verify(&world.token(change.clone()))
            .await
            .unwrap_or_else(|e| panic!("{change}: {e}"));
    }
    // I3: expired 61 s
    for exp in [NOW_S - 60, NOW_S - 61, 0] {
        assert_eq!(
            refusal(&world, json!({ "exp": exp })).await.code(),
            "token_expired"
        );
    }
    for early in [json!({ "nbf": NOW_S + 61 }), json!({ "iat": NOW_S + 61 })] {
        assert_eq!(
            refusal(&world, early).await,
            Rejection::NotYet {
                issuer: "corp".into()
            }
        );
    }
    let long = Rejection::LivesTooLong {
        issuer: "corp".into(),
    };
    assert_eq!(
        refusal(&world, json!({ "exp": NOW_S + 86_401 })).await,
        long
    );
    assert_eq!(
        refusal(&world, json!({ "iat": null, "exp": NOW_S + 90_000 })).await,
        long
    );
    assert_eq!(
        refusal(&world, json!({ "iat": 1, "exp": NOW_S + 10 })).await,
        long
    );
}

#[tokio::test]
async fn wrong_typed_claims_are_refused() {
    let world = World::new().await;
    let bad = [
        json!({ "exp": null }),
        json!({ "exp": "1800000600" }),
        json!({ "exp": true }),
        json!({ "exp": -1 }),
        json!({ "exp": 1e300 }),
        json!({ "exp": [NOW_S + 600] }),
        json!({ "nbf": "0" }),
        json!({ "iat": {} }),
        json!({ "iat": "now" }),
        json!({ "auth_time": "now" }),
        json!({ "aud": null }),
        json!({ "aud": 1 }),
        json!({ "aud": ["https://gateway.example.com", 1] }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": ["alice"] }),
        json!({ "sub": "a".repeat(1025) }),
        json!({ "sub": "alice\r\nX-Admin: yes" }), // X7
        json!({ "sub": "alice\u{0}" }),
        json!({ "jti": 5 }),
        json!({ "acr": 1 }),
        json!({ "groups": 1 }),
        json!({ "groups": { "a": 1 } }),
        json!({ "groups": ["a", 1] }),
        json!({ "groups": ["a", ""] }),
        json!({ "groups": ["a\nb"] }),
        json!({ "groups": vec!["g"; 1001] }),
        json!({ "act": "bot" }),
        json!({ "act": {} }),
        json!({ "act": { "sub": 1 } }),
        json!({ "act": { "sub": "bot", "iss": "corp" } }),
        json!({ "typ": 1 }),
    ];
    for change in bad {
        let rejection = refusal(&world, change.clone()).await;
        assert!(
            matches!(rejection, Rejection::BadClaim { .. }),
            "{change}: {rejection}"
        );
        assert_eq!(rejection.code(), "token_rejected");
    }
}

#[tokio::test]
async fn audience_is_compared_exactly() {
    // CVE-2024-5798 compared a prefix.
    let world = World::new().await;
    let own = "https://gateway.example.com";
    for aud in [
        json!("https://gateway.example.com/"),
        json!("https://gateway.example.co"),
        json!("https://gateway.example.com.evil.example"),
        json!("HTTPS://gateway.example.com"),
        json!("https://staging.gateway.example.com"),
        json!([]),
        json!(["https://other.example.com"]),
        json!(""),
    ] {
        let rejection = refusal(&world, json!({ "aud": aud })).await;
        assert_eq!(
            rejection,
            Rejection::WrongAudience {
                issuer: "corp".into()
            }
        );
    }
    world
        .verify(&world.token(json!({ "aud": ["x", own] })))
        .await
        .unwrap();
}

#[tokio::test]
async fn id_refresh_and_logout_tokens_are_refused() {
    // I3
    let world = World::new().await;
    for change in [
        json!({ "nonce": "n" }),
        json!({ "at_hash": "h" }),
        json!({ "c_hash": "h" }),
        json!({ "typ": "ID" }),
        json!({ "token_use": "id" }),
        json!({ "typ": "Refresh" }),
        json!({ "typ": "Offline" }),
        json!({ "typ": "Logout" }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        let rejection = refusal(&world, change.clone()).await;
        assert!(
            matches!(rejection, Rejection::TokenType { .. }),
            "{change}: {rejection}"
        );
    }
    world
        .verify(&world.token(json!({ "typ": "Bearer" })))
        .await
        .unwrap();
    let lenient = World::with(json!({ "id_tokens": "accept" })).await;
    lenient
        .verify(&lenient.token(json!({ "nonce": "n" })))
        .await
        .unwrap();
    let refresh = refusal(&lenient, json!({ "typ": "Refresh" })).await;
    assert!(matches!(refresh, Rejection::TokenType { .. }));
}

#[tokio::test]
async fn header_type_is_strict() {
    // T6
    let world = World::new().await;
    let with = |typ: Value| {
        let header = super::merge(world.signer.header(), json!({ "typ": typ }));
        world.signer.token_with(&header, &world.claims())
    };
    for good in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        world.verify(&with(json!(good))).await.unwrap();
    }
    world.verify(&with(Value::Null)).await.unwrap();
    for bad in [
        "dpop+jwt",
        "logout+jwt",
        "id",
        "JOSE",
        "secevent+jwt",
        "",
        "application/json",
    ] {
        let rejection = world.verify(&with(json!(bad))).await.unwrap_err();
        assert!(
            matches!(rejection, Rejection::TokenType { .. }),
            "{bad}: {rejection}"
        );
    }
    let strict = World::with(json!({ "token_types": ["at+jwt"] })).await;
    let rejection = refusal(&strict, json!({})).await;
    assert!(matches!(rejection, Rejection::TokenType { .. }));
}

#[tokio::test]
async fn mandatory_conditions_hold_or_refuse() {
    let world = World::with(json!({ "claims": {
        "repository_owner_id": "1234",
        "ref": ["refs/heads/main", "refs/heads/release"],
        "repository": { "prefix": "acme/" },
        "email_verified": true,
        "run": 7,
        "/env/name": "production",
    } }))
    .await;
    let good = json!({
        "repository_owner_id": "1234", "ref": "refs/heads/main", "repository": "acme/api",
        "email_verified": true, "run": 7, "env": { "name": "production" },
    });
    world.verify(&world.token(good.clone())).await.unwrap();
    for (claim, change) in [
        // CVE-2026-44428: the sibling service's token, same issuer, same audience
        (
            "repository_owner_id",
            json!({ "repository_owner_id": "99" }),
        ),
        (
            "repository_owner_id",
            json!({ "repository_owner_id": null }),
        ),
        ("ref", json!({ "ref": "refs/heads/dev" })),
        ("ref", json!({ "ref": {} })),
        ("repository", json!({ "repository": "acme-evil/api" })),
        ("repository", json!({ "repository": "acme" })),
        ("email_verified", json!({ "email_verified": false })),
        ("/env/name", json!({ "env": { "name": "staging" } })),
        ("/env/name", json!({ "env": "production" })),
    ] {
        let rejection = refusal(&world, super::merge(good.clone(), change.clone())).await;
        let claim = claim.into();
        assert_eq!(
            rejection,
            Rejection::ClaimCondition {
                issuer: "corp".into(),
                claim
            },
            "{change}"
        );
    }
}

#[tokio::test]
async fn groups_left_out_for_their_number_are_an_error() {
    let world = World::new().await;
    for change in [
        json!({ "groups": null, "_claim_names": { "groups": "src1" }, "_claim_sources": {} }),
        json!({ "groups": null, "hasgroups": true }),
        json!({ "groups": null, "hasgroups": "true" }),
        json!({ "groups": null, "groups:src1": "https://graph.example.com" }),
    ] {
        let rejection = refusal(&world, change.clone()).await;
        assert_eq!(
            rejection,
            Rejection::GroupsOverage {
                issuer: "corp".into()
            },
            "{change}"
        );
    }
    // Other distributed claims do not matter.
    let other = json!({ "groups": null, "_claim_names": { "address": "src1" } });
    assert!(
        world
            .verify(&world.token(other))
            .await
            .unwrap()
            .groups()
            .is_empty()
    );
}

#[tokio::test]
async fn groups_may_lie_deeper_or_be_one_text() {
    let world = World::with(json!({ "groups": "/realm_access/roles" })).await;
    let principal = world
        .verify(&world.token(json!({ "realm_access": { "roles": "admin" }, "groups": ["no"] })))
        .await
        .unwrap();
    assert_eq!(
        principal.groups().iter().collect::<Vec<_>>(),
        ["corp/admin"]
    );
}

#[tokio::test]
async fn actors_are_read_outermost_first_and_bounded() {
    let world = World::with(json!({ "kind": "human" })).await;
    let act = json!({ "sub": "bot", "act": { "sub": "planner", "iss": "https://sts.example" } });
    let principal = world
        .verify(&world.token(json!({ "act": act })))
        .await
        .unwrap();
    let actors: Vec<_> = principal
        .actors()
        .iter()
        .map(|a| format!("{}|{}", a.issuer, a.subject))
        .collect();
    assert_eq!(actors, ["corp|bot", "https://sts.example|planner"]);
    assert_eq!(
        principal.kind().as_str(),
        "agent",
        "whoever acts for a human is not that human"
    );
    let direct = world.verify(&world.token(json!({}))).await.unwrap();
    assert_eq!(direct.kind().as_str(), "human");
    let nest = |depth: usize| {
        (0..depth).fold(Value::Null, |inner, n| {
            let actor = json!({ "sub": format!("a{n}") });
            if inner.is_null() {
                actor
            } else {
                super::merge(actor, json!({ "act": inner }))
            }
        })
    };
    let eight = world
        .verify(&world.token(json!({ "act": nest(8) })))
        .await
        .unwrap();
    assert_eq!(eight.actors().len(), 8);
    let nine = refusal(&world, json!({ "act": nest(9) })).await;
    assert!(matches!(nine, Rejection::BadClaim { .. }));
}

#[tokio::test]
async fn kind_follows_the_first_rule_that_fits() {
    let world = World::with(json!({ "kind": [
        { "when": { "client_id": "ci" }, "kind": "workload" },
        { "when": { "amr": ["mfa", "hwk"], "email_verified": true }, "kind": "human" },
    ] }))
    .await;
    for (change, kind) in [
        (json!({}), "agent"),
        (json!({ "client_id": "ci" }), "workload"),
        (json!({ "amr": ["pwd"], "email_verified": true }), "agent"),
        (
            json!({ "amr": ["pwd", "mfa"], "email_verified": true }),
            "human",
        ),
        (json!({ "amr": ["mfa"] }), "agent"),
    ] {
        let principal = world.verify(&world.token(change.clone())).await.unwrap();
        assert_eq!(principal.kind().as_str(), kind, "{change}");
    }
}

#[tokio::test]
async fn exposed_claims_have_their_declared_type_or_refuse() {
    let expose = json!({ "dept": "string", "level": "long", "staff": "bool", "teams": "strings" });
    let world = World::with(json!({ "expose": expose })).await;
    let good = json!({ "dept": "eng", "level": 3, "staff": true, "teams": ["a", "b"] });
    let principal = world.verify(&world.token(good.clone())).await.unwrap();
    assert_eq!(principal.exposed()["dept"], Exposed::String("eng".into()));
    assert_eq!(principal.exposed()["level"], Exposed::Long(3));
    assert_eq!(principal.exposed()["staff"], Exposed::Bool(true));
    let teams = ["a", "b"].map(str::to_owned).into();
    assert_eq!(principal.exposed()["teams"], Exposed::Strings(teams));
    assert!(
        world
            .verify(&world.token(json!({})))
            .await
            .unwrap()
            .exposed()
            .is_empty()
    );
    for bad in [
        json!({ "dept": 1 }),
        json!({ "level": 1.5 }),
        json!({ "staff": "true" }),
    ] {
        assert!(matches!(
            refusal(&world, bad).await,
            Rejection::BadClaim { .. }
        ));
    }
}

#[tokio::test]
async fn a_person_is_the_same_over_accounts() {
    let world = World::with(json!({ "person": "employee_id", "kind": "human" })).await;
    let account = async |sub: &str, id: &str| {
        world
            .verify(&world.token(json!({ "sub": sub, "employee_id": id })))
            .await
            .unwrap()
    };
    let (one, two, three) = (
        account("a", "7").await,
        account("b", "7").await,
        account("c", "8").await,
    );
    assert!(one.is_same_human(&two));
    assert!(!one.is_same_human(&three));
    let rejection = refusal(&world, json!({})).await;
    assert!(
        matches!(rejection, Rejection::BadClaim { .. }),
        "a human nobody can match"
    );
}

#[tokio::test]
async fn an_email_tells_persons_apart_only_when_verified() {
    let world = World::with(json!({ "person": "email", "kind": "human" })).await;
    let good = json!({ "email": "Alice@Example.com", "email_verified": true });
    let principal = world.verify(&world.token(good)).await.unwrap();
    assert_eq!(principal.person(), Some("alice@example.com"));
    for bad in [
        json!({ "email": "alice@example.com" }),
        json!({ "email": "alice@example.com", "email_verified": "true" }),
        json!({ "email": "alice@evil@example.com", "email_verified": true }),
    ] {
        assert!(matches!(
            refusal(&world, bad).await,
            Rejection::BadClaim { .. }
        ));
    }
}
