//! Slack, by an incoming webhook: blocks of plain text, and a button that opens the console.
//!
//! Only `plain_text` is used, in which Slack reads neither mentions nor links nor markup.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};

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
}

impl Channel for Slack {
    fn tells(&self, happened: Happened) -> bool {
        happened == Happened::Asked
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            self.post
                .send(&[], Bytes::from(body(message).to_string()), &NEVER)
                .await
        }
        .boxed()
    }
}

/// A text object in which nothing is read as markup.
fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// As much of a text as a section holds, with a mark where it was cut.
fn fitting(text: String) -> String {
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

/// The message in Slack's Block Kit.
pub(super) fn body(message: &Message) -> Value {
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
    if let Some(link) = &message.link {
        blocks.push(json!({ "type": "actions", "elements": [{
            "type": "button", "action_id": "open", "text": plain("Look and decide"), "url": link,
        }] }));
    }
    // `text` is the preview, where Slack reads markup: these three characters would begin it.
    let preview = title
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    json!({ "text": preview, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false, "blocks": blocks })
}
