//! `callgate audit`: verify the audit log or a copy of it, prove what is in it, hand it on.

mod source;
mod verify;

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::calls::{read, read_at};
use super::{USAGE, complain, load, print, remark};
use crate::app;
use crate::call::CallId;
use crate::disk::RealDisk;
use crate::evidence::Bundle;
use crate::record::{Disclose, Format, Reading, Trail};

/// What to do with the audit log.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check a log, a copy of it, a proof or a checkpoint. Exit code 0: intact, 1: tampered, 2: incomplete,
    /// 64: could not be checked.
    Verify(verify::Args),
    /// Print the proof that a call's last record, which names its first, is in the log (`.tlog-proof`).
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
    /// Hand out a copy of records.
    Export(ExportArgs),
    #[command(flatten)]
    Keep(super::keep::Command),
}

/// What is handed out, and where to.
#[derive(Debug, clap::Args)]
#[command(group(
    clap::ArgGroup::new("form").required(true).args(["tiles", "jsonl", "ocsf", "cef", "evidence"])
))]
pub(super) struct ExportArgs {
    /// The log as static files (C2SP tlog-tiles) in this folder, for any web server. Files that are
    /// there are kept: run it again to bring the copy up to date.
    #[arg(long, value_name = "FOLDER")]
    tiles: Option<PathBuf>,
    /// Every record, a line of JSON each.
    #[arg(long)]
    jsonl: bool,
    /// Every call that ended or was denied, as an OCSF API Activity event (class 6003).
    #[arg(long)]
    ocsf: bool,
    /// The same calls as CEF.
    #[arg(long)]
    cef: bool,
    /// The evidence of one call, as an archive (tar) that verifies offline: its records with their proofs,
    /// the approval, the policies in force, and a page that tells the story.
    #[arg(long, value_name = "CALL")]
    evidence: Option<CallId>,
    /// With what was sent and released, and with who it was: whoever has the archive can read that.
    #[arg(long, requires = "evidence", conflicts_with_all = ["tiles", "jsonl", "ocsf", "cef"])]
    with_content: bool,
    /// The folder of a log that was succeeded (`audit.1`).
    #[arg(long, conflicts_with = "tiles")]
    log: Option<PathBuf>,
    /// Write to this file, which must not exist yet, instead of standard output.
    #[arg(long, short, conflicts_with = "tiles")]
    output: Option<PathBuf>,
    /// Begin at this record.
    #[arg(
        long,
        value_name = "INDEX",
        default_value_t = 0,
        conflicts_with_all = ["tiles", "evidence"]
    )]
    from: u64,
}

impl ExportArgs {
    /// The form of lines that is asked for.
    fn format(&self) -> Format {
        match (self.ocsf, self.cef) {
            (true, _) => Format::Ocsf,
            (false, true) => Format::Cef,
            (false, false) => Format::JsonLines,
        }
    }
}

