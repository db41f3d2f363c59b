//! The room as a whole: real signatures, a real key server on loopback, a clock that tests hold.

#![expect(
    clippy::needless_pass_by_value,
    reason = "`json!` values read best by value"
)]

mod assertions;
mod claims;
mod forge;
mod hostile;
mod idp;
mod logins;
mod rotation;
mod settings;
mod stated;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use self::forge::Signer;
use self::idp::{Answer, Idp};
use super::{Config, Context, Plane, Principal, Rejection, Revocations, Verifier};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::egress::{Egress, Policy};

const NOW_S: u64 = 1_800_000_000;
const AUDIENCE: &str = "https://gateway.example.com";
const CONSOLE: &str = "https://console.example.com";

/// An issuer, a gateway that believes it, and the time.
pub(super) struct World {
    pub(super) idp: Idp,
    pub(super) clock: Arc<ManualClock>,
    pub(super) verifier: Verifier,
    pub(super) revocations: Revocations,
    pub(super) signer: Signer,
}

impl World {
    /// One issuer `corp` with one ES256 key `k1`; `extra` goes into its config.
    pub(super) async fn with(extra: Value) -> Self {
        Self::signed_by(Signer::es256("k1"), extra).await
    }

    pub(super) async fn new() -> Self {
        Self::with(json!({ "groups": "groups" })).await
    }

