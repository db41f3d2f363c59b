//! A function double: an HTTP/1 upstream whose every byte is the test's, and one that speaks HTTP/2.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;

use super::recorder::{Seen, json_answer};

type Handler = Arc<dyn Fn(&mut Exchange) + Send + Sync>;

/// The double. What a path does not say answers `200 {"ok":true}`.
#[derive(Clone)]
pub(crate) struct Double {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    handlers: Arc<Mutex<HashMap<String, Handler>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl fmt::Debug for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Double")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// One request at the double, and the way back.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Its head; the body is read by [`Exchange::body`].
    pub(crate) head: Seen,
    stream: TcpStream,
    kept: Vec<u8>,
    body_read: bool,
    closed: bool,
}

impl Double {
    /// Start one; its threads end with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let double = Self {
            address: listener.local_addr().expect("its address"),
            handlers: Arc::default(),
            seen: Arc::default(),
        };
        let shared = double.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        double
    }

    /// Do this for requests of a path.
    pub(crate) fn on(&self, path: &str, handler: impl Fn(&mut Exchange) + Send + Sync + 'static) {
        let mut handlers = self.handlers.lock().expect("the handlers");
        handlers.insert(path.to_owned(), Arc::new(handler));
    }

    /// Answer requests of a path with these bytes.
    pub(crate) fn answer(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.on(path, move |exchange| {
            exchange.body();
            exchange.write(&bytes);
        });
    }

    /// Requests of a path so far, with what was read of their bodies.
    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.seen.lock().expect("the requests");
        let of_path = |one: &&Seen| target(one).split('?').next() == Some(path);
        seen.iter().filter(of_path).cloned().collect()
    }

    /// The body of the last request of a path, which is JSON.
    pub(crate) fn last_json(&self, path: &str) -> serde_json::Value {
        let seen = self.seen(path);
        let body = &seen.last().expect("a request").body;
        serde_json::from_slice(body).expect("JSON")
    }

    /// How many requests of a path there were.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.seen(path).len()
    }

    fn serve(&self, stream: TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut exchange = Exchange {
            head: Seen {
                head: String::new(),
                body: Vec::new(),
            },
            stream,
            kept: Vec::new(),
            body_read: false,
            closed: false,
        };
        while exchange.next_head().is_some() {
            let path = target(&exchange.head);
            let path = path.split('?').next().unwrap_or_default();
            let index = {
                let mut seen = self.seen.lock().expect("the requests");
                seen.push(exchange.head.clone());
                seen.len() - 1
            };
            let handler = self
                .handlers
                .lock()
                .expect("the handlers")
                .get(path)
                .cloned();
            match handler {
                Some(handler) => handler(&mut exchange),
                None => {
                    exchange.body();
                    exchange.write(json_answer(200, "{\"ok\":true}"));
                }
            }
            self.seen.lock().expect("the requests")[index].body = exchange.head.body.clone();
            if exchange.closed {
                return;
            }
            exchange.body();
        }
    }
}

/// The request target.
fn target(seen: &Seen) -> String {
    seen.line().split(' ').nth(1).unwrap_or_default().to_owned()
}

impl Exchange {
    /// Send these bytes; false when the gateway takes none any more.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Send a head with these header lines (each with its line end) and no framing of its own.
    pub(crate) fn head(&mut self, status: u16, lines: &str) -> bool {
        self.write(format!("HTTP/1.1 {status} Status\r\n{lines}\r\n"))
    }

    /// Send one chunk of a chunked body.
    pub(crate) fn chunk(&mut self, data: impl AsRef<[u8]>) -> bool {
        let data = data.as_ref();
        let size = format!("{:x}\r\n", data.len());
        self.write([size.as_bytes(), data, b"\r\n"].concat())
    }

