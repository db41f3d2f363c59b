//! Detectors that the operator writes: an expression, a list of words, or a place, with texts that they
//! must find and texts that they must leave alone. A config whose examples fail does not load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::class::DataClass;
use super::config::{ClassId, Fault, Settings};
use super::detect::Hit;
use super::masker::{Masker, ResponseFacts};
use super::needles::Needles;
use super::text::is_cut;

/// Most detectors of one mask setting.
const DETECTORS_MAX: usize = 64;
/// Longest expression, in bytes, and the memory that its automaton may take.
const REGEX_BYTES_MAX: usize = 1024;
const REGEX_PROGRAM_BYTES_MAX: usize = 1024 * 1024;
/// Most words of one list, and the shortest and longest of them, in bytes.
const WORDS_MAX: usize = 10_000;
const WORD_BYTES: std::ops::RangeInclusive<usize> = 3..=128;
/// Longest value that an expression is promised to find, in bytes: text is searched in windows that
/// overlap by as much, so that the time stays linear whatever the expression.
const MATCH_BYTES_MAX: usize = 1024;
const WINDOW_BYTES: usize = 8 * 1024;

/// A detector of the operator's own; exactly one of `regex`, `words` and `path` says how it finds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MaskDetectorConfig")]
#[serde(deny_unknown_fields, default)]
pub struct OwnConfig {
    /// An expression (syntax of the Rust crate `regex`, which takes linear time): what it matches is a
    /// value. Sees one string, or one piece of text between line ends, tabs, commas, `<`, `>` and `|`.
    pub regex: Option<String>,
    /// Words or phrases, found whole and in any case of A to Z.
    pub words: Vec<String>,
    /// A place in JSON, as under `fields`.
    pub path: Option<String>,
    /// Texts (JSON documents for `path`) in which it must find something; checked when the config is
    /// loaded.
    pub matches: Vec<String>,
    /// Texts in which it must find nothing; checked when the config is loaded.
    pub ignores: Vec<String>,
}

/// The compiled ones that look at values.
#[derive(Debug, Default)]
pub(super) struct OwnDetectors {
    expressions: Vec<(Regex, ClassId)>,
    lists: Vec<(AhoCorasick, ClassId)>,
}

impl OwnDetectors {
    pub(super) fn is_empty(&self) -> bool {
        self.expressions.is_empty() && self.lists.is_empty()
    }

    /// Finds values in `text`.
    pub(super) fn scan(&self, text: &[u8], hits: &mut Vec<Hit>) {
        if self.is_empty() {
            return;
        }
        // INVARIANT: no value reaches over a place where text is cut, so that chunks make no
        // difference.
        let mut start = 0;
        for piece in text.split(is_cut) {
            self.piece(piece, start, hits);
            start += piece.len() + 1;
        }
    }

    fn piece(&self, piece: &[u8], offset: usize, hits: &mut Vec<Hit>) {
        let mut from = 0;
        loop {
            let window = piece.get(from..piece.len().min(from + WINDOW_BYTES));
            let Some(window) = window.filter(|window| !window.is_empty()) else {
                return;
            };
            for (expression, class) in &self.expressions {
                hits.extend(expression.find_iter(window).map(|found| Hit {
                    start: offset + from + found.start(),
                    end: offset + from + found.end(),
                    class: *class,
                }));
            }
            for (list, class) in &self.lists {
                // All of them: a longer one that is not whole must not hide a shorter one that is.
                let whole = list.find_overlapping_iter(window).filter(|found| {
                    let before = found.start().checked_sub(1).and_then(|at| window.get(at));
                    !is_letter(before) && !is_letter(window.get(found.end()))
                });
                hits.extend(whole.map(|found| Hit {
                    start: offset + from + found.start(),
                    end: offset + from + found.end(),
                    class: *class,
                }));
            }
            if from + WINDOW_BYTES >= piece.len() {
                return;
            }
            from += WINDOW_BYTES - MATCH_BYTES_MAX;
        }
    }
}

fn is_letter(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
}

/// One detector, checked as far as it can be without the others.
enum Finds {
    Expression(Regex),
    List(AhoCorasick),
    Place,
}

/// Compiles what looks at values; places are the caller's.
pub(super) fn compile(
    config: &BTreeMap<String, OwnConfig>,
    number: &dyn Fn(&str) -> Option<ClassId>,
    faults: &mut Vec<Fault>,
) -> OwnDetectors {
    let mut own = OwnDetectors::default();
    if config.len() > DETECTORS_MAX {
        faults.push(Fault {
            place: "detectors".to_owned(),
            message: format!(
                "{} detectors, at most {DETECTORS_MAX} are allowed",
                config.len()
            ),
        });
        return own;
    }
    for (class, detector) in config {
        let found = finds(detector);
        match (found, number(class)) {
            (Ok(Finds::Expression(expression)), Some(class)) => {
                own.expressions.push((expression, class));
            }
            (Ok(Finds::List(list)), Some(class)) => own.lists.push((list, class)),
            // A class without a number is a fault that stands elsewhere.
            (Ok(Finds::Place), _) | (Ok(_), None) => {}
            (Err(message), _) => faults.push(Fault {
                place: format!("detectors.{class}"),
                message,
            }),
        }
    }
    own
}

