//! `callgate doctor`: what would go wrong, and what weakens a promise.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::check::snapshot;
use super::{load, print};
use crate::app;
use crate::call::Durability;
use crate::mask::Mode;

/// How long issuers may take to answer.
const ISSUERS_WAIT: Duration = Duration::from_secs(6);

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Weak,
    Bad,
}

pub(super) async fn run(config: &Path) -> anyhow::Result<ExitCode> {
    let loaded = load(config)?;
    let snapshot = snapshot(&loaded)?;
    let mut bad = 0;
    let mut tell = |grade: Grade, text: &str| {
        let mark = match grade {
            Grade::Good => "ok  ",
            Grade::Weak => "weak",
            Grade::Bad => "BAD ",
        };
        bad += usize::from(grade == Grade::Bad);
        print(&format!("{mark}  {text}"));
    };
    tell(
        Grade::Good,
        &format!(
            "config, functions and policies load (version {})",
            snapshot.version
        ),
    );
    match app::instance(&loaded.data()) {
        Ok(instance) => tell(Grade::Good, &format!("data folder of instance {instance}")),
        Err(error) => tell(Grade::Bad, &error.to_string()),
    }
    for listen in &loaded.config.listen {
        if listen.tls.is_none() && !listen.address.ip().is_loopback() {
            tell(
                Grade::Weak,
                &format!(
                    "listener {} speaks plaintext: tokens travel in clear",
                    listen.address
                ),
            );
        }
    }
    for connection in snapshot.connections.values() {
        for function in connection.catalogue.functions() {
            let mode = connection
                .upstream
                .mask(&function.id)
                .map_or(Mode::Off, |settings| settings.mode());
            if mode != Mode::On {
                tell(
                    Grade::Weak,
                    &format!(
                        "{}: answers are not masked (mode {})",
                        function.id,
                        mode.as_str()
                    ),
                );
            }
            if function.durability != Durability::Both {
                tell(
                    Grade::Weak,
                    &format!(
                        "{}: an answer can be out before its record is on disk",
                        function.id
                    ),
                );
            }
        }
        if connection.origin.starts_with("http://")
            && !connection.origin.contains("127.0.0.1")
            && !connection.origin.contains("localhost")
        {
            tell(
                Grade::Weak,
                &format!(
                    "{}: the credential travels in clear to {}",
                    connection.name, connection.origin
                ),
            );
        }
    }
    if loaded
        .config
        .console
        .as_ref()
        .is_some_and(|console| console.audience.is_none())
    {
        tell(Grade::Weak, "the console has no audience: nobody can vote");
    }
    tell(
        Grade::Weak,
        "no head of the log is held outside: whoever owns this machine could rewind it unseen; keep receipts or checkpoints elsewhere",
    );
    snapshot.identity.start();
    let patience = tokio::time::Instant::now() + ISSUERS_WAIT;
    while tokio::time::Instant::now() < patience
        && snapshot
            .identity
            .status()
            .iter()
            .any(|issuer| !issuer.usable && issuer.last_error.is_none())
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for issuer in snapshot.identity.status() {
        match issuer.last_error {
            None if issuer.usable => tell(
                Grade::Good,
                &format!("issuer {}: {} keys", issuer.alias, issuer.keys),
            ),
            error => {
                let why = error.unwrap_or_else(|| "it has not answered yet".to_owned());
                tell(
                    Grade::Bad,
                    &format!("issuer {}: its callers are refused: {why}", issuer.alias),
                );
            }
        }
    }
    Ok(if bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
