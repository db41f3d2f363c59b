//! What `call` decodes is what the schema expects: a declared call is never refused for its form.

use std::path::Path;

use bytes::Bytes;
use wire::http::Target;

use super::*;
use crate::call::{Call, CallId, Catalogue, FunctionsConfig, HttpHead, RequestBody};

const FUNCTIONS: &str = r#"
inline:
  search:
    method: GET
    path: /search/{kind}
    opaque: [query.filter]
    query:
      filter: { required: true, schema: { type: string } }
      limit: { schema: { type: integer } }
  create:
    method: POST
    path: /items
    body:
      schema:
        type: object
        required: [name, parts, note]
        properties:
          name: { type: string }
          note: { type: [string, "null"] }
          price: { type: number }
          tags: { type: array, items: { type: string } }
          parts: { type: array, items: { type: object, properties: { id: { type: string } } } }
          nested: { type: object, required: [more], properties: { more: { oneOf: [{ type: string }, { type: integer }] } } }
"#;

#[test]
fn what_a_function_declares_reaches_its_policies() {
    let config: FunctionsConfig = serde_saphyr::from_str(FUNCTIONS).unwrap();
    let name = "crm".parse().unwrap();
    let catalogue = Catalogue::load(&config, &name, Path::new("/nowhere")).unwrap();
    let vocabulary = Vocabulary {
        functions: catalogue.functions().to_vec(),
        ..vocabulary()
    };
    let text = r#"@id("all") permit(principal, action in Action::"call", resource);"#;
    let policies = load_with(text, &vocabulary).unwrap();
    for (method, target, body) in [
        ("GET", "/search/people?filter=a", ""),
        ("GET", "/search/people?filter=1&limit=3", ""),
        ("POST", "/items", r#"{"name":"a","parts":[],"note":null}"#),
        (
            "POST",
            "/items",
            r#"{"name":"a","parts":[{"id":"x"}],"note":"n","price":1.5,"tags":["a","a"],"nested":{"more":1}}"#,
        ),
        (
            "POST",
            "/items",
            r#"{"name":"a","parts":[],"note":"n","price":2,"tags":[]}"#,
        ),
    ] {
        let mut headers = http::HeaderMap::new();
        if !body.is_empty() {
            headers.insert("content-type", "application/json".parse().unwrap());
        }
        let head = HttpHead {
            method: method.parse().unwrap(),
            target: Target::parse(target).unwrap(),
            headers,
        };
        let found = catalogue.find(&head.method, &head.target, &head.headers);
        let body = RequestBody::Bytes(Bytes::copy_from_slice(body.as_bytes()));
        let id = CallId::from_bytes([7; 16]);
        let call = catalogue.decode(&found, head, body, id, facts()).unwrap();
        let who = support();
        let request = Request {
            subject: who.view(),
            function: call.function(),
            input: call.input(),
            facts: call.facts(),
        };
        let decision = policies.decide(&request, &BTreeSet::new());
        assert!(
            matches!(decision, Decision::Allow(_)),
            "{target}: {decision:?}"
        );
    }
}
