//! The decision: what matched, and what follows from it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::EvaluationError;
use cedar_policy_core::ast::{
    Context, EntityUID, EntityUIDEntry, Literal, Request as CedarRequest, ValueKind,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;

use crate::clock::Timestamp;
use crate::mask::DataClass;

use super::decision::{Decision, Denial, DenialReason, Obligations, RuleHash, Shadowed, Terms};
use super::index::Slices;
use super::prepare::Prepared;
use super::request::{Request, Subject};
use super::rule::{Rule, RuleEffect};
use super::{Error, Policies};

/// The policies that answered a request.
#[derive(Debug, Default)]
pub(super) struct Matches<'p> {
    pub(super) permits: Vec<&'p Rule>,
    pub(super) forbids: Vec<&'p Rule>,
    pub(super) errors: Vec<(&'p Rule, &'static str)>,
    /// Shadows that matched: never part of a verdict that is enforced.
    pub(super) shadows: Vec<&'p Rule>,
    /// Shadows that could not be evaluated.
    pub(super) shadow_errors: Vec<(&'p Rule, &'static str)>,
}

/// What follows from the matches.
#[derive(Debug)]
pub(super) enum Verdict {
    Allow(Vec<String>),
    Deny(Denial),
    Ask(Terms),
}

/// A subject in Cedar's terms, beside the entities that its request needs.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) uid: Arc<EntityUID>,
    /// The subject's own id and those of its groups that some policy names.
    pub(super) selves: Vec<EntityUID>,
    pub(super) entities: Entities,
}

impl Policies {
    /// Decide about a call. `opened` are the approval rules that people opened for exactly this
    /// call: they count as if they did not exist; every other policy counts in full. A policy that
    /// errs denies, opened or not.
    pub fn decide(&self, request: &Request<'_>, opened: &BTreeSet<RuleHash>) -> Decision {
        self.decide_shadowed(request, opened).0
    }

    /// The same, and what would be decided with the shadow policies, if one matches.
    pub fn decide_shadowed(
        &self,
        request: &Request<'_>,
        opened: &BTreeSet<RuleHash>,
    ) -> (Decision, Option<Shadowed>) {
        self.try_decide(request, opened)
            .unwrap_or_else(|error| (Decision::Deny(denial(&error)), None))
    }

    fn try_decide(
        &self,
        request: &Request<'_>,
        opened: &BTreeSet<RuleHash>,
    ) -> Result<(Decision, Option<Shadowed>), Error> {
        let prepared = self.prepared(&request.function.id)?;
        let caller = self.caller(&request.subject, prepared.entities.clone())?;
        let matches = self.call_matches(prepared, &caller, request)?;
        let verdict = judge(&matches, opened);
        let decision = self.conclude(prepared, &caller, request, verdict, opened)?;
        Ok((decision, shadowed(matches, opened, request.facts.received)))
    }

    /// The decision, with the unmask rights of an allowed call.
    pub(super) fn conclude(
        &self,
        prepared: &Prepared,
        caller: &Caller,
        request: &Request<'_>,
        verdict: Verdict,
        opened: &BTreeSet<RuleHash>,
    ) -> Result<Decision, Error> {
        let unseen = |(place, class): &(String, DataClass)| {
            let function = &request.function.id;
            request.input.gives(place)
                && !self.may_unmask(&request.subject, function, request.facts, class)
        };
        Ok(match verdict {
            Verdict::Deny(denial) => Decision::Deny(denial),
            // Whoever filters or sorts by a value learns of it.
            Verdict::Ask(_) | Verdict::Allow(_) if request.function.classes.iter().any(unseen) => {
                Decision::Deny(Denial {
                    reason: DenialReason::NoPermit,
                    policies: Vec::new(),
                })
            }
            Verdict::Ask(terms) => Decision::Ask(terms),
            Verdict::Allow(policies) => Decision::Allow(Obligations {
                unmask: self.unmask(prepared, caller, request, opened)?,
                policies,
            }),
        })
    }

