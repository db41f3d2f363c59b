//! `callgate calls list`: recorded calls, out of the index and the log.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::json;

use super::print;
use super::span::Span;
use crate::app;
use crate::approval::terminal_safe;
use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::disk::RealDisk;
use crate::record::{
    self, CallIndex, CallSummary, Cursor, Decided, Filter, PAGE_CALLS_MAX, WouldFilter,
};

/// Calls that are listed unless more are asked for.
const LIST_DEFAULT: usize = 50;

/// How output is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Decision {
    /// Policy allowed it.
    Allow,
    /// It was refused.
    Deny,
    /// People were asked.
    Ask,
}

impl Would {
    const fn filter(self) -> WouldFilter {
        match self {
            Self::Any => WouldFilter::Any,
            Self::Allow => WouldFilter::Would(Decided::Allow),
            Self::Deny => WouldFilter::Would(Decided::Deny),
            Self::Ask => WouldFilter::Would(Decided::Ask),
        }
    }

    fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Which calls to list.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// At most so many.
    #[arg(long, default_value_t = LIST_DEFAULT)]
    limit: usize,
    /// Where the list before ended: what it printed as `next`.
    #[arg(long)]
    cursor: Option<Cursor>,
    /// How to write them.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Which calls.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    #[command(flatten)]
    span: Span,
    /// Only this function (`payments/createRefund`), or those of a connection (`payments/*`).
    #[arg(long)]
    function: Option<String>,
    /// Only this caller: `alias/subject`.
    #[arg(long)]
    principal: Option<String>,
    /// Only calls in which this one acts for the caller: `alias/subject`.
    #[arg(long)]
    actor: Option<String>,
    /// Only calls that were decided so.
    #[arg(long, value_enum)]
    decision: Option<Decision>,
    /// Only this outcome: ok, denied, cut, withheld, indeterminate, open, pending, expired, ….
    #[arg(long)]
    outcome: Option<String>,
    /// Only with this status: `404`, `4xx`, `400-404`.
    #[arg(long)]
    status: Option<String>,
    /// Only the call of this approval.
    #[arg(long)]
    approval: Option<String>,
    /// Only functions that nobody declared.
    #[arg(long)]
    unknown: bool,
    /// Only calls that shadow policies matched, and about which this would be decided with them.
    #[arg(long, value_enum)]
    shadow: Option<Would>,
    /// Only calls that passed because their connection only observes, and about which this would have
    /// been decided.
    #[arg(long, value_enum)]
    observed: Option<Would>,
    /// Only calls that ran because their caller broke the glass.
    #[arg(long)]
    break_glass: bool,
}

/// What would be, or would have been, decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Would {
    /// Whatever it is.
    Any,
    /// It would be allowed.
    Allow,
    /// It would be refused.
    Deny,
    /// People would be asked.
    Ask,
}

impl Which {
    /// The filter that it means.
    pub(super) fn filter(&self, now: Timestamp) -> anyhow::Result<Filter> {
        let mut filter = Filter {
            principal: self.principal.as_deref().map(person).transpose()?,
            actor: self.actor.as_deref().map(person).transpose()?,
            decided: self.decision.map(|decision| match decision {
                Decision::Allow => Decided::Allow,
                Decision::Deny => Decided::Deny,
                Decision::Ask => Decided::Ask,
            }),
            status: self.status.as_deref().map(status).transpose()?,
            outcome: self.outcome.clone(),
            approval: self.approval.clone(),
            unknown: self.unknown,
            shadow: self.shadow.map(Would::filter),
            observed: self.observed.map(Would::filter),
            break_glass: self.break_glass,
            ..Filter::default()
        };
        if let Some(text) = self.function.as_deref() {
            match text.strip_suffix("/*") {
                Some(connection) => filter.connection = Some(connection.to_owned()),
                None if text.contains('/') => filter.function = Some(text.to_owned()),
                None => anyhow::bail!("`{text}`: write `connection/function` or `connection/*`"),
            }
        }
        self.span.put_into(now, &mut filter)?;
        Ok(filter)
    }

    /// The filter as it was given, for the record.
    pub(super) fn about(&self) -> serde_json::Value {
        json!({
            "since": self.span.since,
            "until": self.span.until,
            "function": self.function,
            "principal": self.principal,
            "actor": self.actor,
            "decision": self.decision.map(|decision| format!("{decision:?}").to_lowercase()),
            "outcome": self.outcome,
            "status": self.status,
            "approval": self.approval,
            "unknown": self.unknown,
            "shadow": self.shadow.map(Would::word),
            "observed": self.observed.map(Would::word),
            "break_glass": self.break_glass,
        })
    }
}

fn person(text: &str) -> anyhow::Result<(String, String)> {
    let (issuer, subject) = text
        .split_once('/')
        .with_context(|| format!("`{text}`: write `alias/subject`"))?;
    Ok((issuer.to_owned(), subject.to_owned()))
}

