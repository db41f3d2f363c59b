//! From schemas to the types that policies see, and from checked values to those types
//! (`docs/input-mapping.md`).

use std::collections::{BTreeMap, BTreeSet};

use wire::json::Value as Json;

use super::number::Decimal;
use super::{Arena, Kinds, NodeId};
use crate::call::input::Value;
use crate::call::shape::{Member, Record, Shape};

/// Objects inside each other that policies can see; what is deeper is opaque.
pub(crate) const DEPTH_MAX: usize = 12;

/// Members of one function's input that policies can see. Where there are more, fewer levels of
/// objects are seen, so that no member hides another one of its level.
pub(crate) const MEMBERS_MAX: usize = 500;

/// Derives the shapes of one function.
#[derive(Debug)]
pub(crate) struct Shaper<'a> {
    arena: &'a Arena,
    opaque: BTreeSet<&'a str>,
    /// Names of `opaque` that were met.
    met: BTreeSet<String>,
    above: Vec<NodeId>,
    path: Vec<String>,
    depth_max: usize,
    members: usize,
}

impl<'a> Shaper<'a> {
    /// For schemas of `arena`; `opaque` are places as in `body.position.latitude`. Objects are seen
    /// `depth_max` deep.
    pub(crate) fn new(arena: &'a Arena, opaque: &'a [String], depth_max: usize) -> Self {
        Self {
            arena,
            opaque: opaque.iter().map(String::as_str).collect(),
            met: BTreeSet::new(),
            above: Vec::new(),
            path: Vec::new(),
            depth_max,
            members: 0,
        }
    }

    /// The shape of the schema `id` that stands at `name` below the present place.
    pub(crate) fn member(&mut self, name: &str, id: NodeId, required: bool) -> Member {
        self.path.push(name.to_owned());
        self.members += 1;
        let shape = if !self.opaque.is_empty() && self.is_named_opaque() {
            Shape::Opaque
        } else {
            self.shape(id)
        };
        self.path.pop();
        Member {
            shape,
            required: required && !self.arena.kinds(id).has(Kinds::NULL),
        }
    }

    /// The record of several members that stands at `name`; it is always there.
    pub(crate) fn record(&mut self, name: &str, members: &[(&str, NodeId, bool)]) -> Member {
        self.path.push(name.to_owned());
        let members = members
            .iter()
            .map(|(name, id, required)| ((*name).to_owned(), self.member(name, *id, *required)))
            .collect();
        self.path.pop();
        Member {
            shape: Shape::Record(Record { members }),
            required: true,
        }
    }

    /// How many members were seen.
    pub(crate) const fn count(&self) -> usize {
        self.members
    }

    /// Opaque places that no member has.
    pub(crate) fn unmet(&self) -> impl Iterator<Item = &'a str> {
        self.opaque
            .iter()
            .copied()
            .filter(|place| !self.met.contains(*place))
    }

    fn is_named_opaque(&mut self) -> bool {
        let place = self.path.join(".");
        let named = self.opaque.contains(place.as_str());
        if named {
            self.met.insert(place);
        }
        named
    }

    fn shape(&mut self, id: NodeId) -> Shape {
        let arena = self.arena;
        let node = arena.node(id);
        if let Some(target) = node.nullable_of
            && !node.opaque
        {
            return self.shape(target);
        }
        let circle = self.above.contains(&id);
        // Once there are too many, this shape is thrown away: the rest of it costs nothing.
        let thrown = self.members > MEMBERS_MAX && self.depth_max > 1;
        if node.opaque || circle || !node.unions.is_empty() || thrown {
            return Shape::Opaque;
        }
        match node.kinds.solid() {
            Kinds::BOOL => Shape::Bool,
            Kinds::INTEGER => Shape::Long,
            Kinds::NUMBER => Shape::Decimal,
            Kinds::STRING => Shape::String,
            Kinds::ARRAY => match node.array.items.map(|items| self.shape_of_item(items)) {
                Some(item) if is_scalar(&item) => Shape::Set(Box::new(item)),
                Some(_) | None => Shape::Opaque,
            },
            Kinds::OBJECT if node.object.members.is_empty() && arena.is_open(id) => Shape::Opaque,
            Kinds::OBJECT if self.above.len() == self.depth_max => Shape::Opaque,
            Kinds::OBJECT => {
                self.above.push(id);
                let members = arena
                    .members(id)
                    .into_iter()
                    .map(|(name, id, required)| (name.to_owned(), self.member(name, id, required)))
                    .collect();
                self.above.pop();
                Shape::Record(Record { members })
            }
            _ => Shape::Opaque,
        }
    }

    fn shape_of_item(&mut self, id: NodeId) -> Shape {
        // A set has no place for null.
        match self.arena.kinds(id).has(Kinds::NULL) {
            true => Shape::Opaque,
            false if self.arena.kinds(id) == Kinds::OBJECT => Shape::Opaque,
            false => self.shape(id),
        }
    }
}

const fn is_scalar(shape: &Shape) -> bool {
    match shape {
        Shape::Bool | Shape::Long | Shape::Decimal | Shape::String => true,
        Shape::Set(_) | Shape::Record(_) | Shape::Opaque => false,
    }
}

/// What policies see of a checked value; `None` for null and for what is opaque.
///
/// # Errors
/// A plain sentence when the value is not representable in its type.
pub(crate) fn project(shape: &Shape, value: &Json, place: &str) -> Result<Option<Value>, String> {
    Ok(match (shape, value) {
        (Shape::Opaque, _) | (_, Json::Null) => None,
        (Shape::Bool, Json::Bool(flag)) => Some(Value::Bool(*flag)),
        (Shape::String, Json::String(text)) => Some(Value::String(text.clone())),
        (Shape::Long, Json::Number(number)) => match number.as_i64() {
            Some(long) => Some(Value::Long(long)),
            None => return Err(format!("`{place}` is not within 64 bits")),
        },
        (Shape::Decimal, Json::Number(number)) => {
            match Decimal::new(number).and_then(|decimal| decimal.cedar()) {
                Some(text) => Some(Value::Decimal(text)),
                None => {
                    return Err(format!(
                        "`{place}` has more than four digits after the point, or is too large"
                    ));
                }
            }
        }
        (Shape::Set(item), Json::Array(items)) => {
            let item = |value| project(item, value, place);
            let items = items.iter().map(item).collect::<Result<Vec<_>, _>>()?;
            Some(Value::Set(items.into_iter().flatten().collect()))
        }
        (Shape::Record(record), Json::Object(members)) => {
            let mut out = BTreeMap::new();
            for (name, value) in members {
                let Some(member) = record.members.get(name) else {
                    continue;
                };
                if let Some(value) = project(&member.shape, value, &format!("{place}.{name}"))? {
                    out.insert(name.clone(), value);
                }
            }
            Some(Value::Record(out))
        }
        // The check has already refused values of another kind; nothing is guessed here.
        (
            Shape::Bool
            | Shape::Long
            | Shape::Decimal
            | Shape::String
            | Shape::Set(_)
            | Shape::Record(_),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_),
        ) => return Err(format!("`{place}` is not of the declared type")),
    })
}
