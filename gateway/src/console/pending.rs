//! Logins under way. Nothing is kept of one until its answer comes: what must come back travels in the
//! browser's cookie, and the `state` that the issuer sends back is this process's seal on it. Strangers
//! who begin logins and never end them take no memory and push nobody out.
//!
//! Refuses an answer without the cookie that its state seals, a state that was used, and a login that
//! took too long. Called by `login`.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::session::{self, NoRandomness};
use crate::clock::{SharedClock, Timestamp};

/// How long a person may take to sign in.
pub(super) const LOGIN_MAX: Duration = Duration::from_secs(10 * 60);
/// Used states that are remembered; the one that was used longest ago is forgotten first. Only answers
/// with a good seal are counted here. Should one be forgotten too soon, its code is still good for once
/// at the issuer.
const USED_MAX: usize = 65_536;

/// A login under way: what must come back for it to count.
#[derive(Clone)]
pub(super) struct Pending {
    /// What the issuer must send back.
    pub(super) state: String,
    /// What the ID token must repeat.
    pub(super) nonce: String,
    /// The PKCE verifier. It never leaves this process but for the issuer's token endpoint.
    pub(super) verifier: String,
    /// Where the person goes on.
    pub(super) next: String,
    /// Whether the person was asked to prove themselves anew.
    pub(super) fresh: bool,
}

/// The states that came back.
#[derive(Debug, Default)]
struct Used {
    order: VecDeque<(Timestamp, String)>,
    states: HashSet<String>,
}

/// Begins logins and knows their answers.
#[derive(Debug)]
pub(super) struct Logins {
    /// Of this process only: a restart ends all logins under way. Nothing without randomness.
    key: Option<hmac::Key>,
    used: Mutex<Used>,
    clock: SharedClock,
}

impl Logins {
    pub(super) fn new(clock: SharedClock) -> Self {
        let mut bytes = [0; 32];
        let key = rand::fill(&mut bytes)
            .ok()
            .map(|()| hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        Self {
            key,
            used: Mutex::default(),
            clock,
        }
    }

    /// Begin a login; answers the browser's cookie beside it.
    pub(super) fn begin(
        &self,
        next: String,
        fresh: bool,
    ) -> Result<(String, Pending), NoRandomness> {
        let key = self.key.as_ref().ok_or(NoRandomness)?;
        let (at, fresh_mark) = (self.clock.now().nanos(), u8::from(fresh));
        let (browser, place) = (session::token()?, URL_SAFE_NO_PAD.encode(&next));
        let cookie = format!("{at}.{fresh_mark}.{browser}.{place}");
        let pending = sealed(key, &cookie, next, fresh);
        Ok((cookie, pending))
    }

    /// The login of a state, if this browser began it. A state is good for one answer, also a bad one.
    pub(super) fn take(&self, state: &str, cookie: &str) -> Option<Pending> {
        let key = self.key.as_ref()?;
        // INVARIANT: nothing of the cookie counts before its seal was compared.
        let expected = seal(key, "state", cookie);
        constant_time::verify_slices_are_equal(expected.as_bytes(), state.as_bytes()).ok()?;
        let mut fields = cookie.split('.');
        let (at, fresh, _, place) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let begun = Timestamp::from_nanos(at.parse().ok()?);
        let now = self.clock.now();
        if now < begun || now.since(begun) >= LOGIN_MAX || !self.is_first(state, now) {
            return None;
        }
        let next = String::from_utf8(URL_SAFE_NO_PAD.decode(place).ok()?).ok()?;
        Some(sealed(key, cookie, next, fresh == "1"))
    }

    /// Whether nobody came with this state before.
    fn is_first(&self, state: &str, now: Timestamp) -> bool {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let Used { order, states } = &mut *used;
        // Whoever comes later than that with such a state comes too late.
        while let Some((at, old)) = order.front()
            && (now.since(*at) >= LOGIN_MAX || order.len() >= USED_MAX)
        {
            states.remove(old);
            order.pop_front();
        }
        let first = states.insert(state.to_owned());
        if first {
            order.push_back((now, state.to_owned()));
        }
        first
    }
}

fn sealed(key: &hmac::Key, cookie: &str, next: String, fresh: bool) -> Pending {
    Pending {
        state: seal(key, "state", cookie),
        nonce: seal(key, "nonce", cookie),
        verifier: seal(key, "verifier", cookie),
        next,
        fresh,
    }
}

/// What only this process can make of a cookie; another thing for each use.
fn seal(key: &hmac::Key, what: &str, cookie: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(what.as_bytes());
    context.update(b"\0");
    context.update(cookie.as_bytes());
    URL_SAFE_NO_PAD.encode(context.sign())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    fn logins() -> (Arc<ManualClock>, Logins) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
        (Arc::clone(&clock), Logins::new(clock))
    }

