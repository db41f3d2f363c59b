//! HTTP/2 by the frame: a caller that writes whatever it likes, and reads what comes without helping.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::gateway::SOON;

/// What a connection begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PUSH_PROMISE: u8 = 0x5;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
pub(crate) const PRIORITIZED: u8 = 0x20;

/// One frame that came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// `:status` of a `HEADERS` frame: it stands first.
    pub(crate) fn status(&self) -> u16 {
        assert_eq!(self.kind, HEADERS, "{self:?}");
        let block = match self.flags & PRIORITIZED {
            0 => &self.payload[..],
            _ => &self.payload[5..],
        };
        status(block).unwrap_or_else(|| panic!("no status in {block:02x?}"))
    }

    /// The error code of `RST_STREAM` or `GOAWAY`.
    pub(crate) fn code(&self) -> u32 {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            kind => panic!("frame type {kind} has no error code"),
        };
        let bytes: [u8; 4] = self.payload[at..at + 4].try_into().expect("four bytes");
        u32::from_be_bytes(bytes)
    }
}

/// What came of bytes that were to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// All of them were.
    Taken,
    /// The other side reads no more.
    Blocked,
    /// The connection is over.
    Over,
}

/// How long the other side may take nothing before it counts as not reading.
const STILL_MAX: Duration = Duration::from_secs(3);

/// A connection by the frame.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: TcpStream,
    kept: Vec<u8>,
}

impl Frames {
    /// Connect, without a byte.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        // A gateway that reads nothing any more must not keep a test for ever.
        stream.set_write_timeout(Some(SOON)).expect("a timeout");
        Self {
            stream,
            kept: Vec::new(),
        }
    }

    /// Connect by prior knowledge.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let mut frames = Self::silent(address);
        let begin = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        assert!(frames.write(&begin), "the preface did not go out");
        frames
    }

    /// Write bytes; false when the other side takes none any more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Write bytes, and throw away what comes meanwhile.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Fate {
        self.pour(bytes, true)
    }

    /// Write bytes, and read nothing.
    pub(crate) fn push_unread(&mut self, bytes: &[u8]) -> Fate {
        self.pour(bytes, false)
    }

    fn pour(&mut self, mut bytes: &[u8], read: bool) -> Fate {
        self.stream.set_nonblocking(true).expect("no blocking");
        let mut moved = Instant::now();
        let fate = loop {
            if read && self.throw_away() {
                break Fate::Over;
            }
            if bytes.is_empty() {
                break Fate::Taken;
            }
            match self.stream.write(bytes) {
                Ok(length @ 1..) => {
                    bytes = &bytes[length..];
                    moved = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if moved.elapsed() > STILL_MAX {
                        break Fate::Blocked;
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                _ => break Fate::Over,
            }
        };
        self.stream.set_nonblocking(false).expect("blocking");
        fate
    }

    /// Read what there is, without waiting; whether the other side has ended.
    fn throw_away(&mut self) -> bool {
        let mut chunk = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether the other side ends the connection before long.
    pub(crate) fn is_over_soon(&mut self) -> bool {
        let begin = Instant::now();
        self.stream.set_nonblocking(true).expect("no blocking");
        while begin.elapsed() < SOON {
            if self.throw_away() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// The next frame; `None` when the connection ended or nothing came for long.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.next_within(SOON)
    }

    /// The same, with less patience.
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<Frame> {
        let begin = Instant::now();
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some(frame) = self.kept_frame() {
                return Some(frame);
            }
            let left = time.checked_sub(begin.elapsed())?;
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a timeout");
            match self.stream.read(&mut chunk) {
                Ok(length @ 1..) => self.kept.extend_from_slice(&chunk[..length]),
                _ => return None,
            }
        }
    }

    /// The first frame that is wanted; what comes before is passed over.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if wanted(&frame) {
                return Some(frame);
            }
        }
    }

    fn kept_frame(&mut self) -> Option<Frame> {
        let head = self.kept.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.kept.get(9..9 + length)?.to_vec();
        self.kept.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a length")
        .to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literals that are never indexed: names and values stand there as they are, whatever is in them.
pub(crate) fn block<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0x10);
        for text in [name.as_ref(), value.as_ref()] {
            let length = text.len();
            match u8::try_from(length) {
                Ok(short @ ..127) => bytes.push(short),
                _ => {
                    bytes.push(127);
                    let mut rest = length - 127;
                    while rest >= 128 {
                        bytes.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                        rest /= 128;
                    }
                    bytes.push(u8::try_from(rest).expect("a byte"));
                }
            }
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

/// `HEADERS` of a request with a token.
pub(crate) fn request(
    stream: u32,
    (method, target): (&str, &str),
    authority: SocketAddr,
    token: &str,
    end: bool,
) -> Vec<u8> {
    let (authority, bearer) = (authority.to_string(), format!("Bearer {token}"));
    let fields = [
        (":method", method),
        (":scheme", "http"),
        (":authority", authority.as_str()),
        (":path", target),
        ("authorization", bearer.as_str()),
    ];
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &block(&fields))
}

/// The status that a header block begins with.
fn status(mut block: &[u8]) -> Option<u16> {
    // Size updates of the table may stand in front.
    while block.first().is_some_and(|byte| byte & 0xe0 == 0x20) {
        block = &block[1..];
    }
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [first @ 0x88..=0x8e, ..] => INDEXED.get(usize::from(first - 0x88)).copied(),
        // A literal whose name is one of the table's seven statuses.
        [0x08..=0x0e | 0x18..=0x1e | 0x48..=0x4e, length, rest @ ..] => {
            let text = rest.get(..usize::from(length & 0x7f))?;
            match length & 0x80 {
                0 => std::str::from_utf8(text).ok()?.parse().ok(),
                _ => digits(text),
            }
        }
        _ => None,
    }
}

/// Three digits in HPACK's Huffman code: `0` to `2` have five bits, the others six.
fn digits(bytes: &[u8]) -> Option<u16> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let take = |length: usize| -> Option<u16> {
            let bits = bits.get(at..at + length)?;
            Some(bits.iter().fold(0, |all, bit| all * 2 + u16::from(*bit)))
        };
        let digit = match take(5)? {
            short @ 0..=2 => {
                at += 5;
                short
            }
            _ => {
                let long = take(6)?.checked_sub(0x19)?;
                at += 6;
                long + 3
            }
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[test]
fn a_status_is_read_in_every_form() {
    assert_eq!(status(&[0x88]), Some(200));
    assert_eq!(status(&[0x20, 0x8d]), Some(404));
    assert_eq!(status(b"\x08\x03403"), Some(403));
    // 011010 00000 011001 and ones to fill the byte: 403.
    assert_eq!(
        status(&[0x48, 0x83, 0b0110_1000, 0b0000_1100, 0b1111_1111]),
        Some(403)
    );
    // 011010 00010 011111: 429.
    assert_eq!(
        status(&[0x48, 0x83, 0b0110_1000, 0b0100_1111, 0b1111_1111]),
        Some(429)
    );
}

#[test]
fn a_long_value_has_its_length_in_front() {
    let bytes = block(&[("a", "x".repeat(300))]);
    assert_eq!(&bytes[..6], &[0x10, 1, b'a', 127, 173, 1]);
    assert_eq!(bytes.len(), 306);
}
