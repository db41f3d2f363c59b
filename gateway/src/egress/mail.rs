//! Connections to a mail server: the same guard over addresses and TLS, another protocol over it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Egress, Error, Target, connect, tls};

/// Port of mail submission over TLS.
const SUBMISSIONS: u16 = 465;

/// What a connection is made of.
trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// An open connection to a mail server.
pub struct MailStream {
    io: Box<dyn Io>,
    peer: SocketAddr,
}

impl fmt::Debug for MailStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailStream")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl MailStream {
    /// The server's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Target {
    /// A mail server from the config: `smtps://host[:port]`, or `smtp://host:port` on loopback.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong with it.
    pub fn mail_from_config(url: &str) -> Result<Self, Error> {
        let fault = || Error::Url {
            url: url.chars().take(200).collect(),
            why: "it must be smtps://host[:port] (TLS from the first byte), or smtp://host:port on loopback",
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(fault)?;
        let web = match scheme {
            "smtps" => "https",
            "smtp" => "http",
            _ => return Err(fault()),
        };
        if rest.contains(['/', '?']) {
            return Err(fault());
        }
        let mut target = Self::from_config(&format!("{web}://{rest}")).map_err(|_| fault())?;
        let no_port = rest
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.ends_with(']'));
        match (no_port, target.tls) {
            (true, true) => target.port = SUBMISSIONS,
            (true, false) => return Err(fault()),
            (false, _) => {}
        }
        Ok(target)
    }
}

impl Egress {
    /// Connect to a mail server, with TLS where the target says so.
    ///
    /// # Errors
    /// [`Error`]: refused by the guard, unreachable or too slow.
    pub async fn mail(&self, target: &Target, at_most: Duration) -> Result<MailStream, Error> {
        let whole = async {
            let addresses = self.addresses(target).await?;
            let stream = connect(target, &addresses).await?;
            let peer = stream.peer_addr().map_err(|source| Error::Connect {
                host: target.host.clone(),
                source,
            })?;
            let io: Box<dyn Io> = if target.tls {
                // No application protocol: a mail server knows none of ours.
                let mut config = self.tls.as_ref().clone();
                config.alpn_protocols.clear();
                Box::new(tls::handshake(&Arc::new(config), target, stream).await?)
            } else {
                Box::new(stream)
            };
            Ok(MailStream { io, peer })
        };
        let slow = |_| Error::Timeout {
            host: target.host.clone(),
            limit: at_most,
        };
        tokio::time::timeout(at_most, whole).await.map_err(slow)?
    }
}

impl AsyncRead for MailStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for MailStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
