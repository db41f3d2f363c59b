//! The rules that every request head keeps, whichever library parsed it.

use super::authority::{Authority, AuthorityError};
use super::fields::{OVERRIDES, SINGLE, is_token};

/// Most header fields in one request.
pub const HEADERS_MAX: usize = 100;

/// Largest request head, in bytes: request line, names, values and four bytes for each field's
/// separators.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Longest value of one header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 16 * 1024;

/// Methods that functions can have. `TRACE`, `CONNECT` and methods of one's own are refused.
pub const METHODS: &[&str] = &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// How much of a header's name an error repeats, in bytes.
const NAME_SHOWN_BYTES: usize = 64;

/// The protocol version of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// What stands in a request beside its target's path, its headers and its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a str,
    /// The protocol version.
    pub version: Version,
    /// The authority of an absolute-form target, or `:authority`.
    pub authority: Option<&'a str>,
}

/// How the request says where its body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// It does not: no body in HTTP/1, up to the stream's end in HTTP/2.
    Unsaid,
    /// `Content-Length`, in bytes.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// What the rules found out about a head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedHead {
    /// The host that the request is for.
    pub authority: Authority,
    /// How its body is framed.
    pub body: BodyLength,
    /// Whether the caller waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
}

/// Why a request head is refused. Whose fault: the caller's, always.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not one of [`METHODS`].
    #[error("the method is not allowed: use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    Method,
    /// More than [`HEADERS_MAX`].
    #[error("the request has more than 100 headers")]
    TooManyHeaders,
    /// More than [`HEAD_BYTES_MAX`].
    #[error("the request head is larger than 32 KiB")]
    TooLarge,
    /// More than [`HEADER_VALUE_BYTES_MAX`].
    #[error("header `{0}` is longer than 16 KiB")]
    ValueTooLong(String),
    /// A name that is not a token.
    #[error("a header's name is not a token")]
    Name,
    /// A control character or a byte outside ASCII.
    #[error("header `{0}` has a control character or is not ASCII")]
    Value(String),
    /// One of [`SINGLE`] twice.
    #[error("header `{0}` is given twice")]
    Duplicate(String),
    /// No `Host` and no authority.
    #[error("the request has no `Host`")]
    NoHost,
    /// The host is malformed.
    #[error("`Host`: {0}")]
    Host(#[from] AuthorityError),
    /// `Host` and the target's authority differ.
    #[error("`Host` is not the authority of the request target")]
    HostMismatch,
    /// Not one decimal number.
    #[error("`Content-Length` is not one decimal number")]
    ContentLength,
    /// Anything but `chunked`, or on HTTP/1.0 or HTTP/2.
    #[error("`Transfer-Encoding` is something else than `chunked`, or not allowed in this version")]
    TransferEncoding,
    /// Both framings.
    #[error("the request has both `Content-Length` and `Transfer-Encoding`")]
    TwoLengths,
    /// Names a header in `Connection`.
    #[error(
        "`Connection` has something else than `close`, `keep-alive` or `te`; upgrades (WebSocket) are not done here"
    )]
    Connection,
    /// `Upgrade` or `HTTP2-Settings`, unless they are a whole offer of `h2c`; a connection header in HTTP/2.
    #[error("header `{0}` is not allowed: the connection's protocol cannot be changed")]
    Upgrade(String),
    /// Not `trailers`.
    #[error("`TE` has something else than `trailers`")]
    Te,
    /// Not `100-continue`.
    #[error("`Expect` has something else than `100-continue`")]
    Expect,
    /// One of [`OVERRIDES`].
    #[error("header `{0}` is not allowed: it would make the request another one")]
    Override(String),
}

/// Hold a head to the rules. Names may be in any case; values are without surrounding whitespace.
///
/// # Errors
/// The first rule that is broken.
pub fn check<'h>(
    line: &RequestLine<'_>,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
) -> Result<CheckedHead, HeadError> {
    if METHODS.binary_search(&line.method).is_err() {
        return Err(HeadError::Method);
    }
    let mut seen = Seen::default();
    let mut bytes = line.method.len() + line.authority.map_or(0, str::len);
    let mut lower = String::new();
    for (count, (name, value)) in headers.enumerate() {
        bytes += name.len() + value.len() + 4;
        if count == HEADERS_MAX {
            return Err(HeadError::TooManyHeaders);
        }
        if bytes > HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        if !is_token(name.as_bytes()) {
            return Err(HeadError::Name);
        }
        lower.clear();
        lower.push_str(name);
        lower.make_ascii_lowercase();
        seen.header(line.version, &lower, value)?;
    }
    seen.conclude(line)
}

/// What the headers have said so far.
#[derive(Default)]
struct Seen {
    /// Bit n: the n-th of [`SINGLE`] was there.
    single: u64,
    host: Option<Authority>,
    content_length: Option<u64>,
    chunked: bool,
    expect_continue: bool,
    offer: Offer,
}

/// What belongs to the offer to go on in HTTP/2 without TLS (RFC 7540 section 3.2, since withdrawn), which stock
/// clients make unasked. A server may go on as if it had not been made (RFC 9110 section 7.8).
#[derive(Default)]
struct Offer {
    /// `Upgrade: h2c` and nothing else.
    upgrade: bool,
    /// One `HTTP2-Settings`.
    settings: bool,
    /// `Connection` lists `Upgrade`, `HTTP2-Settings`.
    options: (bool, bool),
}

