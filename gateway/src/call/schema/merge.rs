//! Reading schema objects: `allOf` and chains of references are read into one set of rules.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::compile::{Compiler, Dialect};
use super::number::Decimal;
use super::{Format, Kinds, NumberRules, Scalar, StringRules};

/// Longest pattern, in bytes, and the size of what it compiles to.
const PATTERN_BYTES_MAX: usize = 1024;
const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 20;

/// Keywords that say nothing about which values pass.
pub(super) const ANNOTATIONS: &[&str] = &[
    "$comment",
    "$defs",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "description",
    "discriminator",
    "example",
    "examples",
    "externalDocs",
    "readOnly",
    "title",
    "writeOnly",
    "xml",
];

/// A schema and where it stands.
pub(super) type Placed<'d> = (&'d Json, String);

/// The rules of one value, before the schemas inside it are compiled.
#[derive(Default)]
pub(super) struct Flat<'d> {
    /// What `type` says, if it is there.
    pub(super) kinds: Option<Kinds>,
    /// What the other keywords are about.
    pub(super) implied: Kinds,
    pub(super) nullable: bool,
    pub(super) values: Option<Vec<Scalar>>,
    pub(super) number: NumberRules,
    pub(super) string: StringRules,
    pub(super) items: Vec<Placed<'d>>,
    pub(super) items_min: Option<u64>,
    pub(super) items_max: Option<u64>,
    pub(super) unique: bool,
    pub(super) has_properties: bool,
    pub(super) members: BTreeMap<&'d str, Vec<Placed<'d>>>,
    /// Members that the server sets; a request need not have them.
    pub(super) read_only: Vec<&'d str>,
    pub(super) required: Vec<String>,
    pub(super) closed: bool,
    pub(super) open: bool,
    pub(super) extra: Vec<Placed<'d>>,
    pub(super) members_min: Option<u64>,
    pub(super) members_max: Option<u64>,
    pub(super) unions: Vec<(bool, Vec<Placed<'d>>)>,
    pub(super) opaque: bool,
}

