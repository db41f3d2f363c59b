//! What values had in common.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Schema, json};
use wire::json::Value;

/// Objects inside each other whose members are told.
const DEPTH_MAX: usize = 12;
/// An object with more members is a map.
const MEMBERS_MAX: usize = 64;
/// Digits that an integer of 64 bits has in any case.
const INTEGER_DIGITS: usize = 18;
/// Digits before and after the point of a number that policies can read.
const NUMBER_DIGITS: (usize, usize) = (14, 4);

/// What a text stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Scalar {
    #[default]
    Unseen,
    Bool,
    Integer,
    Number,
    Text,
}

impl Scalar {
    pub(super) fn of(text: &str) -> Self {
        match text {
            "true" | "false" => Self::Bool,
            text if is_integer(text) => Self::Integer,
            text if is_number(text) => Self::Number,
            _ => Self::Text,
        }
    }

    pub(super) const fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unseen, known) | (known, Self::Unseen) => known,
            (Self::Bool, Self::Bool) => Self::Bool,
            (Self::Integer, Self::Integer) => Self::Integer,
            (Self::Integer | Self::Number, Self::Integer | Self::Number) => Self::Number,
            (Self::Bool | Self::Integer | Self::Number | Self::Text, _) => Self::Text,
        }
    }

    /// The schema's `type`.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Unseen | Self::Text => "string",
        }
    }
}

/// Digits in their plain form, within 64 bits.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" || !digits.starts_with('0');
    !digits.is_empty()
        && digits.len() <= INTEGER_DIGITS
        && plain
        && text != "-0"
        && digits.bytes().all(|b| b.is_ascii_digit())
}

/// A decimal that policies can read.
fn is_number(text: &str) -> bool {
    let Some((whole, fraction)) = text.split_once('.') else {
        return false;
    };
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let plain = digits == "0" || (is_integer(digits) && digits.len() <= NUMBER_DIGITS.0);
    plain
        && (1..=NUMBER_DIGITS.1).contains(&fraction.len())
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// What JSON values at one place had in common.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Shape {
    null: bool,
    bool: bool,
    integer: bool,
    number: bool,
    /// A number that policies cannot read.
    precise: bool,
    text: bool,
    array: Option<Box<Self>>,
    object: Option<Members>,
    /// Too deep to be told.
    anything: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Members {
    objects: u64,
    by_name: BTreeMap<String, (u64, Shape)>,
    map: bool,
}

impl Shape {
    pub(super) fn add(&mut self, value: &Value, depth: usize) {
        if depth > DEPTH_MAX {
            self.anything = true;
            return;
        }
        match value {
            Value::Null => self.null = true,
            Value::Bool(_) => self.bool = true,
            Value::Number(number) if is_integer(number.as_text()) => self.integer = true,
            Value::Number(number) => {
                self.number = true;
                self.precise |= !is_number(number.as_text());
            }
            Value::String(_) => self.text = true,
            Value::Array(items) => {
                let shape = self.array.get_or_insert_default();
                items.iter().for_each(|item| shape.add(item, depth + 1));
            }
            Value::Object(members) => {
                let known = self.object.get_or_insert_default();
                known.objects += 1;
                known.map |= members.len() > MEMBERS_MAX;
                for (name, value) in members {
                    if known.map {
                        break;
                    }
                    let (seen, shape) = known.by_name.entry(name.clone()).or_default();
                    *seen += 1;
                    shape.add(value, depth + 1);
                }
                known.settle();
            }
        }
    }

    pub(super) fn join(&mut self, other: Self) {
        self.null |= other.null;
        self.bool |= other.bool;
        self.integer |= other.integer;
        self.number |= other.number;
        self.precise |= other.precise;
        self.text |= other.text;
        self.anything |= other.anything;
        if let Some(items) = other.array {
            self.array.get_or_insert_default().join(*items);
        }
        if let Some(members) = other.object {
            let known = self.object.get_or_insert_default();
            known.objects += members.objects;
            known.map |= members.map;
            for (name, (seen, shape)) in members.by_name {
                let entry = known.by_name.entry(name).or_default();
                entry.0 += seen;
                entry.1.join(shape);
            }
            known.settle();
        }
    }

    /// The schema that takes all that was seen.
    pub(super) fn schema(&self) -> Schema {
        if self.anything {
            return json!({});
        }
        let mut schema = Map::new();
        let kinds = [
            (self.object.is_some(), "object"),
            (self.array.is_some(), "array"),
            (self.text, "string"),
            (self.bool, "boolean"),
            (self.integer && !self.number, "integer"),
            (self.number, "number"),
            (self.null, "null"),
        ];
        let kinds: Vec<&str> = kinds
            .iter()
            .filter(|(seen, _)| *seen)
            .map(|kind| kind.1)
            .collect();
        match kinds.as_slice() {
            // Nothing but null says nothing of what else there may be.
            [] | ["null"] => return json!({}),
            [one] => schema.insert("type".to_owned(), (*one).into()),
            several => schema.insert("type".to_owned(), several.into()),
        };
        if let Some(members) = &self.object {
            members.put(&mut schema);
        }
        if let Some(items) = &self.array {
            schema.insert("items".to_owned(), items.schema());
        }
        if self.precise {
            schema.insert("x-callgate-opaque".to_owned(), true.into());
        }
        schema.into()
    }
}

impl Members {
    /// Names that differ in case only can be declared by no schema, and too many names are none.
    fn settle(&mut self) {
        let folded: std::collections::BTreeSet<String> = self
            .by_name
            .keys()
            .map(|name| name.to_lowercase())
            .collect();
        self.map |= self.by_name.len() > MEMBERS_MAX || folded.len() < self.by_name.len();
        if self.map {
            self.by_name.clear();
        }
    }

    fn put(&self, schema: &mut Map<String, Schema>) {
        if self.map || self.by_name.is_empty() {
            schema.insert("additionalProperties".to_owned(), true.into());
            return;
        }
        let members = self.by_name.iter();
        let properties: Map<String, Schema> = members
            .map(|(name, (_, shape))| (name.clone(), shape.schema()))
            .collect();
        schema.insert("properties".to_owned(), properties.into());
        let always = self
            .by_name
            .iter()
            .filter(|(_, (seen, _))| *seen == self.objects);
        let required: Vec<&str> = always.map(|(name, _)| name.as_str()).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
    }
}
