//! Strict line-wise reading, shared by the text formats. Every helper accepts exactly one spelling.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Error;

/// Reads lines that each end in a newline, and remembers the number of the line.
pub(crate) struct Lines<'a> {
    what: &'static str,
    rest: &'a str,
    line: usize,
}

impl<'a> Lines<'a> {
    /// Checks length, UTF-8 and characters before anything is read.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8], limit: usize) -> Result<Self, Error> {
        let rest = printable(what, bytes, limit)?;
        Ok(Self {
            what,
            rest,
            line: 0,
        })
    }

    /// The next line without its newline; an unfinished last line is refused.
    pub(crate) fn next(&mut self) -> Result<&'a str, Error> {
        self.line += 1;
        let (line, rest) = self
            .rest
            .split_once('\n')
            .ok_or_else(|| self.wrong("the line is missing or unfinished"))?;
        self.rest = rest;
        Ok(line)
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    /// An error at the line that was read last.
    pub(crate) fn wrong(&self, problem: &'static str) -> Error {
        malformed(self.what, self.line, problem)
    }

    /// A decimal number without sign and leading zeroes.
    pub(crate) fn decimal(&self, text: &str) -> Result<u64, Error> {
        let number: u64 = text
            .parse()
            .map_err(|_| self.wrong("not a decimal number of 64 bits"))?;
        // Comparing the printed form refuses `+1`, `01` and the like in one stroke.
        if number.to_string() != text {
            return Err(self.wrong("a number has no sign and no leading zeroes"));
        }
        Ok(number)
    }

    /// Hashes, one a line, up to and including an empty line.
    pub(crate) fn hashes(&mut self) -> Result<Vec<crate::tree::Hash>, Error> {
        let mut hashes = Vec::new();
        loop {
            let line = self.next()?;
            if line.is_empty() {
                return Ok(hashes);
            }
            if hashes.len() == crate::proof::PROOF_HASHES_MAX {
                return Err(self.wrong("a proof has at most 63 hashes"));
            }
            hashes.push(
                line.parse()
                    .map_err(|_| self.wrong("not the base64 form of a hash"))?,
            );
        }
    }
}

/// An error at a line, counted from 1.
pub(crate) fn malformed(what: &'static str, line: usize, problem: &'static str) -> Error {
    Error::Malformed {
        what,
        place: "line",
        at: line,
        problem,
    }
}

/// UTF-8 of bounded length, without control characters other than the newline.
pub(crate) fn printable<'a>(
    what: &'static str,
    bytes: &'a [u8],
    limit: usize,
) -> Result<&'a str, Error> {
    if bytes.len() > limit {
        return Err(Error::TooLong {
            what,
            bytes: bytes.len(),
            limit,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Error::Malformed {
        what,
        place: "byte",
        at: error.valid_up_to(),
        problem: "not UTF-8",
    })?;
    // Stricter than the specification: DEL and the C1 characters are refused as well.
    match text
        .char_indices()
        .find(|(_, c)| c.is_control() && *c != '\n')
    {
        Some((at, _)) => Err(Error::Malformed {
            what,
            place: "byte",
            at,
            problem: "a control character",
        }),
        None => Ok(text),
    }
}

/// RFC 4648 section 4 with padding; other spellings of the same bytes are refused.
pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// RFC 4648 section 4 with padding.
pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
