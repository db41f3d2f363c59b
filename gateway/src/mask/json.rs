//! JSON answers: field rules by place, detectors by value, all other bytes as they came.

use std::borrow::Cow;
use std::cell::Cell;

use wire::json::Number;
use wire::json::stream::{Documents, Kind, Scanner, StreamLimits, Token, Verdict, Visitor};

use super::automaton::Walker;
use super::config::ClassId;
use super::detect::context::Announced;
use super::inspector::Inspector;
use super::instead::{Field, Found, Instead};
use super::view;
use super::withheld::Withheld;

/// Longest string or number of an answer, in bytes; it is held in memory while it arrives.
pub(super) const TOKEN_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of an answer.
const DEPTH_MAX: usize = 512;

/// The state of one JSON body.
#[derive(Debug)]
pub(super) struct JsonCodec {
    scanner: Scanner,
    walker: Walker,
    announced: Option<Announced>,
}

impl JsonCodec {
    /// `drops`: whether some rule leaves out what it names.
    pub(super) fn new(documents: Documents, drops: bool) -> Self {
        let limits = StreamLimits {
            depth_max: DEPTH_MAX,
            token_bytes_max: TOKEN_BYTES_MAX,
            documents,
            drops,
        };
        Self {
            scanner: Scanner::new(limits),
            walker: Walker::default(),
            announced: None,
        }
    }

    pub(super) fn push(
        &mut self,
        chunk: &[u8],
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let mut masking = Masking {
            inspector,
            walker: &mut self.walker,
            announced: &mut self.announced,
            shown: None,
        };
        Ok(self.scanner.push(chunk, &mut masking, out)?)
    }

    pub(super) fn finish(
        mut self,
        inspector: &mut Inspector,
        out: &mut Vec<u8>,
    ) -> Result<(), Withheld> {
        let mut masking = Masking {
            inspector,
            walker: &mut self.walker,
            announced: &mut self.announced,
            shown: None,
        };
        let ended = self.scanner.finish(&mut masking, out);
        inspector.leave();
        Ok(ended?)
    }
}

struct Masking<'a> {
    inspector: &'a mut Inspector,
    walker: &'a mut Walker,
    /// What the last name says of its value, which alone does not show what it is.
    announced: &'a mut Option<Announced>,
    /// The class of a value that a rule names and that this caller sees, if it counts.
    shown: Option<ClassId>,
}

impl Visitor for Masking<'_> {
    fn token(&mut self, token: &Token<'_>) -> Verdict {
        match token.kind {
            Kind::Key => {
                self.name(token);
                match self.dropped_member() {
                    Some(field) => {
                        self.inspector.drop_field(field);
                        Verdict::Drop
                    }
                    None => self.key(token),
                }
            }
            Kind::ObjectStart | Kind::ArrayStart => match self.rule() {
                Some(field) => self.put(field, Found::Beyond),
                None => {
                    self.open(token.kind == Kind::ArrayStart);
                    Verdict::Keep
                }
            },
            Kind::ObjectEnd | Kind::ArrayEnd => {
                self.close();
                Verdict::Keep
            }
            Kind::String => {
                let announced = self.announced.take();
                if let Some(field) = self.rule() {
                    return self.put_text(field, token);
                }
                self.spend(token);
                match self.told(announced, token) {
                    Some(class) => self.put_text(self.inspector.by_value(class), token),
                    None => self.string(token),
                }
            }
            Kind::Number => {
                let announced = self.announced.take();
                let rule = self.rule();
                self.spend(token);
                let told = || self.inspector.announced(announced?, token.raw);
                let told = told().map(|class| self.inspector.by_value(class));
                match rule.or(told) {
                    Some(field) => self.put(field, Found::Scalar(token.raw)),
                    None => self.number(token.raw),
                }
            }
            // No value, so nothing to hide; saying that there is one would be a lie.
            Kind::Literal if token.raw == b"null" => match self.rule() {
                Some(field) if field.instead == Instead::Drop => self.put(field, Found::Beyond),
                Some(_) | None => Verdict::Keep,
            },
            Kind::Literal => match self.rule() {
                Some(field) => self.put(field, Found::Scalar(token.raw)),
                None => {
                    self.spend(token);
                    Verdict::Keep
                }
            },
        }
    }
}

