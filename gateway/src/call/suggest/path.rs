//! Which segments of a path are names, and which are values.

use std::collections::{BTreeMap, BTreeSet};

use wire::http::Target;

use super::Operation;
use crate::call::Method;

/// More names than these at one place below the first are taken for values.
const NAMES_MAX: usize = 24;
/// A segment that is at least so long, and has letters and digits, is taken for a value.
const TOKEN_BYTES: usize = 20;
/// So long hexadecimal text with a digit in it is taken for a value.
const HEX_BYTES: usize = 8;
/// What stands behind the last `-` or `_` and is so long, with a digit in it, makes a value (`ord_8fk2j1`).
const TAIL_BYTES: usize = 5;

/// A segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Piece {
    /// Always this.
    Name(String),
    /// A value.
    Varied,
}

/// A path with its values left out.
pub(super) type Form = Vec<Piece>;

/// The form of a path, and the decoded texts at its varied segments.
pub(super) fn form(target: &Target) -> (Form, Vec<String>) {
    let mut texts = Vec::new();
    let raw = target.path().split('/').skip(1);
    let pieces = raw.zip(target.segments()).map(|(raw, text)| {
        if is_value(raw) {
            texts.push(text.into_owned());
            Piece::Varied
        } else {
            Piece::Name(raw.to_owned())
        }
    });
    (pieces.collect(), texts)
}

/// Whether a segment by itself looks like a value: a number, a UUID, a date, a token, an address.
fn is_value(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    if segment.is_empty() {
        return false;
    }
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let letters = segment.bytes().filter(u8::is_ascii_alphabetic).count();
    let separators = segment
        .bytes()
        .all(|b| b.is_ascii_digit() || b == b'-' || b == b'.');
    let hex = segment.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let tail = segment.rsplit(['-', '_']).next().unwrap_or_default();
    let told = tail.len() < segment.len()
        && tail.len() >= TAIL_BYTES
        && tail.bytes().any(|b| b.is_ascii_digit());
    // An escape, or a character that stands in no name.
    !segment.bytes().all(plain)
        || (digits > 0 && separators)
        || (digits > 0 && hex && segment.len() >= HEX_BYTES)
        || (digits > 0 && letters > 0 && segment.len() >= TOKEN_BYTES)
        || told
}

type Operations = BTreeMap<(Method, Form), Operation>;

/// Take names for values where there are too many of them, and where two forms could both match.
pub(super) fn settle(mut operations: Operations) -> Operations {
    let longest = operations.keys().map(|(_, form)| form.len()).max();
    for depth in 1..longest.unwrap_or(0) {
        let mut names: BTreeMap<&[Piece], BTreeSet<&str>> = BTreeMap::new();
        for (_, form) in operations.keys() {
            if let Some((above, [Piece::Name(name), ..])) = form.split_at_checked(depth) {
                names.entry(above).or_default().insert(name);
            }
        }
        let many = names
            .into_iter()
            .filter(|(_, names)| names.len() > NAMES_MAX);
        let many: BTreeSet<Form> = many.map(|(above, _)| above.to_vec()).collect();
        operations = vary(operations, |_, form| {
            let above = form.get(..depth)?;
            many.contains(above).then_some(depth)
        });
    }
    while let Some((key, at)) = ambiguous(&operations) {
        operations = vary(operations, |method, form| {
            (*method == key.0 && *form == key.1).then_some(at)
        });
    }
    operations
}

/// With a value in place of the name where `at` says, and what has one form then as one.
fn vary(operations: Operations, at: impl Fn(&Method, &Form) -> Option<usize>) -> Operations {
    let mut out = Operations::new();
    for ((method, mut form), mut operation) in operations {
        let place = at(&method, &form);
        if let Some(place) = place
            && let Some(Piece::Name(name)) = form.get(place).cloned()
        {
            let before = form
                .iter()
                .take(place)
                .filter(|piece| **piece == Piece::Varied);
            let before = before.count().min(operation.segments.len());
            operation.segments.insert(before, super::Scalar::of(&name));
            if let Some(piece) = form.get_mut(place) {
                *piece = Piece::Varied;
            }
        }
        out.entry((method, form)).or_default().join(operation);
    }
    out
}

/// A form that has a name where another has a value, and the other way round, so that some paths would
/// match both; with the first such name.
fn ambiguous(operations: &Operations) -> Option<((Method, Form), usize)> {
    let mut groups: BTreeMap<(Method, usize), Vec<&Form>> = BTreeMap::new();
    for (method, form) in operations.keys() {
        groups.entry((*method, form.len())).or_default().push(form);
    }
    for ((method, _), forms) in groups {
        for (index, one) in forms.iter().enumerate() {
            for other in forms.iter().skip(index + 1) {
                if let Some((form, at)) = crossed(one, other) {
                    return Some(((method, form.clone()), at));
                }
            }
        }
    }
    None
}

fn crossed<'f>(one: &'f Form, other: &'f Form) -> Option<(&'f Form, usize)> {
    let (mut narrower, mut wider) = (None, None);
    for (at, pair) in one.iter().zip(other).enumerate() {
        match pair {
            (Piece::Name(a), Piece::Name(b)) if a != b => return None,
            (Piece::Name(_), Piece::Name(_)) | (Piece::Varied, Piece::Varied) => {}
            (Piece::Name(_), Piece::Varied) => narrower = narrower.or(Some(at)),
            (Piece::Varied, Piece::Name(_)) => wider = wider.or(Some(at)),
        }
    }
    match (narrower?, wider?) {
        (here, there) if here < there => Some((one, here)),
        (_, there) => Some((other, there)),
    }
}
