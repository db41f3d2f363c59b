//! A function as it was declared, whatever declared it: what the catalogue is built from.

use std::collections::BTreeMap;

use wire::json::{Number, Value};

use super::config::{Additional, FunctionConfig, Method, ParameterConfig, WhenConfig};
use super::fault::Fault;
use super::schema::{Arena, Compiler, Dialect, Kinds, NodeId};
use super::{Durability, Effect};

/// A declared function; its schemas are compiled.
#[derive(Debug)]
pub(super) struct Definition {
    /// Where it is declared, for faults.
    pub(super) place: String,
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) summary: Option<String>,
    pub(super) effect: Effect,
    pub(super) durability: Durability,
    pub(super) additional: Additional,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Body,
    pub(super) when: When,
    pub(super) opaque: Vec<String>,
    /// Data classes of input members, by place.
    pub(super) classes: BTreeMap<String, String>,
    pub(super) mask: Option<crate::mask::Config>,
}

/// Where a parameter stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum In {
    Path,
    Query,
    Header,
}

impl In {
    /// The member of the input that holds these parameters.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A declared parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) place: In,
    /// Headers: in lower case.
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) schema: NodeId,
    /// Lists in queries: one parameter an element (`a=1&a=2`); otherwise commas (`a=1,2`).
    pub(super) explode: bool,
    /// Its data class, if it has one.
    pub(super) class: Option<String>,
}

/// A declared body.
#[derive(Debug)]
pub(super) enum Body {
    /// A request has none.
    None,
    /// Judged.
    Typed {
        /// Accepted media types.
        forms: Vec<Form>,
        /// Whether there must be one.
        required: bool,
    },
    /// Held in memory, not judged; any media type when the list is empty.
    Bytes {
        media_types: Vec<String>,
        required: bool,
    },
    /// Passed through, not judged; any media type when the list is empty.
    Stream { media_types: Vec<String> },
}

/// One accepted media type of a judged body.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// `type/subtype`, lower case.
    pub(super) media_type: String,
    pub(super) codec: Codec,
    pub(super) schema: NodeId,
}

/// How a judged body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Json,
    UrlEncoded,
}

impl Codec {
    /// The codec for a media type's essence, if there is one.
    pub(super) fn of(essence: &str) -> Option<Self> {
        if essence == "application/json" || essence.ends_with("+json") {
            Some(Self::Json)
        } else if essence == "application/x-www-form-urlencoded" {
            Some(Self::UrlEncoded)
        } else {
            None
        }
    }
}

/// Compiled conditions of functions that share method and path.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct When {
    pub(super) body: BTreeMap<String, Value>,
    pub(super) header: BTreeMap<String, String>,
}

impl When {
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty() && self.header.is_empty()
    }

    /// Whether no request can meet both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let body =
            |(name, value): (&String, &Value)| other.body.get(name).is_some_and(|v| v != value);
        let header =
            |(name, value): (&String, &String)| other.header.get(name).is_some_and(|v| v != value);
        self.body.iter().any(body) || self.header.iter().any(header)
    }
}

/// What the text of a parameter stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TextKind {
    Bool,
    Integer,
    Number,
    String,
    /// Of several kinds: opaque to policies.
    Mixed,
}

impl TextKind {
    /// The kind of the scalar schema `id`; `None` when it is no scalar.
    pub(super) fn of(arena: &Arena, id: NodeId) -> Option<Self> {
        let kinds = arena.kinds(id).solid();
        if arena.is_union(id) {
            return Some(Self::Mixed);
        }
        match kinds {
            Kinds::BOOL => Some(Self::Bool),
            Kinds::INTEGER => Some(Self::Integer),
            Kinds::NUMBER => Some(Self::Number),
            Kinds::STRING => Some(Self::String),
            kinds if kinds == Kinds::ANY.solid() => Some(Self::String),
            kinds if kinds.has(Kinds::ARRAY) || kinds.has(Kinds::OBJECT) => None,
            _ => Some(Self::Mixed),
        }
    }

