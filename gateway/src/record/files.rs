//! Names and fixed files of the audit directory, and making them the first time.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tlog::note::{Signer, VerifierKey};

use super::leaf::{hex, unhex};
use super::root::RootKey;
use super::seal::random;
use super::{Config, Error, SEGMENT_BYTES_MIN};
use crate::disk::{Access, Disk, Kind, read_all};
use crate::secret::Secret;

/// Longest identity or key file.
const FILE_BYTES_MAX: u64 = 16 * 1024;

const FORMAT: &str = "callgate-audit/1";

/// Where everything is.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) dir: PathBuf,
    pub(super) wal: PathBuf,
    pub(super) heads: PathBuf,
    pub(super) keys: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            wal: dir.join("wal"),
            heads: dir.join("heads"),
            keys: dir.join("keys"),
        }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// Which directory the log was made in.
    pub(super) fn place(&self) -> PathBuf {
        self.dir.join("place")
    }

    /// What this log is the successor of.
    pub(super) fn predecessor(&self) -> PathBuf {
        self.dir.join("predecessor.json")
    }

    /// The legal holds that stood in the log before this one.
    pub(super) fn holds(&self) -> PathBuf {
        self.dir.join("holds")
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.dir.join("log.json")
    }

    pub(super) fn root_key(&self) -> PathBuf {
        self.keys.join("root.key")
    }

    /// In place of the root key, where a transit service wraps it.
    pub(super) fn root_wrapped(&self) -> PathBuf {
        self.keys.join("root.wrapped")
    }

    pub(super) fn log_key(&self) -> PathBuf {
        self.keys.join("log.key")
    }

    pub(super) fn subjects(&self) -> PathBuf {
        self.keys.join("subjects")
    }

    /// The index of calls: derived, made anew from the log at any time.
    pub(super) fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.wal.join(format!("{number:016x}.wal"))
    }

    /// A zeroed segment made ahead.
    pub(super) fn spare(&self) -> PathBuf {
        self.wal.join("spare")
    }

    /// A zeroed segment for the day when the disk is full: open records are closed in it.
    pub(super) fn reserve(&self) -> PathBuf {
        self.wal.join("reserve")
    }

    /// A file while it is being zeroed.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.wal.join("unfinished")
    }

    /// What is kept of records that went.
    pub(super) fn pruned(&self) -> PathBuf {
        self.dir.join("pruned")
    }

    /// Where the log's files begin.
    pub(super) fn pruned_state(&self) -> PathBuf {
        self.pruned().join("state")
    }

    /// The hashes of the records before that.
    pub(super) fn pruned_leaves(&self) -> PathBuf {
        self.pruned().join("leaves")
    }

    /// How the witnesses stand.
    pub(super) fn witnesses(&self) -> PathBuf {
        self.dir.join("witnesses")
    }

    /// How one witness stands.
    pub(super) fn witness(&self, key: &VerifierKey) -> PathBuf {
        self.witnesses().join(format!("{:08x}.json", key.id()))
    }

    /// The newest head that enough witnesses have cosigned.
    pub(super) fn cosigned(&self) -> PathBuf {
        self.witnesses().join("cosigned")
    }

    /// The directories and files that must be plain (A25), with what they must be.
    pub(super) fn check_plain(&self, disk: &dyn Disk, root: &RootKey) -> Result<(), Error> {
        for path in [&self.dir, &self.wal, &self.heads, &self.keys] {
            match kind(disk, path)? {
                Some(Kind::Directory) => {}
                Some(Kind::File | Kind::Other) => return Err(Error::NotPlain(path.clone())),
                None => return Err(Error::NotInitialised(self.dir.clone())),
            }
        }
        let (root, other) = match root {
            RootKey::File => (self.root_key(), self.root_wrapped()),
            RootKey::Unwrapped(_) => (self.root_wrapped(), self.root_key()),
        };
        if !stands(disk, &root)? && stands(disk, &other)? {
            return Err(if other == self.root_wrapped() {
                Error::RootWrapped(other)
            } else {
                Error::RootInFile(other)
            });
        }
        for path in [self.identity(), root, self.log_key(), self.subjects()] {
            match kind(disk, &path)? {
                Some(Kind::File) => {}
                Some(Kind::Directory | Kind::Other) => return Err(Error::NotPlain(path)),
                None => return Err(Error::NotInitialised(self.dir.clone())),
            }
        }
        Ok(())
    }
}

fn kind(disk: &dyn Disk, path: &Path) -> Result<Option<Kind>, Error> {
    let identity = disk
        .identity(path)
        .map_err(|source| Error::disk("look at", path, source))?;
    Ok(identity.map(|identity| identity.kind))
}

pub(super) fn stands(disk: &dyn Disk, path: &Path) -> Result<bool, Error> {
    kind(disk, path).map(|found| found.is_some())
}

pub(super) fn read_small(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Error> {
    let file = disk
        .open(path, Access::Read)
        .map_err(|source| Error::disk("open", path, source))?;
    read_all(file.as_ref(), FILE_BYTES_MAX).map_err(|source| Error::disk("read", path, source))
}

/// What the log is, for everybody to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    format: String,
    log_id: String,
    origin: String,
    instance: String,
    verifier_key: String,
}

