//! Cosigning: witnesses outside sign the log's heads, off the path of every call.
//!
//! Every few seconds the newest signed head goes to each witness with the proof that it grew out of the
//! one that this witness signed last (C2SP tlog-witness). A witness that is away is caught up with
//! later, in one step and without a gap; one that is late or lies raises an alarm and stops nothing.

mod judge;
mod leaves;
mod state;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use tlog::note::{Note, VerifierKey};
use tlog::policy::Policy;
use tlog::proof::ConsistencyProof;
use tlog::tree::{Growth, Tree};

use self::judge::{Said, judge};
use self::leaves::Leaves;
use self::state::State;
use super::files::{Files, Identity};
use super::health::Anchor;
use super::{Error, Recorder, files};
use crate::clock::{SharedClock, Timestamp};
use crate::disk::Disk;
use crate::egress::{self, Egress, Limits};

pub use judge::Alarm;
pub use state::Standing;

pub(super) use state::cosigned;

/// Witnesses that one log may have; a note carries 16 signatures, one of them the log's.
pub const WITNESSES_MAX: usize = 15;
/// Longest answer of a witness, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long one question may take.
const QUESTION_MAX: Duration = Duration::from_secs(10);
/// How old a cosignature on an unchanged head may become before it is asked for again.
const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// One witness.
#[derive(Clone, Debug)]
pub struct WitnessTarget {
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes checkpoints.
    pub target: egress::Target,
    /// The client that reaches it.
    pub egress: Egress,
}

/// Who cosigns, and how many of them are enough.
#[derive(Clone, Debug)]
pub struct CosignSettings {
    /// The witnesses.
    pub witnesses: Vec<WitnessTarget>,
    /// Which of them make a head a witnessed one; `None`: any.
    pub policy: Option<Policy>,
    /// How often they are asked.
    pub every: Duration,
}

/// Asks the witnesses.
#[derive(Debug)]
pub struct Cosigner {
    recorder: Recorder,
    disk: Arc<dyn Disk>,
    files: Files,
    clock: SharedClock,
    settings: CosignSettings,
    states: Vec<State>,
    leaves: Arc<Leaves>,
}

/// What one witness did in one round.
struct Turn {
    /// The new state, if it cosigned.
    state: Option<State>,
    alarm: Option<Alarm>,
}

impl Cosigner {
    /// Ready to ask. What the witnesses signed before is read from the log's folder.
    ///
    /// # Errors
    /// When the log's identity cannot be read.
    pub fn new(
        recorder: Recorder,
        dir: &Path,
        clock: SharedClock,
        settings: CosignSettings,
    ) -> Result<Self, Error> {
        let disk = Arc::clone(recorder.disk());
        let files = Files::new(dir);
        let identity = Identity::read(disk.as_ref(), &files)?;
        let folder = files.witnesses();
        disk.create_dir(&folder)
            .map_err(|source| Error::disk("make", &folder, source))?;
        let states = settings.witnesses.iter();
        let states = states
            .map(|witness| State::read(disk.as_ref(), &files, &witness.key))
            .collect();
        Ok(Self {
            leaves: Arc::new(Leaves::new(
                Arc::clone(&disk),
                files.clone(),
                identity.log_id,
            )),
            recorder,
            disk,
            files,
            clock,
            settings,
            states,
        })
    }

    /// How often witnesses are asked.
    pub const fn every(&self) -> Duration {
        self.settings.every
    }

    /// Ask every witness once about the newest head; how each of them stands afterwards.
    pub async fn round(&mut self) -> Vec<Standing> {
        let Some(anchor) = self.recorder.anchor() else {
            return Vec::new();
        };
        let turns = (0..self.states.len()).map(|place| self.turn(place, &anchor));
        let turns = futures_util::future::join_all(turns).await;
        let now = self.clock.now();
        for (state, turn) in self.states.iter_mut().zip(turns) {
            let cosigned = turn.state.is_some();
            if let Some(newer) = turn.state {
                *state = newer;
                state.arrived(now);
            }
            state.tell(turn.alarm.as_ref(), now);
            if (cosigned || turn.alarm.is_some())
                && let Err(error) = state.write(self.disk.as_ref(), &self.files)
            {
                tracing::error!(%error, "how a witness stands could not be stored");
            }
        }
        if let Err(error) = self.keep_cosigned(&anchor) {
            tracing::error!(%error, "the cosigned head could not be stored");
        }
        let standings = self.states.iter();
        standings
            .map(|state| state.standing(anchor.head.size, now))
            .collect()
    }

    async fn turn(&self, place: usize, anchor: &Arc<Anchor>) -> Turn {
        let (Some(witness), Some(state)) =
            (self.settings.witnesses.get(place), self.states.get(place))
        else {
            return Turn {
                state: None,
                alarm: None,
            };
        };
        let age = |at: Timestamp| self.clock.now().since(at);
        let fresh = state
            .cosigned_at()
            .is_some_and(|at| age(at) < REFRESH_AFTER);
        if state.size() == anchor.head.size && fresh {
            return Turn {
                state: None,
                alarm: None,
            };
        }
        match self.ask(witness, state, anchor).await {
            Ok((state, alarm)) => Turn {
                state: Some(state),
                alarm,
            },
            Err(alarm) => Turn {
                state: None,
                alarm: Some(alarm),
            },
        }
    }

