//! `callgate policy simulate`: recorded calls under a draft of the policies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::check::snapshot;
use super::list::Output;
use super::{calls, list, print, span};
use crate::approval::terminal_safe;
use crate::clock::{Clock as _, SystemClock};
use crate::config;
use crate::pipeline::simulate::{Draft, Report, Wanted, simulate};
use crate::record::Reading;

/// Exit code when some call would be decided differently.
const CHANGED: u8 = 2;
/// Exit code when none would, but some could not be evaluated.
const UNCERTAIN: u8 = 3;

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
    let wanted = Wanted {
        since,
        until,
        of: &|_| true,
        threads,
        examples: args.examples,
        records_max: None,
        within: None,
        kinds_max: None,
        policies_max: None,
    };
    let policies = Draft {
        policies: &draft.policies,
        connections: &draft.connections,
    };
    let report = simulate(&index, policies, &wanted)?;
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
            .for_each(|one| print(&format!("    {}  {}", one.at, one.call)));
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
        let calls = calls.iter().map(|one| one.call.as_str());
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
