//~ E0616
//! What was judged is what is sent: nobody puts another call into a permit.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(mut permit: Permitted<HttpCall>, other: HttpCall) -> Permitted<HttpCall> {
    permit.call = other;
    permit
}
