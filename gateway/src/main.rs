//! Callgate
fn main() {}
