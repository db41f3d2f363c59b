//~ E0624
//! Only the upstream takes a permit apart.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(permit: Permitted<HttpCall>) -> HttpCall {
    let (call, _) = permit.spend();
    call
}
