use super::{catalogue, get, load};
use crate::call::{Call, Effect};

fn faults(yaml: &str) -> Vec<String> {
    load(yaml)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn one_fault(yaml: &str) -> String {
    let mut faults = faults(yaml);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.remove(0)
}

#[test]
fn effects_follow_the_method() {
    let catalogue = catalogue(
        r#"
        inline:
          a: { method: GET, path: /a }
          b: { method: POST, path: /a }
          c: { method: DELETE, path: /a }
          d: { method: POST, path: /d, effect: read }
        "#,
    );
    let effects: Vec<_> = catalogue
        .functions()
        .iter()
        .map(|function| function.effect)
        .collect();
    assert_eq!(
        effects,
        [
            Effect::Read,
            Effect::Write,
            Effect::Destructive,
            Effect::Read
        ]
    );
}

#[test]
fn a_literal_beats_a_parameter() {
    let catalogue = catalogue(
        r#"
        inline:
          any: { method: GET, path: "/a/{x}" }
          list: { method: GET, path: /a/list }
          cancel: { method: GET, path: "/a/{x}:cancel" }
          root: { method: GET, path: / }
          slash: { method: GET, path: "/a/{x}/" }
        "#,
    );
    let name = |target| {
        get(&catalogue, target)
            .unwrap()
            .function()
            .id
            .name()
            .to_owned()
    };
    assert_eq!(name("/a/list"), "list");
    assert_eq!(name("/a/%6Cist"), "list");
    assert_eq!(name("/a/lists"), "any");
    assert_eq!(name("/a/7:cancel"), "cancel");
    assert_eq!(name("/a/:cancel"), "any");
    assert_eq!(name("/"), "root");
    assert_eq!(name("/a/list/"), "slash");
}

#[test]
fn paths_that_two_functions_match_are_faults() {
    let crossed = one_fault(
        r#"{ inline: { a: { method: GET, path: "/x/{a}" }, b: { method: GET, path: "/{b}/y" } } }"#,
    );
    assert!(crossed.contains("both match some paths"), "{crossed}");
    let same = one_fault(
        r#"{ inline: { a: { method: GET, path: "/x/{a}" }, b: { method: GET, path: "/x/{b}" } } }"#,
    );
    assert!(same.contains("the same method and path"), "{same}");
    let segment = one_fault(
        r#"{ inline: { a: { method: GET, path: "/x{a}" }, b: { method: GET, path: "/{b}y" } } }"#,
    );
    assert!(segment.contains("both match"), "{segment}");
    let when = one_fault(
        r#"{ inline: {
            a: { method: POST, path: /r, when: { header: { x-a: "1" } } },
            b: { method: POST, path: /r, when: { header: { x-b: "1" } } } } }"#,
    );
    assert!(when.contains("some requests meet `when`"), "{when}");
}

#[test]
fn paths_that_no_request_can_have_are_faults() {
    for path in [
        "a", "/a//b", "/a/../b", "/a?b", "/a#b", "/a;b", "/%61", "/a%2fb", "/a b", "/{a", "/a}",
        "/{}", "/{a}{b}", "/{a}/{a}", "/{a b}", "/ä",
    ] {
        let found = faults(&format!(
            "inline: {{ a: {{ method: GET, path: \"{path}\" }} }}"
        ));
        assert!(!found.is_empty(), "{path}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_place_and_mend() {
    let found = faults(
        r#"
        headers: [X-Upper, authorization, x-forwarded-for]
        omit: [x]
        inline:
          "bad name": { method: GET, path: /a }
          b: { method: GET, path: /b, parameters: { id: {} } }
          c: { method: GET, path: /c, query: { a: { schema: { type: strin } } } }
          d: { method: GET, path: /d, query: { a: {}, A: {} } }
          e: { method: GET, path: /e, headers: { x-user: {} } }
          f: { method: POST, path: /f, body: { schema: { not: {} } } }
          g: { method: POST, path: /g, body: { stream: true, schema: {} } }
          h: { method: GET, path: /h, opaque: [body.x] }
          i: { method: GET, path: /i, query: { a: { schema: { type: object } } } }
          j: { method: POST, path: /j, when: {} }
        "#,
    );
    let text = found.join("\n");
    for part in [
        "connections.payments.functions.headers: header `X-Upper` is never forwarded",
        "header `authorization` is never forwarded",
        "header `x-forwarded-for` is never forwarded",
        "functions.omit: there is no `openapi` document",
        "`bad name` is not a function name",
        "inline.b: the path has no `{id}`",
        "inline.c.query.a/type: is not a JSON type",
        "inline.d: `query.a` is declared twice, or differs in case only",
        "inline.e: header `x-user` is never forwarded",
        "inline.f.body.schema/not: keyword `not` is not supported",
        "inline.g.body: a body that is judged cannot be passed through",
        "inline.h: `opaque` names `body.x`",
        "inline.i: `query.a` is an object",
        "inline.j.when: has no condition",
    ] {
        assert!(text.contains(part), "{part}\n--\n{text}");
    }
}

#[test]
fn names_that_differ_in_case_only_are_a_fault() {
    let fault =
        one_fault("{ inline: { a: { method: GET, path: /a }, A: { method: GET, path: /b } } }");
    assert!(fault.contains("as well"), "{fault}");
}

#[test]
fn the_config_has_a_published_schema_with_every_field_described() {
    let schema = serde_json::to_value(schemars::schema_for!(crate::call::FunctionsConfig)).unwrap();
    let mut bare = Vec::new();
    described(&schema, "#", &mut bare);
    assert_eq!(bare, Vec::<String>::new());
}

fn described(schema: &serde_json::Value, place: &str, bare: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|found| found.as_object()) {
        for (name, property) in properties {
            if property.get("description").is_none() {
                bare.push(format!("{place}/{name}"));
            }
        }
    }
    if let Some(definitions) = schema.get("$defs").and_then(|found| found.as_object()) {
        for (name, definition) in definitions {
            described(definition, name, bare);
        }
    }
}

#[test]
fn config_with_unknown_keys_is_refused() {
    assert!(serde_saphyr::from_str::<crate::call::FunctionsConfig>("inlin: {}").is_err());
    assert!(load("inline: {}").is_err());
}

#[test]
fn a_function_may_have_mask_settings_of_its_own() {
    let catalogue = catalogue(
        "inline: { a: { method: GET, path: /a, mask: { mode: 'off' } }, b: { method: GET, path: /b } }",
    );
    let wrong = one_fault("inline: { a: { method: GET, path: /a, mask: { detect: [nothing] } } }");
    assert!(wrong.contains("inline.a.mask."), "{wrong}");
    let functions = catalogue.functions();
    assert!(functions[0].mask.is_some() && functions[1].mask.is_none());
}

#[test]
fn a_class_stands_at_a_member_that_policies_see() {
    let found = faults(
        r#"
        inline:
          a: { method: GET, path: /a, query: { mail: {} }, classes: { query.male: email, query.mail: "E Mail" } }
          b: { method: POST, path: /b, body: { schema: { type: object, properties: { o: { type: object, properties: { m: { type: string } } } } } },
               classes: { body.o.m: email, body.o.x: email, body.o.m.z: email }, opaque: [body.p] }
        "#,
    );
    let text = found.join("\n");
    for part in [
        "inline.a.classes.query.male: `query.male` is no input member that policies see",
        "inline.a.classes.query.mail: `E Mail` is not a data class",
        "inline.b.classes.body.o.x: `body.o.x` is no input member",
        "inline.b.classes.body.o.m.z: `body.o.m.z` is no input member",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("`body.o.m` "), "{text}");
}
