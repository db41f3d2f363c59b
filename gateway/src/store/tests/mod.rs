//! Tests of the store.

mod database;
pub(crate) mod engine;
mod forget;
mod grants;
mod machine;
mod memory;
mod model;
mod once;
mod outbox;
mod shared;
mod tls;
mod together;

pub(crate) use memory::MemoryStore;

use super::NewApproval;
use crate::clock::Timestamp;

/// A question of `ann` about a call that is like no other.
fn question(id: &str, decide_by: Timestamp) -> NewApproval {
    NewApproval {
        id: id.to_owned(),
        issuer: "corp".to_owned(),
        subject: "ann".to_owned(),
        caller: b"ann".to_vec(),
        requester: "{}".to_owned(),
        apart: "{}".to_owned(),
        connection: "payments".to_owned(),
        function: "payments/x".to_owned(),
        effect: "write".to_owned(),
        same: id.as_bytes().to_vec(),
        idempotency: None,
        call: "call".to_owned(),
        terms: "{}".to_owned(),
        rules: "r1".to_owned(),
        binding: vec![1; 32],
        frozen: vec![2; 8],
        summary: vec![3; 4],
        input: Vec::new(),
        decide_by,
    }
}
