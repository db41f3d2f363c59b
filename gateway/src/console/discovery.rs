//! What is known of the login's issuer: asked for by one at a time, believed for a while, and left alone
//! for a moment after a failure, however many want to sign in.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{SharedClock, Timestamp};
use crate::identity::Endpoints;

/// How long a discovery document is believed.
const DISCOVERY_MAX: Duration = Duration::from_secs(300);
/// How long an issuer is left alone after a failure.
const DISCOVERY_PAUSE: Duration = Duration::from_secs(5);

/// What the issuer says of itself, or why it could not be asked.
pub(super) type Found = Result<Endpoints, String>;

#[derive(Debug, Default)]
struct Held {
    known: Option<(Timestamp, Found)>,
    /// Closed when the question under way has an answer.
    flight: Option<watch::Receiver<()>>,
}

/// One issuer's discovery.
#[derive(Clone, Debug, Default)]
pub(super) struct Discovery(Arc<Mutex<Held>>);

impl Discovery {
    /// What is known, or what `ask` finds.
    pub(super) async fn get<F>(&self, clock: &SharedClock, ask: impl FnOnce() -> F) -> Found
    where
        F: Future<Output = Found> + Send + 'static,
    {
        let mut flight = {
            let mut held = self.held();
            if let Some(found) = fresh(held.known.as_ref(), clock.now()) {
                return found;
            }
            // A question whose task is gone without an answer is none.
            match held.flight.take().filter(|told| told.has_changed().is_ok()) {
                Some(flight) => held.flight.insert(flight).clone(),
                None => {
                    let (under_way, told) = watch::channel(());
                    self.start(clock, ask(), under_way);
                    held.flight.insert(told).clone()
                }
            }
        };
        while flight.changed().await.is_ok() {}
        let known = self.held().known.clone();
        known.map_or_else(|| Err("nobody could ask".to_owned()), |(_, found)| found)
    }

    /// In a task of its own: a caller who leaves must not make the next one ask again.
    fn start(
        &self,
        clock: &SharedClock,
        question: impl Future<Output = Found> + Send + 'static,
        under_way: watch::Sender<()>,
    ) {
        let (this, clock) = (self.clone(), Arc::clone(clock));
        tokio::spawn(async move {
            let found = question.await;
            // The pause begins when it has failed, not when it was asked.
            this.held().known = Some((clock.now(), found));
            drop(under_way);
        });
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(known: Option<&(Timestamp, Found)>, now: Timestamp) -> Option<Found> {
    let (at, found) = known?;
    let limit = match found {
        Ok(_) => DISCOVERY_MAX,
        Err(_) => DISCOVERY_PAUSE,
    };
    (now >= *at && now.since(*at) < limit).then(|| found.clone())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::clock::ManualClock;

    struct Issuer {
        asked: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
    }

    impl Issuer {
        fn ask(&self) -> impl Future<Output = Found> + Send + use<> {
            let (asked, gate) = (Arc::clone(&self.asked), Arc::clone(&self.gate));
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.expect("open").forget();
                Err("it is down".to_owned())
            }
        }
    }

    fn world() -> (Arc<ManualClock>, SharedClock, Discovery, Issuer) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
        let issuer = Issuer {
            asked: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        (clock, shared, Discovery::default(), issuer)
    }

    #[tokio::test]
    async fn many_who_sign_in_at_once_are_one_question_and_a_failure_has_a_pause() {
        let (manual, clock, discovery, issuer) = world();
        let many = (0..50).map(|_| discovery.get(&clock, || issuer.ask()));
        let all = futures_util::future::join_all(many);
        let opened = async {
            // The question takes longer than the pause: it must not count from its begin.
            tokio::task::yield_now().await;
            manual.advance(Duration::from_secs(10));
            issuer.gate.add_permits(1000);
        };
        let (found, ()) = tokio::join!(all, opened);
        assert!(found.iter().all(Result::is_err));
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
        assert!(discovery.get(&clock, || issuer.ask()).await.is_err());
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "the pause");
        manual.advance(DISCOVERY_PAUSE);
        assert!(discovery.get(&clock, || issuer.ask()).await.is_err());
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn who_leaves_while_the_issuer_is_asked_does_not_make_the_next_ask_again() {
        let (_, clock, discovery, issuer) = world();
        for _ in 0..20 {
            let leaving = discovery.get(&clock, || issuer.ask());
            tokio::select! {
                biased;
                _ = leaving => panic!("the gate is closed"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
        issuer.gate.add_permits(1);
        assert!(discovery.get(&clock, || issuer.ask()).await.is_err());
        assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_question_that_was_lost_is_asked_again() {
        let (_, clock, discovery, issuer) = world();
        issuer.gate.add_permits(1);
        let lost = discovery.get(&clock, || async { panic!("lost") }).await;
        assert!(lost.is_err());
        assert_eq!(
            discovery.get(&clock, || issuer.ask()).await,
            Err("it is down".to_owned())
        );
    }
}
