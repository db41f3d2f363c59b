//! Backup of a gateway that may be running, and restoring it. A backup is a folder: the log up to one of its
//! records, the keys, the decisions' state, the names, the config; and a list of all files with their
//! hashes, written last. A restored log goes on by itself only where something outside says that it is the
//! newest.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::house::{ASSERTION_KEY_FILE, NAME_FILE, STATE_KEY_FILE};
use super::local::{Note, note};
use super::{audit_dir, store_dir};
use crate::config::Loaded;
use crate::disk::{Disk as _, RealDisk};
use crate::record::{self, Reading, Trail, Verdict, VerifyOptions};
use crate::store::SqlStore;

/// The list of a backup's files.
const LIST: &str = "backup.json";
/// Form of the list.
const FORMAT: &str = "callgate-backup/1";
/// The data folder in a backup.
const DATA: &str = "data";
/// The config's folder in a backup.
const CONFIG: &str = "config";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    format: String,
    /// Records of the log in it.
    records: u64,
    /// The config's file name.
    config: String,
    /// SHA-256 of each file.
    files: BTreeMap<String, String>,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is in the way.
    #[error("`{0}` is not an empty folder: nothing is written over what is there")]
    NotEmpty(PathBuf),
    /// Not a backup, or an unfinished one.
    #[error("`{0}` is not a finished backup: its `backup.json` is not there or cannot be read")]
    NotABackup(PathBuf),
    /// A file is not what it was.
    #[error("`{0}` is missing or not what was backed up: nothing was restored")]
    Changed(PathBuf),
    /// A name that no backup has.
    #[error(
        "`backup.json` lists `{0}`, which is not a file within the backup: it was changed; nothing was restored"
    )]
    Outside(String),
    /// The log in the copy does not hold.
    #[error("the copied log does not verify: {0}")]
    Log(String),
    /// The system.
    #[error("`{path}`: {source}")]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// It could not be recorded that a copy was made.
    #[error("no copy is made, because it could not be recorded: {0}")]
    Unrecorded(String),
    /// The evidence.
    #[error("audit log: {0}")]
    Record(#[from] record::Error),
    /// The decisions' state.
    #[error("state: {0}")]
    Store(#[from] crate::store::Error),
    /// Another part of the house.
    #[error(transparent)]
    App(#[from] super::Error),
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + '_ {
    move |source| BackupError::System {
        path: path.to_owned(),
        source,
    }
}

/// An empty folder of our own: made, or found empty.
fn empty_folder(path: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt as _;
    if path.exists() {
        let mut entries = std::fs::read_dir(path).map_err(at(path))?;
        if entries.next().is_some() {
            return Err(BackupError::NotEmpty(path.to_owned()));
        }
    }
    std::fs::create_dir_all(path).map_err(at(path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(at(path))
}

/// Files below `root`, by their paths from there.
fn files_below(root: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            let kind = entry.file_type().map_err(at(&folder))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(
                    entry
                        .path()
                        .strip_prefix(root)
                        .unwrap_or(&folder)
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let bytes = std::fs::read(from).map_err(at(from))?;
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    RealDisk.write_atomic(to, &bytes).map_err(at(to))
}

fn hash_of(path: &Path) -> Result<String, BackupError> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    let hash = digest(&SHA256, &bytes);
    Ok(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

fn intact(dir: &Path) -> Result<(), BackupError> {
    let report = Trail::check(dir, &RealDisk, &VerifyOptions::default())?;
    match report.verdict {
        Verdict::Intact => Ok(()),
        Verdict::Tampered { first_bad, what } => {
            Err(BackupError::Log(format!("record {first_bad}: {what}")))
        }
        Verdict::Incomplete { what } => Err(BackupError::Log(what)),
    }
}

/// Write a backup into the empty folder `to`; beside a running gateway, or without one.
///
/// # Errors
/// [`BackupError`]; what lies in `to` is then not a backup.
pub async fn backup(loaded: &Loaded, to: &Path) -> Result<String, BackupError> {
    empty_folder(to)?;
    let about = json!({ "backup": to });
    let reading = Note::Read {
        what: Reading::Export,
        call: None,
        about,
    };
    note(loaded, reading)
        .await
        .map_err(BackupError::Unrecorded)?;
    let data = loaded.data();
    let copied = to.join(DATA);
    std::fs::create_dir_all(&copied).map_err(at(&copied))?;
    let mut trail = Trail::open(&audit_dir(&data), Arc::new(RealDisk))?;
    let records = trail.copy_to(&audit_dir(&copied))?;
    intact(&audit_dir(&copied))?;
    for file in files_below(&data)? {
        // Predecessors of the log, which nobody writes any more.
        if in_folder_named(&file, "audit.") {
            copy(&data.join(&file), &copied.join(&file))?;
        }
    }
    let shared = loaded.config.store.postgres.is_some();
    if !shared {
        std::fs::create_dir_all(store_dir(&copied)).map_err(at(&copied))?;
        SqlStore::copy(&store_dir(&data), &store_dir(&copied)).await?;
        copy(&data.join(STATE_KEY_FILE), &copied.join(STATE_KEY_FILE))?;
    }
    for name in [ASSERTION_KEY_FILE, NAME_FILE] {
        copy(&data.join(name), &copied.join(name))?;
    }
    let name = loaded.path.file_name().unwrap_or_default();
    copy(&loaded.path, &to.join(CONFIG).join(name))?;
    let policies = &loaded.config.policies;
    if policies.is_relative() {
        for file in files_below(&loaded.base.join(policies))? {
            let from = loaded.base.join(policies).join(&file);
            copy(&from, &to.join(CONFIG).join(policies).join(&file))?;
        }
    }
    let mut files = BTreeMap::new();
    for file in files_below(to)? {
        let hash = hash_of(&to.join(&file))?;
        files.insert(file.to_string_lossy().into_owned(), hash);
    }
    let list = List {
        format: FORMAT.to_owned(),
        records,
        config: name.to_string_lossy().into_owned(),
        files,
    };
    // Last: without it the folder is no backup.
    let text = serde_json::to_vec_pretty(&list).unwrap_or_default();
    RealDisk
        .write_atomic(&to.join(LIST), &text)
        .map_err(at(to))?;
    let elsewhere = if shared {
        ". The state in PostgreSQL and `store.postgres.key` are NOT in it: back them up with their own tools"
    } else {
        ""
    };
    Ok(format!(
        "backed up {records} records and {} files to {}; it holds keys: keep it as you keep them{elsewhere}",
        list.files.len(),
        to.display()
    ))
}

/// Whether the first folder's name begins so.
fn in_folder_named(file: &Path, prefix: &str) -> bool {
    let first = file.components().next();
    first.is_some_and(|first| first.as_os_str().to_string_lossy().starts_with(prefix))
}

/// Put a backup's config where `path` is, if there is none.
///
/// # Errors
/// [`BackupError::NotABackup`]; what the system says.
pub fn restore_config(from: &Path, path: &Path) -> Result<bool, BackupError> {
    if path.exists() {
        return Ok(false);
    }
    let list = checked(from)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    for file in files_below(&from.join(CONFIG))? {
        let to = if file.as_os_str() == list.config.as_str() {
            path.to_owned()
        } else {
            folder.join(&file)
        };
        if !to.exists() {
            copy(&from.join(CONFIG).join(&file), &to)?;
        }
    }
    Ok(true)
}

/// Whether a name stays within the folder that it is looked up in.
fn inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The list of a backup whose files are all as they were.
fn checked(from: &Path) -> Result<List, BackupError> {
    let not = || BackupError::NotABackup(from.to_owned());
    let text = std::fs::read(from.join(LIST)).map_err(|_| not())?;
    let list: List = serde_json::from_slice(&text).map_err(|_| not())?;
    if list.format != FORMAT {
        return Err(not());
    }
    let listed = list.files.keys().chain([&list.config]);
    for name in listed {
        // A name that leads out of the folder would be written where somebody else chose.
        if !inside(name) {
            return Err(BackupError::Outside(name.clone()));
        }
    }
    for (name, hash) in &list.files {
        let path = from.join(name);
        if hash_of(&path).ok().as_ref() != Some(hash) {
            return Err(BackupError::Changed(path));
        }
    }
    Ok(list)
}

/// Put a backup's data where the config says that the data is. Never over anything.
///
/// # Errors
/// [`BackupError`]; a data folder that is half there is told apart by having no names, and is removed by
/// hand.
pub async fn restore(loaded: &Loaded, from: &Path) -> Result<String, BackupError> {
    let data = loaded.data();
    let list = checked(from)?;
    empty_folder(&data)?;
    let names = PathBuf::from(DATA).join(NAME_FILE);
    let listed = list.files.keys().map(PathBuf::from);
    let mut wanted: Vec<PathBuf> = listed.filter(|file| file.starts_with(DATA)).collect();
    // The names come last: without them the folder does not count as made.
    wanted.sort_by_key(|file| *file == names);
    for file in wanted {
        let within = file.strip_prefix(DATA).unwrap_or(&file);
        copy(&from.join(&file), &data.join(within))?;
    }
    // A backup is a list of files: a log that is seconds old has no signed head in it yet.
    for folder in record::folders(&audit_dir(&data)) {
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
    }
    intact(&audit_dir(&data))?;
    // What was approved may have run since. A shared state was not put back with this instance, and knows.
    if loaded.config.store.postgres.is_none() {
        let store = SqlStore::open(&store_dir(&data)).await?;
        store.forget_approvals().await?;
        crate::store::Store::close(&store).await;
    }
    let config = super::audit_config(loaded)?;
    let records = list.records;
    if config.head_file.is_some() && record::adopt_newest(&config, &RealDisk).is_ok() {
        return Ok(format!(
            "restored {records} records; the head outside knows of none that are missing: the log goes on"
        ));
    }
    Ok(format!(
        "restored {records} records; whatever was recorded after them is not here, so this log does not go on: \
         read it as it is, or run `callgate audit succeed` to go on in a successor"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_names_outside_of_the_backup_is_refused() {
        let around = tempfile::tempdir().unwrap();
        let from = around.path().join("backup");
        std::fs::create_dir_all(from.join(DATA)).unwrap();
        let secret = around.path().join("secret");
        for path in [&secret, &from.join("data/file")] {
            std::fs::write(path, "text").unwrap();
        }
        let hash = hash_of(&secret).unwrap();
        let absolute = secret.to_string_lossy().into_owned();
        let told = |name: &str, config: &str| {
            let list = List {
                format: FORMAT.to_owned(),
                records: 0,
                config: config.to_owned(),
                files: BTreeMap::from([(name.to_owned(), hash.clone())]),
            };
            std::fs::write(from.join(LIST), serde_json::to_vec(&list).unwrap()).unwrap();
            checked(&from)
        };
        assert!(told("data/file", "callgate.json").is_ok());
        for name in ["../secret", "data/../../secret", absolute.as_str(), ""] {
            for told in [told(name, "callgate.json"), told("data/file", name)] {
                assert!(matches!(told, Err(BackupError::Outside(_))), "{name}");
            }
        }
    }
}