fn status(text: &str) -> anyhow::Result<(u16, u16)> {
    let number = |text: &str| {
        let number = text.parse::<u16>().ok();
        number.filter(|status| (100..=999).contains(status))
    };
    let class = text
        .strip_suffix("xx")
        .filter(|class| class.len() == 1)
        .and_then(|class| number(&format!("{class}00")))
        .map(|from| (from, from + 99));
    let range = || {
        let (from, to) = text.split_once('-')?;
        Some((number(from)?, number(to)?)).filter(|(from, to)| from <= to)
    };
    class
        .or_else(|| number(text).map(|status| (status, status)))
        .or_else(range)
        .with_context(|| format!("`{text}` is no status: write `404`, `4xx` or `400-404`"))
}

impl Args {
    /// The filter as it was given, for the record.
    pub(super) fn about(&self) -> serde_json::Value {
        let mut about = self.which.about();
        if let Some(members) = about.as_object_mut() {
            members.insert("limit".to_owned(), self.limit.into());
        }
        about
    }

    /// Fault in what was given, before anything is recorded.
    pub(super) fn filter(&self, now: Timestamp) -> anyhow::Result<Filter> {
        self.which.filter(now)
    }
}

/// The index of calls of this config's log; names stay closed when the service that opens them is away.
pub(super) async fn index(loaded: &Loaded) -> anyhow::Result<CallIndex> {
    match app::call_index(loaded).await {
        Ok(index) => Ok(index),
        Err(error @ app::Error::Root(_)) => {
            super::complain(&anyhow::Error::from(error).context("sealed content stays closed"));
            let dir = app::audit_dir(&loaded.data());
            Ok(CallIndex::open(&dir, Arc::new(RealDisk))?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Print the calls.
pub(super) async fn run(loaded: &Loaded, args: &Args, filter: &Filter) -> anyhow::Result<()> {
    let mut index = index(loaded).await?;
    let mut cursor = args.cursor;
    let mut left = args.limit;
    while left > 0 {
        let page = index.page(filter, cursor, left.min(PAGE_CALLS_MAX))?;
        for call in &page.calls {
            print(&match args.output {
                Output::Text => line(call),
                Output::Json => serde_json::to_string(call)?,
            });
        }
        left = left.saturating_sub(page.calls.len());
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
    if let Some(cursor) = cursor {
        print(&match args.output {
            Output::Text => format!("more: add `--cursor {cursor}`"),
            Output::Json => json!({ "next": cursor.to_string() }).to_string(),
        });
    }
    Ok(())
}

/// A call in one line.
pub(super) fn line(summary: &CallSummary) -> String {
    let some = |name: &str, text: Option<String>| {
        text.map_or_else(String::new, |text| format!(" {name}{text}"))
    };
    let subject = match (summary.erased, &summary.subject) {
        (Some(_), _) => "[erased]",
        (None, Some(subject)) => subject,
        (None, None) => &summary.subject_ref,
    };
    let function = summary.function.as_deref().unwrap_or("?");
    let actor = summary.actor.clone().or_else(|| summary.actor_ref.clone());
    let masked: Vec<_> = summary
        .masked
        .iter()
        .map(|(class, count)| format!("{class}×{count}"))
        .collect();
    let masked = (!masked.is_empty()).then(|| masked.join(","));
    let would = |would: &Option<record::Would>| {
        let would = would.as_ref()?;
        let why = would.reason.clone().into_iter();
        let why: Vec<String> = why.chain(would.policies.iter().cloned()).collect();
        let word = would.decided.as_str();
        Some(match why.is_empty() {
            true => word.to_owned(),
            false => format!("{word} ({})", why.join(",")),
        })
    };
    let reason = summary.reason.clone();
    let reason = reason.filter(|reason| *reason != summary.outcome);
    let text = [
        some("by ", actor),
        format!("  {}", summary.outcome),
        some("", reason),
        some("", summary.status.map(|status| status.to_string())),
        some("", summary.total_ms.map(|ms| format!("{ms} ms"))),
        some("approval ", summary.approval.clone()),
        some("masked ", masked),
        some("shadow ", would(&summary.shadow)),
        some("observed ", would(&summary.observed)),
        some("", summary.break_glass.then(|| "BREAK-GLASS".to_owned())),
        some("tried ", summary.tried.as_ref().map(ToString::to_string)),
    ];
    terminal_safe(&format!(
        "{}  {}  {function}  {}/{subject} ({}){}",
        summary.at,
        summary.call,
        summary.issuer,
        summary.principal_kind,
        text.concat()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_one_a_class_or_a_range() {
        assert_eq!(status("404").unwrap(), (404, 404));
        assert_eq!(status("4xx").unwrap(), (400, 499));
        assert_eq!(status("400-404").unwrap(), (400, 404));
        for bad in [
            "", "xx", "44xx", "0xx", "12", "500-400", "4xx-5xx", "abc", "70000",
        ] {
            assert!(status(bad).is_err(), "{bad}");
        }
    }
}
