//! Credentials: what vendors mark with a prefix (a table), JSON web tokens, private keys, passwords in
//! URLs. All literals are searched for at once; what follows a literal is checked byte by byte.

use super::super::config::ClassId;
use super::rules::{RULES, Rule, Set, Shape};
use super::{Hit, before, is_word};

/// The classes of the table, each once.
pub(in crate::mask) fn classes() -> impl Iterator<Item = &'static str> {
    RULES.iter().enumerate().filter_map(|(at, rule)| {
        let first = RULES.iter().position(|other| other.class == rule.class);
        (first == Some(at)).then_some(rule.class)
    })
}

/// Shortest credential that has no `@`.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// How many of a literal's bytes the index knows; all literals are at least as long.
const INDEXED_BYTES: usize = 3;
/// Entries of the index, a power of two.
const INDEX: usize = 4096;

/// The compiled table: rules by the first bytes of their literals. Nearly every place of a text is
/// ruled out by one look into 4 KiB, whatever the number of rules.
#[derive(Debug)]
pub(super) struct Secrets {
    /// For each hash of three bytes the bucket of rules, plus one.
    index: Box<[u8; INDEX]>,
    buckets: Vec<Vec<(Rule, ClassId)>>,
}

impl Secrets {
    pub(super) fn new(number: &dyn Fn(&str) -> Option<ClassId>) -> Option<Self> {
        let mut index = Box::new([0; INDEX]);
        let mut buckets: Vec<Vec<(Rule, ClassId)>> = Vec::new();
        for rule in RULES {
            let Some(class) = number(rule.class) else {
                continue;
            };
            let [first, second, third, ..] = rule.literal.as_bytes() else {
                continue;
            };
            let entry: &mut u8 = index.get_mut(slot(*first, *second, *third))?;
            if *entry == 0 {
                buckets.push(Vec::new());
                *entry = u8::try_from(buckets.len()).ok()?;
            }
            buckets
                .get_mut(usize::from(*entry) - 1)?
                .push((*rule, class));
        }
        (!buckets.is_empty()).then_some(Self { index, buckets })
    }

    /// Finds all credentials.
    pub(super) fn scan(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let mut runs = Runs {
            text,
            known: [(0, 0); SLOTS],
        };
        for (at, window) in text.windows(INDEXED_BYTES).enumerate() {
            let [first, second, third] = window else {
                continue;
            };
            let bucket = self.index[slot(*first, *second, *third)];
            if bucket != 0 {
                self.look(usize::from(bucket) - 1, at, &mut runs, hits);
            }
        }
    }

    fn look(&self, bucket: usize, at: usize, runs: &mut Runs<'_>, hits: &mut Vec<Hit>) {
        let rest = runs.text.get(at..).unwrap_or_default();
        for (rule, class) in self.buckets.get(bucket).into_iter().flatten() {
            if !rest.starts_with(rule.literal.as_bytes()) {
                continue;
            }
            let span = match rule.shape {
                Shape::Run(set, min, max) => {
                    runs.token(at, at + rule.literal.len(), set, min..=max)
                }
                Shape::Code(check) => check(runs, at),
            };
            if let Some((start, end)) = span {
                hits.push(Hit {
                    start,
                    end,
                    class: *class,
                });
            }
        }
    }
}

fn slot(first: u8, second: u8, third: u8) -> usize {
    let bytes = u32::from_le_bytes([first, second, third, 0]);
    (bytes.wrapping_mul(0x9E37_79B1) >> 20) as usize
}

/// Places in [`Runs`] to remember a run: one for each set, one more for a token's later parts.
const SLOTS: usize = 7;
const LATER_PART: usize = 6;

/// Knows where runs end, so that a long run full of literals is walked once and not once for each.
pub(super) struct Runs<'a> {
    text: &'a [u8],
    /// The last run seen of each set: from, to.
    known: [(usize, usize); SLOTS],
}

