//! Which later calls a grant is for: all that the approved call sends ([`super::members`]), with those
//! members named that may be otherwise.
//!
//! Everything that is not named must be equal, also what is not there, and also what policy does not see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::members::{Members, members};
use super::terminal_safe;

/// Digits behind the point that two numbers are compared with: those of Cedar's `decimal`.
const FRACTION: u32 = 4;

/// What a member of a later call may be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum May {
    /// Exactly this JSON.
    Be(String),
    /// A number of the same form, at most this.
    BeAtMost(String),
}

/// Arguments that a grant covers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pattern {
    /// By JSON pointer (RFC 6901).
    members: BTreeMap<String, May>,
    /// Pointers of members that may be anything, with all that is below them, or missing.
    any: Vec<String>,
}

/// Why a pattern cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// Values came as tokens, or it has more members than are compared.
    #[error(
        "this call cannot be compared with later ones: it has values that came as tokens, or too many arguments"
    )]
    Opaque,
    /// No such member, or two of that name.
    #[error("`{0}` is not one of the call's arguments (or stands for two of them); they are: {1}")]
    NotAMember(String, String),
    /// A bound on something that is no number.
    #[error("`{0}` is not a number, so it cannot have a greatest value")]
    NotANumber(String),
    /// A bound that is no number, or below the value that was approved.
    #[error(
        "the greatest value of `{0}` must be a number with at most four digits behind the point, not below this call's {1}"
    )]
    BadBound(String, String),
}

impl Pattern {
    /// A pattern out of a call's summary: equal to it but for what `any` and `at_most` name, by the
    /// names that approvers see (`body.amount`).
    pub(super) fn of(
        summary: &Value,
        any: &[String],
        at_most: &BTreeMap<String, String>,
    ) -> Result<Self, PatternError> {
        let flat = members(summary).ok_or(PatternError::Opaque)?;
        let mut members: BTreeMap<String, May> = flat
            .iter()
            .map(|(pointer, value)| (pointer.clone(), May::Be(value.clone())))
            .collect();
        let pointer = |name: &String, whole: bool| {
            pointer(&flat, name, whole).ok_or_else(|| {
                let names: Vec<String> = flat.keys().map(|pointer| named(pointer)).collect();
                PatternError::NotAMember(terminal_safe(name), names.join(", "))
            })
        };
        for (name, bound) in at_most {
            let at = pointer(name, true)?;
            let is = flat.get(&at).map(String::as_str).unwrap_or_default();
            let number = number(is).ok_or_else(|| PatternError::NotANumber(terminal_safe(name)))?;
            if self::number(bound).is_none_or(|bound| bound < number) {
                return Err(PatternError::BadBound(terminal_safe(name), is.to_owned()));
            }
            // In the form of this call's: a number, or a text that is one.
            let bound = match is.starts_with('"') {
                true => format!("\"{bound}\""),
                false => bound.clone(),
            };
            members.insert(at, May::BeAtMost(bound));
        }
        let any = any
            .iter()
            .map(|name| pointer(name, false))
            .collect::<Result<Vec<_>, _>>()?;
        members.retain(|pointer, _| !below_any(&any, pointer));
        Ok(Self { members, any })
    }

    /// Whether a call is one of those.
    pub(super) fn covers(&self, summary: &Value) -> bool {
        let Some(flat) = members(summary) else {
            return false;
        };
        self.members
            .keys()
            .all(|pointer| flat.contains_key(pointer))
            && flat.iter().all(|(pointer, value)| {
                below_any(&self.any, pointer)
                    || self
                        .members
                        .get(pointer)
                        .is_some_and(|may| may.cover(value))
            })
    }

    /// The pattern in words, one line a member, safe to show.
    pub(super) fn in_words(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .members
            .iter()
            .map(|(pointer, may)| match may {
                May::Be(value) => format!("{} is {}", named(pointer), terminal_safe(value)),
                May::BeAtMost(bound) => {
                    let bound = bound.trim_matches('"');
                    format!("{} is at most {}", named(pointer), terminal_safe(bound))
                }
            })
            .collect();
        let anything = |pointer: &String| format!("{} is anything, or missing", named(pointer));
        lines.extend(self.any.iter().map(anything));
        lines.push("nothing else".to_owned());
        lines
    }
}

impl May {
    fn cover(&self, value: &str) -> bool {
        match self {
            Self::Be(same) => same == value,
            Self::BeAtMost(bound) => {
                let alike = bound.starts_with('"') == value.starts_with('"');
                match (number(bound), number(value)) {
                    (Some(bound), Some(value)) => alike && (0..=bound).contains(&value),
                    (_, _) => false,
                }
            }
        }
    }
}

