//! Waiting for people: who waits is woken by changes in this process, and looks again now and then for
//! changes made elsewhere.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{ApprovalId, Approvals, Error, State};

/// How often a waiting caller looks again without being woken.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Approvals that are waited for at a time; further ones are only looked at now and then.
const WAITED_MAX: usize = 20_000;

/// Who waits for what, in this process.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// By approval: the bell and how many listen. Guarded by the lock, never held across an await.
    bells: Mutex<HashMap<String, (Arc<Notify>, usize)>>,
    changed: Notify,
}

impl Waits {
    pub(super) fn wake(&self, id: &str) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bell, _)) = bells.get(id) {
            bell.notify_waiters();
        }
    }

    /// Everybody.
    pub(super) fn wake_all(&self) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for (bell, _) in bells.values() {
            bell.notify_waiters();
        }
    }

    /// Tell whoever takes over changes that there are some.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Resolves when changes were told since the last time, or after a while.
    pub(super) fn next_change(&self) -> impl Future<Output = ()> + Send + '_ {
        let told = self.changed.notified();
        async {
            // Either way it is time to look.
            let _ = tokio::time::timeout(LOOK_AGAIN, told).await;
        }
    }

    fn listen(&self, id: &str) -> Listening<'_> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if !bells.contains_key(id) && bells.len() >= WAITED_MAX {
            return Listening {
                waits: self,
                id: None,
                bell: Arc::new(Notify::new()),
            };
        }
        let (bell, listeners) = bells
            .entry(id.to_owned())
            .or_insert_with(|| (Arc::new(Notify::new()), 0));
        *listeners += 1;
        Listening {
            waits: self,
            id: Some(id.to_owned()),
            bell: Arc::clone(bell),
        }
    }
}

/// One listener; gives its place back when it goes.
struct Listening<'a> {
    waits: &'a Waits,
    id: Option<String>,
    bell: Arc<Notify>,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        let Some(id) = &self.id else { return };
        let mut bells = self
            .waits
            .bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, listeners)) = bells.get_mut(id) {
            *listeners -= 1;
            if *listeners == 0 {
                bells.remove(id);
            }
        }
    }
}

impl Approvals {
    /// Wait until the approval is no longer pending, at most so long, and answer its state then. A
    /// caller that goes away cancels only its waiting.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Store`].
    pub async fn wait(&self, id: &ApprovalId, at_most: Duration) -> Result<State, Error> {
        let until = Instant::now() + at_most;
        let listening = self.inner.waits.listen(id.as_str());
        loop {
            let bell = listening.bell.notified();
            tokio::pin!(bell);
            // Listen first, look then: a change in between rings.
            bell.as_mut().enable();
            let (state, expires) = self
                .inner
                .store
                .state(id.as_str(), self.now())
                .await?
                .ok_or_else(|| Error::Unknown(id.clone()))?;
            let left = until.saturating_duration_since(Instant::now());
            if state != State::Pending || left.is_zero() {
                return Ok(state);
            }
            let due = expires.since(self.now()) + Duration::from_millis(1);
            // Woken or not, it looks again.
            let _ = tokio::time::timeout(left.min(due).min(LOOK_AGAIN), bell).await;
        }
    }

    /// The state as it is now.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Store`].
    pub async fn state(&self, id: &ApprovalId) -> Result<State, Error> {
        let state = self.inner.store.state(id.as_str(), self.now()).await?;
        Ok(state.ok_or_else(|| Error::Unknown(id.clone()))?.0)
    }
}