impl<'a> Runs<'a> {
    /// The text that is searched.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Where the run of `set` that starts at or before `at` ends.
    fn end(&mut self, slot: usize, set: Set, at: usize) -> usize {
        if let Some((from, to)) = self.known.get(slot)
            && (*from..*to).contains(&at)
        {
            return *to;
        }
        let rest = self.text.get(at..).unwrap_or_default();
        let end = at + rest.iter().take_while(|byte| set.has(**byte)).count();
        if let Some(known) = self.known.get_mut(slot) {
            *known = (at, end);
        }
        end
    }

    fn token(
        &mut self,
        start: usize,
        body: usize,
        set: Set,
        lengths: std::ops::RangeInclusive<usize>,
    ) -> Option<(usize, usize)> {
        if is_word(before(self.text, start)) {
            return None;
        }
        let end = self.end(set as usize, set, body);
        let bounded = !(set == Set::Hex && is_word(self.text.get(end)));
        (lengths.contains(&(end - body)) && bounded).then_some((start, end))
    }
}

/// A signed or encrypted JSON web token in compact form (RFC 7515, 7516): base64url parts with dots,
/// the first of which holds a JSON object.
pub(super) fn jwt(runs: &mut Runs<'_>, start: usize) -> Option<(usize, usize)> {
    if is_word(before(runs.text, start)) {
        return None;
    }
    let header = runs.end(Set::Url as usize, Set::Url, start);
    if header - start < JWT_HEADER_BYTES_MIN || runs.text.get(header) != Some(&b'.') {
        return None;
    }
    let payload = runs.end(LATER_PART, Set::Url, header + 1);
    let encrypted = runs.text.get(payload) == Some(&b'.');
    if payload - header <= 4 && !encrypted {
        return None;
    }
    let end = runs.end(Set::Dotted as usize, Set::Dotted, start);
    let token = runs.text.get(start..end)?;
    // An unsigned token ends in a dot, and so may a sentence: the dot stays.
    let dots = token.iter().rev().take_while(|byte| **byte == b'.').count();
    Some((start, end - dots))
}

/// Shortest header of a token: `{"alg":"x"}` is longer.
const JWT_HEADER_BYTES_MIN: usize = 12;

const KEY_END: &[u8] = b"-----END ";
/// Shortest word that is taken for a line of a key wherever it stands.
const KEY_WORD_BYTES_MIN: usize = 16;

/// A private key in PEM or OpenPGP armour, up to its end line or the end of what looks like its body:
/// a log that cut the key short still shows most of it.
pub(super) fn private_key(runs: &mut Runs<'_>, start: usize) -> Option<(usize, usize)> {
    let (_, end) = private_key_span(runs.text, start)?;
    Some((start, end))
}

/// Whether the key is complete, and where it ends.
fn private_key_span(text: &[u8], start: usize) -> Option<(bool, usize)> {
    const LABEL_BYTES_MAX: usize = 64;
    let rest = text.get(start..)?;
    let label = rest.get(11..rest.len().min(11 + LABEL_BYTES_MAX))?;
    let dashes = memchr::memmem::find(label, b"-----")?;
    memchr::memmem::find(label.get(..dashes)?, b"PRIVATE KEY")?;
    let body = start + 11 + dashes + 5;
    let mut end = body;
    loop {
        let from = text.get(end..)?;
        if from.is_empty() {
            return Some((false, end));
        }
        if from.starts_with(KEY_END) {
            let line = from.get(KEY_END.len()..)?;
            let label = line.get(..line.len().min(LABEL_BYTES_MAX))?;
            return Some(match memchr::memmem::find(label, b"-----") {
                Some(close) => (true, end + KEY_END.len() + close + 5),
                None => (
                    label.len() == LABEL_BYTES_MAX,
                    end + KEY_END.len() + label.len(),
                ),
            });
        }
        if KEY_END.starts_with(from) {
            return Some((false, end + from.len()));
        }
        match key_line(from) {
            0 => return Some((true, end)),
            length => end += length,
        }
    }
}

