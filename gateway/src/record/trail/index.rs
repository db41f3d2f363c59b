//! The index of calls: a compact, columnar copy of what every call is listed by.
//!
//! Derived from the log alone, in the order of first records, and made anew from it whenever it does
//! not match: another version, another log, a last leaf that the log does not have. It is no evidence:
//! what is listed is read from the log itself. Callers and actors stand in it as the pseudonyms of the
//! leaves, nothing else; when a subject is erased (`erase.subject`), its pseudonym goes out of the
//! dictionaries too, at the next [`CallIndex::refresh`], and out of the files at the next
//! [`CallIndex::save`].
//!
//! The gateway saves the files; everybody else only reads them, and catches up in memory with what
//! came since. Nothing here is on the path of a call.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::Error;
use super::super::files::{self, Files, Identity};
use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::keyring::{Keyring, Subject};
use super::super::root::RootKey;
use super::super::segment::{self, Chain, HEADER_BYTES, Link, Walked};
use super::build::{Built, Held, LastLeaf};
use super::page::{Cursor, Page};
use super::seen::Seen;
use super::story::{Filter, Wanted};
use super::{LOOK_PAUSE, LOOKS_MAX, read_identity, saved};
use crate::disk::Disk;

/// The index of calls, to list from: for the command line and for people's API.
#[derive(Debug)]
pub struct CallIndex {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Files,
    identity: Identity,
    root: RootKey,
    keyring: Option<Keyring>,
    pub(super) chain: Chain,
    pub(super) built: Built,
    /// Where the files' index ends.
    saved: Position,
}

