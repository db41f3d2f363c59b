//! Whether a bundle is what it says.

use tlog::note::Note;
use tlog::policy::Policy;
use tlog::proof::verify_inclusion;
use tlog::tree::leaf_hash;

use super::make::{Manifest, proof_path};
use super::read::{Told, derived};
use super::{Bundle, CHECKPOINT, FORMAT, Fault, Files, MANIFEST};
use crate::record::digest_text;

/// What was checked, and holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The call.
    pub call: String,
    /// Records that are proven.
    pub records: u64,
    /// Records under the signed head.
    pub size: u64,
    /// The log.
    pub origin: String,
    /// Witnesses that have cosigned the head.
    pub witnesses: u64,
    /// Whether the policies in force are among it.
    pub policies: bool,
    /// Whether content is disclosed.
    pub disclosed: bool,
}

impl Bundle {
    /// Check everything in it: the head's signatures, every record's way to it, the content against the
    /// records' commitments; and make again what is made from these.
    ///
    /// # Errors
    /// [`Fault`] with the first bad part.
    pub fn check(&self, policy: &Policy) -> Result<Checked, Fault> {
        let manifest = self.manifest()?;
        let told = Told::records(&manifest.call, &self.files)?;
        let checkpoint = Note::parse(told.checkpoint.as_bytes());
        let signed = checkpoint
            .and_then(|note| policy.verify(&note))
            .map_err(|error| Fault::tampered(CHECKPOINT, &error))?;
        for record in &told.records {
            let leaf = leaf_hash(&record.entry);
            let head = signed.checkpoint().head();
            verify_inclusion(leaf, record.index, head, &record.proof.hashes)
                .map_err(|error| Fault::tampered(&proof_path(record.index), &error))?;
        }
        // Only now: what is sealed is decompressed, and nobody but the log's own key is trusted with that.
        let told = told.open(&self.files)?;
        let made = derived(&told);
        for (path, bytes) in &made {
            let found = self.files.get(path).ok_or_else(|| Fault::missing(path))?;
            if found != bytes {
                return Err(Fault::tampered(
                    path,
                    "it is not what the signed records give",
                ));
            }
        }
        self.nothing_else(&manifest, &made)?;
        Ok(Checked {
            call: manifest.call,
            records: told.records.len() as u64,
            size: signed.checkpoint().size(),
            origin: signed.checkpoint().origin().to_owned(),
            witnesses: signed.cosignatures().len() as u64,
            policies: told.policies.is_some(),
            disclosed: manifest.disclosed,
        })
    }

    /// The manifest, once every file is as it says.
    fn manifest(&self) -> Result<Manifest, Fault> {
        let bad = |what: &str| Fault::tampered(MANIFEST, what);
        let bytes = self
            .files
            .get(MANIFEST)
            .ok_or_else(|| Fault::missing(MANIFEST))?;
        let format = serde_json::from_slice::<serde_json::Value>(bytes);
        let format = format
            .ok()
            .and_then(|all| Some(all.get("format")?.as_str()?.to_owned()));
        match format.as_deref().map(|format| format.rsplit_once('/')) {
            Some(_) if format.as_deref() == Some(FORMAT) => {}
            Some(Some(("callgate-evidence", version))) if version.parse::<u32>().is_ok() => {
                let text = format!("it has form {version}: verify it with a newer Callgate");
                return Err(Fault::Unusable(text));
            }
            Some(_) | None => return Err(bad("it is not the list of a bundle")),
        }
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|_| bad("it is not in form"))?;
        if manifest.bytes() != *bytes {
            return Err(bad("it is not in its one form"));
        }
        for (path, digest) in &manifest.files {
            let found = self.files.get(path).ok_or_else(|| Fault::missing(path))?;
            if digest_text(&[found]) != *digest {
                return Err(Fault::tampered(
                    path,
                    "it is not the file that was handed out",
                ));
            }
        }
        for path in self.files.keys().filter(|path| *path != MANIFEST) {
            if !manifest.files.contains_key(path) {
                return Err(Fault::tampered(path, "it does not belong to the bundle"));
            }
        }
        if Manifest::of(&manifest.call, &self.files) != manifest {
            return Err(bad("it does not fit the files"));
        }
        Ok(manifest)
    }

    /// Every file was read, or made again: nothing lies there on trust.
    fn nothing_else(&self, manifest: &Manifest, made: &Files) -> Result<(), Fault> {
        for path in self.files.keys() {
            let known = path == MANIFEST
                || path == CHECKPOINT
                || path == super::POLICIES
                || made.contains_key(path)
                || self.is_source(path, manifest);
            if !known {
                return Err(Fault::tampered(path, "it does not belong to the bundle"));
            }
        }
        Ok(())
    }

    /// Whether a proof, frames, a key or a salt is one that was read.
    fn is_source(&self, path: &str, manifest: &Manifest) -> bool {
        use super::make::{frames_path, salt_path};
        let mut records = manifest.records.iter();
        let of_record = |index: &u64| path == proof_path(*index) || path == frames_path(*index);
        let mut words = crate::record::committed_words().into_iter();
        let key = || {
            let id = path.strip_prefix("sealed/")?.strip_suffix(".key")?;
            // A key that opens none of the frames was never tried.
            let frames = self
                .files
                .iter()
                .filter(|(path, _)| path.ends_with(".frames"));
            let id = crate::record::read_hex::<16>(id)?;
            frames
                .map(|(_, bytes)| bytes)
                .find(|bytes| bytes.get(9..25) == Some(&id))
        };
        records.any(of_record) || words.any(|word| path == salt_path(word)) || key().is_some()
    }
}
