//! Parameters of path, query and headers: texts that become typed values, or refusals.

use std::collections::BTreeMap;

use http::HeaderMap;
use wire::http::Target;
use wire::json::Value as Json;

use super::binding::{Binding, List, ParameterBinding};
use super::config::Additional;
use super::definition::{In, TextKind};
use super::fault::{CallFault, shown};
use super::input::Value;
use super::schema::{Checker, NodeId, project, same_but_case};
use super::shape::Shape;

type Members = BTreeMap<String, Value>;

pub(super) fn read_path(
    binding: &Binding,
    target: &Target,
) -> Result<Option<(String, Value)>, CallFault> {
    let segments: Vec<String> = target
        .segments()
        .map(std::borrow::Cow::into_owned)
        .collect();
    let mut members = Members::new();
    for (name, text) in binding.template.values(&segments) {
        let key = (In::Path, name.to_owned());
        let Some(parameter) = binding.parameters.get(&key) else {
            continue;
        };
        let place = format!("path.{name}");
        let value = pick(binding, parameter.schema, parameter.kind, text, &place)?;
        insert(binding, In::Path, name, &value, &mut members)?;
    }
    Ok(record(binding, In::Path, members))
}

pub(super) fn read_query(
    binding: &Binding,
    target: &Target,
) -> Result<Option<(String, Value)>, CallFault> {
    let pairs = target
        .pairs()
        .map_err(|error| CallFault::bad(error.to_string()))?;
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for pair in &pairs {
        let place = format!("query.{}", shown(&pair.name));
        let name = &*pair.name;
        let Some(((_, name), parameter)) = binding
            .parameters
            .get_key_value(&(In::Query, name.to_owned()))
        else {
            undeclared(binding, In::Query, name, &place)?;
            continue;
        };
        let list = texts.entry(name).or_default();
        if !list.is_empty() && parameter.list != List::Repeated {
            return Err(CallFault::bad(format!("`{place}` is given more than once")));
        }
        match parameter.list {
            List::No | List::Repeated => list.push(pair.value.clone().into_owned()),
            List::Commas if pair.raw.contains("%2C") => {
                return Err(CallFault::bad(format!(
                    "`{place}` has an escaped comma in a list"
                )));
            }
            List::Commas => list.extend(pair.value.split(',').map(str::to_owned)),
        }
    }
    read_parameters(binding, In::Query, &texts)
}

pub(super) fn read_headers(
    binding: &Binding,
    headers: &HeaderMap,
) -> Result<Option<(String, Value)>, CallFault> {
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for ((place, name), parameter) in &binding.parameters {
        if *place != In::Header {
            continue;
        }
        let values: Vec<_> = headers.get_all(name.as_str()).iter().collect();
        let [value] = values.as_slice() else {
            if values.is_empty() {
                continue;
            }
            return Err(CallFault::bad(format!(
                "`header.{name}` is given more than once"
            )));
        };
        let text = value
            .to_str()
            .map_err(|_| CallFault::bad(format!("`header.{name}` is not ASCII")))?;
        let trim = |item: &str| item.trim_matches([' ', '\t']).to_owned();
        let list = match parameter.list {
            List::No => vec![text.to_owned()],
            List::Repeated | List::Commas => text.split(',').map(trim).collect(),
        };
        texts.insert(name, list);
    }
    read_parameters(binding, In::Header, &texts)
}

/// Check, complete and project the parameters of one place.
fn read_parameters(
    binding: &Binding,
    place: In,
    texts: &BTreeMap<&str, Vec<String>>,
) -> Result<Option<(String, Value)>, CallFault> {
    let mut members = Members::new();
    for ((known, name), parameter) in &binding.parameters {
        let at = format!("{}.{name}", place.as_str());
        match (*known == place, texts.get(name.as_str())) {
            (false, _) => {}
            (true, None) if parameter.required => {
                return Err(CallFault::bad(format!("`{at}` is missing")));
            }
            (true, None) => {}
            (true, Some(list)) => {
                let value = read_value(binding, parameter, list, &at)?;
                insert(binding, place, name, &value, &mut members)?;
            }
        }
    }
    Ok(record(binding, place, members))
}

fn read_value(
    binding: &Binding,
    parameter: &ParameterBinding,
    texts: &[String],
    place: &str,
) -> Result<Json, CallFault> {
    if parameter.list == List::No {
        let text = texts.first().map(String::as_str).unwrap_or_default();
        return pick(binding, parameter.schema, parameter.kind, text, place);
    }
    let item = |text: &String| match binding.arena.items(parameter.schema) {
        Some(items) => pick(binding, items, parameter.kind, text, place),
        None => Ok(Json::String(text.clone())),
    };
    let list = Json::Array(texts.iter().map(item).collect::<Result<_, _>>()?);
    Checker::new(&binding.arena, binding.additional, &[place])
        .check(parameter.schema, &list)
        .map_err(CallFault::BadRequest)?;
    Ok(list)
}

/// The value that a text stands for, by the schema of one scalar.
pub(super) fn read_text(
    binding: &Binding,
    schema: NodeId,
    text: &str,
    place: &str,
) -> Result<Json, CallFault> {
    let kind = TextKind::of(&binding.arena, schema)
        .ok_or_else(|| CallFault::bad(format!("`{place}` cannot be written as text")))?;
    pick(binding, schema, kind, text, place)
}

fn pick(
    binding: &Binding,
    schema: NodeId,
    kind: TextKind,
    text: &str,
    place: &str,
) -> Result<Json, CallFault> {
    let mut why = format!("`{place}` is not {}", kind.wanted());
    for value in kind.read(text) {
        match Checker::new(&binding.arena, binding.additional, &[place]).check(schema, &value) {
            Ok(()) => return Ok(value),
            Err(error) => why = error,
        }
    }
    Err(CallFault::BadRequest(why))
}

fn insert(
    binding: &Binding,
    place: In,
    name: &str,
    value: &Json,
    members: &mut Members,
) -> Result<(), CallFault> {
    let at = format!("{}.{name}", place.as_str());
    let shape = match binding
        .function
        .input
        .members
        .get(place.as_str())
        .map(|found| &found.shape)
    {
        Some(Shape::Record(record)) => record.members.get(name).map(|member| &member.shape),
        _ => None,
    };
    let value =
        project(shape.unwrap_or(&Shape::Opaque), value, &at).map_err(CallFault::BadRequest)?;
    members.extend(value.map(|value| (name.to_owned(), value)));
    Ok(())
}

/// The record of one place; it is there, if empty, wherever the function declares something for it.
fn record(binding: &Binding, place: In, members: Members) -> Option<(String, Value)> {
    let name = place.as_str();
    let declared = binding.function.input.members.contains_key(name);
    declared.then(|| (name.to_owned(), Value::Record(members)))
}

fn undeclared(binding: &Binding, place: In, name: &str, shown: &str) -> Result<(), CallFault> {
    let declared = binding
        .parameters
        .keys()
        .filter(|(known, _)| *known == place);
    let twin = declared
        .map(|(_, known)| known)
        .find(|known| same_but_case(known, name));
    match (twin, binding.additional) {
        (Some(known), _) => Err(CallFault::bad(format!(
            "`{shown}` differs only in case from the declared `{known}`"
        ))),
        (None, Additional::Allow) => Ok(()),
        (None, Additional::Refuse) => Err(CallFault::bad(format!(
            "`{shown}` is not declared by the function"
        ))),
    }
}
