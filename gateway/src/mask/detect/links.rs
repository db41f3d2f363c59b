//! Secrets in links and connection strings: a signature that opens a URL, a password among the
//! settings of a database.

use super::before;
use super::rules::Set;
use super::secrets::Runs;

/// The signature in `…Signature=` of a signed URL (AWS, Google, CloudFront, Alibaba).
pub(super) fn url_signature(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const SIGNATURE_BYTES: std::ops::RangeInclusive<usize> = 24..=1024;
    const NAME_BYTES_MAX: usize = 24;
    let text = runs.text();
    let start = at + "Signature=".len();
    let rest = text.get(start..text.len().min(start + SIGNATURE_BYTES.end() + 1))?;
    let length = rest
        .iter()
        .take_while(|byte| Set::Base64.has(**byte) || matches!(**byte, b'%' | b'~'))
        .count();
    let ahead = text.get(at.saturating_sub(NAME_BYTES_MAX)..at)?;
    let name = ahead
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    // A parameter of a URL; also behind the `&` of HTML.
    let parameter = matches!(before(ahead, ahead.len() - name), Some(b'?' | b'&' | b';'));
    let mixed = rest.iter().take(length).any(u8::is_ascii_digit);
    (parameter && mixed && SIGNATURE_BYTES.contains(&length)).then_some((start, start + length))
}

/// The password in a connection string: `Server=…;User Id=…;Password=…;`, also as libpq and JDBC
/// write it.
pub(super) fn string_password(runs: &mut Runs<'_>, at: usize) -> Option<(usize, usize)> {
    const STRING_BYTES_MAX: usize = 256;
    const PASSWORD_BYTES_MAX: usize = 128;
    let text = runs.text();
    let equals = at
        + text
            .get(at..)?
            .iter()
            .take(12)
            .position(|byte| *byte == b'=')?;
    let start = equals + 1;
    let near = text.get(start..text.len().min(start + PASSWORD_BYTES_MAX))?;
    let quoted = near
        .first()
        .copied()
        .filter(|byte| matches!(byte, b'\'' | b'"' | b'{'));
    let start = start + usize::from(quoted.is_some());
    let near = near.get(usize::from(quoted.is_some())..)?;
    let closes = |byte: u8| match quoted {
        Some(b'{') => byte == b'}',
        Some(quote) => byte == quote,
        None => matches!(byte, b';' | b'"' | b'\'' | b'&' | b' ' | b'\\') || byte < b' ',
    };
    let length = near
        .iter()
        .position(|byte| closes(*byte))
        .unwrap_or(near.len());
    let ahead = text.get(at.saturating_sub(STRING_BYTES_MAX)..at)?;
    let behind = text.get(start + length..text.len().min(start + length + STRING_BYTES_MAX))?;
    let masked = near.starts_with(b"[masked:") || near.iter().take(length).all(|b| *b == b'*');
    let is_string = [
        &b"erver="[..],
        b"ata source=",
        b"ata Source=",
        b"ost=",
        b"ser id=",
        b"ser Id=",
    ]
    .iter()
    .chain(&[&b"uid="[..], b"Uid=", b"UID=", b"ser="])
    .any(|name| {
        memchr::memmem::find(ahead, name).is_some() || memchr::memmem::find(behind, name).is_some()
    });
    (is_string && length > 0 && !masked).then_some((start, start + length))
}
