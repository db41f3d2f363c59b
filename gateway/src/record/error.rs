//! What can go wrong with the evidence.

use std::io;
use std::path::{Path, PathBuf};

/// Why the evidence cannot be opened, made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {doing} `{path}`: {source}")]
    Disk {
        /// What was done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no audit log there.
    #[error("`{0}` holds no audit log: run `callgate init` once, or correct `data`")]
    NotInitialised(PathBuf),
    /// There is one already.
    #[error("`{0}` holds an audit log already: it is never made anew over an old one")]
    Exists(PathBuf),
    /// Another process writes it.
    #[error("`{dir}` is in use by process {holder}: stop it first, one process writes a log")]
    Locked {
        /// The audit directory.
        dir: PathBuf,
        /// The other process's id, or `?`.
        holder: String,
    },
    /// Something else stands where a directory or file of the log must be.
    #[error(
        "`{0}` is not a plain file or directory of the log's own: links and devices are refused"
    )]
    NotPlain(PathBuf),
    /// Key files of other users' eyes.
    #[error("`{0}` is readable by group or others: run `chmod 600` on it")]
    Permissions(PathBuf),
    /// The config does not name the service that wraps the root key.
    #[error(
        "`{0}` is wrapped by a transit service: name it in `audit.root_key.transit`, as it was when the log was made"
    )]
    RootWrapped(PathBuf),
    /// The config names a service, and the root key is in the clear.
    #[error(
        "`{0}` holds the root key in the clear, but the config has `audit.root_key.transit`: run `callgate audit rotate-root` to have it wrapped"
    )]
    RootInFile(PathBuf),
    /// A key or identity file that is not one.
    #[error("`{0}` is damaged: restore it from a backup")]
    Damaged(PathBuf),
    /// The keyring is damaged, or of another root key.
    #[error(
        "keyring `{0}` is damaged or belongs to another root key: restore both from one backup"
    )]
    Keyring(PathBuf),
    /// The log is of another origin or instance.
    #[error("the log in `{dir}` has the origin `{found}`, the config says `{expected}`")]
    Origin {
        /// The audit directory.
        dir: PathBuf,
        /// Origin of the log.
        found: String,
        /// Origin in the config.
        expected: String,
    },
    /// Bytes that were known to be stable have changed.
    #[error(
        "the log is damaged at segment {segment}, byte {offset}: {what}; run `callgate audit verify`"
    )]
    Corrupt {
        /// The segment's number.
        segment: u64,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A segment is not there.
    #[error(
        "segment {0} of the log is missing: restore it, nothing is appended to an incomplete log"
    )]
    Missing(u64),
    /// A signed head is newer than the log.
    #[error(
        "the log has {leaves} records, but a head of {head} was signed: the log was cut back or replaced by an old copy"
    )]
    Rewound {
        /// Size of the newest signed head.
        head: u64,
        /// Records in the log.
        leaves: u64,
    },
    /// A head outside is newer than the log.
    #[error(
        "the log has {leaves} records, but `{path}` remembers {head}: this is an older copy, and what was recorded since is not in it; put the newer one back, or run `callgate audit succeed` to go on in a successor"
    )]
    Behind {
        /// The head file.
        path: PathBuf,
        /// Size of the head in it.
        head: u64,
        /// Records in the log.
        leaves: u64,
    },
    /// The head file is gone.
    #[error(
        "`audit.head_file` `{0}` is not there, but heads were signed: mount its volume; if it is new, run `callgate audit remember` once"
    )]
    NoOutsideHead(PathBuf),
    /// The head file is of another log.
    #[error(
        "`{0}` holds a head that this log's key did not sign: every log has a head file of its own"
    )]
    OutsideHead(PathBuf),
    /// The directory is a copy.
    #[error(
        "the log in `{0}` was copied or restored: the original may have gone on, and one name must not have two logs; run `callgate audit succeed` to go on in a successor, or, if the folder was only moved and nothing else will ever write it, `callgate audit adopt`"
    )]
    Copied(PathBuf),
    /// A successor that a crash left half made.
    #[error(
        "`{0}` is a successor that was left half made: remove it, and ask again; the old log has everything"
    )]
    HalfMade(PathBuf),
    /// The log goes on as it is.
    #[error("the log in `{0}` can go on as it is: there is nothing to succeed")]
    NothingToSucceed(PathBuf),
    /// A signed head states another tree.
    #[error(
        "the records do not match the head of size {size} that was signed over them; run `callgate audit verify`, and `callgate audit succeed` to go on in a successor"
    )]
    HeadMismatch {
        /// Size of the head.
        size: u64,
    },
    /// Signed heads that cannot be read or verified.
    #[error("`{0}` holds a head that is not signed by the log's key")]
    BadHead(PathBuf),
    /// Encryption or the system's randomness failed.
    #[error("the cryptographic library refused an operation")]
    Crypto,
    /// The keyring is full.
    #[error("more than 4000000 subjects in one keyring")]
    TooManySubjects,
    /// The record went.
    #[error(
        "record {index} is not here any more: the log was pruned up to record {first}, and a record of it says so"
    )]
    Pruned {
        /// The record.
        index: u64,
        /// The first that is here.
        first: u64,
    },
    /// The call is not in the log, and older records went.
    #[error(
        "no call {call} is in the log any more: the log was pruned up to record {first}, as a record of it says, and the call's records may have been among those"
    )]
    PrunedCall {
        /// The call.
        call: crate::call::CallId,
        /// The first record that is here.
        first: u64,
    },
    /// What proves that the rest is whole.
    #[error(
        "the hashes of the first {0} records, which were pruned, are not in `pruned/leaves`: restore the file"
    )]
    PrunedHashes(u64),
    /// Legal holds would keep too much of what is to be destroyed.
    #[error(
        "more than 1000000 keys would be kept for legal holds: release holds, or no old content can be destroyed"
    )]
    TooManyKept,
    /// A setting that cannot work.
    #[error("{0}")]
    Setting(&'static str),
    /// A checkpoint, note or proof was refused.
    #[error(transparent)]
    Log(#[from] tlog::Error),
    /// No such call in the log.
    #[error("no record of call `{0}`")]
    UnknownCall(crate::call::CallId),
    /// The log has fewer records.
    #[error("the log has no record {0}")]
    NoRecord(u64),
    /// The index of calls and the log change faster than they can be read.
    #[error("`{0}` cannot be read beside its writer: try again")]
    IndexUnreadable(PathBuf),
    /// A place in a list that is none.
    #[error("`{0}` is not a cursor: take `next` of the page before")]
    Cursor(String),
    /// The content cannot be opened.
    #[error("the content of call `{0}` cannot be opened: its key is not here")]
    Unreadable(crate::call::CallId),
    /// The content is gone for good.
    #[error("the content of call `{0}` is erased: record {1} says so; its proofs still verify")]
    Erased(crate::call::CallId, u64),
    /// Nothing signed covers the record yet.
    #[error("no signed head covers the record yet: try again in a second")]
    NotCovered,
}

impl Error {
    /// Whether it may be so only of what was read before: the log went on, or old segments went.
    pub(super) fn may_be_of_before(&self) -> bool {
        match self {
            Self::Rewound { .. } => true,
            Self::Disk { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether another look may find the log whole: it was written, or pruned, while it was read.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Missing(_) => true,
            Self::Disk { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    pub(super) fn disk(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Disk {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

/// Why nothing can be recorded now.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// A write or sync failed.
    Write,
    /// A sync takes too long.
    Slow,
    /// Too little free space, or the reserve is in use.
    Space,
    /// The log's directory or file was replaced.
    Replaced,
    /// Bytes that were stable are not what they were.
    Damaged,
    /// More waits to be recorded than the limit.
    Queue,
    /// The recorder is shut down.
    Closed,
    /// No key could be made for the content.
    Key,
    /// The call was begun before.
    Twice,
    /// A copy of the log is written elsewhere.
    Forked,
}

impl Why {
    /// A stable word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Slow => "slow",
            Self::Space => "space",
            Self::Replaced => "replaced",
            Self::Damaged => "damaged",
            Self::Queue => "queue",
            Self::Closed => "closed",
            Self::Key => "key",
            Self::Twice => "twice",
            Self::Forked => "forked",
        }
    }
}

/// Nothing can be recorded now. The text is for the operator; a caller learns `audit_unavailable` only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Unavailable {
    pub(super) why: Why,
}

impl Unavailable {
    pub(super) const fn new(why: Why) -> Self {
        Self { why }
    }

    /// Why.
    pub const fn why(self) -> Why {
        self.why
    }
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.why {
            Why::Write => "the audit log cannot be written: see the log for the disk's error",
            Why::Slow => "the audit log's disk takes more than 2 seconds to sync",
            Why::Space => "too little free space for the audit log: make room on its file system",
            Why::Replaced => "the audit log's directory was replaced: restart with the right one",
            Why::Damaged => "the audit log is damaged on disk: run `callgate audit verify`",
            Why::Queue => "more waits for the audit log than its limit",
            Why::Closed => "the audit log is closed",
            Why::Key => "no key could be made for the call's content",
            Why::Twice => "the call has a record already",
            Why::Forked => {
                "a copy of this audit log is written elsewhere: stop one of the two, and start the other anew"
            }
        })
    }
}
