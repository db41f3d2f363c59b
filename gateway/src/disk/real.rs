//! The machine's own file system.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::{Access, Disk, File, Identity, Kind, Listed, Lock, LockError};

/// Zeroes are written in pieces of this many bytes.
const ZEROES_BYTES: usize = 1024 * 1024;

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(fs::File);

#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl Lock for RealLock {}

fn kind_of(meta: &fs::Metadata) -> Kind {
    if meta.file_type().is_file() {
        Kind::File
    } else if meta.file_type().is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    }
}

fn born(meta: &fs::Metadata) -> Option<u64> {
    let since = meta.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

fn identity_of(meta: &fs::Metadata) -> Identity {
    Identity {
        device: meta.dev(),
        inode: meta.ino(),
        born: born(meta),
        kind: kind_of(meta),
        private: meta.mode() & 0o077 == 0,
    }
}

/// `O_NOFOLLOW`: the last part of the path may not be a symbolic link; `O_CLOEXEC` is std's own.
fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

fn regular(file: fs::File) -> io::Result<fs::File> {
    if kind_of(&file.metadata()?) == Kind::File {
        Ok(file)
    } else {
        Err(io::Error::other("not a regular file"))
    }
}

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match self.0.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(identity_of(&self.0.metadata()?))
    }

    fn forget_cached(&self) {
        #[cfg(target_os = "linux")]
        {
            // Advice only: what the kernel makes of it changes no result.
            let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match self.identity(dir)?.map(|identity| identity.kind) {
                    Some(Kind::Directory) => Ok(()),
                    Some(Kind::File | Kind::Other) | None => {
                        Err(io::Error::other("not a directory of its own"))
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    fn create_zeroed(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>> {
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(path)?;
        let zeroes = vec![0; ZEROES_BYTES];
        let mut left = len;
        while left > 0 {
            let piece = usize::try_from(left)
                .unwrap_or(ZEROES_BYTES)
                .min(ZEROES_BYTES);
            if let Err(error) = file.write_all(zeroes.get(..piece).unwrap_or(&zeroes)) {
                drop(file);
                // A half-made file is of no use and holds space that something else needs now.
                let _ = fs::remove_file(path);
                return Err(error);
            }
            left -= u64::try_from(piece).unwrap_or(left);
        }
        file.sync_all()?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(access != Access::Read)
            .create(access == Access::Create)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(path)?;
        Ok(Box::new(RealFile(regular(file)?)))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Beside a running gateway a file may be renamed between the two looks.
            let Ok(meta) = fs::symlink_metadata(entry.path()) else {
                continue;
            };
            names.push(Listed {
                name,
                len: meta.len(),
                kind: kind_of(&meta),
            });
        }
        names.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        match fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(identity_of(&meta))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(path)?;
        let file = regular(file)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let text = io::read_to_string(&file).unwrap_or_default();
                return Err(LockError::Held {
                    holder: text.trim().parse().ok(),
                });
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let dir = path
            .parent()
            .ok_or_else(|| io::Error::other("a file without a directory"))?;
        let temporary = temporary_beside(path);
        match fs::remove_file(&temporary) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)?;
        self.sync_dir(dir)
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}
