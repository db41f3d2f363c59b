//! An issuer's rules, compiled from the config, and their application to a token whose signature has
//! been verified.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::config::{Condition, ExposedType, IdTokens, IssuerConfig, KindConfig, Scalar};
use super::login::Login;
use super::path::ClaimPath;
use super::principal::{Actor, Exposed, Facts, Kind, Method, PrincipalKey, TokenFacts};
use super::{Plane, Rejection, Verifier};
use crate::clock::Timestamp;

/// Longest subject, group, token id and other identifying text, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Most groups of one principal.
const GROUPS_MAX: usize = 1000;
/// Most audiences of one token.
const AUDIENCES_MAX: usize = 64;
/// Most actors of one token.
const ACTORS_MAX: usize = 8;
/// 31 December 9999: a later time is a mistake of units.
const TIME_S_MAX: f64 = 253_402_300_799.0;

/// How long somebody counts as there whom another vouches for.
const STATED_FOR: std::time::Duration = std::time::Duration::from_secs(300);
/// Claims that speak of a token, a sign-in or a delegation: nobody states them.
const BY_TOKEN: [&str; 9] = [
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "auth_time",
    "acr",
    "act",
];

/// Payload members that only ID tokens have (OpenID Connect Core sections 2 and 3.3.2.11).
const ID_TOKEN_MARKERS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];
/// What a payload's `typ` or `token_use` says about tokens that are for calls.
const CALL_USES: [&str; 4] = ["bearer", "access", "jwt", "at+jwt"];

const ID_TOKEN: &str =
    "it is an ID token, made for the client; send the access token, or set `id_tokens: accept`";

/// One issuer's rules.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) alias: Arc<str>,
    issuer: String,
    audience: Vec<String>,
    groups: Option<ClaimPath>,
    kind: Vec<(Vec<(ClaimPath, Test)>, Kind)>,
    claims: Vec<(ClaimPath, Test)>,
    token_types: Vec<String>,
    id_tokens: IdTokens,
    lifetime_s: u64,
    pub(super) skew_s: u64,
    person: Option<ClaimPath>,
    expose: Vec<(ClaimPath, ExposedType)>,
}

#[derive(Debug)]
enum Test {
    OneOf(Vec<String>),
    Starts(String),
}

/// Everything about the token that the rules need beside its claims.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) token_type: Option<&'a str>,
    pub(super) method: Method,
    pub(super) hash: [u8; 32],
    pub(super) plane: Plane,
    /// The console's audience, where there is a console.
    pub(super) console: Option<&'a str>,
    pub(super) now: Timestamp,
    /// The alias of another issuer, by its `iss`.
    pub(super) aliases: &'a Verifier,
    /// The login that the token is to end; `None` for tokens that are presented.
    pub(super) login: Option<&'a Login<'a>>,
}

impl Rules {
    /// Rules from a config that was checked; `None` where a path does not parse after all.
    pub(super) fn compile(alias: &str, config: &IssuerConfig) -> Option<Self> {
        let path = |text: &Option<String>| match text {
            None => Some(None),
            Some(text) => ClaimPath::parse(text).map(Some),
        };
        let kind = match &config.kind {
            KindConfig::All(kind) => vec![(Vec::new(), *kind)],
            KindConfig::Rules(rules) => rules
                .iter()
                .map(|rule| Some((tests(&rule.when)?, rule.kind)))
                .collect::<Option<_>>()?,
        };
        Some(Self {
            alias: alias.into(),
            issuer: config.issuer.clone(),
            audience: config.audience.as_slice().to_vec(),
            groups: path(&config.groups)?,
            kind,
            claims: tests(&config.claims)?,
            token_types: config
                .token_types
                .iter()
                .map(|name| media_type(name))
                .collect(),
            id_tokens: config.id_tokens,
            lifetime_s: config.max_lifetime_s,
            skew_s: config.skew_s,
            person: path(&config.person)?,
            expose: config
                .expose
                .iter()
                .map(|(name, kind)| Some((ClaimPath::parse(name)?, *kind)))
                .collect::<Option<_>>()?,
        })
    }

    /// What can be told of a token before its signature: used only to keep hopeless tokens from causing
    /// a fetch of keys.
    pub(super) fn is_hopeless(&self, claims: &Map<String, Value>, evidence: &Evidence<'_>) -> bool {
        self.times(claims, evidence.now).is_err() || self.audience(claims, evidence).is_err()
    }

