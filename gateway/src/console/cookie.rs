//! The console's own site: its public address, its cookies, and whether a request comes from its pages.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

/// Longest session cookie that is looked at, in bytes.
const SESSION_BYTES_MAX: usize = 128;
/// Longest login cookie that is looked at, in bytes: it holds where the person goes on.
const LOGIN_BYTES_MAX: usize = 2048;

/// Where people reach the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Scheme, host and port, without a slash at the end.
    pub url: String,
    /// Hosts that requests may carry, lower case, with the port where it is not the default.
    pub hosts: Vec<String>,
}

/// The console's cookies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cookie {
    /// A session.
    Session,
    /// A login under way.
    Login,
}

impl Site {
    /// Whether browsers reach the console over TLS.
    fn is_secure(&self) -> bool {
        self.url.starts_with("https://")
    }

    fn authority(&self) -> &str {
        self.url.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// Whether the request names the host of `url`.
    pub(super) fn is_here(&self, headers: &HeaderMap) -> bool {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        // HTTP/2 has no Host header; the guard has looked at its authority.
        host.is_none_or(|host| host.eq_ignore_ascii_case(self.authority()))
    }

    /// Whether an unsafe request was made by a page of ours. Browsers say so on each of them.
    pub(super) fn is_from_here(&self, headers: &HeaderMap) -> bool {
        let origin = headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok());
        match origin {
            Some(origin) => {
                let host = origin.split_once("://").map_or("", |(_, rest)| rest);
                let scheme = origin.split_once("://").map_or("", |(scheme, _)| scheme);
                self.url.starts_with(&format!("{scheme}://"))
                    && self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
            }
            None => headers
                .get("sec-fetch-site")
                .is_some_and(|site| site == "same-origin"),
        }
    }

    /// Over TLS browsers take `__Host-` cookies from this very host only. On plaintext loopback there is
    /// no such protection, and the names differ so that the two are never mistaken for each other.
    const fn name(&self, cookie: Cookie, secure: bool) -> &'static str {
        match (cookie, secure) {
            (Cookie::Session, true) => "__Host-callgate-session",
            (Cookie::Login, true) => "__Host-callgate-login",
            (Cookie::Session, false) => "callgate-session",
            (Cookie::Login, false) => "callgate-login",
        }
    }
}

/// The cookie's value; nothing when it came twice, since one of the two was set by somebody else.
pub(super) fn read(headers: &HeaderMap, site: &Site, cookie: Cookie) -> Option<String> {
    let name = site.name(cookie, site.is_secure());
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim_matches(' ').split_once('='))
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value);
    let value = found.next()?;
    let alone = found.next().is_none();
    let longest = match cookie {
        Cookie::Session => SESSION_BYTES_MAX,
        Cookie::Login => LOGIN_BYTES_MAX,
    };
    (alone && !value.is_empty() && value.len() <= longest).then(|| value.to_owned())
}

/// Set the cookie.
pub(super) fn set(
    response: &mut Response,
    site: &Site,
    cookie: Cookie,
    value: &str,
    life: Duration,
) {
    let secure = site.is_secure();
    let text = format!(
        "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{}",
        site.name(cookie, secure),
        life.as_secs(),
        if secure { "; Secure" } else { "" }
    );
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Have the browser forget the cookie.
pub(super) fn clear(response: &mut Response, site: &Site, cookie: Cookie) {
    set(response, site, cookie, "", Duration::ZERO);
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    fn site(url: &str) -> Site {
        let host = url.split_once("://").unwrap().1;
        Site {
            url: url.to_owned(),
            hosts: vec![host.to_owned()],
        }
    }

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn over_tls_a_cookie_belongs_to_this_host_alone() {
        let mut response = ().into_response();
        set(
            &mut response,
            &site("https://gate.example"),
            Cookie::Session,
            "v",
            Duration::from_secs(9),
        );
        let text = response.headers()["set-cookie"].to_str().unwrap();
        assert_eq!(
            text,
            "__Host-callgate-session=v; Path=/; Max-Age=9; HttpOnly; SameSite=Lax; Secure"
        );
        let tossed = with(header::COOKIE, "callgate-session=evil");
        assert_eq!(
            read(&tossed, &site("https://gate.example"), Cookie::Session),
            None
        );
    }

    #[test]
    fn a_cookie_that_came_twice_is_none() {
        let site = site("http://127.0.0.1:8081");
        let one = with(header::COOKIE, "a=1; callgate-session=mine");
        assert_eq!(read(&one, &site, Cookie::Session).as_deref(), Some("mine"));
        let mut two = one.clone();
        two.append(header::COOKIE, "callgate-session=tossed".parse().unwrap());
        assert_eq!(read(&two, &site, Cookie::Session), None);
    }

    #[test]
    fn only_our_own_pages_make_unsafe_requests() {
        let site = site("https://gate.example");
        let is = |headers: &HeaderMap| site.is_from_here(headers);
        assert!(is(&with(header::ORIGIN, "https://gate.example")));
        for other in [
            "https://evil.example",
            "http://gate.example",
            "null",
            "https://gate.example.evil",
            "https://gate.example:444",
        ] {
            assert!(!is(&with(header::ORIGIN, other)), "{other}");
        }
        assert!(!is(&HeaderMap::new()));
        let fetched = |site| with("sec-fetch-site".parse().unwrap(), site);
        assert!(is(&fetched("same-origin")) && !is(&fetched("same-site")) && !is(&fetched("none")));
    }
}
