//! Schemas of bodies and parameters, compiled once.
//!
//! Owns the dialect: the part of JSON Schema 2020-12 and of OpenAPI 3.0 that can be judged exactly on
//! the strictly parsed value (numbers by their text, never through a float). Refuses every keyword
//! outside it at load, because a keyword that is ignored widens what passes. Called by the
//! catalogue (compile) and by decode (check, project).

mod check;
mod compile;
mod merge;
mod number;
mod project;

pub(super) use check::{Checker, same_but_case};
pub(super) use compile::{Compiler, Dialect};
pub(super) use project::{DEPTH_MAX, MEMBERS_MAX, Shaper, project};

use std::collections::BTreeMap;

use regex::Regex;

use number::Decimal;

/// One node of an [`Arena`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct NodeId(usize);

/// The kinds of JSON values that a node takes, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    /// Numbers, integers among them.
    pub(super) const NUMBER: Self = Self(8 | 4);
    pub(super) const STRING: Self = Self(16);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ANY: Self = Self(127);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without `null`.
    pub(super) const fn solid(self) -> Self {
        Self(self.0 & !Self::NULL.0)
    }
}

/// What a value must be. The default takes anything.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The same as this node, or null: no other field counts.
    nullable_of: Option<NodeId>,
    kinds: Kinds,
    values: Option<Vec<Scalar>>,
    number: NumberRules,
    string: StringRules,
    array: ArrayRules,
    object: ObjectRules,
    unions: Vec<Union>,
    /// Policies need not see it.
    opaque: bool,
}

/// A value of `enum` or `const`.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
    String(String),
}

#[derive(Debug, Default)]
struct NumberRules {
    /// Bound, and whether the bound itself is left out.
    min: Option<(Decimal, bool)>,
    max: Option<(Decimal, bool)>,
    multiple_of: Vec<Decimal>,
}

#[derive(Debug, Default)]
struct StringRules {
    chars_min: Option<u64>,
    chars_max: Option<u64>,
    patterns: Vec<Regex>,
    formats: Vec<Format>,
}

/// The formats of strings that are checked; others are annotations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    Uuid,
    Date,
    DateTime,
    Ipv4,
    Ipv6,
}

#[derive(Debug, Default)]
struct ArrayRules {
    items: Option<NodeId>,
    min: Option<u64>,
    max: Option<u64>,
    unique: bool,
}

#[derive(Debug, Default)]
struct ObjectRules {
    members: BTreeMap<String, NodeId>,
    required: Vec<String>,
    extra: Extra,
    min: Option<u64>,
    max: Option<u64>,
}

/// What becomes of members that are not declared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Extra {
    /// Refused, unless the function allows additional input.
    #[default]
    Undeclared,
    /// The schema takes them as they are (`additionalProperties: true`).
    Allow,
    /// An object without `properties`, which says nothing about its members.
    Free,
    /// The schema takes them if they fit this.
    Fit(NodeId),
}

#[derive(Debug)]
struct Union {
    /// `oneOf`; otherwise `anyOf`.
    exactly_one: bool,
    branches: Vec<NodeId>,
}

/// Compiled schemas that refer to each other.
#[derive(Debug, Default)]
pub(super) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    fn node(&self, id: NodeId) -> &Node {
        // INVARIANT: ids are made by the compiler of this arena only and nodes are never removed.
        &self.nodes[id.0]
    }

    /// The kinds that `id` takes; of the node it stands for when it is a nullable one.
    pub(super) fn kinds(&self, id: NodeId) -> Kinds {
        let node = self.node(id);
        node.nullable_of
            .map_or(node.kinds, |target| self.kinds(target).or(Kinds::NULL))
    }

    /// Whether `id` is a union, whose type depends on the value.
    pub(super) fn is_union(&self, id: NodeId) -> bool {
        let node = self.node(id);
        match node.nullable_of {
            Some(target) => self.is_union(target),
            None => !node.unions.is_empty(),
        }
    }

    /// The schema of the items of an array.
    pub(super) fn items(&self, id: NodeId) -> Option<NodeId> {
        let node = self.node(id);
        match node.nullable_of {
            Some(target) => self.items(target),
            None => node.array.items,
        }
    }

    /// Names, schemas and necessity of an object's declared members.
    pub(super) fn members(&self, id: NodeId) -> Vec<(&str, NodeId, bool)> {
        let node = self.node(id);
        if let Some(target) = node.nullable_of {
            return self.members(target);
        }
        let required = |name: &String| node.object.required.contains(name);
        node.object
            .members
            .iter()
            .map(|(name, member)| (name.as_str(), *member, required(name)))
            .collect()
    }

    /// Whether an object takes members that it does not declare.
    pub(super) fn is_open(&self, id: NodeId) -> bool {
        let node = self.node(id);
        match node.nullable_of {
            Some(target) => self.is_open(target),
            None => node.object.extra != Extra::Undeclared,
        }
    }
}
