//! Cosigning: witnesses outside sign the log's heads, off the path of every call.
//!
//! Every few seconds the newest signed head goes to each witness with the proof that it grew out of the
//! one that this witness signed last (C2SP tlog-witness). A witness that is away is caught up with
//! later, in one step and without a gap; one that is late or lies raises an alarm and stops nothing.

mod judge;
mod leaves;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use tlog::checkpoint::Checkpoint;
use tlog::note::{Note, VerifierKey};
use tlog::policy::Policy;
use tlog::proof::ConsistencyProof;
use tlog::tree::{Growth, Tree};
use tokio::task::JoinSet;

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
/// How long asking one witness may take, with a second question from where it says it is.
const TURN_MAX: Duration = Duration::from_secs(25);
/// How long a round waits for those that are asked.
const ROUND_MAX: Duration = Duration::from_secs(2);
/// Heads whose cosignatures are gathered at one time: those that a slow witness may still sign.
const HEADS_REMEMBERED_MAX: usize = 32;
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

/// Asks the witnesses, each in a task of its own: one that is slow keeps no other waiting.
#[derive(Debug)]
pub struct Cosigner {
    recorder: Recorder,
    disk: Arc<dyn Disk>,
    files: Files,
    clock: SharedClock,
    settings: CosignSettings,
    states: Vec<State>,
    leaves: Arc<Leaves>,
    turns: JoinSet<Turn>,
    /// Which witnesses are being asked.
    asked: Vec<bool>,
    /// Cosignatures on the heads that were asked about last, oldest head first.
    signed: VecDeque<Signed>,
}

/// A head, and who has cosigned it.
#[derive(Debug)]
struct Signed {
    anchor: Arc<Anchor>,
    /// By the witness's place.
    lines: BTreeMap<usize, String>,
}

