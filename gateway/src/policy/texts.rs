//! The policies of a snapshot as they are recorded: enough to read them, and to find the version that the
//! records of calls state, without anything else.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use cedar_policy::Policy;
use serde::{Deserialize, Serialize};

use super::decision::RuleHash;
use super::rule;

/// All policies, each as Cedar writes it, annotations included: neither comments nor layout are in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTexts {
    /// SHA-256 of the schema that they were checked against, in hexadecimal.
    pub schema_sha256: String,
    /// The policies, sorted.
    pub policies: Vec<String>,
}

impl PolicyTexts {
    pub(super) fn of(policies: &[Policy], schema_text: &str) -> Self {
        let texts: BTreeSet<String> = policies.iter().map(|p| p.as_ref().to_string()).collect();
        Self {
            schema_sha256: hash(&[schema_text.as_bytes()]).to_string(),
            policies: texts.into_iter().collect(),
        }
    }

    /// A hash of all of them and of the schema: their order, files and layout do not count.
    pub fn version(&self) -> String {
        let hashes: BTreeSet<RuleHash> =
            self.policies.iter().map(|text| rule::hash(text)).collect();
        let schema = bytes(&self.schema_sha256).unwrap_or_default();
        let mut parts: Vec<&[u8]> = vec![b"callgate-policies/1\n", &schema];
        parts.extend(hashes.iter().map(|hash| hash.0.as_slice()));
        hash(&parts).to_string()
    }

    /// Bytes of all texts.
    pub fn text_bytes(&self) -> usize {
        self.policies.iter().map(String::len).sum()
    }
}

fn hash(parts: &[&[u8]]) -> RuleHash {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    RuleHash(hash)
}

/// Only the one spelling counts: another one of the same bytes is another text.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hex.len() != 64 || !hex.bytes().all(plain) {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}
