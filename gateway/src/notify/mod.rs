//! Messages to people where they are: that a call waits for them, and where to look.
//!
//! **Owns** the channels (a file each, one interface) and their delivery from an outbox in the store: a
//! message is written there when its change is put on the audit record, and leaves only when it was
//! delivered. A channel that is down loses nothing: tries again with growing pauses, and what never
//! arrives stands in a list of dead messages. The question itself never depends on any of it.
//!
//! **Refuses** to carry content: a message names the function, the rules and the caller, and has a link
//! to the console, where a person signs in, sees the call, and decides. Nothing in it is an answer, so a
//! link preview or a stolen message decides nothing; a button, where the config asks for them, carries an
//! id, and counts by the vendor's signature over who pressed it. Text of strangers goes out as plain text
//! only.
//!
//! Called by `app` (enqueue, deliver) and `console` (dead messages, buttons).

mod config;
mod email;
mod message;
mod press;
mod slack;
mod teams;
mod webhook;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::approval::{self, ApprovalId, Approvals};
use crate::clock::{SharedClock, Timestamp};
use crate::store::{
    self, BROKE_GLASS, Change, DEAD_KEPT, Delivery, Outbox, REOPENED, Retry, State,
};

pub use config::{
    ChannelConfig, Config, EmailConfig, PostConfig, SlackButtonsConfig, SlackConfig, WebhookConfig,
};
pub use message::{Happened, Message};
pub use press::{Buttons, Choice, Press, SlackPerson, Told, Unproven};

/// Tries of one message before it is dead: with the pauses between them about a day and a half.
pub const ATTEMPTS_MAX: u32 = 40;
/// First pause after a failure; doubles with each, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_secs(2);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// How long one delivery may take.
pub const DELIVERY_MAX: Duration = Duration::from_secs(15);

/// Why a delivery failed. Never holds the channel's address: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may work later.
    #[error("{0}")]
    Later(String),
    /// The far side says that it never will.
    #[error("{0}; not tried again")]
    Never(String),
}

/// One way to people.
trait Channel: Send + Sync + fmt::Debug + 'static {
    /// Whether it tells this.
    fn tells(&self, happened: Happened) -> bool;

    /// Deliver one message. It may come twice: its id tells.
    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), Failure>>;
}

/// The channels of a gateway. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channels: BTreeMap<String, Box<dyn Channel>>,
    /// Of the channels that have them.
    buttons: BTreeMap<String, Arc<Buttons>>,
    outbox: Arc<dyn Outbox>,
    clock: SharedClock,
    /// The console as people reach it, without a slash at the end.
    link: Option<String>,
    written: Notify,
}

impl Notifier {
    /// The names of the channels, each to be delivered by a task of its own.
    pub fn names(&self) -> Vec<String> {
        self.0.channels.keys().cloned().collect()
    }

    /// The buttons of a channel, when it has any.
    pub fn buttons(&self, channel: &str) -> Option<Arc<Buttons>> {
        self.0.buttons.get(channel).map(Arc::clone)
    }

    /// The page where a person decides on an approval; `None` when nobody said where the console is.
    pub fn page(&self, approval: &str) -> Option<String> {
        let link = self.0.link.as_ref()?;
        Some(format!("{link}/approve/{approval}"))
    }

    /// Write the messages about a change. Repeated, it changes nothing.
    ///
    /// # Errors
    /// [`store::Error`]: the change must be handed in again.
    pub async fn enqueue(&self, change: &Change) -> Result<(), store::Error> {
        let Some(happened) = happened(change) else {
            return Ok(());
        };
        let telling = self.0.channels.iter().filter(|(_, c)| c.tells(happened));
        let deliveries: Vec<Delivery> = telling
            .map(|(name, _)| Delivery {
                id: format!("msg_{}_{}_{name}", change.approval, change.seq),
                channel: name.clone(),
                approval: change.approval.clone(),
                event: happened.as_str().to_owned(),
                created: change.at,
                attempts: 0,
                due: change.at,
                dead: None,
                failure: String::new(),
            })
            .collect();
        if !deliveries.is_empty() {
            self.0.outbox.enqueue(deliveries).await?;
            self.0.written.notify_waiters();
        }
        Ok(())
    }

    /// Wait until something was written, or for so long.
    pub async fn wait(&self, at_most: Duration) {
        let _ = tokio::time::timeout(at_most, self.0.written.notified()).await;
    }

