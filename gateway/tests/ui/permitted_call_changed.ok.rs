//~ ok
//! The call of a permit can be read.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(permitted: &Permitted<HttpCall>) -> String {
    permitted.call().target().as_str().to_owned()
}
