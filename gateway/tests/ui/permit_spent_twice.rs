//~ E0382
//! One permit, one request.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::gate::Permitted;
use callgate::upstream::{Left, Upstream};

pub async fn case(upstream: &Upstream, permit: Permitted<HttpCall>, credentials: [Credential; 2]) {
    for credential in credentials {
        let _ = upstream.forward(permit, credential, Default::default(), async { Left::Caller }).await;
    }
}
