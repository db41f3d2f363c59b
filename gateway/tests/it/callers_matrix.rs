//! What stock clients make of each answer of a real gateway: the table of the guide, cell by cell.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::calls_approvals::lead;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, mint};
use super::support::{free_address, peers, raw};

const GUIDE: &str = include_str!("../../../docs/guide/what-a-caller-sees.md");

const HEADER: &str =
    "| client | held, then yes | 202 | 403 | 410 | 424 | 429, then yes | 502 | 503 | cut |";

/// The answers, in the columns' order: the first segment of the path (a connection that holds, or one that does not), and
/// the case.
const CASES: [(&str, &str); 9] = [
    ("held", "yes"),
    ("brief", "async"),
    ("held", "no"),
    ("held", "late"),
    ("held", "withheld"),
    ("brief", "yes"),
    ("held", "lost"),
    ("brief", "down"),
    ("held", "cut"),
];

/// The rows: their names in the table, the program that plays them, and the client's name there.
const CLIENTS: [(&str, &str, &str); 11] = [
    ("`curl`", "curl", ""),
    ("`curl --fail-with-body`", "curl", "--fail-with-body"),
    (
        "`curl --fail-with-body --retry 1`",
        "curl",
        "--fail-with-body --retry 1",
    ),
    ("requests, `raise_for_status()`", "matrix.py", "requests"),
    ("requests with urllib3's `Retry(1)`", "matrix.py", "urllib3"),
    (
        "the same with `status_forcelist=[429, 503], allowed_methods=None`",
        "matrix.py",
        "urllib3-listed",
    ),
    ("`fetch` of Node, `answer.ok`", "matrix.mjs", "fetch"),
    ("axios", "matrix.mjs", "axios"),
    ("Go's `http.Client`, `StatusCode`", "matrix.go", "go"),
    ("OpenAI's SDK (npm `openai`)", "matrix.mjs", "openai"),
    (
        "Anthropic's SDK (npm `@anthropic-ai/sdk`)",
        "matrix.mjs",
        "anthropic",
    ),
];

const REASON: &str = "not before Monday";

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("asked") @approval("corp/leads")
forbid (principal, action in Action::"call", resource) when { ["yes", "no", "async"].contains(context.input.path.case) };
@id("short") @approval("corp/leads") @decide_within("1s")
forbid (principal, action in Action::"call", resource) when { context.input.path.case == "late" };
@id("leads-approve") permit (principal in Group::"corp/leads", action == Action::"approve", resource);
"#;

fn gateway(double: &Double, relay: SocketAddr) -> Gateway {
    let function = |path: &str| {
        json!({ "method": "POST", "path": format!("/{{case}}/{{row}}{path}"), "additional": "allow",
            "body": { "schema": { "type": "object" } } })
    };
    let functions = json!({ "inline": { "chat": function("/chat/completions"), "messages": function("/v1/messages") } });
    let connection = |hold: u64| json!({ "functions": functions, "hold_s": hold, "mask": { "detect": ["contact"] } });
    let mut setup = Setup::new()
        .policy(POLICIES)
        .with(
            "listen",
            json!([{ "address": "127.0.0.1:0", "hosts": [relay.to_string()] }]),
        )
        .with("approvals", json!({ "cooldown_s": 0 }))
        .connection("held", double.address, &connection(120))
        .connection("brief", double.address, &connection(0));
    setup = setup.issuer(
        "away",
        &json!({ "issuer": "https://away.test", "audience": "https://gateway.test",
            "jwks": format!("http://{}/keys", free_address()), "kind": "workload" }),
    );
    setup.start()
}

/// Between the clients and the gateway: carries bytes, and keeps what the clients sent.
#[derive(Clone, Debug)]
struct Relay {
    address: SocketAddr,
    sent: Arc<Mutex<BTreeMap<SocketAddr, Vec<u8>>>>,
}

impl Relay {
    fn start(listener: TcpListener, gateway: SocketAddr) -> Self {
        let relay = Self {
            address: listener.local_addr().expect("its address"),
            sent: Arc::default(),
        };
        let shared = relay.clone();
        thread::spawn(move || {
            while let Ok((near, peer)) = listener.accept() {
                let far = TcpStream::connect(gateway).expect("the gateway");
                let half = |stream: &TcpStream| stream.try_clone().expect("a half");
                let back = (half(&far), half(&near));
                thread::spawn(move || carry(back.0, back.1, |_| ()));
                let shared = shared.clone();
                let keep = move |bytes: &[u8]| {
                    let mut sent = shared.sent.lock().expect("what was sent");
                    sent.entry(peer).or_default().extend_from_slice(bytes);
                };
                thread::spawn(move || carry(near, far, keep));
            }
        });
        relay
    }

