//! What `callgate doctor` says of the places that records go to.

use std::path::Path;

use super::doctor::{Findings, Grade};
use crate::app;
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::egress::{Egress, Policy};
use crate::export::{Kept, Parked};
use crate::record::Trail;

/// Entries of a sink's list of refused records that are told one by one.
const PARKED_TOLD_MAX: usize = 5;

/// Whether each sink can be had, how far behind it is, and what it refused.
pub(super) async fn tell(loaded: &Loaded, findings: &mut Findings) {
    // Faults of the config were told before anything else.
    let Ok(egress) = Egress::new(&Policy::default()) else {
        return;
    };
    let Ok(sinks) = app::sinks(loaded, &egress) else {
        return;
    };
    let dir = app::audit_dir(&loaded.data());
    let head = Trail::newest_head(&dir, &RealDisk).ok().flatten();
    let signed = head.map_or(0, |head| head.size);
    for (name, alarm_after) in sinks.names() {
        if let Err(error) = sinks.reach(name).await {
            let text = format!("sink {name}: its records wait, calls go on: {error}");
            findings.tell(Grade::Bad, &text);
        }
        let kept = match Kept::read(&RealDisk, &dir, name) {
            Ok(Some(kept)) => kept,
            Ok(None) => {
                let text = format!("sink {name}: it begins at the next start");
                findings.tell(Grade::Good, &text);
                continue;
            }
            Err(error) => {
                let text = format!("sink {name}: its cursor cannot be read: {error}");
                findings.tell(Grade::Bad, &text);
                continue;
            }
        };
        let behind = signed.saturating_sub(kept.next);
        let confirmed = kept.confirmed_s.map(Timestamp::from_secs);
        let silent = confirmed.is_none_or(|at| SystemClock.now().since(at) > alarm_after);
        let text = match &kept.trouble {
            Some(why) => format!("sink {name}: {behind} records behind: {why}"),
            None => format!("sink {name}: has {} records, {behind} wait", kept.next),
        };
        let grade = match (&kept.trouble, behind > 0 && silent) {
            (_, true) => Grade::Bad,
            (Some(_), false) => Grade::Weak,
            (None, false) => Grade::Good,
        };
        findings.tell(grade, &text);
        refused(name, &dir, &kept, findings);
    }
}

/// What to tell of records that a sink did not get.
fn never_arrived(name: &str, dir: &Path, parked: &Parked) -> String {
    let log = parked.of.as_ref().map(|folder| dir.with_file_name(folder));
    let log = log.map_or_else(String::new, |log| format!(" --log {}", log.display()));
    format!(
        "sink {name}: {} of the records {} to {} never arrived ({}): hand them on with \
         `callgate audit export --jsonl --from {}{log}`",
        parked.count, parked.first, parked.last, parked.why, parked.first
    )
}

/// What a sink refused for good, with the command that hands it on by other ways.
fn refused(name: &str, dir: &Path, kept: &Kept, findings: &mut Findings) {
    for parked in kept.parked.iter().rev().take(PARKED_TOLD_MAX) {
        findings.tell(Grade::Bad, &never_arrived(name, dir, parked));
    }
    let more = kept.parked.len().saturating_sub(PARKED_TOLD_MAX);
    if more > 0 {
        let text =
            format!("sink {name}: {more} further entries are on its list of refused records");
        findings.tell(Grade::Bad, &text);
    }
}
