//! An issuer's keys, kept fresh: fetched when first needed, before they age, and when a token names a
//! key that is not known; never more often than the floor, by one fetch at a time, and never replaced
//! by an error or by nothing.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};
use tokio::sync::watch;

use super::Rejection;
use super::algorithm::Algorithm;
use super::jws;
use super::key_set::{KEY_SET_BYTES_MAX, KeySet, KeySetError};
use crate::clock::{SharedClock, Timestamp};
use crate::egress::{self, Egress, Limits, Target};

/// Shortest time between two fetches from an issuer whose keys are known.
pub const FETCH_FLOOR: Duration = Duration::from_secs(30);
/// Added to it at random, so that gateways do not fetch in step.
const FETCH_JITTER: Duration = Duration::from_secs(8);
/// First wait after a failure while no keys are known; doubled up to the floor.
const COLD_RETRY: Duration = Duration::from_secs(2);
/// How long keys are fresh when the issuer does not say.
pub const FRESH_DEFAULT: Duration = Duration::from_secs(300);
/// Bounds to what the issuer says.
pub const FRESH_MIN: Duration = Duration::from_secs(60);
/// See [`FRESH_MIN`].
pub const FRESH_MAX: Duration = Duration::from_secs(900);
/// How long keys are used beyond their time while the issuer cannot be reached.
pub const STALE_MAX: Duration = Duration::from_secs(3600);
/// How long a discovery document is believed.
const DISCOVERY_MAX: Duration = Duration::from_secs(3600);
/// Limits of one fetch.
const LIMITS: Limits = Limits {
    bytes_max: KEY_SET_BYTES_MAX,
    total: Duration::from_secs(5),
};
/// Longest sleep of the background task, so that a clock step is noticed.
const NAP_MAX: Duration = Duration::from_secs(15);
/// Values in a discovery document.
const DISCOVERY_VALUES_MAX: usize = 2_000;

/// Why keys could not be fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Egress(#[from] egress::Error),
    #[error("{what} was answered with status {status}")]
    Status { what: &'static str, status: u16 },
    #[error("the discovery document is not a strict JSON object")]
    Discovery,
    #[error("the discovery document's `issuer` is not exactly the configured one")]
    OtherIssuer,
    #[error("the discovery document has no `jwks_uri`")]
    NoKeysUri,
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// Where an issuer's keys are found.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// The config says.
    Fixed(Target),
    /// The discovery document at `document` says; its `issuer` must be `issuer`.
    Discovery { issuer: String, document: Target },
}

/// One issuer's keys.
pub(super) struct Keys {
    alias: Arc<str>,
    source: Source,
    allowed: Vec<Algorithm>,
    egress: Egress,
    clock: SharedClock,
    state: ArcSwap<State>,
    /// The fetch under way, if any, ends when its sender is dropped. Never held across a wait.
    flight: Mutex<Option<watch::Receiver<()>>>,
    /// The keys' place as last discovered; only the fetch under way touches it.
    found: Mutex<Option<(Target, Timestamp)>>,
    fetches: AtomicU64,
    started: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    set: Option<Arc<KeySet>>,
    /// Changes when the keys change.
    generation: u64,
    fetched: Option<Timestamp>,
    fresh_for: Duration,
    /// When a fetch was last begun, and how long none may follow.
    attempted: Option<Timestamp>,
    pause: Duration,
    failures: u32,
    error: Option<Arc<str>>,
}

/// Keys to verify with.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) set: Arc<KeySet>,
    pub(super) generation: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Fresh,
    Stale,
    Unusable,
}

impl State {
    fn standing(&self, now: Timestamp) -> Standing {
        let (Some(_), Some(fetched)) = (&self.set, self.fetched) else {
            return Standing::Unusable;
        };
        let fresh_until = fetched.plus(self.fresh_for);
        if now >= fetched && now < fresh_until {
            Standing::Fresh
        } else if now < fresh_until.plus(STALE_MAX) {
            Standing::Stale // among it: the clock went back
        } else {
            Standing::Unusable
        }
    }

    /// How long until a fetch may begin; zero when it may. A clock that went back does not block.
    fn blocked(&self, now: Timestamp) -> Duration {
        match self.attempted {
            Some(attempted) if now >= attempted => attempted.plus(self.pause).since(now),
            Some(_) | None => Duration::ZERO,
        }
    }

    fn held(&self) -> Option<Held> {
        let set = self.set.as_ref().map(Arc::clone)?;
        Some(Held {
            set,
            generation: self.generation,
        })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("alias", &self.alias)
            .finish_non_exhaustive()
    }
}

