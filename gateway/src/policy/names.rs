//! Cedar's entity names, made once: types are parsed at load, ids are only joined to them.

use cedar_policy::{EntityId, EntityTypeName, EntityUid, ParseErrors};

use super::schema::GATEWAY;

/// The entity types of the schema.
#[derive(Clone, Debug)]
pub(super) struct Names {
    action: EntityTypeName,
    caller: EntityTypeName,
    group: EntityTypeName,
    gateway: EntityTypeName,
    connection: EntityTypeName,
    function: EntityTypeName,
    class: EntityTypeName,
}

impl Names {
    pub(super) fn new() -> Result<Self, Box<ParseErrors>> {
        Ok(Self {
            action: "Action".parse().map_err(Box::new)?,
            caller: "Caller".parse().map_err(Box::new)?,
            group: "Group".parse().map_err(Box::new)?,
            gateway: "Gateway".parse().map_err(Box::new)?,
            connection: "Connection".parse().map_err(Box::new)?,
            function: "Function".parse().map_err(Box::new)?,
            class: "DataClass".parse().map_err(Box::new)?,
        })
    }

    pub(super) fn action(&self, name: &str) -> EntityUid {
        uid(&self.action, name)
    }

    pub(super) fn caller(&self, issuer: &str, subject: &str) -> EntityUid {
        uid(&self.caller, &format!("{issuer}/{subject}"))
    }

    pub(super) fn gateway(&self) -> EntityUid {
        uid(&self.gateway, GATEWAY)
    }

    pub(super) fn connection(&self, name: &str) -> EntityUid {
        uid(&self.connection, name)
    }

    pub(super) fn function(&self, id: &str) -> EntityUid {
        uid(&self.function, id)
    }

    pub(super) fn class(&self, name: &str) -> EntityUid {
        uid(&self.class, name)
    }

    /// The action group of a connection's functions, when the entity is a connection.
    pub(super) fn functions_of(&self, uid: &EntityUid) -> Option<EntityUid> {
        (*uid.type_name() == self.connection)
            .then(|| self.action(&format!("{}/*", uid.id().unescaped())))
    }

    pub(super) fn is_group(&self, uid: &EntityUid) -> bool {
        *uid.type_name() == self.group
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
