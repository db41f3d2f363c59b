//! People's rights: what a person may do on the console, each an action of its own.

use std::net::IpAddr;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, RequestSchema};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;

use crate::call::{ConnectionName, FunctionId};
use crate::clock::Timestamp;
use crate::identity::Kind;

use super::decide::cedar_request;
use super::decision::RuleTerms;
use super::request::Subject;
use super::{Error, Policies};

/// What a person may be permitted to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PersonAction {
    /// Vote on held calls of a function (the approval rule must name the person too).
    Approve,
    /// Let a call of one's own through without the quorum (the approval rule must name the person too).
    BreakGlass,
    /// Read records of a function's calls, or of the gateway itself.
    AuditRead,
    /// See what was sent and released in a function's calls.
    AuditReplay,
    /// Destroy a subject's key: their content becomes unreadable.
    AuditErase,
    /// Read the policies, test them, simulate.
    PolicyRead,
    /// Revoke or lock principals, issuers, tokens, connections, approvals; send undelivered messages again or
    /// give them up.
    Revoke,
}

impl PersonAction {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Approve,
        Self::BreakGlass,
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
            Self::BreakGlass => "break-glass",
            Self::AuditRead => "audit.read",
            Self::AuditReplay => "audit.replay",
            Self::AuditErase => "audit.erase",
            Self::PolicyRead => "policy.read",
            Self::Revoke => "revoke",
        }
    }

    /// The action of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }

    /// The entity types that it applies to.
    pub(super) const fn resources(self) -> &'static [&'static str] {
        match self {
            Self::Approve | Self::BreakGlass => &["Function"],
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
        let mut groups = rule.who.any_of.iter().flatten();
        if !is_human(approver) || !groups.any(|group| approver.groups.contains(group)) {
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

    /// Whether a person may let a call of their own of `function` through without the quorum of an
    /// approval rule: a human by themselves, in the groups that its `@break_glass` names, and permitted to
    /// `break-glass`.
    ///
    /// # Errors
    /// When a policy cannot be evaluated; the answer is then no.
    pub fn may_break_glass(
        &self,
        person: &Subject<'_>,
        rule: &RuleTerms,
        function: &FunctionId,
        facts: PersonFacts,
    ) -> Result<bool, Error> {
        let named = rule.break_glass.as_ref();
        let named = named.is_some_and(|glass| glass.who.is_met_by(person.groups));
        if !is_human(person) || !person.actors.is_empty() || !named {
            return Ok(false);
        }
        let resource = PersonResource::Function(function);
        let action = PersonAction::BreakGlass;
        self.permits(person, action, resource, facts, Some(&rule.id))
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
        let action = Arc::new(self.names.action(action.as_str()));
        let caller = self.caller(subject, entities)?;
        let context = self.values.person(facts.at, facts.source, rule)?;
        let request = cedar_request(&caller, &action, &resource, context);
        // An action on what it does not apply to must not be allowed by a broad permit.
        let extensions = Extensions::all_available();
        let schema = self.schema.as_ref();
        schema
            .validate_request(&request, extensions)
            .map_err(|_| Error::Request)?;
        let matches = self.matches(&caller, request, &self.index.of_action(&action))?;
        if let Some((rule, what)) = matches.errors.first() {
            return Err(Error::Evaluation {
                id: rule.id.clone(),
                what,
            });
        }
        Ok(matches.forbids.is_empty() && !matches.permits.is_empty())
    }

    fn resource(&self, resource: PersonResource<'_>) -> Result<(Arc<EntityUID>, Entities), Error> {
        let entity = match resource {
            PersonResource::Function(id) => {
                let prepared = self.prepared(id)?;
                return Ok((Arc::clone(&prepared.thing), prepared.entities.clone()));
            }
            PersonResource::Connection(name) => self
                .connections
                .get(name)
                .cloned()
                .ok_or_else(|| Error::UnknownConnection(name.clone()))?,
            PersonResource::Gateway => Entity::with_uid(self.names.gateway()),
        };
        let uid = Arc::new(entity.uid().clone());
        let entities = Entities::from_entities(
            [entity],
            None::<&NoEntitiesSchema>,
            TCComputation::ComputeNow,
            Extensions::all_available(),
        );
        Ok((uid, entities.map_err(|_| Error::Principal)?))
    }
}

const fn is_human(subject: &Subject<'_>) -> bool {
    match subject.kind {
        Kind::Human => true,
        Kind::Workload | Kind::Agent => false,
    }
}
