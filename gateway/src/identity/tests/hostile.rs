//! Tokens that must be refused, each for its own reason.
#![expect(clippy::too_many_lines, reason = "tables of forgeries")]

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::forge::{Signer, b64};
use super::{World, merge};

struct Case(&'static str, String, &'static str);

/// A forgery of each kind; the third part is what the operator must read.
fn corpus(world: &World) -> Vec<Case> {
    let mut cases = forgeries_of_header(world);
    cases.extend(forgeries_of_form(world));
    cases.extend(forgeries_of_json(world));
    cases.extend(forgeries_of_signature(world));
    cases
}

// I1
fn forgeries_of_header(world: &World) -> Vec<Case> {
    let signer = &world.signer;
    let attacker = Signer::es256("attacker");
    let with = |signer: &Signer, change: Value| {
        signer.token_with(&merge(world.signer.header(), change), &world.claims())
    };
    let good = |change| with(signer, change);
    let algorithm = "algorithm is missing or not accepted";
    let other = "algorithm is not the one of its key";
    let signature = "signature does not verify";
    let refused = "`crit`, `b64`, `enc` or `zip`";
    let mut cases = Vec::new();
    for name in [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "es256", "ES256K",
    ] {
        cases.push(Case(
            "algorithm by name",
            good(json!({ "alg": name })),
            algorithm,
        ));
    }
    for name in [
        "ES512",
        "RS1",
        "RSA-OAEP",
        "ES256 ",
        "ES256\u{0}",
        "Ed25519",
    ] {
        cases.push(Case(
            "algorithm by name",
            good(json!({ "alg": name })),
            algorithm,
        ));
    }
    cases.push(Case(
        "no algorithm",
        good(json!({ "alg": null })),
        algorithm,
    ));
    cases.push(Case(
        "algorithm is no text",
        good(json!({ "alg": ["ES256"] })),
        "must be a string",
    ));
    for name in ["RS256", "PS256", "ES384", "EdDSA", "RS512"] {
        cases.push(Case(
            "algorithm swapped",
            good(json!({ "alg": name })),
            other,
        ));
    }
    cases.extend([
        Case(
            "jwk",
            with(&attacker, json!({ "jwk": attacker.jwk() })),
            signature,
        ),
        Case(
            "jwk, own id",
            with(
                &attacker,
                json!({ "jwk": attacker.jwk(), "kid": "attacker" }),
            ),
            "no key with the token's key id",
        ),
        Case(
            "jku",
            with(
                &attacker,
                json!({ "jku": format!("{}/evil", world.idp.url()) }),
            ),
            signature,
        ),
        Case(
            "x5u",
            with(
                &attacker,
                json!({ "x5u": format!("{}/evil", world.idp.url()) }),
            ),
            signature,
        ),
        Case(
            "x5c",
            with(&attacker, json!({ "x5c": ["MIIB"] })),
            signature,
        ),
        Case(
            "key id is a place",
            with(&attacker, json!({ "kid": "../../../../dev/null" })),
            "no key",
        ),
        Case(
            "key id is SQL",
            with(&attacker, json!({ "kid": "' UNION SELECT 'x" })),
            "no key",
        ),
        Case(
            "key id too long",
            good(json!({ "kid": "k".repeat(257) })),
            "key id is empty or longer",
        ),
        Case(
            "key id empty",
            good(json!({ "kid": "" })),
            "key id is empty or longer",
        ),
        Case(
            "key id is no text",
            good(json!({ "kid": 1 })),
            "must be a string",
        ),
        Case("crit", good(json!({ "crit": ["exp"] })), refused),
        Case("crit, empty", good(json!({ "crit": [] })), refused),
        Case(
            "b64 false",
            good(json!({ "b64": false, "crit": ["b64"] })),
            refused,
        ),
        Case("b64 alone", good(json!({ "b64": true })), refused),
        Case("enc", good(json!({ "enc": "A256GCM" })), refused),
        Case("zip", good(json!({ "zip": "DEF" })), refused),
    ]);
    cases
}

