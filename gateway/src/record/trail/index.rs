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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tlog::tree::{Hash, leaf_hash};

use super::super::Error;
use super::super::files::{self, Files, Identity};
use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::keyring::Keyring;
use super::super::leaf::Tag;
use super::super::retain::Expired;
use super::super::root::RootKey;
use super::super::seal::KeyParts;
use super::super::segment::{self, Chain, HEADER_BYTES, Link, Walked};
use super::super::{heads, reading};
use super::build::{Built, Held, LastLeaf};
use super::find::Recent;
use super::seen::Seen;
use super::story::{Filter, Wanted};
use super::{LOOK_PAUSE, LOOKS_MAX, read_identity, saved};
use crate::clock::Timestamp;
use crate::disk::{self, Disk};
use crate::secret::Secret;

/// How far the time from which on calls are listed may go back without the log being read anew: clocks are corrected.
const FLOOR_SLACK_MS: u64 = 86_400_000;

/// The index of calls, to list from: for the command line and for people's API.
#[derive(Debug)]
pub struct CallIndex {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Files,
    pub(super) identity: Identity,
    root: RootKey,
    keyring: Option<Keyring>,
    /// Which file the keyring was read from, and how long it was.
    keyring_file: Option<(PathBuf, Option<disk::Identity>, u64)>,
    pub(super) chain: Chain,
    pub(super) built: Built,
    /// Where the files' index ends.
    pub(super) saved: Position,
    /// A file of it could not be read.
    unreadable: AtomicBool,
    pub(super) recent: Recent,
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
        let mut index = Self::of_nothing(disk, files, identity, root);
        index.reload();
        index.refresh()?;
        Ok(index)
    }

    /// Before anything is read.
    fn of_nothing(disk: Arc<dyn Disk>, files: Files, identity: Identity, root: RootKey) -> Self {
        Self {
            disk,
            files,
            identity,
            root,
            keyring: None,
            keyring_file: None,
            chain: Chain::default(),
            built: Built::default(),
            saved: Position::default(),
            unreadable: AtomicBool::new(false),
            recent: Recent::default(),
        }
    }

    /// What the files hold, or nothing.
    fn reload(&mut self) {
        let disk = self.disk.as_ref();
        self.built = saved::read(disk, &self.files, &self.identity).unwrap_or_default();
        self.saved = self.built.walked.end;
    }

    /// Take the files as they are now, if all of them can be read; else read the whole log.
    pub(in super::super) fn reopen(&mut self) -> Result<(), Error> {
        self.reload();
        let whole = self.built.slots.iter().all(|slot| match &slot.held {
            Held::File(name) => saved::load(self.disk.as_ref(), &self.files, name)
                .is_some_and(|packed| packed.open().is_some()),
            Held::Packed(_) | Held::Open(_) => true,
        });
        if !whole {
            self.built = self.built.anew();
            self.saved = Position::default();
        }
        self.refresh()
    }

    /// The same log with an index of its own that was made of nothing but the log, while the files cannot be
    /// read; they are made anew at the next [`CallIndex::save`].
    pub(super) fn anew(&self) -> Result<Self, Error> {
        self.unreadable.store(true, Ordering::Relaxed);
        let (disk, files) = (Arc::clone(&self.disk), self.files.clone());
        let mut index = Self::of_nothing(disk, files, self.identity.clone(), self.root.clone());
        index.built = self.built.anew();
        index.refresh()?;
        Ok(index)
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
                Ok(false) => self.built = self.built.anew(),
                // The gateway may have been writing what we were reading.
                Err(error) if error.may_pass() && looks < LOOKS_MAX => {
                    std::thread::sleep(LOOK_PAUSE);
                    self.reload();
                }
                Err(error) => return Err(error),
            }
            if looks > 2 * LOOKS_MAX {
                return Err(Error::IndexUnreadable(self.files.index()));
            }
        }
        self.read_keys();
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

    /// Read the keys again where a subject's may be new, or destroyed: then the file is longer, or another.
    fn read_keys(&mut self) {
        let keys = self.keys();
        let path = keys.subjects();
        let disk = self.disk.as_ref();
        let file = disk.open(&path, disk::Access::Read).ok();
        let found = file.and_then(|file| Some((file.identity().ok()?, file.len_bytes().ok()?)));
        let (identity, len) = found.map_or((None, 0), |(identity, len)| (Some(identity), len));
        let stamp = Some((path, identity, len));
        if self.keyring.is_some() && self.keyring_file == stamp {
            return;
        }
        self.keyring = files::read_root(disk, &keys, &self.root)
            .and_then(|root| Keyring::open(disk, &keys.subjects(), &root))
            .ok();
        self.keyring_file = stamp;
    }

    /// One look; false when what was built cannot go on.
    fn look(&mut self) -> Result<bool, Error> {
        // Before the records: what it covers was written before it was signed.
        let covered = heads::covered(self.disk.as_ref(), &self.files)?;
        self.chain = Chain::find(self.disk.as_ref(), &self.files, &self.identity.log_id)?;
        if !self.still_there()? {
            self.built = self.built.anew();
        }
        let (disk, files) = (Arc::clone(&self.disk), self.files.clone());
        let base = self.chain.base.clone();
        let hashes = || base.leaves(disk.as_ref(), &files);
        self.built.begin(&self.chain, &hashes)?;
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
            self.built.holds.extend(read.holds);
            self.built.grow(&read.hashes);
            self.built.expired = read.expired;
            if self.built.apply(read.seen, &load).is_err() {
                return Ok(false);
            }
        }
        if self.records() < covered {
            // Records that were signed are not there: cut off, which verification tells, or in the midst.
            segment::search(disk.as_ref(), &files, &self.chain, self.built.walked.end)?;
        }
        Ok(true)
    }

    /// The keys that are here.
    pub(super) const fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }

    /// What the key of a content is made of; none when that was destroyed, whatever keyring is here.
    pub(super) fn material(&self, parts: &KeyParts) -> Option<Secret<[u8; 32]>> {
        if self.built.erased.contains_key(&parts.reference) {
            return None;
        }
        let expired = Expired::days(self.built.expired);
        self.keyring.as_ref()?.opens(parts, expired)
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
        let found = reading::scan(
            self.disk.as_ref(),
            &self.files,
            &self.chain,
            last.at,
            &mut |at, frame| {
                let leaf = leaf_of(frame);
                same = at == last.at
                    && leaf.is_some_and(|leaf| {
                        leaf.index == last.index && leaf_hash(leaf.leaf).as_bytes() == &last.hash
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
            hashes: Vec::new(),
            holds: Vec::new(),
            walked: self.built.walked,
            behind: self.built.behind,
            last: self.built.last,
            expired: self.built.expired,
        };
        if read.behind == Position::default() {
            read.behind = Position {
                segment: link.header.number,
                offset: HEADER_BYTES,
            };
        }
        let mut visit = |at: Position, frame: &Frame<'_>| {
            let Some(leaf) = leaf_of(frame) else {
                return Ok(());
            };
            read.seen.extend(Seen::parse(read.behind, at, &leaf));
            read.behind = Position {
                segment: at.segment,
                offset: at.offset + frame.len as u64,
            };
            if leaf.tag == Tag::Hold {
                read.holds.push(at);
            }
            if leaf.tag == Tag::Retain
                && let Some(expired) = Expired::read(leaf.index, leaf.leaf)
            {
                read.expired = Some(expired.or_later(read.expired));
            }
            let hash = leaf_hash(leaf.leaf);
            read.hashes.push(hash);
            read.last = Some(LastLeaf {
                index: leaf.index,
                at,
                hash: *hash.as_bytes(),
            });
            Ok(())
        };
        let (disk, start) = (self.disk.as_ref(), self.built.walked);
        read.walked = reading::follow(disk, &self.files, &link, start, &mut visit)?;
        Ok(read)
    }

    /// List calls of that time on and no older ones; all when none is told. Those that were dropped and are wanted
    /// again, after a setting or the clock was wrong, are read from the log anew.
    ///
    /// # Errors
    /// As [`CallIndex::open`].
    pub fn keep_from(&mut self, since: Option<Timestamp>) -> Result<(), Error> {
        let floor = since.map_or(0, Timestamp::millis);
        let slack = since.map_or(0, |_| FLOOR_SLACK_MS);
        if floor.saturating_add(slack) < self.built.floor_ms {
            self.built = Built {
                floor_ms: floor,
                ..Built::default()
            };
            self.saved = Position::default();
            self.refresh()?;
        }
        self.built.forget_before(floor);
        Ok(())
    }

    /// Put what is newer into the files, for the gateway that owns the log.
    ///
    /// # Errors
    /// [`Error::Disk`]; what was there before still fits the log, or is made anew by who reads it.
    pub fn save(&mut self) -> Result<(), Error> {
        if self.unreadable.swap(false, Ordering::Relaxed) {
            self.reopen()?;
        }
        if self.saved == self.built.walked.end && !self.built.changed {
            return Ok(());
        }
        let disk = Arc::clone(&self.disk);
        saved::write(disk.as_ref(), &self.files, &self.identity, &mut self.built)?;
        self.saved = self.built.walked.end;
        self.built.changed = false;
        Ok(())
    }
}

/// What was read of one segment.
struct Read {
    seen: Vec<Seen>,
    hashes: Vec<Hash>,
    holds: Vec<Position>,
    walked: Walked,
    behind: Position,
    last: Option<LastLeaf>,
    expired: Option<Expired>,
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
