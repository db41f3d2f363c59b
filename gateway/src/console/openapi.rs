//! The API's OpenAPI 3.1 document, made from the types that the endpoints use. A test holds the
//! published file against it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::api::Problem;
use super::approvals::{ApprovalPage, Page, PatternBody, PatternView, VoteBody, Voted};
use super::calls::{CallDetail, CallsPage, FILTER_BYTES_MAX, ReplayView, SECONDS_MAX};
use super::chart::{self, ChartView};
use super::deliveries::DeadView;
use super::functions::FunctionsView;
use super::grants::GrantsPage;
use super::me::Me;
use super::policies::{Answer, PoliciesView, Question};
use super::revocations::{NewRevocation, RevocationView};
use super::simulate::{SimulateBody, SimulatedView};
use super::status::{HeadView, StatusView, VerifiedView};
use super::{etag, idempotency};
use crate::approval::FunctionFigures;
use crate::store::State as ApprovalState;

/// The document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let state = one_of(
        "state",
        "Only this state",
        &ApprovalState::ALL.map(ApprovalState::as_str),
    );
    let paths = json!({
        "/api/v1/approvals": { "get": operation("listApprovals", "Approvals that you may decide, newest first",
            &[state, query("before", "Only older than this approval")],
            None, Some(schema::<Page>(&mut generator)), &mut generator) },
        "/api/v1/approvals/figures": { "get": operation("approvalFigures", "How deciding went in the last 30 days, by function", &[], None,
            Some(schema::<Vec<FunctionFigures>>(&mut generator)), &mut generator) },
        "/api/v1/approvals/{id}": { "get": operation("showApproval", "One approval, with the exact call",
            &[path("id")], None, Some(schema::<ApprovalPage>(&mut generator)), &mut generator) },
        "/api/v1/approvals/{id}/votes": { "post": operation("vote", "Answer one approval rule",
            &[path("id"), matching()], Some(schema::<VoteBody>(&mut generator)), Some(schema::<Voted>(&mut generator)), &mut generator) },
        "/api/v1/approvals/{id}/pattern": { "post": operation("widen", "The later calls that a grant out of this approval would cover",
            &[path("id")], Some(schema::<PatternBody>(&mut generator)), Some(schema::<PatternView>(&mut generator)), &mut generator) },
        "/api/v1/deliveries/dead": { "get": operation("listDeadDeliveries", "Messages that could not be delivered, newest first", &[], None,
            Some(schema::<Vec<DeadView>>(&mut generator)), &mut generator) },
        "/api/v1/deliveries/dead/{id}": { "delete": operation("discardDeadDelivery", "Take an undelivered message off the list",
            &[path("id")], None, None, &mut generator) },
        "/api/v1/deliveries/dead/{id}/retry": { "post": operation("retryDeadDelivery", "Try to deliver it again",
            &[path("id")], None, None, &mut generator) },
        "/api/v1/grants": { "get": operation("listGrants", "Yeses that stand for later calls, newest first",
            &[truth("all", "Also those that are used up, ended or past their time"), query("before", "Only what comes behind: `next` of the page before")], None,
            Some(schema::<GrantsPage>(&mut generator)), &mut generator) },
        "/api/v1/grants/{id}": { "delete": operation("endGrant", "End a grant before its time",
            &[path("id")], None, None, &mut generator) },
        "/api/v1/revocations": {
            "get": operation("listRevocations", "Revocations in force", &[], None,
                Some(schema::<Vec<RevocationView>>(&mut generator)), &mut generator),
            "post": operation("revoke", "Shut out a principal, issuer, token, connection or approval", &[],
                Some(schema::<NewRevocation>(&mut generator)), Some(schema::<RevocationView>(&mut generator)), &mut generator) },
        "/api/v1/revocations/{id}": { "delete": operation("liftRevocation", "Let in again",
            &[path("id")], None, None, &mut generator) },
    });
    let more = reading(&mut generator);
    let mut paths = paths;
    if let (Some(paths), Value::Object(more)) = (paths.as_object_mut(), more) {
        paths.extend(more);
    }
    shared(&mut paths, &schema::<Problem>(&mut generator));
    let schemas: Value = generator.take_definitions(true).into();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Callgate console API",
            "version": "1",
            "description": "Every request needs a bearer token for the console's audience, or the cookie of a session; what it may do is decided by policy actions. With the cookie, unsafe methods also need the header `Callgate-CSRF` with the `csrf` of `/api/v1/me`. Refusals are problem details (RFC 9457): one sentence, and a stable `code`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": "__Host-callgate-session" },
            },
        },
    })
}