    /// The principal that a token with a verified signature proves.
    pub(super) fn judge(
        &self,
        claims: Map<String, Value>,
        evidence: Evidence<'_>,
    ) -> Result<Facts, Rejection> {
        match evidence.login {
            None => self.token_type(&claims, evidence.token_type)?,
            Some(login) => {
                self.login_token(&claims, evidence.token_type, login, evidence.now)?;
            }
        }
        let times = self.times(&claims, evidence.now)?;
        self.audience(&claims, &evidence)?;
        let subject = self
            .text(&claims, "sub")?
            .ok_or_else(|| self.bad("sub", "is missing"))?;
        self.conditions(&claims)?;
        let actors = self.actors(&claims, evidence.aliases)?;
        let kind = self.kind(&claims, &actors);
        Ok(Facts {
            key: PrincipalKey {
                issuer: self.alias.as_ref().to_owned(),
                subject,
            },
            kind,
            groups: self.groups(&claims)?,
            exposed: self.exposed(&claims)?,
            person: self.person(&claims, kind)?,
            actors,
            method: evidence.method,
            token: TokenFacts {
                hash: evidence.hash,
                id: self.text(&claims, "jti")?,
                issued: times.issued,
                expires: times.expires,
                authenticated: self.time(&claims, "auth_time")?,
                acr: self.text(&claims, "acr")?,
            },
            claims,
        })
    }

    /// The person whose account has these claims, by the config's word and not by a token's.
    pub(super) fn stated(
        &self,
        claims: Map<String, Value>,
        (method, hash): (Method, [u8; 32]),
        at: Timestamp,
    ) -> Result<Facts, Rejection> {
        if let Some(name) = BY_TOKEN.iter().find(|name| claims.contains_key(**name)) {
            return Err(self.bad(name, "is told by a token only"));
        }
        let subject = self
            .text(&claims, "sub")?
            .ok_or_else(|| self.bad("sub", "is missing"))?;
        self.conditions(&claims)?;
        let kind = self.kind(&claims, &[]);
        if kind != Kind::Human {
            let why = "is not of an account that the issuer's `kind` makes a human";
            return Err(self.bad("sub", why));
        }
        Ok(Facts {
            key: PrincipalKey {
                issuer: self.alias.as_ref().to_owned(),
                subject,
            },
            kind,
            groups: self.groups(&claims)?,
            exposed: self.exposed(&claims)?,
            person: self.person(&claims, kind)?,
            actors: Vec::new(),
            method,
            token: TokenFacts {
                hash,
                id: None,
                issued: None,
                expires: at.plus(STATED_FOR),
                authenticated: None,
                acr: None,
            },
            claims,
        })
    }

    /// The conditions of the config on claims, for whoever tells them.
    fn conditions(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        for (path, test) in &self.claims {
            if !path.of(claims).is_some_and(|claim| test.holds(claim)) {
                let (issuer, claim) = (Arc::clone(&self.alias), path.text());
                return Err(Rejection::ClaimCondition { issuer, claim });
            }
        }
        Ok(())
    }

    pub(super) fn bad(&self, claim: &str, why: &'static str) -> Rejection {
        Rejection::BadClaim {
            issuer: Arc::clone(&self.alias),
            claim: claim.into(),
            why,
        }
    }

    fn token_type(
        &self,
        claims: &Map<String, Value>,
        header: Option<&str>,
    ) -> Result<(), Rejection> {
        let fault = |what| {
            Err(Rejection::TokenType {
                issuer: Arc::clone(&self.alias),
                what,
            })
        };
        // A token without `typ` counts as the plain one (RFC 7519 section 5.1 makes it optional).
        let header = media_type(header.unwrap_or("JWT"));
        if !self.token_types.contains(&header) {
            return fault("its `typ` is not one of `token_types`");
        }
        if claims.contains_key("events") {
            return fault("it is a security event or logout token");
        }
        let mut is_id = ID_TOKEN_MARKERS
            .iter()
            .any(|marker| claims.contains_key(*marker));
        for name in ["typ", "token_use"] {
            match self
                .text(claims, name)?
                .map(|word| word.to_ascii_lowercase())
            {
                None => {}
                Some(word) if word == "id" => is_id = true,
                Some(word) if CALL_USES.contains(&word.as_str()) => {}
                Some(_) => return fault("its payload says that it is not a token for calls"),
            }
        }
        if is_id && self.id_tokens == IdTokens::Refuse {
            return fault(ID_TOKEN);
        }
        Ok(())
    }

    fn times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Times, Rejection> {
        let issuer = || Arc::clone(&self.alias);
        let expires = self
            .time(claims, "exp")?
            .ok_or_else(|| self.bad("exp", "is missing"))?;
        let issued = self.time(claims, "iat")?;
        let not_before = self.time(claims, "nbf")?;
        let skew = std::time::Duration::from_secs(self.skew_s);
        if now >= expires.plus(skew) {
            return Err(Rejection::Expired { issuer: issuer() });
        }
        if [issued, not_before]
            .into_iter()
            .flatten()
            .any(|from| from > now.plus(skew))
        {
            return Err(Rejection::NotYet { issuer: issuer() });
        }
        // Without `iat` the remaining life counts; with it both, since an issuer may backdate.
        let whole = issued.map_or(0, |issued| expires.since(issued).as_secs());
        let left = expires.since(now.plus(skew)).as_secs();
        if whole.max(left) > self.lifetime_s {
            return Err(Rejection::LivesTooLong { issuer: issuer() });
        }
        Ok(Times { issued, expires })
    }

