//! What the operator writes about a connection's functions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{Durability, Effect};

/// The functions of a connection: from an OpenAPI document, written inline, or both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FunctionsConfig {
    /// An OpenAPI 3.0 or 3.1 document (YAML or JSON), relative to the config file. It is read at
    /// load only; references to other files or addresses are refused, `servers` is not used.
    /// Example: `./payments.openapi.yaml`.
    pub openapi: Option<PathBuf>,
    /// Functions by name, beside or instead of the document.
    pub inline: BTreeMap<String, FunctionConfig>,
    /// Changes to functions of the document, by name. For inline functions write it there.
    pub overrides: BTreeMap<String, OverrideConfig>,
    /// Names of functions of the document that are left out: calls of them are refused. Example:
    /// `[deleteEverything]`.
    pub omit: Vec<String>,
    /// Names of further request headers that are forwarded though no function declares them, in
    /// lower case. Policies do not see them. Example: `[x-tenant-hint]`.
    pub headers: Vec<String>,
    /// Names of header parameters of the document, in lower case, that callers do not send because the
    /// gateway does: the header of the connection's credential. Example: `[x-api-key]`.
    pub provided: Vec<String>,
    /// What a `+` in a query means. Default: `refuse`.
    pub plus: Plus,
}

/// What a `+` in a query means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plus {
    /// The request is refused, because readers differ: some take it for a space.
    #[default]
    Refuse,
    /// A space, as form-encoding clients mean it; it is forwarded as `%20`.
    Space,
}

/// Whether a function takes what it does not declare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Additional {
    /// Undeclared members, parameters and headers are refused or not forwarded.
    #[default]
    Refuse,
    /// They are forwarded; policies do not see them.
    Allow,
}

/// A method that a function can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// `DELETE`
    Delete,
    /// `GET`; such a function answers `HEAD` too, unless another one declares it.
    Get,
    /// `HEAD`
    Head,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `POST`
    Post,
    /// `PUT`
    Put,
}

impl Method {
    /// The method by its exact name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "DELETE" => Self::Delete,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "OPTIONS" => Self::Options,
            "PATCH" => Self::Patch,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            _ => return None,
        })
    }

    /// The method's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }

    /// What a function of this method does, unless it says otherwise.
    pub const fn effect(self) -> Effect {
        match self {
            Self::Get | Self::Head | Self::Options => Effect::Read,
            Self::Patch | Self::Post | Self::Put => Effect::Write,
            Self::Delete => Effect::Destructive,
        }
    }

    /// Whether a request of this method usually has a body.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Patch | Self::Post | Self::Put)
    }
}

/// One function, written in the config.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionConfig {
    /// The HTTP method. Example: `POST`.
    pub method: Method,
    /// The path below the connection's upstream; `{name}` stands for one segment or a part of one.
    /// Example: `/customers/{id}`.
    pub path: String,
    /// One line for people. Example: `Refund a payment`.
    #[serde(default)]
    pub summary: Option<String>,
    /// What it does to the world. Default: from the method (`GET`, `HEAD`, `OPTIONS`: `read`;
    /// `DELETE`: `destructive`; else `write`).
    #[serde(default)]
    pub effect: Option<Effect>,
    /// Which of its records are synced before the call goes on. Default: `both`.
    #[serde(default)]
    pub durability: Option<Durability>,
    /// Whether it takes what it does not declare. Default: `refuse`.
    #[serde(default)]
    pub additional: Additional,
    /// Schemas of the path's parameters, by name. Default: a string each.
    #[serde(default)]
    pub parameters: BTreeMap<String, Json>,
    /// Query parameters, by exact name.
    #[serde(default)]
    pub query: BTreeMap<String, ParameterConfig>,
    /// Request headers, by name in lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, ParameterConfig>,
    /// The request body. Default: none for `GET`, `HEAD`, `DELETE` and `OPTIONS`; for other methods
    /// a stream of bytes that policies do not see.
    #[serde(default)]
    pub body: Option<BodyConfig>,
    /// What else tells this function from others of the same method and path.
    #[serde(default)]
    pub when: Option<WhenConfig>,
    /// Names of input members that policies need not see, as in `[body.position.latitude]`: they may
    /// then hold numbers of any precision.
    #[serde(default)]
    pub opaque: Vec<String>,
    /// Data classes of input members, as in `{ query.email: email }`: whoever filters or sorts by such a member
    /// learns of it, so a call that gives it needs `unmask` on the class. In OpenAPI: `x-callgate-class` at a
    /// parameter.
    #[serde(default)]
    pub classes: BTreeMap<String, String>,
    /// Mask settings of this function alone; they replace the connection's.
    #[serde(default)]
    pub mask: Option<crate::mask::Config>,
}

/// One query parameter or header.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ParameterConfig {
    /// JSON Schema of its value: a scalar, or an array of scalars. Default: a string.
    pub schema: Option<Json>,
    /// Whether it must be there. Default: `false`.
    pub required: bool,
}

/// A request body: with a schema it is judged; without one it is kept (`stream: false`) or passed
/// through (`stream: true`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BodyConfig {
    /// JSON Schema of the body (the dialect of OpenAPI 3.1, see `docs/input-mapping.md`).
    pub schema: Option<Json>,
    /// Pass the body through as it arrives. Such a function cannot wait for an approval. Default:
    /// `false`: the body is held in memory, at most 1 MiB.
    pub stream: bool,
    /// Whether there must be a body. Default: `true` with a schema, else `false`.
    pub required: Option<bool>,
    /// Media types that are taken. Default: `[application/json]` with a schema, else any.
    pub media_types: Vec<String>,
}

/// Conditions that tell apart functions which share method and path; all of them must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WhenConfig {
    /// Members of the JSON body and their exact values. Example: `{ action: refund }`.
    pub body: BTreeMap<String, Json>,
    /// Request headers (lower case) and their exact values. Example: `{ x-amz-target: Refund }`.
    pub header: BTreeMap<String, String>,
}

/// Changes to one function of the OpenAPI document.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OverrideConfig {
    /// What it does to the world.
    pub effect: Option<Effect>,
    /// Which of its records are synced before the call goes on.
    pub durability: Option<Durability>,
    /// Whether it takes what it does not declare.
    pub additional: Option<Additional>,
    /// Media types that are taken, of those that the document declares.
    pub media_types: Option<Vec<String>>,
    /// Pass the body through as it arrives, unjudged. Such a function cannot wait for an approval.
    pub stream: Option<bool>,
    /// Names of input members that policies need not see, as in `[body.position.latitude]`: they may
    /// then hold numbers of any precision.
    pub opaque: Vec<String>,
    /// Data classes of input members, as in `{ query.email: email }`: whoever filters or sorts by such a member
    /// learns of it, so a call that gives it needs `unmask` on the class. In OpenAPI: `x-callgate-class` at a
    /// parameter.
    pub classes: BTreeMap<String, String>,
    /// Mask settings of this function alone; they replace the connection's.
    pub mask: Option<crate::mask::Config>,
}
