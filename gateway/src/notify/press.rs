//! Buttons of Slack messages: who pressed one, proven by Slack's signature, and as whom.
//!
//! A button carries the approval's id and nothing else. Slack's word says which of its members pressed;
//! who that is here stands in the config, never in a name or an address that the member could change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::webhook::Post;
use super::{DELIVERY_MAX, Failure};
use crate::clock::{SharedClock, Timestamp};
use crate::egress::{Egress, Target};
use crate::secret::Secret;

/// How far Slack's timestamp may be from our clock, by Slack's advice.
const WINDOW: Duration = Duration::from_secs(300);
/// Signatures that are remembered; within the window no workspace presses as often.
const SEEN_MAX: usize = 10_000;
/// Bytes of a signing secret; Slack's have 32 characters.
const SECRET_BYTES_MIN: usize = 16;
/// Most people of one channel.
const PEOPLE_MAX: usize = 1_000;
/// Longest id of Slack's.
const ID_BYTES_MAX: usize = 32;

/// An account of an issuer, as whom a member of the workspace answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackPerson {
    /// The issuer's alias.
    pub issuer: String,
    /// The account's claims, as the issuer's tokens have them: `sub`, the claim with its groups, the claim that
    /// names the person, and those by which the issuer's `kind` makes it a `human`.
    pub claims: BTreeMap<String, Value>,
}

/// What a member chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Yes.
    Approve,
    /// No.
    Deny,
    /// The link: nothing is decided by it.
    Open,
}

impl Choice {
    const ALL: [Self; 3] = [Self::Approve, Self::Deny, Self::Open];

    /// `action_id` of its button.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Open => "open",
        }
    }
}

/// A button that somebody pressed, as Slack signed it.
#[derive(Clone, Debug)]
pub struct Press {
    /// The workspace.
    pub team: String,
    /// The member.
    pub user: String,
    /// When Slack says that it was.
    pub at: Timestamp,
    /// Which button.
    pub choice: Choice,
    /// What the button carried: an approval's id.
    pub approval: String,
    /// Where Slack takes an answer for it.
    answer_to: Option<String>,
    seen: [u8; 32],
}

/// Why a request is not a press. Nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unproven {
    /// Without Slack's two headers, or with others than they can be.
    #[error("the request does not carry Slack's timestamp and `v0` signature")]
    Unsigned,
    /// Outside the window.
    #[error("the request's timestamp is more than five minutes from now")]
    Late,
    /// The signature is not of this body and secret.
    #[error("the signature is not that of this request under this channel's signing secret")]
    Forged,
    /// The same request was taken already.
    #[error("the same request was taken already")]
    Replayed,
    /// More than anybody presses.
    #[error("too many buttons are pressed now")]
    TooMany,
    /// It is no press of one of our buttons.
    #[error("the request is no press of one of the buttons that were sent")]
    Form,
    /// It comes from somewhere else.
    #[error("the button was pressed in, or by a member of, another workspace")]
    OtherTeam,
}

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    team: Team,
    user: User,
    actions: Vec<Action>,
    response_url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Team {
    id: String,
}

#[derive(Debug, Deserialize)]
struct User {
    id: String,
    team_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Action {
    action_id: String,
    value: Option<String>,
}

/// The buttons of one channel.
pub struct Buttons {
    key: hmac::Key,
    team: String,
    people: BTreeMap<String, SlackPerson>,
    egress: Egress,
    /// The incoming webhook: answers go to the same place, or to a public one.
    origin: Target,
    clock: SharedClock,
    /// Signatures of late, with the time until which they would count.
    seen: Mutex<HashMap<[u8; 32], Timestamp>>,
}

impl std::fmt::Debug for Buttons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buttons")
            .field("team", &self.team)
            .finish_non_exhaustive()
    }
}

