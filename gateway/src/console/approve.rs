//! Deciding without a script, for a phone and for whoever follows a link: everything that will be sent,
//! to its last byte, and two buttons.
//!
//! Looking never decides. A decision is a form that only our own page can have sent, for exactly the
//! call that it showed. Text of callers is shown, never markup; what acts instead of showing is made
//! visible.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::Parts;
use super::api::{Problem, Visitor};
use super::approvals::{self, VoteBody};
use super::plain::{self, Html, escape, escape_lines};
use super::refused::Code;
use crate::approval::{ApprovalHead, ApprovalView, RuleView, Verdict, VoteView};
use crate::call::FunctionId;
use crate::store::{Filter, State as ApprovalState};

/// Approvals on the list.
const LIST_MAX: u32 = 100;

pub(super) fn routes() -> Router<Arc<Parts>> {
    Router::new()
        .route("/approve", get(list))
        .route("/approve/{id}", get(show).post(decide))
}

type Entered = Result<Visitor, Problem>;

/// The visitor, or the way to become one.
fn entered(visitor: Entered, next: &str) -> Result<Visitor, Box<Response>> {
    visitor.map_err(|problem| {
        if problem.status == 401 {
            let to = format!("/login?next={}", plain::query(next));
            return Box::new(Redirect::to(&to).into_response());
        }
        Box::new(told(&problem, None))
    })
}

async fn list(State(parts): State<Arc<Parts>>, visitor: Entered) -> Response {
    let visitor = match entered(visitor, "/approve") {
        Ok(visitor) => visitor,
        Err(response) => return *response,
    };
    let filter = Filter {
        states: vec![ApprovalState::Pending],
        limit: LIST_MAX,
        ..Filter::default()
    };
    let found = match parts.pipeline.parts().approvals.list(filter).await {
        Ok(found) => found,
        Err(error) => return told(&Problem::internal(&error), None),
    };
    let mut cards = String::new();
    for one in found {
        if approvals::is_seen(&parts, &visitor.asker, &one).await {
            cards.push_str(&card(&one.head));
        }
    }
    if cards.is_empty() {
        cards = "<p class=\"soft\">Nothing waits for you. Calls that need your decision appear here; load the page \
                 again to look.</p>"
            .to_owned();
    }
    let body = format!("<h1>Waiting for a decision</h1>{cards}{}", who(&visitor));
    Html::new(StatusCode::OK, "Waiting for a decision", &body).into_response()
}

fn card(head: &ApprovalHead) -> String {
    format!(
        "<div class=\"card\"><a href=\"/approve/{}\"><strong>{}</strong> <span class=\"mark\">{}</span><br>\
         <span class=\"soft\">asked by {}/{} at {}, until {}</span></a></div>",
        escape(&head.id),
        escape(&head.function),
        escape(&head.effect),
        escape(&head.requester.issuer),
        escape(&head.requester.subject),
        escape(&head.asked_at),
        escape(&head.expires_at),
    )
}

async fn show(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    visitor: Entered,
) -> Response {
    let visitor = match entered(visitor, &format!("/approve/{id}")) {
        Ok(visitor) => visitor,
        Err(response) => return *response,
    };
    match approvals::look(&parts, &visitor.asker, &id).await {
        Ok((_, view, function)) => {
            match approvals::seen(&parts, &visitor.asker, &view, &function).await {
                Ok(()) => page(&parts, &visitor, &view, &function),
                Err(problem) => told(&problem, Some("/approve")),
            }
        }
        Err(problem) => told(&problem, Some("/approve")),
    }
}

fn page(parts: &Parts, visitor: &Visitor, view: &ApprovalView, function: &FunctionId) -> Response {
    let head = &view.head;
    let requester = &head.requester;
    let actors = if requester.actors.is_empty() {
        String::new()
    } else {
        let actors = escape(&requester.actors.join(", "));
        format!("<dt>acted for by</dt><dd>{actors}</dd>")
    };
    let facts = format!(
        "<dl><dt>asked by</dt><dd><strong>{}/{}</strong> ({})</dd>{actors}<dt>function</dt><dd>{}</dd>\
         <dt>effect</dt><dd class=\"mark\">{}</dd><dt>state</dt><dd>{}</dd><dt>asked at</dt><dd>{}</dd>\
         <dt>until</dt><dd>{}</dd></dl>",
        escape(&requester.issuer),
        escape(&requester.subject),
        escape(requester.kind.as_str()),
        escape(&head.function),
        escape(&head.effect),
        escape(head.state.as_str()),
        escape(&head.asked_at),
        escape(&head.expires_at),
    );
    let content = match &view.summary {
        Some(summary) => exact(summary),
        None => "<p class=\"soft\">The call has ended; its content is in the audit record.</p>"
            .to_owned(),
    };
    let rules: String = view
        .rules
        .iter()
        .map(|rule| {
            let decides = approvals::may_decide(&visitor.asker, parts, rule, function);
            let left = decides.then(|| left(visitor, view, rule)).flatten();
            rule_part(visitor, view, rule, left)
        })
        .collect();
    let body = format!(
        "<p><a href=\"/approve\">All that wait</a></p><h1>{}</h1>{facts}{content}{rules}{}",
        escape(&head.function),
        who(visitor)
    );
    Html::new(StatusCode::OK, &head.function, &body).into_response()
}

