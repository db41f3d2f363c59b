//! `callgate audit shred|hold|release|holds`: erasing people, and what stands against it.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::{load, print};
use crate::app::{self, Note};
use crate::approval::terminal_safe;
use crate::call::CallId;
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::record::{Reading, Trail};

/// What to do about somebody's content.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Erase a person: destroy their key. Their content can be read nowhere any more, not by us either;
    /// every record and proof stays.
    Shred {
        /// Whom: `alias/subject`.
        #[arg(long, value_name = "ALIAS/SUBJECT", value_parser = subject)]
        subject: Subject,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Place a legal hold: nothing of that subject can be erased while it stands.
    Hold {
        /// Whom: `alias/subject`.
        #[arg(long, value_name = "ALIAS/SUBJECT", value_parser = subject, conflicts_with = "call", required_unless_present = "call")]
        subject: Option<Subject>,
        /// A call, whose subject's content is kept.
        #[arg(long)]
        call: Option<CallId>,
        /// Why, for the record. Do not write the person's name: this text is not erased with them.
        #[arg(long)]
        reason: String,
    },
    /// End a legal hold.
    Release {
        /// The hold's id.
        hold: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
    },
    /// Legal holds that stand.
    Holds,
    /// Go on after a log that cannot: a successor, whose first record says what it succeeds and what is
    /// lost.
    Succeed,
    /// Say that the data folder was moved here, and that nothing else will ever write a copy of it.
    Adopt,
    /// Begin to remember the newest head in `audit.head_file`, which is not there yet.
    Remember,
    /// Have the root key wrapped anew, under the newest version of the transit service's key. What is
    /// sealed stays as it is; the old wrapped key is gone.
    RotateRoot,
}

/// An issuer's alias and a subject of it.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    issuer: String,
    name: String,
}

fn subject(text: &str) -> Result<Subject, String> {
    let (issuer, name) = text
        .split_once('/')
        .filter(|(issuer, name)| !issuer.is_empty() && !name.is_empty())
        .ok_or("write `alias/subject`, the alias being an issuer's in the config")?;
    Ok(Subject {
        issuer: issuer.to_owned(),
        name: name.to_owned(),
    })
}

pub(super) async fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    let loaded = load(config)?;
    let done = match command {
        Command::Succeed => app::succeed(&loaded).await?,
        Command::Adopt => {
            app::adopt(&loaded)?;
            "the log goes on here".to_owned()
        }
        Command::Remember => {
            let size = app::remember(&loaded)?;
            format!("the head of {size} records is remembered")
        }
        Command::RotateRoot => told(app::rotate_root(&loaded).await)?,
        Command::Holds => return holds(&loaded).await,
        Command::Shred { .. } | Command::Hold { .. } | Command::Release { .. } => {
            told(app::note(&loaded, note(&loaded, command)?).await)?
        }
    };
    print(&terminal_safe(&done));
    Ok(ExitCode::SUCCESS)
}

fn told(outcome: Result<String, String>) -> anyhow::Result<String> {
    outcome.map_err(|why| anyhow::anyhow!("{}", terminal_safe(&why)))
}

/// What goes on record for a command that changes what may be erased.
fn note(loaded: &Loaded, command: &Command) -> anyhow::Result<Note> {
    Ok(match command {
        Command::Shred { subject, yes } => {
            if !yes {
                confirm(subject)?;
            }
            Note::Shred {
                issuer: subject.issuer.clone(),
                subject: subject.name.clone(),
            }
        }
        Command::Hold {
            subject: Some(subject),
            reason,
            ..
        } => Note::HoldSubject {
            issuer: subject.issuer.clone(),
            subject: subject.name.clone(),
            reason: reason.clone(),
        },
        Command::Hold { call, reason, .. } => {
            let call = call.context("name a subject or a call")?;
            // Only the pseudonym is needed, which stands in clear.
            let trail = Trail::open(&app::audit_dir(&loaded.data()), Arc::new(RealDisk))?;
            Note::HoldCall {
                call,
                subject_ref: trail.show(call)?.summary.subject_ref,
                reason: reason.clone(),
            }
        }
        Command::Release { hold, reason } => Note::Release {
            hold: hold.clone(),
            reason: reason.clone(),
        },
        Command::Succeed
        | Command::Adopt
        | Command::Remember
        | Command::RotateRoot
        | Command::Holds => anyhow::bail!("nothing to record"),
    })
}

async fn holds(loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let reading = Note::Read {
        what: Reading::List,
        call: None,
        about: json!({ "holds": true }),
    };
    told(app::note(loaded, reading).await)?;
    let trail = Trail::open(&app::audit_dir(&loaded.data()), Arc::new(RealDisk))?;
    for hold in trail.holds()? {
        let call = hold
            .call
            .map_or_else(String::new, |call| format!("  call {call}"));
        print(&terminal_safe(&format!(
            "{}  {}{call}",
            hold.id, hold.subject_ref
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// Nobody is erased by a slip of the hand.
fn confirm(subject: &Subject) -> anyhow::Result<()> {
    let name = format!("{}/{}", subject.issuer, subject.name);
    let mut input = std::io::stdin();
    anyhow::ensure!(
        input.is_terminal(),
        "nothing was erased: say `--yes`, or run this at a terminal to confirm"
    );
    let mut output = std::io::stderr();
    write!(
        output,
        "This destroys the key of {}. Everything recorded of them becomes unreadable, for everybody, \
         for ever; records and proofs stay.\nType {} to go on: ",
        terminal_safe(&name),
        terminal_safe(&name)
    )?;
    output.flush()?;
    let mut line = String::new();
    std::io::BufReader::new(&mut input).read_line(&mut line)?;
    anyhow::ensure!(
        line.trim_end() == name,
        "nothing was erased: that was another name"
    );
    Ok(())
}
