//! Tables (RFC 4180) where there are field rules: the first line names the columns, and a rule applies to
//! each row as if it were an object. Where readers of the format could disagree, the answer is withheld.
//! Without field rules a table is read as text.

use super::inspector::Inspector;
use super::instead::{Field, Found, Instead};
use super::media::Charset;
use super::places::Places;
use super::text;
use super::view;
use super::withheld::{Reason, Withheld};

/// Longest row, in bytes.
const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that separate columns in one dialect or another.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The state of one table.
#[derive(Debug)]
pub(super) struct CsvCodec {
    charset: Charset,
    /// The row that is not complete yet.
    pending: Vec<u8>,
    /// How far it has been looked through for its end.
    searched: usize,
    /// It is inside quotes there.
    quoted: bool,
    separator: Option<u8>,
    /// Names of the columns, once the first row is there.
    names: Option<Vec<Vec<u8>>>,
    places: Places,
    whole: Option<Field>,
}

/// A field of a row: where it lies, and whether in quotes (which are part of it).
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
}

impl CsvCodec {
    /// `separator`: what the media type says, if it says anything.
    pub(super) fn new(charset: Charset, separator: Option<u8>) -> Self {
        Self {
            charset,
            pending: Vec::new(),
            searched: 0,
            quoted: false,
            separator,
            names: None,
            places: Places::default(),
            whole: None,
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
        while let Some(byte) = pending.get(self.searched) {
            self.searched += 1;
            match byte {
                b'"' => self.quoted = !self.quoted,
                b'\n' if !self.quoted => {
                    let row = pending.get(done..self.searched).unwrap_or_default();
                    self.row(row, inspector, out)?;
                    done = self.searched;
                }
                _ => {}
            }
        }
        self.searched -= done;
        // In place: what is not complete may grow by one byte at a time.
        pending.drain(..done);
        self.pending = pending;
        if self.pending.len() > ROW_BYTES_MAX {
            return Err(Reason::TooLong("a row of a table").into());
        }
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let pending = std::mem::take(&mut self.pending);
        self.row(&pending, inspector, out)
    }

    fn row(
        &mut self,
        row: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        text::check(row, self.charset)?;
        let line = row.strip_suffix(b"\n").unwrap_or(row);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let end = row.get(line.len()..).unwrap_or_default();
        if line.is_empty() {
            out.extend_from_slice(end);
            return Ok(());
        }
        let Some(names) = self.names.take() else {
            return self.header(line, end, inspector, out);
        };
        let separator = self.separator.unwrap_or(b',');
        let fields = fields(line, separator)?;
        if fields.len() > names.len() {
            return Err(Reason::Table("a row has more columns than the first one").into());
        }
        let row_class = self.places.open_record(inspector, None).or(self.whole);
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                out.push(separator);
            }
            let name = names.get(at).map(Vec::as_slice).unwrap_or_default();
            let class = row_class.or(self.places.member(inspector, name));
            let source = line.get(field.start..field.end).unwrap_or_default();
            match class {
                Some(field) if !matches!(source, b"" | b"\"\"") => {
                    replaced(field, source, names.len() == 1, inspector, out);
                }
                Some(_) | None => cell(name, source, field.quoted, inspector, out),
            }
        }
        self.places.close(inspector);
        inspector.forget_name();
        self.names = Some(names);
        out.extend_from_slice(end);
        Ok(())
    }

    /// The first row: names of columns. They are searched like any text.
    fn header(
        &mut self,
        line: &[u8],
        end: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let separator = match self.separator {
            Some(separator) => separator,
            None => separator(line)?,
        };
        self.separator = Some(separator);
        let mut names = Vec::new();
        for (at, field) in fields(line, separator)?.iter().enumerate() {
            if at > 0 {
                out.push(separator);
            }
            let source = line.get(field.start..field.end).unwrap_or_default();
            let name = match source {
                [b'"', inner @ .., b'"'] => view::undouble(inner).text().trim_ascii().to_vec(),
                plain => plain.trim_ascii().to_vec(),
            };
            names.push(name);
            searched(source, field.quoted, inspector, out);
        }
        out.extend_from_slice(end);
        self.names = Some(names);
        self.whole = self.places.begin(inspector);
        Ok(())
    }
}

