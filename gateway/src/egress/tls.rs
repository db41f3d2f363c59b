//! TLS for control traffic: the system's authorities and those the config adds, nothing else.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Error, Target};
use crate::disk::read_named;

/// Largest authority file, in bytes.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn config(extra: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = extra {
        let fault = |why: String| Error::Authority {
            path: path.to_owned(),
            why,
        };
        let pem = read_named(path, CA_BYTES_MAX).map_err(|e| fault(e.to_string()))?;
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|e| fault(format!("it is not PEM: {e}")))?;
            roots
                .add(certificate)
                .map_err(|e| fault(format!("a certificate is unusable: {e}")))?;
            found += 1;
        }
        if found == 0 {
            return Err(fault("it holds no PEM certificate".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::TlsSetup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(super) async fn handshake(
    config: &Arc<ClientConfig>,
    target: &Target,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Error> {
    let name = ServerName::try_from(target.host.clone()).map_err(|_| Error::Url {
        url: target.url(),
        why: "its host cannot stand in a certificate",
    })?;
    TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(|source| Error::Tls {
            host: target.host.clone(),
            source,
        })
}
