//! Signing in at the issuer that the config names: OpenID Connect, code flow, PKCE with S256.
//!
//! Refuses an answer without its own browser's cookie, a state twice, an answer of another issuer
//! (RFC 9207), a token that is not for this login, and every place to go on at that is not ours.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Parts;
use super::api::Problem;
use super::cookie::{self, Cookie};
use super::discovery::Discovery;
use super::pending::{LOGIN_MAX, Pending};
use super::plain::{self, Html};
use super::session::{self, Deed, NoRandomness};
use crate::egress::{self, Limits};
use crate::identity::{Endpoints, Kind, Login as Expected, Principal, Rejection};
use crate::secret::{Secret, SecretRef};

/// How long ago a person may have proved themselves when they are asked to do it anew.
const FRESH: Duration = Duration::from_secs(600);
/// Limits of the exchange of a code.
const EXCHANGE: Limits = Limits {
    bytes_max: 64 * 1024,
    total: Duration::from_secs(10),
};
/// Most authentication context classes that one sign-in is asked for.
const CLASSES_MAX: usize = 16;
/// Longest place to go on at, in bytes.
const NEXT_BYTES_MAX: usize = 1024;
/// Longest code, state and the like, in bytes.
const PARAMETER_BYTES_MAX: usize = 4096;

/// Signing in at the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// Alias of the issuer under `identity.issuers` where people sign in.
    pub issuer: String,
    /// The console's client id there. Its redirect URI is the console's `url` and `/login/callback`.
    pub client_id: String,
    /// The client's secret. Default: none, a public client that PKCE alone protects.
    #[serde(default)]
    pub client_secret: Option<SecretRef>,
    /// Scopes beside `openid`, as the issuer needs them to put groups into ID tokens. Default: `profile`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
}

fn scopes() -> Vec<String> {
    vec!["profile".to_owned()]
}

/// The console as a client of its issuer.
#[derive(Debug)]
pub struct Client {
    config: LoginConfig,
    secret: Option<Secret<Vec<u8>>>,
    discovery: Discovery,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("this login was begun elsewhere, or too long ago, or has ended already")]
    NotThisLogin,
    #[error("the answer does not come from the issuer that was asked")]
    OtherIssuer,
    #[error("the issuer says: {0}")]
    Issuer(String),
    #[error("the issuer cannot be reached now; the gateway's log says why")]
    Unavailable,
    #[error("the issuer did not accept the code")]
    Code,
    #[error("the issuer's answer has no ID token")]
    NoToken,
    #[error("{}", .0.public())]
    Token(Rejection),
    #[error(
        "the issuer does not say that this account is a person's; the operator sets that by `kind`"
    )]
    NotAPerson,
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

impl Client {
    /// With its secret, fetched at the start.
    pub fn new(config: LoginConfig, secret: Option<Secret<Vec<u8>>>) -> Self {
        Self {
            config,
            secret,
            discovery: Discovery::default(),
        }
    }

    async fn endpoints(&self, parts: &Parts) -> Result<Endpoints, Refusal> {
        let alias = self.config.issuer.clone();
        let provider = parts.pipeline.snapshot().identity.provider(&alias);
        let ask = || async move {
            let found = match provider {
                Some(provider) => provider.discover().await.map_err(|error| error.to_string()),
                None => Err("the login's issuer is not configured any more".to_owned()),
            };
            if let Err(error) = &found {
                tracing::error!(
                    error,
                    identity.issuer = alias,
                    "the login's issuer cannot be used"
                );
            }
            found
        };
        let clock = &parts.pipeline.parts().clock;
        let found = self.discovery.get(clock, ask).await;
        found.map_err(|_| Refusal::Unavailable)
    }