    pub(super) async fn signed_by(signer: Signer, extra: Value) -> Self {
        let idp = Idp::start().await;
        idp.publish(&[signer.jwk()]);
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW_S)));
        let revocations = Revocations::new();
        let config = config(&idp, extra);
        let verifier = Verifier::new(&config, &context(&clock, &revocations)).unwrap();
        Self {
            idp,
            clock,
            verifier,
            revocations,
            signer,
        }
    }

    /// Claims of a good token.
    pub(super) fn claims(&self) -> Value {
        let now = self.clock.now().secs();
        json!({
            "iss": self.idp.url(), "aud": AUDIENCE, "sub": "alice", "groups": ["payments", "dev"],
            "iat": now, "nbf": now, "exp": now + 600, "jti": "t-1",
        })
    }

    /// A good token, changed.
    pub(super) fn token(&self, change: Value) -> String {
        self.signer.token(&merge(self.claims(), change))
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Arc<Principal>, Rejection> {
        self.verifier.verify(token, Plane::Data).await
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// Members of `change` replace those of `base`; null removes.
pub(super) fn merge(mut base: Value, change: Value) -> Value {
    let members = base.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap().clone() {
        if value.is_null() {
            members.shift_remove(&name);
        } else {
            members.insert(name, value);
        }
    }
    base
}

pub(super) fn config(idp: &Idp, extra: Value) -> Config {
    let corp = merge(json!({ "issuer": idp.url(), "audience": AUDIENCE }), extra);
    serde_json::from_value(json!({ "issuers": { "corp": corp } })).unwrap()
}

pub(super) fn context(clock: &Arc<ManualClock>, revocations: &Revocations) -> Context<'static> {
    Context {
        console_audience: Some(CONSOLE),
        base: Path::new("."),
        egress: Egress::new(&Policy::default()).unwrap(),
        clock: Arc::<ManualClock>::clone(clock),
        revocations: revocations.clone(),
    }
}

#[tokio::test]
async fn good_token_makes_a_principal() {
    let world = World::new().await;
    let principal = world
        .verify(&world.token(json!({ "acr": "mfa", "auth_time": NOW_S - 30 })))
        .await
        .unwrap();
    assert_eq!(principal.key().to_string(), "corp/alice");
    assert_eq!(principal.kind().as_str(), "agent");
    let groups: Vec<_> = principal.groups().iter().map(String::as_str).collect();
    assert_eq!(groups, ["corp/dev", "corp/payments"]);
    assert_eq!(principal.token().id.as_deref(), Some("t-1"));
    assert_eq!(principal.token().expires, Timestamp::from_secs(NOW_S + 600));
    assert_eq!(
        principal.token().authenticated,
        Some(Timestamp::from_secs(NOW_S - 30))
    );
    assert_eq!(principal.token().acr.as_deref(), Some("mfa"));
    assert_eq!(principal.method().as_str(), "jwt");
    assert_eq!(principal.claims()["sub"], "alice");
    assert!(principal.actors().is_empty());
}

#[tokio::test]
async fn no_token_is_its_own_refusal() {
    let world = World::new().await;
    let rejection = world.verify("").await.unwrap_err();
    assert_eq!(
        (rejection.code(), rejection.challenge()),
        ("unauthenticated", Some("Bearer"))
    );
}

#[tokio::test]
async fn every_algorithm_verifies_and_another_implementation_agrees() {
    for signer in Signer::all() {
        let world = World::signed_by(signer, json!({})).await;
        let token = world.token(json!({}));
        let principal = world.verify(&token).await.unwrap();
        assert_eq!(principal.key().subject, "alice");
        let name = world.signer.algorithm();
        assert!(
            forge::other_implementation_accepts(&token, &world.signer.jwk()),
            "{name}"
        );
        let mut forged = token.clone();
        let last = forged.pop().unwrap();
        forged.pop();
        forged.push(if last == 'A' { 'Q' } else { 'A' });
        assert!(world.verify(&forged).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn an_unreachable_issuer_does_not_hinder_the_start() {
    // R6
    let world = World::new().await;
    world
        .idp
        .answer("/.well-known/openid-configuration", Answer::Close);
    let rejection = world.verify(&world.token(json!({}))).await.unwrap_err();
    assert_eq!(rejection.code(), "issuer_unavailable");
    assert!(rejection.retry_after().unwrap() >= Duration::from_secs(1));
    assert!(!world.verifier.status()[0].usable);
    world.idp.discover();
    world.advance(40);
    world.verify(&world.token(json!({}))).await.unwrap();
    assert!(world.verifier.status()[0].usable);
}

#[tokio::test]
async fn console_and_calls_take_different_tokens() {
    // I3
    let world = World::new().await;
    let call = world.token(json!({}));
    let console = world.token(json!({ "aud": CONSOLE }));
    let both = world.token(json!({ "aud": [AUDIENCE, CONSOLE] }));
    let verify = async |token: &str, plane| world.verifier.verify(token, plane).await.map(|_| ());
    assert!(verify(&call, Plane::Data).await.is_ok());
    assert!(verify(&console, Plane::Console).await.is_ok());
    for (token, plane) in [
        (&call, Plane::Console),
        (&console, Plane::Data),
        (&both, Plane::Console),
    ] {
        let rejection = verify(token, plane).await.unwrap_err();
        assert_eq!(
            rejection,
            Rejection::WrongAudience {
                issuer: "corp".into()
            }
        );
    }
    // Also after the first use was remembered.
    assert!(verify(&call, Plane::Console).await.is_err());
}

#[tokio::test]
async fn remembered_tokens_are_not_shared_forgotten_with_keys_and_end_with_the_token() {
    // I11
    let world = World::new().await;
    let alice = world.token(json!({ "exp": NOW_S + 90 }));
    let bob = world.token(json!({ "sub": "bob", "exp": NOW_S + 90 }));
    let first = world.verify(&alice).await.unwrap();
    assert!(Arc::ptr_eq(&first, &world.verify(&alice).await.unwrap()));
    assert_eq!(world.verify(&bob).await.unwrap().key().subject, "bob");
    // One more character is another token.
    assert!(world.verify(&format!("{alice}A")).await.is_err());
    world.advance(59);
    assert!(Arc::ptr_eq(&first, &world.verify(&alice).await.unwrap()));
    world.advance(1);
    let second = world.verify(&alice).await.unwrap();
    assert!(
        !Arc::ptr_eq(&first, &second),
        "verified anew after a minute"
    );
    world.advance(89); // 149 s: within the skew, so good, but never remembered
    let third = world.verify(&alice).await.unwrap();
    assert!(!Arc::ptr_eq(&third, &world.verify(&alice).await.unwrap()));
    world.advance(1);
    assert_eq!(
        world.verify(&alice).await.unwrap_err().code(),
        "token_expired"
    );
}

#[tokio::test]
async fn a_token_with_other_groups_is_judged_anew() {
    // I11: removal from a group takes effect with the next token, whatever was remembered of the last.
    let world = World::new().await;
    let before = world.verify(&world.token(json!({}))).await.unwrap();
    let after = world
        .verify(&world.token(json!({ "groups": ["dev"] })))
        .await
        .unwrap();
    assert!(before.groups().contains("corp/payments"));
    assert!(!after.groups().contains("corp/payments"));
}

#[tokio::test]
async fn a_clock_that_goes_back_forgets_what_was_remembered() {
    let world = World::new().await;
    let token = world.token(json!({ "nbf": null, "iat": NOW_S - 600 }));
    let first = world.verify(&token).await.unwrap();
    world.clock.set(Timestamp::from_secs(NOW_S - 100));
    assert!(!Arc::ptr_eq(&first, &world.verify(&token).await.unwrap()));
}

#[tokio::test]
async fn revocation_reaches_remembered_tokens_at_once() {
    use super::{Reach, Revocation, RevocationTarget};
    // I13, the part of this room
    let world = World::new().await;
    let token = world.token(json!({}));
    let principal = world.verify(&token).await.unwrap();
    let mut changes = world.revocations.subscribe();
    let targets = [
        RevocationTarget::Principal(principal.key().clone()),
        RevocationTarget::Issuer("corp".into()),
        RevocationTarget::TokenId {
            issuer: "corp".into(),
            id: "t-1".into(),
        },
        RevocationTarget::TokenHash(principal.token().hash),
    ];
    for target in targets {
        changes.mark_unchanged();
        let at = world.clock.now();
        let entry = Revocation {
            target: target.clone(),
            reach: Reach::Lock,
            at,
        };
        world.revocations.apply(&entry).unwrap();
        assert!(changes.has_changed().unwrap());
        assert_eq!(world.verify(&token).await.unwrap_err(), Rejection::Revoked);
        assert!(world.revocations.lift(&target, Reach::Lock));
        world.verify(&token).await.unwrap();
    }
}

// H2
#[tokio::test]
async fn when_nobody_knows_who_is_revoked_nobody_is_let_in() {
    use super::revocation::STALE_AFTER;
    let world = World::new().await;
    let token = world.token(json!({}));
    world.verify(&token).await.unwrap();
    let mut changes = world.revocations.subscribe();
    changes.mark_unchanged();
    world
        .revocations
        .aged(STALE_AFTER - Duration::from_millis(1));
    world.verify(&token).await.unwrap();
    assert!(!changes.has_changed().unwrap());
    world.revocations.aged(STALE_AFTER);
    let refused = world.verify(&token).await.unwrap_err();
    assert_eq!(refused, Rejection::RevocationsUnknown);
    assert_eq!(refused.code(), "state_unavailable");
    assert!(changes.has_changed().unwrap(), "open streams ask again");
    world.revocations.aged(Duration::ZERO);
    world.verify(&token).await.unwrap();
}

#[tokio::test]
async fn reload_keeps_keys_and_forgets_tokens() {
    let world = World::new().await;
    let token = world.token(json!({}));
    let first = world.verify(&token).await.unwrap();
    let settings = config(&world.idp, json!({ "kind": "workload" }));
    let context = context(&world.clock, &world.revocations);
    world.idp.answer("/keys", Answer::Close);
    let reloaded = world.verifier.reload(&settings, &context).unwrap();
    let second = reloaded.verify(&token, Plane::Data).await.unwrap();
    assert_eq!(
        (first.kind().as_str(), second.kind().as_str()),
        ("agent", "workload")
    );
    assert_eq!(world.idp.hits("/keys"), 1);
}
