//! One policy with its annotations: who it is, and whether people can open it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;

use crate::clock::Timestamp;

use super::decision::{BreakGlass, GrantTerms, GroupExpr, RuleHash, RuleTerms, StepUp};
use super::fault::Place;

/// How long people have to decide when the rule does not say.
pub const DECIDE_WITHIN_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// Longest time to decide.
pub const DECIDE_WITHIN_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Most later calls that one grant may open.
pub const GRANT_USES_MAX: u32 = 1_000;
/// Longest time that a grant may last.
pub const GRANT_WITHIN_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Longest time within which a call must run that somebody let through by breaking the glass.
const BREAK_GLASS_MAX: Duration = Duration::from_secs(15 * 60);
/// Largest quorum.
pub const QUORUM_MAX: u32 = 20;
/// Longest `@id`, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Longest `@reason`, in bytes.
const REASON_BYTES_MAX: usize = 1024;
/// Most groups that one `@approval` or `@break_glass` names.
const APPROVAL_GROUPS_MAX: usize = 32;
/// Most days that a policy may be a shadow from now on; `check` says so.
pub const SHADOW_DAYS_MAX: u64 = 366;
/// Longest `@acr`, in bytes.
const ACR_BYTES_MAX: usize = 1024;
/// Longest `@max_age`: no vote counts on an older sign-in anyway.
const MAX_AGE_MAX: Duration = Duration::from_secs(600);

/// The annotations that a policy may carry.
pub(super) const ANNOTATIONS: [&str; 12] = [
    "id",
    "approval",
    "quorum",
    "decide_within",
    "reason",
    "acr",
    "max_age",
    "grant_uses",
    "grant_within",
    "break_glass",
    "break_glass_within",
    "shadow",
];

/// What a policy does when it matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RuleEffect {
    /// Allows.
    Permit,
    /// Refuses; with `@approval` until people open it.
    Forbid,
}

impl RuleEffect {
    /// The word in Cedar.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        }
    }
}

/// One loaded policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its `@id`.
    pub id: String,
    /// Its identity: a hash of its text and annotations, so that layout and comments do not count.
    pub hash: RuleHash,
    /// What it does.
    pub effect: RuleEffect,
    /// All its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where it stands.
    pub place: Place,
    /// Its text as it stands there, for people.
    pub text: String,
    /// Who can open it, when it is an approval rule.
    pub terms: Option<RuleTerms>,
    /// When it is a shadow: it is evaluated and recorded until then, and never enforced, also not
    /// when that time is over.
    pub shadow: Option<Timestamp>,
}

impl Rule {
    /// Whether it is a shadow whose time is not over.
    pub fn shadows(&self, at: Timestamp) -> bool {
        self.shadow.is_some_and(|until| at < until)
    }
}

/// How a shadow policy stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShadowStands {
    /// It is watched.
    Watched,
    /// Its time is over: neither watched nor enforced.
    Over,
    /// It is watched, for longer than [`SHADOW_DAYS_MAX`] days.
    TooLong,
}

/// A shadow policy, and how it stands at some time.
#[derive(Clone, Copy, Debug)]
pub struct Shadow<'p> {
    /// The policy.
    pub rule: &'p Rule,
    /// How it stands.
    pub stands: ShadowStands,
}

impl<'p> Shadow<'p> {
    /// `None` when the policy is none.
    pub(super) fn of(rule: &'p Rule, now: Timestamp) -> Option<Self> {
        let until = rule.shadow?;
        let longest = now.plus(Duration::from_secs(SHADOW_DAYS_MAX * 24 * 3600));
        let stands = if until <= now {
            ShadowStands::Over
        } else if until > longest {
            ShadowStands::TooLong
        } else {
            ShadowStands::Watched
        };
        Some(Self { rule, stands })
    }
}

impl fmt::Display for Shadow<'_> {
    /// For operators: which one, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.rule;
        let until = rule.annotations.get("shadow").map_or("", String::as_str);
        write!(
            f,
            "{}: policy `{}` is a shadow {until}",
            rule.place, rule.id
        )?;
        match self.stands {
            ShadowStands::Watched => f.write_str(": watched, not enforced"),
            ShadowStands::Over => f.write_str(
                ", which is over: it is neither enforced nor watched; remove `@shadow` to enforce it, \
                 give it another date, or remove the policy",
            ),
            ShadowStands::TooLong => write!(
                f,
                ", which is more than {SHADOW_DAYS_MAX} days from now: choose a date by which you will \
                 have decided"
            ),
        }
    }
}

