//! Keys that come, go and cannot be had.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::forge::Signer;
use super::idp::{Answer, Idp};
use super::{World, config, context, merge};
use crate::clock::Timestamp;
use crate::identity::{Plane, Rejection, Verifier};

fn keys(keys: &[Value], fields: &'static str) -> Answer {
    Answer::Json(json!({ "keys": keys }), fields)
}

impl World {
    /// A token of that key verifies.
    async fn accepts(&self, signer: &Signer) -> bool {
        let token = signer.token(&merge(self.claims(), json!({ "jti": null })));
        self.verify(&token).await.is_ok()
    }
}

#[tokio::test]
async fn a_new_key_is_accepted_within_65_seconds() {
    // I4: rotation with overlap
    let world = World::new().await;
    assert!(world.accepts(&world.signer).await);
    world.advance(1);
    let new = Signer::es256("k2");
    assert!(!world.accepts(&new).await, "not published");
    world.idp.publish(&[world.signer.jwk(), new.jwk()]);
    let mut waited = 0;
    while !world.accepts(&new).await {
        world.advance(1);
        waited += 1;
        assert!(waited <= 65);
    }
    assert!(world.accepts(&world.signer).await);
    assert!(world.idp.hits("/keys") <= 3);
}

#[tokio::test]
async fn a_removed_key_dies_with_its_cache_time() {
    // I4: removed key must die
    for (fields, fresh_s) in [
        ("", 300),
        ("Cache-Control: max-age=120\r\n", 120),
        ("Cache-Control: public, max-age=10\r\n", 60),
        ("Cache-Control: no-store\r\n", 60),
        ("Cache-Control: max-age=86400\r\n", 900),
        ("Cache-Control: max-age=700\r\nAge: 500\r\n", 200),
    ] {
        let world = World::new().await;
        let (old, new) = (world.signer.clone(), Signer::es256("k2"));
        world
            .idp
            .answer("/keys", keys(&[old.jwk(), new.jwk()], fields));
        let remembered =
            world.token(json!({ "exp": world.claims()["exp"].as_u64().unwrap() + 3000 }));
        world.verify(&remembered).await.unwrap();
        world.idp.answer("/keys", keys(&[new.jwk()], fields));
        world.advance(fresh_s - 1);
        assert!(world.accepts(&old).await, "{fields}");
        world.verify(&remembered).await.unwrap(); // remembered now, for a minute
        world.advance(1);
        assert!(!world.accepts(&old).await, "{fields}");
        assert!(
            world.verify(&remembered).await.is_err(),
            "{fields}: forgotten with its key"
        );
        assert!(world.accepts(&new).await);
    }
}

#[tokio::test]
async fn unknown_key_ids_cause_few_fetches() {
    // I4: 50 000 unknown key ids a second cause at most one fetch in 30 s
    let world = World::new().await;
    assert!(world.accepts(&world.signer).await);
    for second in 0..60 {
        for n in 0..5 {
            let signer = Signer::es256(&format!("unknown-{second}-{n}"));
            let rejection = world
                .verify(&signer.token(&world.claims()))
                .await
                .unwrap_err();
            assert_eq!(
                rejection,
                Rejection::UnknownKey {
                    issuer: "corp".into()
                }
            );
        }
        world.advance(1);
    }
    assert!(world.idp.hits("/keys") <= 3, "{}", world.idp.hits("/keys"));
    assert!(world.accepts(&world.signer).await, "known keys go on");
}

#[tokio::test]
async fn hopeless_tokens_cause_no_fetch() {
    let world = World::new().await;
    assert!(world.accepts(&world.signer).await);
    world.advance(100);
    let stranger = Signer::es256("unknown");
    for change in [
        json!({ "exp": 1 }),
        json!({ "aud": "https://other.example" }),
    ] {
        let token = stranger.token(&merge(world.claims(), change));
        assert!(world.verify(&token).await.is_err());
    }
    assert_eq!(world.idp.hits("/keys"), 1);
}

