use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{Access, Disk, Kind, LockError, RealDisk, read_all};

#[test]
fn zeroed_file_has_its_length_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let file = RealDisk.create_zeroed(&path, 3 * 1024 * 1024 + 7).unwrap();
    assert_eq!(file.len_bytes().unwrap(), 3 * 1024 * 1024 + 7);
    file.write_at(b"hello", 10).unwrap();
    file.sync().unwrap();
    let mut back = [0; 7];
    assert_eq!(file.read_at(&mut back, 9).unwrap(), 7);
    assert_eq!(&back, b"\0hello\0");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = RealDisk.create_zeroed(&path, 1).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn read_past_the_end_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let file = RealDisk.create_zeroed(&dir.path().join("a"), 4).unwrap();
    let mut into = [1; 10];
    assert_eq!(file.read_at(&mut into, 2).unwrap(), 2);
    assert_eq!(file.read_at(&mut into, 9).unwrap(), 0);
}

// A25
#[test]
fn symbolic_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("target"), b"x").unwrap();
    symlink(dir.path().join("target"), dir.path().join("link")).unwrap();
    for access in [Access::Read, Access::Write, Access::Create] {
        assert!(RealDisk.open(&dir.path().join("link"), access).is_err());
    }
    assert!(RealDisk.lock(&dir.path().join("link")).is_err());
    symlink(dir.path(), dir.path().join("dirlink")).unwrap();
    assert!(RealDisk.create_dir(&dir.path().join("dirlink")).is_err());
    let identity = RealDisk
        .identity(&dir.path().join("link"))
        .unwrap()
        .unwrap();
    assert_eq!(identity.kind, Kind::Other);
}

// A25
#[test]
fn device_is_not_a_file() {
    assert!(RealDisk.open("/dev/null".as_ref(), Access::Write).is_err());
}

#[test]
fn second_lock_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = RealDisk.lock(&path).unwrap();
    match RealDisk.lock(&path) {
        Err(LockError::Held { holder }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(held);
    RealDisk.lock(&path).unwrap();
}

#[test]
fn atomic_write_replaces_the_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    RealDisk.write_atomic(&path, b"a longer text").unwrap();
    RealDisk.write_atomic(&path, b"short").unwrap();
    let file = RealDisk.open(&path, Access::Read).unwrap();
    assert_eq!(read_all(file.as_ref(), 100).unwrap(), b"short");
    assert_eq!(
        read_all(file.as_ref(), 4).unwrap_err().kind(),
        io::ErrorKind::FileTooLarge
    );
    assert_eq!(RealDisk.list(dir.path()).unwrap().len(), 1);
}
