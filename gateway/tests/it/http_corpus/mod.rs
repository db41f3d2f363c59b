//! Raw requests that two readers may read differently: a corpus, replayed against the gateway and, to see where we
//! differ, against nginx. The bar (docs/adr/0003): a refusal, or exactly one request upstream per request judged, and
//! it equals the one judged.

mod cases;
mod http2;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::gateway::{Gateway, Setup, caller};
use super::support::raw::{self, Answer, End};
use super::support::recorder::{Recorder, Seen};
use super::support::root;
use super::support::servers::Nginx;

use cases::{Case, Expect, PREFIX};
use serde_json::{Value, json};

/// Cases that run at a time.
const AT_A_TIME: usize = 24;
/// How long an answer may be awaited; then the case counts as unanswered.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How long to listen for a further answer behind the last one.
const FURTHER: Duration = Duration::from_millis(250);

/// What came of a case.
#[derive(Clone, Debug)]
struct Outcome {
    answers: Vec<Answer>,
    seen: Vec<Seen>,
}

impl Outcome {
    /// Answers that the function gave.
    fn served(&self) -> usize {
        self.answers
            .iter()
            .filter(|answer| answer.header("x-function").is_some())
            .count()
    }
}

/// What came of all cases, in their order, and requests at the function that belong to none of them.
#[derive(Debug)]
struct Replayed {
    outcomes: Vec<Outcome>,
    orphans: Vec<Seen>,
}

/// Run every case against `address`; `auth` are the header lines that authenticate.
fn replay(address: SocketAddr, upstream: &Recorder, auth: &str, all: &[Case]) -> Replayed {
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = all.get(index) else { return };
                    let bytes = with_auth(&case.bytes, &format!("X-Case: {index}\r\n{auth}"));
                    let method = if bytes.starts_with(b"HEAD ") {
                        "HEAD"
                    } else {
                        "GET"
                    };
                    let got = converse(address, &bytes, method, case.expect);
                    answers.lock().expect("the answers").insert(index, got);
                }
            });
        }
    });
    let mut seen: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    for one in upstream.take() {
        let id = one
            .header("x-case")
            .first()
            .map_or_else(|| "none".to_owned(), |id| (*id).to_owned());
        seen.entry(id).or_default().push(one);
    }
    let orphans = seen.remove("none").unwrap_or_default();
    let answers = answers.into_inner().expect("the answers");
    let outcomes = answers
        .into_iter()
        .map(|(index, answers)| Outcome {
            answers,
            seen: seen.remove(&index.to_string()).unwrap_or_default(),
        })
        .collect();
    Replayed { outcomes, orphans }
}

