//! Functions from an OpenAPI 3.0 or 3.1 document. It is read at load only; nothing it refers to
//! elsewhere is ever fetched, and its `servers` are not used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value as Json};
use wire::json::{Limits, Value as Strict};

use super::config::{FunctionsConfig, Method, OverrideConfig};
use super::definition::{Body, Codec, Definition, Form, In, Parameter, When, is_forwardable};
use super::fault::Fault;
use super::schema::{Compiler, Dialect, Kinds, NodeId};
use super::{Effect, NAME_BYTES_MAX};
use crate::disk::read_named;

/// Largest document, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// JSON values inside each other in a document.
const DOCUMENT_DEPTH_MAX: usize = 256;

/// JSON values in a document.
const DOCUMENT_VALUES_MAX: usize = 10_000_000;

/// Read a document into memory.
pub(super) fn read(path: &Path) -> Result<Json, Fault> {
    let place = path.display().to_string();
    let failed =
        |what: String| Fault::new(&place, what, "give a readable OpenAPI 3.0 or 3.1 document");
    let bytes = read_named(path, DOCUMENT_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("not UTF-8".to_owned()))?;
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let limits = Limits {
            depth_max: DOCUMENT_DEPTH_MAX,
            values_max: DOCUMENT_VALUES_MAX,
        };
        let parsed = wire::json::parse(text.as_bytes(), &limits);
        return parsed.map_err(|error| failed(error.to_string())).map(plain);
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
    };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| failed(error.to_string()))
}

fn plain(value: Strict) -> Json {
    match value {
        Strict::Null => Json::Null,
        Strict::Bool(flag) => Json::Bool(flag),
        Strict::Number(number) => number.as_text().parse().map_or(Json::Null, Json::Number),
        Strict::String(text) => Json::String(text),
        Strict::Array(items) => items.into_iter().map(plain).collect(),
        Strict::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, plain(value)))
            .collect(),
    }
}

/// One import.
pub(super) struct Importer<'c, 'd> {
    pub(super) document: &'d Json,
    pub(super) file: &'c str,
    pub(super) config: &'d FunctionsConfig,
    /// Where `functions` stands in the config.
    pub(super) place: &'c str,
    pub(super) compiler: &'c mut Compiler<'d>,
    /// What is worth telling though it is no fault.
    pub(super) notes: &'c mut Vec<String>,
    /// Names of `omit` that were met.
    pub(super) omitted: BTreeSet<String>,
}

