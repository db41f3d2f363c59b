//! From what the log hands out to the files of a bundle.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::read::{Told, derived};
use super::{Bundle, CHECKPOINT, FORMAT, Fault, Files, MANIFEST, POLICIES};
use crate::record::{Gathered, digest_text, write_hex};

/// What a bundle is and holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// Its form.
    pub(super) format: String,
    /// The call that it is about.
    pub(super) call: String,
    /// Indexes of its records.
    pub(super) records: Vec<u64>,
    /// Whether content is disclosed.
    pub(super) disclosed: bool,
    /// SHA-256 of each other file, by its path.
    pub(super) files: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest of these files.
    pub(super) fn of(call: &str, files: &Files) -> Self {
        let index = |path: &String| {
            let digits = path.strip_prefix("records/")?.strip_suffix(".tlog-proof")?;
            digits.parse().ok()
        };
        let others = files.iter().filter(|(path, _)| *path != MANIFEST);
        Self {
            format: FORMAT.to_owned(),
            call: call.to_owned(),
            records: files.keys().filter_map(index).collect(),
            disclosed: files.keys().any(|path| path.starts_with("sealed/")),
            files: others
                .map(|(path, bytes)| (path.clone(), digest_text(&[bytes])))
                .collect(),
        }
    }

    /// Its one spelling.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// The path of a record's proof.
pub(super) fn proof_path(index: u64) -> String {
    format!("records/{index:012}.tlog-proof")
}

/// The path of a record's sealed frames.
pub(super) fn frames_path(index: u64) -> String {
    format!("sealed/{index:012}.frames")
}

/// The path of the key to a content.
pub(super) fn key_path(id: &[u8; 16]) -> String {
    format!("sealed/{}.key", write_hex(id))
}

/// The path of what a commitment begins with.
pub(super) fn salt_path(word: &str) -> String {
    format!("content/{word}.salt")
}

impl Bundle {
    /// The bundle of what was gathered of a call.
    ///
    /// # Errors
    /// [`Fault`] when what the log hands out does not hold together.
    pub fn make(gathered: &Gathered) -> Result<Self, Fault> {
        let mut files = Files::new();
        files.insert(
            CHECKPOINT.to_owned(),
            gathered.checkpoint.clone().into_bytes(),
        );
        for record in &gathered.records {
            files.insert(proof_path(record.index), record.proof.clone().into_bytes());
            let Some(disclosed) = &record.disclosed else {
                continue;
            };
            files.insert(frames_path(record.index), disclosed.frames.clone());
            let key = format!("{}\n", write_hex(&disclosed.key)).into_bytes();
            files.insert(key_path(&disclosed.id), key);
            // Of the call's own begin and end, or of the ones that its approval led to.
            for (word, salt) in &disclosed.salts {
                let path = salt_path(word);
                files.entry(path).or_insert_with(|| salt.to_vec());
            }
        }
        if let Some(policies) = &gathered.policies {
            files.insert(POLICIES.to_owned(), policies.clone());
        }
        let call = gathered.call.to_string();
        let told = Told::records(&call, &files)?.open(&files)?;
        files.extend(derived(&told));
        let manifest = Manifest::of(&call, &files).bytes();
        files.insert(MANIFEST.to_owned(), manifest);
        Ok(Self { files })
    }
}
