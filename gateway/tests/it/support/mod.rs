//! What the stories share: free ports, child processes that do not outlive their test, peers, raw requests.

#![allow(
    dead_code,
    reason = "a helper stays while the stories that use it come and go"
)]

pub(crate) mod caller;
pub(crate) mod child;
pub(crate) mod faults;
pub(crate) mod function;
pub(crate) mod gateway;
pub(crate) mod h2;
pub(crate) mod postgres;
pub(crate) mod raw;
pub(crate) mod recorder;
pub(crate) mod servers;
pub(crate) mod vault;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for a server of a test to come up: a loaded build machine starts an interpreter slowly.
pub(crate) const START_MAX: Duration = Duration::from_secs(60);

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace folder")
        .to_path_buf()
}

/// The folder of the peers' scripts, with what they need installed in it.
pub(crate) fn peers() -> PathBuf {
    let folder = root().join("tests/peers");
    assert!(
        folder.join("node_modules/.stamp").is_file() && folder.join(".venv/stamp").is_file(),
        "the tests' peers are not installed: run scripts/install-test-tools.sh"
    );
    folder
}

/// A loopback address that nobody listens on now. Somebody else may take it before it is used: bind port 0 where
/// the program under test can.
pub(crate) fn free_address() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a free port");
    probe.local_addr().expect("its address")
}

/// Wait until somebody accepts connections at `address`.
pub(crate) fn wait_for(address: SocketAddr) {
    let begin = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        assert!(
            begin.elapsed() < START_MAX,
            "nobody listens on {address} after {START_MAX:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
