//! A connection's functions: loaded once, all faults at once, then only read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use http::HeaderMap;
use wire::http::Target;

use super::binding::{Binding, bind};
use super::config::{FunctionsConfig, Method, Plus};
use super::definition::{self, Definition, In, is_forwardable};
use super::fault::Fault;
use super::observe::{UNDECLARED, Undeclared};
use super::openapi::{self, Importer};
use super::schema::{Arena, Compiler};
use super::template::{Template, Tree};
use super::{ConnectionName, Function};

/// Most functions of one connection.
pub const FUNCTIONS_MAX: usize = 5_000;

/// The functions of one connection. Immutable; part of a snapshot.
#[derive(Debug)]
pub struct Catalogue {
    functions: Vec<Arc<Function>>,
    bindings: Vec<Arc<Binding>>,
    tree: Tree<Vec<Arc<Binding>>>,
    notes: Vec<String>,
    pub(super) passed: BTreeSet<String>,
    pub(super) plus: Plus,
    pub(super) undeclared: Option<Undeclared>,
}

/// How many functions a connection must declare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtLeast {
    /// One: a connection without functions refuses every call.
    One,
    /// None: it only observes, and the functions are yet to be found.
    None,
}

/// What a method, a path and headers lead to.
#[derive(Debug, Clone)]
pub enum Found {
    /// One function.
    One(Arc<Binding>),
    /// One of these, depending on the body.
    ByBody(Vec<Arc<Binding>>),
    /// None.
    Unknown {
        /// Methods that functions at this path have, sorted.
        allowed: Vec<Method>,
    },
}

impl Catalogue {
    /// Load a connection's functions. `base` is the config file's folder.
    ///
    /// # Errors
    /// Everything that is wrong, sorted by place.
    pub fn load(
        config: &FunctionsConfig,
        connection: &ConnectionName,
        base: &Path,
    ) -> Result<Self, Vec<Fault>> {
        Self::load_with(config, connection, base, AtLeast::One)
    }

    /// The same, with as few functions as `least`.
    ///
    /// # Errors
    /// Everything that is wrong, sorted by place.
    pub fn load_with(
        config: &FunctionsConfig,
        connection: &ConnectionName,
        base: &Path,
        least: AtLeast,
    ) -> Result<Self, Vec<Fault>> {
        let place = format!("connections.{connection}.functions");
        let file = config
            .openapi
            .as_deref()
            .map(|path| path.display().to_string());
        let document = match &config.openapi {
            Some(path) => Some(openapi::read(&base.join(path)).map_err(|fault| vec![fault])?),
            None => None,
        };
        let mut notes = Vec::new();
        let mut compiler = Compiler::new();
        let mut definitions = Vec::new();
        if let (Some(document), Some(file)) = (&document, &file) {
            let compiler = &mut compiler;
            let notes = &mut notes;
            let mut importer = Importer {
                document,
                file,
                config,
                place: &place,
                compiler,
                notes,
                omitted: BTreeSet::new(),
            };
            definitions = importer.import();
        }
        for (name, function) in &config.inline {
            let at = format!("{place}.inline.{name}");
            definitions.push(definition::inline(name, function, &at, &mut compiler));
        }
        add_path_parameters(&mut definitions, &config.inline, &mut compiler);
        let (arena, mut faults) = compiler.finish();
        faults.extend(check_config(config, &place));
        let bindings = bind_all(definitions, connection, arena, &mut faults);
        if bindings.is_empty() && faults.is_empty() && least == AtLeast::One {
            let hint = "give an `openapi` document or `inline` functions";
            faults.push(Fault::new(&place, "the connection has no functions", hint));
        }
        faults.extend(conflicts(&bindings));
        if !faults.is_empty() {
            faults.sort();
            faults.dedup();
            return Err(faults);
        }
        let undeclared = Undeclared::new(connection);
        Ok(Self {
            undeclared,
            ..Self::new(bindings, notes, config)
        })
    }

    fn new(bindings: Vec<Binding>, notes: Vec<String>, config: &FunctionsConfig) -> Self {
        let mut tree: Tree<Vec<Arc<Binding>>> = Tree::default();
        let mut bindings: Vec<_> = bindings.into_iter().map(Arc::new).collect();
        bindings.sort_by(|a, b| a.function.id.cmp(&b.function.id));
        for binding in &bindings {
            let slot = tree.slot(&binding.template);
            slot.entry(binding.method)
                .or_default()
                .push(Arc::clone(binding));
        }
        let functions = bindings.iter().map(|known| Arc::clone(&known.function));
        Self {
            functions: functions.collect(),
            bindings,
            tree,
            notes,
            passed: config.headers.iter().cloned().collect(),
            plus: config.plus,
            undeclared: None,
        }
    }

    /// All functions, by id.
    pub fn functions(&self) -> &[Arc<Function>] {
        &self.functions
    }

    /// All functions with the form of their requests, by id.
    pub fn bindings(&self) -> &[Arc<Binding>] {
        &self.bindings
    }

