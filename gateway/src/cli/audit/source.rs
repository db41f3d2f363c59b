//! What is verified: a log's own folder, its static files in a folder or behind a URL, or one file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tlog::tile::BUNDLE_BYTES_MAX as TILE_BYTES_MAX;

use crate::egress::{Egress, Limits, Policy, Target};
use crate::evidence::{BUNDLE_BYTES_MAX, Bundle, FILES_MAX, MANIFEST};

/// Longest file that is verified on its own, in bytes.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How long one file may take to arrive.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// What is verified.
#[derive(Debug)]
pub(super) enum Source {
    /// A log's own folder.
    Log(PathBuf),
    /// Static files (C2SP tlog-tiles).
    Tiles(Tiles),
    /// One file: a proof or a checkpoint.
    File(Vec<u8>),
    /// The evidence of one call.
    Bundle(Packed),
}

/// A bundle of evidence, packed or not.
#[derive(Debug)]
pub(super) enum Packed {
    Archive(Vec<u8>),
    Folder(BTreeMap<String, Vec<u8>>),
}

/// Static files of a log.
#[derive(Debug)]
pub(super) enum Tiles {
    Folder(PathBuf),
    Url { base: String, client: Egress },
}

impl Source {
    /// Look what a word on the command line names.
    pub(super) fn find(named: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        if named.starts_with("https://") || named.starts_with("http://") {
            let policy = Policy {
                ca: ca.map(Path::to_owned),
                own: Vec::new(),
            };
            let client = Egress::new(&policy)?;
            let base = named.trim_end_matches('/').to_owned();
            Target::from_config(&base)?;
            return Ok(Self::Tiles(Tiles::Url { base, client }));
        }
        let path = Path::new(named);
        let found = std::fs::metadata(path).with_context(|| format!("`{named}`"))?;
        if found.is_file() {
            anyhow::ensure!(
                found.len() <= FILE_BYTES_MAX,
                "`{named}` is larger than 512 MiB"
            );
            let bytes = std::fs::read(path).with_context(|| format!("`{named}`"))?;
            return Ok(if Bundle::is_archive(&bytes) {
                Self::Bundle(Packed::Archive(bytes))
            } else {
                Self::File(bytes)
            });
        }
        if path.join(MANIFEST).exists() || path.join("records").is_dir() {
            let mut files = BTreeMap::new();
            collect(path, "", &mut files)?;
            return Ok(Self::Bundle(Packed::Folder(files)));
        }
        if path.join("log.json").exists() {
            return Ok(Self::Log(path.to_owned()));
        }
        // The folder of a gateway's data, where the log is one step down.
        if path.join("audit/log.json").exists() {
            return Ok(Self::Log(path.join("audit")));
        }
        Ok(Self::Tiles(Tiles::Folder(path.to_owned())))
    }
}

/// The files of a bundle's folder. It has folders of one step, and plain files.
fn collect(
    folder: &Path,
    above: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<()> {
    let failed = || folder.display().to_string();
    for item in std::fs::read_dir(folder).with_context(failed)? {
        let item = item.with_context(failed)?;
        let name = format!("{above}{}", item.file_name().to_string_lossy());
        let kind = item.file_type().with_context(failed)?;
        if kind.is_dir() && above.is_empty() {
            collect(&item.path(), &format!("{name}/"), files)?;
            continue;
        }
        anyhow::ensure!(
            kind.is_file(),
            "`{}` is not a file: this is not a bundle as it was handed out",
            item.path().display()
        );
        let all: usize = files.values().map(Vec::len).sum();
        let most = (BUNDLE_BYTES_MAX - all).saturating_add(1);
        let mut bytes = Vec::new();
        std::fs::File::open(item.path())
            .and_then(|file| file.take(most as u64).read_to_end(&mut bytes))
            .with_context(|| item.path().display().to_string())?;
        let fits = bytes.len() < most;
        files.insert(name, bytes);
        anyhow::ensure!(
            fits && files.len() <= FILES_MAX,
            "`{}` has more than 10000 files or 512 MiB",
            folder.display()
        );
    }
    Ok(())
}

impl Tiles {
    /// The bytes at a path; `None` if there is no such file.
    pub(super) fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(path);
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).with_context(|| path.display().to_string()),
                }
            }
            Self::Url { base, client } => {
                let target = Target::from_config(&format!("{base}/{path}"))?;
                let limits = Limits {
                    bytes_max: TILE_BYTES_MAX,
                    total: FETCH_MAX,
                };
                // The check itself is one long loop on a thread of its own.
                let fetch = client.get(&target, limits);
                let answer = tokio::runtime::Handle::current().block_on(fetch)?;
                match answer.status.as_u16() {
                    200 => Ok(Some(answer.body.to_vec())),
                    404 | 410 => Ok(None),
                    status => anyhow::bail!("`{}` answers with status {status}", target.url()),
                }
            }
        }
    }
}
