//! People sign in at a real gateway with a real issuer, and everything that must not work does not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use callgate::demo::{Audience, Person, idp, sign_in};
use serde_json::json;

use super::support::gateway::{Gateway, Setup, Shared};
use super::support::raw::{self, Answer};
use super::support::{free_address, wait_for};

pub(super) const SECRET: &str = "demo-console-secret";

/// A gateway whose people sign in at a demo issuer.
#[derive(Debug)]
pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) issuer: SocketAddr,
    data: tempfile::TempDir,
}

impl World {
    pub(super) fn of(gateway: Gateway, issuer: SocketAddr, data: tempfile::TempDir) -> Self {
        Self {
            gateway,
            issuer,
            data,
        }
    }

    /// A token of somebody in the demo.
    pub(super) fn mint(&self, person: Person, audience: Audience) -> String {
        callgate::demo::mint(self.data.path(), person, audience).expect("a token")
    }
}

/// The issuer of the demo, in this process.
pub(super) fn issuer() -> (SocketAddr, tempfile::TempDir) {
    let data = tempfile::tempdir().expect("a folder");
    let (address, folder) = (free_address(), data.path().to_path_buf());
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime
            .block_on(idp::serve(address, &folder))
            .expect("the issuer serves");
    });
    wait_for(address);
    (address, data)
}

/// The settings of a gateway whose people sign in there.
pub(super) fn setup(issuer: SocketAddr) -> Setup {
    let console = free_address();
    Setup::new()
        .file(SECRET, sign_in::CLIENT_SECRET)
        .with("console", json!({
            "address": console.to_string(), "audience": "urn:callgate-demo:console",
            "login": {
                "issuer": "demo", "client_id": sign_in::CLIENT, "client_secret": format!("file:{SECRET}"),
            },
        }))
        .with("identity", json!({ "issuers": { "demo": {
            "issuer": format!("http://{issuer}{}", idp::ISSUER_PATH), "audience": "urn:callgate-demo:gateway",
            "groups": "groups",
            "kind": [{ "when": { "account_type": "person" }, "kind": "human" }],
        } } }))
}

const PEOPLE: &str = r#"
@id("security-reads")
permit (principal in Group::"demo/security", action in [Action::"audit.read", Action::"audit.replay", Action::"policy.read", Action::"revoke"], resource);
"#;

static WORLD: Shared<World> = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(|| {
        let (address, data) = issuer();
        let gateway = setup(address).policy(PEOPLE).of_the_demo().start();
        World::of(gateway, address, data)
    })
}

/// A browser: cookies by host and port, and nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Browser {
    pub(super) cookies: BTreeMap<(SocketAddr, String), String>,
}

