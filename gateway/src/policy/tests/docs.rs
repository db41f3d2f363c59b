//! The examples in the docs load, and the cases in the guide pass.

use super::super::cases;
use super::super::rule::ANNOTATIONS;
use super::super::{PersonAction, PolicyDiff};
use super::*;

const REFERENCE: &str = include_str!("../../../../docs/policy.md");
const GUIDE: &str = include_str!("../../../../docs/guide/policies.md");

/// The blocks of a page in one language, joined.
fn blocks(page: &str, language: &str) -> String {
    let fence = format!("```{language}\n");
    page.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect::<Vec<_>>()
        .join("\n")
}

/// What the pages speak of.
fn company() -> Vocabulary {
    let mut vocabulary = vocabulary();
    let email: crate::mask::DataClass = "email".parse().unwrap();
    vocabulary.classes = vec![email.clone()];
    let person = "crm/findPerson".parse().unwrap();
    vocabulary.function_classes = BTreeMap::from([(person, [email].into())]);
    vocabulary
}

#[test]
fn the_references_examples_load() {
    let policies = load_with(&blocks(REFERENCE, "cedar"), &company()).unwrap();
    assert_eq!(policies.rules().len(), 4);
}

#[test]
fn the_reference_names_every_action_and_annotation() {
    for action in PersonAction::ALL {
        assert!(
            REFERENCE.contains(&format!("| `{}` |", action.as_str())),
            "{action:?}"
        );
    }
    for annotation in ANNOTATIONS {
        assert!(
            REFERENCE.contains(&format!("| `@{annotation}(")),
            "{annotation}"
        );
    }
}

#[test]
fn the_guides_cases_pass_with_the_guides_policies() {
    let policies = load_with(&blocks(GUIDE, "cedar"), &company()).unwrap();
    assert!(!policies.rules().is_empty() && PolicyDiff::between(&policies, &policies).is_empty());
    let cases = cases::parse("guide", &blocks(GUIDE, "yaml")).unwrap();
    assert_eq!(cases.len(), 7);
    for case in &cases {
        let report = policies.run(case);
        assert!(
            report.passed(),
            "{}: {:?} {:?}",
            report.name,
            report.differences,
            report.explanation
        );
    }
}
