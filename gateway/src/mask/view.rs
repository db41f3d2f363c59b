//! Text decoded one level more than its format asks for: a JSON string inside a JSON string, a
//! percent-encoded query, HTML character references, base64, hex.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shortest run of base64 or hex that is decoded: shorter ones hold at most 11 bytes.
pub(super) const RUN_BYTES_MIN: usize = 16;
/// Runs from this length on are searched even if what they decode to is not text (a message in a
/// binary format may hold text); shorter ones would be random identifiers nearly always.
const BINARY_RUN_BYTES_MIN: usize = 64;
/// How much of a run is decoded first, to see whether it can be text.
const PROBE_BYTES: usize = 12;
/// Longest character reference, as in `&commat;` or `&#x10FFFF;`, zeros ahead included.
const REFERENCE_BYTES_MAX: usize = 24;

/// Text with escapes resolved, and where each part came from.
#[derive(Debug)]
pub(super) struct View {
    text: Vec<u8>,
    escapes: Vec<Place>,
}

/// One resolved escape.
#[derive(Clone, Copy, Debug)]
struct Place {
    text: usize,
    text_end: usize,
    source: usize,
    source_end: usize,
}

impl View {
    /// The decoded text.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The source bytes that a span of the text came from; an escape belongs to it whole.
    pub(super) fn source(&self, start: usize, end: usize) -> (usize, usize) {
        (self.source_start(start), self.source_end(end))
    }

    fn source_start(&self, at: usize) -> usize {
        let after = self.escapes.partition_point(|place| place.text <= at);
        match after
            .checked_sub(1)
            .and_then(|index| self.escapes.get(index))
        {
            None => at,
            Some(place) if at < place.text_end => place.source,
            Some(place) => place.source_end + (at - place.text_end),
        }
    }

    fn source_end(&self, end: usize) -> usize {
        let Some(last) = end.checked_sub(1) else {
            return 0;
        };
        let after = self.escapes.partition_point(|place| place.text <= last);
        match after
            .checked_sub(1)
            .and_then(|index| self.escapes.get(index))
        {
            None => end,
            Some(place) if last < place.text_end => place.source_end,
            Some(place) => place.source_end + (end - place.text_end),
        }
    }
}

/// Resolves JSON and percent escapes and HTML character references; `None` if there are none.
pub(super) fn unescape(source: &[u8]) -> Option<View> {
    let mut view = View {
        text: Vec::new(),
        escapes: Vec::new(),
    };
    let mut copied = 0;
    let mut at = 0;
    while let Some(next) = memchr::memchr3(b'\\', b'%', b'&', source.get(at..)?) {
        at += next;
        let rest = source.get(at..)?;
        let Some((character, length)) = escape_at(rest) else {
            at += 1;
            continue;
        };
        view.text.extend_from_slice(source.get(copied..at)?);
        let text = view.text.len();
        match character {
            Decoded::Byte(byte) => view.text.push(byte),
            Decoded::Character(character) => {
                let mut utf8 = [0; 4];
                view.text
                    .extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            }
        }
        let text_end = view.text.len();
        view.escapes.push(Place {
            text,
            text_end,
            source: at,
            source_end: at + length,
        });
        at += length;
        copied = at;
    }
    if view.escapes.is_empty() {
        return None;
    }
    view.text.extend_from_slice(source.get(copied..)?);
    Some(view)
}

/// Resolves the JSON escapes of a string's inner bytes, which the scanner has checked.
pub(super) fn unescape_json(inner: &[u8]) -> View {
    let mut view = View {
        text: Vec::with_capacity(inner.len()),
        escapes: Vec::new(),
    };
    let mut copied = 0;
    while let Some(next) = inner
        .get(copied..)
        .and_then(|rest| memchr::memchr(b'\\', rest))
    {
        let at = copied + next;
        view.text
            .extend_from_slice(inner.get(copied..at).unwrap_or_default());
        let text = view.text.len();
        let length = match wire::json::string::escape(inner.get(at..).unwrap_or_default()) {
            Ok(found) => {
                let mut utf8 = [0; 4];
                let character = found.character.encode_utf8(&mut utf8);
                view.text.extend_from_slice(character.as_bytes());
                found.source_bytes
            }
            Err(_) => {
                view.text.push(b'\\');
                1
            }
        };
        let text_end = view.text.len();
        view.escapes.push(Place {
            text,
            text_end,
            source: at,
            source_end: at + length,
        });
        copied = at + length;
    }
    view.text
        .extend_from_slice(inner.get(copied..).unwrap_or_default());
    view
}

