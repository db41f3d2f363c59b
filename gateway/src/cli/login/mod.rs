//! `callgate login` and `logout`: a person's token for a console's API, by a browser on this machine or by
//! one elsewhere, kept for the commands that ask the API.

mod flow;
mod kept;

use std::process::ExitCode;

use anyhow::Context;
use http::Method;
use serde_json::Value;

use super::remote::Remote;
use super::{print, remark};
use crate::approval::terminal_safe;
use crate::clock::{Clock, SystemClock, Timestamp};

pub(super) use kept::kept;

/// Where to sign in, and for what.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    remote: Remote,
    /// The identity provider, as the config's `issuer` has it. By default that of the last login here.
    #[arg(long, env = "CALLGATE_LOGIN_ISSUER")]
    issuer: Option<String>,
    /// The client id of the command line there: a public client with the redirect URI
    /// `http://127.0.0.1/callback`, or with the device flow. By default that of the last login here.
    #[arg(long, env = "CALLGATE_LOGIN_CLIENT")]
    client: Option<String>,
    /// Ask for a token for this audience (RFC 8707), where the provider needs to be told: the console's.
    #[arg(long, env = "CALLGATE_LOGIN_RESOURCE")]
    resource: Option<String>,
    /// The scopes to ask for.
    #[arg(long, env = "CALLGATE_LOGIN_SCOPE")]
    scope: Option<String>,
    /// Sign in with a browser on another machine: it is told a code.
    #[arg(long)]
    device: bool,
    /// Only print where to sign in, and open no browser.
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
}

/// For which console.
#[derive(Debug, clap::Args)]
pub(super) struct LogoutArgs {
    #[command(flatten)]
    remote: Remote,
}

/// A client as its issuer knows it.
#[derive(Debug)]
struct Client {
    id: String,
    scope: String,
    resource: Option<String>,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let console = args.remote.console();
    let last = kept(console)?;
    let of_last = |get: fn(&kept::Kept) -> Option<String>| last.as_ref().and_then(get);
    let given = |flag: &Option<String>, get: fn(&kept::Kept) -> Option<String>| {
        flag.clone().or_else(|| of_last(get))
    };
    let issuer = given(&args.issuer, |last| Some(last.issuer.clone()));
    let issuer =
        issuer.context("no issuer: say `--issuer https://…`, as the gateway's config has it")?;
    let id = given(&args.client, |last| Some(last.client.clone()));
    let id = id.context("no client id: say `--client …`, a public client that the issuer knows")?;
    let scope = given(&args.scope, |last| Some(last.scope.clone()));
    let client = Client {
        id,
        scope: scope.unwrap_or_else(|| "openid".to_owned()),
        resource: given(&args.resource, |last| last.resource.clone()),
    };
    let known = flow::discover(&issuer).await?;
    let token = if args.device {
        known.device(&client).await?
    } else {
        known.browser(&client, !args.no_browser).await?
    };
    // A token that the console does not take is not worth keeping.
    let me = args
        .remote
        .send_with(&token.text, Method::GET, "/api/v1/me", None)
        .await;
    let me = me.context("signed in, but the console does not take the token")?;
    let expires_at = SystemClock.now().plus(token.lives_for);
    let login = kept::Kept {
        token: token.text,
        expires_at: expires_at.secs(),
        issuer,
        client: client.id,
        scope: client.scope,
        resource: client.resource,
    };
    let place = kept::keep(console, login)?;
    let text = |name: &str| terminal_safe(me.get(name).and_then(Value::as_str).unwrap_or(""));
    print(&format!(
        "signed in as {}/{} at {console} until {expires_at}",
        text("issuer"),
        text("subject")
    ));
    remark(&format!(
        "the token is in {}, which only you can read",
        place.display()
    ));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn logout(args: &LogoutArgs) -> anyhow::Result<ExitCode> {
    let console = args.remote.console();
    if kept::forget(console)? {
        print(&format!(
            "signed out of {console}: the token is forgotten here, and good until it ends"
        ));
    } else {
        print(&format!("nobody was signed in at {console}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The kept token for a console.
///
/// # Errors
/// None is kept, it has ended, or the file is not one that only its owner can read.
pub(super) fn token(console: &str) -> anyhow::Result<String> {
    let how = "`callgate login`, or set CALLGATE_TOKEN to a fresh token for the console's audience";
    let login = kept(console)?;
    let login = login.with_context(|| format!("no token for {console}: {how}"))?;
    let ends = Timestamp::from_secs(login.expires_at);
    if SystemClock.now() >= ends {
        anyhow::bail!("the login at {console} ended at {ends}: {how}");
    }
    Ok(login.token)
}
