//! Which policies could match a request: found by action, connection and principal, so that a
//! decision's cost does not grow with the policies that have nothing to do with it.
//!
//! A slice may hold more than what matches, never less: what is left out is left out because its
//! scope is false for the request, and a policy whose scope is false neither matches nor errs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{ActionConstraint, Policy, PrincipalConstraint, ResourceConstraint};
use cedar_policy_core::ast::{EntityUID, Expr};

use super::names::Names;

/// A policy ready to be evaluated: scope and conditions as one expression, built once.
#[derive(Debug)]
pub(super) struct Condition {
    /// The policy's place among the rules.
    pub(super) rule: usize,
    pub(super) expression: Expr,
}

/// The policy as one expression without places in the text: Cedar would copy them at every step of
/// an evaluation. Only its JSON form has none.
fn condition(policy: &Policy) -> Result<Expr, String> {
    let json = policy.to_json().map_err(|error| error.to_string())?;
    let unplaced = Policy::from_json(None, json).map_err(|error| error.to_string())?;
    Ok(unplaced.as_ref().condition())
}

/// The policies filed under one key, by the principal that their scope asks for.
#[derive(Debug, Default)]
pub(super) struct Slice {
    anyone: Vec<Arc<Condition>>,
    scoped: HashMap<EntityUID, Vec<Arc<Condition>>>,
}

impl Slice {
    fn add(&mut self, policy: &Policy, condition: Arc<Condition>) {
        match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => self.anyone.push(condition),
            PrincipalConstraint::In(uid)
            | PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::IsIn(_, uid) => {
                self.scoped.entry(uid.into()).or_default().push(condition);
            }
        }
    }
}

/// All slices.
#[derive(Debug)]
pub(super) struct Index {
    every_call: Arc<Slice>,
    by_action: HashMap<EntityUID, Arc<Slice>>,
}

/// What the index must know to file a policy.
#[derive(Debug)]
pub(super) struct Filing<'a> {
    pub(super) names: &'a Names,
    /// The action `call`.
    pub(super) call: EntityUID,
    /// The effect groups.
    pub(super) effects: HashSet<EntityUID>,
    /// Actions that are not calls.
    pub(super) others: Vec<EntityUID>,
}

impl Index {
    /// File policies; each one's place is its index.
    ///
    /// # Errors
    /// When a policy cannot be written as Cedar's JSON and read again.
    pub(super) fn new(policies: &[Policy], filing: &Filing<'_>) -> Result<Self, String> {
        let mut every_call = Slice::default();
        let mut by_action: HashMap<EntityUID, Slice> = HashMap::new();
        for (rule, policy) in policies.iter().enumerate() {
            let condition = Arc::new(Condition {
                rule,
                expression: condition(policy)?,
            });
            for key in keys(policy, filing) {
                let slice = match key {
                    Key::EveryCall => &mut every_call,
                    Key::Action(uid) => by_action.entry(uid).or_default(),
                };
                slice.add(policy, Arc::clone(&condition));
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

    /// The slices of a function: `actions` are itself, its connection's group and its effect.
    pub(super) fn of_function(&self, actions: &[EntityUID]) -> Slices {
        let found = actions.iter().filter_map(|uid| self.by_action.get(uid));
        Slices(found.chain([&self.every_call]).cloned().collect())
    }

    /// The slice of an action that is not a call.
    pub(super) fn of_action(&self, action: &EntityUID) -> Slices {
        Slices(self.by_action.get(action).cloned().into_iter().collect())
    }
}

/// The slices that together hold every policy that could match one action. A policy that lists
/// several actions may be in two of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Slices(Vec<Arc<Slice>>);

impl Slices {
    /// The policies to evaluate for a principal: `selves` are its own id and its groups.
    pub(super) fn conditions<'a>(
        &'a self,
        selves: &'a [EntityUID],
    ) -> impl Iterator<Item = &'a Condition> {
        self.0
            .iter()
            .flat_map(|slice| {
                let scoped = selves.iter().filter_map(|uid| slice.scoped.get(uid));
                std::iter::once(&slice.anyone).chain(scoped)
            })
            .flatten()
            .map(Arc::as_ref)
    }

    /// The places of all policies in them, whoever the principal is.
    pub(super) fn rules(&self) -> impl Iterator<Item = usize> {
        self.0
            .iter()
            .flat_map(|slice| std::iter::once(&slice.anyone).chain(slice.scoped.values()))
            .flatten()
            .map(|condition| condition.rule)
    }
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    EveryCall,
    Action(EntityUID),
}

/// Where a policy is filed. A policy about all calls that names one connection as its resource is
/// filed under that connection: a call's resource is its connection.
fn keys(policy: &Policy, filing: &Filing<'_>) -> HashSet<Key> {
    let (actions, any): (Vec<EntityUID>, bool) = match policy.action_constraint() {
        ActionConstraint::Any => (vec![filing.call.clone()], true),
        ActionConstraint::Eq(action) => (vec![action.into()], false),
        ActionConstraint::In(actions) => (actions.into_iter().map(Into::into).collect(), false),
    };
    let connection = match policy.resource_constraint() {
        ResourceConstraint::In(uid)
        | ResourceConstraint::Eq(uid)
        | ResourceConstraint::IsIn(_, uid) => filing.names.functions_of(&uid.into()),
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
