//! How one function is bound to HTTP: what a request for it looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::config::{Additional, Method};
use super::decode::PASSED_HEADERS;
use super::definition::{Body, Definition, In, Parameter, TextKind, When, check_parameters};
use super::fault::Fault;
use super::schema::{Arena, DEPTH_MAX, Kinds, MEMBERS_MAX, NodeId, Shaper};
use super::shape::{Member, Record};
use super::template::Template;
use super::{ConnectionName, Function, FunctionId};
use crate::mask::{ClassError, DataClass};

/// One function and the form of its requests. Immutable.
#[derive(Debug)]
pub struct Binding {
    pub(super) function: Arc<Function>,
    pub(super) method: Method,
    pub(super) template: Template,
    /// By place and exact name.
    pub(super) parameters: BTreeMap<(In, String), ParameterBinding>,
    pub(super) body: Body,
    pub(super) when: When,
    pub(super) additional: Additional,
    pub(super) arena: Arc<Arena>,
}

/// How the text of one parameter is read.
#[derive(Debug)]
pub(super) struct ParameterBinding {
    pub(super) required: bool,
    pub(super) schema: NodeId,
    pub(super) kind: TextKind,
    pub(super) list: List,
}

/// Whether a parameter is a list, and how that is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    /// One value.
    No,
    /// One parameter an element.
    Repeated,
    /// Elements between commas.
    Commas,
}

impl Binding {
    /// The function.
    pub const fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// The method that it is called by.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The path template that it is called by.
    pub fn path(&self) -> String {
        self.template.to_string()
    }

    /// Whether a request's body is held in memory. Only then a call can wait for an approval.
    pub const fn is_held(&self) -> bool {
        !matches!(self.body, Body::Stream { .. })
    }

    /// Headers that are input, in order; those about the exchange (`x-request-id`) change from try to
    /// try and are not.
    pub(super) fn input_headers(&self) -> impl Iterator<Item = &str> {
        let declared = self
            .parameters
            .keys()
            .filter(|(place, _)| *place == In::Header);
        let names: BTreeSet<&str> = declared
            .map(|(_, name)| name.as_str())
            .chain(self.when.header.keys().map(String::as_str))
            .filter(|name| PASSED_HEADERS.binary_search(name).is_err())
            .collect();
        names.into_iter()
    }

    pub(super) fn takes_json(&self) -> bool {
        match &self.body {
            Body::Typed { forms, .. } => forms
                .iter()
                .any(|form| form.codec == super::definition::Codec::Json),
            Body::None | Body::Bytes { .. } | Body::Stream { .. } => false,
        }
    }
}

/// Bind a definition.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn bind(
    mut definition: Definition,
    connection: &ConnectionName,
    arena: &Arc<Arena>,
) -> Result<Binding, Vec<Fault>> {
    let place = definition.place.clone();
    let mut faults = Vec::new();
    let id = FunctionId::new(connection.clone(), &definition.name)
        .map_err(|error| faults.push(Fault::new(&place, error.to_string(), "rename it")));
    let template = Template::parse(&definition.path)
        .map_err(|fault| faults.push(Fault::new(&place, fault.0, fault.1)));
    if let Ok(template) = &template {
        faults.extend(check_parameters(&definition, template));
    }
    if let Some(mask) = &definition.mask {
        let settings = crate::mask::Settings::compile(mask);
        faults.extend(settings.err().unwrap_or_default().into_iter().map(|fault| {
            let at = format!("{place}.mask.{}", fault.place);
            Fault::new(at, fault.message, "see the guide on masking")
        }));
    }
    let parameters = bind_parameters(&mut definition, template.as_ref().ok(), arena, &mut faults);
    let input = shape(&definition, &parameters, arena, &mut faults);
    let classes = classes(&definition, &input, &mut faults);
    let (Ok(id), Ok(template), true) = (id, template, faults.is_empty()) else {
        return Err(faults);
    };
    let function = Function {
        id,
        effect: definition.effect,
        input,
        durability: definition.durability,
        summary: definition.summary,
        mask: definition.mask,
        classes,
    };
    Ok(Binding {
        function: Arc::new(function),
        method: definition.method,
        template,
        parameters,
        body: definition.body,
        when: definition.when,
        additional: definition.additional,
        arena: Arc::clone(arena),
    })
}

