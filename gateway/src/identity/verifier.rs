//! From a presented token to a principal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::check::check;
use super::config::{Config, Fault, IssuerConfig};
use super::jws::{self, Compact};
use super::key_set::Found;
use super::keys::{Held, IssuerStatus, Keys, Source};
use super::login::{self, Login, Provider};
use super::memory::{Entry, Memory, Place, REMEMBERED_MAX};
use super::principal::{Facts, Method};
use super::rules::{Evidence, Rules};
use super::{Principal, Rejection, Revocations, algorithm};
use crate::clock::SharedClock;
use crate::disk::read_named;
use crate::egress::{Egress, Target};

/// Largest file with authorities, in bytes.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where a token is presented.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Plane {
    /// For calls.
    Data,
    /// At the console: another audience, and never a token for calls.
    Console,
}

/// What a verifier needs beside its config.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The audience that tokens for the console carry, where there is a console.
    pub console_audience: Option<&'a str>,
    /// The config file's folder, which `ca` paths are relative to.
    pub base: &'a Path,
    /// The client that fetches keys.
    pub egress: Egress,
    /// The time.
    pub clock: SharedClock,
    /// Who is shut out; survives reloads.
    pub revocations: Revocations,
}

/// Verifies tokens. Cheap to clone; all clones share keys and memory.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuers: Vec<Issuer>,
    /// Index of an issuer by its `iss`.
    by_iss: HashMap<String, usize>,
    console: Option<String>,
    memory: Memory,
    revocations: Revocations,
    clock: SharedClock,
}

#[derive(Debug)]
struct Issuer {
    config: IssuerConfig,
    /// The authority file's content, to notice a change of it.
    ca: Option<[u8; 32]>,
    rules: Rules,
    keys: Arc<Keys>,
    /// `None` for an `iss` that is no URL: its keys are configured, and nobody signs in there.
    provider: Option<Provider>,
}

impl Verifier {
    /// A verifier for a config. Nothing is fetched yet, so an unreachable issuer does not hinder.
    ///
    /// # Errors
    /// Every [`Fault`] of the config.
    pub fn new(config: &Config, context: &Context<'_>) -> Result<Self, Vec<Fault>> {
        Self::build(config, context, &[])
    }

    /// A verifier for a changed config: keys of issuers that are configured as before are kept, so that
    /// a reload while an issuer is down loses nothing; remembered tokens are forgotten.
    ///
    /// # Errors
    /// Every [`Fault`] of the config; this verifier goes on unchanged.
    pub fn reload(&self, config: &Config, context: &Context<'_>) -> Result<Self, Vec<Fault>> {
        Self::build(config, context, &self.0.issuers)
    }