#[tokio::test]
async fn callers_share_one_fetch_and_leaving_does_not_start_another() {
    let world = Arc::new(World::new().await);
    let answer = keys(&[world.signer.jwk()], "");
    world.idp.answer(
        "/keys",
        Answer::Late(Duration::from_millis(300), Box::new(answer)),
    );
    for _ in 0..20 {
        let (world, token) = (Arc::clone(&world), world.token(json!({})));
        let caller = tokio::spawn(async move { world.verify(&token).await.map(|_| ()) });
        tokio::time::sleep(Duration::from_millis(2)).await;
        caller.abort();
    }
    let tokens: Vec<_> = (0..20)
        .map(|n| world.token(json!({ "jti": n.to_string() })))
        .collect();
    let all = tokens.iter().map(|token| world.verify(token));
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(world.idp.hits("/keys"), 1);
}

#[tokio::test]
async fn no_answer_empties_the_keys() {
    // I4: 500, empty set, 10 000 keys, 100 MiB body, redirect, slow loris, junk; RSA-512, point off curve
    let world = World::new().await;
    let (signer, jwk) = (&world.signer, world.signer.jwk());
    assert!(world.accepts(signer).await);
    let raw = |status, body: &[u8]| Answer::Raw(status, String::new(), body.to_vec());
    let many: Vec<Value> = (0..10_000)
        .map(|n| merge(jwk.clone(), json!({ "kid": n.to_string() })))
        .collect();
    let some = many[..101].to_vec();
    let moved = |to: &str| Answer::Raw(302, format!("Location: {to}\r\n"), Vec::new());
    let answers = [
        raw(500, b"{}"),
        raw(404, b""),
        raw(204, b""),
        keys(&[], ""),
        Answer::Json(json!({}), ""),
        Answer::Json(json!({ "keys": {} }), ""),
        raw(200, b"<html>"),
        raw(200, b"{\"keys\":[],\"keys\":[]}"),
        keys(&some, ""),
        keys(&many, ""),
        Answer::Raw(200, "X-Long: y\r\n".to_owned(), vec![b' '; 300 * 1024]),
        Answer::Raw(
            200,
            "Content-Encoding: gzip\r\n".to_owned(),
            vec![0x1f, 0x8b],
        ),
        keys(
            &[
                weak_rsa(),
                off_curve(),
                json!({ "kty": "oct", "k": "AAAA", "kid": "k1" }),
            ],
            "",
        ),
        moved("http://169.254.169.254/latest/meta-data"),
        moved(&format!("{}/elsewhere", world.idp.url())),
        Answer::Close,
    ];
    for (index, answer) in answers.into_iter().enumerate() {
        world.idp.answer("/keys", answer);
        world.advance(100);
        let before = world.idp.hits("/keys");
        if index == 0 {
            world.advance(300);
        }
        assert!(world.accepts(signer).await, "answer {index}");
        settle(&world, before).await;
        assert!(world.accepts(signer).await, "answer {index}, after it came");
        assert!(!world.verifier.status()[0].reachable, "answer {index}");
    }
    assert_eq!(world.idp.hits("/elsewhere"), 0);
    assert!(world.verifier.status()[0].last_error.is_some());
}

/// Wait until a fetch that nobody waits for has been answered.
async fn settle(world: &World, before: usize) {
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        if world.idp.hits("/keys") > before
            || world.idp.hits("/.well-known/openid-configuration") > before
        {
            break;
        }
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
}

fn weak_rsa() -> Value {
    let n = super::forge::b64([0xff; 64]);
    json!({ "kty": "RSA", "alg": "RS256", "n": n, "e": "AQAB", "kid": "weak" })
}

fn off_curve() -> Value {
    let one = super::forge::b64([1; 32]);
    json!({ "kty": "EC", "crv": "P-256", "x": one, "y": one, "kid": "off" })
}

