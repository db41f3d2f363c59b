//! OpenBao in its development mode: a real transit service.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::child::Child;
use super::gateway::eventually;
use super::raw::{self, Answer};
use super::{free_address, peers};

/// The token that may do everything.
const ROOT: &str = "root-of-the-tests";
/// What the gateway's token may do, and nothing else.
const POLICY: &str = r#"
path "transit/encrypt/callgate" { capabilities = ["update"] }
path "transit/decrypt/callgate" { capabilities = ["update"] }
path "transit/rewrap/callgate" { capabilities = ["update"] }
"#;

/// A running server with a transit key `callgate`.
#[derive(Debug)]
pub(crate) struct Vault {
    address: SocketAddr,
    child: Child,
    home: tempfile::TempDir,
}

impl Vault {
    /// Start one.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let mut command = Command::new(peers().join(".venv/bin/bao"));
        command
            .env("HOME", home.path())
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address={address}"));
        let vault = Self {
            address,
            child: Child::start(&mut command),
            home,
        };
        eventually("an unsealed server", || vault.unseal_key());
        let done = vault.ask(
            "POST",
            "/v1/sys/mounts/transit",
            &json!({ "type": "transit" }),
        );
        assert_eq!(done.status, 204);
        vault.ask("POST", "/v1/transit/keys/callgate", &json!({}));
        let policy = json!({ "policy": POLICY });
        vault.ask("PUT", "/v1/sys/policies/acl/callgate", &policy);
        vault
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request of its owner.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("X-Vault-Token", ROOT)];
        let answer = raw::request(
            self.address,
            method,
            path,
            &headers,
            body.to_string().as_bytes(),
        );
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
        answer
    }

    /// A token for the gateway, which lives an hour from its last renewal.
    pub(crate) fn token(&self) -> String {
        let body = json!({ "policies": ["callgate"], "period": "1h", "no_parent": true });
        let answer = self.ask("POST", "/v1/auth/token/create", &body).json();
        answer["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Whether a token was renewed since it was made.
    pub(crate) fn was_renewed(&self, token: &str) -> bool {
        let body = json!({ "token": token });
        let answer = self.ask("POST", "/v1/auth/token/lookup", &body).json();
        answer["data"]["last_renewal_time"].is_u64()
    }

    /// It answers, and does nothing for anybody.
    pub(crate) fn seal(&self) {
        self.ask("PUT", "/v1/sys/seal", &json!({}));
    }

    /// It works again.
    pub(crate) fn unseal(&self) {
        let key = self.unseal_key().expect("it was told at the start");
        self.ask("PUT", "/v1/sys/unseal", &json!({ "key": key }));
    }

    /// It is away.
    pub(crate) fn stop(&mut self) {
        self.child.kill();
    }

    fn unseal_key(&self) -> Option<String> {
        let output = self.child.output();
        output.contains("Root Token:").then_some(())?;
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix("Unseal Key: "));
        line.map(|key| key.trim().to_owned())
    }
}