    /// The values that the text may stand for, most specific first. Texts that a number can have in
    /// several spellings (`007`, `+1`) stand for none.
    pub(super) fn read(self, text: &str) -> Vec<Value> {
        let number = || {
            Number::new(text)
                .filter(|_| text != "-0")
                .map(Value::Number)
        };
        let flag = || match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        };
        let string = || Some(Value::String(text.to_owned()));
        match self {
            Self::Bool => flag().into_iter().collect(),
            Self::Integer | Self::Number => number().into_iter().collect(),
            Self::String => string().into_iter().collect(),
            Self::Mixed => [flag(), number(), string()].into_iter().flatten().collect(),
        }
    }

    /// What the text should have been, for messages.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Bool => "`true` or `false`",
            Self::Integer => "an integer in its plain form",
            Self::Number => "a number in its plain form",
            Self::String | Self::Mixed => "of the declared type",
        }
    }
}

/// The definition of an inline function.
pub(super) fn inline<'d>(
    name: &str,
    config: &'d FunctionConfig,
    place: &str,
    compiler: &mut Compiler<'d>,
) -> Definition {
    let mut parameters = Vec::new();
    for (name, schema) in &config.parameters {
        let at = format!("{place}.parameters.{name}");
        let schema = compile(compiler, Some(schema), &at);
        parameters.push(parameter(In::Path, name, true, schema));
    }
    for (list, kind, word) in [
        (&config.query, In::Query, "query"),
        (&config.headers, In::Header, "headers"),
    ] {
        for (name, config) in list {
            let ParameterConfig { schema, required } = config;
            let at = format!("{place}.{word}.{name}");
            let schema = compile(compiler, schema.as_ref(), &at);
            parameters.push(parameter(kind, name, *required, schema));
        }
    }
    let body = inline_body(config, place, compiler);
    Definition {
        place: place.to_owned(),
        name: name.to_owned(),
        method: config.method,
        path: config.path.clone(),
        summary: config.summary.clone(),
        effect: config.effect.unwrap_or(config.method.effect()),
        durability: config.durability.unwrap_or_default(),
        additional: config.additional,
        parameters,
        body,
        when: config
            .when
            .as_ref()
            .map_or_else(When::default, |when| conditions(when, place, compiler)),
        opaque: config.opaque.clone(),
        classes: config.classes.clone(),
        mask: config.mask.clone(),
    }
}

const fn explode(place: In) -> bool {
    matches!(place, In::Query)
}

fn parameter(place: In, name: &str, required: bool, schema: NodeId) -> Parameter {
    Parameter {
        place,
        name: name.to_owned(),
        required,
        schema,
        class: None,
        explode: explode(place),
    }
}

fn compile<'d>(
    compiler: &mut Compiler<'d>,
    schema: Option<&'d serde_json::Value>,
    place: &str,
) -> NodeId {
    match schema {
        Some(schema) => {
            compiler.open(schema, place, Dialect::JsonSchema);
            compiler.compile(schema, place)
        }
        None => compiler.string(),
    }
}

