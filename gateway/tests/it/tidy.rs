//! The house rules that no compiler checks: which room may import which, how long a file may be, what a
//! source may not say. Reads the sources as text; `scan` is tested below like any other code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

mod scan;

use scan::{bare, crate_paths, glob_imports, super_paths, without_tests};

/// The floor that each room stands on. A room imports lower floors only.
const FLOORS: &[(&str, u8)] = &[
    ("clock", 0),
    ("disk", 0),
    ("secret", 0),
    ("egress", 1),
    ("telemetry", 2),
    ("store", 2),
    ("listener", 2),
    ("mask", 2),
    ("call", 3),
    ("identity", 3),
    ("witness", 3),
    ("policy", 4),
    ("record", 5),
    ("approval", 6),
    ("export", 6),
    ("evidence", 7),
    ("gate", 7),
    ("notify", 7),
    ("credential", 8),
    ("upstream", 9),
    ("pipeline", 10),
    ("protocol", 11),
    ("console", 11),
    ("config", 12),
    ("app", 13),
    ("cli", 14),
    ("demo", 14),
];

/// Steps that the floors do not allow and that are taken nevertheless, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "cli",
    "demo",
    "`callgate demo` is a command; releases are built without the feature",
)];

/// What only some rooms may write, and why. The first room of each list is the reason's owner.
const GUARDED: &[(&str, &[&str], &str)] = &[
    (
        ".spend()",
        &["upstream"],
        "only the upstream takes permits and credentials apart",
    ),
    (
        "SystemTime::now",
        &["clock", "demo"],
        "the time is asked of `clock`, which tests replace",
    ),
    (
        "process::exit",
        &[],
        "`main` returns an exit code, so that everything is drained and synced",
    ),
];

/// Rooms that keep evidence: their files go through `disk`, which tests replace.
const EVIDENCE: &[&str] = &["record", "gate", "pipeline", "witness", "export"];

/// Protocols that ride on another protocol's connection.
const RIDES_ON: &[(&str, &str)] = &[("mcp", "http"), ("grpc", "http")];

/// Longest source file, in lines; one of tests may be longer, since cases are lists.
const FILE_LINES_MAX: usize = 600;
const TEST_FILE_LINES_MAX: usize = 900;

/// Globs that tests may import.
const TEST_GLOBS: &[&str] = &["super::*", "proptest::prelude::*"];

/// Longest `ARCHITECTURE.md`, in lines.
const ARCHITECTURE_LINES_MAX: usize = 150;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace folder")
        .to_path_buf()
}

/// All `.rs` files below `folder`, sorted, as paths relative to it.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in
            fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display()))
        {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(
                    path.strip_prefix(folder)
                        .expect("below the folder")
                        .to_path_buf(),
                );
            }
        }
    }
    found.into_iter().collect()
}

/// One source of the gateway: where it stands, and its text without comments, strings and test items.
struct Source {
    path: PathBuf,
    room: String,
    /// Modules between the crate's root and this file's items.
    depth: usize,
    code: String,
}

/// The gateway's sources, test-only files left out.
fn gateway() -> Vec<Source> {
    let folder = root().join("gateway/src");
    let mut all = Vec::new();
    let mut test_only = BTreeSet::new();
    for path in sources(&folder) {
        let text = fs::read_to_string(folder.join(&path)).expect("a source file");
        let (code, modules) = without_tests(&bare(&text));
        let parts: Vec<String> = path
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .filter(|part| part != "mod")
            .collect();
        for module in modules {
            let mut inner = parts.clone();
            inner.push(module);
            test_only.insert(inner);
        }
        all.push((path, parts, code));
    }
    all.into_iter()
        .filter(|(_, parts, _)| {
            !(1..=parts.len()).any(|end| test_only.contains(&parts[..end]))
                && parts != &["main"]
                && parts != &["lib"]
        })
        .map(|(path, parts, code)| Source {
            path,
            room: parts[0].clone(),
            depth: parts.len(),
            code,
        })
        .collect()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, floor)| *floor)
}

/// Why `from` may not import `to`, or nothing if it may.
fn objection(from: &str, to: &str) -> Option<String> {
    if from == to || EXCEPTIONS.iter().any(|(a, b, _)| (*a, *b) == (from, to)) {
        return None;
    }
    let here = floor(from)?;
    match floor(to) {
        None => Some(format!("`{to}` is no room of the floor table")),
        Some(there) if there < here => None,
        Some(there) if there == here => Some(format!(
            "a step sideways: `{from}` and `{to}` are on floor {here}"
        )),
        Some(there) => Some(format!(
            "a step up: `{from}` is on floor {here}, `{to}` on floor {there}"
        )),
    }
}

/// What `source` imports that it may not.
fn objections(source: &Source) -> Vec<String> {
    let mut named = crate_paths(&source.code);
    for (climbs, rest) in super_paths(&source.code) {
        // From a room's own file `super` is the crate's root; deeper files need as many steps as they are deep.
        if climbs >= source.depth && floor(&rest[0]).is_some() {
            named.push(rest);
        }
    }
    let mut found = Vec::new();
    for path in named {
        if let Some(why) = objection(&source.room, &path[0]) {
            found.push(format!("{}: {why}", source.path.display()));
        }
        if let Some(why) = protocol_objection(&source.path, &path) {
            found.push(format!("{}: {why}", source.path.display()));
        }
    }
    found
}