fn with_auth(bytes: &[u8], auth: &str) -> Vec<u8> {
    let (mut out, mut rest, mark) = (Vec::new(), bytes, b"{auth}");
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(auth.as_bytes());
        rest = &rest[at + mark.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// Send, and read answers until there are as many as there can be, or silence, or the end.
fn converse(address: SocketAddr, bytes: &[u8], method: &str, expect: Expect) -> Vec<Answer> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    // The peer may refuse before it has read all: then the rest has nobody to go to.
    let _ = stream.write_all(bytes);
    let mut got = Vec::new();
    loop {
        let answers = raw::parse_all(&got, End::Silence, method);
        let enough = matches!(expect, Expect::Serve(count) if answers.len() < count);
        stream
            .set_read_timeout(Some(if answers.is_empty() || enough {
                WAIT_MAX
            } else {
                FURTHER
            }))
            .expect("a timeout");
        let mut chunk = [0_u8; 8192];
        match std::io::Read::read(&mut stream, &mut chunk) {
            Ok(length @ 1..) => got.extend_from_slice(&chunk[..length]),
            Ok(0) => return raw::parse_all(&got, End::Clean, method),
            _ => return raw::parse_all(&got, End::Cut, method),
        }
    }
}

/// What is wrong with an outcome, if something is.
fn fault(case: &Case, outcome: &Outcome, upstream: &Recorder) -> Option<String> {
    let (seen, served) = (outcome.seen.len(), outcome.served());
    let statuses: Vec<u16> = outcome.answers.iter().map(|answer| answer.status).collect();
    let wrong = match case.expect {
        Expect::Refuse => seen > 0,
        Expect::Serve(count) => seen != count || served != count,
        Expect::Either => seen > 2,
    };
    if wrong || served > seen {
        return Some(format!(
            "{:?}, but {seen} reached the function; answers {statuses:?}",
            case.expect
        ));
    }
    outcome
        .seen
        .iter()
        .find_map(|one| changed(one, upstream.address))
}

/// What no request may look like when it reaches a function.
fn changed(seen: &Seen, upstream: SocketAddr) -> Option<String> {
    let mut parts = seen.line().split(' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next());
    let path = target.split('?').next().unwrap_or_default();
    let hosts = seen.header("host");
    let framings = seen.header("content-length").len() + seen.header("transfer-encoding").len();
    let odd = [
        "..", "//", "\\", "%2f", "%2F", "%5c", "%5C", "%00", "%252", "#", ";",
    ];
    let checks = [
        (
            version != Some("HTTP/1.1") || parts.next().is_some(),
            "request line",
        ),
        (!matches!(method, "GET" | "HEAD" | "POST"), "method"),
        (!path.starts_with("/things"), "path"),
        (
            odd.iter().any(|piece| {
                path.contains(piece) && !path.contains("...") && !path.contains("..a")
            }),
            "path",
        ),
        (hosts != [upstream.to_string()], "host"),
        (framings > 1, "framing"),
        (
            seen.head.contains("smuggled"),
            "a header that must be stripped",
        ),
        (
            seen.head.to_ascii_lowercase().contains("bearer "),
            "the caller's token",
        ),
        (
            seen.head
                .bytes()
                .any(|byte| byte < b' ' && !matches!(byte, b'\r' | b'\n' | b'\t')),
            "a control",
        ),
        (
            seen.head.replace("\r\n", "").contains(['\r', '\n']),
            "a bare line end",
        ),
    ];
    let named = checks.iter().find(|(wrong, _)| *wrong)?.1;
    Some(format!("{named}: {:?}", seen.head))
}

fn answer() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Function: yes\r\nContent-Length: 11\r\n\r\n{\"ok\":true}".to_vec()
}

#[test]
fn nginx_reads_the_corpus() {
    let all = cases::all();
    assert!(all.len() >= 300, "{} cases", all.len());
    let upstream = Recorder::start(answer());
    let nginx = Nginx::start(PREFIX, upstream.address);
    let Replayed { outcomes, orphans } = replay(nginx.address, &upstream, "", &all);
    println!("orphans: {orphans:?}");
    // Shown with `--nocapture`: where a widely used proxy forwards what we refuse.
    let mut disagreements = 0;
    for (case, outcome) in all.iter().zip(&outcomes) {
        if let Some(fault) = fault(case, outcome, &upstream) {
            disagreements += 1;
            println!("{}: {fault}", case.name);
        }
    }
    println!(
        "nginx differs from us in {disagreements} of {} cases",
        all.len()
    );
    let sane = all
        .iter()
        .zip(&outcomes)
        .filter(|(case, _)| case.name.starts_with("sane"));
    for (case, outcome) in sane {
        assert_eq!(
            Expect::Serve(outcome.served()),
            case.expect,
            "{}",
            case.name
        );
    }
}

/// Everything that can be passed through is passed through: so most of it reaches the function.
fn functions() -> Value {
    json!({
        "headers": ["x-case"],
        "inline": {
            "getThing": { "method": "GET", "path": "/things/{id}", "additional": "allow" },
            "listThings": { "method": "GET", "path": "/things", "additional": "allow" },
            "postThing": { "method": "POST", "path": "/things", "additional": "allow", "body": { "required": false } },
            "streamThing": { "method": "POST", "path": "/things/{id}", "additional": "allow", "body": { "stream": true } },
        },
    })
}

/// A gateway for the hosts and the route of the corpora, before `upstream`.
fn gateway(upstream: &Recorder, functions: &Value) -> Gateway {
    Setup::new()
        .with("listen", json!([{ "address": "127.0.0.1:0", "hosts": ["h"] }]))
        .connection(PREFIX.trim_start_matches('/'), upstream.address, &json!({ "functions": functions }))
        .policy("@id(\"all\") permit (principal in Group::\"corp/staff\", action in Action::\"call\", resource);")
        .start()
}

/// Replay a corpus against a gateway: the bar of every case, and a record for each request served and for no other.
fn hold(all: &[Case], functions: &Value) {
    let upstream = Recorder::start(answer());
    let gateway = gateway(&upstream, functions);
    let auth = format!("Authorization: Bearer {}\r\n", caller("corpus", &["staff"]));
    let Replayed { outcomes, orphans } = replay(gateway.address, &upstream, &auth, all);
    let faults: Vec<String> = all
        .iter()
        .zip(&outcomes)
        .filter_map(|(case, outcome)| {
            let fault = fault(case, outcome, &upstream).or_else(|| other_body(case, outcome))?;
            Some(format!("{}: {fault}", case.name))
        })
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {}:\n{}",
        faults.len(),
        all.len(),
        faults.join("\n")
    );
    assert!(orphans.is_empty(), "{orphans:?}");
    let served: usize = outcomes.iter().map(|outcome| outcome.seen.len()).sum();
    assert!(
        served > all.len() / 20,
        "only {served} of {} were served",
        all.len()
    );
    assert_eq!(gateway.ends(), served);
}

/// A body of announced length that reached the function must be the one that was sent.
fn other_body(case: &Case, outcome: &Outcome) -> Option<String> {
    let at = case.bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&case.bytes[..at]).to_ascii_lowercase();
    if case.expect != Expect::Serve(1) || head.contains("chunked") {
        return None;
    }
    let seen = outcome.seen.first()?;
    (seen.body != case.bytes[at..]).then(|| format!("another body: {seen:?}"))
}

// X1 X3 X4 X7 I6
#[test]
fn the_gateway_refuses_or_forwards_what_it_judged() {
    hold(&cases::all(), &functions());
}

// X1 X3 X4 I6 P3
#[test]
fn the_gateway_judges_typed_functions_by_what_it_forwards() {
    let folder = root().join("gateway/tests/corpus");
    let functions = std::fs::read_to_string(folder.join("functions.yaml")).expect("the functions");
    let mut functions: Value = serde_saphyr::from_str(&functions).expect("YAML");
    functions["headers"] = json!(["x-case"]);
    let mut all: Vec<Case> = std::fs::read_dir(folder.join("http1"))
        .expect("the corpus")
        .map(|entry| {
            let path = entry.expect("a case").path();
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let expect = match name.split('-').next() {
                Some("refuse") => Expect::Refuse,
                Some("one") => Expect::Serve(1),
                Some("two") => Expect::Serve(2),
                _ => panic!("{name} says no verdict"),
            };
            Case {
                name,
                bytes: std::fs::read(&path).expect("its bytes"),
                expect,
            }
        })
        .collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(all.len() > 400, "{} cases", all.len());
    hold(&all, &functions);
}
