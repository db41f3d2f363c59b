//! Microsoft Teams, by a workflow's webhook: an Adaptive Card with a button that opens the console.
//!
//! Text stands in text runs, in which Teams reads no markup.

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::webhook::Post;
use super::{Channel, Failure, Happened, Message};

/// One Teams channel.
#[derive(Debug)]
pub(super) struct Teams {
    pub(super) post: Post,
}

impl Channel for Teams {
    fn tells(&self, happened: Happened) -> bool {
        happened.is_for_people()
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            self.post
                .send(&[], Bytes::from(body(message).to_string()), &[])
                .await
        }
        .boxed()
    }
}

fn run(text: &str, weight: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "weight": weight })
}

/// The message as an Adaptive Card 1.4 in the envelope that a workflow takes.
pub(super) fn body(message: &Message) -> Value {
    let mut blocks = vec![json!({
        "type": "RichTextBlock", "inlines": [run(&message.title(), "Bolder")],
    })];
    for (name, text) in message.lines() {
        let name = format!("{name}: ");
        blocks.push(json!({
            "type": "RichTextBlock", "spacing": "Small",
            "inlines": [run(&name, "Lighter"), run(&text, "Default")],
        }));
    }
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard", "version": "1.4", "body": blocks,
    });
    if let Some(link) = &message.link {
        card["actions"] =
            json!([{ "type": "Action.OpenUrl", "title": "Look and decide", "url": link }]);
    }
    json!({ "type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": card,
    }] })
}
