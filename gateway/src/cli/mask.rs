//! `callgate mask`: what masking would do to a file, without a gateway, and what it did, from the record.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::{load, print};
use crate::approval::terminal_safe;
use crate::call::FunctionId;
use crate::mask::{DataClass, Masker, Needles, ResponseFacts, Settings, Summary};
use crate::pipeline::Snapshot;
use crate::policy::{Decision, cases};

/// What to try.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a file as a caller would get it, and why.
    Try(Try),
    /// Which data classes each function returned to how many callers, from the record, and where field
    /// rules would find them. That somebody asked is recorded.
    Report(report::Report),
}

/// A file, and whose eyes it is seen with.
#[derive(Debug, clap::Args)]
pub(super) struct Try {
    /// The file: an answer's body.
    file: PathBuf,
    /// Its media type; by default from the file's ending.
    #[arg(long)]
    content_type: Option<String>,
    /// Its content coding (`gzip`, `deflate`, `zstd`), if it has one.
    #[arg(long)]
    content_encoding: Option<String>,
    /// Use this function's mask settings; by default the standard ones with contact data.
    #[arg(long, conflicts_with = "detect")]
    function: Option<FunctionId>,
    /// Use the standard settings with these classes and groups (joined by commas).
    #[arg(long, value_delimiter = ',')]
    detect: Option<Vec<String>>,
    /// Whom to show it to: a case file of `policy test`, whose first case calls the function. What
    /// policies let that caller unmask stays.
    #[arg(long, value_name = "CASE", requires = "function")]
    r#as: Option<PathBuf>,
    /// Feed the file in pieces of so many bytes, as a slow function would.
    #[arg(long, default_value_t = 65536, value_parser = clap::value_parser!(u32).range(1..))]
    chunk_bytes: u32,
    /// How to print it; by default `sides` on a terminal and `text` elsewhere.
    #[arg(long)]
    output: Option<Output>,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// Masked lines, made safe for a terminal, and the counts.
    Text,
    /// Only lines that differ, before and after, and what was found and why.
    Sides,
    /// The masked bytes and nothing else.
    Raw,
    /// The counts by class, as JSON.
    Json,
    /// What was found and why, a line each; values in clear.
    Why,
}

pub(super) async fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Try(asked) => attempt(config, asked),
        Command::Report(asked) => report::run(config, asked).await,
    }
}

fn attempt(config: &Path, asked: &Try) -> anyhow::Result<ExitCode> {
    let body = std::fs::read(&asked.file).with_context(|| asked.file.display().to_string())?;
    let (settings, unmask) = settings(config, asked)?;
    let by_ending = match asked.file.extension().and_then(|ending| ending.to_str()) {
        Some("json") => "application/json",
        Some("ndjson" | "jsonl") => "application/x-ndjson",
        Some("csv") => "text/csv",
        Some("xml") => "application/xml",
        Some("html" | "htm") => "text/html",
        _ => "text/plain; charset=utf-8",
    };
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(asked.content_type.as_deref().unwrap_or(by_ending)),
        content_encoding: asked.content_encoding.as_deref(),
        head_only: false,
    };
    // Tokens and pseudonyms that no caller has.
    let plan = settings.plan(&unmask).for_caller("", "mask try");
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts)?.explained();
    let mut out = Vec::new();
    for piece in body.chunks(usize::try_from(asked.chunk_bytes)?) {
        masker.push(piece, &mut out)?;
    }
    let summary = masker.finish(&mut out)?;
    let by_place = if std::io::stdout().is_terminal() {
        Output::Sides
    } else {
        Output::Text
    };
    match asked.output.unwrap_or(by_place) {
        Output::Raw => std::io::stdout().write_all(&out)?,
        Output::Json => print(&serde_json::to_string_pretty(&counts(&summary))?),
        Output::Text => {
            for line in String::from_utf8_lossy(&out).lines() {
                print(&terminal_safe(line));
            }
            print_counts(&summary);
        }
        Output::Sides => {
            print_sides(&body, &out);
            print_counts(&summary);
            print_whys(&summary);
        }
        Output::Why => print_whys(&summary),
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings to use, and what the caller may see.
fn settings(config: &Path, asked: &Try) -> anyhow::Result<(Arc<Settings>, BTreeSet<DataClass>)> {
    let Some(function) = &asked.function else {
        let contact = || vec!["contact".to_owned()];
        let standard = crate::mask::Config {
            detect: asked.detect.clone().unwrap_or_else(contact),
            ..crate::mask::Config::default()
        };
        return match Settings::compile(&standard) {
            Ok(settings) => Ok((Arc::new(settings), BTreeSet::new())),
            Err(faults) => {
                let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
                bail!("{}", lines.join("\n"))
            }
        };
    };
    let snapshot = super::check::snapshot(&load(config)?)?;
    let settings = snapshot
        .connections
        .get(function.connection())
        .and_then(|connection| connection.upstream.mask(function))
        .map(Arc::clone)
        .with_context(|| format!("the config has no function `{function}`"))?;
    let unmask = match &asked.r#as {
        Some(case) => unmasked(&snapshot, case)?,
        None => BTreeSet::new(),
    };
    Ok((settings, unmask))
}

/// What the caller of a case may see.
fn unmasked(snapshot: &Snapshot, file: &Path) -> anyhow::Result<BTreeSet<DataClass>> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| name.clone())?;
    let cases = cases::parse(&name, &text)?;
    let case = cases
        .first()
        .with_context(|| format!("{name} holds no case"))?;
    let report = snapshot.policies.run(case);
    let decision = report.explanation.map(|explanation| explanation.decision);
    match decision {
        Some(Decision::Allow(obligations)) => Ok(obligations.unmask().clone()),
        Some(Decision::Deny(_)) => bail!("{name}: policies deny this call, so nothing comes back"),
        Some(Decision::Ask(_)) => {
            bail!("{name}: people are asked before this call, so nothing comes back yet")
        }
        None => bail!(
            "{name}: the case does not run: {}",
            report.differences.join("; ")
        ),
    }
}

fn counts(summary: &Summary) -> BTreeMap<&str, u64> {
    let both = summary.hits.iter().chain(&summary.observed);
    both.map(|(class, count)| (class.as_str(), *count))
        .collect()
}

fn print_counts(summary: &Summary) {
    for (class, count) in counts(summary) {
        print(&format!("# {class}: {count}"));
    }
}

/// Most findings that are explained.
const WHYS_MAX: usize = 200;

fn print_whys(summary: &Summary) {
    for why in summary.whys.iter().take(WHYS_MAX) {
        let (class, value) = (why.class.as_str(), terminal_safe(&why.value));
        print(&format!(
            "# {class} `{value}` {}",
            terminal_safe(&why.text())
        ));
    }
    let more = summary.whys.len().saturating_sub(WHYS_MAX);
    if more > 0 {
        print(&format!("# and {more} more"));
    }
}

/// Lines that masking changed, before and after. Where line ends were masked away the whole is shown.
fn print_sides(before: &[u8], after: &[u8]) {
    let (before, after) = (
        String::from_utf8_lossy(before),
        String::from_utf8_lossy(after),
    );
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let side = |sign: &str, line: &str| print(&format!("{sign} {}", terminal_safe(line)));
    if before.len() != after.len() {
        before.iter().for_each(|line| side("-", line));
        after.iter().for_each(|line| side("+", line));
        return;
    }
    for (was, is) in before.iter().zip(&after).filter(|(was, is)| was != is) {
        side("-", was);
        side("+", is);
    }
}
