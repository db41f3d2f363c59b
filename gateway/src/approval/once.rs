//! Requests of people that are done once for their key: what the store keeps of them says neither key nor
//! answer to whoever reads it.

use crate::identity::Principal;
use crate::store::{NewOnce, Once, OnceEnd};

use super::seal::{Fields, Part, hex};
use super::{Approvals, Error};

/// A key that this process has taken. Whoever has one says how its request ended.
#[derive(Debug)]
pub struct OnceKey {
    place: Vec<u8>,
}

/// What a key means for a request.
#[derive(Debug)]
pub enum Begun {
    /// It is new: do it, and then [`Approvals::end_once`].
    New(OnceKey),
    /// It was done: this was the answer.
    Done(Vec<u8>),
    /// The key stands for another request.
    Other,
    /// It is being done.
    UnderWay,
    /// It may have been done: whoever did it is gone.
    Unknown,
    /// Too many are under way.
    Full,
}

/// How a request ended.
#[derive(Debug)]
pub enum Ended {
    /// Done, with this answer.
    Done(Vec<u8>),
    /// Nothing was done, so it may be tried again.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Approvals {
    /// Take a key for somebody's request (a hash over all that it says), or learn what it stands for.
    ///
    /// # Errors
    /// [`Error::Store`]: nothing may be done then. [`Error::Crypto`] when the kept answer does not open.
    pub async fn begin_once(
        &self,
        principal: &Principal,
        key: &str,
        request: &[u8],
    ) -> Result<Begun, Error> {
        let who = principal.key();
        let of = Fields::new(b"callgate-approval/1 once")
            .add(who.issuer.as_bytes())
            .add(who.subject.as_bytes());
        let keys = &self.inner.keys;
        let place = keys.hash(&of.add(key.as_bytes()));
        let asked = Fields::new(b"callgate-approval/1 once request").add(request);
        let new = NewOnce {
            place: place.clone(),
            issuer: who.issuer.clone(),
            subject: who.subject.clone(),
            request: keys.hash(&asked),
        };
        Ok(match self.inner.store.begin_once(new, self.now()).await? {
            Once::New => Begun::New(OnceKey { place }),
            Once::Done(sealed) => Begun::Done(keys.open(Part::Answer, &hex(&place), &sealed)?),
            Once::Other => Begun::Other,
            Once::UnderWay => Begun::UnderWay,
            Once::Unknown => Begun::Unknown,
            Once::Full => Begun::Full,
        })
    }

    /// Say how a request ended.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Crypto`]: the key then reads as under way while this process lives, and
    /// as unknown afterwards.
    pub async fn end_once(&self, key: OnceKey, ended: Ended) -> Result<(), Error> {
        let end = match ended {
            Ended::Done(answer) => {
                let sealed = self
                    .inner
                    .keys
                    .seal(Part::Answer, &hex(&key.place), &answer)?;
                OnceEnd::Done(sealed)
            }
            Ended::Refused => OnceEnd::Refused,
            Ended::Unknown => OnceEnd::Unknown,
        };
        Ok(self.inner.store.end_once(key.place, end).await?)
    }
}
