//! All field rules as one automaton over the path from the root: a set of states for every open
//! container, one bit a state, stepped by each child.

use std::collections::HashMap;

use wire::json::string::unescape_into;

use super::instead::{Field, Instead};
use super::path::{Path, Selector};

/// Most states of all rules together (each rule has one more than it has steps).
const STATES_MAX: usize = 4096;

/// The compiled rules. Member names match in any ASCII case: a function that changes the case of a
/// member must not open it.
#[derive(Debug, Default)]
pub(super) struct Automaton {
    /// 64-bit words of a state set; 0 when there are no rules.
    words: usize,
    start: Vec<u64>,
    /// States whose step is `..`: they stay alive below.
    descendant: Vec<u64>,
    /// States that step on every child.
    wildcard: Vec<u64>,
    /// States that step on a member, by lower-case name.
    names: HashMap<Box<[u8]>, Vec<u64>>,
    name_bytes_max: usize,
    slices: Vec<SliceStep>,
    /// States that end a rule, in rule order.
    accepting: Vec<(usize, Field)>,
    accepting_set: Vec<u64>,
}

#[derive(Debug)]
struct SliceStep {
    state: usize,
    start: u64,
    end: u64,
    step: u64,
}

impl Automaton {
    /// Compiles rules.
    pub(super) fn new(rules: Vec<(Path, Field)>) -> Result<Self, String> {
        let states: usize = rules.iter().map(|(path, _)| path.0.len() + 1).sum();
        if states > STATES_MAX {
            return Err(format!(
                "more than {STATES_MAX} steps in all paths together"
            ));
        }
        let words = states.div_ceil(64);
        let empty = || vec![0; words];
        let mut automaton = Self {
            words,
            start: empty(),
            descendant: empty(),
            wildcard: empty(),
            accepting_set: empty(),
            ..Self::default()
        };
        let mut state = 0;
        for (path, field) in rules {
            set(&mut automaton.start, state);
            for segment in path.0 {
                if segment.descendant {
                    set(&mut automaton.descendant, state);
                }
                for selector in segment.selectors {
                    automaton.add(state, selector);
                }
                state += 1;
            }
            set(&mut automaton.accepting_set, state);
            automaton.accepting.push((state, field));
            state += 1;
        }
        Ok(automaton)
    }

    fn add(&mut self, state: usize, selector: Selector) {
        match selector {
            Selector::Wildcard => set(&mut self.wildcard, state),
            Selector::Name(name) => {
                let name = name.to_ascii_lowercase().into_bytes();
                self.name_bytes_max = self.name_bytes_max.max(name.len());
                let words = self.words;
                set(
                    self.names
                        .entry(name.into())
                        .or_insert_with(|| vec![0; words]),
                    state,
                );
            }
            Selector::Slice { start, end, step } => {
                if step > 0 {
                    self.slices.push(SliceStep {
                        state,
                        start,
                        end,
                        step,
                    });
                }
            }
        }
    }

    /// Whether a rule names an item by its index.
    pub(super) fn has_indexes(&self) -> bool {
        !self.slices.is_empty()
    }

    /// Whether a rule leaves out what it names.
    pub(super) fn drops(&self) -> bool {
        let mut accepting = self.accepting.iter();
        accepting.any(|(_, field)| field.instead == Instead::Drop)
    }

    /// Whether a rule needs keys.
    pub(super) fn is_keyed(&self) -> bool {
        let mut accepting = self.accepting.iter();
        accepting.any(|(_, field)| field.instead.is_keyed())
    }

    /// Whether there are no rules.
    pub(super) fn is_empty(&self) -> bool {
        self.words == 0
    }
}

fn set(bits: &mut [u64], state: usize) {
    if let Some(word) = bits.get_mut(state / 64) {
        *word |= 1 << (state % 64);
    }
}

fn has(bits: &[u64], state: usize) -> bool {
    bits.get(state / 64)
        .is_some_and(|word| word >> (state % 64) & 1 == 1)
}

/// Where a document is, in states.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// A state set for every open container.
    states: Vec<u64>,
    /// For every open container the next index if it is an array.
    next_index: Vec<Option<u64>>,
    /// The state set of the value to come.
    child: Vec<u64>,
    /// `child` was set by a key.
    keyed: bool,
    name: Vec<u8>,
    lowered: Vec<u8>,
}

