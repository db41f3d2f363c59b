//! What stock clients make of the answers that a held call can get: the table of the guide, cell by cell.

use std::process::Command;
use std::thread;

use super::support::peers;
use super::support::recorder::Recorder;

const GUIDE: &str = include_str!("../../../docs/guide/what-a-caller-sees.md");

const STATUSES: [u16; 5] = [202, 403, 410, 424, 429];

const FETCH: &str =
    "fetch(process.argv[1], { method: 'POST', body: 'x' }).then((a) => process.exit(a.ok ? 0 : 1))";

/// The command of each row of the table, by the row's name.
fn command(client: &str, url: &str) -> Command {
    let python = |mode: &str| {
        let mut command = Command::new(peers().join(".venv/bin/python"));
        command.arg(peers().join("matrix.py")).args([mode, url]);
        command
    };
    let curl = |more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--output", "/dev/null", "--data", "x"]);
        command.args(more).arg(url);
        command
    };
    match client {
        "`curl`" => curl(&[]),
        "`curl --fail`" => curl(&["--fail"]),
        "`curl --fail --retry 1`" => curl(&["--fail", "--retry", "1"]),
        "requests, `raise_for_status()`" => python("requests"),
        "requests with urllib3's `Retry(1)`" => python("urllib3-default"),
        "the same with `status_forcelist=[429, 503], allowed_methods=None`" => {
            python("urllib3-listed")
        }
        "`fetch` of Node, `answer.ok`" => {
            let mut command = Command::new("node");
            command.args(["-e", FETCH, url]);
            command
        }
        other => panic!("the guide's table has an unknown client: {other}"),
    }
}

/// What the client did with a server that always answers so, in the table's words.
fn seen(client: &str, status: u16) -> String {
    let answer = format!(
        "HTTP/1.1 {status} Status\r\nRetry-After: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    );
    let server = Recorder::start(answer);
    let url = format!("http://{}/refunds", server.address);
    let done = command(client, &url).output().expect("the client");
    let times = match server.seen().len() {
        1 => "once",
        2 => "again",
        other => panic!("{client} sent {other} requests for {status}"),
    };
    let taken = if done.status.success() { "good" } else { "bad" };
    format!("{times}, {taken}")
}

#[test]
fn stock_clients_do_with_each_answer_what_the_guide_says() {
    let header = "| client | 202 | 403 | 410 | 424 | 429 |";
    let (_, table) = GUIDE.split_once(header).expect("the table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut compared = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (client, expected) = cells.split_first().expect("a client");
        let found: Vec<String> = thread::scope(|scope| {
            let cells = STATUSES.map(|status| scope.spawn(move || seen(client, status)));
            cells.map(|cell| cell.join().expect("a cell")).to_vec()
        });
        assert_eq!(found, expected, "{client}");
        compared += 1;
    }
    assert_eq!(compared, 7);
}
