//! The one client for control traffic: key sets, discovery documents, webhooks, object stores.
//!
//! Owns the guard against being sent elsewhere: addresses are checked after resolving and then
//! connected to as checked, redirects are never followed, the proxy variables of the environment are
//! never read, and every exchange has a limit in bytes and in time. Refuses plaintext beyond loopback
//! unless the config asks for it, and every metadata or link-local address whoever names it. Functions
//! are not called from here: that is `upstream`.

pub mod address;
mod mail;
mod stream;
mod target;
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use address::Class;
pub use mail::MailStream;
pub use target::{Named, Target};

/// Addresses of one host that are tried.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Addresses of one host that are looked at.
const ADDRESSES_MAX: usize = 64;
/// Response head, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Response header fields.
const HEADER_FIELDS_MAX: usize = 100;

/// What the client may do beside the rules that nobody can turn off.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// PEM file with further certificate authorities, beside the system's.
    pub ca: Option<PathBuf>,
    /// The gateway's own listeners: never called.
    pub own: Vec<SocketAddr>,
}

/// What this side of a TLS connection shows.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with its key, which only its owner may read.
    pub key: PathBuf,
}

/// Limits of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Response body, in bytes.
    pub bytes_max: usize,
    /// The whole exchange: resolving, connecting, TLS, request, response.
    pub total: Duration,
}

/// A whole response; whether its status is good is the caller's to judge (3xx never arrives here).
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, at most [`Limits::bytes_max`].
    pub body: Bytes,
}

/// Why nothing came back. No text repeats anything that the far side sent, but addresses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be fetched.
    #[error("`{url}` cannot be fetched: {why}")]
    Url {
        /// As given, shortened.
        url: String,
        /// What is wrong, and the mend.
        why: &'static str,
    },
    /// A file of certificates.
    #[error("certificate file `{path}`: {why}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A key file.
    #[error("key file `{path}`: {why}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    TlsSetup(rustls::Error),
    /// The name does not resolve.
    #[error("`{host}` does not resolve: {source}")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        source: std::io::Error,
    },
    /// The host is, or resolves to, an address that is not called.
    #[error("`{host}` leads to `{address}`, which {why}")]
    Forbidden {
        /// The host.
        host: String,
        /// The address.
        address: IpAddr,
        /// Why it is not called.
        why: &'static str,
    },
    /// No address answered.
    #[error("connecting to `{host}`: {source}")]
    Connect {
        /// The host.
        host: String,
        /// What the last address said.
        source: std::io::Error,
    },
    /// TLS failed.
    #[error("TLS with `{host}`: {source}")]
    Tls {
        /// The host.
        host: String,
        /// What the library said.
        source: std::io::Error,
    },
    /// A mail server does not go over to TLS.
    #[error("mail server `{host}`: {why}; it was told nothing but `EHLO` and `STARTTLS`")]
    StartTls {
        /// The host.
        host: String,
        /// What it did.
        why: &'static str,
    },
    /// HTTP failed.
    #[error("HTTP with `{host}`: {source}")]
    Http {
        /// The host.
        host: String,
        /// What the library said.
        source: hyper::Error,
    },
    /// A stream broke off before the far side had taken all of it.
    #[error("`{host}` did not take all of it: {source}")]
    Stream {
        /// The host.
        host: String,
        /// What the system or the library said.
        source: std::io::Error,
    },
    /// A redirect, which is never followed.
    #[error(
        "`{host}` answered with a redirect ({status}), which is never followed: configure the final URL"
    )]
    Redirect {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
    /// The body is larger than the limit.
    #[error("`{host}` answered with more than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The body is encoded although that was not asked for.
    #[error("`{host}` answered with an encoded body that was not asked for")]
    Encoded {
        /// The host.
        host: String,
    },
    /// The whole exchange took too long.
    #[error("`{host}` took longer than {limit:?}")]
    Timeout {
        /// The host.
        host: String,
        /// The limit.
        limit: Duration,
    },
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    tls: Arc<rustls::ClientConfig>,
    own: Arc<[SocketAddr]>,
    resolver: Resolver,
}

/// A host's addresses, as a test answers.
#[cfg(test)]
type Answers = Arc<dyn Fn(&str) -> Vec<IpAddr> + Send + Sync>;

