//! `callgate calls`: reading the evidence, beside a running gateway or on a copy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{list, load, print};
use crate::app::{self, Note};
use crate::approval::terminal_safe;
use crate::call::CallId;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::evidence::{Fact, sections};
use crate::record::{Entry, Reading, Replayed, ReplayedPart, Story, Trail};

/// Longest pause when a stream is played back in time.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What to do with recorded calls.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Recorded calls, newest first.
    List(Box<list::Args>),
    /// Everything that is recorded of one call.
    Show {
        /// The call's id (`Callgate-Call`).
        call: CallId,
        /// The folder of a log that was succeeded (`audit.1`).
        #[arg(long)]
        log: Option<PathBuf>,
    },
    /// What was sent and what was released, again; nothing runs.
    Replay {
        /// The call's id (`Callgate-Call`).
        call: CallId,
        /// The folder of a log that was succeeded (`audit.1`).
        #[arg(long)]
        log: Option<PathBuf>,
        /// The released body with the pauses in which it was released.
        #[arg(long)]
        timed: bool,
        /// How many times faster.
        #[arg(long, requires = "timed", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        speed: u32,
    },
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
pub(super) async fn read(
    config: &Path,
    what: Reading,
    call: Option<CallId>,
    about: serde_json::Value,
) -> anyhow::Result<Trail> {
    read_at(config, None, what, call, about).await
}

/// The same of one call, in the log or in one that it succeeds.
async fn read_log(
    config: &Path,
    what: Reading,
    call: CallId,
    log: Option<&Path>,
) -> anyhow::Result<Trail> {
    let about = log.map_or_else(|| json!({}), |log| json!({ "log": log }));
    read_at(config, log, what, Some(call), about).await
}

pub(super) async fn read_at(
    config: &Path,
    log: Option<&Path>,
    what: Reading,
    call: Option<CallId>,
    about: serde_json::Value,
) -> anyhow::Result<Trail> {
    let loaded = recorded(config, what, call, about).await?;
    let dir = log.map_or_else(|| app::audit_dir(&loaded.data()), Path::to_owned);
    match app::root_key(&loaded).await {
        Ok(root) => Ok(Trail::open_with(&dir, Arc::new(RealDisk), root)?),
        // What stands in clear is shown, when the service that opens the rest is away.
        Err(error @ app::Error::Root(_)) => {
            super::complain(&anyhow::Error::from(error).context("sealed content stays closed"));
            Ok(Trail::open(&dir, Arc::new(RealDisk))?)
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
        Command::Show { call, log } => {
            let trail = read_log(config, Reading::Show, *call, log.as_deref()).await?;
            let story = trail.show(*call)?;
            print(&list::line(&story.summary));
            for section in sections(&facts(&story)) {
                print(&format!("\n{}", section.title));
                for (name, value) in &section.rows {
                    let (name, value) = (terminal_safe(name), terminal_safe(value));
                    print(&format!("  {name:<17} {value}"));
                }
            }
            print("\nIn full");
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
        Command::Replay {
            call,
            log,
            timed,
            speed,
        } => {
            let trail = read_log(config, Reading::Replay, *call, log.as_deref()).await?;
            let replayed = trail.replay(*call)?;
            replay(&replayed, timed.then_some(*speed)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The records, for the story.
fn facts(story: &Story) -> Vec<Fact> {
    let fact = |entry: &Entry| Fact {
        index: entry.index,
        kind: entry.kind.clone(),
        fields: entry.fields.clone(),
        content: entry.content.clone(),
        erased: entry.erased,
    };
    story.entries.iter().map(fact).collect()
}

async fn replay(replayed: &Replayed, speed: Option<u32>) -> anyhow::Result<()> {
    part("request head", &replayed.request_head);
    part("request body", &replayed.request_body);
    part("released head", &replayed.released_head);
    match speed {
        Some(speed) => in_time(replayed, speed).await?,
        None => part("released body", &replayed.released_body),
    }
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
    Ok(())
}

/// The released body as its caller saw it come.
async fn in_time(replayed: &Replayed, speed: u32) -> anyhow::Result<()> {
    let body = &replayed.released_body;
    if replayed.times.is_empty() {
        print("# it came in one go, or its times were not recorded");
        part("released body", body);
        return Ok(());
    }
    heading("released body", body);
    let mut rest = body.bytes.as_slice();
    let mut at_ms = 0;
    for group in &replayed.times {
        let pause = Duration::from_millis(group.at_ms.saturating_sub(at_ms)) / speed;
        at_ms = group.at_ms;
        if pause > PAUSE_MAX {
            print(&format!(
                "# a pause of {} s, cut to {} s",
                pause.as_secs(),
                PAUSE_MAX.as_secs()
            ));
        }
        tokio::time::sleep(pause.min(PAUSE_MAX)).await;
        let bytes = usize::try_from(group.bytes)
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (now, later) = rest.split_at(bytes);
        rest = later;
        print(&format!(
            "# +{}.{:03} s, {bytes} bytes",
            at_ms / 1000,
            at_ms % 1000
        ));
        lines(now);
    }
    if !rest.is_empty() {
        print(&format!(
            "# {} bytes of which the time is not known",
            rest.len()
        ));
        lines(rest);
    }
    Ok(())
}

fn lines(bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        print(&terminal_safe(line));
    }
}

fn part(title: &str, part: &ReplayedPart) {
    if part.bytes.is_empty() && part.total.unwrap_or(0) == 0 {
        return;
    }
    heading(title, part);
    lines(&part.bytes);
}

fn heading(title: &str, part: &ReplayedPart) {
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
}
