//! `callgate mask report`: a catalogue of the data that functions returned, from the record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use crate::approval::terminal_safe;
use crate::call::FunctionId;
use crate::cli::{calls, print, span};
use crate::clock::{Clock as _, SystemClock};
use crate::record::{CallSummary, Filter, Reading, Trail};

/// What to report.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Report {
    /// Only calls since then: `7d`, `12h`, or a time such as `2026-11-25T04:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only this function.
    #[arg(long)]
    function: Option<FunctionId>,
    /// The newest so many calls at most.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Suggest a field rule for a name under which values were found at least so many times.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    at_least: u32,
    /// How to print it.
    #[arg(long, default_value = "text")]
    output: Output,
}

/// How the report is printed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// A line each.
    Text,
    /// One JSON document.
    Json,
}

/// What a function returned of one class.
#[derive(Debug, Default, Serialize)]
struct Row {
    values: u64,
    calls: u64,
    /// Distinct callers.
    callers: usize,
    last: String,
    /// Names under which values were found, and how often.
    names: BTreeMap<String, u64>,
    #[serde(skip)]
    who: BTreeSet<String>,
}

/// Rows by function and class.
type Catalogue = BTreeMap<String, BTreeMap<String, Row>>;

pub(super) async fn run(config: &Path, asked: &Report) -> anyhow::Result<ExitCode> {
    let since = asked
        .since
        .as_deref()
        .map(|text| span::time(text, SystemClock.now()))
        .transpose()?;
    let about = serde_json::json!({
        "report": "mask", "since": since.map(|at| at.to_string()),
        "function": asked.function.as_ref().map(ToString::to_string), "calls": asked.calls,
    });
    let mut trail = calls::read(config, Reading::List, None, about).await?;
    let filter = Filter {
        function: asked.function.as_ref().map(ToString::to_string),
        since,
        ..Filter::default()
    };
    let (catalogue, read) = gather(&mut trail, &filter, asked.calls)?;
    match asked.output {
        Output::Json => print(&serde_json::to_string_pretty(&catalogue)?),
        Output::Text => text(&catalogue, read, u64::from(asked.at_least)),
    }
    Ok(ExitCode::SUCCESS)
}

fn gather(trail: &mut Trail, filter: &Filter, most: u32) -> anyhow::Result<(Catalogue, u64)> {
    let mut catalogue = Catalogue::new();
    let (mut read, mut cursor) = (0, None);
    let most = usize::try_from(most)?;
    while read < most {
        let page = trail.page(filter, &|_| true, cursor, most - read)?;
        read += page.calls.len();
        for call in &page.calls {
            add(&mut catalogue, trail, call)?;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok((catalogue, read as u64))
}

/// Count what was masked of a call.
fn add(catalogue: &mut Catalogue, trail: &Trail, call: &CallSummary) -> anyhow::Result<()> {
    let Some(function) = call.function.clone().filter(|_| !call.masked.is_empty()) else {
        return Ok(());
    };
    let names = names(trail, call)?;
    let rows = catalogue.entry(function).or_default();
    for (class, count) in &call.masked {
        let row = rows.entry(class.clone()).or_default();
        row.values += count;
        row.calls += 1;
        row.who
            .insert(format!("{}/{}", call.issuer, call.subject_ref));
        row.callers = row.who.len();
        row.last = row.last.clone().max(call.at.to_string());
        for (name, count) in names.get(class).into_iter().flatten() {
            *row.names.entry(name.clone()).or_default() += count;
        }
    }
    Ok(())
}

/// The names under which values of a call were found, by class: sealed, so none where keys are not here.
fn names(
    trail: &Trail,
    call: &CallSummary,
) -> anyhow::Result<BTreeMap<String, BTreeMap<String, u64>>> {
    let story = trail.show(call.call)?;
    let ending = story.entry("call.end").and_then(|end| end.content.as_ref());
    let places = ending.and_then(|ending| ending.get("places"));
    let Some(Value::Object(places)) = places else {
        return Ok(BTreeMap::new());
    };
    let of_class = |names: &Value| -> BTreeMap<String, u64> {
        let names = names.as_object().into_iter().flatten();
        let counted = names.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)));
        counted.collect()
    };
    let by_class = places.iter();
    Ok(by_class
        .map(|(class, names)| (class.clone(), of_class(names)))
        .collect())
}

fn text(catalogue: &Catalogue, read: u64, at_least: u64) {
    print(&format!("# of {read} calls"));
    for (function, rows) in catalogue {
        print(&terminal_safe(function));
        for (class, row) in rows {
            print(&terminal_safe(&format!(
                "  {class:<28} {:>8} values  {:>7} calls  {:>5} callers  last {}",
                row.values, row.calls, row.callers, row.last
            )));
        }
        for (class, row) in rows {
            for (name, count) in row.names.iter().filter(|(_, count)| **count >= at_least) {
                // A path in JSON; elsewhere a name.
                let anywhere = if name.starts_with('$') { "" } else { "$.." };
                print(&terminal_safe(&format!(
                    "  field rule?  \"{anywhere}{name}\": {class}   # {count} values were found there"
                )));
            }
        }
    }
}
