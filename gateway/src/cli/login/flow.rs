//! The two ways to a token: the code flow with PKCE and a browser on this machine (RFC 8252), and the device
//! flow with a browser anywhere (RFC 8628).

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_lc_rs::digest;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Client, remark};
use crate::approval::terminal_safe;
use crate::egress::{Egress, Limits, Policy, Target};
use crate::listener::{Config, Conn, DrainHandle, Listener};

/// How long somebody has to sign in.
const SIGN_IN_MAX: Duration = Duration::from_secs(600);
/// Pause between two questions whether somebody signed in elsewhere, where the issuer names none.
const INTERVAL: Duration = Duration::from_secs(5);
/// Shortest such pause, whatever the issuer names.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How much longer after `slow_down` (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// How long a token counts whose issuer does not say.
const UNSAID: Duration = Duration::from_secs(300);
/// Limits of one answer of the issuer.
const LIMITS: Limits = Limits {
    bytes_max: 256 * 1024,
    total: Duration::from_secs(15),
};

/// A token, and how long it is good.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) lives_for: Duration,
}

/// An issuer's endpoints.
#[derive(Debug)]
pub(super) struct Issuer {
    issuer: String,
    egress: Egress,
    authorization: Option<String>,
    token: Target,
    device: Option<Target>,
    names_itself: bool,
}

/// What comes back by the browser.
#[derive(Deserialize)]
struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// Read an issuer's discovery document.
pub(super) async fn discover(issuer: &str) -> anyhow::Result<Issuer> {
    let place = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let document = Target::from_config(&place)?;
    let egress = Egress::new(&Policy::default())?;
    let answer = egress.get(&document, LIMITS).await;
    let answer = answer.with_context(|| format!("the issuer does not answer at {place}"))?;
    if !answer.status.is_success() {
        bail!("{place}: {}", answer.status);
    }
    let found: Value = serde_json::from_slice(&answer.body)
        .with_context(|| format!("{place}: no discovery document"))?;
    let text = |name: &str| found.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        bail!("{place}: the document is of another issuer than `{issuer}`");
    }
    let endpoint = |name: &str| {
        text(name)
            .map(|url| Target::from_data(url, &document))
            .transpose()
    };
    Ok(Issuer {
        issuer: issuer.to_owned(),
        authorization: endpoint("authorization_endpoint")?.map(|target| target.url()),
        token: endpoint("token_endpoint")?
            .with_context(|| format!("{place}: no `token_endpoint`"))?,
        device: endpoint("device_authorization_endpoint")?,
        names_itself: found.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        egress,
    })
}

impl Issuer {
    /// By a browser on this machine.
    pub(super) async fn browser(&self, client: &Client, open: bool) -> anyhow::Result<Token> {
        let endpoint = self.authorization.as_ref();
        let endpoint =
            endpoint.context("the issuer names no `authorization_endpoint`: try `--device`")?;
        let (state, verifier) = (random()?, random()?);
        let challenge = digest::digest(&digest::SHA256, verifier.as_bytes());
        let challenge = URL_SAFE_NO_PAD.encode(challenge.as_ref());
        let (redirect, mut answers, _drain) = listen(state.clone()).await?;
        let mut query = client.asks();
        query.extend([
            ("response_type", "code".to_owned()),
            ("redirect_uri", redirect.clone()),
            ("state", state),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ]);
        let separator = if endpoint.contains('?') { '&' } else { '?' };
        let page = format!("{endpoint}{separator}{}", form(&query));
        remark(&format!("sign in there: {page}"));
        if open {
            show(&page);
        }
        let answer = tokio::time::timeout(SIGN_IN_MAX, answers.recv()).await;
        let answer = answer
            .ok()
            .flatten()
            .context("nobody signed in within ten minutes")?;
        let code = self.code(answer)?;
        let asked = self
            .ask(
                &self.token,
                &[
                    ("grant_type", "authorization_code".to_owned()),
                    ("client_id", client.id.clone()),
                    ("code", code),
                    ("redirect_uri", redirect),
                    ("code_verifier", verifier),
                ],
            )
            .await?;
        match asked {
            (true, answer) => token(&answer),
            (false, answer) => bail!("the issuer did not take the code: {}", said(&answer)),
        }
    }

    fn code(&self, answer: Answer) -> anyhow::Result<String> {
        // RFC 9207: an answer of another issuer carries another name, or none.
        let named = answer.iss.as_deref();
        if named.is_some_and(|iss| iss != self.issuer) || (named.is_none() && self.names_itself) {
            bail!("the answer does not come from `{}`", self.issuer);
        }
        if let Some(error) = answer.error {
            let why = answer.error_description.unwrap_or_default();
            bail!(
                "the issuer says: {} {}",
                terminal_safe(&error),
                terminal_safe(&why)
            );
        }
        answer.code.context("the issuer's answer has no code")
    }

