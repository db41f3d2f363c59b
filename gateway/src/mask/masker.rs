//! One answer on its way to the caller.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use super::body::Body;
use super::class::DataClass;
use super::coding::{Caps, Coding, Decoder};
use super::config::Plan;
use super::explain::Why;
use super::inspector::Inspector;
use super::media::{FieldRules, Format};
use super::mode::Mode;
use super::needles::{Needles, Scrubber};
use super::withheld::{Reason, Withheld};

/// What the head of an answer says about its body.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseFacts<'a> {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`, if there is one.
    pub content_type: Option<&'a str>,
    /// The value of `Content-Encoding` (several joined by commas), if there is one.
    pub content_encoding: Option<&'a str>,
    /// There is no body: an answer to HEAD, or a length of 0. (204 and 304 are known by status.)
    pub head_only: bool,
}

/// What was found in one answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Findings that were replaced, by class.
    pub hits: BTreeMap<DataClass, u64>,
    /// Findings that were only counted (mode `observe`).
    pub observed: BTreeMap<DataClass, u64>,
    /// Where something was found by value, and how often, by class, at most 32 of them: JSONPaths in JSON, else
    /// names of columns, fields and elements. Their names are plain words of at most 40 bytes.
    pub places: BTreeMap<DataClass, BTreeMap<String, u64>>,
    /// Why, if that was asked for.
    pub whys: Vec<Why>,
    /// Secrets that were overwritten.
    pub scrubbed: u64,
    /// Why the rest was not looked at (mode `observe` only; in mode `on` it is not delivered).
    pub uninspected: Option<Withheld>,
}

/// Masks one answer as it streams: first header values and the body in chunks, at last trailers.
#[derive(Debug)]
pub struct Masker {
    mode: Mode,
    inspector: Inspector,
    scrubber: Scrubber,
    decoder: Decoder,
    body: Body,
    /// Mode `observe` without secrets: what is decoded is only looked at.
    pass_encoded: bool,
    uninspected: Option<Withheld>,
    failed: bool,
}

impl Masker {
    /// Prepares for one answer.
    ///
    /// # Errors
    /// In mode `on`: an answer that cannot be inspected. In every mode: a content coding that cannot
    /// be undone where there is a secret to take out.
    pub fn new(
        plan: Plan,
        needles: Arc<Needles>,
        facts: &ResponseFacts<'_>,
    ) -> Result<Self, Withheld> {
        let mode = plan.mode();
        let empty = facts.head_only || matches!(facts.status, 100..=199 | 204 | 205 | 304);
        let mut uninspected = None;
        let body = match (mode, empty) {
            (Mode::Off, false) => Body::Raw,
            (Mode::Off | Mode::Observe | Mode::On, true) => Body::Empty,
            (Mode::Observe | Mode::On, false) => match open_body(&plan, facts) {
                Ok(body) => body,
                Err(withheld) if mode == Mode::On => return Err(withheld),
                Err(withheld) => {
                    uninspected = Some(withheld);
                    Body::Raw
                }
            },
        };
        let caps = if mode == Mode::On {
            Caps::Kept
        } else {
            Caps::Lifted
        };
        let coding = match Coding::parse(facts.content_encoding) {
            Ok(_) if empty => Coding::Identity,
            Ok(_) if mode == Mode::Off && needles.is_empty() => Coding::Identity,
            Ok(coding) => coding,
            Err(_) if empty => Coding::Identity,
            Err(withheld) if mode == Mode::On || !needles.is_empty() => return Err(withheld),
            Err(withheld) => {
                uninspected = (mode == Mode::Observe).then_some(withheld);
                Coding::Identity
            }
        };
        Ok(Self {
            mode,
            pass_encoded: mode == Mode::Observe && needles.is_empty(),
            inspector: Inspector::new(plan),
            scrubber: Scrubber::new(needles),
            decoder: Decoder::new(coding, caps)?,
            body: if uninspected.is_some() {
                Body::Raw
            } else {
                body
            },
            uninspected,
            failed: false,
        })
    }

    /// The same, keeping why each value was found: for whoever tries masking, never for an answer that is
    /// delivered.
    #[must_use]
    pub fn explained(mut self) -> Self {
        self.inspector.trace();
        self
    }

    /// Whether the body's length may change: `Content-Length` is then not to be forwarded.
    #[must_use]
    pub fn changes_length(&self) -> bool {
        !matches!(self.body, Body::Empty) && (self.mode == Mode::On || self.decoded())
    }

    /// Whether the body comes out without its content coding: `Content-Encoding` is then not to be
    /// forwarded.
    #[must_use]
    pub fn decoded(&self) -> bool {
        !self.decoder.is_identity() && !self.pass_encoded
    }

    /// Looks at one header or trailer value; `None` says that it is clean. Also for trailers, before
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// It could not be looked at: the answer must not be delivered.
    pub fn header_value(&mut self, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Withheld> {
        if self.failed {
            return Err(Reason::Failed.into());
        }
        let looked = guarded(|| self.look_at_value(name, value))
            .and_then(|masked| self.allowed().map(|()| masked));
        self.failed = looked.is_err();
        looked
    }

    fn look_at_value(&mut self, name: &str, value: &[u8]) -> Result<Option<Vec<u8>>, Withheld> {
        self.inspector.forget_name();
        let scrubbed = self.scrubber.whole(value);
        let text = scrubbed.as_deref().unwrap_or(value);
        let searched = self.mode != Mode::Off && !is_length(name);
        if !searched || !self.inspector.search(text) || self.mode != Mode::On {
            return Ok(scrubbed);
        }
        // With a marker in it, it would be another type or none.
        if name.eq_ignore_ascii_case("content-type") {
            return Err(Reason::TellingType.into());
        }
        let mut written = Vec::new();
        self.inspector.write(text, &mut written);
        Ok(Some(written))
    }

    /// Takes the next bytes of the body and appends to `out` what may be released.
    ///
    /// # Errors
    /// The rest must not be delivered: the stream is to be cut, not ended. Bytes that were appended
    /// before or during this call are inspected and may stay released.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Withheld> {
        if self.failed {
            return Err(Reason::Failed.into());
        }
        let result = guarded(|| self.take(chunk, out)).and_then(|()| self.allowed());
        self.failed = result.is_err();
        result
    }