/// An id of a call.
const UUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// What holds for every read, and for every change.
fn shared(paths: &mut Value, problem: &Value) {
    let Some(paths) = paths.as_object_mut() else {
        return;
    };
    for (path, methods) in paths {
        if let Some(operation) = methods.get_mut("get") {
            etag::describe(operation);
        }
        if let Some(operation) = methods.get_mut("post") {
            idempotency::describe(path, operation, |text| refusal(text, problem));
        }
    }
}

/// Which calls.
fn filters() -> Vec<Value> {
    vec![
        text("function", "Only this function"),
        text("connection", "Only functions of this connection"),
        shaped(
            "principal",
            "Only this caller: `alias/subject`",
            "^[a-z0-9-]{1,64}/[ -~]{1,400}$",
        ),
        text(
            "outcome",
            "Only this outcome: `ok`, `denied`, `pending`, `open`, …",
        ),
        number(
            "last_s",
            "Only of the last so many seconds",
            0,
            Some(SECONDS_MAX),
        ),
        truth("unknown", "Only calls of functions that nobody declared"),
        truth(
            "break_glass",
            "Only calls that ran because their caller broke the glass",
        ),
        shaped("cursor", "`next` of the page before", UUID),
        number("limit", "Calls on the page", 1, Some(200)),
    ]
}

/// What is read and asked: calls, functions, policies, the gateway itself.
fn reading(generator: &mut SchemaGenerator) -> Value {
    let call = || path("id");
    let filters = filters();
    let live = json!({ "get": {
        "operationId": "live", "summary": "Server-sent events `change`, when something happened",
        "parameters": [{ "name": "Last-Event-ID", "in": "header", "required": false, "schema": { "type": "string" } }],
        "responses": {
            "200": { "description": "The stream", "content": { "text/event-stream": { "schema": { "type": "string" } } } },
            "default": refusal("It cannot be followed", &schema::<Problem>(generator)),
        },
    } });
    let proof = json!({ "get": {
        "operationId": "proveCall", "summary": "The proof that a call is in the log (C2SP tlog-proof), to check offline",
        "parameters": [call()],
        "responses": {
            "200": { "description": "The proof", "content": { "text/plain": { "schema": { "type": "string" } } } },
            "default": refusal("There is none", &schema::<Problem>(generator)),
        },
    } });
    let evidence = json!({ "get": {
        "operationId": "callEvidence",
        "summary": "The evidence of a call as an archive (tar), to check offline: records with proofs, approval, policies, a page",
        "parameters": [call(), truth("content", "With what was sent and released; needs the right to replay")],
        "responses": {
            "200": { "description": "The archive", "content": { "application/x-tar": {
                "schema": { "type": "string", "format": "binary" } } } },
            "default": refusal("There is none", &schema::<Problem>(generator)),
        },
    } });
    json!({
        "/api/v1/me": { "get": operation("me", "Who you are and what you may do", &[], None,
            Some(schema::<Me>(generator)), generator) },
        "/api/v1/calls": { "get": operation("listCalls", "Recorded calls that you may read, newest first", &filters, None,
            Some(schema::<CallsPage>(generator)), generator) },
        "/api/v1/calls/chart": { "get": operation("chartCalls", "Calls over time that you may read: by outcome, and how long they took",
            &[text("function", "Only this function"),
              number("last_s", "How far back, in seconds: a day unless said otherwise", 48, Some(chart::SPAN_S_MAX))], None,
            Some(schema::<ChartView>(generator)), generator) },
        "/api/v1/calls/{id}": { "get": operation("showCall", "All that is recorded of one call", &[call()], None,
            Some(schema::<CallDetail>(generator)), generator) },
        "/api/v1/calls/{id}/replay": { "get": operation("replayCall", "What was sent and released, again; nothing runs",
            &[call()], None, Some(schema::<ReplayView>(generator)), generator) },
        "/api/v1/calls/{id}/proof": proof,
        "/api/v1/calls/{id}/evidence": evidence,
        "/api/v1/functions": { "get": operation("listFunctions", "The catalogue, with what the newest calls tell", &[], None,
            Some(schema::<FunctionsView>(generator)), generator) },
        "/api/v1/policies": { "get": operation("listPolicies", "The policies in force", &[], None,
            Some(schema::<PoliciesView>(generator)), generator) },
        "/api/v1/policies/explain": { "post": operation("explain", "What would be decided, and why", &[],
            Some(schema::<Question>(generator)), Some(schema::<Answer>(generator)), generator) },
        "/api/v1/policies/simulate": { "post": operation("simulate", "What a draft would have decided differently about recorded calls", &[],
            Some(schema::<SimulateBody>(generator)), Some(schema::<SimulatedView>(generator)), generator) },
        "/api/v1/status": { "get": operation("status", "Connections, issuers, recording", &[], None,
            Some(schema::<StatusView>(generator)), generator) },
        "/api/v1/audit/head": { "get": operation("auditHead", "The log's newest signed head", &[], None,
            Some(schema::<HeadView>(generator)), generator) },
        "/api/v1/audit/verify": { "post": operation("verifyAudit", "Check the whole log", &[], None,
            Some(schema::<VerifiedView>(generator)), generator) },
        "/api/v1/live": live,
    })
}

