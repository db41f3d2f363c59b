//! Trust policies ([C2SP tlog-policy]): which logs, and how many of which witnesses, make a
//! checkpoint good.
//!
//! A policy is a text of lines `log`, `witness`, `group` and `quorum`. Names in it mean something
//! inside the file only. Keys are Ed25519; a policy that names a key of another type is refused as a
//! whole, because a quorum without one of its members would be another quorum.
//!
//! [C2SP tlog-policy]: https://c2sp.org/tlog-policy

use crate::Error;
use crate::checkpoint::VerifiedCheckpoint;
use crate::note::{Kind, Note, VerifiedSignature, VerifierKey};
use crate::text::malformed;

/// The largest policy file, in bytes.
pub const POLICY_BYTES_MAX: usize = 256 * 1024;
/// The most logs, and the most witnesses and groups together, that a policy may define.
pub const POLICY_NAMES_MAX: usize = 512;

/// The name that stands for no witness at all.
const NONE: &[u8] = b"none";

/// A log or a witness: its key, and where it is, if the policy says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Its public key.
    pub key: VerifierKey,
    /// Its URL, as written.
    pub url: Option<String>,
}

/// What a name of the policy stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Member {
    /// The witness at this place of the list.
    Witness(usize),
    /// So many of these names, by their places.
    Group { threshold: usize, of: Vec<usize> },
}

/// Which logs and which cosignatures make a checkpoint good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    // INVARIANT: a group's members stand before it, so a look at one always ends.
    members: Vec<Member>,
    /// The name that must have witnessed; `None` for the quorum `none`.
    quorum: Option<usize>,
}

impl Policy {
    const WHAT: &str = "policy";