    fn build(config: &Config, context: &Context<'_>, old: &[Issuer]) -> Result<Self, Vec<Fault>> {
        let mut faults = check(config, context.console_audience);
        let mut issuers = Vec::new();
        for (alias, settings) in &config.issuers {
            match issuer(alias, settings, context, old) {
                Ok(issuer) => issuers.push(issuer),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            faults.dedup();
            return Err(faults);
        }
        let by_iss = issuers.iter().enumerate();
        Ok(Self(Arc::new(Inner {
            by_iss: by_iss
                .map(|(index, issuer)| (issuer.config.issuer.clone(), index))
                .collect(),
            issuers,
            console: context.console_audience.map(str::to_owned),
            memory: Memory::new(),
            revocations: context.revocations.clone(),
            clock: Arc::clone(&context.clock),
        })))
    }

    /// Keep the issuers' keys fresh in the background; ends by itself when the verifier is gone.
    pub fn start(&self) {
        for issuer in &self.0.issuers {
            issuer.keys.start();
        }
    }

    /// The principal that a token proves. The token stands alone, without `Bearer`.
    ///
    /// # Errors
    /// [`Rejection`]. Waits for the issuer's keys at most about 10 s, and only when they are not known.
    pub async fn verify(&self, token: &str, plane: Plane) -> Result<Arc<Principal>, Rejection> {
        if token.is_empty() {
            return Err(Rejection::Missing);
        }
        if token.len() > jws::TOKEN_BYTES_MAX {
            return Err(Rejection::Malformed("it is longer than 8 KiB"));
        }
        let place = Place {
            hash: sha256(token.as_bytes()),
            plane,
        };
        let principal = match self.recall(&place) {
            Some(principal) => principal,
            None => self.verify_fresh(token, place).await?,
        };
        self.0.revocations.admit(&principal)?;
        Ok(principal)
    }

    /// Who is shut out.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// What is known of each issuer's keys.
    pub fn status(&self) -> Vec<IssuerStatus> {
        self.0
            .issuers
            .iter()
            .map(|issuer| issuer.keys.status())
            .collect()
    }

    fn recall(&self, place: &Place) -> Option<Arc<Principal>> {
        let now = self.0.clock.now();
        let entry = self.0.memory.recall(place, now)?;
        let issuer = self.0.issuers.get(entry.issuer)?;
        (issuer.keys.settled(now) == Some(entry.generation)).then_some(entry.principal)
    }

    async fn verify_fresh(&self, token: &str, place: Place) -> Result<Arc<Principal>, Rejection> {
        let compact = jws::parse(token)?;
        let (index, issuer) = self.issuer_of(&compact)?;
        let generation = self.verify_signature(issuer, &compact, place, None).await?;
        let facts = self.judge(issuer, compact, place, None)?;
        let from = self.0.clock.now();
        let until = from.plus(REMEMBERED_MAX).min(facts.token.expires);
        let principal = Arc::new(Principal::new(facts));
        if until > from {
            let principal = Arc::clone(&principal);
            let entry = Entry {
                principal,
                issuer: index,
                generation,
                from,
                until,
            };
            self.0.memory.remember(place, entry);
        }
        Ok(principal)
    }

    /// What the ID token that ends a login proves; never remembered, since it is shown once.
    pub(super) async fn login_facts(
        &self,
        token: &str,
        alias: &str,
        login: &Login<'_>,
    ) -> Result<Facts, Rejection> {
        let compact = jws::parse(token)?;
        let (_, issuer) = self.issuer_of(&compact)?;
        if issuer.rules.alias.as_ref() != alias {
            return Err(Rejection::UnknownIssuer);
        }
        let place = Place {
            hash: sha256(token.as_bytes()),
            plane: login::PLANE,
        };
        self.verify_signature(issuer, &compact, place, Some(login))
            .await?;
        let facts = self.judge(issuer, compact, place, Some(login))?;
        Ok(facts.for_session())
    }

    /// The issuer of an alias, to sign in at.
    pub fn provider(&self, alias: &str) -> Option<Provider> {
        let mut issuers = self.0.issuers.iter();
        let issuer = issuers.find(|issuer| issuer.rules.alias.as_ref() == alias)?;
        issuer.provider.clone()
    }

    /// The rules of an issuer.
    pub(super) fn rules(&self, alias: &str) -> Option<&Rules> {
        let mut issuers = self.0.issuers.iter().map(|issuer| &issuer.rules);
        issuers.find(|rules| rules.alias.as_ref() == alias)
    }

    /// Whether an alias is configured.
    pub(super) fn knows(&self, alias: &str) -> bool {
        let mut issuers = self.0.issuers.iter();
        issuers.any(|issuer| issuer.rules.alias.as_ref() == alias)
    }

    /// The facts of a token whose signature verified.
    fn judge(
        &self,
        issuer: &Issuer,
        compact: Compact<'_>,
        place: Place,
        login: Option<&Login<'_>>,
    ) -> Result<Facts, Rejection> {
        let Compact {
            claims,
            token_type,
            key_id,
            algorithm,
            ..
        } = compact;
        let method = Method::Jwt {
            key_id: key_id.unwrap_or_default(),
            algorithm: algorithm.name(),
        };
        let evidence = self.evidence(place, token_type.as_deref(), method, login);
        issuer.rules.judge(claims, evidence)
    }

    fn issuer_of(&self, compact: &Compact<'_>) -> Result<(usize, &Issuer), Rejection> {
        let iss = compact
            .claims
            .get("iss")
            .and_then(serde_json::Value::as_str);
        let iss = iss.ok_or(Rejection::Malformed("its issuer is missing or not a text"))?;
        let index = *self.0.by_iss.get(iss).ok_or(Rejection::UnknownIssuer)?;
        let issuer = self.0.issuers.get(index).ok_or(Rejection::UnknownIssuer)?;
        Ok((index, issuer))
    }

    /// The generation of the keys that the signature verified with.
    async fn verify_signature(
        &self,
        issuer: &Issuer,
        compact: &Compact<'_>,
        place: Place,
        login: Option<&Login<'_>>,
    ) -> Result<u64, Rejection> {
        let alias = || Arc::clone(&issuer.rules.alias);
        let held = issuer.keys.current().await?;
        if let Some(checked) = check_signature(&held, compact, &issuer.rules) {
            return checked.map(|()| held.generation);
        }
        let method = Method::Jwt {
            key_id: String::new(),
            algorithm: compact.algorithm.name(),
        };
        let evidence = self.evidence(place, None, method, login);
        if issuer.rules.is_hopeless(&compact.claims, &evidence) {
            return Err(Rejection::UnknownKey { issuer: alias() });
        }
        let held = issuer
            .keys
            .other_than(&held)
            .await
            .ok_or_else(|| Rejection::UnknownKey { issuer: alias() })?;
        match check_signature(&held, compact, &issuer.rules) {
            Some(checked) => checked.map(|()| held.generation),
            None => Err(Rejection::UnknownKey { issuer: alias() }),
        }
    }

    fn evidence<'a>(
        &'a self,
        place: Place,
        token_type: Option<&'a str>,
        method: Method,
        login: Option<&'a Login<'a>>,
    ) -> Evidence<'a> {
        Evidence {
            token_type,
            method,
            hash: place.hash,
            plane: place.plane,
            console: self.0.console.as_deref(),
            now: self.0.clock.now(),
            aliases: self,
            login,
        }
    }

    /// The alias of the issuer with this `iss`.
    pub(super) fn alias(&self, iss: &str) -> Option<Arc<str>> {
        let issuer = self.0.issuers.get(*self.0.by_iss.get(iss)?)?;
        Some(Arc::clone(&issuer.rules.alias))
    }
}

