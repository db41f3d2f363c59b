//! What approvers see of a call.

use super::refusal::{Code, Refusal};
use crate::call::input::Value;
use crate::call::{Call, Facts, Input};
use crate::identity::Principal;
use crate::mask::Cover;
use crate::record::principal_json;

/// Most values that came as tokens in a call that waits for people: each is looked for in all that they are shown.
const ASKED_VALUES_MAX: usize = 100;

/// What approvers see of a call: made from the bytes that are stored.
pub(super) fn summary<C: Call>(call: &C) -> Result<serde_json::Value, Refusal> {
    if call.veil().len() > ASKED_VALUES_MAX {
        return Err(Refusal::new(
            Code::MaskedValueInRequest,
            format!(
                "NOT executed: this call needs approval, and more than {ASKED_VALUES_MAX} different values came as \
                 tokens: send fewer in one call"
            ),
        ));
    }
    let content = call.content();
    let body = content.body.as_ref().map(|body| match std::str::from_utf8(body) {
        Ok(text) => serde_json::json!({ "text": text }),
        Err(_) => serde_json::json!({ "hex": body.iter().map(|byte| format!("{byte:02x}")).collect::<String>() }),
    });
    let mut summary = serde_json::json!({ "request": content.head, "body": body, "input": input_json(call.input()) });
    if !call.veil().is_empty() {
        veiled(&Cover::new(call.veil()), &mut summary);
        summary["veiled"] = true.into();
    }
    Ok(summary)
}

/// What the caller sent as a token nobody else is shown: markers stand in place of the values.
fn veiled(cover: &Cover, shown: &mut serde_json::Value) {
    match shown {
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => {
            if let Some(hidden) = cover.over(text) {
                *text = hidden;
            }
        }
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
            if let Some(hidden) = cover.over(&shown.to_string()) {
                *shown = hidden.into();
            }
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| veiled(cover, item)),
        serde_json::Value::Object(members) => {
            members
                .values_mut()
                .for_each(|member| veiled(cover, member));
        }
    }
}

/// The typed input as JSON, for the sealed record and for approvers.
pub(super) fn input_json(input: &Input) -> serde_json::Value {
    fn value_of(value: &Value) -> serde_json::Value {
        match value {
            Value::Bool(flag) => (*flag).into(),
            Value::Long(number) => (*number).into(),
            Value::Decimal(text) | Value::String(text) => text.as_str().into(),
            Value::Set(values) => values.iter().map(value_of).collect(),
            Value::Record(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), value_of(member)))
                .collect(),
        }
    }
    input
        .members
        .iter()
        .map(|(name, member)| (name.clone(), value_of(member)))
        .collect()
}

/// What policy saw beside the input, for the sealed record: a draft can be asked the same.
pub(super) fn judged(who: &Principal, facts: &Facts) -> serde_json::Value {
    serde_json::json!({
        "principal": principal_json(who),
        "received": facts.received.to_string(),
        "source": facts.source.to_string(),
        "tls": facts.tls,
        "protocol": facts.protocol,
        "method": facts.method,
    })
}