fn inline_body<'d>(config: &'d FunctionConfig, place: &str, compiler: &mut Compiler<'d>) -> Body {
    let Some(body) = &config.body else {
        return match config.method.has_body() {
            true => Body::Stream {
                media_types: Vec::new(),
            },
            false => Body::None,
        };
    };
    let at = format!("{place}.body");
    let media_types = media_types(&body.media_types, &at, compiler);
    let Some(schema) = &body.schema else {
        return match body.stream {
            true => Body::Stream { media_types },
            false => Body::Bytes {
                media_types,
                required: body.required.unwrap_or(false),
            },
        };
    };
    if body.stream {
        let hint = "leave out `schema` or `stream`";
        compiler.fault(
            &at,
            "a body that is judged cannot be passed through as it arrives",
            hint,
        );
    }
    let schema = compile(compiler, Some(schema), &format!("{at}.schema"));
    let media_types = match media_types.is_empty() {
        true => vec!["application/json".to_owned()],
        false => media_types,
    };
    let mut forms = Vec::new();
    for media_type in media_types {
        match Codec::of(&media_type) {
            Some(codec) => forms.push(Form {
                media_type,
                codec,
                schema,
            }),
            None => compiler.fault(
                &format!("{at}.media_types"),
                &format!("`{media_type}` cannot be judged"),
                "use `application/json`, a `+json` type or `application/x-www-form-urlencoded`",
            ),
        }
    }
    Body::Typed {
        forms,
        required: body.required.unwrap_or(true),
    }
}

/// Media types without parameters, in lower case.
pub(super) fn media_types(
    list: &[String],
    place: &str,
    compiler: &mut Compiler<'_>,
) -> Vec<String> {
    let mut out = Vec::new();
    for text in list {
        match wire::http::MediaType::parse(text) {
            Ok(media) if media.parameters().next().is_none() => {
                out.push(media.essence().to_owned())
            }
            Ok(_) | Err(_) => compiler.fault(
                place,
                &format!("`{text}` is not a plain media type"),
                "write it as `application/json`, without parameters or wildcards",
            ),
        }
    }
    out
}

fn conditions(when: &WhenConfig, place: &str, compiler: &mut Compiler<'_>) -> When {
    let mut out = When {
        body: BTreeMap::new(),
        header: when.header.clone(),
    };
    for (name, value) in &when.body {
        let value = match value {
            serde_json::Value::String(text) => Some(Value::String(text.clone())),
            serde_json::Value::Bool(flag) => Some(Value::Bool(*flag)),
            serde_json::Value::Number(number) if number.is_i64() => {
                Number::new(&number.to_string()).map(Value::Number)
            }
            _ => None,
        };
        match value {
            Some(value) => drop(out.body.insert(name.clone(), value)),
            None => compiler.fault(
                &format!("{place}.when.body.{name}"),
                "is not a string, a boolean or an integer",
                "compare with one scalar value",
            ),
        }
    }
    if out.is_empty() {
        compiler.fault(
            &format!("{place}.when"),
            "has no condition",
            "leave it out or give one",
        );
    }
    out
}

/// The declared names of one place; faults for those that can never be sent.
pub(super) fn check_parameters(
    definition: &Definition,
    template: &super::template::Template,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let place = &definition.place;
    for parameter in &definition.parameters {
        let Parameter {
            place: kind, name, ..
        } = parameter;
        let twin = |other: &&Parameter| {
            other.place == *kind && super::schema::same_but_case(&other.name, name)
        };
        if definition.parameters.iter().filter(twin).count() > 1 {
            let what = format!(
                "`{}.{name}` is declared twice, or differs in case only",
                kind.as_str()
            );
            faults.push(Fault::new(place, what, "rename or remove one"));
        }
        match kind {
            In::Path if !template.names().any(|known| known == name) => faults.push(Fault::new(
                place,
                format!("the path has no `{{{name}}}`"),
                "remove the parameter or put it in the path",
            )),
            In::Header if !is_forwardable(name) => faults.push(Fault::new(
                place,
                format!("header `{name}` is never forwarded"),
                "remove it: the gateway sets or strips it",
            )),
            In::Path | In::Query | In::Header => {}
        }
    }
    faults
}

/// Whether a caller's header can reach a function at all.
pub(super) fn is_forwardable(name: &str) -> bool {
    wire::http::fields::strip(name).is_none()
        && wire::http::fields::is_token(name.as_bytes())
        && !name.bytes().any(|b| b.is_ascii_uppercase())
        && wire::http::fields::OVERRIDES.binary_search(&name).is_err()
        && !matches!(name, "authorization" | "accept-encoding")
}