/// What is known of an issuer's keys, for readiness, metrics and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerStatus {
    /// Issuer alias.
    pub alias: String,
    /// Whether tokens of the issuer can be verified now.
    pub usable: bool,
    /// Whether the last fetch worked; `true` before the first.
    pub reachable: bool,
    /// Usable keys.
    pub keys: usize,
    /// Keys that are published but unfit.
    pub keys_ignored: usize,
    /// Time since the keys were fetched.
    pub age: Option<Duration>,
    /// Fetches begun so far.
    pub fetches: u64,
    /// Why the last fetch failed.
    pub last_error: Option<String>,
}

impl Keys {
    pub(super) fn new(
        alias: Arc<str>,
        source: Source,
        allowed: Vec<Algorithm>,
        egress: Egress,
        clock: SharedClock,
    ) -> Self {
        Self {
            alias,
            source,
            allowed,
            egress,
            clock,
            state: ArcSwap::default(),
            flight: Mutex::new(None),
            found: Mutex::new(None),
            fetches: AtomicU64::new(0),
            started: AtomicBool::new(false),
        }
    }

    /// The keys' generation, when they may be used without asking the issuer again.
    pub(super) fn settled(&self, now: Timestamp) -> Option<u64> {
        let state = self.state.load();
        let settled = match state.standing(now) {
            Standing::Fresh => true,
            Standing::Stale => state.failures > 0,
            Standing::Unusable => false,
        };
        settled.then_some(state.generation)
    }

    /// Keys that are fresh, or the best there are while the issuer cannot be reached.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Held, Rejection> {
        let now = self.clock.now();
        let state = self.state.load_full();
        match state.standing(now) {
            Standing::Fresh => {}
            // The last fetch failed: nobody waits for the next one while the old keys may be used.
            Standing::Stale if state.failures > 0 => drop(self.join_fetch()),
            Standing::Stale | Standing::Unusable => self.wait_for_fetch().await,
        }
        let (now, state) = (self.clock.now(), self.state.load_full());
        let held = if state.standing(now) == Standing::Unusable {
            None
        } else {
            state.held()
        };
        held.ok_or_else(|| Rejection::IssuerUnavailable {
            issuer: Arc::clone(&self.alias),
            retry_after: state.blocked(now).max(Duration::from_secs(1)),
        })
    }

    /// Other keys than `seen`, because a token named one that is not among them; `None` when there are
    /// none. Within the floor nothing is fetched, which makes it the negative cache of all unknown ids.
    pub(super) async fn other_than(self: &Arc<Self>, seen: &Held) -> Option<Held> {
        // Somebody else's fetch may have ended since `seen` was read.
        let changed = || {
            self.state
                .load()
                .held()
                .filter(|held| held.generation != seen.generation)
        };
        if let Some(held) = changed() {
            return Some(held);
        }
        self.wait_for_fetch().await;
        changed()
    }

    /// Keep the keys fresh in the background until nobody holds them any more.
    pub(super) fn start(self: &Arc<Self>) {
        if self.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let keys = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(nap) = tend(&keys).await {
                tokio::time::sleep(nap).await;
            }
        });
    }

    pub(super) fn status(&self) -> IssuerStatus {
        let (now, state) = (self.clock.now(), self.state.load());
        IssuerStatus {
            alias: self.alias.as_ref().to_owned(),
            usable: state.standing(now) != Standing::Unusable,
            reachable: state.failures == 0,
            keys: state.set.as_ref().map_or(0, |set| set.len()),
            keys_ignored: state.set.as_ref().map_or(0, |set| set.ignored()),
            age: state.fetched.map(|fetched| now.since(fetched)),
            fetches: self.fetches.load(Ordering::Relaxed),
            last_error: state.error.as_deref().map(str::to_owned),
        }
    }

    /// Four fifths of the keys' time are over.
    fn is_due(&self, now: Timestamp) -> bool {
        let state = self.state.load();
        match state.fetched {
            Some(fetched) if state.failures == 0 && now >= fetched => {
                now >= fetched.plus(state.fresh_for * 4 / 5)
            }
            Some(_) | None => true,
        }
    }

    async fn wait_for_fetch(self: &Arc<Self>) {
        if let Some(mut flight) = self.join_fetch() {
            let _ = flight.changed().await; // an error is the end of the fetch
        }
    }

    /// The fetch under way, or a new one if the floor allows. It runs as its own task: a caller that
    /// goes away neither stops it nor makes room for another.
    fn join_fetch(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = flight
            .as_ref()
            .filter(|under_way| under_way.has_changed().is_ok())
        {
            return Some(under_way.clone());
        }
        let (now, state) = (self.clock.now(), self.state.load_full());
        if state.blocked(now) > Duration::ZERO {
            return None;
        }
        // Counted before it begins, so that not even a crash of the task makes room for another.
        let pause = FETCH_FLOOR + jitter();
        self.state.store(Arc::new(State {
            attempted: Some(now),
            pause,
            ..(*state).clone()
        }));
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let (done, under_way) = watch::channel(());
        *flight = Some(under_way.clone());
        let keys = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = keys.fetch().await;
            keys.settle(fetched);
            drop(done);
        });
        Some(under_way)
    }

    fn settle(&self, fetched: Result<(KeySet, Duration), FetchError>) {
        let now = self.clock.now();
        let mut state = (*self.state.load_full()).clone();
        match fetched {
            Ok((set, fresh_for)) => {
                let old = state.set.as_ref().map(|old| *old.fingerprint());
                if old.as_ref() != Some(set.fingerprint()) {
                    state.generation += 1;
                    tracing::info!(issuer = %self.alias, keys = set.len(), ignored = set.ignored(), "issuer's keys changed");
                }
                state.set = Some(Arc::new(set));
                state.fetched = Some(now);
                state.fresh_for = fresh_for;
                state.failures = 0;
                state.error = None;
            }
            Err(error) => {
                tracing::warn!(issuer = %self.alias, %error, "issuer's keys could not be fetched");
                if state.set.is_none() {
                    state.pause = (COLD_RETRY * 2_u32.saturating_pow(state.failures.min(8)))
                        .min(FETCH_FLOOR)
                        + jitter() / 8;
                }
                state.failures = state.failures.saturating_add(1);
                state.error = Some(error.to_string().into());
            }
        }
        self.state.store(Arc::new(state));
    }

    async fn fetch(&self) -> Result<(KeySet, Duration), FetchError> {
        let target = self.place().await?;
        let fetched = self.fetch_from(&target).await;
        if fetched.is_err() {
            // The keys may have moved.
            *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        fetched
    }

    async fn fetch_from(&self, target: &Target) -> Result<(KeySet, Duration), FetchError> {
        let response = self.egress.get(target, LIMITS).await?;
        if response.status != http::StatusCode::OK {
            let status = response.status.as_u16();
            return Err(FetchError::Status {
                what: "the key set",
                status,
            });
        }
        let set = KeySet::parse(&response.body, &self.allowed)?;
        Ok((set, freshness(&response.headers)))
    }

    /// Where the keys are.
    async fn place(&self) -> Result<Target, FetchError> {
        let (issuer, document) = match &self.source {
            Source::Fixed(target) => return Ok(target.clone()),
            Source::Discovery { issuer, document } => (issuer, document),
        };
        let now = self.clock.now();
        let known = self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((target, since)) = known
            && now >= since
            && now.since(since) < DISCOVERY_MAX
        {
            return Ok(target);
        }
        let response = self.egress.get(document, LIMITS).await?;
        if response.status != http::StatusCode::OK {
            let status = response.status.as_u16();
            return Err(FetchError::Status {
                what: "the discovery document",
                status,
            });
        }
        let members = jws::strict_object(&response.body, DISCOVERY_VALUES_MAX)
            .ok_or(FetchError::Discovery)?;
        if members.get("issuer").and_then(serde_json::Value::as_str) != Some(issuer) {
            return Err(FetchError::OtherIssuer);
        }
        let uri = members.get("jwks_uri").and_then(serde_json::Value::as_str);
        let target = Target::from_data(uri.ok_or(FetchError::NoKeysUri)?, document)?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((target.clone(), now));
        Ok(target)
    }
}

