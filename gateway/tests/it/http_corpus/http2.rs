//! The HTTP/2 corpus: the frames of `http2.txt`, one connection a case, against the gateway and against nginx.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::super::support::gateway::caller;
use super::super::support::h2::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM,
};
use super::super::support::recorder::{Recorder, Seen};
use super::super::support::servers::Nginx;
use super::cases::{Expect, PREFIX};
use super::{AT_A_TIME, answer, changed, functions, gateway};

/// How long an answer may be awaited; then the case counts as unanswered.
const WAIT_MAX: Duration = Duration::from_secs(3);

type Field = (Vec<u8>, Vec<u8>);

/// One thing that a case sends.
#[derive(Debug)]
enum Step {
    Fields {
        kind: u8,
        flags: u8,
        stream: u32,
        fields: Vec<Field>,
    },
    Bytes(Vec<u8>),
}

#[derive(Debug)]
struct Case {
    name: String,
    expect: Expect,
    steps: Vec<Step>,
    /// What the body is when it is served.
    body: Vec<u8>,
}

/// The cases of the file; the marks `@get`, `@post` and `@auth` stay as fields until there is a token.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in include_str!("http2.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "case" {
            let (verdict, name) = rest.split_once(' ').expect("a verdict and a name");
            let expect = match verdict {
                "one" => Expect::Serve(1),
                "refuse" => Expect::Refuse,
                "either" => Expect::Either,
                _ => panic!("{line}"),
            };
            cases.push(Case {
                name: name.to_owned(),
                expect,
                steps: Vec::new(),
                body: Vec::new(),
            });
            continue;
        }
        let case = cases.last_mut().expect("a case");
        let flag = |name: &str| rest.split(' ').any(|word| word == name);
        let end = if flag("end") { END_STREAM } else { 0 };
        match word {
            "headers" | "continuation" => {
                let named = rest
                    .split(' ')
                    .find_map(|word| word.strip_prefix("stream="));
                let (kind, end) = match word {
                    "headers" => (HEADERS, end),
                    _ => (CONTINUATION, 0),
                };
                case.steps.push(Step::Fields {
                    kind,
                    flags: end | if flag("open") { 0 } else { END_HEADERS },
                    stream: named.map_or(1, |stream| stream.parse().expect("a number")),
                    fields: Vec::new(),
                });
            }
            "data" => {
                let text = rest.strip_prefix("end").unwrap_or(rest).trim_start();
                let text = unescaped(text);
                case.steps.push(Step::Bytes(h2::frame(DATA, end, 1, &text)));
                case.body.extend(text);
            }
            "raw" => case.steps.push(Step::Bytes(raw(rest))),
            _ => field(case, line),
        }
    }
    cases
}

/// `TYPE FLAGS STREAM HEX`
fn raw(text: &str) -> Vec<u8> {
    let mut words = text.split(' ');
    let mut number = |radix| u32::from_str_radix(words.next().expect("a number"), radix);
    let (kind, flags) = (number(16).expect("a type"), number(16).expect("flags"));
    let stream = number(10).expect("a stream");
    let hex = words.next().unwrap_or_default();
    let payload: Vec<u8> = (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
        .collect();
    let byte = |number: u32| u8::try_from(number).expect("a byte");
    h2::frame(byte(kind), byte(flags), stream, &payload)
}

fn field(case: &mut Case, line: &str) {
    let Some(Step::Fields { fields, .. }) = case.steps.last_mut() else {
        panic!("{}: `{line}` belongs to no headers", case.name)
    };
    if line.starts_with('@') {
        let (mark, target) = line.split_once(' ').unwrap_or((line, ""));
        let method: &[u8] = match mark {
            "@get" => b"GET",
            "@post" => b"POST",
            "@auth" => return fields.push((b"@auth".to_vec(), Vec::new())),
            _ => panic!("{line}"),
        };
        fields.extend([
            (b":method".to_vec(), method.to_vec()),
            (b":scheme".to_vec(), b"http".to_vec()),
            (b":authority".to_vec(), b"h".to_vec()),
            (b":path".to_vec(), unescaped(target)),
            (b"@auth".to_vec(), Vec::new()),
        ]);
        return;
    }
    let (name, value) = match line.strip_prefix(": ") {
        Some(value) => ("", value),
        None => line.split_once(": ").expect("a name and a value"),
    };
    fields.push((unescaped(name), unescaped(value)));
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut characters) = (Vec::new(), text.bytes());
    while let Some(byte) = characters.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match characters.next() {
            Some(b'r') => bytes.push(b'\r'),
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'\\') => bytes.push(b'\\'),
            Some(b'0') => bytes.push(0),
            Some(b's') => bytes.push(b' '),
            Some(b'c') => bytes.push(b':'),
            other => panic!("{text}: what is \\{other:?}?"),
        }
    }
    bytes
}

