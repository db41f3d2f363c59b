//! Tests of the store.

mod database;
pub(crate) mod engine;
mod grants;
mod machine;
mod memory;
mod model;
mod outbox;
mod shared;

pub(crate) use memory::MemoryStore;