impl std::fmt::Debug for Importer<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Importer")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl<'d> Importer<'_, 'd> {
    /// The document's functions.
    pub(super) fn import(&mut self) -> Vec<Definition> {
        let version = self
            .document
            .get("openapi")
            .and_then(Json::as_str)
            .unwrap_or_default();
        let dialect = match version.get(..4) {
            Some("3.0.") => Dialect::OpenApi30,
            Some("3.1.") => Dialect::JsonSchema,
            _ => {
                let at = format!("{}#/openapi", self.file);
                self.compiler.fault(
                    &at,
                    "is not 3.0.x or 3.1.x",
                    "convert the document to 3.0 or 3.1",
                );
                return Vec::new();
            }
        };
        self.compiler.open(self.document, self.file, dialect);
        let Some(paths) = self.document.get("paths").and_then(Json::as_object) else {
            let at = format!("{}#/paths", self.file);
            self.compiler
                .fault(&at, "is missing", "declare at least one path");
            return Vec::new();
        };
        let mut definitions = Vec::new();
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            let at = format!("{}#/paths/{}", self.file, escape(path));
            let Some((item, at)) = self.resolved(item, at) else {
                continue;
            };
            for (word, method) in OPERATIONS {
                if let Some(Json::Object(operation)) = item.get(*word) {
                    let at = format!("{at}/{word}");
                    definitions.extend(self.operation(path, *method, item, operation, &at));
                }
            }
            if item.contains_key("trace") {
                self.notes
                    .push(format!("{at}/trace: TRACE is never forwarded; left out"));
            }
        }
        self.unknown_names(&definitions);
        definitions
    }

    /// The object that is meant, behind at most one reference.
    fn resolved(&mut self, value: &'d Json, at: String) -> Option<(&'d Map<String, Json>, String)> {
        let (value, at) = match value.get("$ref") {
            Some(reference) => {
                let (pointer, target) = self.compiler.resolve(reference, &at)?;
                (target, format!("{}#{pointer}", self.file))
            }
            None => (value, at),
        };
        let map = value.as_object();
        if map.is_none() {
            self.compiler
                .fault(&at, "is not an object", "see the OpenAPI specification");
        }
        map.map(|map| (map, at))
    }

    fn operation(
        &mut self,
        path: &str,
        method: Method,
        item: &'d Map<String, Json>,
        operation: &'d Map<String, Json>,
        at: &str,
    ) -> Option<Definition> {
        let name = self.name(path, method, operation, at);
        if self.config.omit.contains(&name) {
            self.omitted.insert(name);
            return None;
        }
        let config = self.config;
        let fallback = OverrideConfig::default();
        let change = config.overrides.get(&name).unwrap_or(&fallback);
        let parameters = self.parameters(item, operation, at);
        let body = self.body(operation, change, at);
        let effect = self.effect(operation, at);
        let summary = operation
            .get("summary")
            .or_else(|| operation.get("description"));
        let summary = summary
            .and_then(Json::as_str)
            .and_then(|text| text.lines().next());
        let mut classes = change.classes.clone();
        for Parameter {
            place, name, class, ..
        } in &parameters
        {
            let at = format!("{}.{name}", place.as_str());
            classes.extend(class.clone().map(|class| (at, class)));
        }
        Some(Definition {
            place: at.to_owned(),
            name,
            method,
            path: path.to_owned(),
            summary: summary.map(|text| text.trim().to_owned()),
            effect: change.effect.or(effect).unwrap_or(method.effect()),
            durability: change.durability.unwrap_or_default(),
            additional: change.additional.unwrap_or_default(),
            parameters,
            body,
            when: When::default(),
            opaque: change.opaque.clone(),
            classes,
            mask: change.mask.clone(),
        })
    }

    /// `operationId`, or a name made from method and path.
    fn name(
        &mut self,
        path: &str,
        method: Method,
        operation: &Map<String, Json>,
        at: &str,
    ) -> String {
        let given = operation.get("operationId").and_then(Json::as_str);
        let raw = given.map_or_else(
            || format!("{}{path}", method.as_str().to_ascii_lowercase()),
            str::to_owned,
        );
        let mut name = String::new();
        for char in raw.chars() {
            match char {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => name.push(char),
                _ if name.ends_with('-') => {}
                _ => name.push('-'),
            }
        }
        let name = name.trim_matches('-');
        let name: String = name.chars().take(NAME_BYTES_MAX).collect();
        if given != Some(name.as_str()) {
            let why = if given.is_some() {
                "its `operationId` is no function name"
            } else {
                "it has no `operationId`"
            };
            self.notes
                .push(format!("{at}: {why}; it is called `{name}`"));
        }
        name
    }

    fn effect(&mut self, operation: &Map<String, Json>, at: &str) -> Option<Effect> {
        let value = operation.get("x-callgate-effect")?;
        match value.as_str() {
            Some("read") => Some(Effect::Read),
            Some("write") => Some(Effect::Write),
            Some("destructive") => Some(Effect::Destructive),
            Some(_) | None => {
                let at = format!("{at}/x-callgate-effect");
                self.compiler.fault(
                    &at,
                    "is not an effect",
                    "write `read`, `write` or `destructive`",
                );
                None
            }
        }
    }

    /// The operation's parameters, and those of its path that it does not replace.
    fn parameters(
        &mut self,
        item: &'d Map<String, Json>,
        operation: &'d Map<String, Json>,
        at: &str,
    ) -> Vec<Parameter> {
        let mut by_name: BTreeMap<(In, String), Parameter> = BTreeMap::new();
        let path_at = at.rsplit_once('/').map_or(at, |(above, _)| above);
        for (owner, at) in [(item, path_at), (operation, at)] {
            let list = match owner.get("parameters") {
                Some(Json::Array(list)) => list.as_slice(),
                Some(_) => {
                    self.compiler.fault(
                        &format!("{at}/parameters"),
                        "is not a list",
                        "write a list",
                    );
                    &[]
                }
                None => &[],
            };
            let mut here = BTreeSet::new();
            for (index, value) in list.iter().enumerate() {
                let at = format!("{at}/parameters/{index}");
                let parameter = self.parameter(value, at.clone());
                let spread = parameter.map(|found| self.spread(found));
                for parameter in spread.unwrap_or_default() {
                    let key = (parameter.place, parameter.name.clone());
                    if !here.insert(key.clone()) {
                        self.compiler
                            .fault(&at, "the parameter is declared twice", "remove one");
                    }
                    by_name.insert(key, parameter);
                }
            }
        }
        by_name.into_values().collect()
    }

    fn parameter(&mut self, value: &'d Json, at: String) -> Option<Parameter> {
        let (map, at) = self.resolved(value, at)?;
        let text = |key: &str| map.get(key).and_then(Json::as_str).unwrap_or_default();
        let name = text("name").to_owned();
        let (place, style) = match text("in") {
            "path" => (In::Path, "simple"),
            "query" => (In::Query, "form"),
            // OpenAPI 3.0.3 section 4.7.12.2: these three are described elsewhere.
            "header"
                if ["accept", "content-type", "authorization"]
                    .contains(&name.to_ascii_lowercase().as_str()) =>
            {
                return None;
            }
            "header" => (In::Header, "simple"),
            "cookie" => {
                let hint = "cookies do not pass; `omit` the function or remove the parameter";
                self.compiler
                    .fault(&at, "cookie parameters are not supported", hint);
                return None;
            }
            _ => {
                self.compiler.fault(
                    &format!("{at}/in"),
                    "is not a place",
                    "write `path`, `query` or `header`",
                );
                return None;
            }
        };
        let required = map.get("required") == Some(&Json::Bool(true));
        if place == In::Header && self.is_withheld(&name.to_ascii_lowercase(), required, &at) {
            return None;
        }
        if !matches!(text("style"), "" | "simple" | "form") || !["", style].contains(&text("style"))
        {
            let what = format!("style `{}` is not supported", text("style"));
            self.compiler.fault(
                &format!("{at}/style"),
                &what,
                "`omit` the function or use the default style",
            );
            return None;
        }
        let Some(schema) = map.get("schema") else {
            let hint = "give a `schema`, or `omit` the function";
            self.compiler
                .fault(&at, "the parameter has no `schema`", hint);
            return None;
        };
        let schema = self.compiler.compile(schema, &format!("{at}/schema"));
        let explode = map.get("explode").and_then(Json::as_bool);
        Some(Parameter {
            place,
            name: if place == In::Header {
                name.to_ascii_lowercase()
            } else {
                name
            },
            required: place == In::Path || required,
            schema,
            class: map
                .get("x-callgate-class")
                .map(|class| class.as_str().unwrap_or_default().to_owned()),
            explode: place == In::Query && explode.unwrap_or(true),
        })
    }

    /// A query parameter that is an object has each member as a parameter of its own (style `form`,
    /// exploded: the default).
    fn spread(&self, parameter: Parameter) -> Vec<Parameter> {
        let arena = self.compiler.arena();
        let id = parameter.schema;
        let object = arena.kinds(id).solid() == Kinds::OBJECT && !arena.is_union(id);
        if parameter.place != In::Query || !parameter.explode || !object || arena.is_open(id) {
            return vec![parameter];
        }
        let members = arena.members(id).into_iter();
        members
            .map(|(name, schema, required)| Parameter {
                place: In::Query,
                name: name.to_owned(),
                required: parameter.required && required,
                class: parameter.class.clone(),
                schema,
                explode: true,
            })
            .collect()
    }

    /// Whether a header parameter is none of the caller's business: the gateway sets it, or it never
    /// goes on and need not.
    fn is_withheld(&mut self, name: &str, required: bool, at: &str) -> bool {
        if self.config.provided.iter().any(|known| known == name) {
            return true;
        }
        let stripped = !required && !is_forwardable(name);
        if stripped {
            let note =
                format!("{at}: left out, because header `{name}` never goes on to a function");
            self.notes.push(note);
        }
        stripped
    }

    fn body(
        &mut self,
        operation: &'d Map<String, Json>,
        change: &OverrideConfig,
        at: &str,
    ) -> Body {
        let Some(value) = operation.get("requestBody") else {
            return Body::None;
        };
        let Some((map, at)) = self.resolved(value, format!("{at}/requestBody")) else {
            return Body::None;
        };
        let required = map.get("required") == Some(&Json::Bool(true));
        let mut forms = Vec::new();
        let mut others = Vec::new();
        for (media_type, value) in map
            .get("content")
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            let at = format!("{at}/content/{}", escape(media_type));
            let essence = media_type
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if let Some(wanted) = &change.media_types
                && !wanted
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(&essence))
            {
                continue;
            }
            match Codec::of(&essence).filter(|_| change.stream != Some(true)) {
                Some(codec) => {
                    let schema = self.body_schema(value, &at);
                    forms.push(Form {
                        media_type: essence,
                        codec,
                        schema,
                    });
                }
                None => others.push((essence, at)),
            }
        }
        if forms.is_empty() {
            let any = others.iter().any(|(essence, _)| essence.contains('*'));
            let media_types = others.into_iter().map(|(essence, _)| essence);
            return Body::Stream {
                media_types: if any {
                    Vec::new()
                } else {
                    media_types.collect()
                },
            };
        }
        for (_, at) in others {
            self.notes.push(format!(
                "{at}: left out, because it cannot be judged as the other media types are"
            ));
        }
        Body::Typed { forms, required }
    }

    fn body_schema(&mut self, value: &'d Json, at: &str) -> NodeId {
        match value.get("schema") {
            Some(schema) => self.compiler.compile(schema, &format!("{at}/schema")),
            None => self.compiler.compile(&Json::Bool(true), at),
        }
    }

    /// Names in the config that no function has.
    fn unknown_names(&mut self, definitions: &[Definition]) {
        let known = |name: &String| definitions.iter().any(|known| known.name == *name);
        for name in self
            .config
            .omit
            .iter()
            .filter(|name| !self.omitted.contains(*name))
        {
            let what = format!("the document has no function `{name}`");
            self.compiler
                .fault(&format!("{}.omit", self.place), &what, "remove it");
        }
        for name in self.config.overrides.keys().filter(|name| !known(name)) {
            let near = definitions
                .iter()
                .find(|known| known.name.eq_ignore_ascii_case(name));
            let hint = near.map_or_else(
                || format!("write an `operationId` of {}", self.file),
                |near| format!("did you mean `{}`?", near.name),
            );
            let what = format!("the document has no function `{name}`");
            self.compiler
                .fault(&format!("{}.overrides.{name}", self.place), &what, &hint);
        }
    }
}

/// OpenAPI's words for methods.
const OPERATIONS: &[(&str, Method)] = &[
    ("delete", Method::Delete),
    ("get", Method::Get),
    ("head", Method::Head),
    ("options", Method::Options),
    ("patch", Method::Patch),
    ("post", Method::Post),
    ("put", Method::Put),
];

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
