//! The control socket: one JSON line in, one out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::House;
use crate::listener::{self, Control};

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// How long a command line may take to arrive.
const LINE_WAIT_MAX: Duration = Duration::from_secs(5);

/// What `callgate reload` asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Take effect even when a forbid or an approval rule goes away.
    pub accept_removal: bool,
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadAnswer {
    /// Whether the new settings are in force.
    pub reloaded: bool,
    /// What changed, or why nothing did.
    pub text: String,
}

pub(super) async fn serve(house: Arc<House>, control: Control) {
    loop {
        match control.accept().await {
            Ok(stream) => {
                let house = Arc::clone(&house);
                tokio::spawn(async move {
                    if let Err(error) = answer(&house, stream).await {
                        tracing::debug!(%error, "a control connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a control connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(house: &House, stream: UnixStream) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LINE_BYTES_MAX));
    tokio::time::timeout(LINE_WAIT_MAX, read.read_line(&mut line))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    let answer = match serde_json::from_str::<ReloadRequest>(&line) {
        Ok(request) => match house.reload(request.accept_removal).await {
            Ok(text) => ReloadAnswer {
                reloaded: true,
                text,
            },
            Err(text) => ReloadAnswer {
                reloaded: false,
                text,
            },
        },
        Err(error) => ReloadAnswer {
            reloaded: false,
            text: format!("unknown command: {error}"),
        },
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await
}

/// Ask the gateway that owns `data` to reload.
///
/// # Errors
/// What the system said; nobody listening among it.
pub async fn reload(data: &Path, request: &ReloadRequest) -> std::io::Result<ReloadAnswer> {
    let stream = listener::control(&data.join(super::CONTROL_FILE)).await?;
    let (read, mut write) = stream.into_split();
    let mut bytes = serde_json::to_vec(request)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    Ok(serde_json::from_str(&line)?)
}