    /// A NumericDate (RFC 7519 section 2): a number, nothing that looks like one.
    pub(super) fn time(
        &self,
        claims: &Map<String, Value>,
        name: &str,
    ) -> Result<Option<Timestamp>, Rejection> {
        let Some(claim) = claims.get(name) else {
            return Ok(None);
        };
        let seconds = claim.as_f64().filter(|_| claim.is_number());
        let seconds = seconds.filter(|seconds| (0.0..=TIME_S_MAX).contains(seconds));
        let seconds = seconds.ok_or_else(|| self.bad(name, "is not a time in seconds"))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within 0..=TIME_S_MAX; whole seconds are what is compared"
        )]
        let whole = seconds as u64;
        Ok(Some(Timestamp::from_secs(whole)))
    }

    fn audience(
        &self,
        claims: &Map<String, Value>,
        evidence: &Evidence<'_>,
    ) -> Result<(), Rejection> {
        if let Some(login) = evidence.login {
            return self.login_audience(claims, login);
        }
        let listed = match claims.get("aud") {
            None => return Err(self.bad("aud", "is missing")),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) if many.len() <= AUDIENCES_MAX => many
                .iter()
                .map(Value::as_str)
                .collect::<Option<_>>()
                .ok_or_else(|| self.bad("aud", "is not a list of texts"))?,
            Some(_) => return Err(self.bad("aud", "is not a text or a list of at most 64")),
        };
        let for_calls = listed
            .iter()
            .any(|value| self.audience.iter().any(|own| own == value));
        let for_console = evidence.console.is_some_and(|own| listed.contains(&own));
        let good = match evidence.plane {
            Plane::Data => for_calls,
            // What a caller may hold must not open the console, even when it names both.
            Plane::Console => for_console && !for_calls,
        };
        if good {
            Ok(())
        } else {
            Err(Rejection::WrongAudience {
                issuer: Arc::clone(&self.alias),
            })
        }
    }

    /// A text claim that is later shown, compared or sent: bounded and without control characters.
    fn text(&self, claims: &Map<String, Value>, name: &str) -> Result<Option<String>, Rejection> {
        match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if is_plain(text) => Ok(Some(text.clone())),
            Some(_) => Err(self.bad(name, "is not a plain text of 1 to 1024 bytes")),
        }
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<BTreeSet<String>, Rejection> {
        let Some(path) = &self.groups else {
            return Ok(BTreeSet::new());
        };
        if is_overage(claims, path.root()) {
            return Err(Rejection::GroupsOverage {
                issuer: Arc::clone(&self.alias),
            });
        }
        let names = match path.of(claims) {
            None => return Ok(BTreeSet::new()),
            Some(value) => {
                texts(value).ok_or_else(|| self.bad(&path.text(), "is not a list of texts"))?
            }
        };
        if names.len() > GROUPS_MAX {
            return Err(self.bad(&path.text(), "has more than 1000 groups"));
        }
        Ok(names
            .into_iter()
            .map(|name| format!("{}/{name}", self.alias))
            .collect())
    }

    fn actors(
        &self,
        claims: &Map<String, Value>,
        aliases: &Verifier,
    ) -> Result<Vec<Actor>, Rejection> {
        let mut actors = Vec::new();
        let mut next = claims.get("act");
        while let Some(value) = next {
            let act = value
                .as_object()
                .ok_or_else(|| self.bad("act", "is not an object"))?;
            if actors.len() == ACTORS_MAX {
                return Err(self.bad("act", "has more than 8 actors"));
            }
            let subject = self
                .text(act, "sub")?
                .ok_or_else(|| self.bad("act", "has no `sub`"))?;
            let issuer = match self.text(act, "iss")? {
                None => self.alias.as_ref().to_owned(),
                Some(iss) if iss == self.issuer => self.alias.as_ref().to_owned(),
                Some(iss) => match aliases.alias(&iss) {
                    Some(alias) => alias.as_ref().to_owned(),
                    // An unknown issuer stands for itself, but never under an alias of ours.
                    None if iss.contains(':') => iss,
                    None => return Err(self.bad("act", "has an `iss` that is no URL")),
                },
            };
            actors.push(Actor { issuer, subject });
            next = act.get("act");
        }
        Ok(actors)
    }

    /// A delegated token is never a human's own: the one who acts is the actor.
    fn kind(&self, claims: &Map<String, Value>, actors: &[Actor]) -> Kind {
        let fits = |tests: &[(ClaimPath, Test)]| {
            tests
                .iter()
                .all(|(path, test)| path.of(claims).is_some_and(|claim| test.holds(claim)))
        };
        let kind = self
            .kind
            .iter()
            .find(|(tests, _)| fits(tests))
            .map_or(Kind::Agent, |(_, k)| *k);
        if kind == Kind::Human && !actors.is_empty() {
            Kind::Agent
        } else {
            kind
        }
    }

    fn exposed(&self, claims: &Map<String, Value>) -> Result<BTreeMap<String, Exposed>, Rejection> {
        let mut exposed = BTreeMap::new();
        for (path, kind) in &self.expose {
            let Some(value) = path.of(claims) else {
                continue;
            };
            let typed = match kind {
                ExposedType::String => value.as_str().map(|text| Exposed::String(text.to_owned())),
                ExposedType::Long => value.as_i64().map(Exposed::Long),
                ExposedType::Bool => value.as_bool().map(Exposed::Bool),
                ExposedType::Strings => texts(value)
                    .map(|all| Exposed::Strings(all.into_iter().map(str::to_owned).collect())),
            };
            let typed = typed
                .ok_or_else(|| self.bad(&path.text(), "has not the type that `expose` says"))?;
            exposed.insert(path.text().as_ref().to_owned(), typed);
        }
        Ok(exposed)
    }

    /// The person behind the account. Humans must have one where it is configured: an account that
    /// cannot be matched with its owner's other accounts could approve its owner's calls.
    fn person(&self, claims: &Map<String, Value>, kind: Kind) -> Result<Option<String>, Rejection> {
        let Some(path) = &self.person else {
            return Ok(None);
        };
        let name = path.text();
        let person = match path.of(claims) {
            None if kind == Kind::Human => return Err(self.bad(&name, "is missing (`person`)")),
            None => return Ok(None),
            Some(Value::String(text)) if is_plain(text) => text.clone(),
            Some(_) => return Err(self.bad(&name, "is not a plain text (`person`)")),
        };
        if name.as_ref() != "email" {
            return Ok(Some(person));
        }
        // An address that anyone may claim, or that readers split differently, proves nobody.
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        if verified && person.matches('@').count() == 1 {
            Ok(Some(person.to_lowercase()))
        } else {
            Err(self.bad(&name, "is not a verified address with one `@` (`person`)"))
        }
    }
}

