//! `callgate check` and `callgate reload`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::{lines, load, print};
use crate::app::{self, Ask};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Context, Loaded};
use crate::egress::{self, Egress};
use crate::gate::{ObserveStands, ObserveUntil};
use crate::identity::Revocations;
use crate::pipeline::Snapshot;
use crate::policy::ShadowStands;

/// What `check` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Also print every function that callers can reach.
    #[arg(long)]
    functions: bool,
}

/// What `reload` is told.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    /// Take effect even when a forbid or an approval rule goes away.
    #[arg(long)]
    accept_removal: bool,
}

/// A snapshot as the gateway would make it, without listening or opening anything.
pub(super) fn snapshot(loaded: &Loaded) -> anyhow::Result<Snapshot> {
    let listeners = loaded.config.listen.iter().map(|listen| listen.address);
    let own: Vec<_> = listeners
        .chain(loaded.config.console.iter().map(|console| console.address))
        .collect();
    let context = Context {
        egress: Egress::new(&egress::Policy {
            ca: None,
            own: own.clone(),
        })?,
        clock: Arc::new(SystemClock),
        revocations: Revocations::new(),
        own,
        version_key: [0; 32],
        previous: None,
    };
    config::build(loaded, &context).map_err(|faults| anyhow::anyhow!("{}", lines(&faults)))
}

/// What it means that a connection only observes.
pub(super) fn observes(name: &str, until: &ObserveUntil) -> String {
    format!(
        "connection {name} only observes until {}: every call passes that has a verified caller, whatever \
         functions, policies and masking say",
        until.day()
    )
}

pub(super) async fn run(config: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let loaded = load(config)?;
    let snapshot = snapshot(&loaded)?;
    for warning in snapshot.policies.warnings() {
        print(&format!("warning: {warning}"));
    }
    let mut over = Vec::new();
    for shadow in snapshot.policies.shadows(SystemClock.now()) {
        match shadow.stands {
            ShadowStands::Watched => print(&format!("note: {shadow}")),
            ShadowStands::Over | ShadowStands::TooLong => over.push(shadow.to_string()),
        }
    }
    for (name, connection) in &snapshot.connections {
        let Some(until) = &connection.observe else {
            continue;
        };
        match until.stands(SystemClock.now()) {
            ObserveStands::Observing | ObserveStands::TooLong => {
                print(&format!("note: {}", observes(name.as_str(), until)));
            }
            ObserveStands::Over => over.push(format!(
                "connections.{name}.mode: the time to observe was over with {}: the connection enforces (help: \
                 remove `mode`, or give a later day)",
                until.day()
            )),
        }
    }
    anyhow::ensure!(over.is_empty(), "{}", over.join("\n"));
    let functions = config::catalogue_report(&snapshot);
    if args.functions {
        functions.iter().for_each(|line| print(line));
    }
    let policies = snapshot.policies.rules().len();
    print(&format!(
        "ok: {} connections, {} functions, {policies} policies, version {}",
        snapshot.connections.len(),
        functions.len(),
        snapshot.version
    ));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn reload(config: &Path, args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let loaded = load(config)?;
    let request = Ask::Reload {
        accept_removal: args.accept_removal,
    };
    let answer = app::ask(&loaded.data(), &request).await;
    let answer = answer.with_context(|| {
        format!(
            "no gateway listens at {}: is it running, and under this user?",
            loaded.data().display()
        )
    })?;
    if answer.done {
        print(&answer.text);
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!("nothing was changed\n{}", answer.text)
}
