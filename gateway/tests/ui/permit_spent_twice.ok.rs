//~ ok
//! Two permits, two requests.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::gate::Permitted;
use callgate::upstream::{Left, Upstream};

pub async fn case(upstream: &Upstream, both: [(Permitted<HttpCall>, Credential); 2]) {
    for (permit, credential) in both {
        let _ = upstream.forward(permit, credential, Default::default(), async { Left::Caller }).await;
    }
}
