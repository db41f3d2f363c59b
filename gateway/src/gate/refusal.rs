//! What a refused caller is told: a stable code, one plain sentence, and whether anything was executed.

use std::time::Duration;

use serde::Serialize;

/// Whether the function ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Executed {
    /// Nothing reached the function.
    No,
    /// The function ran.
    Yes,
    /// It may have run: bytes were sent and no answer came back.
    Unknown,
}

impl Executed {
    /// The word that callers see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Yes => "yes",
            Self::Unknown => "unknown",
        }
    }
}

/// Declares the codes once: variant, code, HTTP status, title.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident, $code:literal, $status:literal, $title:literal;)*) => {
        /// The stable codes of refusals.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as callers see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The HTTP status it goes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The RFC 9457 title.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// No token.
    Unauthenticated, "unauthenticated", 401, "Authentication required";
    /// The token's time is over.
    TokenExpired, "token_expired", 401, "Token expired";
    /// The token is not acceptable.
    TokenRejected, "token_rejected", 401, "Token rejected";
    /// The issuer's keys cannot be had.
    IssuerUnavailable, "issuer_unavailable", 503, "Identity provider unavailable";
    /// The audit log does not admit calls.
    AuditUnavailable, "audit_unavailable", 503, "Audit log unavailable";
    /// The state of decisions cannot be had.
    StateUnavailable, "state_unavailable", 503, "State of decisions unavailable";
    /// The gateway is shutting down.
    Draining, "draining", 503, "Shutting down";
    /// The function's credential cannot be had.
    CredentialUnavailable, "credential_unavailable", 503, "Credential unavailable";
    /// Policy refuses.
    Denied, "denied", 403, "Denied by policy";
    /// People refused.
    ApprovalDenied, "approval_denied", 403, "Approval denied";
    /// The principal, token or connection is revoked or locked.
    Revoked, "revoked", 403, "Revoked";
    /// No such function.
    NotFound, "not_found", 404, "No such function";
    /// The media type is not declared.
    UnsupportedMediaType, "unsupported_media_type", 415, "Unsupported media type";
    /// The request is ambiguous, malformed or carries what is not declared.
    BadRequest, "bad_request", 400, "Bad request";
    /// The body or head is over its limit.
    TooLarge, "too_large", 413, "Too large";
    /// The request carries a masking marker.
    MaskedValueInRequest, "masked_value_in_request", 422, "Masked value in request";
    /// The request holds data that must not be sent, or cannot be searched for it.
    DataNotAllowed, "data_not_allowed", 422, "Data not allowed in request";
    /// People have not decided yet.
    ApprovalPending, "approval_pending", 429, "Waiting for approval";
    /// Nobody decided, or nobody executed, in time.
    ApprovalExpired, "approval_expired", 410, "Approval expired";
    /// Policy changed since the approval: ask again.
    Superseded, "superseded", 409, "Approval superseded";
    /// The approved call was under way when the gateway stopped: it may have run.
    Indeterminate, "indeterminate", 409, "Outcome unknown";
    /// The idempotency key was used with another request, or the call is under way already.
    Conflict, "conflict", 409, "Conflict";
    /// It ran, but the answer could not be masked or recorded.
    ResponseWithheld, "response_withheld", 424, "Response withheld";
    /// The function could not be reached or broke off.
    UpstreamFailed, "upstream_failed", 502, "Function failed";
    /// The function did not answer in time.
    UpstreamTimeout, "upstream_timeout", 504, "Function timed out";
    /// Over a rate or concurrency limit.
    RateLimited, "rate_limited", 429, "Rate limited";
    /// A fault of the gateway's own.
    Internal, "internal", 500, "Internal error";
}

/// What the caller is told of an approval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApprovalNotice {
    /// The approval's id.
    pub id: String,
    /// When people's time to decide, or the caller's to execute, is over; RFC 3339.
    pub expires: String,
    /// What the person who said no wrote for the caller.
    pub reason: Option<String>,
}

/// A refusal: what the caller may read, and apart from it what the operator reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// One plain sentence for the caller; nothing of the rules, never a value.
    pub detail: String,
    /// Whether anything ran.
    pub executed: Executed,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// The approval that the caller waits for.
    pub approval: Option<Box<ApprovalNotice>>,
    /// For the operator's log; may name policies and hosts.
    pub operator: Option<String>,
    /// Whether whoever refused has put it on the record, with more than the refusal itself tells.
    pub recorded: bool,
}

impl Refusal {
    /// A refusal before anything ran.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            executed: Executed::No,
            retry_after: None,
            approval: None,
            operator: None,
            recorded: false,
        }
    }

    /// The same, which stands on the record already.
    #[must_use]
    pub const fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// The same with another answer to "was it executed".
    #[must_use]
    pub const fn executed(mut self, executed: Executed) -> Self {
        self.executed = executed;
        self
    }

    /// The same with a time to wait.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same with an approval to watch.
    #[must_use]
    pub fn approval(mut self, notice: ApprovalNotice) -> Self {
        self.approval = Some(Box::new(notice));
        self
    }

    /// The same with a text for the operator.
    #[must_use]
    pub fn operator(mut self, text: impl Into<String>) -> Self {
        self.operator = Some(text.into());
        self
    }

    /// The audit log does not admit calls.
    pub fn audit_unavailable(operator: impl Into<String>) -> Self {
        Self::new(
            Code::AuditUnavailable,
            "NOT executed: the audit log cannot record the call now",
        )
        .retry_after(Duration::from_secs(5))
        .operator(operator)
    }
}
