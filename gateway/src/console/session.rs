//! Sessions of people who signed in. They live in this process only: a restart signs everybody out.
//!
//! Owns 256-bit ids of which only hashes are kept, limits in number and time, what counts as use, and the
//! token that unsafe requests must carry beside the cookie. Called by `login` and by whatever asks who is
//! there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::{SharedClock, Timestamp};
use crate::identity::Principal;

/// Sessions at one time; the one that was idle longest makes room.
const SESSIONS_MAX: usize = 10_000;
/// Sessions of one person; the one that was idle longest makes room.
const PERSON_MAX: usize = 10;
/// A session that nobody used for so long is over.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// So long after signing in a session is over in any case.
pub(super) const LIFE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// No random bytes could be had.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(super) struct NoRandomness;

/// 256 random bits as text.
pub(super) fn token() -> Result<String, NoRandomness> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256 of a text.
pub(super) fn hash(text: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    out
}

/// Who is behind a request: only what a person does keeps a session from being over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    /// A person did something.
    Person,
    /// A page that is open asks by itself.
    Page,
}

/// Who a session belongs to.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The person, as the issuer's ID token proved them.
    pub(super) who: Arc<Principal>,
    /// What unsafe requests must carry beside the cookie.
    pub(super) csrf: String,
    opened: Timestamp,
    used: Timestamp,
}

impl Session {
    /// Whether a request shows the token that only our own pages know.
    pub(super) fn is_shown(&self, csrf: &str) -> bool {
        constant_time::verify_slices_are_equal(self.csrf.as_bytes(), csrf.as_bytes()).is_ok()
    }

    /// When it ends in any case.
    pub(super) fn ends(&self) -> Timestamp {
        self.opened.plus(LIFE_MAX)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now >= self.ends() || now.since(self.used) >= IDLE_MAX || now < self.opened
    }
}

type Held = HashMap<[u8; 32], Session>;

/// All sessions of this process.
#[derive(Debug)]
pub(super) struct Sessions {
    held: Mutex<Held>,
    clock: SharedClock,
}

impl Sessions {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self {
            held: Mutex::default(),
            clock,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open a session; answers its id, which is not kept.
    pub(super) fn open(&self, who: Arc<Principal>) -> Result<String, NoRandomness> {
        let (id, csrf) = (token()?, token()?);
        let now = self.clock.now();
        let mut held = self.held();
        held.retain(|_, session| !session.is_over(now));
        let key = who.key().clone();
        make_room(&mut held, PERSON_MAX, |s| *s.who.key() == key);
        make_room(&mut held, SESSIONS_MAX, |_| true);
        let session = Session {
            who,
            csrf,
            opened: now,
            used: now,
        };
        held.insert(hash(&id), session);
        Ok(id)
    }

    /// The session of an id, which counts as used now if a person did something.
    pub(super) fn find(&self, id: &str, deed: Deed) -> Option<Session> {
        let (key, now) = (hash(id), self.clock.now());
        let mut held = self.held();
        let session = held.get_mut(&key)?;
        if session.is_over(now) {
            held.remove(&key);
            return None;
        }
        if deed == Deed::Person {
            session.used = now;
        }
        Some(session.clone())
    }

    /// Whether a session goes on; looking does not count as use.
    pub(super) fn goes_on(&self, id: &str) -> bool {
        let now = self.clock.now();
        let held = self.held();
        let session = held.get(&hash(id));
        session.is_some_and(|session| !session.is_over(now))
    }

    /// End a session.
    pub(super) fn close(&self, id: &str) {
        self.held().remove(&hash(id));
    }
}

/// Let at most `most - 1` of those that `counts` names be left.
fn make_room(
    sessions: &mut HashMap<[u8; 32], Session>,
    most: usize,
    counts: impl Fn(&Session) -> bool,
) {
    loop {
        let mut found: Vec<_> = sessions.iter().filter(|(_, s)| counts(s)).collect();
        if found.len() < most {
            return;
        }
        found.sort_by_key(|(_, session)| session.used);
        let Some(key) = found.first().map(|(key, _)| **key) else {
            return;
        };
        sessions.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::identity::Kind;

    fn sessions() -> (Arc<ManualClock>, Sessions) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
        (Arc::clone(&clock), Sessions::new(clock))
    }

    fn person(subject: &str) -> Arc<Principal> {
        Arc::new(Principal::for_tests("corp", subject, Kind::Human, &[]))
    }

    #[test]
    fn a_session_ends_when_idle_and_in_any_case() {
        let (clock, sessions) = sessions();
        let id = sessions.open(person("ann")).unwrap();
        clock.advance(IDLE_MAX - Duration::from_secs(1));
        assert!(sessions.find(&id, Deed::Person).is_some());
        clock.advance(IDLE_MAX);
        assert!(sessions.find(&id, Deed::Person).is_none(), "it was idle");
        let id = sessions.open(person("ann")).unwrap();
        let begun = clock.now();
        while clock.now().since(begun) < LIFE_MAX {
            assert!(sessions.find(&id, Deed::Person).is_some());
            clock.advance(IDLE_MAX - Duration::from_secs(1));
        }
        assert!(
            sessions.find(&id, Deed::Person).is_none(),
            "it was used, and yet it ends"
        );
    }

    #[test]
    fn a_page_that_asks_by_itself_keeps_no_session_open() {
        let (clock, sessions) = sessions();
        let id = sessions.open(person("ann")).unwrap();
        let asked = Duration::from_secs(60);
        let mut open = Duration::ZERO;
        while sessions.find(&id, Deed::Page).is_some() {
            assert!(sessions.goes_on(&id));
            clock.advance(asked);
            open += asked;
        }
        assert_eq!(open, IDLE_MAX);
    }

    #[test]
    fn a_person_has_ten_sessions_and_the_longest_idle_one_makes_room() {
        let (clock, sessions) = sessions();
        let first = sessions.open(person("ann")).unwrap();
        let other = sessions.open(person("ben")).unwrap();
        for _ in 0..PERSON_MAX {
            clock.advance(Duration::from_secs(1));
            sessions.open(person("ann")).unwrap();
        }
        assert!(sessions.find(&first, Deed::Person).is_none());
        assert!(
            sessions.find(&other, Deed::Person).is_some(),
            "another person's stays"
        );
        assert_eq!(sessions.held().len(), PERSON_MAX + 1);
    }

    #[test]
    fn ids_are_not_kept_and_a_closed_session_is_gone() {
        let (_, sessions) = sessions();
        let id = sessions.open(person("ann")).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&id).unwrap().len(), 32);
        assert!(!format!("{sessions:?}").contains(&id));
        sessions.close(&id);
        assert!(sessions.find(&id, Deed::Person).is_none() && !sessions.goes_on(&id));
    }
}
