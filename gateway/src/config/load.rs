//! Reading the file. What cannot be read keeps everything else as it is.

use std::path::{Path, PathBuf};

use super::{Config, Fault};
use crate::disk::read_named;
use crate::policy::PolicyFile;

/// Largest config file, in bytes.
pub(super) const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// Most policy files.
pub(super) const POLICY_FILES_MAX: usize = 1000;

/// A config that could be read, and what stands beside it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The config file.
    pub path: PathBuf,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// The file's text, for the version.
    pub text: String,
    /// The policies.
    pub policies: Vec<PolicyFile>,
}

impl Loaded {
    /// The data folder.
    pub fn data(&self) -> PathBuf {
        plain(&self.base.join(&self.config.data))
    }
}

/// Read a config file and the policies that it names.
///
/// # Errors
/// Every [`Fault`] that reading can find.
pub fn load(path: &Path) -> Result<Loaded, Vec<Fault>> {
    let shown = path.display().to_string();
    let text = read_limited(path, CONFIG_BYTES_MAX).map_err(|fault| vec![fault])?;
    let config = parse(&shown, &text).map_err(|fault| vec![fault])?;
    let base = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let base = if base.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        base
    };
    let policies = policies_in(&plain(&base.join(&config.policies)))?;
    Ok(Loaded {
        config,
        path: path.to_owned(),
        base,
        text,
        policies,
    })
}

/// The settings that a text says; nothing but the text is read.
fn parse(shown: &str, text: &str) -> Result<Config, Fault> {
    serde_saphyr::from_str(text).map_err(|error| yaml(shown, &error))
}

/// The published JSON Schema of the config file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Config).to_value()
}

/// The path without `.` components, for people to read.
fn plain(path: &Path) -> PathBuf {
    let named = path
        .components()
        .filter(|part| *part != std::path::Component::CurDir);
    let plain: PathBuf = named.collect();
    if plain.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        plain
    }
}

fn yaml(shown: &str, error: &serde_saphyr::Error) -> Fault {
    let place = match error.location() {
        Some(location) => format!("{shown}:{}:{}", location.line(), location.column()),
        None => shown.to_owned(),
    };
    let text = error.without_snippet().to_string();
    // The place is told in front already.
    let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
    let help = if text.contains("unknown field") {
        "keys are strict; `callgate schema` prints all of them"
    } else {
        "see docs/config.md for this key"
    };
    Fault::new(place, text).help(help)
}

fn read_limited(path: &Path, most: u64) -> Result<String, Fault> {
    let shown = path.display().to_string();
    let bytes = read_named(path, most).map_err(|error| {
        let help = "give the config with `--config FILE`; `callgate init` writes a first one";
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let fault = Fault::new(&shown, error);
        if missing { fault.help(help) } else { fault }
    })?;
    String::from_utf8(bytes).map_err(|_| Fault::new(shown, "not UTF-8"))
}

/// The policies of a folder, in the order of their names.
///
/// # Errors
/// Every [`Fault`] that reading can find.
pub fn policies_in(folder: &Path) -> Result<Vec<PolicyFile>, Vec<Fault>> {
    let shown = folder.display().to_string();
    let failed = |error: std::io::Error| {
        vec![Fault::new(&shown, error).help("`policies` names a folder with *.cedar files")]
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            paths.push(path);
        }
    }
    if paths.len() > POLICY_FILES_MAX {
        return Err(vec![Fault::new(shown, "more than 1000 policy files")]);
    }
    // The order of files must not depend on the file system.
    paths.sort();
    let mut files = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        match read_limited(&path, CONFIG_BYTES_MAX) {
            Ok(text) => files.push(PolicyFile {
                name: path.display().to_string(),
                text,
            }),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(files)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = include_str!("../../../examples/demo/callgate.yaml");

    /// What YAML readers stumble over.
    const PIECES: &[&str] = &[
        "&a ",
        "*a",
        "<<: *a",
        "!!binary ",
        "!!float ",
        "? ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "\t",
        "\n",
        "\r",
        "\0",
        "\u{feff}",
        "\u{2028}",
        "'",
        "\"",
        "\\x",
        "\\U0010FFFF",
        "|",
        ">-",
        "%YAML 9",
        "---",
        "...",
        "#",
        ": ",
        "~",
        "null",
        ".inf",
        "-.nan",
        "0x7fffffffffffffffff",
        "99999999999999999999999",
        "1e999",
        "-1",
        "env:",
        "file:",
        "http://[",
        "https://a:99999",
        "127.0.0.1:99999",
        "[::1",
        "{{",
        "$.",
        "@",
        "corp/",
        "\u{202e}",
    ];

    /// The example with pieces of itself and of [`PIECES`] put in, taken out and doubled.
    fn mangled() -> impl Strategy<Value = String> {
        let edit = (0..EXAMPLE.len(), 0..200_usize, 0..PIECES.len(), 0..4_u8);
        proptest::collection::vec(edit, 1..8).prop_map(|edits| {
            let mut text = EXAMPLE.to_owned();
            for (at, length, piece, what) in edits {
                let begin = (0..=at.min(text.len()))
                    .rev()
                    .find(|at| text.is_char_boundary(*at));
                let begin = begin.unwrap_or(0);
                let end = (begin + length).min(text.len());
                let end = (end..=text.len()).find(|at| text.is_char_boundary(*at));
                let end = end.unwrap_or(text.len());
                match what {
                    0 => text.replace_range(begin..end, ""),
                    1 => text.replace_range(begin..end, PIECES[piece]),
                    2 => text.insert_str(begin, PIECES[piece]),
                    _ => {
                        let piece = text[begin..end].to_owned();
                        text.insert_str(begin, &piece);
                    }
                }
            }
            text
        })
    }

    proptest! {
        #[test]
        fn no_text_panics_or_is_read_with_two_meanings(text in mangled()) {
            match parse("callgate.yaml", &text) {
                Ok(config) => {
                    // What was read can be judged, and reading it again gives the same.
                    let _ = config.approvals.faults();
                    let again = parse("callgate.yaml", &text).expect("the same text");
                    prop_assert_eq!(format!("{config:?}"), format!("{again:?}"));
                }
                Err(fault) => prop_assert!(fault.to_string().starts_with("callgate.yaml"), "{}", fault),
            }
        }

        #[test]
        fn no_bytes_panic(text in "\\PC{0,400}") {
            let _ = parse("callgate.yaml", &text);
        }
    }

    // X10
    #[test]
    fn aliases_that_multiply_and_depth_without_end_are_refused_in_time() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let before = format!("*a{}", level - 1);
            let all = vec![before; 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{all}]\n"));
        }
        let deep = format!("listen: {}", "[".repeat(200_000));
        let begin = Instant::now();
        for text in [bomb, deep] {
            assert!(parse("callgate.yaml", &text).is_err());
        }
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?}",
            begin.elapsed()
        );
    }
}
