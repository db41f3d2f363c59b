//! The demo's identity provider: OpenID Connect discovery, a key set, and a token endpoint with client credentials.
//!
//! Refuses every other grant but the codes of [`super::sign_in`], where people choose who they are. One ES256 key, kept
//! in the demo's data folder. `callgate demo token` mints people's tokens for the command line.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::people::{Audience, Person};
use super::sign_in::{self, Codes, Redeemed};
use super::{Error, listen, random_hex, read_or_make, write};

/// Where the demo's identity provider listens, unless asked otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8089";

/// The path of the issuer's URL: marks every token as one of a demo.
pub const ISSUER_PATH: &str = "/callgate-demo";

/// Every key id of the demo begins so.
pub const KEY_ID_PREFIX: &str = "callgate-demo-";

/// How long a token lives, in seconds.
const TOKEN_LIFETIME_S: u64 = 600;

/// How long an ID token lives, in seconds: as long as votes count after signing in, and a little longer.
const ID_TOKEN_LIFETIME_S: u64 = 900;

/// The identity provider: its key and its name.
#[derive(Debug)]
pub struct Idp {
    pub(super) codes: Codes,
    issuer: String,
    key: EncodingKey,
    public: Jwk,
    key_id: String,
}

impl Idp {
    /// Open the identity provider that `data` holds; make its key if there is none yet.
    pub fn open(data: &Path) -> Result<Self, Error> {
        let path = data.join("demo-idp-key.pk8");
        let pkcs8 = read_or_make(&path, || {
            let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
            let pkcs8 = made.and_then(|pair| pair.to_pkcs8v1());
            pkcs8
                .map(|pkcs8| pkcs8.as_ref().to_vec())
                .map_err(|_| Error::Key(path.clone()))
        })?;
        if EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).is_err() {
            return Err(Error::Key(path));
        }
        let key = EncodingKey::from_ec_der(&pkcs8);
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        let key_id = format!(
            "{KEY_ID_PREFIX}{}",
            public.thumbprint(ThumbprintHash::SHA256)?
        );
        public.common.key_id = Some(key_id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let issuer = read_or_make(&data.join("demo-issuer"), || {
            Ok(issuer_at(DEFAULT_LISTEN).into_bytes())
        })?;
        let issuer = String::from_utf8(issuer).map_err(|_| Error::Key(data.join("demo-issuer")))?;
        Ok(Self {
            codes: Codes::default(),
            issuer,
            key,
            public,
            key_id,
        })
    }

    /// The issuer's URL.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A signed access token (RFC 9068).
    pub fn token(&self, person: Person, audience: &str) -> Result<String, Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut claims = person.claims();
        let facts = json!({
            "iss": self.issuer, "aud": audience, "iat": now, "nbf": now, "exp": now + TOKEN_LIFETIME_S,
            "jti": random_hex(), "callgate_demo": true,
        });
        if let Value::Object(facts) = facts {
            claims.extend(facts);
        }
        if person.is_human() {
            claims.insert("auth_time".to_owned(), now.into());
            claims
                .entry("client_id")
                .or_insert_with(|| "callgate-demo-cli".into());
        }
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }

    /// An ID token for the console, for what a code was given for.
    pub(super) fn id_token(&self, redeemed: &Redeemed, client: &str) -> Result<String, Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut claims = redeemed.person.claims();
        if let Some(acr) = &redeemed.acr {
            claims.insert("acr".to_owned(), acr.as_str().into());
        }
        let facts = json!({
            "iss": self.issuer, "aud": client, "iat": now, "exp": now + ID_TOKEN_LIFETIME_S, "auth_time": now,
            "nonce": redeemed.nonce, "jti": random_hex(), "callgate_demo": true,
        });
        if let Value::Object(facts) = facts {
            claims.extend(facts);
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
    }

    /// The discovery document (OpenID Connect Discovery 1.0 section 3, RFC 8414).
    fn metadata(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{}/jwks", self.issuer),
            "token_endpoint": format!("{}/token", self.issuer),
            "authorization_endpoint": format!("{}/authorize", self.issuer),
            "grant_types_supported": ["client_credentials", "authorization_code"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "service_documentation": "a demo: every token it issues is worthless elsewhere",
        })
    }

    pub(super) fn keys(&self) -> JwkSet {
        JwkSet {
            keys: vec![self.public.clone()],
        }
    }
}

fn issuer_at(address: &str) -> String {
    format!("http://{address}{ISSUER_PATH}")
}

