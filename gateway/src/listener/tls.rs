//! The server's side of TLS: one crypto provider, TLS 1.2 and 1.3, ALPN `h2` and `http/1.1`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsFiles;
use crate::disk::read_named;
use crate::secret::{SecretError, read_private};

/// Largest file with the listener's certificates, in bytes.
const CHAIN_BYTES_MAX: u64 = 1024 * 1024;

/// Why certificate and key are unusable.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// The certificate file cannot be read or holds no certificate.
    #[error("certificate `{path}`: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The key file cannot be read, or others may read it.
    #[error("key: {0}")]
    KeyFile(#[from] SecretError),
    /// The key file holds no key, or the key does not fit the certificate.
    #[error("key `{path}`: {why}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// A server's certificate and settings; a reload replaces them for new connections.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ArcSwap<rustls::ServerConfig>>);

impl ServerTls {
    /// Load from PEM files, relative to `base`.
    ///
    /// # Errors
    /// [`TlsFault`] that names the file.
    pub fn load(files: &TlsFiles, base: &Path) -> Result<Self, TlsFault> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(server_config(
            files, base,
        )?))))
    }

    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        tokio_rustls::TlsAcceptor::from(self.0.load_full())
    }
}

/// The files that a listener's TLS came from, to be read again.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) tls: ServerTls,
    pub(super) files: TlsFiles,
    pub(super) base: PathBuf,
}

/// What was read again, and is not in force yet.
#[derive(Debug)]
pub struct Renewed {
    tls: ServerTls,
    config: rustls::ServerConfig,
}

impl Certificate {
    /// Read the files again; nothing changes yet.
    ///
    /// # Errors
    /// [`TlsFault`] that names the file.
    pub fn read(&self) -> Result<Renewed, TlsFault> {
        Ok(Renewed {
            tls: self.tls.clone(),
            config: server_config(&self.files, &self.base)?,
        })
    }
}

impl Renewed {
    /// From now on new connections are shown this one.
    pub fn put_in_force(self) {
        self.tls.0.store(Arc::new(self.config));
    }
}

/// When a listener's certificate ends, in seconds since 1970.
///
/// # Errors
/// [`TlsFault`] that names the file; also when certificate and key do not fit.
pub fn not_after(files: &TlsFiles, base: &Path) -> Result<i64, TlsFault> {
    server_config(files, base)?;
    let leaf = chain(&base.join(&files.certificate))?;
    let end = leaf.first().and_then(|leaf| wire::x509::not_after(leaf));
    end.ok_or_else(|| TlsFault::Certificate {
        path: base.join(&files.certificate),
        why: "its end cannot be read".to_owned(),
    })
}

/// The certificates of a PEM file, the listener's own first; never none.
fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let bad = |why: String| TlsFault::Certificate {
        path: path.to_owned(),
        why,
    };
    let pem = read_named(path, CHAIN_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if chain.is_empty() {
        return Err(bad("no certificate in it".to_owned()));
    }
    Ok(chain)
}

fn server_config(files: &TlsFiles, base: &Path) -> Result<rustls::ServerConfig, TlsFault> {
    let chain = chain(&base.join(&files.certificate))?;
    let path = base.join(&files.key);
    let bad = |why: String| TlsFault::Key {
        path: path.clone(),
        why,
    };
    let pem = read_private(&path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| bad(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| bad(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed; a call must not be.
    config.max_early_data_size = 0;
    Ok(config)
}
