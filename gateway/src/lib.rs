//! Callgate