/// The data classes of input members. One that policies do not see cannot be noticed in a call.
fn classes(
    definition: &Definition,
    input: &Record,
    faults: &mut Vec<Fault>,
) -> Vec<(String, DataClass)> {
    let mut classes = Vec::new();
    for (member, class) in &definition.classes {
        let place = format!("{}.classes.{member}", definition.place);
        if !input.declares(member) {
            let text = format!("`{member}` is no input member that policies see");
            let hint = "name it as in `query.email` or `body.customer.email`, and declare it";
            faults.push(Fault::new(place, text, hint));
            continue;
        }
        match class.parse() {
            Ok(class) => classes.push((member.clone(), class)),
            Err(error) => {
                let error: ClassError = error;
                faults.push(Fault::new(place, error.to_string(), "rename the class"));
            }
        }
    }
    classes
}

fn bind_parameters(
    definition: &mut Definition,
    template: Option<&Template>,
    arena: &Arena,
    faults: &mut Vec<Fault>,
) -> BTreeMap<(In, String), ParameterBinding> {
    let mut out = BTreeMap::new();
    for parameter in std::mem::take(&mut definition.parameters) {
        let Parameter {
            place,
            name,
            required,
            schema,
            explode,
            class: _,
        } = parameter;
        let is_list = arena.kinds(schema).solid() == Kinds::ARRAY && !arena.is_union(schema);
        let list = match (is_list, explode) {
            (false, _) => List::No,
            (true, true) => List::Repeated,
            (true, false) => List::Commas,
        };
        let kind = match (is_list, place) {
            (true, In::Path) => None,
            (true, In::Query | In::Header) => match arena.items(schema) {
                Some(items) => TextKind::of(arena, items),
                None => Some(TextKind::String),
            },
            (false, _) => TextKind::of(arena, schema),
        };
        match kind {
            Some(kind) => {
                let binding = ParameterBinding { required, schema, kind, list };
                out.insert((place, name), binding);
            }
            None => faults.push(Fault::new(
                &definition.place,
                format!("`{}.{name}` is an object, a list of lists, or a list in the path", place.as_str()),
                "parameters are scalars, or lists of scalars in query and headers; else `omit` the function",
            )),
        }
    }
    for name in template.into_iter().flat_map(Template::names) {
        if !out.contains_key(&(In::Path, name.to_owned())) {
            faults.push(Fault::new(
                &definition.place,
                format!("`{{{name}}}` of the path is not declared"),
                "declare it as a path parameter",
            ));
        }
    }
    out
}

/// The input's shape as policies see it: as deep as the number of members allows.
fn shape(
    definition: &Definition,
    parameters: &BTreeMap<(In, String), ParameterBinding>,
    arena: &Arena,
    faults: &mut Vec<Fault>,
) -> Record {
    let at = |depth: usize| {
        let mut shaper = Shaper::new(arena, &definition.opaque, depth);
        let (record, same) = members(definition, parameters, &mut shaper);
        let unmet: Vec<String> = shaper.unmet().map(str::to_owned).collect();
        (record, same, unmet, shaper.count() <= MEMBERS_MAX)
    };
    let mut best = at(DEPTH_MAX);
    if !best.3 {
        best = at(1);
        let deeper = (2..DEPTH_MAX).map(at).take_while(|found| found.3);
        best = deeper.last().unwrap_or(best);
        // Places below the levels that are seen were not met, and are opaque anyway.
        best.2.clear();
    }
    let (record, same, unmet, _) = best;
    if !same {
        faults.push(Fault::new(
            &definition.place,
            "its media types have different schemas",
            "choose those that share one by `media_types` in `overrides`",
        ));
    }
    for place in unmet {
        faults.push(Fault::new(
            &definition.place,
            format!("`opaque` names `{place}`, which the function does not declare"),
            "write it as in `body.position.latitude`",
        ));
    }
    record
}

/// The members of the input, and whether all media types of the body have one shape.
fn members(
    definition: &Definition,
    parameters: &BTreeMap<(In, String), ParameterBinding>,
    shaper: &mut Shaper<'_>,
) -> (Record, bool) {
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for place in [In::Path, In::Query, In::Header] {
        let list: Vec<_> = parameters
            .iter()
            .filter(|((known, _), _)| *known == place)
            .map(|((_, name), bound)| (name.as_str(), bound.schema, bound.required))
            .collect();
        if !list.is_empty() {
            let record = shaper.record(place.as_str(), &list);
            members.insert(place.as_str().to_owned(), record);
        }
    }
    let mut same = true;
    if let Body::Typed { forms, required } = &definition.body {
        let mut shapes = forms
            .iter()
            .map(|form| shaper.member("body", form.schema, *required));
        let first = shapes.next();
        for other in shapes {
            same &= Some(&other) == first.as_ref();
        }
        members.extend(first.map(|member| ("body".to_owned(), member)));
    }
    (Record { members }, same)
}
