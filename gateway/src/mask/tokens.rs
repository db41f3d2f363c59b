//! Tokens on their way back: where a request holds one, its value is put there before anybody reads the
//! request, so that what is decoded, judged, recorded and forwarded is the same bytes. A token that is not
//! this caller's, or stands where none is taken back, refuses the request.

use std::collections::BTreeMap;
use std::fmt;

use wire::json::stream::{Documents, Kind, Scanner, StreamLimits, Token, Verdict, Visitor};

use super::class::{CLASS_BYTES_MAX, DataClass, is_class_name};
use super::media::{FieldRules, Format};
use super::vault::{Opened, Owner, PAYLOAD_BYTES_MAX, TokenError, Vault};
use super::veil::{VALUE_BYTES_MIN, Veil};
use super::view;

/// The word that every token begins with.
const WORD: &str = "cgtok";
/// `~` in the encodings that a request may have it in.
const MARKS: [&str; 8] = [
    "~", "%7E", "%7e", "\\u007E", "\\u007e", "&#126;", "&#x7E;", "&#x7e;",
];
/// Most tokens of one request.
pub const TOKENS_MAX: usize = 1000;
/// Most bytes of different values that the tokens of one request stand for: all of them are looked for in the answer.
pub const VALUES_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting and longest string of a JSON body that is read for tokens.
const LIMITS: StreamLimits = StreamLimits {
    depth_max: 512,
    token_bytes_max: 1024 * 1024,
    documents: Documents::Many,
    drops: false,
};

/// A token of a class.
pub(super) fn token(class: &DataClass, payload: &str) -> String {
    format!("{WORD}~{class}~{payload}~")
}

/// Whether `bytes` hold what may be a token.
#[must_use]
pub fn holds_token(bytes: &[u8]) -> bool {
    memchr::memmem::find_iter(bytes, WORD).any(|at| {
        let after = bytes.get(at + WORD.len()..).unwrap_or_default();
        MARKS.iter().any(|mark| after.starts_with(mark.as_bytes()))
    })
}

/// Why a request with a token is refused. Never holds the token or its value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenFault {
    /// It opens nothing.
    #[error("{place} holds a token that cannot be taken back: {why}")]
    Refused {
        /// The path or query, a header, the body.
        place: String,
        /// What is wrong with it.
        why: TokenError,
    },
    /// Policy does not let this function have the value.
    #[error(
        "{place} holds a token of class `{class}`, which this function may not be given the value of"
    )]
    NotPermitted {
        /// The path or query, a header, the body.
        place: String,
        /// Its class.
        class: DataClass,
    },
    /// It stands where no value can be put.
    #[error(
        "{place} holds a token where none is taken back: put it in a string of JSON, a form field, a \
         parameter, a header or plain text"
    )]
    Misplaced {
        /// The path or query, a header, the body.
        place: String,
    },
    /// Its value does not fit there.
    #[error(
        "{place} holds a token of class `{class}` whose value does not fit there: make it the whole string, \
         parameter or header"
    )]
    Unfit {
        /// The path or query, a header, the body.
        place: String,
        /// Its class.
        class: DataClass,
    },
    /// It could not be told from other text that is as short.
    #[error(
        "{place} holds a token of class `{class}` whose value is shorter than {VALUE_BYTES_MIN} bytes: it could \
         not be kept out of the answer, and is not taken back"
    )]
    TooShort {
        /// The path or query, a header, the body.
        place: String,
        /// Its class.
        class: DataClass,
    },
    /// More than [`TOKENS_MAX`], or than [`VALUES_BYTES_MAX`].
    #[error(
        "the request holds more than {TOKENS_MAX} tokens, or tokens of more than 64 KiB of values"
    )]
    TooMany,
}

/// Puts the values of one request's tokens back.
pub struct Restorer<'a> {
    vault: Option<&'a Vault>,
    owner: Owner<'a>,
    may: &'a dyn Fn(&DataClass) -> bool,
    counts: BTreeMap<DataClass, u64>,
    veils: Vec<Veil>,
    veiled_bytes: usize,
}

impl fmt::Debug for Restorer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restorer").finish_non_exhaustive()
    }
}

impl<'a> Restorer<'a> {
    /// For one request of `owner`; `may` is asked for each class whether the function may have its values.
    pub fn new(
        vault: Option<&'a Vault>,
        owner: Owner<'a>,
        may: &'a dyn Fn(&DataClass) -> bool,
    ) -> Self {
        Self {
            vault,
            owner,
            may,
            counts: BTreeMap::new(),
            veils: Vec::new(),
            veiled_bytes: 0,
        }
    }

