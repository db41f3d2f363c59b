//~ ok
//! A permitted call is sent.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::gate::Permitted;
use callgate::upstream::{Left, Upstream};

pub async fn case(upstream: &Upstream, call: Permitted<HttpCall>, credential: Credential) {
    let _ = upstream.forward(call, credential, Default::default(), async { Left::Caller }).await;
}
