use std::path::{Path, PathBuf};

use super::super::{Config, Error, Recorder, adopt_newest};
use super::support::{begin, call, config, open};
use super::{End, Outcome};
use crate::disk::RealDisk;

/// A log with a head outside and a call of `alice`, closed.
async fn remembered(dir: &Path) -> (Config, PathBuf) {
    let head_file = dir.join("outside");
    let config = Config {
        head_file: Some(head_file.clone()),
        ..config(dir)
    };
    Recorder::init(&config, &RealDisk).unwrap();
    called(&config).await;
    (config, head_file)
}

async fn called(config: &Config) {
    let (recorder, _) = open(config).unwrap();
    let record = begin(&recorder, call(), b"body").await.unwrap();
    record.close(End::new(Outcome::Ok)).await.unwrap();
    recorder.shutdown().await;
}

#[tokio::test]
async fn a_restored_log_goes_on_only_under_a_head_of_its_very_records() {
    let dir = tempfile::tempdir().unwrap();
    let (config, head_file) = remembered(dir.path()).await;
    let older = std::fs::read(&head_file).unwrap();
    called(&config).await;
    let newest = std::fs::read(&head_file).unwrap();
    assert_ne!(older, newest);
    std::fs::remove_file(config.dir.join("place")).unwrap();
    // It knows of none that are missing, and not of all that are here: of no more that were lost, either.
    std::fs::write(&head_file, older).unwrap();
    let told = adopt_newest(&config, &RealDisk);
    assert!(matches!(told, Err(Error::Copied(_))), "{told:?}");
    assert!(matches!(open(&config), Err(Error::Copied(_))));
    std::fs::write(&head_file, newest).unwrap();
    adopt_newest(&config, &RealDisk).unwrap();
    called(&config).await;
}

#[tokio::test]
async fn a_start_puts_erasures_on_the_list_outside_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = remembered(dir.path()).await;
    let (recorder, _) = open(&config).unwrap();
    let reference = recorder.shred("corp", "alice", None).await.unwrap();
    recorder.shutdown().await;
    let list = dir.path().join("outside.erased");
    let whole = std::fs::read_to_string(&list).unwrap();
    assert!(whole.contains(&reference), "{whole}");
    std::fs::write(&list, "").unwrap();
    for _ in 0..2 {
        called(&config).await;
        let again = std::fs::read_to_string(&list).unwrap();
        assert_eq!(again, whole, "put there once");
    }
}
