//! The answer of a function. Nobody reads its bytes but through masking, and what was released is
//! recorded before it is released.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forward::{Failed, Surroundings, millis};
use super::pool::{Lent, Pool, PoolKey};
use crate::gate::{Code, Executed, Ongoing, Refusal};
use crate::mask::{
    Cover, DataClass, Masker, Mode, NeedleError, Needles, Plan, ResponseFacts, Settings, Summary,
    Withheld,
};
use crate::record::{End, Outcome, Unavailable};

/// Whether the function's cookies reach the caller, and the caller's the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cookies {
    /// They do not pass: a session born of the credential is as good as the credential.
    #[default]
    Drop,
    /// They pass both ways.
    Pass,
}

/// Headers of one hop (RFC 9110 section 7.6.1), and those that only the gateway may set.
const NOT_RELEASED: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "te",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "callgate-call",
    "callgate-receipt",
];
/// Headers that describe bytes which masking may change, or that let a cache share them.
const NOT_MASKED: [&str; 10] = [
    "etag",
    "last-modified",
    "accept-ranges",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
    "content-range",
    "age",
    "expires",
];

/// A connection on loan, given back after a complete exchange.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) pool: Arc<Pool>,
    pub(super) key: PoolKey,
    pub(super) lent: Lent,
}

/// An answer as the function gave it. Its insides are private: the only way on is [`Raw::mask`].
#[derive(Debug)]
pub struct Raw {
    answer: http::Response<Incoming>,
    ongoing: Ongoing,
    settings: Arc<Settings>,
    needles: Arc<Needles>,
    /// Values that the caller sent as tokens: an echo must not hand them out.
    cover: Arc<Cover>,
    lease: Lease,
    around: Surroundings,
    started: Instant,
    head_only: bool,
}

/// The head of a masked answer.
#[derive(Clone, Debug)]
pub struct MaskedHead {
    /// The status.
    pub status: http::StatusCode,
    /// Headers to release, without any that frame the body.
    pub headers: HeaderMap,
    /// Exact length of the body, when masking cannot change it and the function gave one.
    pub length: Option<u64>,
    /// Length that the function announced.
    pub announced: Option<u64>,
    /// No body follows (HEAD, 204, 304).
    pub bodiless: bool,
}

/// A masked answer under way: its chunks are masked, and must be recorded before they are released.
pub struct Masked {
    head: MaskedHead,
    masker: Option<Masker>,
    body: Incoming,
    ongoing: Ongoing,
    lease: Option<Lease>,
    idle_max: Duration,
    started: Instant,
    upstream: Duration,
    trailers: Option<HeaderMap>,
    summary: Summary,
}

/// The next part of a masked answer.
#[derive(Debug)]
pub enum Chunk {
    /// Masked bytes; may be empty while the masker holds some back.
    Data(Bytes),
    /// The function's answer is complete; masked trailers, if any.
    End(Option<HeaderMap>),
    /// It is not complete, or cannot be masked.
    Broken(Refusal),
}

impl std::fmt::Debug for Masked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Masked")
            .field("status", &self.head.status)
            .finish_non_exhaustive()
    }
}

impl Raw {
    pub(super) fn new(
        answer: http::Response<Incoming>,
        ongoing: Ongoing,
        settings: Arc<Settings>,
        needles: Arc<Needles>,
        lease: Lease,
        around: Surroundings,
    ) -> Self {
        Self {
            answer,
            ongoing,
            settings,
            needles,
            cover: Arc::new(Cover::new(&[])),
            lease,
            around,
            started: Instant::now(),
            head_only: false,
        }
    }

    pub(super) const fn timed(mut self, started: Instant, head_only: bool) -> Self {
        self.started = started;
        self.head_only = head_only;
        self
    }

    pub(super) fn covered(mut self, cover: Cover) -> Self {
        self.cover = Arc::new(cover);
        self
    }

    /// What is masked in the answer, and what is overwritten.
    fn planned(&self) -> Result<(Plan, Arc<Needles>), NeedleError> {
        let who = self.ongoing.principal().key();
        let unmask = self.ongoing.obligations().unmask();
        let plan = self.settings.plan(unmask);
        let plan = plan.for_caller(&who.issuer, &who.subject);
        let plan = plan.veiled(Arc::clone(&self.cover));
        let needles = self.cover.needles(&self.needles, plan.mode(), unmask)?;
        Ok((plan, needles))
    }

