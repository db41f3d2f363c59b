//! What other rooms hand in to be recorded. Every field is listed here and typed: what is not listed is
//! not recorded, whatever a request carries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{
    CallId, ConnectionName, Durability, Facts, Function, FunctionId, RequestContent,
};
use crate::clock::Timestamp;
use crate::identity::{Method, Principal};
use crate::policy::Shadowed;

/// Who did something, as records know it. The subject itself stands only in sealed frames; in clear it
/// is a pseudonym that dies with the subject's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) kind: &'static str,
    pub(super) method: &'static str,
    pub(super) key_id: Option<String>,
    pub(super) algorithm: Option<&'static str>,
    /// Issuer alias and subject of who acts for them: the outermost of the chain.
    pub(super) actor: Option<(String, String)>,
}

impl Who {
    /// The operator at the machine itself, who has the data directory.
    pub fn operator() -> Self {
        Self {
            issuer: "local".to_owned(),
            subject: "operator".to_owned(),
            kind: "operator",
            method: "file-access",
            key_id: None,
            algorithm: None,
            actor: None,
        }
    }

    /// A user of the operating system, as the system names them.
    pub fn local_user(name: &str) -> Self {
        Self {
            subject: name.to_owned(),
            ..Self::operator()
        }
    }
}

/// What somebody does with the evidence that is recorded before they see any of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// Calls in short.
    List,
    /// All that is recorded of a call.
    Show,
    /// What was sent and released, again.
    Replay,
    /// The proof that a call is in the log.
    Prove,
    /// A copy for another system or person.
    Export,
    /// Recorded calls under a draft policy.
    Simulate,
    /// A draft of functions or policies out of recorded calls.
    Suggest,
}

impl Reading {
    /// Its word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Show => "show",
            Self::Replay => "replay",
            Self::Prove => "prove",
            Self::Export => "export",
            Self::Simulate => "simulate",
            Self::Suggest => "suggest",
        }
    }
}

impl From<&Principal> for Who {
    fn from(principal: &Principal) -> Self {
        let (key_id, algorithm) = match principal.method() {
            Method::Jwt { key_id, algorithm } => (Some(key_id.clone()), Some(*algorithm)),
            Method::Slack { .. } => (None, None),
        };
        Self {
            issuer: principal.key().issuer.clone(),
            subject: principal.key().subject.clone(),
            kind: principal.kind().as_str(),
            method: principal.method().as_str(),
            key_id,
            algorithm,
            actor: principal
                .actors()
                .first()
                .map(|actor| (actor.issuer.clone(), actor.subject.clone())),
        }
    }
}

/// The approval under which a call runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovalRef {
    /// The approval's id.
    pub id: String,
    /// Ids of the approval rules that people opened.
    pub rules: Vec<String>,
    /// The number that makes its execution happen at most once.
    pub fence: u64,
    /// Ids of the grants out of which it was opened, whole or in part.
    pub grants: Vec<String>,
    /// Whether who asked broke the glass.
    pub broke_glass: bool,
}

/// The credential that the call goes up with; never its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CredentialRef {
    /// Its name in the config.
    pub name: String,
    /// Which version of it.
    pub version: String,
}

/// What would have become of a call that passed because its connection only observes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observed {
    /// `allow`, `deny` or `ask`.
    pub decided: &'static str,
    /// The stable code of the refusal, or `approval_pending`.
    pub reason: Option<&'static str>,
    /// Ids of the policies that would have decided.
    pub policies: Vec<String>,
    /// What the refusal would have said; sealed.
    pub detail: Option<String>,
}

