//! How many different values a caller may be shown, or have masked for it, in some hours: whoever copies a list
//! value by value is stopped, also where it sees tokens or markers only.
//!
//! Values are remembered as keyed hashes, in memory, for the hours of a window that begins with the caller's
//! first value. A restart begins anew, and each instance counts for itself.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::class::DataClass;
use super::config::{ClassId, Fault};
use super::mode::Mode;
use super::vault::plain;
use crate::clock::Timestamp;

/// Most values of one budget.
pub const BUDGET_VALUES_MAX: u32 = 100_000;
/// Most hours of one window.
pub const BUDGET_HOURS_MAX: u32 = 31 * 24;
/// Most values that are remembered of all callers together.
pub const REMEMBERED_VALUES_MAX: usize = 2_000_000;
/// What a caller without values takes of that.
const CALLER_COST: usize = 8;
/// How often a full ledger looks for windows that are over.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// How many different values one caller may draw out of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MaskBudgetConfig")]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Different values, at most 100000, that answers to one caller may hold, masked or shown. Then its calls are
    /// refused with 429 until the window ends.
    pub values: NonZeroU32,
    /// Hours of a window, which begins with the caller's first value; at most 744. Default: 24.
    #[serde(default = "day")]
    pub hours: NonZeroU32,
    /// Classes or groups that count. Default: all that are found.
    #[serde(default)]
    pub classes: Vec<String>,
}

const fn day() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(23)
}

/// A budget, compiled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Budget {
    values: usize,
    window: Duration,
    counts: Vec<bool>,
}

impl Budget {
    pub(super) fn compile(
        config: &BudgetConfig,
        mode: Mode,
        classes: &[DataClass],
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut fault = |place: &str, message: String| {
            faults.push(Fault {
                place: format!("budget{place}"),
                message,
            });
        };
        if mode == Mode::Off {
            let text = "nothing is searched with `mode: off`, so nothing is counted: leave one of the two out";
            fault("", text.to_owned());
        }
        if config.values.get() > BUDGET_VALUES_MAX {
            let text =
                format!("at most {BUDGET_VALUES_MAX}: so many are remembered of each caller");
            fault(".values", text);
        }
        if config.hours.get() > BUDGET_HOURS_MAX {
            fault(
                ".hours",
                format!("at most {BUDGET_HOURS_MAX}, which is 31 days"),
            );
        }
        let named =
            |name: &String, class: &DataClass| class.as_str() == name || class.group() == name;
        for name in &config.classes {
            if !classes.iter().any(|class| named(name, class)) {
                let text = format!(
                    "nothing finds `{name}` here: name a class or group that `fields`, `detect` or `detectors` has"
                );
                fault(".classes", text);
            }
        }
        let counts = |class: &DataClass| {
            config.classes.is_empty() || config.classes.iter().any(|name| named(name, class))
        };
        Self {
            values: config.values.get() as usize,
            window: Duration::from_secs(u64::from(config.hours.get()) * 3600),
            counts: classes.iter().map(counts).collect(),
        }
    }

    pub(super) fn counts(&self, class: ClassId) -> bool {
        self.counts.get(usize::from(class)).copied().unwrap_or(true)
    }
}

/// A budget that is used up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Spent {
    /// By this caller.
    #[error(
        "the answers to this caller held {values} different values of classes that are counted"
    )]
    Caller {
        /// How many it may be given.
        values: usize,
        /// Until its window ends.
        wait: Duration,
    },
    /// By all callers together: no value is remembered any more.
    #[error("the values of all callers together are more than can be counted")]
    Ledger,
}

impl Spent {
    /// When trying again makes sense.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        match self {
            Self::Caller { wait, .. } => *wait,
            Self::Ledger => SWEEP_EVERY,
        }
    }
}

/// Connection, issuer, subject.
type Caller = (Box<str>, Box<str>, Box<str>);

#[derive(Debug)]
struct Window {
    ends: Timestamp,
    values: HashSet<u64>,
}

#[derive(Debug, Default)]
struct State {
    callers: HashMap<Caller, Window>,
    remembered: usize,
    /// When a full ledger looks again.
    sweep: Option<Timestamp>,
}

/// What callers drew out, of all connections; outlives the config.
#[derive(Debug, Default)]
pub struct Ledger {
    key: RandomState,
    state: Mutex<State>,
}

impl Ledger {
    fn spend(
        &self,
        caller: &Caller,
        budget: &Budget,
        now: Timestamp,
        class: &DataClass,
        value: &[u8],
    ) -> Result<(), Spent> {
        let hash = self.key.hash_one((class.as_str(), plain(class, value)));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(caller, now);
        if let Some(window) = state.callers.get(caller) {
            if window.values.contains(&hash) {
                return Ok(());
            }
            if window.values.len() >= budget.values {
                return Err(window.spent(now));
            }
        }
        if state.remembered + CALLER_COST >= REMEMBERED_VALUES_MAX {
            state.sweep(now);
        }
        if state.remembered + CALLER_COST >= REMEMBERED_VALUES_MAX {
            return Err(Spent::Ledger);
        }
        state.remember(caller, now.plus(budget.window), hash);
        Ok(())
    }

    fn spent(&self, caller: &Caller, budget: &Budget, now: Timestamp) -> Option<Spent> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(caller, now);
        let window = state.callers.get(caller)?;
        (window.values.len() >= budget.values).then(|| window.spent(now))
    }
}

impl Window {
    fn spent(&self, now: Timestamp) -> Spent {
        Spent::Caller {
            values: self.values.len(),
            wait: self.ends.since(now),
        }
    }

    fn cost(&self) -> usize {
        self.values.len() + CALLER_COST
    }
}

impl State {
    /// A window that is over is forgotten.
    fn forget(&mut self, caller: &Caller, now: Timestamp) {
        if self
            .callers
            .get(caller)
            .is_some_and(|window| window.ends <= now)
            && let Some(window) = self.callers.remove(caller)
        {
            self.remembered = self.remembered.saturating_sub(window.cost());
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        if self.sweep.is_some_and(|next| now < next) {
            return;
        }
        self.sweep = Some(now.plus(SWEEP_EVERY));
        self.callers.retain(|_, window| window.ends > now);
        self.remembered = self.callers.values().map(Window::cost).sum();
    }

    fn remember(&mut self, caller: &Caller, ends: Timestamp, hash: u64) {
        if !self.callers.contains_key(caller) {
            let values = HashSet::new();
            self.callers.insert(caller.clone(), Window { ends, values });
            self.remembered += CALLER_COST;
        }
        if let Some(window) = self.callers.get_mut(caller)
            && window.values.insert(hash)
        {
            self.remembered += 1;
        }
    }
}

/// One caller's side of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Purse {
    ledger: Arc<Ledger>,
    caller: Caller,
}

impl Purse {
    pub(super) fn new(ledger: Arc<Ledger>, connection: &str, issuer: &str, subject: &str) -> Self {
        Self {
            ledger,
            caller: (connection.into(), issuer.into(), subject.into()),
        }
    }

    pub(super) fn spend(
        &self,
        budget: &Budget,
        now: Timestamp,
        class: &DataClass,
        value: &[u8],
    ) -> Result<(), Spent> {
        self.ledger.spend(&self.caller, budget, now, class, value)
    }

    pub(super) fn spent(&self, budget: &Budget, now: Timestamp) -> Option<Spent> {
        self.ledger.spent(&self.caller, budget, now)
    }
}

#[cfg(test)]
mod tests;
