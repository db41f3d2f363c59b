//! The type of a function's input, as far as policy can know it.

use std::collections::BTreeMap;

/// A declared type, one for one with a Cedar type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shape {
    /// JSON `true` and `false`; Cedar `Bool`.
    Bool,
    /// JSON integer within int64; Cedar `Long`.
    Long,
    /// JSON number with at most four decimal digits; Cedar `decimal`.
    Decimal,
    /// JSON string (enums too); Cedar `String`.
    String,
    /// Array of scalars; Cedar `Set`.
    Set(Box<Self>),
    /// Object with declared members; Cedar record.
    Record(Record),
    /// Declared, validated and forwarded, but without a type that policy can name (maps, unions,
    /// recursion, arrays of objects): it stands in no policy schema and in no projected input.
    Opaque,
}

/// An object's declared members.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// By exact name.
    pub members: BTreeMap<String, Member>,
}

impl Record {
    /// Whether a member is declared with a type that policies can name: `query.email`, members of members
    /// behind dots.
    pub fn declares(&self, place: &str) -> bool {
        self.members.iter().any(|(name, member)| {
            let Some(rest) = place.strip_prefix(name.as_str()) else {
                return false;
            };
            match (&member.shape, rest.strip_prefix('.')) {
                (Shape::Opaque, _) => false,
                (_, None) => rest.is_empty(),
                (Shape::Record(record), Some(rest)) => record.declares(rest),
                (
                    Shape::Bool | Shape::Long | Shape::Decimal | Shape::String | Shape::Set(_),
                    Some(_),
                ) => false,
            }
        })
    }
}

/// One declared member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its type.
    pub shape: Shape,
    /// Whether it must be present and not null.
    pub required: bool,
}
