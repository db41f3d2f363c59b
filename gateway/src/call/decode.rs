//! From a request to a call: everything that policy could judge is read, everything undeclared is
//! refused or left behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use wire::http::{BodyLength, MediaType, Target};
use wire::json::{Limits, Value as Json};

use super::binding::{Binding, List, ParameterBinding};
use super::catalogue::{Catalogue, Found};
use super::config::{Additional, Plus};
use super::definition::{Body, Codec, Form, In};
use super::fault::{CallFault, shown};
use super::input::{Input, Value};
use super::request::{HttpCall, HttpHead, RequestBody, split_frozen};
use super::schema::{Checker, Kinds, project, same_but_case};
use super::shape::Shape;
use super::{Call, CallId, Facts};

/// Largest body that is held in memory to be judged, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// JSON values inside each other.
const JSON_DEPTH_MAX: usize = 64;

/// JSON values in one body.
const JSON_VALUES_MAX: usize = 100_000;

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

/// What to do with a request's body before `decode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyPlan {
    /// There is none; should bytes come after all, hand them to `decode`, which refuses them.
    None,
    /// Read it into memory; more than this many bytes are 413.
    Buffer {
        /// At most this many bytes.
        bytes_max: usize,
    },
    /// Hand it on as it arrives.
    Stream,
}

impl Found {
    /// What to do with the body, from the head alone: before `100 Continue`, before a byte is read.
    ///
    /// # Errors
    /// [`CallFault`] when the head shows already that the body is refused, or that there is no such
    /// function.
    pub fn body_plan(
        &self,
        headers: &HeaderMap,
        length: BodyLength,
    ) -> Result<BodyPlan, CallFault> {
        let binding = match self {
            Self::One(binding) => binding,
            Self::ByBody(bindings) => bindings.first().ok_or_else(unknown)?,
            Self::Unknown { .. } => return Err(unknown()),
        };
        // Bodies of unsaid length are those of HTTP/2: empty or not, that shows when they are read.
        let empty = length == BodyLength::Known(0);
        match &binding.body {
            Body::None if matches!(length, BodyLength::Known(1..) | BodyLength::Chunked) => {
                Err(no_body())
            }
            Body::None => Ok(BodyPlan::None),
            Body::Typed { .. } | Body::Bytes { .. } if empty => {
                Ok(BodyPlan::Buffer { bytes_max: 0 })
            }
            Body::Typed { forms, .. } => {
                if length != BodyLength::Unsaid || headers.contains_key(CONTENT_TYPE) {
                    codec(headers, forms)?;
                }
                buffer(length)
            }
            Body::Bytes { media_types, .. } => {
                if length != BodyLength::Unsaid {
                    accept(headers, media_types)?;
                }
                buffer(length)
            }
            Body::Stream { media_types } => {
                if length != BodyLength::Unsaid && !empty {
                    accept(headers, media_types)?;
                }
                Ok(BodyPlan::Stream)
            }
        }
    }
}

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
        let body = match body {
            RequestBody::Bytes(bytes) if bytes.is_empty() => RequestBody::Empty,
            body => body,
        };
        let (binding, parsed) = choose(found, &head, &body)?;
        let target = match self.plus {
            Plus::Refuse => head.target,
            Plus::Space => head.target.with_plus_as_space(),
        };
        let mut input = Input::default();
        input.members.extend(read_path(binding, &target)?);
        input.members.extend(read_query(binding, &target)?);
        input.members.extend(read_headers(binding, &head.headers)?);
        if let Some(parsed) = parsed {
            input.members.extend(read_body(binding, &parsed)?);
        }
        let headers = self.forwarded(binding, &head.headers, &body);
        Ok(HttpCall {
            id,
            function: Arc::clone(&binding.function),
            input,
            facts,
            method: head.method,
            target,
            headers,
            body,
        })
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
        // What is executed is what was shown to approvers, to the byte.
        let same = call.function().id.to_string() == stored.function
            && call.freeze().as_deref() == Some(frozen);
        if same { Ok(call) } else { Err(changed()) }
    }

    /// The caller's headers that go on to the function.
    fn forwarded(&self, binding: &Binding, headers: &HeaderMap, body: &RequestBody) -> HeaderMap {
        let mut out = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            let text = name.as_str();
            let credential = matches!(text, "authorization" | "accept-encoding")
                || (text == "cookie" && !self.passed.contains(text));
            let about_body = text.starts_with("content-") && matches!(body, RequestBody::Empty);
            if credential || about_body || wire::http::fields::strip(text).is_some() {
                continue;
            }
            let declared = binding
                .parameters
                .contains_key(&(In::Header, text.to_owned()))
                || binding.when.header.contains_key(text);
            if declared
                || binding.additional == Additional::Allow
                || PASSED_HEADERS.binary_search(&text).is_ok()
                || self.passed.contains(text)
            {
                out.append(name.clone(), value.clone());
            }
        }
        out
    }
}

