//! The decision: what matched, and what follows from it.

use std::collections::BTreeSet;

use cedar_policy::{
    AuthorizationError, Context, Entities, EntityUid, EvaluationError, Request as CedarRequest,
};

use super::decision::{Decision, Denial, DenialReason, Obligations, RuleHash, Terms};
use super::index::Slices;
use super::prepare::Prepared;
use super::request::{self, Request, Subject};
use super::rule::{Rule, RuleEffect};
use super::{Error, Policies};

/// The policies that answered a request.
#[derive(Debug, Default)]
pub(super) struct Matches<'p> {
    pub(super) permits: Vec<&'p Rule>,
    pub(super) forbids: Vec<&'p Rule>,
    pub(super) errors: Vec<(&'p Rule, &'static str)>,
}

/// What follows from the matches.
#[derive(Debug)]
pub(super) enum Verdict {
    Allow(Vec<String>),
    Deny(Denial),
    Ask(Terms),
}

/// A subject in Cedar's terms.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) uid: EntityUid,
    /// The subject's own id and those of its groups that some policy names.
    pub(super) selves: Vec<EntityUid>,
    pub(super) entities: Entities,
}

impl Policies {
    /// Decide about a call. `opened` are the approval rules that people opened for exactly this
    /// call: they count as if they did not exist; every other policy counts in full.
    pub fn decide(&self, request: &Request<'_>, opened: &BTreeSet<RuleHash>) -> Decision {
        self.try_decide(request, opened)
            .unwrap_or_else(|error| Decision::Deny(denial(&error)))
    }

    fn try_decide(
        &self,
        request: &Request<'_>,
        opened: &BTreeSet<RuleHash>,
    ) -> Result<Decision, Error> {
        let prepared = self.prepared(&request.function.id)?;
        let caller = self.caller(&request.subject, prepared.entities.clone())?;
        let matches = self.call_matches(prepared, &caller, request)?;
        Ok(match judge(&matches, opened) {
            Verdict::Deny(denial) => Decision::Deny(denial),
            Verdict::Ask(terms) => Decision::Ask(terms),
            Verdict::Allow(policies) => Decision::Allow(Obligations {
                unmask: self.unmask(prepared, request, opened)?,
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
        let context = request::call_context(request.input, request.facts)?;
        self.matches(
            caller,
            (&prepared.action, &prepared.connection),
            context,
            &prepared.slices,
        )
    }

    /// The data classes that this subject may see in the function's answer. What cannot be
    /// evaluated, and what an unopened approval rule stands before, stays masked.
    pub(super) fn unmask(
        &self,
        prepared: &Prepared,
        request: &Request<'_>,
        opened: &BTreeSet<RuleHash>,
    ) -> Result<BTreeSet<crate::mask::DataClass>, Error> {
        let mut unmasked = BTreeSet::new();
        if prepared.unmask.is_empty() {
            return Ok(unmasked);
        }
        let caller = self.caller(&request.subject, prepared.unmask_entities.clone())?;
        for (class, uid) in &prepared.unmask {
            let context = request::unmask_context(prepared.function.clone(), request.facts)?;
            let action = &self.unmask_action;
            let matches = self.matches(&caller, (action, uid), context, &self.unmask_slices)?;
            if let Verdict::Allow(_) = judge(&matches, opened) {
                unmasked.insert(class.clone());
            }
        }
        Ok(unmasked)
    }

    /// The subject as an entity, beside the entities that its request needs.
    pub(super) fn caller(
        &self,
        subject: &Subject<'_>,
        entities: Entities,
    ) -> Result<Caller, Error> {
        let uid = self.names.caller(subject.issuer, subject.subject);
        let mut selves: Vec<EntityUid> = subject
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group).cloned())
            .collect();
        let entity = request::principal(&uid, subject, &selves, &self.claims)?;
        selves.push(uid.clone());
        let entities = entities
            .add_entities([entity], None)
            .map_err(|_| Error::Principal)?;
        Ok(Caller {
            uid,
            selves,
            entities,
        })
    }

    /// Evaluate slices. The request is checked against the schema first: Cedar itself would take a
    /// context of any form.
    pub(super) fn matches(
        &self,
        caller: &Caller,
        (action, resource): (&EntityUid, &EntityUid),
        context: Context,
        slices: &Slices,
    ) -> Result<Matches<'_>, Error> {
        let request = CedarRequest::new(
            caller.uid.clone(),
            action.clone(),
            resource.clone(),
            context,
            Some(&self.schema),
        )
        .map_err(|_| Error::Request)?;
        let mut matches = Matches::default();
        for set in slices.sets(&caller.selves) {
            let response = self
                .authorizer
                .is_authorized(&request, set, &caller.entities);
            for id in response.diagnostics().reason() {
                let rule = self.rule(id)?;
                match rule.effect {
                    RuleEffect::Permit => matches.permits.push(rule),
                    RuleEffect::Forbid => matches.forbids.push(rule),
                }
            }
            for error in response.diagnostics().errors() {
                let AuthorizationError::PolicyEvaluationError(error) = error;
                let rule = self.rule(error.policy_id())?;
                matches.errors.push((rule, kind(error.inner())));
            }
        }
        matches.settle();
        Ok(matches)
    }
}

impl Matches<'_> {
    /// A policy that is filed under two keys is found twice.
    fn settle(&mut self) {
        for rules in [&mut self.permits, &mut self.forbids] {
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
