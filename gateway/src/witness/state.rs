//! The folder of a witness, and the one decision that it takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use tlog::checkpoint::VerifiedCheckpoint;
use tlog::note::{Kind, Note, Signer, VerifierKey};
use tlog::proof::{ConsistencyProof, verify_consistency};
use tlog::tree::{Hash, Head};

use super::{EVIDENCE_FILES_MAX, Error, LOGS_MAX};
use crate::clock::SharedClock;
use crate::disk::{Access, Disk, Kind as FileKind, Lock, LockError, read_all};
use crate::secret::Secret;

const FORMAT: &str = "callgate-witness/1";
/// Largest file of a witness.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What the witness is, for everybody to read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    format: String,
    name: String,
    verifier_key: String,
}

/// One log, as stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogFile {
    /// The log's key.
    log: String,
    /// The newest checkpoint that was cosigned, with both signatures; `None` before the first.
    checkpoint: Option<String>,
}

/// A log that is watched.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its key; the key's name is the log's origin.
    pub key: VerifierKey,
    /// The newest head that was cosigned; the empty tree before the first.
    pub head: Head,
    /// The same as a note with both signatures.
    pub checkpoint: Option<String>,
}

impl Log {
    const fn fresh(key: VerifierKey) -> Self {
        let head = Head {
            size: 0,
            root: Hash::EMPTY,
        };
        Self {
            key,
            head,
            checkpoint: None,
        }
    }
}

/// What a log that asks is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Cosigned: the signature line.
    Cosigned(String),
    /// The request is not in form, or its sizes contradict each other.
    Malformed(String),
    /// No such log is watched here.
    UnknownLog,
    /// None of the log's signatures is good.
    BadSignature,
    /// The log is at another size here.
    Conflict(u64),
    /// The head does not grow out of the one that was cosigned.
    Inconsistent,
}

/// A witness, open.
#[derive(Debug)]
pub struct Witness {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    clock: SharedClock,
    signer: Signer,
    logs: BTreeMap<String, Mutex<Log>>,
    _lock: Box<dyn Lock>,
}

fn logs_dir(dir: &Path) -> PathBuf {
    dir.join("logs")
}

fn evidence_dir(dir: &Path) -> PathBuf {
    dir.join("evidence")
}

fn log_file(dir: &Path, origin: &str) -> PathBuf {
    // A name may hold a slash and be long: its hash is a file's name anywhere.
    let hash = digest(&SHA256, origin.as_bytes());
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    logs_dir(dir).join(format!("{}.json", hex.get(..32).unwrap_or(&hex)))
}

