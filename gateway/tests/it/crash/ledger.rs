//! The three ledgers side by side: what the log says, what callers were told, what the function received.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use callgate::disk::RealDisk;
use callgate::record::Trail;
use serde_json::Value;

use super::load::{Hit, Told, id_of};

/// A begin record.
#[derive(Clone, Debug)]
struct Begun {
    index: u64,
    /// The caller's own name for it, out of the sealed request.
    id: String,
    function: String,
    approval: Option<String>,
}

/// An end record.
#[derive(Clone, Debug)]
struct Ended {
    index: u64,
    outcome: String,
    status: Option<u64>,
}

/// What the log says.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// By call.
    begun: BTreeMap<String, Vec<Begun>>,
    ended: BTreeMap<String, Vec<Ended>>,
    /// By approval: index of the first record of the kind.
    asked: BTreeMap<String, u64>,
    opened: BTreeMap<String, u64>,
    executed: BTreeSet<String>,
}

/// Read the log of a gateway, running or not.
pub(super) fn read(audit: &Path) -> Log {
    let trail = Trail::open(audit, Arc::new(RealDisk)).expect("a log to read");
    let mut log = Log::default();
    for index in 0..trail.records() {
        let entry = trail.entry(index).expect("a record to read");
        let text = |pointer: &str| {
            let found = entry.fields.pointer(pointer).and_then(Value::as_str);
            found.map(str::to_owned)
        };
        let call = text("/call").unwrap_or_default();
        let approval = text("/approval").unwrap_or_default();
        match entry.kind.as_str() {
            "call.begin" => {
                let content = entry.content.as_ref().expect("the sealed request");
                let target = content["request"]["target"].as_str().unwrap_or_default();
                let begun = Begun {
                    index,
                    id: id_of(target).unwrap_or("no id").to_owned(),
                    function: text("/function").unwrap_or_default(),
                    approval: text("/approval/id"),
                };
                log.begun.entry(call).or_default().push(begun);
            }
            "call.end" => {
                let ended = Ended {
                    index,
                    outcome: text("/outcome").unwrap_or_default(),
                    status: entry.fields["status"].as_u64(),
                };
                log.ended.entry(call).or_default().push(ended);
            }
            "approval.ask" => {
                log.asked.entry(approval).or_insert(index);
            }
            "approval.vote" if entry.fields["vote"] == "allow" => {
                log.opened.entry(approval).or_insert(index);
            }
            "approval.execute" => {
                log.executed.insert(approval);
            }
            _ => {}
        }
    }
    log
}

/// How much was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    begun: usize,
    indeterminate: usize,
    hits: usize,
    whole: usize,
    torn: usize,
    approved: usize,
    /// Callers that were asked for approval again after their call had run: a second question, a second yes.
    asked_again: usize,
}

impl Counts {
    pub(super) const fn add(&mut self, more: &Self) {
        self.begun += more.begun;
        self.indeterminate += more.indeterminate;
        self.hits += more.hits;
        self.whole += more.whole;
        self.torn += more.torn;
        self.approved += more.approved;
        self.asked_again += more.asked_again;
    }

    /// Whether calls were really hit by the kills, and approved ones were among them.
    pub(super) const fn worthwhile(&self, kills: usize) -> bool {
        self.hits > kills
            && self.whole > kills
            && self.indeterminate > kills / 4
            && self.approved > kills / 20
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls begun, {} at the function, {} whole answers, {} torn, {} indeterminate, {} approved calls ran \
             ({} asked about again)",
            self.begun,
            self.hits,
            self.whole,
            self.torn,
            self.indeterminate,
            self.approved,
            self.asked_again
        )
    }
}

/// The three.
#[derive(Debug)]
pub(super) struct Ledgers<'a> {
    pub(super) log: &'a Log,
    pub(super) told: &'a [Told],
    pub(super) hits: &'a BTreeMap<String, Vec<Hit>>,
}

