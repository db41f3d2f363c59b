//! People without a token: somebody else vouches for who acted, and the config for whose account that is.
//!
//! Such a principal counts for less than one with a token. It has no sign-in that a rule could ask about, no
//! time of issue, so that every revocation of the account or its issuer holds for it, and whatever only a
//! token can say is not taken from the config.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::principal::Method;
use super::verifier::sha256;
use super::{Principal, Rejection, Verifier};
use crate::clock::Timestamp;

/// A member of a Slack workspace who pressed a button.
#[derive(Clone, Copy, Debug)]
pub struct SlackMember<'a> {
    /// The workspace's id.
    pub team: &'a str,
    /// The member's id.
    pub user: &'a str,
    /// When.
    pub at: Timestamp,
}

impl Verifier {
    /// The person whose account the config says is a Slack member's. The issuer's own rules read the claims,
    /// as they read a token's: groups, kind, person, conditions.
    ///
    /// # Errors
    /// [`Rejection`]: unknown issuer, claims that its rules refuse, not a human, shut out by now.
    pub fn stated(
        &self,
        issuer: &str,
        claims: &BTreeMap<String, Value>,
        member: SlackMember<'_>,
    ) -> Result<Principal, Rejection> {
        let rules = self.rules(issuer).ok_or(Rejection::UnknownIssuer)?;
        let claims: Map<String, Value> = claims.clone().into_iter().collect();
        let hash = sha256(format!("slack/{}/{}", member.team, member.user).as_bytes());
        let method = Method::Slack {
            team: member.team.to_owned(),
            user: member.user.to_owned(),
            at: member.at,
        };
        let principal = Principal::new(rules.stated(claims, (method, hash), member.at)?);
        self.still_counts(&principal)?;
        Ok(principal)
    }
}