fn below_any(any: &[String], pointer: &str) -> bool {
    any.iter().any(|over| {
        pointer
            .strip_prefix(over.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A pointer as approvers see it: `body.amount`.
fn named(pointer: &str) -> String {
    let name = pointer.trim_start_matches('/').replace('/', ".");
    terminal_safe(&name.replace("~1", "/").replace("~0", "~"))
}

/// The one member (or, unless `whole`, what is over members) that approvers see under this name.
fn pointer(flat: &Members, name: &str, whole: bool) -> Option<String> {
    let mut found = None;
    for member in flat.keys() {
        let ends = member.match_indices('/').map(|(at, _)| at).skip(1);
        for end in ends.chain([member.len()]) {
            let over = member.get(..end)?;
            let meant = named(over) == name && (!whole || end == member.len());
            match &found {
                _ if !meant => {}
                None => found = Some(over.to_owned()),
                Some(before) if before == over => {}
                // Two members look the same to a person: neither is meant for certain.
                Some(_) => return None,
            }
        }
    }
    found
}

/// A JSON number, or a decimal in a JSON string or bare, in units of the last digit that is compared.
fn number(text: &str) -> Option<i128> {
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || !plain(whole) || !plain(fraction) {
        return None;
    }
    if digits.ends_with('.') || fraction.len() > FRACTION as usize {
        return None;
    }
    let mut units = whole
        .parse::<i128>()
        .ok()?
        .checked_mul(10_i128.pow(FRACTION))?;
    if !fraction.is_empty() {
        let missing = FRACTION - u32::try_from(fraction.len()).ok()?;
        units = units.checked_add(
            fraction
                .parse::<i128>()
                .ok()?
                .checked_mul(10_i128.pow(missing))?,
        )?;
    }
    Some(sign * units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A call whose input is all typed and all that it sends.
    fn call(input: &Value) -> Value {
        let body = input
            .get("body")
            .map(|body| json!({ "text": body.to_string() }));
        sent("/x", &[], body.as_ref(), input)
    }

    fn sent(target: &str, headers: &[(&str, &str)], body: Option<&Value>, input: &Value) -> Value {
        json!({ "request": { "method": "POST", "target": target, "headers": headers },
            "body": body, "input": input })
    }

    fn refund(amount: impl Into<Value>, note: &str) -> Value {
        let amount: Value = amount.into();
        call(&json!({ "path": { "id": "c1" }, "body": { "amount": amount, "note": note } }))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn bound(name: &str, most: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), most.to_owned())])
    }

    #[test]
    fn what_is_not_named_must_be_equal() {
        let first = refund(10, "broken");
        let exact = Pattern::of(&first, &[], &BTreeMap::new()).unwrap();
        assert!(exact.covers(&first));
        for other in [
            refund(11, "broken"),
            refund(10, "Broken"),
            refund("10", "broken"),
            call(&json!({ "path": { "id": "c2" }, "body": { "amount": 10, "note": "broken" } })),
            call(&json!({ "path": { "id": "c1" }, "body": { "amount": 10 } })),
            call(
                &json!({ "path": { "id": "c1" }, "body": { "amount": 10, "note": "broken", "to": "x" } }),
            ),
            call(
                &json!({ "path": { "id": "c1" }, "query": { "a": 1 }, "body": { "amount": 10, "note": "broken" } }),
            ),
            call(&json!({})),
            json!({}),
        ] {
            assert!(!exact.covers(&other), "{other}");
        }
    }

    #[test]
    fn named_members_may_be_otherwise_and_no_others() {
        let first = refund(10, "broken");
        let wide =
            Pattern::of(&first, &names(&["body.note"]), &bound("body.amount", "100")).unwrap();
        assert!(wide.covers(&refund(100, "late")));
        assert!(wide.covers(&refund(0, "")));
        let without = call(&json!({ "path": { "id": "c1" }, "body": { "amount": 5 } }));
        assert!(wide.covers(&without));
        for other in [
            refund(101, "late"),
            refund(-1, "late"),
            refund("x", "late"),
            refund(json!([5]), "late"),
            call(&json!({ "path": { "id": "c1" }, "body": { "note": "no amount" } })),
            call(&json!({ "path": { "id": "c1" }, "body": { "amount": 5, "notes": "x" } })),
        ] {
            assert!(!wide.covers(&other), "{other}");
        }
        assert_eq!(
            wide.in_words(),
            [
                "body.amount is at most 100",
                "path.id is \"c1\"",
                "target is \"/x\"",
                "body.note is anything, or missing",
                "nothing else"
            ]
        );
    }

    #[test]
    fn decimals_are_compared_as_numbers_and_not_as_text() {
        let first = refund("9.50", "");
        let wide = Pattern::of(&first, &[], &bound("body.amount", "100.0")).unwrap();
        assert!(wide.covers(&refund("99.9999", "")));
        assert!(wide.covers(&refund("100.00", "")));
        for over in [
            "100.0001", "1000", "1e2", "", "+5", " 5", "5.", ".5", "0x5", "5.00001",
        ] {
            assert!(!wide.covers(&refund(over, "")), "{over}");
        }
    }

    #[test]
    fn a_number_is_no_text_and_a_text_no_number() {
        let of =
            |amount: Value| Pattern::of(&refund(amount, ""), &[], &bound("body.amount", "100"));
        assert!(!of(json!(10)).unwrap().covers(&refund("5", "")));
        assert!(!of(json!("10")).unwrap().covers(&refund(5, "")));
    }

    #[test]
    fn a_body_that_is_no_object_must_be_the_same() {
        let typed = json!({ "path": { "id": 1 } });
        let with = |text: &str| sent("/x", &[], Some(&json!({ "text": text })), &typed);
        let pattern = Pattern::of(&with("[1]"), &names(&["path"]), &BTreeMap::new()).unwrap();
        assert!(pattern.covers(&with("[1]")));
        for other in ["[2]", "[1] ", "{}", ""] {
            assert!(!pattern.covers(&with(other)), "{other}");
        }
        assert!(!pattern.covers(&sent("/x", &[], None, &typed)));
        let raw = |hex: &str| sent("/x", &[], Some(&json!({ "hex": hex })), &typed);
        let pattern = Pattern::of(&raw("ff00"), &[], &BTreeMap::new()).unwrap();
        assert!(pattern.covers(&raw("ff00")) && !pattern.covers(&raw("ff01")));
    }

    /// What a function takes without declaring it is no part of the typed input, and goes up.
    #[test]
    fn what_policy_does_not_see_must_be_the_same_too() {
        let input = json!({ "query": { "limit": 5 }, "body": { "amount": 10 } });
        let with = |target: &str, headers: &[(&str, &str)], body: &str| {
            sent(target, headers, Some(&json!({ "text": body })), &input)
        };
        let (target, headers) = (
            "/x?limit=5&to=a",
            [("x-force", "no"), ("user-agent", "one")],
        );
        let body = r#"{"amount":10,"rest":{"to":["a","b"]},"n":1e2}"#;
        let first = with(target, &headers, body);
        let wide = Pattern::of(
            &first,
            &names(&["query.limit"]),
            &bound("body.amount", "50"),
        )
        .unwrap();
        assert!(wide.covers(&with(
            target,
            &[("user-agent", "two"), ("x-force", "no")],
            body
        )));
        let spaced = r#" { "n": 1e2, "rest": {"to":["a","b"]}, "amount": 49 }"#;
        assert!(wide.covers(&with(target, &headers, spaced)));
        for other in [
            r#"{"amount":10,"rest":{"to":["a","c"]},"n":1e2}"#,
            r#"{"amount":10,"rest":{"to":["b","a"]},"n":1e2}"#,
            r#"{"amount":10,"rest":{"to":["a","b"]},"n":100}"#,
            r#"{"amount":10,"rest":{"to":["a","b"]},"n":1e2,"m":null}"#,
            r#"{"amount":10,"amount":99,"rest":{"to":["a","b"]},"n":1e2}"#,
            r#"{"amount":10,"rest":{"to":["a","b"],"to":["a","b"]},"n":1e2}"#,
            r#"{"amount":10,"n":1e2}"#,
        ] {
            assert!(!wide.covers(&with(target, &headers, other)), "{other}");
        }
        for other in [
            "/x?limit=5",
            "/x?limit=5&to=b",
            "/x?limit=5&to=a&to=a",
            "/x?to=a&limit=5&more",
        ] {
            assert!(!wide.covers(&with(other, &headers, body)), "{other}");
        }
        let others: [&[(&str, &str)]; 8] = [
            &[],
            &[("x-force", "no"), ("if-none-match", "*")],
            &[
                ("x-force", "no"),
                ("If-Unmodified-Since", "Wed, 25 Nov 2026 09:00:00 GMT"),
            ],
            &[("x-force", "no"), ("if-range", "\"a\"")],
            &[("x-force", "no"), ("range", "bytes=0-9")],
            &[("x-force", "yes")],
            &[("x-force", "no"), ("x-force", "no")],
            &[("x-force", "no"), ("cookie", "a=b")],
        ];
        for other in others {
            assert!(!wide.covers(&with(target, other, body)), "{other:?}");
        }
    }

    /// A parameter that policies need not see is in the path alone.
    #[test]
    fn parts_of_the_path_that_are_not_typed_must_be_the_same() {
        let at = |target: &str, path: Value| sent(target, &[], None, &json!({ "path": path }));
        let first = at("/accounts/7/refunds/c1", json!({ "id": "c1" }));
        let any = Pattern::of(&first, &names(&["path.id"]), &BTreeMap::new()).unwrap();
        assert!(any.covers(&at("/accounts/7/refunds/c2", json!({ "id": "c2" }))));
        assert!(any.covers(&at("/accounts/7/refunds/a%20b", json!({ "id": "a b" }))));
        for (target, id) in [
            ("/accounts/8/refunds/c1", "c1"),
            ("/accounts/8/refunds/c2", "c2"),
            ("/accounts/8/refunds/7", "7"),
            ("/accounts/7/refunds/c2", "c1"),
            ("/accounts/%7Bid%7D/refunds/7", "7"),
            ("/accounts/7/refunds/c2/", "c2"),
        ] {
            let other = at(target, json!({ "id": id }));
            assert!(!any.covers(&other), "{target} {id}");
        }
        let number = at("/a/b/5:cancel", json!({ "n": 5 }));
        let most = Pattern::of(&number, &[], &bound("path.n", "9")).unwrap();
        assert!(most.covers(&at("/a/b/9:cancel", json!({ "n": 9 }))));
        assert!(!most.covers(&at("/a/c/9:cancel", json!({ "n": 9 }))));
        assert!(!most.covers(&at("/a/b/10:cancel", json!({ "n": 10 }))));
        let twice = at("/x/x", json!({ "id": "x" }));
        let any = Pattern::of(&twice, &names(&["path.id"]), &BTreeMap::new()).unwrap();
        for (target, id) in [("/y/x", "x"), ("/x/y", "y"), ("/y/y", "y")] {
            let other = at(target, json!({ "id": id }));
            assert!(
                !any.covers(&other),
                "{target} {id}: which was meant is not known"
            );
        }
    }

    /// A marker stands for any value of its class: two that look alike need not be.
    #[test]
    fn a_call_with_values_that_are_not_shown_is_in_no_grant() {
        let plain = refund(10, "broken");
        let mut hidden = plain.clone();
        hidden["veiled"] = json!(true);
        let none = BTreeMap::new;
        assert_eq!(
            Pattern::of(&hidden, &[], &none()),
            Err(PatternError::Opaque)
        );
        assert!(!Pattern::of(&plain, &[], &none()).unwrap().covers(&hidden));
    }

    #[test]
    fn what_is_deep_is_compared_as_a_whole_and_takes_no_stack() {
        let deep = |n: usize, leaf: &str| {
            let text = format!("{}{leaf}{}", r#"{"a":"#.repeat(n), "}".repeat(n));
            sent("/x", &[], Some(&json!({ "text": text })), &json!({}))
        };
        let pattern = Pattern::of(&deep(100, "1"), &[], &BTreeMap::new()).unwrap();
        assert!(pattern.covers(&deep(100, "1")));
        assert!(!pattern.covers(&deep(100, "2")) && !pattern.covers(&deep(101, "1")));
        let _ = Pattern::of(&deep(100_000, "1"), &[], &BTreeMap::new());
    }

    #[test]
    fn names_that_mean_nothing_or_two_things_are_refused() {
        let first = call(&json!({ "body": { "a.b": 1, "a": { "b": 2 }, "n": "x" } }));
        let of = |any: &[&str], at_most| Pattern::of(&first, &names(any), &at_most);
        let none = BTreeMap::new();
        assert!(matches!(
            of(&["body.c"], none.clone()),
            Err(PatternError::NotAMember(..))
        ));
        assert!(matches!(
            of(&["body.a.b"], none.clone()),
            Err(PatternError::NotAMember(..))
        ));
        assert!(matches!(
            of(&[""], none.clone()),
            Err(PatternError::NotAMember(..))
        ));
        assert!(of(&["body.a"], none).is_ok());
        assert!(matches!(
            of(&[], bound("body.n", "5")),
            Err(PatternError::NotANumber(_))
        ));
        let number = refund(10, "");
        for bad in ["9", "ten", ""] {
            let made = Pattern::of(&number, &[], &bound("body.amount", bad));
            assert!(matches!(made, Err(PatternError::BadBound(..))), "{bad}");
        }
    }
}