    /// Every policy that matches a call or errs on it.
    pub(super) fn call_matches(
        &self,
        prepared: &Prepared,
        caller: &Caller,
        request: &Request<'_>,
    ) -> Result<Matches<'_>, Error> {
        let shape = &prepared.function.input;
        let context = self.values.call(request.input, shape, request.facts)?;
        let request = cedar_request(caller, &prepared.action, &prepared.connection, context);
        self.matches(caller, request, &prepared.slices)
    }

    /// The data classes that this subject may see in the function's answer. What cannot be
    /// evaluated, and what an unopened approval rule stands before, stays masked.
    fn unmask(
        &self,
        prepared: &Prepared,
        caller: &Caller,
        request: &Request<'_>,
        opened: &BTreeSet<RuleHash>,
    ) -> Result<BTreeSet<DataClass>, Error> {
        let mut unmasked = BTreeSet::new();
        for (class, uid) in &prepared.unmask {
            let context = self.values.unmask(&prepared.thing, request.facts)?;
            let request = cedar_request(caller, &self.unmask_action, uid, context);
            let matches = self.matches(caller, request, &self.unmask_slices)?;
            if let Verdict::Allow(_) = judge(&matches, opened) {
                unmasked.insert(class.clone());
            }
        }
        Ok(unmasked)
    }

    /// The subject as an entity, beside `entities`.
    pub(super) fn caller(
        &self,
        subject: &Subject<'_>,
        entities: Entities,
    ) -> Result<Caller, Error> {
        let uid = self.names.caller(subject.issuer, subject.subject);
        let mut selves: Vec<EntityUID> = subject
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group).cloned())
            .collect();
        let entity = self
            .values
            .principal(&uid, subject, &selves, &self.claims)?;
        selves.push(uid.clone());
        // INVARIANT: the entities are closed under `in` without more work: what is there was closed
        // at load, and the caller's groups are in nothing themselves.
        let entities = entities
            .add_entities(
                [Arc::new(entity)],
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|_| Error::Principal)?;
        Ok(Caller {
            uid: Arc::new(uid),
            selves,
            entities,
        })
    }

    /// Evaluate the policies of slices, each by itself as Cedar's authorizer does it. The context
    /// must have been built by the schema.
    pub(super) fn matches(
        &self,
        caller: &Caller,
        request: CedarRequest,
        slices: &Slices,
    ) -> Result<Matches<'_>, Error> {
        let evaluator = Evaluator::new(request, &caller.entities, Extensions::all_available());
        let no_slots = HashMap::new();
        let mut matches = Matches::default();
        for condition in slices.conditions(&caller.selves) {
            let rule = self.rules.get(condition.rule).ok_or(Error::UnknownPolicy)?;
            match evaluator.interpret(&condition.expression, &no_slots) {
                Ok(value) => match value.value {
                    ValueKind::Lit(Literal::Bool(false)) => {}
                    // INVARIANT: a shadow is in no list that a verdict is made of, whatever is asked.
                    ValueKind::Lit(Literal::Bool(true)) if rule.shadow.is_some() => {
                        matches.shadows.push(rule);
                    }
                    ValueKind::Lit(Literal::Bool(true)) => match rule.effect {
                        RuleEffect::Permit => matches.permits.push(rule),
                        RuleEffect::Forbid => matches.forbids.push(rule),
                    },
                    ValueKind::Lit(_)
                    | ValueKind::Set(_)
                    | ValueKind::Record(_)
                    | ValueKind::ExtensionValue(_) => matches.fail(rule, NOT_A_BOOL),
                },
                Err(error) => matches.fail(rule, kind(&error)),
            }
        }
        matches.settle();
        Ok(matches)
    }
}

/// What went wrong with a policy that is neither true nor false.
const NOT_A_BOOL: &str = "it does not evaluate to true or false";

/// A request in Cedar's terms, unchecked: see [`Policies::matches`].
pub(super) fn cedar_request(
    caller: &Caller,
    action: &Arc<EntityUID>,
    resource: &Arc<EntityUID>,
    context: Context,
) -> CedarRequest {
    let entry = |uid: &Arc<EntityUID>| EntityUIDEntry::Known {
        euid: Arc::clone(uid),
        loc: None,
    };
    CedarRequest::new_unchecked(
        entry(&caller.uid),
        entry(action),
        entry(resource),
        Some(context),
    )
}