/// What will be sent, whole.
fn exact(summary: &Value) -> String {
    let text = |pointer: &str| {
        summary
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let line = format!("{} {}", text("/request/method"), text("/request/target"));
    let mut html = format!("<h2>What will be sent</h2><pre>{}</pre>", escape(&line));
    match summary.get("body") {
        None | Some(Value::Null) => html.push_str("<p class=\"soft\">Without a body.</p>"),
        Some(body) => {
            let (what, shown) = match (body.get("text"), body.get("hex")) {
                (Some(Value::String(text)), _) => (format!("{} bytes", text.len()), text.clone()),
                (_, Some(Value::String(hex))) => (
                    format!("{} bytes that are no text, hexadecimal", hex.len() / 2),
                    hex.clone(),
                ),
                _ => ("as JSON".to_owned(), pretty(body)),
            };
            html.push_str(&format!(
                "<h2>Body, {what}, whole</h2><pre>{}</pre>",
                escape_lines(&shown)
            ));
        }
    }
    if let Some(Value::Array(headers)) = summary.pointer("/request/headers") {
        let lines: Vec<_> = headers.iter().map(header_line).collect();
        html.push_str(&format!("<h2>Headers</h2><pre>{}</pre>", lines.join("\n")));
    }
    html
}

fn header_line(header: &Value) -> String {
    let part = |index: usize| {
        header
            .get(index)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    format!("{}: {}", escape(part(0)), escape(part(1)))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// What whoever may decide can still say to a rule.
#[derive(Clone, Copy)]
enum Left {
    Both,
    /// It is opened already; until the call is begun a no still ends it.
    No,
}

fn left(visitor: &Visitor, view: &ApprovalView, rule: &RuleView) -> Option<Left> {
    let key = visitor.asker.who.key();
    let is_theirs = |vote: &VoteView| vote.issuer == key.issuer && vote.subject == key.subject;
    let mut votes = rule.votes.iter();
    if votes.any(|vote| vote.voided_at.is_none() && is_theirs(vote)) {
        return None;
    }
    match view.head.state {
        ApprovalState::Pending if !rule.open => Some(Left::Both),
        ApprovalState::Pending | ApprovalState::Approved => Some(Left::No),
        ApprovalState::Executing
        | ApprovalState::Done
        | ApprovalState::Failed
        | ApprovalState::Indeterminate
        | ApprovalState::Denied
        | ApprovalState::Expired
        | ApprovalState::Cancelled
        | ApprovalState::Superseded => None,
    }
}

fn rule_part(
    visitor: &Visitor,
    view: &ApprovalView,
    rule: &RuleView,
    left: Option<Left>,
) -> String {
    let reason = rule.reason.as_ref().map_or_else(String::new, |reason| {
        format!("<p><strong>{}</strong></p>", escape(reason))
    });
    let votes: String = rule
        .votes
        .iter()
        .map(|vote| {
            let verdict = match vote.verdict {
                Verdict::Yes => "yes",
                Verdict::No => "no",
                Verdict::BreakGlass => "break-glass",
            };
            let voided = if vote.voided_at.is_some() {
                " (void)"
            } else {
                ""
            };
            format!(
                "<p>{}/{} said <strong>{verdict}</strong>{voided} at {}: {}</p>",
                escape(&vote.issuer),
                escape(&vote.subject),
                escape(&vote.at),
                escape(&vote.reason)
            )
        })
        .collect();
    let open = if rule.open { ", opened" } else { "" };
    let form = left.map_or_else(String::new, |left| form(visitor, view, rule, left));
    format!(
        "<section><h2>Rule {}{open}</h2>{reason}{votes}{form}</section>",
        escape(&rule.id)
    )
}

fn form(visitor: &Visitor, view: &ApprovalView, rule: &RuleView, left: Left) -> String {
    let yes = match left {
        Left::Both => "<button name=\"verdict\" value=\"yes\">Approve this call</button>",
        Left::No => "",
    };
    let id = escape(&view.head.id);
    let field = |name: &str, value: &str| {
        format!(
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">",
            escape(value)
        )
    };
    let area = format!("reason-{}", escape(&rule.hash));
    format!(
        "<form method=\"post\" action=\"/approve/{id}\">{}{}{}<label for=\"{area}\">Why (for the record; on a no the \
         caller reads it)</label><textarea id=\"{area}\" name=\"reason\" rows=\"3\" maxlength=\"2000\"></textarea>\
         <div class=\"row\">{yes}<button class=\"no\" name=\"verdict\" value=\"no\">Deny it</button></div></form>",
        field("csrf", &visitor.session.csrf),
        field("rule", &rule.hash),
        field("digest", &view.digest),
    )
}

#[derive(Debug, Deserialize)]
struct Decision {
    csrf: String,
    rule: String,
    digest: String,
    verdict: Verdict,
    #[serde(default)]
    reason: String,
}

async fn decide(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    visitor: Entered,
    body: Bytes,
) -> Response {
    // A form cannot be led to the issuer by redirects: browsers hold each hop to the page's own policy.
    let visitor = match visitor {
        Ok(visitor) => visitor,
        Err(problem) if problem.status == 401 => {
            let back = format!("/approve/{id}");
            return plain::sign_in_first("Nothing was decided.", &back).into_response();
        }
        Err(problem) => return told(&problem, None),
    };
    let Some(decision) = plain::read_form::<Decision>(&body) else {
        let problem = Problem::new(
            400,
            "bad_request",
            "the form is not whole: nothing was decided",
        );
        return told(&problem, Some("/approve"));
    };
    if !visitor.session.is_shown(&decision.csrf) {
        let text = "this form is not of your session: nothing was decided; load the page again";
        return told(&Problem::new(403, "denied", text), Some("/approve"));
    }
    let vote = VoteBody {
        rule: decision.rule,
        verdict: decision.verdict,
        reason: decision.reason.replace("\r\n", "\n"),
        digest: decision.digest,
        grant: None,
    };
    match approvals::cast(&parts, &visitor.asker, &id, &vote).await {
        Ok(_) => Redirect::to(&format!("/approve/{}", plain::query(&id))).into_response(),
        Err(problem) if approvals::SIGN_IN_AGAIN.contains(&problem.code.as_str()) => {
            sign_in_again(&parts, &visitor, &id, &vote.rule, &problem).await
        }
        Err(problem) => told(&problem, Some(&format!("/approve/{}", plain::query(&id)))),
    }
}

/// The way to a sign-in that is enough for the rule, and back to the approval.
async fn sign_in_again(
    parts: &Parts,
    visitor: &Visitor,
    id: &str,
    rule: &str,
    problem: &Problem,
) -> Response {
    let next = plain::query(&format!("/approve/{id}"));
    let mut to = format!("/login?fresh=1&amp;next={next}");
    if let Ok((_, view, _)) = approvals::look(parts, &visitor.asker, id).await
        && let Some(rule) = view.rules.iter().find(|one| one.hash == rule)
    {
        if !rule.acr.is_empty() {
            to.push_str(&format!("&amp;acr={}", plain::query(&rule.acr.join(" "))));
        }
        if let Some(age) = rule.max_age_s {
            to.push_str(&format!("&amp;max_age={age}"));
        }
    }
    let body = format!(
        "<h1>Sign in again to decide</h1><p>Nothing was decided: {}.</p>\
         <p><a class=\"button\" href=\"{to}\">Sign in again for this</a></p>",
        escape(&problem.detail)
    );
    Html::new(StatusCode::FORBIDDEN, "Sign in again", &body).into_response()
}

/// A problem as a page.
fn told(problem: &Problem, back: Option<&str>) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let back = back.map_or_else(String::new, |back| {
        format!(
            "<p><a class=\"button\" href=\"{}\">Back</a></p>",
            escape(back)
        )
    });
    let body = format!(
        "<h1>This did not work</h1><p class=\"bad\">{}</p>{back}",
        escape(&problem.detail)
    );
    let mut response = Html::new(status, "This did not work", &body).into_response();
    response.extensions_mut().insert(Code(problem.code.clone()));
    response
}

fn who(visitor: &Visitor) -> String {
    format!(
        "<form method=\"post\" action=\"/logout\"><p class=\"soft\">Signed in as {}. \
         <input type=\"hidden\" name=\"csrf\" value=\"{}\"><button>Sign out</button></p></form>",
        escape(&visitor.asker.who.key().to_string()),
        escape(&visitor.session.csrf)
    )
}