/// Send a case; the status of its answer, if there is one before the stream or the connection ends.
fn converse(address: SocketAddr, case: &Case, auth: &[Field]) -> Option<u16> {
    let mut frames = Frames::to(address);
    for step in &case.steps {
        let bytes = match step {
            Step::Bytes(bytes) => bytes.clone(),
            Step::Fields {
                kind,
                flags,
                stream,
                fields,
            } => {
                let mut all = Vec::new();
                for field in fields {
                    match field.0.as_slice() {
                        b"@auth" => all.extend_from_slice(auth),
                        _ => all.push(field.clone()),
                    }
                }
                h2::frame(*kind, *flags, *stream, &h2::block(&all))
            }
        };
        // The peer may have refused already.
        if !frames.write(&bytes) {
            break;
        }
    }
    loop {
        let frame = frames.next_within(WAIT_MAX)?;
        match frame.kind {
            HEADERS => return Some(frame.status()),
            RST_STREAM | GOAWAY => return None,
            _ => {}
        }
    }
}

/// Every case against `address`: its answer's status, and what reached the function.
fn replay(
    address: SocketAddr,
    upstream: &Recorder,
    token: Option<&str>,
    all: &[Case],
) -> Vec<(Option<u16>, Vec<Seen>)> {
    let (next, statuses) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = all.get(index) else { return };
                    let mut auth = vec![(b"x-case".to_vec(), index.to_string().into_bytes())];
                    if let Some(token) = token {
                        let bearer = format!("Bearer {token}").into_bytes();
                        auth.push((b"authorization".to_vec(), bearer));
                    }
                    let status = converse(address, case, &auth);
                    statuses.lock().expect("statuses").insert(index, status);
                }
            });
        }
    });
    let mut seen: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    for one in upstream.take() {
        let id = one.header("x-case").first().map(|id| (*id).to_owned());
        let id = id.unwrap_or_else(|| panic!("a request of no case: {one:?}"));
        seen.entry(id).or_default().push(one);
    }
    let statuses = statuses.into_inner().expect("statuses");
    statuses
        .into_iter()
        .map(|(index, status)| (status, seen.remove(&index.to_string()).unwrap_or_default()))
        .collect()
}

/// What is wrong with what came of a case.
fn fault(case: &Case, status: Option<u16>, seen: &[Seen], upstream: SocketAddr) -> Option<String> {
    let wrong = match case.expect {
        Expect::Refuse => !seen.is_empty() || status == Some(200),
        Expect::Serve(_) => seen.len() != 1 || status != Some(200),
        Expect::Either => seen.len() > 1,
    };
    if wrong {
        let count = seen.len();
        return Some(format!(
            "{:?}, but {count} reached the function; answer {status:?}",
            case.expect
        ));
    }
    seen.iter().find_map(|one| {
        changed(one, upstream).or_else(|| {
            let sent = one.header("content-length").is_empty() || one.body == case.body;
            (!sent).then(|| format!("another body: {one:?}"))
        })
    })
}

// X1 X3 X4 X7 I6
#[test]
fn the_gateway_refuses_or_forwards_what_it_judged_over_http2() {
    let all = cases();
    assert!(all.len() >= 100, "{} cases", all.len());
    let upstream = Recorder::start(answer());
    let gateway = gateway(&upstream, &functions());
    let token = caller("corpus", &["staff"]);
    let outcomes = replay(gateway.address, &upstream, Some(&token), &all);
    let faults: Vec<String> = all
        .iter()
        .zip(&outcomes)
        .filter_map(|(case, (status, seen))| {
            let fault = fault(case, *status, seen, upstream.address)?;
            Some(format!("{}: {fault}", case.name))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let served: usize = outcomes.iter().map(|(_, seen)| seen.len()).sum();
    assert!(served >= 10, "only {served} were served");
    // A record for each request that was served; a streamed body that broke on its way was never whole anywhere.
    let leaves = gateway.leaves();
    let ends = leaves.iter().filter(|leaf| leaf["kind"] == "call.end");
    assert_eq!(ends.filter(|leaf| leaf["outcome"] == "ok").count(), served);
}

#[test]
fn nginx_reads_the_http2_corpus() {
    let all = cases();
    let upstream = Recorder::start(answer());
    let nginx = Nginx::http2(PREFIX, upstream.address);
    let outcomes = replay(nginx.address, &upstream, None, &all);
    // Shown with `--nocapture`: where a widely used proxy forwards what we refuse.
    let mut disagreements = 0;
    for (case, (status, seen)) in all.iter().zip(&outcomes) {
        if let Some(fault) = fault(case, *status, seen, upstream.address) {
            disagreements += 1;
            println!("{}: {fault}", case.name);
        }
    }
    println!(
        "nginx differs from us in {disagreements} of {} cases",
        all.len()
    );
    let sane = all.iter().zip(&outcomes);
    for (case, (status, seen)) in sane.filter(|(case, _)| case.name.starts_with("sane")) {
        assert_eq!((*status, seen.len()), (Some(200), 1), "{}", case.name);
    }
}
