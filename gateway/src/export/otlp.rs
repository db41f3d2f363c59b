//! OpenTelemetry logs: OTLP over HTTP in its JSON encoding, a log record for each record.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::https::Post;
use super::{Batch, Failure, Line, Origin, Sink, Taken};
use crate::egress;
use crate::record::Format;

/// Numbers of `INFO` and `WARN`.
const INFO: u64 = 9;
const WARN: u64 = 13;

/// A collector.
#[derive(Debug)]
pub(super) struct Otlp {
    pub(super) post: Post,
}

impl Sink for Otlp {
    fn kind(&self) -> &'static str {
        "otlp"
    }

    fn format(&self) -> Format {
        Format::JsonLines
    }

    fn deliver<'a>(
        &'a self,
        origin: &'a Origin,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Taken, Failure>> {
        async move {
            let headers = [("content-type", "application/json".to_owned())];
            let body = request(origin, &batch.lines).to_string();
            let answer = self.post.send(&headers, body).await?;
            Ok(taken(&answer.body))
        }
        .boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), egress::Error>> {
        self.post.reach().boxed()
    }
}

fn request(origin: &Origin, lines: &[Line]) -> Value {
    let records: Vec<Value> = lines.iter().map(record).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [
            attribute("service.name", &"callgate".into()),
            attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
            attribute("service.instance.id", &origin.instance.as_str().into()),
            attribute("callgate.log", &origin.log.as_str().into()),
        ] },
        "scopeLogs": [{
            "scope": { "name": "callgate.audit", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }] })
}

fn record(line: &Line) -> Value {
    let (number, text) = if line.adverse {
        (WARN, "WARN")
    } else {
        (INFO, "INFO")
    };
    let at = line.at.nanos().to_string();
    let mut attributes = vec![attribute("callgate.seq", &line.index.into())];
    attributes.extend(
        line.words
            .iter()
            .map(|(name, value)| attribute(&format!("callgate.{name}"), value)),
    );
    json!({
        "timeUnixNano": at, "observedTimeUnixNano": at,
        "severityNumber": number, "severityText": text,
        "eventName": line.kind,
        "body": { "stringValue": line.text },
        "attributes": attributes,
    })
}

/// 64-bit numbers are texts in this encoding.
fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": name, "value": value })
}

/// An answer of success may say that records were dropped all the same. One that cannot be read says nothing.
fn taken(answer: &[u8]) -> Taken {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = answer.pointer("/partialSuccess/rejectedLogRecords");
    let count = rejected.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    match count {
        Some(count @ 1..) => Taken::Without { count },
        Some(0) | None => Taken::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_that_is_partial_is_noticed() {
        let told = |text: &str| taken(text.as_bytes());
        assert_eq!(told("{}"), Taken::All);
        assert_eq!(told(""), Taken::All);
        assert_eq!(told(r#"{"partialSuccess":{}}"#), Taken::All);
        let text = r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"x"}}"#;
        assert_eq!(told(text), Taken::Without { count: 2 });
        let text = r#"{"partialSuccess":{"rejectedLogRecords":3}}"#;
        assert_eq!(told(text), Taken::Without { count: 3 });
    }
}
