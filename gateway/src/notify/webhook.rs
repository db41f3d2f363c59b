//! Generic webhooks as Standard Webhooks 1.0 describes them: an id that stays the same over all tries, a
//! timestamp, and HMAC-SHA-256 over both and the body.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Channel, DELIVERY_MAX, Failure, Happened, Message};
use crate::clock::SharedClock;
use crate::egress::{Egress, Limits, Target};
use crate::secret::Secret;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret, by the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an answer that are read; nothing in it matters.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The key of a webhook.
#[derive(Clone, Debug)]
pub(super) struct Key(hmac::Key);

impl Key {
    /// From its published form, `whsec_` and base64.
    pub(super) fn parse(secret: &Secret<Vec<u8>>) -> Result<Self, &'static str> {
        let help = "it must be `whsec_` and the base64 of 24 to 64 random bytes";
        let text = std::str::from_utf8(secret.expose()).map_err(|_| help)?;
        let bytes = text.strip_prefix(SECRET_PREFIX).ok_or(help)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| help)?;
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(help);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// `v1,…` over id, timestamp in seconds and body.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

/// One webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) post: Post,
    pub(super) key: Key,
    pub(super) clock: SharedClock,
}

impl Channel for Webhook {
    fn tells(&self, _: Happened) -> bool {
        true
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let body = Bytes::from(message.json().to_string());
            let timestamp = self.clock.now().secs();
            let signature = self.key.sign(&message.id, timestamp, &body);
            let headers = [
                ("webhook-id", message.id.clone()),
                ("webhook-timestamp", timestamp.to_string()),
                ("webhook-signature", signature),
            ];
            self.post.send(&headers, body, &[]).await
        }
        .boxed()
    }
}

/// Where JSON is posted to. The address is never told: for some vendors it is the secret.
pub(super) struct Post {
    pub(super) egress: Egress,
    pub(super) target: Target,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Post")
    }
}

impl Post {
    /// Post it. `never`: answers, beside `410`, after which this receiver does not take it any more.
    pub(super) async fn send(
        &self,
        more: &[(&'static str, String)],
        body: Bytes,
        never: &[StatusCode],
    ) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        for (name, value) in more {
            let value = HeaderValue::try_from(value);
            let value = value.map_err(|_| Failure::Never(format!("`{name}` is no header")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let limits = Limits {
            bytes_max: ANSWER_BYTES_MAX,
            total: DELIVERY_MAX,
        };
        let answer = self
            .egress
            .send(Method::POST, &self.target, &headers, body, limits)
            .await
            .map_err(|error| Failure::Later(error.to_string()))?;
        judge(answer.status, never)
    }
}

/// Every 2xx is a delivery. `410 Gone` means that the receiver wants no more, and `never` what else does.
pub(super) fn judge(status: StatusCode, never: &[StatusCode]) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let text = format!("the receiver answered {}", status.as_u16());
    if status == StatusCode::GONE || never.contains(&status) {
        return Err(Failure::Never(text));
    }
    Err(Failure::Later(text))
}
