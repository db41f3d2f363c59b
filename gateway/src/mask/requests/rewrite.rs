//! What callers may not send out is replaced before anybody reads the request: what is decoded, judged,
//! recorded and forwarded is the request with something else in its place.
//!
//! Each place is searched as its reader would decode it, and again as a whole when something was replaced:
//! what is found then reaches over several places, and the request is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::json::stream::{Documents, Kind, Scanner, StreamLimits, Token, Verdict, Visitor};

use super::super::class::DataClass;
use super::super::config::Plan;
use super::super::form::FormCodec;
use super::super::inspector::Inspector;
use super::super::marker::MarkerGuard;
use super::super::masker::{Masker, ResponseFacts, guarded};
use super::super::media::{FieldRules, Format};
use super::super::needles::Needles;
use super::super::view;
use super::super::withheld::{Reason, Withheld};
use super::{RequestFacts, RequestFault, RequestGuard, TARGET, body_facts, in_target, in_text};

const BODY: &str = "the body";
const IN_NAME: &str = "it stands in the name of a member or field";
const ACROSS: &str = "it reaches over several of its parts";
/// Headers whose value means something to HTTP or to what stands in between: with something else in it, the
/// request would be another one.
const PROTOCOL: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "cache-control",
    "content-digest",
    "content-encoding",
    "content-language",
    "content-location",
    "content-md5",
    "content-type",
    "date",
    "digest",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "pragma",
    "prefer",
    "range",
    "repr-digest",
    "signature",
    "signature-input",
    "want-content-digest",
    "want-repr-digest",
];
/// How a body is read for markers in its names.
const LIMITS: StreamLimits = StreamLimits {
    depth_max: 512,
    token_bytes_max: super::super::json::TOKEN_BYTES_MAX,
    documents: Documents::Many,
    drops: false,
};

/// Replaces what may not be sent in one request.
#[derive(Debug)]
pub struct Rewriter<'g> {
    guard: &'g RequestGuard,
    issuer: &'g str,
    subject: &'g str,
    counts: BTreeMap<DataClass, u64>,
}

impl<'g> Rewriter<'g> {
    /// For one request of this caller.
    #[must_use]
    pub const fn new(guard: &'g RequestGuard, issuer: &'g str, subject: &'g str) -> Self {
        Self {
            guard,
            issuer,
            subject,
            counts: BTreeMap::new(),
        }
    }

    /// How many values were replaced, by class.
    #[must_use]
    pub fn finish(self) -> BTreeMap<DataClass, u64> {
        self.counts
    }

    /// A normalised path and query with findings replaced; `None` if there are none. To be normalised again.
    ///
    /// # Errors
    /// [`RequestFault`]: the request must not be used.
    pub fn target(&mut self, target: &str) -> Result<Option<String>, RequestFault> {
        let (marked, counts) = guarded(|| written(self.marking(), target))?;
        // What is left in a target without one finding in its parts reaches over them.
        if let Some(class) = in_target(&|| self.marking(), &marked)? {
            return Err(fixed(TARGET, class, ACROSS));
        }
        let Some(class) = counts.keys().next() else {
            return Ok(None);
        };
        let names = marked.split_once('?').map_or("", |(_, query)| query);
        if names_hold_a_marker(names.as_bytes()) {
            return Err(fixed(TARGET, class.clone(), IN_NAME));
        }
        self.add(counts);
        let (written, _) = guarded(|| written(self.plan(), target))?;
        Ok(Some(written))
    }