    /// What `check` tells beside faults: derived names, media types that are left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What a request is for. `target` is the one below the connection's prefix.
    pub fn find(&self, method: &http::Method, target: &Target, headers: &HeaderMap) -> Found {
        let path: Vec<String> = target
            .segments()
            .map(std::borrow::Cow::into_owned)
            .collect();
        let Some(method) = Method::from_name(method.as_str()) else {
            return Found::Unknown {
                allowed: Vec::new(),
            };
        };
        let bindings = match self.tree.find(method, &path) {
            Ok(bindings) => bindings,
            Err(allowed) => return Found::Unknown { allowed },
        };
        let meets = |binding: &&Arc<Binding>| {
            // Exactly one: readers differ in which of several values counts.
            let equal = |(name, value): (&String, &String)| {
                let mut values = headers.get_all(name).iter();
                let first = values.next().map(http::HeaderValue::as_bytes);
                first == Some(value.as_bytes()) && values.next().is_none()
            };
            binding.when.header.iter().all(equal)
        };
        let mut fitting: Vec<_> = bindings.iter().filter(meets).cloned().collect();
        match (fitting.len(), fitting.pop()) {
            (1, Some(only)) if only.when.body.is_empty() => Found::One(only),
            (_, None) => Found::Unknown {
                allowed: Vec::new(),
            },
            (_, Some(last)) => {
                fitting.push(last);
                Found::ByBody(fitting)
            }
        }
    }
}

/// Parameters of inline paths that the config does not mention are strings.
fn add_path_parameters<'d>(
    definitions: &mut [Definition],
    inline: &'d BTreeMap<String, super::config::FunctionConfig>,
    compiler: &mut Compiler<'d>,
) {
    for definition in definitions
        .iter_mut()
        .filter(|known| inline.contains_key(&known.name))
    {
        let Ok(template) = Template::parse(&definition.path) else {
            continue;
        };
        for name in template.names() {
            let parameters = &mut definition.parameters;
            if !parameters
                .iter()
                .any(|known| known.place == In::Path && known.name == name)
            {
                let schema = compiler.string();
                let place = In::Path;
                let name = name.to_owned();
                parameters.push(definition::Parameter {
                    place,
                    name,
                    required: true,
                    class: None,
                    schema,
                    explode: false,
                });
            }
        }
    }
}

fn bind_all(
    definitions: Vec<Definition>,
    connection: &ConnectionName,
    arena: Arena,
    faults: &mut Vec<Fault>,
) -> Vec<Binding> {
    let arena = Arc::new(arena);
    let mut bindings: Vec<Binding> = Vec::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    if definitions.len() > FUNCTIONS_MAX {
        let place = format!("connections.{connection}.functions");
        let hint = "split the connection, or `omit` some";
        faults.push(Fault::new(
            place,
            "there are more than 5000 functions",
            hint,
        ));
        return bindings;
    }
    for definition in definitions {
        // Names that differ in case only are one to people who read a policy.
        let key = definition.name.to_ascii_lowercase();
        if let Some(other) = names.insert(key, definition.place.clone()) {
            let what = format!(
                "function `{}` is declared at {other} as well",
                definition.name
            );
            faults.push(Fault::new(&definition.place, what, "rename one of them"));
        }
        if definition.name.eq_ignore_ascii_case(UNDECLARED) {
            let what = format!("`{UNDECLARED}` is what calls of no declared function are called");
            faults.push(Fault::new(&definition.place, what, "rename it"));
        }
        match bind(definition, connection, &arena) {
            Ok(binding) => bindings.push(binding),
            Err(found) => faults.extend(found),
        }
    }
    bindings
}

fn check_config(config: &FunctionsConfig, place: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for name in config.headers.iter().filter(|name| !is_forwardable(name)) {
        faults.push(Fault::new(
            format!("{place}.headers"),
            format!("header `{name}` is never forwarded"),
            "write names in lower case; headers of one hop, of identity and of credentials do not pass",
        ));
    }
    let needs = [
        ("overrides", !config.overrides.is_empty()),
        ("omit", !config.omit.is_empty()),
    ];
    for (word, used) in needs {
        if used && config.openapi.is_none() {
            let what = "there is no `openapi` document that it could apply to";
            faults.push(Fault::new(format!("{place}.{word}"), what, "remove it"));
        }
    }
    faults
}

/// Functions that one request could mean.
fn conflicts(bindings: &[Binding]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut by_length: BTreeMap<(Method, usize), Vec<&Binding>> = BTreeMap::new();
    for binding in bindings {
        let key = (binding.method, binding.template.form().matches('/').count());
        by_length.entry(key).or_default().push(binding);
    }
    for group in by_length.values() {
        for (at, one) in group.iter().enumerate() {
            faults.extend(
                group
                    .iter()
                    .skip(at + 1)
                    .filter_map(|other| conflict(one, other)),
            );
            faults.extend(blind(one));
        }
    }
    faults
}

fn conflict(one: &Binding, other: &Binding) -> Option<Fault> {
    let (id, path) = (&other.function.id, &one.template);
    let same = one.template.form() == other.template.form();
    let (what, hint) = match same {
        false if one.template.is_ambiguous_with(&other.template) => (
            format!(
                "`{path}` and `{}` of `{id}` both match some paths",
                other.template
            ),
            "make one of them the narrower throughout, or `omit` one",
        ),
        true if one.when.is_empty() || other.when.is_empty() => (
            format!("`{id}` has the same method and path"),
            "tell them apart by `when`, each of them",
        ),
        true if !one.when.excludes(&other.when) => (
            format!("some requests meet `when` of `{id}` as well"),
            "give both the same member or header with different values",
        ),
        true | false => return None,
    };
    Some(Fault::new(one.function.id.to_string(), what, hint))
}

/// A function that is told by its body, which nobody reads.
fn blind(binding: &Binding) -> Option<Fault> {
    let by_body = !binding.when.body.is_empty();
    (by_body && !binding.takes_json()).then(|| {
        Fault::new(
            binding.function.id.to_string(),
            "`when.body` needs a JSON body with a schema",
            "give `body.schema`",
        )
    })
}
