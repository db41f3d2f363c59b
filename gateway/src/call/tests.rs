//! Tests of the catalogue and of decoding; numbers such as X3 are items of the threat list.

mod corpus;
mod decode;
mod docs;
mod frozen;
mod load;
mod openapi;
mod plan;
mod properties;
mod schema;

use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method};
use wire::http::{BodyLength, Target};

use super::{
    BodyPlan, Call, CallFault, CallId, Catalogue, Facts, Fault, FunctionsConfig, HttpCall,
    HttpHead, RequestBody, input::Value,
};
use crate::clock::Timestamp;

/// A catalogue from the YAML of `functions`.
fn load(yaml: &str) -> Result<Catalogue, Vec<Fault>> {
    let config: FunctionsConfig = serde_saphyr::from_str(yaml).unwrap();
    Catalogue::load(&config, &"payments".parse().unwrap(), Path::new("/nowhere"))
}

fn catalogue(yaml: &str) -> Catalogue {
    load(yaml).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// A catalogue from an OpenAPI document.
fn import(document: &str, config: &str) -> Result<Catalogue, Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("api.yaml"), document).unwrap();
    let config: FunctionsConfig =
        serde_saphyr::from_str(&format!("openapi: api.yaml\n{config}")).unwrap();
    Catalogue::load(&config, &"payments".parse().unwrap(), folder.path())
}

fn facts(method: &str) -> Facts {
    Facts {
        received: Timestamp::from_secs(1_700_000_000),
        source: "192.0.2.7".parse().unwrap(),
        tls: true,
        protocol: "http/1.1",
        method: method.to_owned(),
    }
}

fn id() -> CallId {
    CallId::from_bytes([7; 16])
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> HttpHead {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        map.append(name, value.parse().unwrap());
    }
    HttpHead {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        target: Target::parse(target).unwrap(),
        headers: map,
    }
}

/// Decode as the protocol room does: plan first, then the body.
fn send(
    catalogue: &Catalogue,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<HttpCall, CallFault> {
    let head = head(method, target, headers);
    let found = catalogue.find(&head.method, &head.target, &head.headers);
    let length = match body.len() {
        0 => BodyLength::Unsaid,
        bytes => BodyLength::Known(bytes as u64),
    };
    let plan = found.body_plan(&head.headers, length)?;
    if let BodyPlan::Buffer { bytes_max } = plan {
        assert!(body.len() <= bytes_max);
    }
    let body = RequestBody::Bytes(Bytes::copy_from_slice(body));
    catalogue.decode(&found, head, body, id(), facts(method))
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn post(catalogue: &Catalogue, target: &str, body: &str) -> Result<HttpCall, CallFault> {
    send(catalogue, "POST", target, &[JSON], body.as_bytes())
}

fn get(catalogue: &Catalogue, target: &str) -> Result<HttpCall, CallFault> {
    send(catalogue, "GET", target, &[], b"")
}

/// The text of a refusal that must be a 400.
fn bad<T: std::fmt::Debug>(result: Result<T, CallFault>) -> String {
    match result {
        Err(CallFault::BadRequest(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// What policies see at a place such as `body.amount`.
fn seen(call: &HttpCall, place: &str) -> Option<Value> {
    let mut names = place.split('.');
    let mut value = call.input().members.get(names.next()?)?.clone();
    for name in names {
        value = match value {
            Value::Record(mut members) => members.remove(name)?,
            _ => return None,
        };
    }
    Some(value)
}
