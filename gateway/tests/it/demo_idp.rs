//! The demo's identity provider is a real one for a client that nobody here wrote.

use std::process::Command;
use std::thread;

use callgate::demo::{Audience, Person, idp};

use super::support::child::run;
use super::support::{free_address, peers, wait_for};

#[test]
fn a_certified_client_discovers_it_and_verifies_its_tokens() {
    let data = tempfile::tempdir().expect("a data folder");
    let (address, folder) = (free_address(), data.path().to_path_buf());
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime
            .block_on(idp::serve(address, &folder))
            .expect("the identity provider serves");
    });
    wait_for(address);
    let issuer = format!("http://{address}{}", idp::ISSUER_PATH);
    let secret = Person::Ci.client_secret().expect("a workload has a secret");
    let script = peers().join("openid-client.mjs");
    let audience = Audience::Gateway.as_str();
    let said = run(
        "node",
        [
            script.to_str().expect("a path"),
            &issuer,
            "ci",
            secret,
            audience,
        ],
    );
    let said: serde_json::Value = serde_json::from_str(&said).expect("its JSON");
    assert_eq!(said["issuer"], issuer.as_str());
    assert_eq!(said["type"], "bearer");
    assert_eq!(said["claims"]["sub"], "ci");
    assert_eq!(said["claims"]["callgate_demo"], true);
    let wrong = Command::new("node")
        .args([
            script.to_str().expect("a path"),
            &issuer,
            "ci",
            "guessed",
            audience,
        ])
        .output()
        .expect("node starts");
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert!(!wrong.status.success() && error.contains("401"), "{error}");
}
