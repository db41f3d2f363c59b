//! XML where there are field rules: an element or attribute is a member of the element that it lies in,
//! by its name without prefix. Only what every reader reads alike is delivered: elements that are closed
//! in order, no entities of a document's own. Without field rules XML is read as text.

use super::detect::context::Announced;
use super::inspector::Inspector;
use super::instead::{Field, Found, Instead};
use super::media::Charset;
use super::places::Places;
use super::text;
use super::view;
use super::withheld::{Reason, Withheld};

/// Longest text, tag or comment, in bytes.
const PIECE_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting.
const DEPTH_MAX: usize = 512;

/// What the unfinished piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece {
    Text,
    /// `<` and what it begins, which is not clear yet.
    Opening,
    Tag {
        quote: Option<u8>,
    },
    /// Ends with these bytes.
    Until(&'static [u8]),
}

/// The state of one document.
#[derive(Debug)]
pub(super) struct XmlCodec {
    charset: Charset,
    pending: Vec<u8>,
    /// How far the piece has been looked through.
    searched: usize,
    piece: Piece,
    places: Places,
    /// Names of the open elements.
    open: Vec<Vec<u8>>,
    ended: bool,
    /// How many elements are open around the one whose content is replaced.
    hidden: Option<usize>,
    /// It is left out with its tags.
    dropped: bool,
    /// What the name of the element that just began says of the text in it.
    announced: Option<Announced>,
}