    /// Deliver what is due on one channel; answers how many messages went out.
    ///
    /// # Errors
    /// [`store::Error`]; whatever was not marked is sent again.
    pub async fn deliver_due(
        &self,
        channel: &str,
        approvals: &Approvals,
    ) -> Result<usize, store::Error> {
        let Some(way) = self.0.channels.get(channel) else {
            return Ok(0);
        };
        let mut sent = 0;
        for delivery in self.0.outbox.due(channel, self.0.clock.now()).await? {
            let message = match self.message(&delivery, approvals).await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    // Decided, or forgotten, before anybody was told: there is nothing to say.
                    self.0.outbox.delivered(&delivery.id).await?;
                    continue;
                }
                Err(failure) => {
                    self.put_off(&delivery, &failure).await?;
                    continue;
                }
            };
            let outcome = tokio::time::timeout(DELIVERY_MAX, way.deliver(&message)).await;
            match outcome.unwrap_or_else(|_| Err(Failure::Later("no answer in time".to_owned()))) {
                Ok(()) => {
                    self.0.outbox.delivered(&delivery.id).await?;
                    sent += 1;
                }
                Err(failure) => self.put_off(&delivery, &failure).await?,
            }
        }
        Ok(sent)
    }

    async fn put_off(&self, delivery: &Delivery, failure: &Failure) -> Result<(), store::Error> {
        let now = self.0.clock.now();
        let attempts = delivery.attempts.saturating_add(1);
        let retry = match failure {
            Failure::Later(_) if attempts < ATTEMPTS_MAX => {
                Retry::At(now.plus(pause(attempts, &delivery.id)))
            }
            Failure::Later(_) | Failure::Never(_) => Retry::Never(now),
        };
        let text = failure.to_string();
        if let Retry::Never(_) = retry {
            tracing::error!(channel = %delivery.channel, approval.id = %delivery.approval, attempts, "a message could not be delivered and is not tried again: {text}");
        } else {
            tracing::warn!(channel = %delivery.channel, approval.id = %delivery.approval, attempts, "a message could not be delivered and is tried again: {text}");
        }
        self.0.outbox.failed(&delivery.id, retry, &text).await
    }

    /// What to say; `None` when there is nothing to say any more.
    async fn message(
        &self,
        delivery: &Delivery,
        approvals: &Approvals,
    ) -> Result<Option<Message>, Failure> {
        let foreign = || Failure::Never("this version cannot read the stored message".to_owned());
        let id: ApprovalId = delivery.approval.parse().map_err(|_| foreign())?;
        let happened = Happened::of(&delivery.event).ok_or_else(foreign)?;
        let view = match approvals.show(&id).await {
            Ok(view) => view,
            Err(error) => return unread(&error).map_or(Ok(None), Err),
        };
        if happened == Happened::Asked && view.head.state != State::Pending {
            return Ok(None);
        }
        let link = self.0.link.as_deref();
        Ok(Some(Message::new(delivery, happened, &view, link)))
    }

    /// The messages that nobody tries any more.
    ///
    /// # Errors
    /// [`store::Error`].
    pub async fn dead(&self) -> Result<Vec<Delivery>, store::Error> {
        self.0.outbox.dead().await
    }

    /// Try a dead message again; `false` when there is none such.
    ///
    /// # Errors
    /// [`store::Error`].
    pub async fn revive(&self, id: &str) -> Result<bool, store::Error> {
        let revived = self.0.outbox.revive(id, self.0.clock.now()).await?;
        self.0.written.notify_waiters();
        Ok(revived)
    }

    /// Take a dead message off the list; `false` when there is none such.
    ///
    /// # Errors
    /// [`store::Error`].
    pub async fn discard(&self, id: &str) -> Result<bool, store::Error> {
        self.0.outbox.discard(id).await
    }

    /// Forget what died a month ago.
    ///
    /// # Errors
    /// [`store::Error`].
    pub async fn sweep(&self) -> Result<u64, store::Error> {
        let kept = u64::try_from(DEAD_KEPT.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.clock.now().nanos().saturating_sub(kept);
        self.0
            .outbox
            .forget_dead(Timestamp::from_nanos(before))
            .await
    }
}

/// What it means for a message that its approval could not be read; `None`: the approval is forgotten,
/// so nobody needs to be told. Everything else may be mended, and people must hear of the question then.
fn unread(error: &approval::Error) -> Option<Failure> {
    match error {
        approval::Error::Unknown(_) => None,
        approval::Error::Tampered(_)
        | approval::Error::Closed { .. }
        | approval::Error::TooLarge(..)
        | approval::Error::Crypto
        | approval::Error::Store(_) => Some(Failure::Later(format!(
            "its approval could not be read: {error}"
        ))),
    }
}

/// What a change is to people; most are nothing to them.
fn happened(change: &Change) -> Option<Happened> {
    match change.state {
        State::Pending | State::Approved if change.cause == BROKE_GLASS => {
            Some(Happened::BrokeGlass)
        }
        State::Pending if change.cause == REOPENED || change.cause == "asked" => {
            Some(Happened::Asked)
        }
        State::Pending | State::Approved | State::Executing => None,
        State::Done
        | State::Failed
        | State::Indeterminate
        | State::Denied
        | State::Expired
        | State::Cancelled
        | State::Superseded => Some(Happened::Ended),
    }
}

/// The pause before the next try: doubling, and up to a quarter longer, by the message's id, so that
/// what failed together does not come back together.
fn pause(attempts: u32, id: &str) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let pause = PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX);
    let spread = id.bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    pause + pause.mul_f64(f64::from(spread % 256) / 1024.0)
}

#[cfg(test)]
mod tests;
