//! From policy files to checked policies: parse, read annotations, check names, validate.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    ValidationWarning, Validator,
};
use cedar_policy_core::ast::EntityUID;
use miette::Diagnostic;

use crate::mask::DataClass;

use super::fault::{Faults, Place};
use super::person::PersonAction;
use super::rule::{self, Rule, RuleEffect};
use super::schema::{GATEWAY, Vocabulary, quoted};

/// Largest policy file, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most policies of a gateway.
pub const POLICIES_MAX: usize = 20_000;

/// One policy file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFile {
    /// Its name, as messages should show it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// One policy as it was parsed; its Cedar id is its index.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) policy: Policy,
    pub(super) rule: Option<Rule>,
    place: Place,
    file: usize,
    offset: usize,
}

/// Parse all files and read the annotations of all policies.
pub(super) fn read(
    files: &[PolicyFile],
    vocabulary: &Vocabulary,
    faults: &mut Faults,
) -> Vec<Parsed> {
    let mut parsed = Vec::new();
    for (index, file) in files.iter().enumerate() {
        for (offset, policy) in parse(file, faults) {
            if parsed.len() == POLICIES_MAX {
                let place = Place::at(&file.name, &file.text, offset);
                faults.add(place, format!("more than {POLICIES_MAX} policies"), None);
                return parsed;
            }
            let policy = policy.new_id(PolicyId::new(parsed.len().to_string()));
            let place = Place::at(&file.name, &file.text, offset);
            let rule = annotated(&policy, &place, vocabulary, faults);
            parsed.push(Parsed {
                policy,
                rule,
                place,
                file: index,
                offset,
            });
        }
    }
    unique_ids(&parsed, faults);
    parsed
}

/// The policies of one file in their order, each with its byte offset.
fn parse(file: &PolicyFile, faults: &mut Faults) -> Vec<(usize, Policy)> {
    let start = Place::at(&file.name, &file.text, 0);
    if file.text.len() > FILE_BYTES_MAX {
        let text = format!("the file is larger than {FILE_BYTES_MAX} bytes");
        faults.add(start, text, Some("split it".to_owned()));
        return Vec::new();
    }
    let set: PolicySet = match file.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            for error in errors.iter() {
                let place = Place::at(&file.name, &file.text, offset(error).unwrap_or(0));
                faults.add(place, error.to_string(), help(error));
            }
            return Vec::new();
        }
    };
    for template in set.templates() {
        let loc = template.as_ref().loc();
        let place = Place::at(&file.name, &file.text, loc.map_or(0, |l| l.span.offset()));
        faults.helped(
            &place,
            "templates are not supported",
            "name the principal or resource in place of `?principal` or `?resource`",
        );
    }
    let mut policies: Vec<(usize, Policy)> = set
        .policies()
        .map(|policy| {
            let loc = policy.as_ref().loc();
            (loc.map_or(0, |l| l.span.offset()), policy.clone())
        })
        .collect();
    policies.sort_by_key(|(offset, _)| *offset);
    policies
}

fn offset(diagnostic: &dyn Diagnostic) -> Option<usize> {
    diagnostic.labels()?.next().map(|label| label.offset())
}

fn help(diagnostic: &dyn Diagnostic) -> Option<String> {
    diagnostic.help().map(|help| help.to_string())
}

