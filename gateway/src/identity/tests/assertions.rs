//! What functions are told.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{World, config, context, forge};
use crate::clock::Clock;
use crate::identity::assertion::{Signer, Statement};
use crate::identity::{Plane, Verifier};

#[tokio::test]
async fn a_function_can_check_who_calls_with_any_jwt_library() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("assertion.pem");
    let made = Signer::init(&path, "https://gateway.example.com").unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(Signer::init(&path, "x").is_err(), "never replaced");
    let signer = Signer::load(&path, "https://gateway.example.com").unwrap();
    assert_eq!(made.jwks(), signer.jwks());
    let world = World::new().await;
    let act = json!({ "sub": "bot", "act": { "sub": "planner" } });
    let principal = world
        .verify(&world.token(json!({ "act": act })))
        .await
        .unwrap();
    let statement = Statement {
        audience: "https://payments.internal:8443",
        call: "0197a3b2-1111-7000-8000-000000000000",
        function: "payments/createRefund",
        now: world.clock.now(),
    };
    let token = signer.sign(&principal, &statement).unwrap();
    let jwks: serde_json::Value = serde_json::from_str(signer.jwks()).unwrap();
    assert!(forge::other_implementation_accepts(
        &token,
        &jwks["keys"][0]
    ));
    // Our own verifier reads it like any other token.
    world.idp.publish(&[jwks["keys"][0].clone()]);
    let settings = config(
        &world.idp,
        json!({
            "issuer": "https://gateway.example.com", "audience": statement.audience,
            "jwks": format!("{}/keys", world.idp.url()), "groups": "groups",
        }),
    );
    let verifier = Verifier::new(&settings, &context(&world.clock, &world.revocations)).unwrap();
    let read = verifier.verify(&token, Plane::Data).await.unwrap();
    assert_eq!(read.key().subject, "alice");
    assert_eq!(read.claims()["issuer"], "corp");
    assert_eq!(read.claims()["kind"], "agent");
    assert_eq!(read.claims()["callgate_function"], "payments/createRefund");
    assert_eq!(read.actors().len(), 2);
    assert!(read.groups().contains("corp/corp/payments"));
    world.advance(119);
    verifier.verify(&token, Plane::Data).await.unwrap();
    world.advance(1);
    assert!(
        verifier.verify(&token, Plane::Data).await.is_err(),
        "60 s and the skew"
    );
}

#[test]
fn key_files_that_others_read_or_that_hold_no_key_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("assertion.pem");
    Signer::init(&path, "x").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let error = Signer::load(&path, "x").unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    let junk = folder.path().join("junk.pem");
    std::fs::write(&junk, "junk").unwrap();
    std::fs::set_permissions(&junk, PermissionsExt::from_mode(0o600)).unwrap();
    let error = Signer::load(&junk, "x").unwrap_err().to_string();
    assert!(
        error.contains("callgate init") && !error.contains("junk\n"),
        "{error}"
    );
    assert!(Signer::load(&folder.path().join("none.pem"), "x").is_err());
}
