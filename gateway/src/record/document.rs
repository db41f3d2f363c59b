//! The text of sealed documents. Called by `sealer`.

use serde_json::Value;
use serde_json::value::RawValue;

/// A value's text, fixed: commitments are over these bytes and they are sealed as they are.
pub(super) fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// An object's members, and these texts as further members.
pub(super) fn document(object: &Value, texts: &[(&str, &RawValue)]) -> String {
    let mut out = object.to_string();
    out.pop();
    for (name, text) in texts {
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push('"');
        out.push_str(name);
        out.push_str("\":");
        out.push_str(text.get());
    }
    out.push('}');
    out
}
