//! The document, as YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::path::{Form, Piece};
use super::shape::Scalar;
use super::{Field, Operation, SeenFunctions, SuggestedDocument};
use crate::call::definition::Codec;
use crate::call::{Method, NAME_BYTES_MAX};

/// Notes that are written at most.
const NOTES_MAX: usize = 100;

pub(super) fn write(seen: &SeenFunctions, connection: &str) -> SuggestedDocument {
    let mut notes: Vec<String> = seen
        .left_out
        .iter()
        .map(|(why, count)| format!("{count} requests are not covered: {why}"))
        .collect();
    let mut names = BTreeSet::new();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for ((method, form), operation) in &seen.operations {
        let parameters = parameter_names(form);
        let path = template(form, &parameters);
        let place = format!("{} {path}", method.as_str());
        let name = name(*method, form, &parameters, &mut names);
        let object = operation_object(operation, (name, &parameters), &place, &mut notes);
        let word = method.as_str().to_ascii_lowercase();
        paths.entry(path).or_default().insert(word, object);
    }
    let more = notes.len().saturating_sub(NOTES_MAX);
    notes.truncate(NOTES_MAX);
    if more > 0 {
        notes.push(format!("{more} further notes"));
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": connection, "version": "0" },
        "paths": paths,
    });
    let mut text = format!(
        "# Functions of the connection `{connection}`, suggested from {} requests that were seen. Read it before\n\
         # you use it: a path that was never called is missing, and what never varied may vary.\n",
        seen.requests
    );
    for note in &notes {
        let _ = writeln!(text, "# NOT COVERED: {}", quoted(note).trim_matches('"'));
    }
    put(&document, 0, &mut text);
    SuggestedDocument {
        text,
        functions: seen.operations.len(),
        notes,
    }
}

/// A name for each varied segment: after the name before it.
fn parameter_names(form: &Form) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut before = "";
    for piece in form {
        match piece {
            Piece::Name(name) => before = name,
            Piece::Varied => {
                let one = before.strip_suffix('s').unwrap_or(before);
                let camel = camel(one);
                let base = match camel.is_empty() {
                    true => "id".to_owned(),
                    false => format!("{camel}Id"),
                };
                let mut name = base.clone();
                let mut number = 2;
                while names.contains(&name) {
                    name = format!("{base}{number}");
                    number += 1;
                }
                names.push(name);
                before = "";
            }
        }
    }
    names
}

/// Letters and digits of a text, with a capital where something else stood.
fn camel(text: &str) -> String {
    let mut out = String::new();
    let mut capital = false;
    for char in text.chars() {
        if !char.is_ascii_alphanumeric() {
            capital = !out.is_empty();
        } else if capital {
            out.push(char.to_ascii_uppercase());
            capital = false;
        } else {
            out.push(char);
        }
    }
    out
}

fn template(form: &Form, parameters: &[String]) -> String {
    let mut parameters = parameters.iter();
    form.iter()
        .map(|piece| match piece {
            Piece::Name(name) => format!("/{name}"),
            Piece::Varied => format!("/{{{}}}", parameters.next().map_or("", String::as_str)),
        })
        .collect()
}

