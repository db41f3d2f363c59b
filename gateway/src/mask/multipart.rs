//! `multipart/*` (RFC 2046, 5.1): each part is read by its own media type, its header values are
//! searched, and a field rule can name a part. Where readers could disagree about where a part ends, the
//! answer is withheld.

use super::body::Body;
use super::detect::context::Announced;
use super::inspector::Inspector;
use super::instead::Found;
use super::media::{Charset, FieldRules, Format};
use super::places::Places;
use super::text;
use super::withheld::{Reason, Withheld};

/// Longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Longest text before the first part or after the last one, in bytes.
const ASIDE_BYTES_MAX: usize = 64 * 1024;
/// Longest text that a part's name can announce, and more, in bytes.
const ANNOUNCED_BYTES_MAX: usize = 1024;
/// Most parts of one message.
const PARTS_MAX: usize = 10_000;
/// How much of a chunk is taken at a time: what is left behind each part is moved, so it must be little.
const PIECE_BYTES: usize = 4096;
/// Most parts inside each other.
pub(super) const NESTING_MAX: usize = 3;

#[derive(Debug)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Behind a boundary, on its line.
    Boundary,
    Head,
    Part(Box<Body>),
    /// A text whose name announces it, held to see whether it looks like that.
    Announced(Announced, Vec<u8>, Box<Body>),
    /// A part that a field rule replaces.
    Hidden,
    /// After the last boundary.
    Epilogue,
}

/// The state of one message.
#[derive(Debug)]
pub(super) struct MultipartCodec {
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    nesting: usize,
    pending: Vec<u8>,
    /// `pending` starts a line.
    at_line: bool,
    state: State,
    places: Places,
    begun: bool,
    /// Parts that have begun.
    parts: usize,
}