impl Browser {
    pub(super) fn send(
        &mut self,
        address: SocketAddr,
        method: &str,
        target: &str,
        more: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .filter(|((host, _), _)| *host == address)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = more.to_vec();
        if !cookies.is_empty() {
            headers.push(("Cookie", cookies.as_str()));
        }
        if !body.is_empty() && !more.iter().any(|(name, _)| *name == "Content-Type") {
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        let answer = raw::request(address, method, target, &headers, body.as_bytes());
        for (name, value) in &answer.headers {
            if name == "set-cookie" {
                let (pair, attributes) = value.split_once(';').expect("attributes");
                let (name, value) = pair.split_once('=').expect("a pair");
                let key = (address, name.to_owned());
                if attributes.contains("Max-Age=0") {
                    self.cookies.remove(&key);
                } else {
                    self.cookies.insert(key, value.to_owned());
                }
            }
        }
        answer
    }

    pub(super) fn get(&mut self, address: SocketAddr, target: &str) -> Answer {
        self.send(address, "GET", target, &[], "")
    }

    /// Choose a person at the issuer that a login led to; answers where the issuer sends the browser.
    pub(super) fn choose(&mut self, world: &World, login: &Answer, person: &str) -> String {
        assert_eq!(login.status, 303, "{}", login.text());
        let location = login.header("location").expect("a location").to_owned();
        let target = path_of(&location, world.issuer);
        let page = self.get(world.issuer, &target);
        assert_eq!(page.status, 200, "{}", page.text());
        let query = target.split_once('?').expect("a query").1;
        let form = format!("person={person}&{query}");
        let path = target.split_once('?').expect("a query").0.to_owned();
        let answer = self.send(world.issuer, "POST", &path, &[], &form);
        assert_eq!(answer.status, 303, "{}", answer.text());
        path_of(
            answer.header("location").expect("a location"),
            world.gateway.console,
        )
    }

    /// Sign in from a page, to the end; answers the last answer.
    pub(super) fn sign_in(&mut self, world: &World, person: &str, from: &str) -> Answer {
        let login = self.get(world.gateway.console, from);
        let callback = self.choose(world, &login, person);
        self.get(world.gateway.console, &callback)
    }

    pub(super) fn session(&self, world: &World) -> Option<String> {
        let key = (world.gateway.console, "callgate-session".to_owned());
        self.cookies.get(&key).cloned()
    }

    pub(super) fn csrf(&mut self, world: &World) -> String {
        let me = self.get(world.gateway.console, "/api/v1/me");
        assert_eq!(me.status, 200, "{}", me.text());
        me.json()["csrf"].as_str().expect("a token").to_owned()
    }
}

fn path_of(location: &str, at: SocketAddr) -> String {
    let own = format!("http://{at}");
    let path = location.strip_prefix(&own);
    path.unwrap_or_else(|| panic!("{location} is not at {own}"))
        .to_owned()
}

fn revoke_body() -> String {
    json!({ "target": { "kind": "token", "issuer": "demo", "id": "x" }, "reason": "test", "for_s": 1 }).to_string()
}

#[test]
fn a_person_signs_in_and_is_who_the_issuer_says() {
    let world = world();
    let mut browser = Browser::default();
    let before = browser.get(world.gateway.console, "/api/v1/me");
    assert_eq!(
        (before.status, before.json()["code"].as_str()),
        (401, Some("unauthenticated"))
    );
    let last = browser.sign_in(&world, "bob", "/login?next=/calls?outcome=denied");
    assert_eq!(last.status, 303, "{}", last.text());
    assert_eq!(last.header("location"), Some("/calls?outcome=denied"));
    let cookie = last
        .headers
        .iter()
        .find(|(name, value)| name == "set-cookie" && value.starts_with("callgate-session="));
    let cookie = &cookie.expect("a session").1;
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
        "{cookie}"
    );
    let me = browser.get(world.gateway.console, "/api/v1/me").json();
    assert_eq!(
        (me["issuer"].as_str(), me["subject"].as_str()),
        (Some("demo"), Some("bob"))
    );
    assert_eq!(
        me["rights"],
        json!(["audit.read", "audit.replay", "policy.read", "revoke"])
    );
    assert!(me["authenticated_at"].is_string());
    let mut alice = Browser::default();
    alice.sign_in(&world, "alice", "/login");
    let refused = alice.get(world.gateway.console, "/api/v1/calls");
    assert_eq!(refused.status, 403, "{}", refused.text());
}

#[test]
fn a_login_asks_with_pkce_and_the_issuer_insists_on_it() {
    let world = world();
    let login = Browser::default().get(world.gateway.console, "/login");
    let location = login.header("location").expect("a location").to_owned();
    for part in [
        "code_challenge_method=S256",
        "code_challenge=",
        "state=",
        "nonce=",
        "response_type=code",
    ] {
        assert!(location.contains(part), "{location}");
    }
    // Taken away on the way, the issuer refuses; with another challenge, its token endpoint does.
    let plain = location.replace("code_challenge_method=S256", "code_challenge_method=plain");
    let answer = raw::get(world.issuer, &path_of(&plain, world.issuer), None);
    assert_eq!(answer.status, 400, "{}", answer.text());
    let mut browser = Browser::default();
    let login = browser.get(world.gateway.console, "/login");
    let mut swapped = login.clone();
    let other = format!("code_challenge={}", "A".repeat(43));
    for (name, value) in &mut swapped.headers {
        if name == "location" {
            let start = value.find("code_challenge=").expect("a challenge");
            value.replace_range(start..start + "code_challenge=".len() + 43, &other);
        }
    }
    let callback = browser.choose(&world, &swapped, "bob");
    let end = browser.get(world.gateway.console, &callback);
    assert_eq!(end.status, 403, "{}", end.text());
    assert!(end.text().contains("did not accept the code") && browser.session(&world).is_none());
}