impl Masking<'_> {
    fn name(&mut self, token: &Token<'_>) {
        *self.announced = self.inspector.announces(token.inner());
        let rules = &self.inspector.plan().settings.fields;
        if !rules.is_empty() {
            self.walker.key(rules, token.inner(), token.escaped);
        }
    }

    /// The class of a string whose name tells what it is.
    fn told(&self, announced: Option<Announced>, token: &Token<'_>) -> Option<ClassId> {
        let announced = announced?;
        if token.escaped {
            let view = view::unescape_json(token.inner());
            return self.inspector.announced(announced, view.text());
        }
        self.inspector.announced(announced, token.inner())
    }

    fn rule(&mut self) -> Option<Field> {
        let plan = self.inspector.plan();
        let rules = &plan.settings.fields;
        if rules.is_empty() {
            return None;
        }
        let shown = Cell::new(None);
        let rule = self.walker.value(rules, |field| {
            let covers = plan.covers(field.class);
            if !covers && plan.shows_counted(field.class) {
                shown.set(Some(field.class));
            }
            covers
        });
        self.shown = shown.get();
        rule
    }

    /// Counts a value that a rule names and that this caller sees.
    fn spend(&mut self, token: &Token<'_>) {
        if let Some(class) = self.shown.take() {
            if token.escaped {
                let view = view::unescape_json(token.inner());
                self.inspector.spend(class, view.text());
            } else {
                self.inspector.spend(class, token.inner());
            }
        }
    }

    /// The rule that leaves out the member whose name was just read. Its value will not be shown.
    fn dropped_member(&mut self) -> Option<Field> {
        let plan = self.inspector.plan();
        let rules = &plan.settings.fields;
        if rules.is_empty() {
            return None;
        }
        let field = self
            .walker
            .member(rules, |field| plan.covers(field.class))
            .filter(|field| field.instead == Instead::Drop)?;
        self.walker.value(rules, |_| false);
        *self.announced = None;
        Some(field)
    }

    fn open(&mut self, list: bool) {
        self.inspector.open(list);
        if !self.inspector.plan().settings.fields.is_empty() {
            self.walker.open();
        }
    }

    fn close(&mut self) {
        self.inspector.close();
        let rules = &self.inspector.plan().settings.fields;
        if !rules.is_empty() {
            self.walker.close(rules);
        }
    }

    /// Puts something in place of a value. A whole document cannot be left out: a marker stands for it.
    fn put(&mut self, field: Field, value: Found<'_>) -> Verdict {
        if field.instead == Instead::Drop && self.walker.depth() > 0 {
            self.inspector.drop_field(field);
            return Verdict::Drop;
        }
        let instead = self.inspector.field(field, value);
        Verdict::Replace(format!("\"{instead}\"").into_bytes())
    }

    fn put_text(&mut self, field: Field, token: &Token<'_>) -> Verdict {
        let source = token.inner();
        if !token.escaped {
            return self.put(
                field,
                Found::Text {
                    source,
                    text: source,
                },
            );
        }
        let view = view::unescape_json(source);
        let text = view.text();
        self.put(field, Found::Text { source, text })
    }

    /// A name that is data itself is kept nowhere.
    fn key(&mut self, token: &Token<'_>) -> Verdict {
        let verdict = self.string(token);
        if verdict != Verdict::Keep {
            self.inspector.forget_name();
        }
        verdict
    }

    fn string(&mut self, token: &Token<'_>) -> Verdict {
        let inner = token.inner();
        let mut replaced = vec![];
        if token.escaped {
            let view = view::unescape_json(inner);
            if !self.inspector.search(view.text()) {
                return Verdict::Keep;
            }
            replaced.push(b'"');
            self.inspector.write_view(inner, &view, &mut replaced);
        } else {
            if !self.inspector.search(inner) {
                return Verdict::Keep;
            }
            replaced.push(b'"');
            self.inspector.write(inner, &mut replaced);
        }
        replaced.push(b'"');
        Verdict::Replace(replaced)
    }

    /// A number that is a finding becomes a string: no number can say that it is not one.
    fn number(&mut self, raw: &[u8]) -> Verdict {
        if self.inspector.is_veiled()
            && let Some(class) = self.inspector.search_veiled_number(raw)
        {
            let instead = self.inspector.found(class, Found::Scalar(raw));
            return Verdict::Replace(format!("\"{instead}\"").into_bytes());
        }
        let Some(digits) = integer_digits(raw) else {
            return Verdict::Keep;
        };
        match self.inspector.search_number(&digits) {
            Some(class) => {
                let instead = self.inspector.found(class, number(raw, &digits));
                Verdict::Replace(format!("\"{instead}\"").into_bytes())
            }
            None => Verdict::Keep,
        }
    }
}

/// A number that is a finding: carried as it stands, read by its digits.
fn number<'a>(raw: &'a [u8], digits: &'a [u8]) -> Found<'a> {
    if raw == digits {
        Found::Scalar(raw)
    } else {
        Found::Text {
            source: digits,
            text: digits,
        }
    }
}

/// The digits of a number that has no fraction, however it is written; `None` for others and for those
/// that are too short to be anything.
fn integer_digits(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if raw.len() < super::detect::NUMBER_BYTES_MIN {
        return None;
    }
    let unsigned = raw.strip_prefix(b"-").unwrap_or(raw);
    let whole = unsigned
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match unsigned.get(whole..)? {
        [] => Some(Cow::Borrowed(unsigned)),
        // The usual fraction: one that is not zero and has no exponent.
        [b'.', fraction @ ..]
            if fraction.iter().any(|byte| *byte != b'0')
                && fraction.iter().all(u8::is_ascii_digit) =>
        {
            None
        }
        _ => {
            let number = Number::new(std::str::from_utf8(unsigned).ok()?)?;
            let text = number.as_decimal_text()?;
            Some(Cow::Owned(text.strip_suffix(".0")?.as_bytes().to_vec()))
        }
    }
}