/// Length of the next piece of a key's body: white space (also as the escape `\n`), base64, or a
/// header line such as `Proc-Type: 4,ENCRYPTED`.
fn key_line(from: &[u8]) -> usize {
    let count = |test: fn(&u8) -> bool| from.iter().take_while(|byte| test(byte)).count();
    match from {
        [b'\\', b'n' | b'r', ..] => 2,
        [b' ' | b'\t' | b'\n' | b'\r', ..] => {
            count(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
        }
        _ => {
            let header = [
                "Proc-Type: ",
                "DEK-Info: ",
                "Version: ",
                "Comment: ",
                "Hash: ",
            ];
            if header.iter().any(|name| from.starts_with(name.as_bytes())) {
                return count(|byte| !matches!(byte, b'\n' | b'\r' | b'\\'));
            }
            let word =
                count(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
            // A short word is the key's last line, or prose that follows a key cut short.
            let rest = from.get(word..).unwrap_or_default();
            if word >= KEY_WORD_BYTES_MIN || ends_key(rest) {
                word
            } else {
                0
            }
        }
    }
}

/// Whether nothing but white space stands before the key's end line, or the text's end.
fn ends_key(mut rest: &[u8]) -> bool {
    loop {
        rest = match rest {
            [b' ' | b'\t' | b'\n' | b'\r', after @ ..] | [b'\\', b'n' | b'r', after @ ..] => after,
            _ => return rest.is_empty() || rest.starts_with(KEY_END) || KEY_END.starts_with(rest),
        };
    }
}

/// Where a private key begins that has not ended when `text` does.
pub(super) fn unfinished_key(text: &[u8]) -> Option<usize> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let start = memchr::memmem::rfind(text, BEGIN)?;
    let rest = text.get(start..)?;
    match private_key_span(text, start) {
        Some((complete, _)) => (!complete).then_some(start),
        // The first line itself is not complete.
        None => (!rest.contains(&b'\n') && rest.len() < 96).then_some(start),
    }
}

/// The password in `scheme://user:password@host`.
pub(super) fn url_password(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    let text = runs.text;
    const USER_INFO_BYTES_MAX: usize = 512;
    let start = at + 3;
    let near = text.get(start..text.len().min(start + USER_INFO_BYTES_MAX))?;
    let end = near
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'"' | b'<' | b'>' | 0..=b' '))
        .unwrap_or(near.len());
    let authority = near.get(..end)?;
    let sign = memchr::memrchr(b'@', authority)?;
    let colon = memchr::memchr(b':', authority.get(..sign)?)?;
    let password = authority.get(colon + 1..sign)?;
    let masked = password.is_empty() || password.starts_with(b"[masked:");
    (!masked && is_word(before(text, at))).then_some((start + colon + 1, start + sign))
}

/// The token in `Bearer …`: long enough and not a word.
pub(super) fn bearer(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    let start = at + "Bearer ".len();
    let end = runs.end(LATER_PART, Set::Base64, start);
    let dotted = runs.end(Set::Dotted as usize, Set::Dotted, start);
    if jwt(runs, start).is_some() {
        return None; // found as what it is
    }
    let mut end = end.max(dotted);
    while before(runs.text, end) == Some(&b'.') {
        end -= 1;
    }
    let token = runs.text.get(start..end)?;
    let random = token.len() >= TOKEN_BYTES_MIN && token.iter().any(u8::is_ascii_digit);
    (random && !is_word(before(runs.text, at))).then_some((start, end))
}

/// The credentials in `Basic …`: base64 of something with a colon.
pub(super) fn basic(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const CREDENTIALS_BYTES_MAX: usize = 1024;
    let start = at + "Basic ".len();
    let end = runs.end(LATER_PART, Set::Base64, start);
    let encoded = runs
        .text
        .get(start..end.min(start + CREDENTIALS_BYTES_MAX))?;
    let decoded = super::super::view::base64(encoded)?;
    let pair = encoded.len() >= 4 && decoded.contains(&b':');
    (pair && !is_word(before(runs.text, at))).then_some((start, end))
}

