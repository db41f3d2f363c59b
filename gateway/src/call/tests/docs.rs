//! The published table keeps step with the code.

use wire::http::fields::{HOP_BY_HOP, IDENTITY, IDENTITY_PREFIXES, OVERRIDES, REMADE};

use crate::call::PASSED_HEADERS;

const TABLE: &str = include_str!("../../../../docs/input-mapping.md");

#[test]
fn every_header_that_is_treated_specially_is_published() {
    let lists = [PASSED_HEADERS, HOP_BY_HOP, REMADE, IDENTITY, OVERRIDES];
    let names = lists.into_iter().flatten().map(|name| format!("`{name}`"));
    let prefixes = IDENTITY_PREFIXES
        .iter()
        .map(|prefix| format!("`{prefix}*`"));
    let missing: Vec<_> = names
        .chain(prefixes)
        .filter(|name| !TABLE.contains(name))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_annotation_and_keyword_of_the_table_loads_or_not_as_it_says() {
    let section = TABLE.split("Judged: ").nth(1).unwrap();
    let judged = section.split("Numbers are compared").next().unwrap();
    let names: Vec<_> = judged.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in [
        "not",
        "if",
        "patternProperties",
        "contains",
        "prefixItems",
        "$id",
    ] {
        assert!(!names.contains(&name), "{name}");
    }
}
