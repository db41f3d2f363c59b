//! What the operator writes, and what is compiled from it once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::automaton::Automaton;
use super::budget::{Budget, BudgetConfig, Ledger, Purse, Spent};
use super::catalogue;
use super::class::DataClass;
use super::detect::{self, Detectors, Hit};
use super::instead::{self, BY_VALUE, Field, Instead, Keys};
use super::mode::{Mode, ModeConfig, OBSERVE_DAYS_MAX};
use super::own::{self, OwnConfig};
use super::path::Path;
use super::requests::{RequestGuard, RequestsConfig};
use super::vault::{Owner, Scope, Vault};
use super::veil::Cover;
use crate::clock::{SharedClock, SystemClock};

/// How answers of a connection are masked.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MaskConfig")]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `on` (default), `off`, or `observe until 2026-12-31`: until the end of that day (UTC, at most 90 days
    /// from now) findings are counted and nothing is changed; then `on`.
    pub mode: ModeConfig,
    /// Places in JSON answers that always hold a class of data: JSONPath (RFC 9535: member names,
    /// `[0]`, slices, `*`, `..`; no filters) to data class, as in `"$.customer.email": email`.
    /// The value there is replaced whatever it is; member names match in any case. A rule can say by
    /// itself what stands there: `"$.ssn": { class: us-ssn, instead: drop }`.
    pub fields: BTreeMap<String, FieldConfig>,
    /// Classes or groups to find by value beside the default ones, as in `[contact]`.
    pub detect: Vec<String>,
    /// Detectors of your own, by the class that they find: a regex, words, or a place, each with texts
    /// that it must find and must leave alone.
    pub detectors: BTreeMap<String, OwnConfig>,
    /// What stands in place of a class or a group, as in `payment-card: partial`: `redact` (default),
    /// `partial`, `fixed`, `pseudonym`, `token` or `block`. A class's own entry goes before its group's.
    pub instead: BTreeMap<String, Instead>,
    /// For whom pseudonyms and tokens are made: `principal` (default) or `connection`.
    pub scope: Scope,
    /// What callers must not send to this function.
    pub requests: RequestsConfig,
    /// How many different values one caller may draw out of the connection: `{ values: 500, hours: 24 }`.
    pub budget: Option<BudgetConfig>,
}

/// What a rule says of its place.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MaskFieldConfig")]
#[serde(untagged)]
pub enum FieldConfig {
    /// The class of what stands there.
    Class(String),
    /// The class, and what is put in its place.
    Rule(FieldRule),
}

/// A rule that says what is put in place of its value.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MaskFieldRule")]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// The class of what stands there.
    pub class: String,
    /// What is put in its place. Default: what `instead` says for the class.
    #[serde(default)]
    pub instead: Option<Instead>,
}

impl FieldConfig {
    fn class(&self) -> &String {
        match self {
            Self::Class(class) => class,
            Self::Rule(rule) => &rule.class,
        }
    }

    const fn instead(&self) -> Option<Instead> {
        match self {
            Self::Class(_) => None,
            Self::Rule(rule) => rule.instead,
        }
    }
}

impl From<&str> for FieldConfig {
    fn from(class: &str) -> Self {
        Self::Class(class.to_owned())
    }
}

