//! Sending a permitted call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;

use super::endpoint::{ConnectError, Endpoint};
use super::pool::{Body, Lent, Pool, PoolKey, Sent};
use super::raw::{Cookies, Raw};
use super::tapped::{Progress, Tapped};
use crate::call::{Call as _, FunctionId, HttpCall, RequestBody};
use crate::credential::Credential;
use crate::gate::{Code, Executed, Ongoing, Permitted, Refusal, Stance};
use crate::mask::{Cover, Mode, Settings};
use crate::record::{End, Outcome, RequestTap, Unavailable};

/// A connection's way to its function.
#[derive(Debug)]
pub struct Upstream {
    endpoint: Endpoint,
    pool: Arc<Pool>,
    masks: Masks,
    route: String,
    cookies: Cookies,
}

/// Mask settings by function.
#[derive(Debug, Default)]
pub struct Masks {
    /// Of every declared function.
    pub enforced: BTreeMap<FunctionId, Arc<Settings>>,
    /// Of calls that pass because the connection only observes, the undeclared among them: what is
    /// found is counted, and nothing changed.
    pub observed: BTreeMap<FunctionId, Arc<Settings>>,
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
    pub(super) ongoing: Ongoing,
    pub(super) end: Outcome,
    pub(super) sent: bool,
    pub(super) upstream: Duration,
    pub(super) status: Option<u16>,
}

/// Why nobody waits any more for the answer of a call that was sent.
#[derive(Debug)]
pub enum Left {
    /// The caller went away.
    Caller,
    /// The caller may not have the answer any more.
    ShutOut(Refusal),
}

/// Why there is no answer.
struct Unanswered {
    refusal: Refusal,
    end: Outcome,
    /// Whether any byte of the call may have been written.
    sent: bool,
}

impl Unanswered {
    fn unsent(code: Code, operator: impl Into<String>) -> Self {
        let text = "NOT executed: the function could not be reached";
        Self {
            refusal: Refusal::new(code, text).operator(operator),
            end: Outcome::Failed,
            sent: false,
        }
    }

    /// Nobody waits any more: no fault of the function, and nothing for the operator to mend.
    fn left(left: Left) -> Self {
        let (refusal, end) = match left {
            Left::Caller => {
                let text = "the caller went away: it may have been executed";
                let refusal = Refusal::new(Code::UpstreamFailed, text);
                (refusal.executed(Executed::Unknown), Outcome::Cut)
            }
            Left::ShutOut(refusal) => (refusal, Outcome::Indeterminate),
        };
        Self {
            refusal,
            end,
            sent: true,
        }
    }

    fn unknown(code: Code, text: &str, operator: String) -> Self {
        let refusal = Refusal::new(code, format!("{text}: it may have been executed"));
        let refusal = refusal.executed(Executed::Unknown).operator(operator);
        Self {
            refusal,
            end: Outcome::Indeterminate,
            sent: true,
        }
    }
}

impl Failed {
    /// Value of the `Callgate-Receipt` header.
    pub fn receipt(&self) -> String {
        self.ongoing.receipt()
    }

