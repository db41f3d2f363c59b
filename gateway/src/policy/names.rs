//! Cedar's entity names, made once: types are parsed at load, ids are only joined to them.

use cedar_policy::ParseErrors;
use cedar_policy_core::ast::{Eid, EntityType, EntityUID};
use cedar_policy_core::parser::err::ParseErrors as CoreParseErrors;

use super::schema::GATEWAY;

/// The entity types of the schema.
#[derive(Clone, Debug)]
pub(super) struct Names {
    action: EntityType,
    caller: EntityType,
    group: EntityType,
    gateway: EntityType,
    connection: EntityType,
    function: EntityType,
    class: EntityType,
}

impl Names {
    pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
        let kind = |name: &str| {
            name.parse()
                .map_err(|error: CoreParseErrors| Box::new(error.into()))
        };
        Ok(Self {
            action: kind("Action")?,
            caller: kind("Caller")?,
            group: kind("Group")?,
            gateway: kind("Gateway")?,
            connection: kind("Connection")?,
            function: kind("Function")?,
            class: kind("DataClass")?,
        })
    }

    pub(super) fn action(&self, name: &str) -> EntityUID {
        uid(&self.action, name)
    }

    pub(super) fn caller(&self, issuer: &str, subject: &str) -> EntityUID {
        uid(&self.caller, &format!("{issuer}/{subject}"))
    }

    pub(super) fn gateway(&self) -> EntityUID {
        uid(&self.gateway, GATEWAY)
    }

    pub(super) fn connection(&self, name: &str) -> EntityUID {
        uid(&self.connection, name)
    }

    pub(super) fn function(&self, id: &str) -> EntityUID {
        uid(&self.function, id)
    }

    pub(super) fn class(&self, name: &str) -> EntityUID {
        uid(&self.class, name)
    }

    /// The action group of a connection's functions, when the entity is a connection.
    pub(super) fn functions_of(&self, uid: &EntityUID) -> Option<EntityUID> {
        (*uid.entity_type() == self.connection)
            .then(|| self.action(&format!("{}/*", uid.eid().as_ref() as &str)))
    }

    /// The group's name, when the entity is a group.
    pub(super) fn group_name<'a>(&self, uid: &'a EntityUID) -> Option<&'a str> {
        (*uid.entity_type() == self.group).then(|| uid.eid().as_ref())
    }
}

fn uid(kind: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(kind.clone(), Eid::new(id), None)
}
