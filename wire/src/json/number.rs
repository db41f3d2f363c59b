//! A number as it was written. Nothing here goes through a float (big integers and decimal
//! fractions would change).

use std::fmt;

/// Digits that [`Number::as_decimal_text`] is willing to write on either side of the point.
const DECIMAL_DIGITS_MAX: usize = 64;

/// A JSON number with its exact text.
#[derive(Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// Takes text that follows the number grammar of RFC 8259 section 6; `None` otherwise.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        is_number(text.as_bytes()).then(|| Self(text.into()))
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// The value, if it is written as an integer (no point, no exponent) and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The exact value in plain notation: no exponent, at least one digit on each side of the
    /// point, no needless zeros (`1.50e1` gives `15.0`, `-0` gives `0.0`). `None` when that would
    /// take more than 64 digits on a side.
    #[must_use]
    pub fn as_decimal_text(&self) -> Option<String> {
        let (negative, unsigned) = match self.0.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, &*self.0),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent),
            None => (unsigned, "0"),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: String = [whole, fraction].concat();
        let Some(first) = digits.find(|c| c != '0') else {
            return Some("0.0".into()); // whatever the exponent says
        };
        let digits = digits.trim_end_matches('0');
        // Where the point stands in `digits`; may lie outside.
        let exponent: i64 = exponent.parse().ok()?;
        let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
        let start = i64::try_from(first).ok()?;
        let end = i64::try_from(digits.len()).ok()?;
        let limit = i64::try_from(DECIMAL_DIGITS_MAX).ok()?;
        if point.checked_sub(start)? > limit || end.checked_sub(point)? > limit {
            return None;
        }
        let digit = |at: i64| -> char {
            usize::try_from(at)
                .ok()
                .and_then(|at| digits.as_bytes().get(at))
                .map_or('0', |byte| char::from(*byte))
        };
        let mut text = String::new();
        if negative {
            text.push('-');
        }
        if point <= start {
            text.push('0');
        } else {
            text.extend((start..point).map(digit));
        }
        text.push('.');
        if end <= point {
            text.push('0');
        } else {
            text.extend((point..end).map(digit));
        }
        Some(text)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is one number by RFC 8259 section 6.
pub(super) fn is_number(text: &[u8]) -> bool {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = leading_digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = rest.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = leading_digits(fraction);
        if length == 0 {
            return false;
        }
        rest = fraction.get(length..).unwrap_or_default();
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        return !exponent.is_empty() && leading_digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}
