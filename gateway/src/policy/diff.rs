//! What a reload changes.

use std::collections::BTreeMap;

use super::Policies;
use super::rule::{Rule, RuleEffect};

/// The policies that two loads do not have in common, each list by id.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyDiff {
    /// New ones.
    pub added: Vec<Rule>,
    /// Gone ones.
    pub removed: Vec<Rule>,
    /// Those with the same `@id` and another text or annotation: before and after.
    pub changed: Vec<(Rule, Rule)>,
}

impl PolicyDiff {
    /// What changes from one load to the next. Layout, comments and files do not count.
    pub fn between(old: &Policies, new: &Policies) -> Self {
        let by_id = |policies: &Policies| -> BTreeMap<String, Rule> {
            let rules = policies.rules().iter();
            rules.map(|rule| (rule.id.clone(), rule.clone())).collect()
        };
        let mut before = by_id(old);
        let mut diff = Self::default();
        for (id, rule) in by_id(new) {
            match before.remove(&id) {
                None => diff.added.push(rule),
                Some(old) if old.hash == rule.hash => {}
                Some(old) => diff.changed.push((old, rule)),
            }
        }
        diff.removed = before.into_values().collect();
        diff
    }

    /// Whether nothing changes.
    pub const fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// What needs `--accept-removal`: forbids and approval rules that are gone, that became permits or
    /// shadows, and forbids that became approval rules. A forbid with another condition is only told
    /// as changed: whether it is weaker is for people to read.
    pub fn takes_away(&self) -> Vec<&Rule> {
        let weaker = self.changed.iter().filter(|(old, new)| {
            new.effect == RuleEffect::Permit
                || (old.terms.is_none() && new.terms.is_some())
                || new.shadow.is_some()
        });
        self.removed
            .iter()
            .chain(weaker.map(|(old, _)| old))
            .filter(|rule| rule.effect == RuleEffect::Forbid && rule.shadow.is_none())
            .collect()
    }
}
