//! A simulated disk: what was not synced can be lost, torn at 512 bytes and reordered; syncs can fail,
//! hang, or run out of space. A power cut is a copy of the disk as it would be found afterwards.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::disk::{Access, Disk, File, Identity, Kind, Listed, Lock, LockError};

const SECTOR: usize = 512;

/// A small generator of numbers; the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a read sees.
    seen: Vec<u8>,
    /// What is on the disk for sure.
    stable: Vec<u8>,
    /// Written and not synced.
    pending: Vec<(usize, Vec<u8>)>,
}

/// A change of a directory that is not synced.
#[derive(Clone, Debug)]
enum Change {
    Set(PathBuf, u64),
    Clear(PathBuf),
}

#[derive(Clone, Debug, Default)]
struct World {
    inodes: HashMap<u64, Inode>,
    seen: BTreeMap<PathBuf, u64>,
    stable: BTreeMap<PathBuf, u64>,
    pending: Vec<Change>,
    dirs: BTreeMap<PathBuf, u64>,
    next_inode: u64,
    free: u64,
    locked: bool,
    operations: u64,
}

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// Syncs of files fail this many times; what they covered is lost, and the next sync says nothing.
    pub(crate) sync_errors: u64,
    /// Everything that writes fails, as on a file system that was remounted read-only.
    pub(crate) read_only: bool,
    /// New files find no space.
    pub(crate) no_space: bool,
    /// Writes take half and fail.
    pub(crate) short_writes: u64,
    /// Syncs do not return.
    pub(crate) hang: bool,
}

type Hook = Box<dyn FnMut(u64, &SimDisk) + Send>;

struct Inner {
    world: Mutex<World>,
    faults: Mutex<Faults>,
    wake: Condvar,
    hook: Mutex<Option<Hook>>,
}

/// The simulated disk. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Inner>);

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        let mut world = World {
            free: 1 << 40,
            ..World::default()
        };
        world.dirs.insert(PathBuf::from("/"), 0);
        Self::of(world)
    }

    fn of(world: World) -> Self {
        Self(Arc::new(Inner {
            world: Mutex::new(world),
            faults: Mutex::default(),
            wake: Condvar::new(),
            hook: Mutex::new(None),
        }))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    /// Call this before every operation that changes something, with its number.
    pub(crate) fn before_each(&self, hook: impl FnMut(u64, &Self) + Send + 'static) {
        *self.0.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn no_hook(&self) {
        *self.0.hook.lock().unwrap() = None;
    }

    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.faults.lock().unwrap());
        self.0.wake.notify_all();
    }

    pub(crate) fn set_free(&self, bytes: u64) {
        self.world().free = bytes;
    }

    /// Put another file in place of this one.
    pub(crate) fn replace(&self, path: &Path) {
        let mut world = self.world();
        world.next_inode += 1;
        let inode = world.next_inode;
        world.inodes.insert(inode, Inode::default());
        world.seen.insert(path.to_owned(), inode);
    }

    fn operation(&self) -> io::Result<()> {
        let number = {
            let mut world = self.world();
            world.operations += 1;
            world.operations
        };
        if let Some(hook) = self.0.hook.lock().unwrap().as_mut() {
            hook(number, self);
        }
        if self.0.faults.lock().unwrap().read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    /// The disk as it may be found after the power goes now, and a number that tells it from others.
    pub(crate) fn cut(&self, seed: u64) -> (Self, u64) {
        let mut dice = Dice::new(seed);
        let mut world = self.world().clone();
        let how = dice.roll(4);
        let mut ids: Vec<u64> = world.inodes.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let inode = world.inodes.get_mut(&id).unwrap();
            for (offset, bytes) in std::mem::take(&mut inode.pending) {
                let mut from = 0;
                while from < bytes.len() {
                    // Sectors are whole; what lies between their borders goes one by one.
                    let to = (SECTOR - (offset + from) % SECTOR + from).min(bytes.len());
                    let kept = match how {
                        0 => true,
                        1 => false,
                        2 => dice.roll(2) == 0,
                        _ => dice.roll(10) != 0,
                    };
                    if kept {
                        put(&mut inode.stable, offset + from, &bytes[from..to]);
                    }
                    from = to;
                }
            }
            inode.seen.clone_from(&inode.stable);
        }
        let kept = usize::try_from(dice.roll(world.pending.len() as u64 + 1)).unwrap();
        let changes: Vec<Change> = world.pending.drain(..).take(kept).collect();
        for change in changes {
            apply(&mut world.stable, change);
        }
        world.seen = world.stable.clone();
        world.locked = false;
        let mut hasher = DefaultHasher::new();
        for (path, inode) in &world.stable {
            path.hash(&mut hasher);
            world.inodes[inode].stable.hash(&mut hasher);
        }
        (Self::of(world), hasher.finish())
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: Change) {
    match change {
        Change::Set(path, inode) => names.insert(path, inode),
        Change::Clear(path) => names.remove(&path),
    };
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
}

#[derive(Debug)]
struct SimLock(SimDisk);

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.world().locked = false;
    }
}

