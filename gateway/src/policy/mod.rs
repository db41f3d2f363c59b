//! Pure decisions: may this principal call this function with this input.
//!
//! Owns the policies (Cedar), their schema made from the functions, approval rules and unmask rights.
//! Refuses on every error. Called by `gate` for calls and by `console` for people's rights.

pub mod cases;
mod class_right;
mod decide;
mod decision;
mod diff;
mod explain;
mod fault;
mod index;
mod load;
mod names;
mod nesting;
mod person;
mod prepare;
mod recorded;
mod request;
mod rule;
mod schema;
mod starter;
mod suggest;
mod texts;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Policy, Schema};
use cedar_policy_core::ast::{Entity, EntityUID};

use crate::call::{ConnectionName, Effect, FunctionId};
use crate::clock::Timestamp;
use crate::identity::ExposedType;

use class_right::ClassRight;
use fault::Faults;
use index::{Filing, Index, Slices};
use names::Names;
use prepare::Prepared;
use value::Values;

pub use decision::{
    BreakGlass, Decision, Denial, DenialReason, GrantTerms, GroupExpr, Obligations, RuleHash,
    RuleTerms, Shadowed, StepUp, Terms,
};
pub use diff::PolicyDiff;
pub use explain::{Explanation, Failed, Matched, NearMiss};
pub use fault::{Fault, Place};
pub use load::{FILE_BYTES_MAX, POLICIES_MAX, PolicyFile};
pub use nesting::DRAFT_STACK_BYTES;
pub use person::{PersonAction, PersonFacts, PersonResource};
pub use recorded::{Recorded, Unjudged};
pub use request::{Request, Subject};
pub use rule::{
    DECIDE_WITHIN_DEFAULT, DECIDE_WITHIN_MAX, GRANT_USES_MAX, GRANT_WITHIN_MAX, QUORUM_MAX, Rule,
    RuleEffect, SHADOW_DAYS_MAX, Shadow, ShadowStands,
};
pub use schema::{ConnectionFacts, Vocabulary};
pub use starter::starter;
pub use suggest::{NotTaken, SeenCalls, SuggestedPolicies};
pub use texts::PolicyTexts;

/// Why a question could not be judged; the answer is no. Never holds a caller's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The function is not in this snapshot.
    #[error("function `{0}` is not known to the policies")]
    UnknownFunction(FunctionId),
    /// The connection is not in this snapshot.
    #[error("connection `{0}` is not known to the policies")]
    UnknownConnection(ConnectionName),
    /// A claim has another type than the config says.
    #[error("claim `{0}` does not have the type that `claims` in the config gives it")]
    Claim(String),
    /// The principal cannot be made an entity.
    #[error("the principal could not be given to the policies")]
    Principal,
    /// A value of the input is outside what policies can hold.
    #[error("the input holds a value that policies cannot hold")]
    Input,
    /// The request does not fit the schema.
    #[error("the request does not fit the policies' schema")]
    Request,
    /// A policy failed.
    #[error("policy `{id}` could not be evaluated: {what}")]
    Evaluation {
        /// The policy.
        id: String,
        /// What failed.
        what: &'static str,
    },
    /// The group for the starter policies is not one.
    #[error("`{0}` is not a group: write `alias/name`, without quotes or line breaks")]
    AdminGroup(String),
    /// Cedar named a policy that was not loaded.
    #[error("a policy decided that was not loaded")]
    UnknownPolicy,
}

/// All policies of one snapshot, checked and ready.
pub struct Policies {
    version: String,
    /// What they were loaded for, to load a draft of them.
    vocabulary: Vocabulary,
    texts: PolicyTexts,
    schema_text: String,
    schema: Schema,
    names: Names,
    rules: Vec<Rule>,
    warnings: Vec<Fault>,
    values: Values,
    /// The groups that policies name: no other can change an answer.
    groups: HashMap<String, EntityUID>,
    claims: BTreeMap<String, ExposedType>,
    functions: HashMap<FunctionId, Prepared>,
    connections: HashMap<ConnectionName, Entity>,
    index: Index,
    unmask_action: Arc<EntityUID>,
    unmask_slices: Slices,
    detokenise: ClassRight,
    unmask: ClassRight,
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies")
            .field("version", &self.version)
            .field("rules", &self.rules.len())
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

impl Policies {
    /// Load policies for a snapshot.
    ///
    /// # Errors
    /// Every fault in every file: what does not parse, does not fit the schema, names what does not
    /// exist, or can never match.
    pub fn load(files: &[PolicyFile], vocabulary: &Vocabulary) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let schema_text = schema::text(vocabulary);
        let (schema, names) = base(vocabulary, &schema_text)?;
        let parsed = load::read(files, vocabulary, &mut faults);
        load::check_names(&parsed, files, vocabulary, &mut faults);
        let dormant = dormant(vocabulary, &names);
        let warnings = load::validate(&parsed, files, &schema, &dormant, &mut faults);
        if !faults.is_empty() {
            return Err(faults.into_vec());
        }
        let mut policies = Vec::with_capacity(parsed.len());
        let mut rules = Vec::with_capacity(parsed.len());
        for parsed in parsed {
            rules.extend(parsed.rule);
            policies.push(parsed.policy);
        }
        let filing = filing(&names);
        let index = Index::new(&policies, &filing).map_err(internal)?;
        let groups = policies
            .iter()
            .flat_map(Policy::entity_literals)
            .map(EntityUID::from)
            .filter_map(|uid| Some((names.group_name(&uid)?.to_owned(), uid)))
            .collect();
        let unmask_action = Arc::new(names.action("unmask"));
        let unmask_slices = index.of_action(&unmask_action);
        let right = |action| ClassRight::new(action, vocabulary, &names, &index, &policies);
        let (detokenise, unmask) = (right("detokenise"), right("unmask"));
        let connections = prepare::connections(vocabulary, &names);
        let preparing = prepare::Preparing {
            schema: &schema,
            names: &names,
            index: &index,
            policies: &policies,
            connections: &connections,
        };
        let functions = preparing.functions(vocabulary)?;
        let texts = PolicyTexts::of(&policies, &schema_text);
        Ok(Self {
            version: texts.version(),
            vocabulary: vocabulary.clone(),
            texts,
            schema_text,
            schema,
            rules,
            warnings: warnings.into_vec(),
            values: Values::new().map_err(internal)?,
            groups,
            claims: vocabulary.claims.clone(),
            functions,
            connections,
            unmask_action,
            unmask_slices,
            detokenise,
            unmask,
            index,
            names,
        })
    }