    /// Exchange a code for what it proves.
    async fn exchange(
        &self,
        parts: &Parts,
        code: &str,
        pending: &Pending,
    ) -> Result<Arc<Principal>, Refusal> {
        let endpoints = self.endpoints(parts).await?;
        let snapshot = parts.pipeline.snapshot();
        let alias = &self.config.issuer;
        let provider = snapshot
            .identity
            .provider(alias)
            .ok_or(Refusal::Unavailable)?;
        let (headers, body) = self.request(&endpoints, parts, code, pending);
        let answer = provider
            .egress
            .post(&endpoints.token, &headers, body, EXCHANGE)
            .await;
        let answer = answer.map_err(|error| unavailable(&error))?;
        if !answer.status.is_success() {
            tracing::warn!(
                status = answer.status.as_u16(),
                "the issuer refused a login's code"
            );
            return Err(Refusal::Code);
        }
        let tokens: Value = serde_json::from_slice(&answer.body).map_err(|_| Refusal::NoToken)?;
        let token = tokens
            .get("id_token")
            .and_then(Value::as_str)
            .ok_or(Refusal::NoToken)?;
        let expected = Expected {
            client: &self.config.client_id,
            nonce: &pending.nonce,
            fresh: pending.fresh.then_some(FRESH),
        };
        let who = snapshot
            .identity
            .verify_login(token, alias, &expected)
            .await;
        let who = who.map_err(|rejection| {
            tracing::warn!(%rejection, "a login's ID token was refused");
            Refusal::Token(rejection)
        })?;
        match who.kind() {
            Kind::Human => Ok(who),
            Kind::Workload | Kind::Agent => Err(Refusal::NotAPerson),
        }
    }

    fn request(
        &self,
        endpoints: &Endpoints,
        parts: &Parts,
        code: &str,
        pending: &Pending,
    ) -> (HeaderMap, Bytes) {
        let callback = callback(parts);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", pending.verifier.as_str()),
        ];
        let mut headers = HeaderMap::new();
        let id = self.config.client_id.as_str();
        let secret = self
            .secret
            .as_ref()
            .map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
        match &secret {
            Some(secret) if !endpoints.secret_in_form => {
                // Both are form-encoded inside the header (RFC 6749 section 2.3.1).
                let pair =
                    STANDARD.encode(format!("{}:{}", plain::query(id), plain::query(secret)));
                if let Ok(value) = HeaderValue::try_from(format!("Basic {pair}")) {
                    headers.insert(header::AUTHORIZATION, value);
                }
            }
            Some(secret) => form.extend([("client_id", id), ("client_secret", secret.as_str())]),
            None => form.push(("client_id", id)),
        }
        let media = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, media);
        (headers, plain::form(&form).into())
    }
}

fn unavailable(error: &egress::Error) -> Refusal {
    tracing::error!(%error, "the login's issuer cannot be reached");
    Refusal::Unavailable
}

/// The redirect URI, exactly.
fn callback(parts: &Parts) -> String {
    format!("{}/login/callback", parts.site.url)
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/login", get(begin))
        .route("/login/callback", get(end))
        .route("/logout", post(logout))
}

#[derive(Debug, Deserialize)]
struct BeginQuery {
    #[serde(default)]
    next: String,
    /// Anything: the person is to prove themselves anew.
    fresh: Option<String>,
    /// How: authentication context classes that an approval rule names, with spaces between them.
    acr: Option<String>,
    /// At most so many seconds ago, less than is usual.
    max_age: Option<u64>,
}

/// What a sign-in is asked for.
#[derive(Debug)]
struct Asked {
    fresh: bool,
    acr: String,
    max_age_s: u64,
}

impl Asked {
    /// Of a link, which anybody can make: no class but those that the policies in force ask for, and no
    /// sign-in that is older than usual.
    fn of(parts: &Parts, query: &BeginQuery) -> Self {
        let snapshot = parts.pipeline.snapshot();
        let terms = || {
            snapshot
                .policies
                .rules()
                .iter()
                .filter_map(|rule| rule.terms.as_ref())
        };
        let named =
            |class: &&str| terms().any(|terms| terms.step_up.acr.iter().any(|acr| acr == class));
        let classes = query
            .acr
            .as_deref()
            .unwrap_or_default()
            .split_ascii_whitespace();
        let acr: Vec<&str> = classes.filter(named).take(CLASSES_MAX).collect();
        let usual = FRESH.as_secs();
        Self {
            fresh: query.fresh.is_some(),
            acr: acr.join(" "),
            max_age_s: query.max_age.map_or(usual, |age| age.min(usual)),
        }
    }

