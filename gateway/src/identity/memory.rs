//! Tokens that were verified a moment ago. Found again by the hash of the whole token and the plane,
//! so that no two callers can share an entry; believed for at most a minute, never beyond `exp`, and
//! not at all once the issuer's keys have changed. A change of config brings a new memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Plane, Principal};
use crate::clock::Timestamp;

/// How long a verified token is remembered.
pub const REMEMBERED_MAX: Duration = Duration::from_secs(60);
/// Parts of the memory, each with its own lock.
const SHARDS: usize = 16;
/// Entries in one part.
const SHARD_ENTRIES_MAX: usize = 4096;
/// Entries that make room at once when a part is full of good ones.
const EVICTED_AT_ONCE: usize = 256;

/// A token's place in the memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Place {
    pub(super) hash: [u8; 32],
    pub(super) plane: Plane,
}

/// A remembered token.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) principal: Arc<Principal>,
    /// Which issuer verified it, by index.
    pub(super) issuer: usize,
    /// The generation of the keys that verified it.
    pub(super) generation: u64,
    /// When it was remembered, and until when it is believed.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Entry {
    /// Whether it is still to be believed; a clock that went back ends it too.
    fn is_good(&self, now: Timestamp) -> bool {
        now >= self.from && now < self.until
    }
}

#[derive(Debug)]
pub(super) struct Memory {
    shards: Vec<Mutex<HashMap<Place, Entry>>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn shard(&self, place: &Place) -> Option<&Mutex<HashMap<Place, Entry>>> {
        self.shards.get(usize::from(place.hash[0]) % SHARDS)
    }

    pub(super) fn recall(&self, place: &Place, now: Timestamp) -> Option<Entry> {
        let shard = self
            .shard(place)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        shard.get(place).filter(|entry| entry.is_good(now)).cloned()
    }

    pub(super) fn remember(&self, place: Place, entry: Entry) {
        let Some(shard) = self.shard(&place) else {
            return;
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= SHARD_ENTRIES_MAX {
            let now = entry.from;
            shard.retain(|_, old| old.is_good(now));
        }
        if shard.len() >= SHARD_ENTRIES_MAX {
            let some: Vec<Place> = shard.keys().take(EVICTED_AT_ONCE).copied().collect();
            for place in some {
                shard.remove(&place);
            }
        }
        shard.insert(place, entry);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let lock = |shard: &Mutex<HashMap<Place, Entry>>| shard.lock().unwrap().len();
        self.shards.iter().map(lock).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Kind;

    fn entry(from: u64) -> Entry {
        Entry {
            principal: Arc::new(Principal::for_tests("corp", "alice", Kind::Agent, &[])),
            issuer: 0,
            generation: 1,
            from: Timestamp::from_secs(from),
            until: Timestamp::from_secs(from + 60),
        }
    }

    fn place(n: u32) -> Place {
        let mut hash = [0; 32];
        hash[1..5].copy_from_slice(&n.to_be_bytes());
        Place {
            hash,
            plane: Plane::Data,
        }
    }

    #[test]
    fn memory_is_bounded_and_makes_room_for_the_newest() {
        let memory = Memory::new();
        let many = u32::try_from(SHARD_ENTRIES_MAX).unwrap() * 3; // all of them in one part
        for n in 0..many {
            memory.remember(place(n), entry(1000));
            assert!(
                memory
                    .recall(&place(n), Timestamp::from_secs(1000))
                    .is_some()
            );
        }
        assert!(memory.len() <= SHARD_ENTRIES_MAX);
        memory.remember(place(many), entry(2000)); // all others are over
        for n in 0..10 {
            memory.remember(place(many + n), entry(2000));
        }
        assert!(
            memory
                .recall(&place(many), Timestamp::from_secs(2000))
                .is_some()
        );
    }

    #[test]
    fn planes_do_not_share_entries() {
        let memory = Memory::new();
        memory.remember(place(1), entry(1000));
        let console = Place {
            plane: Plane::Console,
            ..place(1)
        };
        assert!(
            memory
                .recall(&console, Timestamp::from_secs(1000))
                .is_none()
        );
    }
}