fn refusal(text: &str, problem: &Value) -> Value {
    json!({ "description": text, "content": { "application/problem+json": { "schema": problem } } })
}

fn number(name: &str, text: &str, least: u64, most: Option<u64>) -> Value {
    let mut schema = json!({ "type": "integer", "minimum": least });
    if let (Some(most), Some(schema)) = (most, schema.as_object_mut()) {
        schema.insert("maximum".to_owned(), most.into());
    }
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": schema })
}

fn truth(name: &str, text: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": { "type": "boolean" } })
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn query(name: &str, text: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": { "type": "string" } })
}

fn shaped(name: &str, text: &str, pattern: &str) -> Value {
    let schema = json!({ "type": "string", "pattern": pattern });
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": schema })
}

fn text(name: &str, text: &str) -> Value {
    let schema = json!({ "type": "string", "maxLength": FILTER_BYTES_MAX });
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": schema })
}

fn one_of(name: &str, text: &str, words: &[&str]) -> Value {
    let schema = json!({ "type": "string", "enum": words });
    json!({ "name": name, "in": "query", "required": false, "description": text, "schema": schema })
}

fn path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn matching() -> Value {
    json!({
        "name": "If-Match", "in": "header", "required": false, "schema": { "type": "string" },
        "description": "The tag of the approval as you read it: the vote counts only while it still reads the same",
    })
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
    let refusal = |text: &str| refusal(text, &problem);
    let mut responses = json!({
        "400": refusal("The request is malformed"),
        "401": refusal("Nobody is signed in, or no acceptable token"),
        "403": refusal("Policy does not permit it, or the sign-in is too old for it"),
        "404": refusal("No such thing that you may see"),
        "409": refusal("It is not in a state for this"),
        "503": refusal("It cannot be recorded now, or too many ask at once"),
    });
    if let (Some(responses), Some(_)) = (responses.as_object_mut(), &body) {
        responses.insert("413".to_owned(), refusal("The body is too large"));
        responses.insert("415".to_owned(), refusal("The body is not JSON"));
    }
    if let (Some(responses), true) = (responses.as_object_mut(), id == "replayCall") {
        responses.insert("410".to_owned(), refusal("The content's key was destroyed"));
    }
    if let (Some(responses), true) = (responses.as_object_mut(), id == "simulate") {
        let text = "The draft does not load";
        responses.insert("422".to_owned(), refusal(text));
    }
    if let (Some(responses), true) = (responses.as_object_mut(), id == "vote") {
        let text = "The approval is not what `If-Match` names any more";
        responses.insert("412".to_owned(), refusal(text));
    }
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
