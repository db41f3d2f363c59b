//! The corpus of raw requests (`gateway/tests/corpus`), judged without a server: framer, head rules,
//! target, catalogue and decode in the order of the protocol room.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::http::{BodyLength, Framer, RequestLine, Target, Version, check};

use super::{Catalogue, HttpHead, RequestBody, facts, id};
use crate::call::{BodyPlan, Call};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn functions() -> Catalogue {
    let yaml = std::fs::read_to_string(folder().join("functions.yaml")).unwrap();
    super::catalogue(&yaml)
}

/// How many requests reach the function; `Err` says why the connection was refused, and after how many.
fn judge(catalogue: &Catalogue, raw: &[u8]) -> Result<usize, (usize, String)> {
    Framer::http1_or_2()
        .push(raw)
        .map_err(|error| (0, error.to_string()))?;
    let (mut rest, mut count) = (raw, 0);
    while !rest.is_empty() {
        let used = one(catalogue, rest).map_err(|error| (count, error))?;
        count += 1;
        rest = &rest[used..];
    }
    Ok(count)
}

/// Judge the first request and say how many bytes it has. The framer has accepted its bytes.
fn one(catalogue: &Catalogue, raw: &[u8]) -> Result<usize, String> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or("no end of the head")? + 4;
    let head = String::from_utf8_lossy(&raw[..end - 4]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (
        first.next().unwrap_or_default(),
        first.next().unwrap_or_default(),
    );
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("no colon")?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        let value =
            HeaderValue::from_str(value.trim_matches([' ', '\t'])).map_err(|e| e.to_string())?;
        headers.append(name, value);
    }
    let (authority, path) = match target.strip_prefix("http://") {
        Some(rest) => rest
            .split_once('/')
            .map_or((Some(rest), ""), |(host, path)| (Some(host), path)),
        None => (None, target.strip_prefix('/').ok_or("no slash")?),
    };
    let line = RequestLine {
        method,
        version: Version::Http11,
        authority,
    };
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let checked = check(&line, pairs).map_err(|error| error.to_string())?;
    let target = Target::parse(&format!("/{path}")).map_err(|error| error.to_string())?;
    let target = target.strip_prefix("/t").ok_or("no route")?;
    let (body, used) = match checked.body {
        BodyLength::Unsaid => (Vec::new(), 0),
        BodyLength::Known(bytes) => {
            let bytes = usize::try_from(bytes).unwrap();
            (
                raw.get(end..end + bytes).ok_or("the body is cut")?.to_vec(),
                bytes,
            )
        }
        BodyLength::Chunked => dechunk(&raw[end..])?,
    };
    let method = method.parse().map_err(|_| "no method")?;
    let head = HttpHead {
        method,
        target,
        headers,
    };
    let found = catalogue.find(&head.method, &head.target, &head.headers);
    let plan = found.body_plan(&head.headers, checked.body);
    match plan.map_err(|fault| fault.to_string())? {
        BodyPlan::Buffer { bytes_max } if body.len() > bytes_max => return Err("too large".into()),
        BodyPlan::Buffer { .. } | BodyPlan::None | BodyPlan::Stream => {}
    }
    let body = RequestBody::Bytes(Bytes::from(body));
    let call = catalogue.decode(&found, head, body, id(), facts("GET"));
    let frozen = call
        .map_err(|fault| fault.to_string())?
        .freeze()
        .ok_or("streams")?;
    let thawed = catalogue
        .thaw(&frozen, id(), facts("GET"))
        .map_err(|fault| fault.to_string())?;
    assert_eq!(thawed.freeze(), Some(frozen));
    Ok(end + used)
}

fn dechunk(raw: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let line = raw[at..]
            .windows(2)
            .position(|window| window == b"\r\n")
            .ok_or("no size")?;
        let digits = std::str::from_utf8(&raw[at..at + line]).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
        at += line + 2;
        out.extend_from_slice(raw.get(at..at + size).ok_or("the chunk is cut")?);
        at += size + 2;
        if size == 0 {
            return Ok((out, at));
        }
    }
}

// X1, X3, X4, X7, P3, T1 to T5, T13
#[test]
fn every_case_of_the_corpus_has_its_verdict() {
    let catalogue = functions();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder().join("http1")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let raw = std::fs::read(&path).unwrap();
        let raw = bytes_without(&raw, b"{auth}");
        let verdict = judge(&catalogue, &raw);
        let right = match name.split('-').next() {
            Some("one") => verdict == Ok(1),
            Some("two") => verdict == Ok(2),
            Some("refuse") => matches!(verdict, Err((0, _))),
            other => panic!("{other:?}"),
        };
        if !right {
            wrong.push(format!("{name}: {verdict:?}"));
        }
        count += 1;
    }
    assert!(count >= 300, "{count} cases");
    assert_eq!(wrong, Vec::<String>::new());
}

fn bytes_without(raw: &[u8], mark: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = raw;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + mark.len()..];
    }
    out.extend_from_slice(rest);
    out
}
