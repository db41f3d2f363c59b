use std::path::{Path, PathBuf};

use super::super::files::{self, Files};
use super::super::{Config, End, Error, Outcome, Recorder, RootKey, Trail, Verdict, VerifyOptions};
use super::super::{frame, heads, segment};
use super::support::{begin, call, fresh, noise, open};
use crate::clock::Timestamp;
use crate::disk::RealDisk;

/// A log of `calls` calls, closed.
async fn log(dir: &Path, calls: usize) -> Config {
    let (config, recorder) = fresh(dir);
    for _ in 0..calls {
        let mut record = begin(&recorder, call(), b"up").await.unwrap();
        record.released(b"down").await.unwrap();
        record.close(End::new(Outcome::Ok)).await.unwrap();
    }
    recorder.shutdown().await;
    config
}

fn verdict(config: &Config, options: &VerifyOptions) -> Verdict {
    let report = Trail::check_once(&config.dir, &RealDisk, options);
    report.unwrap().verdict
}

fn check(config: &Config) -> Verdict {
    verdict(config, &VerifyOptions::default())
}

fn first_segment(config: &Config) -> PathBuf {
    Files::new(&config.dir).segment(1)
}

/// Offsets and lengths of the first segment's frames.
fn frames(bytes: &[u8]) -> Vec<(usize, usize, frame::Kind)> {
    let mut at = usize::try_from(segment::HEADER_BYTES).unwrap();
    let mut found = Vec::new();
    while let Ok(frame) = frame::parse(&bytes[at..]) {
        found.push((at, frame.len, frame.kind));
        at += frame.len;
    }
    found
}

fn head_files(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(config.dir.join("heads"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// The newest head's text.
fn newest_head(config: &Config) -> String {
    let last = head_files(config).pop().unwrap();
    heads::notes(&std::fs::read(last).unwrap()).0.pop().unwrap()
}

// A10
#[tokio::test]
async fn every_flipped_byte_of_the_log_and_its_heads_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 2).await;
    assert_eq!(check(&config), Verdict::Intact);
    let segment = first_segment(&config);
    let good = std::fs::read(&segment).unwrap();
    let (at, len, _) = *frames(&good).last().unwrap();
    let mut found = 0;
    // The last mark has no mark behind it: it may be cut off like any unfinished write.
    for byte in 0..at {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        std::fs::write(&segment, &bad).unwrap();
        assert_ne!(
            check(&config),
            Verdict::Intact,
            "byte {byte} of {}",
            at + len
        );
        found += 1;
    }
    std::fs::write(&segment, &good).unwrap();
    for file in head_files(&config) {
        let good = std::fs::read(&file).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            std::fs::write(&file, &bad).unwrap();
            assert_ne!(check(&config), Verdict::Intact, "byte {byte} of a head");
            found += 1;
        }
        std::fs::write(&file, &good).unwrap();
    }
    assert_eq!(check(&config), Verdict::Intact);
    println!("{found} flipped bytes, all found");
}

/// Write frames anew, with sequence numbers and checksums made good: what somebody does who knows the
/// format.
fn rewritten(bytes: &[u8], order: &[usize]) -> Vec<u8> {
    let all = frames(bytes);
    let mut out = bytes[..usize::try_from(segment::HEADER_BYTES).unwrap()].to_vec();
    let (mut seq, mut leaf) = (0, 0);
    for number in order {
        let frame = frame::parse(&bytes[all[*number].0..]).unwrap();
        match frame.kind {
            frame::Kind::Batch => {
                frame::put(&mut out, frame.kind, seq, &[frame.payload]);
                continue;
            }
            frame::Kind::Leaf => {
                let mut parsed = frame::LeafFrame::parse(frame.payload).unwrap();
                parsed.index = leaf;
                parsed.put(&mut out, seq);
                leaf += 1;
            }
            frame::Kind::Sealed | frame::Kind::Progress => {
                frame::put(&mut out, frame.kind, seq, &[frame.payload]);
            }
        }
        seq += 1;
    }
    out.resize(bytes.len().max(out.len()), 0);
    out
}

