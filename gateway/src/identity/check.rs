//! Faults of the config, all at once, before anything is built from it.

use std::collections::BTreeMap;

use super::config::{Condition, Config, ExposedType, Fault, IssuerConfig, KindConfig, Scalar};
use super::path::ClaimPath;
use crate::egress::Target;

/// Issuers that sign for everybody: without a condition that names *your* part of it, a token of any
/// stranger's project or account would do. One of the named claims must have a condition.
const SHARED: [(&str, &[&str]); 12] = [
    ("https://token.actions.githubusercontent.com", GITHUB),
    (
        "https://gitlab.com",
        &[
            "namespace_id",
            "namespace_path",
            "project_id",
            "project_path",
            "sub",
        ],
    ),
    ("https://accounts.google.com", &["hd", "sub", "email"]),
    ("accounts.google.com", &["hd", "sub", "email"]),
    (
        "https://agent.buildkite.com",
        &["organization_slug", "organization_id", "sub", "pipeline_id"],
    ),
    (
        "https://app.terraform.io",
        &[
            "terraform_organization_id",
            "terraform_organization_name",
            "sub",
        ],
    ),
    ("https://appleid.apple.com", &["sub", "email"]),
    ("https://login.microsoftonline.com/common", &["tid"]),
    ("https://login.microsoftonline.com/organizations", &["tid"]),
    (
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad",
        &["sub", "oid"],
    ),
    ("https://oauth2.sigstore.dev/auth", &["sub", "email"]),
    ("https://auth.docker.io", &["sub"]),
];
const GITHUB: &[&str] = &[
    "repository_id",
    "repository",
    "repository_owner_id",
    "repository_owner",
    "enterprise_id",
    "enterprise",
    "job_workflow_ref",
    "sub",
];

/// Longest skew, in seconds.
const SKEW_S_MAX: u64 = 300;
/// Bounds of the longest life, in seconds.
const LIFETIME_S: std::ops::RangeInclusive<u64> = 60..=2_592_000;

/// Everything that is wrong with a config, without building anything. `console_audience` is what tokens
/// for the console carry.
pub fn check(config: &Config, console_audience: Option<&str>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut seen = BTreeMap::new();
    let mut exposed: BTreeMap<&str, ExposedType> = BTreeMap::new();
    for (alias, issuer) in &config.issuers {
        let mut at = At {
            path: format!("issuers.{alias}"),
            faults: &mut faults,
        };
        at.issuer(alias, issuer);
        if let Some(other) = seen.insert(issuer.issuer.as_str(), alias) {
            at.fault(
                ".issuer",
                format!("is the same as that of `{other}`"),
                "use one alias for one issuer; `audience` takes several values",
            );
        }
        if issuer
            .audience
            .as_slice()
            .iter()
            .any(|own| Some(own.as_str()) == console_audience)
        {
            at.fault(
                ".audience",
                "is also the console's audience".to_owned(),
                "give the console an audience of its own: a token for calls must not open it",
            );
        }
        for (name, kind) in &issuer.expose {
            if exposed
                .insert(name, *kind)
                .is_some_and(|other| other != *kind)
            {
                at.fault(
                    ".expose",
                    format!("`{name}` has another type at another issuer"),
                    "one name has one type in policies",
                );
            }
        }
    }
    faults
}

struct At<'a> {
    path: String,
    faults: &'a mut Vec<Fault>,
}

