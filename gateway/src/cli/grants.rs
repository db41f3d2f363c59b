//! `callgate approvals grants`: yeses that stand for later calls.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::approvals::{members, text};
use super::print;
use super::remote::Remote;
use crate::approval::terminal_safe;

/// List them, or end one.
pub(super) async fn run(remote: &Remote, all: bool, end: Option<&str>) -> anyhow::Result<ExitCode> {
    if let Some(id) = end {
        remote
            .send(Method::DELETE, &format!("/api/v1/grants/{id}"), None)
            .await?;
        print("it has ended");
        return Ok(ExitCode::SUCCESS);
    }
    let mut before = String::new();
    let mut none = true;
    loop {
        let path = format!("/api/v1/grants?all={all}{before}");
        let page = remote.send(Method::GET, &path, None).await?;
        for one in members(&page, "grants") {
            none = false;
            granted(one);
        }
        match text(&page, "next") {
            next if next.is_empty() => break,
            next => before = format!("&before={next}"),
        }
    }
    if none {
        print("no yes stands for later calls");
    }
    Ok(ExitCode::SUCCESS)
}

fn granted(one: &Value) {
    let count = |key: &str| one.get(key).and_then(Value::as_u64).unwrap_or(0);
    let stands = one.get("stands").and_then(Value::as_bool) == Some(true);
    let ended = match text(one, "ended_by") {
        by if !by.is_empty() => format!("ended by {by} at {}", text(one, "ended_at")),
        _ if stands => format!("until {}", text(one, "until")),
        _ => "used up, or past its time".to_owned(),
    };
    print(&format!(
        "{}  {}  for {}, granted by {}; {} of {} calls; {ended}",
        text(one, "id"),
        text(one, "function"),
        text(one, "caller"),
        text(one, "granter"),
        count("used"),
        count("uses_max"),
    ));
    for line in members(one, "pattern") {
        print(&format!("  {}", terminal_safe(line.as_str().unwrap_or(""))));
    }
}
