//! A caller that reads an answer as it comes, and one that speaks HTTP/2.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::gateway::SOON;
use super::raw::{self, Answer, End};

/// One HTTP/1 connection, read bit by bit.
#[derive(Debug)]
pub(crate) struct Talk {
    stream: TcpStream,
    /// What has come so far.
    pub(crate) got: Vec<u8>,
}

impl Talk {
    /// Connect.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            got: Vec::new(),
        }
    }

    /// Send a request without a body.
    pub(crate) fn get(address: SocketAddr, target: &str, token: &str) -> Self {
        let mut talk = Self::to(address);
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        assert!(talk.send(head.as_bytes()), "the request did not go out");
        talk
    }

    /// Send bytes; false when the gateway takes none any more.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Everything so far, as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.got).into_owned()
    }

    /// Read until this text has come.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let begin = Instant::now();
        while !self.text().contains(text) {
            let left = SOON.saturating_sub(begin.elapsed());
            let end = self.read_for(left);
            assert!(
                end.is_none() || self.text().contains(text),
                "`{text}` did not come ({end:?}): {}",
                self.text()
            );
        }
        self.text()
    }

    /// Read what comes within the time; whether the other side ended it.
    pub(crate) fn listen(&mut self, time: Duration) -> Option<End> {
        let begin = Instant::now();
        loop {
            let left = time.checked_sub(begin.elapsed())?;
            match self.read_for(left) {
                None => {}
                Some(End::Silence) => return None,
                Some(end) => return Some(end),
            }
        }
    }

    /// Read until the other side ends, or nothing came for long.
    pub(crate) fn end(&mut self) -> End {
        loop {
            if let Some(end) = self.read_for(SOON) {
                return end;
            }
        }
    }

    /// The answer that has come so far, with how it ended.
    pub(crate) fn answer(&self, end: End, method: &str) -> Answer {
        raw::parse(&self.got, end, method)
            .unwrap_or_else(|| panic!("no answer ({end:?}): {}", self.text()))
    }

    /// The answer once it is whole.
    pub(crate) fn whole(&mut self, method: &str) -> Answer {
        let begin = Instant::now();
        loop {
            if let Some(answer) = raw::parse(&self.got, End::Cut, method)
                && answer.end == End::Clean
            {
                return answer;
            }
            let end = self.read_for(SOON.saturating_sub(begin.elapsed()));
            assert!(end.is_none(), "no whole answer ({end:?}): {}", self.text());
        }
    }

    /// One read: `None` when bytes came.
    fn read_for(&mut self, time: Duration) -> Option<End> {
        let time = time.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(time)).expect("a timeout");
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Some(End::Clean),
            Ok(length) => {
                self.got.extend_from_slice(&chunk[..length]);
                None
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Some(End::Silence)
            }
            Err(_) => Some(End::Cut),
        }
    }
}

/// An answer over HTTP/2.
#[derive(Debug)]
pub(crate) struct Answer2 {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<http::HeaderMap>,
    /// Whether the stream ended in order.
    pub(crate) whole: bool,
}

/// One HTTP/2 connection by prior knowledge.
#[derive(Debug)]
pub(crate) struct Talk2 {
    sender: SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    authority: SocketAddr,
}

impl Talk2 {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("a connection");
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Self {
            sender,
            authority: address,
        }
    }

    /// A request; its answer's head and the body as it comes.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        target: &str,
        token: &str,
        body: &[u8],
    ) -> Result<http::Response<Incoming>, hyper::Error> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.authority))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::copy_from_slice(body)).boxed_unsync())
            .expect("a request");
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// A request with a body and something behind it.
    pub(crate) async fn with_trailers(
        &mut self,
        method: &str,
        target: &str,
        token: &str,
    ) -> Result<http::Response<Incoming>, hyper::Error> {
        let name = http::HeaderName::from_static("x-hidden");
        let trailers = http::HeaderMap::from_iter([(name, http::HeaderValue::from_static("y"))]);
        let frames = [
            Frame::data(Bytes::from_static(b"body")),
            Frame::trailers(trailers),
        ];
        let frames = frames.map(Ok::<_, Infallible>);
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.authority))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "text/plain")
            .body(body.boxed_unsync())
            .expect("a request");
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// A whole `GET` with more header lines.
    pub(crate) async fn get_with(
        &mut self,
        target: &str,
        token: &str,
        lines: &[(&str, &str)],
    ) -> Answer2 {
        let mut request = http::Request::get(format!("http://{}{target}", self.authority))
            .header("authorization", format!("Bearer {token}"));
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::new()).boxed_unsync();
        self.sender.ready().await.expect("a connection");
        let answer = self
            .sender
            .send_request(request.body(body).expect("a request"));
        collect(answer.await.expect("an answer")).await
    }

    /// A whole `GET`.
    pub(crate) async fn get(&mut self, target: &str, token: &str) -> Answer2 {
        let answer = self.request("GET", target, token, b"").await;
        collect(answer.expect("an answer")).await
    }
}

/// Read an answer to its end.
pub(crate) async fn collect(answer: http::Response<Incoming>) -> Answer2 {
    let (head, mut incoming) = answer.into_parts();
    let (mut body, mut trailers, mut whole) = (Vec::new(), None, true);
    while let Some(frame) = incoming.frame().await {
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => body.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    Answer2 {
        head,
        body,
        trailers,
        whole,
    }
}

/// A runtime for what speaks HTTP/2.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}