/// Which function it is, and its body when that is judged.
fn choose<'f>(
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
            // Read again as the chosen function wants it: its media type decides.
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

/// The value that a text stands for, by the schema of one scalar.
fn read_text(
    binding: &Binding,
    schema: super::schema::NodeId,
    text: &str,
    place: &str,
) -> Result<Json, CallFault> {
    let kind = super::definition::TextKind::of(&binding.arena, schema)
        .ok_or_else(|| CallFault::bad(format!("`{place}` cannot be written as text")))?;
    pick(binding, schema, kind, text, place)
}

fn pick(
    binding: &Binding,
    schema: super::schema::NodeId,
    kind: super::definition::TextKind,
    text: &str,
    place: &str,
) -> Result<Json, CallFault> {
    let mut why = format!("`{place}` is not {}", kind.wanted());
    for value in kind.read(text) {
        match Checker::new(&binding.arena, binding.additional, &[place]).check(schema, &value) {
            Ok(()) => return Ok(value),
            Err(error) => why = error,
        }
    }
    Err(CallFault::BadRequest(why))
}

type Members = BTreeMap<String, Value>;

fn read_path(binding: &Binding, target: &Target) -> Result<Option<(String, Value)>, CallFault> {
    let segments: Vec<String> = target
        .segments()
        .map(std::borrow::Cow::into_owned)
        .collect();
    let mut members = Members::new();
    for (name, text) in binding.template.values(&segments) {
        let key = (In::Path, name.to_owned());
        let Some(parameter) = binding.parameters.get(&key) else {
            continue;
        };
        let place = format!("path.{name}");
        let value = pick(binding, parameter.schema, parameter.kind, text, &place)?;
        insert(binding, In::Path, name, &value, &mut members)?;
    }
    Ok(record(In::Path, members))
}

fn read_query(binding: &Binding, target: &Target) -> Result<Option<(String, Value)>, CallFault> {
    let pairs = target
        .pairs()
        .map_err(|error| CallFault::bad(error.to_string()))?;
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pair in &pairs {
        let place = format!("query.{}", shown(&pair.name));
        let name = &*pair.name;
        let Some(((_, name), parameter)) = binding
            .parameters
            .get_key_value(&(In::Query, name.to_owned()))
        else {
            undeclared(binding, In::Query, name, &place)?;
            continue;
        };
        let list = texts.entry(name).or_default();
        if !list.is_empty() && parameter.list != List::Repeated {
            return Err(CallFault::bad(format!("`{place}` is given more than once")));
        }
        match parameter.list {
            List::No | List::Repeated => list.push(pair.value.clone().into_owned()),
            List::Commas if pair.raw.contains("%2C") => {
                return Err(CallFault::bad(format!(
                    "`{place}` has an escaped comma in a list"
                )));
            }
            List::Commas => list.extend(pair.value.split(',').map(str::to_owned)),
        }
    }
    read_parameters(binding, In::Query, &texts)
}

fn read_headers(
    binding: &Binding,
    headers: &HeaderMap,
) -> Result<Option<(String, Value)>, CallFault> {
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((place, name), parameter) in &binding.parameters {
        if *place != In::Header {
            continue;
        }
        let values: Vec<_> = headers.get_all(name.as_str()).iter().collect();
        let [value] = values.as_slice() else {
            if values.is_empty() {
                continue;
            }
            return Err(CallFault::bad(format!(
                "`header.{name}` is given more than once"
            )));
        };
        let text = value
            .to_str()
            .map_err(|_| CallFault::bad(format!("`header.{name}` is not ASCII")))?;
        let trim = |item: &str| item.trim_matches([' ', '\t']).to_owned();
        let list = match parameter.list {
            List::No => vec![text.to_owned()],
            List::Repeated | List::Commas => text.split(',').map(trim).collect(),
        };
        texts.insert(name, list);
    }
    read_parameters(binding, In::Header, &texts)
}

/// Check, complete and project the parameters of one place.
fn read_parameters(
    binding: &Binding,
    place: In,
    texts: &BTreeMap<&str, Vec<String>>,
) -> Result<Option<(String, Value)>, CallFault> {
    let mut members = Members::new();
    for ((known, name), parameter) in &binding.parameters {
        let at = format!("{}.{name}", place.as_str());
        match (*known == place, texts.get(name.as_str())) {
            (false, _) => {}
            (true, None) if parameter.required => {
                return Err(CallFault::bad(format!("`{at}` is missing")));
            }
            (true, None) => {}
            (true, Some(list)) => {
                let value = read_value(binding, parameter, list, &at)?;
                insert(binding, place, name, &value, &mut members)?;
            }
        }
    }
    Ok(record(place, members))
}

