//~ ok
//! Two permits are good for two calls.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::gate::Permitted;
use callgate::upstream::Upstream;

pub async fn case(upstream: &Upstream, calls: [(Permitted<HttpCall>, Credential); 2]) {
    for (call, credential) in calls {
        let extra = call.call().headers().clone();
        let _ = upstream.forward(call, credential, extra, async {}).await;
    }
}