impl View {
    /// The source of which nothing is decoded yet.
    fn begin(source: &[u8]) -> Self {
        Self {
            text: Vec::with_capacity(source.len()),
            escapes: Vec::new(),
        }
    }

    /// Adds `decoded`, which `length` bytes at `at` of the source stand for; those before from `copied`
    /// on stand for themselves.
    fn add(&mut self, source: &[u8], copied: usize, at: usize, length: usize, decoded: &[u8]) {
        self.text
            .extend_from_slice(source.get(copied..at).unwrap_or_default());
        let text = self.text.len();
        self.text.extend_from_slice(decoded);
        self.escapes.push(Place {
            text,
            text_end: self.text.len(),
            source: at,
            source_end: at + length,
        });
    }
}

/// Resolves what a form's names and values are written in: `+` and percent escapes.
pub(super) fn unescape_form(source: &[u8]) -> View {
    unescape_url(source, b'+')
}

/// Resolves what a path's parts are written in: percent escapes.
pub(super) fn unescape_path(source: &[u8]) -> View {
    unescape_url(source, b'%')
}

/// Resolves percent escapes, and `blank` as a blank if it is another byte.
fn unescape_url(source: &[u8], blank: u8) -> View {
    let mut view = View::begin(source);
    let mut copied = 0;
    while let Some(next) = source
        .get(copied..)
        .and_then(|rest| memchr::memchr2(blank, b'%', rest))
    {
        let at = copied + next;
        let (byte, length) = match source.get(at..).unwrap_or_default() {
            [b'%', high, low, ..] => match hex_byte(*high, *low) {
                Some(byte) => (byte, 3),
                None => (b'%', 1),
            },
            [b'+', ..] => (b' ', 1),
            _ => (b'%', 1),
        };
        view.add(source, copied, at, length, &[byte]);
        copied = at + length;
    }
    view.text
        .extend_from_slice(source.get(copied..).unwrap_or_default());
    view
}

/// Resolves the doubled quotes inside a quoted field of a table.
pub(super) fn undouble(source: &[u8]) -> View {
    let mut view = View::begin(source);
    let mut copied = 0;
    while let Some(next) = source
        .get(copied..)
        .and_then(|rest| memchr::memmem::find(rest, b"\"\""))
    {
        view.add(source, copied, copied + next, 2, b"\"");
        copied += next + 2;
    }
    view.text
        .extend_from_slice(source.get(copied..).unwrap_or_default());
    view
}

/// Resolves character references; `None` if there are none.
pub(super) fn references(source: &[u8]) -> Option<View> {
    let mut view = View::begin(source);
    let (mut copied, mut from) = (0, 0);
    while let Some(next) = source
        .get(from..)
        .and_then(|rest| memchr::memchr(b'&', rest))
    {
        let at = from + next;
        let Some((Decoded::Character(character), length)) = reference_at(source.get(at..)?) else {
            from = at + 1;
            continue;
        };
        let mut utf8 = [0; 4];
        let decoded = character.encode_utf8(&mut utf8);
        view.add(source, copied, at, length, decoded.as_bytes());
        copied = at + length;
        from = copied;
    }
    view.text.extend_from_slice(source.get(copied..)?);
    (!view.escapes.is_empty()).then_some(view)
}

#[derive(Clone, Copy)]
enum Decoded {
    Byte(u8),
    Character(char),
}

fn escape_at(rest: &[u8]) -> Option<(Decoded, usize)> {
    match rest {
        [b'%', high, low, ..] => Some((Decoded::Byte(hex_byte(*high, *low)?), 3)),
        [b'\\', b'x', high, low, ..] => Some((Decoded::Byte(hex_byte(*high, *low)?), 4)),
        [b'\\', b'\'', ..] => Some((Decoded::Byte(b'\''), 2)),
        [b'\\', ..] => {
            let found = wire::json::string::escape(rest).ok()?;
            Some((Decoded::Character(found.character), found.source_bytes))
        }
        [b'&', ..] => reference_at(rest),
        _ => None,
    }
}

