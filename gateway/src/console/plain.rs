//! Pages without a script: their frame, escaping, and forms.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::approval::terminal_safe;

/// What `/login` says where no login is configured.
pub(super) const NO_LOGIN: &str = "<h1>Nobody can sign in here</h1><p>The config has no \
    <code>console.login</code>. The API under <code>/api/v1</code> takes bearer tokens for the console's audience; \
    the guide <em>console</em> shows how to let people sign in.</p>";

/// The stylesheet of these pages.
pub(super) const STYLE: &str = include_str!("plain.css");

/// Their icon.
pub(super) const ICON: &str = include_str!("icon.svg");

/// A page, whole.
#[derive(Debug)]
pub(super) struct Html {
    status: StatusCode,
    text: String,
}

impl Html {
    /// A page with this title and this content, which is HTML already.
    pub(super) fn new(status: StatusCode, title: &str, body: &str) -> Self {
        let title = escape(title);
        let text = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><title>{title} · Callgate</title>\
             <link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\
             <link rel=\"stylesheet\" href=\"/plain.css\"></head><body><main>{body}</main></body></html>"
        );
        Self { status, text }
    }
}

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        (self.status, [(header::CONTENT_TYPE, html)], self.text).into_response()
    }
}

/// The answer to a form of somebody without a session: that nothing was done, and a way to sign in. Not a
/// redirect to the issuer: browsers follow none from a form (`form-action`), so nothing would be seen.
pub(super) fn sign_in_first(nothing: &str, next: &str) -> Html {
    let body = format!(
        "<h1>Sign in again</h1><p>{} Your session is over.</p>\
         <p><a class=\"button\" href=\"/login?next={}\">Sign in again</a></p>",
        escape(nothing),
        query(next)
    );
    Html::new(StatusCode::UNAUTHORIZED, "Sign in again", &body)
}

/// Text of strangers as HTML text or attribute: every character that acts instead of showing is made
/// visible, and none can become markup. Line ends are shown as `\n`.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in terminal_safe(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Text of several lines as HTML: line ends stay, everything else as [`escape`].
pub(super) fn escape_lines(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(escape).collect();
    lines.join("\n")
}

/// Percent-encode everything but unreserved characters (RFC 3986 section 2.3).
pub(super) fn query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Pairs as a query or a form.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", query(name), query(value)))
        .collect();
    pairs.join("&")
}

/// A form's fields; `None` when they do not read, or one came twice.
pub(super) fn read_form<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    // The query extractor reads the same encoding.
    let text = std::str::from_utf8(body).ok()?;
    let uri: http::Uri = format!("/?{text}").parse().ok()?;
    axum::extract::Query::try_from_uri(&uri)
        .ok()
        .map(|query| query.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_stranger_becomes_markup_or_stays_unseen() {
        let shown = escape("<b>\"x\" & 'y'</b>\u{202e}\u{200b}\u{1b}[31m");
        assert_eq!(
            shown,
            "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;\\u{202e}\\u{200b}\\u{1b}[31m"
        );
        assert_eq!(escape_lines("a\nb\r\nc"), "a\nb\\r\nc");
    }

    #[test]
    fn a_form_without_a_session_is_told_that_nothing_was_done_and_where_to_sign_in() {
        let page = sign_in_first("Nothing was decided.", "/approve/a&b\"<").into_response();
        assert_eq!(page.status(), StatusCode::UNAUTHORIZED);
        assert!(!page.headers().contains_key(header::LOCATION));
        let page = sign_in_first("Nothing was decided.", "/approve/a&b\"<").text;
        assert!(page.contains("Nothing was decided."), "{page}");
        let link = "href=\"/login?next=%2Fapprove%2Fa%26b%22%3C\"";
        assert!(page.contains(link), "{page}");
    }

    #[test]
    fn forms_read_back_as_they_were_written() {
        #[derive(serde::Deserialize)]
        struct Fields {
            a: String,
            b: String,
        }
        let text = form(&[("a", "1 +&=ü"), ("b", "")]);
        let back: Fields = read_form(text.as_bytes()).unwrap();
        assert_eq!((back.a.as_str(), back.b.as_str()), ("1 +&=ü", ""));
        assert!(read_form::<Fields>(b"a=1&a=2&b=3").is_none());
    }
}
