//! The classes that detectors can find: their groups, and which of them are on without being asked
//! for. On by default is what is a secret or proves itself by a checksum strong enough that ordinary
//! numbers do not pass it.

use super::detect::{self, secrets, wallets};

/// A class that a detector finds by value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The class.
    pub(super) name: &'static str,
    /// Its group.
    pub(super) group: &'static str,
    /// On without being asked for.
    pub(super) default_on: bool,
}

const fn entry(name: &'static str, group: &'static str, default_on: bool) -> Entry {
    Entry {
        name,
        group,
        default_on,
    }
}

/// Everything but the secrets and the identifiers, which have tables of their own.
const OTHERS: &[Entry] = &[
    entry("payment-card", "payment", true),
    entry("iban", "payment", true),
    entry("email", "contact", false),
    entry("phone", "contact", false),
    entry("ip-address", "device", false),
    entry("hardware-address", "device", false),
    entry("postal-address", "contact", false),
    entry("bitcoin-address", "wallet", false),
    entry("ethereum-address", "wallet", false),
    entry(wallets::KEY_CLASSES[0], "secret", true),
    entry(wallets::KEY_CLASSES[1], "secret", true),
    entry(wallets::KEY_CLASSES[2], "secret", true),
];

/// Identifiers that are not of people.
const DEVICES: &[&str] = &["imei", "sim-card", "vehicle-number", "licence-plate"];
/// Identifiers of accounts.
const PAYMENTS: &[&str] = &[
    "us-routing-number",
    "bic",
    "bank-account",
    "uk-sort-code",
    "card-verification-code",
];
/// Identifiers of patients, insured and prescribers.
const HEALTH: &[&str] = &[
    "uk-nhs-number",
    "us-medicare-number",
    "us-dea-number",
    "us-npi",
    "de-health-insurance-number",
    "au-medicare-number",
    "medical-record-number",
    "health-insurance-number",
];
/// Where people are reached.
const CONTACTS: &[&str] = &["postal-code"];

/// Group of a class that no detector finds.
pub(super) const CUSTOM: &str = "custom";

/// All classes that can be found by value.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    let secrets = secrets::classes().map(|name| entry(name, "secret", true));
    let identifiers = detect::identifiers().chain(detect::named()).map(|name| {
        let group = match name {
            _ if name.starts_with("secret.") => "secret",
            _ if DEVICES.contains(&name) => "device",
            _ if PAYMENTS.contains(&name) => "payment",
            _ if HEALTH.contains(&name) => "health",
            _ if CONTACTS.contains(&name) => "contact",
            _ => "identity",
        };
        entry(name, group, group == "secret")
    });
    secrets.chain(OTHERS.iter().copied()).chain(identifiers)
}

/// The group of a class.
pub(super) fn group_of(class: &str) -> &'static str {
    entries()
        .find(|entry| entry.name == class)
        .map_or(CUSTOM, |entry| entry.group)
}

/// Names that `detect` accepts, for messages.
pub(super) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = entries().map(|entry| entry.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}
