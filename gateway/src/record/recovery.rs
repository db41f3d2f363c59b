//! Opening a log: what a crash or a restart left is checked, completed and taken over.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{self, SHA256};
use tlog::note::Signer;
use tlog::tree::{Tree, leaf_hash};

use super::erase::Holds;
use super::files::{self, Files, Identity};
use super::frame::{self, Frame, Kind, LeafFrame, Position, le64};
use super::heads;
use super::health::Head;
use super::job::OrphanJob;
use super::keyring::Keyring;
use super::leaf::{Tag, digest_frame};
use super::outside;
use super::pruned::{self, Base};
use super::retain::Expired;
use super::seal::{ContentId, Part, SealedHead};
use super::segment::{self, Chain};
use super::succeed::{self, Predecessor};
use super::wal::Takeover;
use super::{Config, Error, SEGMENT_BYTES_MIN};
use crate::disk::{Access, Disk, Lock, LockError};

/// What opening the log found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Records in the log before this run's.
    pub records: u64,
    /// Calls that had begun and not ended: each got an end with outcome `indeterminate`.
    pub indeterminate: u64,
    /// Their ids.
    pub calls: Vec<crate::call::CallId>,
    /// Whether an unfinished write was cut off at the end. Nothing in it was ever confirmed.
    pub torn: bool,
    /// Size of the newest signed head, which the records match.
    pub head: u64,
    /// Keys that an earlier erasure had left behind and that are destroyed now.
    pub erased: u64,
}

/// Everything that opening has read.
pub(super) struct Recovered {
    pub(super) lock: Box<dyn Lock>,
    pub(super) keyring: Keyring,
    pub(super) signer: Signer,
    pub(super) tree: Tree,
    pub(super) head: Option<Head>,
    pub(super) takeover: Takeover,
    pub(super) orphans: Vec<OrphanJob>,
    pub(super) holds: Holds,
    pub(super) report: Recovery,
    /// The head that is remembered outside.
    pub(super) remembered: Option<Head>,
    /// What the log succeeds, while that is not on record yet.
    pub(super) predecessor: Option<Predecessor>,
}

/// Progress of one way of a stream, out of a progress frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Progress {
    pub(super) id: ContentId,
    pub(super) part: Part,
    pub(super) bytes: u64,
    pub(super) commitment: [u8; 32],
}

impl Progress {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() != 64 || payload.get(17..24)?.iter().any(|b| *b != 0) {
            return None;
        }
        Some(Self {
            id: payload.get(..16)?.try_into().ok()?,
            part: Part::from_byte(*payload.get(16)?)?,
            bytes: le64(payload, 24)?,
            commitment: payload.get(32..64)?.try_into().ok()?,
        })
    }
}

/// What the frames say, read once from first to last.
struct Scan {
    tree: Tree,
    head: Option<Head>,
    /// The head that is remembered outside.
    remembered: Option<Head>,
    mismatch: bool,
    /// The furthest place that a batch says was stable.
    mark: Position,
    open: HashMap<ContentId, OrphanJob>,
    erased: HashSet<ContentId>,
    /// Those of them that are remembered outside.
    listed: HashSet<ContentId>,
    holds: Holds,
    expired: Option<Expired>,
}

impl Scan {
    fn new(head: Option<Head>, base: &Base) -> Self {
        Self {
            tree: base.tree.clone(),
            head,
            remembered: None,
            mismatch: false,
            mark: Position::default(),
            open: HashMap::new(),
            erased: base
                .erased
                .iter()
                .map(|(reference, _)| *reference)
                .collect(),
            listed: HashSet::new(),
            holds: Holds::default(),
            expired: base.expired,
        }
    }

    /// Whether the log may go on, by the heads that were signed; the size of its own newest one.
    fn judge(&self, config: &Config) -> Result<u64, Error> {
        let head = self.head.as_ref().map_or(0, |head| head.size);
        let leaves = self.tree.size();
        if head > leaves {
            return Err(Error::Rewound { head, leaves });
        }
        if self.mismatch {
            return Err(Error::HeadMismatch { size: head });
        }
        let outside = config.head_file.as_deref();
        let outside = outside.map(|path| (path, self.remembered.as_ref()));
        outside::admit(outside, leaves, head)?;
        Ok(head)
    }

