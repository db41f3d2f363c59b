//! One descriptor in reserve, for the day when there are none left.
//!
//! A connection that cannot be accepted stays in the system's queue, and its caller waits for nothing.
//! The reserve is given up for a moment to take it out and close it, so that the caller learns at once.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rustix::io::Errno;
use tokio::net::TcpListener;

/// How often a listener that cannot accept says so.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Whether the process or the machine has no descriptors left.
pub(super) fn exhausted(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// A descriptor that is used for nothing.
#[derive(Debug)]
pub(super) struct Reserve {
    kept: Option<File>,
    /// When it was last told, and failures since.
    told: Option<Instant>,
    failures: u64,
}

impl Reserve {
    pub(super) fn new() -> Self {
        Self {
            kept: open(),
            told: None,
            failures: 0,
        }
    }

    /// Take the next waiting connection and close it. False when none could be taken.
    pub(super) fn turn_away(&mut self, socket: &TcpListener) -> bool {
        self.kept = None;
        let taken = socket.accept().now_or_never();
        let turned_away = matches!(&taken, Some(Ok(_)));
        drop(taken);
        self.kept = open();
        turned_away
    }

    /// Say that connections cannot be accepted, now and then.
    pub(super) fn tell(&mut self, listener: SocketAddr, error: &io::Error) {
        self.failures += 1;
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        let connections = self.failures;
        if exhausted(error) {
            tracing::warn!(%listener, connections, %error,
                "there are no descriptors left (`ulimit -n`): new connections are turned away");
        } else {
            tracing::warn!(%listener, connections, %error, "connections could not be accepted");
        }
        self.told = Some(Instant::now());
        self.failures = 0;
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}