/// A call that is about to reach its function.
#[derive(Debug)]
pub struct Begin<'a> {
    /// The call.
    pub call: CallId,
    /// Who calls.
    pub principal: &'a Principal,
    /// What is called.
    pub function: &'a Function,
    /// Facts of the request; the source address is sealed.
    pub facts: &'a Facts,
    /// Ids of the policies that allowed it.
    pub policies: &'a [String],
    /// What would be decided with the shadow policies that matched.
    pub shadowed: Option<&'a Shadowed>,
    /// What would have become of it, when its connection only observes.
    pub observed: Option<&'a Observed>,
    /// The approval under which it runs.
    pub approval: Option<ApprovalRef>,
    /// The credential that it goes up with.
    pub credential: Option<CredentialRef>,
    /// The upstream's name, as configured.
    pub upstream: &'a str,
    /// What goes up; sealed.
    pub request: RequestContent,
    /// Version of the config in force.
    pub config_version: &'a str,
    /// Version of the policies in force.
    pub policy_version: &'a str,
    /// `on`, `observe` or `off`.
    pub mask: &'static str,
    /// What is waited for.
    pub durability: Durability,
    /// The policy request; sealed.
    pub context: Value,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The function answered and the answer was released.
    Ok,
    /// The function answered with an error of its own, which was released.
    UpstreamError,
    /// The caller or the function went away; what was released stands in the record.
    Cut,
    /// The function answered, but the answer could not be masked or recorded and was not delivered.
    Withheld,
    /// Nothing came back, or nothing was sent.
    Failed,
    /// Nobody knows whether the function acted.
    Indeterminate,
}

impl Outcome {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::UpstreamError => "upstream_error",
            Self::Cut => "cut",
            Self::Withheld => "withheld",
            Self::Failed => "failed",
            Self::Indeterminate => "indeterminate",
        }
    }

    /// The outcome with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Ok,
            Self::UpstreamError,
            Self::Cut,
            Self::Withheld,
            Self::Failed,
            Self::Indeterminate,
        ]
        .into_iter()
        .find(|outcome| outcome.as_str() == word)
    }
}

/// The end of a call: what stands in its end record beside what the record itself has counted.
#[derive(Clone, Debug)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// The status released to the caller.
    pub status: Option<u16>,
    /// Status and headers as released; sealed.
    pub response_head: Option<Value>,
    /// Trailers as released; sealed.
    pub trailers: Option<Value>,
    /// How many values were masked, by data class.
    pub masked: BTreeMap<String, u64>,
    /// Under which names values were found, by data class; sealed.
    pub places: Option<Value>,
    /// How many values were found and left, because masking only observes, by data class.
    pub found: BTreeMap<String, u64>,
    /// How many times the credential was scrubbed out of the answer.
    pub scrubbed: u64,
    /// Milliseconds until the function's answer ended, or failed.
    pub upstream_ms: Option<u64>,
    /// Milliseconds from receipt to this record.
    pub total_ms: u64,
    /// A stable word for what went wrong.
    pub error: Option<&'static str>,
}

impl End {
    /// An end with this outcome and nothing else to tell.
    pub const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            response_head: None,
            trailers: None,
            masked: BTreeMap::new(),
            places: None,
            found: BTreeMap::new(),
            scrubbed: 0,
            upstream_ms: None,
            total_ms: 0,
            error: None,
        }
    }
}

/// What a closed record is known by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// The end record's index; `None` when it was not waited for.
    pub index: Option<u64>,
    /// Bytes that were released.
    pub released_bytes: u64,
}

/// What a person answered to one approval rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vote {
    /// Open the rule.
    Allow,
    /// Refuse; final.
    Deny,
    /// Of who asked: open the rule without its quorum.
    BreakGlass,
}

impl Vote {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::BreakGlass => "break-glass",
        }
    }
}

