//! The gateway's values as Cedar's, one by one, by their declared shape: never through Cedar's JSON
//! parser, whose escapes (`__entity`, `__extn`, `__expr`) a caller could write into a body, and never
//! with a member that the schema does not know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy_core::ast::{
    Context, Entity, EntityUID, ExtensionFunction, Literal, PartialValue, Value as CedarValue,
};
use cedar_policy_core::extensions::Extensions;

use crate::call::{Facts, Input, Shape, input::Value, shape};
use crate::clock::Timestamp;
use crate::identity::{Actor, Exposed, ExposedType};

use super::Error;
use super::request::Subject;

/// Most addresses whose Cedar value is kept; the cache starts anew when it is full.
const SOURCES_MAX: usize = 4096;

/// Makes Cedar values. Addresses and the current second are remembered, because Cedar parses both
/// from text.
pub(super) struct Values {
    decimal: &'static ExtensionFunction,
    datetime: &'static ExtensionFunction,
    ip: &'static ExtensionFunction,
    second: Mutex<Option<(u64, CedarValue)>>,
    sources: Mutex<HashMap<IpAddr, CedarValue>>,
    no_actors: CedarValue,
    no_claims: CedarValue,
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

type Pairs = Vec<(&'static str, CedarValue)>;

impl Values {
    /// The constructors of Cedar's extension types.
    pub(super) fn new() -> Result<Self, String> {
        let function = |name: &str| {
            let name = name.parse().map_err(|_| format!("bad name `{name}`"))?;
            Extensions::all_available()
                .func(&name)
                .map_err(|error| error.to_string())
        };
        Ok(Self {
            decimal: function("decimal")?,
            datetime: function("datetime")?,
            ip: function("ip")?,
            second: Mutex::new(None),
            sources: Mutex::new(HashMap::new()),
            no_actors: CedarValue::empty_set(None),
            no_claims: CedarValue::empty_record(None),
        })
    }

    /// The context of a call. The input must have the declared shape.
    pub(super) fn call(
        &self,
        input: &Input,
        shape: &shape::Record,
        facts: &Facts,
    ) -> Result<Context, Error> {
        let mut pairs = self.facts(facts)?;
        pairs.push(("input", self.record(&input.members, shape)?));
        Ok(context(pairs))
    }

    /// The context of an unmask question.
    pub(super) fn unmask(
        &self,
        function: &Arc<EntityUID>,
        facts: &Facts,
    ) -> Result<Context, Error> {
        let mut pairs = self.facts(facts)?;
        let function = Literal::EntityUID(Arc::clone(function));
        pairs.push(("function", CedarValue::from(function)));
        Ok(context(pairs))
    }

    /// The context of a person's act.
    pub(super) fn person(
        &self,
        at: Timestamp,
        source: IpAddr,
        rule: Option<&str>,
    ) -> Result<Context, Error> {
        let mut pairs = vec![("time", self.time(at)?), ("source", self.source(source)?)];
        pairs.extend(rule.map(|rule| ("rule", CedarValue::from(rule))));
        Ok(context(pairs))
    }

    /// The principal's entity. Of its groups only those are given that some policy names: no other
    /// can change an answer.
    pub(super) fn principal(
        &self,
        uid: &EntityUID,
        subject: &Subject<'_>,
        groups: &[EntityUID],
        claims: &BTreeMap<String, ExposedType>,
    ) -> Result<Entity, Error> {
        let attributes = [
            ("issuer", CedarValue::from(subject.issuer)),
            ("subject", CedarValue::from(subject.subject)),
            ("kind", CedarValue::from(subject.kind.as_str())),
            ("method", CedarValue::from(subject.method)),
            ("actors", self.actors(subject.actors)),
            ("claims", self.claims(subject.claims, claims)?),
        ];
        Ok(Entity::new_with_attr_partial_value(
            uid.clone(),
            attributes.map(|(name, value)| (name.into(), PartialValue::Value(value))),
            HashSet::new(),
            groups.iter().cloned().collect(),
            [],
        ))
    }

    fn actors(&self, actors: &[Actor]) -> CedarValue {
        if actors.is_empty() {
            return self.no_actors.clone();
        }
        let name = |actor: &Actor| CedarValue::from(format!("{}/{}", actor.issuer, actor.subject));
        CedarValue::set(actors.iter().map(name), None)
    }

    /// The claims that the config exposes; a claim of another type than its declared one is an error.
    fn claims(
        &self,
        given: &BTreeMap<String, Exposed>,
        declared: &BTreeMap<String, ExposedType>,
    ) -> Result<CedarValue, Error> {
        if given.is_empty() {
            return Ok(self.no_claims.clone());
        }
        let mut claims = Vec::with_capacity(given.len());
        for (name, kind) in declared {
            if let Some(value) = given.get(name) {
                let value = claim(value, *kind).ok_or_else(|| Error::Claim(name.clone()))?;
                claims.push((name.as_str(), value));
            }
        }
        Ok(CedarValue::record(claims, None))
    }

    fn facts(&self, facts: &Facts) -> Result<Pairs, Error> {
        Ok(vec![
            ("time", self.time(facts.received)?),
            ("source", self.source(facts.source)?),
            ("tls", CedarValue::from(facts.tls)),
            ("protocol", CedarValue::from(facts.protocol)),
            ("method", CedarValue::from(facts.method.as_str())),
        ])
    }

    /// Whole seconds: policies are about hours and days.
    fn time(&self, at: Timestamp) -> Result<CedarValue, Error> {
        let second = at.secs();
        let mut kept = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, value)) = kept.as_ref()
            && *of == second
        {
            return Ok(value.clone());
        }
        let text = Timestamp::from_secs(second).to_string();
        let value = extension(self.datetime, &text)?;
        *kept = Some((second, value.clone()));
        Ok(value)
    }

