//~ E0382
//! A permit is good for one call.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::gate::Permitted;
use callgate::upstream::Upstream;

pub async fn case(upstream: &Upstream, call: Permitted<HttpCall>, one: Credential, two: Credential) {
    let extra = call.call().headers().clone();
    let _ = upstream.forward(call, one, extra.clone(), async {}).await;
    let _ = upstream.forward(call, two, extra, async {}).await;
}