/// A name that nothing else has, whatever its case.
fn name(
    method: Method,
    form: &Form,
    parameters: &[String],
    taken: &mut BTreeSet<String>,
) -> String {
    let mut name = method.as_str().to_ascii_lowercase();
    let mut parameters = parameters.iter();
    for piece in form {
        let (joint, word) = match piece {
            Piece::Name(word) => ("", camel(word)),
            Piece::Varied => ("By", parameters.next().cloned().unwrap_or_default()),
        };
        name.push_str(joint);
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name.truncate(NAME_BYTES_MAX - 6);
    let base = name.clone();
    let mut number = 2;
    while !taken.insert(name.to_ascii_lowercase()) {
        name = format!("{base}{number}");
        number += 1;
    }
    name
}

fn operation_object(
    operation: &Operation,
    (name, segments): (String, &[String]),
    place: &str,
    notes: &mut Vec<String>,
) -> Value {
    let mut parameters = Vec::new();
    for (name, scalar) in segments.iter().zip(&operation.segments) {
        let schema = json!({ "type": scalar.word() });
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    for (name, field) in &operation.query {
        let required = field.requests == operation.requests;
        let mut one = json!({ "name": name, "in": "query", "schema": field_schema(field) });
        if let (Some(one), true) = (one.as_object_mut(), required) {
            one.insert("required".to_owned(), true.into());
        }
        parameters.push(one);
    }
    for name in &operation.headers {
        let schema = json!({ "type": Scalar::Text.word() });
        parameters.push(json!({ "name": name, "in": "header", "schema": schema }));
    }
    let mut object = Map::new();
    object.insert("operationId".to_owned(), name.into());
    let times = operation.requests;
    object.insert("summary".to_owned(), format!("seen {times} times").into());
    if !parameters.is_empty() {
        object.insert("parameters".to_owned(), parameters.into());
    }
    if let Some(body) = body(operation, place, notes) {
        object.insert("requestBody".to_owned(), body);
    }
    let answers = json!({ "default": { "description": "not looked at" } });
    object.insert("responses".to_owned(), answers);
    object.into()
}

fn field_schema(field: &Field) -> Value {
    let one = json!({ "type": field.scalar.word() });
    match field.repeated {
        true => json!({ "type": "array", "items": one }),
        false => one,
    }
}

fn body(operation: &Operation, place: &str, notes: &mut Vec<String>) -> Option<Value> {
    let judged = operation
        .media
        .iter()
        .filter(|(essence, media)| Codec::of(essence).is_some() && media.unread < media.requests);
    // The one that is sent most; of two the first by name.
    let main = judged.max_by_key(|(essence, media)| (media.requests, std::cmp::Reverse(*essence)));
    let mut content = Map::new();
    let Some((essence, media)) = main else {
        for essence in operation.media.keys() {
            // What says nothing of itself, or could not be judged, passes unread.
            let essence = match essence.is_empty() || Codec::of(essence).is_some() {
                true => "*/*",
                false => essence,
            };
            content.insert(essence.to_owned(), json!({}));
        }
        if operation.body_unrecorded > 0 {
            content.insert("*/*".to_owned(), json!({}));
            notes.push(format!(
                "{place}: it was refused, and what it sends is not recorded"
            ));
        }
        return (!content.is_empty()).then(|| json!({ "content": content }));
    };
    let schema = media_schema(essence, media);
    for (other, more) in &operation.media {
        let same = Codec::of(other).is_some() && media_schema(other, more) == schema;
        if other == essence || same {
            content.insert(other.clone(), json!({ "schema": schema }));
        } else {
            let shown = if other.is_empty() {
                "of no media type"
            } else {
                other
            };
            let times = more.requests;
            notes.push(format!("{place}: {times} bodies {shown}, beside {essence}"));
        }
        if more.unread > 0 {
            let times = more.unread;
            notes.push(format!(
                "{place}: {times} bodies {other} that are not strict or were not kept whole"
            ));
        }
    }
    let mut body = json!({ "content": content });
    if let (Some(body), 0) = (body.as_object_mut(), operation.without_body) {
        body.insert("required".to_owned(), true.into());
    }
    Some(body)
}

fn media_schema(essence: &str, media: &super::Media) -> Value {
    if Codec::of(essence) != Some(Codec::UrlEncoded) {
        return media.json.schema();
    }
    let fields = media.form.iter();
    let properties: Map<String, Value> = fields
        .map(|(name, field)| (name.clone(), field_schema(field)))
        .collect();
    let always = media
        .form
        .iter()
        .filter(|(_, field)| field.requests == media.forms);
    let required: Vec<&str> = always.map(|(name, _)| name.as_str()).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if let (Some(schema), false) = (schema.as_object_mut(), required.is_empty()) {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

/// A text in quotes, in ASCII: names that callers sent can neither end it nor hide in it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(char),
            other => {
                let _ = write!(out, "\\U{:08x}", u32::from(other));
            }
        }
    }
    out.push('"');
    out
}

fn key(text: &str) -> String {
    let plain = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphabetic())
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// A value below a key or a dash, in block style.
fn put(value: &Value, indent: usize, out: &mut String) {
    let space = "  ".repeat(indent);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let _ = write!(out, "{space}{}:", key(name));
                below(member, indent + 1, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{space}-");
                below(item, indent + 1, out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = writeln!(out, "{space}{}", scalar(value));
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(members) if members.is_empty() => out.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Object(_) | Value::Array(_) => {
            out.push('\n');
            put(value, indent, out);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let _ = writeln!(out, " {}", scalar(value));
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}
