//! The API's OpenAPI 3.1 document, made from the types that the endpoints use. A test holds the
//! published file against it.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::api::Problem;
use super::approvals::{Page, VoteBody, Voted};
use super::deliveries::DeadView;
use super::revocations::{NewRevocation, RevocationView};
use crate::approval::{ApprovalView, FunctionFigures};

/// The document.
pub fn document() -> Value {
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    let paths = json!({
        "/api/v1/approvals": { "get": operation("listApprovals", "Approvals that you may decide, newest first",
            &[query("state", "Only this state"), query("before", "Only older than this approval")],
            None, Some(schema::<Page>(&mut generator)), &mut generator) },
        "/api/v1/approvals/figures": { "get": operation("approvalFigures", "How deciding went in the last 30 days, by function", &[], None,
            Some(schema::<Vec<FunctionFigures>>(&mut generator)), &mut generator) },
        "/api/v1/approvals/{id}": { "get": operation("showApproval", "One approval, with the exact call",
            &[path("id")], None, Some(schema::<ApprovalView>(&mut generator)), &mut generator) },
        "/api/v1/approvals/{id}/votes": { "post": operation("vote", "Answer one approval rule",
            &[path("id")], Some(schema::<VoteBody>(&mut generator)), Some(schema::<Voted>(&mut generator)), &mut generator) },
        "/api/v1/deliveries/dead": { "get": operation("listDeadDeliveries", "Messages that could not be delivered, newest first", &[], None,
            Some(schema::<Vec<DeadView>>(&mut generator)), &mut generator) },
        "/api/v1/deliveries/dead/{id}": { "delete": operation("discardDeadDelivery", "Take an undelivered message off the list",
            &[path("id")], None, None, &mut generator) },
        "/api/v1/deliveries/dead/{id}/retry": { "post": operation("retryDeadDelivery", "Try to deliver it again",
            &[path("id")], None, None, &mut generator) },
        "/api/v1/revocations": {
            "get": operation("listRevocations", "Revocations in force", &[], None,
                Some(schema::<Vec<RevocationView>>(&mut generator)), &mut generator),
            "post": operation("revoke", "Shut out a principal, issuer, token, connection or approval", &[],
                Some(schema::<NewRevocation>(&mut generator)), Some(schema::<RevocationView>(&mut generator)), &mut generator) },
        "/api/v1/revocations/{id}": { "delete": operation("liftRevocation", "Let in again",
            &[path("id")], None, None, &mut generator) },
    });
    let schemas: Value = generator.take_definitions(true).into();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Callgate console API",
            "version": "1",
            "description": "Every request needs a bearer token for the console's audience; what it may do is decided by policy actions.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn query(name: &str, text: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": { "type": "string" } })
}

fn path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn operation(
    id: &str,
    summary: &str,
    parameters: &[Value],
    body: Option<Value>,
    answer: Option<Value>,
    generator: &mut SchemaGenerator,
) -> Value {
    let problem = schema::<Problem>(generator);
    let refusal = |text: &str| json!({ "description": text, "content": { "application/problem+json": { "schema": problem } } });
    let mut responses = json!({
        "400": refusal("The request is malformed"),
        "401": refusal("No acceptable token"),
        "403": refusal("Policy does not permit it"),
        "404": refusal("No such thing that you may see"),
        "409": refusal("It is not in a state for this"),
        "503": refusal("It cannot be recorded now"),
    });
    let good = match answer {
        Some(schema) => (
            "200",
            json!({ "description": "Done", "content": { "application/json": { "schema": schema } } }),
        ),
        None => ("204", json!({ "description": "Done" })),
    };
    if let Some(responses) = responses.as_object_mut() {
        responses.insert(good.0.to_owned(), good.1);
    }
    let mut operation = json!({
        "operationId": id, "summary": summary, "parameters": parameters, "responses": responses,
    });
    if let (Some(schema), Some(operation)) = (body, operation.as_object_mut()) {
        let body =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}
