//! Going on after a log that cannot: a successor with a name and key of its own, whose first record says
//! what it succeeds and which records are not there. The keyring moves along, so content stays readable and
//! erasable; the old log stays as it is, to be verified.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tlog::tree::{Tree, leaf_hash};

use super::erase::Holds;
use super::files::{self, Files, Identity};
use super::frame::{Kind, LeafFrame};
use super::leaf::Tag;
use super::seal::ContentId;
use super::segment::{self, Chain};
use super::{Config, Error, heads, keyring, outside};
use crate::disk::{Disk, Lock, LockError};

/// What stands between a log's first name and the number of a successor.
const MARK: char = '~';

/// Name of a successor's folder while it is made, behind the log's.
const NEW: &str = "new";

/// What a log succeeds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predecessor {
    /// Its origin.
    pub origin: String,
    /// The key that its heads are signed with.
    pub verifier_key: String,
    /// Records of it that are here.
    pub records: u64,
    /// The newest head of it that is known: its signed note, from its own files or from outside.
    pub head: Option<String>,
    /// Its size. Records from `records` up to it are lost.
    pub head_size: u64,
    /// Whether a head that its key signed is not of its records: it went on in two ways.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forked: bool,
}

impl Predecessor {
    pub(super) fn read(disk: &dyn Disk, files: &Files) -> Result<Option<Self>, Error> {
        let path = files.predecessor();
        if !files::stands(disk, &path)? {
            return Ok(None);
        }
        let bytes = files::read_small(disk, &path)?;
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|_| Error::Damaged(path))
    }

    /// What a log of so many records succeeds, while its first record does not say so yet.
    pub(super) fn of_new(
        disk: &dyn Disk,
        files: &Files,
        records: u64,
    ) -> Result<Option<Self>, Error> {
        if records == 0 {
            Self::read(disk, files)
        } else {
            Ok(None)
        }
    }

    /// As members of a record.
    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let lost = self.head_size.checked_sub(self.records).filter(|n| *n > 0);
        vec![
            ("origin", self.origin.as_str().into()),
            ("verifier_key", self.verifier_key.as_str().into()),
            ("records", self.records.into()),
            ("head", self.head.as_deref().into()),
            ("lost", lost.into()),
            ("forked", self.forked.then_some(true).into()),
        ]
    }
}

/// A log's name without the number of a successor.
pub(super) fn first_origin(origin: &str) -> &str {
    match origin.rsplit_once(MARK) {
        Some((first, number)) if number.parse::<u32>().is_ok() => first,
        Some(_) | None => origin,
    }
}

/// What the log in `dir` succeeds, and where that stands if nobody moved it.
///
/// # Errors
/// [`Error::Damaged`] when it does not say so in form; [`Error::Disk`].
pub fn predecessor(dir: &Path, disk: &dyn Disk) -> Result<Option<(Predecessor, PathBuf)>, Error> {
    let found = Predecessor::read(disk, &Files::new(dir))?;
    Ok(found.map(|found| {
        let old = beside(dir, &number_of(&found.origin).to_string());
        (found, old)
    }))
}

/// Say that a log which was moved lives where it is now.
///
/// # Errors
/// [`Error::Locked`] while somebody writes it; [`Error::Behind`] and its like when an outside head says that
/// this is not the newest copy.
pub fn adopt(config: &Config, disk: &dyn Disk) -> Result<(), Error> {
    let files = Files::new(&config.dir);
    let (_lock, state) = look(config, &files, disk)?;
    let outside = config.head_file.as_deref();
    outside::admit(
        outside.map(|path| (path, state.remembered.as_ref())),
        state.records,
        state.signed.as_ref().map_or(0, |head| head.size),
    )?;
    outside::settle_place(disk, &files)
}

/// The same for a log that was restored: only where the outside head is of exactly its
/// records.
///
/// # Errors
/// As [`adopt`]; [`Error::Copied`] when nothing outside says so.
pub fn adopt_newest(config: &Config, disk: &dyn Disk) -> Result<(), Error> {
    let files = Files::new(&config.dir);
    let (_lock, state) = look(config, &files, disk)?;
    match &state.remembered {
        // With more records than the head, the lost log may have gone on further than it, too.
        Some(head) if head.size == state.records => outside::settle_place(disk, &files),
        Some(_) | None => Err(Error::Copied(files.dir)),
    }
}

