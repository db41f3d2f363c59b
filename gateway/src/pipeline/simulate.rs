//! Recorded calls under a draft of the policies: what would be decided differently. Nothing runs and nothing
//! is recorded here; who reads is put on record by whoever calls this, the command line and people's API.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::Connection;
use crate::call::{ConnectionName, Facts, FunctionId};
use crate::clock::Timestamp;
use crate::policy::{Decision, Policies, Recorded};
use crate::record::{
    self, CallIndex, Decided, Judged, JudgedContent, Opener, SealedDecision, TriedBody, Would,
};

/// Records that are handed to a worker at one time, and such heaps that wait.
const HEAP: usize = 256;
const HEAPS_MAX: usize = 16;
/// Reasons why calls could not be evaluated that are told apart.
const REASONS_MAX: usize = 100;

/// Why calls could not be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The log does not read back.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// A thread of the evaluation ended before its work did.
    #[error("an evaluation broke off")]
    BrokeOff,
}

/// What recorded calls are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'d> {
    /// The draft of the policies.
    pub policies: &'d Policies,
    /// The connections, whose functions read calls that passed unjudged.
    pub connections: &'d BTreeMap<ConnectionName, Arc<Connection>>,
}

/// Which calls, and how much may be spent on them.
pub struct Wanted<'w> {
    /// From when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Of which functions.
    pub of: &'w (dyn Fn(&str) -> bool + Sync),
    /// Threads that evaluate.
    pub threads: usize,
    /// Calls that are named for each change.
    pub examples: usize,
    /// Records of decisions that are read at most.
    pub records_max: Option<u64>,
    /// How long it may take.
    pub within: Option<Duration>,
    /// Kinds of changes that are told apart; further ones are counted.
    pub kinds_max: Option<usize>,
    /// Policies that are named on each side of a change.
    pub policies_max: Option<usize>,
}

impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wanted")
            .field("since", &self.since)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// One kind of change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    /// The function.
    pub function: String,
    /// What was decided.
    pub from: &'static str,
    /// What would be.
    pub to: &'static str,
    /// Policies that decided then.
    pub then: Vec<String>,
    /// Those of the draft.
    pub now: Vec<String>,
}

/// A call that is named for a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Example {
    /// The index of its record.
    pub index: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Its id.
    pub call: String,
}

/// What would be different.
#[derive(Clone, Debug)]
pub struct Report {
    /// Calls that were evaluated.
    pub evaluated: u64,
    /// Those that would be decided the same.
    pub same: u64,
    /// Changes, each with how many calls and the newest of them.
    pub changes: BTreeMap<Change, (u64, Vec<Example>)>,
    /// Calls that changed in further ways.
    pub other_changes: u64,
    /// Calls that could not be evaluated, by why.
    pub not_evaluated: BTreeMap<String, u64>,
    /// Whether all of the wanted calls were looked at. If not, the newest ones are missing.
    pub complete: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            evaluated: 0,
            same: 0,
            changes: BTreeMap::new(),
            other_changes: 0,
            not_evaluated: BTreeMap::new(),
            complete: true,
        }
    }
}

impl Report {
    /// Calls that would be decided differently.
    pub fn changed(&self) -> u64 {
        let told: u64 = self.changes.values().map(|(count, _)| count).sum();
        told + self.other_changes
    }

