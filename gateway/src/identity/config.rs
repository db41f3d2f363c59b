//! The `identity` section of the config.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;
use super::algorithm::Algorithm;

/// Longest life of a token by default, in seconds.
pub const LIFETIME_S: u64 = 24 * 60 * 60;
/// Clocks may differ by this by default, in seconds.
pub const SKEW_S: u64 = 60;

/// Who is believed about who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "IdentityConfig")]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Token issuers by alias. The alias stands in policies (`Group::"corp/payments"`), records and
    /// revocations; `a-z`, `0-9` and `-`, first a letter. Example: `corp: { issuer: …, audience: … }`.
    #[serde(default)]
    pub issuers: BTreeMap<String, IssuerConfig>,
}

/// One token issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The issuer's URL exactly as tokens carry it in `iss`. Its keys are found by OpenID discovery
    /// beneath it, unless `jwks` says where. Example: `https://idp.example.com`.
    pub issuer: String,
    /// What a token's `aud` must contain to be for this gateway: one value or several, compared exactly.
    /// Example: `https://gateway.example.com`.
    pub audience: OneOrMany,
    /// Claim that holds the groups, as a name (`groups`) or, starting with `/`, as a path
    /// (`/realm_access/roles`). Default: tokens of this issuer have no groups.
    #[serde(default)]
    pub groups: Option<String>,
    /// What kind of caller the tokens prove: `human`, `workload` or `agent`, or a list of rules of which
    /// the first that fits decides. Default: `agent`, the least trusted. A token with an actor (`act`) is
    /// never `human`. Example: `[{ when: { amr: { prefix: "mfa" } }, kind: human }]`.
    #[serde(default)]
    pub kind: KindConfig,
    /// Conditions that every token must meet, by claim name or path; mandatory for issuers that serve
    /// the public (GitHub Actions, GitLab, Google accounts, …). Example: `{ repository_owner_id: "1234" }`.
    #[serde(default)]
    pub claims: BTreeMap<String, Condition>,
    /// Token types (`typ` in the header) that are accepted. A token without one counts as `JWT`.
    /// Default: `[JWT, at+jwt]`.
    #[serde(default = "token_types")]
    pub token_types: Vec<String>,
    /// Whether ID tokens (recognised by `nonce`, `at_hash`, `c_hash` or their type) are accepted for
    /// calls. Default: `refuse`.
    #[serde(default)]
    pub id_tokens: IdTokens,
    /// Longest life of a token, from `iat` to `exp`, in seconds. Default: 86400.
    #[serde(default = "lifetime_s")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub max_lifetime_s: u64,
    /// How far the issuer's clock may differ from ours, in seconds. Default: 60.
    #[serde(default = "skew_s")]
    #[schemars(range(max = 300))]
    pub skew_s: u64,
    /// Where the issuer's keys are. Default: where its discovery document says.
    /// Example: `https://idp.example.com/keys`.
    #[serde(default)]
    pub jwks: Option<String>,
    /// PEM file with certificate authorities for the issuer's TLS, beside the system's; relative to the
    /// config file. Example: `./corp-ca.pem`.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Allow `http://` for this issuer beyond loopback. Whoever can change packets on the way can then
    /// forge every token of it; for test networks. Default: false.
    #[serde(default)]
    pub plaintext: bool,
    /// Claim that is the same in all accounts of one human (`employee_id`), by which an approver is held
    /// apart from who asks. Default: issuer and subject tell humans apart.
    #[serde(default)]
    pub person: Option<String>,
    /// Claims that policies may read on the principal, with their types. Example: `{ department: string }`.
    #[serde(default)]
    pub expose: BTreeMap<String, ExposedType>,
    /// Signature algorithms that are accepted, to narrow the default: all of RS, PS, ES256, ES384, EdDSA.
    #[serde(default)]
    pub algorithms: Vec<Algorithm>,
}

/// One text or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The texts.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// What kind of caller an issuer's tokens prove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum KindConfig {
    /// All of them the same.
    All(Kind),
    /// The first rule that fits decides; none: `agent`.
    Rules(Vec<KindRule>),
}

impl Default for KindConfig {
    fn default() -> Self {
        Self::All(Kind::Agent)
    }
}

/// One rule for the kind of caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KindRule {
    /// Conditions by claim name or path; all must hold.
    pub when: BTreeMap<String, Condition>,
    /// The kind then.
    pub kind: Kind,
}

/// A condition on a claim. A claim that is a list fits when one of its elements does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Condition {
    /// Exactly this value.
    Is(Scalar),
    /// One of these values.
    OneOf(Vec<Scalar>),
    /// Starts with this text.
    Starts(Prefix),
}

/// A text that a claim must start with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prefix {
    /// The text; it must end in a separator such as `/` or `:`, so that `acme/` does not fit `acme-evil/`.
    /// Example: `"repo:acme/"`.
    pub prefix: String,
}

/// A value to compare a claim with; numbers and booleans compare by their text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// Whether ID tokens are accepted for calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdTokens {
    /// Refuse them: they are made for the client, not for us.
    #[default]
    Refuse,
    /// Accept them, for issuers that have nothing else.
    Accept,
}

/// Type of a claim that policies may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExposedType {
    /// A text (Cedar `String`).
    String,
    /// A whole number (Cedar `Long`).
    Long,
    /// `true` or `false` (Cedar `Bool`).
    Bool,
    /// A list of texts (Cedar `Set<String>`).
    Strings,
}

/// Something wrong in the config, with the way to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, from the section's root: `issuers.corp.audience`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

fn token_types() -> Vec<String> {
    vec!["JWT".to_owned(), "at+jwt".to_owned()]
}

const fn lifetime_s() -> u64 {
    LIFETIME_S
}

const fn skew_s() -> u64 {
    SKEW_S
}
