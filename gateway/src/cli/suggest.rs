//! `callgate functions suggest` and `callgate policy suggest`: drafts out of what was recorded.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::check::snapshot;
use super::{calls, list, print, span};
use crate::approval::terminal_safe;
use crate::call::{ConnectionName, FunctionId, SeenBody, SeenFunctions, SeenRequest, UNDECLARED};
use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::pipeline::simulate::{Draft, Outcome, judge};
use crate::policy::{Decision, DenialReason, SeenCalls};
use crate::record::{Opener, Reading, Tried, TriedBody};

/// What to do with functions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Write a first OpenAPI document out of recorded calls of no declared function.
    Suggest(Args),
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The connection.
    #[arg(long)]
    connection: ConnectionName,
    /// The calls: how far back (`90s`, `30m`, `24h`, `7d`), or `FROM..TO` with times or dates.
    #[arg(long, default_value = "24h")]
    against: String,
    /// The file to write, which must not be there yet. Default: standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// What could not be taken, by why.
type LeftOut = BTreeMap<String, u64>;

pub(super) async fn functions(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Suggest(args) = command;
    let now = SystemClock.now();
    let (since, until) = span::against(&args.against, now)?;
    let about = json!({ "functions": args.connection, "against": args.against });
    let loaded = calls::recorded(config, Reading::Suggest, None, about).await?;
    anyhow::ensure!(
        loaded.config.connections.contains_key(&args.connection),
        "there is no connection `{}` in the config",
        args.connection
    );
    let index = list::index(&loaded).await?;
    let opener = Opener::default();
    let mut seen = SeenFunctions::default();
    let mut left = LeftOut::new();
    let undeclared = format!("{}/{UNDECLARED}", args.connection);
    index.decisions(Some(since), &mut |sealed| {
        let Some(tried) = index.open_tried(sealed, &opener) else {
            return true;
        };
        let here = tried.connection == args.connection.as_str();
        let unknown = tried.function.as_ref().is_none_or(|id| *id == undeclared);
        if here && unknown && tried.at >= since && tried.at < until {
            take(&mut seen, &tried, &mut left);
        }
        true
    })?;
    let suggested = seen.document(args.connection.as_str());
    anyhow::ensure!(
        suggested.functions > 0,
        "no call of an undeclared function of `{}` is recorded in that time{}",
        args.connection,
        told(&left)
    );
    write(args.out.as_deref(), &suggested.text)?;
    tell(&format!("{} functions{}", suggested.functions, told(&left)));
    for note in &suggested.notes {
        tell(&format!("not covered: {note}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn take(seen: &mut SeenFunctions, tried: &Tried, left: &mut LeftOut) {
    let request = match &tried.request {
        Ok(request) => request,
        Err(why) => {
            *left.entry(why.as_str().to_owned()).or_default() += 1;
            return;
        }
    };
    let text = |name: &str| request.head.get(name).and_then(serde_json::Value::as_str);
    let headers = request.head.get("headers").cloned();
    let headers: Vec<(String, String)> = headers
        .and_then(|headers| serde_json::from_value(headers).ok())
        .unwrap_or_default();
    let body = match &request.body {
        TriedBody::Whole(bytes) if bytes.is_empty() => SeenBody::Empty,
        TriedBody::Whole(bytes) => SeenBody::Bytes(bytes),
        TriedBody::Unkept => SeenBody::Unkept,
        TriedBody::Unrecorded => SeenBody::Unrecorded,
    };
    seen.add(&SeenRequest {
        method: text("method").unwrap_or_default(),
        target: text("target").unwrap_or_default(),
        headers: &headers,
        body,
    });
}

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArgs {
    /// Only calls of this connection.
    #[arg(long)]
    connection: Option<ConnectionName>,
    /// The calls: how far back (`90s`, `30m`, `24h`, `7d`), or `FROM..TO` with times or dates.
    #[arg(long, default_value = "24h")]
    against: String,
    /// The file to write, which must not be there yet. Default: standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

pub(super) async fn policies(config: &Path, args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    let (since, until) = span::against(&args.against, SystemClock.now())?;
    let about = json!({ "policies": args.connection, "against": args.against });
    let loaded = calls::recorded(config, Reading::Suggest, None, about).await?;
    let snapshot = snapshot(&loaded)?;
    let draft = Draft {
        policies: &snapshot.policies,
        connections: &snapshot.connections,
    };
    let index = list::index(&loaded).await?;
    let opener = Opener::default();
    let mut seen = SeenCalls::default();
    let mut left = LeftOut::new();
    let mut permitted = 0_u64;
    let wanted = args.connection.as_ref().map(ConnectionName::as_str);
    let meant = |function: &str, at: Timestamp| {
        let here = wanted.is_none() || wanted == function.split('/').next();
        here && at >= since && at < until
    };
    index.decisions(Some(since), &mut |sealed| {
        let judged = index.open_decision(sealed, &opener, &meant);
        let Some(judged) = judged.filter(|judged| judged.observed.is_some()) else {
            return true;
        };
        match why_not(&judge(&judged, draft)) {
            Reason::Permitted => permitted += 1,
            Reason::NoPermit(function) => {
                let principal = judged.content.as_ref().map(|content| &content.principal);
                let taken = principal.map_or(Ok(()), |who| seen.add(who, &function));
                if let Err(why) = taken {
                    *left.entry(why.to_string()).or_default() += 1;
                }
            }
            Reason::Other(why) => *left.entry(why).or_default() += 1,
        }
        true
    })?;
    let suggested = seen.policies();
    anyhow::ensure!(
        suggested.permits > 0,
        "there is nothing to permit: {permitted} calls that passed in that time are permitted already{}",
        told(&left)
    );
    write(args.out.as_deref(), &suggested.text)?;
    let permits = suggested.permits;
    tell(&format!(
        "{permits} permits; {permitted} calls are permitted already{}",
        told(&left)
    ));
    Ok(ExitCode::SUCCESS)
}

/// What stands between a call that passed and an allowed one.
enum Reason {
    Permitted,
    NoPermit(FunctionId),
    Other(String),
}

fn why_not(judged: &Result<Outcome, String>) -> Reason {
    match judged {
        Err(why) => Reason::Other(why.clone()),
        Ok(Outcome::Refused(code)) => Reason::Other(format!("it would be refused: {code}")),
        Ok(Outcome::Decided(function, decision)) => match decision {
            Decision::Allow(_) => Reason::Permitted,
            Decision::Ask(terms) => {
                let rules = terms.rules.iter().map(|rule| rule.id.as_str());
                let rules = rules.collect::<Vec<_>>().join(", ");
                Reason::Other(format!("people would be asked, by {rules}"))
            }
            Decision::Deny(denial) => match &denial.reason {
                DenialReason::NoPermit => Reason::NoPermit(function.clone()),
                DenialReason::Forbidden => {
                    Reason::Other(format!("forbidden by {}", denial.policies.join(", ")))
                }
                DenialReason::Error(why) => Reason::Other(why.clone()),
            },
        },
    }
}

/// What could not be taken, for people.
fn told(left: &LeftOut) -> String {
    let each = left.iter();
    let each = each.map(|(why, count)| format!("; left out {count} calls: {why}"));
    each.collect()
}

/// What is to be known of a draft, beside it.
fn tell(text: &str) {
    super::remark(&terminal_safe(text));
}

/// Write a draft, over nothing.
fn write(out: Option<&Path>, text: &str) -> anyhow::Result<()> {
    let Some(path) = out else {
        print(text.trim_end());
        return Ok(());
    };
    let file = std::fs::File::create_new(path);
    let mut file = file.with_context(|| format!("{}: is not written", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| path.display().to_string())
}