fn annotated(
    policy: &Policy,
    place: &Place,
    vocabulary: &Vocabulary,
    faults: &mut Faults,
) -> Option<Rule> {
    let annotations: BTreeMap<String, String> = policy
        .annotations()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let effect = match policy.effect() {
        Effect::Permit => RuleEffect::Permit,
        Effect::Forbid => RuleEffect::Forbid,
    };
    // Cedar's own rendering of the tree: neither comments nor layout are in it.
    let hash = rule::hash(&policy.as_ref().to_string());
    let loc = policy.as_ref().loc();
    let text = loc.and_then(|loc| loc.snippet().map(str::to_owned));
    let text = text.unwrap_or_else(|| policy.to_string());
    let shadow = annotations.contains_key("shadow");
    if let Some(action) = not_a_call(policy).filter(|_| shadow) {
        faults.helped(
            place,
            format!(
                "policy `{}`: `@shadow` on a policy about `{action}`, which is never watched",
                policy.annotation("id").unwrap_or_default()
            ),
            "only what policies say of calls is: name functions, or groups of them",
        );
    }
    let read = rule::read(
        annotations,
        effect,
        hash,
        (place.clone(), text),
        &vocabulary.issuers,
    );
    read.map_err(|mistakes| {
        let name = policy.annotation("id").unwrap_or_default();
        for (text, help) in mistakes {
            let text = match name {
                "" => text,
                name => format!("policy `{name}`: {text}"),
            };
            faults.add(place.clone(), text, Some(help));
        }
    })
    .ok()
}

/// An action of the policy that is no call: `unmask`, or a right of people.
fn not_a_call(policy: &Policy) -> Option<String> {
    let named = match policy.action_constraint() {
        ActionConstraint::Any => Vec::new(),
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    let mut ids = named.iter().map(|action| action.id().unescaped());
    let right = |id: &&str| {
        PersonAction::ALL
            .iter()
            .any(|action| action.as_str() == *id)
    };
    ids.find(|id| *id == "unmask" || right(id))
        .map(str::to_owned)
}

fn unique_ids(parsed: &[Parsed], faults: &mut Faults) {
    let mut first: BTreeMap<&str, &Place> = BTreeMap::new();
    for policy in parsed {
        let Some(id) = policy.policy.annotation("id") else {
            continue;
        };
        if let Some(before) = first.get(id) {
            let text = format!("policy `{id}`: the `@id` is taken, by the policy at {before}");
            faults.helped(&policy.place, text, "give each policy a name of its own");
        } else {
            first.insert(id, &policy.place);
        }
    }
}

/// Check that every entity that a policy names exists, as far as the config knows entities.
pub(super) fn check_names(
    parsed: &[Parsed],
    files: &[PolicyFile],
    vocabulary: &Vocabulary,
    faults: &mut Faults,
) {
    let known = Known::new(vocabulary);
    for policy in parsed {
        let mut seen = HashSet::new();
        for uid in policy.policy.entity_literals() {
            if !seen.insert(uid.clone()) {
                continue;
            }
            if let Err(text) = known.check(&uid) {
                let place = literal_place(policy, files, uid.id().unescaped());
                faults.add(place, named(policy, &text), None);
            }
        }
    }
}

/// Where the literal with this id stands in the policy's text.
fn literal_place(policy: &Parsed, files: &[PolicyFile], id: &str) -> Place {
    files
        .get(policy.file)
        .and_then(|file| {
            let text = file.text.get(policy.offset..)?;
            let at = text.find(&format!("::{}", quoted(id)))?;
            Some(Place::at(&file.name, &file.text, policy.offset + at + 2))
        })
        .unwrap_or_else(|| policy.place.clone())
}

fn named(policy: &Parsed, text: &str) -> String {
    match policy.policy.annotation("id") {
        Some(id) => format!("policy `{id}`: {text}"),
        None => text.to_owned(),
    }
}

/// The entities that exist.
struct Known<'a> {
    issuers: &'a BTreeSet<String>,
    connections: BTreeSet<&'a str>,
    functions: BTreeSet<String>,
    classes: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn new(vocabulary: &'a Vocabulary) -> Self {
        let mut classes = BTreeSet::new();
        for class in &vocabulary.classes {
            classes.insert(class.as_str());
            classes.extend(class_group(class));
        }
        Self {
            issuers: &vocabulary.issuers,
            connections: vocabulary
                .connections
                .iter()
                .map(|connection| connection.name.as_str())
                .collect(),
            functions: vocabulary
                .functions
                .iter()
                .map(|function| function.id.to_string())
                .collect(),
            classes,
        }
    }

    fn check(&self, uid: &EntityUid) -> Result<(), String> {
        let id = uid.id().unescaped();
        let unknown = |what: &str, known: bool| match known {
            true => Ok(()),
            false => Err(format!("unknown {what} `{id}`")),
        };
        match uid.type_name().basename() {
            "Group" | "Caller" => rule::group_alias(id, self.issuers),
            "Connection" => unknown("connection", self.connections.contains(id)),
            "Function" => unknown("function", self.functions.contains(id)),
            "DataClass" => unknown("data class", self.classes.contains(id)),
            "Gateway" if id != GATEWAY => Err(format!("the gateway is `Gateway::\"{GATEWAY}\"`")),
            // Actions and unknown types are told by the validator.
            _ => Ok(()),
        }
    }
}

