//! Reading the evidence: beside a running gateway, or on a copy. Nothing here writes.

mod build;
mod columns;
mod copy;
mod find;
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
mod shared;
mod story;
mod verify;
#[cfg(test)]
mod whole;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tlog::note::VerifierKey;

use super::erase::{Hold, Holds};
use super::files::{Files, Identity};
use super::frame::{LeafFrame, Position};
use super::health::Head;
use super::root::RootKey;
use super::{Error, heads, segment};
use crate::call::CallId;
use crate::clock::Timestamp;
use crate::disk::{Disk, Kind as FileKind};
use find::LeafAt;

pub use formats::{Format, Formatter};
pub use gather::{Disclose, Disclosed, Gathered, GatheredRecord};
pub use index::CallIndex;
pub use judged::{
    Judged, JudgedContent, Opener, SealedDecision, Tried, TriedBody, TriedRequest, Unopened,
};
pub use page::{Cursor, May, PAGE_CALLS_MAX, Page};
pub use prove::PutFile;
pub(super) use replay::member;
pub use replay::{Part as ReplayedPart, Replayed};
pub use seen::Decided;
pub use shared::SharedTrail;
pub use story::{CallSummary, Entry, Filter, Story, Would, WouldFilter};
pub use verify::{Progress, Report, Verdict, VerifyOptions};

/// Looks at a log that is being written while it is read.
const LOOKS_MAX: u32 = 5;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// The evidence, to read. Calls and their records are found by the index, and read from the log itself.
#[derive(Debug)]
pub struct Trail {
    index: CallIndex,
}

impl Trail {
    /// Open the log in `dir`: what its index does not know yet is read, the whole log where there is no index.
    /// The content can be opened when its keys are there and readable.
    ///
    /// # Errors
    /// [`Error::NotInitialised`] where no log is; [`Error::Corrupt`], [`Error::Missing`] when frames that are
    /// read do not hold together: [`Trail::check`] tells more.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        Self::open_with(dir, disk, RootKey::File)
    }

    /// The same with a root key that a transit service has unwrapped.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub fn open_with(dir: &Path, disk: Arc<dyn Disk>, root: RootKey) -> Result<Self, Error> {
        CallIndex::open_with(dir, disk, root).map(|index| Self { index })
    }

    /// Read what was appended since.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.index.refresh()
    }

    /// A page of calls ([`CallIndex::page_of`]).
    ///
    /// # Errors
    /// As [`CallIndex::page_of`].
    pub fn page(
        &mut self,
        filter: &Filter,
        may: &May<'_>,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.index.page_of(filter, may, cursor, limit)
    }

    /// Put what is newer into the files of the index, for the gateway that owns the log.
    ///
    /// # Errors
    /// As [`CallIndex::save`].
    pub(in super::super) fn save(&mut self) -> Result<(), Error> {
        self.index.save()
    }

    /// Ask, and ask the log itself where the index's files cannot be read: they are made anew at the next
    /// [`CallIndex::save`].
    fn asked<T>(&self, ask: impl Fn(&Self) -> Result<T, Error>) -> Result<T, Error> {
        match ask(self) {
            Err(Error::IndexUnreadable(_)) => {
                let index = self.index.anew()?;
                ask(&Self { index })
            }
            said => said,
        }
    }

    /// The first record that is here: those before it went, on record.
    pub const fn first(&self) -> u64 {
        self.index.chain.base.records()
    }

    /// Which calls the index lists ([`CallIndex::keep_from`]).
    ///
    /// # Errors
    /// As [`CallIndex::open`].
    pub(in super::super) fn keep_from(&mut self, since: Option<Timestamp>) -> Result<(), Error> {
        self.index.keep_from(since)
    }

    /// Records so far, those that went among them.
    pub fn records(&self) -> u64 {
        self.index.records()
    }

    /// The legal holds that stand.
    ///
    /// # Errors
    /// As [`Trail::leaf`].
    pub fn holds(&self) -> Result<Vec<Hold>, Error> {
        let mut holds = Holds::carried(self.index.disk.as_ref(), &self.index.files)?;
        for at in &self.index.built.holds {
            holds.leaf(&self.read_leaf(*at)?);
        }
        Ok(holds.all().cloned().collect())
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.index.identity.origin
    }

    /// The key that the log's heads are signed with, as the directory says.
    pub const fn verifier_key(&self) -> &VerifierKey {
        &self.index.identity.verifier
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
        super::cosign::cosigned(
            self.index.disk.as_ref(),
            &self.index.files,
            &self.index.identity.verifier,
        )
    }

    /// The newest signed head.
    ///
    /// # Errors
    /// [`Error::BadHead`] when it is not signed by the log's key.
    pub fn head(&self) -> Result<Option<Head>, Error> {
        heads::newest(
            self.index.disk.as_ref(),
            &self.index.files,
            &self.index.identity.verifier,
        )
    }

    /// The exact bytes of one record.
    ///
    /// # Errors
    /// [`Error::NoRecord`] beyond the end.
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, Error> {
        self.asked(|trail| trail.bytes(index))
    }

    /// The same by this index: who asks for more than one record asks for all of them again where it cannot be
    /// read, and not for each.
    fn bytes(&self, index: u64) -> Result<Vec<u8>, Error> {
        self.read_leaf(self.leaf_at(index)?.at)
    }

    fn read_leaf(&self, at: Position) -> Result<Vec<u8>, Error> {
        let path = self.index.files.segment(at.segment);
        let failed = |source| Error::disk("read", &path, source);
        let disk = self.index.disk.as_ref();
        let file = disk
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
        self.index.locate(index)
    }

    fn of_call(&self, call: CallId) -> Result<Vec<u64>, Error> {
        self.index.of_call(call)
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