/// One thing wrong with a [`Config`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{place}`: {message}")]
pub struct Fault {
    /// Where in the mask settings, as in `fields."$.a"`.
    pub place: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// The number of a class within one [`Settings`].
pub(super) type ClassId = u16;

/// Compiled mask settings: immutable, shared by all calls of a function.
#[derive(Debug)]
pub struct Settings {
    mode: ModeConfig,
    /// Tells when observing is over.
    clock: SharedClock,
    classes: Vec<DataClass>,
    /// What stands in place of each of them.
    instead: Vec<Instead>,
    requests: Option<RequestGuard>,
    budget: Option<Budget>,
    /// Where values are counted, and for which connection.
    ledger: Option<(Arc<Ledger>, Box<str>)>,
    scope: Scope,
    /// The keys, and the connection that they are used for.
    vault: Option<(Arc<Vault>, Arc<str>)>,
    /// The rules' paths, by number.
    paths: Vec<String>,
    pub(super) fields: Automaton,
    pub(super) detectors: Detectors,
}

impl Settings {
    /// Compiles a configuration.
    ///
    /// # Errors
    /// Every fault at once: class names, unknown detectors, paths outside the supported subset.
    pub fn compile(config: &Config) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut classes = BTreeSet::new();
        let wanted = wanted(&config.detect, &mut faults);
        classes.extend(
            wanted
                .iter()
                .filter_map(|name| name.parse::<DataClass>().ok()),
        );
        let rules = rules(config, &mut classes, &mut faults);
        let classes: Vec<_> = classes.into_iter().collect();
        let number = |class: &str| {
            let at = classes.iter().position(|known| known.as_str() == class)?;
            ClassId::try_from(at).ok()
        };
        let instead = instead::compile(&config.instead, &classes, &mut faults);
        let mut texts = Vec::new();
        let numbered = rules
            .into_iter()
            .filter_map(|(path, class, own)| {
                let class = number(class.as_str())?;
                let shared = instead.get(usize::from(class)).copied();
                let instead = own.or(shared).unwrap_or_default();
                let rule = u16::try_from(texts.len()).unwrap_or(BY_VALUE);
                texts.push(path.1);
                let field = Field {
                    class,
                    instead,
                    rule,
                };
                Some((path.0, field))
            })
            .collect();
        let fields = match Automaton::new(numbered) {
            Ok(fields) => fields,
            Err(message) => {
                faults.push(Fault {
                    place: "fields".to_owned(),
                    message,
                });
                Automaton::default()
            }
        };
        let own = own::compile(&config.detectors, &number, &mut faults);
        let requests = RequestGuard::compile(config, &mut faults);
        let budget = config
            .budget
            .as_ref()
            .map(|budget| Budget::compile(budget, config.mode.begins(), &classes, &mut faults));
        if !faults.is_empty() {
            return Err(faults);
        }
        let detectors = Detectors::new(&number, own);
        let settings = Self {
            mode: config.mode.clone(),
            clock: Arc::new(SystemClock),
            classes,
            instead,
            requests,
            budget,
            ledger: None,
            scope: config.scope,
            vault: None,
            paths: texts,
            fields,
            detectors,
        };
        settings.with_examples(config)
    }

    /// The settings again, if what the operator's own detectors find is what their examples say.
    fn with_examples(self, config: &Config) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        // Searched and counted, whatever the mode and whatever stands instead.
        let searched = Arc::new(Self {
            mode: Mode::Observe.into(),
            ..self
        });
        own::check(&config.detectors, &searched, &mut faults);
        match Arc::try_unwrap(searched) {
            Ok(settings) if faults.is_empty() => Ok(Self {
                mode: config.mode.clone(),
                ..settings
            }),
            Ok(_) | Err(_) => Err(faults),
        }
    }

    /// The same with the keys for pseudonyms and tokens.
    #[must_use]
    pub fn with_vault(mut self, vault: Option<Arc<Vault>>, connection: &str) -> Self {
        let requests = self.requests.take();
        self.requests = requests.map(|guard| guard.with_vault(vault.clone(), connection));
        self.keep_vault(vault, connection);
        self
    }

    pub(super) fn keep_vault(&mut self, vault: Option<Arc<Vault>>, connection: &str) {
        self.vault = vault.map(|vault| (vault, connection.into()));
    }

    /// The same with the ledger in which values are counted, if there is a budget.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Arc<Ledger>, connection: &str) -> Self {
        self.ledger = Some((ledger, connection.into()));
        self
    }

    /// Whether this caller's budget is used up, and so what it calls is refused.
    #[must_use]
    pub fn spent(&self, issuer: &str, subject: &str) -> Option<Spent> {
        let now = self.clock.now();
        let budget = self.budget.as_ref();
        let budget = budget.filter(|_| self.mode.at(now) == Mode::On)?;
        self.purse(issuer, subject)?.spent(budget, now)
    }

    fn purse(&self, issuer: &str, subject: &str) -> Option<Purse> {
        let (ledger, connection) = self.ledger.as_ref()?;
        Some(Purse::new(Arc::clone(ledger), connection, issuer, subject))
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }

    /// What is wrong with the time of observing, if something is.
    #[must_use]
    pub fn observes_too_long(&self) -> Option<String> {
        self.mode.is_too_long(self.clock.now()).then(|| {
            format!(
                "`{}`: masking may only observe for {OBSERVE_DAYS_MAX} days from now",
                self.mode
            )
        })
    }

    /// The mode as the config says it, where it is not the one in force any more: observing is over.
    #[must_use]
    pub fn observed(&self) -> Option<String> {
        let over = self.mode.is_over(self.clock.now());
        over.then(|| self.mode.to_string())
    }

    /// Whether something is replaced by a pseudonym or token, for which keys are needed.
    #[must_use]
    pub fn needs_keys(&self) -> bool {
        let answers = self.mode.begins() != Mode::Off
            && (self.instead.iter().any(|instead| instead.is_keyed()) || self.fields.is_keyed());
        answers || self.requests.as_ref().is_some_and(RequestGuard::needs_keys)
    }

    /// Whether answers are masked now.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.at(self.clock.now())
    }

    /// Searches requests, if something must not be sent.
    #[must_use]
    pub fn requests(&self) -> Option<&RequestGuard> {
        self.requests.as_ref()
    }

    /// The classes that these settings can find, by value or by place, in order.
    #[must_use]
    pub fn classes(&self) -> &[DataClass] {
        match self.mode.begins() {
            Mode::On | Mode::Observe => &self.classes,
            Mode::Off => &[],
        }
    }

    /// The plan for one call: what stays masked when the caller may see `unmask`.
    #[must_use]
    pub fn plan(self: &Arc<Self>, unmask: &BTreeSet<DataClass>) -> Plan {
        let masked = self
            .classes
            .iter()
            .map(|class| !unmask.contains(class))
            .collect();
        Plan {
            settings: Arc::clone(self),
            mode: self.mode(),
            masked,
            owner: None,
            veil: None,
            purse: None,
            markers: false,
        }
    }

    /// What stands in place of a class; a marker for one that is not known.
    pub(super) fn instead(&self, id: ClassId) -> Instead {
        let instead = self.instead.get(usize::from(id));
        instead.copied().unwrap_or_default()
    }

    /// The path of a rule; `None` for what is no rule's.
    pub(super) fn path(&self, rule: u16) -> Option<&str> {
        self.paths.get(usize::from(rule)).map(String::as_str)
    }

    pub(super) fn class(&self, id: ClassId) -> Option<&DataClass> {
        self.classes.get(usize::from(id))
    }
}

