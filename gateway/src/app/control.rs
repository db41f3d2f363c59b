//! The control socket: one JSON line in, one out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::House;
use super::local::Note;
use crate::listener::{self, Control};
use crate::record::Who;

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// How long a command line may take to arrive.
const LINE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a command waits for its answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// What is asked of a running gateway by somebody on its machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// Read the config again.
    Reload {
        /// Take effect even when a forbid or an approval rule goes away.
        accept_removal: bool,
    },
    /// Do something that stands in the audit log.
    Note {
        /// What.
        note: Note,
    },
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why nothing was.
    pub text: String,
}

impl From<Result<String, String>> for Answer {
    fn from(outcome: Result<String, String>) -> Self {
        let done = outcome.is_ok();
        Self {
            done,
            text: outcome.unwrap_or_else(|why| why),
        }
    }
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
    // Who asks is what the kernel says of the other end, never what it says of itself.
    let who = super::local::user(stream.peer_cred()?.uid());
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LINE_BYTES_MAX));
    tokio::time::timeout(LINE_WAIT_MAX, read.read_line(&mut line))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    let answer = match serde_json::from_str::<Ask>(&line) {
        Ok(asked) => Answer::from(perform(house, &who, asked).await),
        Err(error) => Answer::from(Err(format!("unknown command: {error}"))),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await
}

async fn perform(house: &House, who: &Who, asked: Ask) -> Result<String, String> {
    match asked {
        Ask::Reload { accept_removal } => house.reload(accept_removal).await,
        Ask::Note { note } => {
            let loaded = house.loaded().await;
            super::local::perform(&house.record, &loaded, who.clone(), note).await
        }
    }
}

/// Ask the gateway that owns `data`.
///
/// # Errors
/// What the system said; nobody listening among it.
pub async fn ask(data: &Path, asked: &Ask) -> std::io::Result<Answer> {
    tokio::time::timeout(ANSWER_WAIT_MAX, exchange(data, asked))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

async fn exchange(data: &Path, asked: &Ask) -> std::io::Result<Answer> {
    let stream = listener::control(&data.join(super::CONTROL_FILE)).await?;
    let (read, mut write) = stream.into_split();
    let mut bytes = serde_json::to_vec(asked)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    Ok(serde_json::from_str(&line)?)
}
