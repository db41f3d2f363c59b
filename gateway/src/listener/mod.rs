//! Sockets that others connect to: bind, TLS, who the peer is, and draining.
//!
//! Refuses plaintext off loopback unless it is asked for, keeps a slow handshake out of everyone
//! else's way, and bounds how many connections stand open. Called by `app`, which hands each
//! [`Conn`] to a protocol.

mod drain;
mod reserve;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use drain::{Drain, DrainHandle};
pub use tls::{Certificate, Renewed, ServerTls, TlsFault, not_after};

use reserve::{Reserve, exhausted};

/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// How many client connections one listener keeps open.
pub const CONNECTIONS_MAX: usize = 10_000;
/// How long to wait before accepting again after the system refused a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One address that callers connect to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ListenConfig")]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port, for example `127.0.0.1:8080` or `[::]:8443`.
    pub address: SocketAddr,
    /// Certificate and key. Without it the listener speaks plaintext, on loopback only.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Speak plaintext on an address that is not loopback. Tokens then travel in clear: only behind
    /// a TLS terminator on the same trusted network. Default: false.
    #[serde(default)]
    pub danger_plaintext: bool,
    /// Host names (with the port where it is not the default) that requests may carry. Default: the
    /// address itself and, on loopback, `localhost` with its port.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// PEM files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Private key; readable by the gateway's user only.
    pub key: PathBuf,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Plaintext where others can listen.
    #[error(
        "listener `{0}`: plaintext is for loopback only; give `tls`, or set `danger_plaintext: true`"
    )]
    Plaintext(SocketAddr),
    /// The system refused.
    #[error("listener `{address}`: {source}")]
    Bind {
        /// The configured address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate or key is unusable.
    #[error(transparent)]
    Tls(#[from] TlsFault),
}

/// What the socket knows about the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address.
    pub address: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether the hop is TLS.
    pub tls: bool,
    /// Whether ALPN chose HTTP/2.
    pub http2: bool,
}

impl Peer {
    /// The peer's IP address; IPv4-mapped addresses as IPv4.
    pub fn ip(&self) -> IpAddr {
        self.address.ip().to_canonical()
    }
}

/// One accepted connection. Dropping it gives its place back.
#[derive(Debug)]
pub struct Conn {
    /// Its bytes.
    pub io: Io,
    /// Who is there.
    pub peer: Peer,
    _place: OwnedSemaphorePermit,
}

/// A plaintext or TLS stream.
#[derive(Debug)]
pub enum Io {
    /// Plaintext.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
    tls: Option<ServerTls>,
    places: Arc<Semaphore>,
}

impl Listener {
    /// Bind an address.
    ///
    /// # Errors
    /// [`Error`] when plaintext is not allowed there, the system refuses, or the TLS files are unusable.
    pub async fn bind(config: &Config, base: &std::path::Path) -> Result<Self, Error> {
        if config.tls.is_none() && !config.address.ip().is_loopback() && !config.danger_plaintext {
            return Err(Error::Plaintext(config.address));
        }
        let tls = config
            .tls
            .as_ref()
            .map(|files| ServerTls::load(files, base))
            .transpose()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "this room is the door for inbound sockets"
        )]
        let socket = TcpListener::bind(config.address).await;
        let failed = |source| Error::Bind {
            address: config.address.to_string(),
            source,
        };
        let socket = socket.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            local,
            tls,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        })
    }

    /// The address it is bound to (the port that the system chose when the config said 0).
    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Its certificate, for reloads: `config` and `base` are what it was bound with.
    pub fn certificate(&self, config: &Config, base: &std::path::Path) -> Option<Certificate> {
        let (tls, files) = self.tls.clone().zip(config.tls.clone())?;
        Some(Certificate {
            tls,
            files,
            base: base.to_owned(),
        })
    }

    /// Accept until the drain begins; each connection runs `serve` in its own task, and a handshake
    /// that stalls holds up nobody else.
    pub async fn run<F, S>(self, drain: Drain, serve: S)
    where
        S: Fn(Conn) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut reserve = Reserve::new();
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = drain.begun() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    let turned_away = exhausted(&error) && reserve.turn_away(&self.socket);
                    reserve.tell(self.local, &error);
                    if !turned_away {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let (tls, local, serve) = (self.tls.clone(), self.local, serve.clone());
            let open = drain.open();
            tokio::spawn(async move {
                if let Some((io, peer)) = establish(stream, address, local, tls).await {
                    serve(Conn {
                        io,
                        peer,
                        _place: place,
                    })
                    .await;
                }
                drop(open);
            });
        }
    }
}

async fn establish(
    stream: TcpStream,
    address: SocketAddr,
    fallback: SocketAddr,
    tls: Option<ServerTls>,
) -> Option<(Io, Peer)> {
    // Small writes must not wait for acknowledgements: a relay with Nagle's algorithm adds 40 ms.
    stream.set_nodelay(true).ok()?;
    let local = stream.local_addr().unwrap_or(fallback);
    let Some(tls) = tls else {
        return Some((
            Io::Plain(stream),
            Peer {
                address,
                local,
                tls: false,
                http2: false,
            },
        ));
    };
    let handshake = tokio::time::timeout(TLS_HANDSHAKE_MAX, tls.acceptor().accept(stream)).await;
    match handshake {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Some((
                Io::Tls(Box::new(stream)),
                Peer {
                    address,
                    local,
                    tls: true,
                    http2,
                },
            ))
        }
        Ok(Err(error)) => {
            tracing::debug!(peer = %address, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(peer = %address, "TLS handshake took more than 5 s");
            None
        }
    }
}

/// The control socket beside the data: for `callgate reload` on the same machine.
#[derive(Debug)]
pub struct Control {
    socket: UnixListener,
}

impl Control {
    /// Bind the socket file, replacing one that a dead process left (the data directory's lock says
    /// that nobody else lives here).
    ///
    /// # Errors
    /// [`Error::Bind`] when the system refuses.
    pub fn bind(path: &std::path::Path) -> Result<Self, Error> {
        use std::os::unix::fs::PermissionsExt;
        let failed = |source| Error::Bind {
            address: path.display().to_string(),
            source,
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            Ok(()) | Err(_) => {}
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this room is the door for inbound sockets"
        )]
        let socket = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { socket })
    }

    /// The next local command.
    ///
    /// # Errors
    /// What the system said.
    pub async fn accept(&self) -> std::io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

/// Connect to a running gateway's control socket.
///
/// # Errors
/// What the system said.
pub async fn control(path: &std::path::Path) -> std::io::Result<UnixStream> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the control socket is this room's"
    )]
    UnixStream::connect(path).await
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