impl<'d> Compiler<'d> {
    /// Narrow `flat` by one schema. `trail` holds the references that led here.
    pub(super) fn read(
        &mut self,
        (schema, place): &Placed<'d>,
        trail: &mut Vec<String>,
        flat: &mut Flat<'d>,
    ) {
        let map = match schema {
            Json::Bool(true) => return,
            Json::Bool(false) => return flat.kinds = Some(Kinds::default()),
            Json::Object(map) => map,
            Json::Null | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                return self.fault(place, "is not a schema", "write an object");
            }
        };
        let nullable = map.get("nullable") == Some(&Json::Bool(true));
        if let Some(kinds) = self.kinds(map, nullable, place) {
            flat.kinds = Some(flat.kinds.map_or(kinds, |known| known.and(kinds)));
        }
        // Beside `allOf` or `$ref`, `nullable` is meant for the whole.
        flat.nullable |= nullable && trail.is_empty();
        for (key, value) in map {
            let at = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
            match key.as_str() {
                "type" | "nullable" => {}
                "$ref" => self.read_reference(value, &at, trail, flat),
                "allOf" => {
                    for branch in self.list(value, &at) {
                        trail.push(String::new());
                        self.read(&branch, trail, flat);
                        trail.pop();
                    }
                }
                "oneOf" | "anyOf" => self.read_union(key == "oneOf", value, &at, trail, flat),
                "enum" | "const" => self.read_values(key == "const", value, &at, flat),
                _ if self.read_scalar_rule(key, map, &at, flat) => {}
                _ if self.read_container_rule(key, value, &at, flat) => {}
                "x-callgate-opaque" => flat.opaque |= *value == Json::Bool(true),
                _ if ANNOTATIONS.binary_search(&key.as_str()).is_ok() => {}
                _ if key.starts_with("x-") => {}
                _ => self.fault(
                    &at,
                    &format!("keyword `{key}` is not supported"),
                    "say it otherwise, mark the schema `x-callgate-opaque` without it, or `omit` the function",
                ),
            }
        }
    }

    fn read_reference(
        &mut self,
        value: &'d Json,
        at: &str,
        trail: &mut Vec<String>,
        flat: &mut Flat<'d>,
    ) {
        let Some((pointer, target)) = self.resolve(value, at) else {
            return;
        };
        if trail.contains(&pointer) {
            return self.fault(at, "the reference leads back to itself", "break the circle");
        }
        let placed = (target, self.place(&pointer));
        trail.push(pointer);
        self.read(&placed, trail, flat);
        trail.pop();
    }

    fn read_union(
        &mut self,
        exactly_one: bool,
        value: &'d Json,
        at: &str,
        trail: &mut Vec<String>,
        flat: &mut Flat<'d>,
    ) {
        let mut branches = self.list(value, at);
        match (branches.len(), branches.pop()) {
            (1, Some(only)) => {
                trail.push(String::new());
                self.read(&only, trail, flat);
                trail.pop();
            }
            (_, Some(last)) => {
                branches.push(last);
                flat.unions.push((exactly_one, branches));
            }
            (_, None) => self.fault(at, "is not a list of schemas", "give at least one schema"),
        }
    }

    /// The schemas of `allOf` and its like.
    fn list(&mut self, value: &'d Json, at: &str) -> Vec<Placed<'d>> {
        let Json::Array(schemas) = value else {
            self.fault(at, "is not a list of schemas", "write a list");
            return Vec::new();
        };
        let placed = |(index, schema)| (schema, format!("{at}/{index}"));
        schemas.iter().enumerate().map(placed).collect()
    }

    fn kinds(&mut self, map: &Map<String, Json>, nullable: bool, place: &str) -> Option<Kinds> {
        let names: Vec<&str> = match map.get("type")? {
            Json::String(name) => vec![name],
            Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        let mut kinds = if nullable {
            Kinds::NULL
        } else {
            Kinds::default()
        };
        let mut known = !names.is_empty();
        for name in names {
            let kind = match name {
                "null" => Kinds::NULL,
                "boolean" => Kinds::BOOL,
                "integer" => Kinds::INTEGER,
                "number" => Kinds::NUMBER,
                "string" => Kinds::STRING,
                "array" => Kinds::ARRAY,
                "object" => Kinds::OBJECT,
                _ => {
                    known = false;
                    continue;
                }
            };
            kinds = kinds.or(kind);
        }
        if !known {
            let at = format!("{place}/type");
            self.fault(
                &at,
                "is not a JSON type",
                "write `string`, `integer`, `object`, …",
            );
        }
        Some(kinds)
    }

    fn read_values(&mut self, single: bool, value: &Json, at: &str, flat: &mut Flat<'d>) {
        let list = match (single, value) {
            (true, value) => std::slice::from_ref(value),
            (false, Json::Array(values)) => values,
            (false, _) => return self.fault(at, "is not a list", "write a list of values"),
        };
        let mut values = Vec::new();
        for value in list {
            let (scalar, kind) = match value {
                Json::Null => (Some(Scalar::Null), Kinds::NULL),
                Json::Bool(flag) => (Some(Scalar::Bool(*flag)), Kinds::BOOL),
                Json::String(text) => (Some(Scalar::String(text.clone())), Kinds::STRING),
                Json::Number(number) => {
                    let integer = number.is_i64() || number.is_u64();
                    let kind = if integer {
                        Kinds::INTEGER
                    } else {
                        Kinds::NUMBER
                    };
                    (Decimal::from_json(number).map(Scalar::Number), kind)
                }
                Json::Array(_) | Json::Object(_) => (None, Kinds::default()),
            };
            flat.implied = flat.implied.or(kind);
            match scalar {
                Some(scalar) => values.push(scalar),
                None => self.fault(at, "has a value that is not a scalar", "list scalars only"),
            }
        }
        flat.values = Some(match flat.values.take() {
            Some(known) => known
                .into_iter()
                .filter(|value| values.contains(value))
                .collect(),
            None => values,
        });
    }

    /// Rules about numbers and strings; whether `key` is one.
    fn read_scalar_rule(
        &mut self,
        key: &str,
        map: &'d Map<String, Json>,
        at: &str,
        flat: &mut Flat<'d>,
    ) -> bool {
        let value = &map[key];
        match key {
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                flat.implied = flat.implied.or(Kinds::NUMBER);
                self.read_number_rule(key, map, at, flat);
            }
            "minLength" => raise(&mut flat.string.chars_min, self.count(value, at)),
            "maxLength" => lower(&mut flat.string.chars_max, self.count(value, at)),
            "pattern" => self.read_pattern(value, at, flat),
            "format" => read_format(value, flat),
            _ => return false,
        }
        if matches!(key, "minLength" | "maxLength" | "pattern") {
            flat.implied = flat.implied.or(Kinds::STRING);
        }
        true
    }

    fn read_number_rule(
        &mut self,
        key: &str,
        map: &Map<String, Json>,
        at: &str,
        flat: &mut Flat<'d>,
    ) {
        let (value, exclusive) = match (key, &map[key]) {
            // OpenAPI 3.0: a flag beside `minimum` and `maximum`, read with those.
            ("exclusiveMinimum" | "exclusiveMaximum", Json::Bool(_))
                if self.dialect() == Dialect::OpenApi30 =>
            {
                return;
            }
            ("exclusiveMinimum" | "exclusiveMaximum", value) => (value, true),
            ("minimum", value) => (
                value,
                map.get("exclusiveMinimum") == Some(&Json::Bool(true)),
            ),
            ("maximum", value) => (
                value,
                map.get("exclusiveMaximum") == Some(&Json::Bool(true)),
            ),
            (_, value) => (value, false),
        };
        let Some(bound) = value.as_number().and_then(Decimal::from_json) else {
            return self.fault(at, "is not a number", "write a number of at most 64 digits");
        };
        let rules = &mut flat.number;
        match key {
            "minimum" | "exclusiveMinimum" => tighten_min(&mut rules.min, bound, exclusive),
            "maximum" | "exclusiveMaximum" => tighten_max(&mut rules.max, bound, exclusive),
            _ if bound.is_positive() => rules.multiple_of.push(bound),
            _ => self.fault(at, "is not positive", "write a number above 0"),
        }
    }

    fn read_pattern(&mut self, value: &Json, at: &str, flat: &mut Flat<'d>) {
        let compiled = value
            .as_str()
            .filter(|pattern| pattern.len() <= PATTERN_BYTES_MAX)
            .and_then(|pattern| jsonschema_regex::to_rust_regex(pattern).ok())
            .and_then(|pattern| {
                regex::RegexBuilder::new(&pattern)
                    .size_limit(PATTERN_PROGRAM_BYTES_MAX)
                    .build()
                    .ok()
            });
        match compiled {
            Some(pattern) => flat.string.patterns.push(pattern),
            None => self.fault(
                at,
                "the pattern is not one that can be matched in linear time",
                "write it without look-around and back-references, in at most 1024 bytes",
            ),
        }
    }

    /// Rules about arrays and objects; whether `key` is one.
    fn read_container_rule(
        &mut self,
        key: &str,
        value: &'d Json,
        at: &str,
        flat: &mut Flat<'d>,
    ) -> bool {
        let kind = match key {
            "items" | "minItems" | "maxItems" | "uniqueItems" => Kinds::ARRAY,
            "properties"
            | "required"
            | "additionalProperties"
            | "minProperties"
            | "maxProperties" => Kinds::OBJECT,
            // Undeclared members are refused anyway.
            "unevaluatedProperties" if *value == Json::Bool(false) => Kinds::OBJECT,
            _ => return false,
        };
        flat.implied = flat.implied.or(kind);
        match key {
            "items" => flat.items.push((value, at.to_owned())),
            "minItems" => raise(&mut flat.items_min, self.count(value, at)),
            "maxItems" => lower(&mut flat.items_max, self.count(value, at)),
            "uniqueItems" => flat.unique |= *value == Json::Bool(true),
            "minProperties" => raise(&mut flat.members_min, self.count(value, at)),
            "maxProperties" => lower(&mut flat.members_max, self.count(value, at)),
            "required" => match value.as_array() {
                Some(names) => flat
                    .required
                    .extend(names.iter().filter_map(Json::as_str).map(str::to_owned)),
                None => self.fault(
                    at,
                    "is not a list of names",
                    "write a list, as in `[amount]`",
                ),
            },
            "additionalProperties" => match value {
                Json::Bool(true) => flat.open = true,
                Json::Object(map) if map.is_empty() => flat.open = true,
                Json::Bool(false) => flat.closed = true,
                schema => flat.extra.push((schema, at.to_owned())),
            },
            "properties" => self.read_members(value, at, flat),
            _ => {}
        }
        true
    }

    fn read_members(&mut self, value: &'d Json, at: &str, flat: &mut Flat<'d>) {
        let Json::Object(members) = value else {
            return self.fault(at, "is not an object", "map names to schemas");
        };
        flat.has_properties = true;
        for (name, schema) in members {
            let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
            if schema.get("readOnly") == Some(&Json::Bool(true)) {
                flat.read_only.push(name);
            }
            flat.members.entry(name).or_default().push((schema, place));
        }
    }

    fn count(&mut self, value: &Json, at: &str) -> Option<u64> {
        let count = value.as_u64();
        if count.is_none() {
            self.fault(at, "is not a count", "write a whole number from 0");
        }
        count
    }
}

