//! How each witness stands, in `witnesses/<key id>.json` beside the log, and the newest head that
//! enough of them have cosigned, in `witnesses/cosigned`.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tlog::note::VerifierKey;
use tlog::tree::Tree;

use super::super::files::{self, Files};
use super::super::health::Head;
use super::super::{Error, heads};
use super::judge::Alarm;
use crate::clock::Timestamp;
use crate::disk::{Disk, Kind};

/// What is stored of a witness.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Its key.
    key: String,
    /// The tree that it has cosigned, as its frontier.
    tree: String,
    /// Its newest cosignature, as a note's line.
    line: Option<String>,
    /// When we got it, in seconds since 1970.
    cosigned_s: Option<u64>,
    /// Alarms so far.
    alarms: u64,
    /// The last of them.
    last_alarm: Option<StoredAlarm>,
    /// Whether it still stands.
    alarmed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredAlarm {
    at_s: u64,
    kind: String,
    text: String,
}

/// How a witness stands, for people and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its name.
    pub witness: String,
    /// Records under the newest head that it cosigned.
    pub size: u64,
    /// Records that are signed and that it has not cosigned.
    pub behind: u64,
    /// How long ago it last cosigned; `None`: never.
    pub age: Option<Duration>,
    /// The alarm that stands: its kind and its text.
    pub alarm: Option<(String, String)>,
    /// The last alarm and how long ago it was, standing or not.
    pub last_alarm: Option<(String, Duration)>,
    /// Alarms so far.
    pub alarms: u64,
}

#[derive(Clone, Debug)]
pub(super) struct State {
    key: VerifierKey,
    tree: Tree,
    stored: Stored,
}

impl State {
    fn fresh(key: &VerifierKey) -> Self {
        let tree = Tree::new();
        let stored = Stored {
            key: key.to_string(),
            tree: BASE64.encode(tree.to_bytes()),
            line: None,
            cosigned_s: None,
            alarms: 0,
            last_alarm: None,
            alarmed: false,
        };
        Self {
            key: key.clone(),
            tree,
            stored,
        }
    }

    /// What is stored of this witness. What is not there or not in form begins anew: the witness says
    /// itself where it is, and proves it by signing from there.
    pub(super) fn read(disk: &dyn Disk, files: &Files, key: &VerifierKey) -> Self {
        let path = files.witness(key);
        if !matches!(disk.identity(&path), Ok(Some(found)) if found.kind == Kind::File) {
            return Self::fresh(key);
        }
        let read = files::read_small(disk, &path).ok().and_then(|bytes| {
            let stored: Stored = serde_json::from_slice(&bytes).ok()?;
            let tree = Tree::from_bytes(&BASE64.decode(&stored.tree).ok()?).ok()?;
            (stored.key == key.to_string()).then(|| Self {
                key: key.clone(),
                tree,
                stored,
            })
        });
        read.unwrap_or_else(|| {
            tracing::warn!(path = %path.display(), "how a witness stands cannot be read and is asked anew");
            Self::fresh(key)
        })
    }

    pub(super) fn write(&self, disk: &dyn Disk, files: &Files) -> Result<(), Error> {
        let path = files.witness(&self.key);
        let text = serde_json::to_string_pretty(&self.stored).unwrap_or_default() + "\n";
        disk.write_atomic(&path, text.as_bytes())
            .map_err(|source| Error::disk("write", &path, source))
    }

    pub(super) const fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn line(&self) -> Option<&str> {
        self.stored.line.as_deref()
    }

    pub(super) fn cosigned_at(&self) -> Option<Timestamp> {
        self.stored.cosigned_s.map(Timestamp::from_secs)
    }

    /// The state after it cosigned this tree.
    pub(super) fn cosigned(&self, tree: &Tree, line: &str) -> Self {
        let stored = Stored {
            tree: BASE64.encode(tree.to_bytes()),
            line: Some(line.to_owned()),
            ..self.stored.clone()
        };
        Self {
            key: self.key.clone(),
            tree: tree.clone(),
            stored,
        }
    }

    /// Note what a round brought, and tell the log of what is new.
    pub(super) fn tell(&mut self, alarm: Option<&Alarm>, now: Timestamp) {
        let stored = &mut self.stored;
        let witness = self.key.name();
        match alarm {
            Some(alarm) => {
                let text = alarm.to_string();
                let last = stored.last_alarm.as_ref();
                let same = stored.alarmed && last.is_some_and(|last| last.kind == alarm.kind());
                if !same {
                    tracing::error!(witness, alarm = alarm.kind(), "{text}");
                }
                stored.alarms += 1;
                stored.alarmed = true;
                stored.last_alarm = Some(StoredAlarm {
                    at_s: now.secs(),
                    kind: alarm.kind().to_owned(),
                    text,
                });
            }
            None if stored.alarmed => {
                tracing::info!(witness, "the witness cosigns again");
                stored.alarmed = false;
            }
            None => {}
        }
    }

    /// The time of the newest cosignature is when it arrived, by our clock.
    pub(super) fn arrived(&mut self, now: Timestamp) {
        self.stored.cosigned_s = Some(now.secs());
    }

    pub(super) fn standing(&self, signed: u64, now: Timestamp) -> Standing {
        let stored = &self.stored;
        let last = stored.last_alarm.as_ref();
        let age = |at_s: u64| now.since(Timestamp::from_secs(at_s));
        Standing {
            witness: self.key.name().to_owned(),
            size: self.size(),
            behind: signed.saturating_sub(self.size()),
            age: stored.cosigned_s.map(age),
            alarm: last
                .filter(|_| stored.alarmed)
                .map(|last| (last.kind.clone(), last.text.clone())),
            last_alarm: last.map(|last| (last.text.clone(), age(last.at_s))),
            alarms: stored.alarms,
        }
    }
}

impl Standing {
    /// How these witnesses stand by what is stored beside the log in `dir`, of which `signed` records
    /// are under a head.
    pub fn read(
        dir: &std::path::Path,
        disk: &dyn Disk,
        witnesses: &[VerifierKey],
        (signed, now): (u64, Timestamp),
    ) -> Vec<Self> {
        let files = Files::new(dir);
        let states = witnesses.iter().map(|key| State::read(disk, &files, key));
        states.map(|state| state.standing(signed, now)).collect()
    }
}

/// The newest head that enough witnesses have cosigned, if there is one that the log's key signed.
pub(in super::super) fn cosigned(
    disk: &dyn Disk,
    files: &Files,
    key: &VerifierKey,
) -> Option<Head> {
    let bytes = files::read_small(disk, &files.cosigned()).ok()?;
    heads::verify(std::str::from_utf8(&bytes).ok()?, key).ok()
}
