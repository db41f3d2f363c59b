//! A call's input, projected onto the function's declared shape.

use std::collections::BTreeMap;

/// One value of the input. Null and absent are the same: the member is not there.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// Cedar `Bool`.
    Bool(bool),
    /// Cedar `Long`.
    Long(i64),
    /// Cedar `decimal`, in its text form with one to four digits after the point (`"12.50"`).
    Decimal(String),
    /// Cedar `String`.
    String(String),
    /// Cedar `Set`.
    Set(Vec<Self>),
    /// Cedar record.
    Record(BTreeMap<String, Self>),
}

/// The typed input of one call: the members `path`, `query`, `header`, `body` as declared.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Input {
    /// By member name.
    pub members: BTreeMap<String, Value>,
}

impl Input {
    /// Whether the call gives the member at a place such as `query.email` or `body.customer.email`.
    pub fn gives(&self, place: &str) -> bool {
        gives(&self.members, place)
    }
}

fn gives(members: &BTreeMap<String, Value>, place: &str) -> bool {
    members.iter().any(|(name, value)| {
        let Some(rest) = place.strip_prefix(name.as_str()) else {
            return false;
        };
        match (value, rest.strip_prefix('.')) {
            (_, None) => rest.is_empty(),
            (Value::Record(members), Some(rest)) => gives(members, rest),
            (
                Value::Bool(_)
                | Value::Long(_)
                | Value::Decimal(_)
                | Value::String(_)
                | Value::Set(_),
                Some(_),
            ) => false,
        }
    })
}
