//! From a request to a call: everything that policy could judge is read, everything undeclared is
//! refused or left behind.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use wire::http::Target;
use wire::json::{Limits, Value as Json};

use super::binding::Binding;
use super::catalogue::{Catalogue, Found};
use super::config::{Additional, Plus};
use super::definition::{Body, Codec, Form, In};
use super::fault::{CallFault, shown};
use super::input::{Input, Value};
use super::parameters::{read_headers, read_path, read_query, read_text};
use super::plan::{accept, codec, fits, no_body, unknown};
use super::request::{HttpCall, HttpHead, RequestBody, split_frozen};
use super::schema::{Checker, Kinds, project};
use super::{Call, CallId, Facts};

/// JSON values inside each other.
pub(super) const JSON_DEPTH_MAX: usize = 64;

/// JSON values in one body.
pub(super) const JSON_VALUES_MAX: usize = 100_000;

/// Request headers that are forwarded though a function does not declare them. They are about the
/// exchange, not input; the list is part of `docs/input-mapping.md`.
pub const PASSED_HEADERS: &[&str] = &[
    "accept",
    "accept-language",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "cookie",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "pragma",
    "prefer",
    "priority",
    "range",
    "repr-digest",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
];

impl Catalogue {
    /// Decode a request into a call.
    ///
    /// # Errors
    /// [`CallFault`] for whatever the function does not declare.
    pub fn decode(
        &self,
        found: &Found,
        head: HttpHead,
        body: RequestBody,
        id: CallId,
        facts: Facts,
    ) -> Result<HttpCall, CallFault> {
        let body = body.normal();
        let (binding, parsed) = choose(found, &head, &body)?;
        let target = self.spelled(head.target);
        let input = Self::read(binding, &target, &head.headers, parsed)?;
        let headers = self.forwarded(binding, &head.headers, &body);
        Ok(HttpCall {
            id,
            binding: Arc::clone(binding),
            input,
            facts,
            method: head.method,
            target,
            headers,
            body,
            veil: Vec::new(),
        })
    }

    /// The target as it is judged and sent.
    pub(super) fn spelled(&self, target: Target) -> Target {
        match self.plus {
            Plus::Refuse => target,
            Plus::Space => target.with_plus_as_space(),
        }
    }

    /// The typed input.
    pub(super) fn read(
        binding: &Binding,
        target: &Target,
        headers: &HeaderMap,
        parsed: Option<Json>,
    ) -> Result<Input, CallFault> {
        let mut input = Input::default();
        input.members.extend(read_path(binding, target)?);
        input.members.extend(read_query(binding, target)?);
        input.members.extend(read_headers(binding, headers)?);
        if let Some(parsed) = parsed {
            input.members.extend(read_body(binding, &parsed)?);
        }
        Ok(input)
    }

    /// Decode and judge a frozen call anew.
    ///
    /// # Errors
    /// [`CallFault`] when it is no longer a call of the same function, or no longer the same bytes.
    pub fn thaw(&self, frozen: &[u8], id: CallId, facts: Facts) -> Result<HttpCall, CallFault> {
        let changed = || {
            CallFault::Superseded(
                "the stored call is read differently now: send it again".to_owned(),
            )
        };
        let (stored, body) = split_frozen(frozen).ok_or_else(changed)?;
        let mut headers = HeaderMap::with_capacity(stored.headers.len());
        for (name, value) in &stored.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| changed())?;
            headers.append(name, value.parse().map_err(|_| changed())?);
        }
        let head = HttpHead {
            method: stored.method.parse().map_err(|_| changed())?,
            target: Target::parse(&stored.target).map_err(|_| changed())?,
            headers,
        };
        let found = self.find(&head.method, &head.target, &head.headers);
        let call = self.decode(&found, head, RequestBody::Bytes(body), id, facts)?;
        let call = call.with_veil(stored.veil);
        // What is executed is what was shown to approvers, to the byte.
        let same = call.function().id.to_string() == stored.function
            && call.freeze().as_deref() == Some(frozen);
        if same { Ok(call) } else { Err(changed()) }
    }

    /// The caller's headers that may go on to what was found, before it is known which of several it is.
    #[must_use]
    pub fn going_on(&self, found: &Found, headers: &HeaderMap, body: &RequestBody) -> HeaderMap {
        Self::filtered(headers, body, |name| {
            found.bindings().any(|binding| self.passes(binding, name))
        })
    }

    /// The caller's headers that go on to the function.
    fn forwarded(&self, binding: &Binding, headers: &HeaderMap, body: &RequestBody) -> HeaderMap {
        Self::filtered(headers, body, |name| self.passes(binding, name))
    }

    fn filtered(
        headers: &HeaderMap,
        body: &RequestBody,
        passes: impl Fn(&str) -> bool,
    ) -> HeaderMap {
        let mut out = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            if goes_on(name.as_str(), body) && passes(name.as_str()) {
                out.append(name.clone(), value.clone());
            }
        }
        out
    }

    fn passes(&self, binding: &Binding, name: &str) -> bool {
        let parameter = (In::Header, name.to_owned());
        binding.parameters.contains_key(&parameter)
            || binding.when.header.contains_key(name)
            || binding.additional == Additional::Allow
            || PASSED_HEADERS.binary_search(&name).is_ok()
            || self.passed.contains(name)
    }
}

/// Whether a header may go on to a function at all, declared or not. Whether cookies pass is the
/// connection's setting: they are gone by now, or wanted.
pub(super) fn goes_on(name: &str, body: &RequestBody) -> bool {
    let credential = matches!(name, "authorization" | "accept-encoding");
    let about_body = name.starts_with("content-") && matches!(body, RequestBody::Empty);
    !credential && !about_body && wire::http::fields::strip(name).is_none()
}

