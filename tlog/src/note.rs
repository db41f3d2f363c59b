//! Signed notes ([C2SP signed-note]) with Ed25519 keys, and the witness cosignatures on them
//! ([C2SP tlog-cosignature], `cosignature/v1`).
//!
//! The text of a [`Note`] that nobody verified is only a claim; `checkpoint` gives the type that
//! stands for a verified one. Ed25519 only: other signature types are carried, never trusted.
//!
//! [C2SP signed-note]: https://c2sp.org/signed-note
//! [C2SP tlog-cosignature]: https://c2sp.org/tlog-cosignature

use std::fmt;

mod key;

pub use self::key::{KEY_NAME_BYTES_MAX, Kind, Signer, VerifierKey};

pub(crate) use self::key::check_name;
use crate::Error;
use crate::text::{base64_decode, base64_encode, malformed, printable};

/// The largest note, in bytes: 16 post-quantum signatures and a text fit.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// How many signatures a note may carry (the specification asks for at least 16).
pub const SIGNATURES_MAX: usize = 16;

/// One signature line of a note, `— name base64(id ‖ signature)`. Says nothing until verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    key_id: u32,
    bytes: Vec<u8>,
}

impl Signature {
    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that is said to have signed.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// Whether it claims to be made by this key.
    fn by(&self, key: &VerifierKey) -> bool {
        self.key_id == key.id() && self.name == key.name()
    }

    /// Reads one line without its newline.
    fn parse(line: &str, number: usize) -> Result<Self, Error> {
        let wrong = |problem| malformed(Note::WHAT, number, problem);
        let line = line
            .strip_prefix("— ")
            .ok_or_else(|| wrong("a signature line starts with an em dash and a space"))?;
        let (name, bytes) = line
            .split_once(' ')
            .ok_or_else(|| wrong("no signature after the key name"))?;
        check_name(name)?;
        let bytes = base64_decode(bytes).ok_or_else(|| wrong("the signature is not base64"))?;
        match bytes.split_first_chunk() {
            Some((id, signature)) if !signature.is_empty() => Ok(Self {
                name: name.to_owned(),
                key_id: u32::from_be_bytes(*id),
                bytes: signature.to_vec(),
            }),
            _ => Err(wrong("the signature is shorter than a key id and one byte")),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.to_be_bytes(), self.bytes.as_slice()].concat();
        write!(f, "— {} {}", self.name, base64_encode(&bytes))
    }
}

/// A signature that verified: whose, and for a witness also when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    name: String,
    key_id: u32,
    time: Option<u64>,
}

impl VerifiedSignature {
    /// The name of the key that signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that signed.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// When a witness says that it signed, in seconds since 1970; `None` for a log's signature.
    #[must_use]
    pub const fn time(&self) -> Option<u64> {
        self.time
    }

    /// Whether it was made by this key.
    pub(crate) fn by(&self, key: &VerifierKey) -> bool {
        self.key_id == key.id() && self.name == key.name()
    }
}

/// A text with signatures. In form, but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    const WHAT: &str = "note";

    /// A note without signatures; the text must end in a newline.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Malformed`].
    pub fn new(text: &str) -> Result<Self, Error> {
        printable(Self::WHAT, text.as_bytes(), NOTE_BYTES_MAX)?;
        if !text.ends_with('\n') {
            return Err(malformed(
                Self::WHAT,
                text.lines().count(),
                "the text does not end in a newline",
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// Reads a signed note. Accepts exactly what [`fmt::Display`] prints.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Malformed`], [`Error::KeyName`], [`Error::TooManySignatures`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let whole = printable(Self::WHAT, bytes, NOTE_BYTES_MAX)?;
        // The last empty line ends the text, which may contain empty lines itself.
        let end = whole
            .rfind("\n\n")
            .ok_or_else(|| malformed(Self::WHAT, 1, "no empty line after the text"))?;
        let (text, signed) = whole.split_at(end + 1);
        let number = text.matches('\n').count() + 2;
        let signed = signed
            .strip_prefix('\n')
            .and_then(|lines| lines.strip_suffix('\n'));
        let signed =
            signed.ok_or_else(|| malformed(Self::WHAT, number, "no complete signature line"))?;
        let mut note = Self::new(text)?;
        for (line, number) in signed.split('\n').zip(number..) {
            note.add(Signature::parse(line, number)?)?;
        }
        Ok(note)
    }

    /// The text, with its final newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// [`Error::TooManySignatures`].
    pub fn add(&mut self, signature: Signature) -> Result<(), Error> {
        if self.signatures.len() == SIGNATURES_MAX {
            return Err(Error::TooManySignatures {
                limit: SIGNATURES_MAX,
            });
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks every signature by one of these keys and returns them; those of unknown keys are
    /// ignored, as the specification demands. One bad signature of a known key refuses the note.
    ///
    /// # Errors
    /// [`Error::BadSignature`], [`Error::RepeatedSignature`], [`Error::CosignatureTime`].
    pub fn verify(&self, keys: &[&VerifierKey]) -> Result<Vec<VerifiedSignature>, Error> {
        let mut verified: Vec<VerifiedSignature> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = keys.iter().find(|key| signature.by(key)) else {
                continue;
            };
            let (name, key_id) = (signature.name.clone(), signature.key_id);
            if verified.iter().any(|earlier| earlier.by(key)) {
                return Err(Error::RepeatedSignature { name, key_id });
            }
            verified.push(key.check(&self.text, signature)?);
        }
        Ok(verified)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

#[cfg(test)]
mod tests;
