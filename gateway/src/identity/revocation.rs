//! Who is shut out, although their tokens verify.
//!
//! The view in memory; keeping it is the store's part. It is looked at on every use of a token,
//! remembered or not, and tells its version, so that open streams are cut when it changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Principal, PrincipalKey, Rejection};
use crate::clock::Timestamp;

/// Most revocations in force; more are refused, never dropped.
pub const REVOCATIONS_MAX: usize = 100_000;
/// A token issued up to this long after a revocation, by the issuer's clock, counts as issued before.
const SKEW: Duration = Duration::from_secs(60);

/// How old the view may be that tells who is shut out. Afterwards nobody is let in.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(30);

/// What a revocation is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RevocationTarget {
    /// One principal.
    Principal(PrincipalKey),
    /// Everybody of an issuer, by alias.
    Issuer(String),
    /// One token, by its `jti`.
    TokenId {
        /// Issuer alias.
        issuer: String,
        /// `jti`.
        id: String,
    },
    /// One token, by the SHA-256 of its text.
    TokenHash([u8; 32]),
    /// A connection, for everybody.
    Connection(String),
    /// An approval, by id.
    Approval(String),
}

/// How far a revocation reaches in time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// What was issued up to then: a token issued later is good again. A connection, an approval and a
    /// single token stay revoked whatever the reach.
    Revoke,
    /// Everything, until it is lifted.
    Lock,
}

/// One revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// About what.
    pub target: RevocationTarget,
    /// How far.
    pub reach: Reach,
    /// Since when.
    pub at: Timestamp,
}

/// Why a revocation could not be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// More than [`REVOCATIONS_MAX`].
    #[error("there are 100000 revocations already: lift those of expired tokens")]
    Full,
}

/// The revocations in force. Cheap to clone; all clones are one view.
#[derive(Clone)]
pub struct Revocations(Arc<Shared>);

struct Shared {
    view: ArcSwap<View>,
    /// Held while the view is replaced, so that no change is lost.
    change: Mutex<()>,
    version: watch::Sender<u64>,
    /// The version again, for readers on the call path: stored after the view.
    current: AtomicU64,
    /// The view is too old to tell who is shut out.
    stale: AtomicBool,
}

#[derive(Default, Clone)]
struct View {
    all: BTreeMap<(RevocationTarget, Reach), Timestamp>,
    principals: HashMap<PrincipalKey, Shut>,
    issuers: HashMap<String, Shut>,
    token_ids: HashMap<String, HashSet<String>>,
    token_hashes: HashSet<[u8; 32]>,
    connections: HashSet<String>,
    approvals: HashSet<String>,
}