impl XmlCodec {
    pub(super) fn new(charset: Charset) -> Self {
        Self {
            charset,
            pending: Vec::new(),
            searched: 0,
            piece: Piece::Text,
            places: Places::default(),
            open: Vec::new(),
            ended: false,
            hidden: None,
            dropped: false,
            announced: None,
        }
    }

    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        self.pending.extend_from_slice(chunk);
        let mut pending = std::mem::take(&mut self.pending);
        let mut done = 0;
        while let Some(end) = self.piece_end(&pending, done) {
            let bytes = pending.get(done..end).unwrap_or_default();
            let piece = std::mem::replace(&mut self.piece, Piece::Text);
            self.write(piece, bytes, inspector, out)?;
            if piece == Piece::Text {
                self.piece = Piece::Opening;
            }
            done = end;
            self.searched = end;
        }
        self.searched -= done;
        // In place: what is not complete may grow by one byte at a time.
        pending.drain(..done);
        self.pending = pending;
        if self.pending.len() > PIECE_BYTES_MAX {
            return Err(Reason::TooLong("a text, tag or comment of XML").into());
        }
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        if self.piece != Piece::Text || !self.open.is_empty() {
            return Err(Reason::Markup("the document ends early").into());
        }
        let pending = std::mem::take(&mut self.pending);
        self.text(None, &pending, inspector, out)
    }

    /// Where the piece that starts at `start` ends, if it does.
    fn piece_end(&mut self, pending: &[u8], start: usize) -> Option<usize> {
        loop {
            let rest = pending.get(self.searched..)?;
            match self.piece {
                Piece::Text => {
                    let Some(at) = memchr::memchr(b'<', rest) else {
                        self.searched = pending.len();
                        return None;
                    };
                    return Some(self.searched + at);
                }
                Piece::Opening => {
                    let begun = pending.get(start..)?;
                    self.piece = opening(begun)?;
                    self.searched = start + 1;
                }
                Piece::Tag { quote } => {
                    let Some(at) = memchr::memchr3(b'>', b'"', b'\'', rest) else {
                        self.searched = pending.len();
                        return None;
                    };
                    let byte = rest.get(at).copied();
                    self.searched += at + 1;
                    match quote {
                        None if byte == Some(b'>') => return Some(self.searched),
                        None => self.piece = Piece::Tag { quote: byte },
                        Some(_) if byte == quote => self.piece = Piece::Tag { quote: None },
                        Some(_) => {}
                    }
                }
                Piece::Until(last) => {
                    // The end may have begun before what was looked through, but not inside the start.
                    let from = self.searched.saturating_sub(last.len() - 1);
                    let from = from.max(start + last.len());
                    let found = memchr::memmem::find(pending.get(from..)?, last);
                    self.searched = pending.len();
                    return found.map(|at| from + at + last.len());
                }
            }
        }
    }

    fn write(
        &mut self,
        piece: Piece,
        bytes: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        text::check(bytes, self.charset)?;
        let announced = self.announced.take();
        match piece {
            Piece::Text => self.text(announced, bytes, inspector, out),
            Piece::Tag { .. } if bytes.starts_with(b"</") => self.end_tag(bytes, inspector, out),
            Piece::Tag { .. } if bytes.starts_with(b"<!") => {
                self.document_type(bytes, inspector, out)
            }
            Piece::Tag { .. } => self.start_tag(bytes, inspector, out),
            Piece::Until(_) | Piece::Opening => {
                check_declaration(bytes)?;
                if self.hidden.is_none() {
                    text::mask(bytes, inspector, out);
                }
                Ok(())
            }
        }
    }

    /// The one declaration that may stand by itself, and only in front of the root element.
    fn document_type(
        &self,
        bytes: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        if bytes.contains(&b'[') {
            return Err(Reason::Markup("a document type with declarations of its own").into());
        }
        if !bytes.starts_with(b"<!DOCTYPE") || self.ended || !self.open.is_empty() {
            return Err(Reason::Markup("a declaration where none may stand").into());
        }
        text::mask(bytes, inspector, out);
        Ok(())
    }

    fn text(
        &mut self,
        announced: Option<Announced>,
        bytes: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        text::check(bytes, self.charset)?;
        if self.open.is_empty() && bytes.iter().any(|byte| !byte.is_ascii_whitespace()) {
            return Err(Reason::Markup("text outside of the root element").into());
        }
        if self.hidden.is_none() {
            content(announced, bytes, inspector, out);
        }
        Ok(())
    }

    fn start_tag(
        &mut self,
        tag: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let inner = tag.get(1..tag.len() - 1).unwrap_or_default();
        let (inner, closed) = match inner.strip_suffix(b"/") {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let length = inner
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(inner.len());
        let (name, attributes) = inner.split_at(length);
        if !is_name(name) {
            return Err(Reason::Markup("a tag that readers may read in different ways").into());
        }
        if self.ended || self.open.len() >= DEPTH_MAX {
            return Err(Reason::Markup("more than one root element, or too deep nesting").into());
        }
        clean(name, inspector)?;
        let class = self.enter(name, inspector);
        // The root element cannot be left out: a marker stands in it.
        let dropped = |field: &Field| field.instead == Instead::Drop && !self.open.is_empty();
        if let Some(field) = class.filter(dropped)
            && self.hidden.is_none()
        {
            inspector.drop_field(field);
            if closed {
                self.leave(inspector);
                return Ok(());
            }
            self.hidden = Some(self.open.len());
            self.dropped = true;
        }
        if self.hidden.is_none() {
            out.push(b'<');
            out.extend_from_slice(name);
            self.attributes(attributes, class, inspector, out)?;
            out.extend_from_slice(if closed { b"/>" } else { b">" });
        }
        if closed {
            self.leave(inspector);
            return Ok(());
        }
        if let (Some(class), None) = (class, self.hidden) {
            out.extend_from_slice(inspector.field(class, Found::Beyond).as_bytes());
            self.hidden = Some(self.open.len());
        }
        self.announced = inspector.announces(local(name));
        self.open.push(name.to_vec());
        Ok(())
    }

    fn end_tag(
        &mut self,
        tag: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        inspector.forget_name();
        let name = tag.get(2..tag.len() - 1).unwrap_or_default();
        if self.open.pop().as_deref() != Some(name.trim_ascii_end()) {
            return Err(Reason::Markup("an element is not closed where it should be").into());
        }
        let mut dropped = false;
        if self.hidden == Some(self.open.len()) {
            self.hidden = None;
            dropped = std::mem::take(&mut self.dropped);
        }
        if self.hidden.is_none() && !dropped {
            out.extend_from_slice(tag);
        }
        self.leave(inspector);
        Ok(())
    }

    /// Writes what stands in a tag after its name.
    fn attributes(
        &mut self,
        mut rest: &[u8],
        element: Option<Field>,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        loop {
            let blank = rest.len() - rest.trim_ascii_start().len();
            let (space, after) = rest.split_at(blank);
            if after.is_empty() {
                out.extend_from_slice(space);
                return Ok(());
            }
            let Some((name, begin, value, next)) = attribute(after).filter(|_| blank > 0) else {
                return Err(Reason::Markup("an attribute without a quoted value").into());
            };
            clean(name, inspector)?;
            let class = self.places.member(inspector, local(name));
            rest = next;
            if let Some(field) = class.filter(|field| field.instead == Instead::Drop) {
                inspector.drop_field(field);
                continue;
            }
            out.extend_from_slice(space);
            out.extend_from_slice(begin);
            match element.or(class) {
                Some(field) if !value.is_empty() => {
                    let view = view::references(value);
                    let text = view.as_ref().map_or(value, |view| view.text());
                    let found = Found::Text { source: b"", text };
                    out.extend_from_slice(inspector.field(field, found).as_bytes());
                }
                Some(_) | None => {
                    let announced = inspector.announces(local(name));
                    content(announced, value, inspector, out);
                }
            }
            out.extend(begin.last());
        }
    }

    /// An element begins.
    fn enter(&mut self, name: &[u8], inspector: &Inspector) -> Option<Field> {
        if self.open.is_empty() {
            let whole = self.places.begin(inspector);
            return self
                .places
                .open_record(inspector, Some(local(name)))
                .or(whole);
        }
        let class = self.places.member(inspector, local(name));
        self.places.open();
        class
    }

    fn leave(&mut self, inspector: &Inspector) {
        self.places.close(inspector);
        self.ended = self.open.is_empty();
    }
}

