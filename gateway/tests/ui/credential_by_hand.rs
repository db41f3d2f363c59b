//~ E0451
//! A credential, and the needles by which it is found in an answer, are made together by `credential` only.
use callgate::credential::Credential;

pub fn case(honest: Credential) -> Credential {
    Credential { ..honest }
}