impl Ledgers<'_> {
    pub(super) fn counts(&self) -> Counts {
        let begun = || self.log.begun.values().flatten();
        let ended = self.log.ended.values().flatten();
        let mut by_id: BTreeMap<&str, usize> = BTreeMap::new();
        for one in begun().filter(|begun| begun.approval.is_some()) {
            *by_id.entry(&one.id).or_default() += 1;
        }
        Counts {
            begun: begun().count(),
            indeterminate: ended.filter(|end| end.outcome == "indeterminate").count(),
            hits: self.hits.values().map(Vec::len).sum(),
            whole: self.told.iter().filter(|told| told.whole).count(),
            torn: self.told.iter().filter(|told| !told.whole).count(),
            approved: by_id.values().sum(),
            asked_again: by_id.values().filter(|count| **count > 1).count(),
        }
    }

    /// Everything that must not be. Empty is good.
    pub(super) fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        self.log_alone(&mut breaches);
        self.function_against_log(&mut breaches);
        for told in self.told.iter().filter(|told| told.whole) {
            self.answer_against_log(told, &mut breaches);
        }
        breaches
    }

    /// Every begin has exactly one end behind it, and an approved one the question, a yes, and one run.
    fn log_alone(&self, breaches: &mut Vec<String>) {
        let mut runs: BTreeMap<&str, usize> = BTreeMap::new();
        for (call, begun) in &self.log.begun {
            let ends = self.log.ended.get(call).map_or(&[][..], Vec::as_slice);
            let ([begun], [end]) = (begun.as_slice(), ends) else {
                breaches.push(format!(
                    "call {call} has begins {begun:?} and ends {ends:?}"
                ));
                continue;
            };
            if end.index <= begun.index {
                breaches.push(format!(
                    "call {call} ended at {} before it began at {}",
                    end.index, begun.index
                ));
            }
            let needs = begun.function == "fn/pay";
            let Some(approval) = begun.approval.as_deref() else {
                if needs {
                    breaches.push(format!("call {call} ran without its approval"));
                }
                continue;
            };
            *runs.entry(approval).or_default() += 1;
            for (what, found) in [("ask", &self.log.asked), ("yes", &self.log.opened)] {
                if found
                    .get(approval)
                    .is_none_or(|index| *index >= begun.index)
                {
                    breaches.push(format!(
                        "call {call} ran for approval {approval} with no {what} on the log before"
                    ));
                }
            }
            if !self.log.executed.contains(approval) {
                breaches.push(format!(
                    "approval {approval} ran, and no `approval.execute` says so"
                ));
            }
        }
        let twice = runs.iter().filter(|(_, count)| **count > 1);
        breaches.extend(
            twice.map(|(approval, count)| format!("approval {approval} ran {count} times")),
        );
        let without = self
            .log
            .ended
            .keys()
            .filter(|call| !self.log.begun.contains_key(*call));
        breaches.extend(without.map(|call| format!("call {call} ended and never began")));
    }

    /// Nothing reached the function that the log does not know, nothing twice, nothing changed.
    fn function_against_log(&self, breaches: &mut Vec<String>) {
        let mut begins: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for begun in self.log.begun.values().flatten() {
            *begins.entry((&begun.id, &begun.function)).or_default() += 1;
        }
        for (id, hits) in self.hits {
            let function = format!("fn{}", hits.first().map_or("", |hit| hit.path));
            let begun = begins
                .get(&(id.as_str(), function.as_str()))
                .copied()
                .unwrap_or(0);
            if hits.len() > begun {
                breaches.push(format!(
                    "{id} was {} times at {function}, and began {begun} times",
                    hits.len()
                ));
            }
            if hits.iter().any(|hit| !hit.mine) {
                breaches.push(format!("{id} came to {function} with another body"));
            }
        }
    }

    /// What a caller was told to the end holds.
    fn answer_against_log(&self, told: &Told, breaches: &mut Vec<String>) {
        let Told {
            id, path, status, ..
        } = told;
        let Some(call) = &told.call else {
            breaches.push(format!("the answer {status} to {id} names no call"));
            return;
        };
        let begun = self.log.begun.get(call).and_then(|all| all.first());
        let end = |call: &str| self.log.ended.get(call).and_then(|all| all.first());
        if begun.is_some() && end(call).is_none_or(|end| end.outcome == "indeterminate") {
            breaches.push(format!(
                "{id} has its whole answer {status}, and call {call} is {:?}",
                end(call)
            ));
        }
        if begun.is_some_and(|begun| begun.id != *id) {
            breaches.push(format!(
                "the answer to {id} is on the log as the one to {begun:?}"
            ));
        }
        if *status == 200 {
            let good = |call: &str| {
                end(call).is_some_and(|end| end.outcome == "ok" && end.status == Some(200))
            };
            // A kept answer is told under the call that fetched it.
            let ran = |begun: &Begun| begun.id == *id && begun.approval.is_some();
            let kept = || {
                let mut all = self.log.begun.iter();
                *path == "/pay" && all.any(|(call, begun)| begun.iter().any(ran) && good(call))
            };
            if !good(call) && !kept() {
                breaches.push(format!(
                    "{id} has its whole answer, and no end record says so (call {call})"
                ));
            }
            if !told.mine {
                breaches.push(format!("{id} was told what is not its answer"));
            }
        }
        let index = told
            .receipt
            .as_deref()
            .and_then(|receipt| receipt.split(',').next());
        if let (Some(receipt), Some(begun)) = (index, begun)
            && receipt != format!("index={}", begun.index)
        {
            breaches.push(format!(
                "the receipt {receipt} of {id} is not of record {}",
                begun.index
            ));
        }
        // Asked once only: what was said not to be executed never was.
        let hits = self.hits.get(id).map_or(0, Vec::len);
        if *path != "/pay" && told.executed.as_deref() == Some("no") && hits > 0 {
            breaches.push(format!(
                "{id} was told NOT executed ({status}), and was at the function"
            ));
        }
    }
}

