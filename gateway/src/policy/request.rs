//! What is asked, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::{Call, Facts, Function, Input};
use crate::identity::{Actor, Exposed, Kind, Principal};

/// Who asks, as policy sees it: a verified principal, or one that a test or an operator imagines.
/// It is a view and proves nothing; a permit is made from a [`Principal`] only.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The issuer's alias.
    pub issuer: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// What kind of caller.
    pub kind: Kind,
    /// How it proved itself, as one word.
    pub method: &'a str,
    /// Groups as `alias/name`.
    pub groups: &'a BTreeSet<String>,
    /// The claims that policies may read.
    pub claims: &'a BTreeMap<String, Exposed>,
    /// Who acts for the subject.
    pub actors: &'a [Actor],
}

impl<'a> From<&'a Principal> for Subject<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            issuer: &principal.key().issuer,
            subject: &principal.key().subject,
            kind: principal.kind(),
            method: principal.method().as_str(),
            groups: principal.groups(),
            claims: principal.exposed(),
            actors: principal.actors(),
        }
    }
}

/// One question: may this subject call this function with this input.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub subject: Subject<'a>,
    /// What.
    pub function: &'a Function,
    /// With which input.
    pub input: &'a Input,
    /// When, from where and how.
    pub facts: &'a Facts,
}

impl<'a> Request<'a> {
    /// The question about a principal's call.
    pub fn new<C: Call + ?Sized>(principal: &'a Principal, call: &'a C) -> Self {
        Self {
            subject: principal.into(),
            function: call.function(),
            input: call.input(),
            facts: call.facts(),
        }
    }
}
