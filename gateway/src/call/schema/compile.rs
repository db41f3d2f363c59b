//! From schema documents to an arena.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::merge::{ANNOTATIONS, Flat, Placed};
use super::{Arena, ArrayRules, Extra, Kinds, Node, NodeId, ObjectRules, Scalar, Union};
use crate::call::fault::Fault;

/// Most schemas of one connection.
const NODES_MAX: usize = 100_000;

/// Most schemas inside each other, references not counted.
const NESTING_MAX: usize = 128;

/// How a document is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    /// OpenAPI 3.0: `exclusiveMinimum` is a flag.
    OpenApi30,
    /// OpenAPI 3.1 and JSON Schema 2020-12.
    JsonSchema,
}

/// Compiles schemas of one document after the other into one arena.
#[derive(Debug)]
pub(crate) struct Compiler<'d> {
    document: &'d Json,
    file: String,
    dialect: Dialect,
    arena: Arena,
    by_pointer: HashMap<String, NodeId>,
    /// Referred to, but not built yet: documents refer in chains longer than a stack.
    open_ends: Vec<(NodeId, String, &'d Json)>,
    nesting: usize,
    faults: Vec<Fault>,
}

impl<'d> Compiler<'d> {
    /// A compiler with an empty arena.
    pub(crate) fn new() -> Self {
        Self {
            document: &Json::Null,
            file: String::new(),
            dialect: Dialect::JsonSchema,
            arena: Arena::default(),
            by_pointer: HashMap::new(),
            open_ends: Vec::new(),
            nesting: 0,
            faults: Vec::new(),
        }
    }

    /// From now on references point into `document`, which faults call `file`.
    pub(crate) fn open(&mut self, document: &'d Json, file: &str, dialect: Dialect) {
        self.document = document;
        file.clone_into(&mut self.file);
        self.dialect = dialect;
        self.by_pointer.clear();
    }

    /// The arena and everything that was wrong.
    pub(crate) fn finish(self) -> (Arena, Vec<Fault>) {
        (self.arena, self.faults)
    }

    /// What is compiled so far.
    pub(crate) const fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Compile the schema that stands at `place`.
    pub(crate) fn compile(&mut self, schema: &'d Json, place: &str) -> NodeId {
        let id = self.compile_all(&[(schema, place.to_owned())]);
        while let Some((id, pointer, target)) = self.open_ends.pop() {
            let node = self.build(&[(target, self.place(&pointer))]);
            self.arena.nodes[id.0] = node;
        }
        id
    }

    /// A schema that takes any string.
    pub(crate) fn string(&mut self) -> NodeId {
        self.push(Node {
            kinds: Kinds::STRING,
            ..Node::default()
        })
    }

