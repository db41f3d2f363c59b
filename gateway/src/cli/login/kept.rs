//! The file with the tokens of logins, one for each console. Only its owner may read it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Largest such file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A login.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Kept {
    /// The token.
    pub(super) token: String,
    /// When it ends, in seconds since 1970.
    pub(super) expires_at: u64,
    /// What the next login asks again.
    pub(super) issuer: String,
    pub(super) client: String,
    pub(super) scope: String,
    pub(super) resource: Option<String>,
}

type All = BTreeMap<String, Kept>;

/// Where it is: `callgate/logins.json` of the person's configuration (XDG).
fn place() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    let folder = folder.context("neither XDG_CONFIG_HOME nor HOME says where logins are kept")?;
    Ok(folder.join("callgate/logins.json"))
}

/// The login at a console, also one that has ended.
pub(in crate::cli) fn kept(console: &str) -> anyhow::Result<Option<Kept>> {
    Ok(read(&place()?)?.remove(console))
}

/// Keep a login in place of the one before; where it is kept.
pub(super) fn keep(console: &str, login: Kept) -> anyhow::Result<PathBuf> {
    let place = place()?;
    let mut all = read(&place)?;
    all.insert(console.to_owned(), login);
    write(&place, &all)?;
    Ok(place)
}

/// Forget the login at a console; whether there was one.
pub(super) fn forget(console: &str) -> anyhow::Result<bool> {
    let place = place()?;
    let mut all = read(&place)?;
    let was = all.remove(console).is_some();
    if was {
        write(&place, &all)?;
    }
    Ok(was)
}

fn read(place: &Path) -> anyhow::Result<All> {
    let shown = place.display();
    let mut file = match File::open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(All::new()),
        Err(error) => return Err(error).with_context(|| format!("`{shown}` cannot be read")),
    };
    let about = file
        .metadata()
        .with_context(|| format!("`{shown}` cannot be read"))?;
    if !about.is_file() || about.mode() & 0o077 != 0 {
        anyhow::bail!(
            "others can read `{shown}`, and it holds tokens: chmod 600 it, and log in anew"
        );
    }
    let mut text = String::new();
    let read = Read::by_ref(&mut file)
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text);
    read.with_context(|| format!("`{shown}` cannot be read"))?;
    serde_json::from_str(&text).with_context(|| {
        format!("`{shown}` is not what `callgate login` wrote: delete it, and log in anew")
    })
}

/// Written beside it and put in its place, so that no reader sees half of it.
fn write(place: &Path, all: &All) -> anyhow::Result<()> {
    let cannot = || format!("`{}` cannot be written", place.display());
    let folder = place.parent().context("logins have a folder")?;
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(cannot)?;
    let beside = place.with_extension(format!("json.{}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside);
    let written = file.and_then(|mut file| {
        file.write_all(serde_json::to_string_pretty(all)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, place)
    });
    if written.is_err() {
        // The reason is told; a file that could not be made is not there.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(cannot)
}