    /// How many requests went to targets that begin so.
    fn times(&self, target: &str) -> usize {
        let begin = format!("POST {target}");
        let sent = self.sent.lock().expect("what was sent");
        let times = sent
            .values()
            .map(|sent| memchr::memmem::find_iter(sent, begin.as_bytes()).count());
        times.sum()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) {
    let mut block = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut block) {
        seen(&block[..length]);
        if to.write_all(&block[..length]).is_err() {
            break;
        }
    }
    // Either may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

/// One client with one answer.
#[derive(Clone, Debug)]
struct Cell {
    row: usize,
    case: usize,
    client: &'static str,
    target: String,
    url: String,
    token: String,
    prefer: &'static str,
}

/// What it did.
#[derive(Debug)]
struct Outcome {
    good: bool,
    text: String,
}

fn cells(program: &str, relay: SocketAddr) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (row, (_, of, client)) in CLIENTS.iter().enumerate() {
        if *of != program {
            continue;
        }
        for (index, (connection, case)) in CASES.iter().enumerate() {
            let subject = format!("{case}-{connection}-{row}");
            let token = match *case {
                "down" => mint(&json!({ "iss": "https://away.test", "sub": subject })),
                _ => caller(&subject, &["staff"]),
            };
            let target = format!("/{connection}/{case}/{row}");
            // The SDKs add the rest of the path themselves.
            let rest = match *client {
                "openai" | "anthropic" => "",
                _ => "/chat/completions",
            };
            cells.push(Cell {
                row,
                case: index,
                client,
                url: format!("http://{relay}{target}{rest}"),
                target: format!("{target}/"),
                token,
                prefer: if *case == "async" {
                    "respond-async"
                } else {
                    ""
                },
            });
        }
    }
    cells
}

fn curl(cell: &Cell) -> Outcome {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--data",
        "{\"model\":\"any\"}",
        "--header",
        "content-type: application/json",
    ]);
    command.args(["--header", &format!("authorization: Bearer {}", cell.token)]);
    if !cell.prefer.is_empty() {
        command.args(["--header", &format!("prefer: {}", cell.prefer)]);
    }
    let done = command
        .args(cell.client.split_whitespace())
        .arg(&cell.url)
        .output();
    let done = done.expect("curl");
    Outcome {
        good: done.status.success(),
        text: String::from_utf8_lossy(&done.stdout).into_owned(),
    }
}

/// All cells of a program at once.
fn play(program: &str, cells: &[Cell]) -> Vec<Outcome> {
    if program == "curl" {
        return thread::scope(|scope| {
            let all: Vec<_> = cells
                .iter()
                .map(|cell| scope.spawn(move || curl(cell)))
                .collect();
            all.into_iter()
                .map(|one| one.join().expect("a cell"))
                .collect()
        });
    }
    let mut command = match program.rsplit_once('.') {
        Some((_, "py")) => Command::new(peers().join(".venv/bin/python")),
        Some((_, "go")) => {
            let mut go = Command::new("go");
            go.arg("run")
                .env("GOPROXY", "off")
                .env("GOFLAGS", "-mod=mod");
            go.env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go-cache"));
            go
        }
        _ => Command::new("node"),
    };
    let cells = cells.iter().map(|cell| {
        json!({ "client": cell.client, "url": cell.url, "token": cell.token, "prefer": cell.prefer })
    });
    let asked = Value::Array(cells.collect()).to_string();
    command.arg(program).current_dir(peers());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("the program");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(asked.as_bytes()).expect("the cells");
    drop(stdin);
    let done = child.wait_with_output().expect("its end");
    assert!(done.status.success(), "{program}");
    let outcomes: Vec<Value> = serde_json::from_slice(&done.stdout).expect("outcomes");
    let outcome = |value: &Value| Outcome {
        good: value["good"] == true,
        text: value["text"].as_str().unwrap_or_default().to_owned(),
    };
    outcomes.iter().map(outcome).collect()
}

