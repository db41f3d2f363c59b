//! The channels' settings, checked and made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lettre::message::Mailbox;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::email::Email;
use super::press::{Buttons, SlackPerson};
use super::slack::Slack;
use super::teams::Teams;
use super::webhook::{Key, Post, Webhook};
use super::{Channel, Inner, Notifier};
use crate::clock::SharedClock;
use crate::egress::{Egress, Target};
use crate::secret::{Secret, SecretRef};
use crate::store::Outbox;

/// Most channels.
const CHANNELS_MAX: usize = 50;
/// Most recipients of one e-mail channel.
const RECIPIENTS_MAX: usize = 50;
/// Longest name of a channel.
const NAME_BYTES_MAX: usize = 64;

/// How people are told that calls wait for them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NotifyConfig")]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The console as people reach it, such as `https://callgate.example.com`: links in messages begin
    /// with it. Default: messages have no link and name the approval only.
    #[serde(default)]
    pub link: Option<String>,
    /// Where messages go, by a name of your own. Default: nowhere.
    #[serde(default)]
    pub channels: BTreeMap<String, ChannelConfig>,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelConfig {
    /// A program, told of every question and every end by Standard Webhooks.
    Webhook(WebhookConfig),
    /// A Slack channel, by an incoming webhook.
    Slack(SlackConfig),
    /// A Microsoft Teams channel, by a workflow's webhook.
    Teams(PostConfig),
    /// People's mailboxes.
    Email(EmailConfig),
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to: `https`, or `http` on loopback.
    pub url: String,
    /// What messages are signed with: `whsec_` and the base64 of 24 to 64 random bytes.
    pub secret: SecretRef,
}

/// A webhook whose address is the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostConfig {
    /// The whole URL, as the vendor shows it.
    pub url: SecretRef,
}

/// A Slack channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// The whole URL of the incoming webhook, as Slack shows it.
    pub url: SecretRef,
    /// Let people answer by buttons in the message. Default: messages have a link only.
    #[serde(default)]
    pub buttons: Option<SlackButtonsConfig>,
}

/// Who may answer by a button in Slack. Slack sends presses to `/slack/CHANNEL` of the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackButtonsConfig {
    /// The Slack app's signing secret.
    pub signing_secret: SecretRef,
    /// The workspace's id, such as `T0123ABCD`; presses in another one are refused.
    pub team: String,
    /// The members whose buttons count, by their ids (`U0123ABCD`), each with the account that is theirs. Whoever
    /// writes this has made sure that the member and the account are one person.
    pub people: BTreeMap<String, SlackPerson>,
}

/// A mail server and whom it writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    /// `smtps://host[:port]` (TLS from the first byte; port 465 by default), `smtp+starttls://host[:port]`
    /// (the server must go over to TLS before it is told anything; port 587 by default), or
    /// `smtp://host:port` on loopback.
    pub server: String,
    /// The sender's address, such as `Callgate <callgate@example.com>`.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// The user at the mail server. Default: no login.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password.
    #[serde(default)]
    pub password: Option<SecretRef>,
}

/// A fault: where in the settings, and what to do.
type Fault = (String, String);

/// The channels, and the buttons of those that have them.
type Made = (
    BTreeMap<String, Box<dyn Channel>>,
    BTreeMap<String, Arc<Buttons>>,
);

/// One channel, and its buttons.
type Way = (Box<dyn Channel>, Option<Arc<Buttons>>);

impl Notifier {
    /// Make the channels.
    ///
    /// # Errors
    /// Every fault, each with its place in the settings.
    pub fn open(
        config: &Config,
        base: &Path,
        egress: &Egress,
        clock: &SharedClock,
        outbox: Arc<dyn Outbox>,
    ) -> Result<Self, Vec<Fault>> {
        let (made, buttons) = config.channels(base, egress, clock)?;
        let link = config.link.as_deref();
        Ok(Self(Arc::new(Inner {
            channels: made,
            buttons,
            outbox,
            clock: Arc::clone(clock),
            link: link.map(|link| link.trim_end_matches('/').to_owned()),
            written: Notify::new(),
        })))
    }
}

impl Config {
    /// Every fault of the settings; empty when there is none.
    pub fn faults(&self, base: &Path, egress: &Egress, clock: &SharedClock) -> Vec<Fault> {
        self.channels(base, egress, clock).err().unwrap_or_default()
    }

    fn channels(
        &self,
        base: &Path,
        egress: &Egress,
        clock: &SharedClock,
    ) -> Result<Made, Vec<Fault>> {
        let mut faults = Vec::new();
        if let Some(link) = &self.link
            && let Err(error) = Target::from_config(link)
        {
            faults.push(("link".to_owned(), error.to_string()));
        }
        if self.channels.len() > CHANNELS_MAX {
            let text = format!("there are more than {CHANNELS_MAX}");
            faults.push(("channels".to_owned(), text));
        }
        let (mut made, mut buttons) = Made::default();
        for (name, settings) in &self.channels {
            let place = |field: &str| format!("channels.{name}{field}");
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if self.link.is_none() && settings.has_buttons() {
                let text = "it is missing beside a channel with buttons: not every rule can be answered by one";
                faults.push(("link".to_owned(), text.to_owned()));
            }
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(good) {
                let text = "a channel's name has letters, digits, `-` and `_`, at most 64";
                faults.push((place(""), text.to_owned()));
            }
            match settings.open(base, egress, clock) {
                Ok((channel, its)) => {
                    made.insert(name.clone(), channel);
                    buttons.extend(its.map(|its| (name.clone(), its)));
                }
                Err((field, text)) => faults.push((place(&format!(".{field}")), text)),
            }
        }
        if faults.is_empty() {
            Ok((made, buttons))
        } else {
            Err(faults)
        }
    }
}

