//! Batches posted over HTTPS: a line a record, and its range in the headers.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Batch, DELIVERY_MAX, Failure, Origin, Sink, Taken};
use crate::egress::{self, Egress, Limits, Response, Target};
use crate::record::Format;

/// Bytes of an answer that are read.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Where batches are posted to.
pub(super) struct Post {
    pub(super) egress: Egress,
    pub(super) target: Target,
    /// Further headers; their values are secrets.
    pub(super) headers: HeaderMap,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Post")
    }
}

impl Post {
    pub(super) async fn send(
        &self,
        more: &[(&'static str, String)],
        body: String,
    ) -> Result<Response, Failure> {
        let mut headers = self.headers.clone();
        for (name, value) in more {
            let value = HeaderValue::try_from(value)
                .map_err(|_| Failure::later(format!("`{name}` is no header")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let limits = Limits {
            bytes_max: ANSWER_BYTES_MAX,
            total: DELIVERY_MAX,
        };
        let body = Bytes::from(body);
        let answer = self
            .egress
            .send(Method::POST, &self.target, &headers, body, limits)
            .await
            .map_err(Failure::later)?;
        judge(answer)
    }

    pub(super) async fn reach(&self) -> Result<(), egress::Error> {
        self.egress.reach(&self.target, DELIVERY_MAX).await
    }
}

/// Every 2xx is a confirmation. What says that the batch itself is at fault is a refusal of it; everything
/// else, a wrong token or path among it, may be mended at the receiver or in the config, and is tried again.
fn judge(answer: Response) -> Result<Response, Failure> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    let why = format!("the receiver answered {}", status.as_u16());
    if matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    ) {
        return Err(Failure::Refused(why));
    }
    let after = answer.headers.get(header::RETRY_AFTER);
    let seconds = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(Failure::Later {
        why,
        after: seconds.map(std::time::Duration::from_secs),
    })
}

/// A receiver of lines.
#[derive(Debug)]
pub(super) struct Https {
    pub(super) post: Post,
    pub(super) format: Format,
}

impl Sink for Https {
    fn kind(&self) -> &'static str {
        "https"
    }

    fn format(&self) -> Format {
        self.format
    }

    fn deliver<'a>(
        &'a self,
        origin: &'a Origin,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Taken, Failure>> {
        async move {
            let kind = match self.format {
                Format::JsonLines | Format::Ocsf => "application/x-ndjson",
                Format::Cef => "text/plain; charset=utf-8",
            };
            let (first, last) = (batch.first, batch.next.saturating_sub(1));
            let headers = [
                ("content-type", kind.to_owned()),
                ("callgate-log", origin.log.clone()),
                ("callgate-first", first.to_string()),
                ("callgate-last", last.to_string()),
                (
                    "idempotency-key",
                    format!("{}-{first}-{last}", origin.log_id),
                ),
            ];
            let length = batch.lines.iter().map(|line| line.text.len() + 1).sum();
            let mut body = String::with_capacity(length);
            for line in &batch.lines {
                body.push_str(&line.text);
                body.push('\n');
            }
            self.post.send(&headers, body).await.map(|_| Taken::All)
        }
        .boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), egress::Error>> {
        self.post.reach().boxed()
    }
}
