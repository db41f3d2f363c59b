//! How many different values a caller is given, and for how long.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Config, DataClass, Masker, Needles, ResponseFacts, Settings};
use super::{Ledger, REMEMBERED_VALUES_MAX, Spent};
use crate::clock::{ManualClock, Timestamp};

struct World {
    clock: Arc<ManualClock>,
    ledger: Arc<Ledger>,
    settings: Arc<Settings>,
}

fn settings(yaml: &str, ledger: &Arc<Ledger>, clock: &Arc<ManualClock>) -> Arc<Settings> {
    let config: Config = serde_saphyr::from_str(yaml).unwrap();
    let settings = Settings::compile(&config).unwrap();
    let settings = settings.with_clock(Arc::clone(clock) as _);
    Arc::new(settings.with_ledger(Arc::clone(ledger), "crm"))
}

fn world(yaml: &str) -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_700_000_000)));
    let ledger = Arc::default();
    World {
        settings: settings(yaml, &ledger, &clock),
        clock,
        ledger,
    }
}

impl World {
    /// An answer for a caller who may see `unmask`: what it gets, or why not.
    fn answer(&self, subject: &str, unmask: &[&str], body: &str) -> Result<String, String> {
        let unmask: BTreeSet<DataClass> = unmask.iter().map(|name| name.parse().unwrap()).collect();
        let plan = self.settings.plan(&unmask).for_caller("corp", subject);
        let facts = ResponseFacts {
            status: 200,
            content_type: Some("application/json"),
            ..ResponseFacts::default()
        };
        let mut masker = Masker::new(plan, Arc::new(Needles::none()), &facts).unwrap();
        let mut out = Vec::new();
        masker
            .push(body.as_bytes(), &mut out)
            .map_err(|error| error.to_string())?;
        masker.finish(&mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn spent(&self, subject: &str) -> Option<Spent> {
        self.settings.spent("corp", subject)
    }
}

fn mails(from: u32, to: u32) -> String {
    let mails: Vec<_> = (from..to)
        .map(|n| format!("\"m{n}@example.com\""))
        .collect();
    format!("[{}]", mails.join(","))
}

const THREE: &str = "detect: [contact]\nbudget: { values: 3, hours: 2 }";

#[test]
fn different_values_count_once_each_however_they_are_written_and_more_are_withheld() {
    let world = world(THREE);
    let same = r#"["m1@example.com","M1@Example.com","m\u0031@example.com"]"#;
    for _ in 0..3 {
        assert!(world.answer("ann", &[], same).is_ok());
    }
    assert_eq!(world.spent("ann"), None);
    assert!(world.answer("ann", &[], &mails(1, 4)).is_ok());
    let wait = Duration::from_secs(2 * 3600);
    assert_eq!(world.spent("ann"), Some(Spent::Caller { values: 3, wait }));
    // What it has already is no new value; one more is.
    assert!(world.answer("ann", &[], &mails(1, 4)).is_ok());
    let said = world.answer("ann", &[], &mails(3, 5)).unwrap_err();
    assert_eq!(
        said,
        "the caller's budget is used up: the answers to this caller held 3 different values of classes that are \
         counted"
    );
    // Another caller has a budget of its own.
    assert_eq!(world.spent("eve"), None);
    assert!(world.answer("eve", &[], &mails(7, 10)).is_ok());
}

#[test]
fn values_that_the_caller_may_see_count_as_well_by_value_by_name_and_by_place() {
    let yaml = "detect: [contact, date-of-birth]\nfields: { \"$..code\": code }\nbudget: { values: 3, hours: 2 }";
    for (unmask, shown, more) in [
        ("email", mails(1, 4), mails(4, 5)),
        (
            "payment-card",
            "[4111111111111111,\"5555555555554444\",378282246310005]".to_owned(),
            "[\"6011111111111117\"]".to_owned(),
        ),
        (
            "date-of-birth",
            r#"[{"dob":"1980-02-29"},{"dob":"1981-02-28"},{"dob":"1982-02-28"}]"#.to_owned(),
            r#"{"dob":"1983-02-28"}"#.to_owned(),
        ),
        (
            "code",
            r#"[{"code":"a"},{"code":1},{"code":true}]"#.to_owned(),
            r#"{"code":"b"}"#.to_owned(),
        ),
    ] {
        let world = world(yaml);
        assert_eq!(
            world.answer("ann", &[unmask], &shown),
            Ok(shown.clone()),
            "{unmask}"
        );
        assert!(world.spent("ann").is_some(), "{unmask}");
        assert!(world.answer("ann", &[unmask], &more).is_err(), "{unmask}");
    }
}

#[test]
fn a_window_ends_and_the_next_begins_with_the_next_value() {
    let world = world(THREE);
    world.answer("ann", &[], &mails(1, 4)).unwrap();
    world.clock.advance(Duration::from_secs(2 * 3600 - 1));
    let wait = Duration::from_secs(1);
    assert_eq!(world.spent("ann"), Some(Spent::Caller { values: 3, wait }));
    world.clock.advance(wait);
    assert_eq!(world.spent("ann"), None);
    world.answer("ann", &[], &mails(10, 13)).unwrap();
    assert!(world.spent("ann").is_some());
}

#[test]
fn only_classes_that_are_named_count_and_nothing_counts_while_masking_observes() {
    let world = world("detect: [contact]\nbudget: { values: 1, classes: [payment] }");
    world.answer("ann", &[], &mails(1, 9)).unwrap();
    assert_eq!(world.spent("ann"), None);
    world.answer("ann", &[], "[4111111111111111]").unwrap();
    assert!(world.spent("ann").is_some());
    let observing = settings(
        "mode: observe until 2023-12-31\ndetect: [contact]\nbudget: { values: 1 }",
        &world.ledger,
        &world.clock,
    );
    assert_eq!(observing.spent("corp", "ann"), None);
}

#[test]
fn settings_that_are_read_anew_go_on_with_what_was_counted() {
    let mut world = world(THREE);
    world.answer("ann", &[], &mails(1, 4)).unwrap();
    world.settings = settings(THREE, &world.ledger, &world.clock);
    assert!(world.spent("ann").is_some());
}

#[test]
fn a_ledger_that_is_full_gives_nothing_more_until_windows_end() {
    let world = world(THREE);
    world.ledger.state.lock().unwrap().remembered = REMEMBERED_VALUES_MAX;
    world.ledger.state.lock().unwrap().sweep = Some(Timestamp::from_secs(u64::MAX / 2_000_000_000));
    let said = world.answer("ann", &[], &mails(1, 2)).unwrap_err();
    assert!(
        said.contains("all callers together are more than can be counted"),
        "{said}"
    );
    world.ledger.state.lock().unwrap().sweep = None;
    // The number was made up: counted again, there is room.
    assert!(world.answer("ann", &[], &mails(1, 2)).is_ok());
}

#[test]
fn a_budget_that_cannot_be_kept_is_refused_when_the_config_is_read() {
    let said = |yaml: &str| {
        let config: Config = serde_saphyr::from_str(yaml).unwrap();
        let faults = Settings::compile(&config).unwrap_err();
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    for (yaml, words) in [
        (
            "mode: off\nbudget: { values: 1 }",
            "`budget`: nothing is searched with `mode: off`",
        ),
        (
            "budget: { values: 100001 }",
            "`budget.values`: at most 100000",
        ),
        (
            "budget: { values: 1, hours: 745 }",
            "`budget.hours`: at most 744",
        ),
        (
            "budget: { values: 1, classes: [contact] }",
            "`budget.classes`: nothing finds `contact` here",
        ),
    ] {
        let said = said(yaml);
        assert!(said.contains(words), "{yaml}: {said}");
    }
}
