//! A first OpenAPI document, out of requests that were seen and are not declared.
//!
//! Owns how paths are told from values, and how shapes of bodies are joined. It writes names that callers
//! sent (of paths, parameters, members, headers), never a value. Pure, and the same for the same requests
//! in any order. Called by the command that reads the record.

mod document;
mod path;
mod shape;

use std::collections::{BTreeMap, BTreeSet};

use wire::http::{MediaType, Target};
use wire::json::Limits;

use super::decode::{JSON_DEPTH_MAX, JSON_VALUES_MAX, PASSED_HEADERS};
use super::definition::{Codec, is_forwardable};
use super::{FUNCTIONS_MAX, Method};

use path::Form;
use shape::{Scalar, Shape};

/// Parameters of one function that are suggested.
const PARAMETERS_MAX: usize = 100;
/// Media types of one function that are told apart.
const MEDIA_TYPES_MAX: usize = 8;
/// Headers that browsers send to everybody: no function's input.
const NO_INPUT: [&str; 7] = [
    "dnt",
    "origin",
    "referer",
    "save-data",
    "te",
    "upgrade-insecure-requests",
    "x-requested-with",
];

/// A request of no declared function.
#[derive(Clone, Copy, Debug)]
pub struct SeenRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The target below the connection's route.
    pub target: &'a str,
    /// Names and values of the headers that would go on.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: SeenBody<'a>,
}

/// What is known of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeenBody<'a> {
    /// There was none.
    Empty,
    /// It was this.
    Bytes(&'a [u8]),
    /// There was one, and it was not kept whole.
    Unkept,
    /// The call was refused, and whether there was one is not recorded.
    Unrecorded,
}

/// Functions as they were seen.
#[derive(Clone, Debug, Default)]
pub struct SeenFunctions {
    operations: BTreeMap<(Method, Form), Operation>,
    requests: u64,
    /// Requests that could not be taken, by why.
    left_out: BTreeMap<&'static str, u64>,
}

/// A document, and what to know of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuggestedDocument {
    /// OpenAPI 3.1, as YAML.
    pub text: String,
    /// How many functions it has.
    pub functions: usize,
    /// What it does not cover.
    pub notes: Vec<String>,
}

/// A parameter of a query, or a field of a form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Field {
    requests: u64,
    repeated: bool,
    scalar: Scalar,
}

/// A media type of a body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Media {
    requests: u64,
    /// Bodies that are no JSON or form that could be judged, or were not kept whole.
    unread: u64,
    json: Shape,
    form: BTreeMap<String, Field>,
    forms: u64,
}

/// All requests of one method and form of path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Operation {
    requests: u64,
    /// What stood at each varied segment.
    segments: Vec<Scalar>,
    query: BTreeMap<String, Field>,
    headers: BTreeSet<String>,
    media: BTreeMap<String, Media>,
    without_body: u64,
    body_unrecorded: u64,
}

impl SeenFunctions {
    /// Take a request.
    pub fn add(&mut self, request: &SeenRequest<'_>) {
        self.requests += 1;
        if let Err(why) = self.take(request) {
            *self.left_out.entry(why).or_default() += 1;
        }
    }

