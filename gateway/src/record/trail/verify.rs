//! Verifying the whole evidence against its signed heads and against heads held elsewhere.

use std::collections::HashMap;
use std::path::Path;

use aws_lc_rs::digest::{self, SHA256};
use serde_json::Value;
use tlog::note::VerifierKey;
use tlog::tree::{Hashes, leaf_hash, root_at};

use super::super::files::{Files, Identity};
use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::leaf::{Tag, digest_frame, unhex};
use super::super::recovery::Progress;
use super::super::seal::{ContentId, SealedHead, finish};
use super::super::segment::{self, Chain};
use super::super::{Error, heads};
use super::{LOOK_PAUSE, LOOKS_MAX, Trail, read_identity};
use crate::call::CallId;
use crate::disk::Disk;

/// What is held against the log beside its own heads.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Signed heads from elsewhere, as text: the log must have only grown since.
    pub since: Vec<String>,
    /// The log's key, from elsewhere: a log that was signed anew with another key is found.
    pub key: Option<VerifierKey>,
}

/// Whether the evidence holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Everything is as it was recorded and signed.
    Intact,
    /// Something is not what it was.
    Tampered {
        /// The first record that cannot be trusted.
        first_bad: u64,
        /// What was found.
        what: String,
    },
    /// Something is not there; what is there holds.
    Incomplete {
        /// What is missing.
        what: String,
    },
}

/// What verification found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// Records that were read.
    pub records: u64,
    /// Signed heads that were checked, those from elsewhere too.
    pub heads: u64,
    /// Records that no signed head covers yet.
    pub unsigned: u64,
    /// Whether an unfinished write follows the last record, as after a crash.
    pub torn: bool,
}

impl Trail {
    /// Verify the whole log that this trail was opened on.
    ///
    /// # Errors
    /// Only when files cannot be read; what they say is in the report.
    pub fn verify(&self, options: &VerifyOptions) -> Result<Report, Error> {
        Self::check(&self.files.dir, self.disk.as_ref(), options)
    }

    /// Verify the log in `dir`, also one that does not open.
    ///
    /// # Errors
    /// Only when files cannot be read; what they say is in the report.
    pub fn check(dir: &Path, disk: &dyn Disk, options: &VerifyOptions) -> Result<Report, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let report = Self::check_once(dir, disk, options)?;
            // The gateway may have been writing what we were reading.
            if report.verdict == Verdict::Intact || looks >= LOOKS_MAX {
                return Ok(report);
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Verify a log that nobody writes.
    pub(in super::super) fn check_once(
        dir: &Path,
        disk: &dyn Disk,
        options: &VerifyOptions,
    ) -> Result<Report, Error> {
        let files = Files::new(dir);
        let identity = read_identity(disk, &files)?;
        Checker::new(disk, &files, &identity).run(options)
    }
}

struct Checker<'c> {
    disk: &'c dyn Disk,
    files: &'c Files,
    identity: &'c Identity,
    hashes: Hashes,
    /// Digests over sealed frames since the last record of their content.
    sealed: HashMap<ContentId, digest::Context>,
    wrong: Option<(u64, String)>,
    heads: u64,
    /// Size of the newest head that matches.
    good: u64,
}

impl<'c> Checker<'c> {
    fn new(disk: &'c dyn Disk, files: &'c Files, identity: &'c Identity) -> Self {
        Self {
            disk,
            files,
            identity,
            hashes: Hashes::new(),
            sealed: HashMap::new(),
            wrong: None,
            heads: 0,
            good: 0,
        }
    }

    fn run(mut self, options: &VerifyOptions) -> Result<Report, Error> {
        let mut missing = None;
        let mut torn = false;
        match self.walk() {
            Ok(is_torn) => torn = is_torn,
            Err(Error::Missing(segment)) => missing = Some(format!("segment {segment} is missing")),
            Err(Error::Corrupt {
                segment,
                offset,
                what,
            }) => self.bad(
                self.hashes.size(),
                format!("{what} (segment {segment}, byte {offset})"),
            ),
            Err(error) => return Err(error),
        }
        let signed = if missing.is_none() {
            self.check_heads(options)?
        } else {
            0
        };
        let verdict = match (self.wrong, missing) {
            (Some((first_bad, what)), _) => Verdict::Tampered { first_bad, what },
            (None, Some(what)) => Verdict::Incomplete { what },
            (None, None) => Verdict::Intact,
        };
        Ok(Report {
            verdict,
            records: self.hashes.size(),
            heads: self.heads,
            unsigned: self.hashes.size().saturating_sub(signed),
            torn,
        })
    }

