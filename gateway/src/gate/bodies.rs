//! How much of callers' bodies is in memory before anybody has judged them: by everybody, and by one caller.
//!
//! Limits by function hold for decoded calls only, and a body must be read before its call is decoded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::refusal::{Code, Refusal};
use crate::identity::PrincipalKey;

/// Bytes of all bodies that are being read at one time.
pub const BODIES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of one caller's bodies that are being read at one time.
pub const BODIES_BYTES_PER_CALLER_MAX: usize = 32 * 1024 * 1024;

/// When a refused caller may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bodies that are being read. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct Bodies(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<PrincipalKey, usize>,
}

/// What one body takes; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    bodies: Bodies,
    who: PrincipalKey,
    bytes: usize,
}

impl Bodies {
    /// Room for a body of this caller, of which nothing is read yet.
    pub fn room(&self, who: &PrincipalKey) -> Room {
        Room {
            bodies: self.clone(),
            who: who.clone(),
            bytes: 0,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    /// Take at least `bytes` in all: before a body of a known length is read, and as one of unknown length
    /// arrives.
    ///
    /// # Errors
    /// `rate_limited`: too much of this caller's, or of everybody's, is being read already.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.bodies.lock();
        let own = taken.by.get(&self.who).copied().unwrap_or_default();
        if own + more > BODIES_BYTES_PER_CALLER_MAX {
            return Err(over(
                "NOT executed: too many bodies of this caller are being read",
            ));
        }
        if taken.all + more > BODIES_BYTES_MAX {
            return Err(over("NOT executed: too many bodies are being read"));
        }
        taken.all += more;
        *taken.by.entry(self.who.clone()).or_default() += more;
        self.bytes += more;
        Ok(())
    }
}

fn over(text: &str) -> Refusal {
    Refusal::new(Code::RateLimited, text).retry_after(RETRY_AFTER)
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.bodies.lock();
        taken.all -= self.bytes;
        if let Some(own) = taken.by.get_mut(&self.who) {
            *own -= self.bytes;
            if *own == 0 {
                taken.by.remove(&self.who);
            }
        }
    }
}
