//! `application/x-www-form-urlencoded` (URL standard, 5.1): names and values are searched decoded, a name
//! can announce its value, and field rules apply by name.

use super::inspector::Inspector;
use super::instead::{Field, Found, Instead};
use super::media::Charset;
use super::places::Places;
use super::text;
use super::view;
use super::withheld::{Reason, Withheld};

/// Longest field, name and value together, in bytes.
const FIELD_BYTES_MAX: usize = 1024 * 1024;

/// The state of one form.
#[derive(Debug, Default)]
pub(super) struct FormCodec {
    /// The field that is not complete yet.
    pending: Vec<u8>,
    places: Places,
    begun: bool,
}

impl FormCodec {
    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let known = self.pending.len();
        self.pending.extend_from_slice(chunk);
        if let Some(last) = memchr::memrchr(b'&', chunk) {
            let pending = std::mem::take(&mut self.pending);
            let (ready, rest) = pending.split_at(known + last + 1);
            self.fields(ready, inspector, out)?;
            self.pending = rest.to_vec();
        }
        if self.pending.len() > FIELD_BYTES_MAX {
            return Err(Reason::TooLong("a field of a form").into());
        }
        Ok(())
    }

    pub(super) fn finish(
        mut self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let pending = std::mem::take(&mut self.pending);
        self.fields(&pending, inspector, out)
    }

    /// A form that is in memory.
    pub(super) fn whole(
        mut self,
        form: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        self.fields(form, inspector, out)
    }

    fn fields(
        &mut self,
        ready: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        text::check(ready, Charset::Utf8)?;
        if inspector.has_fields() && !std::mem::replace(&mut self.begun, true) {
            self.places.begin(inspector);
            self.places.open_record(inspector, None);
        }
        for field in ready.split_inclusive(|byte| *byte == b'&') {
            let (field, end) = match field.strip_suffix(b"&") {
                Some(inner) => (inner, &b"&"[..]),
                None => (field, &b""[..]),
            };
            let equals = memchr::memchr(b'=', field).unwrap_or(field.len());
            let (name, value) = field.split_at(equals);
            let (sign, value) = value.split_at(value.len().min(1));
            let plain = view::unescape_form(name);
            let rule = if inspector.has_fields() {
                self.places.field(inspector, plain.text())
            } else {
                None
            };
            if let Some(rule) = rule.filter(|rule| rule.instead == Instead::Drop) {
                inspector.drop_field(rule);
                continue;
            }
            searched(name, inspector, out);
            out.extend_from_slice(sign);
            if !value.is_empty() {
                written(rule, plain.text(), value, inspector, out);
            }
            out.extend_from_slice(end);
            inspector.forget_name();
        }
        Ok(())
    }
}

/// Appends a value: replaced by its place or because its name announced it, else with findings replaced.
fn written(
    rule: Option<Field>,
    name: &[u8],
    value: &[u8],
    inspector: &mut Inspector,
    out: &mut Vec<u8>,
) {
    let view = view::unescape_form(value);
    if let Some(field) = rule {
        let found = Found::Text {
            source: b"",
            text: view.text(),
        };
        out.extend_from_slice(inspector.field(field, found).as_bytes());
        return;
    }
    let announced = inspector.announces(name);
    if inspector.replace_announced(announced, view.text(), out) {
        return;
    }
    // What stands in front of a value can tell what it is, or make it look like a part of something
    // else: it is searched with its name, as a parameter of a URL, and without.
    let mut whole = b"&".to_vec();
    whole.extend_from_slice(name);
    whole.push(b'=');
    let from = whole.len();
    whole.extend_from_slice(view.text());
    if inspector.search_behind(&whole, from) {
        inspector.write_view(value, &view, out);
    } else {
        out.extend_from_slice(value);
    }
}

/// Appends a name, findings replaced. A marker has no byte that ends a field.
fn searched(source: &[u8], inspector: &mut Inspector, out: &mut Vec<u8>) {
    let view = view::unescape_form(source);
    if inspector.search(view.text()) {
        inspector.write_view(source, &view, out);
    } else {
        out.extend_from_slice(source);
    }
}
