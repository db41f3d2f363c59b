//! Path templates and the tree that finds a function by method and path.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::config::Method;

/// A segment of a template.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any text that is not empty, between two fixed ones.
    Parameter {
        /// What stands before it in the segment.
        before: String,
        /// What stands after it, as in `{name}:cancel`.
        after: String,
        /// Its name.
        name: String,
    },
}

/// A parsed path template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template {
    segments: Vec<Segment>,
}

/// Why a template is refused; how to mend it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TemplateFault(pub(super) &'static str, pub(super) &'static str);

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateFault> {
        let rest = text.strip_prefix('/').ok_or(TemplateFault(
            "the path does not start with `/`",
            "write it as `/customers/{id}`",
        ))?;
        let segments = rest
            .split('/')
            .map(segment)
            .collect::<Result<Vec<_>, _>>()?;
        let template = Self { segments };
        let names: Vec<&str> = template.names().collect();
        let mut distinct = names.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != names.len() {
            return Err(TemplateFault(
                "a parameter stands in the path twice",
                "give each its own name",
            ));
        }
        // With text in place of its parameters it must be a path that a request can have.
        let sample: String = text
            .split('{')
            .enumerate()
            .map(|(at, part)| match (at, part.split_once('}')) {
                (0, _) | (_, None) => part.to_owned(),
                (_, Some((_, rest))) => format!("x{rest}"),
            })
            .collect();
        match wire::http::Target::parse(&sample) {
            Ok(target) if target.as_str() == sample && target.query().is_none() => Ok(template),
            Ok(_) | Err(_) => Err(TemplateFault(
                "no request can have this path: it is not in normal form",
                "leave out `//`, dots, escapes of plain letters, `;`, `?` and `#`",
            )),
        }
    }

    /// The parameters' names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter { name, .. } => Some(name.as_str()),
        })
    }

    /// The parameters' values in a path that matches.
    pub(super) fn values<'p>(&'p self, path: &'p [String]) -> Vec<(&'p str, &'p str)> {
        let value = |(segment, text): (&'p Segment, &'p String)| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter {
                before,
                after,
                name,
            } => {
                let value = text
                    .strip_prefix(before.as_str())?
                    .strip_suffix(after.as_str())?;
                Some((name.as_str(), value))
            }
        };
        self.segments.iter().zip(path).filter_map(value).collect()
    }

    /// Whether some path matches both, and neither is the more specific one throughout.
    pub(super) fn is_ambiguous_with(&self, other: &Self) -> bool {
        if self.segments.len() != other.segments.len() {
            return false;
        }
        let mut narrower = false;
        let mut wider = false;
        for pair in self.segments.iter().zip(&other.segments) {
            match compare(pair.0, pair.1) {
                Overlap::Never => return false,
                Overlap::Same => {}
                Overlap::Narrower => narrower = true,
                Overlap::Wider => wider = true,
                Overlap::Crossed => {
                    narrower = true;
                    wider = true;
                }
            }
        }
        narrower && wider
    }

    /// The template without its parameters' names: two functions of one method must not share it.
    pub(super) fn form(&self) -> String {
        let form = |segment: &Segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Parameter { before, after, .. } => format!("/{before}{{}}{after}"),
        };
        self.segments.iter().map(form).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{text}"),
            Segment::Parameter {
                before,
                after,
                name,
            } => write!(f, "/{before}{{{name}}}{after}"),
        })
    }
}

fn segment(text: &str) -> Result<Segment, TemplateFault> {
    let Some((before, rest)) = text.split_once('{') else {
        return match text.contains('}') {
            true => Err(TemplateFault(
                "the path has a `}` without a `{`",
                "write `{name}`",
            )),
            false => {
                // Literals are compared decoded, as a request's segments are.
                let decoded = wire::http::Target::parse(&format!("/{text}"))
                    .ok()
                    .and_then(|target| target.segments().next().map(std::borrow::Cow::into_owned));
                Ok(Segment::Literal(decoded.unwrap_or_else(|| text.to_owned())))
            }
        };
    };
    let (name, after) = rest.split_once('}').ok_or(TemplateFault(
        "the path has a `{` without a `}`",
        "write `{name}`",
    ))?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(TemplateFault(
            "a parameter's name has other characters than letters, digits, `_`, `-` and `.`",
            "write it as `{customer_id}`",
        ));
    }
    if after.contains('{') || after.contains('}') || after.contains('%') || before.contains('%') {
        return Err(TemplateFault(
            "a segment has more than one parameter, or an escape beside one",
            "one parameter a segment, as in `/{owner}/{name}` or `/{name}:cancel`",
        ));
    }
    Ok(Segment::Parameter {
        before: before.to_owned(),
        after: after.to_owned(),
        name: name.to_owned(),
    })
}

