//! Slack, by an incoming webhook: blocks of plain text, and a button that opens the console.
//!
//! Only `plain_text` is used, in which Slack reads neither mentions nor links nor markup.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::webhook::Post;
use super::{Channel, Failure, Happened, Message};

/// Longest header block, by Slack's limit.
const HEADER_CHARACTERS_MAX: usize = 150;

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
                .send(&[], Bytes::from(body(message).to_string()))
                .await
        }
        .boxed()
    }
}

/// A text object in which nothing is read as markup.
fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
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
        json!({ "type": "section", "text": plain(&lines.join("\n")) }),
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