/// A checker that has never said no is not believed: ledgers that agree, then one lie at a time.
#[test]
fn every_kind_of_breach_is_seen() {
    type Lie = fn(&mut Log, &mut Vec<Told>, &mut BTreeMap<String, Vec<Hit>>);
    let breaches = |lie: Lie| {
        let (mut log, mut told, mut hits) = agreeing();
        lie(&mut log, &mut told, &mut hits);
        let (log, told, hits) = (&log, told.as_slice(), &hits);
        Ledgers { log, told, hits }.breaches()
    };
    assert_eq!(breaches(|_, _, _| {}), Vec::<String>::new());
    let lies: [(&str, Lie); 14] = [
        ("a hit without a begin", |log, _, _| {
            drop(log.begun.remove("c1"))
        }),
        ("a begin without an end", |log, _, _| {
            drop(log.ended.remove("c1"))
        }),
        ("a whole answer of an indeterminate call", |log, _, _| {
            log.ended.get_mut("c1").unwrap()[0].outcome = "indeterminate".to_owned();
        }),
        ("an end with another status", |log, _, _| {
            log.ended.get_mut("c1").unwrap()[0].status = Some(502)
        }),
        ("two ends", |log, _, _| {
            let end = log.ended["c1"][0].clone();
            log.ended.get_mut("c1").unwrap().push(end);
        }),
        ("an end before its begin", |log, _, _| {
            log.ended.get_mut("c1").unwrap()[0].index = 0
        }),
        ("a second hit", |_, _, hits| {
            let hit = hits["n1"][0].clone();
            hits.get_mut("n1").unwrap().push(hit);
        }),
        ("another body at the function", |_, _, hits| {
            hits.get_mut("n2").unwrap()[0].mine = false
        }),
        ("executed after `NOT executed`", |_, told, _| {
            told[0].executed = Some("no".to_owned())
        }),
        ("another's answer", |_, told, _| told[0].mine = false),
        ("a receipt of another record", |_, told, _| {
            told[0].receipt = Some("index=7, size=0".to_owned())
        }),
        ("an approved call without a yes", |log, _, _| {
            log.opened.clear()
        }),
        ("an approved call without its question", |log, _, _| {
            log.asked.clear()
        }),
        ("an approval that ran twice", |log, _, _| {
            log.begun.insert("c3".to_owned(), log.begun["c2"].clone());
            log.ended.insert("c3".to_owned(), log.ended["c2"].clone());
        }),
    ];
    for (what, lie) in lies {
        assert!(!breaches(lie).is_empty(), "nobody noticed {what}");
    }
}

/// One call, and one approved call, as all three tell them.
#[cfg(test)]
fn agreeing() -> (Log, Vec<Told>, BTreeMap<String, Vec<Hit>>) {
    let mut log = Log::default();
    let begun = |index, id: &str, function: &str, approval: Option<&str>| {
        let (id, function) = (id.to_owned(), function.to_owned());
        let approval = approval.map(str::to_owned);
        vec![Begun {
            index,
            id,
            function,
            approval,
        }]
    };
    let ended = |index| {
        vec![Ended {
            index,
            outcome: "ok".to_owned(),
            status: Some(200),
        }]
    };
    log.begun
        .insert("c1".to_owned(), begun(1, "n1", "fn/get", None));
    log.ended.insert("c1".to_owned(), ended(2));
    log.asked.insert("a".to_owned(), 3);
    log.opened.insert("a".to_owned(), 4);
    log.executed.insert("a".to_owned());
    log.begun
        .insert("c2".to_owned(), begun(5, "n2", "fn/pay", Some("a")));
    log.ended.insert("c2".to_owned(), ended(6));
    let told = |id: &str, path, call: &str, index| Told {
        id: id.to_owned(),
        path,
        status: 200,
        whole: true,
        call: Some(call.to_owned()),
        receipt: Some(format!("index={index}, size=0")),
        executed: None,
        mine: true,
    };
    let told = vec![told("n1", "/get", "c1", 1), told("n2", "/pay", "c2", 5)];
    let hit = |path| vec![Hit { path, mine: true }];
    let hits = [("n1", "/get"), ("n2", "/pay")];
    (
        log,
        told,
        hits.map(|(id, path)| (id.to_owned(), hit(path))).into(),
    )
}
