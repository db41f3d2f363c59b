//! `callgate revocations`.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::print;
use super::remote::Remote;
use crate::approval::terminal_safe;

/// What to do with revocations.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Revocations in force.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Shut out, in force within two seconds: `principal corp/alice`, `issuer corp`,
    /// `token corp/JTI`, `connection payments`, `approval ID`.
    Add {
        #[command(flatten)]
        remote: Remote,
        /// What kind.
        kind: Kind,
        /// Which one.
        which: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        /// For so many seconds; by default until it is lifted.
        #[arg(long)]
        for_s: Option<u64>,
    },
    /// Let in again.
    Lift {
        #[command(flatten)]
        remote: Remote,
        /// The revocation's id.
        id: String,
    },
}

/// Kinds of revocation.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Kind {
    /// One principal.
    Principal,
    /// Everybody of an issuer.
    Issuer,
    /// One token.
    Token,
    /// A connection, for everybody.
    Connection,
    /// One approval.
    Approval,
}

pub(super) async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { remote } => {
            let rows = remote
                .send(Method::GET, "/api/v1/revocations", None)
                .await?;
            for row in rows.as_array().into_iter().flatten() {
                print(&terminal_safe(&row.to_string()));
            }
        }
        Command::Add {
            remote,
            kind,
            which,
            reason,
            for_s,
        } => {
            let body = json!({ "target": target(*kind, which)?, "reason": reason, "for_s": for_s });
            let row = remote
                .send(Method::POST, "/api/v1/revocations", Some(&body))
                .await?;
            let id = row.get("id").and_then(Value::as_str).unwrap_or("");
            print(&format!(
                "revoked; lift it with `callgate revocations lift {}`",
                terminal_safe(id)
            ));
        }
        Command::Lift { remote, id } => {
            remote
                .send(Method::DELETE, &format!("/api/v1/revocations/{id}"), None)
                .await?;
            print("lifted");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn target(kind: Kind, which: &str) -> anyhow::Result<Value> {
    let pair = || {
        which
            .split_once('/')
            .ok_or_else(|| anyhow::anyhow!("`{which}`: write `alias/name`"))
    };
    Ok(match kind {
        Kind::Principal => {
            let (issuer, subject) = pair()?;
            json!({ "kind": "principal", "issuer": issuer, "subject": subject })
        }
        Kind::Token => {
            let (issuer, id) = pair()?;
            json!({ "kind": "token", "issuer": issuer, "id": id })
        }
        Kind::Issuer => json!({ "kind": "issuer", "issuer": which }),
        Kind::Connection => json!({ "kind": "connection", "name": which }),
        Kind::Approval => json!({ "kind": "approval", "id": which }),
    })
}
