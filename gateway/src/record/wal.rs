//! The log's writer: one thread that puts frames on stable storage in the order in which they come.
//!
//! Everything that waits when a sync ends goes into the next one. A segment whose write or sync failed
//! is poisoned: nothing is written to it again, a new one takes over where the old one was last known
//! stable, and what was in flight is written there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tlog::tree::Hash;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::SEGMENT_BYTES_MIN;
use super::files::Files;
use super::frame::{self, Kind, Position};
use super::health::Shared;
use super::keyring::Keyring;
use super::segment::{self, Expect, HEADER_BYTES, Header, Link};
use crate::disk::{Access, Disk, File};

/// Items that one sync covers at most.
const BATCH_ITEMS_MAX: usize = 1024;

/// Bytes that one sync covers, beyond the last item.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long records that nobody waits for are gathered before they are synced; one that somebody waits
/// for takes them along at once.
const GATHER_MAX: Duration = Duration::from_millis(10);

/// Pauses between attempts while nothing can be written grow up to this.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Attempts to write what is left once the recorder is closed.
const CLOSING_ATTEMPTS_MAX: u32 = 3;

/// Encoded frames that belong together, numbered.
#[derive(Debug)]
pub(super) struct Item {
    /// Whole frames.
    pub(super) frames: Vec<u8>,
    /// Numbers of the first frame and leaf.
    pub(super) start: Expect,
    /// Numbers behind the last frame and leaf.
    pub(super) end: Expect,
    /// Hash of the leaf, if there is one: an item has at most one.
    pub(super) leaf: Option<Hash>,
    /// Who waits for it.
    pub(super) ack: Option<oneshot::Sender<u64>>,
    /// Room in the queue that ends when this is written.
    pub(super) room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: Box<dyn File>,
    capacity: u64,
    /// Everything before this offset is known to be on stable storage.
    durable: u64,
    poisoned: bool,
}

/// The writer's state. Owned by its thread.
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    files: Files,
    keyring: Arc<Keyring>,
    shared: Arc<Shared>,
    log_id: [u8; 16],
    segment_bytes: u64,
    /// Highest number that any segment file bears.
    highest: u64,
    open: Option<Open>,
    /// Where the log's stable part ends.
    durable: Position,
    /// Numbers of what comes after the stable part.
    next: Expect,
}

/// Where a writer takes over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takeover {
    pub(super) log_id: [u8; 16],
    pub(super) segment_bytes: u64,
    pub(super) highest: u64,
    pub(super) durable: Position,
    pub(super) next: Expect,
}

/// What one sync covers: everything that waits, and while nobody waits for any of it, what comes within
/// [`GATHER_MAX`].
fn gather(first: Item, items: &Receiver<Item>) -> Vec<Item> {
    let until = Instant::now() + GATHER_MAX;
    let mut waited_for = first.ack.is_some();
    let mut bytes = first.frames.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_ITEMS_MAX && bytes < BATCH_BYTES_MAX {
        let item = if waited_for {
            items.try_recv().ok()
        } else {
            let left = until.saturating_duration_since(Instant::now());
            items.recv_timeout(left).ok()
        };
        let Some(item) = item else { break };
        waited_for |= item.ack.is_some();
        bytes += item.frames.len();
        batch.push(item);
    }
    batch
}