    /// Reads a policy file.
    ///
    /// # Errors
    /// [`Error::TooLong`]; [`Error::Malformed`] with the line; those of the keys in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(Error::TooLong {
                what: Self::WHAT,
                bytes: bytes.len(),
                limit: POLICY_BYTES_MAX,
            });
        }
        let lines = bytes.strip_suffix(b"\n").ok_or_else(|| {
            let count = bytes.split(|byte| *byte == b'\n').count();
            malformed(Self::WHAT, count, "the last line is unfinished")
        })?;
        let mut reader = Reader::default();
        for (line, number) in lines.split(|byte| *byte == b'\n').zip(1..) {
            reader.number = number;
            reader.line(line)?;
        }
        let quorum = reader
            .quorum
            .ok_or_else(|| reader.wrong("there is no `quorum` line"))?;
        Ok(Self {
            logs: reader.logs,
            witnesses: reader.witnesses,
            members: reader.members,
            quorum,
        })
    }

    /// The policy that one log's signature is enough, without witnesses.
    ///
    /// # Errors
    /// [`Error::KeyUse`] for a witness's key.
    pub fn of_log(key: VerifierKey) -> Result<Self, Error> {
        key.must_be(Kind::Log)?;
        Ok(Self {
            logs: vec![Party { key, url: None }],
            witnesses: Vec::new(),
            members: Vec::new(),
            quorum: None,
        })
    }

    /// The logs, in the file's order.
    #[must_use]
    pub fn logs(&self) -> &[Party] {
        &self.logs
    }

    /// The witnesses, in the file's order.
    #[must_use]
    pub fn witnesses(&self) -> &[Party] {
        &self.witnesses
    }

    /// Whether any cosignature is asked for.
    #[must_use]
    pub const fn asks_witnesses(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether these cosignatures, which verified, are the quorum that is asked for.
    #[must_use]
    pub fn met_by(&self, cosignatures: &[VerifiedSignature]) -> bool {
        let Some(quorum) = self.quorum else {
            return true;
        };
        let mut witnessed: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let has = match member {
                Member::Witness(place) => self
                    .witnesses
                    .get(*place)
                    .is_some_and(|witness| cosignatures.iter().any(|by| by.by(&witness.key))),
                Member::Group { threshold, of } => {
                    let have = of
                        .iter()
                        .filter(|place| witnessed.get(**place) == Some(&true));
                    have.count() >= *threshold
                }
            };
            witnessed.push(has);
        }
        witnessed.get(quorum) == Some(&true)
    }

    /// Checks that one of the policy's logs signed the checkpoint in `note`, and its quorum
    /// cosigned it. Every signature of a key that the policy names must be good.
    ///
    /// # Errors
    /// [`Error::UnknownLog`], [`Error::Quorum`], those of [`VerifiedCheckpoint::verify`].
    pub fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, Error> {
        let origin = note.text().lines().next().unwrap_or_default();
        let named = |log: &&Party| log.key.name() == origin;
        let signed = |log: &&Party| {
            let by = |line: &crate::note::Signature| line.key_id() == log.key.id();
            note.signatures().iter().any(by)
        };
        // Two keys of one name: a log whose key was replaced. The one that signed is looked at.
        let mut logs = self.logs.iter().filter(named);
        let log = logs.clone().find(signed).or_else(|| logs.next());
        let log = log.ok_or_else(|| Error::UnknownLog {
            origin: origin.escape_debug().take(255).collect(),
        })?;
        let witnesses: Vec<VerifierKey> = self
            .witnesses
            .iter()
            .map(|party| party.key.clone())
            .collect();
        let verified = VerifiedCheckpoint::verify(note, &log.key, &witnesses)?;
        if !self.met_by(verified.cosignatures()) {
            let names = verified.cosignatures().iter().map(VerifiedSignature::name);
            return Err(Error::Quorum {
                have: names.collect::<Vec<_>>().join(", "),
            });
        }
        Ok(verified)
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Reader {
    number: usize,
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    names: Vec<Vec<u8>>,
    members: Vec<Member>,
    /// Which names are a member of a group already.
    taken: Vec<bool>,
    quorum: Option<Option<usize>>,
}

impl Reader {
    fn wrong(&self, problem: &'static str) -> Error {
        malformed(Policy::WHAT, self.number, problem)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        // Octets above 0x7F are opaque: nothing here knows of Unicode.
        if line
            .iter()
            .any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
        {
            return Err(self.wrong("a control character other than tab"));
        }
        let items: Vec<&[u8]> = line
            .split(|byte| matches!(byte, b' ' | b'\t'))
            .filter(|item| !item.is_empty())
            .collect();
        let [word, rest @ ..] = items.as_slice() else {
            return Ok(());
        };
        if word.starts_with(b"#") {
            return Ok(());
        }
        match *word {
            b"log" => self.log(rest),
            b"witness" => self.witness(rest),
            b"group" => self.group(rest),
            b"quorum" => self.quorum(rest),
            _ => Err(self.wrong("a line begins with `log`, `witness`, `group` or `quorum`")),
        }
    }

    fn log(&mut self, items: &[&[u8]]) -> Result<(), Error> {
        let (key, url) = match items {
            [key] => (key, None),
            [key, url] => (key, Some(url)),
            _ => return Err(self.wrong("write `log <vkey> [<url>]`")),
        };
        let party = self.party(key, url, Kind::Log)?;
        if self.logs.len() == POLICY_NAMES_MAX {
            return Err(self.wrong("more than 512 logs"));
        }
        if self.logs.iter().any(|log| same_key(log, &party)) {
            return Err(self.wrong("a log with this public key was named before"));
        }
        self.logs.push(party);
        Ok(())
    }

    fn witness(&mut self, items: &[&[u8]]) -> Result<(), Error> {
        let (name, key, url) = match items {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url)),
            _ => return Err(self.wrong("write `witness <name> <vkey> [<url>]`")),
        };
        let party = self.party(key, url, Kind::Witness)?;
        if self.witnesses.iter().any(|one| same_key(one, &party)) {
            return Err(self.wrong("a witness with this public key was named before"));
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(party);
        Ok(())
    }

    fn group(&mut self, items: &[&[u8]]) -> Result<(), Error> {
        let [name, threshold, named @ ..] = items else {
            return Err(self.wrong("write `group <name> <all, any or a number> <name>…`"));
        };
        let mut of = Vec::with_capacity(named.len());
        for member in named {
            let place = self.place(member)?;
            match self.taken.get_mut(place) {
                Some(taken) if !*taken => *taken = true,
                // Each witness counts in one way only.
                _ => return Err(self.wrong("a name is a member of one group, once")),
            }
            of.push(place);
        }
        let threshold = match *threshold {
            b"all" => of.len(),
            b"any" => 1,
            digits => self.threshold(digits)?,
        };
        if threshold == 0 || threshold > of.len() {
            return Err(self.wrong("a group needs at least one and at most all of its members"));
        }
        self.define(name, Member::Group { threshold, of })
    }

    fn threshold(&self, digits: &[u8]) -> Result<usize, Error> {
        let wrong = || self.wrong("a threshold is `all`, `any` or a decimal number");
        let text = std::str::from_utf8(digits).map_err(|_| wrong())?;
        let number: usize = text.parse().map_err(|_| wrong())?;
        if number.to_string() == text {
            Ok(number)
        } else {
            Err(wrong())
        }
    }

    fn quorum(&mut self, items: &[&[u8]]) -> Result<(), Error> {
        let [name] = items else {
            return Err(self.wrong("write `quorum <name>` or `quorum none`"));
        };
        let quorum = if *name == NONE {
            None
        } else {
            Some(self.place(name)?)
        };
        if self.quorum.replace(quorum).is_some() {
            return Err(self.wrong("there is a `quorum` line already"));
        }
        Ok(())
    }

    fn place(&self, name: &[u8]) -> Result<usize, Error> {
        let mut names = self.names.iter();
        names
            .position(|known| known == name)
            .ok_or_else(|| self.wrong("a name that no line before defines"))
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), Error> {
        if name == NONE || self.names.iter().any(|known| known == name) {
            return Err(self.wrong("the name is taken"));
        }
        if self.names.len() == POLICY_NAMES_MAX {
            return Err(self.wrong("more than 512 witnesses and groups"));
        }
        self.names.push(name.to_vec());
        self.members.push(member);
        self.taken.push(false);
        Ok(())
    }

    fn party(&self, key: &[u8], url: Option<&&[u8]>, kind: Kind) -> Result<Party, Error> {
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes);
            text.map(ToOwned::to_owned)
                .map_err(|_| self.wrong("a key or URL is not UTF-8"))
        };
        let key: VerifierKey = text(key)?.parse()?;
        key.must_be(kind)?;
        let url = url.map(|url| text(url)).transpose()?;
        Ok(Party { key, url })
    }
}

/// Two keys are the same if their public keys are, whatever their names.
fn same_key(one: &Party, other: &Party) -> bool {
    one.key.public() == other.key.public()
}

#[cfg(test)]
mod tests;
