//! Finds and replaces in one text, and keeps count.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use wire::json::Number;

use super::budget::Spent;
use super::class::DataClass;
use super::config::{ClassId, Plan};
use super::detect::context::Announced;
use super::detect::{self, Hit};
use super::explain::{self, How, Why};
use super::instead::{BY_VALUE, Field, Found, Instead};
use super::mode::Mode;
use super::names::Whereabouts;
use super::view::View;

/// Text that stands for a fault in a detector.
#[cfg(test)]
pub(super) const BROKEN: &[u8] = b"this text breaks a detector";

/// Most places that are kept of one answer.
const PLACES_MAX: usize = 32;

/// One call's detectors and counters.
#[derive(Debug)]
pub(super) struct Inspector {
    plan: Plan,
    hits: Vec<Hit>,
    counts: Vec<u64>,
    /// A finding because of which the answer is withheld.
    blocked: Option<ClassId>,
    whereabouts: Whereabouts,
    /// Names of what was found by value, and how often.
    places: BTreeMap<(ClassId, String), u64>,
    /// Why, if somebody asks.
    whys: Option<Vec<Why>>,
    /// The caller's budget is used up.
    spent: OnceLock<Spent>,
}

impl Inspector {
    pub(super) fn new(plan: Plan) -> Self {
        let counts = vec![0; plan.numbers()];
        Self {
            plan,
            hits: Vec::new(),
            counts,
            blocked: None,
            whereabouts: Whereabouts::new(),
            places: BTreeMap::new(),
            whys: None,
            spent: OnceLock::new(),
        }
    }

    /// Why the caller may not be given the answer, if a budget is used up.
    pub(super) fn spent(&self) -> Option<&Spent> {
        self.spent.get()
    }

    /// Counts a value, whether it is masked or shown.
    pub(super) fn spend(&self, class: ClassId, value: &[u8]) {
        if let Err(spent) = self.plan.spend(class, value) {
            self.spent.get_or_init(|| spent);
        }
    }

    /// Counts what stands in `text` and is shown to this caller.
    fn spend_shown(&self, text: &[u8]) {
        if !self.plan.counts_shown() {
            return;
        }
        let mut shown = Vec::new();
        let detectors = &self.plan.settings.detectors;
        detectors.inspect(text, |class| self.plan.shows_counted(class), &mut shown);
        for hit in &shown {
            self.spend(hit.class, text.get(hit.start..hit.end).unwrap_or_default());
        }
    }

    /// The class because of which the answer is to be withheld, if there is one.
    pub(super) fn blocked(&self) -> Option<&DataClass> {
        self.plan.class(self.blocked?)
    }

    fn note(&mut self, field: Field) {
        let Field { class, instead, .. } = field;
        bump(&mut self.counts, class);
        if field.rule == BY_VALUE
            && let Some(name) = self.whereabouts.place()
        {
            let key = (class, name);
            let room = self.places.len() < PLACES_MAX;
            match self.places.get_mut(&key) {
                Some(count) => *count = count.saturating_add(1),
                None if room => drop(self.places.insert(key, 1)),
                None => {}
            }
        }
        if instead == Instead::Block && self.plan.mode() == Mode::On {
            self.blocked.get_or_insert(class);
        }
    }

    /// What is done with a class that was found by value.
    pub(super) fn by_value(&self, class: ClassId) -> Field {
        let instead = self.plan.instead(class);
        Field {
            class,
            instead,
            rule: BY_VALUE,
        }
    }

    /// Keeps why each value was found.
    pub(super) fn trace(&mut self) {
        self.whys = Some(Vec::new());
    }

    /// What was kept of that.
    pub(super) fn whys(&mut self) -> Vec<Why> {
        self.whys.take().unwrap_or_default()
    }

    /// The names of what was found by value, and how often, by class.
    pub(super) fn places(&self) -> BTreeMap<DataClass, BTreeMap<String, u64>> {
        let mut places: BTreeMap<DataClass, BTreeMap<String, u64>> = BTreeMap::new();
        for ((class, name), count) in &self.places {
            if let Some(class) = self.plan.class(*class) {
                let names = places.entry(class.clone()).or_default();
                names.insert(name.clone(), *count);
            }
        }
        places
    }

    /// An object or list of JSON begins, and its content will be shown.
    pub(super) fn open(&mut self, list: bool) {
        self.whereabouts.open(list);
    }

    /// The innermost one ends.
    pub(super) fn close(&mut self) {
        self.whereabouts.close();
    }

    /// A document of JSON ends.
    pub(super) fn leave(&mut self) {
        self.whereabouts.leave();
    }

    /// What is read from now on has no name.
    pub(super) fn forget_name(&mut self) {
        self.whereabouts.forget();
    }

    /// Keeps why the last search of `text` found what it did.
    #[inline]
    fn explain(&mut self, text: &[u8]) {
        if self.whys.is_some() && !self.hits.is_empty() {
            self.keep_why(text);
        }
    }

