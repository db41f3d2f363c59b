//! Who is signed in, and what they may do: what pages ask first.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use schemars::JsonSchema;
use serde::Serialize;

use super::Parts;
use super::api::{Asker, Problem};
use crate::identity::Kind;
use crate::policy::{PersonAction, PersonResource};

/// Who asks.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(super) struct Me {
    /// The alias of the issuer that vouches for them.
    pub(super) issuer: String,
    /// Their subject there.
    pub(super) subject: String,
    /// Their name, where the issuer gives one.
    pub(super) name: Option<String>,
    /// What kind of caller.
    pub(super) kind: Kind,
    /// Their groups as `alias/name`.
    pub(super) groups: Vec<String>,
    /// What policy permits them on the gateway as a whole (`audit.read`, …).
    pub(super) rights: Vec<String>,
    /// When they last proved themselves to the issuer, RFC 3339.
    pub(super) authenticated_at: Option<String>,
    /// Of which kind their sign-in was (`acr`), where the issuer says so.
    pub(super) acr: Option<String>,
    /// When the session ends in any case, RFC 3339; absent with a bearer token.
    pub(super) session_ends_at: Option<String>,
    /// What unsafe requests with the session's cookie must carry as `Callgate-CSRF`.
    pub(super) csrf: Option<String>,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new().route("/api/v1/me", get(me))
}

async fn me(State(parts): State<Arc<Parts>>, asker: Asker) -> Result<axum::Json<Me>, Problem> {
    // Votes are judged for each function; the others here, on the whole gateway.
    let rights = PersonAction::ALL
        .into_iter()
        .filter(|action| *action != PersonAction::Approve)
        .filter(|action| asker.is_allowed(&parts, *action, PersonResource::Gateway))
        .map(|action| action.as_str().to_owned())
        .collect();
    let who = &asker.who;
    let name = who.claims().get("name").and_then(serde_json::Value::as_str);
    Ok(axum::Json(Me {
        issuer: who.key().issuer.clone(),
        subject: who.key().subject.clone(),
        name: name.map(str::to_owned),
        kind: who.kind(),
        groups: who.groups().iter().cloned().collect(),
        rights,
        authenticated_at: who.token().authenticated.map(|at| at.to_string()),
        acr: who.token().acr.clone(),
        session_ends_at: asker
            .session
            .as_ref()
            .map(|session| session.ends().to_string()),
        csrf: asker.session.as_ref().map(|session| session.csrf.clone()),
    }))
}
