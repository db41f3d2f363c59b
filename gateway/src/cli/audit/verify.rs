//! `callgate audit verify`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tlog::checkpoint::{Checkpoint, VerifiedCheckpoint};
use tlog::note::{Note, VerifierKey};
use tlog::policy::Policy;
use tlog::proof::{ConsistencyProof, InclusionProof};
use tlog::tile::{CHECKPOINT_PATH, Layer, TILE_WIDTH, Tile, decode_bundle};
use tlog::tree::Hash;
use tlog::verify::{Fault, Verdict as FilesVerdict, check_files};

use super::super::{load, print};
use super::source::{Packed, Source, Tiles};
use crate::app;
use crate::approval::terminal_safe;
use crate::disk::RealDisk;
use crate::evidence::{Bundle as Evidence, Fault as BundleFault};
use crate::record::{Error, Progress, Trail, Verdict, VerifyOptions};

/// Exit code of an incomplete log.
const INCOMPLETE: u8 = 2;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What is verified, and against what.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A log's folder, a folder or URL with its static files, the evidence of a call (an archive or its
    /// folder), a `.tlog-proof`, a consistency proof or a checkpoint. Default: the config's log.
    target: Option<String>,
    /// Signed heads from elsewhere (files with a checkpoint): the log must only have grown since.
    #[arg(long, value_name = "CHECKPOINT")]
    since: Vec<PathBuf>,
    /// The log's public key, from elsewhere (`callgate audit key` prints it).
    #[arg(long, conflicts_with = "policy")]
    key: Option<VerifierKey>,
    /// File with the logs that are trusted and the witnesses that must have cosigned (C2SP tlog-policy).
    #[arg(long)]
    policy: Option<PathBuf>,
    /// A receipt that a caller kept: the value of the `Callgate-Receipt` header.
    #[arg(long)]
    receipt: Option<String>,
    /// PEM file with a certificate authority to trust for a URL.
    #[arg(long)]
    ca: Option<PathBuf>,
}

/// What a check has come to.
enum Outcome {
    Intact(String),
    Tampered(String),
    Incomplete(String),
}

pub(super) async fn run(config: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let source = match &args.target {
        Some(named) => Source::find(named, args.ca.as_deref())?,
        None => Source::Log(app::audit_dir(&load(config)?.data())),
    };
    let trust = trust(args, &source)?;
    let mut since = Vec::new();
    for file in &args.since {
        since.push(std::fs::read_to_string(file).with_context(|| file.display().to_string())?);
    }
    let receipt = args.receipt.as_deref().map(Receipt::parse).transpose()?;
    // The check is one long loop: it must not stand in the way of the client's own work.
    let checked = tokio::task::spawn_blocking(move || check(&source, &trust, since, receipt));
    let (word, text, code) = match checked.await?? {
        Outcome::Intact(text) => ("intact", text, ExitCode::SUCCESS),
        Outcome::Tampered(text) => ("TAMPERED", text, ExitCode::FAILURE),
        Outcome::Incomplete(text) => ("INCOMPLETE", text, ExitCode::from(INCOMPLETE)),
    };
    print(&terminal_safe(&format!("{word}: {text}")));
    Ok(code)
}

/// Who is trusted; and whether somebody said so, or only the log itself.
fn trust(args: &Args, source: &Source) -> anyhow::Result<(Policy, bool)> {
    if let Some(path) = &args.policy {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let policy = Policy::parse(&bytes).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            !policy.logs().is_empty(),
            "{}: it names no log: add a line `log <key>`",
            path.display()
        );
        return Ok((policy, true));
    }
    if let Some(key) = &args.key {
        return Ok((Policy::of_log(key.clone())?, true));
    }
    match source {
        Source::Log(dir) => Ok((Policy::of_log(Trail::key_of(dir, &RealDisk)?)?, false)),
        Source::Tiles(_) | Source::File(_) | Source::Bundle(_) => {
            anyhow::bail!(
                "whose log is it? give `--key` or `--policy`, from a source that you trust"
            )
        }
    }
}

