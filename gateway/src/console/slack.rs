//! Answers by a button in Slack: a vote like every other, of the person whose account the config says is the
//! member's.
//!
//! Slack's signature proves who pressed; the policies in force say what that person may do. What a rule asks
//! of a sign-in Slack cannot give: such a yes is refused, with the page where it can be given. Slack shows
//! nothing of an answer's body, so whatever a member should know is sent where Slack takes it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Parts;
use super::api::{Asker, Problem};
use super::approvals::{self, SIGN_IN_AGAIN, VoteBody};
use super::plain;
use super::refused;
use crate::approval::{ApprovalView, Verdict};
use crate::identity::{Rejection, SlackMember};
use crate::listener::Peer;
use crate::notify::{Buttons, Choice, Press, Told, Unproven};
use crate::policy::PersonFacts;
use crate::store::State as ApprovalState;

/// What is being told to Slack at one time; more is not told, and the votes stand all the same.
const TELLING_MAX: usize = 32;
static TELLING: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(TELLING_MAX));

/// What Slack sends: one form field.
#[derive(Deserialize)]
struct Form {
    payload: String,
}

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new().route("/slack/{channel}", post(pressed))
}

async fn pressed(
    State(parts): State<Arc<Parts>>,
    Path(channel): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let none = || Problem::new(404, "not_found", "no channel of that name has buttons");
    let buttons = parts.notifier.buttons(&channel).ok_or_else(none)?;
    let body = body.map_err(|_| {
        let text = "the body is larger than 64 KiB, or did not arrive whole: nothing was done";
        Problem::new(413, "too_large", text)
    })?;
    let press = match proven(&buttons, &headers, &body) {
        Ok(press) => press,
        // The first of them did all that there is to do.
        Err(Unproven::Replayed) => return Ok(StatusCode::OK),
        Err(unproven) => return Err(refused(&parts, unproven)),
    };
    let told = match press.choice {
        Choice::Open => return Ok(StatusCode::OK),
        Choice::Approve => answer(&parts, &buttons, &press, peer, Verdict::Yes).await,
        Choice::Deny => answer(&parts, &buttons, &press, peer, Verdict::No).await,
    };
    let Ok(permit) = TELLING.try_acquire() else {
        tracing::warn!(%channel, "a member of Slack is not told what became of a button: too many press now");
        return Ok(StatusCode::OK);
    };
    // Slack waits three seconds for us, and takes this for half an hour.
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(failure) = buttons.answer(&press, &told).await {
            tracing::warn!(%channel, "a member of Slack could not be told what became of a button: {failure}");
        }
    });
    Ok(StatusCode::OK)
}

fn proven(buttons: &Buttons, headers: &HeaderMap, body: &[u8]) -> Result<Press, Unproven> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    let timestamp = one("x-slack-request-timestamp");
    let at = buttons.signed(timestamp, one("x-slack-signature"), body)?;
    let form: Form = plain::read_form(body).ok_or(Unproven::Form)?;
    buttons.pressed(&form.payload, body, at)
}

fn refused(parts: &Parts, unproven: Unproven) -> Problem {
    let (status, code) = match unproven {
        Unproven::Unsigned | Unproven::Late | Unproven::Forged => (401, "unauthenticated"),
        Unproven::OtherTeam => (403, "denied"),
        Unproven::Form | Unproven::Replayed => (400, "bad_request"),
        Unproven::TooMany => (429, "rate_limited"),
    };
    let record = &parts.pipeline.parts().record;
    record.refused_before_authentication(code);
    Problem::new(status, code, unproven.to_string())
}

/// Vote, and what to tell whoever pressed.
async fn answer(
    parts: &Parts,
    buttons: &Buttons,
    press: &Press,
    peer: Peer,
    verdict: Verdict,
) -> Told {
    let asker = match asker(parts, buttons, press, peer) {
        Ok(asker) => asker,
        Err(told) => return told,
    };
    match vote(parts, &asker, press, verdict).await {
        Ok(told) => told,
        Err(problem) => {
            if problem.status >= 500 {
                buttons.forget(press);
            } else {
                // The channel's secret URL is no part of it: only what was pressed.
                let content = serde_json::json!({ "method": "POST", "path": "/slack", "approval": press.approval });
                refused::note(parts, &asker.who, (problem.status, &problem.code), content);
            }
            let more = if SIGN_IN_AGAIN.contains(&problem.code.as_str()) {
                elsewhere(parts, press)
            } else {
                String::new()
            };
            Told::Alone(format!("Not counted: {}.{more}", problem.detail))
        }
    }
}

