//! A console connection on which nothing happens is closed: places for connections are few, and whoever holds one
//! without asking anything keeps people from deciding.
//!
//! The HTTP library's own limit for a head begins only once it knows the version, and HTTP/2 has none.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::sync::watch;

/// How long a new connection may take to its first request, all of its head.
pub(super) const FIRST_REQUEST_MAX: Duration = super::HEAD_READ_MAX;
/// How long a connection without a request under way is kept.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(120);

/// The requests that are under way on one connection, up to the last byte of their answers.
#[derive(Clone, Debug)]
pub(super) struct Quiet {
    requests: watch::Sender<Requests>,
    first_max: Duration,
    idle_max: Duration,
}

#[derive(Debug, Default)]
struct Requests {
    under_way: usize,
    any: bool,
}

/// Held while a request is under way.
#[derive(Debug)]
struct Place(Quiet);

impl Quiet {
    pub(super) fn new() -> Self {
        Self::within(FIRST_REQUEST_MAX, IDLE_MAX)
    }

    fn within(first_max: Duration, idle_max: Duration) -> Self {
        Self {
            requests: watch::Sender::default(),
            first_max,
            idle_max,
        }
    }

    /// Resolves when nothing has been under way for too long.
    pub(super) async fn too_long(&self) {
        let mut requests = self.requests.subscribe();
        loop {
            let none = requests.wait_for(|requests| requests.under_way == 0).await;
            // INVARIANT: `self` holds the sender.
            let limit = match none.is_ok_and(|requests| requests.any) {
                true => self.idle_max,
                false => self.first_max,
            };
            let again = requests.wait_for(|requests| requests.under_way > 0);
            if tokio::time::timeout(limit, again).await.is_err() {
                return;
            }
        }
    }

    /// Count a request until its answer has gone.
    pub(super) async fn count(self, request: Request, next: Next) -> Response {
        self.requests.send_modify(|requests| {
            requests.under_way += 1;
            requests.any = true;
        });
        let place = Place(self);
        next.run(request).await.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _held = &place;
                frame
            }))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0
            .requests
            .send_modify(|requests| requests.under_way -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_connection_is_given_up_when_it_asks_nothing() {
        Quiet::within(SOON, NEVER).too_long().await;
    }

    #[tokio::test]
    async fn a_request_under_way_is_waited_for_however_long_it_takes() {
        let quiet = Quiet::within(SOON, SOON);
        quiet.requests.send_modify(|requests| {
            requests.under_way = 1;
            requests.any = true;
        });
        let place = Place(quiet.clone());
        let waited = tokio::time::timeout(10 * SOON, quiet.too_long()).await;
        assert!(waited.is_err());
        drop(place);
        quiet.too_long().await;
    }
}
