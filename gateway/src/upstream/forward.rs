//! Sending a permitted call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Empty, Full};

use super::endpoint::Endpoint;
use super::pool::{Body, Lent, Pool, PoolKey, Sent};
use super::raw::{Cookies, Raw};
use crate::call::{FunctionId, HttpCall, RequestBody};
use crate::credential::Credential;
use crate::gate::{Code, Executed, Ongoing, Permitted, Refusal};
use crate::mask::{Mode, Settings};
use crate::record::{RequestTap, Unavailable};

/// A connection's way to its function.
#[derive(Debug)]
pub struct Upstream {
    endpoint: Endpoint,
    pool: Arc<Pool>,
    masks: BTreeMap<FunctionId, Arc<Settings>>,
    route: String,
    cookies: Cookies,
}

/// What stands around an answer: the route it came by and what may pass.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) origin: String,
    pub(super) base: String,
    pub(super) route: String,
    pub(super) cookies: Cookies,
    pub(super) idle_max: Duration,
}

/// A permitted call that got no answer. The record is still open and must be closed.
#[derive(Debug)]
pub struct Failed {
    /// What the caller is told once the record is closed.
    pub refusal: Refusal,
    pub(super) ongoing: Box<Ongoing>,
    pub(super) sent: bool,
    pub(super) upstream: Duration,
    pub(super) status: Option<u16>,
}

impl Failed {
    /// Value of the `Callgate-Receipt` header.
    pub fn receipt(&self) -> String {
        self.ongoing.receipt()
    }

    /// Close the record; then the caller can be told.
    ///
    /// # Errors
    /// [`Unavailable`] when the end cannot be recorded.
    pub async fn close(self, why: &'static str, whole: Duration) -> Result<Refusal, Unavailable> {
        if self.sent {
            let end = super::raw::failed_end(
                self.refusal.executed,
                self.status,
                why,
                self.upstream,
                whole,
            );
            self.ongoing.close(end, None).await?;
        } else {
            self.ongoing.close_unsent(why).await?;
        }
        Ok(self.refusal)
    }
}

impl Upstream {
    /// A connection's upstream. `masks` has the mask settings of every function of the connection;
    /// `route` is the caller's side prefix.
    pub fn new(
        endpoint: Endpoint,
        masks: BTreeMap<FunctionId, Arc<Settings>>,
        route: &str,
        cookies: Cookies,
    ) -> Self {
        let route = route.trim_end_matches('/').to_owned();
        Self {
            endpoint,
            pool: Arc::new(Pool::new()),
            masks,
            route,
            cookies,
        }
    }

    /// The function's origin, for the record.
    pub fn origin(&self) -> String {
        self.endpoint.origin()
    }

    /// A function's mask settings.
    pub fn mask(&self, function: &FunctionId) -> Option<&Arc<Settings>> {
        self.masks.get(function)
    }

