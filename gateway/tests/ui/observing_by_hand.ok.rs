//~ ok
//! The connection's setting says so.
use callgate::clock::Timestamp;
use callgate::gate::{ObserveUntil, Observing};

pub fn case(until: &ObserveUntil, received: Timestamp) -> Option<Observing> {
    until.at(received)
}
