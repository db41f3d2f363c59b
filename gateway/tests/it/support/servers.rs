//! Peers that nobody here wrote: a certified identity provider, httpbin under gunicorn.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::child::Child;
use super::{free_address, peers, raw, wait_for};

/// npm's `oidc-provider`.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    /// The issuer's URL.
    pub(crate) issuer: String,
    address: SocketAddr,
    control: SocketAddr,
    child: Child,
}

impl OidcProvider {
    /// The audience of its tokens, unless asked otherwise.
    pub(crate) const AUDIENCE: &str = "https://gateway.example.com";

    /// Start one.
    pub(crate) fn start() -> Self {
        let (address, control) = (free_address(), free_address());
        let script = peers().join("oidc-provider.mjs");
        let mut command = Command::new("node");
        command
            .arg(script)
            .arg(address.port().to_string())
            .arg(control.port().to_string());
        let child = Child::start(&mut command);
        wait_for(address);
        wait_for(control);
        Self {
            issuer: format!("http://{address}"),
            address,
            control,
            child,
        }
    }

    /// A token by client credentials: `ci` gets one signed by ES256, `legacy` by RS256.
    pub(crate) fn token(&self, client: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&scope=call&resource={}",
            Self::AUDIENCE.replace(':', "%3A").replace('/', "%2F")
        );
        let basic = basic(client, &format!("{client}-secret-of-the-test-peer"));
        let headers = [
            ("Authorization", &*basic),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let answer = raw::request(self.address, "POST", "/token", &headers, form.as_bytes());
        text(&answer.json()["access_token"])
    }

    /// End it: its issuer is unreachable from now on.
    pub(crate) fn stop(&mut self) {
        self.child.kill();
    }

    /// New keys; the old ones stay published.
    pub(crate) fn rotate(&self) {
        self.ask("/rotate", &Value::Null);
    }

    /// Only the newest keys stay.
    pub(crate) fn drop_old_keys(&self) {
        self.ask("/drop", &Value::Null);
    }

    /// How often the keys were fetched.
    pub(crate) fn fetches(&self) -> u64 {
        self.ask("/fetches", &Value::Null)["fetches"]
            .as_u64()
            .expect("a number")
    }

    /// A token as the provider would never make it: `{alg, claims, header, foreign}`.
    pub(crate) fn mint(&self, wish: &Value) -> String {
        text(&self.ask("/mint", wish)["token"])
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = raw::post(self.control, path, None, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// A `Basic` header's value.
pub(crate) fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    let pair = format!("{user}:{password}");
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

/// httpbin under gunicorn.
#[derive(Debug)]
pub(crate) struct Httpbin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _child: Child,
}

impl Httpbin {
    /// Start one.
    pub(crate) fn start() -> Self {
        let address = free_address();
        let mut command = Command::new(peers().join(".venv/bin/gunicorn"));
        command
            .args(["--workers", "1", "--threads", "16", "--bind"])
            .arg(address.to_string());
        command.args(["--log-level", "warning", "httpbin:app"]);
        let child = Child::start(&mut command);
        wait_for(address);
        Self {
            address,
            _child: child,
        }
    }
}

/// Debian's nginx as a plain reverse proxy: how a widely used one reads the same bytes.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// Start one that strips `prefix` and forwards to `upstream`.
    pub(crate) fn start(prefix: &str, upstream: SocketAddr) -> Self {
        Self::speaking("", prefix, upstream)
    }

    /// The same, for callers that speak HTTP/2 by prior knowledge.
    pub(crate) fn http2(prefix: &str, upstream: SocketAddr) -> Self {
        Self::speaking(" http2", prefix, upstream)
    }

    fn speaking(version: &str, prefix: &str, upstream: SocketAddr) -> Self {
        let (address, folder) = (free_address(), tempfile::tempdir().expect("a folder"));
        let at = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen {address}{version}; server_name h; location {prefix}/ {{ proxy_pass http://{upstream}/;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}"
        );
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).expect("its config");
        let program = if std::path::Path::new("/usr/sbin/nginx").exists() {
            "/usr/sbin/nginx"
        } else {
            "nginx"
        };
        let child = Child::start(
            Command::new(program)
                .arg("-e")
                .arg("stderr")
                .arg("-c")
                .arg(&path),
        );
        wait_for(address);
        Self {
            address,
            _child: child,
            _folder: folder,
        }
    }
}
