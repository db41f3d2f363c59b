//! The keyring: a key per subject, wrapped under the root key, in a synced file of its own.
//!
//! ```text
//! 0    4  magic "cgk1"
//! 4   32  tag: HMAC-SHA256(key from the root key, issuer ‖ 0 ‖ subject)
//! 36  16  the subject's pseudonym in records
//! 52  12  nonce
//! 64  48  the subject's key, AES-256-GCM under a key from the root key (bytes 0..52 authenticated)
//! 112  8  when it was made, nanoseconds since 1970, little-endian
//! 120  4  CRC-32 over bytes 0..120
//! 124  4  zero
//! ```
//! An entry is on stable storage before the first record that needs it. Destroying a key is writing the
//! file anew without its entry.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use aws_lc_rs::hmac;

use super::Error;
use super::frame::{le32, le64};
use super::seal::{REFERENCE_BYTES, aes, derive, hmac_sha256, random};
use crate::clock::Timestamp;
use crate::disk::{Access, Disk, read_all};
use crate::secret::Secret;

const ENTRY_BYTES: usize = 128;
const MAGIC: &[u8; 4] = b"cgk1";

/// Most subjects in one keyring.
pub const SUBJECTS_MAX: usize = 4_000_000;

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
    tags: HashMap<[u8; REFERENCE_BYTES], Tag>,
    /// Entries that are not in the file yet. The log's writer puts them there before it writes the
    /// frames that need them.
    pending: Vec<Entry>,
}

