//~ ok
//! Obligations come out of an `Allow`.
use callgate::policy::{Decision, Obligations};

pub fn case(decision: Decision) -> Option<Obligations> {
    match decision {
        Decision::Allow(obligations) => Some(obligations),
        Decision::Deny(_) | Decision::Ask(_) => None,
    }
}
