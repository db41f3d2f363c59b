//! What of a call can be compared with another: everything that goes up, member by member.
//!
//! Policy sees the typed input, which leaves out what a function takes without declaring it
//! (`additional: allow`, open objects, headers of the connection) and keeps a list as a set. Who widens a
//! yes has read the exact call, so a later call must be that call: arguments in path, query and headers
//! are compared as typed, those that are not typed as they are sent, and a JSON body as it is written.
//! The path is a member too, with names in place of the typed values, for what of it is not typed.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use wire::http::Target;

use super::seal::hex;

/// Most members that are compared.
const MEMBERS_MAX: usize = 1_000;
/// Objects in objects that are looked into; what is deeper is compared as a whole.
const DEPTH_MAX: usize = 32;
/// Headers about the exchange that differ from call to call and are no argument.
const OF_THE_EXCHANGE: [&str; 14] = [
    "accept",
    "accept-language",
    "cache-control",
    "content-digest",
    "content-language",
    "idempotency-key",
    "if-modified-since",
    "last-event-id",
    "pragma",
    "priority",
    "repr-digest",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
];

/// Members by JSON pointer (RFC 6901), each as JSON.
pub(super) type Members = BTreeMap<String, String>;

/// The parts of a summary.
#[derive(Deserialize)]
struct Summary {
    request: Request,
    #[serde(default)]
    body: Option<Body>,
    #[serde(default)]
    input: BTreeMap<String, Value>,
    /// Values that came as tokens are not shown, so they cannot be compared.
    #[serde(default)]
    veiled: bool,
}

#[derive(Deserialize)]
struct Request {
    target: String,
    headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Body {
    Text(String),
    Hex(String),
}

/// Every member of the call in a summary; `None` when it cannot be compared with others.
pub(super) fn members(summary: &Value) -> Option<Members> {
    let summary = Summary::deserialize(summary).ok()?;
    if summary.veiled {
        return None;
    }
    let mut all = Members::new();
    for (place, value) in summary.input.iter().filter(|(place, _)| *place != "body") {
        typed(&format!("/{}", escaped(place)), value, &mut all);
    }
    let target = Target::parse(&summary.request.target).ok()?;
    let path = path(&target, summary.input.get("path"));
    all.insert("/target".to_owned(), Value::from(path).to_string());
    untyped_query(&target, &mut all)?;
    untyped_headers(&summary.request.headers, &mut all)?;
    match &summary.body {
        None => {}
        Some(Body::Text(text)) if text.is_empty() => {}
        Some(Body::Text(text)) => match object(text) {
            Some(_) => written("/body", text, 0, &mut all)?,
            None => whole(text, &mut all),
        },
        Some(Body::Hex(text)) => whole(text, &mut all),
    }
    (all.len() <= MEMBERS_MAX).then_some(all)
}

/// A name as a step of a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn typed(at: &str, value: &Value, all: &mut Members) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                typed(&format!("{at}/{}", escaped(name)), member, all);
            }
        }
        // No arguments in this place.
        Value::Object(_) => {}
        Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            all.insert(at.to_owned(), value.to_string());
        }
    }
}

/// Whether the typed input has this member, or members below it.
fn has(all: &Members, at: &str) -> bool {
    let below = format!("{at}/");
    all.keys()
        .any(|pointer| pointer == at || pointer.starts_with(&below))
}

/// The path as it is sent, with `{name}` once in place of each typed value. No path holds a brace, so the
/// typed values and this make up the whole path: what differs between two calls differs in one of them.
fn path(target: &Target, typed: Option<&Value>) -> String {
    let mut raw: Vec<String> = target.path().split('/').map(str::to_owned).collect();
    let mut decoded: Vec<Option<String>> = vec![None];
    decoded.extend(target.segments().map(|segment| Some(segment.into_owned())));
    for (name, value) in typed.and_then(Value::as_object).into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            // Not told from the text of a path: it is compared as sent.
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        let whole = decoded
            .iter()
            .position(|segment| segment.as_ref() == Some(&value));
        // A parameter may be a part of a segment, as in `{name}:cancel`.
        let part = || raw.iter().rposition(|segment| segment.contains(&value));
        let Some(at) = whole.or_else(part).filter(|_| !value.is_empty()) else {
            continue;
        };
        let (Some(segment), Some(plain)) = (raw.get_mut(at), decoded.get_mut(at)) else {
            continue;
        };
        let parameter = format!("{{{name}}}");
        *segment = match whole {
            Some(_) => parameter,
            None => segment.replacen(&value, &parameter, 1),
        };
        *plain = None;
    }
    raw.join("/")
}

/// Parameters that the typed input does not have, in their order.
fn untyped_query(target: &Target, all: &mut Members) -> Option<()> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in target.pairs().ok()? {
        let at = format!("/query/{}", escaped(&pair.name));
        if !has(all, &at) {
            found.entry(at).or_default().push(pair.raw.to_owned());
        }
    }
    for (at, values) in found {
        all.insert(at, Value::from(values).to_string());
    }
    Some(())
}

/// Headers that the typed input does not have.
fn untyped_headers(headers: &[(String, String)], all: &mut Members) -> Option<()> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let at = format!("/header/{}", escaped(&name));
        if OF_THE_EXCHANGE.binary_search(&name.as_str()).is_err() && !has(all, &at) {
            found.entry(at).or_default().push(value);
        }
    }
    for (at, values) in found {
        all.insert(at, serde_json::to_string(&values).ok()?);
    }
    Some(())
}

/// A body that is no JSON object: the same or not.
fn whole(text: &str, all: &mut Members) {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let digest = format!("sha256:{}", hex(digest.as_ref()));
    all.insert("/body".to_owned(), Value::from(digest).to_string());
}

/// A JSON object as it is written. Nothing is made of numbers, strings and lists: they are compared by
/// their text, so that two readers cannot see two values in what is taken for the same.
fn written(at: &str, text: &str, depth: usize, all: &mut Members) -> Option<()> {
    let members = if depth < DEPTH_MAX {
        object(text)
    } else {
        None
    };
    match members {
        Some(members) if !members.0.is_empty() => {
            for (name, value) in members.0 {
                let at = format!("{at}/{}", escaped(&name));
                // Twice the same name: which one counts is up to the reader.
                if has(all, &at) || all.len() > MEMBERS_MAX {
                    return None;
                }
                written(&at, value.get(), depth + 1, all)?;
            }
        }
        Some(_) | None => {
            all.insert(at.to_owned(), text.to_owned());
        }
    }
    Some(())
}

fn object(text: &str) -> Option<Object<'_>> {
    text.trim_start().starts_with('{').then_some(())?;
    serde_json::from_str(text).ok()
}

/// An object's members in their order, also those of one name.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
