//! `callgate init`: state is made here, once, and never by surprise.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use super::{load, print};
use crate::app;
use crate::policy;

/// What `init` is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Group whose members may administer: `alias/name`, the alias being an issuer's.
    #[arg(long, value_name = "ALIAS/NAME")]
    admin_group: Option<String>,
    /// The audit log's name in its checkpoints, such as `callgate.example.com/eu-1`; it stays for ever.
    #[arg(long, value_name = "NAME")]
    origin: Option<String>,
    /// Only make or join the shared state of `store.postgres`, for a data folder that is there.
    #[arg(long, conflicts_with_all = ["admin_group", "origin"])]
    shared_state: bool,
}

const CONFIG: &str = "\
# Callgate. Every key: docs/config.md, or `callgate schema`.
listen: [{ address: 127.0.0.1:8080 }]
console: { address: 127.0.0.1:8081, audience: https://callgate-console.example.com }
data: ./data
identity:
  issuers:
    corp:
      issuer: https://idp.example.com          # your identity provider
      audience: https://gateway.example.com    # what its tokens say this gateway is called
      groups: groups                           # claim with the caller's groups
policies: ./policies
connections: {}
#  payments:
#    protocol: http
#    upstream: https://payments.internal:8443
#    route: { prefix: /payments }
#    functions: { openapi: ./payments.openapi.yaml }
#    credential: { bearer: env:PAYMENTS_TOKEN }
#    mask: { detect: [contact] }
";

pub(super) async fn run(config: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    if args.shared_state {
        print(app::share(&load(config)?).await?);
        return Ok(ExitCode::SUCCESS);
    }
    if !config.exists() {
        write_new(config, CONFIG)?;
        print(&format!("wrote {}", config.display()));
    }
    let folder = config
        .parent()
        .unwrap_or_else(|| Path::new("."))
        .join("policies");
    if !folder.exists() {
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let starter = folder.join("starter.cedar");
    if let Some(group) = &args.admin_group
        && !starter.exists()
    {
        anyhow::ensure!(
            group.contains('/'),
            "`{group}` is not a group: write `alias/name`, such as `corp/platform`"
        );
        write_new(&starter, &policy::starter(group)?)?;
        print(&format!("wrote {}", starter.display()));
    }
    let loaded = load(config)?;
    let transit = app::transit(&loaded)?;
    let state = (&loaded.config.store, loaded.base.as_path());
    let origin = args.origin.as_deref();
    let told = app::init(&loaded.data(), origin, transit.as_ref(), state).await?;
    if let Some(told) = told {
        print(told);
    }
    print(&format!(
        "made {}; keep a backup of its keys apart from its records",
        loaded.data().display()
    ));
    print("next: edit the config, then `callgate check` and `callgate serve`");
    Ok(ExitCode::SUCCESS)
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    let mut file = file.with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())
        .with_context(|| path.display().to_string())
}