// A10
#[tokio::test]
async fn removed_swapped_and_doubled_records_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 4).await;
    let segment = first_segment(&config);
    let good = std::fs::read(&segment).unwrap();
    let all = frames(&good);
    let leaves: Vec<usize> = (0..all.len())
        .filter(|n| all[*n].2 == frame::Kind::Leaf)
        .collect();
    let sealed: Vec<usize> = (0..all.len())
        .filter(|n| all[*n].2 == frame::Kind::Sealed)
        .collect();
    let whole: Vec<usize> = (0..all.len()).collect();
    std::fs::write(&segment, rewritten(&good, &whole)).unwrap();
    assert_eq!(
        check(&config),
        Verdict::Intact,
        "rewriting alone changes nothing"
    );
    let try_it = |order: &[usize], what: &str| {
        std::fs::write(&segment, rewritten(&good, order)).unwrap();
        match check(&config) {
            Verdict::Tampered { .. } => {}
            other => panic!("{what}: {other:?}"),
        }
    };
    for number in leaves.iter().chain(&sealed) {
        let (before, after) = (&whole[..*number], &whole[*number + 1..]);
        let (once, twice) = ([before, after], [before, &[*number, *number], after]);
        try_it(once.concat().as_slice(), "one frame removed");
        try_it(before, "cut back");
        try_it(twice.concat().as_slice(), "one frame doubled");
    }
    for pair in leaves.windows(2) {
        let mut swapped = whole.clone();
        swapped.swap(pair[0], pair[1]);
        try_it(&swapped, "two records swapped");
    }
    std::fs::write(&segment, &good).unwrap();
    std::fs::remove_file(&segment).unwrap();
    assert!(
        matches!(check(&config), Verdict::Tampered { .. }),
        "all records removed"
    );
}

// A10
#[tokio::test]
async fn log_signed_anew_with_the_real_key_fails_against_an_older_head() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 3).await;
    let held = newest_head(&config);
    let segment = first_segment(&config);
    let good = std::fs::read(&segment).unwrap();
    let all = frames(&good);
    // Drop the last call whole: its sealed frames too.
    let leaves: Vec<usize> = (0..all.len())
        .filter(|n| all[*n].2 == frame::Kind::Leaf)
        .collect();
    let from = leaves[leaves.len() - 4];
    std::fs::write(&segment, rewritten(&good, &(0..=from).collect::<Vec<_>>())).unwrap();
    for file in head_files(&config) {
        std::fs::remove_file(file).unwrap();
    }
    assert_eq!(
        check(&config),
        Verdict::Intact,
        "without any head nothing shows"
    );
    let (recorder, _) = open(&config).unwrap();
    recorder.shutdown().await;
    assert_eq!(
        check(&config),
        Verdict::Intact,
        "signed anew by the real key"
    );
    let options = VerifyOptions {
        since: vec![held],
        ..VerifyOptions::default()
    };
    assert!(matches!(
        verdict(&config, &options),
        Verdict::Tampered { .. }
    ));
}

#[tokio::test]
async fn log_of_another_key_is_found_by_who_knows_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 1).await;
    let other = tlog::note::Signer::generate("example.com/log").unwrap();
    let options = VerifyOptions {
        key: Some(other.verifier_key().clone()),
        ..VerifyOptions::default()
    };
    assert!(matches!(
        verdict(&config, &options),
        Verdict::Tampered { first_bad: 0, .. }
    ));
}

#[tokio::test]
async fn missing_segment_in_the_middle_is_incomplete_and_not_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let (config, recorder) = fresh(dir.path());
    for n in 0..200 {
        let record = begin(&recorder, call(), &noise(n, 5000)).await.unwrap();
        record.close(End::new(Outcome::Ok)).await.unwrap();
    }
    recorder.shutdown().await;
    let files = Files::new(&config.dir);
    assert!(files.segment(3).exists());
    std::fs::rename(files.segment(2), dir.path().join("aside")).unwrap();
    assert!(matches!(check(&config), Verdict::Incomplete { .. }));
    // What is there is not believed for that.
    let stranger = tlog::note::Signer::generate("example.com/log").unwrap();
    let other_key = VerifyOptions {
        key: Some(stranger.verifier_key().clone()),
        ..VerifyOptions::default()
    };
    let forged = VerifyOptions {
        since: vec![newest_head(&config).replacen("log\n", "log\n1", 1)],
        ..VerifyOptions::default()
    };
    let held = VerifyOptions {
        since: vec![newest_head(&config)],
        ..VerifyOptions::default()
    };
    for lie in [&other_key, &forged] {
        assert!(
            matches!(verdict(&config, lie), Verdict::Tampered { .. }),
            "{lie:?}"
        );
    }
    assert!(matches!(
        verdict(&config, &held),
        Verdict::Incomplete { .. }
    ));
    assert!(matches!(open(&config), Err(Error::Missing(2))));
    std::fs::rename(dir.path().join("aside"), files.segment(2)).unwrap();
    assert_eq!(check(&config), Verdict::Intact);
}

