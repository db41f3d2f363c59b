//! Syslog over TLS (RFC 5424 in the frames of RFC 5425): a message a record.
//!
//! Syslog has no confirmation. What stands in for it here: a batch is a connection, which is ended in order,
//! and the receiver's own orderly end of it says that it has read the stream to its end.

use std::fmt::Write as _;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Batch, DELIVERY_MAX, Failure, Line, Origin, Sink, Taken};
use crate::clock::Timestamp;
use crate::egress::{self, Egress, Target};
use crate::record::Format;

/// Facility `log audit`.
const FACILITY: u8 = 13;
/// Severity of what did not go well, and of all else.
const WARNING: u8 = 4;
const INFORMATIONAL: u8 = 6;
/// Longest `HOSTNAME` and `MSGID`, by RFC 5424.
const HOST_BYTES_MAX: usize = 255;
const KIND_BYTES_MAX: usize = 32;

/// A syslog server.
#[derive(Debug)]
pub(super) struct Syslog {
    pub(super) egress: Egress,
    pub(super) target: Target,
    pub(super) format: Format,
}

impl Sink for Syslog {
    fn kind(&self) -> &'static str {
        "syslog"
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
            let mut bytes = Vec::new();
            for line in &batch.lines {
                let message = message(&origin.instance, line);
                bytes.extend_from_slice(format!("{} ", message.len()).as_bytes());
                bytes.extend_from_slice(message.as_bytes());
            }
            let sent = self.egress.stream(&self.target, &bytes, DELIVERY_MAX);
            sent.await.map(|()| Taken::All).map_err(Failure::later)
        }
        .boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), egress::Error>> {
        self.egress.reach(&self.target, DELIVERY_MAX).boxed()
    }
}

/// `<PRI>1 TIME HOST APP - KIND - TEXT`.
fn message(instance: &str, line: &Line) -> String {
    let severity = if line.adverse { WARNING } else { INFORMATIONAL };
    let mut out = format!(
        "<{}>1 {} {} callgate - {} - ",
        u16::from(FACILITY) * 8 + u16::from(severity),
        time_text(line.at),
        word(instance, HOST_BYTES_MAX),
        word(&line.kind, KIND_BYTES_MAX),
    );
    clean(&line.text, &mut out);
    out
}

/// A header's field: printable ASCII without spaces, or the sign for none.
fn word(text: &str, bytes_max: usize) -> String {
    let good = text.chars().filter(char::is_ascii_graphic);
    let text: String = good.take(bytes_max).collect();
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// Microseconds: the protocol has no room for more.
fn time_text(at: Timestamp) -> String {
    let form =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.nanos()));
    let text = at.ok().and_then(|at| at.format(&form).ok());
    text.unwrap_or_else(|| "-".to_owned())
}

/// Text whose control characters and line ends, of all kinds, are spelt out: nothing in a record may look like
/// another message, or move a reader's terminal.
fn clean(text: &str, out: &mut String) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            let _infallible = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, adverse: bool) -> Line {
        Line {
            index: 7,
            at: Timestamp::from_nanos(1_767_323_045_123_456_789),
            kind: "call.end".to_owned(),
            adverse,
            text: text.to_owned(),
            words: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_one_message_of_rfc_5424() {
        assert_eq!(
            message("0a1b", &line("{\"seq\":7}", false)),
            "<110>1 2026-01-02T03:04:05.123456Z 0a1b callgate - call.end - {\"seq\":7}"
        );
        assert!(message("0a1b", &line("x", true)).starts_with("<108>1 "));
    }

    #[test]
    fn text_of_a_record_cannot_begin_another_message() {
        let nasty = "a\n<110>1 forged\r\u{0}\u{1b}[2J\u{85}\u{2028}\u{9b}é";
        let text = message("in st\nance", &line(nasty, false));
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(
            text.ends_with("a\\u000a<110>1 forged\\u000d\\u0000\\u001b[2J\\u0085\\u2028\\u009bé")
        );
        assert!(text.contains(" instance callgate "), "{text}");
    }
}
