//! Raw HTTP/1 bytes held to the strict rules before an HTTP library reads them.
//!
//! Libraries forgive what a gateway must not: bare line feeds, `Content-Length` beside
//! `Transfer-Encoding` (dropped before a handler sees it), fragments (cut off), chunk extensions,
//! trailers. A [`Framer`] follows the same bytes and says where a request stops being one that
//! everybody reads alike. Bytes are handed on only after `push` has accepted them.

use super::head::{BodyLength, HEAD_BYTES_MAX, HeadError, RequestLine, Version, check};

/// Most hexadecimal digits of a chunk's size.
const CHUNK_DIGITS_MAX: u8 = 8;

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4), up to its empty line.
const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Why a connection's bytes are refused; the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A carriage return or line feed alone.
    #[error("a line of the request head does not end in CR LF")]
    LineEnd,
    /// Not `METHOD target HTTP/1.1`.
    #[error("the request line is malformed")]
    RequestLine,
    /// A request target with a fragment, a space, a control or a byte outside ASCII.
    #[error("the request target has a character that is not allowed there")]
    Target,
    /// A folded line, a space before the colon, or no colon.
    #[error("a header line is malformed")]
    HeaderLine,
    /// A rule about the head as a whole.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Not one to eight hexadecimal digits.
    #[error("a chunk's size is not one to eight hexadecimal digits")]
    ChunkSize,
    /// `;` after a chunk's size.
    #[error("chunk extensions are not allowed")]
    ChunkExtension,
    /// A chunk that does not end where its size says.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// A header after the last chunk.
    #[error("trailers are not allowed in a request")]
    Trailers,
    /// More bytes after a refusal.
    #[error("the connection was already refused")]
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Head,
    Body { left: u64 },
    ChunkSize { digits: u8, size: u64 },
    ChunkSizeEnd { size: u64 },
    Chunk { left: u64 },
    ChunkEndCr,
    ChunkEndLf,
    LastCr,
    LastLf,
    Http2,
    Refused,
}

/// Where in a connection's bytes the framer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Between requests.
    Idle,
    /// Within a request's head.
    Head,
    /// Within a request's body.
    Body,
    /// HTTP/2, which has frames of its own.
    Http2,
}

/// Follows one connection's inbound bytes.
#[derive(Debug)]
pub struct Framer {
    state: State,
    /// The head so far; at most [`HEAD_BYTES_MAX`].
    head: Vec<u8>,
    http2: bool,
}

impl Framer {
    /// For a connection that speaks HTTP/1 only.
    #[must_use]
    pub const fn http1() -> Self {
        Self {
            state: State::Head,
            head: Vec::new(),
            http2: false,
        }
    }

    /// For a connection that may also begin with the HTTP/2 preface; what follows that is not looked at.
    #[must_use]
    pub const fn http1_or_2() -> Self {
        Self {
            state: State::Head,
            head: Vec::new(),
            http2: true,
        }
    }

