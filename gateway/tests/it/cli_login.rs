//! `callgate login` with a certified identity provider and a person with a browser; what is kept, and for whom.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use super::calls_approvals::{staff, told};
use super::support::child::Child;
use super::support::function::Double;
use super::support::gateway::{CALLS, CONSOLE, Gateway, PROGRAM, Setup, Shared, eventually};
use super::support::{free_address, peers, raw, wait_for};

const POLICIES: &str = r#"
@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);
@id("writes-need-a-lead") @approval("people/leads")
forbid (principal, action in Action::"write", resource);
@id("leads-approve") permit (principal in Group::"people/leads", action == Action::"approve", resource);
"#;

#[derive(Debug)]
struct World {
    gateway: Gateway,
    issuer: String,
    _provider: Child,
}

static WORLD: Shared<World> = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(|| {
        let address = free_address();
        let mut provider = Command::new("node");
        provider.arg(peers().join("oidc-people.mjs")).args([&address.port().to_string(), CONSOLE]);
        let provider = Child::start(&mut provider);
        wait_for(address);
        let (double, issuer) = (Double::start(), format!("http://{address}"));
        let function = json!({ "method": "POST", "path": "/{case}", "body": { "schema": { "type": "object" } } });
        let gateway = Setup::new()
            .policy(POLICIES)
            .issuer(
                "people",
                &json!({ "issuer": issuer, "audience": CALLS, "groups": "groups",
                    "kind": [{ "when": { "account_type": "person" }, "kind": "human" }] }),
            )
            .connection(
                "brief",
                double.address,
                &json!({ "hold_s": 0, "functions": { "inline": { "post": function } } }),
            )
            .start();
        World {
            gateway,
            issuer,
            _provider: provider,
        }
    })
}

/// Somebody at a machine of their own.
#[derive(Debug)]
struct Desk {
    home: tempfile::TempDir,
    console: String,
}

impl Desk {
    fn new(world: &World) -> Self {
        Self {
            home: tempfile::tempdir().expect("a folder"),
            console: format!("http://{}", world.gateway.console),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env_remove("CALLGATE_TOKEN")
            .env("XDG_CONFIG_HOME", self.home.path());
        command.env("CALLGATE_CONSOLE", &self.console);
        command
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let done = self.command(arguments).output().expect("the program");
        let text = [done.stdout, done.stderr].concat();
        (
            done.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Begin a login; where a person has to go.
    fn begin(&self, world: &World, how: &str) -> (Child, String) {
        let login = [
            "login",
            "--issuer",
            &world.issuer,
            "--client",
            "callgate-cli",
            "--resource",
            CONSOLE,
            how,
        ];
        let child = Child::start(&mut self.command(&login));
        let page = eventually("where to sign in", || {
            let output = child.output();
            let (_, rest) = output.split_once("sign in there: ")?;
            Some(rest.split_once('\n')?.0.to_owned())
        });
        (child, page)
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("callgate/logins.json")
    }

    fn kept(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).expect("the file")).expect("JSON")
    }
}

/// A person with a browser.
fn browse(page: &str, person: &str) -> String {
    let mut node = Command::new("node");
    let done = node
        .arg(peers().join("oidc-browser.mjs"))
        .args([page, person])
        .output();
    let done = done.expect("node");
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && text.starts_with("200 "), "{text}");
    text
}

fn ended(child: &Child, said: &str) -> String {
    eventually(said, || {
        child.output().contains(said).then(|| child.output())
    })
}

