//! Requests on a connection that only observes: what would be refused is kept beside the call, and the
//! call stays as it came.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName};
use wire::http::{BodyLength, MediaType, Target};

use super::binding::{Binding, bind};
use super::catalogue::{Catalogue, Found};
use super::config::{Additional, Method};
use super::decode::{choose, goes_on};
use super::definition::{Body, Codec, Definition, When};
use super::fault::CallFault;
use super::plan::{BODY_BYTES_MAX, BodyPlan};
use super::request::{HttpCall, HttpHead, RequestBody};
use super::schema::Arena;
use super::{CallId, ConnectionName, Durability, Facts, Function, FunctionId, Input};
use crate::mask::Veil;

/// The name of a connection's calls that are of no declared function. Nothing else may have it.
pub const UNDECLARED: &str = "_undeclared";

/// A call as it came, and why it would be refused, if it would. It is no [`super::Call`]: the gate has
/// a path of its own for it, and no other takes it.
#[derive(Debug)]
pub struct Seen<C> {
    call: C,
    fault: Option<SeenFault>,
}

/// Why a call would be refused before any policy is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenFault {
    /// The refusal's stable code.
    pub code: &'static str,
    /// What the caller would be told; it may name what the caller sent.
    pub detail: String,
}

impl From<CallFault> for SeenFault {
    fn from(fault: CallFault) -> Self {
        Self {
            code: fault.code(),
            detail: fault.to_string(),
        }
    }
}

impl Seen<HttpCall> {
    /// With the values that stand in it in place of tokens.
    #[must_use]
    pub fn with_veil(self, veil: Vec<Veil>) -> Self {
        Self {
            call: self.call.with_veil(veil),
            ..self
        }
    }
}

impl<C> Seen<C> {
    /// The call, to read.
    pub const fn call(&self) -> &C {
        &self.call
    }

    /// Call and fault: the gate's alone.
    pub(crate) fn into_parts(self) -> (C, Option<SeenFault>) {
        (self.call, self.fault)
    }
}

/// The functions of a connection that stand for all that is not declared, one an effect.
#[derive(Debug)]
pub(super) struct Undeclared([Arc<Binding>; 3]);

impl Undeclared {
    pub(super) fn new(connection: &ConnectionName) -> Option<Self> {
        let one = |method: Method| {
            let definition = Definition {
                place: String::new(),
                name: UNDECLARED.to_owned(),
                method,
                path: "/".to_owned(),
                summary: None,
                effect: method.effect(),
                durability: Durability::Both,
                additional: Additional::Allow,
                parameters: Vec::new(),
                body: Body::Stream {
                    media_types: Vec::new(),
                },
                when: When::default(),
                opaque: Vec::new(),
                classes: std::collections::BTreeMap::new(),
                mask: None,
            };
            bind(definition, connection, &Arc::new(Arena::default()))
                .ok()
                .map(Arc::new)
        };
        Some(Self([
            one(Method::Get)?,
            one(Method::Post)?,
            one(Method::Delete)?,
        ]))
    }

    fn of(&self, method: &http::Method) -> &Arc<Binding> {
        let [read, write, destructive] = &self.0;
        match Method::from_name(method.as_str()) {
            Some(Method::Get | Method::Head | Method::Options) => read,
            Some(Method::Delete) => destructive,
            Some(Method::Patch | Method::Post | Method::Put) | None => write,
        }
    }

    fn id(&self) -> &FunctionId {
        let [read, ..] = &self.0;
        &read.function.id
    }
}

impl Found {
    /// What to do with the body where nothing undeclared is refused, and what would have been refused
    /// from the head alone. JSON and forms are read into memory, so that they can be judged later.
    pub fn seen_plan(
        &self,
        headers: &HeaderMap,
        length: BodyLength,
    ) -> (BodyPlan, Option<SeenFault>) {
        let fault = match self.body_plan(headers, length) {
            Ok(plan) => return (plan, None),
            Err(fault) => fault,
        };
        let plan = match length {
            BodyLength::Known(0) => BodyPlan::None,
            BodyLength::Known(bytes) if bytes > BODY_BYTES_MAX as u64 => BodyPlan::Stream,
            BodyLength::Known(_) | BodyLength::Chunked | BodyLength::Unsaid
                if is_readable(headers) =>
            {
                BodyPlan::Buffer {
                    bytes_max: BODY_BYTES_MAX,
                }
            }
            BodyLength::Known(_) | BodyLength::Chunked | BodyLength::Unsaid => BodyPlan::Stream,
        };
        (plan, Some(fault.into()))
    }
}

