//! People's rights: what a person may do on the console, each an action of its own.

use std::net::IpAddr;

use cedar_policy::{Entities, Entity, EntityUid};

use crate::call::{ConnectionName, FunctionId};
use crate::clock::Timestamp;
use crate::identity::Kind;

use super::decision::RuleTerms;
use super::request::{self, Subject};
use super::{Error, Policies};

/// What a person may be permitted to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PersonAction {
    /// Vote on held calls of a function (the approval rule must name the person too).
    Approve,
    /// Read records of a function's calls, or of the gateway itself.
    AuditRead,
    /// See what was sent and released in a function's calls.
    AuditReplay,
    /// Destroy a subject's key: their content becomes unreadable.
    AuditErase,
    /// Read the policies, test them, simulate.
    PolicyRead,
    /// Revoke or lock principals, issuers, tokens, connections, approvals.
    Revoke,
}

impl PersonAction {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Approve,
        Self::AuditRead,
        Self::AuditReplay,
        Self::AuditErase,
        Self::PolicyRead,
        Self::Revoke,
    ];

    /// The action's name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::AuditRead => "audit.read",
            Self::AuditReplay => "audit.replay",
            Self::AuditErase => "audit.erase",
            Self::PolicyRead => "policy.read",
            Self::Revoke => "revoke",
        }
    }

    /// The entity types that it applies to.
    pub(super) const fn resources(self) -> &'static [&'static str] {
        match self {
            Self::Approve => &["Function"],
            Self::AuditRead | Self::AuditReplay => &["Function", "Gateway"],
            Self::AuditErase | Self::PolicyRead => &["Gateway"],
            Self::Revoke => &["Gateway", "Connection"],
        }
    }
}

/// What a person acts on.
#[derive(Clone, Copy, Debug)]
pub enum PersonResource<'a> {
    /// A function: its held calls, its records.
    Function(&'a FunctionId),
    /// A connection.
    Connection(&'a ConnectionName),
    /// The gateway as a whole.
    Gateway,
}

/// When and from where a person acts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PersonFacts {
    /// When.
    pub at: Timestamp,
    /// The peer's address, from the socket.
    pub source: IpAddr,
}

impl Policies {
    /// Whether a person may do something other than vote. Never true for a right that a matching
    /// forbid, approval rule or not, stands against.
    ///
    /// # Errors
    /// When a policy cannot be evaluated; the answer is then no.
    pub fn permits_person(
        &self,
        subject: &Subject<'_>,
        action: PersonAction,
        resource: PersonResource<'_>,
        facts: PersonFacts,
    ) -> Result<bool, Error> {
        self.permits(subject, action, resource, facts, None)
    }

    /// Whether a person may vote on an approval rule for a call of `function`: a human, in a group
    /// that the rule names, and permitted to `approve`.
    ///
    /// # Errors
    /// When a policy cannot be evaluated; the answer is then no.
    pub fn may_approve(
        &self,
        approver: &Subject<'_>,
        rule: &RuleTerms,
        function: &FunctionId,
        facts: PersonFacts,
    ) -> Result<bool, Error> {
        let human = match approver.kind {
            Kind::Human => true,
            Kind::Workload | Kind::Agent => false,
        };
        let mut groups = rule.who.any_of.iter().flatten();
        if !human || !groups.any(|group| approver.groups.contains(group)) {
            return Ok(false);
        }
        let resource = PersonResource::Function(function);
        self.permits(
            approver,
            PersonAction::Approve,
            resource,
            facts,
            Some(&rule.id),
        )
    }

    fn permits(
        &self,
        subject: &Subject<'_>,
        action: PersonAction,
        resource: PersonResource<'_>,
        facts: PersonFacts,
        rule: Option<&str>,
    ) -> Result<bool, Error> {
        let (resource, entities) = self.resource(resource)?;
        let action = self.names.action(action.as_str());
        let caller = self.caller(subject, entities)?;
        let context = request::person_context(facts.at, facts.source, rule)?;
        let slices = self.index.of_actions(std::slice::from_ref(&action));
        let matches = self.matches(&caller, (&action, &resource), context, &slices)?;
        if let Some((rule, what)) = matches.errors.first() {
            return Err(Error::Evaluation {
                id: rule.id.clone(),
                what,
            });
        }
        Ok(matches.forbids.is_empty() && !matches.permits.is_empty())
    }

    fn resource(&self, resource: PersonResource<'_>) -> Result<(EntityUid, Entities), Error> {
        match resource {
            PersonResource::Function(id) => {
                let prepared = self.prepared(id)?;
                Ok((prepared.function.clone(), prepared.entities.clone()))
            }
            PersonResource::Connection(name) => {
                let connection = self
                    .connections
                    .get(name)
                    .ok_or_else(|| Error::UnknownConnection(name.clone()))?;
                let entities = Entities::from_entities([connection.clone()], None)
                    .map_err(|_| Error::Principal)?;
                Ok((connection.uid(), entities))
            }
            PersonResource::Gateway => {
                let gateway = self.names.gateway();
                let entities = Entities::from_entities([Entity::with_uid(gateway.clone())], None)
                    .map_err(|_| Error::Principal)?;
                Ok((gateway, entities))
            }
        }
    }
}
