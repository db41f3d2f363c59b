//! The demo's sample functions: customers, orders, refunds, and an echo.
//!
//! They ask for a credential, hold personal data and a leaked secret, and count what they execute. Nothing in them
//! knows of the gateway: a stock HTTP service with an API key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Error, listen, random_hex, read_or_make};

/// Where the sample functions listen, unless asked otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8088";

/// The file in the data folder that holds the key which the functions ask for.
pub const KEY_FILE: &str = "demo-functions-key";

/// Refunds that are remembered at most.
const REFUNDS_MAX: usize = 10_000;

/// What the service remembers.
#[derive(Debug, Default)]
struct Memory {
    refunds: Vec<Refund>,
    executions: BTreeMap<&'static str, u64>,
}

/// Shared by all requests.
#[derive(Debug)]
struct Service {
    key: String,
    memory: Mutex<Memory>,
}

impl Service {
    /// Note that `function` ran, and work on the memory.
    fn ran<T>(&self, function: &'static str, work: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        *memory.executions.entry(function).or_default() += 1;
        work(&mut memory)
    }
}

/// What a caller asks for.
#[derive(Debug, Deserialize)]
struct RefundRequest {
    order: String,
    /// In cents.
    amount: u64,
    reason: Option<String>,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
struct Refund {
    id: String,
    order: String,
    amount: u64,
    reason: Option<String>,
    status: &'static str,
}

/// Serve the sample functions on a loopback address until the process ends. `data` holds the key that they ask for
/// (`Authorization: Bearer …`); it is made if there is none.
pub async fn serve(address: SocketAddr, data: &Path) -> Result<(), Error> {
    let key = credential(data)?;
    let listener = listen(address).await?;
    let bound = listener.local_addr().map_err(Error::Serve)?;
    tracing::info!(address = %bound, "demo functions are listening");
    axum::serve(listener, router(key))
        .await
        .map_err(Error::Serve)
}

/// The key that the functions ask for; made if there is none.
pub fn credential(data: &Path) -> Result<String, Error> {
    let path = data.join(KEY_FILE);
    let key = read_or_make(&path, || {
        Ok(format!("demo-key-{}", random_hex()).into_bytes())
    })?;
    String::from_utf8(key).map_err(|_| Error::Key(path))
}

pub(super) fn router(key: String) -> Router {
    let service = Arc::new(Service {
        key,
        memory: Mutex::default(),
    });
    Router::new()
        .route("/customers", get(list_customers))
        .route("/customers/{id}", get(customer).delete(delete_customer))
        .route("/orders", get(orders))
        .route("/refunds", get(refunds).post(create_refund))
        .route("/echo", any(echo))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&service),
            only_with_key,
        ))
        // For whoever watches the demo: how often each function ran. No key, no personal data.
        .route("/executions", get(executions))
        .with_state(service)
}

async fn only_with_key(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if shown.and_then(|value| value.strip_prefix("Bearer ")) == Some(service.key.as_str()) {
        return next.run(request).await;
    }
    let body = Json(json!({ "error": "this function asks for its own key" }));
    (
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, "Bearer")],
        body,
    )
        .into_response()
}

fn not_found(what: &str) -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({ "error": format!("no such {what}") })),
    )
        .into_response()
}

/// The people in the sample data: none of them exists, the numbers are test numbers with good checksums.
fn customers() -> Vec<Value> {
    vec![
        json!({
            "id": "c-1001", "name": "Ada Nowak", "email": "ada.nowak@example.com",
            "card": "4111 1111 1111 1111", "iban": "DE89370400440532013000",
            "note": format!("asked to rotate {} after the outage", leaked_key()),
        }),
        json!({
            "id": "c-1002", "name": "Ben Silva", "email": "ben.silva@example.org",
            "card": "5555555555554444", "iban": "GB82WEST12345698765432",
            "note": format!("pasted his session into the chat: {}", leaked_session()),
        }),
        json!({
            "id": "c-1003", "name": "Chen Wei", "email": "chen.wei@example.net",
            "card": "378282246310005", "iban": "FR1420041010050500013M02606", "note": "prefers e-mail",
        }),
    ]
}

