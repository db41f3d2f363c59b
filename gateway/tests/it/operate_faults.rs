//! What an operator is told when the config is wrong: one place, one line, one way to mend it (hardening R14). The
//! texts are part of the product, so they are written down: `operate_faults` in `snapshots/`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::gateway::files;
use super::support::root;

const GOOD: &str = r#"listen: [{ address: "127.0.0.1:0" }]
console: { address: "127.0.0.1:0", audience: https://console.test }
data: ./data
identity:
  issuers:
    corp: { issuer: https://idp.test, audience: https://gateway.test, groups: groups }
policies: ./policies
connections:
  payments:
    protocol: http
    upstream: http://127.0.0.1:9
    route: { prefix: /payments }
    functions: { inline: { getRefund: { method: GET, path: "/refunds/{id}" } } }
    credential: { bearer: env:CALLGATE_TEST_TOKEN }
"#;

const POLICY: &str = r#"@id("staff")
permit (principal in Group::"corp/staff", action in Action::"read", resource);
"#;

/// Write a config with its policies, run one command on it, and tell what it said.
fn said(config: &str, policy: &str, command: &[&str], secret: bool) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("policies")).expect("a folder");
    fs::write(folder.path().join("policies/test.cedar"), policy).expect("the policies");
    let path = folder.path().join("callgate.yaml");
    if !config.is_empty() {
        fs::write(&path, config).expect("the config");
    }
    run(folder.path(), &path, command, secret)
}

fn run(folder: &Path, config: &Path, command: &[&str], secret: bool) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_callgate"));
    program.env_remove("CALLGATE_TEST_TOKEN");
    if secret {
        program.env("CALLGATE_TEST_TOKEN", "a-secret-that-nobody-prints");
    }
    let done = program.arg("--config").arg(config).args(command).output();
    let done = done.expect("the program");
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(!text.contains("a-secret-that"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let text = text.replace(&folder.display().to_string(), "FOLDER");
    format!(
        "exit {}\n{}\n",
        done.status.code().unwrap_or(-1),
        text.trim_end()
    )
}

#[test]
fn every_fault_is_told_with_its_place_and_a_way_to_mend_it() {
    let mut all = String::new();
    for case in faults_of_the_file()
        .into_iter()
        .chain(faults_of_the_house())
    {
        let Case {
            what,
            config,
            policy,
            command,
            secret,
        } = case;
        let _ = writeln!(
            all,
            "== {what}\n{}",
            said(&config, &policy, &[command], secret)
        );
    }
    // What the version is a hash of is no fault's business.
    let version = regex::Regex::new("version [0-9a-f]{16}").expect("an expression");
    let all = version.replace_all(&all, "version VERSION");
    insta::assert_snapshot!("faults", all);
}

/// One config and what is run on it.
struct Case {
    what: &'static str,
    config: String,
    policy: String,
    command: &'static str,
    secret: bool,
}

/// `check` of a config with a secret in the environment.
fn case(what: &'static str, config: impl Into<String>) -> Case {
    Case {
        what,
        config: config.into(),
        policy: POLICY.to_owned(),
        command: "check",
        secret: true,
    }
}

/// The good config with one change.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn faults_of_the_file() -> Vec<Case> {
    let second = "\n  other:\n    protocol: http\n    upstream: http://127.0.0.1:9\n    route: { prefix: /payments/ }\n    functions: { inline: {} }\n";
    let misnamed = POLICY.replace("Action::\"read\"", "Action::\"payments/getRefnd\"");
    vec![
        case("nothing is wrong", GOOD),
        case("no config", ""),
        case("an unknown key", with("    upstream:", "    upstreem:")),
        case("a value of another type", with("data: ./data", "data: [1]")),
        case("not YAML", with("listen: [", "listen: [[")),
        case(
            "two connections of one route",
            format!("{}{second}", GOOD.trim_end()),
        ),
        case(
            "an API description without an end",
            with("functions: {", "functions: { openapi: /dev/zero, "),
        ),
        case(
            "callers that are held for longer than they may be",
            with("    upstream:", "    hold_s: 301\n    upstream:"),
        ),
        Case {
            secret: false,
            ..case("a secret that is not there", GOOD)
        },
        Case {
            policy: "permit (principal".to_owned(),
            ..case("a policy that does not parse", GOOD)
        },
        Case {
            policy: misnamed,
            ..case("a policy about a function that is not there", GOOD)
        },
    ]
}

fn faults_of_the_house() -> Vec<Case> {
    let bearer = "bearer: env:CALLGATE_TEST_TOKEN";
    let basic = format!("{bearer}, basic: {{ username: me, password: env:CALLGATE_TEST_TOKEN }}");
    let four = with("/payments }", "/.well-known/callgate }")
        .replace("0.1:9", "0.1:99999")
        .replace("https://console.test", "https://gateway.test");
    let demo = with("https://idp.test", "http://127.0.0.1:1/callgate-demo");
    vec![
        case("two credentials", with(bearer, &basic)),
        case(
            "plaintext where others listen",
            with(
                "[{ address: \"127.0.0.1:0\" }]",
                "[{ address: \"0.0.0.0:8080\" }]",
            ),
        ),
        Case {
            secret: false,
            ..case("four faults at once", four)
        },
        Case {
            command: "serve",
            ..case("the demo's issuer in `serve`", demo)
        },
        Case {
            command: "serve",
            ..case("`serve` where `init` never ran", GOOD)
        },
    ]
}

#[test]
fn init_never_writes_over_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("callgate.yaml");
    let init = ["init", "--admin-group", "corp/platform"];
    let first = run(folder.path(), &config, &init, false);
    assert!(first.starts_with("exit 0"), "{first}");
    let all = || {
        let mut all: Vec<_> = files(folder.path())
            .into_iter()
            .map(|path| (fs::read(&path).expect("a file"), path))
            .collect();
        all.sort();
        all
    };
    let before = all();
    let again = run(folder.path(), &config, &init, false);
    assert!(
        again.starts_with("exit 1") && again.contains("was made before"),
        "{again}"
    );
    assert!(before == all(), "a second `init` changed something");
    // What it wrote is good as it is.
    let check = run(folder.path(), &config, &["check"], false);
    assert!(check.starts_with("exit 0"), "{check}");
}

#[test]
fn every_example_loads_and_fits_the_published_schema() {
    let schema = jsonschema::validator_for(&callgate::config::schema()).expect("a schema");
    let mut seen = 0;
    for path in files(&root().join("examples")) {
        if path.file_name().is_none_or(|name| name != "callgate.yaml") {
            continue;
        }
        seen += 1;
        if let Err(faults) = callgate::config::load(&path) {
            panic!("{}: {faults:?}", path.display());
        }
        let text = fs::read_to_string(&path).expect("the file");
        let value: serde_json::Value = serde_saphyr::from_str(&text).expect("YAML");
        let faults: Vec<String> = schema
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
    }
    assert!(seen > 0, "no example");
}

#[test]
fn who_reads_the_output_may_have_seen_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("policies")).expect("a folder");
    fs::write(folder.path().join("policies/test.cedar"), POLICY).expect("the policies");
    let config = folder.path().join("callgate.yaml");
    fs::write(&config, GOOD).expect("the config");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut program = Command::new(env!("CARGO_BIN_EXE_callgate"));
    program.env("CALLGATE_TEST_TOKEN", "a-secret-that-nobody-prints");
    program.arg("--config").arg(&config).arg("check");
    let done = program.stdout(writer).stderr(Stdio::piped()).output();
    let done = done.expect("the program");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!((done.status.code(), &*said), (Some(141), ""));
}
