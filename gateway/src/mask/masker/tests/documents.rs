//! The oracle by construction: documents are made with values at known places, in a random format, content coding and
//! chunks; what comes out must be the same document with a marker, pseudonym or token at each of those places, byte for
//! byte, and tokens must open to what stood there.
//!
//! `MASK_DOCUMENTS` says how many (default: a share that takes seconds), `MASK_SEED` where they begin. The long run is
//! `make mask-oracle`.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use super::super::super::detect::tests::detected;
use super::super::super::instead::is_few;
use super::super::super::{DataClass, Instead, Owner, Restorer, Settings, TokenFault};
use super::keyed::vault;
use super::{Case, brotli, deflate, gzip, typed, zstd};

/// Documents of the ordinary run.
const DOCUMENTS: u64 = 3000;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 ^ self.0 >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        usize::try_from(mixed >> 33).unwrap() % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Text without any value. Words that end in `:` or `=` would announce one.
const CLEAN: &[&str] = &[
    "",
    "paid",
    "the parcel is late",
    "2026-11-23",
    "caf\u{e9} \u{1f600}",
    "a/b c",
    "v1.2",
    "0",
    "Tuesday at ten",
    "100 percent",
];

/// One document and what it becomes.
#[derive(Default)]
struct Document {
    source: String,
    masked: String,
    values: usize,
}

impl Document {
    fn both(&mut self, text: &str) {
        self.source.push_str(text);
        self.masked.push_str(text);
    }

    /// A slot: a value with its marker, or clean text; `write` is the format's way to write text.
    fn slot(
        &mut self,
        random: &mut Random,
        values: &[(String, String)],
        write: &dyn Fn(&str) -> String,
    ) {
        if random.below(3) > 0 {
            let clean = write(random.of(CLEAN));
            return self.both(&clean);
        }
        let (value, masked) = &values[random.below(values.len())];
        let (before, after) = (
            random.of(&["", "see ", "(", "caf\u{e9} "]),
            random.of(&["", " now", ")"]),
        );
        let _ = write!(self.source, "{}", write(&format!("{before}{value}{after}")));
        let _ = write!(
            self.masked,
            "{}",
            write(&format!("{before}{masked}{after}"))
        );
        self.values += 1;
    }
}

fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn stands_instead(part: &str) -> bool {
    part.starts_with("[masked:") || part.starts_with("cgtok~")
}