    fn source(&self, source: IpAddr) -> Result<CedarValue, Error> {
        // An IPv4 address that arrived on an IPv6 socket is an IPv4 address to policies.
        let source = source.to_canonical();
        let mut kept = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.get(&source) {
            return Ok(value.clone());
        }
        if kept.len() >= SOURCES_MAX {
            kept.clear();
        }
        let value = extension(self.ip, &source.to_string())?;
        kept.insert(source, value.clone());
        Ok(value)
    }

    fn record(
        &self,
        members: &BTreeMap<String, Value>,
        shape: &shape::Record,
    ) -> Result<CedarValue, Error> {
        let mut required = shape
            .members
            .values()
            .filter(|member| member.required && has_type(&member.shape))
            .count();
        let mut pairs = Vec::with_capacity(members.len());
        for (name, value) in members {
            let member = shape.members.get(name).ok_or(Error::Input)?;
            pairs.push((name.as_str(), self.value(value, &member.shape)?));
            required -= usize::from(member.required);
        }
        if required > 0 {
            return Err(Error::Input);
        }
        Ok(CedarValue::record(pairs, None))
    }

    fn value(&self, value: &Value, shape: &Shape) -> Result<CedarValue, Error> {
        match (value, shape) {
            (Value::Bool(value), Shape::Bool) => Ok(CedarValue::from(*value)),
            (Value::Long(value), Shape::Long) => Ok(CedarValue::from(*value)),
            (Value::Decimal(text), Shape::Decimal) => extension(self.decimal, text),
            (Value::String(text), Shape::String) => Ok(CedarValue::from(text.as_str())),
            (Value::Set(values), Shape::Set(element)) if has_type(element) => {
                let values: Result<Vec<CedarValue>, Error> = values
                    .iter()
                    .map(|value| self.value(value, element))
                    .collect();
                Ok(CedarValue::set(values?, None))
            }
            (Value::Record(members), Shape::Record(shape)) => self.record(members, shape),
            (
                Value::Bool(_)
                | Value::Long(_)
                | Value::Decimal(_)
                | Value::String(_)
                | Value::Set(_)
                | Value::Record(_),
                _,
            ) => Err(Error::Input),
        }
    }
}

/// Whether the shape stands in the schema.
pub(super) fn has_type(shape: &Shape) -> bool {
    match shape {
        Shape::Bool | Shape::Long | Shape::Decimal | Shape::String | Shape::Record(_) => true,
        Shape::Set(element) => has_type(element),
        Shape::Opaque => false,
    }
}

fn context(pairs: Pairs) -> Context {
    let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value));
    Context::Value(Arc::new(pairs.collect()))
}

fn extension(function: &ExtensionFunction, text: &str) -> Result<CedarValue, Error> {
    match function.call(&[CedarValue::from(text)]) {
        Ok(PartialValue::Value(value)) => Ok(value),
        Ok(PartialValue::Residual(_)) | Err(_) => Err(Error::Input),
    }
}

fn claim(value: &Exposed, kind: ExposedType) -> Option<CedarValue> {
    match (value, kind) {
        (Exposed::String(text), ExposedType::String) => Some(CedarValue::from(text.as_str())),
        (Exposed::Long(number), ExposedType::Long) => Some(CedarValue::from(*number)),
        (Exposed::Bool(value), ExposedType::Bool) => Some(CedarValue::from(*value)),
        (Exposed::Strings(texts), ExposedType::Strings) => {
            let texts = texts.iter().map(|text| CedarValue::from(text.as_str()));
            Some(CedarValue::set(texts, None))
        }
        (Exposed::String(_) | Exposed::Long(_) | Exposed::Bool(_) | Exposed::Strings(_), _) => None,
    }
}