/// Fetch if it is time; then how long to sleep, or `None` when the keys are no longer held.
async fn tend(keys: &Weak<Keys>) -> Option<Duration> {
    let keys = keys.upgrade()?;
    if keys.is_due(keys.clock.now()) {
        keys.wait_for_fetch().await;
    }
    let (now, state) = (keys.clock.now(), keys.state.load());
    let due = match state.fetched {
        Some(fetched) if state.failures == 0 => fetched
            .plus(state.fresh_for * 4 / 5)
            .since(now)
            .max(state.blocked(now)),
        Some(_) | None => state.blocked(now),
    };
    Some(due.clamp(Duration::from_millis(200), NAP_MAX))
}

/// How long the issuer says that its keys are good, within our bounds.
fn freshness(headers: &HeaderMap) -> Duration {
    let directives: Vec<String> = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    if directives
        .iter()
        .any(|directive| directive == "no-store" || directive == "no-cache")
    {
        return FRESH_MIN;
    }
    let Some(max_age) = directives
        .iter()
        .find_map(|directive| directive.strip_prefix("max-age="))
    else {
        return FRESH_DEFAULT;
    };
    let Ok(max_age) = max_age.trim_matches('"').parse::<u64>() else {
        return FRESH_MIN;
    };
    let age = headers
        .get(AGE)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let left = Duration::from_secs(max_age.saturating_sub(age.unwrap_or(0)));
    left.clamp(FRESH_MIN, FRESH_MAX)
}

fn jitter() -> Duration {
    let mut byte = [0_u8; 1];
    // Without randomness there is no jitter, and nothing worse.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    FETCH_JITTER * u32::from(byte[0]) / 256
}
