//! Draining: no new work, and a wait for what is under way.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// What a worker watches: whether the drain has begun, and a place in the count of what is open.
#[derive(Clone, Debug)]
pub struct Drain {
    begun: watch::Receiver<bool>,
    open: mpsc::Sender<()>,
}

/// The side that begins the drain and waits for its end.
#[derive(Debug)]
pub struct DrainHandle {
    begin: watch::Sender<bool>,
    open: Option<mpsc::Sender<()>>,
    closed: mpsc::Receiver<()>,
}

/// Held while something is under way.
#[derive(Debug)]
pub struct Open {
    _held: mpsc::Sender<()>,
}

impl DrainHandle {
    /// A handle that nobody has drained yet.
    pub fn new() -> Self {
        let (begin, _) = watch::channel(false);
        let (open, closed) = mpsc::channel(1);
        Self {
            begin,
            open: Some(open),
            closed,
        }
    }

    /// A watcher; `None` once the drain has begun.
    pub fn watch(&self) -> Option<Drain> {
        let open = self.open.clone()?;
        Some(Drain {
            begun: self.begin.subscribe(),
            open,
        })
    }

    /// Begin, and wait until nothing is open or the time is over. True when nothing was left.
    pub async fn drain(&mut self, at_most: Duration) -> bool {
        self.begin.send_replace(true);
        self.open = None;
        tokio::time::timeout(at_most, self.closed.recv())
            .await
            .is_ok()
    }
}

impl Default for DrainHandle {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// Resolves when the drain has begun.
    pub async fn begun(&self) {
        let mut begun = self.begun.clone();
        // A dropped handle is a drain too: whoever could have begun it is gone.
        if begun.wait_for(|begun| *begun).await.is_err() {
            tracing::debug!("the drain's owner is gone");
        }
    }

    /// Whether the drain has begun.
    pub fn is_begun(&self) -> bool {
        *self.begun.borrow()
    }

    /// Count something as under way until the answer is dropped.
    pub fn open(&self) -> Open {
        Open {
            _held: self.open.clone(),
        }
    }
}
