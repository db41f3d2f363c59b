//! Name-value pairs of a query or a form.

use std::borrow::Cow;

use super::target::{decode, escape};

/// Most pairs in one query.
pub const QUERY_PAIRS_MAX: usize = 256;

/// Why a query cannot be read as pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A `+`, which some readers take for a space and others for a plus.
    #[error("the query has a `+`: write `%20` for a space or `%2B` for a plus")]
    Plus,
    /// `=x`.
    #[error("the query has a parameter without a name")]
    EmptyName,
    /// `a=1&&b=2`, `&a=1` or `a=1&`.
    #[error("the query has an `&` with no parameter before or after it")]
    EmptyPair,
    /// More than [`QUERY_PAIRS_MAX`].
    #[error("the query has more than 256 parameters")]
    TooMany,
}

/// One parameter, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair<'a> {
    /// Its name; never empty.
    pub name: Cow<'a, str>,
    /// Its value; empty for `name=` and for `name` alone.
    pub value: Cow<'a, str>,
    /// Its value as it is forwarded, for readers that split before they decode.
    pub raw: &'a str,
}

/// Split a normalised query.
pub(super) fn pairs(query: &str) -> Result<Vec<Pair<'_>>, QueryError> {
    if query.contains('+') {
        return Err(QueryError::Plus);
    }
    split(query)
}

/// Why form data is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A `%` without two hexadecimal digits.
    #[error("a `%` in the form is not followed by two hexadecimal digits")]
    Escape,
    /// A `;`, which some readers take for a separator, a control, or a byte outside ASCII.
    #[error("the form has a character that must be percent-encoded")]
    Character,
    /// What is escaped is not UTF-8, or has a NUL.
    #[error("the form is not UTF-8 text once its escapes are decoded")]
    Text,
    /// `=x`.
    #[error("the form has a field without a name")]
    EmptyName,
    /// `a=1&&b=2`, `&a=1` or `a=1&`.
    #[error("the form has an `&` with no field before or after it")]
    EmptyPair,
    /// More than [`QUERY_PAIRS_MAX`].
    #[error("the form has more than 256 fields")]
    TooMany,
}

/// Read form data (`application/x-www-form-urlencoded`), in which a `+` is a space. Names and values
/// in order.
///
/// # Errors
/// [`FormError`] for what readers could understand differently.
pub fn form(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    let mut fields = Vec::new();
    if body.is_empty() {
        return Ok(fields);
    }
    for pair in body.split(|byte| *byte == b'&') {
        if pair.is_empty() {
            return Err(FormError::EmptyPair);
        }
        if fields.len() == QUERY_PAIRS_MAX {
            return Err(FormError::TooMany);
        }
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((pair, &pair[pair.len()..]), |at| {
            (&pair[..at], &pair[at + 1..])
        });
        if name.is_empty() {
            return Err(FormError::EmptyName);
        }
        fields.push((form_text(name)?, form_text(value)?));
    }
    Ok(fields)
}

fn form_text(raw: &[u8]) -> Result<String, FormError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let value = escape(raw, at - 1).ok_or(FormError::Escape)?;
                at += 2;
                value
            }
            b';' => return Err(FormError::Character),
            b'!'..=b'~' => byte,
            _ => return Err(FormError::Character),
        });
    }
    let text = String::from_utf8(out).map_err(|_| FormError::Text)?;
    match text.contains('\0') {
        true => Err(FormError::Text),
        false => Ok(text),
    }
}

fn split(query: &str) -> Result<Vec<Pair<'_>>, QueryError> {
    let mut pairs = Vec::new();
    for pair in query.split('&') {
        if pair.is_empty() {
            return Err(QueryError::EmptyPair);
        }
        if pairs.len() == QUERY_PAIRS_MAX {
            return Err(QueryError::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name.is_empty() {
            return Err(QueryError::EmptyName);
        }
        pairs.push(Pair {
            name: decode(name),
            value: decode(value),
            raw: value,
        });
    }
    Ok(pairs)
}