    /// A normalised path and query with values in place of tokens; `None` if there are no tokens. To be
    /// normalised again: a value may be one that no path can hold.
    ///
    /// # Errors
    /// [`TokenFault`]: the request must not be used.
    pub fn target(&mut self, target: &str) -> Result<Option<String>, TokenFault> {
        const PLACE: &str = "the path or query";
        if !holds_token(target.as_bytes()) {
            return Ok(None);
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut out = self.pieces(path, '/', None, PLACE)?;
        if let Some(query) = query {
            out.push('?');
            out.push_str(&self.pieces(query, '&', Some('='), PLACE)?);
        }
        none_left(out.as_bytes(), PLACE)?;
        Ok(Some(out))
    }

    /// A header's value with values in place of tokens; `None` if there are no tokens.
    ///
    /// # Errors
    /// [`TokenFault`]: the request must not be used.
    pub fn header(&mut self, name: &str, value: &[u8]) -> Result<Option<String>, TokenFault> {
        if !holds_token(value) {
            return Ok(None);
        }
        let place = format!("header `{name}`");
        let misplaced = || TokenFault::Misplaced {
            place: place.clone(),
        };
        let text = std::str::from_utf8(value).map_err(|_| misplaced())?;
        let fits = |value: &str| !value.bytes().any(|byte| byte.is_ascii_control());
        let out = self.text(text, &place, fits, &str::to_owned)?;
        none_left(out.as_bytes(), &place)?;
        Ok(Some(out))
    }

    /// A body with values in place of tokens; `None` if there are no tokens.
    ///
    /// # Errors
    /// [`TokenFault`]: the request must not be used.
    pub fn body(
        &mut self,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, TokenFault> {
        const PLACE: &str = "the body";
        if !holds_token(body) {
            return Ok(None);
        }
        let misplaced = || TokenFault::Misplaced {
            place: PLACE.to_owned(),
        };
        let text = std::str::from_utf8(body).map_err(|_| misplaced())?;
        let out = match Format::parse(content_type, FieldRules::Some) {
            Ok(Format::Json | Format::JsonLines) => self.json(body)?,
            Ok(Format::Form) => self.pieces(text, '&', Some('='), PLACE)?.into_bytes(),
            Ok(Format::Text(_)) => {
                let out = self.text(text, PLACE, |_| true, &str::to_owned)?;
                out.into_bytes()
            }
            Ok(
                Format::Events
                | Format::Table(..)
                | Format::Xml(_)
                | Format::Parts(_)
                | Format::Unlabelled,
            )
            | Err(_) => return Err(misplaced()),
        };
        none_left(&out, PLACE)?;
        Ok(Some(out))
    }

    /// How many values were put back, by class, and what hides them from whoever is shown the request.
    #[must_use]
    pub fn finish(self) -> (BTreeMap<DataClass, u64>, Vec<Veil>) {
        (self.counts, self.veils)
    }

    fn json(&mut self, body: &[u8]) -> Result<Vec<u8>, TokenFault> {
        let mut restoring = Restoring {
            restorer: self,
            fault: None,
        };
        let mut out = Vec::with_capacity(body.len());
        let mut scanner = Scanner::new(LIMITS);
        let read = scanner
            .push(body, &mut restoring, &mut out)
            .and_then(|()| scanner.finish(&mut restoring, &mut out));
        match (restoring.fault, read) {
            (Some(fault), _) => Err(fault),
            (None, Err(_)) => Err(TokenFault::Misplaced {
                place: "the body".to_owned(),
            }),
            (None, Ok(())) => Ok(out),
        }
    }

    /// The parts between `separator`, or behind the first `sign` of each: a value is escaped as a URL's.
    fn pieces(
        &mut self,
        text: &str,
        separator: char,
        sign: Option<char>,
        place: &str,
    ) -> Result<String, TokenFault> {
        let mut out = String::with_capacity(text.len());
        for (at, piece) in text.split(separator).enumerate() {
            if at > 0 {
                out.push(separator);
            }
            let (name, value) = match sign.map(|sign| piece.split_once(sign)) {
                Some(Some((name, value))) => (Some(name), value),
                // A name without a value, in which a token is left and refused.
                Some(None) => {
                    out.push_str(piece);
                    continue;
                }
                None => (None, piece),
            };
            if let (Some(name), Some(sign)) = (name, sign) {
                out.push_str(name);
                out.push(sign);
            }
            if holds_token(value.as_bytes()) {
                let value = value.replace("%7E", "~").replace("%7e", "~");
                out.push_str(&self.text(&value, place, |_| true, &percent)?);
            } else {
                out.push_str(value);
            }
        }
        Ok(out)
    }

    /// `text` with values in place of tokens, each written by `escape`.
    fn text(
        &mut self,
        text: &str,
        place: &str,
        fits: impl Fn(&str) -> bool,
        escape: &dyn Fn(&str) -> String,
    ) -> Result<String, TokenFault> {
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        while let Some(spot) = next(text, copied, place)? {
            let opened = self.open(&spot, place)?;
            let whole = spot.start == 0 && spot.end == text.len();
            // Inside of longer text a value must not end or change what stands around it.
            if !fits(&opened.value) || !(whole || opened.value.chars().all(is_plain)) {
                return Err(TokenFault::Unfit {
                    place: place.to_owned(),
                    class: spot.class,
                });
            }
            out.push_str(text.get(copied..spot.start).unwrap_or_default());
            out.push_str(&escape(&opened.value));
            copied = spot.end;
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Ok(out)
    }

    fn open(&mut self, spot: &Spot<'_>, place: &str) -> Result<Opened, TokenFault> {
        let refused = |why| TokenFault::Refused {
            place: place.to_owned(),
            why,
        };
        let vault = self.vault.ok_or_else(|| refused(TokenError::Foreign))?;
        let opened = vault
            .open(&self.owner, &spot.class, spot.payload.as_bytes())
            .map_err(refused)?;
        if !(self.may)(&spot.class) {
            return Err(TokenFault::NotPermitted {
                place: place.to_owned(),
                class: spot.class.clone(),
            });
        }
        if opened.value.len() < VALUE_BYTES_MIN {
            return Err(TokenFault::TooShort {
                place: place.to_owned(),
                class: spot.class.clone(),
            });
        }
        let all: u64 = self.counts.values().sum();
        if all >= TOKENS_MAX as u64 {
            return Err(TokenFault::TooMany);
        }
        *self.counts.entry(spot.class.clone()).or_default() += 1;
        self.veil(&spot.class, &opened.value)?;
        Ok(opened)
    }

    fn veil(&mut self, class: &DataClass, value: &str) -> Result<(), TokenFault> {
        // A value that came as two classes is veiled for each: each has its own right.
        let known = |veil: &Veil| veil.class == *class && veil.text() == value;
        if !self.veils.iter().any(known) {
            self.veiled_bytes += value.len();
            self.veils.push(Veil::new(class, value));
        }
        match self.veiled_bytes > VALUES_BYTES_MAX {
            true => Err(TokenFault::TooMany),
            false => Ok(()),
        }
    }
}

/// Reads a JSON body.
struct Restoring<'r, 'a> {
    restorer: &'r mut Restorer<'a>,
    fault: Option<TokenFault>,
}

impl Visitor for Restoring<'_, '_> {
    fn token(&mut self, token: &Token<'_>) -> Verdict {
        match token.kind {
            Kind::String => {}
            Kind::Key
            | Kind::ObjectStart
            | Kind::ObjectEnd
            | Kind::ArrayStart
            | Kind::ArrayEnd
            | Kind::Number
            | Kind::Literal => return Verdict::Keep,
        }
        match self.string(token) {
            Ok(verdict) => verdict,
            Err(fault) => {
                self.fault = Some(fault);
                Verdict::Refuse("a token that is not taken back")
            }
        }
    }
}

impl Restoring<'_, '_> {
    fn string(&mut self, token: &Token<'_>) -> Result<Verdict, TokenFault> {
        const PLACE: &str = "the body";
        let inner = token.inner();
        let decoded = token.escaped.then(|| view::unescape_json(inner));
        let text = decoded.as_ref().map_or(inner, |view| view.text());
        if !holds_token(text) {
            return Ok(Verdict::Keep);
        }
        let text = std::str::from_utf8(text).map_err(|_| TokenFault::Misplaced {
            place: PLACE.to_owned(),
        })?;
        if let Some(spot) = next(text, 0, PLACE)?
            && spot.start == 0
            && spot.end == text.len()
        {
            let opened = self.restorer.open(&spot, PLACE)?;
            if opened.scalar {
                return Ok(Verdict::Replace(opened.value.into_bytes()));
            }
            return Ok(Verdict::Replace(json_string(&opened.value).into_bytes()));
        }
        let restored = self.restorer.text(text, PLACE, |_| true, &str::to_owned)?;
        Ok(Verdict::Replace(json_string(&restored).into_bytes()))
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A token in a text.
struct Spot<'t> {
    start: usize,
    end: usize,
    class: DataClass,
    payload: &'t str,
}

/// The next token from `from` on. The word with a mark behind it is a token or refuses the request.
fn next<'t>(text: &'t str, from: usize, place: &str) -> Result<Option<Spot<'t>>, TokenFault> {
    let broken = || TokenFault::Refused {
        place: place.to_owned(),
        why: TokenError::Broken,
    };
    let begin = format!("{WORD}~");
    let rest = text.get(from..).unwrap_or_default();
    let Some(at) = rest.find(&begin) else {
        return Ok(None);
    };
    let body = rest.get(at + begin.len()..).unwrap_or_default();
    let (class, after) = body.split_once('~').ok_or_else(broken)?;
    let (payload, _) = after.split_once('~').ok_or_else(broken)?;
    let fits = class.len() <= CLASS_BYTES_MAX
        && is_class_name(class.as_bytes())
        && payload.len() <= PAYLOAD_BYTES_MAX;
    let class = class.parse().ok().filter(|_| fits).ok_or_else(broken)?;
    let start = from + at;
    let end = start + begin.len() + (body.len() - after.len()) + payload.len() + 1;
    Ok(Some(Spot {
        start,
        end,
        class,
        payload,
    }))
}

fn none_left(bytes: &[u8], place: &str) -> Result<(), TokenFault> {
    if holds_token(bytes) {
        return Err(TokenFault::Misplaced {
            place: place.to_owned(),
        });
    }
    Ok(())
}

/// Characters that mean nothing to whoever reads the text around them.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, ' ' | '@' | '.' | '_' | '+' | '-' | ':' | '/')
}

/// A value as one piece of a URL or form.
fn percent(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
