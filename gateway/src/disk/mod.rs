//! File operations of the evidence, behind a seam; and the one way to read a file that an operator names.
//!
//! Owns what the audit log may do to files, and nothing more: create, write, read, sync, rename, list.
//! Refuses symbolic links and devices in place of directories and files. Called by `record`; tests
//! put a simulated disk in its place that tears, loses and reorders what was not synced.

mod named;
mod real;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;

pub use named::read_named;
pub use real::RealDisk;

/// What stands at a path, without following a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else: a symbolic link, a device, a socket, a pipe.
    Other,
}

/// What tells one file or directory from another that took its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// When it was made, in nanoseconds of the epoch, where the file system says so: inodes are used again.
    pub born: Option<u64>,
    /// What it is.
    pub kind: Kind,
    /// Whether neither group nor others have any right to it.
    pub private: bool,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The file's name.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// What it is.
    pub kind: Kind,
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; made empty (mode 0600) when it does not exist.
    Create,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("held by process {}", .holder.map_or_else(|| "?".to_owned(), |pid| pid.to_string()))]
    Held {
        /// The holder's process id, as it wrote it.
        holder: Option<u32>,
    },
    /// The lock file could not be used.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A lock that ends when it is dropped, or with the process.
pub trait Lock: Send + Sync + fmt::Debug {}

/// An open file. Positions are absolute; no cursor is shared.
pub trait File: Send + Sync + fmt::Debug {
    /// Write all bytes at a position.
    ///
    /// # Errors
    /// A write that did not take every byte is an error; how much of it lies on the disk is unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Read into `into` from a position; returns how many bytes were there (fewer only at the end).
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Put all written bytes on stable storage (`fdatasync`). After an error nothing may be assumed
    /// of the bytes written since the last success, and asking again proves nothing: the kernel may
    /// have dropped them.
    ///
    /// # Errors
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Cut the file to this length.
    ///
    /// # Errors
    /// What the system says.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Which file this is.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self) -> io::Result<Identity>;

    /// Make the kernel forget what it holds in memory of this file, as far as it is clean, so that
    /// the next read asks the disk.
    fn forget_cached(&self);
}

/// The operations that evidence needs of a file system.
pub trait Disk: Send + Sync + fmt::Debug + 'static {
    /// Make a directory (mode 0700) whose parent exists; nothing happens when it is there.
    ///
    /// # Errors
    /// What the system says; also when something else has the name.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Make a new file (mode 0600) of `len` zero bytes that are really allocated, synced.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` when the name is taken.
    fn create_zeroed(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>>;

    /// Open a regular file; a symbolic link is not followed.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>>;

    /// Put a directory's names on stable storage.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Rename, replacing what is there. The name is stable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Remove a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;

    /// What stands at a path; `None` when nothing does. Symbolic links are not followed.
    ///
    /// # Errors
    /// What the system says.
    fn identity(&self, path: &Path) -> io::Result<Option<Identity>>;

    /// Bytes that this process may still write on the file system of `dir`.
    ///
    /// # Errors
    /// What the system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Take the exclusive lock that `path` stands for and write our process id into it.
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's process id.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;

    /// Replace a file (mode 0600) as a whole: after a crash it has the old bytes or the new ones, and
    /// the new ones are stable when this returns.
    ///
    /// # Errors
    /// What the system says.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// Read a whole file of at most `max` bytes.
///
/// # Errors
/// What the system says; `FileTooLarge` beyond `max`.
pub fn read_all(file: &dyn File, max: u64) -> io::Result<Vec<u8>> {
    let len = file.len_bytes()?;
    if len > max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
