//! First policies, out of calls that were seen and that no policy permits: as narrow as what was seen.
//!
//! A group is named where at least two of the callers of a function are in it, and at least half of the
//! members that were seen; everybody else by name. Pure, and the same for the same calls in any order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::call::FunctionId;

use super::schema::quoted;

/// Callers that are told apart.
const CALLERS_MAX: usize = 50_000;
/// Pairs of caller and function that are told apart.
const PAIRS_MAX: usize = 500_000;

/// Calls that no policy permits.
#[derive(Clone, Debug, Default)]
pub struct SeenCalls {
    callers: BTreeMap<String, Caller>,
    functions: BTreeMap<String, BTreeMap<String, u64>>,
    calls: u64,
    pairs: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Caller {
    kind: String,
    groups: BTreeSet<String>,
}

/// Policies, and how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuggestedPolicies {
    /// Cedar.
    pub text: String,
    /// How many policies it has.
    pub permits: usize,
}

/// Why a call cannot be taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum NotTaken {
    /// The recorded principal has another form.
    #[error("its principal does not read back")]
    Principal,
    /// There are too many.
    #[error("there are more callers and functions than can be told apart")]
    TooMany,
}

/// Who a permit is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Scope {
    Group(String),
    Caller(String),
}

/// What a permit covers.
#[derive(Clone, Debug, Default)]
struct Covered {
    functions: BTreeSet<String>,
    callers: BTreeSet<String>,
    calls: u64,
}

impl SeenCalls {
    /// Take a call: `principal` as the record seals it.
    ///
    /// # Errors
    /// [`NotTaken`]; then nothing is suggested for it.
    pub fn add(&mut self, principal: &Json, function: &FunctionId) -> Result<(), NotTaken> {
        let text = |name: &str| principal.get(name).and_then(Json::as_str);
        let (Some(issuer), Some(subject), Some(kind)) =
            (text("issuer"), text("subject"), text("kind"))
        else {
            return Err(NotTaken::Principal);
        };
        let groups = principal.get("groups").and_then(Json::as_array);
        let groups = groups.ok_or(NotTaken::Principal)?.iter();
        let groups = groups.filter_map(Json::as_str).map(str::to_owned);
        let caller = format!("{issuer}/{subject}");
        let function = function.to_string();
        let known = self.callers.contains_key(&caller);
        if (!known && self.callers.len() >= CALLERS_MAX) || self.pairs >= PAIRS_MAX {
            return Err(NotTaken::TooMany);
        }
        let one = self.callers.entry(caller.clone()).or_default();
        // Groups and kinds change: every group that it was ever seen in counts, and the last kind by name.
        one.groups.extend(groups);
        if one.kind.as_str() < kind {
            kind.clone_into(&mut one.kind);
        }
        let calls = self.functions.entry(function).or_default();
        let count = calls.entry(caller).or_default();
        self.pairs += usize::from(*count == 0);
        *count += 1;
        self.calls += 1;
        Ok(())
    }

    /// Write the policies.
    pub fn policies(&self) -> SuggestedPolicies {
        let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, caller) in &self.callers {
            for group in &caller.groups {
                members.entry(group).or_default().insert(name);
            }
        }
        let mut permits: BTreeMap<(Scope, Vec<String>), Covered> = BTreeMap::new();
        for (function, calls) in &self.functions {
            for (scope, callers) in scopes(calls, &members, &self.callers) {
                let kinds: BTreeSet<&String> = callers
                    .iter()
                    .filter_map(|caller| Some(&self.callers.get(*caller)?.kind))
                    .collect();
                let key = (scope, kinds.into_iter().cloned().collect());
                let covered = permits.entry(key).or_default();
                covered.functions.insert(function.clone());
                covered.calls += callers
                    .iter()
                    .filter_map(|one| calls.get(*one))
                    .sum::<u64>();
                covered
                    .callers
                    .extend(callers.into_iter().map(str::to_owned));
            }
        }
        self.write(&permits)
    }

    fn write(&self, permits: &BTreeMap<(Scope, Vec<String>), Covered>) -> SuggestedPolicies {
        let mut text = format!(
            "// Suggested from {} calls of {} callers that no policy permits. Read it before you use it: a permit says\n\
             // what was done, not what should be.\n",
            self.calls,
            self.callers.len()
        );
        for (number, ((scope, kinds), covered)) in permits.iter().enumerate() {
            let _ = write!(
                text,
                "\n// {} calls by {} callers.\n@id(\"suggested-{}\")\npermit(\n  {},\n  {},\n  resource\n){};\n",
                covered.calls,
                covered.callers.len(),
                number + 1,
                principal(scope),
                action(&covered.functions),
                condition(scope, kinds),
            );
        }
        SuggestedPolicies {
            text,
            permits: permits.len(),
        }
    }
}

/// Who called a function: groups first, each with those that it covers, then everybody else.
fn scopes<'c>(
    calls: &'c BTreeMap<String, u64>,
    members: &BTreeMap<&'c str, BTreeSet<&'c str>>,
    callers: &'c BTreeMap<String, Caller>,
) -> Vec<(Scope, Vec<&'c str>)> {
    let mut left: BTreeSet<&str> = calls.keys().map(String::as_str).collect();
    let mut found = Vec::new();
    let mut groups: BTreeSet<&str> = BTreeSet::new();
    for name in &left {
        let of = callers.get(*name).map(|caller| &caller.groups);
        groups.extend(of.into_iter().flatten().map(String::as_str));
    }
    // Only groups that are mostly made of callers of this function.
    groups.retain(|group| {
        members.get(group).is_some_and(|all| {
            let here = all.iter().filter(|name| calls.contains_key(**name)).count();
            here * 2 >= all.len()
        })
    });
    loop {
        // Of two that cover as many, the one with fewer others, then the first by name.
        let ranked = groups.iter().map(|group| {
            let all = members.get(*group);
            let here = all.map_or(0, |all| all.intersection(&left).count());
            let others = all.map_or(0, BTreeSet::len) - here;
            (here, Reverse(others), Reverse(*group))
        });
        let best = ranked.max().map(|(.., Reverse(group))| group);
        let covered: Vec<&str> = best
            .and_then(|best| members.get(best))
            .map(|all| all.intersection(&left).copied().collect())
            .unwrap_or_default();
        let (Some(best), true) = (best, covered.len() >= 2) else {
            break;
        };
        covered.iter().for_each(|name| {
            left.remove(name);
        });
        groups.remove(best);
        found.push((Scope::Group(best.to_owned()), covered));
    }
    let alone = left.into_iter();
    found.extend(alone.map(|name| (Scope::Caller(name.to_owned()), vec![name])));
    found
}

fn principal(scope: &Scope) -> String {
    match scope {
        Scope::Group(name) => format!("principal in Group::{}", quoted(name)),
        Scope::Caller(name) => format!("principal == Caller::{}", quoted(name)),
    }
}

fn action(functions: &BTreeSet<String>) -> String {
    let names: Vec<String> = functions
        .iter()
        .map(|function| format!("Action::{}", quoted(function)))
        .collect();
    match names.as_slice() {
        [one] => format!("action == {one}"),
        several => format!("action in [\n    {}\n  ]", several.join(",\n    ")),
    }
}

/// A group may hold others than those that were seen; somebody by name is what they are.
fn condition(scope: &Scope, kinds: &[String]) -> String {
    let Scope::Group(_) = scope else {
        return String::new();
    };
    let kinds: Vec<String> = kinds
        .iter()
        .map(|kind| format!("principal.kind == {}", quoted(kind)))
        .collect();
    format!("\nwhen {{ {} }}", kinds.join(" || "))
}
