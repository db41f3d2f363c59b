//! The console's pages: built from `console/` beforehand and embedded; a page that says how, where
//! nobody built them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Parts;
use super::api::Problem;
use super::plain::{self, Html};

// `FILES`: the build's files by path, sorted; empty when it was not built.
include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// What people see where the pages were not built.
const STUB: &str = "<h1>Callgate</h1><p>This program was built without the console's pages. Build them with \
    <code>make console</code> and build the program again; Node.js is needed for that.</p>\
    <p>Everything that people decide works without them: <a href=\"/approve\">calls that wait for you</a>. The API is \
    under <code>/api/v1</code>, described by <a href=\"/api/v1/openapi.json\">its OpenAPI document</a>.</p>";

/// The pages' own paths: the script decides what stands there.
const PATHS: [&str; 8] = [
    "/",
    "/calls",
    "/calls/{call}",
    "/functions",
    "/grants",
    "/policies",
    "/connections",
    "/audit",
];

pub(super) fn routes() -> Router<Arc<Parts>> {
    let mut router = Router::new()
        .route("/plain.css", get(style))
        .route("/icon.svg", get(icon))
        .route("/assets/{name}", get(asset));
    for path in PATHS {
        router = router.route(path, get(page));
    }
    router
}

async fn style() -> impl IntoResponse {
    let css = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, css)], plain::STYLE)
}

async fn icon() -> impl IntoResponse {
    let svg = HeaderValue::from_static("image/svg+xml");
    ([(header::CONTENT_TYPE, svg)], plain::ICON)
}

async fn page(headers: HeaderMap) -> Response {
    match file("index.html", &headers) {
        Some(response) => response,
        None => Html::new(StatusCode::OK, "Console", STUB).into_response(),
    }
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match file(&format!("assets/{name}"), &headers) {
        // The name holds a hash of the content.
        Some(mut response) => {
            let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, forever);
            response
        }
        None => Problem::new(404, "not_found", "the console has no such file").into_response(),
    }
}

/// A file of the build, compressed where the browser takes that.
fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    let find = |name: &str| {
        let at = FILES.binary_search_by_key(&name, |(known, _)| known).ok()?;
        FILES.get(at).map(|(_, bytes)| *bytes)
    };
    let kind = match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        Some(_) | None => return None,
    };
    let takes = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|one| one.trim() == "br"));
    let small = if takes {
        find(&format!("{name}.br"))
    } else {
        None
    };
    let bytes = match small {
        Some(bytes) => bytes,
        None => find(name)?,
    };
    let mut response = bytes.into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if small.is_some() {
        fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    Some(response)
}
