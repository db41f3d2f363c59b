//! A small gateway's vocabulary and callers, shared by this room's tests.

mod cases;
mod cedar;
mod class_rights;
mod docs;
mod drafts;
mod files;
mod joint;
mod people;
mod semantics;
mod shadow;
mod suggest;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::call::input::Value;
use crate::call::shape::{Member, Record};
use crate::call::{Durability, Effect, Facts, Function, FunctionId, Input, Shape};
use crate::clock::Timestamp;
use crate::identity::{Actor, Exposed, Kind};

use super::{
    ConnectionFacts, Decision, Fault, Policies, PolicyFile, Request, RuleHash, Subject, Vocabulary,
};

/// Some caller.
#[derive(Debug)]
struct Someone {
    name: &'static str,
    kind: Kind,
    groups: BTreeSet<String>,
    claims: BTreeMap<String, Exposed>,
    actors: Vec<Actor>,
}

fn someone(name: &'static str, kind: Kind, groups: &[&str]) -> Someone {
    Someone {
        name,
        kind,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        claims: BTreeMap::new(),
        actors: Vec::new(),
    }
}

/// A workload of the support team.
fn support() -> Someone {
    someone("support-bot", Kind::Workload, &["corp/support"])
}

impl Someone {
    fn view(&self) -> Subject<'_> {
        Subject {
            issuer: "corp",
            subject: self.name,
            kind: self.kind,
            method: "jwt",
            groups: &self.groups,
            claims: &self.claims,
            actors: &self.actors,
        }
    }
}

fn record<const N: usize>(members: [(&str, Shape, bool); N]) -> Record {
    let member = |(name, shape, required): (&str, Shape, bool)| {
        (name.to_owned(), Member { shape, required })
    };
    Record {
        members: members.into_iter().map(member).collect(),
    }
}

fn function(id: &str, effect: Effect, input: Record) -> Arc<Function> {
    Arc::new(Function {
        id: id.parse().unwrap(),
        effect,
        input,
        durability: Durability::Both,
        summary: None,
        mask: None,
        classes: Vec::new(),
    })
}

/// `payments` (labelled prod) with refunds, a list and a removal; `crm` with one read.
fn vocabulary() -> Vocabulary {
    let body = record([
        ("amount", Shape::Long, true),
        ("price", Shape::Decimal, false),
        ("currency", Shape::String, false),
        ("tags", Shape::Set(Box::new(Shape::String)), false),
        ("extra", Shape::Opaque, false),
    ]);
    let refund = record([("body", Shape::Record(body), true)]);
    let list = record([(
        "query",
        Shape::Record(record([("limit", Shape::Long, false)])),
        false,
    )]);
    let connection = |name: &str, labels: &[(&str, &str)]| ConnectionFacts {
        name: name.parse().unwrap(),
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    Vocabulary {
        issuers: ["corp".to_owned(), "ci".to_owned()].into(),
        connections: vec![
            connection("payments", &[("env", "prod")]),
            connection("crm", &[]),
        ],
        functions: vec![
            function("payments/createRefund", Effect::Write, refund),
            function("payments/listRefunds", Effect::Read, list),
            function(
                "payments/removeRefund",
                Effect::Destructive,
                Record::default(),
            ),
            function("crm/findPerson", Effect::Read, Record::default()),
        ],
        ..Vocabulary::default()
    }
}

fn load(text: &str) -> Result<Policies, Vec<Fault>> {
    load_with(text, &vocabulary())
}

fn load_with(text: &str, vocabulary: &Vocabulary) -> Result<Policies, Vec<Fault>> {
    let file = PolicyFile {
        name: "test.cedar".to_owned(),
        text: text.to_owned(),
    };
    Policies::load(&[file], vocabulary)
}

/// The faults of a text that must not load, as the operator reads them.
fn faults(text: &str) -> Vec<String> {
    let faults = load(text).expect_err("it loads");
    faults.iter().map(ToString::to_string).collect()
}

fn facts() -> Facts {
    Facts {
        received: Timestamp::from_secs(1_764_000_000),
        source: IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)),
        tls: true,
        protocol: "h2",
        method: "POST".to_owned(),
    }
}

fn refund(amount: i64) -> Input {
    body(&[("amount", Value::Long(amount))])
}

fn body(members: &[(&str, Value)]) -> Input {
    let members: BTreeMap<String, Value> = members
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    Input {
        members: [("body".to_owned(), Value::Record(members))].into(),
    }
}

fn ask(policies: &Policies, who: &Someone, function: &str, input: &Input) -> Decision {
    ask_opened(policies, who, function, input, &BTreeSet::new())
}

fn ask_opened(
    policies: &Policies,
    who: &Someone,
    function: &str,
    input: &Input,
    opened: &BTreeSet<RuleHash>,
) -> Decision {
    let id: FunctionId = function.parse().unwrap();
    let vocabulary = vocabulary();
    let function = vocabulary.functions.iter().find(|f| f.id == id).unwrap();
    let request = Request {
        subject: who.view(),
        function,
        input,
        facts: &facts(),
    };
    policies.decide(&request, opened)
}
