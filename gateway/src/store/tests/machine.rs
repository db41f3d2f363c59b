//! The state machine by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::{Edge, State};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn later(millis: u64) -> Timestamp {
    NOW.plus(Duration::from_millis(millis))
}

#[test]
fn nothing_leaves_a_final_state() {
    for state in State::ALL.into_iter().filter(|state| state.is_final()) {
        for edge in Edge::ALL {
            for expires in [NOW, later(1)] {
                assert!(
                    !edge.may(state, expires, NOW, true),
                    "{edge:?} from {state}"
                );
            }
        }
    }
}

#[test]
fn executing_is_entered_by_one_edge_and_left_by_the_lease_only() {
    let entries: Vec<Edge> = Edge::ALL
        .into_iter()
        .filter(|edge| edge.to() == State::Executing)
        .collect();
    assert_eq!(entries, [Edge::Take]);
    assert_eq!(Edge::Take.from(), [State::Approved]);
    for edge in Edge::ALL {
        for expires in [NOW, later(1)] {
            assert!(!edge.may(State::Executing, expires, NOW, false), "{edge:?}");
        }
    }
}

#[test]
fn what_may_have_run_never_waits_again_except_when_given_back_or_reopened() {
    let back: BTreeSet<&str> = Edge::ALL
        .into_iter()
        .filter(|edge| edge.from().contains(&State::Executing) && !edge.to().is_final())
        .map(|edge| edge.to().as_str())
        .collect();
    assert_eq!(back, BTreeSet::from(["approved", "pending"]));
    for edge in [Edge::Done, Edge::Fail, Edge::Lose] {
        assert_eq!(edge.from(), [State::Executing]);
        assert!(edge.to().is_final());
    }
}

// P8
#[test]
fn the_instant_of_the_deadline_is_too_late() {
    for edge in [Edge::Approve, Edge::Deny, Edge::Cancel] {
        assert!(edge.may(State::Pending, later(1), NOW, false), "{edge:?}");
        assert!(!edge.may(State::Pending, NOW, NOW, false), "{edge:?}");
        assert!(!edge.may(State::Pending, NOW, later(1), false), "{edge:?}");
    }
    assert!(Edge::Take.may(State::Approved, later(1), NOW, false));
    assert!(!Edge::Take.may(State::Approved, NOW, NOW, false));
    assert!(!Edge::Expire.may(State::Pending, later(1), NOW, false));
    assert!(Edge::Expire.may(State::Pending, NOW, NOW, false));
    assert_eq!(State::Approved.at(NOW, NOW), State::Expired);
    assert_eq!(State::Executing.at(NOW, NOW), State::Executing);
}

#[test]
fn states_read_back_as_written() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    assert!("approve".parse::<State>().is_err());
}
