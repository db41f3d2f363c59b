//! What others write into the state of decisions and this process puts in force: revocations, and whatever
//! another instance changes.

use std::time::Instant;

use super::House;
use crate::identity::{PrincipalKey, Reach, Revocation, RevocationTarget};
use crate::store::{self, Revoked, Signal};

impl House {
    /// Put the store's revocations in force, as this or another process wrote them.
    pub(super) async fn refresh_revocations(&self) -> Result<(), store::Error> {
        let begun = Instant::now();
        let read = self.store.revocations(self.clock.now()).await;
        let (_, rows) = read?;
        let revocations = rows.into_iter().map(|row| Revocation {
            target: match row.what {
                Revoked::Principal { issuer, subject } => {
                    RevocationTarget::Principal(PrincipalKey { issuer, subject })
                }
                Revoked::Issuer(alias) => RevocationTarget::Issuer(alias),
                Revoked::Token { issuer, id } => RevocationTarget::TokenId { issuer, id },
                Revoked::TokenHash(text) => RevocationTarget::TokenHash(hash(&text)),
                Revoked::Connection(name) => RevocationTarget::Connection(name),
                Revoked::Approval(id) => RevocationTarget::Approval(id),
            },
            reach: match row.reach {
                store::Reach::Revoke => Reach::Revoke,
                store::Reach::Lock => Reach::Lock,
            },
            at: row.at,
        });
        let revocations: Vec<_> = revocations.collect();
        if !same(&self.revocations.list(), &revocations)
            && let Err(error) = self.revocations.replace(revocations)
        {
            tracing::error!(%error, "the revocations could not all be put in force");
            return Ok(());
        }
        let mut seen = self.seen.lock().await;
        *seen = (*seen).max(begun);
        drop(seen);
        self.age_revocations().await;
        Ok(())
    }

    /// What another instance has changed, put in force here.
    pub(super) async fn heed(&self) {
        match self.store.signal().await {
            Signal::Approval(id) => self.approvals.changed_elsewhere(Some(&id)),
            Signal::Everything => {
                self.approvals.changed_elsewhere(None);
                self.look_at_revocations().await;
            }
            Signal::Revocations => self.look_at_revocations().await,
        }
    }

    async fn look_at_revocations(&self) {
        if let Err(error) = self.refresh_revocations().await {
            tracing::error!(%error, "revocations could not be read");
        }
    }

    /// Say how old the revocations are that are in force.
    pub(super) async fn age_revocations(&self) {
        let seen = *self.seen.lock().await;
        self.revocations.aged(seen.elapsed());
    }
}

/// A SHA-256 in hexadecimal; one that is not (no program of ours writes one) matches no token.
fn hash(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (index, slot) in bytes.iter_mut().enumerate() {
        let pair = text.get(index * 2..index * 2 + 2).unwrap_or("00");
        *slot = u8::from_str_radix(pair, 16).unwrap_or(0);
    }
    bytes
}

fn same(in_force: &[Revocation], stored: &[Revocation]) -> bool {
    in_force.len() == stored.len() && stored.iter().all(|one| in_force.contains(one))
}
