//! Leaves: one JSON line each, pure ASCII, with fields that are listed here and nowhere else.
//!
//! The bytes of the line are what the tree hashes, so they are made once and never again from values.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde_json::{Map, Value};

use super::entry::{Observed, Who};
use crate::call::Durability;
use crate::clock::Timestamp;
use crate::policy::Shadowed;

/// Longest leaf, in bytes. What does not fit moves into the sealed part of the record.
pub const LEAF_BYTES_MAX: usize = 32 * 1024;

/// Longest single text in a leaf, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Version of the leaf's form.
const VERSION: u64 = 1;

/// What a leaf is, as its frame says without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    Begin,
    End,
    /// A subject's key is destroyed; the frame's id is its pseudonym.
    Erase,
    /// A legal hold is placed or released.
    Hold,
    /// Content is destroyed, or records go, because their time is over.
    Retain,
    Other,
}

impl Tag {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Begin => 1,
            Self::End => 2,
            Self::Other => 3,
            Self::Erase => 4,
            Self::Hold => 5,
            Self::Retain => 6,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Begin,
            Self::End,
            Self::Other,
            Self::Erase,
            Self::Hold,
            Self::Retain,
        ]
        .into_iter()
        .find(|tag| tag.byte() == byte)
    }

    /// The tag that a leaf of this kind has.
    pub(super) fn of(kind: &str) -> Self {
        match kind {
            "call.begin" => Self::Begin,
            "call.end" => Self::End,
            "erase.subject" => Self::Erase,
            "hold.place" | "hold.release" => Self::Hold,
            super::retain::EXPIRED | super::prune::PRUNED => Self::Retain,
            _ => Self::Other,
        }
    }
}

/// What every leaf has.
#[derive(Clone, Debug)]
pub(super) struct Stamp<'a> {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    /// Microseconds since the log was opened, by the clock that does not step.
    pub(super) mono_us: u64,
    pub(super) instance: &'a str,
}

/// A leaf while its fields are put in.
#[derive(Clone, Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn new(kind: &'static str, stamp: &Stamp<'_>) -> Self {
        let mut fields = Self(Map::with_capacity(32));
        fields.number("v", VERSION);
        fields.word("kind", kind);
        fields.number("seq", stamp.seq);
        fields.word("t", &nanos_text(stamp.at));
        fields.number("mono_us", stamp.mono_us);
        fields.word("instance", stamp.instance);
        fields
    }

    pub(super) fn word(&mut self, name: &'static str, value: &str) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn maybe_word(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.word(name, value);
        }
    }

    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn maybe_number(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(name, value);
        }
    }

    pub(super) fn signed(&mut self, name: &'static str, value: i64) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn truth(&mut self, name: &'static str, value: bool) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn hex(&mut self, name: &'static str, bytes: &[u8]) {
        self.word(name, &hex(bytes));
    }

    pub(super) fn words(&mut self, name: &'static str, values: &[String]) {
        self.0.insert(name.to_owned(), values.into());
    }

    pub(super) fn object(&mut self, name: &'static str, members: Vec<(&'static str, Value)>) {
        let members = members.into_iter().filter(|(_, value)| !value.is_null());
        let map: Map<_, _> = members.map(|(k, v)| (k.to_owned(), v)).collect();
        self.0.insert(name.to_owned(), map.into());
    }

    /// What would be decided with the shadow policies that matched.
    pub(super) fn shadowed(&mut self, shadowed: Option<&Shadowed>) {
        if let Some(shadowed) = shadowed {
            let policies = shadowed.policies.as_slice();
            let members = vec![
                ("decided", shadowed.decided.into()),
                ("policies", policies.into()),
            ];
            self.object("shadow", members);
        }
    }

    /// What would have become of a call that passed because its connection only observes.
    pub(super) fn observed(&mut self, observed: Option<&Observed>) {
        if let Some(observed) = observed {
            let policies = observed.policies.as_slice();
            let members = vec![
                ("decided", observed.decided.into()),
                ("reason", observed.reason.into()),
                ("policies", policies.into()),
            ];
            self.object("observed", members);
        }
    }

    pub(super) fn counts<'c>(
        &mut self,
        name: &'static str,
        counts: impl Iterator<Item = (&'c str, u64)>,
    ) {
        let map: Map<_, _> = counts.map(|(k, v)| (k.to_owned(), v.into())).collect();
        if !map.is_empty() {
            self.0.insert(name.to_owned(), map.into());
        }
    }

    /// Who: issuer and how they proved themselves in clear, the subject as a pseudonym.
    pub(super) fn who(&mut self, who: &Who, reference: &[u8]) {
        self.hex("subject_ref", reference);
        self.word("issuer", &who.issuer);
        self.word("principal_kind", who.kind);
        self.word("auth", who.method);
        self.maybe_word("key_id", who.key_id.as_deref());
        self.maybe_word("algorithm", who.algorithm);
    }

    /// The leaf's text.
    ///
    /// # Errors
    /// When it is too long: the fields without what was taken out (`moved` names it), and what was
    /// taken out, which is to be sealed.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, Box<(Self, Value)>> {
        let mut moved = Map::new();
        let long: Vec<String> = self
            .0
            .iter()
            .filter(|(_, value)| {
                value
                    .as_str()
                    .is_some_and(|text| text.len() > TEXT_BYTES_MAX)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in long {
            self.move_out(&name, &mut moved);
        }
        let mut text = self.text();
        while text.len() > LEAF_BYTES_MAX {
            let largest = self
                .0
                .iter()
                .max_by_key(|(_, value)| value.to_string().len())
                .map(|(name, _)| name.clone());
            let Some(name) = largest else { break };
            self.move_out(&name, &mut moved);
            text = self.text();
        }
        if moved.is_empty() {
            Ok(text)
        } else {
            Err(Box::new((self, moved.into())))
        }
    }

    fn move_out(&mut self, name: &str, moved: &mut Map<String, Value>) {
        if let Some(value) = self.0.shift_remove(name) {
            moved.insert(name.to_owned(), value);
        }
        let names: Vec<&str> = moved.keys().map(String::as_str).collect();
        self.0.insert("moved".to_owned(), names.into());
    }

    /// The leaf: one line without its line end, ASCII only.
    pub(super) fn text(&self) -> Vec<u8> {
        ascii(&serde_json::to_string(&self.0).unwrap_or_default())
    }
}

