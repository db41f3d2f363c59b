//! From a request's head and body to a verified caller and a decoded call.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use wire::http::{BodyLength, Target, fields};

use super::Parts;
use super::edit::Undecoded;
use super::snapshot::{Connection, PresentIn, Snapshot};
use super::{outgoing, tokens};
use crate::approval::ApprovalId;
use crate::call::{BodyPlan, CallFault, CallId, Facts, Found, HttpCall, HttpHead, RequestBody};
use crate::clock::Timestamp;
use crate::gate::{Code, Refusal, Room};
use crate::identity::{Plane, Principal, Rejection};
use crate::listener::Peer;
use crate::mask::{MarkerGuard, SEARCHED_BODY_BYTES_MAX};
use crate::record::{Event, Who};
use crate::upstream::Cookies;

/// How long a buffered body may take to arrive.
const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// A request body as it comes from the caller.
pub(super) type ArrivalBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A request whose head kept the rules (`wire::http::check`), before anybody knows who sent it.
#[derive(Debug)]
pub struct Arrival {
    /// When it was received.
    pub received: Timestamp,
    /// Who is at the other end of the socket.
    pub peer: Peer,
    /// `http/1.1` or `h2`.
    pub protocol: &'static str,
    /// The method.
    pub method: http::Method,
    /// The host that it is for, lower case, without port.
    pub host: String,
    /// The normalised target.
    pub target: Target,
    /// All headers, as they came.
    pub headers: HeaderMap,
    /// How the end of the body is told.
    pub length: BodyLength,
    /// The body.
    pub body: ArrivalBody,
    /// `Prefer: respond-async` (RFC 7240).
    pub respond_async: bool,
    /// For `POST …/approvals/{id}/run`: the approval to execute.
    pub approval: Option<ApprovalId>,
}

impl Arrival {
    /// What policy may know beside the input.
    pub fn facts(&self) -> Facts {
        Facts {
            received: self.received,
            source: self.peer.ip(),
            tls: self.peer.tls,
            protocol: self.protocol,
            method: self.method.as_str().to_owned(),
        }
    }
}

/// Verify the caller's own token.
pub(super) async fn identify(
    parts: &Parts,
    snapshot: &Snapshot,
    connection: &Connection,
    token: Option<&str>,
) -> Result<Arc<Principal>, Refusal> {
    let verified = match token {
        Some(token) => snapshot.identity.verify(token, Plane::Data).await,
        None => Err(Rejection::Missing),
    };
    let who = verified.map_err(|rejection| unverified(parts, &rejection))?;
    if parts
        .revocations
        .is_revoked(&who, Some(connection.name.as_str()))
    {
        return Err(unverified(parts, &Rejection::Revoked));
    }
    Ok(who)
}

fn unverified(parts: &Parts, rejection: &Rejection) -> Refusal {
    parts.record.refused_before_authentication(rejection.code());
    let code = match rejection.code() {
        "token_expired" => Code::TokenExpired,
        "token_rejected" => Code::TokenRejected,
        "issuer_unavailable" => Code::IssuerUnavailable,
        "revoked" => Code::Revoked,
        "state_unavailable" => Code::StateUnavailable,
        _ => Code::Unauthenticated,
    };
    let refusal = Refusal::new(code, format!("NOT executed: {}", rejection.public()));
    let refusal = refusal.operator(rejection.to_string());
    if matches!(code, Code::IssuerUnavailable | Code::StateUnavailable) {
        refusal.retry_after(Duration::from_secs(5))
    } else {
        refusal
    }
}

/// The token where the connection wants it; header names that differ only in case are one name.
pub(super) fn token(connection: &Connection, headers: &HeaderMap) -> Option<String> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = |text: &str| {
        let (scheme, token) = text.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim_start().to_owned())
    };
    match &connection.present_in {
        PresentIn::Authorization => text(&header::AUTHORIZATION).and_then(bearer),
        PresentIn::ProxyAuthorization => text(&header::PROXY_AUTHORIZATION).and_then(bearer),
        PresentIn::BasicPassword => {
            let (scheme, encoded) = text(&header::AUTHORIZATION)?.split_once(' ')?;
            if !scheme.eq_ignore_ascii_case("basic") {
                return None;
            }
            let pair = base64::engine::general_purpose::STANDARD
                .decode(encoded.trim())
                .ok()?;
            let pair = String::from_utf8(pair).ok()?;
            pair.split_once(':')
                .map(|(_, password)| password.to_owned())
        }
        PresentIn::Header(_) => {
            let value = text(connection.present_header.as_ref()?)?;
            Some(bearer(value).unwrap_or_else(|| value.to_owned()))
        }
    }
}

