//! What a witness's answer is worth. It is believed nothing that it does not prove.

use std::time::Duration;

use tlog::note::{Note, VerifierKey};

use crate::clock::Timestamp;

/// How far a witness's clock may be from ours.
const SKEW_MAX: Duration = Duration::from_secs(300);
/// Longest part of an answer that is repeated in an alarm, in characters.
const QUOTED_MAX: usize = 80;

/// Why a witness's answer is no cosignature, or is one that needs a look.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Alarm {
    /// No answer.
    #[error("the witness does not answer: {0}")]
    Unreachable(String),
    /// A refusal.
    #[error("the witness refuses with status {status}: {hint}")]
    Refused {
        /// The status.
        status: u16,
        /// What that means.
        hint: &'static str,
    },
    /// It says that it has a larger tree.
    #[error(
        "the witness says it signed {theirs} records, this log has {head}: the log was cut back, its key is used \
         elsewhere, or the witness lies"
    )]
    Ahead {
        /// What it says.
        theirs: u64,
        /// The newest head.
        head: u64,
    },
    /// It says that it has a smaller tree than it has signed.
    #[error(
        "the witness says it signed {theirs} records, it signed {ours} before: it lost its state, or lies"
    )]
    WentBack {
        /// What it says.
        theirs: u64,
        /// What it signed.
        ours: u64,
    },
    /// It has another tree of the size that we are at.
    #[error("the witness has another head of size {size}: the log was forked, or the witness lies")]
    Forked {
        /// That size.
        size: u64,
    },
    /// It names another size each time.
    #[error(
        "the witness says it signed {theirs} records, and asked from there {next}: it lies, or others ask it too"
    )]
    Wandering {
        /// What it said first.
        theirs: u64,
        /// What it said then.
        next: u64,
    },
    /// An answer that is not in form.
    #[error("the witness's answer is not in form: {0}")]
    Malformed(String),
    /// No cosignature by its key.
    #[error("the witness's answer carries no signature of its key `{0}`")]
    UnknownKey(String),
    /// A bad signature.
    #[error("the witness's cosignature is not good: {0}")]
    BadSignature(String),
    /// A time that cannot be.
    #[error(
        "the witness says that it signed at {time}, which is {off} s from now: an old cosignature, or a wrong clock"
    )]
    Time {
        /// Its time, in seconds.
        time: u64,
        /// How far off.
        off: u64,
    },
    /// The fault is ours.
    #[error("the log could not be offered to the witness: {0}")]
    Own(String),
}

impl Alarm {
    /// A stable word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Refused { .. } => "refused",
            Self::Ahead { .. } => "ahead",
            Self::WentBack { .. } => "went_back",
            Self::Forked { .. } => "forked",
            Self::Wandering { .. } => "wandering",
            Self::Malformed(_) => "malformed",
            Self::UnknownKey(_) => "unknown_key",
            Self::BadSignature(_) => "bad_signature",
            Self::Time { .. } => "time",
            Self::Own(_) => "own",
        }
    }
}

/// What a witness said that can be worked with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// A good cosignature, as its line.
    Cosigned(String),
    /// It is at this size. Nothing proves it.
    Conflict(u64),
}

/// Judge the answer to an offer of `checkpoint`.
pub(super) fn judge(
    checkpoint: &Note,
    key: &VerifierKey,
    status: u16,
    body: &[u8],
    now: Timestamp,
) -> Result<Said, Alarm> {
    let text = std::str::from_utf8(body).map_err(|_| Alarm::Malformed("not UTF-8".to_owned()))?;
    let hint = match status {
        200 => return cosignature(checkpoint, key, text, now),
        409 => return conflict(text),
        403 => "it knows this log under another key",
        404 => "it does not know this log: its operator has to add it (or the URL is wrong)",
        422 => "it does not find that this head grew out of the one it signed",
        400 => "it finds the question not in form",
        _ => "it cannot answer now",
    };
    Err(Alarm::Refused { status, hint })
}

fn conflict(text: &str) -> Result<Said, Alarm> {
    let size = text.strip_suffix('\n').unwrap_or(text);
    match size.parse::<u64>() {
        Ok(number) if number.to_string() == size => Ok(Said::Conflict(number)),
        _ => Err(Alarm::Malformed(format!("`{}` is no size", quoted(text)))),
    }
}

