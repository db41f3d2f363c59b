//! Who calls: a [`Principal`] made from evidence, a file per method.
//!
//! Owns verification of tokens, key sets, revocation and remembered tokens. Refuses everything that is
//! not proven. Called by the protocols, once per call.

mod algorithm;
pub mod assertion;
mod check;
mod config;
mod jws;
mod key_set;
mod keys;
mod login;
mod memory;
mod path;
mod principal;
mod rejection;
mod revocation;
mod rules;
mod stated;
mod verifier;

pub use algorithm::Algorithm;
pub use check::check;
pub use config::{
    Condition, Config, ExposedType, Fault, IdTokens, IssuerConfig, KindConfig, KindRule,
    LIFETIME_S, OneOrMany, Prefix, SKEW_S, Scalar,
};
pub use jws::TOKEN_BYTES_MAX;
pub use key_set::{KEY_SET_BYTES_MAX, KEYS_MAX};
pub use keys::{FETCH_FLOOR, FRESH_DEFAULT, FRESH_MAX, FRESH_MIN, IssuerStatus, STALE_MAX};
pub use login::{Endpoints, Login, Provider, ProviderError};
pub use memory::REMEMBERED_MAX;
pub use principal::{Actor, Exposed, Kind, Method, Principal, PrincipalKey, TokenFacts};
pub use rejection::Rejection;
pub use revocation::{
    REVOCATIONS_MAX, Reach, Revocation, RevocationError, RevocationTarget, Revocations,
};
pub use stated::SlackMember;
pub use verifier::{Context, Plane, Verifier};

#[cfg(test)]
mod tests;
