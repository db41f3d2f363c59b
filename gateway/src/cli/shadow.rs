//! `callgate policy shadow`: what shadow policies would have made of recorded calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::list::Output;
use super::{calls, list, print, span};
use crate::approval::terminal_safe;
use crate::clock::{Clock as _, SystemClock};
use crate::record::{CallSummary, Filter, PAGE_CALLS_MAX, Reading, WouldFilter};

/// What to report.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The calls: how far back (`90s`, `30m`, `24h`, `7d`), or `FROM..TO` with times or dates.
    #[arg(long, default_value = "24h")]
    against: String,
    /// Calls that are named for each line.
    #[arg(long, default_value_t = 3)]
    examples: usize,
    /// How to write the report.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Calls that are told in one line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kind {
    policies: Vec<String>,
    function: String,
    decided: &'static str,
    would: &'static str,
}

#[derive(Debug, Default)]
struct Found {
    calls: u64,
    /// The newest few.
    examples: Vec<String>,
}

pub(super) async fn run(config: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let (since, until) = span::against(&args.against, SystemClock.now())?;
    let about = json!({ "against": args.against, "shadow": true });
    let loaded = calls::recorded(config, Reading::List, None, about).await?;
    let mut index = list::index(&loaded).await?;
    let filter = Filter {
        since: Some(since),
        until: Some(until),
        shadow: Some(WouldFilter::Any),
        ..Filter::default()
    };
    let mut kinds: BTreeMap<Kind, Found> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = index.page(&filter, cursor, PAGE_CALLS_MAX)?;
        for call in &page.calls {
            let Some(kind) = kind(call) else { continue };
            let found = kinds.entry(kind).or_default();
            found.calls += 1;
            // Pages come newest first.
            if found.examples.len() < args.examples {
                found.examples.push(call.call.to_string());
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    match args.output {
        Output::Text => text(&kinds),
        Output::Json => print(&as_json(&kinds).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(call: &CallSummary) -> Option<Kind> {
    let would = call.shadow.as_ref()?;
    Some(Kind {
        policies: would.policies.clone(),
        function: call.function.clone().unwrap_or_default(),
        decided: call.decided.as_str(),
        would: would.decided.as_str(),
    })
}

fn text(kinds: &BTreeMap<Kind, Found>) {
    for (kind, found) in kinds {
        let change = if kind.decided == kind.would {
            format!("{} either way", kind.decided)
        } else {
            format!("{} → {}", kind.decided, kind.would)
        };
        print(&terminal_safe(&format!(
            "{}: {}: {change}  {} calls",
            kind.policies.join(", "),
            kind.function,
            found.calls
        )));
        let examples = found.examples.iter();
        examples.for_each(|call| print(&format!("    {call}")));
    }
    let all: u64 = kinds.values().map(|found| found.calls).sum();
    let differ = kinds.iter().filter(|(kind, _)| kind.decided != kind.would);
    let differ: u64 = differ.map(|(_, found)| found.calls).sum();
    print(&format!(
        "{all} calls were matched by shadow policies, {differ} would be decided differently with them"
    ));
}

fn as_json(kinds: &BTreeMap<Kind, Found>) -> serde_json::Value {
    kinds
        .iter()
        .map(|(kind, found)| {
            json!({
                "policies": kind.policies,
                "function": kind.function,
                "decided": kind.decided,
                "would": kind.would,
                "calls": found.calls,
                "examples": found.examples,
            })
        })
        .collect()
}
