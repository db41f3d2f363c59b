//! Masks secrets and personal data in what comes back, and takes the credential out of it.
//!
//! Owned here: data classes, detectors, field rules, the streaming maskers for each format, the
//! credential scrubber, the marker that stands in place of data. Refused here: whatever cannot be
//! inspected to its end; there is no way through that skips it. The pipeline drives a [`Masker`] for
//! each answer and a [`MarkerGuard`] for each request; config compiles [`Settings`].
//!
//! Where masking is `off`, only the scrubber runs. A compressed answer is then decoded if there is a
//! secret to take out, and withheld if it cannot be: a caller that asked for `br` would otherwise see
//! an echoed credential after decoding it.

mod automaton;
mod body;
mod budget;
mod catalogue;
mod class;
mod coding;
mod config;
mod csv;
mod detect;
mod events;
mod explain;
mod form;
mod inspector;
mod instead;
mod json;
mod marker;
mod masker;
mod media;
mod mode;
mod multipart;
mod names;
mod needles;
mod own;
mod path;
mod places;
mod requests;
mod text;
mod tokens;
mod vault;
mod veil;
mod view;
mod withheld;
mod xml;

pub use budget::{
    BUDGET_HOURS_MAX, BUDGET_VALUES_MAX, BudgetConfig, Ledger, REMEMBERED_VALUES_MAX, Spent,
};
pub use class::{ClassError, DataClass};
pub use coding::{DECODED_BYTES_MAX, RATIO_FREE_BYTES, RATIO_MAX};
pub use config::{Config, Fault, FieldConfig, FieldRule, Plan, Settings};
pub use explain::{How, Why};
pub use instead::Instead;
pub use marker::MarkerGuard;
pub use masker::{Masker, ResponseFacts, Summary};
pub use mode::{Mode, ModeConfig, OBSERVE_DAYS_MAX};
pub use needles::{NEEDLE_BYTES_MAX, NEEDLE_BYTES_MIN, NeedleError, Needles};
pub use own::OwnConfig;
pub use requests::{
    RequestFacts, RequestFault, RequestGuard, RequestsConfig, Rewriter, SEARCHED_BODY_BYTES_MAX,
};
pub use tokens::{Restorer, TOKENS_MAX, TokenFault, VALUES_BYTES_MAX, holds_token};
pub use vault::{KeysConfig, Owner, Scope, TokenError, Vault};
pub use veil::{Cover, VALUE_BYTES_MIN, Veil};
pub use withheld::Withheld;