fn failed<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(std::io::Error) -> Error + 'p {
    move |source| Error::Disk {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn read_file(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, Error> {
    let file = disk
        .open(path, Access::Read)
        .map_err(failed("open", path))?;
    read_all(file.as_ref(), FILE_BYTES_MAX).map_err(failed("read", path))
}

impl Witness {
    /// Make a witness's folder and key, once. Returns the key that its cosignatures verify with.
    ///
    /// # Errors
    /// [`Error::Exists`] where one is; [`Error::Log`] for a name that is no key name.
    pub fn init(dir: &Path, name: &str, disk: &dyn Disk) -> Result<VerifierKey, Error> {
        let identity = dir.join("witness.json");
        let there = disk
            .identity(&identity)
            .map_err(failed("look at", &identity))?;
        if there.is_some() {
            return Err(Error::Exists(dir.to_owned()));
        }
        // A name that is none leaves no trace.
        let signer = Signer::generate(name)?;
        for dir in [dir.to_owned(), logs_dir(dir), evidence_dir(dir)] {
            disk.create_dir(&dir).map_err(failed("make", &dir))?;
        }
        let pkcs8 = signer.to_pkcs8()?;
        let encoded = Secret::new(BASE64.encode(pkcs8.as_ref()) + "\n");
        let key = dir.join("witness.key");
        disk.write_atomic(&key, encoded.expose().as_bytes())
            .map_err(failed("write", &key))?;
        let file = IdentityFile {
            format: FORMAT.to_owned(),
            name: name.to_owned(),
            verifier_key: signer.witness_key().to_string(),
        };
        let text = serde_json::to_string_pretty(&file).unwrap_or_default() + "\n";
        // Last, because its presence is what makes the folder a witness.
        disk.write_atomic(&identity, text.as_bytes())
            .map_err(failed("write", &identity))?;
        Ok(signer.witness_key().clone())
    }

    /// Watch one more log, from its beginning. Only ever asked for explicitly: a log whose state is
    /// lost is unknown, never one that begins anew.
    ///
    /// # Errors
    /// [`Error::KnownLog`], [`Error::TooManyLogs`], [`Error::Locked`] while the witness answers.
    pub fn add_log(
        dir: &Path,
        key: &VerifierKey,
        disk: Arc<dyn Disk>,
        clock: SharedClock,
    ) -> Result<(), Error> {
        if key.kind() != Kind::Log {
            let needed = Kind::Log.byte();
            let (name, kind) = (key.name().to_owned(), key.kind().byte());
            return Err(tlog::Error::KeyUse { name, kind, needed }.into());
        }
        let witness = Self::open(dir, disk, clock)?;
        if witness.logs.contains_key(key.name()) {
            return Err(Error::KnownLog(key.name().to_owned()));
        }
        if witness.logs.len() == LOGS_MAX {
            return Err(Error::TooManyLogs);
        }
        witness.store(&Log::fresh(key.clone()))
    }

    /// Open a witness: its lock, its key, and every log's state, verified against both keys.
    ///
    /// # Errors
    /// [`Error`], one clear line; a state that does not verify is never taken for an empty one.
    pub fn open(dir: &Path, disk: Arc<dyn Disk>, clock: SharedClock) -> Result<Self, Error> {
        let path = dir.join("witness.json");
        if !matches!(disk.identity(&path), Ok(Some(found)) if found.kind == FileKind::File) {
            return Err(Error::NotInitialised(dir.to_owned()));
        }
        let lock = disk.lock(&dir.join("lock")).map_err(|error| match error {
            LockError::Held { holder } => Error::Locked {
                dir: dir.to_owned(),
                holder: holder.map_or_else(|| "?".to_owned(), |pid| pid.to_string()),
            },
            LockError::Io(source) => failed("lock", dir)(source),
        })?;
        let identity: IdentityFile = serde_json::from_slice(&read_file(disk.as_ref(), &path)?)
            .map_err(|error| damaged(&path, &error))?;
        let signer = read_signer(disk.as_ref(), &dir.join("witness.key"), &identity.name)?;
        if identity.format != FORMAT || identity.verifier_key != signer.witness_key().to_string() {
            return Err(damaged(&path, &"it names another key than witness.key"));
        }
        let mut logs = BTreeMap::new();
        let folder = logs_dir(dir);
        for file in disk.list(&folder).map_err(failed("list", &folder))? {
            // What a crash left of an atomic write is not a state.
            if file.name.ends_with(".json") {
                let path = folder.join(&file.name);
                let log = read_log(disk.as_ref(), &path, signer.witness_key())?;
                if log_file(dir, log.key.name()) != path {
                    return Err(damaged(&path, &"it is of another log than its name"));
                }
                logs.insert(log.key.name().to_owned(), Mutex::new(log));
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            disk,
            clock,
            signer,
            logs,
            _lock: lock,
        })
    }

    /// The key that its cosignatures verify with.
    pub const fn key(&self) -> &VerifierKey {
        self.signer.witness_key()
    }

    /// The logs that are watched.
    pub fn logs(&self) -> Vec<Log> {
        let logs = self.logs.values();
        logs.map(|log| log.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    fn store(&self, log: &Log) -> Result<(), Error> {
        let file = LogFile {
            log: log.key.to_string(),
            checkpoint: log.checkpoint.clone(),
        };
        let text = serde_json::to_string_pretty(&file).unwrap_or_default() + "\n";
        let path = log_file(&self.dir, log.key.name());
        self.disk
            .write_atomic(&path, text.as_bytes())
            .map_err(failed("write", &path))
    }

    /// Answer `add-checkpoint`. What is cosigned is on stable storage before this returns.
    ///
    /// # Errors
    /// When the state cannot be stored; nothing is signed then.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<Answer, Error> {
        let proof = match ConsistencyProof::parse(body) {
            Ok(proof) => proof,
            Err(error) => return Ok(Answer::Malformed(error.to_string())),
        };
        let origin = proof.checkpoint.text().lines().next().unwrap_or_default();
        let Some(log) = self.logs.get(origin) else {
            return Ok(Answer::UnknownLog);
        };
        // INVARIANT: from here to the end of the store nobody else looks at this log's head, so two
        // requests cannot both grow out of the same one.
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(verified) = VerifiedCheckpoint::verify(&proof.checkpoint, &log.key, &[]) else {
            return Ok(Answer::BadSignature);
        };
        let head = *verified.checkpoint().head();
        if proof.old_size > head.size {
            let text = format!("old size {} is over the checkpoint's", proof.old_size);
            return Ok(Answer::Malformed(text));
        }
        if proof.old_size != log.head.size {
            return Ok(Answer::Conflict(log.head.size));
        }
        if head.size == log.head.size && head.root != log.head.root {
            self.keep_evidence(&log, body);
            return Ok(Answer::Conflict(log.head.size));
        }
        if verify_consistency(&log.head, &head, &proof.hashes).is_err() {
            // Anybody can send a head that the log signed with a proof that leads nowhere: that proves
            // nothing against the log.
            tracing::warn!(
                log.origin = origin,
                size = log.head.size,
                asked = head.size,
                "a signed head came with a proof that does not lead from the one that was cosigned"
            );
            return Ok(Answer::Inconsistent);
        }
        let text = proof.checkpoint.text();
        let line = self.signer.cosign(text, self.clock.now().secs())?;
        // The log's own line only: lines of strangers are not this witness's to keep.
        let mut note = Note::new(text)?;
        let own = proof.checkpoint.signatures().iter();
        let mut own = own.filter(|s| s.name() == log.key.name() && s.key_id() == log.key.id());
        if let Some(own) = own.next() {
            note.add(own.clone())?;
        }
        note.add(line.clone())?;
        let newer = Log {
            key: log.key.clone(),
            head,
            checkpoint: Some(note.to_string()),
        };
        self.store(&newer)?;
        *log = newer;
        Ok(Answer::Cosigned(format!("{line}\n")))
    }

    /// Two signed heads of one size and two roots prove themselves: worth more than this witness's word.
    fn keep_evidence(&self, log: &Log, body: &[u8]) {
        let origin = log.key.name();
        tracing::error!(
            log.origin = origin,
            size = log.head.size,
            "a log signed two heads of one size that contradict each other"
        );
        let folder = evidence_dir(&self.dir);
        let kept = self
            .disk
            .list(&folder)
            .map_or(usize::MAX, |files| files.len());
        if kept >= EVIDENCE_FILES_MAX {
            return;
        }
        let held = log.checkpoint.as_deref().unwrap_or("nothing\n");
        let text = [b"held:\n", held.as_bytes(), b"\nasked for:\n", body].concat();
        let hash = digest(&SHA256, &text);
        let name: String = hash
            .as_ref()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = folder.join(format!("{name}.txt"));
        if let Err(error) = self.disk.write_atomic(&path, &text) {
            tracing::error!(%error, "the contradiction could not be kept");
        }
    }
}

fn read_signer(disk: &dyn Disk, path: &Path, name: &str) -> Result<Signer, Error> {
    let found = disk.identity(path).map_err(failed("look at", path))?;
    if found.is_some_and(|found| !found.private) {
        return Err(Error::Permissions(path.to_owned()));
    }
    let text = Secret::new(read_file(disk, path)?);
    let decoded = BASE64.decode(text.expose().trim_ascii());
    let pkcs8 = Secret::new(decoded.map_err(|_| damaged(path, &"not base64"))?);
    Signer::from_pkcs8(name, pkcs8.expose()).map_err(|error| damaged(path, &error))
}

fn read_log(disk: &dyn Disk, path: &Path, own: &VerifierKey) -> Result<Log, Error> {
    let file: LogFile =
        serde_json::from_slice(&read_file(disk, path)?).map_err(|error| damaged(path, &error))?;
    let key: VerifierKey = file.log.parse().map_err(|error| damaged(path, &error))?;
    let Some(text) = file.checkpoint else {
        return Ok(Log::fresh(key));
    };
    let verified = Note::parse(text.as_bytes())
        .and_then(|note| VerifiedCheckpoint::verify(&note, &key, std::slice::from_ref(own)))
        .map_err(|error| damaged(path, &error))?;
    if verified.cosignatures().is_empty() {
        return Err(damaged(
            path,
            &"this witness never cosigned what stands there",
        ));
    }
    Ok(Log {
        key,
        head: *verified.checkpoint().head(),
        checkpoint: Some(text),
    })
}