    /// Why there is no answer, for the record.
    pub fn why(&self) -> &'static str {
        match self.end {
            Outcome::Cut => "caller_gone",
            Outcome::Ok
            | Outcome::UpstreamError
            | Outcome::Withheld
            | Outcome::Failed
            | Outcome::Indeterminate => self.refusal.code.as_str(),
        }
    }

    /// Close the record; then the caller can be told.
    ///
    /// # Errors
    /// [`Unavailable`] when the end cannot be recorded.
    pub async fn close(self, why: &'static str, whole: Duration) -> Result<Refusal, Unavailable> {
        if self.sent {
            let mut end = End::new(self.end);
            end.status = self.status;
            end.error = Some(why);
            end.upstream_ms = Some(millis(self.upstream));
            end.total_ms = millis(whole);
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
    pub fn new(endpoint: Endpoint, masks: Masks, route: &str, cookies: Cookies) -> Self {
        let route = route.trim_end_matches('/').to_owned();
        Self {
            endpoint,
            pool: Arc::new(Pool::new()),
            masks,
            route,
            cookies,
        }
    }

    /// Connect to the function (and shake hands, with TLS) without sending a request: when its certificate ends, in
    /// seconds since 1970; `None` without TLS.
    ///
    /// # Errors
    /// [`ConnectError`]: calls to it fail in the same way.
    pub async fn probe(&self) -> Result<Option<i64>, ConnectError> {
        self.endpoint.probe().await
    }

    /// The function's origin, for the record.
    pub fn origin(&self) -> String {
        self.endpoint.origin()
    }

    /// A function's mask settings.
    pub fn mask(&self, function: &FunctionId) -> Option<&Arc<Settings>> {
        self.masks.enforced.get(function)
    }

    /// The mask settings that a call is answered by.
    pub fn mask_of(&self, stance: Stance, function: &FunctionId) -> Option<&Arc<Settings>> {
        match stance {
            Stance::Enforced => self.masks.enforced.get(function),
            Stance::Observed => self.masks.observed.get(function),
        }
    }

    /// Drop idle connections whose time is over.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Send a permitted call and wait for the head of its answer, or until nobody waits for it any more: `left`.
    ///
    /// # Errors
    /// [`Failed`], with the open record in it, when there is no answer.
    pub async fn forward(
        &self,
        permitted: Permitted<HttpCall>,
        credential: Credential,
        extra: HeaderMap,
        left: impl Future<Output = Left> + Send,
    ) -> Result<Raw, Box<Failed>> {
        let (call, ongoing) = permitted.spend();
        let (slot, key, needles) = credential.spend();
        let cover = Cover::new(call.veil());
        let started = Instant::now();
        let settings = self.mask_of(ongoing.stance(), &ongoing.function().id);
        let settings = settings.map(Arc::clone);
        let masked = settings
            .as_ref()
            .is_some_and(|settings| settings.mode() == Mode::On);
        let (method, target, headers, body) = call.into_request();
        let head_only = method == http::Method::HEAD;
        let head = Head {
            method,
            path: target.as_str().to_owned(),
            headers,
            slot,
            extra,
            masked,
        };
        let progress = Progress::new();
        let body = tapped(body, ongoing.request_tap(), progress.clone());
        let key = PoolKey(key);
        let sent = match settings {
            Some(settings) => self
                .exchange(&head, (body, &progress), &key, left)
                .await
                .map(|sent| (settings, sent)),
            None => Err(Unanswered::unsent(
                Code::Internal,
                "the function has no mask settings",
            )),
        };
        match sent {
            Ok((settings, (lent, answer))) => {
                let lease = super::raw::Lease {
                    pool: Arc::clone(&self.pool),
                    key,
                    lent,
                };
                let raw = Raw::new(
                    *answer,
                    ongoing,
                    settings,
                    needles,
                    lease,
                    self.surroundings(),
                );
                Ok(raw.timed(started, head_only).covered(cover))
            }
            Err(Unanswered { refusal, end, sent }) => {
                let upstream = started.elapsed();
                Err(Box::new(Failed {
                    refusal,
                    ongoing,
                    end,
                    sent,
                    upstream,
                    status: None,
                }))
            }
        }
    }

    /// Send once; a second time only when zero bytes were written.
    async fn exchange(
        &self,
        head: &Head,
        (mut body, progress): (Body, &Progress),
        key: &PoolKey,
        left: impl Future<Output = Left> + Send,
    ) -> Result<(Lent, Box<http::Response<Incoming>>), Unanswered> {
        let mut left = std::pin::pin!(left);
        let mut lent = match self.pool.idle(key) {
            Some(lent) => lent,
            None => self.connect(key).await?,
        };
        loop {
            let request = self.request(head, body, &lent);
            let request = request.ok_or_else(|| {
                Unanswered::unsent(Code::Internal, "the request could not be built")
            })?;
            let sent = tokio::select! {
                sent = progress.answer_within(self.endpoint.first_byte_max, lent.send(request)) => sent,
                left = left.as_mut() => return Err(Unanswered::left(left)),
            };
            match sent {
                Some(Sent::Answer(answer)) => return Ok((lent, answer)),
                // A connection that died while idle took no byte of the call: a new one may.
                Some(Sent::Unsent(request)) if lent.reused() => {
                    body = request.into_body();
                    lent = self.connect(key).await?;
                }
                Some(Sent::Unsent(_)) => {
                    return Err(Unanswered::unsent(
                        Code::UpstreamFailed,
                        "the function closed the connection at once",
                    ));
                }
                Some(Sent::Broken(_)) if progress.is_marked() => {
                    return Err(Unanswered::unknown(
                        Code::MaskedValueInRequest,
                        "the request contains a masked value, and was broken off in its middle",
                        "a marker in a body that streams".to_owned(),
                    ));
                }
                Some(Sent::Broken(error)) => {
                    let text = "the function broke off before it answered";
                    return Err(Unanswered::unknown(
                        Code::UpstreamFailed,
                        text,
                        error.to_string(),
                    ));
                }
                None => {
                    let text = "the function did not answer in time";
                    return Err(Unanswered::unknown(
                        Code::UpstreamTimeout,
                        text,
                        "first byte".to_owned(),
                    ));
                }
            }
        }
    }

    async fn connect(&self, key: &PoolKey) -> Result<Lent, Unanswered> {
        let connected = self.pool.connect(&self.endpoint, key).await;
        connected.map_err(|error| Unanswered::unsent(Code::UpstreamFailed, error.to_string()))
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
        if !headers.contains_key(TRACEPARENT)
            && let Some(trace) = traceparent()
        {
            headers.insert(TRACEPARENT, trace);
        }
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

/// W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A new trace, for callers that began none; not sampled, so that it costs nobody anything.
fn traceparent() -> Option<HeaderValue> {
    let mut ids = [0; 24];
    aws_lc_rs::rand::fill(&mut ids).ok()?;
    let hex: String = ids.iter().map(|byte| format!("{byte:02x}")).collect();
    let (trace, span) = hex.split_at(32);
    HeaderValue::try_from(format!("00-{trace}-{span}-00")).ok()
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

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The body with a tap that commits to what goes up; buffered bytes are committed in the begin record.
fn tapped(body: RequestBody, tap: RequestTap, progress: Progress) -> Body {
    match body {
        RequestBody::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        RequestBody::Bytes(bytes) => Full::new(bytes)
            .map_err(|never| match never {})
            .boxed_unsync(),
        RequestBody::Stream(stream) => Tapped::new(stream, tap, progress).boxed_unsync(),
    }
}