// I1
fn forgeries_of_form(world: &World) -> Vec<Case> {
    let token = world.token(json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else {
        unreachable!()
    };
    let three = "three parts";
    let canonical = "canonical base64url";
    let general = json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] });
    let flat = json!({ "payload": payload, "protected": header, "signature": signature });
    vec![
        Case(
            "not signed",
            format!("{header}.{payload}."),
            "it is not signed",
        ),
        Case("two parts", format!("{header}.{payload}"), three),
        Case("trailing dot", format!("{token}."), three),
        Case("leading dot", format!(".{token}"), three),
        Case(
            "five parts (JWE)",
            format!("{token}.{payload}.{signature}"),
            three,
        ),
        Case("JSON, general", general.to_string(), "JSON serialisation"),
        Case("JSON, flattened", flat.to_string(), "JSON serialisation"),
        Case(
            "padding",
            format!("{header}=.{payload}.{signature}"),
            canonical,
        ),
        Case("padded signature", format!("{token}=="), canonical),
        Case("loose trailing bits", loosen(&token), canonical),
        Case(
            "standard alphabet",
            format!("{header}.{payload}.{}+/", &signature[2..]),
            canonical,
        ),
        Case("space before", format!(" {token}"), canonical),
        Case("space after", format!("{token} "), canonical),
        Case("line end", format!("{token}\n"), canonical),
        Case(
            "line end inside",
            format!("{header}.{}\n{}.{signature}", &payload[..8], &payload[8..]),
            canonical,
        ),
        Case("NUL", format!("{token}\u{0}"), canonical),
        Case("not ASCII", format!("{token}é"), canonical),
        Case("Bearer twice", format!("Bearer {token}"), canonical),
        Case("list of tokens", format!("{token},{token}"), three),
        Case(
            "too long",
            format!("{token}{}", "A".repeat(8192)),
            "longer than 8 KiB",
        ),
        Case("only dots", "..".to_owned(), "it is not signed"),
    ]
}

/// The same bytes spelled with trailing bits that a lenient decoder drops: ES256 signatures are 64
/// bytes, so the last character carries two bits of data and four that must be zero.
fn loosen(token: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = alphabet
        .iter()
        .position(|c| *c == last.as_bytes()[0])
        .unwrap();
    format!("{rest}{}", char::from(alphabet[value | 1]))
}

