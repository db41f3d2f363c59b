//! The root key of recorded content, wrapped by a transit service: OpenBao, with rotation, outage and renewal.

use std::fs;

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually};
use super::support::vault::Vault;

const PERMIT: &str = r#"@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;

fn setup(double: &Double) -> Setup {
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
    let more = json!({ "functions": functions });
    Setup::new()
        .policy(PERMIT)
        .connection("fn", double.address, &more)
}

fn wrapped(vault: &Vault) -> Value {
    json!({ "root_key": { "transit": {
        "url": vault.url(), "key": "callgate", "token": "file:vault-token",
    } } })
}

fn called(gateway: &Gateway) -> String {
    let answer = gateway.get("/fn/one", &caller("alice", &["staff"]));
    assert_eq!(answer.status, 200);
    gateway.end_of(&answer);
    answer.header("callgate-call").expect("an id").to_owned()
}

fn replays(gateway: &Gateway, call: &str) {
    let text = gateway.command(&["calls", "replay", call], &[]);
    assert!(
        text.contains("what is shown matches its commitments"),
        "{text}"
    );
}

fn key_file(gateway: &Gateway) -> String {
    let path = gateway.data().join("audit/keys/root.wrapped");
    fs::read_to_string(path).expect("the wrapped key")
}

/// What a start says that is refused.
fn refused(gateway: &Gateway) -> String {
    let (good, text) = gateway.try_command(&["serve"], &[]);
    assert!(!good, "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn the_root_key_is_wrapped_rotated_and_needed_only_at_the_start() {
    let double = Double::start();
    let mut vault = Vault::start();
    let token = vault.token();
    let setup = setup(&double)
        .with("audit", wrapped(&vault))
        .file("vault-token", &token);
    let mut gateway = setup.start();
    let keys = gateway.data().join("audit/keys");
    assert!(!keys.join("root.key").exists(), "no key in the clear");
    assert!(key_file(&gateway).starts_with("vault:v1:"));
    let call = called(&gateway);
    replays(&gateway, &call);
    eventually("a renewed token", || {
        vault.was_renewed(&token).then_some(())
    });

    // A new version of the service's key; then the old one is taken out of use.
    vault.ask("POST", "/v1/transit/keys/callgate/rotate", &json!({}));
    let text = gateway.command(&["audit", "rotate-root"], &[]);
    assert!(text.contains("callgate:v2"), "{text}");
    assert!(key_file(&gateway).starts_with("vault:v2:"));
    let newest = json!({ "min_decryption_version": 2 });
    vault.ask("POST", "/v1/transit/keys/callgate/config", &newest);
    let rotations = gateway.leaves();
    let rotation = rotations.iter().find(|leaf| leaf["kind"] == "key.rotate");
    let rotation = rotation.expect("its record");
    assert_eq!(
        (&rotation["key"], &rotation["id"]),
        (&json!("root"), &json!("callgate:v2"))
    );
    gateway.restart();
    replays(&gateway, &call);

    // Sealed: what runs goes on, what is in the clear can be read, a start is refused until it is back.
    vault.seal();
    called(&gateway);
    let list = gateway.command(&["calls", "list"], &[]);
    assert!(
        list.contains("sealed content stays closed") && list.contains(&call),
        "{list}"
    );
    assert!(gateway.child.terminate().success());
    let said = refused(&gateway);
    assert!(
        said.starts_with("callgate: root key of the audit log: ") && said.contains("sealed"),
        "{said}"
    );
    vault.unseal();
    gateway.spawn();
    gateway.await_ready();
    replays(&gateway, &call);

    vault.stop();
    called(&gateway);
    let (_, doctor) = gateway.try_command(&["doctor"], &[]);
    assert!(doctor.contains("BAD   root key"), "{doctor}");
    gateway.kill();
    let said = refused(&gateway);
    assert!(
        said.contains(&vault.url()) && said.contains("cannot be used"),
        "{said}"
    );
}

#[test]
fn a_root_key_in_the_clear_is_wrapped_later() {
    let double = Double::start();
    let vault = Vault::start();
    let mut gateway = setup(&double).file("vault-token", &vault.token()).start();
    let call = called(&gateway);
    let (good, text) = gateway.try_command(&["audit", "rotate-root"], &[]);
    assert!(!good && text.contains("nothing wraps it"), "{text}");
    let path = gateway
        .data()
        .parent()
        .expect("its folder")
        .join("callgate.yaml");
    let old = fs::read_to_string(&path).expect("the config");
    let mut config: Value = serde_json::from_str(&old).expect("as it was written");
    config["audit"] = wrapped(&vault);
    fs::write(&path, config.to_string()).expect("the config");

    assert!(gateway.child.terminate().success());
    let said = refused(&gateway);
    assert!(
        said.contains("in the clear") && said.contains("audit rotate-root"),
        "{said}"
    );
    gateway.command(&["audit", "rotate-root"], &[]);
    assert!(
        !gateway.data().join("audit/keys/root.key").exists(),
        "the clear one is gone"
    );
    gateway.spawn();
    gateway.await_ready();
    replays(&gateway, &call);
    assert!(gateway.child.terminate().success());

    // And a config that forgets the service again is told so.
    fs::write(&path, old).expect("the config");
    let said = refused(&gateway);
    assert!(said.contains("is wrapped by a transit service"), "{said}");
}
