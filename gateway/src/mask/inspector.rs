//! Finds and replaces in one text, and keeps count.

use std::collections::BTreeMap;

use super::class::DataClass;
use super::config::Mode;
use super::config::{ClassId, Plan};
use super::detect::context::Announced;
use super::detect::{self, Hit};
use super::instead::{Field, Found, Instead};
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
    /// A finding because of which the answer is withheld.
    blocked: Option<ClassId>,
}

impl Inspector {
    pub(super) fn new(plan: Plan) -> Self {
        let counts = vec![0; plan.settings.classes().len()];
        Self {
            plan,
            hits: Vec::new(),
            counts,
            blocked: None,
        }
    }

    /// The class because of which the answer is to be withheld, if there is one.
    pub(super) fn blocked(&self) -> Option<&DataClass> {
        self.plan.settings.class(self.blocked?)
    }

    fn note(&mut self, Field { class, instead }: Field) {
        bump(&mut self.counts, class);
        if instead == Instead::Block && self.plan.mode() == Mode::On {
            self.blocked.get_or_insert(class);
        }
    }

    /// What is done with a class that was found by value.
    pub(super) fn by_value(&self, class: ClassId) -> Field {
        let instead = self.plan.settings.instead(class);
        Field { class, instead }
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

    /// Searches what stands behind the first `from` bytes of `text`, alone and with these in front, as in
    /// `name=value`; spans count from there.
    pub(super) fn search_behind(&mut self, text: &[u8], from: usize) -> bool {
        let Self { plan, hits, .. } = self;
        let detectors = &plan.settings.detectors;
        let mut named = Vec::new();
        detectors.inspect(text, |class| plan.covers(class), &mut named);
        let value = text.get(from..).unwrap_or_default();
        detectors.inspect(value, |class| plan.covers(class), hits);
        let behind = named.iter().filter(|hit| hit.end > from);
        hits.extend(behind.map(|hit| Hit {
            start: hit.start.saturating_sub(from),
            end: hit.end - from,
            class: hit.class,
        }));
        detect::merge(hits);
        self.count()
    }

    fn count(&mut self) -> bool {
        for at in 0..self.hits.len() {
            self.note(self.by_value(self.hits[at].class));
        }
        !self.hits.is_empty()
    }

    /// Appends `text` with what the last search found replaced.
    pub(super) fn write(&self, text: &[u8], out: &mut Vec<u8>) {
        let hits = self.hits.iter();
        let found = |hit: &Hit| text.get(hit.start..hit.end).unwrap_or_default();
        self.write_spans(text, hits.map(|hit| (*hit, found(hit))), out);
    }

    /// Appends the source of `view` with what the last search found in its text replaced.
    pub(super) fn write_view(&self, source: &[u8], view: &View, out: &mut Vec<u8>) {
        let hits = self.hits.iter();
        let found = |hit: &Hit| view.text().get(hit.start..hit.end).unwrap_or_default();
        let hits = hits.map(|hit| (hit.in_source(view), found(hit)));
        self.write_spans(source, hits, out);
    }

    fn write_spans<'a>(
        &self,
        source: &[u8],
        hits: impl Iterator<Item = (Hit, &'a [u8])>,
        out: &mut Vec<u8>,
    ) {
        let mut copied = 0;
        for (hit, text) in hits {
            out.extend_from_slice(source.get(copied..hit.start).unwrap_or_default());
            let source = source.get(hit.start..hit.end).unwrap_or_default();
            let instead = self.instead(self.by_value(hit.class), Found::Text { source, text });
            out.extend_from_slice(instead.as_bytes());
            copied = hit.end;
        }
        out.extend_from_slice(source.get(copied..).unwrap_or_default());
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

    /// Appends what stands in place of a value whose name announced it, if it looks like that.
    pub(super) fn replace_announced(
        &mut self,
        announced: Option<Announced>,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let class = announced.and_then(|announced| self.announced(announced, value));
        if let Some(class) = class {
            let field = self.by_value(class);
            let found = Found::Text {
                source: value,
                text: value,
            };
            out.extend_from_slice(self.field(field, found).as_bytes());
        }
        class.is_some()
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

    /// A value is replaced, by its place or because its name announced it: counts it; what stands there.
    pub(super) fn field(&mut self, field: Field, value: Found<'_>) -> String {
        self.note(field);
        self.instead(field, value)
    }

    /// A value is left out.
    pub(super) fn drop_field(&mut self, field: Field) {
        self.note(field);
    }

    /// What stands in place of a finding by value that was counted.
    pub(super) fn found(&self, class: ClassId, value: Found<'_>) -> String {
        self.instead(self.by_value(class), value)
    }

    fn instead(&self, Field { class, instead }: Field, value: Found<'_>) -> String {
        match self.plan.settings.class(class) {
            Some(name) => instead.text(name, value, self.plan.keys().as_ref()),
            None => "[masked]".to_owned(),
        }
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
