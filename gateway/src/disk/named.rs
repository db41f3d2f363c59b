//! Files that an operator names, read whole.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

const MIB: u64 = 1024 * 1024;

/// Read a file that the config names: a regular one, of at most `most` bytes. A device or a pipe has no end,
/// or none before somebody writes, and its length is told as nothing.
///
/// # Errors
/// Whatever reading runs into; one that is no regular file; one that is too large.
pub fn read_named(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    // Asked before it is opened as well: to open a pipe is to wait for its writer.
    let regular = fs::metadata(path)?.is_file();
    if !regular {
        return refused("not a regular file".to_owned());
    }
    let file = fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return refused("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let size = if most.is_multiple_of(MIB) {
            format!("{} MiB", most / MIB)
        } else {
            format!("{} KiB", most / 1024)
        };
        return refused(format!("larger than {size}"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_the_limit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, [b'a'; 2048]).unwrap();
        assert_eq!(read_named(&file, 2048).unwrap().len(), 2048);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_named(&link, 2048).unwrap().len(), 2048);
        let said = |path: &Path| read_named(path, 1024).unwrap_err().to_string();
        assert_eq!(said(&file), "larger than 1 KiB");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for odd in [Path::new("/dev/zero"), &pipe, folder.path()] {
            assert_eq!(said(odd), "not a regular file", "{}", odd.display());
        }
    }
}