    /// Offer the head from where the witness is thought to be, and once more from where it says it is.
    async fn ask(
        &self,
        witness: &WitnessTarget,
        state: &State,
        anchor: &Arc<Anchor>,
    ) -> Result<(State, Option<Alarm>), Alarm> {
        let (ours, head) = (state.size(), anchor.head.size);
        let theirs = match self.offer(witness, state.tree(), anchor).await? {
            Said::Cosigned(line) => return Ok((state.cosigned(&anchor.tree, &line), None)),
            Said::Conflict(theirs) => theirs,
        };
        if theirs > head {
            return Err(Alarm::Ahead { theirs, head });
        }
        if theirs == ours {
            return Err(Alarm::Forked { size: ours });
        }
        // An answer lost in a crash leaves it ahead of what we know; behind it must never be.
        let went_back = (theirs < ours).then_some(Alarm::WentBack { theirs, ours });
        let from = if theirs > ours {
            state.tree().clone()
        } else {
            Tree::new()
        };
        let (there, _) = self.grow(from, theirs).await?;
        match self.offer(witness, &there, anchor).await? {
            Said::Cosigned(line) => Ok((state.cosigned(&anchor.tree, &line), went_back)),
            Said::Conflict(next) => Err(went_back.unwrap_or(Alarm::Wandering { theirs, next })),
        }
    }

    async fn offer(
        &self,
        witness: &WitnessTarget,
        from: &Tree,
        anchor: &Arc<Anchor>,
    ) -> Result<Said, Alarm> {
        let size = anchor.head.size;
        // The first head needs no proof, and an unchanged one neither.
        let hashes = if from.size() == 0 || from.size() == size {
            Vec::new()
        } else {
            let (tree, hashes) = self.grow(from.clone(), size).await?;
            if tree != anchor.tree {
                return Err(Alarm::Own(
                    "its records are not those that were signed".to_owned(),
                ));
            }
            hashes
        };
        let own = |error: tlog::Error| Alarm::Own(error.to_string());
        let checkpoint = Note::parse(anchor.head.note.as_bytes()).map_err(own)?;
        let proof = ConsistencyProof {
            old_size: from.size(),
            hashes,
            checkpoint,
        };
        let mut headers = http::HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let limits = Limits {
            bytes_max: ANSWER_BYTES_MAX,
            total: QUESTION_MAX,
        };
        let body = Bytes::from(proof.to_string());
        let answer = witness.egress.post(&witness.target, &headers, body, limits);
        let answer = answer
            .await
            .map_err(|error| Alarm::Unreachable(error.to_string()))?;
        judge(
            &proof.checkpoint,
            &witness.key,
            answer.status.as_u16(),
            &answer.body,
            self.clock.now(),
        )
    }

    /// The tree of `size` records and the proof that it begins with `from`.
    async fn grow(&self, from: Tree, size: u64) -> Result<(Tree, Vec<tlog::tree::Hash>), Alarm> {
        let leaves = Arc::clone(&self.leaves);
        let grown = tokio::task::spawn_blocking(move || {
            let mut growth = Growth::new(from, size)?;
            leaves.feed(&mut growth, size)?;
            Ok::<_, Error>(growth.finish()?)
        });
        match grown.await {
            Ok(Ok(grown)) => Ok(grown),
            Ok(Err(error)) => Err(Alarm::Own(error.to_string())),
            Err(error) => Err(Alarm::Own(error.to_string())),
        }
    }

    /// Keep the head with all cosignatures on it, once they are enough.
    fn keep_cosigned(&self, anchor: &Anchor) -> Result<(), Error> {
        let mut note = Note::parse(anchor.head.note.as_bytes())?;
        let states = self
            .states
            .iter()
            .filter(|state| state.tree() == &anchor.tree);
        for line in states.filter_map(State::line) {
            let signed = Note::parse(format!("{note}{line}\n").as_bytes())?;
            if let Some(last) = signed.signatures().last() {
                note.add(last.clone())?;
            }
        }
        let keys: Vec<&VerifierKey> = self.settings.witnesses.iter().map(|w| &w.key).collect();
        let verified = note.verify(&keys)?;
        let enough = match &self.settings.policy {
            Some(policy) => policy.met_by(&verified),
            None => !verified.is_empty(),
        };
        if !enough {
            return Ok(());
        }
        let path = self.files.cosigned();
        let text = note.to_string();
        if files::read_small(self.disk.as_ref(), &path).is_ok_and(|kept| kept == text.as_bytes()) {
            return Ok(());
        }
        self.disk
            .write_atomic(&path, text.as_bytes())
            .map_err(|source| Error::disk("write", &path, source))
    }
}