    fn take(&mut self, judged: &Judged, draft: Draft<'_>, wanted: &Wanted<'_>) {
        let outcome = match judge(judged, draft) {
            Ok(outcome) => outcome,
            Err(why) => {
                self.could_not(why, 1);
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
            then: named(judged.policies.clone(), wanted.policies_max),
            now: named(now, wanted.policies_max),
        };
        let example = Example {
            index: judged.index,
            at: judged.at,
            call: judged.call.to_string(),
        };
        self.change(change, (1, vec![example]), wanted);
    }

    fn change(&mut self, change: Change, found: (u64, Vec<Example>), wanted: &Wanted<'_>) {
        let (count, examples) = found;
        let full = wanted
            .kinds_max
            .is_some_and(|most| self.changes.len() >= most);
        if full && !self.changes.contains_key(&change) {
            self.other_changes += count;
            return;
        }
        let (sum, calls) = self.changes.entry(change).or_default();
        *sum += count;
        calls.extend(examples);
        newest(calls, wanted.examples);
    }

    fn could_not(&mut self, why: String, count: u64) {
        let full = self.not_evaluated.len() >= REASONS_MAX;
        let why = if full && !self.not_evaluated.contains_key(&why) {
            "other reasons".to_owned()
        } else {
            why
        };
        *self.not_evaluated.entry(why).or_default() += count;
    }

    fn join(&mut self, other: Self, wanted: &Wanted<'_>) {
        self.evaluated += other.evaluated;
        self.same += other.same;
        self.other_changes += other.other_changes;
        self.complete &= other.complete;
        for (change, found) in other.changes {
            self.change(change, found, wanted);
        }
        for (why, count) in other.not_evaluated {
            self.could_not(why, count);
        }
    }
}

/// Policies by name, and how many more there are.
fn named(mut ids: Vec<String>, most: Option<usize>) -> Vec<String> {
    let more = most.map_or(0, |most| ids.len().saturating_sub(most));
    if more > 0 {
        ids.truncate(ids.len() - more);
        ids.push(format!("and {more} more"));
    }
    ids
}

/// Keep the newest examples, whichever thread found them.
fn newest(calls: &mut Vec<Example>, most: usize) {
    calls.sort_by_key(|example| std::cmp::Reverse(example.index));
    calls.truncate(most);
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

/// What becomes of a recorded call.
#[derive(Debug)]
pub enum Outcome {
    /// Policy decides.
    Decided(FunctionId, Decision),
    /// It is refused before policy is asked; the code.
    Refused(&'static str),
}

/// What would become of a recorded call. One that passed unjudged, because its connection only
/// observed, is read again by the functions that are declared in `draft`.
///
/// # Errors
/// Why it cannot be judged again, for people.
pub fn judge(judged: &Judged, draft: Draft<'_>) -> Result<Outcome, String> {
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

/// Evaluate recorded calls, oldest first. It reads files: to be called where waiting is allowed.
///
/// # Errors
/// [`SimulateError`].
pub fn simulate(
    index: &CallIndex,
    draft: Draft<'_>,
    wanted: &Wanted<'_>,
) -> Result<Report, SimulateError> {
    let deadline = wanted.within.map(|within| Instant::now() + within);
    let is_late = || deadline.is_some_and(|deadline| Instant::now() > deadline);
    let (sender, receiver) = mpsc::sync_channel::<Vec<SealedDecision>>(HEAPS_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    let opener = Opener::default();
    let (opener, is_late) = (&opener, &is_late);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..wanted.threads.max(1))
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                scope.spawn(move || work(&receiver, (index, opener), draft, wanted, is_late))
            })
            .collect();
        // Theirs alone: when all of them broke off, nobody waits for a place among the heaps.
        drop(receiver);
        let mut heap = Vec::with_capacity(HEAP);
        let (mut records, mut complete) = (0_u64, true);
        let read = index.decisions(Some(wanted.since), &mut |sealed| {
            records += 1;
            if wanted.records_max.is_some_and(|most| records > most) || is_late() {
                complete = false;
                return false;
            }
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
            let part = worker.join().map_err(|_| SimulateError::BrokeOff)?;
            report.join(part, wanted);
        }
        read?;
        report.complete &= complete;
        Ok(report)
    })
}

/// Judge what comes, until nothing more does.
fn work(
    heaps: &Mutex<mpsc::Receiver<Vec<SealedDecision>>>,
    (index, opener): (&CallIndex, &Opener),
    draft: Draft<'_>,
    wanted: &Wanted<'_>,
    is_late: &(dyn Fn() -> bool + Sync),
) -> Report {
    let mut report = Report::default();
    let meant = |function: &str, at: Timestamp| {
        at >= wanted.since && at < wanted.until && (wanted.of)(function)
    };
    loop {
        let heap = heaps.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(heap) = heap else { return report };
        for sealed in heap {
            // What waited in heaps when the time was over is not opened any more.
            if is_late() {
                report.complete = false;
                break;
            }
            if let Some(judged) = index.open_decision(sealed, opener, &meant) {
                report.take(&judged, draft, wanted);
            }
        }
    }
}