fn check(
    source: &Source,
    (policy, told): &(Policy, bool),
    mut since: Vec<String>,
    receipt: Option<Receipt>,
) -> anyhow::Result<Outcome> {
    if let Some(receipt) = &receipt {
        since.extend(receipt.note(policy)?);
    }
    let index = receipt.as_ref().and_then(|receipt| receipt.index);
    let mut bundle = index.map(Bundle::of);
    let outcome = match source {
        Source::Log(dir) => log(dir, policy, *told, since)?,
        Source::Tiles(tiles) => files(tiles, policy, &since, bundle.as_mut())?,
        Source::File(bytes) => file(bytes, policy, &since)?,
        Source::Bundle(packed) => {
            anyhow::ensure!(
                since.is_empty(),
                "a bundle shows some records, not that the log only grew: give `--since` and `--receipt` with a \
                 log's folder or URL"
            );
            bundled(packed, policy)?
        }
    };
    match (outcome, receipt) {
        (Outcome::Intact(text), Some(receipt)) => receipt.against(source, bundle.as_ref(), &text),
        (outcome, _) => Ok(outcome),
    }
}

fn log(dir: &Path, policy: &Policy, told: bool, since: Vec<String>) -> anyhow::Result<Outcome> {
    let options = VerifyOptions {
        since,
        key: None,
        policy: told.then(|| policy.clone()),
    };
    let mut meter = Meter::new();
    let report = Trail::check_telling(dir, &RealDisk, &options, &mut |progress| {
        meter.tell(progress);
    })?;
    meter.clear();
    let cosigned = report.cosigned.map_or_else(String::new, |size| {
        format!(", {size} records cosigned by witnesses")
    });
    let pruned = match (&report.verdict, report.pruned) {
        (Verdict::Intact, _) | (_, 0) => String::new(),
        (_, first) => format!(" (those before {first} are not here)"),
    };
    let counts = format!(
        "{} records{pruned}, {} signed heads, {} records younger than the newest head{cosigned}{}",
        report.records,
        report.heads,
        report.unsigned,
        meter.rate(report.records)
    );
    Ok(match report.verdict {
        Verdict::Intact if report.pruned > 0 => Outcome::Intact(format!(
            "from record {} on; the records before it were pruned, as a signed record says, and of them only the \
             hashes were checked: {counts}",
            report.pruned
        )),
        Verdict::Intact => Outcome::Intact(counts),
        Verdict::Tampered { first_bad, what } => {
            Outcome::Tampered(format!("at record {first_bad}: {what} ({counts})"))
        }
        Verdict::Incomplete { what } => Outcome::Incomplete(format!("{what} ({counts})")),
    })
}

/// The old checkpoints that are held, verified: a bad one is the holder's mistake or somebody's lie.
fn held(policy: &Policy, since: &[String]) -> Result<Vec<VerifiedCheckpoint>, tlog::Error> {
    let witnesses: Vec<VerifierKey> = policy.witnesses().iter().map(|w| w.key.clone()).collect();
    let verified = |note: &String| {
        let note = Note::parse(note.as_bytes())?;
        let tried = policy.logs().iter();
        let mut tried = tried.map(|log| VerifiedCheckpoint::verify(&note, &log.key, &witnesses));
        let first = tried.next().unwrap_or_else(|| policy.verify(&note));
        tried.fold(first, Result::or)
    };
    since.iter().map(verified).collect()
}

fn files(
    tiles: &Tiles,
    policy: &Policy,
    since: &[String],
    mut bundle: Option<&mut Bundle>,
) -> anyhow::Result<Outcome> {
    let Some(note) = tiles.read(CHECKPOINT_PATH)? else {
        return Ok(Outcome::Incomplete("there is no `checkpoint`".to_owned()));
    };
    let signed = Note::parse(&note).and_then(|note| policy.verify(&note));
    let signed = match signed.and_then(|signed| Ok((signed, held(policy, since)?))) {
        Ok(signed) => signed,
        Err(error) => return Ok(Outcome::Tampered(error.to_string())),
    };
    let (mut failed, mut meter) = (None, Meter::new());
    let size = signed.0.checkpoint().size();
    if let Some(bundle) = &mut bundle {
        bundle.size = size;
    }
    let mut entries = 0;
    let read = |path: &str| {
        if path.starts_with("tile/entries/") {
            entries += 256;
            meter.tell(Progress {
                records: entries,
                bytes: entries,
                bytes_all: size,
            });
        }
        let bytes = tiles.read(path).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            None
        });
        if let Some(bundle) = &mut bundle {
            bundle.see(path, bytes.as_ref());
        }
        bytes
    };
    let checked = check_files(&signed.0, &signed.1, read);
    meter.clear();
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(match checked {
        Ok(report) => Outcome::Intact(format!(
            "{} records under {} signed heads{}",
            report.head.size,
            report.checkpoints,
            meter.rate(report.head.size)
        )),
        Err(fault) => match fault.verdict() {
            FilesVerdict::Tampered => Outcome::Tampered(told_at(&fault)),
            FilesVerdict::Incomplete => Outcome::Incomplete(fault.to_string()),
        },
    })
}