/// `None` when no key has the token's key id.
fn check_signature(
    held: &Held,
    compact: &Compact<'_>,
    rules: &Rules,
) -> Option<Result<(), Rejection>> {
    let alias = || Arc::clone(&rules.alias);
    match held.set.find(compact.key_id.as_deref(), compact.algorithm) {
        Found::Nothing => None,
        Found::OtherAlgorithm => Some(Err(Rejection::WrongAlgorithm { issuer: alias() })),
        Found::Keys(keys) => {
            let good = keys
                .iter()
                .any(|key| key.verify_sig(compact.signed, &compact.signature).is_ok());
            Some(if good {
                Ok(())
            } else {
                Err(Rejection::BadSignature { issuer: alias() })
            })
        }
    }
}

fn issuer(
    alias: &str,
    config: &IssuerConfig,
    context: &Context<'_>,
    old: &[Issuer],
) -> Result<Issuer, Fault> {
    let fault = |member: &str, message: String| Fault {
        path: format!("issuers.{alias}{member}"),
        message,
        help: None,
    };
    let rules = Rules::compile(alias, config)
        .ok_or_else(|| fault("", "a claim's path cannot be read".to_owned()))?;
    let ca_file = config.ca.as_ref().map(|ca| context.base.join(ca));
    let read = |path: &PathBuf| read_named(path, CA_BYTES_MAX).map(|pem| sha256(&pem));
    let ca = ca_file
        .as_ref()
        .map(read)
        .transpose()
        .map_err(|e| fault(".ca", e.to_string()))?;
    let same = |other: &&Issuer| {
        let (a, b) = (&other.config, config);
        other.rules.alias.as_ref() == alias
            && (&a.issuer, &a.jwks, &a.ca, a.plaintext, &a.algorithms)
                == (&b.issuer, &b.jwks, &b.ca, b.plaintext, &b.algorithms)
            && other.ca == ca
    };
    let parse = if config.plaintext {
        Target::from_config_plaintext
    } else {
        Target::from_config
    };
    let base = config.issuer.trim_end_matches('/');
    let document = parse(&format!("{base}/.well-known/openid-configuration"));
    let egress = match &ca_file {
        None => context.egress.clone(),
        Some(ca) => context
            .egress
            .with_ca(ca)
            .map_err(|e| fault(".ca", e.to_string()))?,
    };
    let provider = document
        .as_ref()
        .ok()
        .map(|document| Provider::new(config.issuer.clone(), egress.clone(), document.clone()));
    if let Some(kept) = old.iter().find(same) {
        return Ok(Issuer {
            config: config.clone(),
            ca,
            rules,
            keys: Arc::clone(&kept.keys),
            provider,
        });
    }
    let source = match &config.jwks {
        Some(url) => Source::Fixed(parse(url).map_err(|e| fault(".jwks", e.to_string()))?),
        None => Source::Discovery {
            issuer: config.issuer.clone(),
            document: document.map_err(|e| fault(".issuer", e.to_string()))?,
        },
    };
    let allowed = match config.algorithms.as_slice() {
        [] => algorithm::ALL.to_vec(),
        some => some.to_vec(),
    };
    let clock = Arc::clone(&context.clock);
    let keys = Keys::new(Arc::clone(&rules.alias), source, allowed, egress, clock);
    Ok(Issuer {
        config: config.clone(),
        ca,
        rules,
        keys: Arc::new(keys),
        provider,
    })
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