/// The identity of a policy: `normal` is its text as Cedar writes it, annotations included.
pub(super) fn hash(normal: &str) -> RuleHash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"callgate-rule/1\n");
    context.update(normal.as_bytes());
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    RuleHash(hash)
}

/// What is wrong with an annotation, and how to mend it.
pub(super) type Mistake = (String, String);

/// Read a policy's annotations. Every mistake is told.
pub(super) fn read(
    annotations: BTreeMap<String, String>,
    effect: RuleEffect,
    hash: RuleHash,
    (place, text): (Place, String),
    issuers: &BTreeSet<String>,
) -> Result<Rule, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    for name in annotations.keys() {
        if !ANNOTATIONS.contains(&name.as_str()) {
            let help = format!("policies carry @{}", ANNOTATIONS.join(", @"));
            mistakes.push((format!("unknown annotation `@{name}`"), help));
        }
    }
    let id = id(annotations.get("id"), &mut mistakes);
    let terms = match annotations.get("approval") {
        Some(who) => terms(&id, hash, who, &annotations, issuers, &mut mistakes),
        None => {
            for name in [
                "quorum",
                "decide_within",
                "reason",
                "acr",
                "max_age",
                "grant_uses",
                "grant_within",
                "break_glass",
                "break_glass_within",
            ] {
                if annotations.contains_key(name) {
                    let help = "add @approval(\"alias/group\"), or remove it".to_owned();
                    mistakes.push((format!("`@{name}` without `@approval`"), help));
                }
            }
            None
        }
    };
    if annotations.contains_key("approval") && effect == RuleEffect::Permit {
        mistakes.push((
            "`@approval` on a permit, which would not hold any call".to_owned(),
            "an approval rule is a `forbid` with `@approval`; another permit must allow the call"
                .to_owned(),
        ));
    }
    let shadow = annotations.get("shadow").and_then(|text| {
        let until = shadow(text);
        until.map_err(|mistake| mistakes.push(mistake)).ok()
    });
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(Rule {
        id,
        hash,
        effect,
        annotations,
        place,
        text,
        terms,
        shadow,
    })
}

fn id(given: Option<&String>, mistakes: &mut Vec<Mistake>) -> String {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let Some(id) = given else {
        mistakes.push((
            "policy without `@id`".to_owned(),
            "write @id(\"a-name\") above it; the record names it".to_owned(),
        ));
        return String::new();
    };
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.chars().all(good) {
        mistakes.push((
            format!("`@id` is `{id}`"),
            format!(
                "use letters, digits, `.`, `_`, `-` and `/`, at most {ID_BYTES_MAX} characters"
            ),
        ));
    }
    id.clone()
}

fn terms(
    id: &str,
    hash: RuleHash,
    who: &str,
    annotations: &BTreeMap<String, String>,
    issuers: &BTreeSet<String>,
    mistakes: &mut Vec<Mistake>,
) -> Option<RuleTerms> {
    let who = group_expr("approval", who, issuers)
        .map_err(|mistake| mistakes.push(mistake))
        .ok();
    let quorum = match annotations.get("quorum") {
        None => Some(1),
        Some(text) => quorum(text).map_err(|mistake| mistakes.push(mistake)).ok(),
    };
    let decide_within = match annotations.get("decide_within") {
        None => Some(DECIDE_WITHIN_DEFAULT),
        Some(text) => duration("decide_within", text, DECIDE_WITHIN_MAX)
            .map_err(|mistake| mistakes.push(mistake))
            .ok(),
    };
    let step_up = step_up(annotations, mistakes);
    let grant = grant(annotations, &step_up, mistakes);
    let break_glass = break_glass(annotations, &step_up, issuers, mistakes);
    let reason = annotations.get("reason").cloned();
    if reason.as_ref().is_some_and(|r| r.len() > REASON_BYTES_MAX) {
        let help = format!("at most {REASON_BYTES_MAX} bytes");
        mistakes.push(("`@reason` is too long".to_owned(), help));
    }
    Some(RuleTerms {
        id: id.to_owned(),
        hash,
        who: who?,
        quorum: quorum?,
        decide_within: decide_within?,
        reason,
        step_up,
        grant,
        break_glass,
    })
}