/// A fault with the first record that cannot be trusted.
fn told_at(fault: &Fault) -> String {
    match fault {
        Fault::Root { good, .. } => format!("at record {good}: {fault}"),
        Fault::Tile { index, .. } => format!("at record {index}: {fault}"),
        Fault::Forked { .. }
        | Fault::TwoLogs { .. }
        | Fault::Short { .. }
        | Fault::Missing { .. }
        | Fault::Form { .. } => fault.to_string(),
    }
}

fn file(bytes: &[u8], policy: &Policy, since: &[String]) -> anyhow::Result<Outcome> {
    let checked = if bytes.starts_with(b"c2sp.org/tlog-proof@v1\n") {
        proof(bytes, policy)
    } else if bytes.starts_with(b"old ") {
        let [held_note] = since else {
            anyhow::bail!(
                "a consistency proof is checked against the one checkpoint that you hold: give `--since`"
            );
        };
        growth(bytes, policy, held_note)
    } else {
        Note::parse(bytes)
            .and_then(|note| policy.verify(&note))
            .map(|signed| format!("the log signed {} records", signed.checkpoint().size()))
    };
    Ok(match checked {
        Ok(text) => Outcome::Intact(text),
        Err(tlog::Error::NoEntry) => Outcome::Incomplete("the proof carries no entry".to_owned()),
        Err(error) => Outcome::Tampered(error.to_string()),
    })
}

/// The evidence of one call.
fn bundled(packed: &Packed, policy: &Policy) -> anyhow::Result<Outcome> {
    let bundle = match packed {
        Packed::Archive(bytes) => Evidence::from_archive(bytes),
        Packed::Folder(files) => Evidence::from_files(files.clone()),
    };
    Ok(match bundle.and_then(|bundle| bundle.check(policy)) {
        Ok(checked) => {
            let disclosed = match checked.disclosed {
                true => "content disclosed, and what the records commit to",
                false => "no content disclosed",
            };
            let policies = match checked.policies {
                true => "with the policies in force",
                false => "without the policies in force",
            };
            Outcome::Intact(format!(
                "call {}: {} records are in the log of {} records of `{}`, cosigned by {} witnesses; {policies}; \
                 {disclosed}",
                checked.call, checked.records, checked.size, checked.origin, checked.witnesses
            ))
        }
        Err(fault @ BundleFault::Tampered { .. }) => Outcome::Tampered(fault.to_string()),
        Err(fault @ BundleFault::Incomplete { .. }) => Outcome::Incomplete(fault.to_string()),
        Err(fault @ BundleFault::Unusable(_)) => return Err(fault.into()),
    })
}

fn proof(bytes: &[u8], policy: &Policy) -> Result<String, tlog::Error> {
    let proof = InclusionProof::parse(bytes)?;
    let signed = policy.verify(&proof.checkpoint)?;
    let entry = proof.extra.as_deref().ok_or(tlog::Error::NoEntry)?;
    let leaf = tlog::tree::leaf_hash(entry);
    tlog::proof::verify_inclusion(leaf, proof.index, signed.checkpoint().head(), &proof.hashes)?;
    let entry = String::from_utf8_lossy(entry);
    Ok(format!(
        "record {} is in the log of {} records, cosigned by {} witnesses\n{entry}",
        proof.index,
        signed.checkpoint().size(),
        signed.cosignatures().len()
    ))
}