/// A declaration must not name a character set in which other bytes are characters.
fn check_declaration(piece: &[u8]) -> Result<(), Withheld> {
    let Some(declaration) = piece.strip_prefix(b"<?xml") else {
        return Ok(());
    };
    let Some(at) = memchr::memmem::find(declaration, b"encoding") else {
        return Ok(());
    };
    let named = declaration.get(at..).unwrap_or_default();
    let mut parts = named.split(|byte| matches!(byte, b'"' | b'\''));
    let name = parts.nth(1).unwrap_or_default().to_ascii_lowercase();
    match name.as_slice() {
        b"utf-8" | b"us-ascii" | b"ascii" | b"iso-8859-1" | b"iso-8859-15" | b"windows-1252" => {
            Ok(())
        }
        _ => Err(Reason::Markup("a character set that cannot be inspected").into()),
    }
}

/// What `<` begins, as soon as that is clear.
fn opening(begun: &[u8]) -> Option<Piece> {
    let kinds: [(&[u8], Piece); 3] = [
        (b"<!--", Piece::Until(b"-->")),
        (b"<![CDATA[", Piece::Until(b"]]>")),
        (b"<?", Piece::Until(b"?>")),
    ];
    for (start, piece) in kinds {
        if begun.starts_with(start) {
            return Some(piece);
        }
        if start.starts_with(begun) {
            return None;
        }
    }
    Some(Piece::Tag { quote: None })
}

/// The attribute at the start of `text`: its name, all up to its value with the quote, the value, the rest.
#[expect(clippy::type_complexity, reason = "four parts of one text")]
fn attribute(text: &[u8]) -> Option<(&[u8], &[u8], &[u8], &[u8])> {
    let equals = memchr::memchr(b'=', text)?;
    let name = text.get(..equals)?.trim_ascii_end();
    let after = text.get(equals + 1..)?;
    let open = equals + 1 + after.len() - after.trim_ascii_start().len();
    let quote = text.get(open).filter(|byte| matches!(byte, b'"' | b'\''))?;
    let length = memchr::memchr(*quote, text.get(open + 1..)?)?;
    let end = open + 1 + length;
    is_name(name).then_some((
        name,
        text.get(..=open)?,
        text.get(open + 1..end)?,
        text.get(end + 1..)?,
    ))
}

/// A name cannot be replaced, as a marker is none: with a finding in it nothing more is delivered.
fn clean(name: &[u8], inspector: &mut Inspector) -> Result<(), Withheld> {
    if inspector.search(name) {
        return Err(Reason::Markup("a name that holds data to be masked").into());
    }
    Ok(())
}

fn is_name(name: &[u8]) -> bool {
    let starts = name.first().is_some_and(|byte| {
        byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':') || !byte.is_ascii()
    });
    starts
        && name.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'_' | b':' | b'-' | b'.')
                || !byte.is_ascii()
        })
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    memchr::memrchr(b':', name)
        .and_then(|at| name.get(at + 1..))
        .unwrap_or(name)
}

/// Appends text or an attribute's value: replaced if its name announces it, otherwise with findings
/// replaced.
fn content(
    announced: Option<Announced>,
    source: &[u8],
    inspector: &mut Inspector,
    out: &mut Vec<u8>,
) {
    let replaced = announced.is_some()
        && match view::references(source) {
            Some(view) => inspector.replace_announced(announced, view.text().trim_ascii(), out),
            None => inspector.replace_announced(announced, source.trim_ascii(), out),
        };
    if !replaced {
        searched(source, inspector, out);
    }
}

/// Appends text or an attribute's value, findings replaced. A marker has no byte that is markup.
fn searched(source: &[u8], inspector: &mut Inspector, out: &mut Vec<u8>) {
    let Some(view) = view::references(source) else {
        return text::mask(source, inspector, out);
    };
    if inspector.search(view.text()) {
        inspector.write_view(source, &view, out);
    } else {
        out.extend_from_slice(source);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::config::{Config, Settings};
    use super::{Charset, Inspector, XmlCodec};

    #[test]
    fn an_unfinished_text_is_not_copied_for_each_chunk() {
        let settings = Arc::new(Settings::compile(&Config::default()).unwrap());
        let mut inspector = Inspector::new(settings.plan(&BTreeSet::new()));
        let mut codec = XmlCodec::new(Charset::Utf8);
        let mut out = Vec::new();
        codec.push(b"<a>", &mut inspector, &mut out).unwrap();
        let mut copies = 0;
        for _ in 0..20_000 {
            let room = codec.pending.capacity();
            codec.push(b"a", &mut inspector, &mut out).unwrap();
            copies += usize::from(codec.pending.capacity() != room);
        }
        assert_eq!(codec.pending.len(), 20_000);
        assert!(copies < 32, "{copies}");
    }
}
