//~ ok
//! The call in a permit can be read.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(permit: &Permitted<HttpCall>) -> &HttpCall {
    permit.call()
}
