//! A TCP proxy that misbehaves on request: between the gateway and a function, or a caller and the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// What the proxy does to connections that are made from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Each piece of the answer waits.
    Latency(Duration),
    /// Accept, and reset at once.
    Refuse,
    /// Accept, and never answer.
    Hang,
    /// Reset both sides after this many bytes of the request.
    ResetAfterRequest(usize),
    /// Reset both sides after this many bytes of the answer.
    ResetAfterAnswer(usize),
    /// End the answer in order after this many bytes, and go on reading the request.
    HalfCloseAfterAnswer(usize),
    /// The answer comes one byte at a time, with a pause after each.
    Drip(Duration),
}

/// The proxy; it ends with the value.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
    accepted: Arc<Mutex<usize>>,
    _runtime: Runtime,
}

impl FaultProxy {
    /// Start one in front of `upstream`.
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (fault, accepted) = (Arc::new(Mutex::new(Fault::None)), Arc::new(Mutex::new(0)));
        let (shared, count) = (Arc::clone(&fault), Arc::clone(&accepted));
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                *count.lock().expect("the count") += 1;
                let fault = *shared.lock().expect("the fault");
                tokio::spawn(carry(near, upstream, fault));
            }
        });
        Self {
            address,
            fault,
            accepted,
            _runtime: runtime,
        }
    }

    /// Misbehave so from the next connection on.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().expect("the fault") = fault;
    }

    /// Connections that were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        *self.accepted.lock().expect("the count")
    }
}

async fn carry(mut near: TcpStream, upstream: SocketAddr, fault: Fault) {
    if fault == Fault::Refuse {
        return reset(&near);
    }
    if fault == Fault::Hang {
        let mut sink = [0_u8; 4096];
        while near.read(&mut sink).await.is_ok_and(|length| length > 0) {}
        return;
    }
    let Ok(mut far) = TcpStream::connect(upstream).await else {
        return reset(&near);
    };
    for side in [&near, &far] {
        side.set_nodelay(true).expect("no delay");
    }
    let cut = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let up = request_side(near_read, far_write, fault);
        let down = answer_side(far_read, near_write, fault);
        tokio::pin!(up, down);
        tokio::select! {
            cut = &mut up => cut == Cut::Yes || down.await == Cut::Yes,
            cut = &mut down => cut == Cut::Yes || up.await == Cut::Yes,
        }
    };
    if cut {
        reset(&near);
        reset(&far);
    }
}

/// Close with a reset, as soon as the stream is dropped.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().expect("no linger");
}

/// Whether both sides are to be reset.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Yes,
    No,
}

/// Carry the request.
async fn request_side(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, fault: Fault) -> Cut {
    let (mut chunk, mut passed) = ([0_u8; 8192], 0);
    loop {
        let length = from.read(&mut chunk).await.unwrap_or(0);
        if length == 0 {
            // The far side may be gone already.
            let _ = to.shutdown().await;
            return Cut::No;
        }
        let room = match fault {
            Fault::ResetAfterRequest(most) => length.min(most.saturating_sub(passed)),
            _ => length,
        };
        passed += room;
        if to.write_all(&chunk[..room]).await.is_err() {
            return Cut::No;
        }
        if room < length || fault == Fault::ResetAfterRequest(passed) {
            return Cut::Yes;
        }
    }
}

/// Carry the answer.
async fn answer_side(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, fault: Fault) -> Cut {
    let (mut chunk, mut passed) = ([0_u8; 8192], 0);
    loop {
        let length = from.read(&mut chunk).await.unwrap_or(0);
        if length == 0 {
            let _ = to.shutdown().await;
            return Cut::No;
        }
        if let Fault::Latency(wait) = fault {
            tokio::time::sleep(wait).await;
        }
        let room = match fault {
            Fault::ResetAfterAnswer(most) | Fault::HalfCloseAfterAnswer(most) => {
                length.min(most.saturating_sub(passed))
            }
            _ => length,
        };
        passed += room;
        let sent = match fault {
            Fault::Drip(pause) => drip(&mut to, &chunk[..room], pause).await,
            _ => to.write_all(&chunk[..room]).await.is_ok(),
        };
        if !sent {
            return Cut::No;
        }
        match fault {
            Fault::ResetAfterAnswer(most) if passed >= most => return Cut::Yes,
            Fault::HalfCloseAfterAnswer(most) if passed >= most => {
                let _ = to.shutdown().await;
                return Cut::No;
            }
            _ => {}
        }
    }
}

async fn drip(to: &mut WriteHalf<'_>, bytes: &[u8], pause: Duration) -> bool {
    for byte in bytes {
        if to.write_all(&[*byte]).await.is_err() {
            return false;
        }
        tokio::time::sleep(pause).await;
    }
    true
}
