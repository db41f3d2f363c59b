//! The call as a person reads it before deciding: every text with what acts made visible, nothing cut,
//! and what is different this time.
//!
//! Made from the summary, which was rendered from the bytes that will run and is bound to the votes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::Filter;

use super::seal::Part;
use super::terminal::{acting, terminal_safe};
use super::{ApprovalId, ApprovalView, Approvals, Error, RECENT_MAX, State};

/// A text of a caller, safe to show.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ShownText {
    /// The whole text; control, bidirectional and invisible characters stand as `\\u{202e}`.
    pub text: String,
    /// Its length in bytes, before anything was made visible.
    pub bytes: u64,
    /// How many characters were made visible; any above zero deserve a second look.
    pub made_visible: u64,
}

impl ShownText {
    fn of(text: &str) -> Self {
        Self {
            text: terminal_safe(text),
            bytes: text.len() as u64,
            made_visible: acting(text),
        }
    }
}

/// A name with its value: a header, or a member of the typed input by its path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Place {
    /// Its name or path, such as `body.amount`.
    pub name: ShownText,
    /// Its value; of the typed input as JSON.
    pub value: ShownText,
}

/// The exact call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// The method.
    pub method: ShownText,
    /// The target as it goes up: path and query.
    pub target: ShownText,
    /// The headers as they go up, without the credential.
    pub headers: Vec<Place>,
    /// The typed input: what policy judges, member by member.
    pub input: Vec<Place>,
    /// The whole body as it goes up; absent when there is none.
    pub body: Option<ShownText>,
    /// Whether `body` is hexadecimal, because the bytes are no text.
    pub body_is_hex: bool,
}

/// How a member differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    /// It was not there the last time.
    Added,
    /// It was there the last time.
    Removed,
    /// It had another value.
    Changed,
}

/// One member of the typed input that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// Its path.
    pub path: ShownText,
    /// How.
    pub kind: PlaceKind,
    /// The value the last time, as JSON.
    pub before: Option<ShownText>,
    /// The value now, as JSON.
    pub now: Option<ShownText>,
}

/// The last question of the same caller about the same function, and what is different now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct SinceLast {
    /// Its approval.
    pub approval: String,
    /// What became of it.
    pub state: State,
    /// When it was asked, RFC 3339.
    pub asked_at: String,
    /// What differs in the typed input; absent when the earlier input is not kept any more or was too
    /// large, empty when the typed input is the same.
    pub differences: Option<Vec<Difference>>,
}

/// Another question of the same caller.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct RecentView {
    /// Its approval.
    pub id: String,
    /// The function.
    pub function: String,
    /// Its effect group.
    pub effect: String,
    /// What became of it.
    pub state: State,
    /// When it was asked, RFC 3339.
    pub asked_at: String,
}

/// The parts of a summary that are shown.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    request: Option<Head>,
    #[serde(default)]
    body: Option<Body>,
    #[serde(default)]
    input: Value,
}

#[derive(Deserialize)]
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Body {
    Text(String),
    Hex(String),
}

/// The typed input of a summary, as JSON.
pub(super) fn input_of(summary: &[u8]) -> Option<Vec<u8>> {
    let parts: Parts = serde_json::from_slice(summary).ok()?;
    serde_json::to_vec(&parts.input).ok()
}

/// The call in a summary; `None` when the summary is not of a request.
pub(super) fn shown(summary: &Value) -> Option<Shown> {
    let parts = Parts::deserialize(summary).ok()?;
    let head = parts.request?;
    let (body, body_is_hex) = match parts.body {
        None => (None, false),
        Some(Body::Text(text)) if text.is_empty() => (None, false),
        Some(Body::Text(text)) => (Some(ShownText::of(&text)), false),
        Some(Body::Hex(text)) => (Some(ShownText::of(&text)), true),
    };
    let place = |(name, value): (String, String)| Place {
        name: ShownText::of(&name),
        value: ShownText::of(&value),
    };
    Some(Shown {
        method: ShownText::of(&head.method),
        target: ShownText::of(&head.target),
        headers: head.headers.into_iter().map(place).collect(),
        input: flat(&parts.input).into_iter().map(place).collect(),
        body,
        body_is_hex,
    })
}

/// Every member that holds a value, by its path; a list stands as a whole.
fn flat(input: &Value) -> BTreeMap<String, String> {
    fn walk(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    walk(&path, member, all);
                }
            }
            Value::Object(_) if path.is_empty() => {}
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                all.insert(path.to_owned(), value.to_string());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk("", input, &mut all);
    all
}

fn differences(before: &Value, now: &Value) -> Vec<Difference> {
    let (before, now) = (flat(before), flat(now));
    let mut paths: Vec<&String> = before.keys().chain(now.keys()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut all = Vec::new();
    for path in paths {
        let (was, is) = (before.get(path), now.get(path));
        let kind = match (was, is) {
            (None, Some(_)) => PlaceKind::Added,
            (Some(_), None) => PlaceKind::Removed,
            (Some(was), Some(is)) if was != is => PlaceKind::Changed,
            (Some(_), Some(_)) | (None, None) => continue,
        };
        all.push(Difference {
            path: ShownText::of(path),
            kind,
            before: was.map(|text| ShownText::of(text)),
            now: is.map(|text| ShownText::of(text)),
        });
    }
    all
}

impl Approvals {
    /// [`Self::show`] with what helps a person to decide: the call made visible, what differs from the
    /// caller's last question about this function, and its other questions of late.
    ///
    /// # Errors
    /// As [`Self::show`].
    pub async fn show_to_decide(&self, id: &ApprovalId) -> Result<ApprovalView, Error> {
        let mut view = self.show(id).await?;
        view.shown = view.summary.as_ref().and_then(shown);
        view.since_last = self.since_last(id, &view).await?;
        view.recent = self.recent(&view).await?;
        Ok(view)
    }

    async fn since_last(
        &self,
        id: &ApprovalId,
        view: &ApprovalView,
    ) -> Result<Option<SinceLast>, Error> {
        let Some(summary) = &view.summary else {
            return Ok(None);
        };
        let Some(earlier) = self.inner.store.earlier(id.as_str()).await? else {
            return Ok(None);
        };
        let tampered = || Error::Tampered(id.clone());
        let differences = if earlier.input.is_empty() {
            None
        } else {
            let keys = &self.inner.keys;
            let before = keys.open(Part::Input, &earlier.id, &earlier.input);
            let before = before.map_err(|_| tampered())?;
            let before: Value = serde_json::from_slice(&before).map_err(|_| tampered())?;
            let now = summary.get("input").unwrap_or(&Value::Null);
            Some(differences(&before, now))
        };
        Ok(Some(SinceLast {
            approval: earlier.id,
            state: earlier.state,
            asked_at: earlier.created.to_string(),
            differences,
        }))
    }

    async fn recent(&self, view: &ApprovalView) -> Result<Vec<RecentView>, Error> {
        let requester = &view.head.requester;
        let filter = Filter {
            requester: Some((requester.issuer.clone(), requester.subject.clone())),
            limit: RECENT_MAX + 1,
            ..Filter::default()
        };
        let rows = self.inner.store.list(filter, self.now()).await?;
        let others = rows.into_iter().filter(|row| row.id != view.head.id);
        Ok(others
            .take(RECENT_MAX as usize)
            .map(|row| RecentView {
                id: row.id,
                function: row.function,
                effect: row.effect,
                state: row.state,
                asked_at: row.created.to_string(),
            })
            .collect())
    }
}
