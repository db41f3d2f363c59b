//! `callgate demo`: identity provider, functions and gateway as separate processes on this machine,
//! and five things to try. Nothing to configure; everything in it is marked and worth nothing.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::{Child, Command as Process};

use super::print;
use crate::app::{self, Demo};
use crate::demo::{self, Audience, Person};

/// How long a part of the demo may take to answer.
const START_MAX: Duration = Duration::from_secs(20);
/// The demo's files, as they stand in `examples/demo`.
const FILES: [(&str, &str); 4] = [
    (
        "callgate.yaml",
        include_str!("../../../examples/demo/callgate.yaml"),
    ),
    (
        "payments.openapi.yaml",
        include_str!("../../../examples/demo/payments.openapi.yaml"),
    ),
    (
        "policies/payments.cedar",
        include_str!("../../../examples/demo/policies/payments.cedar"),
    ),
    (
        "policies/people.cedar",
        include_str!("../../../examples/demo/policies/people.cedar"),
    ),
];
/// The name of the demo's log; `serve` refuses it.
const ORIGIN: &str = "callgate-demo.invalid/log";

/// What the demo is told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The demo's folder.
    #[arg(long, global = true, default_value = ".demo")]
    folder: PathBuf,
    /// Run the five things by themselves, with real curl, and fail when any answer differs.
    #[arg(long)]
    scripted: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// A token of somebody in the demo.
    Token {
        /// alice, bob, ci or agent.
        #[arg(long = "as")]
        who: String,
        /// `gateway` (calls) or `console` (votes).
        #[arg(long = "for", default_value = "gateway")]
        audience: String,
    },
    /// The identity provider alone.
    #[command(hide = true)]
    Idp,
    /// The sample functions alone.
    #[command(hide = true)]
    Functions,
    /// The gateway alone.
    #[command(hide = true)]
    Gateway,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let folder = args.folder;
    match args.part {
        Some(Part::Token { who, audience }) => {
            let person: Person = who.parse()?;
            let audience = match audience.as_str() {
                "gateway" => Audience::Gateway,
                "console" => Audience::Console,
                other => {
                    anyhow::bail!("`{other}` is no audience of the demo: use gateway or console")
                }
            };
            print(&demo::mint(&folder, person, audience)?);
            Ok(ExitCode::SUCCESS)
        }
        Some(Part::Idp) => {
            demo::idp::serve(demo::idp::DEFAULT_LISTEN.parse::<SocketAddr>()?, &folder).await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Part::Functions) => {
            demo::functions::serve(
                demo::functions::DEFAULT_LISTEN.parse::<SocketAddr>()?,
                &folder,
            )
            .await?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Part::Gateway) => {
            app::serve(folder.join("callgate.yaml"), Demo::Allow).await?;
            Ok(ExitCode::SUCCESS)
        }
        None => whole(&folder, args.scripted).await,
    }
}

async fn whole(folder: &Path, scripted: bool) -> anyhow::Result<ExitCode> {
    prepare(folder).await?;
    let mut parts = Vec::new();
    for (part, ready) in [
        (
            "idp",
            "http://127.0.0.1:8089/callgate-demo/.well-known/openid-configuration",
        ),
        ("functions", "http://127.0.0.1:8088/executions"),
        (
            "gateway",
            "http://127.0.0.1:8080/.well-known/callgate/ready",
        ),
    ] {
        let mut child = start(folder, part)?;
        answers(part, ready, &mut child, folder).await?;
        parts.push(child);
    }
    let program = std::env::current_exe().context("this program's own path")?;
    let tour = Tour {
        folder: folder.to_owned(),
        program,
    };
    if scripted {
        let outcome = tour.run().await;
        stop(parts).await;
        return outcome;
    }
    tour.show();
    tokio::signal::ctrl_c().await?;
    stop(parts).await;
    Ok(ExitCode::SUCCESS)
}

/// Write the demo's files and make its data folder, the first time.
async fn prepare(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder.join("policies"))
        .with_context(|| folder.display().to_string())?;
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    demo::functions::credential(folder)?;
    demo::console_secret(folder)?;
    let data = folder.join("data");
    if !data.join(app::DEMO_MARK).exists() {
        if data.exists() {
            anyhow::bail!(
                "{} is not of the demo, or was left half made: remove it, or give another --folder",
                data.display()
            );
        }
        let state = (&crate::store::Config::default(), Path::new(""));
        app::init(&data, Some(ORIGIN), None, state).await?;
        let mut mark = std::fs::File::create(data.join(app::DEMO_MARK))?;
        writeln!(
            mark,
            "the keys beside this file are a demo's; `callgate serve` refuses them"
        )?;
    }
    Ok(())
}

fn start(folder: &Path, part: &str) -> anyhow::Result<Child> {
    let log = std::fs::File::create(folder.join(format!("{part}.log")))?;
    let program = std::env::current_exe().context("this program's own path")?;
    let child = Process::new(program)
        .arg("demo")
        .arg("--folder")
        .arg(folder)
        .arg(part)
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn();
    child.with_context(|| format!("starting {part}"))
}