fn forgeries_of_json(world: &World) -> Vec<Case> {
    let signer = &world.signer;
    let header = signer.header().to_string();
    let claims = world.claims().to_string();
    let inner = claims
        .trim_start_matches('{')
        .trim_end_matches('}')
        .to_owned();
    let payload = "payload is not a strict JSON object";
    let head = "header is not a strict JSON object";
    let of = |header: &str, claims: &str| signer.token_of(header, claims);
    let plain = |claims: &str| of(&header, claims);
    let key_id = r#"{"alg":"ES256","kid":"k1""#;
    vec![
        Case(
            "subject twice",
            plain(&format!(r#"{{"sub":"root",{inner}}}"#)),
            payload,
        ),
        Case(
            "subject twice, escaped",
            plain(&format!(r#"{{"\u0073ub":"root",{inner}}}"#)),
            payload,
        ),
        Case(
            "member twice, deep",
            plain(&format!(r#"{{"a":{{"b":1,"b":2}},{inner}}}"#)),
            payload,
        ),
        Case(
            "algorithm twice",
            of(&format!(r#"{key_id},"alg":"none"}}"#), &claims),
            head,
        ),
        Case("trailing data", plain(&format!("{claims}{{}}")), payload),
        Case(
            "byte order mark",
            plain(&format!("\u{feff}{claims}")),
            payload,
        ),
        Case("comment", plain(&format!("/* */{claims}")), payload),
        Case("NaN", plain(&format!(r#"{{"n":NaN,{inner}}}"#)), payload),
        Case(
            "number too large",
            plain(&format!(r#"{{"n":1e999,{inner}}}"#)),
            payload,
        ),
        Case(
            "lone surrogate",
            plain(&format!(r#"{{"n":"\ud800",{inner}}}"#)),
            payload,
        ),
        Case(
            "NUL in a name",
            plain(&format!(r#"{{"su\u0000b":"x",{inner}}}"#)),
            payload,
        ),
        Case("not UTF-8", not_utf8(signer), payload),
        Case(
            "deep",
            plain(&format!(
                r#"{{"n":{}{},{inner}}}"#,
                "[".repeat(40),
                "]".repeat(40)
            )),
            payload,
        ),
        Case(
            "many values",
            plain(&format!(r#"{{"n":[{}0],{inner}}}"#, "0,".repeat(2100))),
            payload,
        ),
        Case(
            "payload is an array",
            plain(&format!("[{claims}]")),
            payload,
        ),
        Case("payload is a text", plain("\"alice\""), payload),
        Case("payload is empty", plain(""), payload),
        Case("header is an array", of("[]", &claims), head),
        Case("header is empty", of("", &claims), head),
        Case(
            "nested token",
            plain(&signer.token(&world.claims())),
            payload,
        ),
        Case(
            "no issuer",
            world.token(json!({ "iss": null })),
            "issuer is missing",
        ),
        Case(
            "issuer is a list",
            world.token(json!({ "iss": [world.idp.url()] })),
            "issuer is missing",
        ),
        Case(
            "issuer with a slash",
            world.token(json!({ "iss": format!("{}/", world.idp.url()) })),
            "not configured",
        ),
        Case(
            "issuer in capitals",
            world.token(json!({ "iss": world.idp.url().to_uppercase() })),
            "not configured",
        ),
        Case(
            "issuer is the alias",
            world.token(json!({ "iss": "corp" })),
            "not configured",
        ),
        Case(
            "another issuer",
            world.token(json!({ "iss": "https://evil.example" })),
            "not configured",
        ),
    ]
}

fn not_utf8(signer: &Signer) -> String {
    let signed = format!(
        "{}.{}",
        b64(signer.header().to_string()),
        b64(b"{\"sub\":\"\xff\"}")
    );
    format!("{signed}.{}", b64(signer.sign(signed.as_bytes())))
}

// I1
fn forgeries_of_signature(world: &World) -> Vec<Case> {
    let token = world.token(json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let bad = "signature does not verify";
    let forged = |bytes: &[u8]| format!("{signed}.{}", b64(bytes));
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32)
        .map(|n| u8::from_str_radix(&order[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let mut cases = vec![
        Case("psychic zeros", forged(&[0; 64]), bad),
        Case(
            "order as r and s",
            forged(&[order.clone(), order.clone()].concat()),
            bad,
        ),
        Case("zero r", forged(&[vec![0; 32], order].concat()), bad),
        Case(
            "DER signature",
            forged(&[0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01]),
            bad,
        ),
        Case("short signature", forged(&[1; 63]), bad),
        Case("long signature", forged(&[1; 65]), bad),
        Case("one byte", forged(&[1]), bad),
    ];
    let hmac_key = |key: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, key);
    for (name, key) in [
        ("public point", world.signer.public_bytes()),
        ("JWK", world.signer.jwk().to_string().into_bytes()),
    ] {
        let header = merge(world.signer.header(), json!({ "alg": "HS256" }));
        let signed = format!(
            "{}.{}",
            b64(header.to_string()),
            b64(world.claims().to_string())
        );
        let tag = hmac::sign(&hmac_key(&key), signed.as_bytes());
        let token = format!("{signed}.{}", b64(tag));
        cases.push(Case(name, token, "algorithm is missing or not accepted"));
    }
    let other = world.token(json!({ "sub": "root" }));
    let payload = other.split('.').nth(1).unwrap();
    let header = signed.split('.').next().unwrap();
    cases.push(Case(
        "another payload",
        format!("{header}.{payload}.{signature}"),
        bad,
    ));
    let stranger = Signer::es256("k1").token(&world.claims());
    cases.push(Case("another key, same id", stranger, bad));
    cases
}

#[tokio::test]
async fn every_hostile_token_is_refused_with_its_reason() {
    let world = World::new().await;
    world.verify(&world.token(json!({}))).await.unwrap();
    let corpus = corpus(&world);
    assert!(corpus.len() >= 60, "{}", corpus.len());
    for Case(name, token, reason) in corpus {
        match world.verify(&token).await {
            Ok(principal) => panic!("{name}: accepted as {}", principal.key()),
            Err(rejection) => {
                let text = rejection.to_string();
                assert!(
                    text.contains(reason),
                    "{name}: `{text}` does not say `{reason}`"
                );
                assert_eq!(rejection.code(), "token_rejected", "{name}");
                assert!(!rejection.public().contains("corp"), "{name}");
            }
        }
    }
    // No address that a token named was fetched, and all of them together caused few fetches.
    let mut paths = world.idp.paths();
    paths.sort();
    assert_eq!(paths, ["/.well-known/openid-configuration", "/keys"]);
    assert!(world.idp.hits("/keys") <= 2);
}

#[tokio::test]
async fn no_refusal_repeats_the_token() {
    let world = World::new().await;
    for Case(name, token, _) in corpus(&world) {
        let rejection = world.verify(&token).await.unwrap_err();
        let shown = format!("{rejection} {rejection:?} {}", rejection.public());
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!shown.contains(part), "{name}");
        }
        assert!(!shown.contains("alice"), "{name}");
    }
}

#[tokio::test]
async fn keys_of_one_issuer_do_not_vouch_for_another() {
    // I4: the same key id at two issuers
    let (corp, other) = (World::new().await, World::new().await);
    let stolen = other.signer.token(&corp.claims());
    let rejection = corp.verify(&stolen).await.unwrap_err();
    assert!(rejection.to_string().contains("signature does not verify"));
}

#[tokio::test]
async fn any_changed_character_is_refused() {
    let world = World::new().await;
    let token = world.token(json!({}));
    world.verify(&token).await.unwrap();
    for (place, old) in token.char_indices() {
        let new = if old == 'A' { 'B' } else { 'A' };
        let changed = format!("{}{new}{}", &token[..place], &token[place + 1..]);
        assert!(world.verify(&changed).await.is_err(), "at {place}");
    }
}