/// Serve the identity provider on a loopback address until the process ends. `data` holds its key and remembers its
/// address, so that [`super::mint`] names the same issuer.
pub async fn serve(address: SocketAddr, data: &Path) -> Result<(), Error> {
    let listener = listen(address).await?;
    let bound = listener.local_addr().map_err(Error::Serve)?;
    write(
        &data.join("demo-issuer"),
        issuer_at(&bound.to_string()).as_bytes(),
        false,
    )?;
    let idp = Idp::open(data)?;
    tracing::info!(address = %bound, issuer = idp.issuer(), "demo identity provider is listening");
    axum::serve(listener, router(Arc::new(idp)))
        .await
        .map_err(Error::Serve)
}

fn router(idp: Arc<Idp>) -> Router {
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(keys))
        .route("/authorize", get(sign_in::page).post(sign_in::chosen))
        .route("/token", post(token));
    Router::new()
        .nest(ISSUER_PATH, routes)
        // RFC 8414 section 3.1 puts the well-known part before the issuer's path.
        .route(
            "/.well-known/oauth-authorization-server/callgate-demo",
            get(metadata),
        )
        .with_state(idp)
}

async fn metadata(State(idp): State<Arc<Idp>>) -> Json<Value> {
    Json(idp.metadata())
}

async fn keys(State(idp): State<Arc<Idp>>) -> Json<JwkSet> {
    Json(idp.keys())
}

/// What a client sends to the token endpoint (RFC 6749 section 4.4.2, RFC 8707 section 2).
#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
    resource: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
}

async fn token(
    State(idp): State<Arc<Idp>>,
    headers: HeaderMap,
    Form(request): Form<TokenRequest>,
) -> Response {
    let credentials = credentials(&headers, &request);
    if request.grant_type == "authorization_code" {
        return code(&idp, credentials.as_ref(), &request);
    }
    let Some(person) = credentials.and_then(|pair| workload(&pair)) else {
        return not_this_client();
    };
    if request.grant_type != "client_credentials" {
        return refuse("unsupported_grant_type");
    }
    let wanted = request.resource.or(request.audience);
    let audience = wanted.as_deref().unwrap_or(Audience::Gateway.as_str());
    if ![Audience::Gateway, Audience::Console]
        .iter()
        .any(|known| known.as_str() == audience)
    {
        return refuse("invalid_target");
    }
    match idp.token(person, audience) {
        Ok(token) => {
            let body = json!({
                "access_token": token, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME_S,
                "scope": request.scope.unwrap_or_default(),
            });
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "demo token");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn refuse(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}

fn not_this_client() -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"callgate-demo\"")];
    let body = Json(json!({ "error": "invalid_client" }));
    (StatusCode::UNAUTHORIZED, challenge, body).into_response()
}

/// The console exchanges a code for an ID token (OpenID Connect Core section 3.1.3).
fn code(idp: &Idp, credentials: Option<&(String, String)>, request: &TokenRequest) -> Response {
    let console = (
        sign_in::CLIENT.to_owned(),
        sign_in::CLIENT_SECRET.to_owned(),
    );
    if credentials != Some(&console) {
        return not_this_client();
    }
    let (Some(code), Some(redirect), Some(verifier)) =
        (&request.code, &request.redirect_uri, &request.code_verifier)
    else {
        return refuse("invalid_request");
    };
    let Some(redeemed) = idp.codes.redeem(code, redirect, verifier) else {
        return refuse("invalid_grant");
    };
    let tokens = idp
        .id_token(&redeemed, sign_in::CLIENT)
        .and_then(|id| Ok((id, idp.token(redeemed.person, Audience::Console.as_str())?)));
    match tokens {
        Ok((id, access)) => {
            let body = json!({
                "id_token": id, "access_token": access, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME_S,
            });
            ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "demo ID token");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The client's credentials: in the `Authorization` header or in the form, not in both.
fn credentials(headers: &HeaderMap, request: &TokenRequest) -> Option<(String, String)> {
    match (headers.get(header::AUTHORIZATION), &request.client_secret) {
        (Some(value), None) => basic(value.to_str().ok()?),
        (None, Some(secret)) => Some((request.client_id.clone()?, secret.clone())),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// The workload that these credentials are of.
fn workload((id, secret): &(String, String)) -> Option<Person> {
    let person: Person = id.parse().ok()?;
    (person.client_secret()? == secret).then_some(person)
}

/// User and password of a `Basic` header; both are form-encoded inside it (RFC 6749 section 2.3.1).
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    Some((form_decode(user)?, form_decode(password)?))
}

fn form_decode(text: &str) -> Option<String> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &rest[2..];
            }
            other => out.push(*other),
        }
    }
    String::from_utf8(out).ok()
}
