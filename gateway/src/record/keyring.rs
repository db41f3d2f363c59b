//! The keyring: a key per subject and one per day, wrapped under the root key, in a synced file of their
//! own. A content's key is made of both, so it goes with either: with its subject's when that one is
//! erased, with its day's when its time is over.
//!
//! ```text
//! 0    4  magic: "cgk1" a subject's key, "cgd1" a day's, "cgh1" what one subject's contents of one day are
//!         made of, kept for a legal hold when the day's key went
//! 4   32  tag: HMAC-SHA256(key from the root key, issuer ‖ 0 ‖ subject); or the day, counted from 1970
//! 36  16  the subject's pseudonym in records, or zeroes
//! 52  12  nonce
//! 64  48  the key, AES-256-GCM under a key from the root key (bytes 0..52 authenticated)
//! 112  8  when it was made, nanoseconds since 1970, little-endian
//! 120  4  CRC-32 over bytes 0..120
//! 124  4  zero
//! ```
//! An entry is on stable storage before the first record that needs it. Destroying a key is writing the
//! file anew without its entry.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::hmac;

use super::Error;
use super::frame::{le32, le64};
use super::seal::{KeyParts, Material, REFERENCE_BYTES, aes, derive, hmac_sha256, random};
use crate::clock::Timestamp;
use crate::disk::{Access, Disk, read_all};
use crate::secret::Secret;

const ENTRY_BYTES: usize = 128;
const SUBJECT: &[u8; 4] = b"cgk1";
const DAY: &[u8; 4] = b"cgd1";
const KEPT: &[u8; 4] = b"cgh1";

/// Most subjects in one keyring.
pub const SUBJECTS_MAX: usize = 4_000_000;

/// Most days: a hundred years.
const DAYS_MAX: usize = 36_525;

/// Most keys that are kept for legal holds: subjects under hold, times the days of theirs that went.
pub(super) const KEPT_MAX: usize = 1_000_000;

/// Seconds of a day, over which contents share a key.
pub(super) const DAY_SECS: u64 = 86_400;

type Reference = [u8; REFERENCE_BYTES];

/// The day of a time, counted from 1970.
pub(super) const fn day_of(at: Timestamp) -> u64 {
    at.secs() / DAY_SECS
}

/// One subject's key and pseudonym.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) reference: [u8; REFERENCE_BYTES],
    pub(super) key: Secret<[u8; 32]>,
}

type Tag = [u8; 32];
type Entry = [u8; ENTRY_BYTES];

#[derive(Debug, Default)]
struct Inner {
    subjects: HashMap<Tag, Subject>,
    /// The same by their pseudonyms.
    tags: HashMap<Reference, Tag>,
    days: BTreeMap<u64, Secret<[u8; 32]>>,
    /// What contents are made of whose day's key went while a hold stood.
    kept: HashMap<(u64, Reference), Secret<[u8; 32]>>,
    /// Entries that are not in the file yet. The log's writer puts them there before it writes the
    /// frames that need them.
    pending: Vec<Entry>,
}

/// What an entry holds.
enum Found {
    Subject(Tag, Subject),
    Day(u64, Secret<[u8; 32]>),
    Kept(u64, Subject),
}

impl Inner {
    fn take_in(&mut self, found: Found) {
        match found {
            Found::Subject(tag, subject) => self.put(tag, subject),
            Found::Day(day, key) => {
                self.days.insert(day, key);
            }
            Found::Kept(day, subject) => {
                self.kept.insert((day, subject.reference), subject.key);
            }
        }
    }

    fn put(&mut self, tag: Tag, subject: Subject) {
        let reference = subject.reference;
        // An entry that stands there again counts: the pseudonym of the one before leads nowhere.
        if let Some(before) = self.subjects.insert(tag, subject) {
            self.tags.remove(&before.reference);
        }
        self.tags.insert(reference, tag);
    }
}

