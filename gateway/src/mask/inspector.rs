//! Finds and replaces in one text, and keeps count.

use std::collections::BTreeMap;

use super::class::DataClass;
use super::config::{ClassId, Plan};
use super::detect::Hit;
use super::detect::context::Announced;
use super::marker::marker;
use super::view::View;

/// Text that stands for a fault in a detector.
#[cfg(test)]
pub(super) const BROKEN: &[u8] = b"this text breaks a detector";

/// One call's detectors and counters.
#[derive(Debug)]
pub(super) struct Inspector {
    plan: Plan,
    hits: Vec<Hit>,
    counts: Vec<u64>,
}

impl Inspector {
    pub(super) fn new(plan: Plan) -> Self {
        let counts = vec![0; plan.settings.classes().len()];
        Self {
            plan,
            hits: Vec::new(),
            counts,
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Searches `text`; whether anything is to be replaced.
    pub(super) fn search(&mut self, text: &[u8]) -> bool {
        #[cfg(test)]
        assert_ne!(text, BROKEN, "a detector that fails");
        let Self { plan, hits, .. } = self;
        plan.settings
            .detectors
            .inspect(text, |class| plan.covers(class), hits);
        self.count()
    }

    /// Searches the integer part of a number.
    pub(super) fn search_number(&mut self, digits: &[u8]) -> Option<ClassId> {
        let Self { plan, hits, .. } = self;
        plan.settings.detectors.inspect_number(digits, hits);
        hits.retain(|hit| plan.covers(hit.class));
        hits.truncate(1);
        self.count();
        self.hits.first().map(|hit| hit.class)
    }

    fn count(&mut self) -> bool {
        for hit in &self.hits {
            bump(&mut self.counts, hit.class);
        }
        !self.hits.is_empty()
    }

    /// Appends `text` with what the last search found replaced.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        self.write_spans(text, self.hits.iter().copied(), out);
    }

    /// Appends the source of `view` with what the last search found in its text replaced.
    pub(super) fn write_view(&self, source: &[u8], view: &View, out: &mut Vec<u8>) {
        self.write_spans(source, self.hits.iter().map(|hit| hit.in_source(view)), out);
    }

    fn write_spans(&self, text: &[u8], hits: impl Iterator<Item = Hit>, out: &mut Vec<u8>) {
        let mut copied = 0;
        for hit in hits {
            out.extend_from_slice(text.get(copied..hit.start).unwrap_or_default());
            out.extend_from_slice(self.marker(hit.class).as_bytes());
            copied = hit.end;
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
    }

    /// What a name says of its value.
    pub(super) fn announces(&self, name: &[u8]) -> Option<Announced> {
        let context = self.plan.settings.detectors.context.as_ref()?;
        context.announced(name)
    }

    /// The class of a value whose name announced it, if it looks like that and is masked.
    pub(super) fn announced(&self, announced: Announced, value: &[u8]) -> Option<ClassId> {
        let context = self.plan.settings.detectors.context.as_ref()?;
        let class = context.value(announced, value);
        class.filter(|class| self.plan.covers(*class))
    }

    /// Whether there are field rules.
    pub(super) fn has_fields(&self) -> bool {
        !self.plan.settings.fields.is_empty()
    }

    /// The counters, to go back to if what was searched is to be searched again.
    pub(super) fn snapshot(&self) -> Vec<u64> {
        self.counts.clone()
    }

    /// Goes back to a snapshot.
    pub(super) fn restore(&mut self, counts: Vec<u64>) {
        self.counts = counts;
    }

    /// A field rule replaces a value.
    pub(super) fn count_field(&mut self, class: ClassId) {
        bump(&mut self.counts, class);
    }

    /// What stands in place of a class.
    pub(super) fn marker(&self, class: ClassId) -> String {
        self.plan
            .settings
            .class(class)
            .map_or_else(|| "[masked]".to_owned(), marker)
    }

    /// How often each class was found; classes that were not are left out.
    pub(super) fn counts(&self) -> BTreeMap<DataClass, u64> {
        self.plan
            .settings
            .classes()
            .iter()
            .zip(self.counts.iter().copied())
            .filter(|(_, count)| *count > 0)
            .map(|(class, count)| (class.clone(), count))
            .collect()
    }
}

fn bump(counts: &mut [u64], class: ClassId) {
    if let Some(count) = counts.get_mut(usize::from(class)) {
        *count = count.saturating_add(1);
    }
}
