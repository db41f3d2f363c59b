//! JSONPath (RFC 9535), the part that a stream can follow: member names, indexes, slices, wildcards,
//! descendants. Filters, negative indexes and negative steps need the whole document; they are
//! refused when settings are loaded, never ignored.

use std::str::FromStr;

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// A parsed path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Path(pub(super) Vec<Segment>);

/// One step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    /// `..`: here and anywhere below.
    pub(super) descendant: bool,
    /// Any of these.
    pub(super) selectors: Vec<Selector>,
}

/// Which children a step takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Selector {
    /// The member with this name.
    Name(String),
    /// All children.
    Wildcard,
    /// The items from `start` (inclusive) to `end` (exclusive), every `step`th.
    Slice { start: u64, end: u64, step: u64 },
}

/// Why a path is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum PathError {
    #[error("a path starts with `$`, as in `$.customer.email`")]
    NoRoot,
    #[error("path is longer than 1024 bytes")]
    TooLong,
    #[error(
        "filters (`?`) cannot be followed while an answer streams: name the members instead, or use \
         `..name` for every place with that name"
    )]
    Filter,
    #[error(
        "counting from the end cannot be done while an answer streams: use `*` or count from 0"
    )]
    Negative,
    #[error("path is not JSONPath at character {at}: expected {expected}")]
    Syntax { at: usize, expected: &'static str },
}

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        let mut parser = Parser {
            characters: text.chars().collect(),
            at: 0,
        };
        if !parser.take('$') {
            return Err(PathError::NoRoot);
        }
        let mut segments = Vec::new();
        loop {
            parser.blanks();
            if parser.at == parser.characters.len() {
                return Ok(Self(segments));
            }
            segments.push(parser.segment()?);
        }
    }
}

struct Parser {
    characters: Vec<char>,
    at: usize,
}

impl Parser {
    fn segment(&mut self) -> Result<Segment, PathError> {
        if self.take('[') {
            return Ok(Segment {
                descendant: false,
                selectors: self.bracket()?,
            });
        }
        if !self.take('.') {
            return Err(self.expected("`.`, `..` or `[`"));
        }
        let descendant = self.take('.');
        if descendant && self.take('[') {
            return Ok(Segment {
                descendant,
                selectors: self.bracket()?,
            });
        }
        let selector = if self.take('*') {
            Selector::Wildcard
        } else {
            Selector::Name(self.shorthand()?)
        };
        Ok(Segment {
            descendant,
            selectors: vec![selector],
        })
    }

    fn shorthand(&mut self) -> Result<String, PathError> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            let first = c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
            if !(first || (!name.is_empty() && c.is_ascii_digit())) {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        if name.is_empty() {
            return Err(
                self.expected("a member name (others than letters, digits and `_` as `['…']`)")
            );
        }
        Ok(name)
    }

    fn bracket(&mut self) -> Result<Vec<Selector>, PathError> {
        let mut selectors = Vec::new();
        loop {
            self.blanks();
            selectors.push(self.selector()?);
            self.blanks();
            if self.take(']') {
                return Ok(selectors);
            }
            if !self.take(',') {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, PathError> {
        match self.peek() {
            Some(quote @ ('\'' | '"')) => {
                self.at += 1;
                Ok(Selector::Name(self.quoted(quote)?))
            }
            Some('*') => {
                self.at += 1;
                Ok(Selector::Wildcard)
            }
            Some('?') => Err(PathError::Filter),
            Some('-') => Err(PathError::Negative),
            Some('0'..='9' | ':') => self.slice(),
            Some(_) | None => Err(self.expected("a quoted name, an index, a slice or `*`")),
        }
    }

    fn slice(&mut self) -> Result<Selector, PathError> {
        let start = self.number()?;
        self.blanks();
        if !self.take(':') {
            let start = start.ok_or_else(|| self.expected("an index"))?;
            return Ok(Selector::Slice {
                start,
                end: start.saturating_add(1),
                step: 1,
            });
        }
        self.blanks();
        let end = self.number()?;
        self.blanks();
        let mut step = None;
        if self.take(':') {
            self.blanks();
            step = self.number()?;
        }
        Ok(Selector::Slice {
            start: start.unwrap_or(0),
            end: end.unwrap_or(u64::MAX),
            step: step.unwrap_or(1),
        })
    }

    fn number(&mut self) -> Result<Option<u64>, PathError> {
        if self.peek() == Some('-') {
            return Err(PathError::Negative);
        }
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self
            .characters
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        if digits.is_empty() {
            return Ok(None);
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(self.expected("a number without leading zeros"));
        }
        digits
            .parse()
            .map(Some)
            .map_err(|_| self.expected("a smaller number"))
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        let mut name = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.expected("the closing quote"));
            };
            self.at += 1;
            match c {
                _ if c == quote => return Ok(name),
                '\\' => name.push(self.escape(quote)?),
                '\0'..='\u{1f}' => return Err(self.expected("no control characters")),
                _ => name.push(c),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, PathError> {
        if self.peek() == Some(quote) {
            self.at += 1;
            return Ok(quote);
        }
        // Everything but the quote is escaped as in JSON strings.
        let rest: String = self.characters.iter().skip(self.at - 1).take(12).collect();
        match wire::json::string::escape(rest.as_bytes()) {
            Ok(found) if !found.lone_surrogate && found.character != '"' => {
                self.at += found.source_bytes - 1;
                Ok(found.character)
            }
            Ok(_) | Err(_) => Err(self.expected("an escape as in JSON")),
        }
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn expected(&self, expected: &'static str) -> PathError {
        PathError::Syntax {
            at: self.at + 1,
            expected,
        }
    }
}