/// Begin to remember the newest head in a head file that is not there yet.
///
/// # Errors
/// [`Error::Setting`] without a head file or with one that is there.
pub fn remember(config: &Config, disk: &dyn Disk) -> Result<u64, Error> {
    let files = Files::new(&config.dir);
    let (_lock, state) = look(config, &files, disk)?;
    let path = config.head_file.as_ref();
    let path = path.ok_or(Error::Setting("`audit.head_file` names no file"))?;
    if state.remembered.is_some() {
        return Err(Error::Setting("the head file is there already"));
    }
    let head = state.signed;
    let head = head.ok_or(Error::Setting("no head is signed yet: just start"))?;
    disk.write_atomic(path, head.note.as_bytes())
        .map_err(|source| Error::disk("write", path, source))?;
    Ok(head.size)
}

struct State {
    identity: Identity,
    records: u64,
    signed: Option<super::Head>,
    remembered: Option<super::Head>,
    holds: Holds,
    /// Pseudonyms whose erasure is on record: whatever keyring is here.
    erased: HashSet<ContentId>,
    /// The head that was signed over other records than these.
    foreign: Option<super::Head>,
}

/// What stands in a log that nobody writes.
fn look(config: &Config, files: &Files, disk: &dyn Disk) -> Result<(Box<dyn Lock>, State), Error> {
    let identity = Identity::read(disk, files)?;
    let lock = disk.lock(&files.lock()).map_err(|error| match error {
        LockError::Held { holder } => Error::Locked {
            dir: files.dir.clone(),
            holder: holder.map_or_else(|| "?".to_owned(), |pid| pid.to_string()),
        },
        LockError::Io(source) => Error::disk("lock", &files.lock(), source),
    })?;
    let chain = Chain::find(disk, files, &identity.log_id)?;
    let remembered = match &config.head_file {
        Some(path) => outside::remembered(disk, path, &identity.verifier)?,
        None => None,
    };
    let signed = heads::newest(disk, files, &identity.verifier)?;
    let mut holds = Holds::carried(disk, files)?;
    let mut erased = HashSet::new();
    if let Some(path) = &config.head_file {
        erased.extend(outside::erased(disk, path)?);
    }
    let (mut tree, mut foreign): (Tree, _) = (chain.base.tree.clone(), None);
    erased.extend(chain.base.erased.iter().map(|(reference, _)| *reference));
    let walked = segment::walk(disk, files, &chain, &mut |_, frame| {
        let leaf = Some(frame).filter(|frame| frame.kind == Kind::Leaf);
        let Some(leaf) = leaf.and_then(|frame| LeafFrame::parse(frame.payload)) else {
            return Ok(());
        };
        match leaf.tag {
            Tag::Hold => holds.leaf(leaf.leaf),
            Tag::Erase => {
                erased.insert(leaf.id);
            }
            Tag::Begin | Tag::End | Tag::Retain | Tag::Other => {}
        }
        tree.push(leaf_hash(leaf.leaf));
        let other = |head: &&super::Head| head.size == tree.size() && head.root != tree.root();
        let heads = [&remembered, &signed].into_iter().flatten();
        foreign = foreign
            .take()
            .or_else(|| heads.clone().find(|head| other(head)).cloned());
        Ok(())
    })?;
    let state = State {
        records: walked.next.leaf,
        signed,
        remembered,
        identity,
        holds,
        erased,
        foreign,
    };
    Ok((lock, state))
}

/// Make a successor of the log in `config.dir`; the old one stands beside it afterwards, at the path that
/// is returned.
///
/// # Errors
/// [`Error::NothingToSucceed`] for a log that can go on; [`Error::Locked`] while somebody writes it.
pub fn succeed(config: &Config, disk: &dyn Disk) -> Result<(Predecessor, PathBuf), Error> {
    let files = Files::new(&config.dir);
    if let Some(done) = finish(config, disk)? {
        return Ok(done);
    }
    let (lock, state) = look(config, &files, disk)?;
    let signed = state.signed.as_ref().map_or(0, |head| head.size);
    let newest = [&state.signed, &state.remembered].into_iter().flatten();
    let newest = newest.max_by_key(|head| head.size);
    let behind = newest.is_some_and(|head| head.size > state.records);
    let missing = config.head_file.is_some() && state.remembered.is_none() && signed > 0;
    let forked = state.foreign.is_some();
    if outside::check_place(disk, &files).is_ok() && !behind && !missing && !forked {
        return Err(Error::NothingToSucceed(config.dir.clone()));
    }
    let predecessor = Predecessor {
        origin: state.identity.origin.clone(),
        verifier_key: state.identity.verifier.to_string(),
        records: state.records,
        head: state
            .foreign
            .as_ref()
            .or(newest)
            .map(|head| head.note.clone()),
        head_size: newest.map_or(0, |head| head.size),
        forked,
    };
    let number = number_of(&predecessor.origin) + 1;
    let (old, new) = (
        beside(&config.dir, &(number - 1).to_string()),
        beside(&config.dir, NEW),
    );
    if files::stands(disk, &new)? {
        return Err(Error::HalfMade(new));
    }
    let next = Config {
        dir: new.clone(),
        origin: format!("{}{MARK}{number}", first_origin(&predecessor.origin)),
        ..config.clone()
    };
    make(&files, &next, &predecessor, &state, disk)?;
    // The new log must be there for good before the keys of the old one go.
    sync_around(config, disk)?;
    rename(disk, &config.dir, &old)?;
    drop(lock);
    put_in_place(config, &old, disk)?;
    Ok((predecessor, old))
}