/// What separates the columns that `line` names: with two candidates a reader could take either.
fn separator(line: &[u8]) -> Result<u8, Withheld> {
    let mut quoted = false;
    let mut found = None;
    for byte in line {
        quoted ^= *byte == b'"';
        if quoted || !SEPARATORS.contains(byte) {
            continue;
        }
        if found.is_some_and(|other| other != *byte) {
            return Err(Reason::Table("it is not clear what separates the columns").into());
        }
        found = Some(*byte);
    }
    Ok(found.unwrap_or(b','))
}

fn fields(line: &[u8], separator: u8) -> Result<Vec<Span>, Withheld> {
    const STRAY: &str = "a quote stands where readers disagree about its meaning";
    let mut fields = Vec::new();
    let mut start = 0;
    loop {
        let rest = line.get(start..).unwrap_or_default();
        let (length, quoted) = if rest.first() == Some(&b'"') {
            (quoted_length(rest).ok_or(Reason::Table(STRAY))?, true)
        } else {
            let length = memchr::memchr(separator, rest).unwrap_or(rest.len());
            let field = rest.get(..length).unwrap_or_default();
            if field.iter().any(|byte| matches!(byte, b'"' | b'\r')) {
                return Err(Reason::Table(STRAY).into());
            }
            (length, false)
        };
        let end = start + length;
        fields.push(Span { start, end, quoted });
        match line.get(end) {
            None => return Ok(fields),
            Some(byte) if *byte == separator => start = end + 1,
            Some(_) => return Err(Reason::Table(STRAY).into()),
        }
    }
}

/// Length of the field in quotes that `rest` begins with, quotes included.
fn quoted_length(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr(b'"', rest.get(at..)?)?;
        if rest.get(at + 1) != Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Appends what a rule puts in place of a cell. The only cell of a row is never quite empty, or the row
/// would be none.
fn replaced(
    field: Field,
    source: &[u8],
    alone: bool,
    inspector: &mut Inspector,
    out: &mut Vec<u8>,
) {
    if field.instead == Instead::Drop {
        inspector.drop_field(field);
        out.extend_from_slice(if alone { b"\"\"" } else { b"" });
        return;
    }
    let instead = match source {
        [b'"', inner @ .., b'"'] => {
            let view = view::undouble(inner);
            let text = view.text();
            inspector.field(field, Found::Text { source: b"", text })
        }
        text => inspector.field(field, Found::Text { source: b"", text }),
    };
    out.extend_from_slice(instead.as_bytes());
}

/// Appends a cell: replaced if its column's name announces it, otherwise with findings replaced.
fn cell(name: &[u8], source: &[u8], quoted: bool, inspector: &mut Inspector, out: &mut Vec<u8>) {
    let announced = inspector.announces(name);
    let replaced = announced.is_some()
        && match source {
            [b'"', inner @ .., b'"'] if quoted => inspector.replace_announced(
                announced,
                view::undouble(inner).text().trim_ascii(),
                out,
            ),
            plain => inspector.replace_announced(announced, plain.trim_ascii(), out),
        };
    if !replaced {
        searched(source, quoted, inspector, out);
    }
}

fn searched(source: &[u8], quoted: bool, inspector: &mut Inspector, out: &mut Vec<u8>) {
    let inner = match source {
        [b'"', inner @ .., b'"'] if quoted => inner,
        plain => return text::mask(plain, inspector, out),
    };
    out.push(b'"');
    let view = view::undouble(inner);
    if inspector.search(view.text()) {
        inspector.write_view(inner, &view, out);
    } else {
        out.extend_from_slice(inner);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::super::config::{Config, Settings};
    use super::{Charset, CsvCodec, Inspector};

    #[test]
    fn an_unfinished_row_is_not_copied_for_each_chunk() {
        let settings = Arc::new(Settings::compile(&Config::default()).unwrap());
        let mut inspector = Inspector::new(settings.plan(&BTreeSet::new()));
        let mut codec = CsvCodec::new(Charset::Utf8, None);
        let mut out = Vec::new();
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
