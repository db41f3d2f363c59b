//! Lists the console's pages for embedding, as `console/` built them before; runs nothing of Node. Without a build the
//! list is empty, and the program says how to make one.

use std::fmt::Write as _;
use std::io::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Error> {
    let root =
        env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| Error::other("cargo names no folder"))?;
    let out = env::var_os("OUT_DIR").ok_or_else(|| Error::other("cargo names no output folder"))?;
    let built = Path::new(&root).join("../console/dist");
    println!("cargo::rerun-if-changed=build.rs");
    // The folder is always there: cargo would take a missing one for a change at each build.
    println!("cargo::rerun-if-changed={}", built.display());
    let mut files = Vec::new();
    for (folder, prefix) in [(built.clone(), ""), (built.join("assets"), "assets/")] {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && !name.starts_with('.') {
                files.push((format!("{prefix}{name}"), entry.path().canonicalize()?));
            }
        }
    }
    files.sort();
    let mut text = String::from("static FILES: &[(&str, &[u8])] = &[\n");
    for (name, path) in files {
        let path = path.to_string_lossy().into_owned();
        writeln!(text, "    ({name:?}, include_bytes!({path:?})),").map_err(Error::other)?;
    }
    text.push_str("];\n");
    fs::write(Path::new(&out).join("console_files.rs"), text)
}