enum Overlap {
    Never,
    Same,
    Narrower,
    Wider,
    Crossed,
}

fn compare(a: &Segment, b: &Segment) -> Overlap {
    match (a, b) {
        (Segment::Literal(a), Segment::Literal(b)) if a == b => Overlap::Same,
        (Segment::Literal(_), Segment::Literal(_)) => Overlap::Never,
        (Segment::Literal(text), parameter) if fits(parameter, text) => Overlap::Narrower,
        (parameter, Segment::Literal(text)) if fits(parameter, text) => Overlap::Wider,
        (Segment::Literal(_), _) | (_, Segment::Literal(_)) => Overlap::Never,
        (
            Segment::Parameter { before, after, .. },
            Segment::Parameter {
                before: other_before,
                after: other_after,
                ..
            },
        ) => {
            let before_in = before.starts_with(other_before.as_str());
            let before_out = other_before.starts_with(before.as_str());
            let after_in = after.ends_with(other_after.as_str());
            let after_out = other_after.ends_with(after.as_str());
            match (before_in, before_out, after_in, after_out) {
                (true, true, true, true) => Overlap::Same,
                (true, _, true, _) => Overlap::Narrower,
                (_, true, _, true) => Overlap::Wider,
                (false, false, _, _) | (_, _, false, false) => Overlap::Never,
                _ => Overlap::Crossed,
            }
        }
    }
}

fn fits(segment: &Segment, text: &str) -> bool {
    match segment {
        Segment::Literal(literal) => literal == text,
        Segment::Parameter { before, after, .. } => {
            text.len() > before.len() + after.len()
                && text.starts_with(before.as_str())
                && text.ends_with(after.as_str())
        }
    }
}

/// Finds what is registered under a method and a path; a literal segment beats a parameter, and a
/// parameter with fixed text around it beats a bare one.
#[derive(Debug)]
pub(super) struct Tree<T> {
    literals: HashMap<String, Self>,
    /// Sorted: longer fixed text first.
    parameters: Vec<(Segment, Self)>,
    here: BTreeMap<Method, T>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self {
            literals: HashMap::new(),
            parameters: Vec::new(),
            here: BTreeMap::new(),
        }
    }
}

impl<T> Tree<T> {
    /// What is called by `template`, by method.
    pub(super) fn slot(&mut self, template: &Template) -> &mut BTreeMap<Method, T> {
        let mut tree = self;
        for segment in &template.segments {
            tree = tree.child(segment);
        }
        &mut tree.here
    }

    fn child(&mut self, segment: &Segment) -> &mut Self {
        match segment {
            Segment::Literal(text) => self.literals.entry(text.clone()).or_default(),
            Segment::Parameter { before, after, .. } => {
                let bare = Segment::Parameter {
                    before: before.clone(),
                    after: after.clone(),
                    name: String::new(),
                };
                let at = self.parameters.iter().position(|(known, _)| *known == bare);
                let at = at.unwrap_or_else(|| {
                    let fixed = |segment: &Segment| match segment {
                        Segment::Literal(text) => text.len(),
                        Segment::Parameter { before, after, .. } => before.len() + after.len(),
                    };
                    let length = fixed(&bare);
                    let at = self
                        .parameters
                        .partition_point(|(known, _)| fixed(known) >= length);
                    self.parameters.insert(at, (bare, Self::default()));
                    at
                });
                &mut self.parameters[at].1
            }
        }
    }

    /// What is registered, or the methods that are at matching paths.
    pub(super) fn find(&self, method: Method, path: &[String]) -> Result<&T, Vec<Method>> {
        let mut allowed = Vec::new();
        match self.walk(method, path, &mut allowed) {
            Some(found) => Ok(found),
            None => {
                allowed.sort_unstable();
                allowed.dedup();
                Err(allowed)
            }
        }
    }

    // Depth: at most `wire::http::SEGMENTS_MAX`; each node of the tree is visited at most once.
    fn walk(&self, method: Method, path: &[String], allowed: &mut Vec<Method>) -> Option<&T> {
        let Some((first, rest)) = path.split_first() else {
            let found = self.here.get(&method).or_else(|| match method {
                Method::Head => self.here.get(&Method::Get),
                _ => None,
            });
            if found.is_none() {
                allowed.extend(self.here.keys());
            }
            return found;
        };
        let literal = self
            .literals
            .get(first)
            .and_then(|tree| tree.walk(method, rest, allowed));
        literal.or_else(|| {
            let fitting = self
                .parameters
                .iter()
                .filter(|(segment, _)| fits(segment, first));
            fitting
                .map(|(_, tree)| tree)
                .find_map(|tree| tree.walk(method, rest, allowed))
        })
    }
}