    /// Note what is wrong; the first bad record counts.
    fn bad(&mut self, index: u64, what: String) {
        if self.wrong.as_ref().is_none_or(|(first, _)| index < *first) {
            self.wrong = Some((index, what));
        }
    }

    fn walk(&mut self) -> Result<bool, Error> {
        let (disk, files) = (self.disk, self.files);
        let chain = Chain::find(disk, files, &self.identity.log_id)?;
        let walked = segment::walk(disk, files, &chain, &mut |at, frame| {
            self.frame(at, frame);
            Ok(())
        })?;
        Ok(walked.torn)
    }

    fn frame(&mut self, _at: Position, frame: &Frame<'_>) {
        let id = match frame.kind {
            Kind::Batch => return,
            Kind::Leaf => return self.leaf(frame.payload),
            Kind::Sealed => SealedHead::parse(frame.payload).map(|head| head.id),
            Kind::Progress => Progress::parse(frame.payload).map(|progress| progress.id),
        };
        match id {
            Some(id) => {
                let sealed = self.sealed.entry(id);
                let sealed = sealed.or_insert_with(|| digest::Context::new(&SHA256));
                digest_frame(sealed, frame.kind.byte(), frame.payload);
            }
            None => self.bad(self.hashes.size(), "sealed content is malformed".to_owned()),
        }
    }

    fn leaf(&mut self, payload: &[u8]) {
        let index = self.hashes.size();
        let Some(leaf) = LeafFrame::parse(payload) else {
            return self.bad(index, "a record's frame is malformed".to_owned());
        };
        self.hashes.push(leaf_hash(leaf.leaf));
        if let Err(what) = self.consistent(&leaf) {
            self.bad(index, what.to_owned());
        }
    }

    /// Whether a record agrees with its frame and with what is sealed before it.
    fn consistent(&mut self, leaf: &LeafFrame<'_>) -> Result<(), &'static str> {
        let fields: Value =
            serde_json::from_slice(leaf.leaf).map_err(|_| "a record is not JSON")?;
        let word = |name| fields.get(name).and_then(Value::as_str);
        let kind = word("kind").ok_or("a record has no kind")?;
        if Tag::of(kind) != leaf.tag {
            return Err("a record's frame names another kind");
        }
        if fields.get("seq").and_then(Value::as_u64) != Some(leaf.index) {
            return Err("a record states another index");
        }
        let id = match word("call") {
            Some(call) => *call
                .parse::<CallId>()
                .map_err(|_| "a record names no call")?
                .as_bytes(),
            None => word("erased_ref").and_then(unhex).unwrap_or([0; 16]),
        };
        if id != leaf.id {
            return Err("a record's frame names another call");
        }
        let content = word("content_id").and_then(unhex).unwrap_or(id);
        let sealed = self.sealed.remove(&content);
        let sealed = finish(sealed.unwrap_or_else(|| digest::Context::new(&SHA256)));
        if word("sealed").and_then(unhex) != Some(sealed) {
            return Err("the sealed content of a record is not what it states");
        }
        Ok(())
    }

    /// Check every head against the records; returns the size of the newest.
    fn check_heads(&mut self, options: &VerifyOptions) -> Result<u64, Error> {
        if options
            .key
            .as_ref()
            .is_some_and(|key| *key != self.identity.verifier)
        {
            self.bad(
                0,
                "the log's key is not the one that is expected".to_owned(),
            );
        }
        for name in heads::files(self.disk, self.files)? {
            let (notes, unfinished) = heads::notes(&heads::read(self.disk, self.files, &name)?);
            for note in notes {
                self.check_head(&note, &name);
            }
            if unfinished > 0 {
                self.bad(self.good, format!("heads/{name} ends within a head"));
            }
        }
        let signed = self.good;
        for note in &options.since {
            self.check_head(note, "the head that is held elsewhere");
        }
        Ok(signed)
    }

    fn check_head(&mut self, note: &str, place: &str) {
        self.heads += 1;
        let head = match heads::verify(note, &self.identity.verifier) {
            Ok(head) => head,
            Err(error) => return self.bad(self.good, format!("{place}: {error}")),
        };
        if head.size > self.hashes.size() {
            let what = format!(
                "{place}: a head of size {} was signed, the log has fewer records",
                head.size
            );
            return self.bad(self.hashes.size(), what);
        }
        match root_at(head.size, &self.hashes) {
            // Heads below a good one say nothing new about what comes after it.
            Ok(root) if root == head.root => self.good = self.good.max(head.size),
            Ok(_) | Err(_) => {
                let from = self.good.min(head.size.saturating_sub(1));
                let what = format!(
                    "{place}: the records do not match the head of size {}",
                    head.size
                );
                self.bad(from, what);
            }
        }
    }
}