    fn frame(&mut self, at: Position, frame: &Frame<'_>) -> Result<(), Error> {
        match frame.kind {
            Kind::Batch => {
                let mark = frame::batch_mark(frame.payload);
                self.mark = self.mark.max(mark.unwrap_or_default());
            }
            Kind::Leaf => {
                let leaf = LeafFrame::parse(frame.payload)
                    .ok_or_else(|| segment::corrupt(at, "a record's frame is malformed"))?;
                self.leaf(&leaf);
            }
            Kind::Sealed => {
                let head = SealedHead::parse(frame.payload);
                let open = head.and_then(|head| self.open.get_mut(&head.id));
                if let Some(orphan) = open {
                    digest_frame(&mut orphan.sealed, frame.kind.byte(), frame.payload);
                }
            }
            Kind::Progress => {
                let progress = Progress::parse(frame.payload)
                    .ok_or_else(|| segment::corrupt(at, "a progress frame is malformed"))?;
                if let Some(orphan) = self.open.get_mut(&progress.id) {
                    digest_frame(&mut orphan.sealed, frame.kind.byte(), frame.payload);
                    orphan.progress.retain(|p| p.part != progress.part);
                    orphan.progress.push(progress);
                }
            }
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &LeafFrame<'_>) {
        self.tree.push(leaf_hash(leaf.leaf));
        for head in [&self.head, &self.remembered].into_iter().flatten() {
            self.mismatch |= head.size == self.tree.size() && head.root != self.tree.root();
        }
        match leaf.tag {
            Tag::Begin => {
                let orphan = OrphanJob {
                    id: leaf.id,
                    begin: leaf.index,
                    sealed: digest::Context::new(&SHA256),
                    progress: Vec::new(),
                };
                self.open.insert(leaf.id, orphan);
            }
            Tag::End => {
                self.open.remove(&leaf.id);
            }
            Tag::Erase => {
                self.erased.insert(leaf.id);
            }
            Tag::Hold => self.holds.leaf(leaf.leaf),
            Tag::Retain => {
                if let Some(expired) = Expired::read(leaf.index, leaf.leaf) {
                    self.expired = Some(expired.or_later(self.expired));
                }
            }
            Tag::Other => {}
        }
    }
}

/// Take the lock and read everything.
pub(super) fn recover(config: &Config, files: &Files, disk: &dyn Disk) -> Result<Recovered, Error> {
    if config.segment_bytes < SEGMENT_BYTES_MIN {
        return Err(Error::Setting("a segment has at least 262144 bytes"));
    }
    files.check_plain(disk, &config.root)?;
    let lock = take_lock(files, disk)?;
    let (identity, signer) = who_signs(config, files, disk)?;
    outside::check_place(disk, files)?;
    let keyring = Keyring::open(
        disk,
        &files.subjects(),
        &files::read_root(disk, files, &config.root)?,
    )?;
    heads::trim(disk, files)?;
    let head = heads::newest(disk, files, &identity.verifier)?;
    let chain = Chain::find(disk, files, &identity.log_id)?;
    pruned::remove_segments(disk, files, &chain.base)?;
    let mut scan = Scan::new(head, &chain.base);
    scan.holds = Holds::carried(disk, files)?;
    if let Some(path) = &config.head_file {
        scan.remembered = outside::remembered(disk, path, &identity.verifier)?;
        scan.listed.extend(outside::erased(disk, path)?);
        scan.erased.extend(&scan.listed);
    }
    let walked = segment::walk(disk, files, &chain, &mut |at, frame| scan.frame(at, frame))?;
    let head_size = scan.judge(config)?;
    settle_on_disk(disk, files, scan.mark, walked.end)?;
    keyring.settle(disk)?;
    let erased = keyring.destroy(disk, &|reference| scan.erased.contains(reference))?;
    if let Some(expired) = scan.expired {
        keyring.expire(disk, expired.before, &scan.holds.references())?;
    }
    if let Some(path) = &config.head_file {
        // What could not be put there when it happened, or happened before there was such a file.
        outside::erase(disk, path, scan.erased.difference(&scan.listed))?;
    }
    let mut orphans: Vec<OrphanJob> = scan.open.into_values().collect();
    orphans.sort_by_key(|orphan| orphan.begin);
    let calls = orphans
        .iter()
        .map(|o| crate::call::CallId::from_bytes(o.id))
        .collect();
    Ok(Recovered {
        report: Recovery {
            records: scan.tree.size(),
            indeterminate: orphans.len() as u64,
            calls,
            torn: walked.torn,
            head: head_size,
            erased: erased as u64,
        },
        lock,
        keyring,
        signer,
        tree: scan.tree,
        head: scan.head,
        takeover: Takeover {
            log_id: identity.log_id,
            segment_bytes: config.segment_bytes,
            highest: chain.highest,
            durable: walked.end,
            next: walked.next,
        },
        orphans,
        holds: scan.holds,
        remembered: scan.remembered,
        predecessor: Predecessor::of_new(disk, files, walked.next.leaf)?,
    })
}

fn take_lock(files: &Files, disk: &dyn Disk) -> Result<Box<dyn Lock>, Error> {
    disk.lock(&files.lock()).map_err(|error| match error {
        LockError::Held { holder } => Error::Locked {
            dir: files.dir.clone(),
            holder: holder.map_or_else(|| "?".to_owned(), |pid| pid.to_string()),
        },
        LockError::Io(source) => Error::disk("lock", &files.lock(), source),
    })
}

/// The log's identity, which must be the configured one, and its signing key, which must be its own.
fn who_signs(config: &Config, files: &Files, disk: &dyn Disk) -> Result<(Identity, Signer), Error> {
    let identity = Identity::read(disk, files)?;
    if succeed::first_origin(&identity.origin) != succeed::first_origin(&config.origin) {
        return Err(Error::Origin {
            dir: files.dir.clone(),
            found: identity.origin,
            expected: config.origin.clone(),
        });
    }
    let signer = files::read_signer(disk, files, &identity.origin)?;
    if *signer.verifier_key() != identity.verifier {
        return Err(Error::Damaged(files.log_key()));
    }
    Ok((identity, signer))
}

/// What was read and is not below a mark may lie in the kernel's memory only: after a crash of the
/// process, and even after a sync that failed, when the kernel takes its pages for written. So it is
/// written again, the same bytes in the same place, and synced, before anything is built on it.
fn settle_on_disk(
    disk: &dyn Disk,
    files: &Files,
    mark: Position,
    end: Position,
) -> Result<(), Error> {
    if end.segment == 0 {
        return Ok(());
    }
    let path = files.segment(end.segment);
    let from = if mark.segment == end.segment {
        mark.offset
    } else {
        0
    };
    let settled = disk.open(&path, Access::Write).and_then(|file| {
        let len = usize::try_from(end.offset.saturating_sub(from)).unwrap_or(0);
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, from)?;
        file.write_at(bytes.get(..read).unwrap_or_default(), from)?;
        file.sync()?;
        disk.sync_dir(&files.wal)
    });
    settled.map_err(|source| Error::disk("sync", &path, source))
}

/// Give back what the last run had allocated and not used. The new segment's header says where the old
/// one ends, so nothing depends on this.
pub(super) fn trim(disk: &dyn Disk, files: &Files, takeover: &Takeover) {
    let end = takeover.durable;
    if end.segment == 0 {
        return;
    }
    let trimmed = disk
        .open(&files.segment(end.segment), Access::Write)
        .and_then(|file| file.truncate(end.offset));
    if let Err(error) = trimmed {
        tracing::warn!(error = %error, "cannot trim the last segment of the audit log");
    }
}
