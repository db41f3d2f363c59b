//! Reading the evidence: beside a running gateway, or on a copy. Nothing here writes.

mod build;
mod columns;
mod copy;
mod formats;
mod gather;
mod index;
mod judged;
#[cfg(test)]
mod measure;
mod page;
mod prove;
mod replay;
mod saved;
mod seen;
mod story;
mod verify;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tlog::note::VerifierKey;
use tlog::tree::{Hash, leaf_hash};

use super::erase::{Hold, Holds};
use super::files::{self, Files, Identity};
use super::frame::{Frame, Kind, LeafFrame, Position};
use super::health::Head;
use super::keyring::Keyring;
use super::leaf::Tag;
use super::root::RootKey;
use super::seal::ContentId;
use super::segment::{self, Chain, Expect, Walked};
use super::{Error, heads};
use crate::call::CallId;
use crate::disk::{Disk, Kind as FileKind};

pub use formats::{Format, Formatter};
pub use gather::{Disclose, Disclosed, Gathered, GatheredRecord};
pub use index::{CallIndex, SharedIndex};
pub use judged::{
    Judged, JudgedContent, Opener, SealedDecision, Tried, TriedBody, TriedRequest, Unopened,
};
pub use page::{Cursor, PAGE_CALLS_MAX, Page};
pub use prove::PutFile;
pub(super) use replay::member;
pub use replay::{Part as ReplayedPart, Replayed};
pub use seen::Decided;
pub use story::{CallSummary, Calls, Entry, Filter, Story, Would, WouldFilter};
pub use verify::{Progress, Report, Verdict, VerifyOptions};

/// Looks at a log that is being written while it is read.
const LOOKS_MAX: u32 = 5;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Where one leaf is.
#[derive(Clone, Copy, Debug)]
struct LeafAt {
    at: Position,
    hash: Hash,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Index {
    leaves: Vec<LeafAt>,
    /// Leaves of each call, in order.
    calls: HashMap<ContentId, Vec<u64>>,
    /// Calls in the order of their first leaf.
    order: Vec<ContentId>,
    /// Pseudonyms whose key is destroyed, and the record that says so.
    erased: HashMap<ContentId, u64>,
    holds: Holds,
}

impl Index {
    fn frame(&mut self, at: Position, frame: &Frame<'_>) {
        if frame.kind != Kind::Leaf {
            return;
        }
        let Some(leaf) = LeafFrame::parse(frame.payload) else {
            return;
        };
        self.leaves.push(LeafAt {
            at,
            hash: leaf_hash(leaf.leaf),
        });
        match leaf.tag {
            Tag::Erase => {
                self.erased.insert(leaf.id, leaf.index);
                return;
            }
            Tag::Hold => self.holds.leaf(leaf.leaf),
            Tag::Begin | Tag::End | Tag::Other => {}
        }
        if leaf.id == [0; 16] {
            return;
        }
        let of_call = self.calls.entry(leaf.id).or_default();
        if of_call.is_empty() {
            self.order.push(leaf.id);
        }
        of_call.push(leaf.index);
    }
}

/// The evidence, to read.
#[derive(Debug)]
pub struct Trail {
    disk: Arc<dyn Disk>,
    files: Files,
    identity: Identity,
    root: RootKey,
    keyring: Option<Keyring>,
    chain: Chain,
    index: Index,
    walked: Walked,
}

impl Trail {
    /// Open the log in `dir`. The content can be opened when its keys are there and readable.
    ///
    /// # Errors
    /// [`Error::NotInitialised`] where no log is; [`Error::Corrupt`], [`Error::Missing`] when its frames
    /// do not hold together: [`Trail::check`] tells more.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        Self::open_with(dir, disk, RootKey::File)
    }

