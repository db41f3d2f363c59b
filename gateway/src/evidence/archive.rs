//! A bundle as one file: an uncompressed tar archive (POSIX ustar), which everything opens. The same
//! bundle gives the same bytes, and only those are read back.

use super::{BUNDLE_BYTES_MAX, Bundle, FILES_MAX, Fault, Files, MANIFEST};

/// Bytes of a block.
const BLOCK: usize = 512;

/// Longest path of a file.
const NAME_BYTES_MAX: usize = 100;

/// What an archive is called in faults.
const ARCHIVE: &str = "the archive";

impl Bundle {
    /// As an archive. All files stand in one folder, named after the call.
    pub fn to_archive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let manifest = self.files.get_key_value(MANIFEST);
        let others = self.files.iter().filter(|(path, _)| *path != MANIFEST);
        for (path, bytes) in manifest.into_iter().chain(others) {
            out.extend_from_slice(&header(&format!("{}/{path}", self.folder()), bytes.len()));
            out.extend_from_slice(bytes);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    /// The name of its folder.
    pub fn folder(&self) -> String {
        let manifest = self.files.get(MANIFEST).map(Vec::as_slice);
        let manifest: serde_json::Value = manifest
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        let call = manifest.get("call").and_then(serde_json::Value::as_str);
        format!("evidence-{}", call.unwrap_or("unknown"))
    }

    /// Whether bytes are an archive at all.
    pub fn is_archive(bytes: &[u8]) -> bool {
        bytes.get(257..263) == Some(b"ustar\0")
    }

    /// Read an archive. What [`Self::to_archive`] would not have written is refused, byte by byte.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn from_archive(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(Fault::Unusable("it is larger than 512 MiB".to_owned()));
        }
        let (files, folder) = read(bytes)?;
        let bundle = Self::from_files(files)?;
        if bundle.folder() != folder {
            return Err(Fault::tampered(
                ARCHIVE,
                "its folder is not named after the call",
            ));
        }
        let again = bundle.to_archive();
        match again.iter().zip(bytes).position(|(a, b)| a != b) {
            Some(at) => Err(odd(at)),
            None if again.len() != bytes.len() => Err(odd(again.len().min(bytes.len()))),
            None => Ok(bundle),
        }
    }

    /// The bundle of these files.
    ///
    /// # Errors
    /// [`Fault`] when they are none.
    pub fn from_files(files: Files) -> Result<Self, Fault> {
        if files.len() > FILES_MAX {
            return Err(Fault::Unusable("it has more than 10000 files".to_owned()));
        }
        if !files.contains_key(MANIFEST) {
            return Err(Fault::missing(MANIFEST));
        }
        Ok(Self { files })
    }
}

fn odd(at: usize) -> Fault {
    Fault::tampered(ARCHIVE, &format!("byte {at} is not as it is written"))
}

/// The files of an archive, without the name of their folder, and that name.
fn read(bytes: &[u8]) -> Result<(Files, String), Fault> {
    let (mut files, mut folder) = (Files::new(), None);
    let mut at = 0;
    loop {
        let block = bytes
            .get(at..at + BLOCK)
            .ok_or_else(|| Fault::missing("the archive's end"))?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let parsed = parse(block).filter(|(name, len)| header(name, *len) == block);
        let (name, len) = parsed.ok_or_else(|| odd(at))?;
        let (own, path) = name.split_once('/').ok_or_else(|| odd(at))?;
        if *folder.get_or_insert_with(|| own.to_owned()) != own {
            return Err(odd(at));
        }
        let start = at + BLOCK;
        let content = bytes
            .get(start..start + len)
            .ok_or_else(|| Fault::missing(path))?;
        if files.insert(path.to_owned(), content.to_vec()).is_some() {
            return Err(Fault::tampered(path, "it stands there twice"));
        }
        at = start + len.next_multiple_of(BLOCK);
        if files.len() > FILES_MAX {
            return Err(Fault::Unusable("it has more than 10000 files".to_owned()));
        }
    }
    Ok((files, folder.unwrap_or_default()))
}

fn parse(block: &[u8]) -> Option<(String, usize)> {
    let name = block.get(..NAME_BYTES_MAX)?;
    let name = name.split(|byte| *byte == 0).next()?;
    let size = std::str::from_utf8(block.get(124..135)?).ok()?;
    let size = usize::from_str_radix(size, 8).ok()?;
    let fits = size <= BUNDLE_BYTES_MAX;
    Some((String::from_utf8(name.to_vec()).ok()?, size)).filter(|_| fits)
}

/// A file's header: nobody's, of no time.
fn header(name: &str, len: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, text: &str| {
        if let Some(slot) = block.get_mut(at..at + text.len()) {
            slot.copy_from_slice(text.as_bytes());
        }
    };
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{len:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar");
    put(263, "00");
    put(329, "0000000");
    put(337, "0000000");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    if let Some(slot) = block.get_mut(148..156) {
        slot.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}
