//! What a reload changes, and what a snapshot does not enforce. Called by `house`.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::gate::ObserveStands;
use crate::pipeline::Snapshot;
use crate::policy::{PolicyDiff, ShadowStands};

/// What changes between two snapshots, and which forbids and approval rules are taken away.
pub(super) fn difference(old: &Snapshot, new: &Snapshot) -> (String, Vec<String>) {
    let diff = PolicyDiff::between(&old.policies, &new.policies);
    let mut lines = Vec::new();
    lines.extend(
        diff.removed
            .iter()
            .map(|rule| format!("- policy {}", rule.id)),
    );
    lines.extend(
        diff.changed
            .iter()
            .map(|(_, rule)| format!("~ policy {}", rule.id)),
    );
    lines.extend(
        diff.added
            .iter()
            .map(|rule| format!("+ policy {}", rule.id)),
    );
    let functions = |snapshot: &Snapshot| -> BTreeSet<String> {
        let connections = snapshot.connections.values();
        connections
            .flat_map(|connection| connection.catalogue.functions())
            .map(|f| f.id.to_string())
            .collect()
    };
    let (had, has) = (functions(old), functions(new));
    lines.extend(had.difference(&has).map(|id| format!("- function {id}")));
    lines.extend(has.difference(&had).map(|id| format!("+ function {id}")));
    let (loosened, modes) = modes(old, new);
    lines.extend(modes);
    if lines.is_empty() {
        lines.push(
            if old.version == new.version {
                "no change"
            } else {
                "settings changed"
            }
            .to_owned(),
        );
    }
    let removed = diff
        .takes_away()
        .iter()
        .map(|rule| rule.id.clone())
        .chain(loosened)
        .collect();
    (lines.join("\n"), removed)
}

/// Which connections would enforce nothing that did, or for longer, and every change of mode.
fn modes(old: &Snapshot, new: &Snapshot) -> (Vec<String>, Vec<String>) {
    let (mut loosened, mut lines) = (Vec::new(), Vec::new());
    for (name, connection) in &new.connections {
        let before = old.connections.get(name).map(|old| &old.observe);
        let (was, is) = (before.and_then(Option::as_ref), connection.observe.as_ref());
        if was == is {
            continue;
        }
        let mode = is.map_or_else(
            || "enforce".to_owned(),
            |until| format!("observe until {}", until.day()),
        );
        lines.push(format!("~ connection {name}: mode {mode}"));
        let longer = is.is_some_and(|is| was.is_none_or(|was| was.end() < is.end()));
        if longer && before.is_some() {
            loosened.push(format!("enforcement on connection {name}"));
        }
    }
    (loosened, lines)
}

/// Connections and policies that are not enforced, so that nobody takes them for protection.
pub(super) fn tell_unenforced(snapshot: &Snapshot, now: Timestamp) {
    for (name, connection) in &snapshot.connections {
        let Some(until) = &connection.observe else {
            continue;
        };
        let (connection, day) = (name.as_str(), until.day());
        match until.stands(now) {
            ObserveStands::Observing | ObserveStands::TooLong => tracing::warn!(
                connection,
                until = day,
                "the connection only observes: every call passes that has a verified caller"
            ),
            ObserveStands::Over => tracing::warn!(
                connection,
                until = day,
                "the time to observe is over: the connection enforces; remove its `mode`"
            ),
        }
    }
    for shadow in snapshot.policies.shadows(now) {
        let policy = shadow.rule.id.as_str();
        match shadow.stands {
            ShadowStands::Watched => tracing::info!(policy, "{shadow}"),
            ShadowStands::Over | ShadowStands::TooLong => tracing::warn!(policy, "{shadow}"),
        }
    }
}
