//! Media types (RFC 9110 section 8.3.1).

use std::fmt;

use super::fields::is_token;

/// Longest media type, in bytes.
pub const MEDIA_TYPE_BYTES_MAX: usize = 512;

/// Why a media type is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// Longer than [`MEDIA_TYPE_BYTES_MAX`].
    #[error("the media type is longer than 512 bytes")]
    TooLong,
    /// Not `type/subtype`.
    #[error("the media type is not of the form `type/subtype`")]
    Form,
    /// A parameter that is not `name=token` or `name="text"`.
    #[error("a parameter of the media type is not of the form `name=value`")]
    Parameter,
    /// The same parameter twice.
    #[error("parameter `{0}` of the media type is given twice")]
    Duplicate(String),
}

/// A media type: its essence in lower case, and its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Parse a `Content-Type` value.
    ///
    /// # Errors
    /// [`MediaTypeError`] for wildcards, empty or repeated parameters, and anything that is not a
    /// media type to the letter.
    pub fn parse(raw: &str) -> Result<Self, MediaTypeError> {
        if raw.len() > MEDIA_TYPE_BYTES_MAX {
            return Err(MediaTypeError::TooLong);
        }
        let (essence, rest) = match raw.find(';') {
            Some(at) => (&raw[..at], &raw[at..]),
            None => (raw, ""),
        };
        let essence = essence.trim_end_matches([' ', '\t']);
        let (kind, subtype) = essence.split_once('/').ok_or(MediaTypeError::Form)?;
        let good = |part: &str| is_token(part.as_bytes()) && !part.contains('*');
        if !good(kind) || !good(subtype) {
            return Err(MediaTypeError::Form);
        }
        let mut media = Self {
            essence: essence.to_ascii_lowercase(),
            parameters: Vec::new(),
        };
        let mut rest = rest;
        while let Some(after) = rest.strip_prefix(';') {
            let (name, value, tail) = parameter(after)?;
            if media.parameter(&name).is_some() {
                return Err(MediaTypeError::Duplicate(name));
            }
            media.parameters.push((name, value));
            rest = tail;
        }
        match rest {
            "" => Ok(media),
            _ => Err(MediaTypeError::Parameter),
        }
    }

    /// `type/subtype`, lower case.
    #[must_use]
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter, by its lower-case name.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Names and values of all parameters, in order; names in lower case.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The `charset` parameter in lower case.
    #[must_use]
    pub fn charset(&self) -> Option<String> {
        self.parameter("charset").map(str::to_ascii_lowercase)
    }

    /// Whether it is JSON: `application/json` or a `+json` type.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.essence == "application/json" || self.essence.ends_with("+json")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.essence)
    }
}

/// One parameter and what follows it, spaces skipped.
fn parameter(text: &str) -> Result<(String, String, &str), MediaTypeError> {
    let text = text.trim_start_matches([' ', '\t']);
    let (name, rest) = text.split_once('=').ok_or(MediaTypeError::Parameter)?;
    if !is_token(name.as_bytes()) {
        return Err(MediaTypeError::Parameter);
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => {
            let end = rest.find([';', ' ', '\t']).unwrap_or(rest.len());
            if !is_token(&rest.as_bytes()[..end]) {
                return Err(MediaTypeError::Parameter);
            }
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    Ok((name.to_ascii_lowercase(), value, rest))
}

/// The text of a quoted string (RFC 9110 section 5.6.4) and what follows its closing quote.
fn quoted_string(text: &str) -> Result<(String, &str), MediaTypeError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, char @ ' '..='~')) => value.push(char),
                Some(_) | None => return Err(MediaTypeError::Parameter),
            },
            ' '..='~' => value.push(char),
            _ => return Err(MediaTypeError::Parameter),
        }
    }
    Err(MediaTypeError::Parameter)
}