    /// The same as parameters of a link.
    fn parameters(&self) -> String {
        if !self.fresh {
            return String::new();
        }
        let mut text = "&fresh=1".to_owned();
        if !self.acr.is_empty() {
            text.push_str(&format!("&acr={}", plain::query(&self.acr)));
        }
        if self.max_age_s < FRESH.as_secs() {
            text.push_str(&format!("&max_age={}", self.max_age_s));
        }
        text
    }
}

async fn begin(
    State(parts): State<Arc<Parts>>,
    headers: HeaderMap,
    Query(query): Query<BeginQuery>,
) -> Response {
    let Some(client) = &parts.login else {
        return Html::new(StatusCode::NOT_FOUND, "No sign-in", plain::NO_LOGIN).into_response();
    };
    let next = place(&query.next);
    let asked = Asked::of(&parts, &query);
    // Cookies belong to a host: the login begins where it ends.
    if !parts.site.is_here(&headers) {
        let (next, more) = (plain::query(&next), asked.parameters());
        return Redirect::to(&format!("{}/login?next={next}{more}", parts.site.url))
            .into_response();
    }
    match begun(&parts, client, next, &asked).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    }
}

async fn begun(
    parts: &Parts,
    client: &Client,
    next: String,
    asked: &Asked,
) -> Result<Response, Refusal> {
    let endpoints = client.endpoints(parts).await?;
    let (browser, pending) = parts.logins.begin(next, asked.fresh)?;
    let challenge = URL_SAFE_NO_PAD.encode(session::hash(&pending.verifier));
    let scope = format!("openid {}", client.config.scopes.join(" "));
    let callback = callback(parts);
    let mut query = vec![
        ("response_type", "code"),
        ("client_id", client.config.client_id.as_str()),
        ("redirect_uri", callback.as_str()),
        ("scope", scope.trim()),
        ("state", pending.state.as_str()),
        ("nonce", pending.nonce.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let limit = asked.max_age_s.to_string();
    if asked.fresh {
        query.extend([("prompt", "login"), ("max_age", limit.as_str())]);
        if !asked.acr.is_empty() {
            query.push(("acr_values", asked.acr.as_str()));
        }
    }
    let join = if endpoints.authorization.contains('?') {
        '&'
    } else {
        '?'
    };
    let to = format!("{}{join}{}", endpoints.authorization, plain::form(&query));
    let mut response = Redirect::to(&to).into_response();
    cookie::set(
        &mut response,
        &parts.site,
        Cookie::Login,
        &browser,
        LOGIN_MAX,
    );
    Ok(response)
}

/// What the issuer sends people back with. A parameter twice does not parse.
#[derive(Debug, Deserialize)]
struct EndQuery {
    #[serde(default)]
    state: String,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

async fn end(
    State(parts): State<Arc<Parts>>,
    headers: HeaderMap,
    Query(query): Query<EndQuery>,
) -> Response {
    let Some(client) = &parts.login else {
        return Html::new(StatusCode::NOT_FOUND, "No sign-in", plain::NO_LOGIN).into_response();
    };
    let mut response = match ended(&parts, client, &headers, query).await {
        Ok((id, next)) => {
            // A session of before is not taken over: what was known then is worth nothing now.
            if let Some(old) = cookie::read(&headers, &parts.site, Cookie::Session) {
                parts.sessions.close(&old);
            }
            let mut response = Redirect::to(&next).into_response();
            cookie::set(
                &mut response,
                &parts.site,
                Cookie::Session,
                &id,
                session::LIFE_MAX,
            );
            response
        }
        Err(refusal) => refused(&refusal),
    };
    cookie::clear(&mut response, &parts.site, Cookie::Login);
    response
}

async fn ended(
    parts: &Parts,
    client: &Client,
    headers: &HeaderMap,
    query: EndQuery,
) -> Result<(String, String), Refusal> {
    let browser = cookie::read(headers, &parts.site, Cookie::Login).ok_or(Refusal::NotThisLogin)?;
    let pending = parts
        .logins
        .take(&query.state, &browser)
        .ok_or(Refusal::NotThisLogin)?;
    let endpoints = client.endpoints(parts).await?;
    let snapshot = parts.pipeline.snapshot();
    let provider = snapshot
        .identity
        .provider(&client.config.issuer)
        .ok_or(Refusal::Unavailable)?;
    match query.iss {
        Some(iss) if iss == provider.issuer => {}
        None if !endpoints.names_itself => {}
        Some(_) | None => return Err(Refusal::OtherIssuer),
    }
    if let Some(error) = query.error {
        let short: String = error.chars().take(100).collect();
        return Err(Refusal::Issuer(short));
    }
    let code = query
        .code
        .filter(|code| code.len() <= PARAMETER_BYTES_MAX)
        .ok_or(Refusal::Code)?;
    let who = client.exchange(parts, &code, &pending).await?;
    tracing::info!(person = %who.key(), fresh = pending.fresh, "signed in at the console");
    Ok((parts.sessions.open(who)?, pending.next))
}

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal {
        Refusal::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Randomness(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Refusal::NotThisLogin
        | Refusal::OtherIssuer
        | Refusal::Issuer(_)
        | Refusal::Code
        | Refusal::NoToken
        | Refusal::Token(_)
        | Refusal::NotAPerson => StatusCode::FORBIDDEN,
    };
    let text = plain::escape(&refusal.to_string());
    let body = format!(
        "<h1>Not signed in</h1><p>{text}.</p><p><a class=\"button\" href=\"/login\">Sign in again</a></p>"
    );
    Html::new(status, "Not signed in", &body).into_response()
}

#[derive(Debug, Deserialize)]
struct LogoutForm {
    csrf: String,
}

async fn logout(State(parts): State<Arc<Parts>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(id) = cookie::read(&headers, &parts.site, Cookie::Session) else {
        return plain::sign_in_first("Nobody was signed in here: nothing was done.", "/")
            .into_response();
    };
    let session = parts.sessions.find(&id, Deed::Person);
    let form: Option<LogoutForm> = plain::read_form(&body);
    let shown = match (&session, form) {
        (Some(session), Some(form)) => session.is_shown(&form.csrf),
        (Some(_), None) => false,
        // Nothing is left to protect.
        (None, _) => true,
    };
    if !shown || !parts.site.is_from_here(&headers) {
        let text = "this does not come from the console's own pages: nothing was done";
        return Problem::new(403, "denied", text).into_response();
    }
    parts.sessions.close(&id);
    let body = "<h1>Signed out</h1><p>Your session at this gateway has ended.</p>\
                <p><a class=\"button\" href=\"/login\">Sign in</a></p>";
    let mut response = Html::new(StatusCode::OK, "Signed out", body).into_response();
    cookie::clear(&mut response, &parts.site, Cookie::Session);
    response
}

/// Where a person goes on: a path of ours, whatever was asked for.
fn place(asked: &str) -> String {
    let plain = asked.len() <= NEXT_BYTES_MAX
        && asked
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let ours = asked.starts_with('/') && !asked.starts_with("//");
    let loops = asked.starts_with("/login") || asked.starts_with("/logout");
    if plain && ours && !loops {
        asked.to_owned()
    } else {
        "/".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn people_go_on_at_our_own_paths_only() {
        for good in [
            "/",
            "/calls?outcome=denied",
            "/approve/apr_1",
            "/calls/0197a3b2#head",
        ] {
            assert_eq!(place(good), good);
        }
        for bad in [
            "",
            "calls",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            "/ü",
            "/login?next=/login",
            "/logout",
            &format!("/{}", "a".repeat(2000)),
        ] {
            assert_eq!(place(bad), "/", "{bad:?}");
        }
    }
}