fn growth(bytes: &[u8], policy: &Policy, held_note: &str) -> Result<String, tlog::Error> {
    let proof = ConsistencyProof::parse(bytes)?;
    let newer = policy.verify(&proof.checkpoint)?;
    let older = held(policy, &[held_note.to_owned()])?;
    let older = older.first().ok_or(tlog::Error::NoEntry)?;
    let (from, to) = (older.checkpoint(), newer.checkpoint());
    if from.origin() != to.origin() {
        let (origin, key) = (from.origin().to_owned(), to.origin().to_owned());
        return Err(tlog::Error::Origin { origin, key });
    }
    if proof.old_size != from.size() {
        let (proof, held) = (proof.old_size, from.size());
        return Err(tlog::Error::OldSize { proof, held });
    }
    tlog::proof::verify_consistency(from.head(), to.head(), &proof.hashes)?;
    Ok(format!(
        "the log of {} records begins with the {} of the older checkpoint",
        to.size(),
        from.size()
    ))
}

/// What a caller kept of an answer.
struct Receipt {
    /// Index of the call's begin record, if the answer waited for it.
    index: Option<u64>,
    /// Size, root and signature of the newest head at that time, if there was one.
    head: Option<(u64, Hash, String)>,
}

impl Receipt {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut receipt = Self {
            index: None,
            head: None,
        };
        let (mut size, mut root, mut signature) = (None, None, None);
        let unclear = || format!("`{text}` is not the value of a `Callgate-Receipt` header");
        for member in text.trim().split(',') {
            let (name, value) = member.trim().split_once('=').with_context(unclear)?;
            let bytes = || {
                value
                    .strip_prefix(':')
                    .and_then(|value| value.strip_suffix(':'))
            };
            match name {
                "index" => receipt.index = Some(value.parse().with_context(unclear)?),
                "size" => size = Some(value.parse::<u64>().with_context(unclear)?),
                "root" => {
                    let hash = bytes().with_context(unclear)?.parse::<Hash>();
                    root = Some(hash.with_context(unclear)?);
                }
                "sig" => signature = Some(bytes().with_context(unclear)?.to_owned()),
                _ => anyhow::bail!(unclear()),
            }
        }
        receipt.head = match (size, root, signature) {
            (Some(size), Some(root), Some(signature)) => Some((size, root, signature)),
            (None, None, None) => None,
            _ => anyhow::bail!(unclear()),
        };
        Ok(receipt)
    }

    /// The head in it, as a checkpoint of the log.
    fn note(&self, policy: &Policy) -> anyhow::Result<Option<String>> {
        let Some((size, root, signature)) = &self.head else {
            return Ok(None);
        };
        let id = BASE64
            .decode(signature)
            .context("the receipt's signature is not base64")?;
        let id = id.first_chunk().copied().map(u32::from_be_bytes);
        let mut logs = policy.logs().iter();
        let log = logs
            .find(|log| Some(log.key.id()) == id)
            .or_else(|| policy.logs().first());
        let log = log.context("no log is named that could have given the receipt")?;
        let origin = log.key.name();
        let checkpoint = Checkpoint::new(origin, *size, *root)?;
        Ok(Some(format!("{checkpoint}\n— {origin} {signature}\n")))
    }

    /// What the receipt says of a log that is intact and grew out of the receipt's head.
    fn against(
        &self,
        source: &Source,
        bundle: Option<&Bundle>,
        text: &str,
    ) -> anyhow::Result<Outcome> {
        let Some(index) = self.index else {
            return Ok(Outcome::Intact(format!(
                "{text}; the receipt names no record"
            )));
        };
        let entry = match source {
            Source::Log(dir) => {
                match Trail::open(dir, std::sync::Arc::new(RealDisk))?.leaf(index) {
                    Ok(entry) => Some(entry),
                    Err(error @ Error::Pruned { .. }) => {
                        let text = format!("the receipt's head is part of the log, but {error}");
                        return Ok(Outcome::Incomplete(text));
                    }
                    Err(_) => None,
                }
            }
            Source::Tiles(_) => bundle.and_then(Bundle::entry),
            Source::File(_) | Source::Bundle(_) => {
                anyhow::bail!("a receipt is checked against a log: name its folder or URL")
            }
        };
        let Some(entry) = entry else {
            let text = format!("the receipt names record {index}, which is not there");
            return Ok(Outcome::Incomplete(text));
        };
        let fields: serde_json::Value = serde_json::from_slice(&entry).unwrap_or_default();
        let kind = fields.get("kind").and_then(serde_json::Value::as_str);
        let call = fields.get("call").and_then(serde_json::Value::as_str);
        Ok(match (kind, call) {
            (Some("call.begin"), Some(call)) => Outcome::Intact(format!(
                "{text}; the receipt's head is part of it, and its record {index} begins call {call}"
            )),
            _ => Outcome::Tampered(format!(
                "at record {index}: the receipt says that a call begins there"
            )),
        })
    }
}