fn raise(known: &mut Option<u64>, new: Option<u64>) {
    *known = (*known).max(new);
}

fn lower(known: &mut Option<u64>, new: Option<u64>) {
    *known = match (*known, new) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    };
}

pub(super) fn tighten_min(known: &mut Option<(Decimal, bool)>, bound: Decimal, exclusive: bool) {
    let tighter = known.as_ref().is_none_or(|(old, old_exclusive)| {
        bound > *old || (bound == *old && exclusive && !old_exclusive)
    });
    if tighter {
        *known = Some((bound, exclusive));
    }
}

pub(super) fn tighten_max(known: &mut Option<(Decimal, bool)>, bound: Decimal, exclusive: bool) {
    let tighter = known.as_ref().is_none_or(|(old, old_exclusive)| {
        bound < *old || (bound == *old && exclusive && !old_exclusive)
    });
    if tighter {
        *known = Some((bound, exclusive));
    }
}

/// Formats narrow numbers (`int32`) and some strings; the rest are annotations.
fn read_format(value: &Json, flat: &mut Flat<'_>) {
    let mut bounds = |min: i64, max: i64| {
        let decimal = |bound: i64| Decimal::from_json(&bound.into());
        if let (Some(min), Some(max)) = (decimal(min), decimal(max)) {
            tighten_min(&mut flat.number.min, min, false);
            tighten_max(&mut flat.number.max, max, false);
        }
    };
    let format = match value.as_str().unwrap_or_default() {
        "int32" => return bounds(i32::MIN.into(), i32::MAX.into()),
        "int64" => return bounds(i64::MIN, i64::MAX),
        "uuid" => Format::Uuid,
        "date" => Format::Date,
        "date-time" => Format::DateTime,
        "ipv4" => Format::Ipv4,
        "ipv6" => Format::Ipv6,
        _ => return,
    };
    flat.string.formats.push(format);
}
