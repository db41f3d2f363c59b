//! `callgate calls` and `callgate audit`: reading the evidence, beside a running gateway or on a copy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::{load, print};
use crate::app::{self, Note};
use crate::approval::terminal_safe;
use crate::call::CallId;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::record::{
    CallSummary, Filter, Reading, Replayed, ReplayedPart, Trail, Verdict, VerifyOptions,
};

/// Exit code of an incomplete log.
const INCOMPLETE: u8 = 2;
/// Calls that are listed unless more are asked for.
const LIST_DEFAULT: usize = 50;

/// What to do with recorded calls.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Recorded calls, newest first.
    List(ListArgs),
    /// Everything that is recorded of one call.
    Show {
        /// The call's id (`Callgate-Call`).
        call: CallId,
    },
    /// What was sent and what was released, again; nothing runs.
    Replay {
        /// The call's id (`Callgate-Call`).
        call: CallId,
    },
}

/// Which calls to list.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only this function.
    #[arg(long)]
    function: Option<String>,
    /// Only this connection.
    #[arg(long)]
    connection: Option<String>,
    /// Only this caller: `alias/subject`.
    #[arg(long)]
    principal: Option<String>,
    /// Only this outcome: ok, denied, cut, withheld, indeterminate, open, ….
    #[arg(long)]
    outcome: Option<String>,
    /// Only of the last so many seconds.
    #[arg(long)]
    last_s: Option<u64>,
    /// Only functions that nobody declared.
    #[arg(long)]
    unknown: bool,
    /// At most so many.
    #[arg(long, default_value_t = LIST_DEFAULT)]
    limit: usize,
}

/// What to do with the audit log.
#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditCommand {
    /// Check the whole log. Exit code 0: intact, 1: tampered, 2: incomplete.
    Verify {
        /// Signed heads from elsewhere (files with a checkpoint): the log must only have grown since.
        #[arg(long)]
        since: Vec<PathBuf>,
        /// A log's folder; by default the config's.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Print the proof that a call's begin record is in the log (`.tlog-proof`), to check offline.
    Prove {
        /// The call's id (`Callgate-Call`).
        call: CallId,
    },
    /// Print the newest signed head, to keep elsewhere.
    Head {
        /// The newest one that enough witnesses have cosigned, with their signatures.
        #[arg(long)]
        cosigned: bool,
    },
    /// Print the log's public key, which witnesses and auditors need.
    Key,
    #[command(flatten)]
    Keep(super::keep::Command),
}

/// The log without what opens its content.
fn open(loaded: &Loaded) -> anyhow::Result<Trail> {
    Ok(Trail::open(
        &app::audit_dir(&loaded.data()),
        Arc::new(RealDisk),
    )?)
}