    /// Drop idle connections whose time is over.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Send a permitted call and wait for the head of its answer.
    ///
    /// # Errors
    /// [`Failed`], with the open record in it, when there is no answer.
    pub async fn forward(
        &self,
        permitted: Permitted<HttpCall>,
        credential: Credential,
        extra: HeaderMap,
    ) -> Result<Raw, Failed> {
        let (call, ongoing) = permitted.spend();
        let (slot, key, needles) = credential.spend();
        let ongoing = Box::new(ongoing);
        let Some(settings) = self.masks.get(&ongoing.function().id).map(Arc::clone) else {
            return Err(unsent(
                ongoing,
                "the function has no mask settings",
                Code::Internal,
            ));
        };
        let started = Instant::now();
        let key = PoolKey(key);
        let masked = settings.mode() == Mode::On;
        let (method, target, headers, body) = call.into_request();
        let parts = Head {
            method,
            path: target.as_str().to_owned(),
            headers,
            slot,
            extra,
            masked,
        };
        let mut body = Some(tapped(body, ongoing.request_tap()));
        let mut tries = 0;
        let (lent, answer) = loop {
            tries += 1;
            let lent = match self.pool.idle(&key).filter(|_| tries == 1) {
                Some(lent) => Ok(lent),
                None => self.pool.connect(&self.endpoint, &key).await,
            };
            let mut lent = match lent {
                Ok(lent) => lent,
                Err(error) => {
                    let refusal = Refusal::new(
                        Code::UpstreamFailed,
                        "NOT executed: the function cannot be reached",
                    )
                    .operator(error.to_string());
                    return Err(Failed {
                        refusal,
                        ongoing,
                        sent: false,
                        upstream: started.elapsed(),
                        status: None,
                    });
                }
            };
            let Some(request) = body
                .take()
                .and_then(|body| self.request(&parts, body, &lent))
            else {
                return Err(unsent(
                    ongoing,
                    "the request could not be built",
                    Code::Internal,
                ));
            };
            let sent = tokio::time::timeout(self.endpoint.first_byte_max, lent.send(request)).await;
            match sent {
                Ok(Sent::Answer(answer)) => break (lent, answer),
                // A connection that died while idle took no byte of the call: a new one may.
                Ok(Sent::Unsent(request)) if lent.reused() && tries == 1 => {
                    body = Some(request.into_body())
                }
                Ok(Sent::Unsent(_)) => {
                    return Err(unsent(
                        ongoing,
                        "the function closed the connection before the call",
                        Code::UpstreamFailed,
                    ));
                }
                Ok(Sent::Broken(error)) => {
                    let refusal = Refusal::new(
                        Code::UpstreamFailed,
                        "the function broke off before it answered: it may have been executed",
                    )
                    .executed(Executed::Unknown)
                    .operator(error.to_string());
                    return Err(Failed {
                        refusal,
                        ongoing,
                        sent: true,
                        upstream: started.elapsed(),
                        status: None,
                    });
                }
                Err(_) => {
                    let refusal = Refusal::new(
                        Code::UpstreamTimeout,
                        "the function did not answer in time: it may have been executed",
                    )
                    .executed(Executed::Unknown);
                    return Err(Failed {
                        refusal,
                        ongoing,
                        sent: true,
                        upstream: started.elapsed(),
                        status: None,
                    });
                }
            }
        };
        let place = super::raw::Lease {
            pool: Arc::clone(&self.pool),
            key,
            lent,
        };
        let raw = Raw::new(
            *answer,
            ongoing,
            settings,
            needles,
            place,
            self.surroundings(),
        );
        Ok(raw.timed(started, parts.method == http::Method::HEAD))
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            origin: self.endpoint.origin(),
            base: self.endpoint.base().to_owned(),
            route: self.route.clone(),
            cookies: self.cookies,
            idle_max: self.endpoint.idle_max,
        }
    }

    fn request(&self, head: &Head, body: Body, lent: &Lent) -> Option<http::Request<Body>> {
        let path = format!("{}{}", self.endpoint.base(), head.path);
        let uri = if lent.is_http2() {
            let scheme = if self.endpoint.is_tls() {
                "https"
            } else {
                "http"
            };
            http::Uri::builder()
                .scheme(scheme)
                .authority(self.endpoint.authority())
                .path_and_query(path)
                .build()
                .ok()?
        } else {
            http::Uri::builder().path_and_query(path).build().ok()?
        };
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.extend(head.headers.clone());
        headers.extend(head.extra.clone());
        if !lent.is_http2() {
            headers.insert(
                header::HOST,
                HeaderValue::try_from(self.endpoint.authority()).ok()?,
            );
        }
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        headers.insert(header::VIA, HeaderValue::from_static("1.1 callgate"));
        if head.masked && matches!(head.method, http::Method::GET | http::Method::HEAD) {
            // A partial or a conditional answer cannot be inspected as a whole.
            for name in CONDITIONAL {
                headers.remove(name);
            }
        }
        if let Some((name, value)) = &head.slot {
            headers.insert(name, value.clone());
        }
        Some(request)
    }
}

/// Range and conditional headers (RFC 9110 sections 13 and 14).
const CONDITIONAL: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

struct Head {
    method: http::Method,
    path: String,
    headers: HeaderMap,
    slot: Option<(HeaderName, HeaderValue)>,
    extra: HeaderMap,
    masked: bool,
}

fn unsent(ongoing: Box<Ongoing>, operator: &str, code: Code) -> Failed {
    let refusal = Refusal::new(code, "NOT executed: the call could not be sent").operator(operator);
    Failed {
        refusal,
        ongoing,
        sent: false,
        upstream: Duration::ZERO,
        status: None,
    }
}

/// The body with a tap that commits to what goes up; buffered bytes are committed in the begin record.
fn tapped(body: RequestBody, tap: RequestTap) -> Body {
    match body {
        RequestBody::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        RequestBody::Bytes(bytes) => Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync(),
        RequestBody::Stream(stream) => stream
            .map_frame(move |frame| {
                if let Some(data) = frame.data_ref() {
                    tap.push(data);
                }
                frame
            })
            .boxed_unsync(),
    }
}