    /// Where the bytes so far have led.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Head if self.head.is_empty() => Phase::Idle,
            State::Head | State::Refused => Phase::Head,
            State::Http2 => Phase::Http2,
            State::Body { .. }
            | State::ChunkSize { .. }
            | State::ChunkSizeEnd { .. }
            | State::Chunk { .. }
            | State::ChunkEndCr
            | State::ChunkEndLf
            | State::LastCr
            | State::LastLf => Phase::Body,
        }
    }

    /// Follow further bytes. All of them may be handed on only when this succeeds.
    ///
    /// # Errors
    /// [`FrameError`] at the first byte that shows a broken rule; from then on always.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.step(rest) {
                Ok(used) => rest = &rest[used..],
                Err(error) => {
                    self.state = State::Refused;
                    self.head = Vec::new();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Take some bytes of `rest` (never none) and say how many.
    fn step(&mut self, rest: &[u8]) -> Result<usize, FrameError> {
        let skip = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let byte = rest.first().copied().unwrap_or_default();
        match self.state {
            State::Head => return self.head_bytes(rest),
            State::Http2 => return Ok(rest.len()),
            State::Refused => return Err(FrameError::Refused),
            State::Body { left } => {
                let used = skip(left);
                let left = left - used as u64;
                self.state = if left == 0 {
                    State::Head
                } else {
                    State::Body { left }
                };
                return Ok(used);
            }
            State::Chunk { left } => {
                let used = skip(left);
                let left = left - used as u64;
                self.state = if left == 0 {
                    State::ChunkEndCr
                } else {
                    State::Chunk { left }
                };
                return Ok(used);
            }
            State::ChunkSize { digits, size } => self.state = chunk_size(byte, digits, size)?,
            State::ChunkSizeEnd { size } => {
                self.state = match (byte, size) {
                    (b'\n', 0) => State::LastCr,
                    (b'\n', left) => State::Chunk { left },
                    _ => return Err(FrameError::ChunkSize),
                };
            }
            State::ChunkEndCr if byte == b'\r' => self.state = State::ChunkEndLf,
            State::ChunkEndLf if byte == b'\n' => {
                self.state = State::ChunkSize { digits: 0, size: 0 };
            }
            State::ChunkEndCr | State::ChunkEndLf => return Err(FrameError::ChunkEnd),
            State::LastCr if byte == b'\r' => self.state = State::LastLf,
            State::LastLf if byte == b'\n' => self.state = State::Head,
            State::LastCr => return Err(FrameError::Trailers),
            State::LastLf => return Err(FrameError::ChunkEnd),
        }
        Ok(1)
    }

    /// Collect head bytes up to the empty line, then judge the head.
    fn head_bytes(&mut self, rest: &[u8]) -> Result<usize, FrameError> {
        let room = HEAD_BYTES_MAX - self.head.len();
        let mut used = 0;
        let mut last = self.head.last().copied().unwrap_or_default();
        for &byte in rest {
            used += 1;
            if used > room {
                return Err(HeadError::TooLarge.into());
            }
            // Checked as it comes: a library may take a bare LF for the end of the head.
            if (last == b'\r') != (byte == b'\n') {
                return Err(FrameError::LineEnd);
            }
            last = byte;
            self.head.push(byte);
            if byte == b'\n' && self.head.ends_with(b"\r\n\r\n") {
                self.state = self.judge()?;
                self.head.clear();
                self.head.shrink_to(4096);
                // Only a connection's first bytes can be the HTTP/2 preface.
                self.http2 = false;
                return Ok(used);
            }
        }
        Ok(used)
    }

    fn judge(&mut self) -> Result<State, FrameError> {
        if self.http2 && self.head == PREFACE_HEAD {
            return Ok(State::Http2);
        }
        let head = self.head.strip_suffix(b"\r\n\r\n").unwrap_or_default();
        let mut lines = head
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().unwrap_or_default();
        let line = request_line(first)?;
        let headers = lines.map(header_line).collect::<Result<Vec<_>, _>>()?;
        let checked = check(&line, headers.into_iter())?;
        Ok(match checked.body {
            BodyLength::Unsaid | BodyLength::Known(0) => State::Head,
            BodyLength::Known(left) => State::Body { left },
            BodyLength::Chunked => State::ChunkSize { digits: 0, size: 0 },
        })
    }
}

fn chunk_size(byte: u8, digits: u8, size: u64) -> Result<State, FrameError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::ChunkSizeEnd { size }),
        b';' => return Err(FrameError::ChunkExtension),
        _ => return Err(FrameError::ChunkSize),
    };
    if digits == CHUNK_DIGITS_MAX {
        return Err(FrameError::ChunkSize);
    }
    Ok(State::ChunkSize {
        digits: digits + 1,
        size: size * 16 + u64::from(digit),
    })
}

/// `METHOD SP target SP HTTP/1.x`, single spaces (RFC 9112 section 3).
fn request_line(line: &[u8]) -> Result<RequestLine<'_>, FrameError> {
    let line = std::str::from_utf8(line).map_err(|_| FrameError::RequestLine)?;
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(FrameError::RequestLine);
    };
    let version = match version {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ => return Err(FrameError::RequestLine),
    };
    if !target
        .bytes()
        .all(|b| matches!(b, b'!'..=b'~') && b != b'#')
    {
        return Err(FrameError::Target);
    }
    let authority = if target.starts_with('/') {
        None
    } else {
        let scheme = |scheme| target.strip_prefix(scheme);
        let rest = scheme("http://").or_else(|| scheme("https://"));
        let rest = rest.ok_or(FrameError::Target)?;
        Some(rest.split(['/', '?']).next().unwrap_or(rest))
    };
    Ok(RequestLine {
        method,
        version,
        authority,
    })
}

/// `name:value`, no space before the colon, no folding (RFC 9112 section 5).
fn header_line(line: &[u8]) -> Result<(&str, &[u8]), FrameError> {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(FrameError::HeaderLine)?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| FrameError::HeaderLine)?;
    if !super::fields::is_token(name.as_bytes()) {
        return Err(FrameError::HeaderLine);
    }
    let value = &line[colon + 1..];
    // Tabs around these two have hidden them from readers.
    let framing = name.eq_ignore_ascii_case("transfer-encoding")
        || name.eq_ignore_ascii_case("content-length");
    if framing && value.contains(&b'\t') {
        return Err(FrameError::HeaderLine);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    Ok((name, &value[start..end]))
}
