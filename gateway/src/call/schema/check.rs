//! Whether a value is what a schema takes, and if not, which member is to blame.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use wire::json::{Number, Value};

use super::number::Decimal;
use super::{
    Arena, ArrayRules, Extra, Format, Kinds, Node, NodeId, NumberRules, ObjectRules, Scalar,
    StringRules, Union,
};
use crate::call::config::Additional;
use crate::call::fault::shown;

/// Most schemas that are tried for one value; more means that unions multiply.
const STEPS_MAX: u32 = 1_000_000;

/// Most schemas inside each other that are tried for one value.
const DEPTH_MAX: usize = 256;

/// One step from the input's root to a value, for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A declared member or parameter.
    Member(String),
    /// An element of an array.
    Item(usize),
}

/// One check of one value.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    arena: &'a Arena,
    additional: Additional,
    path: Vec<Step>,
    depth: usize,
    steps: u32,
}

/// What an object's schema accounts for.
#[derive(Default)]
struct Declared<'a> {
    names: BTreeSet<&'a str>,
    /// It takes other members too.
    open: bool,
}

impl<'a> Checker<'a> {
    /// A check of a value that stands at `root` (`["body"]`, `["query", "limit"]`).
    pub(crate) fn new(arena: &'a Arena, additional: Additional, root: &[&str]) -> Self {
        let member = |name: &&str| Step::Member((*name).to_owned());
        Self {
            arena,
            additional,
            path: root.iter().map(member).collect(),
            depth: 0,
            steps: 0,
        }
    }

    /// Check `value`.
    ///
    /// # Errors
    /// A plain sentence about the first member that does not fit; it repeats no value.
    pub(crate) fn check(&mut self, id: NodeId, value: &Value) -> Result<(), String> {
        let declared = self.enter(id, value)?;
        let Value::Object(members) = value else {
            return Ok(());
        };
        for (name, _) in members {
            if !declared.names.contains(name.as_str()) {
                self.undeclared(name, &declared)?;
            }
        }
        Ok(())
    }

