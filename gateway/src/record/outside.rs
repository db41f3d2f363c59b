//! What is remembered of a log outside of it, and where it lives: without either, a log that was put back
//! to an older state looks like itself.
//!
//! `audit/place` names the directory that the log was made in, by its inode and the time it was made at: a
//! copy of it lies in another one. The head file, on another volume, has the newest signed head: a log that is behind it was put back,
//! and a head in it that is not ours was signed by a copy that runs. Beside it stand the pseudonyms whose
//! keys were destroyed, so that an old backup brings none of them back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tlog::note::VerifierKey;

use super::files::{self, Files};
use super::health::{Head, Shared};
use super::leaf::{hex, unhex};
use super::seal::ContentId;
use super::{Error, heads};
use crate::disk::{Access, Disk, read_all};

/// How often the head file is brought up to date.
const EVERY: Duration = Duration::from_secs(1);
/// Largest list of destroyed pseudonyms, in bytes: 34 each.
const ERASED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Note where the log lives. Asked for when it is made, or when its operator says that it moved.
pub(super) fn settle_place(disk: &dyn Disk, files: &Files) -> Result<(), Error> {
    let path = files.place();
    disk.write_atomic(&path, format!("{}\n", born_as(disk, files)?).as_bytes())
        .map_err(|source| Error::disk("write", &path, source))
}

/// Refuse a log that lies elsewhere than where it was made.
pub(super) fn check_place(disk: &dyn Disk, files: &Files) -> Result<(), Error> {
    let copied = || Error::Copied(files.dir.clone());
    if !files::stands(disk, &files.place())? {
        return Err(copied());
    }
    let text = files::read_small(disk, &files.place())?;
    let noted = std::str::from_utf8(&text).ok();
    if noted.map(str::trim_end) == Some(born_as(disk, files)?.as_str()) {
        Ok(())
    } else {
        Err(copied())
    }
}

/// Inode and birth of the records' directory: a file system gives a freed inode to the next directory.
fn born_as(disk: &dyn Disk, files: &Files) -> Result<String, Error> {
    let found = disk
        .identity(&files.wal)
        .map_err(|source| Error::disk("look at", &files.wal, source))?;
    found
        .map(|found| {
            let born = found
                .born
                .map_or_else(|| "-".to_owned(), |born| born.to_string());
            format!("{} {born}", found.inode)
        })
        .ok_or_else(|| Error::NotInitialised(files.dir.clone()))
}

/// The head that is remembered outside, verified.
pub(super) fn remembered(
    disk: &dyn Disk,
    path: &Path,
    key: &VerifierKey,
) -> Result<Option<Head>, Error> {
    if !files::stands(disk, path)? {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&files::read_small(disk, path)?).into_owned();
    let head = heads::verify(&text, key);
    head.map(Some)
        .map_err(|_| Error::OutsideHead(path.to_owned()))
}

/// Whether the log may go on, by what is remembered of it.
pub(super) fn admit(
    outside: Option<(&Path, Option<&Head>)>,
    leaves: u64,
    signed: u64,
) -> Result<(), Error> {
    match outside {
        None => Ok(()),
        // A volume that is not mounted must not pass for one on which nothing was ever remembered.
        Some((path, None)) if signed > 0 => Err(Error::NoOutsideHead(path.to_owned())),
        Some((path, Some(head))) if head.size > leaves => Err(Error::Behind {
            path: path.to_owned(),
            head: head.size,
            leaves,
        }),
        Some(_) => Ok(()),
    }
}

fn list_of(head_file: &Path) -> PathBuf {
    let mut name = head_file.as_os_str().to_owned();
    name.push(".erased");
    PathBuf::from(name)
}

/// Pseudonyms whose keys were destroyed, by the list beside the head file.
pub(super) fn erased(disk: &dyn Disk, head_file: &Path) -> Result<Vec<ContentId>, Error> {
    let path = list_of(head_file);
    if !files::stands(disk, &path)? {
        return Ok(Vec::new());
    }
    let failed = |source| Error::disk("read", &path, source);
    let file = disk.open(&path, Access::Read).map_err(failed)?;
    let bytes = read_all(file.as_ref(), ERASED_BYTES_MAX).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(unhex).collect())
}

/// Put pseudonyms on the list.
pub(super) fn erase<'c>(
    disk: &dyn Disk,
    head_file: &Path,
    gone: impl IntoIterator<Item = &'c ContentId>,
) -> Result<(), Error> {
    // The line end comes before as well: what a crash cut short must not swallow the next one.
    let lines: String = gone
        .into_iter()
        .map(|gone| format!("\n{}\n", hex(gone)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    let path = list_of(head_file);
    let written = disk.open(&path, Access::Create).and_then(|file| {
        let end = file.len_bytes()?;
        file.write_at(lines.as_bytes(), end)?;
        file.sync()
    });
    written
        .and_then(|()| path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir)))
        .map_err(|source| Error::disk("write", &path, source))
}

/// Keeps the head file up to date, on a thread of its own: a volume that hangs holds up nobody else.
#[derive(Debug)]
pub(super) struct Rememberer {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    files: Files,
    key: VerifierKey,
    shared: Arc<Shared>,
    /// What was last seen or put there.
    last: Option<Head>,
    failing: bool,
}