/// What is masked in one call. Made by [`Settings::plan`] from what policy allows.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) settings: Arc<Settings>,
    /// The mode for the whole call.
    mode: Mode,
    masked: Vec<bool>,
    /// Issuer and subject of the caller.
    owner: Option<(Box<str>, Box<str>)>,
    /// Values that the caller sent as tokens, and the number of each of their classes here.
    veil: Option<(Arc<Cover>, Vec<ClassId>)>,
    /// Where the values that this caller draws out are counted.
    purse: Option<Purse>,
    /// A marker stands in place of everything that is found by value, whatever `instead` says.
    markers: bool,
}

impl Plan {
    /// Whether answers are masked.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The plan for this caller: pseudonyms and tokens are made for it. Without, markers stand in their
    /// place.
    #[must_use]
    pub fn for_caller(self, issuer: &str, subject: &str) -> Self {
        let counted = self.settings.budget.is_some() && self.mode == Mode::On;
        let purse = counted.then(|| self.settings.purse(issuer, subject));
        Self {
            owner: Some((issuer.into(), subject.into())),
            purse: purse.flatten(),
            ..self
        }
    }

    /// The plan for a call whose caller sent these values as tokens: what comes back of them is masked, also where
    /// no detector and no rule of these settings knows the class.
    #[must_use]
    pub fn veiled(self, cover: Arc<Cover>) -> Self {
        if cover.is_empty() {
            return self;
        }
        let known = &self.settings.classes;
        let number = |(at, class): (usize, &DataClass)| {
            let own = known.iter().position(|known| known == class);
            ClassId::try_from(own.unwrap_or(known.len() + at)).unwrap_or(ClassId::MAX)
        };
        let numbers = cover.classes().iter().enumerate().map(number).collect();
        Self {
            veil: Some((cover, numbers)),
            ..self
        }
    }

    /// Whether findings of some class are counted though they are shown.
    pub(super) fn counts_shown(&self) -> bool {
        self.purse.is_some() && self.masked.iter().any(|masked| !masked)
    }

    /// Whether a finding of this class is shown and counted.
    pub(super) fn shows_counted(&self, class: ClassId) -> bool {
        !self.covers(class) && self.budget().is_some_and(|budget| budget.counts(class))
    }

    fn budget(&self) -> Option<&Budget> {
        self.settings
            .budget
            .as_ref()
            .filter(|_| self.purse.is_some())
    }