    /// Put the answer behind masking, by the permit's obligations, the credential's needles and the values that
    /// the caller sent as tokens.
    ///
    /// # Errors
    /// [`Failed`] with `response_withheld` when this answer cannot be inspected.
    pub fn mask(self) -> Result<Masked, Box<Failed>> {
        let planned = self.planned();
        let (parts, body) = self.answer.into_parts();
        let status = parts.status;
        let upstream = self.started.elapsed();
        let withheld = |ongoing, operator: String| {
            Box::new(Failed {
                refusal: response_withheld(operator),
                ongoing,
                end: Outcome::Withheld,
                sent: true,
                upstream,
                status: Some(status.as_u16()),
            })
        };
        if status == http::StatusCode::SWITCHING_PROTOCOLS {
            let why = "the function switched protocols".to_owned();
            return Err(withheld(self.ongoing, why));
        }
        let announced = body.size_hint().exact();
        let bodiless = self.head_only
            || status == http::StatusCode::NO_CONTENT
            || status == http::StatusCode::NOT_MODIFIED;
        let text = |name: HeaderName| joined(&parts.headers, &name);
        let (content_type, content_encoding) =
            (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
        let facts = ResponseFacts {
            status: status.as_u16(),
            content_type: content_type.as_deref(),
            content_encoding: content_encoding.as_deref(),
            head_only: bodiless || announced == Some(0),
        };
        let masker = planned
            .map_err(|error| error.to_string())
            .and_then(|(plan, needles)| {
                Masker::new(plan, needles, &facts).map_err(|error| error.to_string())
            });
        let mut masker = match masker {
            Ok(masker) => masker,
            Err(error) => return Err(withheld(self.ongoing, error)),
        };
        let on = self.settings.mode() == Mode::On;
        let headers = match release_headers(&parts.headers, &mut masker, &self.around, on) {
            Ok(headers) => headers,
            Err(error) => return Err(withheld(self.ongoing, error)),
        };
        let length = if bodiless {
            let unchanged = self.head_only && !on && !masker.decoded();
            told_length(&parts.headers, unchanged)
        } else {
            announced.filter(|_| !masker.changes_length())
        };
        let head = MaskedHead {
            status,
            headers,
            length,
            announced,
            bodiless,
        };
        Ok(Masked {
            head,
            masker: Some(masker),
            body,
            ongoing: self.ongoing,
            lease: Some(self.lease),
            idle_max: self.around.idle_max,
            started: self.started,
            upstream,
            trailers: None,
            summary: Summary::default(),
        })
    }
}

impl Masked {
    /// The head to release.
    pub const fn head(&self) -> &MaskedHead {
        &self.head
    }

    /// Value of the `Callgate-Receipt` header.
    pub fn receipt(&self) -> String {
        self.ongoing.receipt()
    }

    /// Who the answer is for.
    pub fn ongoing(&self) -> &Ongoing {
        &self.ongoing
    }

    /// What was masked so far.
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Time spent in the function so far.
    pub const fn in_function(&self) -> Duration {
        self.upstream
    }

    /// The next masked part of the body.
    pub async fn chunk(&mut self) -> Chunk {
        let Some(masker) = self.masker.as_mut() else {
            return Chunk::End(self.trailers.take());
        };
        let Ok(frame) = tokio::time::timeout(self.idle_max, self.body.frame()).await else {
            return Chunk::Broken(broken(
                Code::UpstreamTimeout,
                "the function's answer stood still",
            ));
        };
        let mut out = Vec::new();
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => match masker.push(&data, &mut out) {
                    Ok(()) => Chunk::Data(out.into()),
                    Err(error) => Chunk::Broken(not_inspected(&error)),
                },
                Err(frame) => match frame
                    .into_trailers()
                    .map(|trailers| masked_trailers(&trailers, masker))
                {
                    Ok(Ok(trailers)) => {
                        self.trailers = Some(trailers);
                        Chunk::Data(Bytes::new())
                    }
                    Ok(Err(error)) => Chunk::Broken(response_withheld(error)),
                    Err(_) => Chunk::Broken(broken(
                        Code::UpstreamFailed,
                        "an unknown frame came from the function",
                    )),
                },
            },
            Some(Err(error)) => {
                let refusal = broken(Code::UpstreamFailed, "the function's answer broke off");
                Chunk::Broken(refusal.operator(error.to_string()))
            }
            None => self.ended(out),
        }
    }

    fn ended(&mut self, mut out: Vec<u8>) -> Chunk {
        let Some(masker) = self.masker.take() else {
            return Chunk::End(self.trailers.take());
        };
        match masker.finish(&mut out) {
            Ok(summary) => {
                self.summary = summary;
                // A complete exchange: the connection may serve the next call of this credential.
                if let Some(lease) = self.lease.take() {
                    lease.pool.give_back(lease.key, lease.lent);
                }
                self.upstream = self.started.elapsed();
                if out.is_empty() {
                    Chunk::End(self.trailers.take())
                } else {
                    Chunk::Data(out.into())
                }
            }
            Err(error) => Chunk::Broken(not_inspected(&error)),
        }
    }

    /// Record bytes that are about to be released.
    ///
    /// # Errors
    /// [`Unavailable`]: then they must not be released.
    pub async fn released(&mut self, chunk: &[u8]) -> Result<(), Unavailable> {
        self.ongoing.released(chunk).await
    }

    /// Close the record; only then may the end be released.
    ///
    /// # Errors
    /// [`Unavailable`]: then the end must not be released.
    pub async fn close(
        self,
        outcome: Outcome,
        error: Option<&'static str>,
        whole: Duration,
        trailers: Option<&HeaderMap>,
        kept: Option<Vec<u8>>,
    ) -> Result<(), Unavailable> {
        let end = End {
            outcome,
            status: Some(self.head.status.as_u16()),
            response_head: Some(head_json(&self.head)),
            trailers: trailers.map(headers_json),
            masked: counts(&self.summary.hits),
            places: places_json(&self.summary),
            found: counts(&self.summary.observed),
            scrubbed: self.summary.scrubbed,
            upstream_ms: Some(millis(self.upstream)),
            total_ms: millis(whole),
            error,
        };
        self.ongoing.close(end, kept).await.map(|_| ())
    }
}

