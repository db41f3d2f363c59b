//! What an operator decides about a log that was moved, copied or put back.

use super::{Error, audit_config, state};
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::record;
use crate::store::Store as _;

/// Go on in a successor of the log. Approvals in the data folder are forgotten: what they let through may
/// have run.
///
/// # Errors
/// [`Error::Record`]: the log can go on, or somebody writes it.
pub async fn succeed(loaded: &Loaded) -> Result<String, Error> {
    let config = audit_config(loaded)?;
    let (predecessor, old) = record::succeed(&config, &RealDisk)?;
    // A shared state was not put back with this instance: it knows what ran.
    let shared = loaded.config.store.postgres.is_some();
    if !shared {
        let store = state::open(loaded).await?;
        store.forget_approvals().await?;
        store.close().await;
    }
    let lost = match predecessor.head_size.saturating_sub(predecessor.records) {
        0 => "no head of it that is known here says that records are missing".to_owned(),
        lost => format!(
            "its records {} to {} are lost",
            predecessor.records,
            predecessor.records + lost - 1
        ),
    };
    let lost = if predecessor.forked {
        format!(
            "a head that its key signed is not of these records: it went on in two ways; {lost}"
        )
    } else {
        lost
    };
    Ok(format!(
        "`{}` is closed with {} records; {lost}. It stands in `{}`; the successor begins with the next start, and \
         its first record says so. {}",
        predecessor.origin,
        predecessor.records,
        old.display(),
        if shared {
            "Approvals in PostgreSQL stay as they are"
        } else {
            "Approvals that were open are forgotten"
        }
    ))
}

/// Say that the log which was moved here is the only one.
///
/// # Errors
/// [`Error::Record`]: an outside head says otherwise, or somebody writes it.
pub fn adopt(loaded: &Loaded) -> Result<(), Error> {
    Ok(record::adopt(&audit_config(loaded)?, &RealDisk)?)
}

/// Begin to remember the newest head outside; its size.
///
/// # Errors
/// [`Error::Record`]: there is no head file, or it is there.
pub fn remember(loaded: &Loaded) -> Result<u64, Error> {
    Ok(record::remember(&audit_config(loaded)?, &RealDisk)?)
}
