//~ E0616
//! What was judged is what is sent: the call of a permit cannot be exchanged.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(mut permitted: Permitted<HttpCall>, other: HttpCall) -> Permitted<HttpCall> {
    permitted.call = other;
    permitted
}