impl Offer {
    fn upgrade(&mut self, text: &str) -> Result<(), HeadError> {
        if self.upgrade || !text.eq_ignore_ascii_case("h2c") {
            return Err(HeadError::Upgrade("upgrade".to_owned()));
        }
        self.upgrade = true;
        Ok(())
    }

    fn settings(&mut self, text: &str) -> Result<(), HeadError> {
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.settings || !text.bytes().all(base64url) {
            return Err(HeadError::Upgrade("http2-settings".to_owned()));
        }
        self.settings = true;
        Ok(())
    }

    /// All of it or nothing of it: a part alone belongs to something else.
    fn conclude(&self) -> Result<(), HeadError> {
        match (self.upgrade, self.settings, self.options) {
            (false, false, (false, false)) | (true, true, (true, true)) => Ok(()),
            (true, ..) => Err(HeadError::Upgrade("upgrade".to_owned())),
            (false, true, _) => Err(HeadError::Upgrade("http2-settings".to_owned())),
            (false, false, _) => Err(HeadError::Connection),
        }
    }
}

impl Seen {
    fn header(&mut self, version: Version, name: &str, value: &[u8]) -> Result<(), HeadError> {
        if value.len() > HEADER_VALUE_BYTES_MAX {
            return Err(HeadError::ValueTooLong(shown(name)));
        }
        if !value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~')) {
            return Err(HeadError::Value(shown(name)));
        }
        // ASCII was just checked, so this is never the empty text.
        let text = std::str::from_utf8(value).unwrap_or_default();
        if let Ok(at) = SINGLE.binary_search(&name) {
            if self.single & (1 << at) != 0 {
                return Err(HeadError::Duplicate(shown(name)));
            }
            self.single |= 1 << at;
        }
        if OVERRIDES.binary_search(&name).is_ok() {
            return Err(HeadError::Override(shown(name)));
        }
        match name {
            "host" => self.host = Some(Authority::parse(text)?),
            "content-length" => self.content_length = Some(content_length(text)?),
            "transfer-encoding" => {
                // RFC 9112 section 6.1: chunked alone; a coding that we cannot undo is not judged.
                if version != Version::Http11 || !text.eq_ignore_ascii_case("chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
            }
            "connection" | "keep-alive" | "proxy-connection" if version == Version::Http2 => {
                return Err(HeadError::Upgrade(shown(name)));
            }
            "connection" => connection(text, &mut self.offer)?,
            "upgrade" | "http2-settings" if version != Version::Http11 => {
                return Err(HeadError::Upgrade(shown(name)));
            }
            "upgrade" => self.offer.upgrade(text)?,
            "http2-settings" => self.offer.settings(text)?,
            "te" if !text.is_empty() && !text.eq_ignore_ascii_case("trailers") => {
                return Err(HeadError::Te);
            }
            "expect" => {
                if version == Version::Http10 || !text.eq_ignore_ascii_case("100-continue") {
                    return Err(HeadError::Expect);
                }
                self.expect_continue = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn conclude(self, line: &RequestLine<'_>) -> Result<CheckedHead, HeadError> {
        self.offer.conclude()?;
        let target = line.authority.map(Authority::parse).transpose()?;
        let authority = match (target, self.host) {
            (Some(target), Some(host)) if target != host => return Err(HeadError::HostMismatch),
            (_, Some(host)) => host,
            (Some(target), None) if line.version == Version::Http2 => target,
            (Some(_) | None, None) => return Err(HeadError::NoHost),
        };
        let body = match (self.content_length, self.chunked) {
            (Some(_), true) => return Err(HeadError::TwoLengths),
            (Some(bytes), false) => BodyLength::Known(bytes),
            (None, true) => BodyLength::Chunked,
            (None, false) => BodyLength::Unsaid,
        };
        Ok(CheckedHead {
            authority,
            body,
            expect_continue: self.expect_continue,
        })
    }
}

fn content_length(text: &str) -> Result<u64, HeadError> {
    // No sign, no list, no leading zeros: `+5`, `5, 5` and `05` are read differently elsewhere.
    let plain = text == "0" || !text.starts_with('0');
    if text.is_empty() || text.len() > 18 || !plain || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HeadError::ContentLength);
    }
    text.parse().map_err(|_| HeadError::ContentLength)
}

/// A caller that lists other headers here could make a hop remove them (`Connection: Authorization`).
fn connection(text: &str, offer: &mut Offer) -> Result<(), HeadError> {
    for option in text.split(',') {
        let option = option.trim_matches([' ', '\t']).to_ascii_lowercase();
        match option.as_str() {
            "close" | "keep-alive" | "te" => {}
            "upgrade" => offer.options.0 = true,
            "http2-settings" => offer.options.1 = true,
            _ => return Err(HeadError::Connection),
        }
    }
    Ok(())
}

/// A header's name for an error: a token, cut to a length that is safe to show.
fn shown(name: &str) -> String {
    name.chars().take(NAME_SHOWN_BYTES).collect()
}