    #[cold]
    fn keep_why(&mut self, text: &[u8]) {
        let Some(whys) = &mut self.whys else { return };
        let settings = &self.plan.settings;
        for hit in &self.hits {
            let span = text.get(hit.start..hit.end).unwrap_or_default();
            let how = How::Value {
                encoded: settings.detectors.encoding(span),
                before: explain::before(text, hit.start),
            };
            whys.extend(settings.class(hit.class).map(|class| Why {
                class: class.clone(),
                value: explain::value(span),
                how,
            }));
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
        plan.find_veiled(text, hits);
        self.explain(text);
        self.spend_shown(text);
        self.count(text)
    }

    /// Searches the integer part of a number.
    pub(super) fn search_number(&mut self, digits: &[u8]) -> Option<ClassId> {
        let Self { plan, hits, .. } = self;
        plan.settings.detectors.inspect_number(digits, hits);
        let shown = hits
            .iter()
            .find(|hit| plan.shows_counted(hit.class))
            .copied();
        hits.retain(|hit| plan.covers(hit.class));
        hits.truncate(1);
        self.explain(digits);
        if let Some(hit) = shown {
            self.spend(
                hit.class,
                digits.get(hit.start..hit.end).unwrap_or_default(),
            );
        }
        self.count(digits);
        self.hits.first().map(|hit| hit.class)
    }

    /// The class of a number that came as a token, however it is written here.
    pub(super) fn search_veiled_number(&mut self, raw: &[u8]) -> Option<ClassId> {
        let Self { plan, hits, .. } = self;
        hits.clear();
        plan.find_veiled(raw, hits);
        if hits.is_empty()
            && let Some(number) = std::str::from_utf8(raw).ok().and_then(Number::new)
            && let Some(text) = number.as_decimal_text()
        {
            plan.find_veiled(text.as_bytes(), hits);
        }
        hits.truncate(1);
        self.count(raw);
        self.hits.first().map(|hit| hit.class)
    }

    /// Whether values that came as tokens are looked for.
    pub(super) fn is_veiled(&self) -> bool {
        self.plan.numbers() > self.plan.settings.classes().len()
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
        plan.find_veiled(value, hits);
        self.explain(value);
        self.spend_shown(value);
        self.count(value)
    }

    fn count(&mut self, text: &[u8]) -> bool {
        for at in 0..self.hits.len() {
            let Hit { start, end, class } = self.hits[at];
            self.note(self.by_value(class));
            self.spend(class, text.get(start..end).unwrap_or_default());
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
    pub(super) fn announces(&mut self, name: &[u8]) -> Option<Announced> {
        self.whereabouts.named(name);
        let context = self.plan.settings.detectors.context.as_ref()?;
        context.announced(name)
    }

    /// The class of a value whose name announced it, if it looks like that and is masked.
    pub(super) fn announced(&self, announced: Announced, value: &[u8]) -> Option<ClassId> {
        let context = self.plan.settings.detectors.context.as_ref()?;
        let class = context.value(announced, value)?;
        if self.plan.shows_counted(class) {
            self.spend(class, value);
        }
        self.plan.covers(class).then_some(class)
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
        if let Found::Text { text, .. } | Found::Scalar(text) = value {
            self.spend(field.class, text);
        }
        self.explain_field(field, value);
        self.instead(field, value)
    }

    /// A value is left out.
    pub(super) fn drop_field(&mut self, field: Field) {
        self.note(field);
        self.explain_field(field, Found::Beyond);
    }

    fn explain_field(&mut self, field: Field, value: Found<'_>) {
        let Some(whys) = &mut self.whys else { return };
        let settings = &self.plan.settings;
        let value = match value {
            Found::Text { text, .. } | Found::Scalar(text) => explain::value(text),
            Found::Beyond => "…".to_owned(),
        };
        let how = match settings.path(field.rule) {
            Some(path) => How::Rule(path.to_owned()),
            None => How::Name(String::from_utf8_lossy(self.whereabouts.name()).into_owned()),
        };
        whys.extend(settings.class(field.class).map(|class| Why {
            class: class.clone(),
            value,
            how,
        }));
    }

    /// What stands in place of a finding by value that was counted.
    pub(super) fn found(&self, class: ClassId, value: Found<'_>) -> String {
        self.instead(self.by_value(class), value)
    }

    fn instead(&self, field: Field, value: Found<'_>) -> String {
        let Field { class, instead, .. } = field;
        match self.plan.class(class) {
            Some(name) => instead.text(name, value, self.plan.keys().as_ref()),
            None => "[masked]".to_owned(),
        }
    }

    /// How often each class was found; classes that were not are left out.
    pub(super) fn counts(&self) -> BTreeMap<DataClass, u64> {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .filter_map(|(at, count)| {
                let class = self.plan.class(ClassId::try_from(at).ok()?)?;
                Some((class.clone(), *count))
            })
            .collect()
    }
}

fn bump(counts: &mut [u64], class: ClassId) {
    if let Some(count) = counts.get_mut(usize::from(class)) {
        *count = count.saturating_add(1);
    }
}
