//! What a reload changes. Called by `house`.

use std::collections::BTreeSet;

use crate::pipeline::Snapshot;
use crate::policy::PolicyDiff;

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
        .collect();
    (lines.join("\n"), removed)
}
