//! Who calls: a [`Principal`] made from evidence, a file per method.
//!
//! Owns verification of tokens, key sets, revocation and remembered tokens. Refuses everything that is
//! not proven. Called by the protocols, once per call.

mod principal;

pub use principal::{Actor, Kind, Method, Principal, PrincipalKey, TokenFacts};
