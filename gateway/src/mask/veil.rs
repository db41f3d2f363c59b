//! The values that a caller sent as tokens, found again where the caller or an approver would read them: in what
//! people are shown of the call, and in the answer of a function that echoes what it was given.
//!
//! Found are the forms that the credential scrubber looks for, a number written another way, and a value without
//! its blanks and hyphens. Not found: a value that was changed otherwise, or that is split into pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::json::Number;
use zeroize::Zeroizing;

use super::class::DataClass;
use super::marker::marker;
use super::mode::Mode;
use super::needles::{NEEDLE_BYTES_MIN, NeedleError, Needles, forms};
use super::text::is_cut;
use super::view;

/// Shortest value that is taken back, in bytes: a shorter one would be found where it is not, in an amount that an
/// approver has to see as well as in an answer.
pub const VALUE_BYTES_MIN: usize = NEEDLE_BYTES_MIN;

/// A value that a token stood for: whoever is shown the request sees a marker there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veil {
    /// Its class.
    pub class: DataClass,
    text: String,
}

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Veil({})", self.class)
    }
}

impl Veil {
    pub(super) fn new(class: &DataClass, text: &str) -> Self {
        Self {
            class: class.clone(),
            text: text.to_owned(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Ways in which a function or a view may write it, beside the forms that every secret is looked for in.
    fn spellings(&self) -> Vec<String> {
        let bare: String = self
            .text
            .chars()
            .filter(|c| !matches!(c, ' ' | '-'))
            .collect();
        let decimal = Number::new(&self.text).and_then(|number| number.as_decimal_text());
        let whole = |text: String| text.strip_suffix(".0").map(str::to_owned).unwrap_or(text);
        // As a form has it, whose `+` is a blank.
        let form = self.text.replace(' ', "+");
        let mut spellings = vec![self.text.clone(), bare, form];
        spellings.extend(decimal.map(whole));
        spellings.retain(|text| *text == self.text || text.len() >= VALUE_BYTES_MIN);
        spellings
    }
}

/// The values of one call, to be found. Shows nothing of them.
pub struct Cover {
    veils: Vec<Veil>,
    /// All forms; each one's classes, by their numbers.
    finder: Needles,
    of: Vec<BTreeSet<u16>>,
    classes: Vec<DataClass>,
}

impl fmt::Debug for Cover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cover").field(&self.classes).finish()
    }
}

impl Cover {
    /// Prepares the values.
    #[must_use]
    pub fn new(veils: &[Veil]) -> Self {
        let classes: BTreeSet<_> = veils.iter().map(|veil| veil.class.clone()).collect();
        let classes: Vec<_> = classes.into_iter().collect();
        let mut by_form: BTreeMap<Vec<u8>, BTreeSet<u16>> = BTreeMap::new();
        for veil in veils {
            let class = classes.iter().position(|class| *class == veil.class);
            let class = class.and_then(|at| u16::try_from(at).ok()).unwrap_or(0);
            for spelling in veil.spellings() {
                for mut form in forms(spelling.as_bytes()) {
                    let classes = by_form.entry(std::mem::take(&mut *form)).or_default();
                    classes.insert(class);
                }
            }
        }
        let (sorted, of) = by_form
            .into_iter()
            .map(|(form, classes)| (Zeroizing::new(form), classes))
            .unzip();
        Self {
            veils: veils.to_vec(),
            finder: Needles::of_sorted(sorted),
            of,
            classes,
        }
    }

    /// Whether there is nothing to find.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.veils.is_empty()
    }

    /// The classes of the values.
    pub(super) fn classes(&self) -> &[DataClass] {
        &self.classes
    }

    /// Calls `found` with each span of `text` that is one of the values, as it stands or behind escapes, and the
    /// number of its class: once for each class that it came as. Spans may overlap.
    pub(super) fn find(&self, text: &[u8], found: &mut dyn FnMut(usize, usize, usize)) {
        let mut each = |start, end, form: usize| {
            for class in self.of.get(form).into_iter().flatten() {
                found(start, end, usize::from(*class));
            }
        };
        self.finder.find_forms(text, &mut each);
        if let Some(view) = view::unescape(text) {
            self.finder
                .find_forms(view.text(), &mut |start, end, form| {
                    let (start, end) = view.source(start, end);
                    each(start, end, form);
                });
        }
    }

    /// `text` with markers in place of the values; `None` if there are none.
    #[must_use]
    pub fn over(&self, text: &str) -> Option<String> {
        let mut spans = Vec::new();
        self.find(text.as_bytes(), &mut |start, end, class| {
            spans.push((start, end, class));
        });
        if spans.is_empty() {
            return None;
        }
        spans.sort_unstable();
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        for (start, end, class) in spans {
            // What overlaps belongs to the marker that stands there already.
            if start >= copied {
                out.push_str(text.get(copied..start).unwrap_or_default());
                out.push_str(&self.classes.get(class).map(marker).unwrap_or_default());
            }
            copied = copied.max(end);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Some(out)
    }

    /// What is to be overwritten in the answer, beside the credential: where masking is on, the values that text may
    /// be cut in, as no search of a stretch would see them whole; else all of them, as nothing else takes them out.
    /// Values of classes that the caller may see stay.
    ///
    /// # Errors
    /// A value is too short or too long to be looked for: then the call must not be made.
    pub fn needles(
        &self,
        credential: &Arc<Needles>,
        mode: Mode,
        unmask: &BTreeSet<DataClass>,
    ) -> Result<Arc<Needles>, NeedleError> {
        let hidden = self.veils.iter().filter(|veil| {
            let cut = mode != Mode::On || veil.text.as_bytes().iter().any(is_cut);
            cut && !unmask.contains(&veil.class)
        });
        let spellings: Vec<_> = hidden.flat_map(Veil::spellings).collect();
        if spellings.is_empty() {
            return Ok(Arc::clone(credential));
        }
        credential.and(&spellings).map(Arc::new)
    }
}

#[cfg(test)]
mod tests;