#[tokio::test]
async fn stale_keys_serve_an_outage_of_an_hour_and_no_longer() {
    // R6: identity provider down
    let world = World::new().await;
    assert!(world.accepts(&world.signer).await);
    world.idp.answer("/keys", Answer::Close);
    world
        .idp
        .answer("/.well-known/openid-configuration", Answer::Close);
    for _ in 0..60 {
        world.advance(60);
        assert!(world.accepts(&world.signer).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    world.advance(360);
    let token = world.token(json!({}));
    let rejection = world.verify(&token).await.unwrap_err();
    assert_eq!(rejection.code(), "issuer_unavailable");
    world.idp.discover();
    world.idp.publish(&[world.signer.jwk()]);
    world.advance(40);
    assert!(world.accepts(&world.signer).await, "it heals");
}

#[tokio::test]
async fn a_slow_loris_issuer_is_given_up() {
    // I4
    let world = World::new().await;
    world.idp.answer("/keys", Answer::Drip);
    let begun = std::time::Instant::now();
    let token = world.token(json!({}));
    let rejection = world.verify(&token).await.unwrap_err();
    assert_eq!(rejection.code(), "issuer_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn discovery_must_name_the_issuer_and_a_permitted_place() {
    // X6: key set URLs that data names
    let world = World::new().await;
    let url = world.idp.url().to_owned();
    let document =
        |issuer: &str, uri: &str| Answer::Json(json!({ "issuer": issuer, "jwks_uri": uri }), "");
    let slash = format!("{url}/");
    let other_port = "http://127.0.0.1:9/keys";
    for answer in [
        document(&slash, &format!("{url}/keys")),
        document("https://evil.example", &format!("{url}/keys")),
        document(&url, "http://169.254.169.254/keys"),
        document(&url, "https://169.254.169.254/keys"),
        document(&url, "https://[::ffff:169.254.169.254]/keys"),
        document(&url, "https://127.0.0.1/keys"),
        document(&url, "https://2130706433/keys"),
        document(&url, "file:///etc/passwd"),
        document(&url, other_port),
        document(&url, &format!("{url}/keys#x")),
        Answer::Json(json!({ "issuer": url }), ""),
        Answer::Json(json!({ "issuer": url, "jwks_uri": [1] }), ""),
    ] {
        world
            .idp
            .answer("/.well-known/openid-configuration", answer);
        world.advance(60);
        let rejection = world.verify(&world.token(json!({}))).await.unwrap_err();
        assert_eq!(rejection.code(), "issuer_unavailable");
    }
    assert_eq!(world.idp.hits("/keys"), 0);
}

#[tokio::test]
async fn keys_that_are_unfit_are_left_out() {
    let world = World::new().await;
    let good = world.signer.jwk();
    let mut private = merge(good.clone(), json!({ "kid": "private" }));
    private["d"] = json!("AAAA");
    let rsa = Signer::rsa("rsa", "RS256");
    let unfit = [
        merge(good.clone(), json!({ "kid": "enc", "use": "enc" })),
        merge(good.clone(), json!({ "kid": "ops", "key_ops": ["sign"] })),
        merge(good.clone(), json!({ "kid": "alg", "alg": "ES384" })),
        merge(good.clone(), json!({ "kid": "hs", "alg": "HS256" })),
        merge(good.clone(), json!({ "kid": 5 })),
        merge(rsa.jwk(), json!({ "kid": "e1", "e": "AQ" })),
        merge(rsa.jwk(), json!({ "kid": "e2", "e": "Ag" })),
        private,
        weak_rsa(),
        off_curve(),
        json!({ "kty": "oct", "kid": "k1", "k": "AAAA" }),
        json!("text"),
    ];
    let count = unfit.len();
    world.idp.publish(&[&[good], &unfit[..]].concat());
    assert!(world.accepts(&world.signer).await);
    let status = &world.verifier.status()[0];
    assert_eq!((status.keys, status.keys_ignored), (1, count));
}

#[tokio::test]
async fn an_rsa_key_without_algorithm_is_for_one_only() {
    let rsa = Signer::rsa("k1", "RS256");
    let world = World::signed_by(rsa.clone(), json!({})).await;
    world
        .idp
        .publish(&[merge(rsa.jwk(), json!({ "alg": null }))]);
    assert!(world.accepts(&rsa).await);
    for other in ["PS256", "RS512"] {
        assert!(!world.accepts(&Signer::rsa("k1", other)).await, "{other}");
    }
    let narrowed = World::signed_by(rsa.clone(), json!({ "algorithms": ["PS256"] })).await;
    narrowed
        .idp
        .publish(&[merge(rsa.jwk(), json!({ "alg": null }))]);
    assert!(narrowed.accepts(&Signer::rsa("k1", "PS256")).await);
    assert!(!narrowed.accepts(&rsa).await);
}

#[tokio::test]
async fn one_id_for_two_keys_tries_both_and_a_token_without_id_needs_a_single_key() {
    let world = World::new().await;
    let twin = Signer::es256("k1");
    world.idp.publish(&[twin.jwk(), world.signer.jwk()]);
    assert!(world.accepts(&world.signer).await);
    assert!(world.accepts(&twin).await);
    assert!(!world.accepts(&Signer::es256("k1")).await);
    let nameless = |world: &World| {
        let header = merge(world.signer.header(), json!({ "kid": null }));
        world.signer.token_with(&header, &world.claims())
    };
    assert!(
        world.verify(&nameless(&world)).await.is_err(),
        "two keys fit"
    );
    let single = World::new().await;
    single.verify(&nameless(&single)).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_keep_old_keys() {
    let world = World::new().await;
    assert!(world.accepts(&world.signer).await);
    world.clock.set(Timestamp::from_secs(super::NOW_S - 7200));
    let new = Signer::es256("k2");
    world.idp.publish(&[new.jwk()]);
    assert!(!world.accepts(&world.signer).await);
    assert!(world.accepts(&new).await);
}

#[tokio::test]
async fn the_background_fetches_before_the_first_token() {
    let world = World::new().await;
    world.verifier.start();
    world.verifier.start();
    for _ in 0..200 {
        if world.verifier.status()[0].usable {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.verifier.status()[0].fetches, 1);
    assert!(world.verifier.status()[0].usable);
}

#[tokio::test]
async fn an_explicit_place_of_keys_needs_no_discovery() {
    let world = World::new().await;
    let idp = Idp::start().await;
    idp.publish(&[world.signer.jwk()]);
    let place = json!({ "jwks": format!("{}/keys", idp.url()), "issuer": "corp-tokens" });
    let settings = config(&idp, place);
    let context = context(&world.clock, &world.revocations);
    let verifier = Verifier::new(&settings, &context).unwrap();
    let token = world.token(json!({ "iss": "corp-tokens" }));
    verifier.verify(&token, Plane::Data).await.unwrap();
    assert_eq!(idp.hits("/.well-known/openid-configuration"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_are_never_mixed_up_while_keys_rotate() {
    // I11
    let world = Arc::new(World::new().await);
    let twin = Signer::es256("k2");
    world.idp.publish(&[world.signer.jwk(), twin.jwk()]);
    let callers = (0..8).map(|n| {
        let (world, twin) = (Arc::clone(&world), twin.clone());
        tokio::spawn(async move {
            let subject = format!("caller-{n}");
            let change = json!({ "sub": subject, "exp": super::NOW_S + 86_000, "iat": null });
            let claims = merge(world.claims(), change);
            for round in 0..200 {
                let signer = if round % 2 == 0 { &world.signer } else { &twin };
                let principal = world.verify(&signer.token(&claims)).await.unwrap();
                assert_eq!(principal.key().subject, subject);
                if n == 0 && round % 20 == 19 {
                    let key = Signer::es256(&round.to_string()).jwk();
                    world.idp.publish(&[world.signer.jwk(), twin.jwk(), key]);
                    world.advance(301);
                }
            }
        })
    });
    for caller in futures_util::future::join_all(callers).await {
        caller.unwrap();
    }
    assert!(world.idp.hits("/keys") >= 5);
}