impl At<'_> {
    fn fault(&mut self, member: &str, message: String, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.faults.push(Fault {
            path: format!("{}{member}", self.path),
            message,
            help,
        });
    }

    fn issuer(&mut self, alias: &str, issuer: &IssuerConfig) {
        let good = alias.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && alias.len() <= 64
            && alias
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !good {
            let help = "use a-z, 0-9 and `-`, starting with a letter, at most 64";
            self.fault("", format!("`{alias}` is not an alias"), help);
        }
        self.urls(issuer);
        self.audience(issuer);
        self.conditions(".claims", &issuer.claims);
        if let KindConfig::Rules(rules) = &issuer.kind {
            for (index, rule) in rules.iter().enumerate() {
                let place = format!(".kind[{index}].when");
                if rule.when.is_empty() {
                    self.fault(
                        &place,
                        "has no condition".to_owned(),
                        "or write `kind: human`",
                    );
                }
                self.conditions(&place, &rule.when);
            }
        }
        self.shared(issuer);
        let paths = issuer.groups.iter().map(|path| (".groups", path));
        let paths = paths.chain(issuer.person.iter().map(|path| (".person", path)));
        for (place, path) in paths.chain(issuer.expose.keys().map(|path| (".expose", path))) {
            self.path(place, path);
        }
        self.limits(issuer);
    }

    fn limits(&mut self, issuer: &IssuerConfig) {
        if issuer.token_types.is_empty() {
            self.fault(
                ".token_types",
                "is empty".to_owned(),
                "leave it out for `[JWT, at+jwt]`",
            );
        }
        if issuer.skew_s > SKEW_S_MAX {
            let help = "mend the clocks; at most 300";
            self.fault(".skew_s", format!("`{}` is too much", issuer.skew_s), help);
        }
        if !LIFETIME_S.contains(&issuer.max_lifetime_s) {
            let message = format!("`{}` is out of range", issuer.max_lifetime_s);
            self.fault(".max_lifetime_s", message, "use 60 to 2592000 seconds");
        }
    }

    fn urls(&mut self, issuer: &IssuerConfig) {
        let parse = if issuer.plaintext {
            Target::from_config_plaintext
        } else {
            Target::from_config
        };
        // With `jwks` the issuer is only a name to compare; some are no URLs.
        let url = issuer.jwks.as_ref().unwrap_or(&issuer.issuer);
        let place = if issuer.jwks.is_some() {
            ".jwks"
        } else {
            ".issuer"
        };
        if let Err(error) = parse(url) {
            self.fault(place, error.to_string(), "");
        }
        if issuer.jwks.is_none() && issuer.issuer.contains('?') {
            self.fault(
                ".issuer",
                "has a query".to_owned(),
                "name the keys' place with `jwks`",
            );
        }
        if issuer.issuer.is_empty() {
            self.fault(".issuer", "is empty".to_owned(), "");
        }
    }

    fn audience(&mut self, issuer: &IssuerConfig) {
        let audience = issuer.audience.as_slice();
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            let help = "name what tokens for this gateway carry in `aud`";
            self.fault(".audience", "is empty".to_owned(), help);
        }
        if audience.iter().any(|value| value.contains('*')) {
            let help = "there are no patterns here: list the values";
            self.fault(".audience", "contains `*`".to_owned(), help);
        }
    }

    fn conditions(&mut self, place: &str, conditions: &BTreeMap<String, Condition>) {
        for (claim, condition) in conditions {
            self.path(place, claim);
            let place = format!("{place}.{claim}");
            match condition {
                Condition::Is(value) => self.scalar(&place, value),
                Condition::OneOf(values) => {
                    if values.is_empty() {
                        self.fault(&place, "lists no values".to_owned(), "no token could fit");
                    }
                    for value in values {
                        self.scalar(&place, value);
                    }
                }
                Condition::Starts(start) => {
                    if start
                        .prefix
                        .chars()
                        .last()
                        .is_none_or(char::is_alphanumeric)
                    {
                        self.fault(
                            &place,
                            format!("prefix `{}` does not end in a separator", start.prefix),
                            "end it in `/` or `:`, so that `acme/` does not fit `acme-evil/`",
                        );
                    }
                }
            }
        }
    }

    fn scalar(&mut self, place: &str, value: &Scalar) {
        if let Scalar::Text(text) = value
            && text.ends_with('*')
        {
            let help = "values compare exactly; for a start write `{ prefix: \"acme/\" }`";
            self.fault(place, format!("`{text}` looks like a pattern"), help);
        }
    }

    fn path(&mut self, place: &str, path: &str) {
        if ClaimPath::parse(path).is_none() {
            let help = "write a claim name, or a path such as `/realm_access/roles`";
            self.fault(place, format!("`{path}` is not a claim"), help);
        }
    }

    fn shared(&mut self, issuer: &IssuerConfig) {
        let trimmed = issuer.issuer.trim_end_matches('/');
        let known = SHARED.iter().find(|(url, _)| {
            trimmed == *url
                || trimmed
                    .strip_prefix(url)
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        let Some((_, any_of)) = known else { return };
        if !any_of
            .iter()
            .any(|claim| issuer.claims.contains_key(*claim))
        {
            self.fault(
                ".claims",
                format!("`{}` signs tokens for everybody", issuer.issuer),
                &format!("add a condition on one of: {}", any_of.join(", ")),
            );
        }
    }
}
