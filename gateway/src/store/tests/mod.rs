//! Tests of the store.

mod database;
mod machine;
mod memory;
mod model;

pub(crate) use memory::MemoryStore;
