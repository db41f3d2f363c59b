//! What is worked out once for a function, so that a decision does not have to.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{Effect, Policy, ResourceConstraint, Schema};
use cedar_policy_core::ast::{Entity, EntityUID, PartialValue, Value};
use cedar_policy_core::entities::{Dereference, Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::CoreSchema;

use crate::call::{ConnectionName, Function, FunctionId};
use crate::mask::DataClass;

use super::fault::Fault;
use super::index::{Index, Slices};
use super::names::Names;
use super::schema::Vocabulary;
use super::{internal, load};

/// What every request about a function needs beside the caller.
#[derive(Debug)]
pub(super) struct Prepared {
    /// As the schema was made from it.
    pub(super) function: Arc<Function>,
    pub(super) action: Arc<EntityUID>,
    pub(super) connection: Arc<EntityUID>,
    /// The function as a thing.
    pub(super) thing: Arc<EntityUID>,
    pub(super) slices: Slices,
    /// The action with its groups, the connection, the thing, the classes with their groups.
    pub(super) entities: Entities,
    /// The classes that its settings can find and some policy could unmask.
    pub(super) unmask: Vec<(DataClass, Arc<EntityUID>)>,
}

/// The connections as entities, with their labels.
pub(super) fn connections(
    vocabulary: &Vocabulary,
    names: &Names,
) -> HashMap<ConnectionName, Entity> {
    let connection = |facts: &super::ConnectionFacts| {
        let labels = facts
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), Value::from(value.as_str())));
        let uid = names.connection(facts.name.as_str());
        entity(
            uid,
            Some(("labels", Value::record(labels, None))),
            [names.gateway()].into(),
        )
    };
    vocabulary
        .connections
        .iter()
        .map(|facts| (facts.name.clone(), connection(facts)))
        .collect()
}

fn entity(
    uid: EntityUID,
    attribute: Option<(&'static str, Value)>,
    parents: HashSet<EntityUID>,
) -> Entity {
    let attribute = attribute.map(|(name, value)| (name.into(), PartialValue::Value(value)));
    Entity::new_with_attr_partial_value(uid, attribute, HashSet::new(), parents, [])
}

/// What preparing functions reads.
#[derive(Debug)]
pub(super) struct Preparing<'a> {
    pub(super) schema: &'a Schema,
    pub(super) names: &'a Names,
    pub(super) index: &'a Index,
    pub(super) policies: &'a [Policy],
    pub(super) connections: &'a HashMap<ConnectionName, Entity>,
}

impl Preparing<'_> {
    pub(super) fn functions(
        &self,
        vocabulary: &Vocabulary,
    ) -> Result<HashMap<FunctionId, Prepared>, Vec<Fault>> {
        // The hierarchy comes from the schema that the policies were checked against.
        let actions = self.schema.as_ref().action_entities().map_err(internal)?;
        let unmask = self.index.of_action(&self.names.action("unmask"));
        let unmask: Vec<&Policy> = unmask
            .rules()
            .filter_map(|rule| self.policies.get(rule))
            .collect();
        let none = BTreeSet::new();
        let mut functions = HashMap::new();
        for function in &vocabulary.functions {
            let classes = vocabulary
                .function_classes
                .get(&function.id)
                .unwrap_or(&none);
            let unmask = classes
                .iter()
                .filter(|class| could_permit(self.names, class, &unmask))
                .map(|class| {
                    let uid = self.names.class(class.as_str());
                    (class.clone(), Arc::new(uid))
                })
                .collect();
            let prepared = self.function(function, unmask, &actions)?;
            if functions.insert(function.id.clone(), prepared).is_some() {
                let text = format!("function `{}` is there twice", function.id);
                return Err(internal(text));
            }
        }
        check(&functions, self.schema)?;
        Ok(functions)
    }

    fn function(
        &self,
        function: &Arc<Function>,
        unmask: Vec<(DataClass, Arc<EntityUID>)>,
        actions: &Entities,
    ) -> Result<Prepared, Vec<Fault>> {
        let names = self.names;
        let id = function.id.to_string();
        let connection = function.id.connection();
        let connection = self.connections.get(connection).ok_or_else(|| {
            internal(format!(
                "function `{id}` is on a connection that is not there"
            ))
        })?;
        let groups = [
            names.action(&id),
            names.action(&format!("{}/*", function.id.connection())),
            names.action(function.effect.as_str()),
        ];
        let thing = entity(
            names.function(&id),
            Some(("effect", Value::from(function.effect.as_str()))),
            [connection.uid().clone()].into(),
        );
        let mut entities = vec![thing.clone(), connection.clone()];
        entities.extend(unmask.iter().map(|(name, _)| class(names, name)));
        for action in groups.iter().chain([&names.action("call")]) {
            match actions.entity(action) {
                Dereference::Data(action) => entities.push(action.clone()),
                Dereference::NoSuchEntity | Dereference::Residual(_) => {
                    return Err(internal(format!("the schema has no {action}")));
                }
            }
        }
        let entities = Entities::from_entities(
            entities,
            None::<&NoEntitiesSchema>,
            TCComputation::ComputeNow,
            Extensions::all_available(),
        )
        .map_err(internal)?;
        let [action, ..] = groups.clone();
        Ok(Prepared {
            function: Arc::clone(function),
            slices: self.index.of_function(&groups),
            action: Arc::new(action),
            connection: Arc::new(connection.uid().clone()),
            thing: Arc::new(thing.uid().clone()),
            entities,
            unmask,
        })
    }
}

/// A data class in its group.
pub(super) fn class(names: &Names, class: &DataClass) -> Entity {
    let group = load::class_group(class).map(|group| names.class(group));
    let uid = names.class(class.as_str());
    entity(uid, None, group.into_iter().collect())
}

/// Whether some permit's scope covers a class: without one the answer is no for everybody.
pub(super) fn could_permit(names: &Names, class: &DataClass, policies: &[&Policy]) -> bool {
    let covers = |uid: EntityUID| {
        uid == names.class(class.as_str())
            || load::class_group(class).is_some_and(|group| uid == names.class(group))
    };
    let permits = |policy: &Policy| match policy.resource_constraint() {
        ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
        ResourceConstraint::In(uid)
        | ResourceConstraint::Eq(uid)
        | ResourceConstraint::IsIn(_, uid) => covers(uid.into()),
    };
    policies
        .iter()
        .any(|policy| policy.effect() == Effect::Permit && permits(policy))
}

/// Check all entities of all functions against the schema, once.
fn check(functions: &HashMap<FunctionId, Prepared>, schema: &Schema) -> Result<(), Vec<Fault>> {
    let entities = functions.values().flat_map(|function| {
        let entities = function.entities.iter();
        entities.filter(|entity| !entity.uid().entity_type().is_action())
    });
    let entities: HashMap<&EntityUID, &Entity> =
        entities.map(|entity| (entity.uid(), entity)).collect();
    Entities::from_entities(
        entities.into_values().cloned(),
        Some(&CoreSchema::new(schema.as_ref())),
        TCComputation::ComputeNow,
        Extensions::all_available(),
    )
    .map(|_| ())
    .map_err(internal)
}
