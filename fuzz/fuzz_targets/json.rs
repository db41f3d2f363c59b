//! Strict reader and stream editor against serde_json and against themselves: what the strict reader accepts, another
//! reader accepts with the same meaning; a stream copied by the editor is the same bytes, however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::json::stream::{Scanner, StreamLimits, Token, Verdict, Visitor};
use wire::json::{Limits, Value, parse};

struct Copy;

impl Visitor for Copy {
    fn token(&mut self, _: &Token<'_>) -> Verdict {
        Verdict::Keep
    }
}

fn copied(bytes: &[u8], step: usize) -> Option<Vec<u8>> {
    let (mut scanner, mut out) = (Scanner::new(StreamLimits::default()), Vec::new());
    for chunk in bytes.chunks(step.max(1)) {
        scanner.push(chunk, &mut Copy, &mut out).ok()?;
    }
    scanner.finish(&mut Copy, &mut out).ok()?;
    Some(out)
}

/// The same document, but for numbers that serde_json cannot hold.
fn same(ours: &Value, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Value::Null, serde_json::Value::Null) => true,
        (Value::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Value::String(a), serde_json::Value::String(b)) => a == b,
        (Value::Number(a), serde_json::Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        },
        (Value::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => false,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes, &Limits::default());
    if let Ok(ours) = &parsed {
        match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(theirs) => assert!(same(ours, &theirs), "two readers, two meanings"),
            Err(error) => assert!(error.to_string().contains("number out of range"), "{error}"),
        }
    }
    let whole = copied(bytes, bytes.len());
    for step in [1, 2, 7] {
        assert_eq!(copied(bytes, step), whole, "the verdict depends on the cut");
    }
    if let Some(out) = &whole {
        assert_eq!(out, bytes, "a stream that nobody edits must stay as it is");
    }
    if parsed.is_ok() {
        assert!(whole.is_some(), "the strict reader accepts more than the stream editor");
    }
});
