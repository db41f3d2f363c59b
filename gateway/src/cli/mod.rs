//! The command line. Reads, runs, prints; everything that a caller or an agent wrote is escaped before
//! it reaches a terminal.

mod approvals;
mod audit;
mod backup;
mod calls;

mod check;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
mod grants;
mod init;
mod keep;
mod list;
mod login;
mod mask;
mod policy;

mod remote;
mod revoke;
mod shadow;
mod simulate;
mod sinks;
mod span;
mod suggest;
mod witness;

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::{self, Demo};

/// Exit code of a command line that cannot be understood, and of a check that cannot be made.
const USAGE: u8 = 64;
/// Exit code when the output cannot be written, as a shell says it of a program that a closed pipe ended.
const UNWRITTEN: u8 = 141;

/// The output cannot be written any more.
struct Unwritten;

/// A zero-trust gateway for function calls.
#[derive(Debug, Parser)]
#[command(name = "callgate", version, about, long_about = None)]
struct Cli {
    /// The config file.
    #[arg(
        long,
        short,
        global = true,
        env = "CALLGATE_CONFIG",
        default_value = "callgate.yaml"
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data folder, and a first config and policies where there are none.
    Init(init::Args),
    /// Check config, functions, secrets and policies; every fault at once.
    Check(check::Args),
    /// Serve calls until SIGTERM.
    Serve,
    /// Copy everything that a gateway needs into an empty folder, also while it runs.
    Backup(backup::Args),
    /// Put a backup where the config says that the data is; never over anything.
    Restore(backup::RestoreArgs),
    /// Ask the running gateway to read its config again.
    Reload(check::ReloadArgs),
    /// Look for what would go wrong: issuers, upstreams, disk, clock, settings that weaken a promise.
    Doctor,
    /// Print the JSON Schema of the config file.
    Schema,
    /// Explain and test policies.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Find functions that nobody declared.
    #[command(subcommand)]
    Functions(suggest::Command),
    /// Show recorded calls.
    #[command(subcommand)]
    Calls(calls::Command),
    /// Verify the audit log, and prove what is in it.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Sign in for the commands that ask a console, by a browser here or (`--device`) elsewhere.
    Login(login::Args),
    /// Forget what `login` got.
    Logout(login::LogoutArgs),
    /// List, look at and decide approvals.
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Shut out principals, issuers, tokens, connections or approvals.
    #[command(subcommand)]
    Revocations(revoke::Command),
    /// Watch logs of gateways and cosign their heads: for a second account, or an auditor.
    #[command(subcommand)]
    Witness(witness::Command),
    /// Try masking on a file.
    #[command(subcommand)]
    Mask(mask::Command),
    /// Look around on this machine: identity provider, functions, gateway.
    #[cfg(feature = "demo")]
    Demo(demo::Args),
}

/// Run the command line that this process was started with.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = told.print();
            // Not clap's 2, which means an incomplete log where a log is verified.
            let usage = told.use_stderr().then_some(USAGE);
            return usage.map_or(ExitCode::SUCCESS, ExitCode::from);
        }
    };
    match std::panic::catch_unwind(AssertUnwindSafe(|| run(cli))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            complain(&error);
            ExitCode::FAILURE
        }
        Err(thrown) if thrown.is::<Unwritten>() => ExitCode::from(UNWRITTEN),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = cli.config;
    match cli.command {
        Command::Init(args) => block_on(init::run(&config, &args)),
        Command::Check(args) => block_on(check::run(&config, &args)),
        Command::Serve => block_on(async {
            app::serve(config, Demo::Refuse)
                .await
                .map(|()| ExitCode::SUCCESS)
                .map_err(Into::into)
        }),
        Command::Backup(args) => block_on(backup::run(&config, &args)),
        Command::Restore(args) => block_on(backup::restore(&config, &args)),
        Command::Reload(args) => block_on(check::reload(&config, &args)),
        Command::Doctor => block_on(doctor::run(&config)),
        Command::Schema => {
            print(&serde_json::to_string_pretty(&crate::config::schema())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Policy(command) => block_on(policy::run(&config, &command)),
        Command::Functions(command) => block_on(suggest::functions(&config, &command)),
        Command::Calls(command) => block_on(calls::run(&config, &command)),
        Command::Audit(command) => block_on(audit::run(&config, &command)),
        Command::Login(args) => block_on(login::run(&args)),
        Command::Logout(args) => login::logout(&args),
        Command::Approvals(command) => block_on(approvals::run(&config, &command)),
        Command::Revocations(command) => block_on(revoke::run(&command)),
        Command::Witness(command) => block_on(witness::run(&command)),
        Command::Mask(command) => block_on(mask::run(&config, &command)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => block_on(demo::run(args)),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    // Nothing is left to wait for: what had to end was ended by the drain.
    runtime.shutdown_background();
    outcome
}

/// One line (or more) to standard output. Whoever reads it may have seen enough (`| head`): that ends the
/// program without a word, and by unwinding, so that what it started ends with it.
fn print(text: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            remark(&format!(
                "callgate: the output could not be written: {error}"
            ));
        }
        std::panic::resume_unwind(Box::new(Unwritten));
    }
}

/// One line (or more) to standard error.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn complain(error: &anyhow::Error) {
    // Many errors already quote their cause: each cause is told once.
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("callgate: {text}");
}

/// One line beside the output, to standard error.
#[expect(clippy::print_stderr, reason = "the command line's own output")]
fn remark(text: &str) {
    eprintln!("{text}");
}

/// Load the config, or fail with every fault, a line each.
fn load(path: &std::path::Path) -> anyhow::Result<crate::config::Loaded> {
    crate::config::load(path).map_err(|faults| anyhow::anyhow!("{}", lines(&faults)))
}

fn lines(faults: &[crate::config::Fault]) -> String {
    faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