fn read_value(
    binding: &Binding,
    parameter: &ParameterBinding,
    texts: &[String],
    place: &str,
) -> Result<Json, CallFault> {
    if parameter.list == List::No {
        let text = texts.first().map(String::as_str).unwrap_or_default();
        return pick(binding, parameter.schema, parameter.kind, text, place);
    }
    let item = |text: &String| match binding.arena.items(parameter.schema) {
        Some(items) => pick(binding, items, parameter.kind, text, place),
        None => Ok(Json::String(text.clone())),
    };
    let list = Json::Array(texts.iter().map(item).collect::<Result<_, _>>()?);
    Checker::new(&binding.arena, binding.additional, &[place])
        .check(parameter.schema, &list)
        .map_err(CallFault::BadRequest)?;
    Ok(list)
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

fn insert(
    binding: &Binding,
    place: In,
    name: &str,
    value: &Json,
    members: &mut Members,
) -> Result<(), CallFault> {
    let at = format!("{}.{name}", place.as_str());
    let shape = match binding
        .function
        .input
        .members
        .get(place.as_str())
        .map(|found| &found.shape)
    {
        Some(Shape::Record(record)) => record.members.get(name).map(|member| &member.shape),
        _ => None,
    };
    let value =
        project(shape.unwrap_or(&Shape::Opaque), value, &at).map_err(CallFault::BadRequest)?;
    members.extend(value.map(|value| (name.to_owned(), value)));
    Ok(())
}

fn record(place: In, members: Members) -> Option<(String, Value)> {
    let name = place.as_str().to_owned();
    (!members.is_empty()).then_some((name, Value::Record(members)))
}

fn undeclared(binding: &Binding, place: In, name: &str, shown: &str) -> Result<(), CallFault> {
    let declared = binding
        .parameters
        .keys()
        .filter(|(known, _)| *known == place);
    let twin = declared
        .map(|(_, known)| known)
        .find(|known| same_but_case(known, name));
    match (twin, binding.additional) {
        (Some(known), _) => Err(CallFault::bad(format!(
            "`{shown}` differs only in case from the declared `{known}`"
        ))),
        (None, Additional::Allow) => Ok(()),
        (None, Additional::Refuse) => Err(CallFault::bad(format!(
            "`{shown}` is not declared by the function"
        ))),
    }
}

/// The form of a judged body, from its media type.
fn codec<'f>(headers: &HeaderMap, forms: &'f [Form]) -> Result<&'f Form, CallFault> {
    let media = media_type(headers)?;
    let form = forms.iter().find(|form| form.media_type == media.essence());
    let form = form.ok_or_else(|| {
        let known: Vec<_> = forms.iter().map(|form| form.media_type.as_str()).collect();
        CallFault::media(format!("the function takes {}", known.join(" or ")))
    })?;
    let utf8 = media.charset().is_none_or(|charset| charset == "utf-8");
    if !utf8 || media.parameters().any(|(name, _)| name != "charset") {
        return Err(CallFault::media(
            "the media type may only have `charset=utf-8`",
        ));
    }
    let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        true => Ok(form),
        false => Err(CallFault::media(
            "the body is compressed: send it without `Content-Encoding`",
        )),
    }
}

fn accept(headers: &HeaderMap, media_types: &[String]) -> Result<(), CallFault> {
    if media_types.is_empty() {
        return Ok(());
    }
    let media = media_type(headers)?;
    match media_types.iter().any(|known| known == media.essence()) {
        true => Ok(()),
        false => Err(CallFault::media(format!(
            "the function takes {}",
            media_types.join(" or ")
        ))),
    }
}

fn media_type(headers: &HeaderMap) -> Result<MediaType, CallFault> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(CallFault::media("the body needs one `Content-Type`"));
    };
    let text = value.to_str().unwrap_or_default();
    MediaType::parse(text).map_err(|error| CallFault::media(format!("`Content-Type`: {error}")))
}

fn buffer(length: BodyLength) -> Result<BodyPlan, CallFault> {
    match length {
        BodyLength::Known(bytes) if bytes > BODY_BYTES_MAX as u64 => Err(too_large()),
        BodyLength::Known(_) | BodyLength::Chunked | BodyLength::Unsaid => Ok(BodyPlan::Buffer {
            bytes_max: BODY_BYTES_MAX,
        }),
    }
}

fn fits(bytes: &Bytes) -> Result<(), CallFault> {
    if bytes.len() > BODY_BYTES_MAX {
        Err(too_large())
    } else {
        Ok(())
    }
}

fn too_large() -> CallFault {
    CallFault::TooLarge("the body is larger than 1 MiB".to_owned())
}

fn no_body() -> CallFault {
    CallFault::bad("the function takes no body")
}

fn unknown() -> CallFault {
    CallFault::NotFound("there is no such function".to_owned())
}
