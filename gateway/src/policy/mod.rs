//! Pure decisions: may this principal call this function with this input.
//!
//! Owns the policies (Cedar), their schema made from the functions, approval rules and unmask rights.
//! Refuses on every error. Called by `gate` for calls and by `console` for people's rights.

mod decision;

pub use decision::{
    Decision, Denial, DenialReason, GroupExpr, Obligations, RuleHash, RuleTerms, Terms,
};