#[test]
fn a_person_logs_in_by_a_browser_decides_and_logs_out() {
    let world = world();
    let desk = Desk::new(&world);
    let (good, text) = desk.run(&["approvals", "list"]);
    assert!(
        !good && text.contains("no token for") && text.contains("`callgate login`"),
        "{text}"
    );

    let (child, page) = desk.begin(&world, "--no-browser");
    assert!(page.contains("code_challenge_method=S256"), "{page}");
    // Something else on this machine calls the listener: it is not the answer, and the login goes on.
    let redirect = page
        .split("redirect_uri=http%3A%2F%2F")
        .nth(1)
        .expect("a redirect URI");
    let redirect = redirect
        .split("%2Fcallback")
        .next()
        .expect("an address")
        .replace("%3A", ":");
    let forged = raw::get(
        redirect.parse().expect("an address"),
        "/callback?code=x&state=y",
        None,
    );
    assert_eq!(forged.status, 400, "{}", forged.text());
    assert!(browse(&page, "lena").contains("You may close this window"));
    let said = ended(&child, "signed in as people/lena");

    let mode = fs::metadata(desk.file())
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = desk.kept();
    let token = kept[desk.console.as_str()]["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    assert!(
        !said.contains(&token),
        "a token is not for a terminal's history"
    );

    // It is used, and nothing else is needed.
    let answer = world.gateway.post("/brief/one", &staff("dana"), &json!({}));
    let id = told(&answer, 429, "approval_pending", "no")["approval"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (good, text) = desk.run(&["approvals", "approve", &id, "--reason", "seen"]);
    assert!(good && text.contains("voted yes"), "{text}");
    assert_eq!(
        world
            .gateway
            .post("/brief/one", &staff("dana"), &json!({}))
            .status,
        200
    );
    // What is said by hand counts before it, and another console is told nothing of it.
    let (good, text) = desk.run(&["approvals", "list", "--token", "other"]);
    assert!(!good && text.contains("401"), "{text}");
    let (good, text) = desk.run(&["approvals", "list", "--console", "http://127.0.0.1:9"]);
    assert!(
        !good && text.contains("no token for http://127.0.0.1:9"),
        "{text}"
    );

    let (good, text) = desk.run(&["logout"]);
    assert!(good && text.contains("signed out of"), "{text}");
    assert!(!desk.run(&["approvals", "list"]).0);
    let (good, text) = desk.run(&["logout"]);
    assert!(good && text.contains("nobody was signed in"), "{text}");
}

#[test]
fn a_person_logs_in_with_a_browser_elsewhere_and_the_login_ends() {
    let world = world();
    let desk = Desk::new(&world);
    let (child, page) = desk.begin(&world, "--device");
    assert!(child.output().contains("this code: "));
    assert!(browse(&page, "lars").contains("Sign-in Success"));
    ended(&child, "signed in as people/lars");
    assert!(desk.run(&["approvals", "list"]).0);

    // Its time is over; others can read it; somebody wrote something else.
    let console = desk.console.as_str();
    let mut kept = desk.kept();
    kept[console]["expires_at"] = json!(1_700_000_000);
    fs::write(desk.file(), kept.to_string()).expect("the file");
    let (good, text) = desk.run(&["approvals", "list"]);
    assert!(
        !good && text.contains("ended at 2023-11-14T22:13:20"),
        "{text}"
    );
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o640)).expect("a mode");
    let (good, text) = desk.run(&["approvals", "list"]);
    assert!(
        !good && text.contains("others can read") && text.contains("chmod 600"),
        "{text}"
    );
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(desk.file(), "[]").expect("the file");
    let (good, text) = desk.run(&["approvals", "list"]);
    assert!(
        !good && text.contains("not what `callgate login` wrote"),
        "{text}"
    );
}

#[test]
fn a_login_that_cannot_be_is_refused_with_the_reason() {
    let world = world();
    let desk = Desk::new(&world);
    let (good, text) = desk.run(&["login"]);
    assert!(!good && text.contains("--issuer"), "{text}");
    let (good, text) = desk.run(&["login", "--issuer", &world.issuer]);
    assert!(!good && text.contains("--client"), "{text}");
    let nobody = "http://127.0.0.1:9";
    let (good, text) = desk.run(&["login", "--issuer", nobody, "--client", "callgate-cli"]);
    assert!(
        !good && text.contains("the issuer does not answer at http://127.0.0.1:9/"),
        "{text}"
    );
    let slash = format!("{}/", world.issuer);
    let (good, text) = desk.run(&["login", "--issuer", &slash, "--client", "callgate-cli"]);
    assert!(!good && text.contains("another issuer"), "{text}");
    let (good, text) = desk.run(&[
        "login",
        "--issuer",
        &world.issuer,
        "--client",
        "unknown",
        "--device",
    ]);
    assert!(!good && text.contains("invalid_client"), "{text}");
    assert!(!desk.file().exists());
}
