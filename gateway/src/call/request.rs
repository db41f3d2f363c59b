//! A call over HTTP: the request that was judged, and that is forwarded byte for byte.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::combinators::UnsyncBoxBody;
use serde::{Deserialize, Serialize};
use wire::http::Target;

use super::binding::Binding;
use super::{Call, CallId, Facts, Function, Input, RequestContent, Sameness};
use crate::mask::Veil;

/// Version of the frozen form.
const FROZEN_VERSION: u32 = 1;

/// A request's head, after routing: the target is the one below the connection's prefix, and the
/// caller's own credentials are gone.
#[derive(Clone, Debug)]
pub struct HttpHead {
    /// The method.
    pub method: Method,
    /// The normalised target.
    pub target: Target,
    /// The caller's headers.
    pub headers: HeaderMap,
}

/// A request's body.
pub enum RequestBody {
    /// None.
    Empty,
    /// In memory.
    Bytes(Bytes),
    /// As it arrives.
    Stream(UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>),
}

impl RequestBody {
    /// The bytes, when they are in memory.
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Empty => Some(Bytes::new()),
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Stream(_) => None,
        }
    }
}

impl RequestBody {
    /// No bytes are no body.
    pub(super) fn normal(self) -> Self {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Self::Empty,
            body => body,
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// One call of an HTTP function. Made by [`super::Catalogue::decode`] only.
pub struct HttpCall {
    pub(super) id: CallId,
    pub(super) binding: Arc<Binding>,
    pub(super) input: Input,
    pub(super) facts: Facts,
    pub(super) method: Method,
    pub(super) target: Target,
    pub(super) headers: HeaderMap,
    pub(super) body: RequestBody,
    pub(super) veil: Vec<Veil>,
}

impl HttpCall {
    /// The same call, of which the caller sent some values as tokens.
    #[must_use]
    pub fn with_veil(self, veil: Vec<Veil>) -> Self {
        Self { veil, ..self }
    }

    /// The method that is forwarded.
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The target that is forwarded, below the upstream's base path.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The caller's headers that are forwarded.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The request, for the upstream room.
    pub fn into_request(self) -> (Method, Target, HeaderMap, RequestBody) {
        (self.method, self.target, self.headers, self.body)
    }

    fn header(&self, name: &str) -> &[u8] {
        self.headers
            .get(name)
            .map_or(&[], http::HeaderValue::as_bytes)
    }

    /// Names and values in the order of names; values are ASCII, which `wire::http::check` has seen to.
    fn head(&self) -> FrozenHead {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect();
        // Stable: values of one name stay in their order.
        headers.sort_by(|a, b| a.0.cmp(&b.0));
        FrozenHead {
            version: FROZEN_VERSION,
            function: self.binding.function.id.to_string(),
            method: self.method.as_str().to_owned(),
            target: self.target.as_str().to_owned(),
            headers,
            veil: self.veil.clone(),
        }
    }
}

impl fmt::Debug for HttpCall {
    /// Neither path, headers nor input: they may hold personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCall")
            .field("id", &self.id)
            .field("function", &self.binding.function.id)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Call for HttpCall {
    fn id(&self) -> CallId {
        self.id
    }

    fn function(&self) -> &Arc<Function> {
        &self.binding.function
    }

    fn input(&self) -> &Input {
        &self.input
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn content(&self) -> RequestContent {
        let FrozenHead {
            method,
            target,
            headers,
            ..
        } = self.head();
        RequestContent {
            head: serde_json::json!({ "method": method, "target": target, "headers": headers }),
            body: self.body.bytes(),
        }
    }

    fn freeze(&self) -> Option<Vec<u8>> {
        let body = self.body.bytes()?;
        let head = serde_json::to_vec(&self.head()).ok()?;
        let length = u32::try_from(head.len()).ok()?;
        let mut out = Vec::with_capacity(4 + head.len() + body.len());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&body);
        Some(out)
    }

    fn veil(&self) -> &[Veil] {
        &self.veil
    }

    fn sameness(&self) -> Sameness {
        let mut digest = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(b"callgate/same-call/1");
        part(self.binding.function.id.to_string().as_bytes());
        part(self.method.as_str().as_bytes());
        part(self.target.as_str().as_bytes());
        part(self.header("content-type"));
        part(self.header("if-match"));
        part(self.header("idempotency-key"));
        for name in self.binding.input_headers() {
            part(name.as_bytes());
            part(self.header(name));
        }
        match self.body.bytes() {
            Some(body) => part(&body),
            // What streams is never the same call again.
            None => part(self.id.as_bytes()),
        }
        let mut out = [0; 32];
        out.copy_from_slice(digest.finish().as_ref());
        let key = self.headers.get("idempotency-key");
        Sameness {
            digest: out,
            idempotency_key: key.and_then(|key| key.to_str().ok()).map(str::to_owned),
        }
    }
}

/// The head of a frozen call.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrozenHead {
    version: u32,
    pub(super) function: String,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) veil: Vec<Veil>,
}

/// The parts of a frozen call; `None` when it is not one.
pub(super) fn split_frozen(frozen: &[u8]) -> Option<(FrozenHead, Bytes)> {
    let (length, rest) = frozen.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (head, body) = rest.split_at_checked(length)?;
    let head: FrozenHead = serde_json::from_slice(head).ok()?;
    (head.version == FROZEN_VERSION).then(|| (head, Bytes::copy_from_slice(body)))
}
