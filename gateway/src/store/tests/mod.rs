//! Tests of the store.

mod database;
mod grants;
mod machine;
mod memory;
mod model;
mod outbox;

pub(crate) use memory::MemoryStore;
