//! Connections to a mail server: the same guard over addresses and TLS, another protocol over it.
//!
//! With `STARTTLS` (RFC 3207) the first words are in the clear. Nothing follows them but TLS: a server
//! that does not offer it, refuses it, or says more than it was asked for before it is not written to,
//! because an attacker on the way can make a server look like any of these.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::{Egress, Error, Target, connect, tls};

/// Port of mail submission over TLS.
const SUBMISSIONS: u16 = 465;
/// Port of mail submission that goes over to TLS.
const SUBMISSION: u16 = 587;
/// Longest reply of a mail server before TLS, in bytes.
const REPLY_BYTES_MAX: usize = 8 * 1024;
/// What a mail client reads first. After `STARTTLS` a server greets nobody again.
const GREETING: &[u8] = b"220 ready\r\n";

/// What a connection is made of.
trait Io: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Io for T {}

/// An open connection to a mail server.
pub struct MailStream {
    io: Box<dyn Io>,
    peer: SocketAddr,
    /// Read before anything of the connection.
    first: &'static [u8],
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
    /// A mail server from the config: `smtps://host[:port]`, `smtp+starttls://host[:port]`, or
    /// `smtp://host:port` on loopback.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong with it.
    pub fn mail_from_config(url: &str) -> Result<Self, Error> {
        let fault = || Error::Url {
            url: url.chars().take(200).collect(),
            why: "it must be smtps://host[:port] (TLS from the first byte), smtp+starttls://host[:port] (TLS \
                  before anything is said), or smtp://host:port on loopback",
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(fault)?;
        let web = match scheme {
            "smtps" | "smtp+starttls" => "https",
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
        target.starttls = scheme == "smtp+starttls";
        match (no_port, target.tls) {
            (true, true) if target.starttls => target.port = SUBMISSION,
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
            let mut stream = connect(target, &addresses).await?;
            let peer = stream.peer_addr().map_err(|source| Error::Connect {
                host: target.host.clone(),
                source,
            })?;
            let mut first: &[u8] = &[];
            if target.starttls {
                ask_for_tls(target, &mut stream).await?;
                first = GREETING;
            }
            let io: Box<dyn Io> = if target.tls {
                // No application protocol: a mail server knows none of ours.
                let mut config = self.tls.as_ref().clone();
                config.alpn_protocols.clear();
                Box::new(tls::handshake(&Arc::new(config), target, stream).await?)
            } else {
                Box::new(stream)
            };
            Ok(MailStream { io, peer, first })
        };
        let slow = |_| Error::Timeout {
            host: target.host.clone(),
            limit: at_most,
        };
        tokio::time::timeout(at_most, whole).await.map_err(slow)?
    }
}

/// Say hello and ask for TLS, in the clear. Afterwards the server's next byte belongs to TLS.
async fn ask_for_tls(target: &Target, stream: &mut TcpStream) -> Result<(), Error> {
    answer(target, stream, "220", "it does not greet").await?;
    // RFC 5321: an address literal, by a host that has no name to give.
    say(target, stream, b"EHLO [127.0.0.1]\r\n").await?;
    let can = answer(target, stream, "250", "it does not answer `EHLO`").await?;
    let offers = can.lines().skip(1).any(|line| {
        let word = line.get(4..).unwrap_or_default().split(' ').next();
        word.is_some_and(|word| word.eq_ignore_ascii_case("STARTTLS"))
    });
    if !offers {
        return Err(fault(target, "it does not offer STARTTLS"));
    }
    say(target, stream, b"STARTTLS\r\n").await?;
    answer(target, stream, "220", "it refuses STARTTLS").await?;
    Ok(())
}

fn fault(target: &Target, why: &'static str) -> Error {
    Error::StartTls {
        host: target.host.clone(),
        why,
    }
}

fn broken(target: &Target, source: io::Error) -> Error {
    Error::Connect {
        host: target.host.clone(),
        source,
    }
}

async fn say(target: &Target, stream: &mut TcpStream, words: &[u8]) -> Result<(), Error> {
    let said = stream.write_all(words).await;
    said.map_err(|source| broken(target, source))
}

/// One whole reply with this code, and nothing behind it: what came before TLS must not count after it.
async fn answer(
    target: &Target,
    stream: &mut TcpStream,
    code: &str,
    otherwise: &'static str,
) -> Result<String, Error> {
    let mut reply = Vec::new();
    loop {
        if let Some(end) = whole(&reply) {
            if end < reply.len() {
                return Err(fault(target, "it says more than it was asked for"));
            }
            break;
        }
        if reply.len() >= REPLY_BYTES_MAX {
            return Err(fault(target, "its reply does not end"));
        }
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await;
        match read.map_err(|source| broken(target, source))? {
            0 => return Err(fault(target, "it hangs up")),
            length => reply.extend_from_slice(chunk.get(..length).unwrap_or_default()),
        }
    }
    let reply = String::from_utf8_lossy(&reply).into_owned();
    if reply.lines().all(|line| line.starts_with(code)) {
        Ok(reply)
    } else {
        Err(fault(target, otherwise))
    }
}

/// Where the first whole reply ends: behind the first line whose code has no `-` behind it.
fn whole(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if line.ends_with(b"\n") && line.get(3) != Some(&b'-') {
            return Some(end);
        }
    }
    None
}

impl AsyncRead for MailStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let (now, later) = self.first.split_at(self.first.len().min(buf.remaining()));
            buf.put_slice(now);
            self.first = later;
            return Poll::Ready(Ok(()));
        }
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
