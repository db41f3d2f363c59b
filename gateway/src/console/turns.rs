//! Work that takes the machine for seconds, asked for by people: one at a time, and who comes meanwhile waits
//! in line. A person stands there once, so nobody keeps the others from their turn.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// People in line, the one whose turn it is among them.
const LINE_MAX: usize = 8;
/// How long somebody waits for their turn.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Why it is nobody's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoTurn {
    /// This person stands in line already.
    Twice,
    /// The line is too long, or did not move.
    Busy,
}

/// Who stands in line.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    line: Arc<Mutex<HashSet<String>>>,
    one: Arc<Semaphore>,
}

/// A place in line; dropping it leaves.
#[derive(Debug)]
struct Stands {
    line: Arc<Mutex<HashSet<String>>>,
    who: String,
}

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _one: OwnedSemaphorePermit,
    _stands: Stands,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            line: Arc::default(),
            one: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Turns {
    /// Wait for one's turn.
    pub(super) async fn wait(&self, who: String) -> Result<Turn, NoTurn> {
        let stands = self.stand(who)?;
        let one = Arc::clone(&self.one).acquire_owned();
        let one = tokio::time::timeout(WAIT_MAX, one).await;
        let one = one.map_err(|_| NoTurn::Busy)?.map_err(|_| NoTurn::Busy)?;
        Ok(Turn {
            _one: one,
            _stands: stands,
        })
    }

    fn stand(&self, who: String) -> Result<Stands, NoTurn> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.contains(&who) {
            return Err(NoTurn::Twice);
        }
        if line.len() >= LINE_MAX {
            return Err(NoTurn::Busy);
        }
        line.insert(who.clone());
        let line = Arc::clone(&self.line);
        Ok(Stands { line, who })
    }
}

impl Drop for Stands {
    fn drop(&mut self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.remove(&self.who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(who: &str) -> String {
        who.to_owned()
    }

    #[tokio::test]
    async fn a_person_stands_in_line_once_and_others_get_their_turn() {
        let turns = Turns::default();
        let first = turns.wait(of("ann")).await.unwrap();
        assert_eq!(turns.wait(of("ann")).await.unwrap_err(), NoTurn::Twice);
        let line = turns.clone();
        let second = tokio::spawn(async move { line.wait(of("bob")).await });
        tokio::task::yield_now().await;
        assert_eq!(turns.wait(of("bob")).await.unwrap_err(), NoTurn::Twice);
        drop(first);
        let second = second.await.unwrap().unwrap();
        drop(second);
        assert!(turns.wait(of("ann")).await.is_ok());
    }

    #[tokio::test]
    async fn the_line_is_bounded_and_who_hangs_up_leaves_it() {
        let turns = Turns::default();
        let first = turns.wait(of("p0")).await.unwrap();
        let waiting: Vec<_> = (1..LINE_MAX)
            .map(|n| {
                let line = turns.clone();
                tokio::spawn(async move { line.wait(format!("p{n}")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(turns.wait(of("late")).await.unwrap_err(), NoTurn::Busy);
        for one in &waiting {
            one.abort();
        }
        for one in waiting {
            assert!(one.await.is_err());
        }
        drop(first);
        assert!(turns.wait(of("late")).await.is_ok());
    }
}
