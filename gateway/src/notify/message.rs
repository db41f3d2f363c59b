//! What a message says: never what the call carries.

use serde_json::{Value, json};

use crate::approval::{ApprovalView, RuleView, terminal_safe};
use crate::store::{Delivery, State};

/// Longest text of one field, in characters; what is longer ends with a mark.
const TEXT_CHARACTERS_MAX: usize = 300;

/// What happened to an approval, as far as people are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// People are asked.
    Asked,
    /// Nobody needs to decide any more.
    Ended,
    /// Who asked broke the glass.
    BrokeGlass,
}

impl Happened {
    /// The word in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "approval.asked",
            Self::Ended => "approval.ended",
            Self::BrokeGlass => "approval.break-glass",
        }
    }

    /// The way back from [`Self::as_str`].
    pub fn of(word: &str) -> Option<Self> {
        [Self::Asked, Self::Ended, Self::BrokeGlass]
            .into_iter()
            .find(|happened| happened.as_str() == word)
    }

    /// Whether people are told of it wherever they are.
    pub(super) const fn is_for_people(self) -> bool {
        match self {
            Self::Asked | Self::BrokeGlass => true,
            Self::Ended => false,
        }
    }
}

/// One message. All its text is on one line, without a character that acts instead of showing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The same for every try.
    pub id: String,
    /// What happened.
    pub happened: Happened,
    /// When, RFC 3339.
    pub at: String,
    /// The approval.
    pub approval: String,
    /// Where it stands.
    pub state: State,
    /// The function, `connection/name`.
    pub function: String,
    /// Its effect group.
    pub effect: String,
    /// Who asks, `issuer/subject`.
    pub requester: String,
    /// Its kind.
    pub kind: &'static str,
    /// Who acts for it, outermost first.
    pub actors: Vec<String>,
    /// The rules that ask, each with its reason.
    pub rules: Vec<(String, String)>,
    /// Until when, RFC 3339.
    pub expires_at: String,
    /// The page where a person decides; absent when nobody said where the console is.
    pub link: Option<String>,
    /// Whether a yes needs a sign-in of a kind or an age.
    pub step_up: bool,
}

impl Message {
    pub(super) fn new(
        delivery: &Delivery,
        happened: Happened,
        view: &ApprovalView,
        link: Option<&str>,
    ) -> Self {
        let requester = &view.head.requester;
        let rules = view.rules.iter().map(|rule| {
            let reason = rule.reason.as_deref().unwrap_or("");
            (plain(&rule.id), plain(reason))
        });
        Self {
            id: delivery.id.clone(),
            happened,
            at: delivery.created.to_string(),
            approval: view.head.id.clone(),
            state: view.head.state,
            function: plain(&view.head.function),
            effect: plain(&view.head.effect),
            requester: plain(&format!("{}/{}", requester.issuer, requester.subject)),
            kind: requester.kind.as_str(),
            actors: requester.actors.iter().map(|actor| plain(actor)).collect(),
            rules: rules.collect(),
            expires_at: view.head.expires_at.clone(),
            link: link.map(|link| format!("{link}/approve/{}", view.head.id)),
            step_up: view.rules.iter().any(RuleView::needs_sign_in),
        }
    }

    /// One line for a subject or a preview.
    pub fn title(&self) -> String {
        match self.happened {
            Happened::Asked => format!("Approval needed: {}", self.function),
            Happened::Ended => format!("Approval {}: {}", self.state, self.function),
            Happened::BrokeGlass => format!("BREAK-GLASS by the caller: {}", self.function),
        }
    }

    /// What a person reads before opening the link, a line each. A channel may cut the end off: the
    /// deadline and the rules stand before the actors, which a caller can make many and long.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Function", format!("{} ({})", self.function, self.effect)),
            ("Asked by", format!("{} ({})", self.requester, self.kind)),
        ];
        match self.happened {
            Happened::Asked => lines.push(("Decide before", self.expires_at.clone())),
            Happened::Ended => lines.push(("State", self.state.to_string())),
            Happened::BrokeGlass => {
                let text = "the caller let this call through without you; a no still stops it until it runs";
                lines.push(("Break-glass", text.to_owned()));
                lines.push(("State", self.state.to_string()));
            }
        }
        for (rule, reason) in &self.rules {
            let text = if reason.is_empty() {
                rule.clone()
            } else {
                format!("{rule}: {reason}")
            };
            lines.push(("Rule", text));
        }
        for actor in &self.actors {
            lines.push(("Through", actor.clone()));
        }
        lines
    }

    /// As JSON, for programs.
    pub fn json(&self) -> Value {
        let rules = self.rules.iter();
        let rules: Vec<Value> = rules
            .map(|(id, reason)| json!({ "id": id, "reason": reason }))
            .collect();
        json!({
            "type": self.happened.as_str(),
            "timestamp": self.at,
            "data": {
                "approval": self.approval,
                "state": self.state.as_str(),
                "function": self.function,
                "effect": self.effect,
                "requester": { "name": self.requester, "kind": self.kind, "actors": self.actors },
                "rules": rules,
                "expires_at": self.expires_at,
                "link": self.link,
            },
        })
    }
}

/// A text on one line, with what acts made visible, and not too long.
fn plain(text: &str) -> String {
    let safe = terminal_safe(text);
    if safe.chars().count() <= TEXT_CHARACTERS_MAX {
        return safe;
    }
    let mut cut: String = safe.chars().take(TEXT_CHARACTERS_MAX).collect();
    cut.push_str(" … (cut)");
    cut
}