impl Inner {
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
        let max = u64::try_from(SUBJECTS_MAX * ENTRY_BYTES).unwrap_or(u64::MAX);
        let bytes = read_all(file.as_ref(), max).map_err(failed)?;
        let mut inner = Inner::default();
        let (mut at, mut len) = (0, 0);
        let mut chunks = bytes.chunks_exact(ENTRY_BYTES);
        while let Some(chunk) = chunks.next() {
            at += ENTRY_BYTES as u64;
            match ring.unwrap(chunk) {
                Some((tag, subject)) => {
                    inner.put(tag, subject);
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

    fn unwrap(&self, entry: &[u8]) -> Option<(Tag, Subject)> {
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
        Some((entry.get(4..36)?.try_into().ok()?, subject))
    }

    fn wrap(&self, tag: &Tag, subject: &Subject, made: Timestamp) -> Result<Entry, Error> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut entry = Vec::with_capacity(ENTRY_BYTES);
        entry.extend_from_slice(MAGIC);
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
        let entry = self.wrap(&tag, &subject, now)?;
        inner.pending.push(entry);
        inner.put(tag, subject.clone());
        Ok(subject)
    }

    /// The pseudonym of a subject that has a key.
    pub(super) fn reference(&self, issuer: &str, name: &str) -> Option<[u8; REFERENCE_BYTES]> {
        let tag = self.tag_of(issuer, name);
        self.lock()
            .subjects
            .get(&tag)
            .map(|subject| subject.reference)
    }

    /// The key behind a pseudonym.
    pub(super) fn by_reference(&self, reference: &[u8; REFERENCE_BYTES]) -> Option<Subject> {
        let inner = self.lock();
        let tag = inner.tags.get(reference)?;
        inner.subjects.get(tag).cloned()
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
        gone: &dyn Fn(&[u8; REFERENCE_BYTES]) -> bool,
    ) -> Result<usize, Error> {
        let failed = |source| Error::disk("rewrite", &self.path, source);
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
        let file = disk.open(&self.path, Access::Read).map_err(failed)?;
        let mut bytes = read_all(file.as_ref(), u64::MAX).map_err(failed)?;
        bytes.truncate(usize::try_from(*len).unwrap_or(usize::MAX));
        bytes.extend(inner.pending.iter().flatten());
        let keep = |entry: &&[u8]| {
            let reference = entry.get(36..52).and_then(|r| r.try_into().ok());
            intact(entry) && reference.is_some_and(|reference| !gone(reference))
        };
        let kept: Vec<u8> = bytes
            .chunks_exact(ENTRY_BYTES)
            .filter(keep)
            .flatten()
            .copied()
            .collect();
        disk.write_atomic(&self.path, &kept).map_err(failed)?;
        *len = kept.len() as u64;
        inner.pending.clear();
        inner
            .subjects
            .retain(|_, subject| !gone(&subject.reference));
        inner.tags.retain(|reference, _| !gone(reference));
        Ok(before - inner.subjects.len())
    }
}

/// The entries of a keyring without those of these pseudonyms. No key is needed for that.
pub(super) fn without(ring: &[u8], gone: &dyn Fn(&[u8; REFERENCE_BYTES]) -> bool) -> Vec<u8> {
    let stays = |entry: &&[u8]| {
        let reference = entry.get(36..52).and_then(|found| found.try_into().ok());
        // What is not an entry is left to whoever opens the ring.
        !intact(entry) || reference.is_none_or(|reference| !gone(reference))
    };
    ring.chunks(ENTRY_BYTES)
        .filter(stays)
        .flatten()
        .copied()
        .collect()
}

fn intact(entry: &[u8]) -> bool {
    entry.starts_with(MAGIC)
        && entry.get(..120).map(crc32fast::hash) == le32(entry, 120)
        && le64(entry, 112).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn root() -> Secret<[u8; 32]> {
        Secret::new([7; 32])
    }

    fn ring(path: &Path) -> Keyring {
        Keyring::open(&RealDisk, path, &root()).unwrap()
    }

    fn empty() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("subjects");
        std::fs::write(&path, b"").unwrap();
        (dir, path)
    }

    #[test]
    fn keys_come_back_after_a_restart() {
        let (_dir, path) = empty();
        let first = ring(&path);
        let now = Timestamp::from_secs(1);
        let a = first.subject("corp", "a", now).unwrap();
        let b = first.subject("corp", "b", now).unwrap();
        assert_ne!(a.reference, b.reference);
        first.persist(&RealDisk).unwrap();
        let again = ring(&path);
        let back = again.subject("corp", "a", now).unwrap();
        assert_eq!(back.reference, a.reference);
        assert_eq!(back.key.expose(), a.key.expose());
        assert!(again.by_reference(&b.reference).is_some());
        assert!(Keyring::open(&RealDisk, &path, &Secret::new([8; 32])).is_err());
    }

    #[test]
    fn torn_last_entry_is_dropped_and_a_bad_middle_one_is_refused() {
        let (_dir, path) = empty();
        let first = ring(&path);
        for name in ["a", "b", "c"] {
            first
                .subject("corp", name, Timestamp::from_secs(1))
                .unwrap();
        }
        first.persist(&RealDisk).unwrap();
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() - 20]).unwrap();
        assert!(ring(&path).reference("corp", "b").is_some());
        assert!(ring(&path).reference("corp", "c").is_none());
        let mut hole = good.clone();
        hole[..ENTRY_BYTES].fill(0);
        std::fs::write(&path, &hole).unwrap();
        assert!(ring(&path).reference("corp", "a").is_none());
        assert!(
            ring(&path).reference("corp", "c").is_some(),
            "whole entries are kept"
        );
        let mut bad = good;
        bad[ENTRY_BYTES + 70] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(
            Keyring::open(&RealDisk, &path, &root()),
            Err(Error::Keyring(_))
        ));
    }

    // A19
    #[test]
    fn destroyed_key_is_gone_from_the_file_and_others_stay() {
        let (_dir, path) = empty();
        let first = ring(&path);
        let now = Timestamp::from_secs(1);
        let a = first.subject("corp", "a", now).unwrap();
        let b = first.subject("corp", "b", now).unwrap();
        first.persist(&RealDisk).unwrap();
        assert_eq!(first.destroy(&RealDisk, &|r| *r == a.reference).unwrap(), 1);
        let again = ring(&path);
        assert!(again.by_reference(&a.reference).is_none());
        assert!(again.by_reference(&b.reference).is_some());
        let anew = first.subject("corp", "a", now).unwrap();
        assert_ne!(anew.reference, a.reference);
        first.persist(&RealDisk).unwrap();
        assert!(ring(&path).by_reference(&anew.reference).is_some());
    }
}
