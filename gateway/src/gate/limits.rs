//! Rate and concurrency per principal and function: one caller's flood is not everyone's.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::refusal::{Code, Refusal};
use crate::call::FunctionId;
use crate::identity::PrincipalKey;

/// Keys that are remembered before those at rest are forgotten.
const KEYS_MAX: usize = 100_000;

/// How often one principal may call one function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LimitsConfig")]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Calls a second, per principal and function. Default: no limit.
    #[serde(default)]
    pub per_second: Option<NonZeroU32>,
    /// Calls that may come at once before `per_second` holds. Default: the same number.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
    /// Calls under way at once, per principal and function. Default: no limit.
    #[serde(default)]
    pub concurrent: Option<NonZeroU32>,
}

type Key = (PrincipalKey, FunctionId);
type UnderWay = Arc<Mutex<HashMap<Key, u32>>>;
type Rate = RateLimiter<Key, HashMapStateStore<Key>, DefaultClock>;

/// A connection's limits.
#[derive(Debug)]
pub struct Limits {
    rate: Option<Rate>,
    concurrent: Option<u32>,
    under_way: UnderWay,
}

/// A place among the calls under way; dropped when the call ends.
#[derive(Debug)]
pub struct Place(Option<(UnderWay, Key)>);

impl Limits {
    /// From config.
    pub fn new(config: &Config) -> Self {
        let rate = config.per_second.map(|per_second| {
            let quota =
                Quota::per_second(per_second).allow_burst(config.burst.unwrap_or(per_second));
            RateLimiter::hashmap(quota)
        });
        Self {
            rate,
            concurrent: config.concurrent.map(NonZeroU32::get),
            under_way: Arc::new(Mutex::new(HashMap::new())),
        }
    }

    /// Take a place.
    ///
    /// # Errors
    /// `rate_limited` with the time until the next call is possible.
    pub fn admit(&self, who: &PrincipalKey, function: &FunctionId) -> Result<Place, Refusal> {
        if self.rate.is_none() && self.concurrent.is_none() {
            return Ok(Place(None));
        }
        let key = (who.clone(), function.clone());
        if let Some(rate) = &self.rate {
            if rate.len() > KEYS_MAX {
                rate.retain_recent();
            }
            if let Err(not_until) = rate.check_key(&key) {
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                return Err(over(
                    "NOT executed: this caller calls this function too often",
                    wait,
                ));
            }
        }
        let Some(most) = self.concurrent else {
            return Ok(Place(None));
        };
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(key.clone()).or_insert(0);
        if *count >= most {
            let text = "NOT executed: too many calls of this caller to this function are under way";
            return Err(over(text, Duration::from_secs(1)));
        }
        *count += 1;
        drop(under_way);
        Ok(Place(Some((Arc::clone(&self.under_way), key))))
    }
}

fn over(text: &str, wait: Duration) -> Refusal {
    Refusal::new(Code::RateLimited, text).retry_after(wait.max(Duration::from_secs(1)))
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((under_way, key)) = self.0.take() else {
            return;
        };
        let mut under_way = under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&key);
            }
        }
    }
}
