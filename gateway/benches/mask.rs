//! How fast answers are masked, on one core: documents of four sizes, clean, with a value here and there, and with
//! values in every record, as JSON and as text. Prints one JSON object a measurement; `--out DIR` also writes the
//! documents, so that others can be measured on the same ones. `--seconds N` is the time for each measurement,
//! `--only TEXT` chooses by name.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a program that measures: it prints, and stops at the first thing that is wrong"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use callgate::mask::{Config, Masker, Needles, ResponseFacts, Settings};
use rustix::time::{ClockId, clock_gettime};

/// An answer arrives in pieces of this size.
const CHUNK_BYTES: usize = 16 * 1024;
/// Documents of one corpus are made until they have this size together.
const CORPUS_BYTES: usize = 1024 * 1024;
const SIZES: [usize; 5] = [100, 1000, 4096, 10_000, 1_000_000];
const DENSITIES: [Density; 3] = [Density::Clean, Density::Sparse, Density::Dense];
const FORMATS: [Format; 2] = [Format::Json, Format::Text];
/// What is looked for: the classes that are on by default, contact data too, everything.
const SETS: [(&str, &[&str]); 3] = [
    ("default", &[]),
    ("contact", &["contact"]),
    (
        "everything",
        &[
            "secret", "payment", "contact", "identity", "health", "device", "wallet",
        ],
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Density {
    /// No value at all.
    Clean,
    /// A value in one of 32 records.
    Sparse,
    /// Values in every record.
    Dense,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Text,
}

impl Density {
    fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Sparse => "sparse",
            Self::Dense => "dense",
        }
    }

    fn holds_values(self, record: u64) -> bool {
        match self {
            Self::Clean => false,
            Self::Sparse => record.is_multiple_of(32),
            Self::Dense => true,
        }
    }
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let at = self.below(choices.len() as u64) as usize;
        choices[at]
    }
}

const WORDS: &[&str] = &[
    "order",
    "shipped",
    "the",
    "customer",
    "called",
    "about",
    "late",
    "delivery",
    "of",
    "two",
    "parcels",
    "and",
    "asked",
    "for",
    "refund",
    "invoice",
    "was",
    "sent",
    "again",
    "warehouse",
    "confirmed",
    "stock",
    "in",
    "store",
    "replacement",
    "arrives",
    "on",
    "monday",
    "signature",
    "required",
    "at",
    "door",
    "caf\u{e9}",
    "pr\u{fc}fung",
];
const STATES: &[&str] = &["paid", "open", "shipped", "returned", "cancelled"];
const FIRST: &[&str] = &["anna", "bob", "carla", "dmitri", "elena", "farid", "grace"];
const HOSTS: &[&str] = &["example.com", "mail.example.org", "shop.example.net"];
const CARDS: &[&str] = &["4111 1111 1111 1111", "5555555555554444", "378282246310005"];
const PHONES: &[&str] = &["+31 20 794 0800", "(212) 555-0123", "+14155552671"];
const IBANS: &[&str] = &["GB33 BUKB 2020 1555 5555 55", "DE89370400440532013000"];

fn note(random: &mut Random, words: u64) -> String {
    let mut text = String::new();
    for _ in 0..words {
        text.push_str(random.of(WORDS));
        text.push(' ');
    }
    text.push_str("done.");
    text
}

fn values(random: &mut Random) -> [String; 4] {
    let mail = format!(
        "{}.{}@{}",
        random.of(FIRST),
        random.below(1000),
        random.of(HOSTS)
    );
    let own = |text: &str| text.to_owned();
    [
        mail,
        own(random.of(CARDS)),
        own(random.of(PHONES)),
        own(random.of(IBANS)),
    ]
}

