//! Who cosigns the audit log's heads: settings and their checks.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tlog::note::{Kind, VerifierKey};
use tlog::policy::{POLICY_BYTES_MAX, Policy};

use super::{Fault, Loaded};
use crate::disk::read_named;
use crate::egress::{Egress, Target};
use crate::record::{CosignSettings, WITNESSES_MAX, WitnessTarget};

/// How often witnesses are asked, by default.
const EVERY_S_DEFAULT: u64 = 10;
/// The longest time between two questions.
const EVERY_S_MAX: u64 = 3600;

/// One witness of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Its key, as `callgate witness init` printed it: `name+id+base64`.
    pub key: String,
    /// Where it takes checkpoints; `/add-checkpoint` is added. `https`, or `http` on loopback.
    pub url: String,
    /// PEM file with a certificate authority to trust for it, beside the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// The witnesses that a config names; `None` when it names none.
///
/// # Errors
/// Every fault of these settings.
pub fn witnesses(loaded: &Loaded, egress: &Egress) -> Result<Option<CosignSettings>, Vec<Fault>> {
    let audit = &loaded.config.audit;
    let mut faults = Vec::new();
    let mut found: Vec<WitnessTarget> = Vec::new();
    for (at, settings) in audit.witnesses.iter().enumerate() {
        let place = format!("audit.witnesses[{at}]");
        match witness(settings, loaded, egress) {
            Ok(one)
                if found
                    .iter()
                    .any(|other| other.key.public() == one.key.public()) =>
            {
                faults.push(Fault::new(
                    place,
                    "a witness with this key stands there before",
                ));
            }
            Ok(one) => found.push(one),
            Err(text) => faults.push(Fault::new(place, text)),
        }
    }
    if audit.witnesses.len() > WITNESSES_MAX {
        faults.push(Fault::new(
            "audit.witnesses",
            "at most 15: a checkpoint carries 16 signatures",
        ));
    }
    let every_s = audit.witness_every_s.unwrap_or(EVERY_S_DEFAULT);
    if !(1..=EVERY_S_MAX).contains(&every_s) {
        faults.push(Fault::new(
            "audit.witness_every_s",
            "between 1 and 3600 seconds",
        ));
    }
    let policy = audit.policy.as_ref().and_then(|path| {
        let read = policy(loaded, path).and_then(|policy| fits(policy, &found));
        read.map_err(|text| faults.push(Fault::new("audit.policy", text)))
            .ok()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok((!found.is_empty()).then_some(CosignSettings {
        witnesses: found,
        policy,
        every: Duration::from_secs(every_s),
    }))
}

fn witness(
    settings: &WitnessConfig,
    loaded: &Loaded,
    egress: &Egress,
) -> Result<WitnessTarget, String> {
    let key: VerifierKey = settings
        .key
        .parse()
        .map_err(|error: tlog::Error| error.to_string())?;
    if key.kind() != Kind::Witness {
        return Err("the key is a log's: a witness's begins with `B` after its id".to_owned());
    }
    let url = format!("{}/add-checkpoint", settings.url.trim_end_matches('/'));
    let target = Target::from_config(&url).map_err(|error| error.to_string())?;
    let egress = match &settings.ca {
        Some(ca) => egress
            .with_ca(&loaded.base.join(ca))
            .map_err(|error| error.to_string())?,
        None => egress.clone(),
    };
    Ok(WitnessTarget {
        key,
        target,
        egress,
    })
}

fn policy(loaded: &Loaded, path: &std::path::Path) -> Result<Policy, String> {
    let path = loaded.base.join(path);
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = read_named(&path, POLICY_BYTES_MAX as u64).map_err(|error| told(&error))?;
    Policy::parse(&bytes).map_err(|error| told(&error))
}

/// A quorum that cannot be met would only be noticed when a proof is wanted.
fn fits(policy: Policy, found: &[WitnessTarget]) -> Result<Policy, String> {
    if !policy.asks_witnesses() {
        return Err("its quorum is `none`: leave `policy` out, or ask for witnesses".to_owned());
    }
    let asked = |key: &VerifierKey| found.iter().any(|one| one.key == *key);
    match policy.witnesses().iter().find(|named| !asked(&named.key)) {
        Some(named) => Err(format!(
            "it names the witness `{}`, which `audit.witnesses` does not: nobody would ask it",
            named.key.name()
        )),
        None => Ok(policy),
    }
}