/// A lead who decides on whatever comes, until all is done. By the API, since who comes again after ten seconds
/// must find an answer also where starting programs is slow.
fn decide(gateway: &Gateway, done: &AtomicBool) {
    let token = lead();
    while !done.load(Ordering::Relaxed) {
        let path = "/api/v1/approvals?state=pending";
        let page = raw::get(gateway.console, path, Some(&token)).json();
        for one in page["approvals"].as_array().into_iter().flatten() {
            let subject = one["requester"]["subject"].as_str().expect("a subject");
            let (verdict, reason) = match subject.split_once('-').expect("a case").0 {
                "yes" => ("yes", "seen"),
                "no" => ("no", REASON),
                _ => continue,
            };
            let path = format!("/api/v1/approvals/{}", one["id"].as_str().expect("an id"));
            let shown = raw::get(gateway.console, &path, Some(&token)).json();
            let vote = json!({ "rule": shown["rules"][0]["hash"], "digest": shown["digest"], "verdict": verdict,
                "reason": reason });
            let voted = raw::post(
                gateway.console,
                &format!("{path}/votes"),
                Some(&token),
                &vote,
            );
            assert_eq!(voted.status, 200, "{}", voted.text());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn functions() -> Double {
    let double = Double::start();
    for (row, (.., client)) in CLIENTS.iter().enumerate() {
        let rest = if *client == "anthropic" {
            "/v1/messages"
        } else {
            "/chat/completions"
        };
        double.answer(
            &format!("/withheld/{row}{rest}"),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"broken\"",
        );
        double.on(&format!("/lost/{row}{rest}"), |exchange| {
            exchange.body();
            exchange.close();
        });
        double.on(&format!("/cut/{row}{rest}"), |exchange| {
            exchange.body();
            exchange.head(
                200,
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
            );
            // More than is held back, and then the function breaks off.
            exchange.chunk(format!("[{}", "\"aaaaaaaa\",".repeat(10_000)));
            exchange.close();
        });
    }
    double
}

/// The rows as they are, by their names.
fn found(relay: &Relay, outcomes: &[(Cell, Outcome)]) -> BTreeMap<&'static str, Vec<String>> {
    let mut rows: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (row, (name, ..)) in CLIENTS.iter().enumerate() {
        for case in 0..CASES.len() {
            let of_it = |(cell, _): &&(Cell, Outcome)| (cell.row, cell.case) == (row, case);
            let (cell, outcome) = outcomes.iter().find(of_it).expect("an outcome");
            let times = match relay.times(&cell.target) {
                0 => panic!("{name} sent nothing to {}", cell.target),
                1 => "once",
                _ => "again",
            };
            let taken = if outcome.good { "good" } else { "bad" };
            rows.entry(name)
                .or_default()
                .push(format!("{times}, {taken}"));
        }
    }
    rows
}

/// The rows as the guide has them.
fn told() -> BTreeMap<&'static str, Vec<String>> {
    let (_, table) = GUIDE.split_once(HEADER).expect("the table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let name = cells.next().expect("a client");
        (name, cells.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn stock_clients_do_with_each_answer_what_the_guide_says() {
    let double = functions();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let gateway = gateway(&double, listener.local_addr().expect("its address"));
    let relay = Relay::start(listener, gateway.address);
    let done = AtomicBool::new(false);
    let outcomes: Vec<(Cell, Outcome)> = thread::scope(|scope| {
        scope.spawn(|| decide(&gateway, &done));
        let programs = ["curl", "matrix.py", "matrix.mjs", "matrix.go"].map(|program| {
            let cells = cells(program, relay.address);
            scope.spawn(move || {
                let outcomes = play(program, &cells);
                cells.into_iter().zip(outcomes).collect::<Vec<_>>()
            })
        });
        let outcomes = programs.map(|program| program.join());
        done.store(true, Ordering::Relaxed);
        outcomes
            .into_iter()
            .flat_map(|of| of.expect("a program"))
            .collect()
    });
    assert_eq!(found(&relay, &outcomes), told());
    for (cell, outcome) in &outcomes {
        // Only who never asks for a body's text does not read why: all others have code and reason at hand.
        let (_, case) = CASES[cell.case];
        let known = match case {
            "no" => ["approval_denied", REASON],
            "withheld" => ["response_withheld", ""],
            "late" => ["approval_expired", "NOT executed"],
            "lost" => ["upstream_failed", ""],
            _ => continue,
        };
        for text in known {
            assert!(outcome.text.contains(text), "{cell:?} {outcome:?}");
        }
    }
    // What people said yes to ran once, however often its caller came; what they did not, not at all.
    for (row, (.., client)) in CLIENTS.iter().enumerate() {
        let rest = if *client == "anthropic" {
            "/v1/messages"
        } else {
            "/chat/completions"
        };
        for (case, times) in [
            ("no", 0),
            ("async", 0),
            ("late", 0),
            ("withheld", 1),
            ("cut", 1),
        ] {
            assert_eq!(
                double.hits(&format!("/{case}/{row}{rest}")),
                times,
                "{case} {client}"
            );
        }
        // Held, and on the connection that does not hold by those who come again.
        let again = |target: &str| 1 + usize::from(relay.times(&format!("/{target}/{row}/")) > 1);
        let hits = |case: &str| double.hits(&format!("/{case}/{row}{rest}"));
        assert_eq!(hits("yes"), again("brief/yes"), "{client}");
        // Nobody knows whether what was lost ran: only who repeats a 502 all the same runs it again.
        assert_eq!(hits("lost"), again("held/lost"), "{client}");
    }
}
