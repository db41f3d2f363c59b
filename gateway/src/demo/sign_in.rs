//! The demo's sign-in page: whoever is at the machine chooses who they are. A real code flow otherwise: registered
//! client, loopback redirect URI, PKCE with S256, codes that count once and for a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::idp::Idp;
use super::people::Person;
use super::random_hex;

/// The console's client id.
pub const CLIENT: &str = "callgate-console";
/// The client's secret. Public on purpose, and worth nothing beyond the demo.
pub const CLIENT_SECRET: &str = "callgate-demo-secret-of-console";
/// How long a code counts.
const CODE_MAX: Duration = Duration::from_secs(60);
/// Codes at one time; with more of them nobody signs in for a minute.
const CODES_MAX: usize = 1000;
/// Longest parameter, in bytes.
const PARAMETER_BYTES_MAX: usize = 1024;

/// Codes that were given out.
#[derive(Debug, Default)]
pub struct Codes(Mutex<HashMap<String, Code>>);

#[derive(Debug)]
struct Code {
    person: Person,
    redirect: String,
    challenge: String,
    nonce: String,
    acr: Option<String>,
    given: Instant,
}

/// What a code is for.
#[derive(Debug)]
pub(super) struct Redeemed {
    pub(super) person: Person,
    /// The nonce that was asked with.
    pub(super) nonce: String,
    /// The authentication context that was asked for first; here nobody proves anything, so it is met.
    pub(super) acr: Option<String>,
}

impl Codes {
    fn give(&self, code: Code) -> Option<String> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        codes.retain(|_, code| code.given.elapsed() < CODE_MAX);
        if codes.len() >= CODES_MAX {
            return None;
        }
        let name = random_hex();
        codes.insert(name.clone(), code);
        Some(name)
    }

    /// What a code is for. It is used up also by a bad attempt.
    pub(super) fn redeem(&self, name: &str, redirect: &str, verifier: &str) -> Option<Redeemed> {
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let code = codes.remove(name)?;
        let hash = digest::digest(&digest::SHA256, verifier.as_bytes());
        let good = code.given.elapsed() < CODE_MAX
            && code.redirect == redirect
            && code.challenge == URL_SAFE_NO_PAD.encode(hash.as_ref());
        good.then_some(Redeemed {
            person: code.person,
            nonce: code.nonce,
            acr: code.acr,
        })
    }
}

/// What a client asks with (OpenID Connect Core section 3.1.2.1, RFC 7636 section 4.3).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Asked {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
    #[serde(default)]
    acr_values: String,
}

impl Asked {
    fn fault(&self) -> Option<&'static str> {
        let all = [
            &self.redirect_uri,
            &self.state,
            &self.nonce,
            &self.code_challenge,
            &self.acr_values,
        ];
        let redirect: Option<Uri> = self.redirect_uri.parse().ok();
        let known = redirect.is_some_and(|uri| {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            uri.scheme_str() == Some("http")
                && loopback
                && uri.path() == "/login/callback"
                && uri.query().is_none()
        });
        if all.iter().any(|text| text.len() > PARAMETER_BYTES_MAX) {
            Some("a parameter is longer than 1024 bytes")
        } else if self.client_id != CLIENT {
            Some("no such client")
        } else if !known {
            Some("the redirect URI is not the console's: http, a loopback address, /login/callback")
        } else if self.response_type != "code" {
            Some("only the code flow is offered")
        } else if self.code_challenge_method != "S256" || self.code_challenge.len() != 43 {
            Some("PKCE with S256 is needed")
        } else {
            None
        }
    }
}

pub(super) async fn page(State(idp): State<Arc<Idp>>, Query(asked): Query<Asked>) -> Response {
    if let Some(fault) = asked.fault() {
        return (StatusCode::BAD_REQUEST, fault).into_response();
    }
    let hidden: String = [
        ("response_type", &asked.response_type),
        ("client_id", &asked.client_id),
        ("redirect_uri", &asked.redirect_uri),
        ("state", &asked.state),
        ("nonce", &asked.nonce),
        ("code_challenge", &asked.code_challenge),
        ("code_challenge_method", &asked.code_challenge_method),
        ("acr_values", &asked.acr_values),
    ]
    .iter()
    .map(|(name, value)| {
        format!(
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
            attribute(value)
        )
    })
    .collect();
    let people: String = [
        (Person::Alice, "Alice Martin", "works in support; may ask for refunds"),
        (Person::Bob, "Bob Okafor", "leads payments and security; approves, reads the audit log"),
    ]
    .iter()
    .map(|(person, name, about)| {
        format!(
            "<p><button name=\"person\" value=\"{}\"><strong>{name}</strong><br>{about}</button></p>",
            person.name()
        )
    })
    .collect();
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Demo sign-in</title><style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:26rem;margin:10vh auto;padding:0 1rem}}button{{font:inherit;width:100%;text-align:left;padding:.75rem 1rem;\
         border:1px solid;border-radius:8px;background:none;color:inherit;cursor:pointer}}</style>\
         <main><h1>Who are you?</h1><p>This is the demo's identity provider at <code>{}</code>. It asks for no password: choose a person.</p>\
         <form method=\"post\" action=\"authorize\">{hidden}{people}</form></main>",
        attribute(idp.issuer())
    );
    ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response()
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    person: String,
    #[serde(flatten)]
    asked: Asked,
}

pub(super) async fn chosen(State(idp): State<Arc<Idp>>, Form(choice): Form<Choice>) -> Response {
    let asked = choice.asked;
    if let Some(fault) = asked.fault() {
        return (StatusCode::BAD_REQUEST, fault).into_response();
    }
    let person = match choice.person.parse() {
        Ok(person @ (Person::Alice | Person::Bob)) => person,
        Ok(Person::Ci | Person::Agent) | Err(_) => {
            return (StatusCode::BAD_REQUEST, "nobody of that name signs in here").into_response();
        }
    };
    let code = idp.codes.give(Code {
        person,
        redirect: asked.redirect_uri.clone(),
        challenge: asked.code_challenge.clone(),
        nonce: asked.nonce.clone(),
        acr: asked
            .acr_values
            .split(' ')
            .find(|acr| !acr.is_empty())
            .map(str::to_owned),
        given: Instant::now(),
    });
    let Some(code) = code else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many sign-ins at once: try again in a minute",
        )
            .into_response();
    };
    let back = format!(
        "{}?code={code}&state={}&iss={}",
        asked.redirect_uri,
        parameter(&asked.state),
        parameter(idp.issuer())
    );
    Redirect::to(&back).into_response()
}

fn attribute(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('"', "&quot;")
}

fn parameter(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
