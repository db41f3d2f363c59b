//! Times on the command line: a time (RFC 3339, or a date in UTC), or how long ago (`90s`, `30m`, `2h`,
//! `7d`).

use anyhow::Context as _;

use crate::clock::Timestamp;
use crate::record::Filter;

/// From when to when.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Span {
    /// Not before: a time (RFC 3339), a date (UTC), or how long ago (`90s`, `30m`, `2h`, `7d`).
    #[arg(long)]
    pub(super) since: Option<String>,
    /// Before: the same.
    #[arg(long)]
    pub(super) until: Option<String>,
}

impl Span {
    /// Put it into a filter.
    pub(super) fn put_into(&self, now: Timestamp, filter: &mut Filter) -> anyhow::Result<()> {
        let read = |text: &Option<String>| text.as_deref().map(|text| time(text, now)).transpose();
        filter.since = read(&self.since)?;
        filter.until = read(&self.until)?;
        Ok(())
    }
}

/// From when to when: how far back, or `FROM..TO`.
pub(super) fn against(text: &str, now: Timestamp) -> anyhow::Result<(Timestamp, Timestamp)> {
    match text.split_once("..") {
        Some((from, to)) => Ok((time(from, now)?, time(to, now)?)),
        None => Ok((time(text, now)?, now)),
    }
}

/// The time that a text means.
pub(super) fn time(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Some(ago) = seconds(text) {
        let nanos = ago.saturating_mul(1_000_000_000);
        return Ok(Timestamp::from_nanos(now.nanos().saturating_sub(nanos)));
    }
    let whole = if text.len() == "2026-01-31".len() {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    let at = time::OffsetDateTime::parse(&whole, &time::format_description::well_known::Rfc3339);
    at.ok()
        .and_then(|at| u64::try_from(at.unix_timestamp_nanos()).ok())
        .map(Timestamp::from_nanos)
        .with_context(|| {
            format!(
                "`{text}` is no time: write `2026-01-31T12:00:00Z`, `2026-01-31`, or how long ago: `90s`, `30m`, `2h`, `7d`"
            )
        })
}

/// How long a text means, for an argument.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let seconds = seconds(text).filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("write how long, such as `90s`, `30m`, `8h`, `7d`")?;
    Ok(std::time::Duration::from_secs(seconds))
}

fn seconds(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    plain.then_some(number.parse::<u64>().ok()?.checked_mul(each)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_how_long_ago() {
        let now = Timestamp::from_secs(1_800_000_000);
        let secs = |text| time(text, now).unwrap().secs();
        assert_eq!(secs("90s"), 1_800_000_000 - 90);
        assert_eq!(secs("2h"), 1_800_000_000 - 7200);
        assert_eq!(secs("7d"), 1_800_000_000 - 7 * 86400);
        assert_eq!(secs("1970-01-02"), 86400);
        assert_eq!(secs("1970-01-01T01:00:00+01:00"), 0);
        for bad in [
            "",
            "h",
            "2 h",
            "-2h",
            "2w",
            "yesterday",
            "2026-13-01",
            "99999999999999999999d",
        ] {
            let error = time(bad, now).unwrap_err().to_string();
            assert!(error.contains("how long ago"), "{bad}: {error}");
        }
    }
}
