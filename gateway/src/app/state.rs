//! Where the state of decisions is: in the data folder, or in a database that several instances share.

use std::path::Path;

use super::house::STATE_KEY_FILE;
use super::{Error, store_dir};
use crate::clock::SharedClock;
use crate::config::Loaded;
use crate::secret::{Secret, read_private};
use crate::store::{self, SqlStore, Store as _};
use crate::{config, record};

/// Make it, or find what another instance made; what to tell of it, when it is shared.
pub(super) async fn init(
    settings: &store::Config,
    base: &Path,
    data: &Path,
) -> Result<Option<&'static str>, Error> {
    let Some(postgres) = &settings.postgres else {
        SqlStore::init(&store_dir(data)).await?.close().await;
        return Ok(None);
    };
    Ok(Some(if SqlStore::init_shared(postgres, base).await? {
        "made the shared state in PostgreSQL"
    } else {
        "joined the shared state in PostgreSQL"
    }))
}

/// Open it for a command, which is no instance.
pub(super) async fn open(loaded: &Loaded) -> Result<SqlStore, store::Error> {
    match &loaded.config.store.postgres {
        Some(postgres) => SqlStore::visit(postgres, &loaded.base).await,
        None => SqlStore::open(&store_dir(&loaded.data())).await,
    }
}

/// Open it as an instance.
pub(super) async fn join(
    loaded: &Loaded,
    instance: &str,
    clock: &SharedClock,
) -> Result<SqlStore, store::Error> {
    match &loaded.config.store.postgres {
        Some(postgres) => {
            SqlStore::join(postgres, &loaded.base, instance, SharedClock::clone(clock)).await
        }
        None => SqlStore::open(&store_dir(&loaded.data())).await,
    }
}

/// The key under which held calls are sealed.
pub(super) fn key(loaded: &Loaded) -> Result<Secret<[u8; 32]>, Error> {
    if let Some(postgres) = &loaded.config.store.postgres {
        return Ok(postgres.key(&loaded.base)?);
    }
    let path = loaded.data().join(STATE_KEY_FILE);
    let text = read_private(&path)?;
    let mut key = [0; 32];
    let damaged = || Error::Record(record::Error::Damaged(path.clone()));
    let pairs = text.chunks_exact(2);
    if text.len() != 64 {
        return Err(damaged());
    }
    for (slot, pair) in key.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).map_err(|_| damaged())?;
        *slot = u8::from_str_radix(pair, 16).map_err(|_| damaged())?;
    }
    Ok(Secret::new(key))
}

/// Forget every held call in the shared state.
///
/// # Errors
/// [`Error::Store`]: a gateway runs, or the state cannot be reached; [`Error::NotShared`].
pub async fn forget_approvals(loaded: &Loaded) -> Result<String, Error> {
    let postgres = loaded.config.store.postgres.as_ref();
    let postgres = postgres.ok_or(Error::NotShared)?;
    let store = SqlStore::visit(postgres, &loaded.base).await?;
    let forgotten = match store.refuse_while_shared().await {
        Ok(()) => store.forget_approvals().await,
        Err(error) => Err(error),
    };
    store.close().await;
    forgotten?;
    Ok("every held call is forgotten and will be asked anew; look at the revocations, which are as old as \
        the state that was put back"
        .to_owned())
}

/// Make or join the shared state for a data folder that is there.
///
/// # Errors
/// [`Error::NotShared`], [`Error::NoData`]; [`Error::Store`].
pub async fn share(loaded: &Loaded) -> Result<&'static str, Error> {
    if loaded.config.store.postgres.is_none() {
        return Err(Error::NotShared);
    }
    super::instance(&loaded.data())?;
    let told = init(&loaded.config.store, &loaded.base, &loaded.data()).await?;
    told.ok_or(Error::NotShared)
}

/// Whether the shared state can be reached and read with the key that is configured; `None` when the state
/// is in the data folder.
pub async fn probe(loaded: &config::Loaded) -> Option<Result<(), store::Error>> {
    let postgres = loaded.config.store.postgres.as_ref()?;
    Some(match SqlStore::visit(postgres, &loaded.base).await {
        Ok(store) => {
            store.close().await;
            Ok(())
        }
        Err(error) => Err(error),
    })
}
