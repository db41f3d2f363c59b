//! The protocols that callers speak. Each decodes, starts the call, and renders what comes back;
//! none decides.

pub mod http;
