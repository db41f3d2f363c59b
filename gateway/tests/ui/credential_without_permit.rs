//~ E0308
//! A credential is issued against a permit, not against a call that somebody would like to make.
use callgate::call::HttpCall;
use callgate::credential::{Credential, Source};

pub fn case(source: &Source, call: &HttpCall) -> Option<Credential> {
    source.issue(call).ok()
}
