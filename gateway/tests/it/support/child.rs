//! Child processes: killed when dropped, or by the kernel when the test's process dies.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child as StdChild, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// Most output that is kept of one child, in bytes.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A running child process and what it has written so far.
#[derive(Debug)]
pub(crate) struct Child {
    inner: StdChild,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Child {
    /// Start `command`; its output (both streams, as it comes) is kept.
    pub(crate) fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut inner = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(inner.stdout.take().expect("its stdout"), &output);
        collect(inner.stderr.take().expect("its stderr"), &output);
        Self { inner, output }
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.inner.id()
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().expect("the output")).into_owned()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.inner.try_wait().expect("its state").is_none()
    }

    /// `kill -9`, and wait until it is gone.
    pub(crate) fn kill(&mut self) {
        // It may be gone already: then there is nothing to kill.
        let _ = self.inner.kill();
        let _ = self.inner.wait();
    }

    /// Ask it to stop as an operator would, and wait for its exit.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.inner.wait().expect("its exit status")
    }

    /// Send a signal by name (`TERM`, `HUP`, `STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.id().to_string())
            .status();
        assert!(status.expect("kill starts").success(), "signal {name}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- output of child {} ---\n{}", self.id(), self.output());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, to: &Arc<Mutex<Vec<u8>>>) {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut chunk = [0_u8; 8192];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let mut kept = to.lock().expect("the output");
            let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(length);
            kept.extend_from_slice(&chunk[..room]);
        }
    });
}

/// Run a program to its end and return its standard output; a failure shows both streams.
pub(crate) fn run(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(
        done.status.success(),
        "{command:?}: {}\n{out}\n{err}",
        done.status
    );
    out.into_owned()
}
