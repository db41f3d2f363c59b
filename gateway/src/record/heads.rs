//! Signed heads on disk: `heads/<size>.heads`, each file a run of signed notes, each note followed by an
//! empty line. A file begins with the head of the size that it is named after.

use std::sync::Arc;

use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, Signer, VerifierKey};
use tlog::tree::Head as TreeHead;

use super::Error;
use super::files::Files;
use super::health::Head;
use crate::clock::Timestamp;
use crate::disk::{Access, Disk, File, read_all};

/// Largest file of heads.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Longest signed head, with room for cosignatures.
const HEAD_BYTES_MAX: usize = 4096;

/// A file of heads is followed by the next one after this many bytes.
const FILE_BYTES_FULL: u64 = 1024 * 1024;

/// Sign the head of a tree.
pub(super) fn sign(signer: &Signer, tree: &TreeHead, at: Timestamp) -> Result<Head, Error> {
    let note = Checkpoint::new(signer.name(), tree.size, tree.root)?.sign(signer)?;
    Ok(head_of(&note, tree, at))
}

fn head_of(note: &Note, tree: &TreeHead, at: Timestamp) -> Head {
    let text = note.to_string();
    let signature = text
        .trim_end()
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    Head {
        size: tree.size,
        root: tree.root,
        note: text,
        signature,
        at,
    }
}

/// Verify a signed head.
pub(super) fn verify(text: &str, key: &VerifierKey) -> Result<Head, Error> {
    let note = Note::parse(text.as_bytes())?;
    let verified = VerifiedCheckpoint::verify(&note, key, &[])?;
    let tree = *verified.checkpoint().head();
    Ok(head_of(&note, &tree, Timestamp::from_nanos(0)))
}

/// The notes in one file's bytes, and how many bytes behind them are an unfinished one.
pub(super) fn notes(bytes: &[u8]) -> (Vec<String>, usize) {
    // A write that the power cut short leaves zeroes where its blocks did not arrive.
    let written = memchr::memchr(0, bytes).and_then(|end| bytes.get(..end));
    let text = String::from_utf8_lossy(written.unwrap_or(bytes));
    let mut parts: Vec<&str> = text.split("\n\n").collect();
    // What follows the last empty line; and a text without its signatures.
    parts.pop();
    let pairs = parts.chunks_exact(2);
    let notes: Vec<String> = pairs
        .map(|pair| format!("{}\n", pair.join("\n\n")))
        .collect();
    let whole: usize = notes.iter().map(|note| note.len() + 1).sum();
    (notes, bytes.len().saturating_sub(whole))
}

/// Cut off what a crash left unfinished behind the newest heads. It was never given out.
pub(super) fn trim(disk: &dyn Disk, dir: &Files) -> Result<(), Error> {
    for name in files(disk, dir)?.iter().rev().take(2) {
        let bytes = read(disk, dir, name)?;
        let (notes, unfinished) = notes(&bytes);
        if unfinished == 0 {
            continue;
        }
        let path = dir.heads.join(name);
        // One write is one head; more than that was not lost by a crash.
        if unfinished > HEAD_BYTES_MAX {
            return Err(Error::BadHead(path));
        }
        let whole: usize = notes.iter().map(|note| note.len() + 1).sum();
        let cut = disk
            .open(&path, Access::Write)
            .and_then(|file| file.truncate(whole as u64).and_then(|()| file.sync()));
        cut.map_err(|source| Error::disk("trim", &path, source))?;
    }
    Ok(())
}

/// Names of the files of heads, oldest first.
pub(super) fn files(disk: &dyn Disk, files: &Files) -> Result<Vec<String>, Error> {
    let failed = |source| Error::disk("list", &files.heads, source);
    let listed = disk.list(&files.heads).map_err(failed)?;
    let names = listed.into_iter().map(|file| file.name);
    Ok(names.filter(|name| name.ends_with(".heads")).collect())
}

/// One file's bytes.
pub(super) fn read(disk: &dyn Disk, files: &Files, name: &str) -> Result<Vec<u8>, Error> {
    let path = files.heads.join(name);
    let failed = |doing| move |source| Error::disk(doing, &path, source);
    let file = disk
        .open(&files.heads.join(name), Access::Read)
        .map_err(failed.clone()("open"))?;
    read_all(file.as_ref(), FILE_BYTES_MAX).map_err(failed("read"))
}

/// The newest signed head, verified.
pub(super) fn newest(
    disk: &dyn Disk,
    dir: &Files,
    key: &VerifierKey,
) -> Result<Option<Head>, Error> {
    for name in files(disk, dir)?.iter().rev() {
        if let Some(text) = notes(&read(disk, dir, name)?).0.last() {
            let head = verify(text, key);
            return head
                .map(Some)
                .map_err(|_| Error::BadHead(dir.heads.join(name)));
        }
    }
    Ok(None)
}