struct Times {
    issued: Option<Timestamp>,
    expires: Timestamp,
}

impl Test {
    fn new(condition: &Condition) -> Self {
        match condition {
            Condition::Is(value) => Self::OneOf(vec![scalar(value)]),
            Condition::OneOf(values) => Self::OneOf(values.iter().map(scalar).collect()),
            Condition::Starts(start) => Self::Starts(start.prefix.clone()),
        }
    }

    fn holds(&self, claim: &Value) -> bool {
        match claim {
            Value::Array(items) => items.iter().any(|item| self.holds_one(item)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => self.holds_one(claim),
        }
    }

    fn holds_one(&self, claim: &Value) -> bool {
        let text = match claim {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return false,
        };
        match self {
            Self::OneOf(values) => values.contains(&text),
            Self::Starts(prefix) => text.starts_with(prefix.as_str()),
        }
    }
}

fn tests(conditions: &BTreeMap<String, Condition>) -> Option<Vec<(ClaimPath, Test)>> {
    conditions
        .iter()
        .map(|(claim, condition)| Some((ClaimPath::parse(claim)?, Test::new(condition))))
        .collect()
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Flag(flag) => flag.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => text.clone(),
    }
}

/// A media type as `typ` spells it: case does not count, `application/` may be left out (RFC 7515
/// section 4.1.9).
fn media_type(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower
        .strip_prefix("application/")
        .map_or(lower.clone(), str::to_owned)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// One text or a list of texts, all of them plain.
fn texts(value: &Value) -> Option<Vec<&str>> {
    let all = match value {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().map(Value::as_str).collect::<Option<_>>()?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    all.iter().all(|text| is_plain(text)).then_some(all)
}

/// Whether the issuer says that it left the groups out: distributed claims (OpenID Connect Core section
/// 5.6.2) or the `hasgroups` of implicit flows.
fn is_overage(claims: &Map<String, Value>, groups: &str) -> bool {
    let distributed = match claims.get("_claim_names") {
        None => false,
        Some(Value::Object(names)) => names.contains_key(groups),
        Some(_) => true,
    };
    let flagged = claims
        .get("hasgroups")
        .is_some_and(|flag| flag != &Value::Bool(false));
    distributed
        || flagged
        || claims.keys().any(|name| {
            name.strip_prefix(groups)
                .is_some_and(|rest| rest.starts_with(":src"))
        })
}