    /// Read the body to its end and return it, without its framing.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        if !self.body_read {
            self.body_read = true;
            let chunked = self
                .head
                .header("transfer-encoding")
                .iter()
                .any(|value| value.ends_with("chunked"));
            let length = self.head.header("content-length").first().copied();
            let length = length.and_then(|value| value.parse().ok()).unwrap_or(0);
            self.head.body = if chunked {
                self.chunks()
            } else {
                self.take(length)
            };
        }
        self.head.body.clone()
    }

    /// Bytes of the body that have come so far, without waiting for more than the first of them.
    pub(crate) fn some(&mut self) -> Vec<u8> {
        if self.kept.is_empty() {
            self.more();
        }
        std::mem::take(&mut self.kept)
    }

    /// Wait until the gateway closes its side; false when it did not within the time.
    pub(crate) fn sees_close(&mut self, within: Duration) -> bool {
        self.stream
            .set_read_timeout(Some(within))
            .expect("a timeout");
        let mut sink = [0; 1024];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    use std::io::ErrorKind::{TimedOut, WouldBlock};
                    return !matches!(error.kind(), TimedOut | WouldBlock);
                }
            }
        }
    }

    /// Close the connection instead of waiting for the next request.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        // It may be closed already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn next_head(&mut self) -> Option<()> {
        let end = loop {
            if let Some(at) = self.kept.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.kept[..end]).into_owned();
        self.kept.drain(..end);
        self.head = Seen {
            head,
            body: Vec::new(),
        };
        self.body_read = false;
        Some(())
    }

    fn more(&mut self) -> Option<()> {
        let mut chunk = [0_u8; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(length @ 1..) => {
                self.kept.extend_from_slice(&chunk[..length]);
                Some(())
            }
            _ => None,
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        while self.kept.len() < length && self.more().is_some() {}
        let length = length.min(self.kept.len());
        self.kept.drain(..length).collect()
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let line = loop {
                if let Some(at) = self.kept.windows(2).position(|two| two == b"\r\n") {
                    break self.take(at + 2);
                }
                if self.more().is_none() {
                    return all;
                }
            };
            let size = String::from_utf8_lossy(&line).trim().to_owned();
            let size = usize::from_str_radix(&size, 16).unwrap_or(0);
            let data = self.take(size + 2);
            if size == 0 || data.len() < size + 2 {
                return all;
            }
            all.extend_from_slice(&data[..size]);
        }
    }
}

/// A function that speaks HTTP/2 only: `/echo`, `/gone` (reset before an answer), `/broken` (reset within it),
/// `/trailers`, `/mail` (a value in frames of one byte). Its requests so far, each as path and trailers.
pub(crate) fn double2() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (address, shared) = (super::free_address(), Arc::clone(&seen));
    let listener = TcpListener::bind(address).expect("its port");
    listener.set_nonblocking(true).expect("a mode");
    thread::spawn(move || {
        super::caller::block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = hyper::service::service_fn(move |request| {
                    answer2(request, Arc::clone(&shared))
                });
                let server =
                    hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                tokio::spawn(
                    server.serve_connection(hyper_util::rt::TokioIo::new(stream), service),
                );
            }
        });
    });
    (address, seen)
}

type Frames = Vec<Result<http_body::Frame<bytes::Bytes>, std::io::Error>>;
type Body2 = http_body_util::StreamBody<
    BoxStream<'static, Result<http_body::Frame<bytes::Bytes>, std::io::Error>>,
>;

async fn answer2(
    request: http::Request<hyper::body::Incoming>,
    seen: Arc<Mutex<Vec<String>>>,
) -> Result<http::Response<Body2>, std::io::Error> {
    use http_body_util::BodyExt;
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let index = {
        let mut seen = seen.lock().expect("the requests");
        seen.push(path.clone());
        seen.len() - 1
    };
    let reset = || std::io::Error::other("as the test wants it");
    let collected = body.collect().await.map_err(|_| reset())?;
    seen.lock().expect("the requests")[index] = format!("{path} {:?}", collected.trailers());
    let data = |text: String| Ok(http_body::Frame::data(bytes::Bytes::from(text)));
    let text = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
    let frames: Frames = match path.as_str() {
        "/gone" => return Err(reset()),
        "/broken" => vec![data("a first part".to_owned()), Err(reset())],
        "/trailers" => {
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                http::HeaderValue::from_static("1"),
            )]);
            vec![
                data("body".to_owned()),
                Ok(http_body::Frame::trailers(trailers)),
            ]
        }
        // One byte a frame, empty ones between, and a value in the trailers too.
        "/mail" => {
            let body = "{\"mail\":\"someone@corp.example\"}";
            let bytes = body
                .chars()
                .flat_map(|one| [one.to_string(), String::new()]);
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("x-contact"),
                http::HeaderValue::from_static("someone@corp.example"),
            )]);
            let last = Ok(http_body::Frame::trailers(trailers));
            bytes.map(data).chain([last]).collect()
        }
        _ => vec![data(format!(
            "{} {} {text}",
            head.method,
            head.uri.scheme_str().unwrap_or("no")
        ))],
    };
    // A reset takes along what has not gone out yet.
    let in_time = |frame: Result<_, _>| async {
        if frame.is_err() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        frame
    };
    let frames = futures_util::stream::iter(frames).then(in_time);
    let body = http_body_util::StreamBody::new(frames.boxed());
    let mut answer = http::Response::new(body);
    let kind = if path == "/mail" {
        http::HeaderValue::from_static("application/json")
    } else {
        http::HeaderValue::from_static("text/plain")
    };
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, kind);
    Ok(answer)
}
