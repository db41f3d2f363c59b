//! What a bundle says: its signed records, the content that they commit to, the policies; and the files
//! that are made from these.

use std::collections::BTreeMap;

use serde_json::Value;
use tlog::proof::InclusionProof;

use super::make::{frames_path, key_path, proof_path, salt_path};
use super::story::Fact;
use super::{BUNDLE_BYTES_MAX, CHECKPOINT, Fault, Files, PAGE, POLICIES, page};
use crate::policy::PolicyTexts;
use crate::record::{Opened, committed_words, digest_text, read_hex};

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) index: u64,
    pub(super) proof: InclusionProof,
    /// Its exact bytes.
    pub(super) entry: Vec<u8>,
    pub(super) fields: Value,
    /// The document that was sealed with it.
    pub(super) content: Option<Vec<u8>>,
    /// The fields that were too long for it.
    pub(super) moved: Option<Vec<u8>>,
}

impl Record {
    pub(super) fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn fact(&self) -> Fact {
        let parse = |bytes: &Option<Vec<u8>>| {
            let bytes = bytes.as_ref()?;
            serde_json::from_slice(bytes).ok()
        };
        Fact {
            index: self.index,
            kind: self.text("kind").to_owned(),
            fields: self.fields.clone(),
            content: parse(&self.content),
            erased: None,
        }
    }
}

/// Something that a record commits to.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) bytes: Vec<u8>,
    /// Bytes in all, where the record says so.
    pub(super) total: Option<u64>,
    /// Whether the commitment is that to these bytes; not known where not all are here.
    pub(super) whole: bool,
}

/// Everything that a bundle says.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) call: String,
    pub(super) checkpoint: String,
    pub(super) records: Vec<Record>,
    pub(super) committed: BTreeMap<&'static str, Committed>,
    pub(super) policies: Option<PolicyTexts>,
}

fn get<'f>(files: &'f Files, path: &str) -> Result<&'f Vec<u8>, Fault> {
    files.get(path).ok_or_else(|| Fault::missing(path))
}

impl Told {
    /// Read the records, and the head that they lead to. Whether it is signed and they do is another
    /// question; nothing that was sealed is opened.
    pub(super) fn records(call: &str, files: &Files) -> Result<Self, Fault> {
        let checkpoint = get(files, CHECKPOINT)?;
        let checkpoint = String::from_utf8(checkpoint.clone())
            .map_err(|_| Fault::tampered(CHECKPOINT, "it is not a text"))?;
        let mut records = Vec::new();
        for path in files.keys().filter(|path| path.starts_with("records/")) {
            records.push(record(path, files, &checkpoint)?);
        }
        Ok(Self {
            call: call.to_owned(),
            checkpoint,
            records,
            committed: BTreeMap::new(),
            policies: None,
        })
    }

    /// Open what is sealed with the records, and read the policies.
    pub(super) fn open(self, files: &Files) -> Result<Self, Fault> {
        let mut told = self;
        let mut of_call: BTreeMap<String, Opened> = BTreeMap::new();
        let mut left = BUNDLE_BYTES_MAX;
        for record in &mut told.records {
            if let Some((id, opened)) = open(record, files, &mut left)? {
                record.content = opened.context().or_else(|| opened.ending());
                record.moved = opened.moved();
                of_call.entry(id).or_default().add(opened);
            }
        }
        if let Some((id, _)) = of_call.iter().find(|(_, opened)| !opened.bound()) {
            let what = format!("no record states the key to what is sealed with {id}");
            return Err(Fault::tampered("sealed", &what));
        }
        told.relevant()?;
        told.policies = told.policies_of(files)?;
        told.committed = told.commitments(&of_call, files)?;
        Ok(told)
    }

    /// The record of this kind that the bundle is about: the call's own, or the one that its approval led
    /// to.
    pub(super) fn main(&self, kind: &str) -> Option<&Record> {
        let of_kind = || self.records.iter().filter(|r| r.text("kind") == kind);
        let own = of_kind().find(|r| r.text("call") == self.call);
        own.or_else(|| of_kind().next())
    }