/// What came of asking one witness.
struct Turn {
    place: usize,
    anchor: Arc<Anchor>,
    /// The new state, if it cosigned.
    said: Result<(State, Option<Alarm>), Alarm>,
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
        let states: Vec<State> = states
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
            asked: vec![false; states.len()],
            states,
            turns: JoinSet::new(),
            signed: VecDeque::new(),
        })
    }

    /// How often witnesses are asked.
    pub const fn every(&self) -> Duration {
        self.settings.every
    }

    /// Ask every witness about the newest head that is not still being asked; how each of them stands
    /// afterwards. What takes longer than [`ROUND_MAX`] goes on, and counts in a later round.
    pub async fn round(&mut self) -> Vec<Standing> {
        let Some(anchor) = self.recorder.anchor() else {
            return Vec::new();
        };
        for place in 0..self.states.len() {
            self.start(place, &anchor);
        }
        let until = tokio::time::Instant::now() + ROUND_MAX;
        while let Ok(Some(done)) = tokio::time::timeout_at(until, self.turns.join_next()).await {
            match done {
                Ok(turn) => self.take_in(turn).await,
                Err(error) => {
                    tracing::error!(%error, "asking a witness broke off");
                    // Whose turn it was is not known: all that are left are asked anew.
                    self.turns = JoinSet::new();
                    self.asked.fill(false);
                }
            }
        }
        let now = self.clock.now();
        let standings = self.states.iter();
        standings
            .map(|state| state.standing(anchor.head.size, now))
            .collect()
    }

    /// Begin to ask one witness, unless it is being asked or has nothing to say.
    fn start(&mut self, place: usize, anchor: &Arc<Anchor>) {
        let witness = self.settings.witnesses.get(place);
        let (Some(witness), Some(state), Some(asked)) =
            (witness, self.states.get(place), self.asked.get_mut(place))
        else {
            return;
        };
        let age = |at: Timestamp| self.clock.now().since(at);
        let fresh = state
            .cosigned_at()
            .is_some_and(|at| age(at) < REFRESH_AFTER);
        if *asked || (state.size() == anchor.head.size && fresh) {
            return;
        }
        *asked = true;
        let (witness, state, anchor) = (witness.clone(), state.clone(), Arc::clone(anchor));
        let asking = Asking {
            clock: Arc::clone(&self.clock),
            leaves: Arc::clone(&self.leaves),
        };
        self.turns.spawn(async move {
            let said = tokio::time::timeout(TURN_MAX, asking.ask(&witness, &state, &anchor));
            let said = said.await.unwrap_or_else(|_| {
                let seconds = TURN_MAX.as_secs();
                Err(Alarm::Unreachable(format!(
                    "no answer in {seconds} seconds"
                )))
            });
            Turn {
                place,
                anchor,
                said,
            }
        });
    }

    /// Note what one witness said, and keep it.
    async fn take_in(&mut self, turn: Turn) {
        let now = self.clock.now();
        let (newer, alarm) = match turn.said {
            Ok((state, alarm)) => (Some(state), alarm),
            Err(alarm) => (None, Some(alarm)),
        };
        if let Some(asked) = self.asked.get_mut(turn.place) {
            *asked = false;
        }
        let Some(state) = self.states.get_mut(turn.place) else {
            return;
        };
        let line = newer.as_ref().and_then(State::line).map(ToOwned::to_owned);
        let cosigned = newer.is_some();
        if let Some(newer) = newer {
            *state = newer;
            state.arrived(now);
        }
        state.tell(alarm.as_ref(), now);
        let mut kept = None;
        if let Some(line) = line {
            let line = (turn.place, line);
            kept = self
                .cosignature(&turn.anchor, line)
                .unwrap_or_else(|error| {
                    tracing::error!(%error, "the cosignatures on a head do not go together");
                    None
                });
        }
        if !cosigned && alarm.is_none() {
            return;
        }
        let state = self.states.get(turn.place).cloned();
        let (disk, files) = (Arc::clone(&self.disk), self.files.clone());
        // A sync may take long, or hang: not on the threads that serve calls.
        let written = tokio::task::spawn_blocking(move || {
            if let Some(state) = state {
                state.write(disk.as_ref(), &files)?;
            }
            kept.map_or(Ok(()), |note| keep_cosigned(disk.as_ref(), &files, &note))
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what a witness said could not be stored"),
            Err(error) => tracing::error!(%error, "storing what a witness said broke off"),
        }
    }

    /// One more cosignature on a head; the head with all of them, once they are enough.
    fn cosignature(
        &mut self,
        anchor: &Arc<Anchor>,
        (place, line): (usize, String),
    ) -> Result<Option<Note>, Error> {
        let same = |signed: &Signed| signed.anchor.head == anchor.head;
        if !self.signed.iter().any(same) {
            if self.signed.len() >= HEADS_REMEMBERED_MAX {
                self.signed.pop_front();
            }
            self.signed.push_back(Signed {
                anchor: Arc::clone(anchor),
                lines: BTreeMap::new(),
            });
        }
        let signed = self.signed.iter_mut().find(|signed| same(signed));
        let mut lines = match signed {
            Some(signed) => {
                signed.lines.insert(place, line);
                signed.lines.clone()
            }
            None => BTreeMap::from([(place, line)]),
        };
        // Those that signed it before a restart.
        for (other, state) in self.states.iter().enumerate() {
            if let Some(line) = state.line().filter(|_| state.tree() == &anchor.tree) {
                lines.entry(other).or_insert_with(|| line.to_owned());
            }
        }
        let mut note = Note::parse(anchor.head.note.as_bytes())?;
        for line in lines.values() {
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
        Ok(enough.then_some(note))
    }
}

/// Keep a head with all cosignatures on it, unless a newer one is kept.
fn keep_cosigned(disk: &dyn Disk, files: &Files, note: &Note) -> Result<(), Error> {
    let path = files.cosigned();
    let text = note.to_string();
    let size = |text: &[u8]| {
        Checkpoint::parse(Note::parse(text).ok()?.text())
            .ok()
            .map(|c| c.size())
    };
    if let Ok(kept) = files::read_small(disk, &path)
        && (kept == text.as_bytes() || size(&kept) > size(text.as_bytes()))
    {
        return Ok(());
    }
    disk.write_atomic(&path, text.as_bytes())
        .map_err(|source| Error::disk("write", &path, source))
}

/// What is needed to ask.
struct Asking {
    clock: SharedClock,
    leaves: Arc<Leaves>,
}

impl Asking {
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
}