    /// Check everything but the names of members that nothing declares.
    fn enter(&mut self, id: NodeId, value: &Value) -> Result<Declared<'a>, String> {
        self.steps += 1;
        if self.steps > STEPS_MAX || self.depth == DEPTH_MAX {
            return Err(self.wrong("is too complex to be checked"));
        }
        self.depth += 1;
        let found = self.node(id, value);
        self.depth -= 1;
        found
    }

    fn node(&mut self, id: NodeId, value: &Value) -> Result<Declared<'a>, String> {
        let arena: &'a Arena = self.arena;
        let node = arena.node(id);
        if let Some(target) = node.nullable_of {
            return match value {
                Value::Null => Ok(Declared::default()),
                _ => self.enter(target, value),
            };
        }
        if let Some(wanted) = not_of(node.kinds, value) {
            return Err(self.wrong(&format!("is not {wanted}")));
        }
        if let Some(values) = &node.values
            && !values.iter().any(|known| same(known, value))
        {
            return Err(self.wrong("is not one of the declared values"));
        }
        let mut declared = Declared::default();
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.number(&node.number, number)?,
            Value::String(text) => self.string(&node.string, text)?,
            Value::Array(items) => self.array(&node.array, items)?,
            Value::Object(members) => declared = self.object(node, members)?,
        }
        let has_members = !node.object.members.is_empty();
        for union in &node.unions {
            let names = self.union(union, value, &declared)?;
            declared.names.extend(names.names);
            declared.open |= names.open && !has_members;
        }
        Ok(declared)
    }

    fn number(&self, rules: &NumberRules, number: &Number) -> Result<(), String> {
        if rules.min.is_none() && rules.max.is_none() && rules.multiple_of.is_empty() {
            return Ok(());
        }
        let Some(value) = Decimal::new(number) else {
            return Err(self.wrong("has too many digits"));
        };
        let below = |(bound, exclusive): &(Decimal, bool)| {
            value < *bound || (*exclusive && value == *bound)
        };
        let above = |(bound, exclusive): &(Decimal, bool)| {
            value > *bound || (*exclusive && value == *bound)
        };
        if rules.min.as_ref().is_some_and(below) {
            return Err(self.wrong("is too small"));
        }
        if rules.max.as_ref().is_some_and(above) {
            return Err(self.wrong("is too large"));
        }
        let fits = |step: &Decimal| value.is_multiple_of(step) == Some(true);
        match rules.multiple_of.iter().all(fits) {
            true => Ok(()),
            false => Err(self.wrong("is not a multiple of the declared step")),
        }
    }

    fn string(&self, rules: &StringRules, text: &str) -> Result<(), String> {
        if rules.chars_min.is_some() || rules.chars_max.is_some() {
            let chars = text.chars().count() as u64;
            if rules.chars_min.is_some_and(|min| chars < min) {
                return Err(self.wrong("is too short"));
            }
            if rules.chars_max.is_some_and(|max| chars > max) {
                return Err(self.wrong("is too long"));
            }
        }
        if !rules.patterns.iter().all(|pattern| pattern.is_match(text)) {
            return Err(self.wrong("does not match the declared pattern"));
        }
        match rules.formats.iter().find(|format| !format.fits(text)) {
            Some(format) => Err(self.wrong(&format!("is not {}", format.name()))),
            None => Ok(()),
        }
    }

    fn array(&mut self, rules: &ArrayRules, items: &[Value]) -> Result<(), String> {
        let count = items.len() as u64;
        if rules.min.is_some_and(|min| count < min) {
            return Err(self.wrong("has too few elements"));
        }
        if rules.max.is_some_and(|max| count > max) {
            return Err(self.wrong("has too many elements"));
        }
        if rules.unique {
            let mut seen = HashSet::new();
            for item in items {
                let mut text = String::new();
                canonical(item, &mut text);
                if !seen.insert(text) {
                    return Err(self.wrong("has the same element twice"));
                }
            }
        }
        if let Some(schema) = rules.items {
            for (at, item) in items.iter().enumerate() {
                self.path.push(Step::Item(at));
                self.check(schema, item)?;
                self.path.pop();
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        node: &'a Node,
        members: &[(String, Value)],
    ) -> Result<Declared<'a>, String> {
        let rules: &'a ObjectRules = &node.object;
        let count = members.len() as u64;
        if rules.min.is_some_and(|min| count < min) {
            return Err(self.wrong("has too few members"));
        }
        if rules.max.is_some_and(|max| count > max) {
            return Err(self.wrong("has too many members"));
        }
        for name in &rules.required {
            if !members.iter().any(|(member, _)| member == name) {
                self.path.push(Step::Member(name.clone()));
                return Err(self.wrong("is missing"));
            }
        }
        let names = rules.members.keys().map(String::as_str).collect();
        let declared = Declared {
            names,
            open: rules.extra != Extra::Undeclared,
        };
        for (name, value) in members {
            let schema = match (rules.members.get(name), rules.extra) {
                (Some(schema), _) => *schema,
                (None, Extra::Fit(schema)) => schema,
                (None, Extra::Undeclared | Extra::Allow | Extra::Free) => continue,
            };
            self.path.push(Step::Member(shown(name)));
            self.check(schema, value)?;
            self.path.pop();
        }
        Ok(declared)
    }

    /// What the fitting branches of a union declare.
    fn union(
        &mut self,
        union: &'a Union,
        value: &Value,
        base: &Declared<'a>,
    ) -> Result<Declared<'a>, String> {
        let length = self.path.len();
        let mut fitting = Vec::new();
        for branch in &union.branches {
            let found = self.enter(*branch, value);
            // A branch that failed leaves the place where it did.
            self.path.truncate(length);
            if self.steps > STEPS_MAX {
                return Err(self.wrong("is too complex to be checked"));
            }
            fitting.extend(found.ok());
        }
        if union.exactly_one && fitting.len() > 1 {
            // Branches that are open on paper overlap; those that account for every member decide.
            if let Value::Object(members) = value {
                fitting.retain(|branch| {
                    let known =
                        |name: &str| branch.names.contains(name) || base.names.contains(name);
                    members.iter().all(|(name, _)| known(name))
                });
            }
            if fitting.len() > 1 {
                return Err(self.wrong("fits more than one of the declared alternatives"));
            }
        }
        if fitting.is_empty() {
            return Err(self.wrong("fits none of the declared alternatives"));
        }
        let mut all = Declared::default();
        for branch in fitting {
            all.names.extend(branch.names);
            all.open |= branch.open;
        }
        Ok(all)
    }

    fn undeclared(&mut self, name: &str, declared: &Declared<'_>) -> Result<(), String> {
        // Also where others are taken: a reader that ignores case would take the wrong one.
        let twin = declared
            .names
            .iter()
            .find(|known| same_but_case(known, name));
        if let Some(known) = twin {
            self.path.push(Step::Member(shown(name)));
            return Err(self.wrong(&format!("differs only in case from the declared `{known}`")));
        }
        if declared.open || self.additional == Additional::Allow {
            return Ok(());
        }
        self.path.push(Step::Member(shown(name)));
        Err(self.wrong("is not declared by the function"))
    }

    fn wrong(&self, what: &str) -> String {
        format!("`{}` {what}", place(&self.path))
    }
}

