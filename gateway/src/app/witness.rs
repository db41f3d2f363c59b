//! Witnesses from both sides: who asks them for a gateway's log, and `callgate witness serve`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tlog::note::VerifierKey;
use tokio::sync::Mutex;

use super::{Error, tasks};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{self, Loaded};
use crate::disk::RealDisk;
use crate::egress::Egress;
use crate::listener::{self, DrainHandle, Listener};
use crate::record::{Cosigner, Recorder};
use crate::telemetry;
use crate::witness::{Service, Witness};

/// How long requests under way may take to end at shutdown.
const WITNESS_DRAIN: Duration = Duration::from_secs(5);

/// Answer logs with the witness in `state` until SIGTERM or SIGINT.
///
/// # Errors
/// [`Error`] when it cannot start; one clear line.
pub async fn serve_witness(state: &Path, listen: &listener::Config) -> Result<(), Error> {
    telemetry::init(&telemetry::Config::default());
    let mut signals = tasks::Signals::new().map_err(|source| Error::System {
        what: "signals",
        source,
    })?;
    let witness = Witness::open(state, Arc::new(RealDisk), Arc::new(SystemClock))?;
    let listener = Listener::bind(listen, Path::new(".")).await?;
    let mut drain = DrainHandle::new();
    let logs = witness.logs().len();
    tracing::info!(witness.key = %witness.key(), logs, "the witness is ready");
    if logs == 0 {
        tracing::warn!("no log is watched: stop, run `callgate witness add-log`, and start again");
    }
    let service = Service::new(Arc::new(witness));
    super::spawn(listener, &drain, "logs", move |conn, drain| {
        service.clone().serve(conn, drain)
    });
    while signals.next().await != tasks::Signal::Stop {}
    drain.drain(WITNESS_DRAIN).await;
    tracing::info!("stopped");
    Ok(())
}

/// The keys of the witnesses that the config names.
pub(super) fn keys(loaded: &Loaded, egress: &Egress) -> Result<Vec<VerifierKey>, Error> {
    let settings = config::witnesses(loaded, egress).map_err(Error::Config)?;
    let witnesses = settings.map(|settings| settings.witnesses);
    let witnesses = witnesses.unwrap_or_default().into_iter();
    Ok(witnesses.map(|witness| witness.key).collect())
}

/// Who asks the witnesses, when there are any.
pub(super) fn cosigner(
    record: &Recorder,
    loaded: &Loaded,
    egress: &Egress,
    clock: &SharedClock,
) -> Result<Mutex<Option<Cosigner>>, Error> {
    let settings = config::witnesses(loaded, egress).map_err(Error::Config)?;
    let dir = super::audit_dir(&loaded.data());
    let cosigner = settings
        .map(|settings| Cosigner::new(record.clone(), &dir, Arc::clone(clock), settings))
        .transpose()?;
    Ok(Mutex::new(cosigner))
}