    fn take(&mut self, request: &SeenRequest<'_>) -> Result<(), &'static str> {
        let method = match Method::from_name(request.method) {
            // A function of GET answers HEAD as well.
            Some(Method::Head) => Method::Get,
            Some(method) => method,
            None => return Err("a method that no function can have"),
        };
        let target =
            Target::parse(request.target).map_err(|_| "a target that does not read back")?;
        let pairs = target
            .pairs()
            .map_err(|_| "a query that no function can declare (`+`, or a pair without a name)")?;
        let (form, texts) = path::form(&target);
        let full = self.operations.len() >= FUNCTIONS_MAX;
        let key = (method, form);
        if full && !self.operations.contains_key(&key) {
            return Err("more functions than a connection can have");
        }
        let operation = self.operations.entry(key).or_default();
        operation.requests += 1;
        operation.segments.resize(texts.len(), Scalar::default());
        for (known, text) in operation.segments.iter_mut().zip(&texts) {
            *known = known.join(Scalar::of(text));
        }
        let pairs = pairs
            .iter()
            .map(|pair| (pair.name.as_ref(), pair.value.as_ref()));
        fields(&mut operation.query, pairs);
        let headers = request.headers.iter().map(|(name, _)| name.as_str());
        let input = headers.filter(|name| is_input(name));
        for name in input {
            if operation.headers.len() < PARAMETERS_MAX {
                operation.headers.insert(name.to_owned());
            }
        }
        operation.body(request);
        Ok(())
    }

    /// Write the document.
    pub fn document(mut self, connection: &str) -> SuggestedDocument {
        self.operations = path::settle(std::mem::take(&mut self.operations));
        document::write(&self, connection)
    }
}

impl Operation {
    fn body(&mut self, request: &SeenRequest<'_>) {
        let bytes = match request.body {
            SeenBody::Empty => {
                self.without_body += 1;
                return;
            }
            SeenBody::Unrecorded => {
                self.body_unrecorded += 1;
                return;
            }
            SeenBody::Bytes(bytes) => Some(bytes),
            SeenBody::Unkept => None,
        };
        let essence = essence(request.headers);
        if self.media.len() >= MEDIA_TYPES_MAX && !self.media.contains_key(&essence) {
            return;
        }
        let codec = Codec::of(&essence);
        let media = self.media.entry(essence).or_default();
        media.requests += 1;
        let limits = Limits {
            depth_max: JSON_DEPTH_MAX,
            values_max: JSON_VALUES_MAX,
        };
        let read = match (codec, bytes) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Codec::Json), Some(bytes)) => match wire::json::parse(bytes, &limits) {
                Ok(value) => {
                    media.json.add(&value, 0);
                    true
                }
                Err(_) => false,
            },
            (Some(Codec::UrlEncoded), Some(bytes)) => match wire::http::form(bytes) {
                Ok(pairs) => {
                    media.forms += 1;
                    let pairs = pairs.iter().map(|(name, text)| (&**name, &**text));
                    fields(&mut media.form, pairs);
                    true
                }
                Err(_) => false,
            },
        };
        media.unread += u64::from(!read);
    }

    fn join(&mut self, other: Self) {
        self.requests += other.requests;
        self.without_body += other.without_body;
        self.body_unrecorded += other.body_unrecorded;
        if self.segments.len() < other.segments.len() {
            self.segments
                .resize(other.segments.len(), Scalar::default());
        }
        for (known, more) in self.segments.iter_mut().zip(other.segments) {
            *known = known.join(more);
        }
        join_fields(&mut self.query, other.query);
        self.headers.extend(other.headers);
        for (essence, more) in other.media {
            let known = self.media.entry(essence).or_default();
            known.requests += more.requests;
            known.unread += more.unread;
            known.forms += more.forms;
            known.json.join(more.json);
            join_fields(&mut known.form, more.form);
        }
    }
}

fn fields<'p>(
    known: &mut BTreeMap<String, Field>,
    pairs: impl Iterator<Item = (&'p str, &'p str)>,
) {
    let mut here = BTreeSet::new();
    for (name, text) in pairs {
        if known.len() >= PARAMETERS_MAX && !known.contains_key(name) {
            continue;
        }
        let field = known.entry(name.to_owned()).or_default();
        field.scalar = field.scalar.join(Scalar::of(text));
        if here.insert(name) {
            field.requests += 1;
        } else {
            field.repeated = true;
        }
    }
}

fn join_fields(known: &mut BTreeMap<String, Field>, more: BTreeMap<String, Field>) {
    for (name, more) in more {
        let field = known.entry(name).or_default();
        field.requests += more.requests;
        field.repeated |= more.repeated;
        field.scalar = field.scalar.join(more.scalar);
    }
}

/// Whether a header may be input of a function: it goes on only when it is declared, and no other
/// rule speaks of it.
fn is_input(name: &str) -> bool {
    is_forwardable(name)
        && PASSED_HEADERS.binary_search(&name).is_err()
        && !NO_INPUT.contains(&name)
        && !name.starts_with("sec-")
        && !name.starts_with("content-")
}

/// The media type of a body; empty when the request does not say.
fn essence(headers: &[(String, String)]) -> String {
    let found = headers.iter().find(|(name, _)| name == "content-type");
    let media = found.and_then(|(_, value)| MediaType::parse(value).ok());
    media.map_or_else(String::new, |media| media.essence().to_owned())
}

#[cfg(test)]
mod tests;
