//! Signing people in at an issuer: where its endpoints are, and what its ID token proves.
//!
//! An ID token opens a session and nothing else: it is never accepted as a token for calls or for the
//! API. Called by the console's login.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::jws;
use super::principal::Facts;
use super::rules::Rules;
use super::verifier::Plane;
use super::{Principal, Rejection, Verifier};
use crate::clock::Timestamp;
use crate::egress::{self, Egress, Limits, Target};

/// Values in a discovery document.
const DISCOVERY_VALUES_MAX: usize = 2_000;
/// Limits of one fetch of it.
const LIMITS: Limits = Limits {
    bytes_max: 256 * 1024,
    total: Duration::from_secs(5),
};

/// What an ID token must say to end a login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Our client id: the token is for this client and was asked for by it.
    pub client: &'a str,
    /// The nonce that this login sent.
    pub nonce: &'a str,
    /// When the issuer was asked to have the person prove themselves anew: how long ago that may be.
    pub fresh: Option<Duration>,
}

/// An issuer as people sign in at it.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `iss`, exactly.
    pub issuer: String,
    /// The client that reaches it, with its certificate authorities.
    pub egress: Egress,
    document: Target,
}

/// An issuer's endpoints for the code flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoints {
    /// Where people are sent.
    pub authorization: String,
    /// Where codes are exchanged.
    pub token: Target,
    /// Whether its answers carry `iss` (RFC 9207): then one without it is refused.
    pub names_itself: bool,
    /// Whether the client's secret travels in the form instead of the `Authorization` header.
    pub secret_in_form: bool,
}

/// Why an issuer cannot be signed in at.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be reached.
    #[error(transparent)]
    Egress(#[from] egress::Error),
    /// It answered with something else than its document.
    #[error("the discovery document was answered with status {0}")]
    Status(u16),
    /// The document is not one.
    #[error("the discovery document is not a strict JSON object")]
    Form,
    /// The document is another issuer's.
    #[error("the discovery document's `issuer` is not exactly the configured one")]
    OtherIssuer,
    /// It does not do the code flow as needed.
    #[error("the discovery document {0}")]
    Lacks(&'static str),
}

impl Provider {
    pub(super) fn new(issuer: String, egress: Egress, document: Target) -> Self {
        Self {
            issuer,
            egress,
            document,
        }
    }

    /// Read the discovery document.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn discover(&self) -> Result<Endpoints, ProviderError> {
        let answer = self.egress.get(&self.document, LIMITS).await?;
        if !answer.status.is_success() {
            return Err(ProviderError::Status(answer.status.as_u16()));
        }
        let document =
            jws::strict_object(&answer.body, DISCOVERY_VALUES_MAX).ok_or(ProviderError::Form)?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(self.issuer.as_str()) {
            return Err(ProviderError::OtherIssuer);
        }
        let lists = |name: &str, word: &str| {
            let listed = document.get(name).and_then(Value::as_array);
            listed.map(|all| all.iter().any(|one| one.as_str() == Some(word)))
        };
        if lists("code_challenge_methods_supported", "S256") == Some(false) {
            return Err(ProviderError::Lacks("does not offer PKCE with S256"));
        }
        if lists("response_types_supported", "code") == Some(false) {
            return Err(ProviderError::Lacks("does not offer the code flow"));
        }
        let authorization = text("authorization_endpoint")
            .ok_or(ProviderError::Lacks("names no `authorization_endpoint`"))?;
        let token =
            text("token_endpoint").ok_or(ProviderError::Lacks("names no `token_endpoint`"))?;
        let methods = "token_endpoint_auth_methods_supported";
        Ok(Endpoints {
            // Where people's browsers are sent is held to the same rules as where we go.
            authorization: Target::from_data(authorization, &self.document)?.url(),
            token: Target::from_data(token, &self.document)?,
            names_itself: document.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
            secret_in_form: lists(methods, "client_secret_basic") == Some(false)
                && lists(methods, "client_secret_post") == Some(true),
        })
    }
}

impl Verifier {
    /// The person that an ID token of the issuer `alias` proves.
    ///
    /// # Errors
    /// [`Rejection`]; [`Rejection::UnknownIssuer`] also for a token of another issuer than that one.
    pub async fn verify_login(
        &self,
        token: &str,
        alias: &str,
        login: &Login<'_>,
    ) -> Result<Arc<Principal>, Rejection> {
        if token.len() > jws::TOKEN_BYTES_MAX {
            return Err(Rejection::Malformed("it is longer than 8 KiB"));
        }
        let facts = self.login_facts(token, alias, login).await?;
        let principal = Arc::new(Principal::new(facts));
        self.revocations().admit(&principal)?;
        Ok(principal)
    }

    /// Whether what a session was opened with still counts: its issuer is configured, and nobody
    /// revoked it.
    ///
    /// # Errors
    /// [`Rejection::UnknownIssuer`], [`Rejection::Revoked`], [`Rejection::RevocationsUnknown`].
    pub fn still_counts(&self, principal: &Principal) -> Result<(), Rejection> {
        if !self.knows(&principal.key().issuer) {
            return Err(Rejection::UnknownIssuer);
        }
        self.revocations().admit(principal)
    }
}

impl Rules {
    /// What makes a token the ID token of this login (OpenID Connect Core section 3.1.3.7).
    pub(super) fn login_token(
        &self,
        claims: &Map<String, Value>,
        header: Option<&str>,
        login: &Login<'_>,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        let fault = |what| {
            Err(Rejection::TokenType {
                issuer: Arc::clone(&self.alias),
                what,
            })
        };
        if header.is_some_and(|kind| !kind.eq_ignore_ascii_case("jwt")) {
            return fault("its `typ` is not that of an ID token");
        }
        if claims.contains_key("events") {
            return fault("it is a security event or logout token");
        }
        if claims.get("nonce").and_then(Value::as_str) != Some(login.nonce) {
            return Err(self.bad("nonce", "is not the one of this login"));
        }
        if let Some(party) = claims.get("azp")
            && party.as_str() != Some(login.client)
        {
            return Err(self.bad("azp", "is another client"));
        }
        let Some(limit) = login.fresh else {
            return Ok(());
        };
        let at = self
            .time(claims, "auth_time")?
            .ok_or_else(|| self.bad("auth_time", "is missing, although `max_age` was asked for"))?;
        if now.since(at) > limit + Duration::from_secs(self.skew_s) {
            return Err(self.bad(
                "auth_time",
                "is older than the `max_age` that was asked for",
            ));
        }
        Ok(())
    }

    /// Whether the token is for our client. With several audiences it must say who asked for it.
    pub(super) fn login_audience(
        &self,
        claims: &Map<String, Value>,
        login: &Login<'_>,
    ) -> Result<(), Rejection> {
        let good = match claims.get("aud") {
            Some(Value::String(one)) => one == login.client,
            Some(Value::Array(many)) => {
                let ours = many.iter().any(|one| one.as_str() == Some(login.client));
                ours && (many.len() == 1 || claims.contains_key("azp"))
            }
            Some(_) | None => false,
        };
        if good {
            Ok(())
        } else {
            Err(Rejection::WrongAudience {
                issuer: Arc::clone(&self.alias),
            })
        }
    }
}

impl Facts {
    /// In a session the time of issue never stands in for the time of sign-in: an issuer that
    /// remembers people issues without asking them.
    pub(super) fn for_session(mut self) -> Self {
        if self.token.authenticated.is_none() {
            self.token.issued = None;
        }
        self
    }
}

/// ID tokens are for the console's people.
pub(super) const PLANE: Plane = Plane::Console;