/// Where the person can answer instead.
fn elsewhere(parts: &Parts, press: &Press) -> String {
    let page = parts.notifier.page(&press.approval);
    page.map_or_else(String::new, |page| {
        format!(" Sign in and answer there: {page}")
    })
}

/// The person whose account is the member's.
fn asker(parts: &Parts, buttons: &Buttons, press: &Press, peer: Peer) -> Result<Asker, Told> {
    let record = &parts.pipeline.parts().record;
    let Some(person) = buttons.people().get(&press.user) else {
        record.refused_before_authentication("unauthenticated");
        let text = "Not counted: the gateway does not know whose account yours is.";
        return Err(Told::Alone(format!("{text}{}", elsewhere(parts, press))));
    };
    let member = SlackMember {
        team: &press.team,
        user: &press.user,
        at: press.at,
    };
    let snapshot = parts.pipeline.snapshot();
    let who = snapshot
        .identity
        .stated(&person.issuer, &person.claims, member);
    let who = who.map_err(|rejection: Rejection| {
        record.refused_before_authentication(rejection.code());
        tracing::warn!(team = %press.team, user = %press.user, %rejection, "a button in Slack does not count");
        Told::Alone("Not counted: your account is not accepted now.".to_owned())
    })?;
    let facts = PersonFacts {
        at: parts.pipeline.parts().clock.now(),
        source: peer.ip(),
    };
    Ok(Asker::proven(Arc::new(who), facts))
}

async fn vote(
    parts: &Parts,
    asker: &Asker,
    press: &Press,
    verdict: Verdict,
) -> Result<Told, Problem> {
    let (_, view, function) = approvals::look(parts, asker, &press.approval).await?;
    let function_name = &view.head.function;
    if view.head.state.is_final() {
        return Ok(Told::Ended(format!(
            "{function_name}: {}.",
            view.head.state
        )));
    }
    let rules = view
        .rules
        .iter()
        .filter(|rule| !rule.open || verdict == Verdict::No);
    let mine = rules.filter(|rule| approvals::may_decide(asker, parts, rule, &function));
    let mut last = None;
    for rule in mine {
        let body = VoteBody {
            rule: rule.hash.clone(),
            verdict,
            reason: String::new(),
            digest: view.digest.clone(),
            grant: None,
        };
        let cast = approvals::cast(parts, asker, &press.approval, &body).await;
        match cast {
            Ok((state, _)) => last = Some(state),
            // What counted is told; what did not is still asked.
            Err(_) if last.is_some() => break,
            Err(problem) => return Err(problem),
        }
        if verdict == Verdict::No {
            break;
        }
    }
    let Some(state) = last else {
        let text = format!("Not counted: nothing about {function_name} is yours to answer now.");
        return Ok(Told::Alone(text));
    };
    Ok(told(asker, &view, state, verdict))
}

/// What became of a vote.
fn told(asker: &Asker, view: &ApprovalView, state: ApprovalState, verdict: Verdict) -> Told {
    let function = &view.head.function;
    let who = crate::approval::terminal_safe(&asker.who.key().to_string());
    match (state, verdict) {
        (ApprovalState::Pending, _) => {
            let text =
                format!("Your answer about {function} counts. More people or rules must agree.");
            Told::Alone(text)
        }
        (ApprovalState::Approved, Verdict::Yes) => {
            Told::Ended(format!("{function}: approved, at last by {who}."))
        }
        (ApprovalState::Denied, Verdict::No) => {
            Told::Ended(format!("{function}: denied by {who}."))
        }
        (state, _) => Told::Ended(format!("{function}: {state}.")),
    }
}