/// The input's member as policies write it: `body.items[2].amount`.
pub(crate) fn place(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Member(name) if text.is_empty() => text.push_str(name),
            Step::Member(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Item(at) => {
                // Writing to a string does not fail.
                let _ = write!(text, "[{at}]");
            }
        }
    }
    text
}

/// Names that a reader could take for one another: equal but for case, by Unicode's simple rules.
pub(crate) fn same_but_case(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || ((!a.is_ascii() || !b.is_ascii()) && folded(a) == folded(b))
}

fn folded(text: &str) -> String {
    // Upper case first joins the long s, the Kelvin sign and the dotless i with their plain twins.
    text.to_uppercase().to_lowercase()
}

/// What the value should have been, when its kind is not among `kinds`.
fn not_of(kinds: Kinds, value: &Value) -> Option<String> {
    let kind = match value {
        Value::Null => Kinds::NULL,
        Value::Bool(_) => Kinds::BOOL,
        Value::Number(number) if number.as_text().contains(['.', 'e', 'E']) => Kinds::NUMBER,
        Value::Number(_) => Kinds::INTEGER,
        Value::String(_) => Kinds::STRING,
        Value::Array(_) => Kinds::ARRAY,
        Value::Object(_) => Kinds::OBJECT,
    };
    if kinds.has(kind) {
        return None;
    }
    let words = [
        (Kinds::BOOL, "a boolean"),
        (Kinds::NUMBER, "a number"),
        (Kinds::INTEGER, "an integer (without point or exponent)"),
        (Kinds::STRING, "a string"),
        (Kinds::ARRAY, "an array"),
        (Kinds::OBJECT, "an object"),
        (Kinds::NULL, "null"),
    ];
    let mut wanted: Vec<&str> = Vec::new();
    for (kind, word) in words {
        let implied = kind == Kinds::INTEGER && kinds.has(Kinds::NUMBER);
        if kinds.has(kind) && !implied && (kind != Kinds::NULL || wanted.is_empty()) {
            wanted.push(word);
        }
    }
    match wanted.as_slice() {
        [] => Some("allowed".to_owned()),
        words => Some(words.join(" or ")),
    }
}

fn same(known: &Scalar, value: &Value) -> bool {
    match (known, value) {
        (Scalar::Null, Value::Null) => true,
        (Scalar::Bool(known), Value::Bool(flag)) => known == flag,
        (Scalar::String(known), Value::String(text)) => known == text,
        (Scalar::Number(known), Value::Number(number)) => {
            Decimal::new(number).as_ref() == Some(known)
        }
        _ => false,
    }
}

/// A text that is equal for equal values.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push('n'),
        Value::Bool(flag) => out.push(if *flag { 't' } else { 'f' }),
        Value::Number(number) => match number.as_decimal_text() {
            Some(text) => out.push_str(&text),
            None => out.push_str(number.as_text()),
        },
        Value::String(text) => {
            let _ = write!(out, "{text:?}");
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push('{');
            for (name, member) in sorted {
                let _ = write!(out, "{name:?}:");
                canonical(member, out);
                out.push(',');
            }
            out.push('}');
        }
    }
}

impl Format {
    fn fits(self, text: &str) -> bool {
        use time::format_description::well_known::Rfc3339;
        match self {
            Self::Uuid => text.len() == 36 && uuid::Uuid::try_parse(text).is_ok(),
            Self::Date => {
                let format = time::macros::format_description!("[year]-[month]-[day]");
                text.len() == 10 && time::Date::parse(text, &format).is_ok()
            }
            Self::DateTime => time::OffsetDateTime::parse(text, &Rfc3339).is_ok(),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Uuid => "a UUID",
            Self::Date => "a date (`2026-01-31`)",
            Self::DateTime => "a time with zone (RFC 3339)",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
        }
    }
}
