//! Name-value pairs of a query or a form.

use std::borrow::Cow;

use super::target::decode;

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
}

/// Split a normalised query.
pub(super) fn pairs(query: &str) -> Result<Vec<Pair<'_>>, QueryError> {
    if query.contains('+') {
        return Err(QueryError::Plus);
    }
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
        });
    }
    Ok(pairs)
}
