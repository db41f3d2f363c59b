//! Numbers compared exactly.

use std::cmp::Ordering;

use wire::json::Number;

/// Most digits behind the point of a Cedar `decimal`.
const CEDAR_DIGITS: usize = 4;

/// A decimal number in plain notation, at most 64 digits on each side of the point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Decimal {
    negative: bool,
    /// Without needless zeros; `0` for nought.
    whole: String,
    /// Without trailing zeros; may be empty.
    fraction: String,
}

impl Decimal {
    /// The number's exact value; `None` when it has more than 64 digits on a side.
    pub(super) fn new(number: &Number) -> Option<Self> {
        let text = number.as_decimal_text()?;
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.as_str()),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        Some(Self {
            negative,
            whole: whole.to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        })
    }

    /// The value of a number in a schema document.
    pub(super) fn from_json(number: &serde_json::Number) -> Option<Self> {
        Self::new(&Number::new(&number.to_string())?)
    }

    pub(super) fn is_positive(&self) -> bool {
        !self.negative && (self.whole != "0" || !self.fraction.is_empty())
    }

    /// The text of a Cedar `decimal`: one to four digits behind the point, within 64 bits.
    pub(super) fn cedar(&self) -> Option<String> {
        if self.fraction.len() > CEDAR_DIGITS {
            return None;
        }
        i64::try_from(self.scaled(CEDAR_DIGITS)?).ok()?;
        let sign = if self.negative { "-" } else { "" };
        let fraction = if self.fraction.is_empty() {
            "0"
        } else {
            &self.fraction
        };
        Some(format!("{sign}{}.{fraction}", self.whole))
    }

    /// Whether this is a whole multiple of `step`; `None` when the digits are too many to tell.
    pub(super) fn is_multiple_of(&self, step: &Self) -> Option<bool> {
        let digits = self.fraction.len().max(step.fraction.len());
        let step = step.scaled(digits)?;
        Some(self.scaled(digits)?.checked_rem(step)? == 0)
    }

    /// The value times ten to the power of `digits`, which is at least the number of digits here.
    fn scaled(&self, digits: usize) -> Option<i128> {
        let zeros = digits.checked_sub(self.fraction.len())?;
        let text = format!("{}{}{}", self.whole, self.fraction, "0".repeat(zeros));
        let value: i128 = text.parse().ok()?;
        Some(if self.negative { -value } else { value })
    }

    fn magnitude(&self, other: &Self) -> Ordering {
        let length = self.whole.len().cmp(&other.whole.len());
        length
            .then_with(|| self.whole.cmp(&other.whole))
            .then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude(other),
            (true, true) => other.magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}