impl MultipartCodec {
    /// `nesting`: how many messages there are around this one.
    pub(super) fn new(boundary: &str, nesting: usize) -> Self {
        Self {
            delimiter: format!("--{boundary}").into_bytes(),
            nesting,
            pending: Vec::new(),
            at_line: true,
            state: State::Preamble,
            places: Places::default(),
            begun: false,
            parts: 0,
        }
    }

    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        for piece in chunk.chunks(PIECE_BYTES) {
            self.pending.extend_from_slice(piece);
            while self.step(inspector, out)? {}
        }
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        if matches!(self.state, State::Boundary) && self.pending.starts_with(b"--") {
            self.boundary_line(self.pending.len(), out)?;
        }
        if !matches!(self.state, State::Epilogue) {
            return Err(Reason::Parts("the last part does not end").into());
        }
        self.aside(inspector, out)
    }

    /// Does what can be done with what is there; whether there may be more to do.
    fn step(&mut self, inspector: &mut Inspector, out: &mut Vec<u8>) -> Result<bool, Withheld> {
        match &self.state {
            State::Preamble => self.preamble(inspector, out),
            State::Boundary => {
                let Some(end) = memchr::memchr(b'\n', &self.pending) else {
                    if self.pending.len() > HEAD_BYTES_MAX {
                        return Err(Reason::TooLong("a boundary's line").into());
                    }
                    return Ok(false);
                };
                self.boundary_line(end + 1, out)?;
                Ok(true)
            }
            State::Head => self.head(inspector, out),
            State::Part(_) | State::Announced(..) | State::Hidden => self.part(inspector, out),
            State::Epilogue if self.pending.len() > ASIDE_BYTES_MAX => {
                Err(Reason::TooLong("the text after the last part").into())
            }
            State::Epilogue => Ok(false),
        }
    }

    /// The next boundary at the start of a line: where its line end before it starts, and where it ends.
    fn boundary(&self) -> Result<Option<(usize, usize)>, Withheld> {
        let found = memchr::memmem::find_iter(&self.pending, &self.delimiter);
        for at in found {
            let end = at + self.delimiter.len();
            match self.pending.get(..at) {
                Some([]) if self.at_line => return Ok(Some((0, end))),
                Some([.., b'\r', b'\n']) => return Ok(Some((at - 2, end))),
                Some([.., b'\n' | b'\r']) => {
                    return Err(
                        Reason::Parts("a boundary on a line that does not end in CR LF").into(),
                    );
                }
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    fn preamble(&mut self, inspector: &mut Inspector, out: &mut Vec<u8>) -> Result<bool, Withheld> {
        let Some((from, end)) = self.boundary()? else {
            if self.pending.len() > ASIDE_BYTES_MAX {
                return Err(Reason::TooLong("the text before the first part").into());
            }
            return Ok(false);
        };
        let pending = std::mem::take(&mut self.pending);
        let (before, rest) = pending.split_at(from);
        self.pending = before.to_vec();
        self.aside(inspector, out)?;
        let (line, rest) = rest.split_at(end - from);
        out.extend_from_slice(line);
        self.pending = rest.to_vec();
        self.state = State::Boundary;
        Ok(true)
    }

    /// What stands outside of all parts is text that nobody should read.
    fn aside(&mut self, inspector: &mut Inspector, out: &mut Vec<u8>) -> Result<(), Withheld> {
        text::check(&self.pending, Charset::Utf8)?;
        text::mask(&self.pending, inspector, out);
        self.pending.clear();
        Ok(())
    }

    /// The rest of a boundary's line: nothing, or `--` after the last part.
    fn boundary_line(&mut self, length: usize, out: &mut Vec<u8>) -> Result<(), Withheld> {
        let line: Vec<u8> = self.pending.drain(..length).collect();
        let last = line.starts_with(b"--");
        let rest = line.get(if last { 2 } else { 0 }..).unwrap_or_default();
        let blank = rest.strip_suffix(b"\r\n").unwrap_or(rest);
        let whole = rest.ends_with(b"\r\n") || (last && !rest.contains(&b'\n'));
        if !whole || blank.iter().any(|byte| !matches!(byte, b' ' | b'\t')) {
            return Err(Reason::Parts("a line that begins like a boundary and is none").into());
        }
        out.extend_from_slice(&line);
        self.parts += usize::from(!last);
        if self.parts > PARTS_MAX {
            return Err(Reason::Parts("more than 10000 parts").into());
        }
        self.state = if last { State::Epilogue } else { State::Head };
        Ok(())
    }

    fn head(&mut self, inspector: &mut Inspector, out: &mut Vec<u8>) -> Result<bool, Withheld> {
        let length = if self.pending.starts_with(b"\r\n") {
            2
        } else {
            match memchr::memmem::find(&self.pending, b"\r\n\r\n") {
                Some(at) => at + 4,
                None if self.pending.len() > HEAD_BYTES_MAX => {
                    return Err(Reason::TooLong("the head of a part").into());
                }
                None => return Ok(false),
            }
        };
        let head: Vec<u8> = self.pending.drain(..length).collect();
        let part = read_head(&head, inspector, out)?;
        let class = if inspector.has_fields() {
            if !std::mem::replace(&mut self.begun, true) {
                self.places.begin(inspector);
                self.places.open_record(inspector, None);
            }
            part.name
                .as_deref()
                .and_then(|name| self.places.field(inspector, name.as_bytes()))
        } else {
            None
        };
        self.state = match class {
            Some(class) => {
                out.extend_from_slice(inspector.field(class, Found::Beyond).as_bytes());
                State::Hidden
            }
            None => {
                let rules = if inspector.has_fields() {
                    FieldRules::Some
                } else {
                    FieldRules::None
                };
                let media = part.media_type.as_deref().unwrap_or("text/plain");
                let format = Format::parse(Some(media), rules)?;
                let name = part.name.as_deref().unwrap_or_default();
                let announced = if matches!(format, Format::Text(_)) {
                    inspector.announces(name.as_bytes())
                } else {
                    None
                };
                let body = Box::new(Body::opening(format, self.nesting + 1)?);
                match announced {
                    Some(announced) => State::Announced(announced, Vec::new(), body),
                    None => State::Part(body),
                }
            }
        };
        self.at_line = true;
        Ok(true)
    }

    fn part(&mut self, inspector: &mut Inspector, out: &mut Vec<u8>) -> Result<bool, Withheld> {
        let found = self.boundary()?;
        let keep = self.delimiter.len() + 2;
        let (content, line) = match found {
            Some((from, end)) => (from, end),
            None => (self.pending.len().saturating_sub(keep), 0),
        };
        let pending = std::mem::take(&mut self.pending);
        let read = pending.get(..content).unwrap_or_default();
        self.state = match std::mem::replace(&mut self.state, State::Boundary) {
            State::Part(mut body) => {
                body.push(read, inspector, out)?;
                State::Part(body)
            }
            State::Announced(announced, mut held, mut body) => {
                held.extend_from_slice(read);
                if held.len() > ANNOUNCED_BYTES_MAX {
                    body.push(&held, inspector, out)?;
                    State::Part(body)
                } else {
                    State::Announced(announced, held, body)
                }
            }
            state @ (State::Preamble
            | State::Boundary
            | State::Head
            | State::Hidden
            | State::Epilogue) => state,
        };
        self.at_line &= content == 0;
        if found.is_none() {
            self.pending = pending.get(content..).unwrap_or_default().to_vec();
            return Ok(false);
        }
        match std::mem::replace(&mut self.state, State::Boundary) {
            State::Part(body) => body.finish(inspector, out)?,
            State::Announced(announced, held, mut body) => {
                if !inspector.replace_announced(Some(announced), held.trim_ascii(), out) {
                    body.push(&held, inspector, out)?;
                    body.finish(inspector, out)?;
                }
            }
            State::Preamble | State::Boundary | State::Head | State::Hidden | State::Epilogue => {}
        }
        out.extend_from_slice(pending.get(content..line).unwrap_or_default());
        self.pending = pending.get(line..).unwrap_or_default().to_vec();
        Ok(true)
    }
}

/// What the head of a part says.
#[derive(Default)]
struct Part {
    media_type: Option<String>,
    name: Option<String>,
}

fn read_head(head: &[u8], inspector: &mut Inspector, out: &mut Vec<u8>) -> Result<Part, Withheld> {
    text::check(head, Charset::Utf8)?;
    let unclear = || Withheld::from(Reason::Parts("a part whose head is not clear"));
    let mut part = Part::default();
    let lines = head.strip_suffix(b"\r\n").unwrap_or(head);
    let lines = std::str::from_utf8(lines).map_err(|_| unclear())?;
    for line in lines.split_inclusive("\r\n") {
        let inner = line.strip_suffix("\r\n").ok_or_else(unclear)?;
        let (name, value) = inner.split_once(':').ok_or_else(unclear)?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(token) || inner.contains(['\r', '\n']) {
            return Err(unclear());
        }
        let value = value.trim_matches([' ', '\t']);
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "content-type" if part.media_type.is_some() => return Err(unclear()),
            "content-type" => part.media_type = Some(value.to_owned()),
            // The extended form of a name is not for forms (RFC 7578, 4.2), but some would read it.
            "content-disposition" if part.name.is_some() || parameter(value, "name*").is_some() => {
                return Err(unclear());
            }
            "content-disposition" => part.name = parameter(value, "name"),
            "content-encoding" => return Err(Reason::Parts("a part in a content coding").into()),
            "content-transfer-encoding" => {
                let plain = ["7bit", "8bit", "binary"];
                if !plain.iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                    return Err(Reason::Parts("a part in a transfer encoding").into());
                }
            }
            _ => {}
        }
        // What is masked has another length and another digest.
        if matches!(name.as_str(), "content-length" | "content-md5") || name.ends_with("digest") {
            continue;
        }
        if name == "content-type" && inspector.search(line.as_bytes()) {
            return Err(Reason::Parts("a media type that holds data to be masked").into());
        }
        text::mask(line.as_bytes(), inspector, out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(part)
}

/// The value of a parameter, as in `form-data; name="a"`.
pub(super) fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (content, next) = match after.trim_start().strip_prefix('"') {
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after.get(..end)?.trim().to_owned(), after.get(end..)?)
            }
            Some(inner) => {
                let mut content = String::new();
                let mut characters = inner.char_indices();
                let end = loop {
                    match characters.next()? {
                        (at, '"') => break at,
                        (_, '\\') => content.push(characters.next()?.1),
                        (_, character) => content.push(character),
                    }
                };
                (content, inner.get(end + 1..)?)
            }
        };
        if name
            .trim_start_matches([';', ' ', '\t'])
            .trim_end()
            .eq_ignore_ascii_case(wanted)
        {
            return Some(content);
        }
        rest = next;
    }
}