/// Find the function, read the body as far as it is judged, and decode.
pub(super) async fn decode(
    parts: &Parts,
    (snapshot, connection): (&Snapshot, &Connection),
    target: Target,
    arrival: Arrival,
    id: CallId,
    who: &Principal,
    room: &mut Room,
) -> Result<HttpCall, Refusal> {
    let facts = arrival.facts();
    let headers = forwarded(connection, &arrival.headers);
    let found = connection
        .catalogue
        .find(&arrival.method, &target, &headers);
    let plan = match found.body_plan(&headers, arrival.length) {
        Ok(plan) => plan,
        Err(fault) if matches!(found, Found::Unknown { .. }) => {
            let event = unknown_function(id, who, connection, &arrival, &target);
            parts.record.note_lazily(event);
            return Err(refused(&fault).recorded());
        }
        Err(fault) => return Err(refused(&fault)),
    };
    let guards: Vec<_> = found
        .functions()
        .filter_map(|function| connection.upstream.mask(function)?.requests())
        .collect();
    let plan = searched_whole(plan, snapshot, !guards.is_empty());
    let coming = (arrival.body, arrival.length);
    let body = match plan {
        BodyPlan::None => buffered(coming, 0, room).await?,
        BodyPlan::Buffer { bytes_max } => buffered(coming, bytes_max, room).await?,
        BodyPlan::Stream => RequestBody::Stream(coming.0),
    };
    // A token in a header that does not go on is no value of this call.
    let headers = connection.catalogue.going_on(&found, &headers, &body);
    let request = Undecoded {
        method: arrival.method,
        target,
        headers,
        body,
    };
    let place = (snapshot, connection);
    let (request, found, veil) = tokens::restore(place, (who, &facts), request, found)?;
    unmasked(&request.target, &request.headers, &request.body)?;
    for guard in &guards {
        outgoing::searched(guard, &request)?;
    }
    let whose = (connection, who);
    let metrics = Some(&parts.metrics);
    let (request, found) = outgoing::replace(whose, &guards, request, found, metrics)?;
    let Undecoded {
        method,
        target,
        headers,
        body,
    } = request;
    let head = HttpHead {
        method,
        target,
        headers,
    };
    connection
        .catalogue
        .decode(&found, head, body, id, facts)
        .map(|call| call.with_veil(veil))
        .map_err(|fault| refused(&fault))
}

/// What is to be searched is read whole: for what must not be sent, or for tokens that become values.
pub(super) fn searched_whole(plan: BodyPlan, snapshot: &Snapshot, guarded: bool) -> BodyPlan {
    let tokens = snapshot.vault.is_some() && snapshot.policies.could_detokenise();
    match plan {
        BodyPlan::Stream if tokens || guarded => BodyPlan::Buffer {
            bytes_max: SEARCHED_BODY_BYTES_MAX,
        },
        plan @ (BodyPlan::Stream | BodyPlan::None | BodyPlan::Buffer { .. }) => plan,
    }
}

/// No masked value is on its way to where the real one is.
pub(super) fn unmasked(
    target: &Target,
    headers: &HeaderMap,
    body: &RequestBody,
) -> Result<(), Refusal> {
    let body = match body {
        RequestBody::Bytes(bytes) => MarkerGuard::contains_marker(bytes),
        // What streams is searched as it goes up.
        RequestBody::Empty | RequestBody::Stream(_) => false,
    };
    let marked = |value: &http::HeaderValue| MarkerGuard::contains_marker(value.as_bytes());
    let head = MarkerGuard::contains_marker(target.as_str().as_bytes());
    match body || head || headers.values().any(marked) {
        true => Err(masked_value()),
        false => Ok(()),
    }
}

