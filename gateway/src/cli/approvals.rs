//! `callgate approvals`: everything that a caller or an agent wrote is escaped before it is printed.

use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use super::remote::Remote;
use super::{load, print};
use crate::app;
use crate::approval::terminal_safe;

/// The answer by which a person lets a call of their own through.
const BREAK_GLASS: &str = "break-glass";

/// What to do with approvals.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Approvals that you may decide, newest first.
    List {
        #[command(flatten)]
        remote: Remote,
        /// Only this state.
        #[arg(long, default_value = "pending")]
        state: String,
    },
    /// One approval with the exact call.
    Show {
        #[command(flatten)]
        remote: Remote,
        /// The approval's id.
        id: String,
    },
    /// Open the rules that you may open.
    Approve {
        #[command(flatten)]
        remote: Remote,
        /// The approval's id.
        id: String,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only this rule; by default every rule that is not open yet.
        #[arg(long)]
        rule: Option<String>,
        #[command(flatten)]
        widen: Widen,
    },
    /// Let an urgent call of your own through without its approvers, where its rule offers that: everybody
    /// is told, and it is on the record.
    BreakGlass {
        #[command(flatten)]
        remote: Remote,
        /// The approval's id.
        id: String,
        /// Why it cannot wait, for the record and the review.
        #[arg(long)]
        reason: String,
    },
    /// Yeses that stand for later calls, newest first.
    Grants {
        #[command(flatten)]
        remote: Remote,
        /// Also those that are used up, ended or past their time.
        #[arg(long)]
        all: bool,
        /// End this one before its time.
        #[arg(long, value_name = "ID", conflicts_with = "all")]
        end: Option<String>,
    },
    /// How deciding went in the last 30 days, by function.
    Figures {
        #[command(flatten)]
        remote: Remote,
    },
    /// Messages to people that could not be delivered.
    Undelivered {
        #[command(flatten)]
        remote: Remote,
        /// Try this one again.
        #[arg(long, value_name = "ID", conflicts_with = "discard")]
        retry: Option<String>,
        /// Take this one off the list.
        #[arg(long, value_name = "ID")]
        discard: Option<String>,
    },
    /// Forget every held call in the shared state, while no gateway runs: it was put back from a backup, or a
    /// standby took over that lagged, and what it says is approved may have run.
    Forget,
    /// Refuse, for good.
    Deny {
        #[command(flatten)]
        remote: Remote,
        /// The approval's id.
        id: String,
        /// Why, for the record and the caller.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// Let the yes stand for later calls of the same caller with the same arguments as well, where the rule
/// offers it.
#[derive(Debug, clap::Args)]
pub(super) struct Widen {
    /// For how many later calls.
    #[arg(long, value_name = "CALLS", requires = "grant_for")]
    grant_uses: Option<u32>,
    /// For how long, such as 30m or 8h.
    #[arg(long, value_name = "TIME", requires = "grant_uses", value_parser = super::span::duration)]
    grant_for: Option<std::time::Duration>,
    /// An argument that may be anything, by its name as shown, such as body.note.
    #[arg(long, value_name = "NAME", requires = "grant_uses")]
    any: Vec<String>,
    /// An argument that is a number, and the most that it may be, such as body.amount=100.
    #[arg(long, value_name = "NAME=MOST", requires = "grant_uses", value_parser = at_most)]
    at_most: Vec<(String, String)>,
}

fn at_most(text: &str) -> Result<(String, String), String> {
    let parts = text
        .rsplit_once('=')
        .filter(|(name, most)| !name.is_empty() && !most.is_empty());
    let (name, most) = parts.ok_or("write NAME=MOST, such as body.amount=100")?;
    Ok((name.to_owned(), most.to_owned()))
}

impl Widen {
    /// As the API takes it; `None` when it was not asked for.
    fn json(&self) -> Option<Value> {
        let (uses, within) = (self.grant_uses?, self.grant_for?);
        let at_most: std::collections::BTreeMap<_, _> = self.at_most.iter().cloned().collect();
        Some(
            json!({ "uses": uses, "within_s": within.as_secs(), "any": self.any, "at_most": at_most }),
        )
    }
}

pub(super) async fn run(config: &Path, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Forget => {
            print(&app::forget_approvals(&load(config)?).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::List { remote, state } => list(remote, state).await,
        Command::Show { remote, id } => {
            let view = remote
                .send(Method::GET, &format!("/api/v1/approvals/{id}"), None)
                .await?;
            show(&view);
            Ok(ExitCode::SUCCESS)
        }
        Command::Approve {
            remote,
            id,
            reason,
            rule,
            widen,
        } => {
            let grant = widen.json();
            vote(remote, id, ("yes", reason), rule.as_deref(), grant).await
        }
        Command::Deny { remote, id, reason } => vote(remote, id, ("no", reason), None, None).await,
        Command::BreakGlass { remote, id, reason } => {
            vote(remote, id, (BREAK_GLASS, reason), None, None).await
        }
        Command::Grants { remote, all, end } => {
            super::grants::run(remote, *all, end.as_deref()).await
        }
        Command::Figures { remote } => figures(remote).await,
        Command::Undelivered {
            remote,
            retry,
            discard,
        } => undelivered(remote, retry.as_deref(), discard.as_deref()).await,
    }
}

pub(super) fn text(value: &Value, key: &str) -> String {
    terminal_safe(value.get(key).and_then(Value::as_str).unwrap_or(""))
}

async fn list(remote: &Remote, state: &str) -> anyhow::Result<ExitCode> {
    let page = remote
        .send(
            Method::GET,
            &format!("/api/v1/approvals?state={state}"),
            None,
        )
        .await?;
    let approvals = page
        .get("approvals")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if approvals.is_empty() {
        print(&format!(
            "no approval of state `{}` that you may decide",
            terminal_safe(state)
        ));
    }
    for approval in &approvals {
        let requester = approval.get("requester").cloned().unwrap_or_default();
        print(&format!(
            "{}  {}  {}  by {}/{} ({})  until {}",
            text(approval, "id"),
            text(approval, "state"),
            text(approval, "function"),
            text(&requester, "issuer"),
            text(&requester, "subject"),
            text(&requester, "kind"),
            text(approval, "expires_at"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn show(view: &Value) {
    let head = view.get("head").unwrap_or(view);
    let requester = head.get("requester").cloned().unwrap_or_default();
    print(&format!(
        "approval  {}  {}",
        text(head, "id"),
        text(head, "state")
    ));
    print(&format!(
        "function  {} ({})",
        text(head, "function"),
        text(head, "effect")
    ));
    print(&format!(
        "caller    {}/{} ({})",
        text(&requester, "issuer"),
        text(&requester, "subject"),
        text(&requester, "kind")
    ));
    let actors = requester
        .get("actors")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for actor in actors.iter().filter_map(Value::as_str) {
        print(&format!("  through {}", terminal_safe(actor)));
    }
    print(&format!("until     {}", text(head, "expires_at")));
    members(view, "rules").for_each(rule_line);
    recent(view);
    since_last(view);
    call(view);
    print(&format!("digest    {}", text(view, "digest")));
}

fn rule_line(rule: &Value) {
    let open = rule.get("open").and_then(Value::as_bool).unwrap_or(false);
    print(&format!(
        "rule      {} [{}] {}",
        text(rule, "id"),
        if open { "open" } else { "closed" },
        text(rule, "reason")
    ));
    let groups = |key: &str| {
        let groups = rule.get(key).cloned().unwrap_or_default();
        terminal_safe(&groups.to_string())
    };
    print(&format!("  who     {}", groups("any_of")));
    if let Some(within) = rule.get("break_glass_within_s").and_then(Value::as_u64) {
        print(&format!(
            "  glass   {}, for a call of their own, to run within {within} s",
            groups("break_glass_any_of")
        ));
    }
}

pub(super) fn members<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The caller's other questions of late.
fn recent(view: &Value) {
    for other in members(view, "recent") {
        print(&format!(
            "recently  {}  {} ({})  {}",
            text(other, "asked_at"),
            text(other, "function"),
            text(other, "effect"),
            text(other, "state"),
        ));
    }
}

/// What is different from the caller's last question about this function.
fn since_last(view: &Value) {
    let Some(last) = view.get("since_last").filter(|last| !last.is_null()) else {
        print("compared  this caller has not asked about this function before");
        return;
    };
    print(&format!(
        "compared  with {} of {}, which is {}",
        text(last, "approval"),
        text(last, "asked_at"),
        text(last, "state"),
    ));
    let Some(differences) = last.get("differences").and_then(Value::as_array) else {
        print("  its input is not kept any more and cannot be compared");
        return;
    };
    if differences.is_empty() {
        print("  the typed input is the same");
    }
    for difference in differences {
        let path = shown(difference.get("path"));
        let (was, is) = (
            shown(difference.get("before")),
            shown(difference.get("now")),
        );
        let line = match difference.get("kind").and_then(Value::as_str) {
            Some("added") => format!("  + {path}: {is}"),
            Some("removed") => format!("  - {path}: {was}"),
            Some(_) | None => format!("  ~ {path}: {was} -> {is}"),
        };
        print(&line);
    }
}

/// A text that the gateway has made visible already; once more here, because this is a terminal.
fn shown(value: Option<&Value>) -> String {
    text(value.unwrap_or(&Value::Null), "text")
}

/// The exact call: nothing is left out, and what was made visible is counted.
fn call(view: &Value) {
    let Some(call) = view.get("shown").filter(|call| !call.is_null()) else {
        print("call      it has ended; the audit record has it");
        return;
    };
    print(&format!(
        "call      {} {}",
        shown(call.get("method")),
        shown(call.get("target"))
    ));
    for header in members(call, "headers") {
        let (name, value) = (shown(header.get("name")), shown(header.get("value")));
        print(&format!("  {name}: {value}"));
    }
    for place in members(call, "input") {
        let (name, value) = (shown(place.get("name")), shown(place.get("value")));
        print(&format!("input     {name} = {value}"));
    }
    match call.get("body").filter(|body| !body.is_null()) {
        Some(body) => {
            let hex = call.get("body_is_hex").and_then(Value::as_bool) == Some(true);
            let bytes = body.get("bytes").and_then(Value::as_u64).unwrap_or(0);
            let form = if hex { " as hexadecimal digits" } else { "" };
            print(&format!("body      {bytes} bytes{form}"));
            print(&format!("  {}", shown(Some(body))));
        }
        None => print("body      none"),
    }
    let visible = made_visible(call);
    if visible > 0 {
        print(&format!(
            "beware    {visible} characters that hide or reorder text were made visible above, as \\u{{…}}"
        ));
    }
}

fn made_visible(value: &Value) -> u64 {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| match (name.as_str(), member.as_u64()) {
                ("made_visible", Some(count)) => count,
                (_, _) => made_visible(member),
            })
            .sum(),
        Value::Array(members) => members.iter().map(made_visible).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

async fn vote(
    remote: &Remote,
    id: &str,
    (verdict, reason): (&str, &str),
    only: Option<&str>,
    grant: Option<Value>,
) -> anyhow::Result<ExitCode> {
    let view = remote
        .send(Method::GET, &format!("/api/v1/approvals/{id}"), None)
        .await?;
    show(&view);
    let digest = view.get("digest").cloned().unwrap_or_default();
    let wanted = answered(&view, verdict, only)?;
    if let Some(grant) = &grant {
        widened(remote, id, &view, grant).await?;
    }
    let mut state = String::new();
    let mut last = None;
    let mut given = Vec::new();
    for rule in &wanted {
        let mut body = json!({ "rule": rule.get("hash"), "verdict": verdict, "reason": reason, "digest": digest });
        if let (Some(members), Some(grant)) = (body.as_object_mut(), &grant) {
            members.insert("grant".to_owned(), grant.clone());
        }
        let answer = remote
            .send(
                Method::POST,
                &format!("/api/v1/approvals/{id}/votes"),
                Some(&body),
            )
            .await;
        match answer {
            Ok(answer) => {
                state = text(&answer, "state");
                given.extend(
                    answer
                        .get("grant")
                        .and_then(Value::as_str)
                        .map(terminal_safe),
                );
            }
            // With several rules a person may be named by one only.
            Err(error) => last = Some(error),
        }
        if verdict == "no" && !state.is_empty() {
            break;
        }
    }
    match last {
        Some(error) if state.is_empty() => Err(error),
        Some(_) | None => {
            print(&format!("voted {verdict}; the approval is now {state}"));
            if verdict == BREAK_GLASS {
                print(
                    "everybody who could have approved is told; the call waits to be sent again, once, soon",
                );
            }
            for grant in given {
                print(&format!(
                    "granted   {grant}; see `callgate approvals grants`, end it with `--end {grant}`"
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The rules that this answer is for: a no ends also what others opened, until it is begun.
fn answered<'v>(
    view: &'v Value,
    verdict: &str,
    only: Option<&str>,
) -> anyhow::Result<Vec<&'v Value>> {
    let mut rules: Vec<&Value> = members(view, "rules").collect();
    let is_open = |rule: &&Value| rule.get("open").and_then(Value::as_bool) == Some(true);
    rules.retain(|rule| verdict == "no" || !is_open(rule));
    rules.retain(|rule| {
        only.is_none_or(|only| rule.get("id").and_then(Value::as_str) == Some(only))
    });
    if verdict == BREAK_GLASS {
        // Who breaks the glass of their own call is no approver of the other rules.
        let breaks: Vec<&Value> = members(view, "may_break_glass").collect();
        rules.retain(|rule| rule.get("hash").is_some_and(|hash| breaks.contains(&hash)));
        anyhow::ensure!(
            !rules.is_empty(),
            "no closed rule of this approval lets you break its glass: that takes a call that you made \
             yourself, a rule with `@break_glass` that names you, and the right to `break-glass`"
        );
    }
    anyhow::ensure!(
        !rules.is_empty(),
        "no rule of this approval is left to answer"
    );
    Ok(rules)
}

/// What the yes will stand for, before it is given.
async fn widened(remote: &Remote, id: &str, view: &Value, grant: &Value) -> anyhow::Result<()> {
    let body = json!({ "any": grant.get("any"), "at_most": grant.get("at_most") });
    let path = format!("/api/v1/approvals/{id}/pattern");
    let answer = remote.send(Method::POST, &path, Some(&body)).await?;
    let number = |key: &str| grant.get(key).and_then(Value::as_u64).unwrap_or(0);
    let function = view.pointer("/head/function").and_then(Value::as_str);
    print(&format!(
        "grant     up to {} later calls of {} by the same caller, within {} seconds, where",
        number("uses"),
        terminal_safe(function.unwrap_or("")),
        number("within_s"),
    ));
    for line in members(&answer, "pattern") {
        print(&format!("  {}", terminal_safe(line.as_str().unwrap_or(""))));
    }
    Ok(())
}

async fn undelivered(
    remote: &Remote,
    retry: Option<&str>,
    discard: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let path = "/api/v1/deliveries/dead";
    if let Some(id) = retry {
        let path = format!("{path}/{id}/retry");
        remote.send(Method::POST, &path, None).await?;
        print("it is tried again");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(id) = discard {
        remote
            .send(Method::DELETE, &format!("{path}/{id}"), None)
            .await?;
        print("it is off the list");
        return Ok(ExitCode::SUCCESS);
    }
    let dead = remote.send(Method::GET, path, None).await?;
    let dead = dead.as_array().cloned().unwrap_or_default();
    if dead.is_empty() {
        print("every message was delivered, or is still tried");
    }
    for one in &dead {
        print(&format!(
            "{}  {}  {}  {} tries, until {}: {}",
            text(one, "id"),
            text(one, "channel"),
            text(one, "event"),
            one.get("attempts").and_then(Value::as_u64).unwrap_or(0),
            text(one, "dead_since"),
            text(one, "failure"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn figures(remote: &Remote) -> anyhow::Result<ExitCode> {
    let path = "/api/v1/approvals/figures";
    let figures = remote.send(Method::GET, path, None).await?;
    let figures = figures.as_array().cloned().unwrap_or_default();
    if figures.is_empty() {
        print("nobody was asked in the last 30 days");
    }
    for one in &figures {
        let number = |key: &str| one.get(key).and_then(Value::as_u64);
        let count = |key: &str| number(key).unwrap_or(0);
        let median = number("median_decision_ms").map_or_else(
            || "none decided".to_owned(),
            |ms| format!("half decided within {}.{} s", ms / 1000, ms % 1000 / 100),
        );
        print(&format!(
            "{}  {} asked, {} approved, {} denied, {} expired, {} by grants alone; {median}; {} within 3 s",
            text(one, "function"),
            count("asked"),
            count("approved"),
            count("denied"),
            count("expired"),
            count("granted"),
            count("rubber_stamps"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}