/// Under which names values were found, for the record's sealed part.
fn places_json(summary: &Summary) -> Option<serde_json::Value> {
    let classes = summary
        .places
        .iter()
        .map(|(class, names)| (class.to_string(), serde_json::json!(names)));
    (!summary.places.is_empty()).then(|| serde_json::Value::Object(classes.collect()))
}

fn counts(found: &BTreeMap<DataClass, u64>) -> BTreeMap<String, u64> {
    let counts = found.iter();
    counts
        .map(|(class, count)| (class.to_string(), *count))
        .collect()
}

fn response_withheld(operator: String) -> Refusal {
    Refusal::new(
        Code::ResponseWithheld,
        "EXECUTED, but the answer could not be inspected and is withheld; do not repeat the call",
    )
    .executed(Executed::Yes)
    .operator(operator)
}

/// The caller is told more only where it is about itself.
fn not_inspected(error: &Withheld) -> Refusal {
    let refusal = response_withheld(error.to_string());
    match error.spent() {
        Some(spent) => Refusal {
            detail: format!(
                "EXECUTED, but the answer is withheld: {spent}; do not repeat the call"
            ),
            ..refusal
        },
        None => refusal,
    }
}

fn broken(code: Code, text: &str) -> Refusal {
    Refusal::new(code, format!("{text}: it was executed at least in part"))
        .executed(Executed::Unknown)
}

/// All values, and also those that are no text: what is not understood must not look absent.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// HEAD tells what GET would, but not how long something is that masking may change.
fn told_length(headers: &HeaderMap, unchanged: bool) -> Option<u64> {
    let length = joined(headers, &header::CONTENT_LENGTH).filter(|_| unchanged);
    length.and_then(|length| length.parse().ok())
}

fn release_headers(
    from: &HeaderMap,
    masker: &mut Masker,
    around: &Surroundings,
    masked: bool,
) -> Result<HeaderMap, String> {
    let named: Vec<String> = from
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut to = HeaderMap::with_capacity(from.len() + 4);
    for (name, value) in from {
        let dropped = NOT_RELEASED.contains(&name.as_str())
            || named.iter().any(|named| named == name.as_str())
            || (name == header::SET_COOKIE && around.cookies == Cookies::Drop)
            || (masked && NOT_MASKED.contains(&name.as_str()))
            || (name == header::CONTENT_ENCODING && masker.decoded());
        if dropped {
            continue;
        }
        let rewritten = if name == header::LOCATION || name == header::CONTENT_LOCATION {
            relocated(value, around)
        } else {
            None
        };
        let value = rewritten.as_ref().unwrap_or(value);
        to.append(name.clone(), masked_value(name, value, masker)?);
    }
    if masked {
        to.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
    }
    Ok(to)
}

fn masked_trailers(from: &HeaderMap, masker: &mut Masker) -> Result<HeaderMap, String> {
    let mut to = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        // Trailers cannot frame, route or authenticate (RFC 9110 section 6.5.1).
        if NOT_RELEASED.contains(&name.as_str()) || name == header::SET_COOKIE {
            continue;
        }
        to.append(name.clone(), masked_value(name, value, masker)?);
    }
    Ok(to)
}

fn masked_value(
    name: &HeaderName,
    value: &HeaderValue,
    masker: &mut Masker,
) -> Result<HeaderValue, String> {
    match masker.header_value(name.as_str(), value.as_bytes()) {
        Ok(None) => Ok(value.clone()),
        Ok(Some(bytes)) => {
            HeaderValue::from_bytes(&bytes).map_err(|_| format!("header `{name}` cannot be masked"))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A redirect within the function's own origin, as the caller can follow it.
fn relocated(value: &HeaderValue, around: &Surroundings) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let path = match text.strip_prefix(&around.origin) {
        Some("") => "/",
        Some(path) if path.starts_with('/') => path,
        Some(_) => return None,
        None if text.starts_with('/') && !text.starts_with("//") => text,
        None => return None,
    };
    let path = path
        .strip_prefix(around.base.as_str())
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    HeaderValue::try_from(format!("{}{path}", around.route)).ok()
}

fn head_json(head: &MaskedHead) -> serde_json::Value {
    serde_json::json!({ "status": head.status.as_u16(), "headers": headers_json(&head.headers) })
}

fn headers_json(headers: &HeaderMap) -> serde_json::Value {
    headers
        .iter()
        .map(|(name, value)| {
            serde_json::json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
        })
        .collect()
}