/// Which function it is, and its body when that is judged.
pub(super) fn choose<'f>(
    found: &'f Found,
    head: &HttpHead,
    body: &RequestBody,
) -> Result<(&'f Arc<Binding>, Option<Json>), CallFault> {
    match found {
        Found::Unknown { .. } => Err(unknown()),
        Found::One(binding) => Ok((binding, parse_body(binding, head, body)?)),
        Found::ByBody(bindings) => {
            let RequestBody::Bytes(bytes) = body else {
                return Err(CallFault::bad(
                    "the body is missing: it says which function is called",
                ));
            };
            let parsed = parse_json(bytes)?;
            let meets = |binding: &&Arc<Binding>| {
                let equal = |(name, value): (&String, &Json)| parsed.member(name) == Some(value);
                binding.when.body.iter().all(equal)
            };
            let binding = bindings.iter().find(meets).ok_or_else(unknown)?;
            // What told the functions apart must be what is judged, so no other reading of it counts.
            if let Body::Typed { forms, .. } = &binding.body
                && codec(&head.headers, forms)?.codec != Codec::Json
            {
                return Err(CallFault::media("the function takes JSON only"));
            }
            Ok((binding, parse_body(binding, head, body)?))
        }
    }
}

fn parse_body(
    binding: &Binding,
    head: &HttpHead,
    body: &RequestBody,
) -> Result<Option<Json>, CallFault> {
    match (&binding.body, body) {
        (Body::None, RequestBody::Empty) | (Body::Stream { .. }, RequestBody::Empty) => Ok(None),
        (Body::None, RequestBody::Bytes(_) | RequestBody::Stream(_)) => Err(no_body()),
        (Body::Typed { required, .. } | Body::Bytes { required, .. }, RequestBody::Empty) => {
            match required {
                true => Err(CallFault::bad("`body` is missing")),
                false => Ok(None),
            }
        }
        (Body::Typed { .. } | Body::Bytes { .. }, RequestBody::Stream(_)) => {
            // INVARIANT of callers: `body_plan` said that this body is read into memory.
            Err(CallFault::TooLarge(
                "the body was not held in memory".to_owned(),
            ))
        }
        (Body::Typed { forms, .. }, RequestBody::Bytes(bytes)) => {
            let form = codec(&head.headers, forms)?;
            fits(bytes)?;
            match form.codec {
                Codec::Json => parse_json(bytes).map(Some),
                Codec::UrlEncoded => parse_form(binding, form, bytes).map(Some),
            }
        }
        (Body::Bytes { media_types, .. }, RequestBody::Bytes(bytes)) => {
            accept(&head.headers, media_types)?;
            fits(bytes).map(|()| None)
        }
        (Body::Stream { media_types }, RequestBody::Bytes(_) | RequestBody::Stream(_)) => {
            accept(&head.headers, media_types).map(|()| None)
        }
    }
}

fn parse_json(bytes: &Bytes) -> Result<Json, CallFault> {
    let limits = Limits {
        depth_max: JSON_DEPTH_MAX,
        values_max: JSON_VALUES_MAX,
    };
    wire::json::parse(bytes, &limits).map_err(|error| {
        CallFault::bad(format!("the body is not JSON that can be judged: {error}"))
    })
}

/// Form fields as an object: texts are read as their members' schemas say.
fn parse_form(binding: &Binding, form: &Form, bytes: &Bytes) -> Result<Json, CallFault> {
    let fields = wire::http::form(bytes).map_err(|error| CallFault::bad(error.to_string()))?;
    let mut members: Vec<(String, Json)> = Vec::new();
    let declared = binding.arena.members(form.schema);
    for (name, text) in fields {
        let schema = declared
            .iter()
            .find(|(known, _, _)| *known == name)
            .map(|found| found.1);
        let list = schema.filter(|id| binding.arena.kinds(*id).solid() == Kinds::ARRAY);
        let place = format!("body.{}", shown(&name));
        let item = match (schema, list) {
            (_, Some(id)) => binding.arena.items(id),
            (schema, None) => schema,
        };
        let value = match item {
            Some(id) => read_text(binding, id, &text, &place)?,
            None => Json::String(text),
        };
        let known = members.iter_mut().find(|(known, _)| *known == name);
        match (known, list.is_some()) {
            (Some((_, Json::Array(items))), true) => items.push(value),
            (Some(_), _) => {
                return Err(CallFault::bad(format!("`{place}` is given more than once")));
            }
            (None, true) => members.push((name, Json::Array(vec![value]))),
            (None, false) => members.push((name, value)),
        }
    }
    Ok(Json::Object(members))
}

fn read_body(binding: &Binding, parsed: &Json) -> Result<Option<(String, Value)>, CallFault> {
    let Body::Typed { forms, .. } = &binding.body else {
        return Ok(None);
    };
    // All forms of a function have one shape; `bind` has checked that.
    let Some(form) = forms.first() else {
        return Ok(None);
    };
    Checker::new(&binding.arena, binding.additional, &["body"])
        .check(form.schema, parsed)
        .map_err(CallFault::BadRequest)?;
    let Some(member) = binding.function.input.members.get("body") else {
        return Ok(None);
    };
    let value = project(&member.shape, parsed, "body").map_err(CallFault::BadRequest)?;
    Ok(value.map(|value| ("body".to_owned(), value)))
}
