//! A copy of a log that may be written meanwhile: whole up to one of its records, so that it verifies by
//! itself.

use std::path::Path;

use super::super::Error;
use super::super::files::{self, Files};
use super::super::heads;
use super::Trail;
use crate::disk::{Access, read_all};

impl Trail {
    /// Copy the log, with its keys, into `to`, which is made. Returns how many records are in the copy.
    ///
    /// # Errors
    /// What the disk says; as [`Trail::open`].
    pub fn copy_to(&mut self, to: &Path) -> Result<u64, Error> {
        let disk = std::sync::Arc::clone(&self.index.disk);
        let disk = disk.as_ref();
        let new = Files::new(to);
        for dir in [&new.dir, &new.wal, &new.heads, &new.keys] {
            disk.create_dir(dir)
                .map_err(|source| Error::disk("make", dir, source))?;
        }
        let write = |path: &Path, bytes: &[u8]| {
            disk.write_atomic(path, bytes)
                .map_err(|source| Error::disk("write", path, source))
        };
        // Heads before records, so that none of them is newer than the copy.
        for name in heads::files(disk, &self.index.files)? {
            let bytes = heads::read(disk, &self.index.files, &name)?;
            let whole = bytes.len() - heads::notes(&bytes).1;
            write(&new.heads.join(&name), bytes.get(..whole).unwrap_or(&bytes))?;
        }
        self.refresh()?;
        let end = self.index.built.walked.end;
        for link in &self.index.chain.links {
            let number = link.header.number;
            let path = self.index.files.segment(number);
            let mut bytes = read_whole(disk, &path)?;
            let stop = link.end.or((end.segment == number).then_some(end.offset));
            if let Some(stop) = stop {
                bytes.truncate(usize::try_from(stop).unwrap_or(usize::MAX));
            }
            write(&new.segment(number), &bytes)?;
        }
        // What went before the copied records is what the chain says, not what was pruned meanwhile.
        if self.first() > 0 {
            let base = &self.index.chain.base;
            let mut hashes = Vec::new();
            base.hashes(disk, &self.index.files, 0, &mut |hash| {
                hashes.push(hash);
                Ok(())
            })?;
            super::super::pruned::keep_hashes(disk, &new, 0, &hashes)?;
            base.write(disk, &new)?;
        }
        // Keys after records: every record's key was there before it.
        for (from, to) in [
            (self.index.files.root_key(), new.root_key()),
            (self.index.files.root_wrapped(), new.root_wrapped()),
            (self.index.files.log_key(), new.log_key()),
            (self.index.files.subjects(), new.subjects()),
            (self.index.files.predecessor(), new.predecessor()),
            (self.index.files.holds(), new.holds()),
            (self.index.files.identity(), new.identity()),
        ] {
            if files::stands(disk, &from)? {
                write(&to, &read_whole(disk, &from)?)?;
            }
        }
        Ok(self.records())
    }
}

fn read_whole(disk: &dyn crate::disk::Disk, path: &Path) -> Result<Vec<u8>, Error> {
    let file = disk.open(path, Access::Read);
    let bytes = file.and_then(|file| read_all(file.as_ref(), u64::MAX));
    bytes.map_err(|source| Error::disk("read", path, source))
}
