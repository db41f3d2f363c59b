//! An address that may be fetched, and how far it is trusted.

use http::Uri;

use super::{Error, address};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 2048;

/// Who named the URL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Named {
    /// The operator's config: may be a private address, never a metadata or link-local one.
    ByConfig,
    /// Data that came from elsewhere (a discovery document): public addresses only.
    ByData,
}

/// A checked URL.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    pub(super) uri: Uri,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// A mail server that goes over to TLS before anything is said to it.
    pub(super) starttls: bool,
    pub(super) loopback_only: bool,
    pub(super) named: Named,
}

impl Target {
    /// A URL from the config: `https`, or `http` on loopback.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong with it.
    pub fn from_config(url: &str) -> Result<Self, Error> {
        Self::parse(url, Named::ByConfig, false)
    }

    /// A URL from the config whose operator allowed plaintext beyond loopback.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong with it.
    pub fn from_config_plaintext(url: &str) -> Result<Self, Error> {
        Self::parse(url, Named::ByConfig, true)
    }

    /// A URL that came in data fetched from `origin`. On the same scheme, host and port it is trusted
    /// as `origin` is; anywhere else it must be `https` and public.
    ///
    /// # Errors
    /// [`Error::Url`] with what is wrong with it.
    pub fn from_data(url: &str, origin: &Self) -> Result<Self, Error> {
        let same = Self::parse(url, Named::ByConfig, true).is_ok_and(|other| {
            other.host == origin.host && other.port == origin.port && other.tls == origin.tls
        });
        if same {
            let mut target = Self::parse(url, origin.named, true)?;
            target.loopback_only = origin.loopback_only;
            return Ok(target);
        }
        Self::parse(url, Named::ByData, false)
    }

    fn parse(url: &str, named: Named, plaintext: bool) -> Result<Self, Error> {
        let fault = |why: &'static str| Error::Url {
            url: url.chars().take(200).collect(),
            why,
        };
        if url.len() > URL_BYTES_MAX {
            return Err(fault("it is longer than 2048 bytes"));
        }
        if url.contains('#') {
            return Err(fault("it has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| fault("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(fault("it must start with https://")),
        };
        let authority = uri.authority().ok_or_else(|| fault("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(fault(
                "it carries a user name; credentials do not belong in URLs",
            ));
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || host == "[]" {
            return Err(fault("it names no host"));
        }
        if !host.starts_with('[') && address::is_disguised_number(&host) {
            return Err(fault(
                "its host is a number that is no plain address; write it as a.b.c.d",
            ));
        }
        let loopback = is_loopback_name(&host);
        if !tls && (named == Named::ByData || !(plaintext || loopback)) {
            return Err(fault("it must start with https:// (http only on loopback)"));
        }
        let written = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if written => return Err(fault("its port is no port")),
            None if tls => 443,
            None => 80,
        };
        if port == 0 {
            return Err(fault("port 0 cannot be called"));
        }
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            uri,
            host,
            port,
            tls,
            starttls: false,
            loopback_only: !tls && !plaintext,
            named,
        })
    }

    /// The URL as text.
    pub fn url(&self) -> String {
        self.uri.to_string()
    }

    /// Who named it.
    pub const fn named(&self) -> Named {
        self.named
    }

    /// Path and query for the request line.
    pub(super) fn path(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// The `Host` header.
    pub(super) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map_or("", http::uri::Authority::as_str)
    }
}

fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}
