//! What is worked out once for a function, so that a decision does not have to.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Effect, Entities, Entity, EntityUid, Policy, ResourceConstraint, RestrictedExpression, Schema,
};

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
    pub(super) action: EntityUid,
    pub(super) connection: EntityUid,
    pub(super) function: EntityUid,
    pub(super) slices: Slices,
    /// The action with its groups, the connection, the function as a thing.
    pub(super) entities: Entities,
    /// The classes that its settings can find and some policy could unmask.
    pub(super) unmask: Vec<(DataClass, EntityUid)>,
    /// What an unmask request needs: the function, the connection, the classes with their groups.
    pub(super) unmask_entities: Entities,
}

/// The connections as entities, with their labels.
pub(super) fn connections(
    vocabulary: &Vocabulary,
    schema: &Schema,
    names: &Names,
) -> Result<HashMap<ConnectionName, Entity>, Vec<Fault>> {
    let mut connections = HashMap::new();
    for facts in &vocabulary.connections {
        let labels = facts.labels.iter().map(|(name, value)| {
            (
                name.clone(),
                RestrictedExpression::new_string(value.clone()),
            )
        });
        let labels = RestrictedExpression::new_record(labels).map_err(internal)?;
        let entity = Entity::new(
            names.connection(facts.name.as_str()),
            HashMap::from([("labels".to_owned(), labels)]),
            HashSet::from([names.gateway()]),
        )
        .map_err(internal)?;
        Entities::from_entities([entity.clone()], Some(schema)).map_err(internal)?;
        connections.insert(facts.name.clone(), entity);
    }
    Ok(connections)
}

/// What preparing functions reads.
#[derive(Debug)]
pub(super) struct Preparing<'a> {
    pub(super) schema: &'a Schema,
    pub(super) names: &'a Names,
    pub(super) index: &'a Index,
    pub(super) unmask: &'a Slices,
    pub(super) connections: &'a HashMap<ConnectionName, Entity>,
}

impl Preparing<'_> {
    pub(super) fn functions(
        &self,
        vocabulary: &Vocabulary,
    ) -> Result<HashMap<FunctionId, Prepared>, Vec<Fault>> {
        // The hierarchy comes from the schema that the policies were checked against.
        let actions: HashMap<EntityUid, Entity> = self
            .schema
            .action_entities()
            .map_err(internal)?
            .into_iter()
            .map(|action| (action.uid(), action))
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
                .filter(|class| self.could_unmask(&class.to_string()))
                .map(|class| (class.clone(), self.names.class(&class.to_string())))
                .collect();
            let prepared = self.function(function, unmask, &actions)?;
            if functions.insert(function.id.clone(), prepared).is_some() {
                return Err(internal(format!(
                    "function `{}` is there twice",
                    function.id
                )));
            }
        }
        Ok(functions)
    }

    fn function(
        &self,
        function: &Function,
        unmask: Vec<(DataClass, EntityUid)>,
        actions: &HashMap<EntityUid, Entity>,
    ) -> Result<Prepared, Vec<Fault>> {
        let names = self.names;
        let connection = function.id.connection();
        let connection = self.connections.get(connection).ok_or_else(|| {
            internal(format!(
                "function `{}` is on a connection that is not there",
                function.id
            ))
        })?;
        let groups = [
            names.action(&function.id.to_string()),
            names.action(&format!("{}/*", function.id.connection())),
            names.action(function.effect.as_str()),
        ];
        let thing = Entity::new(
            names.function(&function.id.to_string()),
            HashMap::from([(
                "effect".to_owned(),
                RestrictedExpression::new_string(function.effect.as_str().to_owned()),
            )]),
            HashSet::from([connection.uid()]),
        )
        .map_err(internal)?;
        let things = [thing.clone(), connection.clone()];
        Entities::from_entities(things.clone(), Some(self.schema)).map_err(internal)?;
        let call = names.action("call");
        let actions = groups
            .iter()
            .chain([&call])
            .filter_map(|uid| actions.get(uid).cloned());
        let entities = Entities::from_entities(actions.chain(things.clone()), None);
        let classes = unmask.iter().map(|(class, _)| self.class(class));
        let unmask_entities = Entities::from_entities(classes.chain(things), None);
        let [action, ..] = groups.clone();
        Ok(Prepared {
            slices: self.index.of_function(&groups),
            action,
            connection: connection.uid(),
            function: thing.uid(),
            entities: entities.map_err(internal)?,
            unmask,
            unmask_entities: unmask_entities.map_err(internal)?,
        })
    }

    fn class(&self, class: &DataClass) -> Entity {
        let class = class.to_string();
        let groups = load::class_groups(&class).map(|group| self.names.class(group));
        Entity::new_no_attrs(self.names.class(&class), groups.collect())
    }

    /// Whether some permit's scope covers unmasking a class: without one it is masked for everybody.
    fn could_unmask(&self, class: &str) -> bool {
        let covers = |uid: &EntityUid| {
            *uid == self.names.class(class)
                || load::class_groups(class).any(|group| *uid == self.names.class(group))
        };
        let permits = |policy: &Policy| match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
            ResourceConstraint::In(uid)
            | ResourceConstraint::Eq(uid)
            | ResourceConstraint::IsIn(_, uid) => covers(&uid),
        };
        // The slice holds only policies whose action scope covers `unmask`.
        self.unmask
            .policies()
            .any(|policy| policy.effect() == Effect::Permit && permits(policy))
    }
}
