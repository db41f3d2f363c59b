//! Going on after a log that cannot.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::super::files::Files;
use super::super::{Config, Error, Recorder, Trail, succeed};
use super::support::{begin, call, config, open};
use super::{End, Outcome};
use crate::disk::{Access, Disk, File, Identity, Listed, Lock, LockError, RealDisk};

async fn called(config: &Config) -> crate::call::CallId {
    let (recorder, _) = open(config).unwrap();
    let id = call();
    let record = begin(&recorder, id, b"body").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
    id
}

fn copied(config: &Config) {
    std::fs::remove_file(config.dir.join("place")).unwrap();
}

#[tokio::test]
async fn a_key_whose_erasure_is_on_record_does_not_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    Recorder::init(&config, &RealDisk).unwrap();
    called(&config).await;
    let subjects = Files::new(&config.dir).subjects();
    let before = std::fs::read(&subjects).unwrap();
    let (recorder, _) = open(&config).unwrap();
    let reference = recorder.shred("corp", "alice", None).await.unwrap();
    recorder.shutdown().await;
    // As if a crash had come between the record and the rewriting of the keyring.
    std::fs::write(&subjects, &before).unwrap();
    copied(&config);
    succeed(&config, &RealDisk).unwrap();
    let moved = std::fs::read(&subjects).unwrap();
    let hex = |entry: &[u8]| super::super::leaf::hex(&entry[36..52]);
    assert!(before.chunks(128).any(|entry| hex(entry) == reference));
    assert!(!moved.chunks(128).any(|entry| hex(entry) == reference));
    assert_eq!(moved.len() + 128, before.len(), "the others came along");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let to = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &to);
        } else {
            std::fs::copy(item.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_that_went_on_in_two_ways_is_succeeded_and_the_successor_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let head_file = dir.path().join("outside");
    let config = Config {
        head_file: Some(head_file.clone()),
        ..config(dir.path())
    };
    Recorder::init(&config, &RealDisk).unwrap();
    called(&config).await;
    let (aside, one) = (dir.path().join("aside"), dir.path().join("one"));
    copy(&config.dir, &aside);
    called(&config).await;
    let theirs = std::fs::read(&head_file).unwrap();
    // The snapshot is put back, goes on by itself, and meets what the other one signed.
    std::fs::rename(&config.dir, &one).unwrap();
    std::fs::rename(&aside, &config.dir).unwrap();
    let alone = Config {
        head_file: None,
        ..config.clone()
    };
    super::super::adopt(&alone, &RealDisk).unwrap();
    called(&alone).await;
    called(&alone).await;
    std::fs::write(&head_file, theirs).unwrap();
    assert!(matches!(open(&config), Err(Error::HeadMismatch { .. })));
    let (predecessor, old) = succeed(&config, &RealDisk).unwrap();
    assert!(predecessor.forked);
    let head = predecessor.head.unwrap();
    assert_eq!(
        head.as_bytes(),
        std::fs::read(dir.path().join("outside.old")).unwrap()
    );
    assert!(old.ends_with("audit.1"), "{}", old.display());
    called(&config).await;
    let trail = Trail::open(&config.dir, std::sync::Arc::new(RealDisk)).unwrap();
    let first: serde_json::Value = serde_json::from_slice(&trail.leaf(0).unwrap()).unwrap();
    assert_eq!(first["predecessor"]["forked"], true, "{first}");
}

/// A disk that tells what was done in which order.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(&'static str, PathBuf)>>);

impl Told {
    fn tell(&self, what: &'static str, path: &Path) {
        self.0.lock().unwrap().push((what, path.to_owned()));
    }
}

impl Disk for Told {
    fn create_dir(&self, dir: &Path) -> std::io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn create_zeroed(&self, path: &Path, len: u64) -> std::io::Result<Box<dyn File>> {
        RealDisk.create_zeroed(path, len)
    }
    fn open(&self, path: &Path, access: Access) -> std::io::Result<Box<dyn File>> {
        RealDisk.open(path, access)
    }
    fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
        self.tell("sync", dir);
        RealDisk.sync_dir(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.tell("rename", to);
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.tell("remove", path);
        RealDisk.remove(path)
    }
    fn list(&self, dir: &Path) -> std::io::Result<Vec<Listed>> {
        RealDisk.list(dir)
    }
    fn identity(&self, path: &Path) -> std::io::Result<Option<Identity>> {
        RealDisk.identity(path)
    }
    fn free_bytes(&self, dir: &Path) -> std::io::Result<u64> {
        RealDisk.free_bytes(dir)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        RealDisk.lock(path)
    }
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        self.tell("write", path);
        RealDisk.write_atomic(path, bytes)
    }
}

#[tokio::test]
async fn the_old_keys_go_when_the_new_log_and_its_name_are_on_stable_storage() {
    let dir = tempfile::tempdir().unwrap();
    let head_file = dir.path().join("elsewhere/outside");
    std::fs::create_dir(head_file.parent().unwrap()).unwrap();
    let config = Config {
        head_file: Some(head_file.clone()),
        ..config(dir.path())
    };
    Recorder::init(&config, &RealDisk).unwrap();
    called(&config).await;
    copied(&config);
    let told = Told::default();
    succeed(&config, &told).unwrap();
    let told = told.0.into_inner().unwrap();
    let old = dir.path().join("audit.1");
    let at = |what: &str, path: &Path| {
        let found = told
            .iter()
            .rposition(|(how, on)| *how == what && on == path);
        found.unwrap_or_else(|| panic!("no {what} of {}: {told:?}", path.display()))
    };
    let first_removed = told.iter().position(|(how, _)| *how == "remove").unwrap();
    let synced = |dir: &Path, from: usize, to: usize| {
        told[from..to]
            .iter()
            .any(|(how, on)| *how == "sync" && on == dir)
    };
    let made = at("write", &dir.path().join("audit.new/predecessor.json"));
    let aside = at("rename", &old);
    assert!(synced(dir.path(), made, aside), "the new one: {told:?}");
    assert!(
        synced(dir.path(), aside, first_removed),
        "the old one: {told:?}"
    );
    let forgotten = at("rename", &dir.path().join("elsewhere/outside.old"));
    assert!(synced(dir.path(), aside, forgotten), "its name: {told:?}");
    assert!(
        synced(head_file.parent().unwrap(), forgotten, first_removed),
        "{told:?}"
    );
    let placed = at("rename", &config.dir);
    assert!(
        placed > first_removed && synced(dir.path(), placed, told.len()),
        "{told:?}"
    );
}
