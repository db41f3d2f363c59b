//! TLS for control traffic: the system's authorities and those the config adds, nothing else.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{ClientIdentity, Error, Target};
use crate::disk::read_named;
use crate::secret::Secret;

/// Largest authority file, in bytes.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) fn config(
    extra: Option<&Path>,
    client: Option<&ClientIdentity>,
) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = extra {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| Error::Authority {
                path: path.to_owned(),
                why: format!("a certificate is unusable: {error}"),
            })?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::TlsSetup)?
        .with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = certificates(&client.certificate)?;
            let fault = |why: String| Error::Key {
                path: client.key.clone(),
                why,
            };
            let pem = crate::secret::read_private(&client.key);
            let pem = Secret::new(pem.map_err(|error| fault(error.to_string()))?);
            let key = PrivateKeyDer::from_pem_slice(pem.expose())
                .map_err(|error| fault(format!("it is not PEM: {error}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| fault(format!("it does not fit its certificate: {error}")))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates in a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let fault = |why: String| Error::Authority {
        path: path.to_owned(),
        why,
    };
    let pem = read_named(path, CA_BYTES_MAX).map_err(|e| fault(e.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| fault(format!("it is not PEM: {e}")))?;
    if found.is_empty() {
        return Err(fault("it holds no PEM certificate".to_owned()));
    }
    Ok(found)
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
