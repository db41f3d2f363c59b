//! `callgate policy simulate`: recorded calls under a draft of the policies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::check::snapshot;
use super::list::Output;
use super::{calls, list, print, span};
use crate::approval::terminal_safe;
use crate::call::{Facts, FunctionId};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config;
use crate::pipeline::Snapshot;
use crate::policy::{Decision, Recorded};
use crate::record::{
    CallIndex, Decided, Judged, JudgedContent, Opener, Reading, SealedDecision, TriedBody, Would,
};

/// Exit code when some call would be decided differently.
const CHANGED: u8 = 2;
/// Exit code when none would, but some could not be evaluated.
const UNCERTAIN: u8 = 3;
/// Records that are handed to a worker at one time, and such heaps that wait.
const HEAP: usize = 256;
const HEAPS_MAX: usize = 16;

/// What to simulate.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The calls: how far back (`90s`, `30m`, `24h`, `7d`), or `FROM..TO` with times or dates.
    #[arg(long, default_value = "24h")]
    against: String,
    /// The folder with the draft: its *.cedar files take the place of those in force.
    #[arg(long)]
    with: PathBuf,
    /// Calls that are named for each change.
    #[arg(long, default_value_t = 3)]
    examples: usize,
    /// Threads; as many as there are processors by default.
    #[arg(long)]
    threads: Option<usize>,
    /// How to write the report.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A decision in one word.
const fn word(decision: &Decision) -> Decided {
    match decision {
        Decision::Allow(_) => Decided::Allow,
        Decision::Deny(_) => Decided::Deny,
        Decision::Ask(_) => Decided::Ask,
    }
}

/// The policies that made a decision.
fn policies(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Allow(obligations) => obligations.policies().to_vec(),
        Decision::Deny(denial) => denial.policies.clone(),
        Decision::Ask(terms) => terms.rules.iter().map(|rule| rule.id.clone()).collect(),
    }
}

/// One kind of change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Change {
    function: String,
    from: &'static str,
    to: &'static str,
    /// Policies that decided then, and those of the draft.
    then: Vec<String>,
    now: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Report {
    evaluated: u64,
    same: u64,
    changes: BTreeMap<Change, (u64, Vec<(u64, String)>)>,
    not_evaluated: BTreeMap<String, u64>,
}

impl Report {
    fn changed(&self) -> u64 {
        self.changes.values().map(|(count, _)| count).sum()
    }

    fn take(&mut self, judged: &Judged, draft: &Snapshot, examples: usize) {
        let outcome = match judge(judged, draft) {
            Ok(outcome) => outcome,
            Err(why) => {
                *self.not_evaluated.entry(why).or_default() += 1;
                return;
            }
        };
        self.evaluated += 1;
        let (to, now) = match &outcome {
            Outcome::Decided(_, decision) if word(decision) == judged.decided => {
                self.same += 1;
                return;
            }
            Outcome::Decided(_, decision) => (word(decision).as_str(), policies(decision)),
            Outcome::Refused(code) => (*code, Vec::new()),
        };
        let change = Change {
            function: judged.function.clone(),
            from: judged.decided.as_str(),
            to,
            then: judged.policies.clone(),
            now,
        };
        let (count, calls) = self.changes.entry(change).or_default();
        *count += 1;
        calls.push((judged.index, format!("{}  {}", judged.at, judged.call)));
        newest(calls, examples);
    }

    fn join(&mut self, other: Self, examples: usize) {
        self.evaluated += other.evaluated;
        self.same += other.same;
        for (change, (count, found)) in other.changes {
            let (sum, calls) = self.changes.entry(change).or_default();
            *sum += count;
            calls.extend(found);
            newest(calls, examples);
        }
        for (why, count) in other.not_evaluated {
            *self.not_evaluated.entry(why).or_default() += count;
        }
    }
}

/// Keep the newest examples, whichever thread found them.
fn newest(calls: &mut Vec<(u64, String)>, most: usize) {
    calls.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    calls.truncate(most);
}

