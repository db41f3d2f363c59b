//! Which codec an answer needs, by its media type. What has none is not delivered.

use super::withheld::{Reason, Withheld};

/// How a body is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// One JSON document.
    Json,
    /// JSON documents after each other.
    JsonLines,
    /// Lines of text.
    Text(Charset),
    /// `text/event-stream`.
    Events,
    /// JSON, or nothing that can be read: decided by the first bytes.
    Unlabelled,
}

/// Character sets in which every ASCII byte means what it does in ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Charset {
    Utf8,
    /// ISO 8859-1 and its relatives: any byte is a character.
    Latin,
}

/// Whether field rules must be applied to the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldRules {
    None,
    Some,
}

impl Format {
    /// Reads a `Content-Type` value.
    pub(super) fn parse(header: Option<&str>, rules: FieldRules) -> Result<Self, Withheld> {
        let header = header.unwrap_or_default();
        let mut parts = header.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let charset = charset(parts)?;
        let utf8 = |format| match charset {
            Charset::Utf8 => Ok(format),
            Charset::Latin => Err(Reason::Charset("latin".to_owned()).into()),
        };
        match essence.as_str() {
            "" | "application/octet-stream" => utf8(Self::Unlabelled),
            "application/json" | "text/json" => utf8(Self::Json),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/json-seq"
            | "application/stream+json" => utf8(Self::JsonLines),
            "text/event-stream" => utf8(Self::Events),
            "text/plain" | "text/html" => Ok(Self::Text(charset)),
            _ if essence.ends_with("+json") => utf8(Self::Json),
            _ if is_text(&essence) && rules == FieldRules::None => Ok(Self::Text(charset)),
            _ => Err(Reason::MediaType(essence.chars().take(80).collect()).into()),
        }
    }
}

/// Formats that value detectors read as text. Field rules say nothing about them: with such rules
/// they are withheld.
fn is_text(essence: &str) -> bool {
    essence.starts_with("text/")
        || essence.ends_with("+xml")
        || essence.ends_with("+yaml")
        || matches!(
            essence,
            "application/xml"
                | "application/yaml"
                | "application/x-yaml"
                | "application/toml"
                | "application/javascript"
                | "application/x-www-form-urlencoded"
        )
}

fn charset<'a>(parameters: impl Iterator<Item = &'a str>) -> Result<Charset, Withheld> {
    let mut charset = Charset::Utf8;
    for parameter in parameters {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        if !name.trim().eq_ignore_ascii_case("charset") {
            continue;
        }
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        charset = match value.as_str() {
            "utf-8" | "utf8" | "us-ascii" | "ascii" => Charset::Utf8,
            "iso-8859-1" | "latin1" | "iso-8859-15" | "windows-1252" => Charset::Latin,
            _ => return Err(Reason::Charset(value.chars().take(40).collect()).into()),
        };
    }
    Ok(charset)
}
