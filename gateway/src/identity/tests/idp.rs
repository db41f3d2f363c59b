//! A key server on loopback that does as it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a path answers.
#[derive(Clone)]
pub(in super::super) enum Answer {
    /// A JSON document with further header lines.
    Json(Value, &'static str),
    /// Any status, header lines and body.
    Raw(u16, String, Vec<u8>),
    /// The connection is closed.
    Close,
    /// One byte a tenth of a second, without end.
    Drip,
    /// As the other, after a wait.
    Late(Duration, Box<Self>),
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    hits: HashMap<String, usize>,
}

pub(in super::super) struct Idp {
    url: String,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Idp {
    pub(in super::super) async fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the far side of the test")]
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        let idp = Self { url, state, server };
        idp.discover();
        idp
    }

    pub(in super::super) fn url(&self) -> &str {
        &self.url
    }

    pub(in super::super) fn answer(&self, path: &str, answer: Answer) {
        self.state
            .lock()
            .unwrap()
            .answers
            .insert(path.to_owned(), answer);
    }

    pub(in super::super) fn discover(&self) {
        let document = json!({ "issuer": self.url, "jwks_uri": format!("{}/keys", self.url) });
        self.answer(
            "/.well-known/openid-configuration",
            Answer::Json(document, ""),
        );
    }

    pub(in super::super) fn publish(&self, keys: &[Value]) {
        self.answer("/keys", Answer::Json(json!({ "keys": keys }), ""));
    }

    pub(in super::super) fn hits(&self, path: &str) -> usize {
        self.state
            .lock()
            .unwrap()
            .hits
            .get(path)
            .copied()
            .unwrap_or(0)
    }

    /// Requests for anything.
    pub(in super::super) fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().hits.keys().cloned().collect()
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut more = [0; 1024];
        match stream.read(&mut more).await {
            Ok(n) if n > 0 => request.extend_from_slice(&more[..n]),
            Ok(_) | Err(_) => return,
        }
    }
    let text = String::from_utf8_lossy(&request).into_owned();
    let path = text.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut answer = {
        let mut state = state.lock().unwrap();
        *state.hits.entry(path.clone()).or_default() += 1;
        state.answers.get(&path).cloned()
    };
    while let Some(Answer::Late(wait, then)) = answer {
        tokio::time::sleep(wait).await;
        answer = Some(*then);
    }
    let (status, fields, body) = match answer {
        Some(Answer::Json(document, fields)) => {
            (200, fields.to_owned(), document.to_string().into_bytes())
        }
        Some(Answer::Raw(status, fields, body)) => (status, fields, body),
        Some(Answer::Close | Answer::Late(..)) => return,
        Some(Answer::Drip) => return drip(stream).await,
        None => (404, String::new(), Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{fields}\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body).await;
    let _ = stream.shutdown().await;
}

async fn drip(mut stream: TcpStream) {
    let _ = stream
        .write_all(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
        .await;
    while stream.write_all(b" ").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