fn is_readable(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE);
    let media = media.and_then(|value| MediaType::parse(value.to_str().ok()?).ok());
    media.is_some_and(|media| Codec::of(media.essence()).is_some())
}

impl Catalogue {
    /// The id of whatever this connection does not declare.
    pub fn undeclared(&self) -> Option<&FunctionId> {
        self.undeclared.as_ref().map(Undeclared::id)
    }

    /// Take a request as it came. What would have been refused, here or before (`fault`), is kept
    /// beside it; such a call has no input, and is sent as it is.
    ///
    /// # Errors
    /// [`CallFault`] when there is no function for what is undeclared (never, with a good name).
    pub fn see(
        &self,
        found: &Found,
        head: HttpHead,
        body: RequestBody,
        (id, facts): (CallId, Facts),
        fault: Option<SeenFault>,
    ) -> Result<Seen<HttpCall>, CallFault> {
        let body = body.normal();
        let judged = match fault {
            Some(fault) => Err(fault),
            None => self.judged(found, &head, &body).map_err(SeenFault::from),
        };
        let (binding, target, input, fault) = match judged {
            Ok((binding, target, input)) => (Arc::clone(binding), target, input, None),
            Err(fault) => {
                let binding = match found {
                    Found::One(binding) => binding,
                    Found::ByBody(_) | Found::Unknown { .. } => {
                        let undeclared = self.undeclared.as_ref();
                        undeclared
                            .ok_or_else(super::plan::unknown)?
                            .of(&head.method)
                    }
                };
                (
                    Arc::clone(binding),
                    head.target,
                    Input::default(),
                    Some(fault),
                )
            }
        };
        let mut headers = HeaderMap::with_capacity(head.headers.len());
        for (name, value) in &head.headers {
            if goes_on(name.as_str(), &body) {
                headers.append(name.clone(), value.clone());
            }
        }
        let call = HttpCall {
            id,
            binding,
            input,
            facts,
            method: head.method,
            target,
            headers,
            body,
            veil: Vec::new(),
        };
        Ok(Seen { call, fault })
    }

    fn judged<'f>(
        &self,
        found: &'f Found,
        head: &HttpHead,
        body: &RequestBody,
    ) -> Result<(&'f Arc<Binding>, Target, Input), CallFault> {
        let (binding, parsed) = choose(found, head, body)?;
        let target = self.spelled(head.target.clone());
        let input = Self::read(binding, &target, &head.headers, parsed)?;
        Ok((binding, target, input))
    }

    /// Read a recorded request again, by what is declared now: which function it is, and its input.
    ///
    /// # Errors
    /// [`CallFault`] for whatever would be refused now.
    pub fn reread(
        &self,
        head: &serde_json::Value,
        body: Option<bytes::Bytes>,
    ) -> Result<(Arc<Function>, Input), CallFault> {
        let unread = || CallFault::bad("its recorded head does not read back");
        let text = |name: &str| head.get(name)?.as_str();
        let method = text("method").and_then(|method| method.parse().ok());
        let target = text("target").and_then(|target| Target::parse(target).ok());
        let mut headers = HeaderMap::new();
        let lines: Vec<(String, String)> =
            serde_json::from_value(head.get("headers").cloned().unwrap_or_default())
                .map_err(|_| unread())?;
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unread())?;
            headers.append(name, value.parse().map_err(|_| unread())?);
        }
        let head = HttpHead {
            method: method.ok_or_else(unread)?,
            target: target.ok_or_else(unread)?,
            headers,
        };
        let found = self.find(&head.method, &head.target, &head.headers);
        let body = match body {
            Some(bytes) => RequestBody::Bytes(bytes).normal(),
            // It streamed, so it was never judged; nor can it be now.
            None => RequestBody::Stream(http_body_util::BodyExt::boxed_unsync(
                http_body_util::BodyExt::map_err(
                    http_body_util::Empty::new(),
                    |never| match never {},
                ),
            )),
        };
        let (binding, _, input) = self.judged(&found, &head, &body)?;
        Ok((Arc::clone(&binding.function), input))
    }
}