#[test]
fn a_state_counts_once_and_only_in_the_browser_that_began() {
    let world = world();
    let console = world.gateway.console;
    let mut browser = Browser::default();
    let login = browser.get(console, "/login");
    let callback = browser.choose(&world, &login, "bob");
    // Another browser, without the cookie: as somebody who is made to follow a stranger's link.
    let victim = Browser::default().get(console, &callback);
    assert_eq!(victim.status, 403, "{}", victim.text());
    assert!(victim.text().contains("begun elsewhere"));
    let mut tossed = Browser::default();
    let key = (console, "callgate-login".to_owned());
    tossed
        .cookies
        .insert(key.clone(), "chosen-by-somebody".to_owned());
    assert_eq!(tossed.get(console, &callback).status, 403);
    assert!(tossed.session(&world).is_none());
    // Bad tries of others do not use it up; its own answer does.
    let kept = browser.cookies[&key].clone();
    assert_eq!(browser.get(console, &callback).status, 303);
    browser.cookies.insert(key, kept);
    let again = browser.get(console, &callback);
    assert_eq!(again.status, 403, "{}", again.text());
}

#[test]
fn a_body_that_comes_by_the_byte_is_given_up_after_ten_seconds() {
    use std::io::{Read as _, Write as _};
    let world = world();
    let console = world.gateway.console;
    let mut slow = std::net::TcpStream::connect(console).expect("a connection");
    slow.set_read_timeout(Some(std::time::Duration::from_millis(500)))
        .expect("a timeout");
    let head = format!(
        "POST /logout HTTP/1.1\r\nHost: {console}\r\nCookie: callgate-session=x\r\nContent-Length: 1000\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).expect("a head");
    // Never still for long; whether the answer is there is looked for in between.
    let mut seen = Vec::new();
    let mut bytes = [0; 1024];
    for _ in 0..240 {
        match slow.read(&mut bytes) {
            Ok(length) => {
                seen.extend_from_slice(&bytes[..length]);
                break;
            }
            Err(_) => {
                if slow.write_all(b"a").is_err() {
                    break;
                }
            }
        }
    }
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.starts_with("HTTP/1.1 400 "), "{seen}");
    assert!(
        seen.contains("the body took longer than 10 s to arrive"),
        "{seen}"
    );
}

#[test]
fn an_answer_of_another_issuer_is_refused() {
    let world = world();
    for change in [
        |callback: &str| callback.split("&iss=").next().expect("a start").to_owned(),
        |callback: &str| {
            format!(
                "{}&iss=http%3A%2F%2Fevil.example",
                callback.split("&iss=").next().expect("a start")
            )
        },
        |callback: &str| format!("{callback}&iss=http%3A%2F%2Fevil.example"),
    ] {
        let mut browser = Browser::default();
        let login = browser.get(world.gateway.console, "/login");
        let callback = browser.choose(&world, &login, "bob");
        let end = browser.get(world.gateway.console, &change(&callback));
        assert!(
            [400, 403].contains(&end.status),
            "{} {}",
            end.status,
            end.text()
        );
        assert!(browser.session(&world).is_none());
    }
}

#[test]
fn a_session_that_somebody_planted_does_not_become_one() {
    let world = world();
    let console = world.gateway.console;
    let key = (console, "callgate-session".to_owned());
    let mut browser = Browser::default();
    browser
        .cookies
        .insert(key.clone(), "planted-by-somebody-else".to_owned());
    browser.sign_in(&world, "bob", "/login");
    let first = browser.session(&world).expect("a session");
    assert_ne!(first, "planted-by-somebody-else");
    let mut planter = Browser::default();
    planter
        .cookies
        .insert(key.clone(), "planted-by-somebody-else".to_owned());
    assert_eq!(planter.get(console, "/api/v1/me").status, 401);
    // Signing in again is another session, and the one before is over.
    browser.sign_in(&world, "bob", "/login?fresh=1");
    assert_ne!(browser.session(&world).expect("a session"), first);
    let mut old = Browser::default();
    old.cookies.insert(key, first.clone());
    assert_eq!(old.get(console, "/api/v1/me").status, 401);
    // Two cookies of the same name: one of them is somebody else's.
    let two = format!(
        "callgate-session={first}; callgate-session={}",
        browser.session(&world).expect("a session")
    );
    let tossed = raw::request(console, "GET", "/api/v1/me", &[("Cookie", &two)], b"");
    assert_eq!(tossed.status, 401);
}

