//! The demo's tokens verify like anybody's, and say that they are a demo's.

use std::net::SocketAddr;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::people::{Audience, Person};
use super::{Error, idp, listen, mint};

fn claims(token: &str, keys: &JwkSet, issuer: &str, audience: &str) -> Value {
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let id = header.kid.unwrap();
    assert!(id.starts_with(idp::KEY_ID_PREFIX), "{id}");
    let key = DecodingKey::from_jwk(keys.find(&id).unwrap()).unwrap();
    let mut wanted = Validation::new(Algorithm::ES256);
    wanted.set_issuer(&[issuer]);
    wanted.set_audience(&[audience]);
    jsonwebtoken::decode::<Value>(token, &key, &wanted)
        .unwrap()
        .claims
}

#[test]
fn tokens_verify_with_the_published_key_and_are_marked() {
    let data = tempfile::tempdir().unwrap();
    let idp = idp::Idp::open(data.path()).unwrap();
    let keys: JwkSet = serde_json::from_value(serde_json::to_value(idp.keys()).unwrap()).unwrap();
    for person in Person::ALL {
        let token = mint(data.path(), person, Audience::Gateway).unwrap();
        let claims = claims(&token, &keys, idp.issuer(), Audience::Gateway.as_str());
        assert_eq!(claims["callgate_demo"], true);
        assert_eq!(claims["auth_time"].is_u64(), person.is_human());
    }
    assert!(idp.issuer().ends_with(idp::ISSUER_PATH));
}

#[test]
fn the_agent_acts_for_alice() {
    let data = tempfile::tempdir().unwrap();
    let idp = idp::Idp::open(data.path()).unwrap();
    let token = mint(data.path(), Person::Agent, Audience::Console).unwrap();
    let claims = claims(
        &token,
        &idp.keys(),
        idp.issuer(),
        Audience::Console.as_str(),
    );
    assert_eq!(
        (&claims["sub"], &claims["act"]["sub"]),
        (&"alice".into(), &"agent".into())
    );
}

#[test]
fn the_key_is_kept_and_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().unwrap();
    let first = idp::Idp::open(data.path()).unwrap().keys();
    assert_eq!(idp::Idp::open(data.path()).unwrap().keys(), first);
    let mode = std::fs::metadata(data.path().join("demo-idp-key.pk8"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_broken_key_file_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("demo-idp-key.pk8"), b"no key").unwrap();
    let error = idp::Idp::open(data.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("cannot be used: delete the file to have a new one made"),
        "{error}"
    );
}

#[tokio::test]
async fn other_addresses_than_loopback_are_refused() {
    let address: SocketAddr = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(listen(address).await, Err(Error::NotLoopback(_))));
}

#[test]
fn a_stranger_is_nobody() {
    let error = "mallory".parse::<Person>().unwrap_err().to_string();
    assert_eq!(
        error,
        "`mallory` is nobody in the demo: use alice, bob, ci or agent"
    );
}
