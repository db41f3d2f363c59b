//! Which questions this process has on the record.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::approval::ApprovalId;

/// Questions that are remembered; when there are more, all are forgotten, and some are recorded again.
const ASKED_MAX: usize = 20_000;

/// Approvals whose question this process has on the record.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Arc<Mutex<HashSet<String>>>);

impl Asked {
    pub(super) fn has(&self, id: &ApprovalId) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.contains(id.as_str())
    }

    pub(super) fn add(&self, id: &ApprovalId) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= ASKED_MAX {
            asked.clear();
        }
        asked.insert(id.to_string());
    }
}