impl File for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.operation()?;
        let short = {
            let mut faults = self.disk.0.faults.lock().unwrap();
            let short = faults.short_writes > 0;
            faults.short_writes = faults.short_writes.saturating_sub(1);
            short
        };
        let taken = if short {
            &bytes[..bytes.len() / 2]
        } else {
            bytes
        };
        let offset = usize::try_from(offset).unwrap();
        let mut world = self.disk.world();
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        put(&mut inode.seen, offset, taken);
        inode.pending.push((offset, taken.to_vec()));
        if short {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = self.disk.world();
        let seen = &world.inodes[&self.inode].seen;
        let from = usize::try_from(offset).unwrap().min(seen.len());
        let count = into.len().min(seen.len() - from);
        into[..count].copy_from_slice(&seen[from..from + count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operation()?;
        let mut faults = self.disk.0.faults.lock().unwrap();
        while faults.hang {
            faults = self.disk.0.wake.wait(faults).unwrap();
        }
        let fails = faults.sync_errors > 0;
        faults.sync_errors = faults.sync_errors.saturating_sub(1);
        drop(faults);
        let mut world = self.disk.world();
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        let pending = std::mem::take(&mut inode.pending);
        if fails {
            // The pages are marked clean; what they held is nowhere but in memory.
            return Err(io::Error::other("input/output error"));
        }
        for (offset, bytes) in pending {
            put(&mut inode.stable, offset, &bytes);
        }
        Ok(())
    }

    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.world().inodes[&self.inode].seen.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.operation()?;
        let len = usize::try_from(len).unwrap();
        let mut world = self.disk.world();
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        inode.seen.resize(len, 0);
        // Taken as stable at once: nothing may depend on it either way.
        inode.stable.resize(len, 0);
        inode
            .pending
            .retain(|(offset, bytes)| offset + bytes.len() <= len);
        Ok(())
    }

    fn identity(&self) -> io::Result<Identity> {
        Ok(identity(self.inode, Kind::File))
    }

    fn forget_cached(&self) {
        let mut world = self.disk.world();
        let inode = world.inodes.get_mut(&self.inode).unwrap();
        if inode.pending.is_empty() {
            inode.seen.clone_from(&inode.stable);
        }
    }
}

fn identity(inode: u64, kind: Kind) -> Identity {
    Identity {
        device: 1,
        inode,
        born: Some(inode),
        kind,
        private: true,
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.next_inode += 1;
        let inode = world.next_inode;
        world.dirs.entry(dir.to_owned()).or_insert(inode);
        Ok(())
    }

    fn create_zeroed(&self, path: &Path, len: u64) -> io::Result<Box<dyn File>> {
        self.operation()?;
        if self.0.faults.lock().unwrap().no_space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut world = self.world();
        if world.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.next_inode += 1;
        let inode = world.next_inode;
        let zeroes = vec![0; usize::try_from(len).unwrap()];
        let new = Inode {
            seen: zeroes.clone(),
            stable: zeroes,
            pending: Vec::new(),
        };
        world.inodes.insert(inode, new);
        world.seen.insert(path.to_owned(), inode);
        world.pending.push(Change::Set(path.to_owned(), inode));
        drop(world);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut world = self.world();
        let inode = match world.seen.get(path) {
            Some(inode) => *inode,
            None if access == Access::Create => {
                world.next_inode += 1;
                let inode = world.next_inode;
                world.inodes.insert(inode, Inode::default());
                world.seen.insert(path.to_owned(), inode);
                world.pending.push(Change::Set(path.to_owned(), inode));
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        drop(world);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.operation()?;
        let mut world = self.world();
        let changes = std::mem::take(&mut world.pending);
        for change in changes {
            apply(&mut world.stable, change);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        let mut world = self.world();
        let inode = world.seen.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.seen.insert(to.to_owned(), inode);
        world.pending.push(Change::Set(to.to_owned(), inode));
        world.pending.push(Change::Clear(from.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        let mut world = self.world();
        world.seen.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.pending.push(Change::Clear(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let world = self.world();
        let inside = world
            .seen
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, inode)| Listed {
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                len: world.inodes[inode].seen.len() as u64,
                kind: Kind::File,
            })
            .collect())
    }

    fn identity(&self, path: &Path) -> io::Result<Option<Identity>> {
        let world = self.world();
        let dir = world
            .dirs
            .get(path)
            .map(|inode| identity(*inode, Kind::Directory));
        Ok(dir.or_else(|| {
            world
                .seen
                .get(path)
                .map(|inode| identity(*inode, Kind::File))
        }))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.world().free)
    }

    fn lock(&self, _path: &Path) -> Result<Box<dyn Lock>, LockError> {
        let mut world = self.world();
        if std::mem::replace(&mut world.locked, true) {
            return Err(LockError::Held { holder: None });
        }
        Ok(Box::new(SimLock(self.clone())))
    }

    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.operation()?;
        let mut world = self.world();
        world.next_inode += 1;
        let inode = world.next_inode;
        let new = Inode {
            seen: bytes.to_vec(),
            stable: bytes.to_vec(),
            pending: Vec::new(),
        };
        world.inodes.insert(inode, new);
        world.seen.insert(path.to_owned(), inode);
        let changes = std::mem::take(&mut world.pending);
        for change in changes
            .into_iter()
            .chain([Change::Set(path.to_owned(), inode)])
        {
            apply(&mut world.stable, change);
        }
        Ok(())
    }
}