    /// Ends the body and appends its last bytes to `out`.
    ///
    /// # Errors
    /// The body is not complete, or its last part cannot be inspected: not to be ended cleanly.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<Summary, Withheld> {
        if self.failed {
            return Err(Reason::Failed.into());
        }
        guarded(|| self.end(out))?;
        self.allowed()?;
        let counts = self.inspector.counts();
        let (places, whys) = (self.inspector.places(), self.inspector.whys());
        let scrubbed = self.scrubber.count();
        let uninspected = self.uninspected;
        Ok(match self.mode {
            Mode::On | Mode::Off => Summary {
                hits: counts,
                places,
                whys,
                scrubbed,
                uninspected,
                ..Summary::default()
            },
            Mode::Observe => Summary {
                observed: counts,
                places,
                whys,
                scrubbed,
                uninspected,
                ..Summary::default()
            },
        })
    }

    /// Whether what was found so far lets the answer go on.
    fn allowed(&self) -> Result<(), Withheld> {
        if let Some(spent) = self.inspector.spent() {
            return Err(Reason::Spent(spent.clone()).into());
        }
        match self.inspector.blocked() {
            Some(class) => Err(Reason::Blocked(class.clone()).into()),
            None => Ok(()),
        }
    }

    fn take(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Withheld> {
        if chunk.is_empty() {
            return Ok(());
        }
        let Self {
            mode,
            inspector,
            scrubber,
            decoder,
            body,
            pass_encoded,
            uninspected,
            ..
        } = self;
        if matches!(body, Body::Empty) {
            return Err(Reason::Unexpected.into());
        }
        let mut staged = Vec::new();
        match mode {
            Mode::Off => {
                return decoder.push(chunk, &mut |plain| {
                    scrubber.push(plain, out);
                    Ok(())
                });
            }
            Mode::On if scrubber.is_idle() => {
                return decoder.push(chunk, &mut |plain| body.push(plain, inspector, out));
            }
            // Scrubbed first: what stands beside a secret is then searched as what the caller sees.
            Mode::On => {
                return decoder.push(chunk, &mut |plain| {
                    staged.clear();
                    scrubber.push(plain, &mut staged);
                    body.push(&staged, inspector, out)
                });
            }
            Mode::Observe => {}
        }
        let looked = decoder.push(chunk, &mut |plain| {
            if !*pass_encoded {
                scrubber.push(plain, out);
            }
            staged.clear();
            if let Err(withheld) = body.push(plain, inspector, &mut staged) {
                *body = Body::Raw;
                uninspected.get_or_insert(withheld);
            }
            Ok(())
        });
        if *pass_encoded {
            out.extend_from_slice(chunk);
            if let Err(withheld) = looked {
                *body = Body::Raw;
                *decoder = Decoder::new(Coding::Identity, Caps::Lifted)?;
                uninspected.get_or_insert(withheld);
            }
            return Ok(());
        }
        looked
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Withheld> {
        let Self {
            mode,
            inspector,
            scrubber,
            decoder,
            body,
            pass_encoded,
            uninspected,
            ..
        } = self;
        let mut staged = Vec::new();
        if *mode == Mode::On {
            decoder.finish(&mut |plain| {
                scrubber.push(plain, &mut staged);
                Ok(())
            })?;
            scrubber.finish(&mut staged);
            let mut body = std::mem::replace(body, Body::Empty);
            body.push(&staged, inspector, out)?;
            return body.finish(inspector, out);
        }
        let ended = decoder
            .finish(&mut |plain| {
                if !*pass_encoded {
                    scrubber.push(plain, out);
                }
                body.push(plain, inspector, &mut staged)
            })
            .and_then(|()| std::mem::replace(body, Body::Empty).finish(inspector, &mut staged));
        match ended {
            Ok(()) => {}
            Err(withheld) if *mode == Mode::Observe && (*pass_encoded || decoder.is_identity()) => {
                uninspected.get_or_insert(withheld);
            }
            Err(withheld) => return Err(withheld),
        }
        scrubber.finish(out);
        Ok(())
    }
}

/// A detector that fails is no reason to let anything through.
///
/// INVARIANT: whoever calls this gives up the masker after an error, so no half-made state is used.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Withheld>) -> Result<T, Withheld> {
    match std::panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(_) => Err(Reason::Panicked.into()),
    }
}

/// The one header that is never searched: a number that HTTP itself reads, and checks.
fn is_length(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length")
}

fn open_body(plan: &Plan, facts: &ResponseFacts<'_>) -> Result<Body, Withheld> {
    if facts.status == 206 {
        return Err(Reason::Partial.into());
    }
    Body::opening(Format::parse(facts.content_type, FieldRules::of(plan))?, 0)
}

#[cfg(test)]
mod tests;