/// How many records the newest head covers, as it says: not verified, and without reading all that are in its
/// file. 0 where there is none.
pub(super) fn covered(disk: &dyn Disk, dir: &Files) -> Result<u64, Error> {
    for name in files(disk, dir)?.iter().rev() {
        let path = dir.heads.join(name);
        let tail = disk.open(&path, Access::Read).and_then(|file| {
            let mut tail = vec![0; 2 * HEAD_BYTES_MAX];
            let from = file.len_bytes()?.saturating_sub(tail.len() as u64);
            let read = file.read_at(&mut tail, from)?;
            tail.truncate(read);
            Ok(tail)
        });
        let tail = tail.map_err(|source| Error::disk("read", &path, source))?;
        let text = String::from_utf8_lossy(&tail);
        // A text, an empty line, its signatures, an empty line: the newest text that has all of these.
        let parts: Vec<&str> = text.split("\n\n").collect();
        let signed = parts.windows(3).rev().find(|three| {
            let signatures = three.get(1);
            signatures.is_some_and(|part| part.starts_with('\u{2014}'))
        });
        let size = signed.and_then(|three| three.first()?.lines().nth_back(1)?.parse().ok());
        if let Some(size) = size {
            return Ok(size);
        }
    }
    Ok(0)
}

/// Whether a head stands among those of this log: they are put here before anybody else gets them.
pub(super) fn is_own(
    disk: &dyn Disk,
    dir: &Files,
    key: &VerifierKey,
    head: &Head,
) -> Result<bool, Error> {
    let begins = |name: &String| name.split('.').next().and_then(|size| size.parse().ok());
    let names = files(disk, dir)?.into_iter();
    let mut before = names.filter(|name| begins(name).is_some_and(|size: u64| size <= head.size));
    let Some(name) = before.next_back() else {
        return Ok(false);
    };
    let (notes, _) = notes(&read(disk, dir, &name)?);
    let mut own = notes.iter().filter_map(|text| verify(text, key).ok());
    Ok(own.any(|own| own.size == head.size && own.root == head.root))
}

/// Where signed heads are put.
#[derive(Debug)]
pub(super) struct HeadFile {
    disk: Arc<dyn Disk>,
    files: Files,
    open: Option<(Box<dyn File>, u64)>,
    /// A file whose last write failed, and its good length.
    broken: Option<(Box<dyn File>, u64)>,
}

impl HeadFile {
    pub(super) fn new(disk: Arc<dyn Disk>, files: Files) -> Self {
        Self {
            disk,
            files,
            open: None,
            broken: None,
        }
    }

    /// Put one head, synced. After an error the next one goes to a new file, once the old one is
    /// without the unfinished write.
    pub(super) fn put(&mut self, head: &Head) -> std::io::Result<()> {
        if let Some((file, at)) = &self.broken {
            file.truncate(*at)?;
            file.sync()?;
            self.broken = None;
        }
        let (file, at) = match self.open.take() {
            Some((file, at)) if at < FILE_BYTES_FULL => (file, at),
            Some(_) | None => {
                let path = self.files.heads.join(format!("{:020}.heads", head.size));
                let file = self.disk.open(&path, Access::Create)?;
                file.truncate(0)?;
                self.disk.sync_dir(&self.files.heads)?;
                (file, 0)
            }
        };
        let bytes = format!("{}\n", head.note);
        match file
            .write_at(bytes.as_bytes(), at)
            .and_then(|()| file.sync())
        {
            Ok(()) => {
                self.open = Some((file, at + bytes.len() as u64));
                Ok(())
            }
            Err(error) => {
                self.broken = Some((file, at));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_last_note_is_left_out() {
        let signer = Signer::generate("example.com/log").unwrap();
        let at = Timestamp::from_secs(1);
        let head = |size| {
            let root = tlog::tree::leaf_hash(b"x");
            sign(&signer, &TreeHead { size, root }, at).unwrap()
        };
        let text = format!("{}\n{}\n", head(1).note, head(2).note);
        assert_eq!(notes(text.as_bytes()).0, vec![head(1).note, head(2).note]);
        let first = head(1).note.len() + 1;
        for len in 0..text.len() {
            let expected = usize::from(len >= first);
            let (found, unfinished) = notes(&text.as_bytes()[..len]);
            assert_eq!(found.len(), expected, "{len}");
            assert_eq!(unfinished, len - expected * first, "{len}");
        }
        assert_eq!(
            verify(&head(2).note, signer.verifier_key()).unwrap().size,
            2
        );
        let other = Signer::generate("example.com/log").unwrap();
        assert!(verify(&head(2).note, other.verifier_key()).is_err());
    }
}
