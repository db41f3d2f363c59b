//! The load: callers, people who vote, the function, and what the first and the last write down.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::function::Double;
use super::super::support::gateway::{caller, person};
use super::super::support::raw::{self, Answer, End};
use super::super::support::recorder::json_answer;
use super::Dice;

/// Callers whose calls policy allows.
const CALLERS: usize = 6;
/// Callers whose calls wait for people.
const PAYERS: usize = 3;
/// How often a caller asks for the same payment before it gives up.
const PAY_TRIES: usize = 60;
/// One vote in so many is a no.
const NO_EVERY: u64 = 9;
/// Bytes of a large request and a large answer.
const BIG: usize = 150 * 1024;
/// How long a caller waits for bytes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the function serves.
const PATHS: [&str; 6] = ["/get", "/slow", "/stream", "/post", "/big", "/pay"];

/// What a caller was told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The caller's own name for what it asked for.
    pub(super) id: String,
    /// Which function.
    pub(super) path: &'static str,
    pub(super) status: u16,
    /// Whether the answer had its end.
    pub(super) whole: bool,
    /// `Callgate-Call`.
    pub(super) call: Option<String>,
    /// `Callgate-Receipt`.
    pub(super) receipt: Option<String>,
    /// `executed` of a refusal.
    pub(super) executed: Option<String>,
    /// Whether the body is the function's answer to this very request.
    pub(super) mine: bool,
}

/// One request as the function saw it.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) path: &'static str,
    /// Whether the body is the one that was sent with this id; none when it did not come whole.
    pub(super) mine: bool,
}

/// The load on one gateway.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) calls: SocketAddr,
    pub(super) console: SocketAddr,
    pub(super) function: Double,
    told: Mutex<Vec<Told>>,
    next: AtomicU64,
    over: AtomicBool,
}

/// A body that only the request with this id has.
fn body(id: &str, length: usize) -> String {
    let fill = "x".repeat(length);
    json!({ "id": id, "fill": fill }).to_string()
}

fn body_length(path: &str) -> usize {
    match path {
        "/big" => BIG,
        _ => 200,
    }
}

/// The value of `id` in a request target.
pub(super) fn id_of(target: &str) -> Option<&str> {
    let (_, rest) = target.split_once("?id=")?;
    rest.split(['&', ' ']).next()
}

fn function() -> Double {
    let double = Double::start();
    for path in PATHS {
        double.on(path, move |exchange| {
            let line = exchange.head.line().to_owned();
            let id = id_of(&line).unwrap_or_default().to_owned();
            exchange.body();
            match path {
                "/slow" => thread::sleep(Duration::from_millis(30)),
                "/stream" => {
                    exchange.head(
                        200,
                        "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n",
                    );
                    for piece in ["one ", "two ", "three ", &id] {
                        exchange.write(format!("{:x}\r\n{piece}\r\n", piece.len()));
                        thread::sleep(Duration::from_millis(4));
                    }
                    exchange.write("0\r\n\r\n");
                    return;
                }
                _ => {}
            }
            let length = if path == "/big" { BIG } else { 20 };
            exchange.write(json_answer(200, &body(&id, length)));
        });
    }
    double
}

impl Load {
    pub(super) fn new(calls: SocketAddr, console: SocketAddr) -> Self {
        Self {
            calls,
            console,
            function: function(),
            told: Mutex::default(),
            next: AtomicU64::new(1),
            over: AtomicBool::new(false),
        }
    }

    /// Set everybody going.
    pub(super) fn start(self: &Arc<Self>, dice: &mut Dice) -> Vec<JoinHandle<()>> {
        let mut workers = Vec::new();
        for number in 0..CALLERS {
            let (this, mut dice) = (Arc::clone(self), Dice::new(dice.below(u64::MAX)));
            let token = caller(&format!("caller-{number}"), &["staff"]);
            workers.push(thread::spawn(move || {
                while !this.is_over() {
                    let path = PATHS[usize::try_from(dice.below(5)).expect("small")];
                    let id = this.name();
                    if this.call(&token, path, &id).is_none() {
                        thread::sleep(Duration::from_millis(5));
                    }
                }
            }));
        }
        for number in 0..PAYERS {
            let (this, mut dice) = (Arc::clone(self), Dice::new(dice.below(u64::MAX)));
            let token = caller(&format!("payer-{number}"), &["staff"]);
            workers.push(thread::spawn(move || {
                while !this.is_over() {
                    this.pay(&token, &mut dice);
                }
            }));
        }
        let this = Arc::clone(self);
        workers.push(thread::spawn(move || {
            let token = person("lead", &["leads"]);
            while !this.is_over() {
                this.vote(&token);
                thread::sleep(Duration::from_millis(15));
            }
        }));
        workers
    }

