//! Reading the evidence is itself recorded: through the gateway that runs, or as the log's writer while none does; and
//! what cannot be recorded is not shown.

use std::fs;

use serde_json::{Value, json};

use super::support::function::Double;
use super::support::gateway::{Gateway, Setup, caller, eventually};

const PERMIT: &str = r#"@id("staff") permit (principal in Group::"corp/staff", action in Action::"call", resource);"#;

fn start(double: &Double) -> Gateway {
    let functions = json!({ "inline": { "get": { "method": "GET", "path": "/{case}" } } });
    let more = json!({ "functions": functions });
    let setup = Setup::new().policy(PERMIT);
    setup.connection("fn", double.address, &more).start()
}

fn called(gateway: &Gateway) -> String {
    let answer = gateway.get("/fn/one", &caller("alice", &["staff"]));
    assert_eq!(answer.status, 200);
    gateway.end_of(&answer);
    answer.header("callgate-call").expect("an id").to_owned()
}

fn readings(gateway: &Gateway) -> Vec<Value> {
    let leaves = gateway.leaves().into_iter();
    leaves.filter(|leaf| leaf["kind"] == "audit.read").collect()
}

#[test]
fn whoever_reads_the_trail_is_on_the_trail() {
    let double = Double::start();
    let mut gateway = start(&double);
    let call = called(&gateway);
    gateway.command(&["calls", "list", "--function", "fn/get"], &[]);
    gateway.command(&["calls", "show", &call], &[]);
    gateway.command(&["calls", "replay", &call], &[]);
    eventually("a head", || {
        gateway
            .try_command(&["audit", "prove", &call], &[])
            .0
            .then_some(())
    });
    let read = readings(&gateway);
    let what = |n: usize| (read[n]["what"].clone(), read[n]["call"].clone());
    assert_eq!(what(0), (json!("list"), Value::Null));
    assert_eq!(what(1), (json!("show"), json!(call)));
    assert_eq!(what(2), (json!("replay"), json!(call)));
    assert_eq!(what(3), (json!("prove"), json!(call)));
    for leaf in &read {
        assert_eq!(leaf["principal_kind"], "operator");
        assert!(leaf["subject_ref"].is_string());
    }
    // Who it was and the filter are sealed; whoever may open the log reads them.
    assert!(!read.iter().any(|leaf| leaf.to_string().contains("fn/get")));
    let user = super::support::gateway::run("id", &["-un"]);
    let story = gateway.command(&["calls", "show", &call], &[]);
    assert!(story.contains("audit.read"), "{story}");
    assert!(
        story.contains(&format!("\"subject\":\"{}\"", user.trim())),
        "{story}"
    );

    // No gateway runs: the command itself is the log's writer for that moment.
    let before = readings(&gateway).len();
    assert!(gateway.child.terminate().success());
    gateway.command(&["calls", "replay", &call], &[]);
    assert_eq!(readings(&gateway).len(), before + 1);
    assert!(
        gateway
            .command(&["audit", "verify"], &[])
            .starts_with("intact")
    );
}

#[test]
fn what_cannot_be_recorded_is_not_shown() {
    let double = Double::start();
    let gateway = start(&double);
    let call = called(&gateway);
    // The gateway has the log, and cannot be asked.
    fs::remove_file(gateway.data().join("control.sock")).expect("its control socket");
    for command in [
        &["calls", "list"][..],
        &["calls", "show", &call],
        &["calls", "replay", &call],
    ] {
        let (good, text) = gateway.try_command(command, &[]);
        assert!(!good);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.starts_with(
                "callgate: nothing is shown, because the reading could not be recorded: "
            ),
            "{text}"
        );
        assert!(
            text.contains(&format!("in use by process {}", gateway.child.id())),
            "{text}"
        );
    }
    assert_eq!(readings(&gateway), Vec::<Value>::new());
}

#[test]
fn a_stream_is_played_back_part_by_part() {
    let double = Double::start();
    let gateway = start(&double);
    double.on("/events", |exchange| {
        let head = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
        exchange.head(200, head);
        for part in ["data: one\n\n", "data: \u{1b}[2J two\n\n"] {
            exchange.chunk(part);
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
        exchange.write("0\r\n\r\n");
    });
    let answer = gateway.get("/fn/events", &caller("alice", &["staff"]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    gateway.end_of(&answer);
    let call = answer.header("callgate-call").expect("an id").to_owned();
    let said = gateway.command(
        &["calls", "replay", &call, "--timed", "--speed", "100"],
        &[],
    );
    let from = said.find("# released body").expect("the body");
    let lines: Vec<&str> = said[from..].lines().collect();
    assert!(
        lines[1].starts_with("# +0.") && lines[1].ends_with(" s, 11 bytes"),
        "{said}"
    );
    assert_eq!(lines[2], "data: one");
    assert!(
        lines[4].starts_with("# +") && lines[4].ends_with(" bytes"),
        "{said}"
    );
    assert_eq!(lines[5], "data: \\u{1b}[2J two");
    assert!(
        said.contains("what is shown matches its commitments"),
        "{said}"
    );
    // An answer in one go has no times to tell.
    let call = called(&gateway);
    let said = gateway.command(&["calls", "replay", &call, "--timed"], &[]);
    assert!(said.contains("# it came in one go"), "{said}");
    let story = gateway.command(&["calls", "show", &call], &[]);
    let places: Vec<_> = [
        "\nToken\n",
        "\nPolicy\n",
        "\nUpstream\n",
        "\nMasking\n",
        "\nRecord\n",
        "\nIn full\n",
    ]
    .map(|title| story.find(title))
    .into();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{story}"
    );
    assert!(
        story.contains("  caller            corp/alice\n"),
        "{story}"
    );
    assert!(story.contains("  by policies       staff\n"), "{story}");
}