pub(super) async fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify(args) => match verify::run(config, args).await {
            Ok(code) => Ok(code),
            // Code 1 means that the log was tampered with, and nothing else.
            Err(error) => {
                complain(&error);
                Ok(ExitCode::from(USAGE))
            }
        },
        Command::Prove { call } => {
            let trail = read(config, Reading::Prove, Some(*call), json!({})).await?;
            print(trail.prove(*call)?.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Head { cosigned } => {
            print(head(config, *cosigned)?.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::Key => {
            let dir = app::audit_dir(&load(config)?.data());
            print(&Trail::key_of(&dir, &RealDisk)?.to_string());
            Ok(ExitCode::SUCCESS)
        }
        Command::Export(args) => export(config, args).await,
        Command::Keep(command) => super::keep::run(config, command).await,
    }
}

fn head(config: &Path, cosigned: bool) -> anyhow::Result<String> {
    let dir = app::audit_dir(&load(config)?.data());
    let head = if cosigned {
        Trail::cosigned_head_of(&dir, &RealDisk)?.context(
            "no head is cosigned by enough witnesses yet: `callgate doctor` tells how they stand",
        )?
    } else {
        Trail::newest_head(&dir, &RealDisk)?
            .context("no head is signed yet: the first one comes a second after the first record")?
    };
    Ok(head.note)
}

async fn export(config: &Path, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    match (&args.tiles, args.evidence) {
        (Some(folder), _) => tiles(config, folder).await,
        (None, Some(call)) => evidence(config, call, args).await,
        (None, None) => lines(config, args).await,
    }
}

/// Where an export goes.
fn output(args: &ExportArgs) -> anyhow::Result<Box<dyn Write>> {
    let Some(path) = &args.output else {
        return Ok(Box::new(std::io::stdout().lock()));
    };
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    Ok(Box::new(file.with_context(|| path.display().to_string())?))
}

/// The evidence of one call.
async fn evidence(config: &Path, call: CallId, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.output.is_some() || !std::io::stdout().is_terminal(),
        "an archive is not for a terminal: give `--output FILE`"
    );
    let about = json!({ "format": "evidence", "content": args.with_content, "log": args.log });
    let trail = read_at(
        config,
        args.log.as_deref(),
        Reading::Export,
        Some(call),
        about,
    )
    .await?;
    let disclose = if args.with_content {
        Disclose::Content
    } else {
        Disclose::Nothing
    };
    let bundle = Bundle::make(&trail.gather(call, disclose)?)?;
    let mut out = output(args)?;
    out.write_all(&bundle.to_archive())
        .and_then(|()| out.flush())
        .context("the archive could not be written to its end")?;
    if let Some(path) = &args.output {
        let files = bundle.files().count();
        print(&format!(
            "{files} files of call {call} in {}",
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Records as lines.
async fn lines(config: &Path, args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let format = format!("{:?}", args.format());
    let about = json!({ "format": format, "from": args.from, "log": args.log });
    let log = args.log.as_deref();
    let trail = read_at(config, log, Reading::Export, None, about).await?;
    if args.from < trail.first() {
        let first = trail.first();
        remark(&format!(
            "the records before {first} were pruned, as a record of the log says: the export begins with {first}"
        ));
    }
    let mut out = output(args)?;
    let mut buffered = std::io::BufWriter::new(&mut out);
    let lines = trail.hand_out(args.format(), args.from, &mut |line| {
        buffered.write_all(line.as_bytes())?;
        buffered.write_all(b"\n")
    })?;
    buffered
        .flush()
        .context("the export could not be written to its end")?;
    drop(buffered);
    if let Some(path) = &args.output {
        print(&format!("{lines} lines in {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The log as static files.
async fn tiles(config: &Path, folder: &Path) -> anyhow::Result<ExitCode> {
    let about = json!({ "format": "tiles" });
    let trail = read(config, Reading::Export, None, about).await?;
    let head = match trail.cosigned_head() {
        Some(head) => head,
        None => trail
            .head()?
            .context("no head is signed yet: try again in a second")?,
    };
    let mut files = 0_u64;
    trail.tiles(head.size, &mut |path, bytes| {
        let path = folder.join(path);
        // A file of a log never changes: what is there from the last time is right, or found to be wrong.
        if path.exists() {
            return Ok(());
        }
        files += 1;
        put(&path, bytes)
    })?;
    // Last: whoever reads the copy meanwhile finds everything that the checkpoint covers.
    let checkpoint = folder.join(tlog::tile::CHECKPOINT_PATH);
    put(&checkpoint, head.note.as_bytes()).with_context(|| checkpoint.display().to_string())?;
    print(&format!("{files} new files, {} records in all", head.size));
    Ok(ExitCode::SUCCESS)
}

/// Write a file as a whole, so that a web server never shows half of it.
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    std::fs::write(&unfinished, bytes)?;
    std::fs::rename(&unfinished, path)
}
