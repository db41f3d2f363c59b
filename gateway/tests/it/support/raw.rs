//! HTTP/1.1 as bytes: sends what a well-behaved client library would refuse to send, and reads what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait for bytes, unless asked otherwise.
const READ_MAX: Duration = Duration::from_secs(30);

/// Most bytes that are read of one answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How a peer ended what it sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// An orderly close, or a whole message.
    Clean,
    /// A reset, or a close inside a message.
    Cut,
    /// Nothing came within the wait.
    Silence,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    /// The first value of a header, by lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}

/// Send bytes on a connection of their own, close our side, and read until the other side ends.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8], wait: Duration) -> (Vec<u8>, End) {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(wait)).expect("a timeout");
    // The peer may refuse before it has read all: then the rest has nobody to go to.
    let written = stream.write_all(bytes);
    match (written, read_to_end(&mut stream)) {
        // A reset is told once: when writing learnt of it, reading finds a plain end.
        (Err(_), (got, End::Clean)) if got.is_empty() => (got, End::Cut),
        (_, read) => read,
    }
}

/// Read until the other side ends, or is silent for the socket's timeout.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> (Vec<u8>, End) {
    let (mut all, mut chunk) = (Vec::new(), [0_u8; 16 * 1024]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (all, End::Clean),
            Ok(length) => all.extend_from_slice(&chunk[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (all, End::Silence);
            }
            Err(_) => return (all, End::Cut),
        }
        assert!(
            all.len() <= ANSWER_BYTES_MAX,
            "an answer of more than {ANSWER_BYTES_MAX} bytes"
        );
    }
}

/// A well-formed request with `Content-Length`, on a connection of its own.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(READ_MAX)).expect("a timeout");
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        head.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("Connection: close\r\n\r\n");
    // A refusal may come before the body has gone out.
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
    let (bytes, end) = read_to_end(&mut stream);
    parse(&bytes, end, method).unwrap_or_else(|| {
        panic!(
            "{method} {target}: no answer ({end:?}): {}",
            String::from_utf8_lossy(&bytes)
        )
    })
}

/// `GET`, with a bearer token if there is one.
pub(crate) fn get(address: SocketAddr, target: &str, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer
        .iter()
        .map(|value| ("Authorization", &**value))
        .collect();
    request(address, "GET", target, &headers, b"")
}

/// `POST` of JSON, with a bearer token if there is one.
pub(crate) fn post(
    address: SocketAddr,
    target: &str,
    token: Option<&str>,
    body: &serde_json::Value,
) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(bearer.iter().map(|value| ("Authorization", value.as_str())));
    request(
        address,
        "POST",
        target,
        &headers,
        body.to_string().as_bytes(),
    )
}

/// The first final answer in `bytes`; interim ones (1xx) are passed over.
pub(crate) fn parse(bytes: &[u8], end: End, method: &str) -> Option<Answer> {
    parse_one(bytes, end, method).map(|(answer, _)| answer)
}

/// All final answers in `bytes`, to requests of one method.
pub(crate) fn parse_all(mut bytes: &[u8], end: End, method: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((answer, used)) = parse_one(bytes, end, method) {
        bytes = &bytes[used..];
        answers.push(answer);
    }
    answers
}

/// The first final answer in `bytes`, and how many bytes it took.
fn parse_one(bytes: &[u8], end: End, method: &str) -> Option<(Answer, usize)> {
    let head_length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_length]);
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let rest = &bytes[head_length..];
    if (100..200).contains(&status) && status != 101 {
        return parse_one(rest, end, method).map(|(answer, used)| (answer, head_length + used));
    }
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let value = |name: &str| {
        headers
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value)
    };
    let (body, used, whole) = if method == "HEAD" || matches!(status, 204 | 304) {
        (Vec::new(), 0, true)
    } else if value("transfer-encoding").is_some_and(|value| value.ends_with("chunked")) {
        unchunk(rest)
    } else if let Some(length) = value("content-length").and_then(|value| value.parse().ok()) {
        let used = rest.len().min(length);
        (rest[..used].to_vec(), used, rest.len() >= length)
    } else {
        (rest.to_vec(), rest.len(), end == End::Clean)
    };
    let end = if whole { End::Clean } else { End::Cut };
    Some((
        Answer {
            status,
            headers,
            body,
            end,
        },
        head_length + used,
    ))
}

/// The content of a chunked body, how many bytes it took, and whether its end was there.
fn unchunk(all: &[u8]) -> (Vec<u8>, usize, bool) {
    let (mut body, mut rest) = (Vec::new(), all);
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else {
            return (body, all.len(), false);
        };
        let text = String::from_utf8_lossy(&rest[..line]);
        let size = text.split(';').next().unwrap_or_default().trim();
        let Ok(length) = usize::from_str_radix(size, 16) else {
            return (body, all.len(), false);
        };
        rest = &rest[line + 2..];
        if length == 0 {
            if rest.starts_with(b"\r\n") {
                return (body, all.len() - rest.len() + 2, true);
            }
            // Trailers.
            let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
            return (
                body,
                end.map_or(all.len(), |at| all.len() - rest.len() + at + 4),
                end.is_some(),
            );
        }
        body.extend_from_slice(&rest[..length.min(rest.len())]);
        if rest.len() < length + 2 {
            return (body, all.len(), false);
        }
        rest = &rest[length + 2..];
    }
}

#[test]
fn answers_are_parsed_and_cuts_are_seen() {
    let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let answer = parse(whole, End::Clean, "GET").expect("an answer");
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.end),
        (200, "hi", End::Clean)
    );
    let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    assert_eq!(
        parse(cut, End::Clean, "GET").expect("an answer").end,
        End::Cut
    );
    let done = [&cut[..], b"0\r\n\r\n"].concat();
    let answer = parse(&done, End::Clean, "GET").expect("an answer");
    assert_eq!(
        (answer.body.as_slice(), answer.end),
        (&b"hi"[..], End::Clean)
    );
    let two = [&done[..], whole].concat();
    let all = parse_all(&two, End::Clean, "GET");
    assert_eq!(
        all.iter().map(Answer::text).collect::<Vec<_>>(),
        ["hi", "hi"]
    );
}