/// Shaped like a cloud key and put together here, so that no scanner finds one in this source.
fn leaked_key() -> String {
    ["AKIA", "2DEMO7CALLGATE5Q"].concat()
}

/// Shaped like a signed token; it says `{"alg":"HS256"}`, `{"sub":"demo"}` and nothing that verifies.
fn leaked_session() -> String {
    [
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJzdWIiOiJkZW1vIn0",
        "c2lnbmVkLWJ5LW5vYm9keS1pbi10aGUtZGVtbw",
    ]
    .join(".")
}

async fn list_customers(State(service): State<Arc<Service>>) -> Json<Value> {
    service.ran("listCustomers", |_| ());
    let short = |one: &Value| json!({ "id": one["id"], "name": one["name"] });
    Json(json!({ "customers": customers().iter().map(short).collect::<Vec<_>>() }))
}

async fn customer(State(service): State<Arc<Service>>, UrlPath(id): UrlPath<String>) -> Response {
    service.ran("getCustomer", |_| ());
    match customers().into_iter().find(|one| one["id"] == id.as_str()) {
        Some(found) => Json(found).into_response(),
        None => not_found("customer"),
    }
}

/// Says that it deleted; the sample data stays.
async fn delete_customer(
    State(service): State<Arc<Service>>,
    UrlPath(id): UrlPath<String>,
) -> Response {
    service.ran("deleteCustomer", |_| ());
    tracing::info!(customer.id = id, "demo customer deleted");
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
struct OrdersQuery {
    customer: Option<String>,
}

async fn orders(
    State(service): State<Arc<Service>>,
    Query(query): Query<OrdersQuery>,
) -> Json<Value> {
    service.ran("listOrders", |_| ());
    let all = [
        ("o-1", "c-1001", 4_999),
        ("o-2", "c-1001", 129_900),
        ("o-3", "c-1002", 2_500),
    ];
    let shown: Vec<Value> = all
        .iter()
        .filter(|(_, customer, _)| {
            query
                .customer
                .as_deref()
                .is_none_or(|asked| asked == *customer)
        })
        .map(|(id, customer, amount)| json!({ "id": id, "customer": customer, "amount": amount }))
        .collect();
    Json(json!({ "orders": shown }))
}

async fn refunds(State(service): State<Arc<Service>>) -> Json<Value> {
    let all = service.ran("listRefunds", |memory| memory.refunds.clone());
    Json(json!({ "refunds": all }))
}

async fn create_refund(
    State(service): State<Arc<Service>>,
    Json(asked): Json<RefundRequest>,
) -> Response {
    let refund = service.ran("createRefund", |memory| {
        if memory.refunds.len() >= REFUNDS_MAX {
            return None;
        }
        let refund = Refund {
            id: format!("r-{}", memory.refunds.len() + 1),
            order: asked.order,
            amount: asked.amount,
            reason: asked.reason,
            status: "paid",
        };
        memory.refunds.push(refund.clone());
        Some(refund)
    });
    match refund {
        Some(refund) => (StatusCode::CREATED, Json(refund)).into_response(),
        None => StatusCode::INSUFFICIENT_STORAGE.into_response(),
    }
}

/// Answers with the request as it arrived: shows which credential was added, and that it does not come back.
async fn echo(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Json<Value> {
    service.ran("echo", |_| ());
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        shown.entry(name.to_string()).or_default().push(text);
    }
    Json(json!({
        "method": method.as_str(), "target": uri.to_string(), "headers": shown,
        "body": String::from_utf8_lossy(&body),
    }))
}

async fn executions(State(service): State<Arc<Service>>) -> Json<Value> {
    let memory = service
        .memory
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Json(json!(memory.executions))
}
