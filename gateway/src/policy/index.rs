//! Which policies could match a request: found by action, connection and principal, so that a
//! decision's cost does not grow with the policies that have nothing to do with it.
//!
//! A slice may hold more than what matches, never less: what is left out is left out because its
//! scope is false for the request, and a policy whose scope is false neither matches nor errs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicySet, PolicySetError, PrincipalConstraint,
    ResourceConstraint,
};

use super::names::Names;

/// Permits and forbids apart: Cedar names the matched permits only when no forbid matched, and an
/// approval rule needs both.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) permits: PolicySet,
    pub(super) forbids: PolicySet,
}

impl Pair {
    fn add(&mut self, policy: &Policy) -> Result<(), Box<PolicySetError>> {
        let set = match policy.effect() {
            Effect::Permit => &mut self.permits,
            Effect::Forbid => &mut self.forbids,
        };
        set.add(policy.clone()).map_err(Box::new)
    }
}

/// The policies filed under one key, by the principal that their scope asks for.
#[derive(Debug, Default)]
pub(super) struct Slice {
    anyone: Pair,
    scoped: HashMap<EntityUid, Pair>,
}

impl Slice {
    fn add(&mut self, policy: &Policy) -> Result<(), Box<PolicySetError>> {
        match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => self.anyone.add(policy),
            PrincipalConstraint::In(uid)
            | PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::IsIn(_, uid) => self.scoped.entry(uid).or_default().add(policy),
        }
    }

    /// The pairs for a principal: `selves` are its own id and its groups.
    fn pairs<'a>(&'a self, selves: &'a [EntityUid]) -> impl Iterator<Item = &'a Pair> {
        let scoped = selves.iter().filter_map(|uid| self.scoped.get(uid));
        std::iter::once(&self.anyone).chain(scoped)
    }
}

/// All slices.
#[derive(Debug)]
pub(super) struct Index {
    every_call: Arc<Slice>,
    by_action: HashMap<EntityUid, Arc<Slice>>,
}

/// What the index must know to file a policy.
#[derive(Debug)]
pub(super) struct Filing<'a> {
    pub(super) names: &'a Names,
    /// The action `call`.
    pub(super) call: EntityUid,
    /// The effect groups.
    pub(super) effects: HashSet<EntityUid>,
    /// Actions that are not calls.
    pub(super) others: Vec<EntityUid>,
}

impl Index {
    pub(super) fn new<'p>(
        policies: impl Iterator<Item = &'p Policy>,
        filing: &Filing<'_>,
    ) -> Result<Self, Box<PolicySetError>> {
        let mut every_call = Slice::default();
        let mut by_action: HashMap<EntityUid, Slice> = HashMap::new();
        for policy in policies {
            for key in keys(policy, filing) {
                match key {
                    Key::EveryCall => every_call.add(policy)?,
                    Key::Action(uid) => by_action.entry(uid).or_default().add(policy)?,
                }
            }
        }
        Ok(Self {
            every_call: Arc::new(every_call),
            by_action: by_action
                .into_iter()
                .map(|(uid, slice)| (uid, Arc::new(slice)))
                .collect(),
        })
    }

    /// The slices of a function, by itself and its groups.
    pub(super) fn of_function(&self, actions: &[EntityUid]) -> Slices {
        let mut slices = self.of_actions(actions);
        slices.0.push(Arc::clone(&self.every_call));
        slices
    }

    /// The slices of actions that are not calls.
    pub(super) fn of_actions(&self, actions: &[EntityUid]) -> Slices {
        let found = actions.iter().filter_map(|uid| self.by_action.get(uid));
        Slices(found.cloned().collect())
    }
}

/// The slices that together hold every policy that could match one action.
#[derive(Clone, Debug, Default)]
pub(super) struct Slices(Vec<Arc<Slice>>);

impl Slices {
    /// The policy sets to evaluate for a principal: its own id and its groups are `selves`.
    pub(super) fn sets<'a>(
        &'a self,
        selves: &'a [EntityUid],
    ) -> impl Iterator<Item = &'a PolicySet> {
        self.0
            .iter()
            .flat_map(|slice| slice.pairs(selves))
            .flat_map(|pair| [&pair.permits, &pair.forbids])
            .filter(|set| !set.is_empty())
    }

    /// All policies in them, whoever the principal is.
    pub(super) fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.0
            .iter()
            .flat_map(|slice| std::iter::once(&slice.anyone).chain(slice.scoped.values()))
            .flat_map(|pair| pair.permits.policies().chain(pair.forbids.policies()))
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    EveryCall,
    Action(EntityUid),
}

/// Where a policy is filed. A policy about all calls that names one connection as its resource is
/// filed under that connection: a call's resource is its connection.
fn keys(policy: &Policy, filing: &Filing<'_>) -> HashSet<Key> {
    let (actions, any) = match policy.action_constraint() {
        ActionConstraint::Any => (vec![filing.call.clone()], true),
        ActionConstraint::Eq(action) => (vec![action], false),
        ActionConstraint::In(actions) => (actions, false),
    };
    let connection = match policy.resource_constraint() {
        ResourceConstraint::In(uid)
        | ResourceConstraint::Eq(uid)
        | ResourceConstraint::IsIn(_, uid) => filing.names.functions_of(&uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    };
    let mut keys: HashSet<Key> = actions
        .into_iter()
        .map(|action| match &connection {
            Some(functions) if action == filing.call || filing.effects.contains(&action) => {
                Key::Action(functions.clone())
            }
            None if action == filing.call => Key::EveryCall,
            Some(_) | None => Key::Action(action),
        })
        .collect();
    if any {
        keys.extend(filing.others.iter().cloned().map(Key::Action));
    }
    keys
}
