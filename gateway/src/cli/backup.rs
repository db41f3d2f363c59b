//! `callgate backup` and `callgate restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{load, print};
use crate::app;
use crate::approval::terminal_safe;

/// Where a backup goes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An empty folder, or one that is made.
    #[arg(long, short)]
    output: PathBuf,
}

/// Where a backup comes from.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup's folder.
    from: PathBuf,
}

pub(super) async fn run(config: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = load(config)?;
    print(&terminal_safe(&app::backup(&loaded, &args.output).await?));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(config: &Path, args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    if app::restore_config(&args.from, config)? {
        print(&terminal_safe(&format!(
            "there was no config: {} and its policies are the backup's",
            config.display()
        )));
    }
    let loaded = load(config)?;
    print(&terminal_safe(&app::restore(&loaded, &args.from).await?));
    Ok(ExitCode::SUCCESS)
}