fn cosignature(
    checkpoint: &Note,
    key: &VerifierKey,
    text: &str,
    now: Timestamp,
) -> Result<Said, Alarm> {
    // Only lines by its own key are looked at; the log's own line must not count for it.
    let bare = Note::new(checkpoint.text()).map_err(|error| Alarm::Own(error.to_string()))?;
    let lines = Note::parse(format!("{bare}{text}").as_bytes())
        .map_err(|error| Alarm::Malformed(error.to_string()))?;
    let verified = lines
        .verify(&[key])
        .map_err(|error| Alarm::BadSignature(error.to_string()))?;
    let time = verified
        .first()
        .and_then(tlog::note::VerifiedSignature::time);
    let time = time.ok_or_else(|| Alarm::UnknownKey(key.name().to_owned()))?;
    let off = time.abs_diff(now.secs());
    if off > SKEW_MAX.as_secs() {
        return Err(Alarm::Time { time, off });
    }
    let own = lines.signatures().iter();
    let mut own = own.filter(|line| line.name() == key.name() && line.key_id() == key.id());
    own.next()
        .map(|line| Said::Cosigned(line.to_string()))
        .ok_or_else(|| Alarm::UnknownKey(key.name().to_owned()))
}

/// The beginning of what a stranger sent, fit for a log line.
fn quoted(text: &str) -> String {
    text.escape_debug().take(QUOTED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use tlog::checkpoint::Checkpoint;
    use tlog::note::Signer;
    use tlog::tree::leaf_hash;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn log() -> Signer {
        Signer::from_seed("log.example/gate-1", &[3; 32]).unwrap()
    }

    fn witness(seed: u8) -> Signer {
        Signer::from_seed("witness.example/w1", &[seed; 32]).unwrap()
    }

    fn head(size: u64) -> Note {
        let checkpoint = Checkpoint::new(log().name(), size, leaf_hash(b"root"));
        checkpoint.unwrap().sign(&log()).unwrap()
    }

    fn say(status: u16, body: &str) -> Result<Said, Alarm> {
        let key = witness(9);
        let now = Timestamp::from_secs(NOW);
        judge(&head(5), key.witness_key(), status, body.as_bytes(), now)
    }

    fn line(signer: &Signer, size: u64, time: u64) -> String {
        format!("{}\n", signer.cosign(head(size).text(), time).unwrap())
    }

    #[test]
    fn a_good_cosignature_counts_among_those_of_strangers() {
        let good = line(&witness(9), 5, NOW + 3);
        assert_eq!(
            say(200, &good),
            Ok(Said::Cosigned(good.trim_end().to_owned()))
        );
        let stranger = Signer::from_seed("witness.example/w2", &[9; 32]).unwrap();
        let among = format!("{}{good}", line(&stranger, 5, 7));
        assert_eq!(
            say(200, &among),
            Ok(Said::Cosigned(good.trim_end().to_owned()))
        );
    }

    // A15
    #[test]
    fn every_lie_is_an_alarm_of_its_kind() {
        let good = line(&witness(9), 5, NOW);
        let as_log = format!("{}\n", witness(9).sign(head(5).text()).unwrap());
        let mut far = [0xff_u8; 72];
        far[0] = 0x80;
        let id = witness(9).witness_key().id().to_be_bytes();
        let bytes = [id.as_slice(), &far].concat();
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        let impossible = format!("— witness.example/w1 {encoded}\n");
        let cases = [
            (200, line(&witness(8), 5, NOW), "unknown_key"),
            (200, as_log, "unknown_key"),
            (200, format!("{}\n", head(5).signatures()[0]), "unknown_key"),
            (200, line(&witness(9), 4, NOW), "bad_signature"),
            (200, format!("{good}{good}"), "bad_signature"),
            (200, impossible, "bad_signature"),
            (200, line(&witness(9), 5, NOW - 301), "time"),
            (200, line(&witness(9), 5, NOW + 301), "time"),
            (200, line(&witness(9), 5, 0), "time"),
            (200, line(&witness(9), 5, i64::MAX as u64), "time"),
            (200, String::new(), "malformed"),
            (200, "<html>\n".to_owned(), "malformed"),
            (200, good.trim_end().to_owned(), "malformed"),
            (200, good.repeat(17), "malformed"),
            (200, good.replace('\n', "\r\n"), "malformed"),
            (409, "five\n".to_owned(), "malformed"),
            (409, "05\n".to_owned(), "malformed"),
            (409, "-1\n".to_owned(), "malformed"),
            (409, "18446744073709551616\n".to_owned(), "malformed"),
            (409, String::new(), "malformed"),
            (403, String::new(), "refused"),
            (404, "unknown log\n".to_owned(), "refused"),
            (422, String::new(), "refused"),
            (500, "busy\n".to_owned(), "refused"),
            (204, good, "refused"),
        ];
        for (status, body, kind) in cases {
            let alarm = say(status, &body).unwrap_err();
            assert_eq!(alarm.kind(), kind, "{status} {body}: {alarm}");
        }
        assert_eq!(say(409, "7\n"), Ok(Said::Conflict(7)));
        let alarm = say(409, "\u{1b}[2Jseven").unwrap_err().to_string();
        assert!(!alarm.contains('\u{1b}'), "{alarm}");
    }
}