/// Where addresses come from.
#[derive(Clone)]
enum Resolver {
    System,
    /// Tests: a function from host to addresses, called once for each exchange.
    #[cfg(test)]
    Given(Answers),
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl Egress {
    /// A client with the system's certificate authorities and those of the policy.
    ///
    /// # Errors
    /// [`Error::Authority`] or [`Error::TlsSetup`].
    pub fn new(policy: &Policy) -> Result<Self, Error> {
        Ok(Self {
            tls: tls::config(policy.ca.as_deref(), None)?,
            own: policy.own.clone().into(),
            resolver: Resolver::System,
        })
    }

    /// The same client that trusts the authorities in `ca` as well (PEM).
    ///
    /// # Errors
    /// [`Error::Authority`] when the file is missing or holds no certificate.
    pub fn with_ca(&self, ca: &std::path::Path) -> Result<Self, Error> {
        self.with_tls(Some(ca), None)
    }

    /// The same client with further authorities (PEM), or with a certificate of its own.
    ///
    /// # Errors
    /// [`Error::Authority`] or [`Error::Key`] when a file is missing or cannot be used.
    pub fn with_tls(
        &self,
        ca: Option<&std::path::Path>,
        client: Option<&ClientIdentity>,
    ) -> Result<Self, Error> {
        Ok(Self {
            tls: tls::config(ca, client)?,
            ..self.clone()
        })
    }

    /// Fetch a document.
    ///
    /// # Errors
    /// [`Error`]: refused by the guard, unreachable, redirected, too large or too slow.
    pub async fn get(&self, target: &Target, limits: Limits) -> Result<Response, Error> {
        let request = request(Method::GET, target, &HeaderMap::new(), Bytes::new())?;
        self.exchange(target, request, limits).await
    }

    /// Send a request of any method.
    ///
    /// # Errors
    /// As [`Egress::get`]; what was sent may have been received all the same.
    pub async fn send(
        &self,
        method: Method,
        target: &Target,
        headers: &HeaderMap,
        body: Bytes,
        limits: Limits,
    ) -> Result<Response, Error> {
        let request = request(method, target, headers, body)?;
        self.exchange(target, request, limits).await
    }

    /// Send a document.
    ///
    /// # Errors
    /// As [`Egress::get`]; what was sent may have been received all the same.
    pub async fn post(
        &self,
        target: &Target,
        headers: &HeaderMap,
        body: Bytes,
        limits: Limits,
    ) -> Result<Response, Error> {
        let request = request(Method::POST, target, headers, body)?;
        self.exchange(target, request, limits).await
    }

    async fn exchange(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Response, Error> {
        let whole = async {
            let addresses = self.addresses(target).await?;
            let stream = connect(target, &addresses).await?;
            if target.tls {
                let stream = tls::handshake(&self.tls, target, stream).await?;
                talk(target, stream, request, limits.bytes_max).await
            } else {
                talk(target, stream, request, limits.bytes_max).await
            }
        };
        let slow = |_| Error::Timeout {
            host: target.host.clone(),
            limit: limits.total,
        };
        tokio::time::timeout(limits.total, whole)
            .await
            .map_err(slow)?
    }

    /// Every address of the host, each of them checked: one bad address condemns the name.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, Error> {
        let failed = |source| Error::Resolve {
            host: target.host.clone(),
            source,
        };
        let addresses: Vec<SocketAddr> = match &self.resolver {
            Resolver::System => tokio::net::lookup_host((target.host.as_str(), target.port))
                .await
                .map_err(failed)?
                .take(ADDRESSES_MAX)
                .collect(),
            #[cfg(test)]
            Resolver::Given(answer) => answer(&target.host)
                .into_iter()
                .map(|ip| (ip, target.port).into())
                .collect(),
        };
        if addresses.is_empty() {
            return Err(failed(std::io::Error::other("no addresses")));
        }
        for address in &addresses {
            if let Some(why) = self.forbids(target, *address) {
                let address = address.ip();
                return Err(Error::Forbidden {
                    host: target.host.clone(),
                    address,
                    why,
                });
            }
        }
        Ok(addresses)
    }

    fn forbids(&self, target: &Target, address: SocketAddr) -> Option<&'static str> {
        let class = address::classify(address.ip());
        if class == Class::Never {
            return Some("is never called (link-local, metadata, unspecified or reserved)");
        }
        if target.named == Named::ByData && class != Class::Public {
            return Some("is private: a URL that came in data may only lead to public addresses");
        }
        if target.loopback_only && !address.ip().to_canonical().is_loopback() {
            return Some("is not loopback: plaintext http stays on this machine");
        }
        let own = self.own.iter().any(|own| is_own(*own, address));
        own.then_some("is the gateway's own listener")
    }
}

fn is_own(own: SocketAddr, address: SocketAddr) -> bool {
    let (mine, theirs) = (own.ip().to_canonical(), address.ip().to_canonical());
    own.port() == address.port()
        && (mine == theirs || (mine.is_unspecified() && theirs.is_loopback()))
}

fn request(
    method: Method,
    target: &Target,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Error> {
    let fault = |why| Error::Url {
        url: target.url(),
        why,
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = target
        .path()
        .parse()
        .map_err(|_| fault("its path cannot be sent"))?;
    let fields = request.headers_mut();
    fields.extend(
        headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let host = HeaderValue::from_str(target.authority());
    fields.insert(HOST, host.map_err(|_| fault("its host cannot be sent"))?);
    let mut default = |name: HeaderName, value| {
        fields
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    default(ACCEPT, "application/json, */*;q=0.1");
    default(USER_AGENT, concat!("callgate/", env!("CARGO_PKG_VERSION")));
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(request)
}

async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut last = std::io::Error::other("no address was tried");
    for address in addresses.iter().take(ADDRESSES_TRIED_MAX) {
        #[expect(
            clippy::disallowed_methods,
            reason = "this room is the door for control traffic; the address was checked above"
        )]
        let attempt = TcpStream::connect(address).await;
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(Error::Connect {
        host: target.host.clone(),
        source: last,
    })
}

async fn talk<S>(
    target: &Target,
    stream: S,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<Response, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |source| Error::Http {
        host: target.host.clone(),
        source,
    };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADER_FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let driver = Abort(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(failed)?;
    let (head, mut body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(Error::Redirect {
            host: target.host.clone(),
            status: head.status.as_u16(),
        });
    }
    let encoding = head.headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Error::Encoded {
            host: target.host.clone(),
        });
    }
    let too_large = || Error::TooLarge {
        host: target.host.clone(),
        limit: bytes_max,
    };
    let hint = usize::try_from(hyper::body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
    if hint > bytes_max {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(failed)?.into_data() {
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    drop(driver);
    Ok(Response {
        status: head.status,
        headers: head.headers,
        body: bytes.freeze(),
    })
}

/// A connection's task that ends with the exchange, however that ends.
struct Abort(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