/// What becomes of a recorded call.
pub(super) enum Outcome {
    /// Policy decides.
    Decided(FunctionId, Decision),
    /// It is refused before policy is asked; the code.
    Refused(&'static str),
}

/// What would become of a recorded call. One that passed unjudged, because its connection only
/// observed, is read again by the functions that are declared in `draft`.
pub(super) fn judge(judged: &Judged, draft: &Snapshot) -> Result<Outcome, String> {
    let content = judged
        .content
        .as_ref()
        .map_err(|why| why.as_str().to_owned())?;
    let function: FunctionId = judged
        .function
        .parse()
        .map_err(|_| "its function has no good name".to_owned())?;
    let facts = facts(content).ok_or("its source address does not read back")?;
    let principal = &content.principal;
    let unjudged = judged.observed.as_ref().is_some_and(Would::is_unjudged);
    if !unjudged {
        let recorded = Recorded {
            principal,
            input: &content.input,
            facts,
        };
        let decided = draft.policies.decide_recorded(&function, &recorded);
        let decision = decided.map_err(|why| why.to_string())?;
        return Ok(Outcome::Decided(function, decision));
    }
    let request = judged.request.as_ref();
    let request = request.ok_or("its request does not read back")?;
    let connection = draft.connections.get(function.connection());
    let connection = connection.ok_or("its connection is not there any more")?;
    let body = match &request.body {
        TriedBody::Whole(bytes) => Some(bytes.clone().into()),
        TriedBody::Unkept | TriedBody::Unrecorded => None,
    };
    match connection.catalogue.reread(&request.head, body) {
        // What was too long to be kept was too long to be judged, or streams now as it did then.
        Err(fault) => Ok(Outcome::Refused(fault.code())),
        Ok((function, input)) => {
            let decided = draft
                .policies
                .decide_read(&function.id, principal, &input, &facts);
            let decision = decided.map_err(|why| why.to_string())?;
            Ok(Outcome::Decided(function.id.clone(), decision))
        }
    }
}

fn facts(content: &JudgedContent) -> Option<Facts> {
    Some(Facts {
        received: content.received,
        source: content.source.parse().ok()?,
        tls: content.tls,
        protocol: if content.protocol == "h2" {
            "h2"
        } else {
            "http/1.1"
        },
        method: content.method.clone(),
    })
}

pub(super) async fn run(config: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (since, until) = span::against(&args.against, SystemClock.now())?;
    let mut draft = super::load(config)?;
    draft.policies = config::policies_in(&args.with)
        .map_err(|faults| anyhow::anyhow!("{}", super::lines(&faults)))?;
    let draft = snapshot(&draft).context("the draft does not load")?;
    let about =
        json!({ "against": args.against, "with": args.with, "draft": draft.policies.version() });
    let loaded = calls::recorded(config, Reading::Simulate, None, about).await?;
    let index = list::index(&loaded).await?;
    let threads = args
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let begun = Instant::now();
    let report = simulate(
        &index,
        &draft,
        (since, until),
        threads.max(1),
        args.examples,
    )?;
    let took = begun.elapsed();
    match args.output {
        Output::Json => print(&as_json(&report).to_string()),
        Output::Text => text(&report, took, threads),
    }
    let uncertain = report.not_evaluated.values().sum::<u64>();
    Ok(match (report.changed(), uncertain) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(UNCERTAIN),
        (..) => ExitCode::from(CHANGED),
    })
}

fn simulate(
    index: &CallIndex,
    draft: &Snapshot,
    (since, until): (Timestamp, Timestamp),
    threads: usize,
    examples: usize,
) -> anyhow::Result<Report> {
    let (sender, receiver) = mpsc::sync_channel::<Vec<SealedDecision>>(HEAPS_MAX);
    let receiver = Mutex::new(receiver);
    let opener = Opener::default();
    let work = || {
        let mut report = Report::default();
        loop {
            let heap = receiver
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok(heap) = heap else { return report };
            let opened = heap
                .into_iter()
                .filter_map(|sealed| index.open_decision(sealed, &opener));
            for judged in opened.filter(|judged| judged.at >= since && judged.at < until) {
                report.take(&judged, draft, examples);
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut heap = Vec::with_capacity(HEAP);
        let read = index.decisions(Some(since), &mut |sealed| {
            heap.push(sealed);
            if heap.len() < HEAP {
                return true;
            }
            sender.send(std::mem::take(&mut heap)).is_ok()
        });
        // Workers that are gone say why below.
        let _ = sender.send(heap);
        drop(sender);
        let mut report = Report::default();
        for worker in workers {
            let part = worker.join();
            report.join(
                part.map_err(|_| anyhow::anyhow!("an evaluation broke off"))?,
                examples,
            );
        }
        read?;
        Ok(report)
    })
}

fn joined(ids: &[String]) -> String {
    if ids.is_empty() {
        return "no policy".to_owned();
    }
    ids.join(", ")
}

fn text(report: &Report, took: Duration, threads: usize) {
    for (change, (count, calls)) in &report.changes {
        print(&terminal_safe(&format!(
            "{}: {} → {}  {count} calls; decided by {}, in the draft by {}",
            change.function,
            change.from,
            change.to,
            joined(&change.then),
            joined(&change.now)
        )));
        calls
            .iter()
            .for_each(|(_, call)| print(&format!("    {call}")));
    }
    for (why, count) in &report.not_evaluated {
        print(&terminal_safe(&format!(
            "not evaluated: {count} calls: {why}"
        )));
    }
    let micros = took.as_micros().max(1);
    let rate = u128::from(report.evaluated) * 1_000_000 / micros;
    print(&format!(
        "{} calls evaluated, {} would be decided differently, {} the same; {} ms, {rate} calls/s on {threads} threads",
        report.evaluated,
        report.changed(),
        report.same,
        took.as_millis()
    ));
}

fn as_json(report: &Report) -> serde_json::Value {
    let changes = report.changes.iter().map(|(change, (count, calls))| {
        let calls = calls
            .iter()
            .filter_map(|(_, call)| call.split_whitespace().last());
        json!({
            "function": change.function,
            "from": change.from,
            "to": change.to,
            "decided_by": change.then,
            "draft_decided_by": change.now,
            "calls": count,
            "examples": calls.collect::<Vec<_>>(),
        })
    });
    json!({
        "evaluated": report.evaluated,
        "same": report.same,
        "changed": report.changed(),
        "changes": changes.collect::<Vec<_>>(),
        "not_evaluated": report.not_evaluated,
    })
}
