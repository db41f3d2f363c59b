//~ ok
//! A permit can be read and handed on.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(honest: Permitted<HttpCall>) -> (String, Permitted<HttpCall>) {
    (honest.principal().key().to_string(), honest)
}