fn finds(detector: &OwnConfig) -> Result<Finds, String> {
    match (&detector.regex, detector.words.as_slice(), &detector.path) {
        (Some(pattern), [], None) => expression(pattern).map(Finds::Expression),
        (None, words @ [_, ..], None) => list(words).map(Finds::List),
        (None, [], Some(_)) => Ok(Finds::Place),
        _ => Err("needs exactly one of `regex`, `words` and `path`".to_owned()),
    }
}

fn expression(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(format!(
            "the regex has {} bytes, at most {REGEX_BYTES_MAX} are allowed",
            pattern.len()
        ));
    }
    let expression = RegexBuilder::new(pattern)
        .size_limit(REGEX_PROGRAM_BYTES_MAX)
        .dfa_size_limit(REGEX_PROGRAM_BYTES_MAX)
        .build()
        .map_err(|error| {
            // The message draws the place over several lines; what is wrong stands on the last.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("not a regex: {}", last.trim_start_matches("error: "))
        })?;
    if expression.is_match(b"") {
        return Err(format!(
            "the regex `{pattern}` matches an empty text, and so every text: ask for at least one character"
        ));
    }
    Ok(expression)
}

fn list(words: &[String]) -> Result<AhoCorasick, String> {
    if words.len() > WORDS_MAX {
        return Err(format!(
            "{} words, at most {WORDS_MAX} are allowed",
            words.len()
        ));
    }
    if let Some(word) = words.iter().find(|word| !WORD_BYTES.contains(&word.len())) {
        return Err(format!("the word `{word}` does not have 3 to 128 bytes"));
    }
    if let Some(word) = words
        .iter()
        .find(|word| word.bytes().any(|byte| is_cut(&byte)))
    {
        return Err(format!(
            "the word `{word}` holds a line end, tab, comma, `<`, `>` or `|`, over which no value is searched: \
             write its parts"
        ));
    }
    AhoCorasickBuilder::new()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(words)
        .map_err(|error| error.to_string())
}

/// Runs the examples of all detectors.
pub(super) fn check(
    config: &BTreeMap<String, OwnConfig>,
    settings: &Arc<Settings>,
    faults: &mut Vec<Fault>,
) {
    for (name, detector) in config {
        let Ok(class) = name.parse::<DataClass>() else {
            continue;
        };
        let mut fault = |list: &str, at: usize, message: String| {
            faults.push(Fault {
                place: format!("detectors.{name}.{list}[{at}]"),
                message,
            });
        };
        for (at, text) in detector.matches.iter().enumerate() {
            match finds_in(detector, &class, settings, text) {
                Ok(true) => {}
                Ok(false) if text.bytes().any(|byte| is_cut(&byte)) => fault(
                    "matches",
                    at,
                    format!(
                        "finds nothing in `{text}`; no value reaches over a line end, tab, comma, `<`, `>` or `|`"
                    ),
                ),
                Ok(false) => fault("matches", at, format!("finds nothing in `{text}`")),
                Err(message) => fault("matches", at, message),
            }
        }
        for (at, text) in detector.ignores.iter().enumerate() {
            match finds_in(detector, &class, settings, text) {
                Ok(false) => {}
                Ok(true) => fault("ignores", at, format!("finds something in `{text}`")),
                Err(message) => fault("ignores", at, message),
            }
        }
    }
}

/// Whether the class is found in an example, as it would be in an answer.
fn finds_in(
    detector: &OwnConfig,
    class: &DataClass,
    settings: &Arc<Settings>,
    text: &str,
) -> Result<bool, String> {
    if detector.path.is_none() {
        let mut hits = Vec::new();
        settings
            .detectors
            .inspect(text.as_bytes(), |_| true, &mut hits);
        return Ok(hits
            .iter()
            .any(|hit| settings.class(hit.class) == Some(class)));
    }
    let facts = ResponseFacts {
        status: 200,
        content_type: Some("application/json"),
        ..ResponseFacts::default()
    };
    let plan = settings.plan(&BTreeSet::new());
    let unread = |withheld: super::Withheld| format!("`{text}` is not read as JSON: {withheld}");
    let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts).map_err(unread)?;
    let mut out = Vec::new();
    masker.push(text.as_bytes(), &mut out).map_err(unread)?;
    let summary = masker.finish(&mut out).map_err(unread)?;
    match summary.uninspected {
        Some(withheld) => Err(unread(withheld)),
        None => Ok(summary.observed.contains_key(class)),
    }
}

#[cfg(test)]
mod tests;
