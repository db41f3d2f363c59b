//! `callgate mask`: what masking would do to a file, without a gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::{load, print};
use crate::approval::terminal_safe;
use crate::call::FunctionId;
use crate::mask::{Masker, Needles, ResponseFacts, Settings};

/// What to try.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a file as a caller would get it.
    Try {
        /// The file: an answer's body.
        file: PathBuf,
        /// Its media type; by default from the file's ending.
        #[arg(long)]
        content_type: Option<String>,
        /// Use this function's mask settings; by default the standard ones with contact data.
        #[arg(long)]
        function: Option<FunctionId>,
    },
}

pub(super) fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Try {
        file,
        content_type,
        function,
    } = command;
    let body = std::fs::read(file).with_context(|| file.display().to_string())?;
    let by_ending = match file.extension().and_then(|ending| ending.to_str()) {
        Some("json") => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let settings = match function {
        Some(function) => {
            let snapshot = super::check::snapshot(&load(config)?)?;
            let connection = snapshot.connections.get(function.connection());
            let settings = connection
                .and_then(|connection| connection.upstream.mask(function))
                .map(Arc::clone);
            settings.with_context(|| format!("the config has no function `{function}`"))?
        }
        None => {
            let standard = crate::mask::Config {
                detect: vec!["contact".to_owned()],
                ..crate::mask::Config::default()
            };
            Arc::new(
                Settings::compile(&standard)
                    .map_err(|_| anyhow::anyhow!("the standard settings do not compile"))?,
            )
        }
    };
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(content_type.as_deref().unwrap_or(by_ending)),
        content_encoding: None,
        head_only: false,
    };
    let plan = settings.plan(&std::collections::BTreeSet::new());
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts)?;
    let mut out = Vec::new();
    masker.push(&body, &mut out)?;
    let summary = masker.finish(&mut out)?;
    for line in String::from_utf8_lossy(&out).lines() {
        print(&terminal_safe(line));
    }
    for (class, count) in summary.hits.iter().chain(&summary.observed) {
        print(&format!("# {class}: {count}"));
    }
    Ok(ExitCode::SUCCESS)
}
