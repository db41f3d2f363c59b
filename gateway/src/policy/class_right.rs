//! Rights on data classes that are asked about a request: whether a function may be given the values of tokens
//! (`detokenise`), and whether a caller may filter or sort by what it may not see (`unmask`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy::{Effect, Policy};
use cedar_policy_core::ast::{Entity, EntityUID};
use cedar_policy_core::entities::{NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;

use crate::call::{Facts, FunctionId};
use crate::mask::DataClass;

use super::decide::{Verdict, cedar_request, judge};
use super::index::{Index, Slices};
use super::names::Names;
use super::prepare;
use super::request::Subject;
use super::schema::Vocabulary;
use super::{Error, Policies};

/// What is worked out once of one action.
#[derive(Debug)]
pub(super) struct ClassRight {
    action: Arc<EntityUID>,
    slices: Slices,
    /// The classes for which some policy could permit it.
    classes: BTreeMap<DataClass, (Arc<EntityUID>, Arc<Entity>)>,
}

impl ClassRight {
    pub(super) fn new(
        action: &str,
        vocabulary: &Vocabulary,
        names: &Names,
        index: &Index,
        policies: &[Policy],
    ) -> Self {
        let action = Arc::new(names.action(action));
        let slices = index.of_action(&action);
        let permits: Vec<&Policy> = slices
            .rules()
            .filter_map(|rule| policies.get(rule))
            .filter(|policy| policy.effect() == Effect::Permit)
            .collect();
        let classes = vocabulary
            .classes
            .iter()
            .filter(|class| prepare::could_permit(names, class, &permits))
            .map(|class| {
                let uid = Arc::new(names.class(class.as_str()));
                (class.clone(), (uid, Arc::new(prepare::class(names, class))))
            })
            .collect();
        Self {
            action,
            slices,
            classes,
        }
    }
}

impl Policies {
    /// Whether some policy could give a function the value of a token.
    pub fn could_detokenise(&self) -> bool {
        !self.detokenise.classes.is_empty()
    }

    /// Whether a function may be given the values of a class for which this subject holds tokens. An
    /// approval rule that nobody opened, or any error, means no.
    pub fn may_detokenise(
        &self,
        subject: &Subject<'_>,
        function: &FunctionId,
        facts: &Facts,
        class: &DataClass,
    ) -> bool {
        self.has_right(&self.detokenise, (subject, class), function, facts)
            .unwrap_or(false)
    }

    /// Whether this subject may see the class in a function's answers, and so may filter or sort by it.
    pub fn may_unmask(
        &self,
        subject: &Subject<'_>,
        function: &FunctionId,
        facts: &Facts,
        class: &DataClass,
    ) -> bool {
        self.has_right(&self.unmask, (subject, class), function, facts)
            .unwrap_or(false)
    }

    fn has_right(
        &self,
        right: &ClassRight,
        (subject, class): (&Subject<'_>, &DataClass),
        function: &FunctionId,
        facts: &Facts,
    ) -> Result<bool, Error> {
        let Some((uid, entity)) = right.classes.get(class) else {
            return Ok(false);
        };
        let prepared = self.prepared(function)?;
        let known = prepared.unmask.iter().any(|(other, _)| other == class);
        let mut entities = prepared.entities.clone();
        if !known {
            // INVARIANT: closed under `in` without more work: a group of classes lies in nothing.
            entities = entities
                .add_entities(
                    [Arc::clone(entity)],
                    None::<&NoEntitiesSchema>,
                    TCComputation::AssumeAlreadyComputed,
                    Extensions::all_available(),
                )
                .map_err(|_| Error::Principal)?;
        }
        let caller = self.caller(subject, entities)?;
        let context = self.values.unmask(&prepared.thing, facts)?;
        let request = cedar_request(&caller, &right.action, uid, context);
        let matches = self.matches(&caller, request, &right.slices)?;
        Ok(matches!(
            judge(&matches, &BTreeSet::new()),
            Verdict::Allow(_)
        ))
    }
}