impl CallIndex {
    /// Open the index of the log in `dir`: read its files where they fit the log, and the log behind
    /// them. Without files the whole log is read once.
    ///
    /// # Errors
    /// [`Error::NotInitialised`] where no log is; [`Error::Corrupt`], [`Error::Missing`] when its frames
    /// do not hold together.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        Self::open_with(dir, disk, RootKey::File)
    }

    /// The same with a root key that a transit service has unwrapped.
    ///
    /// # Errors
    /// As [`CallIndex::open`].
    pub fn open_with(dir: &Path, disk: Arc<dyn Disk>, root: RootKey) -> Result<Self, Error> {
        let files = Files::new(dir);
        let identity = read_identity(disk.as_ref(), &files)?;
        let mut index = Self {
            disk,
            files,
            identity,
            root,
            keyring: None,
            chain: Chain::default(),
            built: Built::default(),
            saved: Position::default(),
        };
        index.reload();
        index.refresh()?;
        Ok(index)
    }

    /// What the files hold, or nothing.
    fn reload(&mut self) {
        let disk = self.disk.as_ref();
        self.built = saved::read(disk, &self.files, &self.identity).unwrap_or_default();
        self.saved = self.built.walked.end;
    }

    /// Take the files as they are now, if all of them can be read; else read the whole log.
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        self.reload();
        let whole = self.built.slots.iter().all(|slot| match &slot.held {
            Held::File(name) => saved::load(self.disk.as_ref(), &self.files, name)
                .is_some_and(|packed| packed.open().is_some()),
            Held::Packed(_) | Held::Open(_) => true,
        });
        if !whole {
            self.built = Built::default();
        }
        self.refresh()
    }

    /// Calls that are indexed.
    pub fn calls(&self) -> u64 {
        self.built.rows()
    }

    /// Records of the log that were read for it.
    pub const fn records(&self) -> u64 {
        self.built.walked.next.leaf
    }

    /// Read what was appended to the log since.
    ///
    /// # Errors
    /// As [`CallIndex::open`].
    pub fn refresh(&mut self) -> Result<(), Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            match self.look() {
                Ok(true) => break,
                // The files were replaced by newer ones while they were read.
                Ok(false) if looks < LOOKS_MAX => self.reload(),
                // What was read is not what the log says (any more): from its start.
                Ok(false) => self.built = Built::default(),
                // The gateway may have been writing what we were reading.
                Err(Error::Corrupt { .. } | Error::Missing(_)) if looks < LOOKS_MAX => {
                    std::thread::sleep(LOOK_PAUSE);
                    self.reload();
                }
                Err(error) => return Err(error),
            }
            if looks > 2 * LOOKS_MAX {
                return Err(Error::IndexUnreadable(self.files.index()));
            }
        }
        self.keyring = files::read_root(self.disk.as_ref(), &self.files, &self.root)
            .and_then(|root| Keyring::open(self.disk.as_ref(), &self.files.subjects(), &root))
            .ok();
        Ok(())
    }

    /// One look; false when what was built cannot go on.
    fn look(&mut self) -> Result<bool, Error> {
        self.chain = Chain::find(self.disk.as_ref(), &self.files, &self.identity.log_id)?;
        if !self.still_there()? {
            self.built = Built::default();
        }
        let (disk, files) = (Arc::clone(&self.disk), self.files.clone());
        let load = |name: &str| saved::load(disk.as_ref(), &files, name);
        if self.built.pack(&load).is_err() {
            return Ok(false);
        }
        let links: Vec<Link> = self.chain.links.clone();
        for link in links {
            if link.header.number < self.built.walked.end.segment {
                continue;
            }
            let read = self.segment(link)?;
            self.built.walked = read.walked;
            self.built.behind = read.behind;
            self.built.last = read.last;
            if self.built.apply(read.seen, &load).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A subject's key; none when it was destroyed, whatever keyring is here.
    pub(super) fn subject(&self, reference: &[u8; 16]) -> Option<Subject> {
        if self.built.erased.contains_key(reference) {
            return None;
        }
        self.keyring.as_ref()?.by_reference(reference)
    }

    pub(super) fn wanted(&self, filter: &Filter) -> Wanted {
        Wanted::new(filter.clone(), self.keyring.as_ref(), &self.built.erased)
    }

    /// Whether the log still has the leaf that was read last.
    fn still_there(&self) -> Result<bool, Error> {
        let Some(last) = self.built.last else {
            return Ok(true);
        };
        let mut same = false;
        let found = segment::scan(
            self.disk.as_ref(),
            &self.files,
            &self.chain,
            last.at,
            &mut |at, frame| {
                let leaf = leaf_of(frame);
                same = at == last.at
                    && leaf.is_some_and(|leaf| {
                        leaf.index == last.index
                            && tlog::tree::leaf_hash(leaf.leaf).as_bytes() == &last.hash
                    });
                ControlFlow::Break(())
            },
        );
        match found {
            Ok(()) => Ok(same),
            Err(Error::Corrupt { .. } | Error::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Read on in one segment.
    fn segment(&self, link: Link) -> Result<Read, Error> {
        let mut read = Read {
            seen: Vec::new(),
            walked: self.built.walked,
            behind: self.built.behind,
            last: self.built.last,
        };
        if read.behind == Position::default() {
            read.behind = Position {
                segment: link.header.number,
                offset: HEADER_BYTES,
            };
        }
        let mut newest = None;
        let mut text = Vec::new();
        let walked = segment::walk_on(
            self.disk.as_ref(),
            &self.files,
            &self.chain.only(link),
            self.built.walked,
            &mut |at, frame| {
                if let Some(leaf) = leaf_of(frame) {
                    read.seen.extend(Seen::parse(read.behind, at, &leaf));
                    read.behind = Position {
                        segment: at.segment,
                        offset: at.offset + frame.len as u64,
                    };
                    newest = Some((leaf.index, at));
                    text.clear();
                    text.extend_from_slice(leaf.leaf);
                }
                Ok(())
            },
        )?;
        read.walked = walked;
        if let Some((index, at)) = newest {
            let hash = *tlog::tree::leaf_hash(&text).as_bytes();
            read.last = Some(LastLeaf { index, at, hash });
        }
        Ok(read)
    }

    /// Put what is newer into the files, for the gateway that owns the log.
    ///
    /// # Errors
    /// [`Error::Disk`]; what was there before still fits the log, or is made anew by who reads it.
    pub fn save(&mut self) -> Result<(), Error> {
        if self.saved == self.built.walked.end {
            return Ok(());
        }
        let disk = Arc::clone(&self.disk);
        saved::write(disk.as_ref(), &self.files, &self.identity, &mut self.built)?;
        self.saved = self.built.walked.end;
        Ok(())
    }
}

/// One index of calls for all who ask in this process: opened when it is first needed.
#[derive(Clone, Debug)]
pub struct SharedIndex {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    root: RootKey,
    index: Arc<Mutex<Option<CallIndex>>>,
}

impl SharedIndex {
    /// The index of the log in `dir`.
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>, root: RootKey) -> Self {
        Self {
            dir,
            disk,
            root,
            index: Arc::default(),
        }
    }

    fn with<T>(&self, run: impl FnOnce(&mut CallIndex) -> Result<T, Error>) -> Result<T, Error> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = index.as_mut() {
            index.refresh()?;
            return run(index);
        }
        let opened = CallIndex::open_with(&self.dir, Arc::clone(&self.disk), self.root.clone())?;
        run(index.insert(opened))
    }

    /// A page of calls ([`CallIndex::page`]), up to the newest record. It reads files: to be called where
    /// waiting is allowed (`spawn_blocking`).
    ///
    /// # Errors
    /// As [`CallIndex::open`] and [`CallIndex::page`].
    pub fn page(
        &self,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.with(|index| index.page(filter, cursor, limit))
    }

    /// Catch up and save, for the gateway that owns the log; to be called where waiting is allowed.
    ///
    /// # Errors
    /// As [`CallIndex::open`] and [`CallIndex::save`].
    pub fn keep(&self) -> Result<(), Error> {
        self.with(CallIndex::save)
    }
}

/// What was read of one segment.
struct Read {
    seen: Vec<Seen>,
    walked: Walked,
    behind: Position,
    last: Option<LastLeaf>,
}

pub(super) fn leaf_of<'f>(frame: &Frame<'f>) -> Option<LeafFrame<'f>> {
    match frame.kind {
        Kind::Leaf => LeafFrame::parse(frame.payload),
        Kind::Batch | Kind::Sealed | Kind::Progress => None,
    }
}

#[cfg(test)]
impl CallIndex {
    /// Whether a pseudonym stands in any dictionary.
    pub(in super::super) fn holds(&self, reference: &[u8; 16]) -> bool {
        let known = |held: &Held| match held {
            Held::Open(chunk) => chunk.subjects().contains(reference),
            Held::Packed(packed) => packed.subjects().unwrap().contains(reference),
            Held::File(name) => {
                let packed = saved::load(self.disk.as_ref(), &self.files, name).unwrap();
                packed.subjects().unwrap().contains(reference)
            }
        };
        self.built.slots.iter().any(|slot| known(&slot.held))
    }
}