impl ChannelConfig {
    fn has_buttons(&self) -> bool {
        matches!(self, Self::Slack(slack) if slack.buttons.is_some())
    }

    /// The accounts as whom members answer, by the members' ids.
    pub fn people(&self) -> impl Iterator<Item = (&String, &SlackPerson)> {
        let slack = match self {
            Self::Slack(slack) => slack.buttons.as_ref(),
            Self::Webhook(_) | Self::Teams(_) | Self::Email(_) => None,
        };
        slack.into_iter().flat_map(|buttons| &buttons.people)
    }

    fn open(
        &self,
        base: &Path,
        egress: &Egress,
        clock: &SharedClock,
    ) -> Result<Way, (&'static str, String)> {
        let channel: Box<dyn Channel> = match self {
            Self::Webhook(settings) => {
                let target = Target::from_config(&settings.url);
                let target = target.map_err(|error| ("webhook.url", error.to_string()))?;
                let secret = settings.secret.resolve(base);
                let secret = secret.map_err(|error| ("webhook.secret", error.to_string()))?;
                let key = Key::parse(&secret).map_err(|why| ("webhook.secret", why.to_owned()))?;
                Box::new(Webhook {
                    post: Post {
                        egress: egress.clone(),
                        target,
                    },
                    key,
                    clock: Arc::clone(clock),
                })
            }
            Self::Slack(settings) => {
                let post = post(&settings.url, base, egress).map_err(|why| ("slack.url", why))?;
                let buttons = settings.buttons.as_ref();
                let buttons = buttons.map(|buttons| buttons.open(base, &post, clock));
                let buttons = buttons.transpose()?;
                let has_buttons = buttons.is_some();
                return Ok((Box::new(Slack { post, has_buttons }), buttons));
            }
            Self::Teams(settings) => {
                let post = post(&settings.url, base, egress).map_err(|why| ("teams.url", why))?;
                Box::new(Teams { post })
            }
            Self::Email(settings) => Box::new(settings.open(base, egress)?),
        };
        Ok((channel, None))
    }
}

impl SlackButtonsConfig {
    fn open(
        &self,
        base: &Path,
        post: &Post,
        clock: &SharedClock,
    ) -> Result<Arc<Buttons>, (&'static str, String)> {
        let place = "slack.buttons.signing_secret";
        let secret = self.signing_secret.resolve(base);
        let secret = secret.map_err(|error| (place, error.to_string()))?;
        let made = Buttons::new(&secret, &self.team, &self.people, post, clock);
        let made = made.map_err(|(field, text)| match field {
            "team" => ("slack.buttons.team", text),
            "people" => ("slack.buttons.people", text),
            _ => (place, text),
        })?;
        Ok(Arc::new(made))
    }
}

/// Where to post. No text repeats the URL, which is the secret.
fn post(url: &SecretRef, base: &Path, egress: &Egress) -> Result<Post, String> {
    let secret = url.resolve(base).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(secret.expose());
    let target = text.ok().and_then(|url| Target::from_config(url).ok());
    let target = target.ok_or("what it refers to is no URL that can be called: https://…")?;
    Ok(Post {
        egress: egress.clone(),
        target,
    })
}

impl EmailConfig {
    fn open(&self, base: &Path, egress: &Egress) -> Result<Email, (&'static str, String)> {
        let server = Target::mail_from_config(&self.server);
        let server = server.map_err(|error| ("email.server", error.to_string()))?;
        let mailbox = |text: &str| -> Result<Mailbox, String> {
            let help =
                |_| format!("`{text}` is no address, such as `Callgate <callgate@example.com>`");
            text.parse().map_err(help)
        };
        if self.to.is_empty() || self.to.len() > RECIPIENTS_MAX {
            return Err((
                "email.to",
                format!("1 to {RECIPIENTS_MAX} addresses are needed"),
            ));
        }
        let to = self
            .to
            .iter()
            .map(|to| mailbox(to))
            .collect::<Result<_, _>>();
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => {
                let password = password.resolve(base);
                let password = password.map_err(|error| ("email.password", error.to_string()))?;
                let text = String::from_utf8(password.expose().clone());
                let text = text.map_err(|_| ("email.password", "it is no text".to_owned()))?;
                Some((user.clone(), Secret::new(text)))
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err(("email.password", "it is missing beside `user`".to_owned()));
            }
            (None, Some(_)) => {
                return Err(("email.user", "it is missing beside `password`".to_owned()));
            }
        };
        Ok(Email {
            egress: egress.clone(),
            server,
            from: mailbox(&self.from).map_err(|text| ("email.from", text))?,
            to: to.map_err(|text| ("email.to", text))?,
            login,
        })
    }
}