/// All subjects' keys, in memory and on disk.
#[derive(Debug)]
pub(super) struct Keyring {
    path: PathBuf,
    wrap: Secret<[u8; 32]>,
    tag: hmac::Key,
    inner: Mutex<Inner>,
    /// The file's bytes that are known good. Held while the file is written; taken before `inner`.
    file: Mutex<u64>,
}

impl Keyring {
    /// Read the keyring at `path` with this root key. An entry that was cut short by a crash was
    /// needed by nothing and is dropped.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        root: &Secret<[u8; 32]>,
    ) -> Result<Self, Error> {
        let purpose = |word: &'static [u8]| derive(b"callgate/v1", root.expose(), &[word]);
        let ring = Self {
            path: path.to_owned(),
            wrap: Secret::new(purpose(b"wrap subject keys")?),
            tag: hmac::Key::new(hmac::HMAC_SHA256, &purpose(b"find subjects")?),
            inner: Mutex::default(),
            file: Mutex::default(),
        };
        let failed = |source| Error::disk("read", path, source);
        let file = disk.open(path, Access::Read).map_err(failed)?;
        let entries = SUBJECTS_MAX + DAYS_MAX + KEPT_MAX;
        let max = u64::try_from(entries * ENTRY_BYTES).unwrap_or(u64::MAX);
        let bytes = read_all(file.as_ref(), max).map_err(failed)?;
        let mut inner = Inner::default();
        let (mut at, mut len) = (0, 0);
        let mut chunks = bytes.chunks_exact(ENTRY_BYTES);
        while let Some(chunk) = chunks.next() {
            at += ENTRY_BYTES as u64;
            match ring.unwrap(chunk) {
                Some(found) => {
                    inner.take_in(found);
                    len = at;
                }
                // A sector of an append that the power cut short: entries do not cross sectors. What
                // is whole behind it is kept.
                None if chunk.iter().all(|b| *b == 0) => {}
                // Torn at the end.
                None if !intact(chunk) && !chunks.clone().any(intact) => break,
                None => return Err(Error::Keyring(path.to_owned())),
            }
        }
        *ring.lock() = inner;
        *ring.lock_file() = len;
        Ok(ring)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_file(&self) -> std::sync::MutexGuard<'_, u64> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tag_of(&self, issuer: &str, subject: &str) -> Tag {
        hmac_sha256(&self.tag, &[issuer.as_bytes(), &[0], subject.as_bytes()])
    }

    fn unwrap(&self, entry: &[u8]) -> Option<Found> {
        if !intact(entry) {
            return None;
        }
        let nonce: [u8; NONCE_LEN] = entry.get(52..64)?.try_into().ok()?;
        let mut sealed = entry.get(64..112)?.to_vec();
        let key = aes(self.wrap.expose()).ok()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = key
            .open_in_place(nonce, Aad::from(entry.get(..52)?), &mut sealed)
            .ok()?;
        let subject = Subject {
            reference: entry.get(36..52)?.try_into().ok()?,
            key: Secret::new((&*plain).try_into().ok()?),
        };
        match entry.first_chunk() {
            Some(SUBJECT) => Some(Found::Subject(entry.get(4..36)?.try_into().ok()?, subject)),
            Some(DAY) => Some(Found::Day(le64(entry, 4)?, subject.key)),
            Some(KEPT) => Some(Found::Kept(le64(entry, 4)?, subject)),
            Some(_) | None => None,
        }
    }

    fn wrap(
        &self,
        magic: &[u8; 4],
        tag: &Tag,
        subject: &Subject,
        made: Timestamp,
    ) -> Result<Entry, Error> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut entry = Vec::with_capacity(ENTRY_BYTES);
        entry.extend_from_slice(magic);
        entry.extend_from_slice(tag);
        entry.extend_from_slice(&subject.reference);
        let mut sealed = subject.key.expose().to_vec();
        aes(self.wrap.expose())?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(entry.clone()),
                &mut sealed,
            )
            .map_err(|_| Error::Crypto)?;
        entry.extend_from_slice(&nonce);
        entry.extend_from_slice(&sealed);
        entry.extend_from_slice(&made.nanos().to_le_bytes());
        entry.extend_from_slice(&crc32fast::hash(&entry).to_le_bytes());
        entry.extend_from_slice(&[0; 4]);
        entry.try_into().map_err(|_| Error::Crypto)
    }

    /// The subject's key; made when there is none yet.
    pub(super) fn subject(
        &self,
        issuer: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Subject, Error> {
        let tag = self.tag_of(issuer, name);
        let mut inner = self.lock();
        if let Some(subject) = inner.subjects.get(&tag) {
            return Ok(subject.clone());
        }
        if inner.subjects.len() >= SUBJECTS_MAX {
            return Err(Error::TooManySubjects);
        }
        let key: [u8; 32] = random()?;
        let pseudonym = hmac_sha256(
            &hmac::Key::new(hmac::HMAC_SHA256, &key),
            &[issuer.as_bytes(), &[0], name.as_bytes()],
        );
        let mut reference = [0; REFERENCE_BYTES];
        reference.copy_from_slice(
            pseudonym
                .get(..REFERENCE_BYTES)
                .unwrap_or(&[0; REFERENCE_BYTES]),
        );
        let subject = Subject {
            reference,
            key: Secret::new(key),
        };
        let entry = self.wrap(SUBJECT, &tag, &subject, now)?;
        inner.pending.push(entry);
        inner.put(tag, subject.clone());
        Ok(subject)
    }

    /// What the keys of a subject's contents of now are made of; the subject's and the day's key are made
    /// where there are none yet.
    pub(super) fn material(
        &self,
        issuer: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Material, Error> {
        let subject = self.subject(issuer, name, now)?;
        let day = day_of(now);
        Ok(Material {
            reference: subject.reference,
            day,
            key: of_day(&subject.key, &self.day(day, now)?)?,
        })
    }

    fn day(&self, day: u64, now: Timestamp) -> Result<Secret<[u8; 32]>, Error> {
        let mut inner = self.lock();
        if let Some(key) = inner.days.get(&day) {
            return Ok(key.clone());
        }
        let key = Secret::new(random()?);
        let entry = Subject {
            reference: [0; REFERENCE_BYTES],
            key: key.clone(),
        };
        let entry = self.wrap(DAY, &tag_of_day(day), &entry, now)?;
        inner.pending.push(entry);
        inner.days.insert(day, key.clone());
        Ok(key)
    }

    /// What the key of a content is made of; none when its subject's key or its day's is destroyed. Of days
    /// before `expired` only what is kept for legal holds counts: the keyring may be an older copy.
    pub(super) fn opens(&self, parts: &KeyParts, expired: u64) -> Option<Secret<[u8; 32]>> {
        let inner = self.lock();
        if let Some(kept) = inner.kept.get(&(parts.day, parts.reference)) {
            return Some(kept.clone());
        }
        if parts.day < expired {
            return None;
        }
        let tag = inner.tags.get(&parts.reference)?;
        of_day(&inner.subjects.get(tag)?.key, inner.days.get(&parts.day)?).ok()
    }

    /// The pseudonym of a subject that has a key.
    pub(super) fn reference(&self, issuer: &str, name: &str) -> Option<Reference> {
        let tag = self.tag_of(issuer, name);
        self.lock()
            .subjects
            .get(&tag)
            .map(|subject| subject.reference)
    }

    /// Whether content of a day is kept for a legal hold on a subject.
    pub(super) fn keeps(&self, day: u64, reference: &Reference) -> bool {
        self.lock().kept.contains_key(&(day, *reference))
    }

    /// Whether there is a key behind a pseudonym.
    pub(super) fn knows(&self, reference: &Reference) -> bool {
        self.lock().tags.contains_key(reference)
    }

    /// Put new entries into the file, synced. Called by the log's writer alone, before it writes what
    /// needs them; after an error the entries stay pending.
    pub(super) fn persist(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let mut len = self.lock_file();
        let pending = std::mem::take(&mut self.lock().pending);
        if pending.is_empty() {
            return Ok(());
        }
        let written = self.append(disk, *len, &pending.concat());
        match &written {
            Ok(end) => *len = *end,
            Err(_) => {
                let mut inner = self.lock();
                let newer = std::mem::replace(&mut inner.pending, pending);
                inner.pending.extend(newer);
            }
        }
        written.map(drop)
    }

    /// Write anew what was read: entries may lie in the kernel's memory only, after a sync that failed.
    pub(super) fn settle(&self, disk: &dyn Disk) -> Result<(), Error> {
        let failed = |source| Error::disk("write", &self.path, source);
        let len = self.lock_file();
        let file = disk.open(&self.path, Access::Read).map_err(failed)?;
        let mut bytes = read_all(file.as_ref(), u64::MAX).map_err(failed)?;
        bytes.truncate(usize::try_from(*len).unwrap_or(usize::MAX));
        disk.write_atomic(&self.path, &bytes).map_err(failed)
    }

    /// A descriptor of its own each time: one whose sync has failed is not asked again.
    fn append(&self, disk: &dyn Disk, at: u64, bytes: &[u8]) -> std::io::Result<u64> {
        let file = disk.open(&self.path, Access::Write)?;
        file.write_at(bytes, at)?;
        file.sync()?;
        Ok(at.saturating_add(bytes.len() as u64))
    }

    /// Destroy the keys behind these pseudonyms: the file is written anew without them.
    pub(super) fn destroy(
        &self,
        disk: &dyn Disk,
        gone: &dyn Fn(&Reference) -> bool,
    ) -> Result<usize, Error> {
        let mut len = self.lock_file();
        let mut inner = self.lock();
        let before = inner.subjects.len();
        if !inner
            .subjects
            .values()
            .any(|subject| gone(&subject.reference))
        {
            return Ok(0);
        }
        let stays = |entry: &[u8]| !is_of(entry, gone);
        self.rewrite(disk, (&mut len, &mut inner), &stays, &[])?;
        inner
            .subjects
            .retain(|_, subject| !gone(&subject.reference));
        inner.tags.retain(|reference, _| !gone(reference));
        inner.kept.retain(|(_, reference), _| !gone(reference));
        Ok(before - inner.subjects.len())
    }

    /// Write the file anew: those of its entries and of the pending ones that stay, and these.
    fn rewrite(
        &self,
        disk: &dyn Disk,
        (len, inner): (&mut u64, &mut Inner),
        stays: &dyn Fn(&[u8]) -> bool,
        more: &[Entry],
    ) -> Result<(), Error> {
        let failed = |source| Error::disk("rewrite", &self.path, source);
        let file = disk.open(&self.path, Access::Read).map_err(failed)?;
        let mut bytes = read_all(file.as_ref(), u64::MAX).map_err(failed)?;
        bytes.truncate(usize::try_from(*len).unwrap_or(usize::MAX));
        bytes.extend(inner.pending.iter().flatten());
        let mut kept: Vec<u8> = bytes
            .chunks_exact(ENTRY_BYTES)
            .filter(|entry| intact(entry) && stays(entry))
            .flatten()
            .copied()
            .collect();
        kept.extend(more.iter().flatten());
        disk.write_atomic(&self.path, &kept).map_err(failed)?;
        *len = kept.len() as u64;
        inner.pending.clear();
        Ok(())
    }

    /// How many keys [`Self::expire`] would destroy.
    pub(super) fn expirable(&self, before: u64, held: &HashSet<Reference>) -> usize {
        let inner = self.lock();
        let released = inner.kept.keys().filter(|(_, of)| !held.contains(of));
        inner.days.range(..before).count() + released.count()
    }

    /// Destroy the keys of the days before this one. What the contents of subjects under hold are made of
    /// is kept by itself, until a later call finds no hold on them. Returns how many keys are destroyed.
    ///
    /// # Errors
    /// [`Error::TooManyKept`], [`Error::Disk`]: nothing is destroyed.
    pub(super) fn expire(
        &self,
        disk: &dyn Disk,
        before: u64,
        held: &HashSet<Reference>,
    ) -> Result<usize, Error> {
        let mut len = self.lock_file();
        let mut inner = self.lock();
        let mut kept = inner.kept.clone();
        kept.retain(|(_, reference), _| held.contains(reference));
        let released = inner.kept.len() - kept.len();
        let mut more = Vec::new();
        for (day, key) in inner.days.range(..before) {
            for reference in held {
                let tag = inner.tags.get(reference);
                let Some(subject) = tag.and_then(|tag| inner.subjects.get(tag)) else {
                    continue;
                };
                let entry = Subject {
                    reference: *reference,
                    key: of_day(&subject.key, key)?,
                };
                // Of a day that was made again after the clock was put back: what was kept first stays.
                if kept.contains_key(&(*day, *reference)) {
                    continue;
                }
                let made = Timestamp::from_secs(day * DAY_SECS);
                more.push(self.wrap(KEPT, &tag_of_day(*day), &entry, made)?);
                kept.insert((*day, *reference), entry.key);
                if kept.len() > KEPT_MAX {
                    return Err(Error::TooManyKept);
                }
            }
        }
        let gone = inner.days.range(..before).count() + released;
        if gone == 0 {
            return Ok(0);
        }
        let stays = |entry: &[u8]| match entry.first_chunk() {
            Some(DAY) => le64(entry, 4).is_some_and(|day| day >= before),
            Some(KEPT) => is_of(entry, &|reference| held.contains(reference)),
            Some(_) | None => true,
        };
        self.rewrite(disk, (&mut len, &mut inner), &stays, &more)?;
        inner.days = inner.days.split_off(&before);
        inner.kept = kept;
        Ok(gone)
    }
}

/// What a subject's contents of a day are made of.
fn of_day(subject: &Secret<[u8; 32]>, day: &Secret<[u8; 32]>) -> Result<Secret<[u8; 32]>, Error> {
    derive(day.expose(), subject.expose(), &[b"callgate/v1 day"]).map(Secret::new)
}

fn tag_of_day(day: u64) -> Tag {
    let mut tag = [0; 32];
    if let Some(slot) = tag.first_chunk_mut() {
        *slot = day.to_le_bytes();
    }
    tag
}

/// Whether an entry is of a subject, and of one of these.
fn is_of(entry: &[u8], those: &dyn Fn(&Reference) -> bool) -> bool {
    let reference = entry.get(36..52).and_then(|found| found.try_into().ok());
    !entry.starts_with(DAY) && reference.is_some_and(those)
}

/// The entries of a keyring without those of these pseudonyms. No key is needed for that.
pub(super) fn without(ring: &[u8], gone: &dyn Fn(&Reference) -> bool) -> Vec<u8> {
    let stays = |entry: &&[u8]| {
        // What is not an entry is left to whoever opens the ring.
        !intact(entry) || !is_of(entry, gone)
    };
    ring.chunks(ENTRY_BYTES)
        .filter(stays)
        .flatten()
        .copied()
        .collect()
}

fn intact(entry: &[u8]) -> bool {
    [SUBJECT, DAY, KEPT]
        .iter()
        .any(|magic| entry.starts_with(*magic))
        && entry.get(..120).map(crc32fast::hash) == le32(entry, 120)
        && le64(entry, 112).is_some()
}

#[cfg(test)]
mod tests;
