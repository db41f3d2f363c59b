//! The gateway's own paths for callers, below [`BASE`]: approvals of one's own calls, the public keys
//! of caller assertions, liveness and readiness.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use wire::http::Target;

use super::reply::{self, OutBody};
use crate::approval::{ApprovalId, ApprovalView};
use crate::call::{CallId, FunctionId};
use crate::gate::{Code, Refusal};
use crate::identity::Principal;
use crate::pipeline::{Arrival, Pipeline, RefusalReply};

/// Where the gateway's own paths begin (RFC 8615).
pub(super) const BASE: &str = "/.well-known/callgate";

/// What follows [`BASE`], when the target lies below it.
pub(super) fn path(target: &Target) -> Option<&str> {
    target
        .path()
        .strip_prefix(BASE)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answer a request for one of the gateway's own paths.
pub(super) async fn answer(
    pipeline: &Arc<Pipeline>,
    mut arrival: Arrival,
    rest: &str,
) -> http::Response<OutBody> {
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    let outcome = match (arrival.method.as_str(), parts.as_slice()) {
        ("GET" | "HEAD", ["health"]) => Ok(json(200, &serde_json::json!({ "status": "ok" }))),
        ("GET" | "HEAD", ["ready"]) => Ok(ready(pipeline)),
        ("GET" | "HEAD", ["jwks.json"]) => {
            Ok(text(200, pipeline.parts().assertions.jwks().to_owned()))
        }
        ("POST", ["approvals", id, "run"]) => match id.parse::<ApprovalId>() {
            Ok(id) => {
                arrival.approval = Some(id);
                return super::start(pipeline, arrival).await;
            }
            Err(_) => Err(unknown()),
        },
        ("GET" | "HEAD", ["approvals", id]) => show(pipeline, &arrival.headers, id).await,
        ("DELETE", ["approvals", id]) => cancel(pipeline, &arrival.headers, id).await,
        _ => Err(Refusal::new(
            Code::NotFound,
            "the gateway has no such path of its own",
        )),
    };
    outcome.unwrap_or_else(|refusal| {
        let call = CallId::new(pipeline.parts().clock.now());
        reply::refusal(&RefusalReply {
            call,
            receipt: None,
            refusal,
            status: None,
        })
    })
}

fn unknown() -> Refusal {
    // The same text for an id that is not the caller's: ids must not be guessable by answers.
    Refusal::new(Code::NotFound, "no such approval of this caller")
}

fn ready(pipeline: &Pipeline) -> http::Response<OutBody> {
    let admits = pipeline.parts().record.health().blocked.is_none();
    let status = if admits { 200 } else { 503 };
    json(
        status,
        &serde_json::json!({ "status": if admits { "ready" } else { "not_admitting" } }),
    )
}

async fn show(
    pipeline: &Pipeline,
    headers: &HeaderMap,
    id: &str,
) -> Result<http::Response<OutBody>, Refusal> {
    let (view, _) = owned(pipeline, headers, id).await?;
    Ok(json(
        200,
        &serde_json::json!({
            "id": view.head.id,
            "state": view.head.state.as_str(),
            "function": view.head.function,
            "asked_at": view.head.asked_at,
            "expires_at": view.head.expires_at,
            "run": format!("{BASE}/approvals/{}/run", view.head.id),
            "reason": view.denial(),
        }),
    ))
}

async fn cancel(
    pipeline: &Pipeline,
    headers: &HeaderMap,
    id: &str,
) -> Result<http::Response<OutBody>, Refusal> {
    let (view, who) = owned(pipeline, headers, id).await?;
    let id: ApprovalId = view.head.id.parse().map_err(|_| unknown())?;
    match pipeline.parts().approvals.cancel(&id, &who).await {
        Ok(()) => Ok(json(
            200,
            &serde_json::json!({ "id": view.head.id, "state": "cancelled" }),
        )),
        Err(error) => {
            let text =
                "the approval cannot be cancelled any more: it has ended or is being executed";
            Err(Refusal::new(Code::Conflict, text).operator(error.to_string()))
        }
    }
}

/// An approval of the verified caller's own.
async fn owned(
    pipeline: &Pipeline,
    headers: &HeaderMap,
    id: &str,
) -> Result<(ApprovalView, Arc<Principal>), Refusal> {
    let id: ApprovalId = id.parse().map_err(|_| unknown())?;
    let view = pipeline
        .parts()
        .approvals
        .show(&id)
        .await
        .map_err(|_| unknown())?;
    let function: FunctionId = view.head.function.parse().map_err(|_| unknown())?;
    let snapshot = pipeline.snapshot();
    let connection = snapshot
        .connections
        .get(function.connection())
        .ok_or_else(unknown)?;
    let who = pipeline.identify(&snapshot, connection, headers).await?;
    let requester = (&view.head.requester.issuer, &view.head.requester.subject);
    if requester != (&who.key().issuer, &who.key().subject) {
        return Err(unknown());
    }
    Ok((view, who))
}

fn json(status: u16, value: &serde_json::Value) -> http::Response<OutBody> {
    text(status, value.to_string())
}

fn text(status: u16, json: String) -> http::Response<OutBody> {
    let mut response = http::Response::new(OutBody::full(json));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