impl Buttons {
    /// From settings; a fault names the field.
    pub(super) fn new(
        secret: &Secret<Vec<u8>>,
        team: &str,
        people: &BTreeMap<String, SlackPerson>,
        post: &Post,
        clock: &SharedClock,
    ) -> Result<Self, (&'static str, String)> {
        if secret.expose().len() < SECRET_BYTES_MIN {
            let text =
                "it is too short for a signing secret: Slack shows it under \"Basic Information\"";
            return Err(("signing_secret", text.to_owned()));
        }
        if !is_id(team, b"TE") {
            let text = format!("`{team}` is no workspace's id, such as `T0123ABCD`");
            return Err(("team", text));
        }
        if people.is_empty() || people.len() > PEOPLE_MAX {
            let text = format!("1 to {PEOPLE_MAX} members are needed: nobody else's button counts");
            return Err(("people", text));
        }
        if let Some(id) = people.keys().find(|id| !is_id(id, b"UW")) {
            let text = format!("`{id}` is no member's id, such as `U0123ABCD`: a profile shows it");
            return Err(("people", text));
        }
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()),
            team: team.to_owned(),
            people: people.clone(),
            egress: post.egress.clone(),
            origin: post.target.clone(),
            clock: std::sync::Arc::clone(clock),
            seen: Mutex::default(),
        })
    }

    /// The members who have an account here, with it.
    pub fn people(&self) -> &BTreeMap<String, SlackPerson> {
        &self.people
    }

    /// Whether Slack signed exactly these bytes of late; answers when it did.
    ///
    /// # Errors
    /// [`Unproven::Unsigned`], [`Unproven::Late`], [`Unproven::Forged`].
    pub fn signed(
        &self,
        timestamp: Option<&str>,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<Timestamp, Unproven> {
        let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
            return Err(Unproven::Unsigned);
        };
        if !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unproven::Unsigned);
        }
        let seconds: u64 = timestamp.parse().map_err(|_| Unproven::Unsigned)?;
        let mac = signature.strip_prefix("v0=").and_then(unhex);
        let mac = mac.ok_or(Unproven::Unsigned)?;
        let mut signed = format!("v0:{timestamp}:").into_bytes();
        signed.extend_from_slice(body);
        // Compares in constant time.
        hmac::verify(&self.key, &signed, &mac).map_err(|_| Unproven::Forged)?;
        let now = self.clock.now().secs();
        if now.abs_diff(seconds) > WINDOW.as_secs() {
            return Err(Unproven::Late);
        }
        Ok(Timestamp::from_secs(seconds))
    }

    /// What was pressed, by the payload of a request that [`Buttons::signed`] let pass. The same request
    /// counts once, also when it comes again at the same moment.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn pressed(&self, payload: &str, body: &[u8], at: Timestamp) -> Result<Press, Unproven> {
        let payload: Payload = serde_json::from_str(payload).map_err(|_| Unproven::Form)?;
        if payload.kind != "block_actions" {
            return Err(Unproven::Form);
        }
        let of_it = |team: &str| team == self.team;
        if !of_it(&payload.team.id) || payload.user.team_id.is_some_and(|team| !of_it(&team)) {
            return Err(Unproven::OtherTeam);
        }
        let [action] = payload.actions.as_slice() else {
            return Err(Unproven::Form);
        };
        let mut choices = Choice::ALL.into_iter();
        let choice = choices.find(|choice| choice.action() == action.action_id);
        let choice = choice.ok_or(Unproven::Form)?;
        let approval = match (choice, &action.value) {
            (_, Some(value)) => value.clone(),
            (Choice::Open, None) => String::new(),
            (Choice::Approve | Choice::Deny, None) => return Err(Unproven::Form),
        };
        let press = Press {
            team: payload.team.id,
            user: payload.user.id,
            at,
            choice,
            approval,
            answer_to: payload.response_url,
            seen: sha256(&[&at.secs().to_be_bytes(), body]),
        };
        self.once(&press)?;
        Ok(press)
    }

    fn once(&self, press: &Press) -> Result<(), Unproven> {
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, until| *until >= now);
        }
        if seen.contains_key(&press.seen) {
            return Err(Unproven::Replayed);
        }
        if seen.len() >= SEEN_MAX {
            return Err(Unproven::TooMany);
        }
        // Until the timestamp is too old, also when it lies ahead of our clock.
        seen.insert(press.seen, press.at.plus(WINDOW).plus(WINDOW));
        Ok(())
    }

    /// A press that led to nothing for a fault of ours may come again.
    pub fn forget(&self, press: &Press) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&press.seen);
    }

    /// Tell the channel, in place of the message, what became of it; or only who pressed.
    ///
    /// # Errors
    /// [`Failure`]: the vote stands all the same.
    pub async fn answer(&self, press: &Press, told: &Told) -> Result<(), Failure> {
        let Some(url) = &press.answer_to else {
            return Ok(());
        };
        let target = Target::from_data(url, &self.origin);
        let target = target.map_err(|error| Failure::Never(error.to_string()))?;
        let post = Post {
            egress: self.egress.clone(),
            target,
        };
        let body = Bytes::from(told.body().to_string());
        let sent = tokio::time::timeout(DELIVERY_MAX, post.send(&[], body, &[])).await;
        sent.unwrap_or_else(|_| Err(Failure::Later("no answer in time".to_owned())))
    }
}

/// What is said about a press.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// To all, in place of the message: nobody needs to press any more.
    Ended(String),
    /// To whoever pressed.
    Alone(String),
}

impl Told {
    fn body(&self) -> Value {
        let (Self::Ended(text) | Self::Alone(text)) = self;
        let blocks = json!([{ "type": "section", "text": super::slack::plain(&super::slack::fitting(text.clone())) }]);
        let preview = super::slack::preview(text);
        match self {
            Self::Ended(_) => {
                json!({ "replace_original": true, "text": preview, "blocks": blocks })
            }
            Self::Alone(_) => json!({
                "response_type": "ephemeral", "replace_original": false, "text": preview, "blocks": blocks,
            }),
        }
    }
}

/// A letter that says what kind of id it is, and capitals and digits.
fn is_id(text: &str, kinds: &[u8]) -> bool {
    let good = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    text.len() <= ID_BYTES_MAX
        && text.len() > 1
        && text.bytes().all(good)
        && text
            .bytes()
            .next()
            .is_some_and(|first| kinds.contains(&first))
}

/// 32 bytes as 64 hexadecimal digits in lower case, as Slack writes them.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = text.as_bytes();
    if bytes.len() != 64 {
        return None;
    }
    let mut out = [0; 32];
    for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *slot = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}
