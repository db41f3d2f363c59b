//! One gateway before one function double, for the stories about HTTP: a connection for each kind of setting, and
//! functions that take any path, so that a test has a path of its own.

use std::sync::Arc;

use serde_json::{Value, json};

use super::support::free_address;
use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, Shared, caller, rand};

/// The gateway and what stands around it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) double: Double,
    pub(super) credential: String,
}

static WORLD: Shared<World> = Shared::new();

/// Functions of any path: `GET /x`, `POST /x` (kept), `PUT /x` (streamed), `DELETE /x`.
pub(super) fn functions() -> Value {
    json!({ "inline": {
        "get": { "method": "GET", "path": "/{case}", "additional": "allow" },
        "post": { "method": "POST", "path": "/{case}", "additional": "allow", "body": {} },
        "put": { "method": "PUT", "path": "/{case}", "additional": "allow", "body": { "stream": true } },
        "delete": { "method": "DELETE", "path": "/{case}", "additional": "allow" },
    } })
}

/// The world, shared by all tests that run at the same time.
pub(super) fn world() -> Arc<World> {
    WORLD.get(|| {
        let double = Double::start();
        let credential = format!("upstream-credential-{:032x}", rand());
        let bearer = json!({ "bearer": "file:credential" });
        let plain = |more: Value| {
            let mut connection = json!({
                "functions": functions(), "credential": bearer, "mask": { "mode": "off" },
            });
            let members = connection.as_object_mut().expect("an object");
            members.extend(more.as_object().cloned().unwrap_or_default());
            connection
        };
        let at = double.address;
        let gateway = Setup::new()
            .policy("@id(\"staff\") permit (principal in Group::\"corp/staff\", action in Action::\"call\", resource);")
            .file("credential", &credential)
            .connection("open", at, &plain(json!({})))
            .connection("masked", at, &plain(json!({ "mask": { "detect": ["contact"] } })))
            .connection("quick", at, &plain(json!({ "timeouts": { "first_byte_s": 1, "idle_s": 1 } })))
            .connection("cookies", at, &plain(json!({ "cookies": "pass" })))
            .connection("dead", free_address(), &plain(json!({})))
            .connection("rated", at, &plain(json!({ "limits": { "per_second": 1, "burst": 2 } })))
            .connection("narrow", at, &plain(json!({ "limits": { "concurrent": 1 } })))
            .start();
        World {
            gateway,
            double,
            credential,
        }
    })
}

/// A token of somebody who may call everything.
pub(super) fn staff() -> String {
    caller("alice", &["staff"])
}