    /// Record a fault at `place`.
    pub(crate) fn fault(&mut self, place: &str, what: &str, hint: &str) {
        self.faults.push(Fault::new(place, what, hint));
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// How faults name a JSON pointer of the document.
    pub(super) fn place(&self, pointer: &str) -> String {
        format!("{}#{pointer}", self.file)
    }

    /// What a `$ref` points to, with its pointer. Only this document is ever read.
    pub(crate) fn resolve(&mut self, reference: &Json, at: &str) -> Option<(String, &'d Json)> {
        let text = reference.as_str().unwrap_or_default();
        let Some(pointer) = text.strip_prefix('#') else {
            let hint = "copy what it refers to into this document: nothing is ever fetched";
            self.fault(at, "the reference leads out of the document", hint);
            return None;
        };
        let pointer = percent_decode(pointer);
        let found = self.document.pointer(&pointer);
        if found.is_none() {
            self.fault(
                at,
                "the reference leads nowhere",
                "write it as `#/components/…`",
            );
        }
        found.map(|target| (pointer, target))
    }

    /// Compile schemas that must all hold.
    fn compile_all(&mut self, schemas: &[Placed<'d>]) -> NodeId {
        if let [(schema, place)] = schemas
            && let Some(reference) = pure_reference(schema)
        {
            return self.compile_reference(reference, place);
        }
        let id = self.push(Node::default());
        let node = self.build(schemas);
        self.arena.nodes[id.0] = node;
        id
    }

    fn compile_reference(&mut self, reference: &'d Json, place: &str) -> NodeId {
        let Some((pointer, target)) = self.resolve(reference, place) else {
            return self.push(Node::default());
        };
        if let Some(id) = self.by_pointer.get(&pointer) {
            return *id;
        }
        // Known before it is built, so that a schema may refer to itself.
        let id = self.push(Node::default());
        self.by_pointer.insert(pointer.clone(), id);
        self.open_ends.push((id, pointer, target));
        id
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.arena.nodes.push(node);
        NodeId(self.arena.nodes.len() - 1)
    }

    fn build(&mut self, schemas: &[Placed<'d>]) -> Node {
        let place = schemas
            .first()
            .map(|(_, place)| place.clone())
            .unwrap_or_default();
        if self.arena.nodes.len() > NODES_MAX || self.nesting == NESTING_MAX {
            let hint = "simplify them or `omit` the function";
            self.fault(
                &place,
                "there are too many schemas, or too many in each other",
                hint,
            );
            return Node::default();
        }
        self.nesting += 1;
        let mut flat = Flat::default();
        for schema in schemas {
            self.read(schema, &mut Vec::new(), &mut flat);
        }
        let node = match self.nullable(&flat) {
            Some(target) => Node {
                nullable_of: Some(target),
                opaque: flat.opaque,
                ..Node::default()
            },
            None => self.node(flat),
        };
        self.nesting -= 1;
        node
    }

    /// `oneOf: [X, {type: null}]`, the way of OpenAPI 3.1 to say that X may be null.
    fn nullable(&mut self, flat: &Flat<'d>) -> Option<NodeId> {
        let [(_, branches)] = flat.unions.as_slice() else {
            return None;
        };
        let bare = flat.kinds.is_none() && flat.implied == Kinds::default() && !flat.nullable;
        let is_null = |schema: &Json| schema.get("type").and_then(Json::as_str) == Some("null");
        let solid: Vec<_> = branches
            .iter()
            .filter(|(schema, _)| !is_null(schema))
            .collect();
        match (bare, solid.as_slice()) {
            (true, [only]) if branches.len() == 2 => Some(self.compile_all(&[(*only).clone()])),
            _ => None,
        }
    }

    fn node(&mut self, flat: Flat<'d>) -> Node {
        let mut kinds = flat.kinds.unwrap_or(match flat.implied {
            implied if implied == Kinds::default() => Kinds::ANY,
            implied => implied,
        });
        let mut values = flat.values.clone();
        if flat.nullable {
            kinds = kinds.or(Kinds::NULL);
            if let Some(values) = &mut values {
                values.push(Scalar::Null);
            }
        }
        let items = (!flat.items.is_empty()).then(|| self.compile_all(&flat.items));
        let unions = flat
            .unions
            .iter()
            .map(|(exactly_one, branches)| Union {
                exactly_one: *exactly_one,
                branches: branches
                    .iter()
                    .map(|branch| self.compile_all(std::slice::from_ref(branch)))
                    .collect(),
            })
            .collect();
        let object = self.object(&flat, kinds);
        Node {
            nullable_of: None,
            kinds,
            values,
            number: flat.number,
            string: flat.string,
            array: ArrayRules {
                items,
                min: flat.items_min,
                max: flat.items_max,
                unique: flat.unique,
            },
            object,
            unions,
            opaque: flat.opaque,
        }
    }

    fn object(&mut self, flat: &Flat<'d>, kinds: Kinds) -> ObjectRules {
        let free = flat.kinds.is_some()
            && kinds.has(Kinds::OBJECT)
            && !flat.has_properties
            && flat.unions.is_empty();
        let anything = flat.kinds.is_none() && kinds == Kinds::ANY && flat.unions.is_empty();
        let extra = if flat.closed {
            Extra::Undeclared
        } else if !flat.extra.is_empty() {
            Extra::Fit(self.compile_all(&flat.extra))
        } else if flat.open {
            Extra::Allow
        } else if free || anything {
            Extra::Free
        } else {
            Extra::Undeclared
        };
        let members = flat
            .members
            .iter()
            .map(|(name, schemas)| ((*name).to_owned(), self.compile_all(schemas)))
            .collect();
        let mut required = flat.required.clone();
        required.retain(|name| !flat.read_only.contains(&name.as_str()));
        required.sort();
        required.dedup();
        ObjectRules {
            members,
            required,
            extra,
            min: flat.members_min,
            max: flat.members_max,
        }
    }
}

/// The `$ref` of a schema that says nothing else.
fn pure_reference(schema: &Json) -> Option<&Json> {
    let map = schema.as_object()?;
    let reference = map.get("$ref")?;
    let silent = |key: &String| {
        matches!(key.as_str(), "$ref" | "summary") || ANNOTATIONS.contains(&key.as_str())
    };
    map.keys().all(silent).then_some(reference)
}

/// A JSON pointer in a fragment may have escapes (RFC 6901 section 6).
fn percent_decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let value = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) => {
                out.push(value);
                out.extend_from_slice(&part.as_bytes()[2..]);
            }
            None => {
                out.push(b'%');
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
