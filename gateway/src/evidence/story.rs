//! A call's story in the order in which a call is handled: token, policy, approval, credential, upstream,
//! masking, record.

use serde_json::Value;

/// One record, as the story needs it.
#[derive(Clone, PartialEq, Debug)]
pub struct Fact {
    /// Its index.
    pub index: u64,
    /// Its kind.
    pub kind: String,
    /// Its fields.
    pub fields: Value,
    /// What is sealed with it, where that is known.
    pub content: Option<Value>,
    /// The record that destroyed the key of what is sealed with it.
    pub erased: Option<u64>,
}

/// One part of the story.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// What it is about.
    pub title: &'static str,
    /// Names and what is to be said of them. Text of strangers is not made safe yet.
    pub rows: Vec<(String, String)>,
}

impl Section {
    const fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: Vec::new(),
        }
    }

    fn put(&mut self, name: &str, value: impl Into<Option<String>>) {
        if let Some(value) = value.into().filter(|value| !value.is_empty()) {
            self.rows.push((name.to_owned(), value));
        }
    }
}

impl Fact {
    fn text(&self, place: &str) -> Option<String> {
        self.fields.pointer(place).and_then(shown)
    }

    fn sealed(&self, place: &str) -> Option<String> {
        self.content.as_ref()?.pointer(place).and_then(shown)
    }

    /// Who did it: by name where that is known, else by pseudonym.
    fn who(&self) -> String {
        let issuer = self.text("/issuer").unwrap_or_default();
        let named = self
            .sealed("/principal/subject")
            .or_else(|| self.sealed("/subject"));
        let pseudonym = self.text("/subject_ref").unwrap_or_default();
        match (named, self.erased) {
            (Some(subject), _) => format!("{issuer}/{subject}"),
            (None, Some(record)) => {
                format!("{issuer}/(erased by record {record}; pseudonym {pseudonym})")
            }
            (None, None) => format!("{issuer}/(pseudonym {pseudonym})"),
        }
    }
}

/// A value as a person reads it.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            let items: Vec<String> = items.iter().filter_map(shown).collect();
            Some(items.join(", "))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

/// The story that records tell, in sections; those that have nothing to say are left out.
pub fn sections(facts: &[Fact]) -> Vec<Section> {
    let find = |kind: &str| facts.iter().find(|fact| fact.kind == kind);
    let begin = find("call.begin");
    let first = begin
        .or_else(|| find("call.deny"))
        .or_else(|| find("approval.ask"));
    let end = find("call.end");
    let told = [
        first.map(token),
        first.map(|first| policy(first, facts)),
        Some(approval(facts)),
        begin.map(credential),
        begin.map(|begin| upstream(begin, end)),
        begin.map(|begin| masking(begin, end)),
        Some(record(facts)),
    ];
    let told = told.into_iter().flatten();
    told.filter(|section| !section.rows.is_empty()).collect()
}

fn token(fact: &Fact) -> Section {
    let mut section = Section::new("Token");
    section.put("caller", fact.who());
    section.put("kind", fact.text("/principal_kind"));
    let actors = fact.content.as_ref().and_then(|content| {
        let chain = content.pointer("/principal/actors")?.as_array()?;
        let name = |actor: &Value| {
            let part = |name| actor.get(name).and_then(Value::as_str);
            Some(format!("{}/{}", part("issuer")?, part("subject")?))
        };
        Some(chain.iter().filter_map(name).collect::<Vec<_>>().join(", "))
    });
    let actor = fact
        .text("/actor_ref")
        .map(|known| format!("pseudonym {known}"));
    section.put("acted for by", actors.filter(|a| !a.is_empty()).or(actor));
    section.put("verified by", fact.text("/auth"));
    section.put("key", fact.text("/key_id"));
    section.put("algorithm", fact.text("/algorithm"));
    section.put("groups", fact.sealed("/principal/groups"));
    section.put("from", fact.sealed("/source"));
    section.put("received", fact.sealed("/received"));
    section
}

fn policy(fact: &Fact, facts: &[Fact]) -> Section {
    let mut section = Section::new("Policy");
    let asked = facts.iter().any(|fact| fact.kind == "approval.ask");
    let decision = match fact.kind.as_str() {
        "call.deny" => "denied",
        "call.begin" if fact.fields.get("approval").is_some() => "allowed, once people had agreed",
        "call.begin" => "allowed",
        _ if asked => "people are asked",
        _ => "",
    };
    section.put("decision", decision.to_owned());
    section.put("reason", fact.text("/reason"));
    section.put("function", fact.text("/function"));
    section.put("effect", fact.text("/effect"));
    section.put("by policies", fact.text("/policies"));
    let shadow = fact.text("/shadow/decided");
    let shadow = shadow.map(|decided| {
        let policies = fact.text("/shadow/policies").unwrap_or_default();
        format!("would be {decided}, by {policies} (not enforced)")
    });
    section.put("with shadow policies", shadow);
    section.put("policies in force", fact.text("/policy_version"));
    section.put("config in force", fact.text("/config_version"));
    let input = fact
        .sealed("/policy")
        .or_else(|| fact.sealed("/content/input"));
    section.put("input", input);
    section
}

