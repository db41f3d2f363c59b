//! Hosts: the `Host` header, `:authority`, and the authority of an absolute request target.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Longest host name, in bytes (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Longest label of a host name, in bytes.
const LABEL_BYTES_MAX: usize = 63;

/// Why a host is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// An `@`.
    #[error("the host has user information (`user@`)")]
    Userinfo,
    /// A port that is not 1 to 65535 in decimal without leading zeros.
    #[error("the host's port is not a number from 1 to 65535")]
    Port,
    /// Not ASCII, or an escape.
    #[error("the host is not ASCII: write an internationalised name in its `xn--` form")]
    NotAscii,
    /// A character or label that no host name has.
    #[error("the host is not a host name")]
    Name,
    /// A name that ends in a number but is not four decimal bytes (`0x7f.1`, `2130706433`, `010.0.0.1`).
    #[error("the host is not an IPv4 address in its plain form (`192.0.2.1`)")]
    Ipv4,
    /// Brackets without an IPv6 address; zone ids are refused too.
    #[error("the host is not an IPv6 address in brackets")]
    Ipv6,
}

/// A normalised host and port: lower case, no trailing dot, addresses in their canonical form.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Normalise `host[:port]`.
    ///
    /// # Errors
    /// [`AuthorityError`] for user information, other than ASCII, odd ports and odd addresses.
    pub fn parse(raw: &str) -> Result<Self, AuthorityError> {
        if raw.is_empty() {
            return Err(AuthorityError::Empty);
        }
        if raw.contains('@') {
            return Err(AuthorityError::Userinfo);
        }
        if !raw.is_ascii() || raw.contains('%') {
            return Err(AuthorityError::NotAscii);
        }
        if let Some(rest) = raw.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or(AuthorityError::Ipv6)?;
            let address: Ipv6Addr = address.parse().map_err(|_| AuthorityError::Ipv6)?;
            let port = match rest {
                "" => None,
                _ => Some(port(rest.strip_prefix(':').ok_or(AuthorityError::Ipv6)?)?),
            };
            let host = format!("[{address}]");
            return Ok(Self { host, port });
        }
        let (host, port) = match raw.split_once(':') {
            Some((host, text)) => (host, Some(port(text)?)),
            None => (raw, None),
        };
        let host = name(host)?;
        Ok(Self { host, port })
    }

    /// The host: a lower-case name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one was written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The port, or the scheme's own when none was written.
    #[must_use]
    pub fn port_or(&self, default: u16) -> u16 {
        self.port.unwrap_or(default)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn port(text: &str) -> Result<u16, AuthorityError> {
    let plain = !text.is_empty() && !text.starts_with('0');
    if !plain || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    text.parse().map_err(|_| AuthorityError::Port)
}

fn name(raw: &str) -> Result<String, AuthorityError> {
    // One trailing dot names the same host; two do not name any.
    let host = raw.strip_suffix('.').unwrap_or(raw);
    if host.is_empty() {
        return Err(AuthorityError::Empty);
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| {
        !label.is_empty() && label.len() <= LABEL_BYTES_MAX && label.bytes().all(good)
    };
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(label) {
        return Err(AuthorityError::Name);
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let number = match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => last.bytes().all(|b| b.is_ascii_digit()),
    };
    if number {
        let address: Ipv4Addr = host.parse().map_err(|_| AuthorityError::Ipv4)?;
        return Ok(address.to_string());
    }
    Ok(host.to_ascii_lowercase())
}
