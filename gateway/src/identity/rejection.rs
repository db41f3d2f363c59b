//! Why a token did not make a principal.

use std::sync::Arc;
use std::time::Duration;

/// Why a token was refused. The text (`Display`) is for operators: it names aliases and claims from
/// the config, never contents of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No token was presented.
    #[error("no token was presented")]
    Missing,
    /// The token is not of the form that is accepted.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// Its `iss` is none of the configured issuers.
    #[error("the token's issuer is not configured")]
    UnknownIssuer,
    /// Its `typ` (or what it contains) says that it is another kind of token.
    #[error("issuer `{issuer}`: {what}")]
    TokenType {
        /// Issuer alias.
        issuer: Arc<str>,
        /// What it is, and how to accept it.
        what: &'static str,
    },
    /// No key of the issuer has its key id.
    #[error("issuer `{issuer}`: no key with the token's key id")]
    UnknownKey {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// Its algorithm is not the key's.
    #[error("issuer `{issuer}`: the token's algorithm is not the one of its key")]
    WrongAlgorithm {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// The signature does not verify.
    #[error("issuer `{issuer}`: the signature does not verify")]
    BadSignature {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// A claim is missing or has another type than it must have.
    #[error("issuer `{issuer}`: claim `{claim}` {why}")]
    BadClaim {
        /// Issuer alias.
        issuer: Arc<str>,
        /// The claim, as standards or config name it.
        claim: Arc<str>,
        /// What is wrong.
        why: &'static str,
    },
    /// `exp` has passed.
    #[error("issuer `{issuer}`: the token has expired")]
    Expired {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// `nbf` or `iat` lies in the future.
    #[error("issuer `{issuer}`: the token is not valid yet (compare the clocks)")]
    NotYet {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// It lives longer than tokens may.
    #[error("issuer `{issuer}`: the token lives longer than `max_lifetime_s`")]
    LivesTooLong {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// It was made for somebody else.
    #[error("issuer `{issuer}`: the token is for another audience")]
    WrongAudience {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// A mandatory condition on a claim does not hold.
    #[error("issuer `{issuer}`: the condition on claim `{claim}` does not hold")]
    ClaimCondition {
        /// Issuer alias.
        issuer: Arc<str>,
        /// The claim.
        claim: Arc<str>,
    },
    /// The issuer left the groups out because they are too many.
    #[error(
        "issuer `{issuer}`: the groups are not in the token (overage): let the issuer send fewer, such as only groups assigned to the application"
    )]
    GroupsOverage {
        /// Issuer alias.
        issuer: Arc<str>,
    },
    /// The issuer's keys cannot be had.
    #[error("issuer `{issuer}`: its keys cannot be fetched")]
    IssuerUnavailable {
        /// Issuer alias.
        issuer: Arc<str>,
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// The principal, issuer, token or connection is revoked or locked.
    #[error("revoked")]
    Revoked,
    /// Nobody knows any more who is revoked: the state could not be read for too long.
    #[error("the revocations could not be read for {} s", super::revocation::STALE_AFTER.as_secs())]
    RevocationsUnknown,
}

impl Rejection {
    /// The stable code that the caller sees.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "unauthenticated",
            Self::Expired { .. } => "token_expired",
            Self::IssuerUnavailable { .. } => "issuer_unavailable",
            Self::Revoked => "revoked",
            Self::RevocationsUnknown => "state_unavailable",
            Self::Malformed(_)
            | Self::UnknownIssuer
            | Self::TokenType { .. }
            | Self::UnknownKey { .. }
            | Self::WrongAlgorithm { .. }
            | Self::BadSignature { .. }
            | Self::BadClaim { .. }
            | Self::NotYet { .. }
            | Self::LivesTooLong { .. }
            | Self::WrongAudience { .. }
            | Self::ClaimCondition { .. }
            | Self::GroupsOverage { .. } => "token_rejected",
        }
    }

    /// One plain sentence for the caller: nothing of the token, nothing of the config.
    pub const fn public(&self) -> &'static str {
        match self {
            Self::Missing => "A token is needed to call this function.",
            Self::Expired { .. } => "The token has expired.",
            Self::NotYet { .. } => "The token is not valid yet.",
            Self::LivesTooLong { .. } => "The token lives longer than this gateway accepts.",
            Self::WrongAudience { .. } => "The token was issued for another audience.",
            Self::UnknownIssuer => "The token's issuer is not accepted here.",
            Self::TokenType { .. } => "This kind of token is not accepted here.",
            Self::GroupsOverage { .. } => {
                "The token does not carry the groups, because they are too many."
            }
            Self::IssuerUnavailable { .. } => {
                "The token cannot be checked now, because its issuer cannot be reached."
            }
            Self::Revoked => "This caller's access has been revoked.",
            Self::RevocationsUnknown => {
                "Whether this caller's access was revoked cannot be told now."
            }
            Self::Malformed(_)
            | Self::UnknownKey { .. }
            | Self::WrongAlgorithm { .. }
            | Self::BadSignature { .. }
            | Self::BadClaim { .. }
            | Self::ClaimCondition { .. } => "The token was not accepted.",
        }
    }

    /// When another try is worth it, where that helps.
    pub const fn retry_after(&self) -> Option<Duration> {
        if let Self::IssuerUnavailable { retry_after, .. } = self {
            Some(*retry_after)
        } else {
            None
        }
    }

    /// The `WWW-Authenticate` value for the answers that are 401 (RFC 6750 section 3).
    pub fn challenge(&self) -> Option<&'static str> {
        match self.code() {
            "unauthenticated" => Some("Bearer"),
            "token_expired" => {
                Some("Bearer error=\"invalid_token\", error_description=\"the token has expired\"")
            }
            "token_rejected" => Some("Bearer error=\"invalid_token\""),
            _ => None,
        }
    }
}