#[test]
fn signing_out_ends_the_session_and_needs_our_own_page() {
    let world = world();
    let console = world.gateway.console;
    let mut browser = Browser::default();
    browser.sign_in(&world, "bob", "/login");
    let (id, csrf) = (
        browser.session(&world).expect("a session"),
        browser.csrf(&world),
    );
    let own = format!("http://{console}");
    let forged = browser.send(
        console,
        "POST",
        "/logout",
        &[("Origin", "https://evil.example")],
        &format!("csrf={csrf}"),
    );
    assert_eq!(forged.status, 403);
    let guessed = browser.send(
        console,
        "POST",
        "/logout",
        &[("Origin", &own)],
        "csrf=guess",
    );
    assert_eq!(guessed.status, 403);
    assert_eq!(browser.get(console, "/api/v1/me").status, 200);
    let out = browser.send(
        console,
        "POST",
        "/logout",
        &[("Origin", &own)],
        &format!("csrf={csrf}"),
    );
    assert_eq!(out.status, 200, "{}", out.text());
    assert!(browser.session(&world).is_none());
    // Without a session nothing is left to end; a page says so, for browsers follow no redirect to the issuer from a form.
    let again = browser.send(console, "POST", "/logout", &[("Origin", &own)], "csrf=x");
    assert_eq!((again.status, again.header("location")), (401, None));
    assert!(
        again.text().contains("nothing was done"),
        "{}",
        again.text()
    );
    let mut old = Browser::default();
    old.cookies
        .insert((console, "callgate-session".to_owned()), id);
    assert_eq!(old.get(console, "/api/v1/me").status, 401);
}

#[test]
fn another_site_cannot_act_with_a_persons_session() {
    let world = world();
    let console = world.gateway.console;
    let mut browser = Browser::default();
    browser.sign_in(&world, "bob", "/login");
    let (csrf, own) = (browser.csrf(&world), format!("http://{console}"));
    let body = revoke_body();
    let json = ("Content-Type", "application/json");
    for headers in [
        vec![json],
        vec![
            json,
            ("Origin", "https://evil.example"),
            ("Callgate-CSRF", &csrf),
        ],
        vec![json, ("Origin", "null"), ("Callgate-CSRF", &csrf)],
        vec![json, ("Origin", &own)],
        vec![json, ("Origin", &own), ("Callgate-CSRF", "guess")],
        vec![json, ("Callgate-CSRF", &csrf)],
    ] {
        let answer = browser.send(console, "POST", "/api/v1/revocations", &headers, &body);
        assert_eq!(answer.status, 403, "{headers:?}: {}", answer.text());
    }
    let headers = [json, ("Origin", &own), ("Callgate-CSRF", &csrf)];
    let good = browser.send(console, "POST", "/api/v1/revocations", &headers, &body);
    assert_eq!(good.status, 200, "{}", good.text());
}

#[test]
fn every_page_is_closed_to_frames_and_foreign_scripts() {
    let world = world();
    for target in [
        "/",
        "/calls",
        "/login/callback",
        "/approve",
        "/api/v1/me",
        "/api/v1/openapi.json",
        "/nothing",
    ] {
        let answer = raw::get(world.gateway.console, target, None);
        let csp = answer.header("content-security-policy").expect("a policy");
        assert!(
            csp.contains("frame-ancestors 'none'") && csp.contains("default-src 'none'"),
            "{csp}"
        );
        assert!(!csp.contains("unsafe") && !csp.contains('*'), "{csp}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}

#[test]
fn the_host_decides_and_logins_begin_where_they_end() {
    let world = world();
    let console = world.gateway.console;
    let foreign = raw::request(console, "GET", "/", &[("Host", "evil.example")], b"");
    assert_eq!(foreign.status, 400);
    let local = format!("localhost:{}", console.port());
    let there = raw::request(
        console,
        "GET",
        "/login?next=/calls&fresh=1",
        &[("Host", &local)],
        b"",
    );
    let location = there.header("location").expect("a location");
    assert_eq!(
        location,
        format!("http://{console}/login?next=%2Fcalls&fresh=1")
    );
}
