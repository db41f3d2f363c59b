//! Requests of people that are done once for their key, wherever and how often they are sent.

use std::time::Duration;

/// How long a key stands for one request.
pub const ONCE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys at one time; the oldest that is answered makes room.
pub const ONCE_MAX: i64 = 10_000;
/// Most keys of one person; the oldest that is answered makes room.
pub const ONCE_PERSON_MAX: i64 = 200;

/// A request under its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewOnce {
    /// A keyed hash over the person and the key.
    pub place: Vec<u8>,
    /// The person's issuer.
    pub issuer: String,
    /// The person's subject.
    pub subject: String,
    /// A hash of the request.
    pub request: Vec<u8>,
}

/// What a key means for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Once {
    /// It is new and taken by this process: do it, and then say how it ended.
    New,
    /// It was done: the sealed answer.
    Done(Vec<u8>),
    /// The key stands for another request.
    Other,
    /// A process that is there is doing it.
    UnderWay,
    /// Whoever was doing it is gone, and nobody knows how far it got.
    Unknown,
    /// Too many are under way.
    Full,
}

/// How a request under a key ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OnceEnd {
    /// Done: the sealed answer.
    Done(Vec<u8>),
    /// Nothing was done: the key is free.
    Refused,
    /// Nobody knows.
    Unknown,
}
