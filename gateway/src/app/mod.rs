//! The only place that wires: opens the house, serves, reloads, drains.
//!
//! Refuses to start on anything that would only be noticed later; an unreachable issuer is no such
//! thing, because its callers are refused one by one. Called by `cli`.

mod backup;
mod control;
mod difference;
mod elsewhere;
mod export;
mod house;
mod local;
mod retain;
mod root;
mod state;
mod succeed;
mod tasks;
mod witness;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use backup::{BackupError, backup, restore, restore_config};
pub use control::{Answer, Ask, ask};
pub use export::sinks;
pub use house::{House, audit_config, audit_dir, init, instance, store_dir};
pub use local::{Note, note};
pub use root::{call_index, root_key, rotate_root, trail, transit};
pub use state::{forget_approvals, probe as probe_state, share};
pub use succeed::{adopt, remember, succeed};
pub use witness::serve_witness;

use crate::config::{self, Fault, Loaded};
use crate::console::Console;
use crate::listener::{self, Control, DrainHandle, Listener};
use crate::pipeline::Pipeline;
use crate::protocol::http::Http;
use crate::{approval, egress, identity, record, store};

/// How long calls under way may take to end at shutdown, by default.
pub const DRAIN: Duration = Duration::from_secs(30);
/// In the names of everything that belongs to the demo; `serve` refuses it.
pub const DEMO_MARK: &str = "callgate-demo";
/// The control socket's file in the data folder.
pub const CONTROL_FILE: &str = "control.sock";

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config has faults.
    #[error("{}", faults(.0))]
    Config(Vec<Fault>),
    /// The data folder was never made.
    #[error(
        "data folder `{0}` is not there or was not made by `callgate init`: run `callgate init` once"
    )]
    NoData(PathBuf),
    /// The data folder was made before.
    #[error("data folder `{0}` was made before: `init` never makes one over another")]
    Exists(PathBuf),
    /// The demo's parts in a real gateway.
    #[error("`{0}` belongs to the demo, whose keys everybody has: `serve` does not run with it")]
    Demo(String),
    /// A listener.
    #[error(transparent)]
    Listener(#[from] listener::Error),
    /// The audit log.
    #[error("audit log: {0}")]
    Record(#[from] record::Error),
    /// The root key of the audit log's content.
    #[error("root key of the audit log: {0}")]
    Root(#[from] record::TransitError),
    /// The decisions' state.
    #[error("state: {0}")]
    Store(#[from] store::Error),
    /// A command about a shared state, where none is.
    #[error(
        "the config names no `store.postgres`: the state lies in the data folder, and nothing was done"
    )]
    NotShared,
    /// Approvals.
    #[error("approvals: {0}")]
    Approval(#[from] approval::Error),
    /// The client for control traffic.
    #[error("client for control traffic: {0}")]
    Egress(#[from] egress::Error),
    /// The key of caller assertions.
    #[error("key of caller assertions: {0}")]
    Assertion(#[from] identity::assertion::AssertionError),
    /// A witness.
    #[error(transparent)]
    Witness(#[from] crate::witness::Error),
    /// A secret.
    #[error(transparent)]
    Secret(#[from] crate::secret::SecretError),
    /// The system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The config change could not be recorded.
    #[error("the start could not be recorded: {0}")]
    Unrecorded(record::Unavailable),
}

fn faults(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the demo's parts may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// This is the demo.
    Allow,
    /// This is a real gateway.
    Refuse,
}

/// Serve until SIGTERM or SIGINT, then drain.
///
/// # Errors
/// [`Error`] when the gateway cannot start; one clear line each.
pub async fn serve(path: PathBuf, demo: Demo) -> Result<(), Error> {
    let loaded = config::load(&path).map_err(Error::Config)?;
    crate::telemetry::init(&loaded.config.log);
    if demo == Demo::Refuse {
        refuse_demo(&loaded)?;
    }
    let mut signals = tasks::Signals::new().map_err(|source| Error::System {
        what: "signals",
        source,
    })?;
    let (mut listeners, mut certificates) = (Vec::new(), Vec::new());
    for settings in &loaded.config.listen {
        let listener = Listener::bind(settings, &loaded.base).await?;
        certificates.extend(listener.certificate(settings, &loaded.base));
        listeners.push(listener);
    }
    let mut console = None;
    if let Some(settings) = loaded.config.console.as_ref().map(console_listener) {
        let listener = Listener::bind(&settings, &loaded.base).await?;
        certificates.extend(listener.certificate(&settings, &loaded.base));
        console = Some(listener);
    }
    let own: Vec<SocketAddr> = listeners
        .iter()
        .chain(&console)
        .map(Listener::local)
        .collect();
    let house = House::open(loaded, own).await?;
    let house = Arc::new(house.with_certificates(certificates));
    let control = Control::bind(&house.data().join(CONTROL_FILE))?;
    let mut drain = DrainHandle::new();
    for listener in listeners {
        let http = Http::new(Arc::clone(house.pipeline()));
        spawn(listener, &drain, "calls", move |conn, drain| {
            http.clone().serve(conn, drain)
        });
    }
    if let Some(listener) = console {
        let console = Console::new(house.console_parts(listener.local()).await?);
        spawn(listener, &drain, "console", move |conn, drain| {
            console.clone().serve(conn, drain)
        });
    }
    let background = tasks::start(&house, control);
    tracing::info!(
        config.version = house.pipeline().snapshot().version,
        "callgate is ready"
    );
    while signals.next().await == tasks::Signal::Reload {
        match house.reload(false).await {
            Ok(report) => tracing::info!("reloaded: {report}"),
            Err(error) => {
                tracing::error!("the reload was refused, everything stays as it is: {error}")
            }
        }
    }
    let at_most = house.drain_for();
    tracing::info!(seconds = at_most.as_secs(), "draining");
    house.pipeline().let_go();
    let begun = Instant::now();
    let gone = drain.drain(at_most).await;
    // A call outlives its caller's connection.
    let left = at_most.saturating_sub(begun.elapsed());
    if !house.pipeline().idle(left).await || !gone {
        tracing::warn!("some calls were still under way when the drain's time was over");
    }
    background.stop();
    house.close().await;
    tracing::info!("stopped");
    Ok(())
}

fn spawn<F, S>(listener: Listener, drain: &DrainHandle, what: &'static str, serve: S)
where
    S: Fn(listener::Conn, listener::Drain) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Some(watch) = drain.watch() else { return };
    tracing::info!(address = %listener.local(), "listening for {what}");
    let each = watch.clone();
    tokio::spawn(listener.run(watch, move |conn| serve(conn, each.clone())));
}

fn console_listener(settings: &config::ConsoleConfig) -> listener::Config {
    listener::Config {
        address: settings.address,
        tls: settings.tls.clone(),
        danger_plaintext: false,
        hosts: settings.hosts.clone(),
    }
}

fn refuse_demo(loaded: &Loaded) -> Result<(), Error> {
    let issuers = loaded
        .config
        .identity
        .issuers
        .values()
        .map(|issuer| issuer.issuer.clone());
    let origin = loaded.config.audit.origin.clone();
    match issuers.chain(origin).find(|text| text.contains(DEMO_MARK)) {
        Some(text) => Err(Error::Demo(text)),
        None if loaded.data().join(DEMO_MARK).exists() => {
            Err(Error::Demo(loaded.data().display().to_string()))
        }
        None => Ok(()),
    }
}

/// The pipeline of a house, for tests and benchmarks that bring their own listener.
impl House {
    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }
}