/// How a principal or an issuer is shut out.
#[derive(Default, Clone, Copy)]
struct Shut {
    locked: bool,
    issued_until: Option<Timestamp>,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Revocations {
    /// None in force.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            view: ArcSwap::default(),
            change: Mutex::new(()),
            version: watch::Sender::new(0),
            current: AtomicU64::new(0),
            stale: AtomicBool::new(false),
        }))
    }

    /// Put one more in force.
    ///
    /// # Errors
    /// [`RevocationError::Full`]; nothing changed then.
    pub fn apply(&self, revocation: &Revocation) -> Result<(), RevocationError> {
        self.change(|view| {
            let key = (revocation.target.clone(), revocation.reach);
            let at = view.all.entry(key).or_insert(revocation.at);
            *at = (*at).max(revocation.at);
        })
    }

    /// Take one out of force; `false` when it was not in force.
    pub fn lift(&self, target: &RevocationTarget, reach: Reach) -> bool {
        let mut found = false;
        // Removing can not exceed the limit.
        let _ = self.change(|view| found = view.all.remove(&(target.clone(), reach)).is_some());
        found
    }

    /// Put exactly these in force, as the store has them.
    ///
    /// # Errors
    /// [`RevocationError::Full`]; nothing changed then.
    pub fn replace(
        &self,
        revocations: impl IntoIterator<Item = Revocation>,
    ) -> Result<(), RevocationError> {
        self.change(|view| {
            view.all = revocations
                .into_iter()
                .map(|r| ((r.target, r.reach), r.at))
                .collect();
        })
    }

    /// Say how old the view is by now. One older than [`STALE_AFTER`] lets nobody in, until it is younger;
    /// streams that are open ask again.
    pub fn aged(&self, age: Duration) {
        let stale = age >= STALE_AFTER;
        if self.0.stale.swap(stale, Ordering::AcqRel) != stale {
            let version = self.0.current.fetch_add(1, Ordering::AcqRel) + 1;
            self.0.version.send_replace(version);
        }
    }

    /// Whether nobody knows any more who is shut out.
    pub fn is_stale(&self) -> bool {
        self.0.stale.load(Ordering::Acquire)
    }

    /// Whether the principal is shut out, from everything or, with `connection`, from that connection.
    pub fn is_revoked(&self, principal: &Principal, connection: Option<&str>) -> bool {
        let view = self.0.view.load();
        if view.all.is_empty() {
            return false;
        }
        let token = principal.token();
        view.shuts_out(
            principal.key(),
            token.issued,
            &token.hash,
            token.id.as_deref(),
        ) || connection.is_some_and(|name| view.connections.contains(name))
    }

    /// Whether an answer that is under way to the principal is cut.
    pub fn cuts(&self, principal: &Principal, connection: &str) -> bool {
        self.is_stale() || self.is_revoked(principal, Some(connection))
    }

    /// Whether the principal is let in.
    ///
    /// # Errors
    /// [`Rejection::Revoked`], [`Rejection::RevocationsUnknown`].
    pub(super) fn admit(&self, principal: &Principal) -> Result<(), Rejection> {
        if self.is_stale() {
            Err(Rejection::RevocationsUnknown)
        } else if self.is_revoked(principal, None) {
            Err(Rejection::Revoked)
        } else {
            Ok(())
        }
    }

    /// Whether somebody is shut out by now who proved themselves a while ago, with a token of which
    /// these facts were kept.
    pub fn is_shut_out(
        &self,
        key: &PrincipalKey,
        issued: Option<Timestamp>,
        token_hash: &[u8; 32],
        token_id: Option<&str>,
    ) -> bool {
        let view = self.0.view.load();
        !view.all.is_empty() && view.shuts_out(key, issued, token_hash, token_id)
    }

    /// Whether the approval is revoked.
    pub fn is_approval_revoked(&self, id: &str) -> bool {
        self.0.view.load().approvals.contains(id)
    }

    /// All in force.
    pub fn list(&self) -> Vec<Revocation> {
        let view = self.0.view.load();
        let each = view.all.iter();
        each.map(|((target, reach), at)| Revocation {
            target: target.clone(),
            reach: *reach,
            at: *at,
        })
        .collect()
    }

    /// Grows with every change.
    pub fn version(&self) -> u64 {
        self.0.current.load(Ordering::Acquire)
    }

    /// Tells the version at every change, so that whoever holds a stream open can ask again.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    fn change(&self, edit: impl FnOnce(&mut View)) -> Result<(), RevocationError> {
        let _guard = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = View {
            all: self.0.view.load().all.clone(),
            ..View::default()
        };
        edit(&mut view);
        if view.all.len() > REVOCATIONS_MAX {
            return Err(RevocationError::Full);
        }
        view.index();
        self.0.view.store(Arc::new(view));
        let version = self.0.current.fetch_add(1, Ordering::AcqRel) + 1;
        self.0.version.send_replace(version);
        Ok(())
    }
}

impl View {
    fn shuts_out(
        &self,
        key: &PrincipalKey,
        issued: Option<Timestamp>,
        token_hash: &[u8; 32],
        token_id: Option<&str>,
    ) -> bool {
        let named = |shut: &Shut| shut.holds(issued);
        self.principals.get(key).is_some_and(named)
            || self.issuers.get(&key.issuer).is_some_and(named)
            || self.token_hashes.contains(token_hash)
            || token_id.is_some_and(|id| {
                self.token_ids
                    .get(&key.issuer)
                    .is_some_and(|ids| ids.contains(id))
            })
    }

    fn index(&mut self) {
        for ((target, reach), at) in &self.all {
            match target {
                RevocationTarget::Principal(key) => {
                    self.principals
                        .entry(key.clone())
                        .or_default()
                        .add(*reach, *at);
                }
                RevocationTarget::Issuer(alias) => {
                    self.issuers
                        .entry(alias.clone())
                        .or_default()
                        .add(*reach, *at);
                }
                RevocationTarget::TokenId { issuer, id } => {
                    self.token_ids
                        .entry(issuer.clone())
                        .or_default()
                        .insert(id.clone());
                }
                RevocationTarget::TokenHash(hash) => {
                    self.token_hashes.insert(*hash);
                }
                RevocationTarget::Connection(name) => {
                    self.connections.insert(name.clone());
                }
                RevocationTarget::Approval(id) => {
                    self.approvals.insert(id.clone());
                }
            }
        }
    }
}

impl Shut {
    fn add(&mut self, reach: Reach, at: Timestamp) {
        match reach {
            Reach::Lock => self.locked = true,
            Reach::Revoke => self.issued_until = self.issued_until.max(Some(at.plus(SKEW))),
        }
    }

    /// A token that does not say when it was issued counts as issued before.
    fn holds(&self, issued: Option<Timestamp>) -> bool {
        self.locked
            || self
                .issued_until
                .is_some_and(|until| issued.is_none_or(|issued| issued <= until))
    }
}

#[cfg(test)]
mod tests;
