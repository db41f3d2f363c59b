//! What callers must not send out: secrets and personal data in a request, found by the same detectors as in
//! answers. A request that holds some is refused before anything runs, or they are replaced before anybody
//! reads it; one that cannot be searched is refused.

mod rewrite;

pub use rewrite::Rewriter;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::catalogue;
use super::class::DataClass;
use super::config::{Config, Fault, Plan, Settings};
use super::instead::{self, Instead};
use super::masker::{Masker, ResponseFacts, Summary};
use super::mode::Mode;
use super::needles::Needles;
use super::own::OwnConfig;
use super::vault::Vault;
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
    /// What stands in place of a class in requests, by class or group, as in `contact: token`: `redact`,
    /// `partial`, `fixed`, `pseudonym` or `token`, in every `mode`. Replaced before the request is decoded, so
    /// schema, policy, approvals and function read the same. Where nothing can be put in place, as in the name
    /// of a member, in XML or in an image, the request is refused.
    pub instead: BTreeMap<String, Instead>,
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
    /// It holds data where nothing can be put in its place.
    #[error("{place} holds data of class `{class}`, which cannot be replaced there: {why}")]
    Fixed {
        /// What was found.
        class: DataClass,
        /// Where: the target, a header, the body.
        place: String,
        /// Why not.
        why: &'static str,
    },
    /// It cannot be searched.
    #[error("the body cannot be searched for data that may not be sent: {0}")]
    Unread(#[from] Withheld),
}

/// Searches requests to one function.
#[derive(Debug)]
pub struct RequestGuard {
    settings: Arc<Settings>,
    /// What may be sent: everything but `block`.
    allowed: BTreeSet<DataClass>,
    /// What stays as it is: everything but `instead`; `None` if that names nothing.
    kept: Option<BTreeSet<DataClass>>,
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
    /// Compiles what must not be sent and what is replaced; `None` if nothing is named.
    pub(super) fn compile(config: &Config, faults: &mut Vec<Fault>) -> Option<Self> {
        let RequestsConfig { block, instead } = &config.requests;
        if block.is_empty() && instead.is_empty() {
            return None;
        }
        let before = faults.len();
        let mut built_in = Vec::new();
        for name in block {
            built_in.extend(detector(config, name, "requests.block", faults));
        }
        for (name, instead) in instead {
            let place = format!("requests.instead.{name}");
            built_in.extend(detector(config, name, &place, faults));
            if let Some(message) = unfit(block, name, *instead) {
                faults.push(Fault { place, message });
            }
        }
        if faults.len() > before {
            return None;
        }
        let settings = searching(config, built_in, faults)?;
        let other = |named: &dyn Fn(&str) -> bool| {
            let classes = settings.classes().iter();
            let other = |class: &&DataClass| !named(class.as_str()) && !named(class.group());
            classes.filter(other).cloned().collect::<BTreeSet<_>>()
        };
        let allowed = other(&|name| block.iter().any(|blocked| blocked == name));
        let kept = (!instead.is_empty()).then(|| other(&|name| instead.contains_key(name)));
        Some(Self {
            settings: Arc::new(settings),
            allowed,
            kept,
        })
    }

    /// The same with the keys for pseudonyms and tokens.
    pub(super) fn with_vault(mut self, vault: Option<Arc<Vault>>, connection: &str) -> Self {
        // INVARIANT: nothing else holds these settings yet. If it did, markers would stand for tokens.
        if let Some(settings) = Arc::get_mut(&mut self.settings) {
            settings.keep_vault(vault, connection);
        }
        self
    }

    /// Whether something is replaced by a pseudonym or token, for which keys are needed.
    pub(super) fn needs_keys(&self) -> bool {
        self.kept.is_some() && self.settings.needs_keys()
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
        if self.allowed.len() == self.settings.classes().len() {
            return Ok(());
        }
        if let Some(class) = in_target(&|| self.plan(), facts.target)? {
            return Err(holds(TARGET, class));
        }
        for (name, value) in headers {
            // A number that HTTP itself reads, and checks.
            if !name.eq_ignore_ascii_case("content-length")
                && let Some(class) = in_text(self.plan(), value)?
            {
                return Err(holds(&format!("header `{name}`"), class));
            }
        }
        if facts.body.is_empty() {
            return Ok(());
        }
        let mut masker = Masker::new(self.plan(), Arc::new(Needles::none()), &body_facts(facts))?;
        let mut out = Vec::new();
        masker.push(facts.body, &mut out)?;
        match first(&masker.finish(&mut out)?) {
            Some(class) => Err(holds("the body", class)),
            None => Ok(()),
        }
    }

    /// The classes that are replaced in requests.
    pub fn replaced(&self) -> impl Iterator<Item = &DataClass> {
        let classes = self.settings.classes().iter();
        classes.filter(|class| {
            self.kept
                .as_ref()
                .is_some_and(|kept| !kept.contains(*class))
        })
    }