/// The trail, once it is on record that somebody reads it: what cannot be recorded is not shown.
async fn read(
    config: &Path,
    what: Reading,
    call: Option<CallId>,
    about: serde_json::Value,
) -> anyhow::Result<Trail> {
    let loaded = load(config)?;
    let note = Note::Read { what, call, about };
    if let Err(why) = app::note(&loaded, note).await {
        anyhow::bail!("nothing is shown, because the reading could not be recorded: {why}");
    }
    match app::trail(&loaded).await {
        Ok(trail) => Ok(trail),
        // What stands in clear is shown, when the service that opens the rest is away.
        Err(error @ app::Error::Root(_)) => {
            super::complain(&anyhow::Error::from(error).context("sealed content stays closed"));
            open(&loaded)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => {
            let filter = filter(args)?;
            let trail = read(config, Reading::List, None, about(args)).await?;
            for summary in trail.calls(filter).take(args.limit) {
                print(&line(&summary?));
            }
        }
        Command::Show { call } => {
            let trail = read(config, Reading::Show, Some(*call), json!({})).await?;
            let story = trail.show(*call)?;
            print(&line(&story.summary));
            for entry in &story.entries {
                print(&format!("#{} {}", entry.index, entry.kind));
                print(&format!("  {}", terminal_safe(&entry.text)));
                if let Some(content) = &entry.content {
                    print(&format!(
                        "  sealed: {}",
                        terminal_safe(&content.to_string())
                    ));
                }
                if let Some(record) = entry.erased {
                    print(&format!("  sealed: erased, by record {record}"));
                }
            }
        }
        Command::Replay { call } => {
            let trail = read(config, Reading::Replay, Some(*call), json!({})).await?;
            replay(&trail.replay(*call)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The filter as it was given, for the record.
fn about(args: &ListArgs) -> serde_json::Value {
    json!({
        "function": args.function,
        "connection": args.connection,
        "principal": args.principal,
        "outcome": args.outcome,
        "last_s": args.last_s,
        "unknown": args.unknown,
        "limit": args.limit,
    })
}

fn filter(args: &ListArgs) -> anyhow::Result<Filter> {
    let principal = match &args.principal {
        Some(text) => {
            let (issuer, subject) = text
                .split_once('/')
                .with_context(|| format!("`{text}`: write `alias/subject`"))?;
            Some((issuer.to_owned(), subject.to_owned()))
        }
        None => None,
    };
    let since = args.last_s.map(|seconds| {
        let now = SystemClock.now().nanos();
        Timestamp::from_nanos(now.saturating_sub(seconds.saturating_mul(1_000_000_000)))
    });
    Ok(Filter {
        function: args.function.clone(),
        connection: args.connection.clone(),
        principal,
        outcome: args.outcome.clone(),
        since,
        until: None,
        unknown: args.unknown,
    })
}

fn line(summary: &CallSummary) -> String {
    let subject = match (summary.erased, &summary.subject) {
        (Some(_), _) => "[erased]",
        (None, Some(subject)) => subject,
        (None, None) => &summary.subject_ref,
    };
    let function = summary.function.as_deref().unwrap_or("?");
    let status = summary
        .status
        .map_or_else(String::new, |status| format!(" {status}"));
    let took = summary
        .total_ms
        .map_or_else(String::new, |ms| format!(" {ms} ms"));
    let approval = summary
        .approval
        .as_deref()
        .map_or_else(String::new, |id| format!(" approval {id}"));
    let masked: Vec<_> = summary
        .masked
        .iter()
        .map(|(class, count)| format!("{class}×{count}"))
        .collect();
    let masked = if masked.is_empty() {
        String::new()
    } else {
        format!(" masked {}", masked.join(","))
    };
    let reason = summary
        .reason
        .as_deref()
        .filter(|reason| *reason != summary.outcome);
    let reason = reason.map_or_else(String::new, |reason| format!(" {reason}"));
    let tried = summary
        .tried
        .as_ref()
        .map_or_else(String::new, |tried| format!(" tried {tried}"));
    terminal_safe(&format!(
        "{}  {}  {function}  {}/{subject} ({})  {}{reason}{status}{took}{approval}{masked}{tried}",
        summary.at, summary.call, summary.issuer, summary.principal_kind, summary.outcome
    ))
}

fn replay(replayed: &Replayed) {
    part("request head", &replayed.request_head);
    part("request body", &replayed.request_body);
    part("released head", &replayed.released_head);
    part("released body", &replayed.released_body);
    part("released trailers", &replayed.trailers);
    let verdict = if replayed.verified() {
        "what is shown matches its commitments"
    } else {
        "WHAT IS SHOWN DOES NOT MATCH ITS COMMITMENTS"
    };
    print(&format!(
        "# {verdict}{}",
        if replayed.truncated() {
            "; content beyond the capture limit is missing"
        } else {
            ""
        }
    ));
}

fn part(title: &str, part: &ReplayedPart) {
    if part.bytes.is_empty() && part.total.unwrap_or(0) == 0 {
        return;
    }
    let cut = part
        .cut
        .as_deref()
        .map_or_else(String::new, |why| format!(", cut by {why}"));
    let total = part
        .total
        .map_or_else(String::new, |total| format!(" of {total}"));
    print(&format!(
        "# {title}: {}{total} bytes{cut}",
        part.bytes.len()
    ));
    for line in String::from_utf8_lossy(&part.bytes).lines() {
        print(&terminal_safe(line));
    }
}

pub(super) async fn audit(config: &Path, command: &AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify { since, dir } => {
            let dir = match dir {
                Some(dir) => dir.clone(),
                None => app::audit_dir(&load(config)?.data()),
            };
            let mut options = VerifyOptions::default();
            for file in since {
                options.since.push(
                    std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
                );
            }
            let report = Trail::check(&dir, &RealDisk, &options)?;
            let counts = format!(
                "{} records, {} signed heads, {} records younger than the newest head",
                report.records, report.heads, report.unsigned
            );
            match report.verdict {
                Verdict::Intact => {
                    print(&format!("intact: {counts}"));
                    Ok(ExitCode::SUCCESS)
                }
                Verdict::Tampered { first_bad, what } => {
                    print(&format!(
                        "TAMPERED at record {first_bad}: {what} ({counts})"
                    ));
                    Ok(ExitCode::FAILURE)
                }
                Verdict::Incomplete { what } => {
                    print(&format!("INCOMPLETE: {what} ({counts})"));
                    Ok(ExitCode::from(INCOMPLETE))
                }
            }
        }
        AuditCommand::Prove { call } => {
            let trail = read(config, Reading::Prove, Some(*call), json!({})).await?;
            print(trail.prove(*call)?.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Keep(command) => super::keep::run(config, command).await,
        AuditCommand::Head { cosigned: false } => {
            let dir = app::audit_dir(&load(config)?.data());
            let head = Trail::newest_head(&dir, &RealDisk)?.context(
                "no head is signed yet: the first one comes a second after the first record",
            )?;
            print(head.note.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Head { cosigned: true } => {
            let head = open(&load(config)?)?.cosigned_head().context(
                "no head is cosigned by enough witnesses yet: `callgate doctor` tells how they stand",
            )?;
            print(head.note.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Key => {
            let dir = app::audit_dir(&load(config)?.data());
            print(&Trail::key_of(&dir, &RealDisk)?.to_string());
            Ok(ExitCode::SUCCESS)
        }
    }
}
