//! Deciding and reading at the console, with a session: pages without a script, and the API that pages use.

use std::net::SocketAddr;
use std::sync::Arc;

use callgate::demo::{Audience, Person, sign_in};
use serde_json::{Value, json};

use super::console_login::{Browser, World, issuer, setup};
use super::support::function::Double;
use super::support::gateway::{Shared, eventually};
use super::support::raw::{self, Answer};

const POLICIES: &str = r#"
@id("support-calls") permit (principal in Group::"demo/support", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("demo/payments-leads") @reason("writes <wait> for a lead")
forbid (principal, action in Action::"write", resource);
@id("strong") @approval("demo/payments-leads") @acr("phr phrh") @max_age("5m")
forbid (principal, action == Action::"hr/post", resource);
@id("leads-approve") permit (principal in Group::"demo/payments-leads", action == Action::"approve", resource);
@id("ci-calls") permit (principal in Group::"demo/ci", action == Action::"brief/careful", resource);
@id("either") @approval("demo/support or demo/payments-leads")
forbid (principal, action == Action::"brief/careful", resource);
@id("support-approves") permit (principal in Group::"demo/support", action == Action::"approve", resource)
when { context.rule == "either" };
@id("security-reads") permit (principal in Group::"demo/security",
    action in [Action::"audit.read", Action::"audit.replay", Action::"policy.read"], resource);
@id("nobody-reads-hr") forbid (principal, action in [Action::"audit.read", Action::"audit.replay"],
    resource in Connection::"hr");
"#;

#[derive(Debug)]
struct Held {
    world: World,
    double: Double,
    data: std::path::PathBuf,
}

static HELD: Shared<Held> = Shared::new();

fn held() -> Arc<Held> {
    HELD.get(|| {
        let (address, folder) = issuer();
        let double = Double::start();
        let functions = json!({ "inline": {
            "get": { "method": "GET", "path": "/{case}" },
            "careful": { "method": "GET", "path": "/careful/{case}" },
            "post": { "method": "POST", "path": "/{case}", "body": { "schema": { "type": "object", "properties": {
                "amount": { "type": "integer" }, "note": { "type": "string" },
            } } } },
        } });
        let gateway = setup(address)
            .policy(POLICIES)
            .with("approvals", json!({ "cooldown_s": 0 }))
            .connection("brief", double.address, &json!({ "functions": &functions, "hold_s": 0 }))
            .connection("hr", double.address, &json!({ "functions": functions, "hold_s": 0 }))
            .of_the_demo()
            .start();
        let data = folder.path().to_owned();
        Held {
            world: World::of(gateway, address, folder),
            double,
            data,
        }
    })
}

impl Held {
    fn console(&self) -> SocketAddr {
        self.world.gateway.console
    }

    fn alice(&self) -> String {
        callgate::demo::mint(&self.data, Person::Alice, Audience::Gateway).expect("a token")
    }

    /// Alice calls something that waits; the approval's id.
    fn ask(&self, body: &Value) -> String {
        let answer = self.world.gateway.post("/brief/ok", &self.alice(), body);
        assert_eq!(answer.status, 429, "{}", answer.text());
        answer.json()["approval"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Alice calls something that she may, and it ends.
    fn call_three_times(&self) {
        for _ in 0..3 {
            let answer = self.world.gateway.get("/brief/ok", &self.alice());
            assert_eq!(answer.status, 200, "{}", answer.text());
            self.world.gateway.end_of(&answer);
        }
    }

    fn read(&self, browser: &mut Browser, target: &str) -> Value {
        let answer = browser.get(self.console(), target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    fn state(&self, browser: &mut Browser, id: &str) -> String {
        let view = browser.get(self.console(), &format!("/api/v1/approvals/{id}"));
        assert_eq!(view.status, 200, "{}", view.text());
        view.json()["head"]["state"]
            .as_str()
            .expect("a state")
            .to_owned()
    }

    fn post(&self, browser: &mut Browser, path: &str, form: &str) -> Answer {
        let own = format!("http://{}", self.console());
        browser.send(self.console(), "POST", path, &[("Origin", &own)], form)
    }
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let start = page
        .find(&mark)
        .unwrap_or_else(|| panic!("no {name} in {page}"))
        + mark.len();
    page[start..].split('"').next().expect("a value").to_owned()
}

fn form(page: &str, verdict: &str) -> String {
    let fields = ["csrf", "rule", "digest"].map(|name| format!("{name}={}", field(page, name)));
    format!("{}&reason=seen+it&verdict={verdict}", fields.join("&"))
}

#[test]
fn looking_never_decides_and_a_form_of_our_own_does() {
    let held = held();
    let id = held.ask(&json!({ "amount": 1 }));
    let path = format!("/approve/{id}");
    let mut browser = Browser::default();
    let first = browser.get(held.console(), &path);
    assert_eq!(
        first.header("location"),
        Some(format!("/login?next=%2Fapprove%2F{id}").as_str())
    );
    browser.sign_in(&held.world, "bob", &format!("/login?next={path}"));
    let page = browser.get(held.console(), &path).text();
    for look in ["GET", "HEAD"] {
        let verdict = format!(
            "{path}?verdict=yes&csrf={}&rule={}",
            field(&page, "csrf"),
            field(&page, "rule")
        );
        browser.send(held.console(), look, &verdict, &[], "");
    }
    assert_eq!(held.state(&mut browser, &id), "pending");
    let good = form(&page, "yes");
    let stranger = Browser::default().send(held.console(), "POST", &path, &[], &good);
    assert_eq!((stranger.status, stranger.header("location")), (401, None));
    assert!(
        stranger.text().contains("Nothing was decided"),
        "{}",
        stranger.text()
    );
    let foreign = browser.send(
        held.console(),
        "POST",
        &path,
        &[("Origin", "https://evil.example")],
        &good,
    );
    assert_eq!(foreign.status, 403);
    for (name, status) in [("csrf", 403), ("digest", 409), ("rule", 404)] {
        let changed = good.replace(
            &format!("{name}={}", field(&page, name)),
            &format!("{name}={}", "0".repeat(64)),
        );
        assert_eq!(
            held.post(&mut browser, &path, &changed).status,
            status,
            "{name}"
        );
    }
    assert_eq!(held.post(&mut browser, &path, "verdict=yes").status, 400);
    assert_eq!(held.state(&mut browser, &id), "pending");
    let decided = held.post(&mut browser, &path, &good);
    assert_eq!(
        (decided.status, decided.header("location")),
        (303, Some(path.as_str()))
    );
    assert_eq!(held.state(&mut browser, &id), "approved");
    let page = browser.get(held.console(), &path).text();
    assert!(
        page.contains("said <strong>yes</strong>") && !page.contains("<button name=\"verdict\""),
        "{page}"
    );
}

#[test]
fn nothing_of_the_call_is_hidden_and_nothing_of_it_is_markup() {
    let held = held();
    let note = format!(
        "<script>alert(1)</script>\u{202e}evil{}the end",
        "x".repeat(60_000)
    );
    let id = held.ask(&json!({ "amount": 2, "note": note }));
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let page = browser
        .get(held.console(), &format!("/approve/{id}"))
        .text();
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}evil"),
        "markup is text"
    );
    assert!(page.contains("the end") && !page.contains("<script") && !page.contains('\u{202e}'));
    assert!(page.contains("writes &lt;wait&gt; for a lead"));
    assert!(page.contains("POST /ok"), "{}", &page[..2000]);
}

#[test]
fn a_no_is_final_and_who_asked_cannot_see_the_page() {
    let held = held();
    let id = held.ask(&json!({ "amount": 3 }));
    let path = format!("/approve/{id}");
    let mut alice = Browser::default();
    alice.sign_in(&held.world, "alice", "/login");
    assert_eq!(alice.get(held.console(), &path).status, 404);
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let page = browser.get(held.console(), &path).text();
    assert_eq!(
        held.post(&mut browser, &path, &form(&page, "no")).status,
        303
    );
    assert_eq!(held.state(&mut browser, &id), "denied");
    assert_eq!(
        held.post(&mut browser, &path, &form(&page, "yes")).status,
        409
    );
    assert!(
        browser
            .get(held.console(), "/approve")
            .text()
            .contains("Waiting for a decision")
    );
}

#[test]
fn what_another_opened_can_be_stopped_until_it_runs_and_not_opened_twice() {
    let held = held();
    let token = |person, audience| callgate::demo::mint(&held.data, person, audience);
    let robot = token(Person::Ci, Audience::Gateway).expect("a token");
    let target = "/brief/careful/one";
    let asked = held.world.gateway.get(target, &robot);
    assert_eq!(asked.status, 429, "{}", asked.text());
    let id = asked.json()["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let alice = token(Person::Alice, Audience::Console).expect("a token");
    let (good, text) = held.world.gateway.approvals(&alice, &["approve", &id]);
    assert!(good && text.contains("now approved"), "{text}");
    let path = format!("/approve/{id}");
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let page = browser.get(held.console(), &path).text();
    assert!(
        page.contains("value=\"no\"") && !page.contains("value=\"yes\""),
        "{page}"
    );
    let stopped = held.post(&mut browser, &path, &form(&page, "no"));
    assert_eq!(stopped.status, 303, "{}", stopped.text());
    assert_eq!(held.state(&mut browser, &id), "denied");
    let run = format!("/.well-known/callgate/approvals/{id}/run");
    let refused = held.world.gateway.post(&run, &robot, &json!({}));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(held.double.hits("/careful/one"), 0);
}

#[test]
fn reading_calls_is_judged_recorded_and_paged() {
    let held = held();
    held.call_three_times();
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let get = |browser: &mut Browser, target: &str| held.read(browser, target);
    let first = get(&mut browser, "/api/v1/calls?function=brief/get&limit=2");
    let next = first["next"].as_str().expect("a next page");
    let second = get(
        &mut browser,
        &format!("/api/v1/calls?function=brief/get&limit=2&cursor={next}"),
    );
    let ids = |page: &Value| -> Vec<String> {
        let calls = page["calls"].as_array().expect("calls").iter();
        calls
            .map(|call| call["call"].as_str().expect("an id").to_owned())
            .collect()
    };
    assert_eq!(ids(&first).len(), 2);
    assert!(ids(&second).iter().all(|id| !ids(&first).contains(id)));
    let id = ids(&first).remove(0);
    let detail = get(&mut browser, &format!("/api/v1/calls/{id}"));
    let kinds: Vec<_> = detail["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(|r| r["kind"].clone())
        .collect();
    assert_eq!(kinds[..2], [json!("call.begin"), json!("call.end")]);
    let replay = get(&mut browser, &format!("/api/v1/calls/{id}/replay"));
    assert_eq!(
        (
            replay["verified"].clone(),
            replay["request_head"]["verified"].clone()
        ),
        (json!(true), json!(true))
    );
    let reads = |what: &str, call: Option<&str>| {
        let leaves = held.world.gateway.leaves();
        let of = |leaf: &&Value| {
            leaf["kind"] == "audit.read" && leaf["what"] == what && leaf["call"].as_str() == call
        };
        leaves.iter().filter(of).count()
    };
    assert!(reads("list", None) >= 1);
    assert_eq!(
        (reads("show", Some(&id)), reads("replay", Some(&id))),
        (1, 1)
    );
    get(&mut browser, &format!("/api/v1/calls/{id}"));
    get(&mut browser, &format!("/api/v1/calls/{id}/replay"));
    // What stays open on a screen is recorded once in a while; each replay is.
    assert_eq!(
        (reads("show", Some(&id)), reads("replay", Some(&id))),
        (1, 2)
    );
}

#[test]
fn a_right_on_everything_ends_where_a_forbid_takes_it_away() {
    let held = held();
    let answer = held.world.gateway.get("/hr/ok", &held.alice());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("callgate-call").expect("a call").to_owned();
    held.world.gateway.end_of(&answer);
    held.call_three_times();
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let page = held.read(&mut browser, "/api/v1/calls?limit=200");
    let calls = page["calls"].as_array().expect("calls");
    assert!(calls.iter().any(|call| call["function"] == "brief/get"));
    assert!(
        calls.iter().all(|call| call["function"] != "hr/get"),
        "{page}"
    );
    let catalogue = held.read(&mut browser, "/api/v1/functions").to_string();
    assert!(catalogue.contains("brief/get") && !catalogue.contains("hr/get"));
    for rest in ["", "/replay", "/proof"] {
        let target = format!("/api/v1/calls/{id}{rest}");
        let answer = browser.get(held.console(), &target);
        assert_eq!(answer.status, 404, "{target}: {}", answer.text());
    }
}

#[test]
fn proofs_and_the_catalogue_are_for_who_may_read() {
    let held = held();
    held.call_three_times();
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let get = |browser: &mut Browser, target: &str| held.read(browser, target);
    let page = get(&mut browser, "/api/v1/calls?function=brief/get&limit=1");
    let id = page["calls"][0]["call"].as_str().expect("an id").to_owned();
    eventually("a proof", || {
        let proof = browser.get(held.console(), &format!("/api/v1/calls/{id}/proof"));
        (proof.status == 200 && proof.text().contains("tlog-proof")).then_some(())
    });
    let catalogue = get(&mut browser, "/api/v1/functions");
    let seen = catalogue["functions"]
        .as_array()
        .expect("functions")
        .iter()
        .find(|f| f["id"] == "brief/get");
    let seen = &seen.expect("the function")["seen"];
    assert!(
        seen["calls"].as_u64() >= Some(3) && seen["callers"] == json!(["demo/alice"]),
        "{seen}"
    );
    let mut alice = Browser::default();
    alice.sign_in(&held.world, "alice", "/login");
    for target in [
        "/api/v1/calls",
        "/api/v1/functions",
        "/api/v1/policies",
        "/api/v1/status",
        "/api/v1/audit/head",
    ] {
        assert_eq!(alice.get(held.console(), target).status, 403, "{target}");
    }
    assert_eq!(
        alice
            .get(held.console(), &format!("/api/v1/calls/{id}"))
            .status,
        404
    );
}

#[test]
fn the_log_verifies_and_policies_answer_what_they_would_decide() {
    let held = held();
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", "/login");
    let (csrf, own) = (
        browser.csrf(&held.world),
        format!("http://{}", held.console()),
    );
    let headers = [
        ("Content-Type", "application/json"),
        ("Origin", own.as_str()),
        ("Callgate-CSRF", csrf.as_str()),
    ];
    let mut post = |target: &str, body: &Value| {
        browser.send(held.console(), "POST", target, &headers, &body.to_string())
    };
    let report = eventually("a verification of one's own", || {
        let answer = post("/api/v1/audit/verify", &json!({}));
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(report["verdict"], "intact", "{report}");
    let who =
        json!({ "issuer": "demo", "subject": "x", "kind": "human", "groups": ["demo/support"] });
    let mut ask = |call: &str, input: Value| {
        post(
            "/api/v1/policies/explain",
            &json!({ "as": who, "call": call, "input": input }),
        )
    };
    let held_up = ask(
        "brief/post",
        json!({ "path": { "case": "ok" }, "body": { "amount": 5 } }),
    );
    assert_eq!(held_up.status, 200, "{}", held_up.text());
    assert_eq!(held_up.json()["decision"], "ask");
    assert_eq!(held_up.json()["matched"][1]["id"], "writes-need-a-lead");
    let unknown = ask("brief/nothing", json!({}));
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    let wrong = ask(
        "brief/post",
        json!({ "path": { "case": "ok" }, "body": { "amount": "many" } }),
    );
    assert!(
        wrong.status == 400 && wrong.text().contains("amount"),
        "{}",
        wrong.text()
    );
}

#[test]
fn whoever_follows_live_learns_that_something_happened_and_not_what() {
    use std::io::{Read as _, Write as _};
    let held = held();
    let token = callgate::demo::mint(&held.data, Person::Bob, Audience::Console).expect("a token");
    assert_eq!(raw::get(held.console(), "/api/v1/live", None).status, 401);
    // Who may see nothing here is not told when something happens.
    let alice =
        callgate::demo::mint(&held.data, Person::Alice, Audience::Console).expect("a token");
    let refused = raw::get(held.console(), "/api/v1/live", Some(&alice));
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("audit.read"), "{}", refused.text());
    let mut stream = std::net::TcpStream::connect(held.console()).expect("a connection");
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .expect("a timeout");
    let request = format!(
        "GET /api/v1/live HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        held.console()
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut seen = String::new();
    let mut until = |seen: &mut String, count: usize| {
        let mut bytes = [0; 4096];
        while seen.matches("event: change").count() < count {
            let length = stream.read(&mut bytes).expect("more of the stream");
            assert!(length > 0, "it ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    };
    until(&mut seen, 1);
    assert!(seen.contains("text/event-stream"));
    let before = held.double.hits("/ok");
    let answer = held.world.gateway.get("/brief/ok", &held.alice());
    assert_eq!(answer.status, 200);
    until(&mut seen, 2);
    assert!(
        held.double.hits("/ok") > before && !seen.contains("brief"),
        "{seen}"
    );
}

#[test]
fn the_demo_issuer_takes_codes_of_its_own_client_only() {
    let held = held();
    let body = format!(
        "grant_type=authorization_code&code=x&redirect_uri=y&code_verifier=z&client_id={}&client_secret=guess",
        sign_in::CLIENT
    );
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = raw::request(
        held.world.issuer,
        "POST",
        "/callgate-demo/token",
        &headers,
        body.as_bytes(),
    );
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[test]
fn a_rule_that_asks_for_a_stronger_sign_in_leads_to_one_and_back() {
    let held = held();
    let answer = held
        .world
        .gateway
        .post("/hr/ok", &held.alice(), &json!({ "amount": 5 }));
    assert_eq!(answer.status, 429, "{}", answer.text());
    let id = answer.json()["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/approve/{id}");
    let mut browser = Browser::default();
    browser.sign_in(&held.world, "bob", &format!("/login?next={path}"));
    let view = held.read(&mut browser, &format!("/api/v1/approvals/{id}"));
    let strong = view["rules"].as_array().expect("rules").iter();
    let strong = strong
        .clone()
        .find(|rule| rule["id"] == "strong")
        .expect("the rule");
    let hash = strong["hash"].as_str().expect("a hash").to_owned();
    let vote = |held: &Held, browser: &mut Browser| {
        let page = browser.get(held.console(), &path).text();
        let form = form(&page, "yes").replace(&field(&page, "rule"), &hash);
        held.post(browser, &path, &form)
    };
    // The issuer's ordinary sign-in is not enough, and the page says what is.
    let refused = vote(&held, &mut browser);
    let text = refused.text();
    assert_eq!(refused.status, 403, "{text}");
    let to =
        format!("/login?fresh=1&amp;next=%2Fapprove%2F{id}&amp;acr=phr%20phrh&amp;max_age=300");
    assert!(
        text.contains(&to) && text.contains("Nothing was decided"),
        "{text}"
    );
    // The issuer is asked for that, and the person comes back to the approval.
    let to = to.replace("&amp;", "&");
    let location = browser.get(held.console(), &to);
    let location = location.header("location").expect("a location").to_owned();
    assert!(
        location.contains("acr_values=phr")
            && location.contains("phrh")
            && location.contains("max_age=300")
            && location.contains("prompt=login"),
        "{location}"
    );
    let back = browser.sign_in(&held.world, "bob", &to);
    assert_eq!(back.header("location"), Some(path.as_str()));
    let counted = vote(&held, &mut browser);
    assert_eq!(counted.status, 303, "{}", counted.text());
    let view = held.read(&mut browser, &format!("/api/v1/approvals/{id}"));
    let rules = view["rules"].as_array().expect("rules");
    assert!(
        rules
            .iter()
            .any(|rule| rule["id"] == "strong" && rule["open"] == true),
        "{view}"
    );
}

#[test]
fn a_link_asks_the_issuer_for_nothing_that_no_rule_asks_for() {
    let held = held();
    let to = "/login?fresh=1&acr=phr%20urn%3Aweak&max_age=99999";
    let answer = Browser::default().get(held.console(), to);
    let location = answer.header("location").expect("a location").to_owned();
    assert!(
        location.contains("acr_values=phr")
            && !location.contains("weak")
            && location.contains("max_age=600"),
        "{location}"
    );
    let plain = Browser::default().get(held.console(), "/login?acr=phr");
    let location = plain.header("location").expect("a location");
    assert!(
        !location.contains("acr_values") && !location.contains("max_age"),
        "{location}"
    );
}