    /// Every record must have to do with the call.
    fn relevant(&self) -> Result<(), Fault> {
        let own = |r: &&Record| r.text("call") == self.call;
        if !self.records.iter().any(|r| own(&r)) {
            let what = format!("none of them is of call {}", self.call);
            return Err(Fault::tampered("records", &what));
        }
        let approval = self.records.iter().filter(own).find_map(approval_of);
        let mut version = self
            .records
            .iter()
            .filter(own)
            .map(|r| r.text("policy_version"));
        let version = version.find(|version| !version.is_empty());
        let led = |r: &Record| approval.is_some() && approval_of(r) == approval;
        let begun = |r: &Record| {
            let begin = r.fields.get("begin").and_then(Value::as_u64);
            self.records
                .iter()
                .any(|b| Some(b.index) == begin && led(b))
        };
        let erased = |r: &Record| {
            let dead = r.text("erased_ref");
            let mut own = self.records.iter().filter(own);
            own.any(|r| r.text("subject_ref") == dead)
        };
        for record in &self.records {
            let fits = match record.text("kind") {
                "config.change" => version == Some(record.text("policy_version")),
                "erase.subject" => erased(record),
                "call.end" => own(&record) || begun(record),
                _ => own(&record) || led(record),
            };
            if !fits {
                let path = proof_path(record.index);
                return Err(Fault::tampered(&path, "it has nothing to do with the call"));
            }
        }
        Ok(())
    }

    /// The policies must be those whose version the records state.
    fn policies_of(&self, files: &Files) -> Result<Option<PolicyTexts>, Fault> {
        let Some(bytes) = files.get(POLICIES) else {
            return Ok(None);
        };
        let bad = |what: &str| Fault::tampered(POLICIES, what);
        let texts: PolicyTexts =
            serde_json::from_slice(bytes).map_err(|_| bad("it is not in form"))?;
        if serde_json::to_vec(&texts).ok().as_ref() != Some(bytes) {
            return Err(bad("it is not in its one form"));
        }
        // The version does not count their order, nor one that stands there twice.
        if !texts.policies.is_sorted_by(|a, b| a < b) {
            return Err(bad("the policies are not in their one order"));
        }
        let stated = self
            .records
            .iter()
            .find(|r| r.text("kind") == "config.change");
        let stated = stated.map(|r| r.text("policy_version")).unwrap_or_default();
        if texts.version() != stated {
            return Err(bad(
                "these are not the policies whose version the records state",
            ));
        }
        Ok(Some(texts))
    }

    fn commitments(
        &self,
        of_call: &BTreeMap<String, Opened>,
        files: &Files,
    ) -> Result<BTreeMap<&'static str, Committed>, Fault> {
        let mut found = BTreeMap::new();
        let (begin, end) = (self.main("call.begin"), self.main("call.end"));
        let id = begin.map(|begin| begin.text("call")).unwrap_or_default();
        let opened = of_call.get(id);
        for word in committed_words() {
            let (way, name) = word.split_once('.').unwrap_or(("", word));
            let of = |record: Option<&Record>| {
                let record = record?;
                let at = if way.is_empty() {
                    format!("/{name}")
                } else {
                    format!("/{way}/{name}")
                };
                let stated = record.fields.pointer(&at)?.as_str()?.to_owned();
                let total = record.fields.pointer(&format!("/{way}/bytes"));
                Some((stated, total.and_then(Value::as_u64)))
            };
            // A body that streamed up is stated with the end.
            let stated = of(end).or_else(|| of(begin));
            let bytes = opened.and_then(|opened| opened.committed(word));
            let path = salt_path(word);
            let salt = files.get(&path);
            let Some((stated, total)) = stated else {
                if salt.is_some() {
                    return Err(Fault::tampered(&path, "no record commits to such a part"));
                }
                continue;
            };
            let bytes = match (bytes, salt) {
                (None, None) => continue,
                (bytes, _) => bytes.unwrap_or_default(),
            };
            if let Some(salt) = salt
                && (salt.len() != 32 || digest_text(&[salt, &bytes]) != stated)
            {
                return Err(Fault::tampered(
                    &path,
                    "the record does not commit to these bytes",
                ));
            }
            let total = if name == "body" { total } else { None };
            let whole = salt.is_some();
            found.insert(
                word,
                Committed {
                    bytes,
                    total,
                    whole,
                },
            );
        }
        Ok(found)
    }
}