    /// By a browser anywhere.
    pub(super) async fn device(&self, client: &Client) -> anyhow::Result<Token> {
        let endpoint = self.device.as_ref();
        let endpoint =
            endpoint.context("the issuer has no device flow: log in without `--device`")?;
        let (good, told) = self.ask(endpoint, &client.asks()).await?;
        if !good {
            bail!("the issuer begins no device flow: {}", said(&told));
        }
        let text = |name: &str| told.get(name).and_then(Value::as_str);
        let missing = "the issuer's answer lacks what the device flow needs";
        let device_code = text("device_code").context(missing)?.to_owned();
        let (page, code) = (
            text("verification_uri").context(missing)?,
            text("user_code").context(missing)?,
        );
        remark(&format!(
            "sign in there: {}",
            terminal_safe(text("verification_uri_complete").unwrap_or(page))
        ));
        remark(&format!(
            "and compare, or enter, this code: {}",
            terminal_safe(code)
        ));
        let (mut pause, in_all) = pace(&told);
        let ends = Instant::now() + in_all;
        let question = [
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:device_code".to_owned(),
            ),
            ("client_id", client.id.clone()),
            ("device_code", device_code),
        ];
        loop {
            if Instant::now() + pause > ends {
                bail!("nobody signed in in time");
            }
            tokio::time::sleep(pause).await;
            let (good, answer) = self.ask(&self.token, &question).await?;
            if good {
                return token(&answer);
            }
            match answer.get("error").and_then(Value::as_str) {
                Some("authorization_pending") => {}
                Some("slow_down") => pause += SLOWER,
                Some(_) | None => bail!("the issuer says: {}", said(&answer)),
            }
        }
    }

    /// Post a form; whether it was granted, and the answer.
    async fn ask(
        &self,
        target: &Target,
        fields: &[(&str, String)],
    ) -> anyhow::Result<(bool, Value)> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let body = Bytes::from(form(fields));
        let answer = self.egress.post(target, &headers, body, LIMITS).await?;
        let told = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok((answer.status.is_success(), told))
    }
}

impl Client {
    /// What both flows begin with.
    fn asks(&self) -> Vec<(&'static str, String)> {
        let mut asks = vec![
            ("client_id", self.id.clone()),
            ("scope", self.scope.clone()),
        ];
        asks.extend(self.resource.clone().map(|resource| ("resource", resource)));
        asks
    }
}

/// Listen on loopback for the browser: the redirect URI, what comes, and what keeps it going.
async fn listen(state: String) -> anyhow::Result<(String, mpsc::Receiver<Answer>, DrainHandle)> {
    let config = Config {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        danger_plaintext: false,
        hosts: Vec::new(),
    };
    let listener = Listener::bind(&config, Path::new(".")).await?;
    let redirect = format!("http://{}/callback", listener.local());
    let (send, receive) = mpsc::channel(1);
    let router = Router::new()
        .route("/callback", get(callback))
        .with_state(Arc::new((state, send)));
    let drain = DrainHandle::new();
    let watch = drain
        .watch()
        .context("the listener ended before it began")?;
    let serve = move |conn: Conn| {
        let service = TowerToHyperService::new(router.clone());
        async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            // Whoever breaks off comes again.
            let _ = builder
                .keep_alive(false)
                .serve_connection(TokioIo::new(conn.io), service)
                .await;
        }
    };
    tokio::spawn(listener.run(watch, serve));
    Ok((redirect, receive, drain))
}

async fn callback(
    State(waiting): State<Arc<(String, mpsc::Sender<Answer>)>>,
    Query(answer): Query<Answer>,
) -> Response {
    let (state, send) = waiting.as_ref();
    // Anything on this machine can call here: without our state it is not the answer.
    if answer.state.as_ref() != Some(state) {
        return (
            StatusCode::BAD_REQUEST,
            "this is not the login that waits here\n",
        )
            .into_response();
    }
    // The second of two answers changes nothing.
    let _ = send.try_send(answer);
    "You may close this window: the command line goes on.\n".into_response()
}

/// Open a browser, if there is one; the address is printed as well.
fn show(page: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let mut command = Command::new(program);
    command
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if command.spawn().is_err() {
        remark("(no browser could be opened)");
    }
}

fn token(answer: &Value) -> anyhow::Result<Token> {
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        bail!("the issuer's token is no bearer token");
    }
    let lives_for = answer.get("expires_in").and_then(Value::as_u64);
    Ok(Token {
        text: text("access_token")
            .context("the issuer's answer has no access token")?
            .to_owned(),
        lives_for: lives_for.map_or(UNSAID, Duration::from_secs),
    })
}

/// How long to wait between two questions of the device flow, and in all: the issuer's word within our limits.
fn pace(told: &Value) -> (Duration, Duration) {
    let seconds = |name: &str| {
        let said = told.get(name).and_then(Value::as_u64);
        said.map(Duration::from_secs)
    };
    let pause = seconds("interval").unwrap_or(INTERVAL);
    let in_all = seconds("expires_in").unwrap_or(SIGN_IN_MAX);
    (
        pause.clamp(INTERVAL_MIN, SIGN_IN_MAX),
        in_all.min(SIGN_IN_MAX),
    )
}

/// An error of OAuth's, for a terminal.
fn said(answer: &Value) -> String {
    let text = |name: &str| terminal_safe(answer.get(name).and_then(Value::as_str).unwrap_or(""));
    format!("{} {}", text("error"), text("error_description"))
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// `application/x-www-form-urlencoded`, everything but letters, digits and `-._~` escaped.
fn form(fields: &[(&str, String)]) -> String {
    let escaped = |text: &str| {
        let each = text.bytes().map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        });
        each.collect::<String>()
    };
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_neither_hurries_the_questions_nor_makes_them_last() {
        let seconds = Duration::from_secs;
        let said = |interval: Value, expires_in: Value| {
            pace(&json!({ "interval": interval, "expires_in": expires_in }))
        };
        assert_eq!(said(json!(7), json!(120)), (seconds(7), seconds(120)));
        assert_eq!(said(json!(0), json!(0)), (seconds(1), seconds(0)));
        assert_eq!(
            said(json!(u64::MAX), json!(u64::MAX)),
            (seconds(600), seconds(600))
        );
        assert_eq!(said(json!(-1), json!("60")), (seconds(5), seconds(600)));
    }
}
