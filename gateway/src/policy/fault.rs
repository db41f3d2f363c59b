//! What is wrong with a policy file, and where.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

/// Functions named as examples in a fault that many functions share.
const EXAMPLES_MAX: usize = 2;

/// Where something stands in a policy file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize)]
pub struct Place {
    /// The file's name as it was given.
    pub file: String,
    /// From 1; 0 when the fault is not in a file.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of a byte offset in a file's text; the end when the offset lies behind it.
    pub(super) fn at(file: &str, text: &str, offset: usize) -> Self {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = text.get(..end).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// One thing that is wrong with the policies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, in one sentence.
    pub text: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)?;
        match &self.help {
            Some(help) => write!(f, " (help: {help})"),
            None => Ok(()),
        }
    }
}

/// The same mistake, found once for each function that a policy covers.
#[derive(Debug)]
struct Folded {
    first: Fault,
    count: usize,
    functions: BTreeSet<String>,
}

/// Collects faults; folds those that one mistake gives for many functions.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: Vec<Folded>,
    by_key: HashMap<(Place, String), usize>,
}

impl Faults {
    /// Add a fault. Two faults at one place are one mistake when they differ only in the function
    /// that they name.
    pub(super) fn add(&mut self, place: Place, text: impl Into<String>, help: Option<String>) {
        let text = text.into();
        let (stem, function) = without_function(&text);
        let key = (place.clone(), stem);
        let index = *self.by_key.entry(key).or_insert(self.found.len());
        if index == self.found.len() {
            self.found.push(Folded {
                first: Fault {
                    place,
                    text: text.clone(),
                    help,
                },
                count: 0,
                functions: BTreeSet::new(),
            });
        }
        if let Some(folded) = self.found.get_mut(index) {
            // Cedar finds them in no order: the smallest text is shown.
            if text < folded.first.text {
                folded.first.text.clone_from(&text);
            }
            folded.count += 1;
            folded.functions.extend(function);
        }
    }

    /// Add a fault with a help text.
    pub(super) fn helped(&mut self, place: &Place, text: impl Into<String>, help: &str) {
        self.add(place.clone(), text, Some(help.to_owned()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All faults by place.
    pub(super) fn into_vec(self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.found.into_iter().map(Folded::into_fault).collect();
        faults.sort();
        faults
    }
}

impl Folded {
    fn into_fault(self) -> Fault {
        let mut fault = self.first;
        if self.count > 1 && !self.functions.is_empty() {
            let mut examples: Vec<String> = self.functions.into_iter().collect();
            examples.truncate(EXAMPLES_MAX);
            fault.text = format!(
                "{}; the same for {} functions, such as `{}`",
                fault.text,
                self.count,
                examples.join("` and `")
            );
        }
        fault
    }
}

/// The text without the function that it names, and that function.
fn without_function(text: &str) -> (String, Option<String>) {
    const MARK: &str = "Action::\"";
    let found = text.find(MARK).and_then(|start| {
        let name = text.get(start + MARK.len()..)?;
        let length = name.find('"')?;
        Some((start, name.get(..length)?))
    });
    match found {
        Some((start, name)) => {
            let end = start + MARK.len() + name.len() + 1;
            let before = text.get(..start).unwrap_or_default();
            let after = text.get(end..).unwrap_or_default();
            (format!("{before}\u{0}{after}"), Some(name.to_owned()))
        }
        None => (text.to_owned(), None),
    }
}