/// The forty characters after `aws_secret_access_key` and its spellings.
pub(super) fn aws_secret(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const BETWEEN_BYTES_MAX: usize = 6;
    let mut start = at + "ecretAccessKey".len();
    if runs
        .text
        .get(start..start + 2)
        .is_some_and(|rest| rest.eq_ignore_ascii_case(b"ey"))
    {
        start += 2;
    }
    let between = runs.text.get(start..)?.iter().take(BETWEEN_BYTES_MAX);
    start += between
        .take_while(|byte| matches!(byte, b'"' | b'\'' | b':' | b'=' | b' ' | b'\\'))
        .count();
    let end = runs.end(LATER_PART, Set::Base64, start);
    (end - start == AWS_SECRET_BYTES).then_some((start, end))
}

/// Length of an AWS secret access key.
const AWS_SECRET_BYTES: usize = 40;

/// A token of Terraform Cloud: 14 characters, `.atlasv1.`, 60 to 80 more.
pub(super) fn terraform_token(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    let start = at.checked_sub(14)?;
    let id = runs
        .text
        .get(start..at)?
        .iter()
        .all(u8::is_ascii_alphanumeric);
    let body = at + ".atlasv1.".len();
    let end = runs.end(LATER_PART, Set::Url, body);
    let whole = id && (60..=80).contains(&(end - body));
    (whole && !is_word(before(runs.text, start))).then_some((start, end))
}

/// The signature of a shared access URL.
pub(super) fn azure_signature(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const SIGNATURE_BYTES: std::ops::RangeInclusive<usize> = 43..=80;
    let start = at + "sig=".len();
    let rest = runs.text.get(start..)?;
    let length = rest
        .iter()
        .take(*SIGNATURE_BYTES.end() + 1)
        .take_while(|byte| Set::Base64.has(**byte) || **byte == b'%')
        .count();
    let parameter = matches!(before(runs.text, at), None | Some(b'?' | b'&' | b';'));
    (parameter && SIGNATURE_BYTES.contains(&length)).then_some((start, start + length))
}

/// A key of the older form `sk-…T3BlbkFJ…`.
pub(super) fn openai_key(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const HALF_BYTES_MAX: usize = 128;
    let floor = at.saturating_sub(HALF_BYTES_MAX);
    let ahead = runs.text.get(floor..at)?;
    let back = ahead
        .iter()
        .rev()
        .take_while(|byte| Set::Url.has(**byte))
        .count();
    let start = at - back;
    let end = runs.end(LATER_PART, Set::Url, at);
    let key = runs.text.get(start..end)?;
    (key.starts_with(b"sk-") && key.len() >= 40).then_some((start, end))
}

/// A bot's token: its number, a colon, 35 characters.
pub(super) fn telegram_token(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    let ahead = runs.text.get(at.saturating_sub(11)..at)?;
    let digits = ahead
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let end = runs.end(LATER_PART, Set::Url, at + 1);
    let whole = (8..=10).contains(&digits) && end - at - 1 == 35;
    (whole && !is_word(before(runs.text, at - digits))).then_some((at - digits, end))
}

/// 32 digits and small letters and the data centre, as in `…-us12`.
pub(super) fn mailchimp_key(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    let start = at.checked_sub(32)?;
    let key = runs.text.get(start..at)?;
    let hex = key
        .iter()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        && key.iter().any(u8::is_ascii_digit);
    let place = runs.text.get(at + 3..)?;
    let digits = place
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let alone = !is_word(before(runs.text, start)) && !is_word(runs.text.get(at + 3 + digits));
    (hex && alone && (1..=2).contains(&digits)).then_some((start, at + 3 + digits))
}

/// A client secret of Entra ID: three characters and a digit, `8Q~` or the like, 34 in all.
pub(super) fn azure_secret(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const SECRET_BYTES: usize = 40;
    let start = at.checked_sub(3)?;
    let rest = runs.text.get(start..)?;
    let length = rest
        .iter()
        .take(SECRET_BYTES + 1)
        .take_while(|byte| Set::Dotted.has(**byte) || **byte == b'~')
        .count();
    let alone = !is_word(before(runs.text, start));
    let ahead = rest
        .iter()
        .take(3)
        .all(|byte| Set::Dotted.has(*byte) || *byte == b'~');
    (alone && ahead && length == SECRET_BYTES).then_some((start, start + length))
}