impl Rememberer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        files: Files,
        key: VerifierKey,
        shared: Arc<Shared>,
        last: Option<Head>,
    ) -> Self {
        Self {
            disk,
            path,
            files,
            key,
            shared,
            last,
            failing: false,
        }
    }

    pub(super) fn run(mut self, stop: &AtomicBool) {
        loop {
            let stopping = stop.load(Ordering::Acquire);
            self.remember();
            if stopping {
                return;
            }
            std::thread::park_timeout(EVERY);
        }
    }

    fn remember(&mut self) {
        let Some(head) = self.shared.head.load_full() else {
            return;
        };
        if self.shared.forked.load(Ordering::Acquire)
            || self
                .last
                .as_ref()
                .is_some_and(|last| last.size >= head.size)
        {
            return;
        }
        match self.put(&head) {
            Ok(true) => {
                self.last = Some(head.as_ref().clone());
                self.failing = false;
            }
            Ok(false) => {
                self.shared.forked.store(true, Ordering::Release);
                tracing::error!(
                    path = %self.path.display(),
                    "the head file has a head that this process did not sign: a copy of this log is written elsewhere; no call is admitted"
                );
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(%error, "the audit log's head cannot be remembered outside; tried again every second");
            }
            Err(_) => {}
        }
    }

    /// Put the head there, unless somebody else did meanwhile.
    fn put(&self, head: &Head) -> Result<bool, Error> {
        let disk = self.disk.as_ref();
        let there = remembered(disk, &self.path, &self.key)?;
        let same = match (&there, &self.last) {
            (Some(there), Some(last)) => there.size == last.size && there.root == last.root,
            (None, None) => true,
            // It was taken away: put back, because what is remembered is what we signed.
            (None, Some(_)) => true,
            (Some(_), None) => false,
        };
        // A write of ours that was taken for failed, or that an earlier process of ours did late.
        let own = |there: &Head| heads::is_own(disk, &self.files, &self.key, there);
        if !same && !there.as_ref().map_or(Ok(false), own)? {
            return Ok(false);
        }
        disk.write_atomic(&self.path, head.note.as_bytes())
            .map_err(|source| Error::disk("write", &self.path, source))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use tlog::note::Signer;
    use tlog::tree::{Head as TreeHead, Tree, leaf_hash};

    use super::*;
    use crate::clock::Timestamp;
    use crate::disk::RealDisk;

    #[test]
    fn a_directory_that_got_the_inode_of_another_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        std::fs::create_dir(&files.wal).unwrap();
        settle_place(&RealDisk, &files).unwrap();
        check_place(&RealDisk, &files).unwrap();
        let noted = std::fs::read_to_string(files.place()).unwrap();
        let (inode, born) = noted.trim_end().split_once(' ').unwrap();
        // Some file systems do not say it.
        let made = std::fs::metadata(&files.wal).unwrap().created().ok();
        let made = made.map(|made| made.duration_since(std::time::UNIX_EPOCH).unwrap());
        let made = made.map_or("-".to_owned(), |made| made.as_nanos().to_string());
        assert_eq!(born, made);
        for other in [
            format!("{inode} 1{born}\n"),
            format!("{inode}\n"),
            format!("1{inode} {born}\n"),
        ] {
            std::fs::write(files.place(), &other).unwrap();
            let told = check_place(&RealDisk, &files);
            assert!(matches!(told, Err(Error::Copied(_))), "{other}: {told:?}");
        }
    }

    #[test]
    fn an_erasure_that_a_crash_cut_short_swallows_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outside");
        let ids: [ContentId; 3] = [[1; 16], [2; 16], [3; 16]];
        erase(&RealDisk, &path, &ids[..1]).unwrap();
        let list = list_of(&path);
        let whole = std::fs::read(&list).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&list, [&whole[..], &whole[..cut]].concat()).unwrap();
            erase(&RealDisk, &path, &ids[1..]).unwrap();
            let found = erased(&RealDisk, &path).unwrap();
            assert!(ids.iter().all(|id| found.contains(id)), "{cut}: {found:?}");
        }
    }

    #[test]
    fn only_a_head_that_is_not_among_our_own_is_a_fork() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        std::fs::create_dir(&files.heads).unwrap();
        let path = dir.path().join("outside");
        let signer = Signer::generate("example.com/log").unwrap();
        let head = |size, leaf: &[u8]| {
            let root = leaf_hash(leaf);
            heads::sign(&signer, &TreeHead { size, root }, Timestamp::from_secs(1)).unwrap()
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut own = heads::HeadFile::new(Arc::clone(&disk), files.clone());
        for size in 1..=3 {
            own.put(&head(size, b"ours")).unwrap();
        }
        let shared = Shared::new(Tree::new());
        let key = signer.verifier_key().clone();
        let last = Some(head(1, b"ours"));
        let mut rememberer =
            Rememberer::new(disk, path.clone(), files, key, Arc::clone(&shared), last);
        let mut told = |there: &Head, newest: Head| {
            std::fs::write(&path, &there.note).unwrap();
            shared.head.store(Some(Arc::new(newest)));
            rememberer.remember();
            let there = std::fs::read_to_string(&path).unwrap();
            (shared.forked.load(Ordering::Acquire), there)
        };
        // Written by us, and not known to have arrived.
        let ours = head(3, b"ours");
        let expected = (false, ours.note.clone());
        assert_eq!(told(&head(2, b"ours"), ours), expected);
        let theirs = head(2, b"theirs");
        let expected = (true, theirs.note.clone());
        assert_eq!(told(&theirs, head(4, b"ours")), expected);
    }
}