/// JSON text with every character beyond ASCII, and DEL, as `\u` escapes. Such characters stand in
/// strings only, so the text stays the same value; and no line separator of any alphabet is left in it.
fn ascii(json: &str) -> Vec<u8> {
    if json.bytes().all(|b| b.is_ascii() && b != 0x7f) {
        return json.as_bytes().to_vec();
    }
    let mut out = String::with_capacity(json.len() * 2);
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.into_bytes()
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| {
        DIGITS
            .get(usize::from(nibble))
            .map_or('0', |d| char::from(*d))
    };
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The bytes of hexadecimal text of exactly this many bytes.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(out)
}

/// RFC 3339 in UTC with nanoseconds.
pub(super) fn nanos_text(at: Timestamp) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z"
    );
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.nanos()))
        .ok()
        .and_then(|at| at.format(&format).ok())
        .unwrap_or_default()
}

/// The time that [`nanos_text`] wrote.
pub(super) fn nanos_from_text(text: &str) -> Option<Timestamp> {
    let at =
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    Some(Timestamp::from_nanos(
        u64::try_from(at.unix_timestamp_nanos()).ok()?,
    ))
}

/// Adds one frame to the digest of sealed frames that a leaf states: kind, length, payload.
pub(super) fn digest_frame(context: &mut digest::Context, kind: u8, payload: &[u8]) {
    context.update(&[kind]);
    context.update(&(payload.len() as u64).to_le_bytes());
    context.update(payload);
}

/// As the leaf of a begin says it.
pub(super) const fn durability_word(durability: Durability) -> &'static str {
    match durability {
        Durability::Both => "both",
        Durability::Begin => "begin",
        Durability::Async => "async",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields::new(
            "call.begin",
            &Stamp {
                seq: 5,
                at: Timestamp::from_nanos(1_700_000_000_123_456_789),
                mono_us: 9,
                instance: "a",
            },
        )
    }

    // A13
    #[test]
    fn leaf_is_one_ascii_line_whatever_is_in_it() {
        let mut leaf = fields();
        let nasty = "a\nb\rc\0d\u{2028}e\u{2029}f\u{7f}g\u{1f600}h\"i\\j\u{85}";
        leaf.word("upstream", nasty);
        let text = leaf.text();
        assert!(text.iter().all(|b| (0x20..0x7f).contains(b)), "{text:?}");
        let back: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(back["upstream"], nasty);
        assert_eq!(back["t"], "2023-11-14T22:13:20.123456789Z");
        assert_eq!(
            nanos_from_text(back["t"].as_str().unwrap())
                .unwrap()
                .nanos(),
            1_700_000_000_123_456_789
        );
    }

    // A13
    #[test]
    fn too_long_a_leaf_moves_its_largest_fields_out() {
        let mut leaf = fields();
        leaf.word("upstream", &"u".repeat(TEXT_BYTES_MAX + 1));
        leaf.words("policies", &vec!["p".repeat(100); 1000]);
        let (leaf, moved) = *leaf.finish().unwrap_err();
        let text = leaf.text();
        assert!(text.len() <= LEAF_BYTES_MAX);
        assert_eq!(moved["policies"].as_array().unwrap().len(), 1000);
        assert_eq!(
            moved["upstream"].as_str().unwrap().len(),
            TEXT_BYTES_MAX + 1
        );
        let back: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(back["moved"], serde_json::json!(["upstream", "policies"]));
        assert_eq!(back["kind"], "call.begin");
        assert!(fields().finish().is_ok());
    }

    #[test]
    fn hexadecimal_comes_back() {
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        assert_eq!(unhex::<3>("00ff10"), Some([0, 255, 16]));
        assert_eq!(unhex::<3>("00ff1"), None);
        assert_eq!(unhex::<3>("00fg10"), None);
    }
}