/// Who may let a call of their own through: with a second factor only, and not for long.
fn break_glass(
    annotations: &BTreeMap<String, String>,
    step_up: &StepUp,
    issuers: &BTreeSet<String>,
    mistakes: &mut Vec<Mistake>,
) -> Option<BreakGlass> {
    let within = annotations.get("break_glass_within");
    let Some(who) = annotations.get("break_glass") else {
        if within.is_some() {
            let help = "say who may, such as @break_glass(\"alias/group\"), or remove it";
            let text = "`@break_glass_within` without `@break_glass`";
            mistakes.push((text.to_owned(), help.to_owned()));
        }
        return None;
    };
    if step_up.acr.is_empty() {
        mistakes.push((
            "`@break_glass` without `@acr`".to_owned(),
            "who lets their own call through has signed in with a second factor: name the `acr` values of \
             such a sign-in, such as @acr(\"mfa\")"
                .to_owned(),
        ));
    }
    let within = match within {
        None => Ok(BREAK_GLASS_MAX),
        Some(text) => duration("break_glass_within", text, BREAK_GLASS_MAX),
    };
    let within = within.map_err(|mistake| mistakes.push(mistake)).ok();
    let who = group_expr("break_glass", who, issuers);
    let who = who.map_err(|mistake| mistakes.push(mistake)).ok();
    Some(BreakGlass {
        who: who?,
        within: within?,
    })
}

/// Both or neither: a grant without an end, in calls or in time, is a permit that nobody wrote.
fn grant(
    annotations: &BTreeMap<String, String>,
    step_up: &StepUp,
    mistakes: &mut Vec<Mistake>,
) -> Option<GrantTerms> {
    let (uses, within) = match (
        annotations.get("grant_uses"),
        annotations.get("grant_within"),
    ) {
        (None, None) => return None,
        (Some(uses), Some(within)) => (uses, within),
        (Some(_), None) | (None, Some(_)) => {
            mistakes.push((
                "one of `@grant_uses` and `@grant_within` without the other".to_owned(),
                "say how many calls and how long, such as @grant_uses(\"20\") @grant_within(\"8h\")"
                    .to_owned(),
            ));
            return None;
        }
    };
    if !step_up.is_none() {
        mistakes.push((
            "`@grant_uses` beside `@acr` or `@max_age`".to_owned(),
            "a rule that asks for a stronger or fresher sign-in asks for a person each time: remove one"
                .to_owned(),
        ));
    }
    let uses = match uses.parse() {
        Ok(uses @ 1..=GRANT_USES_MAX) if !annotations["grant_uses"].starts_with('+') => Some(uses),
        Ok(_) | Err(_) => {
            mistakes.push((
                format!("`@grant_uses` is `{uses}`"),
                format!("a whole number from 1 to {GRANT_USES_MAX}, such as @grant_uses(\"20\")"),
            ));
            None
        }
    };
    let within = duration("grant_within", within, GRANT_WITHIN_MAX)
        .map_err(|mistake| mistakes.push(mistake))
        .ok();
    Some(GrantTerms {
        uses: uses?,
        within: within?,
    })
}

