//~ ok
//! A permitted call is given its credential.
use callgate::call::HttpCall;
use callgate::credential::{Credential, Source};
use callgate::gate::Permitted;

pub fn case(source: &Source, call: &Permitted<HttpCall>) -> Option<Credential> {
    source.issue(call).ok()
}
