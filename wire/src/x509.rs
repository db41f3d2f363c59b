//! When a certificate ends: the one fact of it that its operator has to be told in time.
//!
//! Nothing is verified here; whoever relies on a certificate has a library for that.

/// Seconds in a day.
const DAY: i64 = 86_400;

/// The end of a certificate's validity (`notAfter`, RFC 5280 section 4.1.2.5), in seconds since 1970. `None` when the
/// bytes are no certificate in DER.
#[must_use]
pub fn not_after(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, 0x30)?;
    let (mut rest, _) = element(certificate, 0x30)?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest, 0xa0)?.1;
    }
    // Serial number, signature algorithm, issuer.
    for tag in [0x02, 0x30, 0x30] {
        rest = element(rest, tag)?.1;
    }
    let (validity, _) = element(rest, 0x30)?;
    let (_, _, rest) = any(validity)?;
    let (tag, end, _) = any(rest)?;
    time(tag, end)
}

/// The content of the element that `bytes` begin with, which must have this tag, and what is behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(bytes)?;
    (found == tag).then_some((content, rest))
}

fn any(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.is_empty() || digits.len() > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` or `GeneralizedTime`, as RFC 5280 wants them: to the second, in UTC.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z")?;
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |digits: &[u8]| {
        digits
            .iter()
            .fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (tag, text.len()) {
        (0x17, 12) => {
            let (year, rest) = text.split_at(2);
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        (0x18, 14) => {
            let (year, rest) = text.split_at(4);
            (number(year), rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2).map(number);
    let (month, day) = (two(0)?, two(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = two(4)? * 3600 + two(6)? * 60 + two(8)?;
    Some(days(year, month, day) * DAY + seconds)
}

/// Days since 1970 of a date of the Gregorian calendar: years begin in March here, so that the leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_calendar_has_them() {
        assert_eq!(time(0x17, b"700101000000Z"), Some(0));
        assert_eq!(time(0x18, b"19700101000001Z"), Some(1));
        assert_eq!(time(0x17, b"000229120000Z"), Some(951_825_600));
        assert_eq!(time(0x18, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(time(0x17, b"991231235959Z"), Some(946_684_799));
        assert_eq!(time(0x18, b"99991231235959Z"), Some(253_402_300_799));
    }

    #[test]
    fn what_is_no_time_has_no_end() {
        for (tag, text) in [
            (0x17, &b"7001010000Z"[..]),
            (0x17, b"700101000000"),
            (0x17, b"700101000000+0100"),
            (0x17, b"701301000000Z"),
            (0x17, b"700100000000Z"),
            (0x18, b"700101000000Z"),
            (0x0c, b"700101000000Z"),
            (0x17, b"70010100000\xffZ"),
        ] {
            assert_eq!(time(tag, text), None, "{text:?}");
        }
    }

    #[test]
    fn no_bytes_panic() {
        let certificate = [0x30, 0x82, 0xff, 0xff, 0x30, 0x84, 0xff, 0xff, 0xff, 0xff];
        for end in 0..certificate.len() {
            assert_eq!(not_after(&certificate[..end]), None);
        }
        for byte in 0..=255_u8 {
            assert_eq!(not_after(&[byte; 40]), None);
        }
    }
}
