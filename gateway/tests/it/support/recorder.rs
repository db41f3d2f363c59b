//! An upstream that writes down the raw bytes of every request, and answers what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Request line and headers, with the empty line.
    pub(crate) head: String,
    /// The body's bytes as framed (chunk sizes included).
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All values of a header, by lower-case name.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }
}

/// The upstream; its thread ends with the process.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Start one that answers every request with `answer`, byte for byte.
    pub(crate) fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let recorder = Self {
            address: listener.local_addr().expect("its address"),
            seen: Arc::default(),
            answer: Arc::new(Mutex::new(answer.into())),
        };
        let shared = recorder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        recorder
    }

    /// One that answers `200` with a small JSON body.
    pub(crate) fn ok() -> Self {
        Self::start(json_answer(200, "{\"ok\":true}"))
    }

    /// Answer so from now on.
    pub(crate) fn answer(&self, bytes: impl Into<Vec<u8>>) {
        *self.answer.lock().expect("the answer") = bytes.into();
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the requests").clone()
    }

    /// Forget the requests so far, and return them.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().expect("the requests"))
    }

    fn serve(&self, mut stream: TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut kept = Vec::new();
        while let Some(seen) = read_request(&mut stream, &mut kept) {
            self.seen.lock().expect("the requests").push(seen);
            let answer = self.answer.lock().expect("the answer").clone();
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// An answer with a JSON body and its length.
pub(crate) fn json_answer(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// The next request; `kept` holds what was read beyond the one before.
fn read_request(stream: &mut TcpStream, kept: &mut Vec<u8>) -> Option<Seen> {
    let head_end = loop {
        if let Some(at) = kept.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(stream, kept)?;
    };
    let head = String::from_utf8_lossy(&kept[..head_end]).into_owned();
    kept.drain(..head_end);
    let mut seen = Seen {
        head,
        body: Vec::new(),
    };
    let chunked = seen
        .header("transfer-encoding")
        .iter()
        .any(|value| value.ends_with("chunked"));
    let length: usize = seen
        .header("content-length")
        .first()
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    loop {
        let end = if chunked {
            kept.windows(5)
                .position(|window| window == b"0\r\n\r\n")
                .map(|at| at + 5)
        } else {
            (kept.len() >= length).then_some(length)
        };
        if let Some(end) = end {
            seen.body = kept.drain(..end).collect();
            return Some(seen);
        }
        more(stream, kept)?;
    }
}

fn more(stream: &mut TcpStream, kept: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0_u8; 8192];
    match stream.read(&mut chunk) {
        Ok(length @ 1..) => {
            kept.extend_from_slice(&chunk[..length]);
            Some(())
        }
        _ => None,
    }
}
