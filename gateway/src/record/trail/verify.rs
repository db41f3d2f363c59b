//! Verifying the whole evidence against its signed heads and against heads held elsewhere.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use aws_lc_rs::digest::{self, SHA256};
use serde::Deserialize;
use tlog::note::{Note, VerifierKey};
use tlog::policy::Policy;
use tlog::tree::{Hash, Tree, leaf_hash};

use super::super::files::{Files, Identity};
use super::super::frame::{Frame, Kind, LeafFrame, Position};
use super::super::health::Head;
use super::super::leaf::{Tag, digest_frame, unhex};
use super::super::prune::Stated as Pruned;
use super::super::pruned::Base;
use super::super::recovery::Progress as Streamed;
use super::super::seal::{ContentId, SealedHead, finish};
use super::super::segment::{self, Chain};
use super::super::{Error, files, heads};
use super::{LOOK_PAUSE, LOOKS_MAX, Trail, read_identity};
use crate::call::CallId;
use crate::disk::Disk;

/// Records between two reports of progress.
const TELL_EVERY: u64 = 65_536;

/// What is held against the log beside its own heads.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Signed heads from elsewhere, as text: the log must have only grown since.
    pub since: Vec<String>,
    /// The log's key, from elsewhere: a log that was signed anew with another key is found.
    pub key: Option<VerifierKey>,
    /// Which logs are trusted, and which witnesses must have cosigned a head of this one.
    pub policy: Option<Policy>,
}

/// How far a check has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Records that were read.
    pub records: u64,
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Bytes of the log, read or not.
    pub bytes_all: u64,
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
    /// Records in all, those that were pruned among them.
    pub records: u64,
    /// Records that are not here any more: the log is checked from this index on, and of those before it their
    /// hashes. Where the verdict is intact, a record under a signed head says that they were pruned.
    pub pruned: u64,
    /// Signed heads that were checked, those from elsewhere too.
    pub heads: u64,
    /// Records that no signed head covers yet.
    pub unsigned: u64,
    /// Records under the head that the policy's witnesses have cosigned; `None` without a policy.
    pub cosigned: Option<u64>,
    /// Whether an unfinished write follows the last record, as after a crash.
    pub torn: bool,
}

impl Trail {
    /// Verify the whole log that this trail was opened on.
    ///
    /// # Errors
    /// Only when files cannot be read; what they say is in the report.
    pub fn verify(&self, options: &VerifyOptions) -> Result<Report, Error> {
        Self::check(&self.index.files.dir, self.index.disk.as_ref(), options)
    }

    /// Verify the log in `dir`, also one that does not open.
    ///
    /// # Errors
    /// Only when files cannot be read; what they say is in the report.
    pub fn check(dir: &Path, disk: &dyn Disk, options: &VerifyOptions) -> Result<Report, Error> {
        Self::check_telling(dir, disk, options, &mut |_| ())
    }