    /// Counts a value that was found.
    ///
    /// # Errors
    /// The caller's budget is used up: the answer is not to go on.
    pub(super) fn spend(&self, class: ClassId, value: &[u8]) -> Result<(), Spent> {
        let (Some(purse), Some(budget)) = (&self.purse, self.budget()) else {
            return Ok(());
        };
        match self.settings.class(class) {
            Some(name) if budget.counts(class) => {
                purse.spend(budget, self.settings.clock.now(), name, value)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The same plan with markers in place of everything that is found by value: what is written can then be
    /// searched again, where a token would look like a secret.
    pub(super) fn with_markers(self) -> Self {
        Self {
            markers: true,
            ..self
        }
    }

    /// A class by its number.
    pub(super) fn class(&self, id: ClassId) -> Option<&DataClass> {
        self.settings.class(id).or_else(|| {
            let (cover, _) = self.veil.as_ref()?;
            let at = usize::from(id).checked_sub(self.settings.classes.len())?;
            cover.classes().get(at)
        })
    }

    /// How many numbers of classes there are.
    pub(super) fn numbers(&self) -> usize {
        let veiled = self.veil.as_ref();
        self.settings.classes.len() + veiled.map_or(0, |(cover, _)| cover.classes().len())
    }

    /// Adds the values that came as tokens to what was found in `text`.
    pub(super) fn find_veiled(&self, text: &[u8], hits: &mut Vec<Hit>) {
        let Some((cover, numbers)) = &self.veil else {
            return;
        };
        let known = hits.len();
        cover.find(text, &mut |start, end, class| {
            let class = numbers.get(class).copied().unwrap_or(ClassId::MAX);
            if self.covers(class) {
                hits.push(Hit { start, end, class });
            }
        });
        if hits.len() > known {
            detect::merge(hits);
        }
    }

    /// What stands in place of a class that is found by value.
    pub(super) fn instead(&self, class: ClassId) -> Instead {
        if self.markers {
            return Instead::Redact;
        }
        self.settings.instead(class)
    }

    /// The keys for pseudonyms and tokens of this call.
    pub(super) fn keys(&self) -> Option<Keys<'_>> {
        let (vault, connection) = self.settings.vault.as_ref()?;
        let (issuer, subject) = self.owner.as_ref()?;
        Some(Keys {
            vault,
            scope: self.settings.scope,
            owner: Owner {
                issuer,
                subject,
                connection,
            },
        })
    }

    /// Whether a finding of this class is to be masked (or counted); a class that is not known is.
    pub(super) fn covers(&self, class: ClassId) -> bool {
        self.masked.get(usize::from(class)).copied().unwrap_or(true)
    }
}

/// The rules by place, and the classes of all that the operator wrote.
fn rules(
    config: &Config,
    classes: &mut BTreeSet<DataClass>,
    faults: &mut Vec<Fault>,
) -> Vec<((Path, String), DataClass, Option<Instead>)> {
    let mut rules = Vec::new();
    let fields = config.fields.iter().map(|(path, field)| {
        let place = format!("fields.\"{path}\"");
        (Some(path), field.class(), field.instead(), place)
    });
    let own = config.detectors.iter().map(|(class, own)| {
        let place = format!("detectors.{class}");
        (own.path.as_ref(), class, None, place)
    });
    for (path, class, instead, place) in fields.chain(own) {
        let mut fault = |message: String| {
            faults.push(Fault {
                place: place.clone(),
                message,
            });
        };
        let Some(path) = path else {
            match class.parse::<DataClass>() {
                Ok(class) => drop(classes.insert(class)),
                Err(error) => fault(error.to_string()),
            }
            continue;
        };
        match class.parse::<DataClass>() {
            Ok(class) => match path.parse::<Path>() {
                Ok(parsed) => {
                    let unfit = instead.and_then(|instead| instead::unfit(class.as_str(), instead));
                    unfit.into_iter().for_each(&mut fault);
                    classes.insert(class.clone());
                    rules.push(((parsed, path.clone()), class, instead));
                }
                Err(error) => fault(error.to_string()),
            },
            Err(error) => fault(error.to_string()),
        }
    }
    rules
}

/// The names of detectors to run.
fn wanted(detect: &[String], faults: &mut Vec<Fault>) -> BTreeSet<&'static str> {
    let mut wanted: BTreeSet<_> = catalogue::entries()
        .filter(|entry| entry.default_on)
        .map(|entry| entry.name)
        .collect();
    for name in detect {
        let mut known = false;
        for entry in catalogue::entries().filter(|e| e.name == name || e.group == name) {
            wanted.insert(entry.name);
            known = true;
        }
        if !known {
            faults.push(Fault {
                place: "detect".to_owned(),
                message: format!(
                    "no detector finds `{name}`: name a class or one of the groups {}; a class of \
                     your own goes under `fields`",
                    catalogue::groups().join(", ")
                ),
            });
        }
    }
    wanted
}
