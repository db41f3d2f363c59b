//! Why a decision is what it is: for operators, `policy explain`, and the tests of policies.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::decide::{denial, judge, shadowed};
use super::decision::{Decision, Denial, DenialReason, RuleHash, Shadowed};
use super::fault::Place;
use super::request::Request;
use super::rule::{Rule, RuleEffect};
use super::{Error, Policies};

/// Most near misses that are told.
const NEAR_MISSES_MAX: usize = 10;

/// A decision with everything that led to it. Names policies: for operators, never for callers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// What [`Policies::decide`] answers.
    pub decision: Decision,
    /// Every policy that matched, permits first, each by id.
    pub matched: Vec<Matched>,
    /// Every policy that could not be evaluated.
    pub failed: Vec<Failed>,
    /// How many policies were evaluated; all others could not match.
    pub evaluated: usize,
    /// When no policy permits: permits about the function that did not match, at most ten.
    pub near_misses: Vec<NearMiss>,
    /// What the shadow policies that matched would make of it.
    pub shadowed: Option<Shadowed>,
}

/// A policy that matched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// Its `@id`.
    pub id: String,
    /// What it does.
    pub effect: RuleEffect,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where it stands.
    pub place: Place,
    /// Whether it is an approval rule that was opened for this call.
    pub opened: bool,
}

/// A policy that could not be evaluated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Its `@id`.
    pub id: String,
    /// Why, without the caller's values.
    pub what: &'static str,
    /// Where it stands.
    pub place: Place,
}

/// A permit that did not match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NearMiss {
    /// It is for such principals, but its conditions are not met.
    Condition(String),
    /// It is for other principals.
    Principal(String),
}

impl Policies {
    /// Decide as [`Policies::decide`] does, and tell why.
    pub fn explain(&self, request: &Request<'_>, opened: &BTreeSet<RuleHash>) -> Explanation {
        self.try_explain(request, opened)
            .unwrap_or_else(|error| Explanation {
                decision: Decision::Deny(denial(&error)),
                matched: Vec::new(),
                failed: Vec::new(),
                evaluated: 0,
                near_misses: Vec::new(),
                shadowed: None,
            })
    }

    fn try_explain(
        &self,
        request: &Request<'_>,
        opened: &BTreeSet<RuleHash>,
    ) -> Result<Explanation, Error> {
        let prepared = self.prepared(&request.function.id)?;
        let caller = self.caller(&request.subject, prepared.entities.clone())?;
        let matches = self.call_matches(prepared, &caller, request)?;
        let verdict = judge(&matches, opened);
        let decision = self.conclude(prepared, &caller, request, verdict, opened)?;
        let evaluated: HashSet<usize> = prepared
            .slices
            .conditions(&caller.selves)
            .map(|condition| condition.rule)
            .collect();
        let near_misses = match &decision {
            Decision::Deny(Denial {
                reason: DenialReason::NoPermit,
                ..
            }) => self.near_misses(prepared.slices.rules().collect(), &evaluated),
            Decision::Deny(_) | Decision::Allow(_) | Decision::Ask(_) => Vec::new(),
        };
        let matched = matches.permits.iter().chain(&matches.forbids);
        Ok(Explanation {
            decision,
            matched: matched.map(|rule| told(rule, opened)).collect(),
            failed: matches
                .errors
                .iter()
                .map(|(rule, what)| Failed {
                    id: rule.id.clone(),
                    what,
                    place: rule.place.clone(),
                })
                .collect(),
            evaluated: evaluated.len(),
            near_misses,
            shadowed: shadowed(matches, opened, request.facts.received),
        })
    }

    /// Permits about a function, of which none matched.
    fn near_misses(&self, about: BTreeSet<usize>, evaluated: &HashSet<usize>) -> Vec<NearMiss> {
        let permit = |place: &usize| {
            let rule = self.rules.get(*place)?;
            let enforced = rule.effect == RuleEffect::Permit && rule.shadow.is_none();
            enforced.then(|| rule.id.clone())
        };
        let (mine, others): (Vec<usize>, Vec<usize>) = about
            .into_iter()
            .partition(|place| evaluated.contains(place));
        let mine = mine.iter().filter_map(permit).map(NearMiss::Condition);
        let others = others.iter().filter_map(permit).map(NearMiss::Principal);
        mine.chain(others).take(NEAR_MISSES_MAX).collect()
    }
}

fn told(rule: &Rule, opened: &BTreeSet<RuleHash>) -> Matched {
    Matched {
        id: rule.id.clone(),
        effect: rule.effect,
        annotations: rule.annotations.clone(),
        place: rule.place.clone(),
        opened: rule.terms.is_some() && opened.contains(&rule.hash),
    }
}
