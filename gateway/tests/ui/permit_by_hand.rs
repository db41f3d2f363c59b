//~ E0451
//! A permit is made by `gate` only.
use callgate::call::HttpCall;
use callgate::gate::Permitted;

pub fn case(honest: Permitted<HttpCall>) -> Permitted<HttpCall> {
    Permitted { ..honest }
}
