//! The demo: an identity provider and sample functions, for looking around on one machine.
//!
//! Owns the demo's people, keys and data. Refuses to listen anywhere but on loopback. Called by `cli` for
//! `callgate demo`; exists only with the cargo feature `demo`, which releases do not have. Everything it issues is
//! marked: the issuer's path, the key's id and a claim say `callgate-demo`, so that `serve` can refuse it.

pub mod functions;
pub mod idp;
pub mod people;
pub mod sign_in;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use tokio::net::TcpListener;

pub use people::{Audience, Person};

/// Longest file that the demo reads back from its data folder, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// The file in the data folder that holds the secret of the console's client.
pub const CONSOLE_SECRET_FILE: &str = "demo-console-secret";

/// What went wrong in the demo.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The demo's servers have no protection of their own.
    #[error("the demo listens on loopback only: `{0}` is another address")]
    NotLoopback(SocketAddr),
    /// The port is taken, for one.
    #[error("cannot listen on `{address}`: {source}; choose another port or stop what uses it")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file of the demo's data folder.
    #[error("demo file `{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The key file holds something else.
    #[error("demo key `{0}` cannot be used: delete the file to have a new one made")]
    Key(PathBuf),
    /// Signing a token.
    #[error("a demo token could not be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    /// No such name.
    #[error("`{0}` is nobody in the demo: use alice, bob, ci or agent")]
    Nobody(String),
    /// The server ended.
    #[error("a demo server ended: {0}")]
    Serve(std::io::Error),
}

/// A token for one of the demo's people and workloads, signed with the demo's key. The issuer in it is the one that
/// last served from `data`; before the first one, that of [`idp::DEFAULT_LISTEN`].
pub fn mint(data: &Path, person: Person, audience: Audience) -> Result<String, Error> {
    idp::Idp::open(data)?.token(person, audience.as_str())
}

/// Write the secret of the console's client into the demo's folder, where the demo's config looks for it.
pub fn console_secret(data: &Path) -> Result<(), Error> {
    let secret = || Ok(sign_in::CLIENT_SECRET.as_bytes().to_vec());
    read_or_make(&data.join(CONSOLE_SECRET_FILE), secret).map(|_| ())
}

/// Listen on a loopback address.
async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the demo's servers are peers of the gateway, not part of it"
    )]
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address, source })
}

/// The bytes of a file in the data folder; made by `make` and readable by the owner only, if it is not there.
fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, Error>,
) -> Result<Vec<u8>, Error> {
    let fault = |source| Error::File {
        path: path.to_path_buf(),
        source,
    };
    match fs::metadata(path) {
        Ok(meta) if meta.len() > FILE_BYTES_MAX => return Err(Error::Key(path.to_path_buf())),
        Ok(_) => return fs::read(path).map_err(fault),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
    }
    let bytes = make()?;
    match write(path, &bytes, true) {
        // Another process of the same demo was faster.
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::read(path).map_err(fault)
        }
        other => other.map(|()| bytes),
    }
}

/// Write a file of the data folder as a whole: it appears complete or not at all.
fn write(path: &Path, bytes: &[u8], new: bool) -> Result<(), Error> {
    let fault = |source| Error::File {
        path: path.to_path_buf(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(fault)?;
    let scratch = path.with_extension(format!("new-{}-{}", std::process::id(), random_hex()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&scratch)
        .map_err(fault)?;
    let placed = file.write_all(bytes).and_then(|()| {
        if new {
            fs::hard_link(&scratch, path)
        } else {
            fs::rename(&scratch, path)
        }
    });
    if new || placed.is_err() {
        // The link stands; the scratch name is of no use, and its absence no fault.
        let _ = fs::remove_file(&scratch);
    }
    placed.map_err(fault)
}

/// 128 random bits as hex.
fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    // The provider aborts rather than return weak bytes; an error here is unheard of and would repeat an id.
    if rand::fill(&mut bytes).is_err() {
        return uuid::Uuid::now_v7().simple().to_string();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