fn json_record(random: &mut Random, record: u64, full: bool, out: &mut String) {
    let [mail, card, phone, iban] = if full {
        values(random)
    } else {
        ["-", "none", "unlisted", "no account"].map(str::to_owned)
    };
    let length = 6 + random.below(16);
    let _ = write!(
        out,
        "{{\"id\":{},\"ref\":\"ord_{:08x}{:08x}\",\"status\":\"{}\",\"created\":\"2026-{:02}-{:02}T{:02}:14:07Z\",\
         \"total\":{}.{:02},\"currency\":\"EUR\",\"paid\":{},\"customer\":{{\"name\":\"{}\",\"email\":\"{mail}\",\
         \"phone\":\"{phone}\"}},\"payment\":{{\"card\":\"{card}\",\"account\":\"{iban}\"}},\"lines\":[{{\"sku\":\
         \"A-{}\",\"count\":{},\"price\":{}.5}}],\"note\":\"{}\",\"url\":\"https://api.example.com/v1/orders/{}\"}}",
        10_000 + record,
        random.next() as u32,
        random.next() as u32,
        random.of(STATES),
        1 + random.below(12),
        1 + random.below(28),
        random.below(24),
        random.below(900),
        random.below(100),
        random.below(2) == 0,
        random.of(FIRST),
        random.below(5000),
        random.below(9),
        random.below(200),
        note(random, length),
        10_000 + record,
    );
}

fn text_record(random: &mut Random, record: u64, full: bool, out: &mut String) {
    let length = 6 + random.below(10);
    let _ = write!(
        out,
        "2026-11-{:02}T10:{:02}:31.{:03}Z INFO orders[{}]: {} status={} took={}ms",
        1 + random.below(28),
        random.below(60),
        random.below(1000),
        1000 + random.below(9000),
        note(random, length),
        random.of(STATES),
        random.below(400),
    );
    if full {
        let [mail, card, phone, iban] = values(random);
        let _ = write!(
            out,
            " customer={mail} card={card}; phone {phone}, account {iban}"
        );
    }
    let _ = writeln!(out, " request={record}");
}

/// One document of about `size` bytes. Small ones hold a part of a record.
fn document(
    random: &mut Random,
    format: Format,
    density: Density,
    size: usize,
    first: u64,
) -> String {
    let mut out = String::new();
    let mut record = first;
    if size < 300 {
        return small(random, format, density.holds_values(first), first);
    }
    if format == Format::Json {
        out.push_str("{\"orders\":[");
    }
    while out.len() + 250 < size || record == first {
        let full = density.holds_values(record);
        match format {
            Format::Json => {
                if record > first {
                    out.push(',');
                }
                json_record(random, record, full, &mut out);
            }
            Format::Text => text_record(random, record, full, &mut out),
        }
        record += 1;
    }
    if format == Format::Json {
        out.push_str("]}");
    }
    out
}

fn small(random: &mut Random, format: Format, full: bool, record: u64) -> String {
    let [mail, ..] = values(random);
    let value = if full { mail.as_str() } else { "not given" };
    let state = random.of(STATES);
    match format {
        Format::Json => format!(
            "{{\"id\":{record},\"status\":\"{state}\",\"contact\":\"{value}\",\"note\":\"{}\"}}",
            note(random, 5)
        ),
        Format::Text => format!(
            "order {record} is {state}, contact {value}: {}\n",
            note(random, 7)
        ),
    }
}

fn corpus(format: Format, density: Density, size: usize) -> Vec<String> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ size as u64);
    let mut documents = Vec::new();
    let mut bytes = 0;
    while bytes < CORPUS_BYTES && documents.len() < 4096 {
        let made = document(&mut random, format, density, size, documents.len() as u64);
        bytes += made.len();
        documents.push(made);
    }
    documents
}

/// One answer through the masker; the number of values that were replaced.
fn mask(
    settings: &Arc<Settings>,
    unmask: &BTreeSet<callgate::mask::DataClass>,
    format: Format,
    text: &str,
    out: &mut Vec<u8>,
) -> u64 {
    let facts = ResponseFacts {
        status: 200,
        content_type: Some(format.media_type()),
        ..ResponseFacts::default()
    };
    out.clear();
    let masker = Masker::new(settings.plan(unmask), Arc::new(Needles::none()), &facts);
    let mut masker = masker.expect("an answer that can be read");
    for chunk in text.as_bytes().chunks(CHUNK_BYTES) {
        masker.push(chunk, out).expect("an answer that can be read");
    }
    let summary = masker.finish(out).expect("an answer that can be read");
    summary.hits.values().sum()
}