/// What would be decided with the shadows whose time is not over; `None` when none of them matched.
pub(super) fn shadowed(
    mut matches: Matches<'_>,
    opened: &BTreeSet<RuleHash>,
    at: Timestamp,
) -> Option<Shadowed> {
    matches.shadows.retain(|rule| rule.shadows(at));
    matches.shadow_errors.retain(|(rule, _)| rule.shadows(at));
    let failed = matches.shadow_errors.iter().map(|(rule, _)| *rule);
    let found = matches.shadows.iter().copied().chain(failed);
    let policies: BTreeSet<String> = found.map(|rule| rule.id.clone()).collect();
    if policies.is_empty() {
        return None;
    }
    for rule in std::mem::take(&mut matches.shadows) {
        match rule.effect {
            RuleEffect::Permit => matches.permits.push(rule),
            RuleEffect::Forbid => matches.forbids.push(rule),
        }
    }
    matches.errors.append(&mut matches.shadow_errors);
    let decided = match judge(&matches, opened) {
        Verdict::Allow(_) => "allow",
        Verdict::Deny(_) => "deny",
        Verdict::Ask(_) => "ask",
    };
    Some(Shadowed {
        decided,
        policies: policies.into_iter().collect(),
    })
}

impl<'p> Matches<'p> {
    fn fail(&mut self, rule: &'p Rule, what: &'static str) {
        match rule.shadow {
            Some(_) => self.shadow_errors.push((rule, what)),
            None => self.errors.push((rule, what)),
        }
    }

    /// A policy that is filed under two keys is found twice.
    fn settle(&mut self) {
        for rules in [&mut self.permits, &mut self.forbids, &mut self.shadows] {
            rules.sort_by(|a, b| a.id.cmp(&b.id));
            rules.dedup_by(|a, b| a.id == b.id);
        }
        self.errors.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        self.errors.dedup_by(|(a, _), (b, _)| a.id == b.id);
    }
}

/// What follows from the matches (design 5). The order is the rule: an error first, then the
/// forbids that nobody can open, then the permits, then the approval rules.
pub(super) fn judge(matches: &Matches<'_>, opened: &BTreeSet<RuleHash>) -> Verdict {
    let deny = |reason, rules: Vec<&Rule>| {
        let policies = rules.iter().map(|rule| rule.id.clone()).collect();
        Verdict::Deny(Denial { reason, policies })
    };
    if let Some((rule, kind)) = matches.errors.first() {
        let text = format!("policy `{}` could not be evaluated: {kind}", rule.id);
        let rules = matches.errors.iter().map(|(rule, _)| *rule).collect();
        return deny(DenialReason::Error(text), rules);
    }
    let closed = matches
        .forbids
        .iter()
        .copied()
        .filter(|rule| rule.terms.is_none() || !opened.contains(&rule.hash));
    let (askable, walls): (Vec<&Rule>, Vec<&Rule>) = closed.partition(|rule| rule.terms.is_some());
    if !walls.is_empty() {
        return deny(DenialReason::Forbidden, walls);
    }
    if matches.permits.is_empty() {
        return deny(DenialReason::NoPermit, Vec::new());
    }
    if askable.is_empty() {
        let ids = matches.permits.iter().map(|rule| rule.id.clone());
        return Verdict::Allow(ids.collect());
    }
    let rules = askable.iter().filter_map(|rule| rule.terms.clone());
    Verdict::Ask(Terms {
        rules: rules.collect(),
    })
}

/// The refusal for what could not be judged.
pub(super) fn denial(error: &Error) -> Denial {
    Denial {
        reason: DenialReason::Error(error.to_string()),
        policies: Vec::new(),
    }
}

/// What went wrong, without the values that it went wrong with: they may be the caller's data.
const fn kind(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::EntityDoesNotExist(_) => "it reads an entity that is not known here",
        EvaluationError::EntityAttrDoesNotExist(_) | EvaluationError::RecordAttrDoesNotExist(_) => {
            "it reads an attribute that is not there"
        }
        EvaluationError::TypeError(_) => "it uses a value as another type",
        EvaluationError::IntegerOverflow(_) => "a calculation leaves the 64-bit range",
        EvaluationError::FailedExtensionFunctionExecution(_) => "an extension function failed",
        EvaluationError::RecursionLimit(_) => "it is nested too deeply",
        EvaluationError::FailedExtensionFunctionLookup(_)
        | EvaluationError::WrongNumArguments(_)
        | EvaluationError::UnlinkedSlot(_)
        | EvaluationError::NonValue(_) => "it does not evaluate to a value",
    }
}
