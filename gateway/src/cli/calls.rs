//! `callgate calls` and `callgate audit`: reading the evidence, beside a running gateway or on a copy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::{list, load, print};
use crate::app::{self, Note};
use crate::approval::terminal_safe;
use crate::call::CallId;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::record::{Reading, Replayed, ReplayedPart, Trail, Verdict, VerifyOptions};

/// Exit code of an incomplete log.
const INCOMPLETE: u8 = 2;

/// What to do with recorded calls.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Recorded calls, newest first.
    List(Box<list::Args>),
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

/// The config, once it is on record that somebody reads the log: what cannot be recorded is not shown.
pub(super) async fn recorded(
    config: &Path,
    what: Reading,
    call: Option<CallId>,
    about: serde_json::Value,
) -> anyhow::Result<Loaded> {
    let loaded = load(config)?;
    let note = Note::Read { what, call, about };
    if let Err(why) = app::note(&loaded, note).await {
        anyhow::bail!("nothing is shown, because the reading could not be recorded: {why}");
    }
    Ok(loaded)
}

/// The trail, once it is on record that somebody reads it.
async fn read(
    config: &Path,
    what: Reading,
    call: Option<CallId>,
    about: serde_json::Value,
) -> anyhow::Result<Trail> {
    let loaded = recorded(config, what, call, about).await?;
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
            let filter = args.filter(SystemClock.now())?;
            let loaded = recorded(config, Reading::List, None, args.about()).await?;
            list::run(&loaded, args, &filter).await?;
        }
        Command::Show { call } => {
            let trail = read(config, Reading::Show, Some(*call), json!({})).await?;
            let story = trail.show(*call)?;
            print(&list::line(&story.summary));
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