/// The approval that a record is about.
fn approval_of(record: &Record) -> Option<&str> {
    let of_begin = record
        .fields
        .pointer("/approval/id")
        .and_then(Value::as_str);
    of_begin.or_else(|| record.fields.get("approval").and_then(Value::as_str))
}

fn record(path: &str, files: &Files, checkpoint: &str) -> Result<Record, Fault> {
    let bad = |what: &dyn std::fmt::Display| Fault::tampered(path, what);
    let proof = InclusionProof::parse(get(files, path)?).map_err(|error| bad(&error))?;
    if proof_path(proof.index) != path {
        return Err(bad(&"it is of another record"));
    }
    if proof.checkpoint.to_string() != checkpoint {
        return Err(bad(&"it leads to another head than `checkpoint`"));
    }
    let entry = proof.extra.clone();
    let entry = entry.ok_or_else(|| bad(&"it carries no record"))?;
    let fields: Value =
        serde_json::from_slice(&entry).map_err(|_| bad(&"its record is not JSON"))?;
    Ok(Record {
        index: proof.index,
        proof,
        entry,
        fields,
        content: None,
        moved: None,
    })
}

/// What is sealed with a record, and whose it is.
fn open(
    record: &Record,
    files: &Files,
    left: &mut usize,
) -> Result<Option<(String, Opened)>, Fault> {
    let path = frames_path(record.index);
    let Some(frames) = files.get(&path) else {
        return Ok(None);
    };
    if digest_text(&[frames]) != record.text("sealed") {
        return Err(Fault::tampered(
            &path,
            "these are not the frames that the record states",
        ));
    }
    let own = read_hex::<16>(record.text("content_id"));
    let call = record.text("call");
    let of_call = || {
        call.parse::<crate::call::CallId>()
            .ok()
            .map(|id| *id.as_bytes())
    };
    let id = own.or_else(of_call);
    let id = id.ok_or_else(|| Fault::tampered(&path, "nothing is sealed with this record"))?;
    let key_path = key_path(&id);
    let key = std::str::from_utf8(get(files, &key_path)?).ok();
    let key = key
        .and_then(|text| text.strip_suffix('\n'))
        .and_then(read_hex::<32>);
    let key = key.ok_or_else(|| Fault::tampered(&key_path, "it is not a key"))?;
    let opened = Opened::read(frames, &id, &key, left);
    if opened.is_none() && *left == 0 {
        let text = format!("what is sealed in it opens to more than {BUNDLE_BYTES_MAX} bytes");
        return Err(Fault::Unusable(text));
    }
    let opened = opened
        .ok_or_else(|| Fault::tampered(&key_path, &format!("it is not the key to `{path}`")))?;
    let whose = if own.is_some() {
        record.text("content_id")
    } else {
        call
    };
    Ok(Some((whose.to_owned(), opened)))
}

/// The files that are made from what the others say.
pub(super) fn derived(told: &Told) -> Files {
    let mut files = Files::new();
    for record in &told.records {
        if let Some(content) = &record.content {
            files.insert(
                format!("content/{:012}.json", record.index),
                content.clone(),
            );
        }
        if let Some(moved) = &record.moved {
            files.insert(
                format!("content/{:012}.moved.json", record.index),
                moved.clone(),
            );
        }
    }
    for (word, committed) in &told.committed {
        files.insert(format!("content/{word}"), committed.bytes.clone());
    }
    files.insert(PAGE.to_owned(), page::page(told).into_bytes());
    files
}