/// The group that a data class is in, when it is not of the same name.
pub(super) fn class_group(class: &DataClass) -> Option<&'static str> {
    Some(class.group()).filter(|group| *group != class.as_str())
}

/// Validate against the schema. What the validator only warns of is a fault too where it means that
/// a policy cannot do what it says; the rest is returned as warnings.
pub(super) fn validate(
    parsed: &[Parsed],
    files: &[PolicyFile],
    schema: &Schema,
    dormant: &HashSet<EntityUID>,
    faults: &mut Faults,
) -> Faults {
    let mut warnings = Faults::default();
    let mut set = PolicySet::new();
    for policy in parsed {
        // Ids are indexes and so never collide.
        if let Err(error) = set.add(policy.policy.clone()) {
            faults.add(policy.place.clone(), error.to_string(), None);
        }
    }
    let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    for error in result.validation_errors() {
        let Some(policy) = by_id(parsed, error.policy_id()) else {
            faults.add(Place::default(), error.to_string(), None);
            continue;
        };
        let (place, text) = located(policy, files, error, error.policy_id());
        faults.add(place, text, help(error));
    }
    for warning in result.validation_warnings() {
        let Some(policy) = by_id(parsed, warning.policy_id()) else {
            faults.add(Place::default(), warning.to_string(), None);
            continue;
        };
        let (place, text) = located(policy, files, warning, warning.policy_id());
        match warning {
            ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::InvalidActionApplication(_) => {
                if !sleeps(&policy.policy, dormant) {
                    faults.add(place, text, Some(NEVER_MATCHES.to_owned()));
                }
            }
            ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_) => faults.add(place, text, None),
            _ => warnings.add(place, text, help(warning)),
        }
    }
    warnings
}

const NEVER_MATCHES: &str = "it can never match: look for a misspelt member after `has`, or an \
                             action and a resource that never meet";

fn by_id<'a>(parsed: &'a [Parsed], id: &PolicyId) -> Option<&'a Parsed> {
    let id: &str = id.as_ref();
    parsed.get(id.parse::<usize>().ok()?)
}

fn located<D: Diagnostic>(
    policy: &Parsed,
    files: &[PolicyFile],
    diagnostic: &D,
    id: &PolicyId,
) -> (Place, String) {
    let place = match (offset(diagnostic), files.get(policy.file)) {
        (Some(offset), Some(file)) => Place::at(&file.name, &file.text, offset),
        (None, _) | (_, None) => policy.place.clone(),
    };
    let text = diagnostic.to_string();
    let prefix = format!("for policy `{id}`");
    let text = text.strip_prefix(&prefix).map_or(text.as_str(), |rest| {
        rest.trim_start_matches([',', ':', ' '])
    });
    (place, named(policy, text))
}

/// Whether a policy only covers groups of functions that have no function now: it may wait for one.
fn sleeps(policy: &Policy, dormant: &HashSet<EntityUID>) -> bool {
    match policy.action_constraint() {
        ActionConstraint::In(actions) => actions
            .iter()
            .all(|action| dormant.contains(action.as_ref())),
        ActionConstraint::Any | ActionConstraint::Eq(_) => false,
    }
}
