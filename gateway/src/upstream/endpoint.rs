//! Where a connection's function lives, and how to get a socket to it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::disk::read_named;

/// Largest file with authorities, in bytes.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long connecting (and the TLS handshake, each) may take by default.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the first byte of an answer may take by default.
pub(super) const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);
/// How long an answer may stand still by default.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// TLS towards a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the authorities that may vouch for the function; replaces the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Name to expect in the certificate, when it is not the upstream's host.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// How long to wait for a function. No limit stands on the whole of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Seconds to connect. Default: 5.
    #[serde(default)]
    #[schemars(range(min = 1, max = 60))]
    pub connect_s: Option<u64>,
    /// Seconds until the answer's head. Default: 30.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3600))]
    pub first_byte_s: Option<u64>,
    /// Seconds that the answer may stand still. Default: 60.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3600))]
    pub idle_s: Option<u64>,
}

/// Why an upstream is unusable as configured.
#[derive(Debug, thiserror::Error)]
pub enum EndpointFault {
    /// Not a URL that we can call.
    #[error("upstream `{url}`: {why}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong, and the mend.
        why: &'static str,
    },
    /// TLS files.
    #[error("upstream authority file `{path}`: {why}")]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Why no socket to the function could be had; nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve.
    #[error("`{host}` does not resolve: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// The name resolves only to addresses that are never called.
    #[error(
        "`{host}` resolves to `{address}`, which is never called (link-local, metadata, unspecified or the gateway itself)"
    )]
    Forbidden {
        /// The host.
        host: String,
        /// The first such address.
        address: IpAddr,
    },
    /// Nobody answers.
    #[error("connecting to `{host}`: {source}")]
    Connect {
        /// The host.
        host: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too slow.
    #[error("connecting to `{host}` took longer than {limit:?}")]
    Timeout {
        /// The host.
        host: String,
        /// The limit.
        limit: Duration,
    },
    /// HTTP could not be started on the socket.
    #[error("starting HTTP with `{host}`: {source}")]
    Handshake {
        /// The host.
        host: String,
        /// What the library said.
        source: hyper::Error,
    },
}

/// A socket to a function.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// A connection's upstream, resolved from config.
#[derive(Debug)]
pub struct Endpoint {
    host: String,
    port: u16,
    base: String,
    tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    http2: bool,
    own: Vec<SocketAddr>,
    pub(super) connect_max: Duration,
    pub(super) first_byte_max: Duration,
    pub(super) idle_max: Duration,
}

