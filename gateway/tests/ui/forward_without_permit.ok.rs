//~ ok
//! A permitted call is forwarded.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::gate::Permitted;
use callgate::upstream::Upstream;

pub async fn case(upstream: &Upstream, call: Permitted<HttpCall>, credential: Credential) {
    let extra = call.call().headers().clone();
    let _ = upstream.forward(call, credential, extra, async {}).await;
}
