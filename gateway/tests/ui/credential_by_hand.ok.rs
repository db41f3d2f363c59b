//~ ok
//! A credential can be handed on.
use callgate::credential::Credential;

pub fn case(honest: Credential) -> Credential {
    honest
}