/// The bundle of entries with one record in it, as it was read for the check: a mirror that is asked again
/// may answer otherwise.
#[derive(Debug)]
struct Bundle {
    index: u64,
    size: u64,
    /// The bytes, and how many entries they have.
    read: Option<(u16, Vec<u8>)>,
}

impl Bundle {
    const fn of(index: u64) -> Self {
        Self {
            index,
            size: 0,
            read: None,
        }
    }

    /// Take note of what the check is given to read.
    fn see(&mut self, path: &str, bytes: Option<&Vec<u8>>) {
        let full = Tile::new(Layer::Entries, self.index / 256, TILE_WIDTH);
        let (Some(full), Some(bytes)) = (full, bytes) else {
            return;
        };
        let full = full.to_string();
        let width = match path.strip_prefix(&full) {
            Some("") => Some(TILE_WIDTH),
            Some(part) => part
                .strip_prefix(".p/")
                .and_then(|width| width.parse().ok()),
            None => None,
        };
        if let Some(width) = width {
            self.read = Some((width, bytes.clone()));
        }
    }

    /// The record, if the verified checkpoint covers it.
    fn entry(&self) -> Option<Vec<u8>> {
        let (width, bytes) = self.read.as_ref().filter(|_| self.index < self.size)?;
        let entries = decode_bundle(bytes, *width).ok()?;
        let place = usize::try_from(self.index % 256).ok()?;
        entries.get(place).map(|entry| entry.to_vec())
    }
}

/// Tells a person at a terminal how far the check has come.
struct Meter {
    begun: Instant,
    told: Option<Instant>,
    terminal: bool,
}

impl Meter {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            told: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    #[expect(
        clippy::print_stderr,
        reason = "progress on the terminal of whoever waits"
    )]
    fn tell(&mut self, progress: Progress) {
        if !self.terminal || self.told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let (done, all, records) = (
            progress.bytes as f64,
            progress.bytes_all.max(1) as f64,
            progress.records as f64,
        );
        let left = (all / done.max(1.0) - 1.0).max(0.0) * seconds;
        eprint!(
            "\r\x1b[K{records:.0} records, {:.0} %, {:.0} records/s, {left:.0} s left",
            100.0 * (done / all).min(1.0),
            records / seconds.max(0.001),
        );
    }

    #[expect(
        clippy::print_stderr,
        reason = "progress on the terminal of whoever waits"
    )]
    fn clear(&self) {
        if self.told.is_some() {
            eprint!("\r\x1b[K");
        }
    }

    /// How fast it went, once that means something.
    fn rate(&self, records: u64) -> String {
        let took = self.begun.elapsed();
        if records < 10_000 {
            return String::new();
        }
        let per_second = u128::from(records) * 1000 / took.as_millis().max(1);
        format!(", {per_second} records/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipts_record_is_of_the_bytes_that_were_verified() {
        let bundle = |texts: &[&str]| -> Vec<u8> {
            let entry =
                |text: &&str| [&[0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            texts.iter().flat_map(entry).collect()
        };
        let seen = |index, size, files: &[(&str, &[&str])]| {
            let mut seen = Bundle {
                size,
                ..Bundle::of(index)
            };
            for (path, texts) in files {
                seen.see(path, Some(&bundle(texts)));
            }
            seen.see("tile/entries/000", None);
            seen.entry().map(|entry| String::from_utf8(entry).unwrap())
        };
        let part = "tile/entries/000.p/2";
        assert_eq!(seen(1, 2, &[(part, &["a", "b"])]), Some("b".to_owned()));
        // Not covered by the checkpoint, whatever the file has.
        assert_eq!(seen(1, 1, &[(part, &["a", "b"])]), None);
        assert_eq!(seen(2, 2, &[(part, &["a", "b"])]), None);
        // Other bundles, and levels of hashes, are none of its business.
        let other = ("tile/entries/001.p/2", &["c", "d"][..]);
        let hashes = ("tile/0/000.p/2", &["e", "f"][..]);
        assert_eq!(
            seen(1, 2, &[(part, &["a", "b"]), other, hashes]),
            Some("b".to_owned())
        );
        assert_eq!(seen(1, 2, &[other, hashes]), None);
    }
}
