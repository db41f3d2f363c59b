//! How the body of an answer, or of a part of one, is read.

use wire::json::stream::Documents;

use super::config::Plan;
use super::csv::CsvCodec;
use super::events::EventCodec;
use super::form::FormCodec;
use super::inspector::Inspector;
use super::json::JsonCodec;
use super::media::{Charset, FieldRules, Format};
use super::multipart::{MultipartCodec, NESTING_MAX};
use super::text::{self, TextCodec};
use super::withheld::{Reason, Withheld};
use super::xml::XmlCodec;

/// White space before a document that decides how it is read, in bytes.
const OPENING_BYTES_MAX: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How the body is read.
#[derive(Debug)]
pub(super) enum Body {
    /// There is none.
    Empty,
    /// Not decided yet: nothing but white space so far.
    Opening {
        format: Format,
        lead: Vec<u8>,
        /// How many messages of several parts there are around it.
        nesting: usize,
    },
    Json(Box<JsonCodec>),
    Text(TextCodec),
    Events(EventCodec),
    Form(Box<FormCodec>),
    Table(Box<CsvCodec>),
    Xml(Box<XmlCodec>),
    Parts(Box<MultipartCodec>),
    /// Not looked at.
    Raw,
}

impl Body {
    /// A body of this format whose first byte is still to come.
    pub(super) fn opening(format: Format, nesting: usize) -> Result<Self, Withheld> {
        if nesting > NESTING_MAX {
            return Err(Reason::Parts("parts inside each other, more than 3 deep").into());
        }
        Ok(Self::Opening {
            format,
            lead: Vec::new(),
            nesting,
        })
    }

    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        match self {
            Self::Empty if chunk.is_empty() => Ok(()),
            Self::Empty => Err(Reason::Unexpected.into()),
            Self::Raw => {
                out.extend_from_slice(chunk);
                Ok(())
            }
            Self::Json(codec) => codec.push(chunk, inspector, out),
            Self::Text(codec) => codec.push(chunk, inspector, out),
            Self::Events(codec) => codec.push(chunk, inspector, out),
            Self::Form(codec) => codec.push(chunk, inspector, out),
            Self::Table(codec) => codec.push(chunk, inspector, out),
            Self::Xml(codec) => codec.push(chunk, inspector, out),
            Self::Parts(codec) => codec.push(chunk, inspector, out),
            Self::Opening {
                format,
                lead,
                nesting,
            } => {
                lead.extend_from_slice(chunk);
                let Some(mut body) = decide(format, *nesting, lead, inspector.plan())? else {
                    return Ok(());
                };
                let lead = std::mem::take(lead);
                let content = skip_mark(&lead);
                out.extend_from_slice(lead.get(..lead.len() - content.len()).unwrap_or_default());
                body.push(content, inspector, out)?;
                *self = body;
                Ok(())
            }
        }
    }

    pub(super) fn finish(
        self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        match self {
            Self::Empty | Self::Raw => Ok(()),
            Self::Json(codec) => codec.finish(inspector, out),
            Self::Text(codec) => codec.finish(inspector, out),
            Self::Events(codec) => codec.finish(inspector, out),
            Self::Form(codec) => codec.finish(inspector, out),
            Self::Table(codec) => codec.finish(inspector, out),
            Self::Xml(codec) => codec.finish(inspector, out),
            Self::Parts(codec) => codec.finish(inspector, out),
            // A message of several parts has at least a boundary.
            Self::Opening {
                format: Format::Parts(_),
                ..
            } => Err(Reason::Parts("there is no part").into()),
            // Nothing but white space, or the beginning of a byte order mark.
            Self::Opening { lead, .. } => {
                text::check(&lead, Charset::Utf8)?;
                out.extend_from_slice(&lead);
                Ok(())
            }
        }
    }
}

fn skip_mark(lead: &[u8]) -> &[u8] {
    lead.strip_prefix(BYTE_ORDER_MARK).unwrap_or(lead)
}

/// Decides how a body is read once its first byte of content is there.
fn decide(
    format: &Format,
    nesting: usize,
    lead: &[u8],
    plan: &Plan,
) -> Result<Option<Body>, Withheld> {
    if lead.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(lead) {
        return Ok(None);
    }
    let drops = plan.settings.fields.drops();
    let json = |documents| Ok(Some(Body::Json(Box::new(JsonCodec::new(documents, drops)))));
    let text = |charset| Ok(Some(Body::Text(TextCodec::new(charset))));
    match (format, FieldRules::of(plan)) {
        (Format::Json, _) => return json(Documents::One),
        (Format::JsonLines, _) => return json(Documents::Many),
        (Format::Events, _) => return Ok(Some(Body::Events(EventCodec::default()))),
        (Format::Form, _) => return Ok(Some(Body::Form(Box::default()))),
        (Format::Table(charset, separator), _) => {
            let codec = CsvCodec::new(*charset, *separator);
            return Ok(Some(Body::Table(Box::new(codec))));
        }
        (Format::Xml(charset), _) => {
            if plan.settings.fields.has_indexes() {
                return Err(
                    Reason::Markup("a field rule with an index, which XML has none of").into(),
                );
            }
            return Ok(Some(Body::Xml(Box::new(XmlCodec::new(*charset)))));
        }
        (Format::Parts(boundary), _) => {
            let codec = MultipartCodec::new(boundary, nesting);
            return Ok(Some(Body::Parts(Box::new(codec))));
        }
        (Format::Text(charset), FieldRules::None) => return text(*charset),
        (Format::Text(_), FieldRules::Some) | (Format::Unlabelled, _) => {}
    }
    let Some(first) = skip_mark(lead)
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
    else {
        return if lead.len() > OPENING_BYTES_MAX {
            Err(Reason::Text("more white space before the content than is looked through").into())
        } else {
            Ok(None)
        };
    };
    let like_json = matches!(first, b'{' | b'[' | b'"');
    match format {
        Format::Text(Charset::Utf8) | Format::Unlabelled if like_json => json(Documents::Many),
        Format::Text(_) if like_json || matches!(first, b')' | b'/') => Err(Reason::Text(
            "JSON under another name, which field rules cannot be applied to",
        )
        .into()),
        Format::Text(charset) => text(*charset),
        Format::Unlabelled
        | Format::Json
        | Format::JsonLines
        | Format::Events
        | Format::Form
        | Format::Table(..)
        | Format::Xml(_)
        | Format::Parts(_) => Err(Reason::MediaType("unlabelled".to_owned()).into()),
    }
}