impl Endpoint {
    /// From `http(s)://host[:port][/base]`.
    ///
    /// # Errors
    /// [`EndpointFault`] that says what is wrong and how to mend it.
    pub fn new(
        url: &str,
        tls: &TlsConfig,
        timeouts: &Timeouts,
        http2: bool,
        base: &Path,
        own: &[SocketAddr],
    ) -> Result<Self, EndpointFault> {
        let bad = |why| EndpointFault::Url {
            url: url.to_owned(),
            why,
        };
        let uri: http::Uri = url.parse().map_err(|_| bad("not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(bad("write `http://host:port` or `https://host:port`")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad(
                "user information does not belong into a URL; use `credential`",
            ));
        }
        if uri.query().is_some() {
            return Err(bad("a query does not belong into an upstream URL"));
        }
        // A port that cannot be read must not quietly become the scheme's own.
        if authority.as_str() != authority.host()
            && authority.port_u16().is_none_or(|port| port == 0)
        {
            return Err(bad("its port is not 1 to 65535"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let path = uri.path().trim_end_matches('/').to_owned();
        let tls = if secure {
            let name = tls.server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name)
                .map_err(|_| bad("the host is not a DNS name or IP address"))?;
            Some((client_config(tls, base)?, name))
        } else {
            None
        };
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        Ok(Self {
            host,
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            base: path,
            tls,
            http2,
            own: own.to_vec(),
            connect_max: seconds(timeouts.connect_s, CONNECT_MAX),
            first_byte_max: seconds(timeouts.first_byte_s, FIRST_BYTE_MAX),
            idle_max: seconds(timeouts.idle_s, IDLE_MAX),
        })
    }

    /// Path prefix at the function's side, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the hop is TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// `host` or `host:port` as it stands in `Host`.
    pub fn authority(&self) -> String {
        let default = if self.tls.is_some() { 443 } else { 80 };
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == default {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// `scheme://authority`, for `Location` and the record.
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Whether HTTP/2 is spoken without negotiation.
    pub(super) const fn prior_knowledge(&self) -> bool {
        self.http2 && self.tls.is_none()
    }

    /// Resolve, check every address, connect to the checked one.
    pub(super) async fn connect(&self) -> Result<(Socket, bool), ConnectError> {
        let timeout = || ConnectError::Timeout {
            host: self.host.clone(),
            limit: self.connect_max,
        };
        let stream = tokio::time::timeout(self.connect_max, self.tcp())
            .await
            .map_err(|_| timeout())??;
        let Some((config, name)) = &self.tls else {
            return Ok((Socket::Plain(stream), self.http2));
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let handshake = connector.connect(name.clone(), stream);
        let stream = tokio::time::timeout(self.connect_max, handshake)
            .await
            .map_err(|_| timeout())?
            .map_err(|source| ConnectError::Connect {
                host: self.host.clone(),
                source,
            })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Socket::Tls(Box::new(stream)), http2))
    }

    /// Connect, and end it without a byte of a request: when its certificate ends, in seconds since 1970; `None`
    /// without TLS.
    pub(super) async fn probe(&self) -> Result<Option<i64>, ConnectError> {
        let (socket, _) = self.connect().await?;
        Ok(match socket {
            Socket::Plain(_) => None,
            Socket::Tls(stream) => {
                let chain = stream.get_ref().1.peer_certificates();
                let leaf = chain.and_then(<[CertificateDer<'_>]>::first);
                leaf.and_then(|leaf| wire::x509::not_after(leaf))
            }
        })
    }

    async fn tcp(&self) -> Result<TcpStream, ConnectError> {
        let host = || self.host.clone();
        let found = tokio::net::lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|source| ConnectError::Resolve {
                host: host(),
                source,
            })?;
        let mut last = None;
        for address in found {
            if is_never_called(address.ip()) || self.is_own(address) {
                return Err(ConnectError::Forbidden {
                    host: host(),
                    address: address.ip(),
                });
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "this room is the only door to functions"
            )]
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Small writes must not wait for acknowledgements.
                    stream
                        .set_nodelay(true)
                        .map_err(|source| ConnectError::Connect {
                            host: host(),
                            source,
                        })?;
                    return Ok(stream);
                }
                Err(source) => last = Some(source),
            }
        }
        let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into());
        Err(ConnectError::Connect {
            host: host(),
            source,
        })
    }

    /// Calls that come back to the gateway's own listeners would run in a circle.
    fn is_own(&self, address: SocketAddr) -> bool {
        self.own.iter().any(|own| {
            own.port() == address.port()
                && (own.ip() == address.ip()
                    || (own.ip().is_unspecified() && address.ip().is_loopback()))
        })
    }
}

/// Addresses that no function lives at: link-local (cloud metadata among them) and unspecified.
fn is_never_called(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            // 100.100.100.200 and 192.0.0.192 are metadata services outside the link-local range.
            ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || ip.is_multicast()
                || [[100, 100, 100, 200], [192, 0, 0, 192]].contains(&ip.octets())
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unicast_link_local()
                || ip.segments()[..4] == [0xfd00, 0x0ec2, 0, 0]
        }
    }
}

fn client_config(tls: &TlsConfig, base: &Path) -> Result<Arc<rustls::ClientConfig>, EndpointFault> {
    let mut roots = rustls::RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            let path = base.join(path);
            let bad = |why: String| EndpointFault::Ca {
                path: path.clone(),
                why,
            };
            let pem = read_named(&path, CA_BYTES_MAX).map_err(|error| bad(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| bad(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(bad("no certificate in it".to_owned()));
            }
        }
        None => {
            for certificate in rustls_native_certs::load_native_certs().certs {
                // A root that the library cannot read can vouch for nobody: leaving it out is safe.
                if let Err(error) = roots.add(certificate) {
                    tracing::debug!(%error, "a system root certificate was left out");
                }
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| EndpointFault::Ca {
            path: base.to_owned(),
            why: error.to_string(),
        })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_link_local_addresses_are_never_called() {
        for text in [
            "169.254.169.254",
            "0.0.0.0",
            "::",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(is_never_called(text.parse().unwrap()), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "::1",
            "fd12::1",
            "93.184.216.34",
        ] {
            assert!(!is_never_called(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_upstream_url_says_what_is_wrong_with_it() {
        let text = |url: &str| {
            Endpoint::new(
                url,
                &TlsConfig::default(),
                &Timeouts::default(),
                false,
                Path::new("."),
                &[],
            )
            .map(|endpoint| endpoint.origin())
            .map_err(|fault| fault.to_string())
        };
        assert_eq!(text("http://a:8080/base/").unwrap(), "http://a:8080");
        assert_eq!(text("http://[::1]:81").unwrap(), "http://[::1]:81");
        assert!(text("ftp://a").unwrap_err().contains("http://host:port"));
        assert!(text("http://u:p@a").unwrap_err().contains("credential"));
        assert!(text("http://a/?x=1").unwrap_err().contains("query"));
    }
}
