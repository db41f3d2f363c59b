//! What must not compile. Each file of `tests/ui` begins with the error code that the compiler has to give
//! (`//~ E0451`), or with `//~ ok`; beside each that must fail stands a twin, `NAME.ok.rs`, which differs as
//! little as possible and compiles. So a case cannot pass because of a typing mistake.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The folder of this program: the built library and all that it needs lie beside it.
fn built() -> PathBuf {
    let here = std::env::current_exe().expect("the path of this program");
    here.parent().expect("a folder").to_path_buf()
}

/// The library that was built last. Other builds of it (other features) may lie beside it.
fn library(folder: &Path) -> PathBuf {
    let age = |path: &Path| {
        fs::metadata(path)
            .and_then(|meta| meta.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    };
    fs::read_dir(folder)
        .expect("the folder of the build")
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libcallgate-") && name.ends_with(".rlib")
        })
        .max_by_key(|path| age(path))
        .expect("the built library beside this program")
}

/// The error codes that the compiler gives for `file`; empty if it compiles.
fn compile(file: &Path, folder: &Path, library: &Path) -> (BTreeSet<String>, String) {
    let out = tempfile::tempdir().expect("a scratch folder");
    let result = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "lib",
            "--crate-name",
            "case",
        ])
        .args([
            "--emit",
            "metadata",
            "--error-format",
            "json",
            "--cap-lints",
            "allow",
        ])
        .arg("--extern")
        .arg(format!("callgate={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", folder.display()))
        .arg("--out-dir")
        .arg(out.path())
        .arg(file)
        .output()
        .expect("the compiler starts");
    let (mut codes, mut shown) = (BTreeSet::new(), String::new());
    for line in String::from_utf8_lossy(&result.stderr).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            shown.push_str(line);
            continue;
        };
        if message["level"] == "error" {
            shown.push_str(message["rendered"].as_str().unwrap_or_default());
            if let Some(code) = message["code"]["code"].as_str() {
                codes.insert(code.to_owned());
            } else if !message["message"]
                .as_str()
                .unwrap_or_default()
                .starts_with("aborting")
            {
                codes.insert("an error without a code".to_owned());
            }
        }
    }
    assert_eq!(
        result.status.success(),
        codes.is_empty(),
        "{}: {shown}",
        file.display()
    );
    (codes, shown)
}

/// What the first line of a case asks for: error codes, or none.
fn wanted(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).expect("a case");
    let first = text.lines().next().unwrap_or_default();
    let Some(asked) = first.strip_prefix("//~ ") else {
        panic!(
            "{}: the first line is not `//~ CODE` or `//~ ok`",
            file.display()
        );
    };
    asked
        .split_whitespace()
        .filter(|word| *word != "ok")
        .map(str::to_owned)
        .collect()
}

#[test]
fn misuses_do_not_compile_and_their_twins_do() {
    let folder = built();
    let library = library(&folder);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut faults = Vec::new();
    let mut misuses = 0;
    for entry in fs::read_dir(&cases).expect("tests/ui") {
        let file = entry.expect("a folder entry").path();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let wanted = wanted(&file);
        let twin = name.ends_with(".ok.rs");
        if twin != wanted.is_empty() {
            faults.push(format!("{name}: its first line does not fit its name"));
        }
        if !twin {
            misuses += 1;
            if !file.with_extension("ok.rs").is_file() {
                faults.push(format!("{name}: has no twin that compiles"));
            }
        }
        let (codes, shown) = compile(&file, &folder, &library);
        if codes != wanted {
            faults.push(format!(
                "{name}: wanted {wanted:?}, the compiler gave {codes:?}\n{shown}"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(misuses > 0, "no cases in {}", cases.display());
}