    /// Other policies for the same functions, connections and claims: to try them out, not to enforce them.
    /// `sent` comes from a person and is bounded in its depth. To be called, and what it returns to be
    /// dropped, on a thread with [`DRAFT_STACK_BYTES`] of stack.
    ///
    /// # Errors
    /// As [`Self::load`], and where `sent` nests too deep.
    pub fn draft(&self, kept: Vec<PolicyFile>, sent: PolicyFile) -> Result<Self, Vec<Fault>> {
        if let Some(fault) = nesting::too_deep(&sent) {
            return Err(vec![fault]);
        }
        let mut files = kept;
        files.push(sent);
        Self::load(&files, &self.vocabulary)
    }

    /// A hash of all policies and of the schema that they were checked against, in hex: the order
    /// of policies, their files and their layout do not count.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All policies as they are recorded: what [`Self::version`] is the hash of.
    pub const fn texts(&self) -> &PolicyTexts {
        &self.texts
    }

    /// The schema in Cedar's own syntax, for editors and for reading.
    pub fn schema_text(&self) -> &str {
        &self.schema_text
    }

    /// All policies in the order of their files.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What looks wrong but keeps nothing from working: strings that mix scripts.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// Shadow policies, and how each stands at `now`.
    pub fn shadows(&self, now: Timestamp) -> impl Iterator<Item = Shadow<'_>> {
        let rules = self.rules.iter();
        rules.filter_map(move |rule| Shadow::of(rule, now))
    }

    fn prepared(&self, id: &FunctionId) -> Result<&Prepared, Error> {
        self.functions
            .get(id)
            .ok_or_else(|| Error::UnknownFunction(id.clone()))
    }
}

/// A fault of ours, not of a file.
fn internal(error: impl fmt::Display) -> Vec<Fault> {
    vec![Fault {
        place: Place {
            file: "policies".to_owned(),
            ..Place::default()
        },
        text: error.to_string(),
        help: None,
    }]
}

fn base(vocabulary: &Vocabulary, schema_text: &str) -> Result<(Schema, Names), Vec<Fault>> {
    for alias in &vocabulary.issuers {
        if alias.is_empty() || alias.contains('/') {
            let text = format!("issuer alias `{alias}` is empty or has a `/`, which ends an alias");
            return Err(internal(text));
        }
    }
    let (schema, _) = Schema::from_cedarschema_str(schema_text)
        .map_err(|error| internal(format!("the functions do not make a Cedar schema: {error}")))?;
    Ok((schema, Names::new().map_err(internal)?))
}

/// Groups of functions that have no function now: a policy about them is kept for later.
fn dormant(vocabulary: &Vocabulary, names: &Names) -> HashSet<EntityUID> {
    let mut groups: BTreeSet<String> = ["call", "read", "write", "destructive"]
        .map(str::to_owned)
        .into();
    groups.extend(
        vocabulary
            .connections
            .iter()
            .map(|c| format!("{}/*", c.name)),
    );
    for function in &vocabulary.functions {
        groups.remove("call");
        groups.remove(function.effect.as_str());
        groups.remove(&format!("{}/*", function.id.connection()));
    }
    groups.iter().map(|group| names.action(group)).collect()
}

fn filing(names: &Names) -> Filing<'_> {
    let effects = [Effect::Read, Effect::Write, Effect::Destructive];
    let mut others = vec![names.action("unmask"), names.action("detokenise")];
    others.extend(PersonAction::ALL.map(|action| names.action(action.as_str())));
    Filing {
        call: names.action("call"),
        effects: effects.map(|e| names.action(e.as_str())).into(),
        others,
        names,
    }
}
