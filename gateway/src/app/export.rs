//! Records that leave the house: the sinks of a gateway, and what goes on beside its calls for each of them.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Error, House};
use crate::clock::SharedClock;
use crate::config::{Fault, Loaded};
use crate::disk::{Disk, RealDisk};
use crate::egress::Egress;
use crate::export::{self, Board, Sinks, Worker};
use crate::record::Recorder;

/// The sinks of a gateway.
#[derive(Debug)]
pub(super) struct Exports {
    /// Taken by the tasks that do the work.
    pub(super) workers: Mutex<Vec<Worker>>,
    /// How they stand.
    pub(super) board: Board,
}

impl Exports {
    /// Ready to go on where each sink confirmed last.
    pub(super) fn open(
        record: &Recorder,
        loaded: &Loaded,
        egress: &Egress,
        clock: &SharedClock,
        instance: &str,
    ) -> Result<Self, Error> {
        let (board, disk) = (Board::default(), Arc::new(RealDisk) as Arc<dyn Disk>);
        let dir = super::audit_dir(&loaded.data());
        let sinks = sinks(loaded, egress)?;
        let workers = export::workers(sinks, record, (&dir, instance), &disk, clock, &board)?;
        Ok(Self {
            workers: Mutex::new(workers),
            board,
        })
    }
}

/// The sinks that a config names.
///
/// # Errors
/// [`Error::Config`] with every fault of their settings.
pub fn sinks(loaded: &Loaded, egress: &Egress) -> Result<Sinks, Error> {
    let found = export::sinks(&loaded.config.audit.export, &loaded.base, egress);
    found.map_err(|faults| {
        let each = faults.into_iter();
        Error::Config(
            each.map(|(place, text)| Fault::new(format!("audit.export{place}"), text))
                .collect(),
        )
    })
}

/// One sink, for as long as the gateway runs. A sink that hangs keeps no other from its records.
pub(super) async fn run(house: Arc<House>, mut worker: Worker) {
    let metrics = &house.pipeline.parts().metrics;
    loop {
        let turn = worker.turn().await;
        let standing = &turn.standing;
        metrics.export.put(
            &standing.sink,
            &[
                standing.next,
                standing.behind,
                standing.age.as_secs(),
                standing.parked,
                standing.failures,
            ],
        );
        if turn.wait.is_zero() {
            // A sink that has much to catch up with leaves room for everybody else.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(turn.wait).await;
        }
    }
}