#[tokio::test]
async fn rewound_or_changed_log_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 3).await;
    let segment = first_segment(&config);
    let good = std::fs::read(&segment).unwrap();
    let all = frames(&good);
    let leaf = (0..all.len())
        .rfind(|n| all[*n].2 == frame::Kind::Leaf)
        .unwrap();
    std::fs::write(
        &segment,
        rewritten(&good, &(0..leaf - 2).collect::<Vec<_>>()),
    )
    .unwrap();
    assert!(matches!(open(&config), Err(Error::Rewound { .. })));
    let mut bad = good.clone();
    bad[all[3].0 + 30] ^= 1;
    std::fs::write(&segment, &bad).unwrap();
    assert!(matches!(open(&config), Err(Error::Corrupt { .. })));
    let leaves: Vec<usize> = (0..all.len())
        .filter(|n| all[*n].2 == frame::Kind::Leaf)
        .collect();
    let mut swapped: Vec<usize> = (0..all.len()).collect();
    swapped.swap(leaves[1], leaves[3]);
    std::fs::write(&segment, rewritten(&good, &swapped)).unwrap();
    assert!(matches!(open(&config), Err(Error::HeadMismatch { .. })));
    std::fs::write(&segment, &good).unwrap();
    open(&config).unwrap();
}

#[tokio::test]
async fn head_signed_by_another_key_is_not_accepted_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 1).await;
    let other = tlog::note::Signer::generate("example.com/log").unwrap();
    let tree = tlog::tree::Head {
        size: 1,
        root: tlog::tree::leaf_hash(b"x"),
    };
    let head = heads::sign(&other, &tree, Timestamp::from_secs(1)).unwrap();
    let path = config.dir.join("heads/99999999999999999999.heads");
    std::fs::write(path, format!("{}\n", head.note)).unwrap();
    assert!(matches!(open(&config), Err(Error::BadHead(_))));
}

// A25
#[tokio::test]
async fn links_and_devices_in_place_of_the_logs_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 1).await;
    let place = |name: &str| config.dir.join(name);
    for name in ["wal", "heads", "keys"] {
        std::fs::rename(place(name), dir.path().join(name)).unwrap();
        std::os::unix::fs::symlink(dir.path().join(name), place(name)).unwrap();
        assert!(matches!(open(&config), Err(Error::NotPlain(_))), "{name}");
        std::fs::remove_file(place(name)).unwrap();
        std::fs::rename(dir.path().join(name), place(name)).unwrap();
    }
    let key = place("keys/log.key");
    std::fs::rename(&key, dir.path().join("k")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &key).unwrap();
    assert!(matches!(open(&config), Err(Error::NotPlain(_))));
    let mut elsewhere = config.clone();
    elsewhere.dir = dir.path().join("link");
    std::os::unix::fs::symlink(&config.dir, &elsewhere.dir).unwrap();
    assert!(matches!(open(&elsewhere), Err(Error::NotPlain(_))));
    for path in ["/proc/self", "/dev/null"] {
        elsewhere.dir = path.into();
        assert!(Recorder::init(&elsewhere, &RealDisk).is_err(), "{path}");
    }
}

#[tokio::test]
async fn key_file_that_others_may_read_is_refused_and_nothing_is_made_by_surprise() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let config = log(dir.path(), 1).await;
    for name in ["keys/root.key", "keys/log.key", "keys/subjects"] {
        let mode = std::fs::metadata(config.dir.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let root = config.dir.join("keys/root.key");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(open(&config), Err(Error::Permissions(_))));
    assert!(matches!(
        Recorder::init(&config, &RealDisk),
        Err(Error::Exists(_))
    ));
    let mut nowhere = config.clone();
    nowhere.dir = dir.path().join("nowhere");
    assert!(matches!(open(&nowhere), Err(Error::NotInitialised(_))));
    assert!(!nowhere.dir.exists());
    let files = Files::new(&config.dir);
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o600)).unwrap();
    files::read_root(&RealDisk, &files, &RootKey::File).unwrap();
}