/// The end of a succession that a crash cut short: the old log was moved aside, the new one is whole.
fn finish(config: &Config, disk: &dyn Disk) -> Result<Option<(Predecessor, PathBuf)>, Error> {
    let new = Files::new(&beside(&config.dir, NEW));
    if files::stands(disk, &config.dir)? || !files::stands(disk, &new.identity())? {
        return Ok(None);
    }
    let predecessor = Predecessor::read(disk, &new)?;
    let predecessor = predecessor.ok_or_else(|| Error::Damaged(new.predecessor()))?;
    let old = beside(&config.dir, &number_of(&predecessor.origin).to_string());
    put_in_place(config, &old, disk)?;
    Ok(Some((predecessor, old)))
}

fn beside(dir: &Path, what: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{name}.{what}"))
}

fn rename(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), Error> {
    disk.rename(from, to)
        .map_err(|source| Error::disk("rename", from, source))
}

/// The head file and the keys of the old log go first: a crash in between leaves what [`finish`] ends.
fn put_in_place(config: &Config, old: &Path, disk: &dyn Disk) -> Result<(), Error> {
    // Before the head file goes, which tells what the old log lacks: a power cut in between must not bring
    // the old log back without it.
    sync_around(config, disk)?;
    if let Some(path) = &config.head_file
        && files::stands(disk, path)?
    {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".old");
        rename(disk, path, Path::new(&aside))?;
        sync_parent(path, disk)?;
    }
    // A power cut must find the old log aside, or its keys where it looks for them.
    sync_around(config, disk)?;
    forget_keys(&Files::new(old), disk)?;
    rename(disk, &beside(&config.dir, NEW), &config.dir)?;
    sync_around(config, disk)
}

/// Put the names of the logs on stable storage.
fn sync_around(config: &Config, disk: &dyn Disk) -> Result<(), Error> {
    sync_parent(&config.dir, disk)
}

fn sync_parent(path: &Path, disk: &dyn Disk) -> Result<(), Error> {
    match path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        Some(parent) => disk
            .sync_dir(parent)
            .map_err(|source| Error::disk("sync", parent, source)),
        None => Ok(()),
    }
}

fn number_of(origin: &str) -> u32 {
    let number = origin.rsplit_once(MARK).map(|(_, number)| number.parse());
    number.and_then(Result::ok).unwrap_or(1)
}

/// The new log's directory, whole, beside the old one.
fn make(
    old: &Files,
    next: &Config,
    predecessor: &Predecessor,
    state: &State,
    disk: &dyn Disk,
) -> Result<(), Error> {
    let new = Files::new(&next.dir);
    let wrapped = if files::stands(disk, &old.root_wrapped())? {
        Some(files::read_small(disk, &old.root_wrapped())?)
    } else {
        None
    };
    let wrapped = wrapped.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    files::create(next, wrapped.as_deref(), disk)?;
    let write = |path: &Path, bytes: &[u8]| {
        disk.write_atomic(path, bytes)
            .map_err(|source| Error::disk("write", path, source))
    };
    if wrapped.is_none() {
        write(&new.root_key(), &files::read_small(disk, &old.root_key())?)?;
    }
    // A key that an error or a crash kept after its erasure was recorded does not come along: nothing in
    // the successor would know of it.
    let ring = segment::read_file(disk, &old.subjects())?;
    let ring = keyring::without(&ring, &|reference| state.erased.contains(reference));
    write(&new.subjects(), &ring)?;
    write(&new.holds(), &state.holds.lines())?;
    let text = serde_json::to_vec_pretty(predecessor).unwrap_or_default();
    write(&new.predecessor(), &text)
}

/// The keys live with the successor alone, so that destroying one there is destroying it.
fn forget_keys(old: &Files, disk: &dyn Disk) -> Result<(), Error> {
    for path in [
        old.root_key(),
        old.root_wrapped(),
        old.subjects(),
        old.log_key(),
    ] {
        if files::stands(disk, &path)? {
            disk.remove(&path)
                .map_err(|source| Error::disk("remove", &path, source))?;
        }
    }
    disk.sync_dir(&old.keys)
        .map_err(|source| Error::disk("sync", &old.keys, source))
}
