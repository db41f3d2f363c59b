//! Sessions of people who signed in, and logins under way. Both live in this process only: a restart
//! signs everybody out.
//!
//! Owns 256-bit ids of which only hashes are kept, limits in number and time, and the token that
//! unsafe requests must carry beside the cookie. Called by `login` and by whatever asks who is there.

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
/// Logins under way at one time; the oldest makes room.
const LOGINS_MAX: usize = 4096;
/// How long a person may take to sign in.
pub(super) const LOGIN_MAX: Duration = Duration::from_secs(10 * 60);

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

/// A login under way: what must come back for it to count.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Hash of the cookie of the browser that began it.
    pub(super) browser: [u8; 32],
    /// What the ID token must repeat.
    pub(super) nonce: String,
    /// The PKCE verifier.
    pub(super) verifier: String,
    /// Where the person goes on.
    pub(super) next: String,
    /// Whether the person was asked to prove themselves anew.
    pub(super) fresh: bool,
    /// When it began.
    pub(super) at: Timestamp,
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

#[derive(Debug, Default)]
struct Held {
    sessions: HashMap<[u8; 32], Session>,
    logins: HashMap<[u8; 32], Pending>,
}

/// All sessions and logins of this process.
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

    /// Remember a login under its state.
    pub(super) fn begin(&self, state: &str, pending: Pending) {
        let now = self.clock.now();
        let mut held = self.held();
        held.logins
            .retain(|_, login| now.since(login.at) < LOGIN_MAX);
        while held.logins.len() >= LOGINS_MAX {
            let oldest = held.logins.iter().min_by_key(|(_, login)| login.at);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            held.logins.remove(&oldest);
        }
        held.logins.insert(hash(state), pending);
    }

    /// The login of a state, if this browser began it. A state is good for one answer, also a bad one.
    pub(super) fn take(&self, state: &str, browser: &str) -> Option<Pending> {
        let login = self.held().logins.remove(&hash(state))?;
        let young = self.clock.now().since(login.at) < LOGIN_MAX;
        (young && login.browser == hash(browser)).then_some(login)
    }

    /// Open a session; answers its id, which is not kept.
    pub(super) fn open(&self, who: Arc<Principal>) -> Result<String, NoRandomness> {
        let (id, csrf) = (token()?, token()?);
        let now = self.clock.now();
        let mut held = self.held();
        held.sessions.retain(|_, session| !session.is_over(now));
        let key = who.key().clone();
        make_room(&mut held.sessions, PERSON_MAX, |s| *s.who.key() == key);
        make_room(&mut held.sessions, SESSIONS_MAX, |_| true);
        let session = Session {
            who,
            csrf,
            opened: now,
            used: now,
        };
        held.sessions.insert(hash(&id), session);
        Ok(id)
    }

    /// The session of an id, which counts as used now.
    pub(super) fn find(&self, id: &str) -> Option<Session> {
        let (key, now) = (hash(id), self.clock.now());
        let mut held = self.held();
        let session = held.sessions.get_mut(&key)?;
        if session.is_over(now) {
            held.sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Whether a session goes on; looking does not count as use.
    pub(super) fn goes_on(&self, id: &str) -> bool {
        let now = self.clock.now();
        let held = self.held();
        let session = held.sessions.get(&hash(id));
        session.is_some_and(|session| !session.is_over(now))
    }

    /// End a session.
    pub(super) fn close(&self, id: &str) {
        self.held().sessions.remove(&hash(id));
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

    fn pending(at: Timestamp, browser: &str) -> Pending {
        Pending {
            browser: hash(browser),
            nonce: "n".to_owned(),
            verifier: "v".to_owned(),
            next: "/".to_owned(),
            fresh: false,
            at,
        }
    }

    #[test]
    fn a_session_ends_when_idle_and_in_any_case() {
        let (clock, sessions) = sessions();
        let id = sessions.open(person("ann")).unwrap();
        clock.advance(IDLE_MAX - Duration::from_secs(1));
        assert!(sessions.find(&id).is_some());
        clock.advance(IDLE_MAX);
        assert!(sessions.find(&id).is_none(), "it was idle");
        let id = sessions.open(person("ann")).unwrap();
        let begun = clock.now();
        while clock.now().since(begun) < LIFE_MAX {
            assert!(sessions.find(&id).is_some());
            clock.advance(IDLE_MAX - Duration::from_secs(1));
        }
        assert!(sessions.find(&id).is_none(), "it was used, and yet it ends");
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
        assert!(sessions.find(&first).is_none());
        assert!(sessions.find(&other).is_some(), "another person's stays");
        assert_eq!(sessions.held().sessions.len(), PERSON_MAX + 1);
    }

    #[test]
    fn ids_are_not_kept_and_a_closed_session_is_gone() {
        let (_, sessions) = sessions();
        let id = sessions.open(person("ann")).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&id).unwrap().len(), 32);
        assert!(!format!("{sessions:?}").contains(&id));
        sessions.close(&id);
        assert!(sessions.find(&id).is_none() && !sessions.goes_on(&id));
    }

    #[test]
    fn a_state_counts_once_for_its_browser_and_not_for_long() {
        let (clock, sessions) = sessions();
        sessions.begin("s1", pending(clock.now(), "mine"));
        assert!(sessions.take("s1", "another's").is_none());
        assert!(sessions.take("s1", "mine").is_none(), "it was used up");
        sessions.begin("s2", pending(clock.now(), "mine"));
        assert!(sessions.take("s2", "mine").is_some());
        assert!(sessions.take("s2", "mine").is_none());
        sessions.begin("s3", pending(clock.now(), "mine"));
        clock.advance(LOGIN_MAX);
        assert!(sessions.take("s3", "mine").is_none());
    }

    #[test]
    fn logins_under_way_are_bounded() {
        let (clock, sessions) = sessions();
        for n in 0..=LOGINS_MAX {
            clock.advance(Duration::from_millis(1));
            sessions.begin(&format!("s{n}"), pending(clock.now(), "mine"));
        }
        assert_eq!(sessions.held().logins.len(), LOGINS_MAX);
        assert!(
            sessions.take("s0", "mine").is_none(),
            "the oldest made room"
        );
        assert!(sessions.take(&format!("s{LOGINS_MAX}"), "mine").is_some());
    }
}