    /// The same with a root key that a transit service has unwrapped.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub fn open_with(dir: &Path, disk: Arc<dyn Disk>, root: RootKey) -> Result<Self, Error> {
        let files = Files::new(dir);
        let identity = read_identity(disk.as_ref(), &files)?;
        let index = Index {
            holds: Holds::carried(disk.as_ref(), &files)?,
            ..Index::default()
        };
        let mut trail = Self {
            disk,
            files,
            identity,
            root,
            keyring: None,
            chain: Chain::default(),
            index,
            walked: Walked {
                end: Position::default(),
                next: Expect::default(),
                torn: false,
            },
        };
        trail.refresh()?;
        Ok(trail)
    }

    /// Read what was appended since.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub fn refresh(&mut self) -> Result<(), Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            match self.look() {
                // The gateway may have been writing what we were reading.
                Err(Error::Corrupt { .. } | Error::Missing(_)) if looks < LOOKS_MAX => {
                    std::thread::sleep(LOOK_PAUSE);
                }
                other => break other,
            }
        }?;
        // A subject's key may be new, or destroyed.
        let keys = self.keys();
        self.keyring = files::read_root(self.disk.as_ref(), &keys, &self.root)
            .and_then(|root| Keyring::open(self.disk.as_ref(), &keys.subjects(), &root))
            .ok();
        Ok(())
    }

    /// Where the keys are: a log that was succeeded has given them to the log beside it.
    fn keys(&self) -> Files {
        let beside = Files::new(&self.files.dir.with_extension(""));
        let stands = |files: &Files| files::stands(self.disk.as_ref(), &files.subjects());
        match (stands(&self.files), stands(&beside)) {
            (Ok(false), Ok(true)) => beside,
            _ => self.files.clone(),
        }
    }

    fn look(&mut self) -> Result<(), Error> {
        let disk = self.disk.as_ref();
        self.chain = Chain::find(disk, &self.files, &self.identity.log_id)?;
        let mut found = Vec::new();
        let walked = segment::walk_on(
            disk,
            &self.files,
            &self.chain,
            self.walked,
            &mut |at, frame| {
                if frame.kind == Kind::Leaf {
                    found.push((at, frame.seq, frame.payload.to_vec()));
                }
                Ok(())
            },
        )?;
        // Only a walk that came through counts: it may be walked again from its start.
        for (at, seq, payload) in &found {
            let frame = Frame {
                kind: Kind::Leaf,
                seq: *seq,
                payload,
                len: 0,
            };
            self.index.frame(*at, &frame);
        }
        self.walked = walked;
        Ok(())
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.index.leaves.len() as u64
    }

    /// The legal holds that stand.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.index.holds.all()
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.identity.origin
    }

    /// The key that the log's heads are signed with, as the directory says.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.identity.verifier
    }

    /// The newest signed head of the log in `dir`, without reading the log.
    ///
    /// # Errors
    /// [`Error::NotInitialised`], [`Error::BadHead`].
    pub fn newest_head(dir: &Path, disk: &dyn Disk) -> Result<Option<Head>, Error> {
        let files = Files::new(dir);
        let identity = read_identity(disk, &files)?;
        heads::newest(disk, &files, &identity.verifier)
    }

    /// The key of the log in `dir`, as its folder says, without reading the log.
    ///
    /// # Errors
    /// [`Error::NotInitialised`].
    pub fn key_of(dir: &Path, disk: &dyn Disk) -> Result<VerifierKey, Error> {
        read_identity(disk, &Files::new(dir)).map(|identity| identity.verifier)
    }

    /// The newest head of the log in `dir` that enough witnesses have cosigned, without reading the log.
    ///
    /// # Errors
    /// [`Error::NotInitialised`].
    pub fn cosigned_head_of(dir: &Path, disk: &dyn Disk) -> Result<Option<Head>, Error> {
        let files = Files::new(dir);
        let identity = read_identity(disk, &files)?;
        Ok(super::cosign::cosigned(disk, &files, &identity.verifier))
    }

    /// The newest head that enough witnesses have cosigned, with their signatures.
    pub fn cosigned_head(&self) -> Option<Head> {
        super::cosign::cosigned(self.disk.as_ref(), &self.files, &self.identity.verifier)
    }

    /// The newest signed head.
    ///
    /// # Errors
    /// [`Error::BadHead`] when it is not signed by the log's key.
    pub fn head(&self) -> Result<Option<Head>, Error> {
        heads::newest(self.disk.as_ref(), &self.files, &self.identity.verifier)
    }

    /// The exact bytes of one record.
    ///
    /// # Errors
    /// [`Error::NoRecord`] beyond the end.
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, Error> {
        let at = self.leaf_at(index)?.at;
        let path = self.files.segment(at.segment);
        let failed = |source| Error::disk("read", &path, source);
        let file = self
            .disk
            .open(&path, crate::disk::Access::Read)
            .map_err(failed)?;
        let mut bytes = vec![0; super::frame::HEADER_BYTES + 64 + super::LEAF_BYTES_MAX];
        let read = file.read_at(&mut bytes, at.offset).map_err(failed)?;
        let frame = super::frame::parse(bytes.get(..read).unwrap_or_default());
        let leaf = frame.ok().and_then(|frame| LeafFrame::parse(frame.payload));
        leaf.map(|leaf| leaf.leaf.to_vec())
            .ok_or_else(|| segment::corrupt(at, "a frame is not intact"))
    }

    fn leaf_at(&self, index: u64) -> Result<LeafAt, Error> {
        let found = usize::try_from(index)
            .ok()
            .and_then(|at| self.index.leaves.get(at));
        found.copied().ok_or(Error::NoRecord(index))
    }

    fn of_call(&self, call: CallId) -> Result<&[u64], Error> {
        let found = self.index.calls.get(call.as_bytes());
        found.map(Vec::as_slice).ok_or(Error::UnknownCall(call))
    }
}

fn read_identity(disk: &dyn Disk, files: &Files) -> Result<Identity, Error> {
    for dir in [&files.dir, &files.wal] {
        match disk.identity(dir) {
            Ok(Some(found)) if found.kind == FileKind::Directory => {}
            Ok(Some(_)) => return Err(Error::NotPlain(dir.clone())),
            Ok(None) => return Err(Error::NotInitialised(files.dir.clone())),
            Err(source) => return Err(Error::disk("look at", dir, source)),
        }
    }
    Identity::read(disk, files)
}
