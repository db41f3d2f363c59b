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
