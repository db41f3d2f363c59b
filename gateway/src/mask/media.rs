//! Which codec an answer needs, by its media type. What has none is not delivered.

use super::config::Plan;
use super::multipart::parameter;
use super::withheld::{Reason, Withheld};

/// How a body is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// One JSON document.
    Json,
    /// JSON documents after each other.
    JsonLines,
    /// Lines of text.
    Text(Charset),
    /// `text/event-stream`.
    Events,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// A table whose columns field rules can name, and what separates them if the type says it.
    Table(Charset, Option<u8>),
    /// XML whose elements field rules can name.
    Xml(Charset),
    /// Parts between lines with this boundary.
    Parts(String),
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

impl FieldRules {
    /// Whether a plan has any.
    pub(super) fn of(plan: &Plan) -> Self {
        if plan.settings.fields.is_empty() {
            Self::None
        } else {
            Self::Some
        }
    }
}

impl Format {
    /// Reads a `Content-Type` value.
    pub(super) fn parse(header: Option<&str>, rules: FieldRules) -> Result<Self, Withheld> {
        let header = header.unwrap_or_default();
        let mut parts = header.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        if essence.starts_with("multipart/") && essence != "multipart/byteranges" {
            return parts_of(header);
        }
        let charset = charset(parts)?;
        let utf8 = |format| match charset {
            Charset::Utf8 => Ok(format),
            Charset::Latin => Err(Reason::Charset("latin".to_owned()).into()),
        };
        let unknown = || Err(Reason::MediaType(essence.chars().take(80).collect()).into());
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
            "application/x-www-form-urlencoded" => utf8(Self::Form),
            "text/plain" | "text/html" => Ok(Self::Text(charset)),
            _ if essence.ends_with("+json") => utf8(Self::Json),
            _ if is_text(&essence) && rules == FieldRules::None => Ok(Self::Text(charset)),
            "text/csv" => match parameter(header, "header") {
                Some(names) if names.eq_ignore_ascii_case("absent") => unknown(),
                Some(_) | None => Ok(Self::Table(charset, None)),
            },
            "text/tab-separated-values" => Ok(Self::Table(charset, Some(b'\t'))),
            "application/xml" | "text/xml" => Ok(Self::Xml(charset)),
            _ if essence.ends_with("+xml") => Ok(Self::Xml(charset)),
            _ => unknown(),
        }
    }
}

/// The boundary of a message of several parts (RFC 2046, 5.1.1).
fn parts_of(header: &str) -> Result<Format, Withheld> {
    let boundary = parameter(header, "boundary").unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    if !(1..=70).contains(&boundary.len())
        || !boundary.bytes().all(allowed)
        || boundary.ends_with(' ')
    {
        return Err(Reason::Parts("no boundary, or one that is none").into());
    }
    Ok(Format::Parts(boundary))
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