/// What the log is.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) log_id: [u8; 16],
    pub(super) origin: String,
    pub(super) verifier: VerifierKey,
}

impl Identity {
    pub(super) fn read(disk: &dyn Disk, files: &Files) -> Result<Self, Error> {
        let path = files.identity();
        let bytes = read_small(disk, &path)?;
        let damaged = || Error::Damaged(path.clone());
        let file: IdentityFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let verifier: VerifierKey = file.verifier_key.parse()?;
        if file.format != FORMAT || verifier.name() != file.origin {
            return Err(damaged());
        }
        Ok(Self {
            log_id: unhex(&file.log_id).ok_or_else(damaged)?,
            origin: file.origin,
            verifier,
        })
    }
}

/// The log's signing key.
pub(super) fn read_signer(disk: &dyn Disk, files: &Files, origin: &str) -> Result<Signer, Error> {
    let path = files.log_key();
    let pkcs8 = read_key(disk, &path)?;
    Signer::from_pkcs8(origin, pkcs8.expose()).map_err(|_| Error::Damaged(path))
}

/// The root key of the keyring.
pub(super) fn read_root(
    disk: &dyn Disk,
    files: &Files,
    root: &RootKey,
) -> Result<Secret<[u8; 32]>, Error> {
    if let RootKey::Unwrapped(key) = root {
        return Ok(key.clone());
    }
    let path = files.root_key();
    let bytes = read_key(disk, &path)?;
    let key = bytes.expose().as_slice().try_into();
    key.map(Secret::new).map_err(|_| Error::Damaged(path))
}

fn read_key(disk: &dyn Disk, path: &Path) -> Result<Secret<Vec<u8>>, Error> {
    let looked = disk.identity(path);
    let looked = looked.map_err(|source| Error::disk("look at", path, source))?;
    if looked.is_some_and(|identity| !identity.private) {
        return Err(Error::Permissions(path.to_owned()));
    }
    let text = Secret::new(read_small(disk, path)?);
    let text = text.expose().trim_ascii();
    BASE64
        .decode(text)
        .map(Secret::new)
        .map_err(|_| Error::Damaged(path.to_owned()))
}

/// The directories within an audit directory: they stand also while nothing lies in them.
pub fn folders(dir: &Path) -> [PathBuf; 3] {
    let files = Files::new(dir);
    [files.wal, files.heads, files.keys]
}

/// Make the directories, keys and identity of a new log. Refuses where one is.
pub(super) fn create(config: &Config, wrapped: Option<&str>, disk: &dyn Disk) -> Result<(), Error> {
    if config.segment_bytes < SEGMENT_BYTES_MIN {
        return Err(Error::Setting("a segment has at least 262144 bytes"));
    }
    let files = Files::new(&config.dir);
    if kind(disk, &files.identity())?.is_some()
        || stands(disk, &files.root_key())?
        || stands(disk, &files.root_wrapped())?
    {
        return Err(Error::Exists(config.dir.clone()));
    }
    for dir in [&files.dir, &files.wal, &files.heads, &files.keys] {
        match kind(disk, dir)? {
            Some(Kind::File | Kind::Other) => return Err(Error::NotPlain(dir.clone())),
            Some(Kind::Directory) | None => {}
        }
        disk.create_dir(dir)
            .map_err(|source| Error::disk("make", dir, source))?;
    }
    let signer = Signer::generate(&config.origin)?;
    let write = |path: &Path, bytes: &[u8]| {
        disk.write_atomic(path, bytes)
            .map_err(|source| Error::disk("write", path, source))
    };
    match wrapped {
        Some(wrapped) => write(&files.root_wrapped(), format!("{wrapped}\n").as_bytes())?,
        None => {
            let root = Secret::new(random::<32>()?);
            let encoded = Secret::new(BASE64.encode(root.expose()) + "\n");
            write(&files.root_key(), encoded.expose().as_bytes())?;
        }
    }
    let pkcs8 = signer.to_pkcs8()?;
    let encoded = Secret::new(BASE64.encode(pkcs8.as_ref()) + "\n");
    write(&files.log_key(), encoded.expose().as_bytes())?;
    write(&files.subjects(), b"")?;
    super::outside::settle_place(disk, &files)?;
    // Last, because its presence is what makes the directory a log.
    let identity = IdentityFile {
        format: FORMAT.to_owned(),
        log_id: hex(&random::<16>()?),
        origin: config.origin.clone(),
        instance: config.instance.clone(),
        verifier_key: signer.verifier_key().to_string(),
    };
    let text = serde_json::to_string_pretty(&identity).unwrap_or_default() + "\n";
    write(&files.identity(), text.as_bytes())?;
    if let Some(parent) = config.dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        let failed = |source| Error::disk("sync", parent, source);
        disk.sync_dir(parent).map_err(failed)?;
    }
    Ok(())
}
