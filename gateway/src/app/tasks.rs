//! What goes on in the background, and the signals.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::House;
use super::control;
use crate::listener::Control;
use crate::telemetry::Witnessed;

/// How often upkeep runs: expiry of approvals, revocations of other processes, idle connections.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// How often a channel looks for messages whose pause is over.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// How often the index of calls is brought up to date and saved; who lists reads what is younger.
const INDEX_EVERY: Duration = Duration::from_secs(30);
/// Pause after a failure before the next try.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What an operator asks for by signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signal {
    Reload,
    Stop,
}

/// The signals that the gateway listens to.
pub(super) struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
        }
    }
}

/// The background tasks.
pub(super) struct Background(Vec<JoinHandle<()>>);

impl Background {
    pub(super) fn stop(self) {
        for task in self.0 {
            task.abort();
        }
    }
}

pub(super) fn start(house: &Arc<House>, control: Control) -> Background {
    let token = house.transit.clone();
    let token = token.map(|transit| tokio::spawn(super::root::keep_token(transit)));
    let mut tasks = vec![
        tokio::spawn(upkeep(Arc::clone(house))),
        tokio::spawn(elsewhere(Arc::clone(house))),
        tokio::spawn(age_revocations(Arc::clone(house))),
        tokio::spawn(approvals_on_record(Arc::clone(house))),
        tokio::spawn(index_calls(Arc::clone(house))),
        tokio::spawn(super::retain::run(Arc::clone(house))),
        tokio::spawn(control::serve(Arc::clone(house), control)),
        tokio::spawn(witnesses(Arc::clone(house))),
    ];
    tasks.extend(token);
    // One each: a channel that hangs keeps no other from its messages.
    for channel in house.notifier.names() {
        tasks.push(tokio::spawn(deliver(Arc::clone(house), channel)));
    }
    let workers = house.exports.workers.try_lock();
    let workers = workers.map(|mut all| std::mem::take(&mut *all));
    for worker in workers.unwrap_or_default() {
        tasks.push(tokio::spawn(super::export::run(Arc::clone(house), worker)));
    }
    Background(tasks)
}

/// Messages of one channel go out when they are written, and again when their pause is over.
async fn deliver(house: Arc<House>, channel: String) {
    loop {
        if let Err(error) = house.notifier.deliver_due(&channel, &house.approvals).await {
            tracing::error!(%error, channel, "messages could not be read or marked");
        }
        house.notifier.wait(DELIVER_EVERY).await;
    }
}

/// Witnesses are asked beside the calls, which never wait for them.
async fn witnesses(house: Arc<House>) {
    let Some(mut cosigner) = house.cosigner.lock().await.take() else {
        return;
    };
    let metrics = &house.pipeline.parts().metrics;
    let mut every = tokio::time::interval(cosigner.every());
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for standing in cosigner.round().await {
            metrics.witness(
                &standing.witness,
                &Witnessed {
                    size: standing.size,
                    behind: standing.behind,
                    age: standing.age,
                    alarm: standing.alarm.as_ref().map(|(kind, _)| kind.as_str()),
                },
            );
        }
    }
}

/// Whoever was revoked meanwhile gets no further than the view's age allows, whatever hangs.
async fn age_revocations(house: Arc<House>) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        every.tick().await;
        house.age_revocations().await;
    }
}

/// What other instances change is in force here as soon as it is heard of.
async fn elsewhere(house: Arc<House>) {
    loop {
        house.heed().await;
    }
}

async fn upkeep(house: Arc<House>) {
    let mut every = tokio::time::interval(UPKEEP_EVERY);
    loop {
        every.tick().await;
        if let Err(error) = house.approvals.sweep().await {
            tracing::error!(%error, "approvals could not be swept");
        }
        if let Err(error) = house.refresh_revocations().await {
            tracing::error!(%error, "revocations could not be read");
        }
        if let Err(error) = house.notifier.sweep().await {
            tracing::error!(%error, "old undelivered messages could not be forgotten");
        }
        let metrics = &house.pipeline.parts().metrics;
        let snapshot = house.pipeline.snapshot();
        let now = house.pipeline.parts().clock.now();
        metrics.observing(snapshot.connections.values().map(|connection| {
            connection.upstream.sweep();
            let observing = connection.observe.as_ref();
            let observing = observing.is_some_and(|until| until.at(now).is_some());
            (connection.name.as_str().to_owned(), observing)
        }));
        let health = house.record.health();
        metrics.admitting.set(i64::from(health.blocked.is_none()));
        metrics
            .free_bytes
            .set(i64::try_from(health.free_bytes).unwrap_or(i64::MAX));
    }
}

/// The index is derived: when it cannot be kept, calls go on and lists take longer.
async fn index_calls(house: Arc<House>) {
    let mut every = tokio::time::interval(INDEX_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let trail = house.trail.clone();
        let keep = house.loaded().await.config.audit.keep;
        let since = keep.index_before(house.clock.now());
        match tokio::task::spawn_blocking(move || trail.keep(since)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the index of calls could not be kept"),
            Err(error) => tracing::error!(%error, "the index of calls broke off"),
        }
    }
}

/// Changes of approvals go to the audit record; they wait in the store until they are there.
async fn approvals_on_record(house: Arc<House>) {
    loop {
        let changes = match house.approvals.next_changes().await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::error!(%error, "changes of approvals could not be read");
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            }
        };
        for change in changes {
            if let Err(error) = house.record_change(&change).await {
                tracing::error!(%error, "a change of an approval could not be recorded and is tried again");
                tokio::time::sleep(RETRY_AFTER).await;
                break;
            }
        }
    }
}
