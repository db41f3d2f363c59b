//! The Cedar schema, made from the functions: what policies can name, and of which type it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::call::{ConnectionName, Effect, Function, FunctionId, Shape, shape};
use crate::identity::ExposedType;
use crate::mask::DataClass;

use super::person::PersonAction;

/// The only entity of type `Gateway`: this gateway as a whole.
pub(super) const GATEWAY: &str = "this";

/// Everything that policies can name, from one snapshot of the config.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// The issuers' aliases: what groups and callers may begin with.
    pub issuers: BTreeSet<String>,
    /// The connections.
    pub connections: Vec<ConnectionFacts>,
    /// All functions of all connections.
    pub functions: Vec<Arc<Function>>,
    /// The data classes that a detector or field rule can find.
    pub classes: Vec<DataClass>,
    /// Which of them each function's mask settings can find; none for a function that is absent.
    pub function_classes: BTreeMap<FunctionId, BTreeSet<DataClass>>,
    /// Claims that policies may read as `principal.claims`.
    pub claims: BTreeMap<String, ExposedType>,
}

/// A connection as policies see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionFacts {
    /// Its name.
    pub name: ConnectionName,
    /// Its labels from the config.
    pub labels: BTreeMap<String, String>,
}

/// The schema in Cedar's own syntax.
pub(super) fn text(vocabulary: &Vocabulary) -> String {
    let mut out = String::new();
    entities(&mut out, vocabulary);
    people(&mut out);
    groups(&mut out, vocabulary);
    for function in &vocabulary.functions {
        action(&mut out, function);
    }
    out
}

fn entities(out: &mut String, vocabulary: &Vocabulary) {
    let claims = vocabulary.claims.iter().map(|(name, kind)| {
        let kind = match kind {
            ExposedType::String => "String",
            ExposedType::Long => "Long",
            ExposedType::Bool => "Bool",
            ExposedType::Strings => "Set<String>",
        };
        format!("{}?: {kind}", quoted(name))
    });
    let labels: BTreeSet<&String> = vocabulary
        .connections
        .iter()
        .flat_map(|connection| connection.labels.keys())
        .collect();
    let labels = labels
        .into_iter()
        .map(|name| format!("{}?: String", quoted(name)));
    let _ = write!(
        out,
        "// Groups are `Group::\"alias/name\"`, callers are `Caller::\"alias/subject\"`.\n\
         entity Group;\n\
         entity Caller in [Group] {{\n  \
           issuer: String,\n  \
           subject: String,\n  \
           kind: String, // human, workload or agent\n  \
           method: String, // how the caller proved itself: jwt\n  \
           actors: Set<String>, // who acts for the subject, as alias/subject\n  \
           claims: {{ {} }},\n\
         }};\n\
         entity Gateway; // Gateway::\"{GATEWAY}\"\n\
         entity Connection in [Gateway] {{ labels: {{ {} }} }};\n\
         entity Function in [Connection] {{ effect: String }};\n\
         entity DataClass in [DataClass];\n\n",
        claims.collect::<Vec<_>>().join(", "),
        labels.collect::<Vec<_>>().join(", "),
    );
}

fn people(out: &mut String) {
    for action in PersonAction::ALL {
        let rule = match action {
            PersonAction::Approve | PersonAction::BreakGlass => ", rule: String",
            PersonAction::AuditRead
            | PersonAction::AuditReplay
            | PersonAction::AuditErase
            | PersonAction::PolicyRead
            | PersonAction::Revoke => "",
        };
        let _ = writeln!(
            out,
            "action \"{}\" appliesTo {{ principal: Caller, resource: [{}], \
             context: {{ time: datetime, source: ipaddr{rule} }} }};",
            action.as_str(),
            action.resources().join(", "),
        );
    }
    let _ = writeln!(
        out,
        "action \"unmask\", \"detokenise\" appliesTo {{ principal: Caller, resource: DataClass, \
         context: {{ function: Function, {FACTS} }} }};\n"
    );
}

/// What policies know of every call beside its input.
const FACTS: &str = "time: datetime, source: ipaddr, tls: Bool, protocol: String, method: String";

fn groups(out: &mut String, vocabulary: &Vocabulary) {
    let _ = writeln!(out, "action \"call\";");
    for effect in [Effect::Read, Effect::Write, Effect::Destructive] {
        let _ = writeln!(out, "action \"{}\" in [\"call\"];", effect.as_str());
    }
    for connection in &vocabulary.connections {
        let _ = writeln!(out, "action \"{}/*\" in [\"call\"];", connection.name);
    }
    out.push('\n');
}

fn action(out: &mut String, function: &Function) {
    if let Some(summary) = &function.summary {
        let _ = writeln!(out, "// {}", one_line(summary));
    }
    let _ = writeln!(
        out,
        "action {} in [\"{}/*\", \"{}\"] appliesTo {{ principal: Caller, resource: Connection, \
         context: {{ input: {}, {FACTS} }} }};",
        quoted(&function.id.to_string()),
        function.id.connection(),
        function.effect.as_str(),
        record(&function.input),
    );
}

fn record(record: &shape::Record) -> String {
    let members = record.members.iter().filter_map(|(name, member)| {
        let mark = if member.required { "" } else { "?" };
        Some(format!("{}{mark}: {}", quoted(name), kind(&member.shape)?))
    });
    format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
}

/// The Cedar type of a shape; `None` for what has no type that a policy can name.
fn kind(shape: &Shape) -> Option<String> {
    Some(match shape {
        Shape::Bool => "Bool".to_owned(),
        Shape::Long => "Long".to_owned(),
        Shape::Decimal => "decimal".to_owned(),
        Shape::String => "String".to_owned(),
        Shape::Set(element) => format!("Set<{}>", kind(element)?),
        Shape::Record(members) => record(members),
        Shape::Opaque => return None,
    })
}

/// A string literal of Cedar.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A comment must not end before its text does.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