async fn answers(part: &str, url: &str, child: &mut Child, folder: &Path) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    while started.elapsed() < START_MAX {
        let log = folder.join(format!("{part}.log"));
        if let Some(status) = child.try_wait()? {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            anyhow::bail!("the demo's {part} ended ({status}):\n{}", said.trim_end());
        }
        let probe = Process::new("curl")
            .args(["-sf", "-o", "/dev/null", url])
            .status()
            .await;
        if probe.context("the demo needs curl")?.success() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!(
        "the demo's {part} does not answer at {url}; its log is {part}.log in the demo's folder"
    )
}

async fn stop(parts: Vec<Child>) {
    for mut child in parts.into_iter().rev() {
        if let Some(pid) = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(rustix::process::Pid::from_raw)
        {
            // The gateway drains on TERM; whoever ignores it is killed when dropped.
            let asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            if asked.is_ok() {
                let _late = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
            }
        }
    }
}

/// The five things to try.
struct Tour {
    folder: PathBuf,
    program: PathBuf,
}

/// One step: a title, a shell line, and what its output must and must not contain.
struct Step {
    title: &'static str,
    line: String,
    must: &'static [&'static str],
    must_not: Vec<String>,
}

impl Tour {
    fn callgate(&self) -> String {
        self.program.display().to_string()
    }

    fn token(&self, who: &str, audience: &str) -> String {
        format!(
            "{} demo --folder {} token --as {who} --for {audience}",
            self.callgate(),
            self.folder.display()
        )
    }

    fn curl(&self, who: &str, rest: &str) -> String {
        format!(
            "curl -s -H \"Authorization: Bearer $({})\" {rest}",
            self.token(who, "gateway")
        )
    }

    fn steps(&self) -> Vec<Step> {
        let key = std::fs::read_to_string(self.folder.join(demo::functions::KEY_FILE))
            .unwrap_or_default();
        let config = format!(
            "{} --config {}/callgate.yaml",
            self.callgate(),
            self.folder.display()
        );
        let refund = "-H 'Content-Type: application/json' -d '{\"order\":\"o-2\",\"amount\":25000,\"reason\":\"damaged\"}' http://127.0.0.1:8080/payments/refunds";
        let people = format!(
            "CALLGATE_TOKEN=$({}) {} approvals",
            self.token("bob", "console"),
            self.callgate()
        );
        vec![
            Step {
                title: "1. Allowed, and masked: support reads a customer",
                line: self.curl("alice", "http://127.0.0.1:8080/payments/customers/c-1001"),
                must: &["[masked:"],
                must_not: vec!["@example".to_owned(), "4111".to_owned()],
            },
            Step {
                title: "2. Denied: nobody deletes a customer, and the function never hears of it",
                line: self.curl(
                    "alice",
                    "-X DELETE http://127.0.0.1:8080/payments/customers/c-1001",
                ),
                must: &["\"code\":\"denied\"", "\"executed\":\"no\""],
                must_not: Vec::new(),
            },
            Step {
                title: "3. Held: a large refund waits (in another terminal: approve it), then runs once",
                line: format!(
                    "({}) & sleep 1; id=$({people} list | grep -o 'apr_[A-Za-z0-9_-]*' | head -1); {people} approve \"$id\" --reason 'seen the parcel'; wait",
                    self.curl("alice", refund)
                ),
                must: &["voted yes", "\"amount\":25000"],
                must_not: vec!["approval_pending".to_owned()],
            },
            Step {
                title: "4. The credential that never comes back: the function echoes what it got",
                line: self.curl("alice", "http://127.0.0.1:8080/payments/echo"),
                must: &["\"authorization\":[\"Bearer "],
                must_not: vec![key.trim().to_owned()],
            },
            Step {
                title: "5. Evidence: verify the log, and replay the refund",
                line: format!(
                    "{config} audit verify && {config} calls replay \"$({config} calls list --function payments/createRefund | grep -o '[0-9a-f]\\{{8\\}}-[0-9a-f-]*' | head -1)\""
                ),
                must: &["intact", "25000"],
                must_not: Vec::new(),
            },
        ]
    }

    fn show(&self) {
        print(
            "The demo runs: identity provider :8089, functions :8088, gateway :8080, console :8081.",
        );
        print(
            "Open http://127.0.0.1:8081 and sign in as bob: held calls arrive there, and every call has its story.",
        );
        print("Five things to try in another terminal:\n");
        for step in self.steps() {
            print(&format!("# {}\n{}\n", step.title, step.line));
        }
        print("Ctrl-C ends the demo.");
    }

    async fn run(&self) -> anyhow::Result<ExitCode> {
        let mut wrong = 0;
        for step in self.steps() {
            print(&format!("\n# {}\n$ {}", step.title, step.line));
            let output = Process::new("bash")
                .arg("-c")
                .arg(&step.line)
                .output()
                .await?;
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            print(&crate::approval::terminal_safe(said.trim_end()).replace("\\n", "\n"));
            for must in step.must.iter().filter(|must| !said.contains(**must)) {
                wrong += 1;
                print(&format!("WRONG: `{must}` is not in the answer"));
            }
            for must_not in step
                .must_not
                .iter()
                .filter(|must_not| said.contains(must_not.as_str()))
            {
                wrong += 1;
                print(&format!(
                    "WRONG: `{}…` is in the answer",
                    must_not.chars().take(4).collect::<String>()
                ));
            }
        }
        print(&format!(
            "\n{}",
            if wrong == 0 {
                "all five as promised"
            } else {
                "not as promised"
            }
        ));
        Ok(if wrong == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
