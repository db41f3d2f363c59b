//! The root key of the recorded content: had at the start, wrapped anew, its token kept alive.

use std::sync::Arc;
use std::time::Duration;

use super::local::{Note, note_as};
use super::{Error, audit_dir};
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::egress::{self, Egress};
use crate::record::{
    CallIndex, Error as RecordError, RootKey, Trail, Transit, read_clear_root, read_wrapped_root,
    wrapped_version,
};

/// Longest pause between two looks at the token.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Pause after a failure before the next try.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The transit service that the config names, if it does.
///
/// # Errors
/// [`Error::Egress`].
pub fn transit(loaded: &Loaded) -> Result<Option<Transit>, Error> {
    let Some(config) = &loaded.config.audit.root_key else {
        return Ok(None);
    };
    let egress = Egress::new(&egress::Policy::default())?;
    Ok(Some(Transit::new(&config.transit, &loaded.base, egress)))
}

/// The root key as the config says to have it.
///
/// # Errors
/// [`Error::Root`] when the service does not unwrap it; [`Error::Record`] when there is none to unwrap.
pub async fn root_key(loaded: &Loaded) -> Result<RootKey, Error> {
    match transit(loaded)? {
        None => Ok(RootKey::File),
        Some(transit) => {
            let wrapped = read_wrapped_root(&RealDisk, &audit_dir(&loaded.data()))?;
            Ok(RootKey::Unwrapped(transit.unwrap(&wrapped).await?))
        }
    }
}

/// The evidence, to read, with what opens its content.
///
/// # Errors
/// [`Error`]: the root key cannot be had, or the log not be read.
pub async fn trail(loaded: &Loaded) -> Result<Trail, Error> {
    let root = root_key(loaded).await?;
    let dir = audit_dir(&loaded.data());
    Ok(Trail::open_with(&dir, Arc::new(RealDisk), root)?)
}

/// The index of calls, to list from, with what opens their names.
///
/// # Errors
/// As [`trail`].
pub async fn call_index(loaded: &Loaded) -> Result<CallIndex, Error> {
    let root = root_key(loaded).await?;
    let dir = audit_dir(&loaded.data());
    Ok(CallIndex::open_with(&dir, Arc::new(RealDisk), root)?)
}

/// Have the root key wrapped under the newest version of the service's key; one that lies in the clear is
/// wrapped for the first time. Nothing that is sealed changes.
///
/// # Errors
/// Why everything is as it was.
pub async fn rotate_root(loaded: &Loaded) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let transit = transit(loaded).map_err(|e| told(&e))?.ok_or(
        "the root key lies in a file, and nothing wraps it: name a transit service in \
         `audit.root_key` first",
    )?;
    let dir = audit_dir(&loaded.data());
    let (wrapped, as_it_is) = match read_wrapped_root(&RealDisk, &dir) {
        Ok(old) => {
            let anew = transit.rewrap(&old).await.map_err(|e| told(&e))?;
            let key = transit.unwrap(&old).await.map_err(|e| told(&e))?;
            (anew, RootKey::Unwrapped(key))
        }
        Err(RecordError::RootInFile(_)) => {
            let key = read_clear_root(&RealDisk, &dir).map_err(|e| told(&e))?;
            let wrapped = transit.wrap(&key).await.map_err(|e| told(&e))?;
            (wrapped, RootKey::File)
        }
        Err(error) => return Err(told(&error)),
    };
    // The old one is replaced only by one that is known to open.
    let back = transit.unwrap(&wrapped).await.map_err(|e| told(&e))?;
    let same = match &as_it_is {
        RootKey::Unwrapped(key) => key.expose() == back.expose(),
        RootKey::File => {
            let key = read_clear_root(&RealDisk, &dir).map_err(|e| told(&e))?;
            key.expose() == back.expose()
        }
    };
    if !same {
        return Err("the transit service gave back another key: nothing was changed".to_owned());
    }
    let id = format!("{}:{}", transit.name(), wrapped_version(&wrapped));
    note_as(loaded, Some(as_it_is), Note::RotateRoot { wrapped, id }).await
}

/// Keep the token alive for the next start; what runs needs it no more.
pub(super) async fn keep_token(transit: Transit) {
    loop {
        let pause = match renewed(&transit).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the token of the root key's transit service could not be renewed: calls go on, \
                     a start without it would not"
                );
                RETRY_AFTER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Renew the token where it ends; how long it is good for now, halved.
async fn renewed(transit: &Transit) -> Result<Duration, crate::record::TransitError> {
    let life = transit.token().await?;
    if life.left.is_none() {
        return Ok(LOOK_EVERY);
    }
    if life.renewable {
        transit.renew().await?;
    }
    let left = transit.token().await?.left.unwrap_or(LOOK_EVERY);
    if !life.renewable {
        tracing::warn!(
            seconds = left.as_secs(),
            "the token of the root key's transit service cannot be renewed: replace it before it ends"
        );
    }
    Ok((left / 2).clamp(Duration::from_secs(1), LOOK_EVERY))
}
