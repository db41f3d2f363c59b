//! Adversarial tests of request heads; numbers such as X3 are items of the threat list.

mod framing;
mod heads;
mod hosts;
mod properties;
mod targets;