impl Writer {
    /// A writer that goes on behind `takeover.durable`, in a new segment that is there when this
    /// returns.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        files: Files,
        keyring: Arc<Keyring>,
        shared: Arc<Shared>,
        takeover: Takeover,
    ) -> io::Result<Self> {
        let mut writer = Self {
            disk,
            files,
            keyring,
            shared,
            log_id: takeover.log_id,
            segment_bytes: takeover.segment_bytes,
            highest: takeover.highest,
            open: None,
            durable: takeover.durable,
            next: takeover.next,
        };
        writer.start_segment()?;
        Ok(writer)
    }

    /// Write what comes until nobody can send any more.
    pub(super) fn run(mut self, items: &Receiver<Item>) {
        while let Ok(first) = items.recv() {
            let batch = gather(first, items);
            if !self.commit(&batch) {
                // Only when closed: those who wait learn it from their dropped channel.
                return;
            }
            self.tell(batch);
        }
        self.finish();
    }

    fn tell(&self, batch: Vec<Item>) {
        let mut tree = self.shared.lock_tree();
        batch.iter().filter_map(|item| item.leaf).for_each(|leaf| {
            tree.push(leaf);
        });
        drop(tree);
        for item in batch {
            if let Some(ack) = item.ack {
                // Whoever asked may be gone; the record stands all the same.
                let _ = ack.send(item.start.leaf);
            }
            drop(item.room);
        }
    }

    /// Write and sync until it has succeeded. False only when the recorder is closed and the disk
    /// refuses.
    fn commit(&mut self, batch: &[Item]) -> bool {
        let mut attempts = 0;
        loop {
            match self.try_commit(batch) {
                Ok(()) => {
                    self.shared.write_failed.store(false, Ordering::Release);
                    return true;
                }
                Err(error) => {
                    self.shared.failed();
                    tracing::error!(
                        error = %error,
                        segment = self.durable.segment,
                        attempt = attempts,
                        "cannot write the audit log; no call is admitted"
                    );
                    if let Some(open) = &mut self.open {
                        open.poisoned = true;
                    }
                }
            }
            attempts += 1;
            if self.shared.closed.load(Ordering::Acquire) && attempts >= CLOSING_ATTEMPTS_MAX {
                return false;
            }
            if attempts > 1 {
                std::thread::sleep((Duration::from_millis(10) * attempts).min(RETRY_PAUSE_MAX));
            }
        }
    }

    fn try_commit(&mut self, batch: &[Item]) -> io::Result<()> {
        self.shared.busy();
        self.keyring.persist(self.disk.as_ref())?;
        if self.open.as_ref().is_none_or(|open| open.poisoned) {
            self.verify_poisoned();
            self.start_segment()?;
        }
        let mut buffer = Vec::new();
        let mut after = self.next;
        for item in batch {
            // What an earlier attempt has put on stable storage is not written twice.
            if item.end.seq <= self.next.seq {
                continue;
            }
            if item.start == after && self.fits(&buffer, item.frames.len()) {
                self.begin_batch(&mut buffer, after);
                buffer.extend_from_slice(&item.frames);
                after = item.end;
                continue;
            }
            let mut rest = item.frames.as_slice();
            while let Ok(frame) = frame::parse(rest) {
                let (bytes, behind) = rest.split_at_checked(frame.len).unwrap_or((rest, &[]));
                rest = behind;
                if frame.seq < after.seq {
                    continue;
                }
                if !self.fits(&buffer, bytes.len()) {
                    self.flush(&mut buffer, after)?;
                    self.start_segment()?;
                }
                self.begin_batch(&mut buffer, after);
                buffer.extend_from_slice(bytes);
                after.seq += 1;
                after.leaf += u64::from(frame.kind == Kind::Leaf);
            }
        }
        self.flush(&mut buffer, after)?;
        self.shared.done();
        Ok(())
    }

    fn fits(&self, buffer: &[u8], more: usize) -> bool {
        // A batch frame may have to be put before it.
        let bytes = buffer.len() + more + 64;
        self.open
            .as_ref()
            .is_some_and(|open| open.durable + bytes as u64 <= open.capacity)
    }

    fn begin_batch(&self, buffer: &mut Vec<u8>, after: Expect) {
        if buffer.is_empty() {
            let mark = frame::batch_payload(self.durable);
            frame::put(buffer, Kind::Batch, after.seq, &[&mark]);
        }
    }

    /// Write and sync the buffer.
    fn flush(&mut self, buffer: &mut Vec<u8>, after: Expect) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let open = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        open.file.write_at(buffer, open.durable)?;
        open.file.sync()?;
        open.durable += buffer.len() as u64;
        self.durable.offset = open.durable;
        self.next = after;
        buffer.clear();
        Ok(())
    }

    /// After an error: does the disk still have what it confirmed?
    fn verify_poisoned(&self) {
        let Some(open) = self.open.as_ref() else {
            return;
        };
        open.file.forget_cached();
        let path = self.files.segment(open.number);
        let same = segment::read_file(self.disk.as_ref(), &path)
            .ok()
            .is_some_and(|bytes| confirms(&bytes, open));
        if !same {
            self.shared.damaged.store(true, Ordering::Release);
            tracing::error!(
                segment = open.number,
                "the disk lost records of the audit log that it had confirmed"
            );
        }
    }

    /// Go on in a new segment, behind what is stable.
    fn start_segment(&mut self) -> io::Result<()> {
        self.highest += 1;
        let number = self.highest;
        let path = self.files.segment(number);
        let (file, capacity) = self.take_zeroed(&path)?;
        let started = self.put_header(file.as_ref(), number);
        let identity = match started.and_then(|()| file.identity()) {
            Ok(identity) => identity,
            Err(error) => {
                // It holds nothing and takes room; if it cannot go, its header makes no claim that is
                // not true.
                let _ = self.disk.remove(&path);
                return Err(error);
            }
        };
        *self.shared.lock_current() = Some((path, identity));
        self.open = Some(Open {
            number,
            file,
            capacity,
            durable: HEADER_BYTES,
            poisoned: false,
        });
        self.durable = Position {
            segment: number,
            offset: HEADER_BYTES,
        };
        Ok(())
    }

    fn put_header(&self, file: &dyn File, number: u64) -> io::Result<()> {
        let header = Header {
            log_id: self.log_id,
            number,
            first_seq: self.next.seq,
            first_leaf: self.next.leaf,
            previous: self.durable,
        };
        file.write_at(&header.to_bytes(), 0)?;
        file.sync()?;
        // Before this no frame may be written: the name could be lost, and with it the frames.
        self.disk.sync_dir(&self.files.wal)
    }

    /// A zeroed file under this name: the spare, or a new one, or at the very end the reserve.
    fn take_zeroed(&self, path: &Path) -> io::Result<(Box<dyn File>, u64)> {
        let spare = self.shared.spare_ready.swap(false, Ordering::AcqRel);
        let adopted = spare.then(|| self.adopt(&self.files.spare(), path));
        if let Some(Ok(taken)) = adopted {
            return Ok(taken);
        }
        match self.disk.create_zeroed(path, self.segment_bytes) {
            Ok(file) => Ok((file, self.segment_bytes)),
            Err(error) => {
                let taken = self.adopt(&self.files.reserve(), path).map_err(|_| error)?;
                self.shared.no_space.store(true, Ordering::Release);
                tracing::error!("the audit log uses its reserve; no call is admitted");
                Ok(taken)
            }
        }
    }

    fn adopt(&self, from: &Path, path: &Path) -> io::Result<(Box<dyn File>, u64)> {
        let file = self.disk.open(from, Access::Write)?;
        let capacity = file.len_bytes()?;
        if capacity < SEGMENT_BYTES_MIN {
            return Err(io::Error::other("too short for a segment"));
        }
        self.disk.rename(from, path)?;
        Ok((file, capacity))
    }

    /// A last mark, so that even the newest records stand below one.
    fn finish(&mut self) {
        let mut buffer = Vec::new();
        self.begin_batch(&mut buffer, self.next);
        let usable = self.open.as_ref().is_some_and(|open| !open.poisoned);
        if !usable || !self.fits(&[], buffer.len()) {
            return;
        }
        if let Err(error) = self.flush(&mut buffer, self.next) {
            tracing::warn!(error = %error, "cannot write the audit log's last mark");
        }
    }
}

/// Whether the segment's stable part reads back as whole frames.
fn confirms(bytes: &[u8], open: &Open) -> bool {
    let Some(header) = Header::parse(bytes) else {
        return false;
    };
    let link = Link {
        header,
        end: Some(open.durable),
    };
    let mut expect = Expect {
        seq: header.first_seq,
        leaf: header.first_leaf,
    };
    let frames = usize::try_from(HEADER_BYTES)
        .ok()
        .and_then(|at| bytes.get(at..));
    segment::walk_segment(
        &link,
        (HEADER_BYTES, frames.unwrap_or_default()),
        Position::default(),
        &mut expect,
        &mut |_, _| Ok(()),
    )
    .is_ok()
}
