//~ E0308
//! A call is sent only as part of a permit: the bare call does not fit.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::upstream::{Left, Upstream};

pub async fn case(upstream: &Upstream, call: HttpCall, credential: Credential) {
    let _ = upstream.forward(call, credential, Default::default(), async { Left::Caller }).await;
}