fn approval(facts: &[Fact]) -> Section {
    let mut section = Section::new("Approval");
    for fact in facts {
        let at = fact.text("/t").unwrap_or_default();
        match fact.kind.as_str() {
            "approval.ask" => {
                section.put("approval", fact.text("/approval"));
                section.put(
                    "question",
                    format!(
                        "asked {at}, open until {}",
                        fact.text("/expires").unwrap_or_default()
                    ),
                );
                section.put("rules", fact.text("/rules"));
                section.put("binding", fact.text("/binding"));
            }
            "approval.vote" => {
                let vote = fact.text("/vote").unwrap_or_default();
                let rule = fact.text("/rule").unwrap_or_default();
                let reason = fact.sealed("/content/reason").filter(|r| !r.is_empty());
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let told = format!("{vote} to {rule}, by {} at {at}{reason}", fact.who());
                section.put("vote", told);
            }
            "approval.execute" => section.put("taken", format!("for the one execution, at {at}")),
            "approval.fetch" => section.put(
                "fetched",
                format!("the caller came back for the answer, at {at}"),
            ),
            "approval.reopen" => {
                section.put("reopened", format!("votes did not count any more, at {at}"))
            }
            "approval.expire" => section.put("ended", format!("nobody decided in time, at {at}")),
            "approval.cancel" => {
                let reason = fact.text("/reason").unwrap_or_default();
                section.put("ended", format!("{reason}, at {at}"));
            }
            _ => {}
        }
    }
    section
}

fn credential(begin: &Fact) -> Section {
    let mut section = Section::new("Credential");
    section.put("name", begin.text("/credential/name"));
    section.put("version", begin.text("/credential/version"));
    section
}

fn upstream(begin: &Fact, end: Option<&Fact>) -> Section {
    let mut section = Section::new("Upstream");
    section.put("upstream", begin.text("/upstream"));
    section.put("protocol", begin.text("/protocol"));
    section.put("method", begin.text("/method"));
    section.put("target", begin.sealed("/request/target"));
    section.put(
        "sent",
        begin.text("/request/bytes").map(|n| format!("{n} bytes")),
    );
    let Some(end) = end else {
        section.put(
            "outcome",
            "not ended, or its end is not recorded yet".to_owned(),
        );
        return section;
    };
    section.put("outcome", end.text("/outcome"));
    section.put("status", end.text("/status"));
    section.put("why", end.text("/why"));
    section.put("error", end.text("/error"));
    let ms = |place: &str| end.text(place).map(|ms| format!("{ms} ms"));
    section.put("answered after", ms("/upstream_ms"));
    section.put("in all", ms("/total_ms"));
    section
}

fn masking(begin: &Fact, end: Option<&Fact>) -> Section {
    let mut section = Section::new("Masking");
    section.put("mode", begin.text("/mask"));
    let Some(end) = end else { return section };
    let classes = end.fields.get("masked").and_then(Value::as_object);
    for (class, count) in classes.into_iter().flatten() {
        section.put(class, format!("{count} masked"));
    }
    let scrubbed = end.text("/scrubbed").filter(|n| n != "0");
    section.put(
        "credential",
        scrubbed.map(|n| format!("scrubbed {n} times")),
    );
    section
}

fn record(facts: &[Fact]) -> Section {
    let mut section = Section::new("Record");
    for fact in facts {
        let at = fact.text("/t").unwrap_or_default();
        section.put(
            &format!("record {}", fact.index),
            format!("{} at {at}", fact.kind),
        );
        for way in ["request", "released"] {
            let place = |name: &str| fact.text(&format!("/{way}/{name}"));
            let Some(why) = place("cut") else { continue };
            let (kept, all) = (
                place("captured").unwrap_or_default(),
                place("bytes").unwrap_or_default(),
            );
            section.put(way, format!("{kept} of {all} bytes kept, cut by {why}"));
        }
        if let Some(record) = fact.erased {
            section.put("sealed content", format!("erased, by record {record}"));
        }
    }
    let find = |kind: &str| facts.iter().find(|fact| fact.kind == kind);
    let begin = find("call.begin");
    section.put(
        "durability",
        begin.and_then(|begin| begin.text("/durability")),
    );
    let released = find("call.end").and_then(|end| end.text("/released/bytes"));
    section.put("released", released.map(|bytes| format!("{bytes} bytes")));
    section
}