    /// No new calls; wait until the last ones have their answer.
    pub(super) fn stop(&self, workers: Vec<JoinHandle<()>>) {
        // Some calls after the last restart: it must work, not only be there.
        thread::sleep(Duration::from_millis(300));
        self.over.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().expect("no worker fails");
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn name(&self) -> String {
        format!("n{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn told(&self) -> Vec<Told> {
        self.told.lock().expect("the answers").clone()
    }

    /// What reached the function, by the caller's name for it.
    pub(super) fn hits(&self) -> BTreeMap<String, Vec<Hit>> {
        let mut hits: BTreeMap<String, Vec<Hit>> = BTreeMap::new();
        for path in PATHS {
            for seen in self.function.seen(path) {
                let id = id_of(seen.line()).unwrap_or("no id").to_owned();
                let sent = body(&id, body_length(path));
                let posted = seen.line().starts_with("POST");
                // The gateway may have died in the middle of it.
                let part = sent.as_bytes().starts_with(&seen.body);
                let mine = part || !posted && seen.body.is_empty();
                hits.entry(id).or_default().push(Hit { path, mine });
            }
        }
        hits
    }

    /// One call to its answer, written down.
    fn call(&self, token: &str, path: &'static str, id: &str) -> Option<Answer> {
        let posted = matches!(path, "/post" | "/big" | "/pay");
        let method = if posted { "POST" } else { "GET" };
        let body = if posted {
            body(id, body_length(path))
        } else {
            String::new()
        };
        let answer = send(
            self.calls,
            method,
            &format!("/fn{path}?id={id}"),
            token,
            &body,
        )?;
        self.note(id, path, &answer);
        Some(answer)
    }

    fn note(&self, id: &str, path: &'static str, answer: &Answer) {
        let header = |name: &str| answer.header(name).map(str::to_owned);
        let problem = problem(answer);
        let executed = problem.as_ref().and_then(|said| said["executed"].as_str());
        let told = Told {
            id: id.to_owned(),
            path,
            status: answer.status,
            whole: answer.end == End::Clean,
            call: header("callgate-call"),
            receipt: header("callgate-receipt"),
            executed: executed.map(str::to_owned),
            mine: answer.text().contains(id),
        };
        self.told.lock().expect("the answers").push(told);
    }

    /// A call that people decide about: sent again, as a caller would, until there is an answer to stay with.
    fn pay(&self, token: &str, dice: &mut Dice) {
        let id = self.name();
        let mut run: Option<String> = None;
        for _ in 0..PAY_TRIES {
            let answer = match run.take().filter(|_| dice.below(3) == 0) {
                Some(target) => {
                    let answer = send(self.calls, "POST", &target, token, "");
                    if let Some(answer) = &answer {
                        self.note(&id, "/pay", answer);
                    }
                    answer
                }
                None => self.call(token, "/pay", &id),
            };
            let whole = answer.filter(|answer| answer.end == End::Clean);
            match whole
                .as_ref()
                .map(|answer| (answer.status, problem(answer)))
            {
                Some((200, _)) => return,
                // Waits for people, or is under way since before.
                Some((429 | 503, said)) => {
                    run = said.and_then(|said| said["approval"]["run"].as_str().map(str::to_owned));
                }
                Some((409, said))
                    if said.as_ref().is_some_and(|said| said["code"] == "conflict") => {}
                Some(_) => return,
                None => {}
            }
            if self.is_over() {
                return;
            }
            thread::sleep(Duration::from_millis(5 + dice.below(20)));
        }
    }

    /// Answer every open question.
    fn vote(&self, token: &str) -> Option<()> {
        let list = send(
            self.console,
            "GET",
            "/api/v1/approvals?state=pending",
            token,
            "",
        )?;
        let list: Value = serde_json::from_slice(&list.body).ok()?;
        for head in list["approvals"].as_array()? {
            let path = format!("/api/v1/approvals/{}", head["id"].as_str()?);
            let view: Value =
                serde_json::from_slice(&send(self.console, "GET", &path, token, "")?.body).ok()?;
            let digest = view["digest"].as_str()?;
            let no = digest
                .bytes()
                .fold(0, |sum: u64, byte| sum + u64::from(byte))
                % NO_EVERY
                == 0;
            for rule in view["rules"].as_array()? {
                let vote = json!({
                    "rule": rule["hash"], "digest": digest, "verdict": if no { "no" } else { "yes" }, "reason": "crash",
                });
                send(
                    self.console,
                    "POST",
                    &format!("{path}/votes"),
                    token,
                    &vote.to_string(),
                )?;
            }
        }
        Some(())
    }
}

/// The problem details of a refusal.
fn problem(answer: &Answer) -> Option<Value> {
    let refused = answer.header("content-type") == Some("application/problem+json");
    refused
        .then(|| serde_json::from_slice(&answer.body).ok())
        .flatten()
}

/// One request on a connection of its own; `None` when not even a head came back.
fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    token: &str,
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    );
    if method == "POST" {
        head.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    // The gateway may die in between: what came back counts.
    let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
    let (bytes, end) = raw::read_to_end(&mut stream);
    raw::parse(&bytes, end, method)
}
