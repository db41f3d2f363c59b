//! Bytes without an answer, as syslog over TLS sends them (RFC 5425): the same guard over addresses and TLS,
//! and what can be known of their arrival.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Egress, Error, Target, connect, tls};

/// Port of syslog over TLS.
const SYSLOG_TLS: u16 = 6514;
/// Bytes of what the far side says that are read at a time; nothing in it matters.
const HEARD_BYTES: usize = 1024;
/// Most of it altogether.
const HEARD_BYTES_MAX: usize = 64 * 1024;

impl Target {
    /// A stream's receiver from the config: `tls://host[:port]`, or `tcp://host:port` on loopback.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong with it.
    pub fn stream_from_config(url: &str) -> Result<Self, Error> {
        let fault = || Error::Url {
            url: url.chars().take(200).collect(),
            why: "it must be tls://host[:port], or tcp://host:port on loopback",
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(fault)?;
        let web = match scheme {
            "tls" => "https",
            "tcp" => "http",
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
            (true, true) => target.port = SYSLOG_TLS,
            (true, false) => return Err(fault()),
            (false, _) => {}
        }
        Ok(target)
    }
}

impl Egress {
    /// Send bytes on a connection of their own, end it, and wait until the far side has ended it too: a
    /// receiver that reads a stream in its order has read all of it then. One that hangs up with bytes
    /// unread resets the connection, which is an error here.
    ///
    /// This is as much as a protocol without answers can know. Common receivers end TCP and not TLS, so the
    /// end is not authenticated: whoever can forge packets on the way can make it look like one.
    ///
    /// # Errors
    /// [`Error`]: refused by the guard, unreachable, broken off or too slow; what was sent may have been
    /// received all the same.
    pub async fn stream(
        &self,
        target: &Target,
        bytes: &[u8],
        at_most: Duration,
    ) -> Result<(), Error> {
        let whole = async {
            let addresses = self.addresses(target).await?;
            let mut stream = connect(target, &addresses).await?;
            let broken = |source| Error::Stream {
                host: target.host.clone(),
                source,
            };
            if target.tls {
                let mut stream = self.secured(target, stream).await?;
                spend(&mut stream, bytes).await.map_err(broken)?;
                // Behind an end of TLS comes the connection's own: a reset tells of unread bytes.
                ended(stream.get_mut().0).await.map_err(broken)
            } else {
                spend(&mut stream, bytes).await.map_err(broken)
            }
        };
        self.in_time(target, at_most, whole).await
    }

    /// Connect, with TLS where the target says so, and send nothing: whether the far side can be had.
    ///
    /// # Errors
    /// [`Error`]: refused by the guard, unreachable or too slow.
    pub async fn reach(&self, target: &Target, at_most: Duration) -> Result<(), Error> {
        let whole = async {
            let addresses = self.addresses(target).await?;
            let stream = connect(target, &addresses).await?;
            if target.tls {
                let mut stream = self.secured(target, stream).await?;
                // The far side may look at our certificate only now; an error of ending is none of reaching.
                let _ended = stream.shutdown().await;
            }
            Ok(())
        };
        self.in_time(target, at_most, whole).await
    }

    /// TLS without an application protocol.
    async fn secured(
        &self,
        target: &Target,
        stream: tokio::net::TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>, Error> {
        let mut config = self.tls.as_ref().clone();
        config.alpn_protocols.clear();
        tls::handshake(&Arc::new(config), target, stream).await
    }

    async fn in_time(
        &self,
        target: &Target,
        at_most: Duration,
        whole: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let slow = |_| Error::Timeout {
            host: target.host.clone(),
            limit: at_most,
        };
        tokio::time::timeout(at_most, whole).await.map_err(slow)?
    }
}

/// Write everything, end our direction, and read the other one to its end.
async fn spend<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    ended(stream).await
}

/// Read to the end; what the far side says is not looked at.
async fn ended<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<()> {
    let mut heard = [0; HEARD_BYTES];
    let mut all = 0;
    loop {
        let read = match stream.read(&mut heard).await {
            // The connection's end in order, without one of TLS; a reset is another error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other?,
        };
        if read == 0 {
            return Ok(());
        }
        all += read;
        if all > HEARD_BYTES_MAX {
            return Err(io::Error::other("it sends instead of ending"));
        }
    }
}