    /// A header's value with findings replaced; `None` if there are none.
    ///
    /// # Errors
    /// [`RequestFault`]: the request must not be used.
    pub fn header(&mut self, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, RequestFault> {
        let place = || format!("header `{name}`");
        let fixed_header = PROTOCOL.contains(&name);
        if fixed_header {
            return match in_text(self.marking(), value)? {
                Some(class) => Err(fixed(&place(), class, "it means something to HTTP itself")),
                None => Ok(None),
            };
        }
        let (marked, counts) = header_value(self.marking(), name, value)?;
        let Some(marked) = marked else {
            return Ok(None);
        };
        if let Some(class) = in_text(self.marking(), &marked)? {
            return Err(fixed(&place(), class, ACROSS));
        }
        self.add(counts);
        let (written, _) = header_value(self.plan(), name, value)?;
        Ok(written)
    }

    /// A body with findings replaced; `None` if there are none.
    ///
    /// # Errors
    /// [`RequestFault`]: the request must not be used.
    pub fn body(&mut self, facts: &RequestFacts<'_>) -> Result<Option<Vec<u8>>, RequestFault> {
        if facts.body.is_empty() {
            return Ok(None);
        }
        let (marked, counts) = masked(self.marking(), facts, facts.body)?;
        let Some(class) = counts.keys().next().cloned() else {
            return Ok(None);
        };
        let plain = facts
            .content_encoding
            .is_none_or(|coding| coding.trim().eq_ignore_ascii_case("identity"));
        if !plain {
            return Err(fixed(
                BODY,
                class,
                "the body is compressed; send it as it is",
            ));
        }
        let in_names = match Format::parse(facts.content_type, FieldRules::Some) {
            Ok(Format::Json | Format::JsonLines) => members_hold_a_marker(&marked),
            Ok(Format::Form) => names_hold_a_marker(&marked),
            Ok(Format::Text(_)) => false,
            Ok(
                Format::Events
                | Format::Table(..)
                | Format::Xml(_)
                | Format::Parts(_)
                | Format::Unlabelled,
            )
            | Err(_) => {
                let why = "only JSON, forms and text are rewritten, labelled as such";
                return Err(fixed(BODY, class, why));
            }
        };
        if in_names {
            return Err(fixed(BODY, class, IN_NAME));
        }
        let (_, left) = masked(self.marking(), facts, &marked)?;
        if let Some(class) = left.keys().next() {
            return Err(fixed(BODY, class.clone(), ACROSS));
        }
        self.add(counts);
        let (written, _) = masked(self.plan(), facts, facts.body)?;
        Ok(Some(written))
    }

    fn add(&mut self, counts: BTreeMap<DataClass, u64>) {
        for (class, count) in counts {
            let known = self.counts.entry(class).or_default();
            *known = known.saturating_add(count);
        }
    }

    /// The plan that writes what stands instead.
    fn plan(&self) -> Plan {
        let kept = self.guard.kept.clone().unwrap_or_default();
        let plan = self.guard.settings.plan(&kept);
        plan.for_caller(self.issuer, self.subject)
    }

    /// The plan that writes a marker in every place, which no search takes for data.
    fn marking(&self) -> Plan {
        self.plan().with_markers()
    }
}

fn fixed(place: &str, class: DataClass, why: &'static str) -> RequestFault {
    RequestFault::Fixed {
        class,
        place: place.to_owned(),
        why,
    }
}

type Counts = BTreeMap<DataClass, u64>;

/// A target with findings replaced, part by part.
fn written(plan: Plan, target: &str) -> Result<(String, Counts), Withheld> {
    let mut inspector = Inspector::new(plan);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut out = Vec::with_capacity(target.len());
    for (at, part) in path.split('/').enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        let view = view::unescape_path(part.as_bytes());
        if inspector.search(view.text()) {
            let mut replaced = Vec::new();
            inspector.write_view(part.as_bytes(), &view, &mut replaced);
            // A normalised path has no bracket of its own.
            for byte in replaced {
                match byte {
                    b'[' => out.extend_from_slice(b"%5B"),
                    b']' => out.extend_from_slice(b"%5D"),
                    byte => out.push(byte),
                }
            }
        } else {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if let Some(query) = query {
        out.push(b'?');
        FormCodec::default().whole(query.as_bytes(), &mut inspector, &mut out)?;
    }
    let written = String::from_utf8(out).map_err(|_| Reason::Text("the target is not UTF-8"))?;
    Ok((written, inspector.counts()))
}

fn header_value(
    plan: Plan,
    name: &str,
    value: &[u8],
) -> Result<(Option<Vec<u8>>, Counts), Withheld> {
    let form = ResponseFacts {
        status: 204,
        ..ResponseFacts::default()
    };
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &form)?;
    let written = masker.header_value(name, value)?;
    Ok((written, masker.finish(&mut Vec::new())?.hits))
}

fn masked(
    plan: Plan,
    facts: &RequestFacts<'_>,
    body: &[u8],
) -> Result<(Vec<u8>, Counts), Withheld> {
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &body_facts(facts))?;
    let mut out = Vec::with_capacity(body.len());
    masker.push(body, &mut out)?;
    let summary = masker.finish(&mut out)?;
    Ok((out, summary.hits))
}

/// Whether a form has a marker in one of its names.
fn names_hold_a_marker(form: &[u8]) -> bool {
    form.split(|byte| *byte == b'&').any(|field| {
        let name = field.split(|byte| *byte == b'=').next();
        name.is_some_and(MarkerGuard::contains_marker)
    })
}

/// Whether JSON has a marker in one of its names, or is not read here.
fn members_hold_a_marker(body: &[u8]) -> bool {
    struct Names(bool);
    impl Visitor for Names {
        fn token(&mut self, token: &Token<'_>) -> Verdict {
            self.0 |= token.kind == Kind::Key && MarkerGuard::contains_marker(token.raw);
            Verdict::Keep
        }
    }
    let mut names = Names(false);
    let mut scanner = Scanner::new(LIMITS);
    let mut out = Vec::new();
    let read = scanner
        .push(body, &mut names, &mut out)
        .and_then(|()| scanner.finish(&mut names, &mut out));
    names.0 || read.is_err()
}

#[cfg(test)]
mod tests;
