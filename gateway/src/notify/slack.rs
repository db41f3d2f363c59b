//! Slack, by an incoming webhook: blocks of plain text, a button that opens the console and, where the
//! config asks for them, two that answer.
//!
//! Only `plain_text` is used, in which Slack reads neither mentions nor links nor markup.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};

use super::press::Choice;
use super::webhook::Post;
use super::{Channel, Failure, Happened, Message};

/// Longest header block, by Slack's limit.
const HEADER_CHARACTERS_MAX: usize = 150;
/// Longest text of the section, in UTF-16 units. Slack takes 3000 characters and refuses the whole post
/// with more; a character is at most two units, so this holds however Slack counts.
const SECTION_UNITS_MAX: usize = 2_900;
/// What stands at the end of a text that was cut.
const CUT: &str = "\n… (cut: open it to see all)";

/// Answers after which Slack never takes a post: it is malformed, or the channel is closed to it, or gone.
pub(super) const NEVER: [StatusCode; 3] = [
    StatusCode::BAD_REQUEST,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
];

/// One Slack channel.
#[derive(Debug)]
pub(super) struct Slack {
    pub(super) post: Post,
    pub(super) has_buttons: bool,
}

impl Channel for Slack {
    fn tells(&self, happened: Happened) -> bool {
        happened.is_for_people()
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let body = body(message, self.has_buttons).to_string();
            self.post.send(&[], Bytes::from(body), &NEVER).await
        }
        .boxed()
    }
}

/// A text object in which nothing is read as markup.
pub(super) fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// As much of a text as a section holds, with a mark where it was cut.
pub(super) fn fitting(text: String) -> String {
    let units = |text: &str| text.encode_utf16().count();
    if units(&text) <= SECTION_UNITS_MAX {
        return text;
    }
    let mut room = SECTION_UNITS_MAX.saturating_sub(units(CUT));
    let mut cut = String::with_capacity(text.len());
    for c in text.chars() {
        let Some(left) = room.checked_sub(c.len_utf16()) else {
            break;
        };
        room = left;
        cut.push(c);
    }
    cut.push_str(CUT);
    cut
}

/// A preview, where Slack reads markup: these three characters would begin it.
pub(super) fn preview(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The message in Slack's Block Kit.
pub(super) fn body(message: &Message, has_buttons: bool) -> Value {
    let title: String = message
        .title()
        .chars()
        .take(HEADER_CHARACTERS_MAX)
        .collect();
    let lines: Vec<String> = message
        .lines()
        .into_iter()
        .map(|(name, text)| format!("{name}: {text}"))
        .collect();
    let mut blocks = vec![
        json!({ "type": "header", "text": plain(&title) }),
        json!({ "type": "section", "text": plain(&fitting(lines.join("\n"))) }),
    ];
    let mut elements = Vec::new();
    if let Some(link) = &message.link {
        elements.push(json!({
            "type": "button", "action_id": Choice::Open.action(), "text": plain("Look and decide"), "url": link,
        }));
    }
    if has_buttons {
        elements.extend(answers(message));
    }
    if !elements.is_empty() {
        blocks.push(json!({ "type": "actions", "elements": elements }));
    }
    if has_buttons && message.step_up && message.happened == Happened::Asked {
        let text = "Approving this needs a sign-in: look and decide there.";
        blocks.push(json!({ "type": "context", "elements": [plain(text)] }));
    }
    let preview = preview(&title);
    json!({ "text": preview, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks })
}

/// The buttons that answer. They carry the approval's id; a yes that needs a sign-in, or that nobody asks for, has none.
fn answers(message: &Message) -> Vec<Value> {
    let button = |choice: Choice, text: &str, style: &str| {
        json!({ "type": "button", "action_id": choice.action(), "value": message.approval, "style": style,
            "text": plain(text) })
    };
    let mut answers = Vec::new();
    if !message.step_up && message.happened == Happened::Asked {
        let mut yes = button(Choice::Approve, "Approve", "primary");
        yes["confirm"] = json!({
            "title": plain("Approve without looking at the call?"),
            "text": plain("The message does not show what will be sent. Your answer counts, under your name."),
            "confirm": plain("Approve"), "deny": plain("Not yet"),
        });
        answers.push(yes);
    }
    answers.push(button(Choice::Deny, "Deny", "danger"));
    answers
}
