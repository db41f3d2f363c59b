//! Field rules where a format has names but no JSON: forms, tables, XML, parts of a message.
//!
//! The same data may come as an object in one format and inside a list or a root element in another. A
//! rule is therefore tried from two roots, and masks if it ends at a place from either.

use super::automaton::Walker;
use super::inspector::Inspector;
use super::instead::Field;

/// Where a document is, seen from both roots.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The record (a row, a form, the root element) is the document.
    record: Walker,
    /// The record lies in the document.
    member: Walker,
    /// How many containers of a record are open.
    depth: usize,
}

impl Places {
    /// The document begins.
    pub(super) fn begin(&mut self, inspector: &Inspector) -> Option<Field> {
        let class = step(&mut self.member, inspector);
        self.member.open();
        class
    }

    /// A record begins and is opened; `name` is its own name, if it has one: an item of a list has none.
    pub(super) fn open_record(
        &mut self,
        inspector: &Inspector,
        name: Option<&[u8]>,
    ) -> Option<Field> {
        if let Some(name) = name {
            self.member
                .key(&inspector.plan().settings.fields, name, false);
        }
        let inner = step(&mut self.record, inspector);
        let outer = step(&mut self.member, inspector);
        self.open();
        inner.or(outer)
    }

    /// A member of the innermost container begins; it is not opened.
    pub(super) fn member(&mut self, inspector: &Inspector, name: &[u8]) -> Option<Field> {
        let rules = &inspector.plan().settings.fields;
        self.record.key(rules, name, false);
        self.member.key(rules, name, false);
        let inner = step(&mut self.record, inspector);
        inner.or(step(&mut self.member, inspector))
    }

    /// The member that just began is a container.
    pub(super) fn open(&mut self) {
        self.record.open();
        self.member.open();
        self.depth += 1;
    }

    /// The innermost container ends.
    pub(super) fn close(&mut self, inspector: &Inspector) {
        let rules = &inspector.plan().settings.fields;
        self.record.close(rules);
        self.member.close(rules);
        self.depth = self.depth.saturating_sub(1);
    }

    /// The class of a form's field: `a[b]` is the member `b` of `a`.
    pub(super) fn field(&mut self, inspector: &Inspector, name: &[u8]) -> Option<Field> {
        let mut class = None;
        let mut opened = 0;
        for part in name.split(|byte| matches!(byte, b'[' | b']')) {
            if part.is_empty() && opened > 0 {
                continue;
            }
            if opened > 0 {
                self.open();
            }
            class = class.or(self.member(inspector, part));
            opened += 1;
        }
        for _ in 1..opened {
            self.close(inspector);
        }
        class.or_else(|| self.member(inspector, name))
    }
}

fn step(walker: &mut Walker, inspector: &Inspector) -> Option<Field> {
    let plan = inspector.plan();
    walker.value(&plan.settings.fields, |field| plan.covers(field.class))
}