    #[test]
    fn a_state_counts_once_for_its_browser_and_not_for_long() {
        let (clock, logins) = logins();
        let (cookie, begun) = logins.begin("/calls?a=b".to_owned(), true).unwrap();
        let (other, _) = logins.begin("/".to_owned(), false).unwrap();
        assert!(logins.take(&begun.state, &other).is_none());
        assert!(logins.take(&begun.nonce, &cookie).is_none());
        let taken = logins.take(&begun.state, &cookie).unwrap();
        assert_eq!((taken.next.as_str(), taken.fresh), ("/calls?a=b", true));
        assert_eq!(
            (&taken.nonce, &taken.verifier),
            (&begun.nonce, &begun.verifier)
        );
        assert!(logins.take(&begun.state, &cookie).is_none(), "it was used");
        let (cookie, begun) = logins.begin("/".to_owned(), false).unwrap();
        clock.advance(LOGIN_MAX);
        assert!(
            logins.take(&begun.state, &cookie).is_none(),
            "it took too long"
        );
    }

    #[test]
    fn nothing_of_a_cookie_can_be_changed_and_no_other_process_takes_it() {
        let (_, logins) = logins();
        let (cookie, begun) = logins.begin("/approve".to_owned(), true).unwrap();
        let evil = URL_SAFE_NO_PAD.encode("//evil.example");
        let (front, _) = cookie.rsplit_once('.').unwrap();
        for changed in [
            format!("{front}.{evil}"),
            format!("{front}."),
            cookie.replacen(".1.", ".0.", 1),
            format!("9{cookie}"),
            format!("{cookie}."),
            String::new(),
        ] {
            assert!(logins.take(&begun.state, &changed).is_none(), "{changed}");
        }
        let (_, other) = super::tests::logins();
        assert!(other.take(&begun.state, &cookie).is_none());
        assert!(logins.take(&begun.state, &cookie).is_some());
    }

    #[test]
    fn the_verifier_and_the_state_are_not_in_the_cookie() {
        let (_, logins) = logins();
        let (cookie, begun) = logins.begin("/".to_owned(), false).unwrap();
        for secret in [&begun.state, &begun.nonce, &begun.verifier] {
            assert_eq!(secret.len(), 43);
            assert!(!cookie.contains(secret.as_str()));
        }
        assert!(
            cookie
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        );
    }

    #[test]
    fn strangers_who_begin_logins_push_nobody_out_and_leave_nothing() {
        let (clock, logins) = logins();
        let (cookie, begun) = logins.begin("/".to_owned(), false).unwrap();
        for _ in 0..10_000 {
            logins.begin("/".to_owned(), false).unwrap();
            clock.advance(Duration::from_millis(1));
        }
        assert!(logins.used.lock().unwrap().states.is_empty());
        assert!(logins.take(&begun.state, &cookie).is_some());
    }

    #[test]
    fn used_states_are_forgotten_when_nobody_can_come_with_them_any_more() {
        let (clock, logins) = logins();
        for _ in 0..3 {
            let (cookie, begun) = logins.begin("/".to_owned(), false).unwrap();
            assert!(logins.take(&begun.state, &cookie).is_some());
        }
        clock.advance(LOGIN_MAX);
        let (cookie, begun) = logins.begin("/".to_owned(), false).unwrap();
        assert!(logins.take(&begun.state, &cookie).is_some());
        let used = logins.used.lock().unwrap();
        assert_eq!((used.states.len(), used.order.len()), (1, 1));
    }
}
