//! Where in a token's payload a claim is.

use std::sync::Arc;

use serde_json::{Map, Value};

/// Longest path, in bytes, and most steps of it.
const PATH_BYTES_MAX: usize = 256;
const STEPS_MAX: usize = 8;

/// A claim's name, or a path to it that starts with `/` (RFC 6901, objects only).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ClaimPath {
    text: Arc<str>,
    steps: Vec<String>,
}

impl ClaimPath {
    /// `None` when it is empty, too long or not a path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > PATH_BYTES_MAX || text.chars().any(char::is_control) {
            return None;
        }
        let steps: Vec<String> = match text.strip_prefix('/') {
            None => vec![text.to_owned()],
            Some(rest) => rest
                .split('/')
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect(),
        };
        let good = steps.len() <= STEPS_MAX && steps.iter().all(|step| !step.is_empty());
        good.then(|| Self {
            text: text.into(),
            steps,
        })
    }

    /// As configured.
    pub(super) fn text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The member of the payload that it starts at.
    pub(super) fn root(&self) -> &str {
        self.steps.first().map_or("", String::as_str)
    }

    /// The claim, if the token has it.
    pub(super) fn of<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.steps.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, step| {
            value.as_object()?.get(step)
        })
    }
}
