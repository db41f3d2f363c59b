//! Keeping no longer than is wanted: content goes with the key of its day, whole segments of the log go once
//! a record says so. Both are records first; legal holds win over both.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Recorded;
use super::keyring::{DAY_SECS, day_of};
use super::leaf::nanos_from_text;
use super::recorder::Recorder;
use super::{Unavailable, Why};
use crate::clock::Timestamp;

/// Longest time that can be asked for.
const DAYS_MAX: u32 = 36_500;

/// How long what is recorded is kept. Legal holds win; nothing goes without a record of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepConfig {
    /// Days after which what was sent, released and said of a call cannot be read any more: the key of its
    /// day is destroyed. Records, proofs and commitments stay. Default: never.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    pub content_days: Option<u32>,
    /// Days after which a call is not listed any more, by `calls list` and the console; its records stay.
    /// Default: as long as they do.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    pub index_days: Option<u32>,
    /// Days after which records go, whole segments of the log at a time, with what is sealed in them. Their
    /// hashes stay, so that the rest can still be checked against every head that somebody holds. Default:
    /// never.
    #[serde(default)]
    #[schemars(range(min = 1, max = 36500))]
    pub log_days: Option<u32>,
}

impl KeepConfig {
    /// What is wrong with it, by field.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let fields = [
            ("content_days", self.content_days),
            ("index_days", self.index_days),
            ("log_days", self.log_days),
        ];
        let longer = |(field, days): &(&'static str, Option<u32>)| {
            let (days, log) = ((*days)?, self.log_days?);
            let text =
                format!("{days} days are more than the {log} of `log_days`, with which they go");
            (days > log).then_some((*field, text))
        };
        let longer: Vec<_> = fields.iter().take(2).filter_map(longer).collect();
        let wrong = fields.into_iter().filter_map(|(field, days)| {
            let days = days.filter(|days| !(1..=DAYS_MAX).contains(days))?;
            Some((
                field,
                format!("it is from 1 to {DAYS_MAX} days, not {days}"),
            ))
        });
        wrong.chain(longer).collect()
    }

    /// What content is older than its time.
    pub fn content_before(&self, now: Timestamp) -> Option<Timestamp> {
        before(now, self.content_days)
    }
}

impl KeepConfig {
    /// What calls are older than their time in lists.
    pub fn index_before(&self, now: Timestamp) -> Option<Timestamp> {
        before(now, self.index_days)
    }

    /// What records are older than their time.
    pub fn log_before(&self, now: Timestamp) -> Option<Timestamp> {
        before(now, self.log_days)
    }
}

fn before(now: Timestamp, days: Option<u32>) -> Option<Timestamp> {
    let kept = u64::from(days?) * DAY_SECS;
    now.secs().checked_sub(kept).map(Timestamp::from_secs)
}

/// Kind of the record that content of earlier days is destroyed.
pub(super) const EXPIRED: &str = "erase.content";

/// Up to which day content is destroyed, and the record that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Expired {
    /// The first day whose content was left, counted from 1970.
    pub(super) before: u64,
    /// The record.
    pub(super) record: u64,
}

impl Expired {
    /// Out of the leaf of record `index`; `None` when it is of another kind.
    pub(super) fn read(index: u64, leaf: &[u8]) -> Option<Self> {
        let fields: serde_json::Value = serde_json::from_slice(leaf).ok()?;
        let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str);
        let before = text("before").filter(|_| text("kind") == Some(EXPIRED))?;
        Some(Self {
            before: day_of(nanos_from_text(before)?),
            record: index,
        })
    }

    /// Content of which days can be open no more, but for legal holds.
    pub(super) fn days(expired: Option<Self>) -> u64 {
        expired.map_or(0, |expired| expired.before)
    }

    /// The later of the two.
    pub(super) fn or_later(self, other: Option<Self>) -> Self {
        other
            .filter(|other| other.before > self.before)
            .unwrap_or(self)
    }
}

/// What [`Recorder::expire_content`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContentExpired {
    /// Content of before this time is destroyed.
    pub before: Timestamp,
    /// Keys that were destroyed.
    pub keys: u64,
    /// The record that says so.
    pub record: u64,
}

impl Recorder {
    /// Destroy the content of the days that ended before this time: the keys of these days, which no record
    /// and no proof needs. Content of subjects under a legal hold stays. Recorded before it is done; `None`
    /// when there is nothing to destroy.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing is destroyed, or it is at the next start, when the record of it stands.
    pub async fn expire_content(
        &self,
        before: Timestamp,
    ) -> Result<Option<ContentExpired>, Unavailable> {
        // Held while keys are destroyed, so that no hold is placed meanwhile.
        let holds = self.inner.holds.lock().await;
        let held = holds.references();
        let day = day_of(before);
        let keyring = Arc::clone(&self.inner.keyring);
        let keys = keyring.expirable(day, &held);
        if keys == 0 {
            return Ok(None);
        }
        let before = Timestamp::from_secs(day * DAY_SECS);
        let keys = keys as u64;
        let record = self
            .note_recorded(Recorded::ContentExpired { before, keys })
            .await?;
        let disk = Arc::clone(&self.inner.disk);
        let destroyed =
            tokio::task::spawn_blocking(move || keyring.expire(disk.as_ref(), day, &held)).await;
        drop(holds);
        match destroyed {
            Ok(Ok(_)) => Ok(Some(ContentExpired {
                before,
                keys,
                record,
            })),
            Ok(Err(error)) => {
                tracing::error!(%error, "the keys of old content cannot be destroyed");
                Err(Unavailable::new(Why::Write))
            }
            Err(_) => Err(Unavailable::new(Why::Write)),
        }
    }
}
