//~ ok
//! A credential is issued against a permit.
use callgate::call::HttpCall;
use callgate::credential::{Credential, Source};
use callgate::gate::Permitted;

pub fn case(source: &Source, permit: &Permitted<HttpCall>) -> Option<Credential> {
    source.issue(permit).ok()
}
