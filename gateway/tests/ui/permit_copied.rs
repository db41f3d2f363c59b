//~ E0277
//! A permit has no copies.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

fn copy<T: Clone>(one: &T) -> T {
    one.clone()
}

pub fn case(permit: &Permitted<HttpCall>) -> Permitted<HttpCall> {
    copy(permit)
}
