//! One reader of the log for all who ask in this process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::Error;
use super::super::root::RootKey;
use super::Trail;
use crate::clock::Timestamp;
use crate::disk::Disk;

/// The evidence, to read: opened when it is first needed, read on before each question.
#[derive(Clone, Debug)]
pub struct SharedTrail {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    root: RootKey,
    trail: Arc<Mutex<Option<Trail>>>,
}

impl SharedTrail {
    /// Of the log in `dir`.
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>, root: RootKey) -> Self {
        Self {
            dir,
            disk,
            root,
            trail: Arc::default(),
        }
    }

    /// Where the log is.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Ask, with everything read up to `records` of them at least. It reads files: to be called where waiting
    /// is allowed (`spawn_blocking`).
    ///
    /// # Errors
    /// As [`Trail::open`], and what `ask` says.
    pub fn read<T>(
        &self,
        records: u64,
        ask: impl Fn(&mut Trail) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut held = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        // What does not read on is opened anew the next time.
        let mut trail = match held.take() {
            Some(trail) if trail.records() >= records => trail,
            Some(mut trail) => trail.refresh().map(|()| trail)?,
            None => Trail::open_with(&self.dir, Arc::clone(&self.disk), self.root.clone())?,
        };
        let mut said = ask(&mut trail);
        if said.as_ref().is_err_and(Error::may_be_of_before) {
            // A head that was signed since may cover more than was read, and old segments may have gone: only
            // what is still so after reading on is so.
            trail.refresh()?;
            said = ask(&mut trail);
        }
        *held = Some(trail);
        said
    }

    /// Catch up, list no calls of before a time, and save the index, for the gateway that owns the log; to be
    /// called where waiting is allowed.
    ///
    /// # Errors
    /// As [`Trail::open`]; [`Error::Disk`].
    pub fn keep(&self, since: Option<Timestamp>) -> Result<(), Error> {
        self.read(u64::MAX, |trail| {
            trail.keep_from(since)?;
            trail.save()
        })
    }
}
