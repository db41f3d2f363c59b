//! A request on a connection that only observes: taken as it comes, with what would be refused beside it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use wire::http::{BodyLength, Target};

use super::edit::Undecoded;
use super::request::{
    Arrival, ArrivalBody, forwarded, refused, searched_whole, taken, unmasked, whole,
};
use super::snapshot::{Connection, Snapshot};
use super::{outgoing, tokens};
use crate::call::{BodyPlan, CallId, Found, HttpCall, HttpHead, RequestBody, Seen, SeenFault};
use crate::gate::{Refusal, Room, Stance};
use crate::identity::Principal;
use crate::mask::RequestGuard;

/// A body of which the first bytes were read already.
struct Rejoined {
    first: Option<Bytes>,
    rest: ArrivalBody,
}

impl Body for Rejoined {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}

/// A body is read as far as it can be judged; one that is larger passes as it comes.
async fn body(
    plan: BodyPlan,
    arrival: (ArrivalBody, BodyLength),
    room: &mut Room,
) -> Result<(RequestBody, bool), Refusal> {
    let most = match plan {
        BodyPlan::None => 0,
        BodyPlan::Buffer { bytes_max } => bytes_max,
        BodyPlan::Stream => return Ok((RequestBody::Stream(arrival.0), false)),
    };
    Ok(match taken(arrival, most, room).await? {
        (bytes, None) => (whole(bytes), false),
        (first, Some(rest)) => {
            let first = Some(first);
            let rejoined = Rejoined { first, rest };
            (RequestBody::Stream(rejoined.boxed_unsync()), true)
        }
    })
}

/// Find the function, read the body as far as it could be judged, and keep what would be refused.
///
/// # Errors
/// What no mode lets pass: a body that does not arrive, or with trailers, a masked value, and a token that
/// cannot be taken back.
pub(super) async fn see(
    (snapshot, connection): (&Snapshot, &Connection),
    who: &Principal,
    target: Target,
    arrival: Arrival,
    id: CallId,
    room: &mut Room,
) -> Result<Seen<HttpCall>, Refusal> {
    let facts = arrival.facts();
    let headers = forwarded(connection, &arrival.headers);
    let found = connection
        .catalogue
        .find(&arrival.method, &target, &headers);
    let (plan, mut fault) = found.seen_plan(&headers, arrival.length);
    let guards: Vec<_> = found
        .functions()
        .filter_map(|function| {
            let mask = connection.upstream.mask_of(Stance::Observed, function);
            mask?.requests()
        })
        .collect();
    let plan = searched_whole(plan, snapshot, !guards.is_empty());
    let (body, over) = body(plan, (arrival.body, arrival.length), room).await?;
    if over {
        fault = fault.or_else(|| {
            Some(SeenFault {
                code: "too_large",
                detail: "the body is larger than what can be judged".to_owned(),
            })
        });
    }
    let request = Undecoded {
        method: arrival.method,
        target,
        headers,
        body,
    };
    let place = (snapshot, connection);
    let (request, found, veil) = tokens::restore(place, (who, &facts), request, found)?;
    unmasked(&request.target, &request.headers, &request.body)?;
    if !over && let Err(refusal) = sendable((connection, who), &guards, &request, &found) {
        fault = fault.or_else(|| {
            Some(SeenFault {
                code: refusal.code.as_str(),
                detail: refusal.detail,
            })
        });
    }
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
        .see(&found, head, body, (id, facts), fault)
        .map(|seen| seen.with_veil(veil))
        .map_err(|fault| refused(&fault))
}

/// Whether the request would be sent, with what must not be sent replaced. It is left as it is.
fn sendable(
    whose: (&Connection, &Principal),
    guards: &[&RequestGuard],
    request: &Undecoded,
    found: &Found,
) -> Result<(), Refusal> {
    for guard in guards {
        outgoing::searched(guard, request)?;
    }
    let body = match &request.body {
        RequestBody::Bytes(bytes) => RequestBody::Bytes(bytes.clone()),
        // One that streams is nobody's to search: without a guard nothing is replaced either.
        RequestBody::Empty | RequestBody::Stream(_) => RequestBody::Empty,
    };
    let copy = Undecoded {
        method: request.method.clone(),
        target: request.target.clone(),
        headers: request.headers.clone(),
        body,
    };
    outgoing::replace(whose, guards, copy, found.clone(), None).map(drop)
}
