//! Events as leaves: which of their fields stand in clear.

use std::collections::BTreeMap;

use serde_json::Value;

use super::entry::{Event, Who};
use super::leaf::{Fields, nanos_text};
use super::prune::Stated;
use super::seal::ContentId;
use super::succeed::Predecessor;
use crate::call::CallId;
use crate::clock::Timestamp;

/// Everything that is recorded beside the begin and the end of calls.
#[derive(Clone, Debug)]
pub(super) enum Recorded {
    /// What other rooms note.
    Public(Box<Event>),
    /// The log was opened.
    LogOpen {
        /// Calls that were found without an end.
        indeterminate: u64,
        /// Whether an unfinished write was cut off.
        torn: bool,
        version: &'static str,
        /// The log that this one succeeds, in its first record.
        predecessor: Option<Box<Predecessor>>,
    },
    /// The log was closed in order.
    LogClose,
    /// Wall time moved against the clock that does not step.
    ClockStep { step_ms: i64 },
    /// Refusals before authentication, by reason.
    Refusals { counts: BTreeMap<&'static str, u64> },
    /// Events that found no room.
    Lost { count: u64 },
    /// A subject's key is destroyed.
    Erased {
        reference: ContentId,
        who: Option<Who>,
    },
    /// Content of before this time is destroyed with the keys of its days.
    ContentExpired { before: Timestamp, keys: u64 },
    /// Records before this many are not kept any more.
    Pruned { stated: Stated },
    /// A subject's key must stay.
    HoldPlaced {
        hold: String,
        reference: ContentId,
        call: Option<CallId>,
        who: Who,
        content: Value,
    },
    /// A hold has ended.
    HoldReleased {
        hold: String,
        call: Option<CallId>,
        who: Who,
        content: Value,
    },
}

impl Recorded {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::LogOpen { .. } => "log.open",
            Self::LogClose => "log.close",
            Self::ClockStep { .. } => "log.clock",
            Self::Refusals { .. } => "refusals",
            Self::Lost { .. } => "log.gap",
            Self::Erased { .. } => "erase.subject",
            Self::ContentExpired { .. } => super::retain::EXPIRED,
            Self::Pruned { .. } => super::prune::PRUNED,
            Self::HoldPlaced { .. } => "hold.place",
            Self::HoldReleased { .. } => "hold.release",
            Self::Public(event) => match event.as_ref() {
                Event::Denied { .. } => "call.deny",
                Event::ApprovalAsked { .. } => "approval.ask",
                Event::ApprovalVoted { .. } => "approval.vote",
                Event::ApprovalExecuted { .. } => "approval.execute",
                Event::AnswerFetched { .. } => "approval.fetch",
                Event::ApprovalReopened { .. } => "approval.reopen",
                Event::ApprovalExpired { .. } => "approval.expire",
                Event::ApprovalCancelled { .. } => "approval.cancel",
                Event::ConfigChange { .. } => "config.change",
                Event::Revoked { .. } => "revoke",
                Event::Lifted { .. } => "revoke.lift",
                Event::AuditRead { .. } => "audit.read",
                Event::Undelivered { .. } => "message",
                Event::Refused { .. } => "console.deny",
                Event::KeyRotated { .. } => "key.rotate",
            },
        }
    }

    /// About how many bytes its content takes in memory.
    pub(super) fn weight(&self) -> usize {
        let (mut left, mut bytes) = (Vec::from_iter(self.content()), 0);
        while let Some(value) = left.pop() {
            bytes += size_of::<Value>();
            match value {
                Value::String(text) => bytes += text.len(),
                Value::Array(items) => left.extend(items),
                Value::Object(members) => {
                    bytes += members.keys().map(String::len).sum::<usize>();
                    left.extend(members.values());
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        bytes
    }

    /// Whether a call was refused.
    pub(super) fn is_denial(&self) -> bool {
        self.public()
            .is_some_and(|event| matches!(event, Event::Denied { .. }))
    }

    fn public(&self) -> Option<&Event> {
        match self {
            Self::Public(event) => Some(event),
            Self::LogOpen { .. }
            | Self::LogClose
            | Self::ClockStep { .. }
            | Self::Refusals { .. }
            | Self::Lost { .. }
            | Self::Erased { .. }
            | Self::ContentExpired { .. }
            | Self::Pruned { .. }
            | Self::HoldPlaced { .. }
            | Self::HoldReleased { .. } => None,
        }
    }

    fn call(&self) -> Option<CallId> {
        if let Self::HoldPlaced { call, .. } | Self::HoldReleased { call, .. } = self {
            return *call;
        }
        match self.public()? {
            Event::Denied { call, .. }
            | Event::ApprovalAsked { call, .. }
            | Event::ApprovalVoted { call, .. }
            | Event::ApprovalExecuted { call, .. }
            | Event::AnswerFetched { call, .. }
            | Event::ApprovalReopened { call, .. }
            | Event::ApprovalExpired { call, .. }
            | Event::ApprovalCancelled { call, .. } => Some(*call),
            Event::AuditRead { call, .. } => *call,
            Event::ConfigChange { .. }
            | Event::Revoked { .. }
            | Event::Lifted { .. }
            | Event::Undelivered { .. }
            | Event::Refused { .. }
            | Event::KeyRotated { .. } => None,
        }
    }

    /// The call that it is about, or the pseudonym that is erased, or zeroes.
    pub(super) fn id(&self) -> ContentId {
        match self {
            Self::Erased { reference, .. } => *reference,
            Self::Public(_)
            | Self::ContentExpired { .. }
            | Self::Pruned { .. }
            | Self::HoldPlaced { .. }
            | Self::HoldReleased { .. }
            | Self::LogOpen { .. }
            | Self::LogClose
            | Self::ClockStep { .. }
            | Self::Refusals { .. }
            | Self::Lost { .. } => self.call().map_or([0; 16], |call| *call.as_bytes()),
        }
    }

    pub(super) fn who(&self) -> Option<&Who> {
        match self {
            Self::Erased { who, .. } => return who.as_ref(),
            Self::HoldPlaced { who, .. } | Self::HoldReleased { who, .. } => return Some(who),
            Self::Public(_)
            | Self::ContentExpired { .. }
            | Self::Pruned { .. }
            | Self::LogOpen { .. }
            | Self::LogClose
            | Self::ClockStep { .. }
            | Self::Refusals { .. }
            | Self::Lost { .. } => {}
        }
        match self.public()? {
            Event::Denied { who, .. }
            | Event::ApprovalAsked { who, .. }
            | Event::ApprovalVoted { who, .. }
            | Event::AnswerFetched { who, .. }
            | Event::ConfigChange { who, .. }
            | Event::Revoked { who, .. }
            | Event::Lifted { who, .. }
            | Event::AuditRead { who, .. }
            | Event::Undelivered { who, .. }
            | Event::Refused { who, .. } => Some(who),
            Event::ApprovalCancelled { who, .. } => who.as_ref(),
            Event::ApprovalExecuted { .. }
            | Event::ApprovalReopened { .. }
            | Event::ApprovalExpired { .. }
            | Event::KeyRotated { .. } => None,
        }
    }

    pub(super) fn content(&self) -> Option<&Value> {
        if let Self::HoldPlaced { content, .. } | Self::HoldReleased { content, .. } = self {
            return Some(content);
        }
        match self.public()? {
            Event::Denied { content, .. }
            | Event::ApprovalAsked { content, .. }
            | Event::ApprovalVoted { content, .. }
            | Event::ConfigChange { content, .. }
            | Event::Revoked { content, .. }
            | Event::Lifted { content, .. }
            | Event::AuditRead { content, .. }
            | Event::Undelivered { content, .. }
            | Event::Refused { content, .. } => Some(content),
            Event::ApprovalExecuted { .. }
            | Event::AnswerFetched { .. }
            | Event::ApprovalReopened { .. }
            | Event::ApprovalExpired { .. }
            | Event::ApprovalCancelled { .. }
            | Event::KeyRotated { .. } => None,
        }
    }

    /// Put the clear fields.
    pub(super) fn put(&self, leaf: &mut Fields) {
        if let Some(call) = self.call() {
            leaf.word("call", &call.to_string());
        }
        match self {
            Self::LogOpen {
                indeterminate,
                torn,
                version,
                predecessor,
            } => {
                if let Some(predecessor) = predecessor {
                    leaf.object("predecessor", predecessor.members());
                }
                leaf.number("indeterminate", *indeterminate);
                leaf.truth("torn", *torn);
                leaf.word("version", version);
            }
            Self::LogClose => {}
            Self::ClockStep { step_ms } => leaf.signed("step_ms", *step_ms),
            Self::Refusals { counts } => {
                leaf.counts("counts", counts.iter().map(|(k, v)| (*k, *v)));
            }
            Self::Lost { count } => leaf.number("lost", *count),
            Self::Erased { reference, .. } => leaf.hex("erased_ref", reference),
            Self::Pruned { stated } => {
                leaf.number("pruned", stated.records);
                leaf.hex("root", &stated.root);
            }
            Self::ContentExpired { before, keys } => {
                leaf.word("before", &nanos_text(*before));
                leaf.number("keys", *keys);
            }
            Self::HoldPlaced {
                hold, reference, ..
            } => {
                leaf.word("hold", hold);
                leaf.hex("held_ref", reference);
            }
            Self::HoldReleased { hold, .. } => leaf.word("hold", hold),
            Self::Public(event) => put_public(event, leaf),
        }
    }
}

fn put_public(event: &Event, leaf: &mut Fields) {
    match event {
        Event::Denied {
            connection,
            function,
            reason,
            policies,
            config_version,
            policy_version,
            shadowed,
            ..
        } => {
            leaf.shadowed(shadowed.as_ref());
            leaf.maybe_word("connection", connection.as_ref().map(|c| c.as_str()));
            leaf.maybe_word(
                "function",
                function.as_ref().map(ToString::to_string).as_deref(),
            );
            leaf.word("reason", reason);
            leaf.words("policies", policies);
            leaf.word("config_version", config_version);
            leaf.word("policy_version", policy_version);
        }
        Event::ApprovalAsked { .. }
        | Event::ApprovalVoted { .. }
        | Event::ApprovalExecuted { .. }
        | Event::AnswerFetched { .. }
        | Event::ApprovalReopened { .. }
        | Event::ApprovalExpired { .. }
        | Event::ApprovalCancelled { .. } => put_approval(event, leaf),
        Event::ConfigChange {
            config_version,
            policy_version,
            removed,
            ..
        } => {
            leaf.word("config_version", config_version);
            leaf.word("policy_version", policy_version);
            leaf.words("removed", removed);
        }
        Event::Revoked { target, .. } | Event::Lifted { target, .. } => leaf.word("target", target),
        Event::AuditRead { what, .. } => leaf.word("what", what.as_str()),
        Event::Undelivered { what, approval, .. } => {
            leaf.word("what", what);
            leaf.word("approval", approval);
        }
        Event::Refused { reason, status, .. } => {
            leaf.word("reason", reason);
            leaf.number("status", u64::from(*status));
        }
        Event::KeyRotated { key, id } => {
            leaf.word("key", key);
            leaf.word("id", id);
        }
    }
}

fn put_approval(event: &Event, leaf: &mut Fields) {
    match event {
        Event::ApprovalAsked {
            approval,
            function,
            rules,
            binding,
            expires,
            shadowed,
            grants,
            ..
        } => {
            leaf.shadowed(shadowed.as_ref());
            if !grants.is_empty() {
                leaf.words("grants", grants);
            }
            leaf.word("approval", approval);
            leaf.word("function", &function.to_string());
            leaf.words("rules", rules);
            leaf.word("binding", binding);
            leaf.word("expires", &nanos_text(*expires));
        }
        Event::ApprovalVoted {
            approval,
            rule,
            vote,
            binding,
            grant,
            ..
        } => {
            leaf.maybe_word("grant", grant.as_deref());
            leaf.word("approval", approval);
            leaf.word("rule", rule);
            leaf.word("vote", vote.as_str());
            leaf.word("binding", binding);
        }
        Event::ApprovalExecuted {
            approval,
            fence,
            binding,
            ..
        } => {
            leaf.word("approval", approval);
            leaf.number("fence", *fence);
            leaf.word("binding", binding);
        }
        Event::AnswerFetched { approval, by, .. } => {
            leaf.word("approval", approval);
            leaf.word("by", &by.to_string());
        }
        Event::ApprovalReopened { approval, .. } | Event::ApprovalExpired { approval, .. } => {
            leaf.word("approval", approval);
        }
        Event::ApprovalCancelled {
            approval, reason, ..
        } => {
            leaf.word("approval", approval);
            leaf.word("reason", reason);
        }
        Event::Denied { .. }
        | Event::ConfigChange { .. }
        | Event::Revoked { .. }
        | Event::Lifted { .. }
        | Event::AuditRead { .. }
        | Event::Undelivered { .. }
        | Event::Refused { .. }
        | Event::KeyRotated { .. } => {}
    }
}
