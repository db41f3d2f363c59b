//! What is called: functions, their typed input, and the call itself.
//!
//! Owns the ids, a connection's catalogue of functions, the projection of a request onto a function's
//! declared input, and [`HttpCall`]: the exact bytes that are judged and then forwarded. Refuses what
//! is not declared. Called by the protocols (to decode) and by every room above (to read).

mod binding;
mod catalogue;
mod config;
mod decode;
mod definition;
mod fault;
pub mod input;
mod observe;
mod openapi;
mod parameters;
mod plan;
mod request;
mod schema;
pub mod shape;
mod suggest;
mod template;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::mask::{DataClass, Veil};

pub use binding::Binding;
pub use catalogue::{AtLeast, Catalogue, FUNCTIONS_MAX, Found};
pub use config::{
    Additional, BodyConfig, FunctionConfig, FunctionsConfig, Method, OverrideConfig,
    ParameterConfig, Plus, WhenConfig,
};
pub use decode::PASSED_HEADERS;
pub use fault::{CallFault, Fault};
pub use input::Input;
pub use observe::{Seen, SeenFault, UNDECLARED};
pub use plan::{BODY_BYTES_MAX, BodyPlan};
pub use request::{HttpCall, HttpHead, RequestBody};
pub use shape::Shape;
pub use suggest::{SeenBody, SeenFunctions, SeenRequest, SuggestedDocument};

/// Longest connection or function name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// One call's id: a UUIDv7, so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(uuid::Uuid);

impl CallId {
    /// A new id for a call received at `at`.
    pub fn new(at: Timestamp) -> Self {
        let nanos = u32::try_from(at.nanos() % 1_000_000_000).unwrap_or(0);
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, at.secs(), nanos);
        Self(uuid::Uuid::new_v7(stamp))
    }

    /// The id's 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// An id from its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CallId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        uuid::Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| NameError::CallId(text.to_owned()))
    }
}

/// A name that does not have the right form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a UUID.
    #[error("`{0}` is not a call id: it is a UUID such as 0197a3b2-1111-7000-8000-000000000000")]
    CallId(String),
    /// Not a connection name.
    #[error(
        "`{0}` is not a connection name: use a-z, 0-9 and `-`, starting with a letter, at most 128"
    )]
    Connection(String),
    /// Not a function name.
    #[error("`{0}` is not a function name: use letters, digits, `.`, `_` and `-`, at most 128")]
    Function(String),
    /// Not `connection/function`.
    #[error("`{0}` is not a function id: it is `connection/function`")]
    FunctionId(String),
}

/// A connection's name: `a-z`, `0-9`, `-`, first a letter.
#[derive(
    Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct ConnectionName(Arc<str>);

impl ConnectionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectionName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if first && rest && text.len() <= NAME_BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Connection(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ConnectionName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ConnectionName> for String {
    fn from(name: ConnectionName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A function's id: `connection/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionId {
    connection: ConnectionName,
    name: Arc<str>,
}

impl FunctionId {
    /// The id of `name` on `connection`.
    ///
    /// # Errors
    /// [`NameError::Function`] when `name` is empty, too long or has other characters.
    pub fn new(connection: ConnectionName, name: &str) -> Result<Self, NameError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(good) {
            return Err(NameError::Function(name.to_owned()));
        }
        Ok(Self {
            connection,
            name: name.into(),
        })
    }

    /// The connection it is on.
    pub const fn connection(&self) -> &ConnectionName {
        &self.connection
    }

    /// The name within the connection.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connection, self.name)
    }
}

impl FromStr for FunctionId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (connection, name) = text
            .split_once('/')
            .ok_or_else(|| NameError::FunctionId(text.to_owned()))?;
        Self::new(connection.parse()?, name)
    }
}

impl TryFrom<String> for FunctionId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<FunctionId> for String {
    fn from(id: FunctionId) -> Self {
        id.to_string()
    }
}

/// What a function does to the world.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Reads only (GET, HEAD).
    Read,
    /// Changes something (POST, PUT, PATCH).
    Write,
    /// Removes or cannot be undone (DELETE).
    Destructive,
}

impl Effect {
    /// The group's name in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }
}

/// Which of a call's two records are on stable storage before the call goes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Begin and end records are synced (the default).
    #[default]
    Both,
    /// The begin record is synced; the end record follows within 50 ms.
    Begin,
    /// Neither is waited for; opt-in per function.
    Async,
}

/// What a policy may know about a call beside its input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// When the gateway received the call.
    pub received: Timestamp,
    /// The peer's address, from the socket.
    pub source: IpAddr,
    /// Whether the caller's hop was TLS.
    pub tls: bool,
    /// `http/1.1` or `h2`.
    pub protocol: &'static str,
    /// The method (HTTP) of the call.
    pub method: String,
}

/// What makes two requests the same call: a caller that sends it again joins its approval.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sameness {
    /// SHA-256 over function, method, target, content type, `If-Match`, `Idempotency-Key`, headers that
    /// are input, and body, each length-prefixed.
    pub digest: [u8; 32],
    /// The caller's `Idempotency-Key`, if any: the same key with another digest is a conflict.
    pub idempotency_key: Option<String>,
}

/// A request as the record keeps it: sealed, never in clear.
#[derive(Clone, Debug)]
pub struct RequestContent {
    /// Method, target and headers as they go up, credential slots excepted, as JSON.
    pub head: serde_json::Value,
    /// The body when it is in memory; `None` when it streams.
    pub body: Option<bytes::Bytes>,
}

/// One invocation of a function, in the form that will be forwarded.
pub trait Call: Send + fmt::Debug + 'static {
    /// This call's id.
    fn id(&self) -> CallId;
    /// The function that is called.
    fn function(&self) -> &Arc<Function>;
    /// The typed input, as policy sees it.
    fn input(&self) -> &Input;
    /// What policy may know beside the input.
    fn facts(&self) -> &Facts;
    /// What the record keeps of the request.
    fn content(&self) -> RequestContent;
    /// The whole call as bytes that [`Call`]'s decoder turns into the same call again; `None` when
    /// the body streams, and so the call cannot wait for an approval.
    fn freeze(&self) -> Option<Vec<u8>>;
    /// What makes another request the same call.
    fn sameness(&self) -> Sameness;
    /// Values that the caller sent as tokens: hidden from people who are asked.
    fn veil(&self) -> &[Veil];
}

/// One callable thing.
#[derive(Debug)]
pub struct Function {
    /// `connection/name`.
    pub id: FunctionId,
    /// Its effect group.
    pub effect: Effect,
    /// Its declared input: a record with the members `path`, `query`, `header` and `body` as far as
    /// the function declares them.
    pub input: shape::Record,
    /// Durability of its records.
    pub durability: Durability,
    /// One line for people, from the OpenAPI summary or the config.
    pub summary: Option<String>,
    /// Mask settings of this function alone, which replace the connection's.
    pub mask: Option<crate::mask::Config>,
    /// Data classes of input members, by place.
    pub classes: Vec<(String, DataClass)>,
}

impl Function {
    /// A function with the defaults for all but these; other rooms' tests use it too.
    pub const fn new(id: FunctionId, effect: Effect, input: shape::Record) -> Self {
        Self {
            id,
            effect,
            input,
            durability: Durability::Both,
            summary: None,
            mask: None,
            classes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