/// Processor time of this thread, in seconds: what others do on the machine does not count.
fn processor_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

struct Measured {
    bytes: usize,
    hits: u64,
    mb_per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

fn measure(
    settings: &Arc<Settings>,
    format: Format,
    documents: &[String],
    clean: bool,
    seconds: f64,
) -> Measured {
    let unmask = BTreeSet::new();
    let mut out = Vec::new();
    let mut hits = 0;
    let bytes: usize = documents.iter().map(String::len).sum();
    for document in documents {
        let found = mask(settings, &unmask, format, document, &mut out);
        hits += found;
        let changed = out
            .iter()
            .zip(document.as_bytes())
            .position(|(a, b)| a != b);
        if let (true, Some(at)) = (clean, changed) {
            panic!(
                "a clean document was changed: {}",
                &document[at.saturating_sub(40)..at + 40]
            );
        }
    }
    let mut each = Vec::new();
    let begin = processor_s();
    let mut passes = 0;
    while passes == 0 || processor_s() - begin < seconds {
        for document in documents {
            let start = Instant::now();
            std::hint::black_box(mask(settings, &unmask, format, document, &mut out));
            each.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        passes += 1;
    }
    let used = processor_s() - begin;
    each.sort_by(f64::total_cmp);
    Measured {
        bytes,
        hits,
        mb_per_s: bytes as f64 * f64::from(passes) / 1e6 / used,
        p50_us: each[each.len() / 2],
        p99_us: each[each.len() * 99 / 100],
    }
}

struct Options {
    out: Option<PathBuf>,
    seconds: f64,
    only: String,
}

fn options() -> Options {
    let mut options = Options {
        out: None,
        seconds: 0.5,
        only: String::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .unwrap_or_else(|| panic!("`{argument}` needs a value"))
        };
        match argument.as_str() {
            "--out" => options.out = Some(value().into()),
            "--seconds" => options.seconds = value().parse().expect("a number of seconds"),
            "--only" => options.only = value(),
            // What `cargo bench` adds.
            "--bench" => {}
            _ => panic!("unknown argument `{argument}`: --out DIR, --seconds N, --only TEXT"),
        }
    }
    options
}

fn main() {
    let options = options();
    let compile = |detect: &[&str]| {
        let detect = detect.iter().map(|&name| name.to_owned()).collect();
        let config = Config {
            detect,
            fields: BTreeMap::new(),
            ..Config::default()
        };
        Arc::new(Settings::compile(&config).expect("fixed settings"))
    };
    let sets = SETS.map(|(name, detect)| (name, compile(detect)));
    for format in FORMATS {
        for size in SIZES {
            for density in DENSITIES {
                let documents = corpus(format, density, size);
                let name = format!("{}-{size}-{}", format.name(), density.name());
                if let Some(folder) = &options.out {
                    let lines: Vec<String> = documents
                        .iter()
                        .map(|document| serde_json::to_string(document).expect("a string"))
                        .collect();
                    std::fs::write(folder.join(format!("{name}.jsonl")), lines.join("\n"))
                        .expect("a folder to write to");
                }
                for (set, settings) in &sets {
                    if !format!("{name}-{set}").contains(&options.only) {
                        continue;
                    }
                    // A clean document has look-alikes for some of the detectors that are off by default.
                    let clean = density == Density::Clean && *set != "everything";
                    let found = measure(settings, format, &documents, clean, options.seconds);
                    println!(
                        "{}",
                        serde_json::json!({
                            "corpus": name, "format": format.name(), "size": size, "density": density.name(),
                            "set": set, "documents": documents.len(), "bytes": found.bytes, "hits": found.hits,
                            "mb_per_s": (found.mb_per_s * 10.0).round() / 10.0,
                            "p50_us": (found.p50_us * 10.0).round() / 10.0,
                            "p99_us": (found.p99_us * 10.0).round() / 10.0,
                        })
                    );
                }
            }
        }
    }
}