/// The rooms below `protocol` do not know each other, except where one rides on the other.
fn protocol_objection(file: &Path, path: &[String]) -> Option<String> {
    let mut parts = file
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next());
    if first != "protocol" || third.is_none() || path.len() < 2 || path[0] != "protocol" {
        return None;
    }
    let sibling = root().join("gateway/src/protocol").join(&path[1]).is_dir();
    let rides = RIDES_ON.iter().any(|(a, b)| *a == second && *b == path[1]);
    (sibling && second != path[1] && !rides).then(|| {
        format!(
            "a step sideways: `protocol::{second}` imports `protocol::{}`",
            path[1]
        )
    })
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_room_imports_lower_floors_only() {
    let sources = gateway();
    assert!(
        sources.len() > 5,
        "the scan found only {} sources",
        sources.len()
    );
    report(&sources.iter().flat_map(objections).collect::<Vec<_>>());
}

#[test]
fn guarded_words_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for source in gateway() {
        for (word, rooms, why) in GUARDED {
            if source.code.contains(word) && !rooms.contains(&source.room.as_str()) {
                faults.push(format!("{}: `{word}`: {why}", source.path.display()));
            }
        }
        let files = ["std::fs", "tokio::fs"]
            .iter()
            .any(|word| source.code.contains(word));
        if files && EVIDENCE.contains(&source.room.as_str()) {
            faults.push(format!(
                "{}: evidence goes through `disk`",
                source.path.display()
            ));
        }
    }
    report(&faults);
}

#[test]
fn every_room_has_a_floor_and_a_line_in_the_architecture() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let lines = text.lines().count();
    assert!(
        lines <= ARCHITECTURE_LINES_MAX,
        "ARCHITECTURE.md has {lines} lines, {ARCHITECTURE_LINES_MAX} is the limit"
    );
    let mut faults: Vec<String> = gateway()
        .iter()
        .filter(|source| floor(&source.room).is_none())
        .map(|source| format!("{}: its room has no floor", source.path.display()))
        .collect();
    for (room, _) in FLOORS {
        if !text
            .lines()
            .any(|line| line.starts_with('|') && line.contains(&format!("`{room}`")))
        {
            faults.push(format!("ARCHITECTURE.md: no row names the room `{room}`"));
        }
    }
    report(&faults);
}

#[test]
fn no_source_is_too_long_or_imports_a_glob() {
    let mut faults = Vec::new();
    for folder in ["gateway/src", "gateway/tests/it", "tlog/src", "wire/src"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(root().join(folder).join(&path)).expect("a source file");
            let test_file = folder.contains("tests")
                || path
                    .iter()
                    .any(|part| part == "tests" || part == "tests.rs");
            let limit = if test_file {
                TEST_FILE_LINES_MAX
            } else {
                FILE_LINES_MAX
            };
            let lines = text.lines().count();
            if lines > limit {
                faults.push(format!(
                    "{folder}/{}: {lines} lines, {limit} is the limit",
                    path.display()
                ));
            }
            let (code, _) = without_tests(&bare(&text));
            for glob in glob_imports(&code) {
                if !(test_file && TEST_GLOBS.contains(&glob.as_str())) {
                    faults.push(format!("{folder}/{}: glob import `{glob}`", path.display()));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn every_source_says_what_it_is_and_leaves_nothing_for_later() {
    // Put together here, so that this file does not say them.
    let later = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|parts| parts.concat());
    let ignored = ["#[ig", "nore"].concat();
    let mut faults = Vec::new();
    for folder in ["gateway/src", "gateway/tests", "tlog/src", "wire/src"] {
        for path in sources(&root().join(folder)) {
            let text = fs::read_to_string(root().join(folder).join(&path)).expect("a source file");
            let name = format!("{folder}/{}", path.display());
            for word in later.iter().filter(|word| says(&text, word)) {
                faults.push(format!("{name}: says `{word}`"));
            }
            if text.contains(&ignored) {
                faults.push(format!("{name}: a test is left out"));
            }
            let tests = path
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("test"));
            let inner = folder == "gateway/tests";
            if !tests && !inner && !text.starts_with("//!") {
                faults.push(format!("{name}: does not begin with `//!`"));
            }
        }
    }
    report(&faults);
}

/// Whether `text` has `word` as a word of its own.
fn says(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .any(|part| part == word)
}

#[test]
fn a_step_up_or_sideways_is_found() {
    assert_eq!(objection("policy", "call"), None);
    assert_eq!(objection("policy", "policy"), None);
    assert_eq!(objection("cli", "demo"), None);
    assert!(objection("demo", "cli").is_some_and(|why| why.contains("sideways")));
    assert!(objection("call", "identity").is_some_and(|why| why.contains("sideways")));
    assert!(objection("policy", "gate").is_some_and(|why| why.contains("step up")));
    assert!(objection("policy", "util").is_some_and(|why| why.contains("no room")));
}

#[test]
fn a_climb_out_of_a_room_counts_as_an_import() {
    let source = |path: &str, depth, code: &str| Source {
        path: PathBuf::from(path),
        room: "policy".to_owned(),
        depth,
        code: code.to_owned(),
    };
    assert!(objections(&source("policy/mod.rs", 1, "use super::gate::Gate;")).len() == 1);
    assert!(
        objections(&source(
            "policy/slice.rs",
            2,
            "use super::super::gate::Gate;"
        ))
        .len()
            == 1
    );
    assert!(objections(&source("policy/slice.rs", 2, "use super::gate::Gate;")).is_empty());
    assert!(
        objections(&source(
            "policy/mod.rs",
            1,
            "use crate::{call::Call, gate::Gate};"
        ))
        .len()
            == 1
    );
}

#[test]
fn protocols_do_not_import_each_other() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        protocol_objection(
            Path::new("protocol/http/mod.rs"),
            &path("protocol::http::auth")
        ),
        None
    );
    assert_eq!(
        protocol_objection(
            Path::new("protocol/mcp/mod.rs"),
            &path("protocol::http::auth")
        ),
        None
    );
    assert_eq!(
        protocol_objection(Path::new("gate/mod.rs"), &path("protocol::http")),
        None
    );
}
