//~ E0308
//! A call is forwarded with a permit only.
use callgate::call::HttpCall;
use callgate::credential::Credential;
use callgate::upstream::Upstream;

pub async fn case(upstream: &Upstream, call: HttpCall, credential: Credential) {
    let extra = call.headers().clone();
    let _ = upstream.forward(call, credential, extra, async {}).await;
}