    /// The same, and tell how far it has come every some thousand records.
    ///
    /// # Errors
    /// Only when files cannot be read; what they say is in the report.
    pub fn check_telling(
        dir: &Path,
        disk: &dyn Disk,
        options: &VerifyOptions,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Report, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let report = match Self::look_over(dir, disk, options, tell) {
                Err(error) if error.may_pass() && looks < LOOKS_MAX => {
                    std::thread::sleep(LOOK_PAUSE);
                    continue;
                }
                looked => looked?,
            };
            // The gateway may have been writing what we were reading.
            if report.verdict == Verdict::Intact || looks >= LOOKS_MAX {
                return Ok(report);
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Verify a log that nobody writes.
    #[cfg(test)]
    pub(in super::super) fn check_once(
        dir: &Path,
        disk: &dyn Disk,
        options: &VerifyOptions,
    ) -> Result<Report, Error> {
        Self::look_over(dir, disk, options, &mut |_| ())
    }

    fn look_over(
        dir: &Path,
        disk: &dyn Disk,
        options: &VerifyOptions,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Report, Error> {
        let files = Files::new(dir);
        let identity = read_identity(disk, &files)?;
        Checker::new(disk, &files, &identity).run(options, tell)
    }
}

/// What a record says that is checked. Everything else in it is skipped, not stored.
#[derive(Deserialize)]
struct Stated<'r> {
    kind: &'r str,
    seq: u64,
    call: Option<&'r str>,
    erased_ref: Option<&'r str>,
    content_id: Option<&'r str>,
    begin: Option<u64>,
    sealed: Option<&'r str>,
}

/// A signed head that the records must match, and where it stands.
struct Claim {
    place: String,
    head: Result<Head, String>,
}

struct Checker<'c> {
    disk: &'c dyn Disk,
    files: &'c Files,
    identity: &'c Identity,
    tree: Tree,
    /// Files of heads that were not read yet, and heads that were and wait for their records.
    files_left: VecDeque<String>,
    own: VecDeque<Claim>,
    /// The roots at the sizes of heads from elsewhere, as the records give them.
    roots: BTreeMap<u64, Hash>,
    /// Digests over sealed frames since the last record of their content.
    sealed: HashMap<ContentId, digest::Context>,
    wrong: Option<(u64, String)>,
    /// What is known of the records that went.
    base: Base,
    /// The record that says that they went, and its index.
    pruned: Option<(u64, Pruned)>,
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
            tree: Tree::new(),
            files_left: VecDeque::new(),
            own: VecDeque::new(),
            roots: BTreeMap::new(),
            sealed: HashMap::new(),
            wrong: None,
            base: Base::default(),
            pruned: None,
            heads: 0,
            good: 0,
        }
    }

    fn run(
        mut self,
        options: &VerifyOptions,
        tell: &mut dyn FnMut(Progress),
    ) -> Result<Report, Error> {
        let mut missing = None;
        let mut torn = false;
        self.files_left = heads::files(self.disk, self.files)?.into();
        let cosigned = self.cosigned_claim(options);
        let since = options.since.iter();
        let since: Vec<Claim> = since
            .map(|note| self.claim("the head that is held elsewhere", note))
            .collect();
        let claims = since.iter().chain(cosigned.as_ref().ok());
        let sizes = claims.filter_map(|claim| Some(claim.head.as_ref().ok()?.size));
        self.roots = sizes.map(|size| (size, Hash::EMPTY)).collect();
        match self.walk(tell) {
            Ok(is_torn) => torn = is_torn,
            Err(Error::Missing(segment)) => missing = Some(format!("segment {segment} is missing")),
            Err(error @ Error::PrunedHashes(_)) => missing = Some(error.to_string()),
            Err(Error::Corrupt {
                segment,
                offset,
                what,
            }) => self.bad(
                self.tree.size(),
                format!("{what} (segment {segment}, byte {offset})"),
            ),
            Err(error) => return Err(error),
        }
        let mut signed = 0;
        missing = missing.or_else(|| self.check_pruned());
        self.check_key(options);
        if missing.is_none() {
            self.compare_own(u64::MAX)?;
            signed = self.good;
        }
        // With records missing, a head beyond them says nothing; one below them does.
        let told = |claim: &&Claim| {
            let beyond = matches!(&claim.head, Ok(head) if head.size > self.tree.size());
            missing.is_none() || !beyond
        };
        let since: Vec<&Claim> = since.iter().filter(told).collect();
        since.iter().for_each(|claim| self.check_held(claim));
        if missing.is_none() {
            match &cosigned {
                Ok(claim) => self.check_held(claim),
                Err(Some(what)) => missing = Some(what.clone()),
                Err(None) => {}
            }
        }
        let verdict = match (self.wrong, missing) {
            (Some((first_bad, what)), _) => Verdict::Tampered { first_bad, what },
            (None, Some(what)) => Verdict::Incomplete { what },
            (None, None) => Verdict::Intact,
        };
        let cosigned = cosigned.ok().and_then(|claim| claim.head.ok());
        Ok(Report {
            verdict,
            records: self.tree.size(),
            pruned: self.base.records(),
            heads: self.heads,
            unsigned: self.tree.size().saturating_sub(signed),
            cosigned: cosigned.map(|head| head.size),
            torn,
        })
    }

    fn claim(&self, place: &str, note: &str) -> Claim {
        Claim {
            place: place.to_owned(),
            head: heads::verify(note, &self.identity.verifier).map_err(|error| error.to_string()),
        }
    }

    /// The next of the heads that lie beside the log, a file at a time.
    fn own(&mut self) -> Result<Option<&Claim>, Error> {
        while self.own.is_empty() {
            let Some(name) = self.files_left.pop_front() else {
                break;
            };
            let (notes, unfinished) = heads::notes(&heads::read(self.disk, self.files, &name)?);
            for note in &notes {
                let claim = self.claim(&name, note);
                self.own.push_back(claim);
            }
            if unfinished > 0 {
                self.own.push_back(Claim {
                    place: name,
                    head: Err("the file ends within a head".to_owned()),
                });
            }
        }
        Ok(self.own.front())
    }

    /// Compare those of them that the records have come to, or all that are left.
    fn compare_own(&mut self, up_to: u64) -> Result<(), Error> {
        while let Some(claim) = self.own()? {
            if matches!(&claim.head, Ok(head) if head.size > up_to) {
                break;
            }
            if let Some(claim) = self.own.pop_front() {
                // Signed in their order: one that is behind stands where it does not belong.
                let root = match &claim.head {
                    Ok(head) if head.size == self.tree.size() => Some(self.tree.root()),
                    Ok(_) | Err(_) => None,
                };
                self.check_claim(&claim, root);
            }
        }
        Ok(())
    }

    /// The head that the policy's witnesses have cosigned, if it asks for one; else what is missing.
    fn cosigned_claim(&self, options: &VerifyOptions) -> Result<Claim, Option<String>> {
        let policy = options
            .policy
            .as_ref()
            .filter(|policy| policy.asks_witnesses());
        let policy = policy.ok_or(None)?;
        let absent =
            || Some("no head is there that the policy's witnesses have cosigned".to_owned());
        let bytes = files::read_small(self.disk, &self.files.cosigned()).map_err(|_| absent())?;
        let verified = Note::parse(&bytes).and_then(|note| policy.verify(&note));
        if let Err(tlog::Error::Quorum { .. }) = verified {
            return Err(absent());
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut claim = self.claim("the cosigned head", &text);
        if let Err(error) = verified {
            claim.head = Err(error.to_string());
        }
        Ok(claim)
    }

    /// Note what is wrong; the first bad record counts.
    fn bad(&mut self, index: u64, what: String) {
        if self.wrong.as_ref().is_none_or(|(first, _)| index < *first) {
            self.wrong = Some((index, what));
        }
    }

    fn walk(&mut self, tell: &mut dyn FnMut(Progress)) -> Result<bool, Error> {
        let (disk, files) = (self.disk, self.files);
        let chain = Chain::find(disk, files, &self.identity.log_id)?;
        let listed = disk.list(&files.wal).unwrap_or_default();
        let mut progress = Progress {
            bytes_all: listed.iter().map(|file| file.len).sum(),
            ..Progress::default()
        };
        self.base = chain.base.clone();
        self.went()?;
        let walked = segment::walk(disk, files, &chain, &mut |at, frame| {
            self.frame(at, frame);
            if frame.kind == Kind::Leaf {
                self.compare_own(self.tree.size())?;
            }
            progress.bytes += frame.len as u64;
            if self.tree.size() >= progress.records + TELL_EVERY {
                progress.records = self.tree.size();
                tell(progress);
            }
            Ok(())
        })?;
        Ok(walked.torn)
    }

    /// Begin with the hashes of the records that went.
    fn went(&mut self) -> Result<(), Error> {
        let base = self.base.clone();
        let (disk, files) = (self.disk, self.files);
        base.hashes(disk, files, 0, &mut |hash| {
            self.push(hash);
            self.compare_own(self.tree.size())
        })?;
        if self.tree != base.tree {
            let what = "the hashes of the pruned records are not those that the rest builds on";
            self.bad(0, what.to_owned());
            self.tree = base.tree;
        }
        Ok(())
    }

    /// Whether a record under a signed head says that the records that are not here went. What no head covers
    /// could be written by anybody who can write files.
    fn check_pruned(&mut self) -> Option<String> {
        let records = self.base.records();
        if records == 0 {
            return None;
        }
        match self.pruned.filter(|(index, _)| *index < self.good) {
            None => Some(format!(
                "the records before {records} are not here, and no record under a signed head says that they were pruned"
            )),
            Some((_, pruned)) if pruned.root == *self.base.tree.root().as_bytes() => None,
            Some(_) => {
                let what = "the record of the pruning states another root than the hashes give";
                self.bad(records, what.to_owned());
                None
            }
        }
    }

    fn push(&mut self, hash: Hash) {
        self.tree.push(hash);
        let root = self.roots.get_mut(&self.tree.size());
        if let Some(root) = root {
            *root = self.tree.root();
        }
    }

    fn frame(&mut self, _at: Position, frame: &Frame<'_>) {
        let id = match frame.kind {
            Kind::Batch => return,
            Kind::Leaf => return self.leaf(frame.payload),
            Kind::Sealed => SealedHead::parse(frame.payload).map(|head| head.id),
            Kind::Progress => Streamed::parse(frame.payload).map(|progress| progress.id),
        };
        match id {
            Some(id) => {
                let sealed = self.sealed.entry(id);
                let sealed = sealed.or_insert_with(|| digest::Context::new(&SHA256));
                digest_frame(sealed, frame.kind.byte(), frame.payload);
            }
            None => self.bad(self.tree.size(), "sealed content is malformed".to_owned()),
        }
    }

    fn leaf(&mut self, payload: &[u8]) {
        let index = self.tree.size();
        let Some(leaf) = LeafFrame::parse(payload) else {
            return self.bad(index, "a record's frame is malformed".to_owned());
        };
        self.push(leaf_hash(leaf.leaf));
        if leaf.tag == Tag::Retain {
            let pruned = Pruned::read(leaf.leaf);
            let pruned = pruned.filter(|pruned| pruned.records == self.base.records());
            self.pruned = self.pruned.or(pruned.map(|pruned| (index, pruned)));
        }
        if let Err(what) = self.consistent(&leaf) {
            self.bad(index, what.to_owned());
        }
    }

    /// Whether a record agrees with its frame and with what is sealed before it.
    fn consistent(&mut self, leaf: &LeafFrame<'_>) -> Result<(), &'static str> {
        let stated: Stated<'_> =
            serde_json::from_slice(leaf.leaf).map_err(|_| "a record is not in form")?;
        if Tag::of(stated.kind) != leaf.tag {
            return Err("a record's frame names another kind");
        }
        if stated.seq != leaf.index {
            return Err("a record states another index");
        }
        let id = match stated.call {
            Some(call) => *call
                .parse::<CallId>()
                .map_err(|_| "a record names no call")?
                .as_bytes(),
            None => stated.erased_ref.and_then(unhex).unwrap_or([0; 16]),
        };
        if id != leaf.id {
            return Err("a record's frame names another call");
        }
        let content = stated.content_id.and_then(unhex).unwrap_or(id);
        let sealed = self.sealed.remove(&content);
        // Of the first that is here, and of an end whose begin went, frames may have gone with those before.
        let first = self.base.records();
        let whole = first == 0 || (leaf.index > first && stated.begin.is_none_or(|b| b >= first));
        if !whole {
            return Ok(());
        }
        let sealed = finish(sealed.unwrap_or_else(|| digest::Context::new(&SHA256)));
        if stated.sealed.and_then(unhex) != Some(sealed) {
            return Err("the sealed content of a record is not what it states");
        }
        Ok(())
    }

    /// Whether the log's own key is one that is trusted.
    fn check_key(&mut self, options: &VerifyOptions) {
        let own = &self.identity.verifier;
        let other = options.key.as_ref().is_some_and(|key| key != own);
        let policy = options.policy.as_ref();
        let unknown = policy.is_some_and(|policy| policy.logs().iter().all(|log| log.key != *own));
        if other || unknown {
            self.bad(
                0,
                "the log's key is not the one that is expected".to_owned(),
            );
        }
    }

    /// A head from elsewhere, against the root that the records gave at its size.
    fn check_held(&mut self, claim: &Claim) {
        let size = claim.head.as_ref().map_or(0, |head| head.size);
        let root = self.roots.get(&size).copied();
        self.check_claim(claim, root);
    }

    fn check_claim(&mut self, claim: &Claim, root: Option<Hash>) {
        let place = &claim.place;
        self.heads += 1;
        let head = match &claim.head {
            Ok(head) => head,
            Err(error) => return self.bad(self.good, format!("{place}: {error}")),
        };
        if head.size > self.tree.size() {
            let what = format!(
                "{place}: a head of size {} was signed, the log has fewer records",
                head.size
            );
            return self.bad(self.tree.size(), what);
        }
        // Heads below a good one say nothing new about what comes after it.
        if root == Some(head.root) {
            self.good = self.good.max(head.size);
        } else {
            let from = self.good.min(head.size.saturating_sub(1));
            let what = format!(
                "{place}: the records do not match the head of size {}",
                head.size
            );
            self.bad(from, what);
        }
    }
}