/// Every character that may be escaped, escaped: the marker is not, so both are made apart.
fn json_escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for part in split_markers(text) {
        if stands_instead(part) {
            out.push_str(part);
        } else {
            for unit in part.encode_utf16() {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out + "\""
}

fn form_value(text: &str) -> String {
    let mut out = String::new();
    for part in split_markers(text) {
        if stands_instead(part) {
            out.push_str(part);
            continue;
        }
        for byte in part.bytes() {
            match byte {
                b' ' => out.push('+'),
                _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
                _ => {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    out
}

/// What stands in place of a value, apart from the text around it.
fn split_markers(text: &str) -> Vec<&str> {
    let marker = text.find("[masked:").map(|start| {
        let rest = &text[start..];
        (start, start + rest.find(']').unwrap() + 1)
    });
    let token = text.find("cgtok~").map(|start| {
        let marks = text[start..].match_indices('~').map(|(at, _)| at);
        (start, start + marks.take(3).last().unwrap() + 1)
    });
    let Some((start, end)) = marker.or(token) else {
        return vec![text];
    };
    vec![&text[..start], &text[start..end], &text[end..]]
}

fn xml_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&#34;")
}

fn csv_field(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

const FORMATS: [&str; 9] = [
    "application/json",
    "application/problem+json",
    "application/x-ndjson",
    "text/event-stream",
    "text/plain",
    "application/x-www-form-urlencoded",
    "text/csv",
    "application/xml",
    "multipart/mixed; boundary=zz9",
];

fn document(random: &mut Random, format: usize, values: &[(String, String)]) -> Document {
    let mut made = Document::default();
    let records = 1 + random.below(3);
    let begin = ["{\"l\":[", "[", "", "", "", "", "a,\"b\"\r\n", "<r>", ""][format];
    made.both(begin);
    for record in 0..records {
        let escape = random.below(2) == 0;
        let json = move |text: &str| {
            if escape {
                json_escaped(text)
            } else {
                json_string(text)
            }
        };
        match format {
            0 | 1 => {
                made.both(if record > 0 { ", {\"k\": " } else { "{\"k\": " });
                made.slot(random, values, &json);
                made.both(",\"n\":[1.50,null,");
                made.slot(random, values, &json_string);
                made.both("]}");
            }
            2 => {
                made.both("{\"k\":");
                made.slot(random, values, &json);
                made.both("}\n");
            }
            3 => {
                made.both("id: 7\ndata: {\"k\":");
                made.slot(random, values, &json);
                made.both("}\n\n");
            }
            4 => {
                made.both("note: ");
                made.slot(random, values, &str::to_owned);
                made.both("\n");
            }
            5 => {
                made.both(if record > 0 { "&k=" } else { "k=" });
                made.slot(random, values, &form_value);
            }
            6 => {
                made.slot(random, values, &csv_field);
                made.both(",");
                made.slot(random, values, &csv_field);
                made.both("\r\n");
            }
            7 => {
                made.both("<e k=\"");
                made.slot(random, values, &xml_text);
                made.both("\">");
                made.slot(random, values, &xml_text);
                made.both("</e>");
            }
            _ => {
                made.both("--zz9\r\nContent-Type: application/json\r\n\r\n[");
                made.slot(random, values, &json);
                made.both("]\r\n");
            }
        }
    }
    made.both(["]}", "]", "", "", "", "", "", "</r>", "--zz9--\r\n"][format]);
    made
}

fn chunks<'a>(random: &mut Random, body: &'a [u8]) -> Vec<&'a [u8]> {
    let longest = [1, 3, 17, 200, 100_000][random.below(5)];
    let (mut chunks, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(1 + random.below(longest)));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn everything(content_type: &'static str) -> Case {
    // A rule that matches nothing here, so that tables and XML are read as what they are.
    let mut case = typed(content_type).field("$.none.such", "x");
    case.config.detect = [
        "secret", "payment", "contact", "identity", "health", "device", "wallet",
    ]
    .map(str::to_owned)
    .to_vec();
    case
}

/// The same with something else than a marker for every class that may have it.
fn with_instead(content_type: &'static str, instead: Instead) -> Case {
    static CLASSES: OnceLock<Vec<DataClass>> = OnceLock::new();
    let mut case = everything(content_type);
    let classes = CLASSES.get_or_init(|| {
        let settings = Settings::compile(&case.config).unwrap();
        settings.classes().to_vec()
    });
    let names = classes.iter().map(DataClass::as_str);
    case.config.instead = names
        .filter(|class| !is_few(class))
        .map(|class| (class.to_owned(), instead))
        .collect();
    case.vault = Some(vault());
    case
}

/// What stands instead, the formats under it, and each detector's value with what it becomes on its own.
struct Instance {
    cases: [Case; FORMATS.len()],
    values: Vec<(String, String)>,
}

impl Instance {
    fn new(instead: Instead) -> Self {
        let cases = FORMATS.map(|format| with_instead(format, instead));
        // They differ in their format only, and to compile everything takes long.
        let shared = cases[0].settings();
        for case in &cases[1..] {
            case.settings.set(Arc::clone(&shared)).unwrap();
        }
        // Without a rule, so that a value in quotes is not taken for JSON.
        let mut text = with_instead("text/plain", instead);
        text.config.fields.clear();
        text.config.instead.remove("x");
        Self {
            cases,
            values: values(&text),
        }
    }
}

/// Each detector's value with what it becomes on its own.
fn values(text: &Case) -> Vec<(String, String)> {
    detected()
        .map(|(_, value)| {
            let masked = text.masked(&value);
            assert!(split_markers(&masked).len() == 3, "{value}");
            (value, masked)
        })
        // Those of more than one line are wrapped differently in each format.
        .filter(|(value, _)| !value.contains('\n'))
        .collect()
}

/// Whether tokens of a JSON answer open to what stood there; `None` where that is refused: one stands inside of
/// longer text and its value holds what means something there, or its value is too short to be looked for.
fn opens(out: &str, source: &str) -> Option<bool> {
    let vault = vault();
    let owner = Owner {
        issuer: "corp",
        subject: "ann",
        connection: "crm",
    };
    let may = |_: &DataClass| true;
    let mut restorer = Restorer::new(Some(&vault), owner, &may);
    let back = match restorer.body(Some("application/json"), out.as_bytes()) {
        Ok(back) => back.map_or(out.to_owned(), |back| String::from_utf8(back).unwrap()),
        Err(TokenFault::Unfit { .. } | TokenFault::TooShort { .. }) => return None,
        Err(fault) => panic!("{fault}"),
    };
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    Some(json(&back) == json(source))
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

// M1, M4, M6, M8, M15, M18: zero leaks, and zero bytes changed that need not be
#[test]
fn generated_documents_come_out_exactly_as_they_were_made_to() {
    let instances = [Instead::Redact, Instead::Pseudonym, Instead::Token].map(Instance::new);
    let (count, seed) = (
        setting("MASK_DOCUMENTS", DOCUMENTS),
        setting("MASK_SEED", 1),
    );
    let begin = std::time::Instant::now();
    let (mut planted, mut opened) = (0, 0);
    for at in 0..count {
        let mut random = Random(seed.wrapping_add(at).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let format = random.below(FORMATS.len());
        let kind = [0, 0, 1, 2][random.below(4)];
        let instance = &instances[kind];
        let made = document(&mut random, format, &instance.values);
        planted += made.values;
        let (coding, body) = match random.below(8) {
            0 => (Some("gzip"), gzip(made.source.as_bytes())),
            1 => (
                Some("deflate"),
                deflate(made.source.as_bytes(), random.below(2) == 0),
            ),
            2 => (Some("zstd"), zstd(made.source.as_bytes())),
            3 => (Some("br"), brotli(made.source.as_bytes())),
            _ => (None, made.source.clone().into_bytes()),
        };
        let case = &instance.cases[format];
        let pieces = chunks(&mut random, &body);
        let result = case.chunks_coded(coding, &pieces);
        let (out, summary) = result.unwrap_or_else(|withheld| {
            panic!(
                "document {at} of seed {seed} is withheld: {withheld}\n{}",
                made.source
            )
        });
        let out = String::from_utf8(out).unwrap();
        assert_eq!(
            out, made.masked,
            "document {at} of seed {seed}, {}, from:\n{}",
            FORMATS[format], made.source
        );
        assert!(summary.hits.values().sum::<u64>() >= made.values as u64);
        if kind == 2 && format < 2 && made.values > 0 && !out.contains("[masked:") {
            let opens = opens(&out, &made.source);
            assert_ne!(opens, Some(false), "document {at} of seed {seed}: {out}");
            opened += u64::from(opens.is_some());
        }
    }
    assert!(
        opened > 0 || count < 1000,
        "no document with tokens was opened"
    );
    let seconds = begin.elapsed().as_secs_f64();
    eprintln!(
        "{count} documents, {planted} values, 0 leaks, 0 bytes changed beside, in {seconds:.1} s"
    );
}

// M1: every detector in the formats that have a structure of their own; every two-way split through its value, and
// seeded three-way splits of the whole
#[test]
fn no_split_leaks_what_any_detector_finds_in_any_structure() {
    let mut plain = everything("text/plain");
    plain.config.fields.clear();
    let values = values(&plain);
    for (at, format) in FORMATS.iter().enumerate().skip(5) {
        let case = everything(format);
        for (value, masked) in &values {
            let write: &dyn Fn(&str) -> String = match at {
                5 => &form_value,
                6 => &csv_field,
                7 => &xml_text,
                _ => &json_string,
            };
            let (before, after) = match at {
                5 => ("a=1&k=", "&z=%20"),
                6 => ("k,l\r\n1,", "\r\n2,3\r\n"),
                7 => ("<r><a k=\"1\">", "</a></r>"),
                _ => (
                    "--zz9\r\nContent-Type: application/json\r\n\r\n[",
                    "]\r\n--zz9--",
                ),
            };
            let body = format!("{before}{}{after}", write(value));
            let expected = format!("{before}{}{after}", write(masked));
            let check = |cuts: &[usize]| {
                let mut pieces = Vec::new();
                let mut from = 0;
                for cut in cuts.iter().copied().chain([body.len()]) {
                    pieces.push(&body.as_bytes()[from..cut]);
                    from = cut;
                }
                let (out, _) = case.chunks(&pieces).unwrap();
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    expected,
                    "{format}, cut at {cuts:?}: {body}"
                );
            };
            for cut in before.len()..=body.len() - after.len() {
                check(&[cut]);
            }
            let mut random = Random(value.len() as u64);
            for _ in 0..10 {
                let mut cuts = [random.below(body.len()), random.below(body.len())];
                cuts.sort_unstable();
                check(&cuts);
            }
        }
    }
}