impl Walker {
    /// A member's name was read; `inner` is as it came, between the quotes.
    pub(super) fn key(&mut self, rules: &Automaton, inner: &[u8], escaped: bool) {
        self.step(rules, None);
        if self.parent(rules).iter().all(|word| *word == 0) {
            return;
        }
        // An escaped name is at most six times as long as what it stands for.
        if inner.len() > rules.name_bytes_max.saturating_mul(6) {
            return;
        }
        self.name.clear();
        if escaped {
            unescape_into(inner, &mut self.name);
        } else {
            self.name.extend_from_slice(inner);
        }
        self.lowered.clear();
        self.lowered
            .extend(self.name.iter().map(u8::to_ascii_lowercase));
        if let Some(stepping) = rules.names.get(&*self.lowered) {
            let from = self.states.len().saturating_sub(rules.words);
            let parent = self.states.get(from..).unwrap_or_default();
            let moving = parent.iter().zip(stepping).map(|(a, b)| a & b);
            shift_in(&mut self.child, moving);
        }
    }

    /// What rule the member ends whose name was read, of those that `covered` accepts.
    pub(super) fn member(
        &self,
        rules: &Automaton,
        covered: impl Fn(&Field) -> bool,
    ) -> Option<Field> {
        self.ended(rules, covered)
    }

    /// How many containers are open.
    pub(super) fn depth(&self) -> usize {
        self.next_index.len()
    }

    /// A value begins: the first rule that ends here, of those that `covered` accepts.
    pub(super) fn value(
        &mut self,
        rules: &Automaton,
        covered: impl Fn(&Field) -> bool,
    ) -> Option<Field> {
        if !std::mem::replace(&mut self.keyed, false) {
            match self.next_index.last_mut() {
                None => self.child.clone_from(&rules.start),
                Some(index) => {
                    let at = index.unwrap_or(0);
                    *index = Some(at + 1);
                    self.step(rules, Some(at));
                    self.keyed = false;
                }
            }
        }
        self.ended(rules, covered)
    }

    fn ended(&self, rules: &Automaton, covered: impl Fn(&Field) -> bool) -> Option<Field> {
        if self
            .child
            .iter()
            .zip(&rules.accepting_set)
            .all(|(a, b)| a & b == 0)
        {
            return None;
        }
        rules
            .accepting
            .iter()
            .find(|(state, field)| has(&self.child, *state) && covered(field))
            .map(|(_, field)| *field)
    }

    /// The value that just began is a container, and its content will be shown.
    pub(super) fn open(&mut self) {
        self.states.extend_from_slice(&self.child);
        self.next_index.push(None);
    }

    /// The innermost container ends.
    pub(super) fn close(&mut self, rules: &Automaton) {
        let rest = self.states.len().saturating_sub(rules.words);
        self.states.truncate(rest);
        self.next_index.pop();
    }

    fn parent(&self, rules: &Automaton) -> &[u64] {
        let from = self.states.len().saturating_sub(rules.words);
        self.states.get(from..).unwrap_or_default()
    }

    /// Sets `child` to what every child gets, and to what the item at `index` gets.
    fn step(&mut self, rules: &Automaton, index: Option<u64>) {
        let from = self.states.len().saturating_sub(rules.words);
        let parent = self.states.get(from..).unwrap_or_default();
        self.child.clear();
        self.child
            .extend(parent.iter().zip(&rules.descendant).map(|(a, b)| a & b));
        let moving = parent.iter().zip(&rules.wildcard).map(|(a, b)| a & b);
        shift_in(&mut self.child, moving);
        self.keyed = index.is_none();
        let Some(index) = index else { return };
        for slice in &rules.slices {
            let inside = index >= slice.start
                && index < slice.end
                && (index - slice.start).is_multiple_of(slice.step);
            if inside && has(self.states.get(from..).unwrap_or_default(), slice.state) {
                set(&mut self.child, slice.state + 1);
            }
        }
    }
}

/// Adds the states one further than `moving` to `child`.
fn shift_in(child: &mut [u64], moving: impl Iterator<Item = u64>) {
    let mut carry = 0;
    for (word, moved) in child.iter_mut().zip(moving) {
        *word |= moved << 1 | carry;
        carry = moved >> 63;
    }
}