fn masked_value() -> Refusal {
    Refusal::new(
        Code::MaskedValueInRequest,
        "NOT executed: the request contains a masked value, which would be stored in place of the real one",
    )
}

/// An authenticated caller tried what is not declared: it is listed, so that it can be declared.
fn unknown_function(
    call: CallId,
    who: &Principal,
    connection: &Connection,
    arrival: &Arrival,
    target: &Target,
) -> Event {
    Event::Denied {
        call,
        who: Who::from(who),
        connection: Some(connection.name.clone()),
        function: None,
        reason: Code::NotFound.as_str(),
        policies: Vec::new(),
        config_version: String::new(),
        policy_version: String::new(),
        shadowed: None,
        content: serde_json::json!({ "method": arrival.method.as_str(), "target": target.as_str() }),
    }
}

/// Read a body of at most `most` bytes.
async fn buffered(
    body: (ArrivalBody, BodyLength),
    most: usize,
    room: &mut Room,
) -> Result<RequestBody, Refusal> {
    match taken(body, most, room).await? {
        (bytes, None) => Ok(whole(bytes)),
        (_, Some(_)) if most == 0 => Err(Refusal::new(
            Code::BadRequest,
            "NOT executed: this function takes no body",
        )),
        (_, Some(_)) => Err(Refusal::new(
            Code::TooLarge,
            format!("NOT executed: the body is larger than {most} bytes"),
        )),
    }
}

pub(super) fn whole(bytes: Bytes) -> RequestBody {
    match bytes.is_empty() {
        true => RequestBody::Empty,
        false => RequestBody::Bytes(bytes),
    }
}

/// A body's bytes, as far as there is room for them; with the rest of it when there are more than `most`.
pub(super) async fn taken(
    (mut body, length): (ArrivalBody, BodyLength),
    most: usize,
    room: &mut Room,
) -> Result<(Bytes, Option<ArrivalBody>), Refusal> {
    if let BodyLength::Known(bytes) = length {
        room.hold(usize::try_from(bytes).unwrap_or(usize::MAX).min(most))?;
    }
    let read = async {
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Refusal::new(
                    Code::BadRequest,
                    "NOT executed: the body did not arrive whole",
                )
                .operator(error.to_string())
            })?;
            let Ok(data) = frame.into_data() else {
                return Err(Refusal::new(
                    Code::BadRequest,
                    "NOT executed: trailers are not accepted here",
                ));
            };
            room.hold(all.len() + data.len())?;
            all.extend_from_slice(&data);
            if all.len() > most {
                return Ok((all.freeze(), Some(body)));
            }
        }
        Ok((all.freeze(), None))
    };
    let slow = || {
        Refusal::new(
            Code::BadRequest,
            "NOT executed: the body took longer than 30 s to arrive",
        )
    };
    tokio::time::timeout(BODY_READ_MAX, read)
        .await
        .map_err(|_| slow())?
}

/// The caller's headers that go on: none of one hop, none that says who calls, none of the
/// gateway's own, no token, no cookie unless asked for.
pub(super) fn forwarded(connection: &Connection, from: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        let token = *name == header::AUTHORIZATION
            || *name == header::PROXY_AUTHORIZATION
            || Some(name) == connection.present_header.as_ref()
            || Some(name) == connection.credential.header();
        let cookie = *name == header::COOKIE && connection.cookies == Cookies::Drop;
        if token || cookie || fields::strip(name.as_str()).is_some() {
            continue;
        }
        to.append(name.clone(), value.clone());
    }
    to
}

/// A fault of decoding, as the caller is told.
pub(super) fn refused(fault: &CallFault) -> Refusal {
    let code = match fault.code() {
        "unsupported_media_type" => Code::UnsupportedMediaType,
        "too_large" => Code::TooLarge,
        "not_found" => Code::NotFound,
        "superseded" => Code::Superseded,
        _ => Code::BadRequest,
    };
    Refusal::new(code, format!("NOT executed: {fault}"))
}