/// A character reference: numbers, which browsers read without a semicolon too, and the few names that
/// hide what a value is made of.
fn reference_at(rest: &[u8]) -> Option<(Decoded, usize)> {
    let window = rest.get(..rest.len().min(REFERENCE_BYTES_MAX))?;
    if let [b'&', b'#', number @ ..] = window {
        let (radix, digits, ahead) = match number {
            [b'x' | b'X', digits @ ..] => (16, digits, 3),
            digits => (10, digits, 2),
        };
        let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
        let count = digits.iter().take_while(is_digit).count();
        let number = std::str::from_utf8(digits.get(..count)?).ok()?;
        let code = u32::from_str_radix(number, radix).ok()?;
        let end = ahead + count + usize::from(digits.get(count) == Some(&b';'));
        return Some((Decoded::Character(char::from_u32(code)?), end));
    }
    let end = memchr::memchr(b';', window)?;
    let name = std::str::from_utf8(rest.get(1..end)?).ok()?;
    let character = match name {
        "commat" => '@',
        "period" => '.',
        "lowbar" => '_',
        "hyphen" | "dash" => '-',
        "plus" => '+',
        "equals" => '=',
        "sol" => '/',
        "colon" => ':',
        "nbsp" => '\u{a0}',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    };
    Some((Decoded::Character(character), end + 1))
}

fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Calls `found` with the span and the content of every run of base64 or hex in `text`.
pub(super) fn encoded_runs(text: &[u8], found: &mut dyn FnMut(usize, usize, &[u8])) {
    let mut at = RUN_BYTES_MIN - 1;
    // A run of n bytes has a byte at every nth place: only those are looked at.
    while let Some(byte) = text.get(at) {
        if !is_run_byte(byte) {
            at += RUN_BYTES_MIN;
            continue;
        }
        let start = at
            - text
                .get(..at)
                .unwrap_or_default()
                .iter()
                .rev()
                .take_while(|b| is_run_byte(b))
                .count();
        let length = text
            .get(at..)
            .unwrap_or_default()
            .iter()
            .take_while(|b| is_run_byte(b))
            .count();
        let end = at + length;
        if end - start >= RUN_BYTES_MIN {
            let padding = text
                .get(end..)
                .unwrap_or_default()
                .iter()
                .take(2)
                .take_while(|b| **b == b'=')
                .count();
            run(text, start, end, padding, found);
        }
        at = end + RUN_BYTES_MIN;
    }
}

fn is_run_byte(byte: &u8) -> bool {
    RUN_TABLE[usize::from(*byte)]
}

static RUN_TABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    table[b'+' as usize] = true;
    table[b'/' as usize] = true;
    table[b'-' as usize] = true;
    table[b'_' as usize] = true;
    table
};

fn run(
    text: &[u8],
    start: usize,
    end: usize,
    padding: usize,
    found: &mut dyn FnMut(usize, usize, &[u8]),
) {
    let bytes = text.get(start..end).unwrap_or_default();
    if let Some(decoded) = decode_hex(bytes).or_else(|| decode_base64(bytes)) {
        found(start, end + padding, &decoded);
    }
    // A path's last step may be base64 of its own.
    if bytes.contains(&b'/') {
        let mut from = start;
        for part in bytes.split(|byte| *byte == b'/') {
            let to = from + part.len();
            if part.len() >= RUN_BYTES_MIN
                && part.len() < bytes.len()
                && let Some(decoded) = decode_hex(part).or_else(|| decode_base64(part))
            {
                found(from, if to == end { to + padding } else { to }, &decoded);
            }
            from = to + 1;
        }
    }
}

/// Decodes a whole run in either alphabet.
pub(super) fn base64(run: &[u8]) -> Option<Vec<u8>> {
    let url = run.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url { &URL } else { &STANDARD };
    engine.decode(run).ok()
}

fn decode_base64(run: &[u8]) -> Option<Vec<u8>> {
    let url = run.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if url { &URL } else { &STANDARD };
    let binary = run.len() >= BINARY_RUN_BYTES_MIN;
    if !binary {
        let mut probe = [0; PROBE_BYTES];
        let length = engine
            .decode_slice(run.get(..PROBE_BYTES)?, &mut probe)
            .ok()?;
        if !probe.get(..length)?.iter().all(is_text_byte) {
            return None;
        }
    }
    // A length of 1 modulo 4 encodes nothing: the last character belongs to something else.
    let whole = if run.len() % 4 == 1 {
        run.len() - 1
    } else {
        run.len()
    };
    engine.decode(run.get(..whole)?).ok()
}

fn decode_hex(run: &[u8]) -> Option<Vec<u8>> {
    if !run.len().is_multiple_of(2) {
        return None;
    }
    let mut decoded = Vec::new();
    for pair in run.chunks_exact(2) {
        let [high, low] = pair else { return None };
        let byte = hex_byte(*high, *low)?;
        if !is_text_byte(&byte) {
            return None;
        }
        decoded.push(byte);
    }
    Some(decoded)
}

/// Bytes of UTF-8 text without control characters.
fn is_text_byte(byte: &u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E | 0x80..=0xF4)
}
