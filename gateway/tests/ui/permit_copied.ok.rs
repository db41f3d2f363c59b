//~ ok
//! Who may make the call is told to whoever holds the permit.
use callgate::call::HttpCall;
use callgate::gate::Permitted;
use callgate::identity::Principal;

pub fn case(permit: &Permitted<HttpCall>) -> &Principal {
    permit.principal()
}
