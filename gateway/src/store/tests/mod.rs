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