fn step_up(annotations: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) -> StepUp {
    let acr: Vec<String> = annotations
        .get("acr")
        .map(|text| text.split_ascii_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    if let Some(text) = annotations.get("acr")
        && (acr.is_empty() || text.len() > ACR_BYTES_MAX)
    {
        let help = "the values that your identity provider puts into `acr`, with spaces between \
                    them; one of them is enough, such as @acr(\"phr phrh\")";
        mistakes.push((format!("`@acr` is `{text}`"), help.to_owned()));
    }
    let max_age = annotations.get("max_age").and_then(|text| {
        duration("max_age", text, MAX_AGE_MAX)
            .map_err(|mistake| mistakes.push(mistake))
            .ok()
    });
    StepUp { acr, max_age }
}

/// `until 2026-12-31`: that day (UTC) is the last one.
fn shadow(text: &str) -> Result<Timestamp, Mistake> {
    let mistake = || {
        (
            format!("`@shadow` is `{text}`"),
            "say until when it is only watched, such as @shadow(\"until 2026-12-31\")".to_owned(),
        )
    };
    let day = text.strip_prefix("until ");
    day.and_then(Timestamp::end_of_day).ok_or_else(mistake)
}

fn quorum(text: &str) -> Result<u32, Mistake> {
    match text.parse() {
        Ok(quorum @ 1..=QUORUM_MAX) if !text.starts_with('+') => Ok(quorum),
        Ok(_) | Err(_) => Err((
            format!("`@quorum` is `{text}`"),
            format!("a whole number from 1 to {QUORUM_MAX}, such as @quorum(\"2\")"),
        )),
    }
}

fn duration(name: &str, text: &str, max: Duration) -> Result<Duration, Mistake> {
    let mistake = || {
        let most = match max.as_secs() {
            days if days % 86_400 == 0 => format!("{}d", days / 86_400),
            minutes => format!("{}m", minutes / 60),
        };
        (
            format!("`@{name}` is `{text}`"),
            format!("a whole number with s, m, h or d, at most {most}, such as @{name}(\"5m\")"),
        )
    };
    let (unit, secs) = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))
        .ok_or_else(mistake)?;
    let number = text.strip_suffix(unit).ok_or_else(mistake)?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(mistake());
    }
    let number: u64 = number.parse().map_err(|_| mistake())?;
    let duration = Duration::from_secs(number.checked_mul(secs).ok_or_else(mistake)?);
    if duration.is_zero() || duration > max {
        return Err(mistake());
    }
    Ok(duration)
}

/// `alias/group and alias/group or alias/group`; `and` binds closer; names with spaces in `'…'`.
fn group_expr(name: &str, text: &str, issuers: &BTreeSet<String>) -> Result<GroupExpr, Mistake> {
    let mistake = |what: String| {
        (
            format!("`@{name}` is `{text}`: {what}"),
            "groups `alias/name` joined by `and` and `or`, names with spaces in '…'".to_owned(),
        )
    };
    let words = words(text).ok_or_else(|| mistake("a quote is not closed".to_owned()))?;
    let mut any_of = vec![Vec::new()];
    let mut groups = 0;
    let mut joined = true;
    for (word, quoted) in words {
        let joins = !quoted && (word == "and" || word == "or");
        match (joins, joined) {
            (true, true) => return Err(mistake(format!("`{word}` has no group before it"))),
            (false, false) => {
                return Err(mistake(format!("neither `and` nor `or` before `{word}`")));
            }
            (true, false) if word == "or" => any_of.push(Vec::new()),
            (true, false) => {}
            (false, true) => {
                group_alias(&word, issuers).map_err(mistake)?;
                groups += 1;
                if let Some(leg) = any_of.last_mut()
                    && !leg.contains(&word)
                {
                    leg.push(word);
                }
            }
        }
        joined = joins;
    }
    if joined {
        return Err(mistake("it does not end with a group".to_owned()));
    }
    if groups > APPROVAL_GROUPS_MAX {
        return Err(mistake(format!("more than {APPROVAL_GROUPS_MAX} groups")));
    }
    Ok(GroupExpr { any_of })
}

/// Words, each with whether it was quoted; `None` when a quote is not closed.
fn words(text: &str) -> Option<Vec<(String, bool)>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after, quoted) = if let Some(inner) = rest.strip_prefix('\'') {
            let (word, after) = inner.split_once('\'')?;
            (word, after, true)
        } else {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (word, after, false)
        };
        words.push((word.to_owned(), quoted));
        rest = after.trim_start();
    }
    Some(words)
}

/// Check that a group or caller is `alias/name` with a known alias.
pub(super) fn group_alias(name: &str, issuers: &BTreeSet<String>) -> Result<(), String> {
    match name.split_once('/') {
        Some((alias, rest)) if !rest.is_empty() && issuers.contains(alias) => Ok(()),
        Some((alias, rest)) if !rest.is_empty() => Err(format!(
            "`{name}` begins with `{alias}`, which is no issuer; issuers: {}",
            listed(issuers)
        )),
        Some(_) | None => Err(format!(
            "`{name}` is not `alias/name`; issuers: {}",
            listed(issuers)
        )),
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}