    /// Whether something is replaced in requests.
    #[must_use]
    pub const fn rewrites(&self) -> bool {
        self.kept.is_some()
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

/// Path and query, as the caller is told.
const TARGET: &str = "the path or query";

/// A detector that `requests` names: a built-in one by its name, one of the operator's own silently.
fn detector(config: &Config, name: &str, place: &str, faults: &mut Vec<Fault>) -> Option<String> {
    if catalogue::entries().any(|entry| entry.name == name || entry.group == name) {
        return Some(name.to_owned());
    }
    let message = match config.detectors.get(name) {
        Some(own) if own.path.is_none() => return None,
        Some(_) => format!(
            "`{name}` finds a place of answers, so it would search nothing of a request: name a class, or a \
             detector of yours that has `regex` or `words`"
        ),
        None => {
            let groups = catalogue::groups().join(", ");
            format!(
                "no detector finds `{name}`: name a class, one of the groups {groups}, or one of your `detectors`"
            )
        }
    };
    faults.push(Fault {
        place: place.to_owned(),
        message,
    });
    None
}

/// What is wrong with replacing a class in requests, if something is.
fn unfit(block: &[String], name: &str, instead: Instead) -> Option<String> {
    let class = name.parse::<DataClass>().ok();
    let group = class.as_ref().map_or(name, |class| class.group());
    if let Some(blocked) = block
        .iter()
        .find(|blocked| **blocked == name || **blocked == group)
    {
        return Some(format!(
            "`block` names `{blocked}`, so a request that holds it is refused: take one of the two away"
        ));
    }
    match instead {
        Instead::Block => Some(format!(
            "write `{name}` under `block`: the request is refused then"
        )),
        Instead::Drop => Some(
            "`drop` is for places in answers: write `redact`, which leaves a marker".to_owned(),
        ),
        Instead::Token if instead::is_few(name) => Some(format!(
            "`{name}` has so few values that each token of one is different, so a call that is sent again would \
             be another call: write `redact`"
        )),
        Instead::Redact
        | Instead::Partial
        | Instead::Fixed
        | Instead::Pseudonym
        | Instead::Token => None,
    }
}

/// The settings that find what `requests` names. Places of answers say nothing about requests. Examples hold
/// for what is found in answers, and are checked there: beside other detectors another class may win.
fn searching(config: &Config, detect: Vec<String>, faults: &mut Vec<Fault>) -> Option<Settings> {
    let by_value = config
        .detectors
        .iter()
        .filter(|(_, own)| own.path.is_none());
    let searched = Config {
        detect,
        detectors: by_value
            .map(|(class, own)| (class.clone(), without_examples(own)))
            .collect(),
        instead: config.requests.instead.clone(),
        scope: config.scope,
        mode: Mode::On.into(),
        ..Config::default()
    };
    match Settings::compile(&searched) {
        Ok(settings) => Some(settings),
        Err(more) => {
            let known = faults.len();
            for mut fault in more {
                if fault.place.starts_with("instead.") {
                    fault.place = format!("requests.{}", fault.place);
                }
                if !faults.iter().take(known).any(|other| *other == fault) {
                    faults.push(fault);
                }
            }
            None
        }
    }
}

/// What the head says of the body, as a masker reads it.
fn body_facts<'a>(facts: &RequestFacts<'a>) -> ResponseFacts<'a> {
    ResponseFacts {
        status: 200,
        content_type: facts.content_type,
        content_encoding: facts.content_encoding,
        head_only: false,
    }
}

/// The first class that is found in a target, also with `+` read as a blank, as who reads a query as a form
/// does.
fn in_target(plan: &dyn Fn() -> Plan, target: &str) -> Result<Option<DataClass>, Withheld> {
    let found = in_text(plan(), target.as_bytes())?;
    match target.split_once('?') {
        Some((_, query)) if found.is_none() && query.contains('+') => {
            let view = view::unescape_form(query.as_bytes());
            in_text(plan(), view.text())
        }
        Some(_) | None => Ok(found),
    }
}

/// The first class that is found in a text.
fn in_text(plan: Plan, text: &[u8]) -> Result<Option<DataClass>, Withheld> {
    let form = ResponseFacts {
        status: 204,
        ..ResponseFacts::default()
    };
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &form)?;
    masker.header_value("x-searched", text)?;
    Ok(first(&masker.finish(&mut Vec::new())?))
}

fn first(summary: &Summary) -> Option<DataClass> {
    summary.hits.keys().next().cloned()
}

fn holds(place: &str, class: DataClass) -> RequestFault {
    RequestFault::Holds {
        class,
        place: place.to_owned(),
    }
}

#[cfg(test)]
mod tests;