/// Something that is recorded and is not the begin or the end of a call.
///
/// Text in `content` is sealed; every other field stands in clear and must not name a person or carry
/// anything that a caller wrote.
#[derive(Clone, Debug)]
pub enum Event {
    /// An authenticated call was refused.
    Denied {
        /// The call.
        call: CallId,
        /// Who called.
        who: Who,
        /// The connection, when the route named one.
        connection: Option<ConnectionName>,
        /// The function, when there is one; `None` with reason `not_found` is an unknown function.
        function: Option<FunctionId>,
        /// The refusal's stable code (`denied`, `not_found`, `bad_request`, …).
        reason: &'static str,
        /// Ids of the policies that decided.
        policies: Vec<String>,
        /// Version of the config in force.
        config_version: String,
        /// Version of the policies in force.
        policy_version: String,
        /// What would be decided with the shadow policies that matched.
        shadowed: Option<Shadowed>,
        /// Method, target, source, policy request, text for the operator; sealed.
        content: Value,
    },
    /// A call waits for people.
    ApprovalAsked {
        /// The approval's id.
        approval: String,
        /// The call that asks.
        call: CallId,
        /// Who calls.
        who: Who,
        /// What would be called.
        function: FunctionId,
        /// Ids of the approval rules that stand in the way.
        rules: Vec<String>,
        /// The keyed hash over everything that is asked about, hexadecimal; votes and the execution
        /// repeat it.
        binding: String,
        /// Until when people can decide.
        expires: Timestamp,
        /// What would be decided with the shadow policies that matched.
        shadowed: Option<Shadowed>,
        /// Ids of the grants that cover it.
        grants: Vec<String>,
        /// The stored call's request, for who may see it; sealed.
        content: Value,
    },
    /// A person voted.
    ApprovalVoted {
        /// The approval's id.
        approval: String,
        /// The call that waits.
        call: CallId,
        /// The rule that the vote answers.
        rule: String,
        /// Who voted.
        who: Who,
        /// The answer.
        vote: Vote,
        /// The binding that the vote is for, as in the question.
        binding: String,
        /// The grant that it gives for later calls.
        grant: Option<String>,
        /// The person's comment, and what the grant covers; sealed.
        content: Value,
    },
    /// An approved call was let through, once.
    ApprovalExecuted {
        /// The approval's id.
        approval: String,
        /// The call that asked.
        call: CallId,
        /// The number that makes it happen at most once.
        fence: u64,
        /// The binding of what was let through, as in the question.
        binding: String,
    },
    /// The caller of an approved call, which was gone when it ended, came back for its answer.
    AnswerFetched {
        /// The approval's id.
        approval: String,
        /// The call that was executed.
        call: CallId,
        /// The request that the answer is handed out to.
        by: CallId,
        /// Who gets it.
        who: Who,
    },
    /// Votes that had opened it do not count any more: people are asked again.
    ApprovalReopened {
        /// The approval's id.
        approval: String,
        /// The call that waits.
        call: CallId,
    },
    /// Nobody decided, or nobody came to execute, in time.
    ApprovalExpired {
        /// The approval's id.
        approval: String,
        /// The call that waited.
        call: CallId,
    },
    /// The approval came to nothing for another reason.
    ApprovalCancelled {
        /// The approval's id.
        approval: String,
        /// The call that waited.
        call: CallId,
        /// Who cancelled it; `None` when the gateway did.
        who: Option<Who>,
        /// `cancelled`, `superseded`, `denied`, `revoked`, `voided`.
        reason: &'static str,
    },
    /// A config or policies take effect once this is recorded.
    ConfigChange {
        /// The new config's version.
        config_version: String,
        /// The new policies' version.
        policy_version: String,
        /// Who asked for it.
        who: Who,
        /// Ids of forbids and approval rules that are taken away.
        removed: Vec<String>,
        /// What changes, as printed; sealed.
        content: Value,
    },
    /// A principal, issuer, token, connection or approval was revoked or locked.
    Revoked {
        /// Who revoked.
        who: Who,
        /// `principal`, `issuer`, `token`, `connection`, `approval`.
        target: &'static str,
        /// Which one, and why; sealed.
        content: Value,
    },
    /// A revocation was lifted.
    Lifted {
        /// Who lifted it.
        who: Who,
        /// `principal`, `issuer`, `token`, `connection`, `approval`.
        target: &'static str,
        /// Which one, and why; sealed.
        content: Value,
    },
    /// Somebody is about to read the evidence.
    AuditRead {
        /// Who reads.
        who: Who,
        /// How.
        what: Reading,
        /// The call that was looked at.
        call: Option<CallId>,
        /// Filters and reason; sealed.
        content: Value,
    },
    /// A known person was refused something on the console.
    Refused {
        /// Who.
        who: Who,
        /// The code that they were told.
        reason: String,
        /// The status that they were told.
        status: u16,
        /// What they tried: method and path; sealed.
        content: Value,
    },
    /// Somebody has a message to people sent again that was not delivered, or gives it up.
    Undelivered {
        /// Who.
        who: Who,
        /// `retry` or `discard`.
        what: &'static str,
        /// The approval that the message is about.
        approval: String,
        /// Which message, on which channel; sealed.
        content: Value,
    },
    /// A key was replaced.
    KeyRotated {
        /// `log`, `root` or `session`.
        key: &'static str,
        /// The new key's public name.
        id: String,
    },
}
