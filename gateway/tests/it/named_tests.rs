//! Every test and every sabotage that the documents name is there, so that their tables cannot rot.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::support::gateway::files;
use super::support::root;

/// Where tests live: the word in front of a name, the folder, and what stands in front of its modules.
const PLACES: [(&str, &str); 4] = [
    ("", "gateway/src"),
    ("it", "gateway/tests/it"),
    ("wire", "wire/src"),
    ("tlog", "tlog/src"),
];

/// The text of every source file, by place and module path.
fn modules() -> BTreeMap<(&'static str, String), String> {
    let mut modules = BTreeMap::new();
    for (place, folder) in PLACES {
        let folder = root().join(folder);
        for path in files(&folder) {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                modules.insert((place, module(&folder, &path)), text);
            }
        }
    }
    modules
}

fn module(folder: &Path, path: &Path) -> String {
    let path = path.strip_prefix(folder).expect("a file of it");
    let text = path.with_extension("").to_string_lossy().replace('/', "::");
    text.trim_end_matches("::mod").to_owned()
}

/// Whether there is such a test, or such a module with tests in it.
fn exists(modules: &BTreeMap<(&'static str, String), String>, place: &str, name: &str) -> bool {
    let segments: Vec<&str> = name.split("::").collect();
    (1..=segments.len()).rev().any(|length| {
        let (file, rest) = segments.split_at(length);
        let file = file.join("::");
        let Some((_, text)) = modules
            .iter()
            .find(|((at, path), _)| *at == place && *path == file)
        else {
            return false;
        };
        match rest.split_last() {
            None => below(modules, place, &file).any(|text| has_tests(text)),
            Some((last, inner)) => {
                inner
                    .iter()
                    .all(|name| text.contains(&format!("mod {name}")))
                    && (text.contains(&format!("fn {last}("))
                        || (text.contains(&format!("mod {last} {{")) && has_tests(text)))
            }
        }
    })
}

/// A module and all below it.
fn below<'m>(
    modules: &'m BTreeMap<(&'static str, String), String>,
    place: &'m str,
    file: &'m str,
) -> impl Iterator<Item = &'m String> {
    let inside = format!("{file}::");
    modules
        .iter()
        .filter(move |((at, path), _)| *at == place && (path == file || path.starts_with(&inside)))
        .map(|(_, text)| text)
}

fn has_tests(text: &str) -> bool {
    text.contains("#[test]") || text.contains("#[tokio::test") || text.contains("proptest!")
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A test's place and path, if the words are one.
fn test_name(words: &str) -> Option<(&'static str, &str)> {
    let (place, name) = words.split_once(' ').unwrap_or(("", words));
    let (place, _) = PLACES.iter().find(|(word, _)| *word == place)?;
    let path = name.split("::").all(|segment| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        !segment.is_empty() && segment.bytes().all(plain)
    });
    // A word alone is a test's name only behind its place.
    (path && (name.contains("::") || !place.is_empty())).then_some((*place, name))
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let modules = modules();
    let mut named = 0;
    let mut lost = Vec::new();
    for document in ["docs/threats.md", "docs/adversarial.md"] {
        let text = fs::read_to_string(root().join(document)).expect("a document");
        for words in quoted(&text) {
            let there = match words.strip_prefix("sabotage/") {
                Some("NAME") => continue,
                Some(name) => root()
                    .join(format!("tests/sabotage/{name}.patch"))
                    .is_file(),
                None => match test_name(words) {
                    Some((place, name)) => exists(&modules, place, name),
                    None => continue,
                },
            };
            named += 1;
            if !there {
                lost.push(format!("{document}: `{words}`"));
            }
        }
    }
    assert!(
        lost.is_empty(),
        "named, and not there:\n{}",
        lost.join("\n")
    );
    assert!(named > 150, "only {named} names were read");
}

#[test]
fn a_name_that_nobody_has_is_noticed() {
    let modules = modules();
    assert!(exists(
        &modules,
        "it",
        "named_tests::a_name_that_nobody_has_is_noticed"
    ));
    assert!(exists(&modules, "it", "http_corpus"));
    assert!(exists(
        &modules,
        "",
        "protocol::http::reply::tests::an_answer_ends_cleanly_only_when_its_end_was_said"
    ));
    for gone in [
        "named_tests::nobody",
        "nobody",
        "http_corpus::nobody::at_all",
    ] {
        assert!(!exists(&modules, "it", gone), "{gone}");
    }
    assert_eq!(test_name("it crash"), Some(("it", "crash")));
    assert_eq!(test_name("mask::masker"), Some(("", "mask::masker")));
    assert_eq!(test_name("make check"), None);
    assert_eq!(test_name("serve"), None);
}
