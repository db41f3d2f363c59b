//! What callers must not send out: secrets and personal data in a request, found by the same detectors as in
//! answers. A request that holds some, or that cannot be searched, is refused before anything runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::catalogue;
use super::class::DataClass;
use super::config::{Config, Fault, Plan, Settings};
use super::masker::{Masker, ResponseFacts, Summary};
use super::mode::Mode;
use super::needles::Needles;
use super::own::OwnConfig;
use super::view;
use super::withheld::Withheld;

/// What requests may hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MaskRequestsConfig")]
#[serde(deny_unknown_fields, default)]
pub struct RequestsConfig {
    /// Classes or groups that must not be sent, as in `[secret, payment-card]`: a request that holds one
    /// is refused with 422. Searched are path, query, headers and body, in every `mode`. Bodies of
    /// functions without a schema are then read whole, up to 1 MiB.
    pub block: Vec<String>,
}

/// Largest body that is searched, in bytes.
pub const SEARCHED_BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why a request is refused. Never holds a value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestFault {
    /// It holds data that must not be sent.
    #[error("{place} holds data of class `{class}`, which may not be sent to this function")]
    Holds {
        /// What was found.
        class: DataClass,
        /// Where: the target, a header, the body.
        place: String,
    },
    /// It cannot be searched.
    #[error("the body cannot be searched for data that may not be sent: {0}")]
    Unread(#[from] Withheld),
}

/// Searches requests to one function.
#[derive(Debug)]
pub struct RequestGuard {
    settings: Arc<Settings>,
    allowed: BTreeSet<DataClass>,
}

/// What is searched of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Path and query, as they are forwarded.
    pub target: &'a str,
    /// The value of `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The value of `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// The body; empty if there is none.
    pub body: &'a [u8],
}

impl RequestGuard {
    /// Compiles what must not be sent; `None` if nothing is named.
    pub(super) fn compile(config: &Config, faults: &mut Vec<Fault>) -> Option<Self> {
        let block = &config.requests.block;
        if block.is_empty() {
            return None;
        }
        let known =
            |name: &&String| catalogue::entries().any(|e| e.name == **name || e.group == **name);
        let built_in: Vec<_> = block.iter().filter(known).cloned().collect();
        for name in block.iter().filter(|name| !known(name)) {
            let message = match config.detectors.get(name) {
                Some(own) if own.path.is_none() => continue,
                Some(_) => format!(
                    "`{name}` finds a place of answers, so it would search nothing of a request: block a \
                     class, or a detector of yours that has `regex` or `words`"
                ),
                None => {
                    let groups = catalogue::groups().join(", ");
                    format!(
                        "no detector finds `{name}`: name a class, one of the groups {groups}, or one of your \
                         `detectors`"
                    )
                }
            };
            faults.push(Fault {
                place: "requests.block".to_owned(),
                message,
            });
        }
        // Places of answers say nothing about requests. Examples hold for what is found in answers, and
        // are checked there: beside other detectors another class may win.
        let by_value = config
            .detectors
            .iter()
            .filter(|(_, own)| own.path.is_none());
        let searched = Config {
            detect: built_in,
            detectors: by_value
                .map(|(class, own)| (class.clone(), without_examples(own)))
                .collect(),
            mode: Mode::On.into(),
            ..Config::default()
        };
        let settings = match Settings::compile(&searched) {
            Ok(settings) => settings,
            Err(more) => {
                let known = faults.len();
                for fault in more {
                    if !faults.iter().take(known).any(|other| *other == fault) {
                        faults.push(fault);
                    }
                }
                return None;
            }
        };
        let named = |class: &DataClass| {
            let group = class.group();
            block
                .iter()
                .any(|name| name == class.as_str() || name == group)
        };
        let classes = settings.classes().iter();
        let allowed = classes.filter(|class| !named(class)).cloned().collect();
        Some(Self {
            settings: Arc::new(settings),
            allowed,
        })
    }

    /// Searches a request.
    ///
    /// # Errors
    /// [`RequestFault`]: then it must not be sent.
    pub fn check<'a>(
        &self,
        facts: &RequestFacts<'_>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), RequestFault> {
        const TARGET: &str = "the path or query";
        self.text(TARGET, facts.target.as_bytes())?;
        // For whom reads a query as a form, `+` is a blank.
        if let Some((_, query)) = facts.target.split_once('?')
            && query.contains('+')
        {
            let view = view::unescape_form(query.as_bytes());
            self.text(TARGET, view.text())?;
        }
        for (name, value) in headers {
            // A number that HTTP itself reads, and checks.
            if !name.eq_ignore_ascii_case("content-length") {
                self.text(&format!("header `{name}`"), value)?;
            }
        }
        if facts.body.is_empty() {
            return Ok(());
        }
        let form = ResponseFacts {
            status: 200,
            content_type: facts.content_type,
            content_encoding: facts.content_encoding,
            head_only: false,
        };
        let mut masker = Masker::new(self.plan(), Arc::new(Needles::none()), &form)?;
        let mut out = Vec::new();
        masker.push(facts.body, &mut out)?;
        found("the body", &masker.finish(&mut out)?)
    }

    fn text(&self, place: &str, text: &[u8]) -> Result<(), RequestFault> {
        let form = ResponseFacts {
            status: 204,
            ..ResponseFacts::default()
        };
        let mut masker = Masker::new(self.plan(), Arc::new(Needles::none()), &form)?;
        masker.header_value("x-searched", text)?;
        found(place, &masker.finish(&mut Vec::new())?)
    }

    fn plan(&self) -> Plan {
        self.settings.plan(&self.allowed)
    }
}

fn without_examples(own: &OwnConfig) -> OwnConfig {
    OwnConfig {
        matches: Vec::new(),
        ignores: Vec::new(),
        ..own.clone()
    }
}

fn found(place: &str, summary: &Summary) -> Result<(), RequestFault> {
    match summary.hits.keys().next() {
        Some(class) => Err(RequestFault::Holds {
            class: class.clone(),
            place: place.to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
