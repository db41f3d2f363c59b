//! Whether answers are masked, and until when masking only observes.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clock::Timestamp;

/// Most days that masking may only observe from now on.
pub const OBSERVE_DAYS_MAX: u64 = 90;

/// Whether answers are masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Findings are replaced; what cannot be inspected is not delivered.
    #[default]
    On,
    /// Findings are counted in the record, nothing is changed or withheld.
    Observe,
    /// Answers are not inspected. The credential is still taken out.
    Off,
}

impl Mode {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

/// Whether answers are masked: `on`, `off`, or `observe until 2026-12-31` (the last day, UTC).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", rename = "MaskModeConfig")]
pub struct ModeConfig {
    mode: Mode,
    /// When observing is over.
    end: Timestamp,
    day: String,
}

impl Default for ModeConfig {
    fn default() -> Self {
        Mode::On.into()
    }
}

impl From<Mode> for ModeConfig {
    /// Without an end: no config says this.
    fn from(mode: Mode) -> Self {
        Self {
            mode,
            end: Timestamp::from_nanos(u64::MAX),
            day: String::new(),
        }
    }
}

impl TryFrom<String> for ModeConfig {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "on" => return Ok(Mode::On.into()),
            "off" => return Ok(Mode::Off.into()),
            _ => {}
        }
        let day = text.strip_prefix("observe until ").map(str::trim);
        day.and_then(|day| {
            Some(Self {
                mode: Mode::Observe,
                end: Timestamp::end_of_day(day)?,
                day: day.to_owned(),
            })
        })
        .ok_or_else(|| {
            format!(
                "`{text}` is no mode of masking: write `on`, `off`, or `observe until 2026-12-31`"
            )
        })
    }
}

impl fmt::Display for ModeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Observe => write!(f, "observe until {}", self.day),
            Mode::On | Mode::Off => f.write_str(self.mode.as_str()),
        }
    }
}

impl ModeConfig {
    /// The mode at some time: when observing is over, answers are masked.
    pub(super) fn at(&self, now: Timestamp) -> Mode {
        match self.mode {
            Mode::Observe if now >= self.end => Mode::On,
            mode @ (Mode::On | Mode::Observe | Mode::Off) => mode,
        }
    }

    /// The mode as long as it lasts.
    pub(super) const fn begins(&self) -> Mode {
        self.mode
    }

    /// Whether it would observe for longer than [`OBSERVE_DAYS_MAX`] days from `now`.
    pub(super) fn is_too_long(&self, now: Timestamp) -> bool {
        let longest = now.plus(Duration::from_secs(OBSERVE_DAYS_MAX * 24 * 3600));
        self.mode == Mode::Observe && self.end > longest
    }

    /// Whether it observed until a day that is over by `now`.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.mode == Mode::Observe && now >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, ModeConfig};
    use crate::clock::Timestamp;

    fn mode(text: &str) -> Result<ModeConfig, String> {
        ModeConfig::try_from(text.to_owned())
    }

    #[test]
    fn observing_needs_a_last_day_and_ends_with_it() {
        for bad in [
            "",
            "observe",
            "observe until",
            "observe until tomorrow",
            "On",
            "observe until 2026-02-30",
        ] {
            assert_eq!(
                mode(bad).unwrap_err(),
                format!(
                    "`{bad}` is no mode of masking: write `on`, `off`, or `observe until 2026-12-31`"
                )
            );
        }
        let observing = mode("observe until 2026-12-31").unwrap();
        // 2026-12-31T23:59:59Z, and the second after.
        let (last, over) = (
            Timestamp::from_secs(1_798_761_599),
            Timestamp::from_secs(1_798_761_600),
        );
        assert_eq!(observing.at(last), Mode::Observe);
        assert_eq!(observing.at(over), Mode::On);
        assert!(observing.is_over(over) && !observing.is_over(last));
        assert_eq!(observing.to_string(), "observe until 2026-12-31");
        assert_eq!(mode("off").unwrap().at(over), Mode::Off);
    }

    #[test]
    fn observing_for_longer_than_ninety_days_is_too_long() {
        let observing = mode("observe until 2026-12-31").unwrap();
        let day = 24 * 3600;
        let end = 1_798_761_600;
        assert!(observing.is_too_long(Timestamp::from_secs(end - 91 * day)));
        assert!(!observing.is_too_long(Timestamp::from_secs(end - 90 * day)));
        assert!(!mode("on").unwrap().is_too_long(Timestamp::from_secs(0)));
    }
}
